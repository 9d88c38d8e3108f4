"""What is known of how a version was made, and what is missing to make it again from scratch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import builder, folders, provenance
from gitreg.datafiles import flat
from gitreg.errors import Outside, Refused
from gitreg.gather import Gathered
from gitreg.git import elsewhere as repositories
from gitreg.git import objects
from gitreg.redaction import cleaned
from gitreg.store import Tracked, elsewhere, pipelines

if TYPE_CHECKING:
    from gitreg.registry import Registry
    from gitreg.store.pipelines import Pipeline, Reference

KNOWN, NOTE = "known", "note"
MISSING, GONE, CHANGED, UNREACHABLE = "missing", "gone", "changed", "unreachable"
_SEEDS = ("seed", "random_state", "random_seed")


@dataclass(frozen=True)
class Fact:
    """One thing that is needed.

    Attributes:
        facet: "code", "data", "environment", "params", "seed" or "pipeline".
        name: which of several; may be empty.
        status: "known"; "missing" was never said, "gone" was and is not there any more, "changed" is there
            and another, "unreachable" could not be asked; "note" stops nobody.
    """

    facet: str
    name: str
    status: str
    text: str

    @property
    def stops(self) -> bool:
        """Whether the model cannot be made again for want of this."""
        return self.status not in (KNOWN, NOTE)


class Inquiry:
    """Asks after everything that a version was made of.

    Args:
        registry: whose repository and remotes are asked.
        there: the registry as the version's commit has it, in a clone.
        gathered: the model there.
        commit: the version's.
        scratch: an empty folder for what is fetched meanwhile.
    """

    def __init__(
        self, registry: Registry, there: Registry, gathered: Gathered, commit: str, scratch: Path
    ) -> None:
        self.registry, self.there, self.gathered = registry, there, gathered
        self.commit, self.scratch = commit, scratch
        assert gathered.manifest
        self.manifest = gathered.manifest
        self.lineage: Mapping[str, Any] = gathered.manifest.lineage
        self._fetched = 0

    @cached_property
    def pipeline(self) -> Pipeline | None:
        """The DVC pipeline that made the artifact."""
        tracked = self.gathered.tracked
        if tracked is None or not tracked.by.endswith("dvc.lock"):
            return None
        return pipelines.find(self.there.root, tracked.path)

    def facts(self) -> list[Fact]:
        """All of them, in the order in which a person would ask."""
        return [
            self.code(self.inputs),
            *self.inputs,
            *self.data(),
            *self.environment(),
            *self.params(),
            self.how(),
        ]

    # Code ---------------------------------------------------------------------------------------

    def code(self, inputs: Sequence[Fact]) -> Fact:
        """Of the training code: which commit, and whether it can be had."""
        said = self.lineage.get("code", {})
        commit, repo = said.get("commit"), said.get("repo")
        own = self.pipeline is not None and not any(f.stops for f in inputs if f.facet == "code")
        if commit is None:
            if own:
                return Fact("code", "", KNOWN, f"commit {self.commit[:12]} itself has what the pipeline runs")
            return Fact(
                "code", "", MISSING, "lineage.code names no commit, and no pipeline says what is code"
            )
        short = commit[:12]
        if said.get("dirty"):
            return Fact(
                "code", "", MISSING, f"commit {short} had changes that are in no commit (dirty: true)"
            )
        if objects.resolve(self.registry.root, commit):
            return Fact("code", "", KNOWN, f"commit {short} is in this repository")
        if own:
            why = f"commit {short} is not here, but {self.commit[:12]} itself has what the pipeline runs"
            return Fact("code", "", KNOWN, why)
        if not repo:
            return Fact("code", "", GONE, f"commit {short} is not in this repository, and no repo is named")
        return Fact("code", "", *self._in_repository(repo, commit))

    def _in_repository(self, repo: str, commit: str) -> tuple[str, str]:
        where, short = cleaned(repo), commit[:12]
        self._fetched += 1
        try:
            there = repositories.has_commit(repo, commit, self.scratch / f"repository{self._fetched}")
        except Outside as outside:
            return UNREACHABLE, outside.message
        return (KNOWN, f"commit {short} is in {where}") if there else (GONE, f"{where} has no commit {short}")

    # What the pipeline reads --------------------------------------------------------------------

    @cached_property
    def inputs(self) -> list[Fact]:
        """Of everything that the pipeline reads and does not make: is it there, and the same?"""
        if self.pipeline is None:
            return []
        facts = []
        for dep in self.pipeline.sources:
            tracked = None if "://" in dep.path else pipelines.tracked(self.there.root, dep.path)
            if "://" in dep.path:
                facts.append(Fact("data", cleaned(dep.path), *self._at(dep.path, dep.marks)))
            elif tracked:
                facts.append(Fact("data", dep.path, *self._in_dvc(dep, *tracked)))
            else:
                facts.append(
                    Fact("code" if dep.path.endswith(".py") else "data", dep.path, *self._in_git(dep))
                )
        return facts

    def _in_git(self, dep: Reference) -> tuple[str, str]:
        place = self.there.root / dep.path
        if not place.exists():
            return GONE, f"is not in commit {self.commit[:12]}, and DVC does not track it"
        if dep.md5 is None or dep.md5 in _hashes(place, dep.text):
            return KNOWN, f"commit {self.commit[:12]} has it as the pipeline read it"
        return CHANGED, f"commit {self.commit[:12]} has another than the pipeline read"

    def _in_dvc(self, dep: Reference, file: str, out: Reference) -> tuple[str, str]:
        if out.path == dep.path and dep.md5 and out.md5 != dep.md5:
            return CHANGED, f"{file} has another than the pipeline read"
        status, text = self._kept(out.md5) if out.md5 else (MISSING, f"{file} has no hash of it")
        if status == KNOWN:
            return status, text
        source = pipelines.imported(self.there.root, file)
        return self._from(source) if source else (status, text)

    def _kept(self, md5: str) -> tuple[str, str]:
        """Whether DVC's cache or a remote has something."""
        store = self.there.store
        try:
            if not store.missing(Tracked("", "", md5, None)):
                return KNOWN, "is in the DVC cache here"
            absent, silent = store.absent([md5])
            asked = store.has_remote() or bool(absent)
        except (Outside, Refused) as error:
            return UNREACHABLE, error.message
        if md5 not in absent and asked:
            return KNOWN, "is in a DVC remote"
        if silent:
            return UNREACHABLE, "; ".join(f"DVC remote {name}: {why}" for name, why in silent.items())
        return GONE, "is neither in the DVC cache here nor in a DVC remote"

    def _from(self, source: Mapping[str, str]) -> tuple[str, str]:
        """Whether what was imported can be had from where it came."""
        if "repo" in source:
            if "rev" not in source:
                return MISSING, f"{cleaned(source['repo'])} is named without a revision"
            return self._in_repository(source["repo"], source["rev"])
        return self._at(source["url"], source)

    def _at(self, url: str, marks: Mapping[str, str]) -> tuple[str, str]:
        """Whether an address still has what it had."""
        where = cleaned(url)
        try:
            now = elsewhere.marks_of(self.there.store, url)
        except Outside as outside:
            return UNREACHABLE, outside.message
        if now is None:
            return GONE, f"there is nothing at {where} any more"
        for key in ("version", "etag"):
            was = marks.get(key, "").removeprefix("W/").strip('"')
            if was and key in now:
                same = was == now[key]
                text = (
                    f"{where} has the same {key}"
                    if same
                    else f"{where} has the {key} {now[key]}, it was {was}"
                )
                if not same and key == "version":
                    text += "; whether the storage still keeps that one is not asked"
                return (KNOWN if same else CHANGED), text
        return KNOWN, f"something is at {where}; whether it is the same cannot be told"

    # Data, environment, parameters --------------------------------------------------------------

    def data(self) -> Iterator[Fact]:
        """The references that the manifest names, but for those that the pipeline named already."""
        read = self.pipeline.sources if self.pipeline else []
        entries = self.lineage.get("data", ())
        for entry in entries:
            same = [d for d in read if entry.get("md5") in (None, d.md5) and entry.get("path") == d.path]
            if not same:
                yield Fact("data", entry["name"], *self._entry(entry))
        if not entries and not read:
            yield Fact(
                "data", "", MISSING, "lineage.data names none, and no pipeline says what training read"
            )

    def _entry(self, entry: Mapping[str, str]) -> tuple[str, str]:
        found = (MISSING, "nothing says where it is: url, repo and rev, or the md5 of something in DVC")
        if "md5" in entry:
            found = self._kept(entry["md5"])
        if found[0] != KNOWN and ("url" in entry or "repo" in entry):
            found = self._from(entry)
        if found[0] != KNOWN and "path" in entry and "repo" not in entry:
            place = self.there.root / entry["path"]
            if os.path.realpath(place).startswith(f"{self.there.root}{os.sep}") and place.exists():
                found = self._in_git(pipelines.Reference(entry["path"], entry.get("md5")))
        return found

    def environment(self) -> Iterator[Fact]:
        """Of Python and packages: what is recorded, what is missing, what is other here."""
        said = self.lineage.get("environment", {})
        packages = {name.lower(): version for name, version in said.get("packages", {}).items()}
        lines = list(provenance.requirements(self.gathered.requirements))
        pinned = {name for name, _, line in lines if "==" in line or "===" in line}
        lacking = [name for name, *_ in lines if name.lower() not in packages and name not in pinned]
        whole = [said[key] for key in ("dockerfile", "conda") if key in said]
        shown = [f"Python {said['python']}"] if "python" in said else []
        shown += [f"{name} {version}" for name, version in packages.items()] + whole
        if whole or ("python" in said and not lacking):
            yield Fact("environment", "", KNOWN, ", ".join(shown))
        else:
            lacks = [*([] if "python" in said else ["Python"]), *lacking]
            yield Fact("environment", "", MISSING, f"no version of {', '.join(lacks)} is recorded")
        for name, version in {"python": said.get("python", ""), **packages}.items():
            here = provenance.here(name)
            if version and here != version and not (name == "python" and here.startswith(f"{version}.")):
                yield Fact("environment", name, NOTE, f"was {version}; here it is {here or 'not installed'}")

    def params(self) -> Iterator[Fact]:
        """Of the parameters: how many are recorded."""
        said = {**self.there.values(self.manifest.params)}
        for file, values in (self.pipeline.params if self.pipeline else {}).items():
            said.setdefault(file, values)
        if said:
            yield Fact("params", "", KNOWN, f"{len(_leaves(said))} recorded")
        elif self.manifest.params is not None:
            yield Fact("params", "", KNOWN, "none, as the manifest says")
        else:
            yield Fact("params", "", MISSING, "the manifest has none; params: {} says that there are none")
        seeds = {k: v for k, v in flat(said).items() if k.rpartition(".")[2].lower() in _SEEDS}
        shown = ", ".join(f"{name} = {value}" for name, value in seeds.items())
        yield Fact(
            "seed", "", KNOWN if seeds else NOTE, shown or "no parameter is called seed or random_state"
        )

    def how(self) -> Fact:
        """What is to be run."""
        if self.pipeline:
            *before, last = [stage.target for stage in self.pipeline.stages]
            return Fact("pipeline", "", KNOWN, f"{last}{', after ' + ', '.join(before) if before else ''}")
        run = self.lineage.get("run", {})
        if run:
            return Fact("pipeline", "", KNOWN, ", ".join(f"{key} {value}" for key, value in run.items()))
        return Fact(
            "pipeline", "", MISSING, "no DVC pipeline makes the artifact, and lineage.run names no run"
        )


def _leaves(values: Mapping[str, Any]) -> list[Any]:
    return [x for v in values.values() for x in (_leaves(v) if isinstance(v, Mapping) else [v])]


def _hashes(place: Path, text: bool) -> set[str]:
    """The hashes that DVC may have given to a file or folder."""
    if place.is_dir():
        try:
            return {builder.local_artifact(place).digest.removeprefix("md5:")}
        except Refused:
            return set()
    found = {folders.digests(place)[0]}
    if text and place.stat().st_size <= 1 << 30:
        plain = place.read_bytes().replace(b"\r\n", b"\n")
        found.add(hashlib.md5(plain, usedforsecurity=False).hexdigest())
    return found
