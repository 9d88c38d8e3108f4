"""The files of a registry as they lie on disk: manifests and what they name."""

from __future__ import annotations

import copy
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import EllipsisType
from typing import Any, TypeVar

from gitreg import checker, folders, git, memo, neighbours, reach, treefiles
from gitreg.datafiles import values_or_none
from gitreg.declared import Manifest, RegistryFile
from gitreg.desired import WantedStay
from gitreg.errors import InvalidFiles, Problem, Refused
from gitreg.gather import Gathered, gather
from gitreg.git.listing import Listing
from gitreg.manifest import Read, manifest_files, read_manifest, read_registry
from gitreg.names import Reference, did_you_mean, models_here, parse_reference
from gitreg.readable import Readable
from gitreg.snapshot import stays_in
from gitreg.store import Store
from gitreg.virtualenvs import Environments

T = TypeVar("T", bound="WorkTree")


class WorkTree(Readable):
    """What lies on disk; of a bare repository, what would lie there after a checkout.

    Args:
        root, bare, prefix: as of `Repository`.
    """

    def __init__(self, root: Path, bare: bool = False, prefix: str = "") -> None:
        super().__init__(root, bare, prefix)
        self.pass_env: tuple[str, ...] = ()
        self.environments = Environments()
        self._visible_in: dict[tuple[str, ...], Collection[str] | None] = {}

    def using(self: T, env: str | None) -> T:
        """This registry, with models that run in `env`; the same one for None.

        Raises:
            Usage: there is no such choice.
        """
        if env is None:
            return self
        other = copy.copy(self)
        other.environments = Environments(env, self.environments.tell, self.environments.offline)
        return other

    @cached_property
    def file(self) -> RegistryFile:
        """registry.yaml."""
        return self.head.file if self.bare else read_registry(self.root, self.folder)

    @cached_property
    def files(self) -> list[str]:
        """The manifests, relative to the root."""
        if self.bare:
            return list(self.head.manifests)
        found = manifest_files(self.root, self.file)
        if self.file.models == RegistryFile.models:  # each lies in a folder of its own
            return found
        inner = neighbours.inner(self.root, self.folder or "", found, self.file.ignore)
        return [file for file in found if not file.startswith(inner)]

    @cached_property
    def passed(self) -> tuple[str, ...]:
        """Names of the variables that models are passed.

        Of a registry at an address it is what the caller says alone: its own files are not to ask for secrets
        of whoever reads it.
        """
        said = () if self.bare else self.file.environment
        return tuple(dict.fromkeys((*self.pass_env, *said)))

    @cached_property
    def sandboxed(self) -> bool:
        """Whether models run in a sandbox."""
        return self.file.sandbox

    @cached_property
    def store(self) -> Store:
        """Where artifacts are."""
        self.need_files("artifacts")
        return checker.store_of(self.root, self._hashes)

    @cached_property
    def visible(self) -> Collection[str] | None:
        """Files that Git does not ignore; None where there is no Git."""
        return git.visible_files(self.root)

    @cached_property
    def submodules(self) -> Collection[str]:
        """Submodules of the work tree. Without a .gitmodules, Git puts nothing into them."""
        tops = (above for above in (self.root, *self.root.parents) if (above / ".git").exists())
        named = any((top / ".gitmodules").exists() for top in tops)
        return Listing(self.root).submodules if named else ()

    def visible_for(self, files: Iterable[str]) -> Collection[str] | None:
        """Files that Git does not ignore, of the folders that some models may take code from."""
        folders = tuple(self.folders_of(files))
        if not folders or "." in folders:
            return self.visible if folders else ()
        if folders not in self._visible_in:
            self._visible_in[folders] = git.visible_files(self.root, folders)
        return self._visible_in[folders]

    def folders_of(self, files: Iterable[str]) -> list[str]:
        """The folders of some manifests; or `.` where one reaches out of its own."""
        there = [file for file in files if (self.root / file).is_file()]
        if any(reach.reaches((self.root / file).read_bytes()) for file in there):
            return ["."]
        return sorted({file.rpartition("/")[0] or "." for file in there})

    def gather(
        self, file: str, build: bool = True, visible: Collection[str] | EllipsisType | None = ...
    ) -> Gathered:
        """A model and all that its manifest names."""
        seen = self.visible if isinstance(visible, EllipsisType) else visible
        return gather(self.root, file, self.store, seen, build, self.submodules)

    def _hashes(self, file: Path) -> tuple[str, str]:
        """Digests of a cache object; each is read once for as long as it does not change."""
        known = self.memo.recall_one("digests", str(file))
        if known is None:
            before = memo.stamps([file])
            known = list(folders.digests(file))
            self.memo.remember("digests", {str(file): (before, known)})
        return known[0], known[1]

    def manifests(self) -> list[Manifest]:
        """Every model whose manifest can be read, by name."""
        if self.bare:
            self.head.obtain(self.head.manifests.values())
        read = (self.read(file).manifest for file in self.files)
        return sorted((m for m in read if m is not None), key=lambda m: m.name)

    def manifest_file(self, reference: str) -> str:
        """The manifest of the model that a reference names.

        Raises:
            Refused: there is no such model.
        """
        wanted = parse_reference(reference)
        if wanted.id:
            wanted = Reference(self.model_of(wanted.id))
        guess = [f for f in self.files if f.split("/")[-2:-1] == [wanted.model]]
        names: list[str] = []
        for file in [*guess, *(f for f in self.files if f not in guess)]:
            manifest = self.read(file).manifest
            if manifest is None:
                if file in guess:
                    return file  # broken; reading it again tells why
                continue
            names.append(manifest.name)
            if manifest.name == wanted.model:
                return file
        raise Refused(
            f"there is no model '{wanted.model}'{did_you_mean(wanted.model, names)}", models_here(names)
        )

    def model_of(self, id: str) -> str:
        """The name of the model that has an id, or has a version that has it.

        Raises:
            Refused: there is none.
        """
        start = id.partition("_")[2]
        for known in self.records().values():
            own = [known.first] if known.first else []
            if any(tag.oid.startswith(start) for tag in [*own, *(v.tag for v in known.versions.values())]):
                return known.name
        raise Refused(f"no model has the id {id}", "gitreg list")

    def chosen(self, references: Sequence[str]) -> list[str]:
        """The manifests that references name; all without any."""
        if not references:
            return self.files
        return list(dict.fromkeys(self.manifest_file(r) for r in references))

    def read(self, file: str) -> Read:
        """A manifest, as far as it can be read."""
        if self.bare:
            found = self.head.manifest(file)
            if found is None:
                raise Refused(f"there is no {file}")
            return found
        return read_manifest(self.root, file)

    def declared(self) -> list[str]:
        """The names of the models that the files declare, as far as they can be read."""
        return super().declared() if self.bare else [manifest.name for manifest in self.manifests()]

    def need_files(self, what: str) -> None:
        """Raise Refused where there is no work tree."""
        if self.bare:
            hint = "git clone it, and run this in the clone"
            raise Refused(f"{what}: a registry without files on disk can only be read", hint)

    def values(self, said: Mapping[str, Any] | str | None) -> Mapping[str, Any]:
        """Params or metrics: inline, or of a file. What cannot be read is empty: `check` tells."""
        return self.head.values(said) if self.bare else values_or_none(self.root, said)

    def stage_problems(self, file: str, names: bool) -> list[Problem]:
        """What is wrong with a stage file in itself; with `names`, also models that there are not."""
        known = None
        if names:
            recorded = {name for name, one in self.records().items() if one.versions}
            known = {manifest.name for manifest in self.manifests()} | recorded
        return checker.check_stage(self.root, file, self.file, known)

    def stays_here(
        self, stage: str, models: Collection[str] | None = None
    ) -> tuple[list[WantedStay], list[Problem]]:
        """The lines of a stage's file as it lies here, or those on some models; and what is wrong with it."""
        for file in (f"stages/{stage}.yaml", f"stages/{stage}.yml"):
            if os.path.lexists(self.root / file):
                try:
                    return stays_in(treefiles.read(self.root, file), file, stage, models)
                except InvalidFiles as invalid:
                    return [], list(invalid.problems)
        return [], []
