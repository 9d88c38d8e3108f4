"""The targets by name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fuzz.harness import Target
from tests.fuzz.targets import artifacts, dvc, own, values, whole

TARGETS: Mapping[str, Target] = {
    one.name: one for room in (own, dvc, values, artifacts, whole) for one in room.TARGETS
}
