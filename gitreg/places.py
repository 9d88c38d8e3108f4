"""Where a registry is, by a path or an address: found, cloned, and laid out on disk as a commit has it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitreg import caches, git
from gitreg.errors import Refused
from gitreg.git import discovery
from gitreg.names import parse_reference

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
            # Where the user is counts too; but for Git's own folder, which is what it looks like.
            discovery.refuse_planted(folder if ".git" in start.relative_to(folder).parts else start)
            return Place(folder, shown=str(folder), offline=offline)
    if discovery.looks_bare(start):
        git.name_bare(start)
        return Place(start, True, "", str(start), key_of(start), start, offline)
    raise Refused(f"no {_FILE} in {start} or above it", "gitreg init makes a registry here")


def _address(text: str) -> Address | None:
    if ":" not in text:
        return None
    from gitreg.addresses import address_of

    return address_of(text)


def key_of(folder: Path) -> str:
    """What a folder's caches are called."""
    import hashlib

    return f"{folder.stem[-40:]}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"


@contextmanager
def at(
    registry: Registry,
    commit: str,
    within: Sequence[str] = (".",),
    dirty: Collection[str] | None = None,
    model: str | None = None,
) -> Iterator[Registry]:
    """A registry as a commit has it, on disk; see `Registry.at`."""
    from gitreg import memo

    if registry.bare:
        with registry.scratch() as place:
            yield laid(registry, commit, place / "at", model)
        return
    if git.head(registry.root) == commit and not _changed(registry, within, dirty):
        yield registry
        return
    with registry.scratch() as place:
        other = cloned(registry, commit, place / "at")
        other.memo = memo.Memo(None, "")  # what holds of files here does not hold of files there
        other.store.hashes = registry.store.hashes
        yield other


def cloned(registry: Registry, commit: str, place: Path, shared: bool = True) -> Registry:
    """A commit of the user's own clone in a folder of its own, with the clone's cache and remotes.

    Args:
        place: a folder that is not there yet.
        shared: whether it needs the repository here for as long as it lives.

    Raises:
        Refused: the commit has no registry where this one lies.
    """
    from gitreg import dvcsettings
    from gitreg.registry import Registry

    snapshot = registry.snapshot(commit)
    config, why = snapshot.dvc_config()
    git.clone_at(registry.root, commit, place, shared)
    root = _within(place, snapshot.prefix, commit, str(registry.root))
    other = Registry(root, registry.place.offline)
    store = registry.store
    left = dvcsettings.lend(other.root, config, registry.root, store.cache_folder(), store.tracked_files())
    return _alone(other, registry, left, why)


def _alone(other: Registry, registry: Registry, left: dict[str, str], why: str | None) -> Registry:
    """A registry in a folder that gitreg laid out: its DVC knows what gitreg wrote there and nothing else."""
    other.tags_of, other.environments = registry.tags_of, registry.environments
    # The registry here decides what models see, and no earlier commit of it.
    other.passed, other.sandboxed = registry.passed, registry.sandboxed
    other.store.alone = True
    other.store.left_out = {**left, **({"": why} if why else {})}
    return other


def _within(place: Path, prefix: str, commit: str, shown: str) -> Path:
    """Where the registry lies in a commit that was laid out, and nowhere else: a link would lead out of it.

    Raises:
        Refused: there is none.
    """
    from gitreg import safewrite

    root = place / prefix
    link = safewrite.link_in(place, prefix + _FILE)
    if link or not (root / _FILE).is_file():
        what = f"{link} is a symbolic link there" if link else f"there is no {prefix}{_FILE}"
        raise Refused(f"commit {commit[:12]} of {shown} holds no registry: {what}")
    ignored = os.path.realpath(root / ".dvcignore")  # DVC reads it
    if not ignored.startswith(f"{os.path.realpath(place)}{os.sep}"):
        raise Refused(f"{prefix}.dvcignore of commit {commit[:12]} of {shown} is a link that leads out of it")
    discovery.refuse_planted(root, commit=commit)
    return root


def _changed(registry: Registry, within: Sequence[str], dirty: Collection[str] | None) -> bool:
    if dirty is None:
        return bool(git.changed(registry.root, within))
    return any(folder == "." or path.startswith(f"{folder}/") for path in dirty for folder in within)


@contextmanager
def holding(registry: Registry, reference: str) -> Iterator[tuple[Registry, str]]:
    """The registry that has a version in its files, and the model; see `Registry.holding`."""
    wanted = parse_reference(reference)
    plain = not (wanted.stage or wanted.ordinal or wanted.id)
    if plain and (wanted.version is None or _says(registry, wanted.model, wanted.version)):
        if not registry.bare:
            yield registry, wanted.model
            return
        commit, name = registry.commit("HEAD"), wanted.model
    else:
        known, version = registry.resolve(reference)
        commit, name = version.tag.commit, known.name
    with registry.at(commit, model=name) as other:
        yield other, name


def _says(registry: Registry, model: str, version: str) -> bool:
    manifest = registry.read(registry.manifest_file(model)).manifest
    return manifest is not None and manifest.version == version


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
    other = Registry(_within(place, registry.prefix, commit, registry.place.shown))
    other.place = registry.place
    other.memo = memo.Memo(None, "")
    source = registry.place.folder / registry.prefix if registry.place.folder else None
    config, why = registry.snapshot(commit).dvc_config()
    left = dvcsettings.settle(other.root, config, caches.entry("artifacts", registry.place.key), source)
    return _alone(other, registry, left, why)


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
    kept = dvcsettings.kept_inside(snapshot.dvc_config()[0])
    folders = {*whole, *kept, *(os.path.dirname(path) for path in beside if path)}
    return sorted(f"{snapshot.prefix}{folder}" for folder in folders if folder)


def _file(said: object) -> str | None:
    return said if isinstance(said, str) else None
