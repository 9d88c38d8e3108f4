"""Where a registry is, by a path or an address: found, cloned, and laid out on disk as a commit has it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitreg import caches
from gitreg.errors import Refused

if TYPE_CHECKING:
    from gitreg.addresses import Address
    from gitreg.registry import Registry
    from gitreg.snapshot import Snapshot

_FILE = "registry.yaml"


@dataclass(frozen=True)
class Place:
    """A registry that was found.

    Attributes:
        root: its own folder; for a bare repository that one's.
        bare: whether no files lie there.
        prefix: where it lies in the bare repository.
        shown: how people know it.
        key: a name for the folder of what is fetched of it.
        folder: the folder on this machine that the repository was cloned from, if it was from one.
        offline: whether no network is to be used.
        as_of: when the clone's remote was last asked, in seconds since 1970; None where there is no clone.
    """

    root: Path
    bare: bool = False
    prefix: str = ""
    shown: str = ""
    key: str = ""
    folder: Path | None = None
    offline: bool = False
    as_of: float | None = None


def find(path: str | os.PathLike[str], offline: bool | None = None) -> Place:
    """The registry at a path or an address; see `Registry`."""
    text = os.fspath(path)
    offline = caches.is_offline(offline)
    if address := _address(text):
        from gitreg import clones

        one = clones.opened(address, offline)
        folder = Path(address.folder) if address.folder else None
        return Place(one.folder, True, address.prefix, address.shown, address.key, folder, offline, one.as_of)
    start = Path(text).resolve()
    for folder in (start, *start.parents):
        if (folder / _FILE).is_file():
            return Place(folder, shown=str(folder), offline=offline)
    if is_bare(start):
        return Place(start, True, "", str(start), key_of(start), start, offline)
    raise Refused(f"no {_FILE} in {start} or above it", "gitreg init makes a registry here")


def _address(text: str) -> Address | None:
    if ":" not in text:
        return None
    from gitreg.addresses import address_of

    return address_of(text)


def is_bare(folder: Path) -> bool:
    """Whether a folder is a bare repository's."""
    return all((folder / name).exists() for name in ("HEAD", "objects", "refs", "config"))


def key_of(folder: Path) -> str:
    """What a folder's caches are called."""
    import hashlib

    return f"{folder.stem[-40:]}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"


def laid(registry: Registry, commit: str, place: Path, model: str | None) -> Registry:
    """A bare repository's registry on disk, as a commit has it.

    Args:
        place: where it is laid out; a folder that is not there yet.
        model: only what this one needs, as far as its manifest tells.

    Raises:
        Outside: a file cannot be fetched.
    """
    from gitreg import caches, dvcsettings, memo
    from gitreg.git import clones as partial
    from gitreg.registry import Registry

    folders = needed(registry.snapshot(commit), model) if model else None
    partial.check_out(registry.root, commit, place, folders)
    if not (place / registry.prefix / _FILE).is_file():
        raise Refused(f"commit {commit[:12]} of {registry.place.shown} has no {registry.prefix}{_FILE}")
    other = Registry(place / registry.prefix)
    other.place = registry.place
    other.tags_of = registry.tags_of
    other.memo = memo.Memo(None, "")
    source = registry.place.folder / registry.prefix if registry.place.folder else None
    dvcsettings.settle(other.root, caches.place("artifacts") / registry.place.key, source)
    return other


def needed(snapshot: Snapshot, model: str) -> list[str] | None:
    """The folders of a commit in which a model's files are; None where all may be needed."""
    from gitreg import dvcsettings
    from gitreg.git import objects

    likely = [f":(literal){snapshot.prefix}{name}" for name in (_FILE, ".dvc", f"models/{model}")]
    snapshot.obtain(entry.oid for entry in objects.tree(snapshot.root, snapshot.commit, likely).values())
    manifest = snapshot.manifest_named(model, [f"models/{model}/model.yaml"])
    if manifest is None:
        return None
    whole = {manifest.folder, *manifest.code}
    if "" in whole or "." in whole:
        return None
    beside = [manifest.sample_data, manifest.requirements_file, manifest.card, _file(manifest.params)]
    beside += [_file(manifest.metrics), manifest.artifact.path if manifest.artifact else None]
    kept = dvcsettings.kept_inside(snapshot.read(".dvc/config") or b"")
    folders = {".dvc", *whole, *kept, *(os.path.dirname(path) for path in beside if path)}
    return sorted(f"{snapshot.prefix}{folder}" for folder in folders if folder)


def _file(said: object) -> str | None:
    return said if isinstance(said, str) else None
