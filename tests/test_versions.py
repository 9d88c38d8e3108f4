"""Versions: order, the next one, how far two are apart. The library `semver` is the second opinion."""

from __future__ import annotations

import itertools
import random

import pytest
import semver

from gitreg.errors import Refused
from gitreg.versions import LEVELS, MOST, bumped, distance, first, is_valid, order, suffices

SEMVER_ORG = [  # https://semver.org/spec/v2.0.0.html, rule 11, and around it
    "0.0.0-0",
    "0.0.0",
    "0.0.1",
    "0.9.0",
    "0.10.0",
    "1.0.0-0",
    "1.0.0-2",
    "1.0.0-11",
    "1.0.0-11.0",
    "1.0.0--",
    "1.0.0-A",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.1.0",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0-rc1",
    "1.0.0",
    "1.0.1-rc.1",
    "1.0.1",
    "1.0.10",
    "1.2.0",
    "2.0.0",
    "10.0.0",
]
TRIPLETS = ["1.1.1", "1.1.2", "1.1.10", "1.2.1", "1.99.99", "2.1.1", "10.1.1", "99.99.99"]
NOT_TRIPLETS = [
    "",
    "1.1",
    "1.1.1.1",
    "0.1.1",
    "1.0.1",
    "1.1.0",
    "1.1.100",
    "100.1.1",
    "01.1.1",
    "1.1.01",
    "v1.1.1",
    "1.1.1-rc.1",
    "1.1.1\n",
    " 1.1.1",
    "1.1.\u0661",
    "1.1.1\u0661",
    "1.1.-1",
    "1,1,1",
    "latest",
]
BUMPED = [  # version, then after a patch, a minor and a major step
    ("1.2.3", "1.2.4", "1.3.0", "2.0.0"),
    ("0.0.0", "0.0.1", "0.1.0", "1.0.0"),
    ("0.9.9", "0.9.10", "0.10.0", "1.0.0"),
    ("1.2.99", "1.2.100", "1.3.0", "2.0.0"),
    # The version that a pre-release precedes will do where it is far enough.
    ("2.0.0-rc.1", "2.0.0", "2.0.0", "2.0.0"),
    ("1.3.0-rc.1", "1.3.0", "1.3.0", "2.0.0"),
    ("1.2.4-rc.1", "1.2.4", "1.3.0", "2.0.0"),
    ("1.0.1-0", "1.0.1", "1.1.0", "2.0.0"),
    ("0.0.0-x-y.7", "0.0.0", "0.0.0", "0.0.0"),
]
BUMPED_TRIPLETS = [
    ("1.1.1", "1.1.2", "1.2.1", "2.1.1"),
    ("3.4.5", "3.4.6", "3.5.1", "4.1.1"),
    ("1.1.9", "1.1.10", "1.2.1", "2.1.1"),
    ("1.1.98", "1.1.99", "1.2.1", "2.1.1"),
    ("1.1.99", "1.2.1", "1.2.1", "2.1.1"),
    ("1.99.5", "1.99.6", "2.1.1", "2.1.1"),
    ("1.99.99", "2.1.1", "2.1.1", "2.1.1"),
    ("98.99.99", "99.1.1", "99.1.1", "99.1.1"),
    ("99.1.99", "99.2.1", "99.2.1", None),
    ("99.99.1", "99.99.2", None, None),
    ("99.99.99", None, None, None),
]
DISTANCES = [
    ("1.0.0", "1.0.1", "patch"),
    ("1.0.0", "1.0.100", "patch"),
    ("1.0.0", "1.1.0", "minor"),
    ("1.0.9", "1.1.0", "minor"),
    ("1.0.0", "1.1.1", "minor"),
    ("1.9.9", "2.0.0", "major"),
    ("1.0.0", "2.3.4", "major"),
    ("0.1.0", "0.2.0", "minor"),
    ("0.9.0", "1.0.0", "major"),
    ("1.0.0-rc.1", "1.0.0-rc.2", "patch"),
    ("1.0.0-rc.1", "1.0.0", "patch"),
    ("1.0.0", "1.0.1-rc.1", "patch"),
    ("1.0.0", "2.0.0-rc.1", "major"),
    ("1.0.0", "1.0.0", None),
    ("1.0.1", "1.0.0", None),
    ("2.0.0", "1.9.9", None),
    ("1.0.0", "1.0.0-rc.1", None),
    ("1.0.0-rc.2", "1.0.0-rc.1", None),
    ("1.0.0-rc.11", "1.0.0-rc.2", None),
]
SUFFICES = [  # old, new, the greatest change for which the step is enough
    ("1.0.0", "1.0.1", "patch"),
    ("1.0.0", "1.0.1-rc.1", "patch"),
    ("1.0.5", "1.1.0", "minor"),
    ("1.0.0", "1.1.0-rc.1", "minor"),
    ("1.9.0", "2.0.0", "major"),
    ("1.0.0", "2.0.0-rc.1", "major"),
    ("1.0.0", "1.0.0", None),
    ("1.0.0", "0.9.0", None),
    ("1.0.0", "1.0.0-rc.1", None),
    # Below 1.0.0 a minor step may break callers.
    ("0.1.0", "0.1.1", "patch"),
    ("0.1.0", "0.2.0", "major"),
    ("0.9.0", "1.0.0", "major"),
    ("0.0.1", "0.0.2", "patch"),
    # A final version and its pre-releases may change what the first of them was allowed to.
    ("2.0.0-rc.1", "2.0.0-rc.2", "major"),
    ("2.0.0-rc.1", "2.0.0", "major"),
    ("1.3.0-rc.1", "1.3.0", "minor"),
    ("1.3.0-rc.1", "1.3.0-rc.2", "minor"),
    ("1.3.1-rc.1", "1.3.1", "patch"),
    ("0.2.0-rc.1", "0.2.0", "major"),
    ("0.2.1-rc.1", "0.2.1", "patch"),
    ("2.0.0-rc.2", "2.0.0-rc.1", None),
    # Ten is not one followed by nothing.
    ("10.0.0", "10.0.1", "patch"),
    ("0.10.0-rc.1", "0.10.0", "major"),
    ("1.10.0-rc.1", "1.10.0", "minor"),
    ("1.10.10-rc.1", "1.10.10", "patch"),
]


def some_versions(many: int, most: int = 3) -> list[str]:
    """SemVer versions, many of them close to each other."""
    chance = random.Random(0)
    words = ["0", "1", "2", "10", "9007199254740993", "a", "A", "b", "rc", "rc1", "0a", "-", "--", "1-", "z9"]
    found = []
    for _ in range(many):
        core = ".".join(str(chance.choice([0, 1, most, 10])) for _ in range(3))
        parts = chance.choices(words, k=chance.choice([0, 0, 1, 1, 2, 3]))
        found.append(core + ("-" + ".".join(parts) if parts else ""))
    return found


# Order ----------------------------------------------------------------------------------------------------


def test_versions_are_ordered_as_semver_org_says() -> None:
    mixed = random.Random(0).sample(SEMVER_ORG, len(SEMVER_ORG))
    assert sorted(mixed, key=order) == SEMVER_ORG


def test_any_two_versions_are_ordered_as_the_library_orders_them() -> None:
    versions = some_versions(400)
    parsed = {version: semver.Version.parse(version) for version in versions}
    answers = set()
    for one, other in itertools.combinations(versions, 2):
        mine = (order(one) > order(other)) - (order(one) < order(other))
        assert mine == parsed[one].compare(parsed[other]), (one, other)
        answers.add(mine)
    assert answers == {-1, 0, 1}


def test_versions_of_one_place_in_the_order_are_the_same_version() -> None:
    """SemVer without build metadata has no two spellings of one version."""
    versions = set(some_versions(2000)) | set(SEMVER_ORG)
    assert len({order(version) for version in versions}) == len(versions)


# Schemes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", TRIPLETS)
def test_a_triplet(version: str) -> None:
    assert is_valid(version, "triplet")
    assert is_valid(version, "semver")


@pytest.mark.parametrize("version", NOT_TRIPLETS)
def test_not_a_triplet(version: str) -> None:
    assert not is_valid(version, "triplet")


def test_semver_takes_what_the_library_takes_and_no_build_metadata() -> None:
    for version in [*some_versions(500), *SEMVER_ORG, *NOT_TRIPLETS]:
        assert is_valid(version, "semver") == semver.Version.is_valid(version), version
    assert semver.Version.is_valid("1.0.0+build") and not is_valid("1.0.0+build", "semver")


@pytest.mark.parametrize(("scheme", "version"), [("semver", "1.0.0"), ("triplet", "1.1.1")])
def test_the_first_version_of_a_scheme(scheme: str, version: str) -> None:
    assert first(scheme) == version
    assert is_valid(version, scheme)


# The next version -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "patch", "minor", "major"), BUMPED)
def test_the_next_version(version: str, patch: str, minor: str, major: str) -> None:
    assert [bumped(version, level, "semver") for level in LEVELS] == [patch, minor, major]


def test_the_next_version_is_what_the_library_says() -> None:
    for version in [*some_versions(1000), *SEMVER_ORG]:
        for level in LEVELS:
            assert bumped(version, level, "semver") == str(semver.Version.parse(version).next_version(level))


@pytest.mark.parametrize(("version", "patch", "minor", "major"), BUMPED_TRIPLETS)
def test_the_next_triplet(version: str, patch: str | None, minor: str | None, major: str | None) -> None:
    for level, following in zip(LEVELS, (patch, minor, major), strict=True):
        if following is not None:
            assert bumped(version, level, "triplet") == following
            continue
        with pytest.raises(Refused, match=rf"^after {version} the triplet scheme has no version$") as caught:
            bumped(version, level, "triplet")
        assert caught.value.hint == "versions: {scheme: semver}"


def test_the_next_triplet_is_the_lowest_one_that_is_that_far_above() -> None:
    """Triplets counted: as digits to the base of 99."""

    def triplet(number: int) -> str:
        return f"{number // MOST**2 + 1}.{number // MOST % MOST + 1}.{number % MOST + 1}"

    chance = random.Random(0)
    edges = [MOST**k * n - 1 for k in (1, 2) for n in (1, 2, MOST - 1)]
    for number in [*edges, *(chance.randrange(MOST**3 - MOST**2) for _ in range(3000))]:
        for level, unit in zip(LEVELS, (1, MOST, MOST**2), strict=True):
            following = (number // unit + 1) * unit
            assert bumped(triplet(number), level, "triplet") == triplet(following), (triplet(number), level)


@pytest.mark.parametrize("scheme", ["semver", "triplet"])
def test_the_next_version_is_of_the_scheme_and_above_and_far_enough(scheme: str) -> None:
    chance = random.Random(0)
    triplets = [".".join(str(chance.choice([1, 2, 50, 99])) for _ in range(3)) for _ in range(500)]
    for version in triplets if scheme == "triplet" else some_versions(500):
        for level in LEVELS:
            try:
                following = bumped(version, level, scheme)
            except Refused:
                assert scheme == "triplet" and version.startswith("99.")
                continue
            assert is_valid(following, scheme)
            assert suffices(version, following, level), (version, following, level)


# Distances ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new", "level"), DISTANCES)
def test_the_distance(old: str, new: str, level: str | None) -> None:
    assert distance(old, new) == level


@pytest.mark.parametrize(("old", "new", "most"), SUFFICES)
def test_how_much_may_change_in_a_step(old: str, new: str, most: str | None) -> None:
    enough = [level for level in LEVELS if suffices(old, new, level)]
    # Below 1.0.0 a step for a break is one for an addition too.
    assert enough == list(LEVELS[: LEVELS.index(most) + 1] if most else ())


def test_what_suffices_for_a_change_suffices_for_a_smaller_one_and_is_above() -> None:
    versions = some_versions(150)
    for old, new in itertools.product(versions, versions):
        enough = [suffices(old, new, level) for level in LEVELS]
        assert enough == sorted(enough, reverse=True), (old, new)
        assert enough[0] == (order(new) > order(old)), (old, new)


def test_a_higher_version_suffices_for_all_that_a_lower_one_does() -> None:
    versions = sorted({*some_versions(150)}, key=order)
    for old, level in itertools.product(versions, LEVELS):
        enough = [suffices(old, new, level) for new in versions]
        assert enough == sorted(enough), (old, level)
