"""A container image, pinned by its digest: `image:REGISTRY/NAME@sha256:...`. Nothing is pulled."""

from __future__ import annotations

import re

from gitreg.errors import Refused
from gitreg.origins.desk import Brought, Desk

_WORD = "image:"
_PINNED = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}\Z")


def matches(text: str) -> bool:
    """Whether a SOURCE names an image."""
    return text.startswith(_WORD)


def bring(desk: Desk, text: str) -> Brought:
    """The model is the image; see `origins`."""
    return Brought(fields={"type": "image", "image": pinned(text)})


def pinned(text: str) -> str:
    """An image's name with its digest.

    Raises:
        Refused: it has a tag alone, which may be another image tomorrow; or it is none.
    """
    name = text.removeprefix(_WORD)
    if _PINNED.match(name):
        return name
    plain = re.match(r"[\w.:/-]+\Z", name) and not name.startswith("-")
    if plain and "@" not in name:
        tagged = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
        raise Refused(
            f"{name}: an image is pinned by its digest, as a tag may be another image tomorrow",
            f"docker buildx imagetools inspect {tagged}, or crane digest {tagged}, tells the sha256:... to "
            "write behind @",
        )
    raise Refused(f"{name!r} is not an image pinned by digest", "REGISTRY/NAME@sha256:<64 hex digits>")
