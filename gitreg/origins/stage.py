"""The output of a training job: `stage:NAME` of a dvc.yaml, or `stage:NAME:OUT` where it has several.

Nothing is copied and the stage's command is not run: what dvc.lock says of the output is the artifact.
"""

from __future__ import annotations

from gitreg import detection, formats
from gitreg.declared import ArtifactSource
from gitreg.errors import GitregError, Refused
from gitreg.origins.desk import Brought, Desk
from gitreg.store import Tracked

_WORD = "stage:"


def matches(text: str) -> bool:
    """Whether a SOURCE names a stage."""
    return text.startswith(_WORD)


def bring(desk: Desk, text: str) -> Brought:
    """The output of a stage; see `origins`.

    Raises:
        Refused: no dvc.lock has such a stage, or not one output of it is meant.
        Outside: the output is needed, and neither the cache nor the DVC remote has it.
    """
    registry = desk.registry
    folder = desk.folder.relative_to(registry.root).as_posix()
    name, _, out = text.removeprefix(_WORD).partition(":")
    if not name:
        raise Refused(f"{text!r} names no stage", "--from stage:train")
    path = out.removeprefix("./") or None
    found = registry.store.tracked(ArtifactSource(stage=name, path=path), folder)
    said = {"stage": name, **({"path": desk.below(registry.root / found.path)} if path else {})}
    return Brought(
        said,
        registry.root / found.path,
        lambda: registry.store.artifact(found),
        format=_format(desk, found),
        fields=_measured(desk, name, folder),
        follows=True,
        todo=["commit dvc.lock too: it says which output of the stage is the artifact"],
    )


def _format(desk: Desk, found: Tracked) -> formats.Format:
    """What the output is; it is fetched where it is nowhere here."""
    store, place = desk.registry.store, desk.registry.root / found.path
    if store.missing(found):
        if place.exists():
            return detection.detect(place)
        store.fetch([found])
    return detection.detect_files({name: link.source for name, link in store.artifact(found).files.items()})


def _measured(desk: Desk, name: str, folder: str) -> dict[str, str]:
    """The stage's files of parameters and metrics, where it has one of each."""
    found = {}
    for key, files in desk.registry.store.measures(name, folder).items():
        if len(files) == 1 and (desk.registry.root / files[0]).is_file():
            found[key] = desk.below(desk.registry.root / files[0])
    try:
        for path in found.values():
            desk.check(path)
    except GitregError:
        return {}
    return found
