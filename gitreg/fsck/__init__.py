"""Is what the tags record true? Finds what nobody should have done, and names the command that mends it.

    evidence       every tag, what its object says, the remote's tags, the ledger: read once
    moved          what is not what it was, by the ledger, by the chain of tags, by the remote
    judge          what a tag says of itself: name, object, date, counter, stage, ordinal; what GTO sees
    contents       what a version says of its files, and whether a DVC remote has its artifact
    surroundings   stage files that wait to be applied; what dead processes left

Nothing here changes a tag. Only the ledger is written, in Git's own folder.
"""

from __future__ import annotations

from collections.abc import Iterator

from gitreg.errors import GitregError
from gitreg.fsck.contents import Contents
from gitreg.fsck.evidence import Evidence, gather
from gitreg.fsck.judge import Judge
from gitreg.fsck.moved import Moved
from gitreg.fsck.surroundings import Tip, leftovers, pending, tip
from gitreg.registry import Registry
from gitreg.reports import Finding

__all__ = ["examine"]


def examine(registry: Registry, remote: str | None = None, deep: bool = False) -> list[Finding]:
    """Everything that is wrong with the tags of a registry and with what they stand for.

    Args:
        remote: whose tags are compared; by default the one that the branch follows, or origin.
        deep: also check the versions in a stage out and compute what they contain, and ask the DVC remotes
            for every version; else for those in a stage and the latest.

    Returns:
        The findings; nothing outside of Git. One says that all is well, unless one is worse than a note.
    """
    if registry.git_folder is None:
        return []
    try:
        evidence = gather(registry, remote)
    except GitregError as error:
        return [Finding("tags", "error", error.message, "git fsck")]
    found = list(_examine(evidence, deep))
    if all(f.level == "note" for f in found):
        count = sum(bool(known.tags) for known in evidence.records.values())
        models = f"{count:,} model{'s' * (count != 1)}"
        tags = f"{len(evidence.tags):,} tag{'s' * (len(evidence.tags) != 1)}"
        found.insert(0, Finding("tags", "ok", f"{tags} of {models}"))
    return found


def _examine(evidence: Evidence, deep: bool) -> Iterator[Finding]:
    registry = evidence.registry
    if evidence.silent:
        text = f"{evidence.remote} cannot be asked for its tags: {evidence.silent.message}"
        yield Finding("git remote", "warning", text, f"git ls-remote {evidence.cures.remote}")
    moved, judge = Moved(evidence), Judge(evidence)
    yield from moved.findings()
    at = tip(registry, evidence.remote)
    left = list(leftovers(registry, at))  # before work of our own sweeps some of it away
    judge.judge(_stages(registry, at), moved.models, moved.right)
    contents: list[Finding] = []
    if evidence.shallow:
        text = "this is a shallow clone: versions are not held against the files of their commits"
        yield Finding("shallow clone", "warning", text, "git fetch --unshallow --tags")
    else:
        contents = _contents(evidence, judge, moved, deep)
    yield from judge.findings
    yield from moved.elsewhere(judge.wrong)
    yield from contents
    if at and not evidence.shallow:
        yield from pending(evidence, at, moved.models)
    trouble = moved.remember(judge.wrong)
    if trouble:
        yield Finding("ledger", "warning", trouble)
    yield from left


def _contents(evidence: Evidence, judge: Judge, moved: Moved, deep: bool) -> list[Finding]:
    contents = Contents(evidence, judge)
    contents.check(moved.models)
    try:
        if deep:
            contents.digests(moved.models)
        return list(contents.remotes(moved.models, deep))
    except GitregError as error:
        return [Finding("contents", "warning", error.message, error.hint)]


def _stages(registry: Registry, at: Tip | None) -> list[str]:
    """The stages that registry.yaml knows, where it counts."""
    try:
        return list((registry.snapshot(at.commit) if at else registry).file.stages)
    except GitregError:
        return list(registry.file.stages)
