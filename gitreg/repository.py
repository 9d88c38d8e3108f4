"""The Git side of a registry: its tags and the files of its commits. Needs no work tree."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gitreg import caches, git, history, keeping, ownership
from gitreg.errors import Outside, Refused
from gitreg.git import objects, refs
from gitreg.recorded import ModelRecord, Tag, Version, uncollected
from gitreg.tagspace import Space
from gitreg.version import __version__

if TYPE_CHECKING:  # a loader needs none of these, and they take longer to import than it runs
    from gitreg import memo
    from gitreg.snapshot import Snapshot

# What outcomes depend on besides files: a new gitreg forgets what an older one found.
_MEMO_VERSION = "3"


class Repository:
    """What Git knows of a registry.

    Args:
        root: the registry's root; or the folder of a bare repository.
        bare: whether there is no work tree: what counts are the files of the branch that HEAD names.
        prefix: where the registry lies in a bare repository: empty, or a path with a slash at its end.
    """

    def __init__(self, root: Path, bare: bool = False, prefix: str = "") -> None:
        self.root, self.bare = root, bare
        if bare:
            self.prefix = prefix
        self.tags_of = root  # whose tags count: a clone of one commit has none
        self._snapshots: dict[str, Snapshot] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.root}>"

    @cached_property
    def git_folder(self) -> Path | None:
        """Git's own folder, which all work trees share; None outside of a repository."""
        return git.git_folder(self.root)

    @cached_property
    def prefix(self) -> str:
        """Where the registry lies in the repository: empty, or a path with a slash at its end."""
        for above in (self.root, *self.root.parents):
            if (above / ".git").exists():
                within = self.root.relative_to(above).as_posix()
                return "" if within == "." else f"{within}/"
        return git.prefix(self.root)

    @property
    def folder(self) -> str | None:
        """The registry's folder in the repository; empty for its top, None outside of a repository."""
        try:
            return self.prefix.removesuffix("/")
        except Outside:
            return None

    @cached_property
    def space(self) -> Space:
        """The names that the registry's tags may have."""
        return ownership.space_of(self.tags_of, self.folder or "")

    @property
    def head(self) -> Snapshot:
        """The files as HEAD has them."""
        return self.snapshot(self.commit("HEAD"))

    def declared(self) -> list[str]:
        """The names of the models that the files declare, as far as they can be read."""
        return sorted(self.head.named()[0])

    @cached_property
    def reader(self) -> objects.Reader:
        """Reads Git's objects."""
        return objects.Reader(self.root)

    @cached_property
    def memo(self) -> memo.Memo:
        """What earlier runs found; lives in Git's folder and can be deleted."""
        from gitreg import memo

        place = self.git_folder
        version = f"{_MEMO_VERSION} {__version__} {sys.version_info[:2]} {sys.prefix}"
        return memo.Memo(place / "gitreg" if place else None, version, str(self.root))

    def records(self, models: Iterable[str] | None = None) -> dict[str, ModelRecord]:
        """What the tags record: of every model that has one, or of some."""
        try:
            with uncollected():
                tags, odd = refs.tags(self.tags_of, models, self.space)
                mine, others = ownership.apart(self.space, tags, self._foreign(tags))
                return history.by_model(mine, [*odd, *others])
        except Outside:
            if self.git_folder is None:
                return {}
            raise

    def _foreign(self, tags: Sequence[Tag]) -> set[str]:
        """The names of tags that are another registry's."""
        return ownership.Owner(self.tags_of, self.space).foreign(tags)

    def record(self, model: str) -> ModelRecord:
        """What the tags record of one model."""
        return self.records([model]).get(model, ModelRecord(model))

    def tagged(self, models: Iterable[str]) -> Callable[[str, str], str]:
        """A function from model and version to the id of the tag that registered it; empty without one."""
        found = self.records(dict.fromkeys(models))

        def tag(model: str, version: str) -> str:
            known = found.get(model, ModelRecord(model)).versions.get(version)
            return known.tag.oid if known else ""

        return tag

    def snapshot(self, commit: str) -> Snapshot:
        """The files as a commit has them."""
        if commit not in self._snapshots:
            from gitreg.snapshot import Snapshot

            self._snapshots[commit] = Snapshot(self.root, commit, self.memo, self.prefix)
        return self._snapshots[commit]

    def trailers(self, tag: Tag) -> dict[str, str]:
        """The trailers of a tag's message."""
        found = self.reader.read(tag.oid)
        return objects.trailers(objects.message_of(found[1])) if found else {}

    def ordinal(self, version: Version) -> int:
        """The ordinal that a version was given, by its tag; for a tag of GTO's, its place in the order."""
        said = self.trailers(version.tag).get("Gitreg-Ordinal", "")
        return int(said) if said.isdigit() and len(said) < 10 else version.number

    def commit(self, revision: str) -> str:
        """The id of the commit that a revision names.

        Raises:
            Refused: there is none.
        """
        if self.git_folder is None:
            raise Refused(f"{self.root} is not in a Git repository", "gitreg init")
        oid = objects.resolve(self.root, revision)
        if oid is None:
            hint = "git fetch --unshallow --tags" if refs.is_shallow(self.root) else "git log --oneline"
            if revision == "HEAD":
                raise Refused("there is no commit yet", "git add . && git commit")
            raise Refused(f"{revision!r} is not a commit here", hint)
        return oid

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on the registry's own file system, gone when the block ends."""
        from gitreg import folders

        with folders.aside(self._beside) as folder:
            yield folder

    def sweep(self) -> None:
        """Remove the scratch folders of processes that were killed."""
        from gitreg import folders

        folders.sweep(self._beside)
        folders.sweep_temporary()

    @property
    def _beside(self) -> Path:
        if self.bare:
            return caches.place("scratch")
        return keeping.mended(self.git_folder / "gitreg") if self.git_folder else self.root
