"""References -> registered versions: by version, stage, ordinal, id, or the latest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from gitreg.errors import Refused, Usage
from gitreg.names import Reference, did_you_mean, models_here, parse_reference
from gitreg.recorded import ModelRecord, Version
from gitreg.versions import order

if TYPE_CHECKING:
    from gitreg.pins import Pin
    from gitreg.repository import Repository


def resolve(registry: Repository, reference: Reference) -> tuple[ModelRecord, Version]:
    """The registered version that a reference names; see `Registry.resolve`."""
    if reference.id:
        return _by_id(registry, reference.id)
    known = registry.record(reference.model)
    if not known.versions:
        recorded = [name for name, one in registry.records().items() if one.tags or one.taken]
        raise no_model(reference, registry.declared(), recorded, known.reasons)
    return known, among(known, reference, registry.ordinal)


def hold_claim(registry: Repository, reference: str, wanted: Pin) -> None:
    """Raise Refused where the tag of a version says that it is another than is wanted.

    A model's bare name means what its manifest here says, registered or not: no tag speaks for that.
    """
    asked = parse_reference(reference)
    if wanted.digest is None or not (asked.version or asked.stage or asked.ordinal or asked.id):
        return
    try:
        known, version = resolve(registry, asked)
    except Refused:  # what is not registered (yet) has only its content to speak for it
        return
    if said := registry.trailers(version.tag).get("Gitreg-Digest"):
        wanted.hold_digest(f"{known.name}@{version.version}", said, "its tag")


def among(known: ModelRecord, reference: Reference, ordinal: Callable[[Version], int]) -> Version:
    """The version of a model that a reference names by version, stage or ordinal; else the highest.

    Raises:
        Refused: there is no such version, or nothing is in that stage.
    """
    if reference.stage:
        version = known.stages.get(reference.stage)
        if version is None:
            there = ", ".join(f"{v} in {s}" for s, v in sorted(known.stages.items())) or "no stage has one"
            guess = did_you_mean(reference.stage, known.stages)
            raise Refused(
                f"no version of {reference.model} is in {reference.stage}{guess}; {there}",
                f"gitreg promote {reference.model} {reference.stage}",
            )
        return known.versions[version]
    if reference.ordinal is not None:
        for one in known.versions.values():
            if ordinal(one) == reference.ordinal:
                return _usable(known, one)
        raise Refused(f"{reference}: {reference.model} has {len(known.versions)} registered versions")
    if reference.version:
        found = known.versions.get(reference.version)
        if found is None:
            names = sorted(known.registered, key=order)
            raise Refused(
                f"{reference} is not registered{did_you_mean(reference.version, names)}",
                f"registered: {', '.join(names[-10:])}; gitreg register {reference.model}, once it is merged",
            )
        return _usable(known, found)
    if not known.registered:
        raise Refused(f"every version of {reference.model} is deregistered")
    return max(known.registered.values(), key=lambda v: order(v.version))


def model_name(registry: Repository, text: str) -> str:
    """The model that a user names: by its name, or by its id.

    Raises:
        Usage: it is neither.
        Refused: no model has this id.
    """
    wanted = parse_reference(text)
    if wanted.version or wanted.stage or wanted.ordinal:
        raise Usage(f"{text!r} names a version; a model is expected", f"write {wanted.model}")
    return _by_id(registry, wanted.id)[0].name if wanted.id else wanted.model


def _usable(known: ModelRecord, version: Version) -> Version:
    if version.gone:
        raise Refused(f"{known.name}@{version.version} was deregistered on {version.gone.when:%Y-%m-%d}")
    return version


def _by_id(registry: Repository, wanted: str) -> tuple[ModelRecord, Version]:
    kind, _, start = wanted.partition("_")
    records = registry.records()
    if kind == "m":
        models = [r for r in records.values() if r.first and r.first.oid.startswith(start)]
        if len(models) == 1:
            return resolve(registry, Reference(models[0].name))
        raise Refused(f"{wanted}: {len(models) or 'no'} models have this id")
    found = [(r, v) for r in records.values() for v in r.versions.values() if v.tag.oid.startswith(start)]
    if len(found) != 1:
        raise Refused(f"{wanted}: {len(found) or 'no'} versions have this id")
    return found[0][0], _usable(*found[0])


def no_model(
    reference: Reference, declared: Collection[str], recorded: Iterable[str], odd: Collection[str] = ()
) -> Refused:
    """The error for a model without a registered version.

    Args:
        declared: names of models that have a manifest.
        recorded: names of models that have tags.
        odd: why tags of this one record nothing.
    """
    if odd:
        first = f"no version of {reference.model} is registered, though it has tags"
        return Refused([first, *odd], "gitreg doctor tells what helps")
    if reference.model in declared:
        return Refused(
            f"no version of {reference.model} is registered yet", f"gitreg register {reference.model}"
        )
    known = sorted({*declared, *recorded} - {reference.model})
    return Refused(
        f"there is no model '{reference.model}'{did_you_mean(reference.model, known)}", models_here(known)
    )
