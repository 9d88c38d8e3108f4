"""Data at an address, as `s3://bucket/model.onnx`: brought once, tracked like any other artifact.

The .dvc file says from where it came and which etag or version that was, as `dvc import-url` does.
"""

from __future__ import annotations

from gitreg import builder, detection
from gitreg.addresses import is_data, url_mistake
from gitreg.errors import Refused
from gitreg.origins.desk import Brought, Desk


def matches(text: str) -> bool:
    """Whether a SOURCE is an address of data."""
    return is_data(text) or text.startswith("file://")


def bring(desk: Desk, text: str) -> Brought:
    """Download what is there; see `origins`.

    Raises:
        Refused: it is no address, or nothing is there.
        Outside: it cannot be reached, or not be had whole.
    """
    mistake = url_mistake(text)
    if mistake:
        raise Refused(f"--from {mistake}" if mistake.startswith("holds") else mistake)
    name = text.rstrip("/").rpartition("/")[2].partition("?")[0]
    if not name or name.startswith((".", "-")) or name in ("model.yaml", "dvc.yaml"):
        name = "artifact"
    place = desk.free(name)
    origin = desk.registry.store.bring(text, place, desk.told)
    found = detection.detect(place)
    desk.track(place)
    desk.registry.store.imported(place.with_name(f"{name}.dvc"), origin)
    return Brought(
        {"url": text, "path": name},
        place,
        lambda: builder.local_artifact(place),
        format=found,
        made_elsewhere=True,
        todo=["dvc push, once it is committed: builds fetch it from your own DVC remote"],
    )
