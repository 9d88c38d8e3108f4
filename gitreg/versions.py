"""Versions: their order, the next one, and how far two are apart. Two schemes.

- `semver`: https://semver.org/spec/v2.0.0.html, without build metadata (which has no order).
- `triplet`: three numbers from 1 to 99, as ModelArts has them; after 1.1.99 comes 1.2.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from gitreg.errors import Refused
from gitreg.names import VERSION

TRIPLET = re.compile(r"[1-9][0-9]?(\.[1-9][0-9]?){2}\Z", re.ASCII)
RULES = {
    "semver": "SemVer, as 1.2.0 or 1.2.0-rc.1, not ending in .lock",
    "triplet": "three numbers from 1 to 99 without leading zeros, as 1.2.10",
}
LEVELS = ("patch", "minor", "major")
MOST = 99


def is_valid(version: str, scheme: str) -> bool:
    """Whether a version is one of the scheme."""
    return bool((TRIPLET if scheme == "triplet" else VERSION).match(version))


def order(version: str) -> tuple[Any, ...]:
    """A key that sorts versions by precedence: SemVer's rule 11."""
    core, _, pre = version.partition("-")
    # A version without a pre-release comes after all that have one; numbers come before words.
    words = tuple((0, int(word), "") if word.isdigit() else (1, 0, word) for word in pre.split("."))
    return (*map(int, core.split(".")), not pre, words)


def cased(version: str, others: Iterable[str]) -> str | None:
    """Returns the version among others that differs from one in the case of letters alone; None without one.

    Their tags would be one file where file systems do not tell case apart, and clones there would lack one.
    """
    return next((o for o in others if o != version and o.casefold() == version.casefold()), None)


def first(scheme: str) -> str:
    """The version of a model that has none yet."""
    return "1.1.1" if scheme == "triplet" else "1.0.0"


def bumped(version: str, level: str, scheme: str) -> str:
    """The next version.

    Args:
        version: the last one.
        level: "major", "minor" or "patch"; of a pre-release, the version that it precedes may do.

    Raises:
        Refused: the triplet scheme has no version left.
    """
    core, _, pre = version.partition("-")
    major, minor, patch = map(int, core.split("."))
    if scheme == "triplet":
        return _next_triplet(version, [major, minor, patch], LEVELS[::-1].index(level))
    if level == "major":
        major, minor, patch = (major, 0, 0) if pre and not minor and not patch else (major + 1, 0, 0)
    elif level == "minor":
        minor, patch = (minor, 0) if pre and not patch else (minor + 1, 0)
    elif not pre:
        patch += 1
    return f"{major}.{minor}.{patch}"


def _next_triplet(version: str, numbers: list[int], place: int) -> str:
    while place >= 0 and numbers[place] == MOST:
        place -= 1
    if place < 0:
        raise Refused(f"after {version} the triplet scheme has no version", "versions: {scheme: semver}")
    following = [*numbers[:place], numbers[place] + 1, *[1] * (2 - place)]
    return ".".join(map(str, following))


def distance(old: str, new: str) -> str | None:
    """The level in which `new` is above `old`; None when it is not above it."""
    if order(new) <= order(old):
        return None
    before, after = order(old)[:3], order(new)[:3]
    if before[0] != after[0]:
        return "major"
    return "minor" if before[1] != after[1] else "patch"


def suffices(old: str, new: str, level: str) -> bool:
    """Whether a version is far enough above another for a change of a level.

    Below 1.0.0 a minor step may break callers (SemVer, rule 4). A final version and its pre-releases
    count as one: what they may change was decided when the first of them was registered.
    """
    step = distance(old, new)
    if step is None:
        return False
    if old.startswith("0.") and new.startswith("0.") and level == "major":
        level = "minor"
    core, _, pre = old.partition("-")
    if pre:
        _, minor, patch = core.split(".")
        said = "major" if (minor, patch) == ("0", "0") else "minor" if patch == "0" else "patch"
        step = max(step, said, key=LEVELS.index)
    return LEVELS.index(step) >= LEVELS.index(level)
