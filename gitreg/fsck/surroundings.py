"""What lies around the tags: stage files that wait to be applied, and what dead processes left."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gitreg import folders, git, planner, trees
from gitreg.desired import Action
from gitreg.errors import GitregError
from gitreg.fsck.cures import quoted
from gitreg.fsck.evidence import Evidence
from gitreg.git import refs
from gitreg.planner import Planned
from gitreg.reports import Finding

if TYPE_CHECKING:
    from gitreg.registry import Registry

_OLD = 3600  # seconds: no transaction of Git's lasts that long
_BRANCHES = [f"refs/heads/{verb}/" for verb in ("promote", "demote", "rollback")]


class Tip:
    """The commit whose files count.

    Attributes:
        commit: of the remote's default branch, as last fetched; without one, of our own.
        branch: its name.
        remote: None where there is no remote, or it has no such branch yet.
    """

    def __init__(self, commit: str, branch: str, remote: str | None) -> None:
        self.commit, self.branch, self.remote = commit, branch, remote


def tip(registry: Registry, remote: str | None) -> Tip | None:
    """The commit whose files count; None before the first one."""
    branch = refs.default_branch(registry.root, remote)
    theirs = refs.oid(registry.root, f"refs/remotes/{remote}/{branch}") if remote else None
    commit = theirs or refs.oid(registry.root, f"refs/heads/{branch}")
    return Tip(commit, branch, remote if theirs else None) if commit else None


def pending(evidence: Evidence, at: Tip, leave: Collection[str]) -> Iterator[Finding]:
    """What the files say and the tags do not: no gate is asked, and no code of anybody runs.

    Args:
        leave: models of which tags were moved or deleted: what they record is not what it should be.
    """
    registry = evidence.registry
    try:
        with planner.Planner(registry, at.commit, evidence.records) as one:
            planned = one.planned(judge=False)
    except GitregError as error:
        yield Finding("not applicable", "error", f"{at.branch}: {error.message}", error.hint)
        return
    theirs = {model.file for name, model in planned.desired.models.items() if name in leave}
    for problem in planned.problems:
        if problem.file in theirs or problem.path in leave:
            continue
        yield Finding("not applicable", "error", f"{problem} ({at.branch}, {at.commit[:12]})", "gitreg check")
    apply = _apply(registry, at)
    for text in dict.fromkeys(_waiting(planned, leave, evidence)):
        yield Finding("not applied", "warning", text, apply)


def _waiting(planned: Planned, leave: Collection[str], evidence: Evidence) -> Iterator[str]:
    files = {(stay.stage, stay.model): stay.file for stay in planned.desired.stays}
    for action in planned.actions:
        if action.model in leave:
            continue
        if action.kind == "register":
            file = planned.desired.models[action.model].file
            yield f"{file} says {action.model} {action.version}, which no tag registers"
            continue
        yield _stay(action, files.get((action.stage, action.model)), evidence)


def _stay(action: Action, file: str | None, evidence: Evidence) -> str:
    known = evidence.records.get(action.model)
    now = known.stages.get(action.stage, "nothing") if known else "nothing"
    if file is None:
        return f"stages/{action.stage}.yaml does not have {action.model}, the tags say {now}"
    version = action.version if action.kind == "assign" else "a lower version"
    return f"{file} says {action.model} {version}, the tags say {now}"


def _apply(registry: Registry, at: Tip) -> str:
    command = "gitreg apply --push" if at.remote else "gitreg apply"
    if git.head(registry.root) == at.commit:
        return command
    mine = refs.oid(registry.root, f"refs/heads/{at.branch}") == at.commit
    return f"git switch {quoted(at.branch) if mine else f'--detach {at.commit[:12]}'} && {command}"


# Leftovers ----------------------------------------------------------------------------------------


def leftovers(registry: Registry, at: Tip | None) -> Iterator[Finding]:
    """Locks, scratch folders and branches that nobody needs any more."""
    folder = registry.git_folder
    assert folder
    for lock in sorted(_old_locks(folder)):
        text = f"{lock} is left of a process that was killed: nobody can write that reference"
        yield Finding("leftover", "note", text, f"rm -f -- {quoted(str(lock))}")
    for scratch in sorted(filter(folders.is_dead, (folder / "gitreg").glob(f"{folders.ASIDE}*"))):
        text = f"{scratch} is left of a process that was killed"
        yield Finding("leftover", "note", text, f"rm -rf -- {quoted(str(scratch))}")
    for branch in _merged(registry, at) if at else ():
        text = f"the branch {branch} is merged into {at.branch if at else ''}"
        yield Finding("leftover", "note", text, f"git branch -D {quoted(branch)}")


def _old_locks(folder: Path) -> Iterator[Path]:
    limit = time.time() - _OLD
    places = [folder / "packed-refs.lock"]
    for base, _, names in trees.walk(folder / "refs"):
        places += [Path(base, name) for name in names if name.endswith(".lock")]
    for place in places:
        try:
            if place.stat().st_mtime < limit:
                yield place
        except OSError:
            continue  # its process is done


def _merged(registry: Registry, at: Tip) -> list[str]:
    """Branches that gitreg made and that are merged; not those that are checked out somewhere."""
    fields = "--format=%(refname:strip=2)%00%(worktreepath)"
    ran = git.run(registry.root, ["for-each-ref", fields, f"--merged={at.commit}", *_BRANCHES])
    pairs = (line.split("\0") for line in ran.out.split("\n") if line)
    return [name for name, checked_out in pairs if not checked_out]
