"""A file or a folder on this machine: copied into the model's folder, unless it lies there already."""

from __future__ import annotations

import os

from gitreg import builder, detection
from gitreg.errors import Refused
from gitreg.origins.desk import Brought, Desk, absolute


def matches(text: str) -> bool:
    """Whatever is nothing else."""
    return True


def bring(desk: Desk, text: str) -> Brought:
    """Take a file or folder; see `origins`.

    Raises:
        Refused: there is nothing there.
    """
    origin = absolute(text)
    if not os.path.lexists(origin):
        raise Refused(f"{text} does not exist", _hint(text))
    found = detection.detect(origin)
    place = desk.take(origin, origin.name if origin.is_file() else "artifacts")
    return Brought(
        desk.below(place),
        place,
        lambda: builder.local_artifact(place),
        format=found,
        taken=[origin],
        track=True,
    )


def _hint(text: str) -> str | None:
    return "gitreg new --help tells what a SOURCE may be" if ":" in text else None
