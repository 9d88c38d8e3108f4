"""What the files of a model may say, given what is recorded: versions that fit their content."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from gitreg import bumper, checker, neighbours
from gitreg.compatibility import Change, needed_bump
from gitreg.desired import WantedModel
from gitreg.errors import Problem
from gitreg.git import refs
from gitreg.manifest import read_manifest
from gitreg.names import TagName
from gitreg.plan import in_the_way, unregistered
from gitreg.recorded import ModelRecord, Version
from gitreg.versions import RULES, bumped, cased, is_valid, order, suffices

if TYPE_CHECKING:
    from gitreg.checker import Checked
    from gitreg.registry import Registry


def check_versions(registry: Registry, found: Sequence[Checked]) -> list[Problem]:
    """Versions that are not of the scheme, were used, do not fit their content, or step too little."""
    usable = [one for one in found if one.named and one.content and one.version]
    records = registry.records({one.named.name for one in usable if one.named}) if usable else {}
    problems: list[Problem] = []
    tags = {one.file: _tag(registry, one) for one in usable if _is_new(one, records)}
    ways = refs.blocking(registry.root, list(tags.values())) if tags and registry.git_folder else {}
    for one in usable:
        assert one.named and one.version
        known = records.get(one.named.name, ModelRecord(one.named.name))
        tag = tags.get(one.file, "")
        message = in_the_way(tag, ways[tag]) if tag in ways else _mistake(registry, one, known)
        if message:
            problems.append(Problem(one.file, one.line, one.column, "version", message))
    return problems


def _is_new(one: Checked, records: Mapping[str, ModelRecord]) -> bool:
    known = records.get(one.named.name) if one.named else None
    return known is None or one.version not in known.versions


def _tag(registry: Registry, one: Checked) -> str:
    assert one.named
    return str(TagName(one.named.name, "register", one.version, prefix=registry.file.prefix))


def check_neighbours(registry: Registry) -> list[Problem]:
    """Other registries in this repository whose tags could be taken for those of this one."""
    folder, file = registry.folder, registry.file
    if folder is None:
        return []
    top = registry.root.parents[folder.count("/")] if folder else registry.root
    found = neighbours.tracked(registry.root, folder, file.ignore)
    if file.prefix:
        found = neighbours.twins(folder, found)
    problem = neighbours.clash(folder, file.prefix, neighbours.here(top, found))
    return [problem] if problem else []


def check_stays(
    registry: Registry, files: Mapping[str, str], only: Collection[str] | None = None
) -> list[Problem]:
    """Lines of stage files whose version can be in no stage: no tag registers it, and no manifest says it.

    Args:
        files: model -> its manifest.
        only: look at the lines on these models; by default at all, and at the files as a whole.
    """
    stays = [stay for stage in registry.file.stages for stay in registry.stays_here(stage, only)[0]]
    records = registry.records({stay.model for stay in stays}) if stays else {}
    recorded = {name for name, known in records.items() if known.versions}
    problems = checker.check_stages(registry.root, registry.file, {*files, *recorded}) if only is None else []
    for stay in stays:
        known, file = records.get(stay.model, ModelRecord(stay.model)), files.get(stay.model)
        if stay.version in known.registered:
            continue
        if not (file or known.versions):
            problems += [] if only is None else [checker.no_model(stay, {*files, *recorded})]
            continue
        manifest = read_manifest(registry.root, file).manifest if file else None
        said = manifest.version if manifest else None
        if file and (said is None or (stay.version in (said, "latest") and said not in known.versions)):
            continue  # broken, blank, or what the next merge registers
        if stay.version == "latest" and said in known.registered:
            continue
        coming = WantedModel(stay.model, said, file) if file and said else None
        problems.append(unregistered(stay, known, coming))
    return problems


def _mistake(registry: Registry, one: Checked, known: ModelRecord) -> str | None:
    assert one.version
    scheme = registry.file.scheme
    if not is_valid(one.version, scheme):
        return f"'{one.version}' is not a version of the scheme {scheme}: {RULES[scheme]}"
    version = known.versions.get(one.version)
    if version and version.gone:
        day = f"{version.gone.when:%Y-%m-%d}"
        return f"{known.name}@{one.version} was deregistered on {day}; versions are used once"
    if version:
        return _other_content(registry, one, known, version)
    if twin := cased(one.version, known.versions):
        return f"{known.name}@{one.version} differs from the registered {twin} in the case of letters alone"
    return _small_step(registry, one, known)


def _other_content(registry: Registry, one: Checked, known: ModelRecord, version: Version) -> str | None:
    """Content that changed under a registered version."""
    assert one.content
    said = registry.trailers(version.tag)
    if said.get("Gitreg-Digest", one.content.digest) == one.content.digest:
        return None
    parts = [
        what
        for what, key, now in (
            ("artifact", "Gitreg-Artifact", one.content.artifact),
            ("schema", "Gitreg-Schema", one.content.schema),
        )
        if said.get(key, now) != now
    ]
    last = known.last
    assert last
    level = needed_bump(changes(registry, one, known, last))
    following = bumped(last.version, level, registry.file.scheme)
    return (
        f"{known.name}@{version.version} is registered with other content "
        f"({' and '.join(parts) or 'code or settings'} changed); it needs {following} or a later version: "
        f"gitreg bump {known.name}"
    )


def _small_step(registry: Registry, one: Checked, known: ModelRecord) -> str | None:
    """A new version that is nearer to the one below it than the change of the schema allows."""
    assert one.version
    below = [v for v in known.registered.values() if order(v.version) < order(one.version)]
    if not below:
        return None
    last = max(below, key=lambda v: order(v.version))
    found = changes(registry, one, known, last)
    level = needed_bump(found)
    if suffices(last.version, one.version, level):
        return None
    told = "; ".join(change.text for change in found if change.level == level)
    following = bumped(last.version, level, registry.file.scheme)
    return (
        f"from {last.version} to {one.version} is less than the change, which is {level} ({told}); "
        f"{following} is the next: gitreg bump {known.name}"
    )


def changes(registry: Registry, one: Checked, known: ModelRecord, version: Version) -> list[Change]:
    """What a model's schema changes against a registered version's."""
    manifest = read_manifest(registry.root, one.file).manifest
    return bumper.schema_changes(registry, known, version, manifest) if manifest else []
