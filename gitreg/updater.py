"""Moves models that came from elsewhere on to what is there now: `gitreg update`.

Without `push` the work tree is edited, as `bump` does; with it a commit on a branch of its own is made from
the default branch, and the artifact goes to the registry's own DVC remote, so that the pull request can be
checked. What was changed here since, and there too, is for a person to bring together.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import builder, edits, git, places, printed, safewrite, versions
from gitreg.declared import Manifest
from gitreg.errors import GitregError, InvalidFiles, Refused
from gitreg.git import objects, refs
from gitreg.manifest import read_manifest
from gitreg.origins import subscription
from gitreg.origins.upstream import Taken, Upstream
from gitreg.promoter import Prepared, Promoter
from gitreg.redaction import cleaned

if TYPE_CHECKING:
    from gitreg.registry import Registry

# What people say of a model here, whatever is said of it there.
_OURS = ("description", "tags", "lineage")
_MARKS = ("etag", "checksum", "version_id", "md5")


@dataclass
class Update:
    """One model that came from elsewhere.

    Attributes:
        source: where from.
        now, there: the version or etag that it is, and that there is.
        newer: whether there is something newer.
        changed: the files that were changed for it, relative to the registry's root.
        version: what its manifest says afterwards.
        error: why it could not be told, or done.
    """

    name: str
    source: str
    now: str | None = None
    there: str | None = None
    newer: bool = False
    changed: list[str] = field(default_factory=list)
    version: str | None = None
    prepared: Prepared | None = None
    error: GitregError | None = None

    @property
    def status(self) -> str:
        """`failed`, `current`, `updated` or `newer`."""
        if self.error:
            return "failed"
        if not self.newer:
            return "current"
        return "updated" if self.changed else "newer"


class Updater:
    """Updates the models of one registry.

    Args:
        check: only tell.
        push: a branch for each, pushed, with a pull request; else the work tree is edited.
    """

    def __init__(
        self,
        registry: Registry,
        check: bool = False,
        push: bool = False,
        remote: str | None = None,
        told: Callable[[int, int], None] | None = None,
    ) -> None:
        registry.need_files("update")
        self.registry, self.check, self.push, self.remote, self.told = registry, check, push, remote, told

    def update(self, names: Sequence[str] = ()) -> list[Update]:
        """Update some models, or all that came from elsewhere; one's failure does not stop the others.

        Raises:
            Refused: a model that was named did not come from elsewhere.
        """
        return [self._one(manifest) for manifest in self._wanted(names)]

    def _wanted(self, names: Sequence[str]) -> list[Manifest]:
        known = {m.name: m for m in self.registry.manifests() if m.artifact and m.artifact.address}
        for name in names:
            self.registry.manifest_file(name)
            if name not in known:
                raise Refused(f"{name} did not come from an address or another registry", "gitreg bump")
        return [known[name] for name in names or sorted(known)]

    def _one(self, manifest: Manifest) -> Update:
        assert manifest.artifact and manifest.artifact.address
        found = Update(manifest.name, cleaned(manifest.artifact.address))
        try:
            move = self._looked(manifest, found)
            if found.newer and not self.check:
                self._moved(manifest, found, move)
        except GitregError as error:
            found.error = error
        return found

    def _looked(self, manifest: Manifest, found: Update) -> Callable[[Registry, Manifest], None]:
        """See what is there; how a registry's files are moved on to it."""
        source = manifest.artifact
        assert source
        if source.url:
            return self._looked_at(manifest, source.url, found)
        assert source.registry and source.model and source.version
        upstream = Upstream(source.registry)
        known, newest = upstream.find(source.model)
        current = known.versions.get(source.version)
        found.now, found.there = source.version, newest.version
        if current is None:
            raise Refused(f"{source.model}@{source.version} is registered no more at {found.source}")
        said = manifest.lineage.get("source", {}).get("tag")
        if said and said != current.tag.oid:
            raise Refused(
                f"the tag {current.tag.name} at {found.source} was moved: it is {current.tag.oid[:12]}, and "
                f"was {said[:12]} when it was subscribed",
                "ask who keeps that registry; gitreg doctor there tells more",
            )
        found.newer = versions.order(newest.version) > versions.order(source.version)
        if current.gone and not found.newer:
            raise Refused(
                f"{source.model}@{source.version} was deregistered at {found.source}, and is the last"
            )
        if not found.newer:
            return lambda registry, one: None
        old, new = upstream.take(known, current), upstream.take(known, newest)
        return lambda registry, one: _subscribe(registry, one, old, new)

    def _looked_at(self, manifest: Manifest, url: str, found: Update) -> Callable[[Registry, Manifest], None]:
        assert manifest.artifact
        tracked = self.registry.store.tracked(manifest.artifact, manifest.folder)
        before, now = dict(tracked.origin or {}), self.registry.store.said_of(url)
        found.now, found.there = _mark(before), _mark(now)
        found.newer = found.now != found.there
        return lambda registry, one: _bring_again(registry, one, url, self.told)

    def _moved(self, manifest: Manifest, found: Update, move: Callable[[Registry, Manifest], None]) -> None:
        if not self.push:
            dirty = git.changed(self.registry.root, [f":(literal){manifest.folder}"])
            if dirty:
                raise Refused(f"{dirty[0]} has changes that are not committed", "git commit, or git restore")
            move(self.registry, manifest)
            found.changed = sorted(git.changed(self.registry.root, [f":(literal){manifest.folder}"]))
            found.version = _version(self.registry, manifest.file)
            return
        promoter = Promoter(self.registry, "", push=True, remote=self.remote)
        promoter.remote = promoter.applier.remote()
        refs.fetch(self.registry.root, promoter.remote, promoter.base, self.registry.space)
        tip = promoter.tip()
        with _clone(self.registry, tip) as other:
            there = read_manifest(other.root, manifest.file).manifest
            if there is None:
                raise Refused(f"{promoter.base} has no {manifest.file} that can be read", "git push it first")
            move(other, there)
            top = git.top(other.root) or other.root
            changed = sorted(git.changed(top))
            now = other.read(manifest.file).manifest
            assert now and now.artifact
            if now.artifact.imported:
                tracked = other.store.tracked(now.artifact, now.folder)
                # DVC, which does not see Git there, may not have had Git ignore it.
                place = f"{git.prefix(other.root)}{tracked.path}"
                changed = [path for path in changed if not f"{path}/".startswith(f"{place}/")]
                self.registry.store.push([tracked])
            found.changed, found.version = changed, _version(other, manifest.file)
            files = {p: (top / p).read_bytes() if (top / p).is_file() else None for p in changed}
        done = Prepared(
            "", {found.name: (found.now, found.there)}, base=promoter.base, remote=promoter.remote
        )
        done.message = f"Update {found.name} to {printed.line(found.there)}\n\n"
        done.message += f"From {printed.line(found.source)}; it was {printed.line(found.now)}.\n"
        done.commit = objects.write_commit(self.registry.root, tip, files, done.message)
        place = self.registry.space.prefix.replace("/", "-")
        name = f"{place}-{found.name}" if place else found.name
        promoter.branch = f"update/{name}-{(found.there or '')[:40]}"
        promoter.branch_off(done, tip, "update")
        found.prepared = done


@contextmanager
def _clone(registry: Registry, commit: str) -> Iterator[Registry]:
    """A commit's files in a folder of their own, with this registry's cache and remotes."""
    with registry.scratch() as place:
        yield places.cloned(registry, commit, place / "at")


def _mark(said: Mapping[str, Any]) -> str | None:
    """What tells the data at an address from other data there."""
    found = [str(said[key]) for key in _MARKS if key in said]
    return found[0] if found else None


def _version(registry: Registry, file: str) -> str | None:
    manifest = read_manifest(registry.root, file).manifest
    return manifest.version if manifest else None


# Data at an address --------------------------------------------------------------------------------


def _bring_again(
    registry: Registry, manifest: Manifest, url: str, told: Callable[[int, int], None] | None
) -> None:
    """Bring what is at an address now into the place of what was there."""
    assert manifest.artifact
    tracked = registry.store.tracked(manifest.artifact, manifest.folder)
    place = registry.root / tracked.path
    beside = [place.with_name(name) for name in (place.name, f"{place.name}.dvc", ".gitignore")]
    safewrite.refuse_links(registry.root, *beside, tracked.by, manifest.file)
    if place.exists() and builder.local_artifact(place).digest != f"md5:{tracked.md5}":
        raise Refused(f"{tracked.path} was changed here", f"dvc checkout {tracked.by}")
    with registry.scratch() as aside:
        origin = registry.store.bring(url, aside / place.name, told)
        safewrite.remove(registry.root, place)
        shutil.move(aside / place.name, place)
    safewrite.remove(registry.root, tracked.by)
    registry.store.add(place)
    registry.store.imported(registry.root / tracked.by, origin)
    known = registry.record(manifest.name)
    if manifest.version in known.versions and known.last:
        following = versions.bumped(known.last.version, "patch", registry.file.scheme)
        _edit(registry.root, manifest.file, {("version",): following})


# A version of another registry ------------------------------------------------------------------------


def _subscribe(registry: Registry, manifest: Manifest, old: Taken, new: Taken) -> None:
    """Bring the files and fields of a newer version into the place of the older one's.

    Raises:
        Refused: something was changed here, and there too; nothing is changed then.
    """
    folder = registry.root / manifest.folder
    written, clashes = _files(folder, old.files, new.files)
    data = registry.read(manifest.file).document.data
    fields, more = _fields(data, old.fields, new.fields)
    clashes += [f"model.yaml: {one}" for one in more]
    if clashes:
        raise Refused(
            f"{manifest.name}: changed both here and there: {', '.join(clashes)}",
            f"gitreg new NAME --from git+{new.source['registry']}#{new.source['model']} brings it whole",
        )
    fields[("version",)] = _next(registry, manifest, new)
    fields[("artifact", "version")] = new.source["version"]
    fields |= {("lineage", "source", key): value for key, value in new.source.items()}
    path = manifest.artifact.path if manifest.artifact else None
    if path and new.tracked:
        registry.store.fetch_from(new.remotes, [new.tracked])
        pointer = subscription.pointer_of(registry.store, new, path.rpartition("/")[2])
        written[f"{path.rpartition('/')[2]}.dvc"] = pointer
    safewrite.refuse_links(registry.root, manifest.file, *(folder / name for name in written))
    before = {name: (folder / name).read_bytes() for name in written if (folder / name).is_file()}
    manifest_before = (registry.root / manifest.file).read_bytes()
    try:
        for name, content in written.items():
            if content is None:
                safewrite.remove(registry.root, folder / name)
            else:
                safewrite.replace(registry.root, folder / name, content)
        _edit(registry.root, manifest.file, fields)
        problems = registry.gather(manifest.file, build=False, visible=None).errors
        if problems:
            raise InvalidFiles(problems, "nothing was changed")
    except GitregError:
        for name in written:
            if name in before:
                safewrite.replace(registry.root, folder / name, before[name])
            else:
                safewrite.remove(registry.root, folder / name)
        safewrite.replace(registry.root, manifest.file, manifest_before)
        raise


def _files(
    folder: Path, old: Mapping[str, bytes], new: Mapping[str, bytes]
) -> tuple[dict[str, bytes | None], list[str]]:
    """What is to be written, or removed (None); and what was changed on both sides."""
    written: dict[str, bytes | None] = {}
    clashes = []
    for name in sorted({*old, *new}):
        here = (folder / name).read_bytes() if (folder / name).is_file() else None
        if old.get(name) == new.get(name) or here == new.get(name):
            continue
        if here != old.get(name):
            clashes.append(name)
        written[name] = new.get(name)
    return written, clashes


def _fields(
    here: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[dict[tuple[str, ...], Any], list[str]]:
    changes: dict[tuple[str, ...], Any] = {}
    clashes = []
    for key in sorted({*old, *new} - {"lineage"}):
        if old.get(key) == new.get(key) or here.get(key) == new.get(key):
            continue
        if here.get(key) == old.get(key):
            changes[(key,)] = new.get(key)
        elif key not in _OURS:
            clashes.append(key)
    return changes, clashes


def _next(registry: Registry, manifest: Manifest, new: Taken) -> str | None:
    """The version there, where it can be one here and is higher; else the next one here."""
    there, scheme = str(new.source["version"]), registry.file.scheme
    if manifest.version is None:
        return None
    if versions.is_valid(there, scheme) and versions.order(there) > versions.order(manifest.version):
        return there
    return versions.bumped(manifest.version, "patch", scheme)


def _edit(root: Path, file: str, changes: Mapping[tuple[str, ...], Any]) -> None:
    text = (root / file).read_bytes().decode("utf-8", "surrogateescape")
    safewrite.replace(root, file, edits.set_fields(text, file, changes).encode("utf-8", "surrogateescape"))
