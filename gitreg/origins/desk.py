"""A model's folder while it is made: what was made is known, and goes again if the whole fails."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gitreg import folders, formats, safewrite
from gitreg.declared import Artifact
from gitreg.errors import Refused
from gitreg.inside import contain
from gitreg.names import is_of_git

if TYPE_CHECKING:
    from gitreg.registry import Registry

# In a model's folder while `new` makes it; lists what it has made so far.
_MARKER = ".gitreg-new"


@dataclass
class Brought:
    """What a source brings.

    Attributes:
        artifact: what the manifest says of it; None without one.
        place: where it lies on disk, if it lies anywhere.
        bytes: gives its files.
        format: what it is, by its content; None without one.
        fields: what the source knows of the manifest's other fields.
        taken: files and folders outside of the model's folder that came with it.
        track: whether DVC is still to be told of it.
        follows: whether a new artifact comes without anybody editing the manifest.
        made_elsewhere: whether this machine's environment says nothing of where it was made.
        samples: inputs that the source knows, for its own type of model.
        todo: what is left for the author, one line each.
    """

    artifact: Any = None
    place: Path | None = None
    bytes: Callable[[], Artifact] | None = None
    format: formats.Format | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    taken: list[Path] = field(default_factory=list)
    track: bool = False
    follows: bool = False
    made_elsewhere: bool = False
    samples: list[dict[str, Any]] = field(default_factory=list)
    todo: list[str] = field(default_factory=list)


class Desk:
    """Where one model is made.

    Args:
        folder: of the model; it may hold files of its author's already.
        given: values for the placeholders of a template, as text.
        sourced: whether the artifact comes from elsewhere than the template.
        told: is told how many bytes of how many have been brought.
        imported: whether the artifact of another registry is brought, or only named.
    """

    def __init__(
        self,
        registry: Registry,
        name: str,
        folder: Path,
        given: Mapping[str, str] | None = None,
        sourced: bool = False,
        told: Callable[[int, int], None] | None = None,
        imported: bool = True,
    ) -> None:
        self.imported = imported
        self.told = told
        self.registry, self.name, self.folder = registry, name, folder
        self.given, self.sourced = given or {}, sourced
        self.made: list[Path] = []
        self._marker: IO[str] | None = None

    @contextmanager
    def making(self) -> Iterator[None]:
        """Make the model, or leave nothing of it; also when this is killed, once `new` runs again.

        Raises:
            Refused: somebody else is making it.
        """
        was_there = self.folder.exists()
        safewrite.make_folder(self.registry.root, self.folder)
        marker = self.folder / _MARKER
        try:
            with safewrite.kept(self.registry.root, marker) as self._marker:
                try:
                    fcntl.flock(self._marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    raise Refused(f"another gitreg new {self.name} is running") from None
                self._sweep()
                try:
                    yield
                except BaseException:
                    self._remove(self.made)
                    raise
                finally:
                    marker.unlink()
        finally:
            if not was_there and not any(self.folder.iterdir()):
                self.folder.rmdir()

    def note(self, path: Path) -> None:
        """Write down that a path is about to be made, so that it can be removed again.

        Raises:
            Refused: it is a link, or a folder on the way to it is.
        """
        assert self._marker
        safewrite.refuse_links(self.registry.root, path)
        self.made.append(path)
        self._marker.write(f"{path.relative_to(self.folder).as_posix()}\n")
        self._marker.flush()

    def _sweep(self) -> None:
        """Remove what a killed `new` of this model made, unless it was as good as done."""
        assert self._marker
        if (self.folder / "model.yaml").exists():
            return
        self._marker.seek(0)
        left = [self.folder / line for line in self._marker.read().splitlines()]
        self._remove([path for path in left if is_below(path, [self.folder]) and ".." not in path.parts])
        self._marker.truncate(0)

    def _remove(self, paths: Sequence[Path]) -> None:
        for path in reversed(paths):
            safewrite.remove(self.registry.root, path)

    def below(self, path: Path) -> str:
        """A path as the manifest writes it."""
        return Path(os.path.relpath(path, self.folder)).as_posix()

    def take(self, origin: Path, name: str, but: Sequence[Path] = ()) -> Path:
        """Bring a file or folder into the model's folder; where it lies there already, it stays.

        Args:
            name: what it is called there.
            but: what of a folder is left out.
        """
        if origin.is_relative_to(self.folder):
            refused = contain(self.registry.root, "", origin.relative_to(self.registry.root).as_posix())[1]
            if refused:
                raise Refused(refused)
            return origin
        target = self.free(name)
        if origin.is_dir():
            # DVC tracks no file of a Git repository; Git would take the copy for one, and obey its settings.
            files = [f for f in folders.tree_files(origin) if not is_of_git(f)]
            files = [f for f in files if not is_below(origin / f, but)]
            if not files:
                raise Refused(f"{origin} is an empty folder")
            for file in files:
                safewrite.copy(origin / file, self.registry.root, target / file)
        else:
            safewrite.copy(origin, self.registry.root, target)
        return target

    def free(self, name: str) -> Path:
        """A path in the model's folder at which something is about to be made.

        Raises:
            Refused: there is something already.
        """
        target = self.folder / name
        safewrite.refuse_links(self.registry.root, target)
        if os.path.lexists(target):
            raise Refused(f"{target} exists already", "move it away, or name it as the source")
        if not is_below(target, self.made):
            new = target
            while not new.parent.exists():
                new = new.parent
            self.note(new)
        safewrite.make_folder(self.registry.root, target.parent)
        return target

    def check(self, path: str) -> None:
        """Raise Refused where the manifest may not name a path."""
        refused = contain(self.registry.root, self.folder.relative_to(self.registry.root).as_posix(), path)[1]
        if refused:
            raise Refused(refused)

    def copy(self, top: Path, origin: Path) -> str:
        """Copy a file or folder of another model of this registry to the same place in this model's folder.

        Args:
            top: the other model's folder; its manifest and what DVC and Git keep there are left out.
        """
        place = origin.relative_to(top).as_posix()
        names = [origin.name] if origin.is_file() else folders.tree_files(origin)
        above = origin.parent if origin.is_file() else origin
        for name in names:
            own = (above / name).relative_to(top).as_posix()
            target = self.folder / own
            if own in ("model.yaml", ".gitignore") or own.endswith(".dvc") or target in self.made:
                continue
            safewrite.copy(above / name, self.registry.root, self.free(own))
        return place

    def share(self, artifact: Path) -> str:
        """Track what another model of this registry tracks; no byte is copied."""
        pointer = artifact.with_name(f"{artifact.name}.dvc")
        if not pointer.is_file():
            raise Refused(f"the template's artifact {artifact.name} is not tracked by a .dvc file", "dvc add")
        safewrite.copy(pointer, self.registry.root, self.free(pointer.name))
        self.ignore(artifact.name)
        return artifact.name

    def ignore(self, name: str) -> None:
        """Have Git leave an artifact alone."""
        ignore = self.folder / ".gitignore"
        if not ignore.exists():
            self.note(ignore)
        safewrite.append(self.registry.root, ignore, f"/{name}\n".encode("utf-8", "surrogateescape"))

    def track(self, artifact: Path) -> None:
        """Track an artifact with DVC, unless it is tracked.

        Raises:
            Refused: what DVC would write is a link, or lies behind one.
        """
        pointer = artifact.with_name(artifact.name + ".dvc")
        if pointer.exists():
            return
        ignore = artifact.with_name(".gitignore")
        safewrite.refuse_links(self.registry.root, artifact, pointer, ignore)
        for file in [pointer] if ignore.exists() else [pointer, ignore]:
            self.note(file)
        self.registry.store.add(artifact)


def absolute(path: str | Path) -> Path:
    """Without `..`, so that what lies below a folder can be told by its parts."""
    return Path(os.path.abspath(path))


def is_below(file: Path, places: Sequence[Path]) -> bool:
    """Whether a file is one of some places, or lies below one."""
    return any(file == place or place in file.parents for place in places)
