"""Versions against the files of their commits and against the DVC remotes.

Files are read from Git's objects, a few lines of each: a registry may have a hundred thousand versions.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from gitreg import git
from gitreg.contents import why_not
from gitreg.documents import MAX_BYTES, parse
from gitreg.errors import GitregError
from gitreg.fsck.cures import quoted
from gitreg.fsck.evidence import Evidence
from gitreg.fsck.judge import Judge
from gitreg.gather import content_of
from gitreg.git import clones
from gitreg.recorded import ModelRecord, Version
from gitreg.reports import Finding
from gitreg.versions import order

_KEY = re.compile(rb"^(name|version|artifact):(?: +([^\n]*?))? *\r?$", re.MULTILINE)
_PLAIN = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._/-]*\Z")
_QUOTED = re.compile(rb"^[\"'{?]", re.MULTILINE)  # keys that are not plain
_MD5 = re.compile(r"md5:([0-9a-f]{32}(?:\.dir)?)(?: |\Z)")
_MD5_LINE = re.compile(rb"\bmd5: ([0-9a-f]{32}(?:\.dir)?)\b")
_KIND = "blob versioned"


class Declared(NamedTuple):
    """What a manifest says, as far as it matters here.

    Attributes:
        path: of the artifact, relative to the manifest.
        stage: of a dvc.yaml that makes it.
    """

    name: str | None = None
    version: str | None = None
    path: str | None = None
    stage: str | None = None


class Contents:
    """Looks at what versions are."""

    def __init__(self, evidence: Evidence, judge: Judge) -> None:
        self.evidence, self.judge = evidence, judge
        self.registry = evidence.registry
        self.prefix = git.prefix(self.registry.root)
        self.read_before: dict[str, Any] = self.registry.memo.recall(_KIND)
        self.read_now: dict[str, Any] = {}
        # Tag name -> the .dvc file or dvc.lock that has its artifact.
        self.tracked_by: dict[str, str] = {}

    def check(self, leave: Collection[str]) -> None:
        """Hold every version against the files of its commit."""
        records = [known for name, known in sorted(self.evidence.records.items()) if name not in leave]
        chosen = [(known, version) for known in records for version in known.registered.values()]
        self._gather(chosen)
        for known, version in chosen:
            self._version(known, version)
        self.registry.memo.remember(_KIND, {oid: ({}, said) for oid, said in self.read_now.items()})

    def _gather(self, chosen: Collection[tuple[ModelRecord, Version]]) -> None:
        """In a partial clone, get at once what Git would ask for file by file."""
        root = self.registry.root
        if clones.promisor(root) is None:
            return
        clones.gather(root, [(v.tag.commit, f"{self.prefix}{self._file(known, v)}") for known, v in chosen])
        tracking = []
        for known, version in chosen:
            file, said = self._manifest(known, version)
            places = _places(file, said)[:1] if said else []
            tracking += [(version.tag.commit, f"{self.prefix}{place}") for place in places]
        clones.gather(root, tracking)

    def _version(self, known: ModelRecord, version: Version) -> None:
        file, said = self._manifest(known, version)
        tag, commit = version.tag, version.tag.commit[:12]
        odd = "" if said else why_not(self.registry.root, version.tag.commit, file, self.prefix)
        if odd:
            hint = f"git fetch; git fsck; if it was a mistake: {self.evidence.cures.delete(tag.name)}"
            self.judge.note(tag, "version unreadable", f"names what cannot be read: {odd}", "error", hint)
        elif said and said.name == known.name and said.version in (None, version.version):
            self._artifact(known, version, file, said)
        elif said is None and not self.evidence.of(tag).previous:
            # What GTO registered before there were manifests is no mistake.
            text = (
                f"was not written by gitreg, and its commit {commit} has no {file}: there is nothing to build"
            )
            hint = f"if it was a mistake: {self.evidence.cures.delete(tag.name)}"
            self.judge.note(tag, "version by hand", text, "warning", hint)
            self.judge.wrong.add(tag.name)
        else:
            what = "is not there" if said is None else f"is of the model {said.name or 'without a name'}"
            if said and said.name == known.name:
                what = f"says version {said.version}"
            text = f"registers {known.name} {version.version}, and {file} at {commit} {what}"
            self._refuse(known, version, "version by hand", f"{text}: it was written by hand")

    def _refuse(self, known: ModelRecord, version: Version, kind: str, text: str) -> None:
        """Blame the tag of a version that its commit does not have; one that has to stay is deregistered."""
        message = f"Deregister {known.name} {version.version}"
        self.judge.blame(
            version.tag,
            kind,
            text,
            mend=lambda: self.evidence.cures.append(
                known, "deregister", version.tag.commit, message, version=version.version
            ),
        )

    # The manifest -------------------------------------------------------------------------------

    def _manifest(self, known: ModelRecord, version: Version) -> tuple[str, Declared | None]:
        file = self._file(known, version)
        said = self._declared(version.tag.commit, file)
        if (said is None or said.name != known.name) and "Gitreg-Manifest" not in self.evidence.of(
            version.tag
        ).trailers:
            other = self._elsewhere(known.name, version.tag.commit)
            if other:
                return other, self._declared(version.tag.commit, other)
        return file, said

    def _file(self, known: ModelRecord, version: Version) -> str:
        guess = f"models/{known.name}/model.yaml"
        return self.evidence.of(version.tag).trailers.get("Gitreg-Manifest", guess)

    def _elsewhere(self, name: str, commit: str) -> str | None:
        """The manifest of a model that lies where registry.yaml of that time says."""
        try:
            found = self.registry.snapshot(commit).named()[0].get(name)
        except GitregError:
            return None
        return found.file if found else None

    def _declared(self, commit: str, file: str) -> Declared | None:
        found = self.registry.reader.read(f"{commit}:{self.prefix}{file}", MAX_BYTES + 1, "blob")
        if found is None or len(found[1]) > MAX_BYTES:
            return None
        oid, raw = found
        plain = _plainly(raw)
        if plain:
            return plain
        known = self.read_before.get(oid) or self.read_now.get(oid)
        if known is None:
            self.read_now[oid] = known = [*_parsed(raw, file)]
        return Declared(*known)

    # The artifact -------------------------------------------------------------------------------

    def _artifact(self, known: ModelRecord, version: Version, file: str, said: Declared) -> None:
        expected = self._hash(version)
        if expected is None or not (said.path or said.stage):
            return
        places = _places(file, said)
        seen: list[str] = []
        for place in places:
            found = self.registry.reader.read(f"{version.tag.commit}:{self.prefix}{place}")
            if found is None:
                continue
            if expected.encode() in found[1]:
                self.tracked_by[version.tag.name] = place
                return
            other = _MD5_LINE.search(found[1]) if place.endswith(".dvc") else None
            seen.append(f"{place} says {other[1].decode()}" if other else f"{place} does not have it")
        why = "; ".join(seen) or f"neither {' nor '.join(places)} is there"
        text = f"says that the artifact is {expected}, and at its commit {version.tag.commit[:12]} {why}"
        self._refuse(known, version, "artifact differs", text)

    def _hash(self, version: Version) -> str | None:
        found = _MD5.match(self.evidence.of(version.tag).trailers.get("Gitreg-Artifact", ""))
        return found[1] if found else None

    def remotes(self, leave: Collection[str], deep: bool) -> Iterator[Finding]:
        """Versions whose artifacts no DVC remote has.

        Args:
            deep: ask for all versions, not only for those in a stage and the latest.
        """
        if not (self.registry.root / ".dvc").is_dir():
            return
        wanted: dict[str, list[tuple[ModelRecord, Version]]] = defaultdict(list)
        for known, version in self._chosen(leave, deep):
            if md5 := self._hash(version):
                wanted[md5].append((known, version))
        if not wanted:
            return
        lacking, silent = self.registry.store.absent(wanted)
        for remote, why in sorted(silent.items()):
            text = f"the DVC remote '{remote}' cannot be asked: {why}"
            yield Finding(
                "dvc remote", "warning", text, f"dvc remote list; dvc status -c -r {quoted(remote)}"
            )
        for md5, missing in sorted(lacking.items()):
            for known, version in wanted[md5]:
                yield self._absent(known, version, md5, missing, bool(silent))

    def _absent(
        self, known: ModelRecord, version: Version, md5: str, missing: Collection[str], doubtful: bool
    ) -> Finding:
        what = f"{md5}" if md5 in missing else f"{len(missing):,} of the files in {md5}"
        stages = [stage for stage, now in known.stages.items() if now == version.version]
        place = f", which is in {' and '.join(stages)}," if stages else ""
        answered = " that answered; others did not" if doubtful else ""
        return Finding(
            "artifact missing",
            "warning" if doubtful else "error",
            f"{known.name}@{version.version}{place} needs {what}, which is in no DVC remote{answered}",
            "run it again when they do" if doubtful else self._push(version, md5, missing),
        )

    def _push(self, version: Version, md5: str, missing: Iterable[str]) -> str:
        store, root = self.registry.store, self.registry.root
        if not all(store.object_path(one).is_file() for one in (md5, *missing)):
            return "dvc push, where the artifact was made: it is not in the DVC cache here"
        by = self.tracked_by.get(version.tag.name, "")
        here = by.endswith(".dvc") and (root / by).is_file() and md5.encode() in (root / by).read_bytes()
        command = " ".join(
            ["dvc push", *["--all-tags"] * (not here), *[quoted(by)] * by.endswith(".dvc")],
        )
        if md5 in missing:
            return command
        # Where a remote has the list of a folder's files, DVC takes it for granted that it has the files.
        place = f"files/md5/{md5[:2]}/{md5[2:]}"
        return f"take {place} away from the remote, lest DVC skip its files; then {command}"

    def _chosen(self, leave: Collection[str], deep: bool) -> Iterator[tuple[ModelRecord, Version]]:
        for name, known in sorted(self.evidence.records.items()):
            registered = known.registered
            if name in leave or not registered:
                continue
            newest = max(registered, key=order)
            for version in registered.values():
                if deep or version.version == newest or version.version in known.stages.values():
                    yield known, version

    # The digest ---------------------------------------------------------------------------------

    def digests(self, leave: Collection[str]) -> None:
        """Hold what versions in a stage contain against what their tags say. Checks their commits out."""
        by_commit: dict[str, list[tuple[ModelRecord, Version]]] = defaultdict(list)
        for known, version in self._chosen(leave, False):
            if version.version in known.stages.values():
                by_commit[version.tag.commit].append((known, version))
        for commit, some in sorted(by_commit.items()):
            with self.registry.at(commit) as there:
                for known, version in some:
                    self._digest(there, known, version)

    def _digest(self, there: Any, known: ModelRecord, version: Version) -> None:
        trailers: Mapping[str, str] = self.evidence.of(version.tag).trailers
        said, file = trailers.get("Gitreg-Digest"), trailers.get("Gitreg-Manifest")
        if not said or not file:
            return
        gathered = there.gather(file, build=False)
        if gathered.manifest is None or gathered.errors:
            why = str(gathered.errors[0]) if gathered.errors else f"{file} cannot be read"
            self._refuse(known, version, "content differs", f"names a commit of which {why}")
            return
        digest = content_of(gathered).digest
        if digest != said:
            text = f"says that the content is {said}, and its commit {version.tag.commit[:12]} has {digest}"
            self._refuse(known, version, "content differs", text)


def _plainly(raw: bytes) -> Declared | None:
    """What a manifest says in lines that mean the same to any YAML reader; None where one is needed."""
    said: dict[bytes, bytes | None] = {}
    for found in _KEY.finditer(raw):
        value = found[2]
        if found[1] in said or not value or not _PLAIN.match(value):
            return None
        said[found[1]] = value
    texts = {key.decode(): value.decode() for key, value in said.items() if value}
    if not texts.keys() >= {"name", "version"} or texts["version"].count(".") < 2 or _QUOTED.search(raw):
        return None
    return Declared(texts["name"], texts["version"], texts.get("artifact"))


def _parsed(raw: bytes, file: str) -> Declared:
    document, _ = parse(raw, file)
    data = document.data if isinstance(document.data, Mapping) else {}
    artifact = data.get("artifact")
    where = artifact if isinstance(artifact, Mapping) else {"path": artifact}
    values = (data.get("name"), data.get("version"), where.get("path"), where.get("stage"))
    return Declared(*(value if isinstance(value, str) else None for value in values))


def _places(file: str, said: Declared) -> list[str]:
    """The files in which DVC may say what an artifact is, the likeliest first."""
    folder = posixpath.dirname(file)
    parts = folder.split("/") if folder else []
    locks = ["/".join([*parts[:n], "dvc.lock"]) for n in range(len(parts), -1, -1)]
    if said.stage or not said.path:
        return locks
    return [posixpath.normpath(posixpath.join(folder, said.path)) + ".dvc", *locks]
