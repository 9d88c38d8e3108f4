"""History and plan: hand-built tags in, what is recorded and what is to be done out. No Git, no files.

A tag is written here as `name commit`, where the commit is a letter; its time is its place in the list,
or `@time` at its end.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping

import pytest

from gitreg import history, plan
from gitreg.desired import Action, Desired, WantedModel, WantedStay
from gitreg.errors import Problem
from gitreg.names import Kind, TagName, parse_tag
from gitreg.recorded import ModelRecord, Tag
from gitreg.versions import LEVELS, bumped, order

START = 1_800_000_000
A, B, C = "churn@v1.0.0 a", "churn@v1.1.0 b", "churn@v2.0.0 c"


def tag(text: str, place: int = 0) -> Tag:
    """`churn#production#4 a @17` as a tag."""
    name, commit, *moment = text.split(" ")
    says = parse_tag(name)
    assert says
    time = START + (int(moment[0].removeprefix("@")) if moment else place)
    return Tag(name, hashlib.sha1(text.encode()).hexdigest(), commit, time, says)


def tags(*texts: str) -> list[Tag]:
    return [tag(text, place) for place, text in enumerate(texts)]


def recorded(*texts: str) -> dict[str, ModelRecord]:
    return history.by_model(tags(*texts))


def churn(*texts: str) -> ModelRecord:
    return recorded(*texts).get("churn", ModelRecord("churn"))


# What is in a stage ---------------------------------------------------------------------------------------

STATES: dict[str, tuple[list[str], dict[str, str]]] = {
    "nothing": ([], {}),
    "registered only": ([A, B], {}),
    "assigned": ([A, "churn#staging#1 a"], {"staging": "1.0.0"}),
    "assigned without a counter": ([A, "churn#staging a"], {"staging": "1.0.0"}),
    "two stages": (
        [A, B, "churn#staging#1 b", "churn#production#2 a"],
        {"staging": "1.1.0", "production": "1.0.0"},
    ),
    "the last one assigned": ([A, B, "churn#staging#1 a", "churn#staging#2 b"], {"staging": "1.1.0"}),
    "the last one assigned, though it is lower": (
        [A, B, "churn#staging#1 b", "churn#staging#2 a"],
        {"staging": "1.0.0"},
    ),
    "the last one assigned, though it was there before": (
        [A, B, "churn#staging#1 a", "churn#staging#2 b", "churn#staging#3 a"],
        {"staging": "1.0.0"},
    ),
    "assigned twice": ([A, "churn#staging#1 a", "churn#staging#2 a"], {"staging": "1.0.0"}),
    "assigned twice, unassigned once": (
        [A, "churn#staging#1 a", "churn#staging#2 a", "churn#staging!#3 a"],
        {},
    ),
    "unassigned": ([A, "churn#staging#1 a", "churn#staging!#2 a"], {}),
    "unassigned and assigned": (
        [A, "churn#staging#1 a", "churn#staging!#2 a", "churn#staging#3 a"],
        {"staging": "1.0.0"},
    ),
    "unassigned from another stage": (
        [A, "churn#staging#1 a", "churn#production!#2 a"],
        {"staging": "1.0.0"},
    ),
    "an earlier one is unassigned": (
        [A, B, "churn#staging#1 a", "churn#staging#2 b", "churn#staging!#3 a"],
        {"staging": "1.1.0"},
    ),
    "the last one is unassigned, and the one before holds": (
        [A, B, "churn#staging#1 a", "churn#staging#2 b", "churn#staging!#3 b"],
        {"staging": "1.0.0"},
    ),
    "all are unassigned": (
        [A, B, "churn#staging#1 a", "churn#staging#2 b", "churn#staging!#3 b", "churn#staging!#4 a"],
        {},
    ),
    "deregistered": ([A, "churn#staging#1 a", "churn@v1.0.0!#2 a"], {}),
    "deregistered, and the one before holds": (
        [A, B, "churn#staging#1 a", "churn#staging#2 b", "churn@v1.1.0!#3 b"],
        {"staging": "1.0.0"},
    ),
    "another one is deregistered": (
        [A, B, "churn#staging#1 a", "churn#staging#2 b", "churn@v1.0.0!#3 a"],
        {"staging": "1.1.0"},
    ),
    "deprecated, which ends nothing": (
        [A, "churn#staging#1 a", "churn@deprecated#2 a"],
        {"staging": "1.0.0"},
    ),
    "at a commit of no version": ([A, "churn#staging#1 z"], {}),
    "assigned first and registered later": (["churn#staging#1 a", A], {"staging": "1.0.0"}),
    "unassigned before it was assigned": (
        [A, "churn#staging!#1 a", "churn#staging#2 a"],
        {"staging": "1.0.0"},
    ),
}


@pytest.mark.parametrize(("texts", "stages"), STATES.values(), ids=STATES.keys())
def test_what_is_in_each_stage(texts: list[str], stages: dict[str, str]) -> None:
    assert churn(*texts).stages == stages


@pytest.mark.parametrize(("texts", "stages"), STATES.values(), ids=STATES.keys())
def test_the_order_in_which_tags_are_listed_does_not_matter(texts: list[str], stages: dict[str, str]) -> None:
    listed, chance = tags(*texts), random.Random(0)
    for _ in range(5):
        chance.shuffle(listed)
        assert history.by_model(listed) == recorded(*texts)


def test_versions_that_gto_counts_as_in_a_stage_are_listed_by_their_assignment() -> None:
    known = churn(A, B, C, "churn#staging#1 c", "churn#staging#2 a", "churn#staging#3 b", "churn#staging#4 a")
    assert known.active == {"staging": ("2.0.0", "1.1.0", "1.0.0")}


DEREGISTERED_FIRST = [A, "churn@v1.0.0!#1 a", "churn#staging#2 a"]


def test_a_deregistered_version_does_not_come_into_a_stage() -> None:
    assert churn(*DEREGISTERED_FIRST).stages == {}


def test_a_deregistered_version_that_somebody_assigned_is_a_problem() -> None:
    made = plan.make(desired(staging={"churn": "1.0.0"}), recorded(*DEREGISTERED_FIRST))
    assert [p.message for p in made.problems] == [
        "churn@1.0.0 was deregistered: gitreg demote churn staging, or promote another version"
    ]


def test_a_version_that_is_registered_again_is_where_it_was() -> None:
    assert churn(A, "churn#staging#1 a", "churn@v1.0.0!#2 a", "churn@v1.0.0#3 a").stages == {
        "staging": "1.0.0"
    }


# Time -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "in_order"),
    [
        # Time is above everything, also above counters.
        (["churn#staging#1 a @9", "churn#staging#2 b @5"], ["churn#staging#2", "churn#staging#1"]),
        # Within a second: registrations, which have no counter, then counters as numbers.
        (
            ["churn#staging#10 a @5", "churn#staging#9 b @5", "churn@v1.0.0 a @5"],
            ["churn@v1.0.0", "churn#staging#9", "churn#staging#10"],
        ),
        (["churn#staging!#2 a @5", "churn#production#1 a @5"], ["churn#production#1", "churn#staging!#2"]),
        # What two clones numbered alike at the same time has an order nevertheless.
        (["churn#staging#1 b @5", "churn#production#1 a @5"], ["churn#production#1", "churn#staging#1"]),
    ],
)
def test_the_order_in_which_tags_take_effect(texts: list[str], in_order: list[str]) -> None:
    for listed in (texts, texts[::-1]):
        known = churn(*listed)
        assert [t.name for t in known.tags] == in_order
        assert known.time == START + max(int(text.rpartition("@")[2]) for text in texts)


def test_state_follows_time_and_not_counters() -> None:
    assert churn(A, B, "churn#staging#7 a @20", "churn#staging#8 b @10").stages == {"staging": "1.0.0"}
    assert churn(A, B, "churn#staging#7 a @20", "churn#staging#8 b @20").stages == {"staging": "1.1.0"}


# Stays ----------------------------------------------------------------------------------------------------

STAYS: dict[str, tuple[list[str], list[tuple[str, str | None, str, str | None]]]] = {
    "lasting": ([A, "churn#staging#1 a"], [("staging", "1.0.0", "#1", None)]),
    "ended by an unassignment": (
        [A, "churn#staging#1 a", "churn#staging!#2 a"],
        [("staging", "1.0.0", "#1", "#2")],
    ),
    "ended by the next version": (
        [A, B, "churn#staging#1 a", "churn#staging#2 b"],
        [("staging", "1.0.0", "#1", "#2"), ("staging", "1.1.0", "#2", None)],
    ),
    "ended by the next version, though it was unassigned later": (
        [A, B, "churn#staging#1 a", "churn#staging#2 b", "churn#staging!#3 a"],
        [("staging", "1.0.0", "#1", "#2"), ("staging", "1.1.0", "#2", None)],
    ),
    "ended by an unassignment before the next version": (
        [A, B, "churn#staging#1 b", "churn#staging!#2 b", "churn#staging#3 a"],
        [("staging", "1.1.0", "#1", "#2"), ("staging", "1.0.0", "#3", None)],
    ),
    "ended by its deregistration": (
        [A, "churn#staging#1 a", "churn#production#2 a", "churn@v1.0.0!#3 a"],
        [("staging", "1.0.0", "#1", "#3"), ("production", "1.0.0", "#2", "#3")],
    ),
    "not ended by another stage": (
        [A, B, "churn#staging#1 a", "churn#production#2 b", "churn#production!#3 a"],
        [("staging", "1.0.0", "#1", None), ("production", "1.1.0", "#2", None)],
    ),
    "not ended by a deprecation": (
        [A, "churn#staging#1 a", "churn@deprecated#2 a"],
        [("staging", "1.0.0", "#1", None)],
    ),
    "begun anew by a second assignment": (
        [A, "churn#staging#1 a", "churn#staging#2 a"],
        [("staging", "1.0.0", "#1", "#2"), ("staging", "1.0.0", "#2", None)],
    ),
    "there and back": (
        [A, B, "churn#staging#1 a", "churn#staging#2 b", "churn#staging!#3 b", "churn#staging#4 a"],
        [
            ("staging", "1.0.0", "#1", "#2"),
            ("staging", "1.1.0", "#2", "#3"),
            ("staging", "1.0.0", "#4", None),
        ],
    ),
    "of a commit of no version": (
        [A, "churn#staging#1 z", "churn#staging!#2 z"],
        [("staging", None, "#1", "#2")],
    ),
}


@pytest.mark.parametrize(("texts", "stays"), STAYS.values(), ids=STAYS.keys())
def test_stays_and_what_ended_them(
    texts: list[str], stays: list[tuple[str, str | None, str, str | None]]
) -> None:
    def counter(one: Tag | None) -> str | None:
        return f"#{one.says.counter}" if one else None

    known = churn(*texts)
    assert [(s.stage, s.version, counter(s.tag), counter(s.until)) for s in known.stays] == stays
    for stay in known.stays:
        assert stay.version is None or known.was_in(stay.stage, stay.version)


def test_a_version_was_never_in_a_stage_that_it_only_left() -> None:
    known = churn(A, B, "churn#staging#1 a", "churn#production!#2 b")
    assert known.was_in("staging", "1.0.0")
    assert not known.was_in("staging", "1.1.0")
    assert not known.was_in("production", "1.0.0")
    assert not known.was_in("production", "1.1.0")


# Versions -------------------------------------------------------------------------------------------------


def ordinals(known: ModelRecord) -> dict[str, int]:
    return {version: one.number for version, one in known.versions.items()}


@pytest.mark.parametrize(
    ("texts", "numbers", "registered"),
    [
        ([A, B, C], {"1.0.0": 1, "1.1.0": 2, "2.0.0": 3}, ["1.0.0", "1.1.0", "2.0.0"]),
        # In order of registration, not of precedence.
        ([C, A, B], {"2.0.0": 1, "1.0.0": 2, "1.1.0": 3}, ["2.0.0", "1.0.0", "1.1.0"]),
        # One that is gone keeps its number, and nobody else gets it.
        ([A, B, "churn@v1.1.0!#1 b", C], {"1.0.0": 1, "1.1.0": 2, "2.0.0": 3}, ["1.0.0", "2.0.0"]),
        # A second registration gives no second number.
        ([A, "churn@v1.0.0#1 a", B], {"1.0.0": 1, "1.1.0": 2}, ["1.0.0", "1.1.0"]),
        (
            [A, B, "churn@v1.0.0!#1 a", "churn@v1.0.0#2 a", C],
            {"1.0.0": 1, "1.1.0": 2, "2.0.0": 3},
            ["1.0.0", "1.1.0", "2.0.0"],
        ),
        # A deregistration of what there is not does nothing.
        ([A, "churn@v9.9.9!#1 a"], {"1.0.0": 1}, ["1.0.0"]),
        (["churn#staging#1 a"], {}, []),
    ],
)
def test_ordinals_count_registrations_and_are_never_reused(
    texts: list[str], numbers: dict[str, int], registered: list[str]
) -> None:
    known = churn(*texts)
    assert ordinals(known) == numbers
    assert list(known.registered) == registered


def test_a_version_is_gone_with_the_tag_that_says_so_until_it_is_registered_again() -> None:
    gone = churn(A, "churn@v1.0.0!#1 a").versions["1.0.0"].gone
    assert gone and gone.name == "churn@v1.0.0!#1"
    again = churn(A, "churn@v1.0.0!#1 a", "churn@v1.0.0#2 a").versions["1.0.0"]
    assert again.gone is None
    assert again.tag.name == "churn@v1.0.0"


def test_the_last_version_is_the_highest_one_ever_registered() -> None:
    assert churn().last is None
    known = churn(C, A, "churn@v2.0.0!#1 c")
    assert known.last and known.last.version == "2.0.0"
    final = churn("churn@v2.0.0-rc.11 a", "churn@v2.0.0-rc.2 b").last
    assert final and final.version == "2.0.0-rc.11"


def test_the_counter_is_the_highest_of_any_tag() -> None:
    assert churn(A).counter == 0
    assert churn(A, "churn#staging#12 a", "churn#staging#3 a").counter == 12
    assert churn(A, "churn@v1.0.0!#4 a", "churn@deprecated#5 a").counter == 5


def test_ids_are_of_the_tags_that_registered_and_stay_the_same() -> None:
    early, late = churn(C, A), churn(C, A, B, "churn#staging#1 a", "churn@v2.0.0!#2 c")
    assert early.id == late.id == f"m_{tag(C).oid[:12]}"
    assert early.versions["1.0.0"].id == late.versions["1.0.0"].id
    assert late.versions["1.1.0"].id == f"v_{tag(B, 2).oid[:12]}"
    assert churn("churn#staging#1 a").id == ""


@pytest.mark.parametrize(
    ("texts", "deprecated"),
    [
        ([A], None),
        ([A, "churn@deprecated#1 a"], "churn@deprecated#1"),
        ([A, "churn@deprecated#1 a", "churn@deprecated#2 a"], "churn@deprecated#2"),
        ([A, "churn@deprecated#1 a", B], None),
        ([A, "churn@deprecated#1 a", "churn#staging#2 a"], None),
    ],
)
def test_a_model_is_deprecated_while_nothing_follows(texts: list[str], deprecated: str | None) -> None:
    found = churn(*texts).deprecated
    assert (found.name if found else None) == deprecated


def test_models_whose_names_begin_alike_are_kept_apart() -> None:
    texts = [A, "churn-eu@v3.0.0 a", "churn#staging#1 a", "churn-eu#production#1 a", "churn-e@v4.0.0 a"]
    found = recorded(*texts)
    assert sorted(found) == ["churn", "churn-e", "churn-eu"]
    assert (ordinals(found["churn"]), found["churn"].stages) == ({"1.0.0": 1}, {"staging": "1.0.0"})
    assert (ordinals(found["churn-eu"]), found["churn-eu"].stages) == ({"3.0.0": 1}, {"production": "3.0.0"})
    assert (ordinals(found["churn-e"]), found["churn-e"].stages) == ({"4.0.0": 1}, {})


# Plan -----------------------------------------------------------------------------------------------------

STAGES = ("staging", "production")


def desired(
    models: Mapping[str, str] | None = None,
    commit: str = "n",
    scheme: str = "semver",
    **stages: dict[str, str],
) -> Desired:
    """What files say: model -> version of each manifest, and of each stage."""
    wanted = {
        name: WantedModel(name, v, f"models/{name}/model.yaml", 2, 10) for name, v in (models or {}).items()
    }
    stays = [
        WantedStay(stage, model, version, f"stages/{stage}.yaml", line, len(model) + 3)
        for stage, entries in stages.items()
        for line, (model, version) in enumerate(entries.items(), 1)
    ]
    return Desired(commit, wanted, STAGES, tuple(stays), scheme)


def steps(made: plan.Plan) -> list[str]:
    """A plan's actions with the commits that they name."""
    assert made.problems == []
    return [f"{' '.join(str(action).split())} at {action.commit}" for action in made.actions]


PLANS: dict[str, tuple[list[str], Desired, list[str]]] = {
    "nothing": ([], desired(), []),
    "a first version": ([], desired({"churn": "1.0.0"}), ["register churn@1.0.0 at n"]),
    "a registered version": ([A], desired({"churn": "1.0.0"}), []),
    "the next version": ([A], desired({"churn": "1.1.0"}), ["register churn@1.1.0 at n"]),
    "a manifest that went back": ([A, B], desired({"churn": "1.0.0"}), []),
    "a manifest that is gone": ([A], desired(), []),
    "models by name": (
        [],
        desired({"fraud": "1.0.0", "churn-eu": "1.0.0", "churn": "1.0.0"}),
        ["register churn@1.0.0 at n", "register churn-eu@1.0.0 at n", "register fraud@1.0.0 at n"],
    ),
    "a registered version into a stage": (
        [A, B],
        desired(staging={"churn": "1.0.0"}),
        ["assign churn@1.0.0 to staging at a"],
    ),
    "a new version, and at once into a stage": (
        [A],
        desired({"churn": "1.1.0"}, staging={"churn": "1.1.0"}),
        ["register churn@1.1.0 at n", "assign churn@1.1.0 to staging at n"],
    ),
    "a new version, and another into a stage": (
        [A],
        desired({"churn": "1.1.0"}, staging={"churn": "1.0.0"}),
        ["register churn@1.1.0 at n", "assign churn@1.0.0 to staging at a"],
    ),
    "stages as registry.yaml orders them": (
        [A, B],
        desired(production={"churn": "1.0.0"}, staging={"churn": "1.1.0"}),
        ["assign churn@1.1.0 to staging at b", "assign churn@1.0.0 to production at a"],
    ),
    "what is in the stage": ([A, "churn#staging#1 a"], desired(staging={"churn": "1.0.0"}), []),
    "a higher version": (
        [A, B, "churn#staging#1 a"],
        desired(staging={"churn": "1.1.0"}),
        ["assign churn@1.1.0 to staging (instead of 1.0.0) at b"],
    ),
    "a lower version, the higher one unassigned first": (
        [A, B, "churn#staging#1 b"],
        desired(staging={"churn": "1.0.0"}),
        ["unassign churn@1.1.0 from staging at b", "assign churn@1.0.0 to staging (instead of 1.1.0) at a"],
    ),
    "a lower version that is active still": (
        [A, B, "churn#staging#1 a", "churn#staging#2 b"],
        desired(staging={"churn": "1.0.0"}),
        ["unassign churn@1.1.0 from staging at b", "assign churn@1.0.0 to staging (instead of 1.1.0) at a"],
    ),
    "a middle version between two that are active": (
        [A, B, C, "churn#staging#1 a", "churn#staging#2 c"],
        desired(staging={"churn": "1.1.0"}),
        ["unassign churn@2.0.0 from staging at c", "assign churn@1.1.0 to staging (instead of 2.0.0) at b"],
    ),
    "the lowest below two that are active": (
        [A, B, C, "churn#staging#1 c", "churn#staging#2 b"],
        desired(staging={"churn": "1.0.0"}),
        [
            "unassign churn@2.0.0 from staging at c",
            "unassign churn@1.1.0 from staging at b",
            "assign churn@1.0.0 to staging (instead of 1.1.0) at a",
        ],
    ),
    "a final version after its pre-release": (
        ["churn@v1.0.0-rc.1 a", "churn@v1.0.0 b", "churn#staging#1 a"],
        desired(staging={"churn": "1.0.0"}),
        ["assign churn@1.0.0 to staging (instead of 1.0.0-rc.1) at b"],
    ),
    "back to a pre-release": (
        ["churn@v1.0.0-rc.1 a", "churn@v1.0.0 b", "churn#staging#1 b"],
        desired(staging={"churn": "1.0.0-rc.1"}),
        [
            "unassign churn@1.0.0 from staging at b",
            "assign churn@1.0.0-rc.1 to staging (instead of 1.0.0) at a",
        ],
    ),
    "out of a stage": (
        [A, "churn#staging#1 a"],
        desired({"churn": "1.0.0"}),
        ["unassign churn@1.0.0 from staging at a"],
    ),
    "out of a stage with all that is active, what is in it last": (
        [A, B, C, "churn#staging#1 a", "churn#staging#2 c", "churn#staging#3 b"],
        desired(),
        [
            "unassign churn@1.0.0 from staging at a",
            "unassign churn@2.0.0 from staging at c",
            "unassign churn@1.1.0 from staging at b",
        ],
    ),
    "out of one stage and not of the other": (
        [A, "churn#staging#1 a", "churn#production#2 a"],
        desired(production={"churn": "1.0.0"}),
        ["unassign churn@1.0.0 from staging at a"],
    ),
    "a stage that registry.yaml does not know": ([A, "churn#canary#1 a"], desired(), []),
    "a stage tag of no version": ([A, "churn#staging#1 z"], desired(), []),
    "another model's stage": (
        [A, "churn-eu@v1.0.0 b", "churn#staging#1 a"],
        desired(staging={"churn": "1.0.0", "churn-eu": "1.0.0"}),
        ["assign churn-eu@1.0.0 to staging at b"],
    ),
    "of triplets, ten is above nine": (
        ["churn@v1.1.9 a", "churn@v1.1.10 b", "churn#staging#1 b"],
        desired({"churn": "1.1.10"}, scheme="triplet", staging={"churn": "1.1.9"}),
        ["unassign churn@1.1.10 from staging at b", "assign churn@1.1.9 to staging (instead of 1.1.10) at a"],
    ),
}


def planned_for_the_unsettled(wanted: Desired, records: Mapping[str, ModelRecord]) -> plan.Plan:
    """A plan for those models alone that something may be to do for."""
    standings = {name: known.standing for name, known in records.items()}
    unsettled = plan.unsettled(wanted, standings)
    made = plan.make(wanted, records, unsettled)
    assert {action.model for action in made.actions} <= unsettled
    return made


@pytest.mark.parametrize(("texts", "wanted", "expected"), PLANS.values(), ids=PLANS.keys())
def test_what_is_to_be_done(texts: list[str], wanted: Desired, expected: list[str]) -> None:
    assert steps(plan.make(wanted, recorded(*texts))) == expected
    assert steps(planned_for_the_unsettled(wanted, recorded(*texts))) == expected


@pytest.mark.parametrize(("texts", "wanted", "expected"), PLANS.values(), ids=PLANS.keys())
def test_what_is_done_is_not_done_again(texts: list[str], wanted: Desired, expected: list[str]) -> None:
    ledger = Ledger(tags(*texts))
    ledger.apply(plan.make(wanted, ledger.records))
    assert plan.make(wanted, ledger.records) == plan.Plan()
    assert plan.unsettled(wanted, {name: known.standing for name, known in ledger.records.items()}) == set()


def test_a_registration_takes_the_next_ordinal() -> None:
    made = plan.make(desired({"churn": "3.0.0", "fraud": "1.0.0"}), recorded(A, B, "churn@v1.1.0!#1 b"))
    assert [(a.model, a.number) for a in made.actions] == [("churn", 3), ("fraud", 1)]


def test_a_plan_for_some_models_leaves_the_others_alone() -> None:
    known = recorded(A, "fraud@v1.0.0 a", "churn#staging#1 a", "fraud#staging#1 a")
    wanted = desired({"churn": "1.1.0", "fraud": "1.1.0"}, production={"churn": "1.0.0", "fraud": "nonsense"})
    assert steps(plan.make(wanted, known, ["churn"])) == [
        "register churn@1.1.0 at n",
        "unassign churn@1.0.0 from staging at a",
        "assign churn@1.0.0 to production at a",
    ]
    assert steps(plan.make(wanted, known, [])) == []
    assert steps(plan.make(wanted, known, ["nobody"])) == []


PROBLEMS: dict[str, tuple[list[str], Desired, list[str]]] = {
    "a version that is not of the scheme": (
        [],
        desired({"churn": "1.0.0-rc.1"}, scheme="triplet"),
        [
            "models/churn/model.yaml:2:10: version: '1.0.0-rc.1' is not a version of the scheme: "
            "three numbers from 1 to 99 without leading zeros, as 1.2.10"
        ],
    ),
    "no version at all": (
        [],
        desired({"churn": "new"}),
        [
            "models/churn/model.yaml:2:10: version: 'new' is not a version of the scheme: "
            "SemVer, as 1.2.0 or 1.2.0-rc.1, not ending in .lock"
        ],
    ),
    "a version that was deregistered, in the manifest": (
        [A, "churn@v1.0.0!#1 a"],
        desired({"churn": "1.0.0"}),
        ["models/churn/model.yaml:2:10: version: churn@1.0.0 was deregistered; versions are not used twice"],
    ),
    "a version that was deregistered, in a stage": (
        [A, B, "churn@v1.0.0!#1 a"],
        desired(staging={"churn": "1.0.0"}),
        [
            "stages/staging.yaml:1:8: churn: churn@1.0.0 was deregistered: "
            "gitreg demote churn staging, or promote another version"
        ],
    ),
    "a model that is nearly one": (
        [],
        desired({"churn": "1.0.0"}, staging={"chrun": "1.0.0"}),
        ["stages/staging.yaml:1:8: chrun: there is no model 'chrun' (did you mean 'churn'?)"],
    ),
    "a model like no other": (
        [A],
        desired({"churn": "1.0.0"}, production={"x-ray": "1.0.0"}),
        ["stages/production.yaml:1:8: x-ray: there is no model 'x-ray'"],
    ),
    "a version that is nearly one": (
        [A, "churn@v1.12.0 b"],
        desired(staging={"churn": "1.21.0"}),
        [
            "stages/staging.yaml:1:8: churn: churn@1.21.0 is not registered (did you mean '1.12.0'?); "
            "registered: 1.0.0, 1.12.0"
        ],
    ),
    "a version before there is any": (
        [],
        desired({"churn": "1.0.0"}, staging={"churn": "2.7.1-rc.5"}),
        [
            "stages/staging.yaml:1:8: churn: churn@2.7.1-rc.5 is not registered; none is registered yet; "
            "models/churn/model.yaml says 1.0.0"
        ],
    ),
    "the last five versions are told, by precedence, without those that are gone": (
        [*(f"churn@v1.{n}.0 c{n}" for n in (12, 3, 1, 2, 10, 11, 0)), "churn@v1.11.0!#1 c11"],
        desired(staging={"churn": "77.88.99"}),
        [
            "stages/staging.yaml:1:8: churn: churn@77.88.99 is not registered; "
            "registered: 1.1.0, 1.2.0, 1.3.0, 1.10.0, 1.12.0"
        ],
    ),
    "a version that only another model has": (
        [A, "churn-eu@v3.0.0 b"],
        desired(staging={"churn": "3.0.0"}),
        [
            "stages/staging.yaml:1:8: churn: churn@3.0.0 is not registered (did you mean '1.0.0'?); "
            "registered: 1.0.0"
        ],
    ),
    "all of them at once": (
        [A],
        desired(
            {"churn": "2", "fraud": "1"},
            staging={"churn": "9.9.9", "nobody": "1.0.0"},
            production={"fraud": "1.0.0"},
        ),
        [
            "models/churn/model.yaml:2:10: version: '2' is not a version of the scheme: "
            "SemVer, as 1.2.0 or 1.2.0-rc.1, not ending in .lock",
            "models/fraud/model.yaml:2:10: version: '1' is not a version of the scheme: "
            "SemVer, as 1.2.0 or 1.2.0-rc.1, not ending in .lock",
            "stages/staging.yaml:1:8: churn: churn@9.9.9 is not registered; registered: 1.0.0; "
            "models/churn/model.yaml says 2",
            "stages/staging.yaml:2:9: nobody: there is no model 'nobody'",
            "stages/production.yaml:1:8: fraud: fraud@1.0.0 is not registered; none is registered yet; "
            "models/fraud/model.yaml says 1",
        ],
    ),
}


@pytest.mark.parametrize(("texts", "wanted", "expected"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_what_cannot_be_done_is_told_with_its_place(
    texts: list[str], wanted: Desired, expected: list[str]
) -> None:
    problems: list[Problem] = plan.make(wanted, recorded(*texts)).problems
    assert [str(problem) for problem in problems] == expected
    assert planned_for_the_unsettled(wanted, recorded(*texts)).problems == problems


# Applied plans --------------------------------------------------------------------------------------------


class Ledger:
    """Tags, with a plan's actions written to it as `apply` writes them."""

    def __init__(self, some: Iterable[Tag] = ()) -> None:
        self.tags = list(some)

    @property
    def records(self) -> dict[str, ModelRecord]:
        return history.by_model(self.tags)

    def apply(self, made: plan.Plan) -> None:
        for action in made.actions:
            self.write(action)

    def write(self, action: Action) -> None:
        known = self.records.get(action.model, ModelRecord(action.model))
        kinds: dict[str, Kind] = {"register": "register", "assign": "assign", "unassign": "unassign"}
        says = TagName(action.model, kinds[action.kind], action.version, None)
        if action.kind != "register":
            says = TagName(action.model, kinds[action.kind], None, action.stage, known.counter + 1)
        assert str(says) not in {t.name for t in self.tags}
        text = f"{says} {action.commit} @{max(known.time, START) - START + 1}"
        self.tags.append(tag(text))


def some_files(
    chance: random.Random, records: Mapping[str, ModelRecord], before: Desired, number: int
) -> Desired:
    """What the next commit may say: versions that go up or back, promotions, rollbacks, demotions."""
    models = {name: model.version for name, model in before.models.items()}
    for name in ("churn", "churn-eu", "fraud"):
        if name not in models:
            models[name] = chance.choice(["0.1.0", "1.0.0-rc.1", "1.0.0"])
        elif chance.random() < 0.4:
            models[name] = bumped(models[name], chance.choice(LEVELS), "semver")
            models[name] += chance.choice(["", "", "-rc.1", "-rc.2"])
        elif chance.random() < 0.1:
            models[name] = chance.choice(list(records[name].versions))
    stages: dict[str, dict[str, str]] = {}
    for stage in STAGES:
        stages[stage] = {s.model: s.version for s in before.stays if s.stage == stage}
        for name in models:
            there = {*(records[name].registered if name in records else ()), models[name]}
            if chance.random() < 0.5:
                stages[stage][name] = chance.choice(sorted(there, key=order))
            elif chance.random() < 0.3:
                stages[stage].pop(name, None)
    return desired(models, f"c{number}", "semver", **stages)


def in_stages(wanted: Desired) -> dict[tuple[str, str], str]:
    return {(s.model, s.stage): s.version for s in wanted.stays}


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_that_was_applied_leaves_nothing_to_do(seed: int) -> None:
    """Over 15 sequences of files each: what they say is recorded, and GTO, by precedence, sees the same."""
    chance = random.Random(seed)
    seen: set[str] = set()
    for _ in range(15):
        ledger, wanted = Ledger(), desired()
        for number in range(8):
            wanted = some_files(chance, ledger.records, wanted, number)
            made = plan.make(wanted, ledger.records)
            assert made.problems == []
            assert planned_for_the_unsettled(wanted, ledger.records) == made
            seen |= {action.kind for action in made.actions}
            ledger.apply(made)
            assert plan.make(wanted, ledger.records) == plan.Plan()
            records = ledger.records
            found = {(name, stage): v for name, r in records.items() for stage, v in r.stages.items()}
            assert found == in_stages(wanted)
            for name, known in records.items():
                assert wanted.models[name].version in known.registered
                assert list(ordinals(known).values()) == list(range(1, len(known.versions) + 1))
                for active in known.active.values():
                    assert max(active, key=order) == active[-1]
    assert seen == {"register", "assign", "unassign"}


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_converges_whatever_strangers_tagged_before(seed: int) -> None:
    """Assignments and unassignments that others made by hand or with GTO, of any registered version."""
    chance = random.Random(seed)
    overruled = 0
    for _ in range(20):
        ledger, wanted = Ledger(), desired()
        for number in range(6):
            for name, known in ledger.records.items():
                for version in chance.sample(list(known.versions), min(2, len(known.versions))):
                    kind, commit = chance.choice(["assign", "unassign"]), known.versions[version].tag.commit
                    ledger.write(Action(name, kind, version, commit, chance.choice([*STAGES, "canary"])))
            overruled += bool(plan.make(wanted, ledger.records).actions)
            wanted = some_files(chance, ledger.records, wanted, number)
            made = plan.make(wanted, ledger.records)
            assert planned_for_the_unsettled(wanted, ledger.records) == made
            ledger.apply(made)
            assert plan.make(wanted, ledger.records) == plan.Plan()
            found = {
                (name, stage): version
                for name, known in ledger.records.items()
                for stage, version in known.stages.items()
                if stage in STAGES
            }
            assert found == in_stages(wanted)
    assert overruled > 50


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_for_each_model_alone_does_what_the_plan_for_all_does(seed: int) -> None:
    chance = random.Random(seed)
    ledger, wanted = Ledger(), desired()
    for number in range(10):
        wanted = some_files(chance, ledger.records, wanted, number)
        whole = plan.make(wanted, ledger.records)
        parts = [plan.make(wanted, ledger.records, [name]) for name in wanted.models]
        assert sorted(whole.actions) == sorted(a for part in parts for a in part.actions)
        ledger.apply(whole)


def test_of_two_versions_at_one_commit_none_can_be_put_into_a_stage() -> None:
    """A stage tag names a commit: the plan says so, and is not the same action for ever."""
    ledger = Ledger(tags("churn@v1.0.0 a", "churn@v1.1.0 a"))
    wanted = desired(staging={"churn": "1.1.0"})
    made = plan.make(wanted, ledger.records)
    assert made.actions == []
    assert "1.0.0 and 1.1.0 are registered at one commit" in made.problems[0].message


def test_a_time_beyond_all_calendars_ends_no_command() -> None:
    (tag,) = tags("churn@v1.0.0 a")
    assert tag._replace(time=10**15).when.year == 9999
    assert tag._replace(time=-(10**15)).when.year == 1970
