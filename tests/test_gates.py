"""Gates: every verdict with its text, at the limits and beyond them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import yaml

from gitreg.gates import GATES, Candidate, Promotion, Stay, Verdict, describe, judge
from gitreg.model import DataType, ModelSchema, ModelSchemaItem
from tests.support import Workshop

NOW = datetime(2026, 11, 23, 13, 0, tzinfo=timezone.utc)
X = ModelSchemaItem("x", DataType.FLOAT, [4])
Y = ModelSchemaItem("y", DataType.FLOAT, [1])
SCHEMA = ModelSchema([X], [Y])
NAN, INF = float("nan"), float("inf")


def never() -> str | None:
    raise AssertionError("samples were run")


def candidate(
    metrics: Mapping[str, Any] | None = None,
    version: str = "1.2.0",
    schema: ModelSchema | None = SCHEMA,
    format: str | None = "onnx",
    samples: Callable[[], str | None] = never,
) -> Candidate:
    return Candidate("churn", version, metrics or {}, schema, format, samples)


def incumbent(metrics: Mapping[str, Any] | None = None, schema: ModelSchema | None = SCHEMA) -> Candidate:
    return candidate(metrics, "1.1.0", schema)


def promotion(
    new: Candidate | None = None,
    old: Candidate | None = None,
    returning: bool = False,
    stays: tuple[Stay, ...] = (),
    sources: tuple[str, ...] = (),
    now: datetime = NOW,
) -> Promotion:
    return Promotion("production", now, new or candidate(), old, returning, stays, sources)


def ago(stage: str = "staging", *, until: datetime | None = None, **length: float) -> Stay:
    return Stay(stage, NOW - timedelta(**length), until)


def gates(*mappings: Mapping[str, Any]) -> dict[str, Any]:
    return {"gates": list(mappings)}


def one(gate: Mapping[str, Any], case: Promotion) -> Verdict:
    (verdict,) = judge(gates(gate), case)
    return verdict


def metric(gate: Mapping[str, Any], new: Any, old: Any = None, returning: bool = False) -> Verdict:
    """The verdict on `accuracy`; None means that there is no incumbent."""
    there = None if old is None else incumbent({"accuracy": old})
    return one({"metric": "accuracy", **gate}, promotion(candidate({"accuracy": new}), there, returning))


@pytest.mark.parametrize(
    ("gate", "value", "passed", "text"),
    [
        ({"min": 0.9}, 0.93, True, "accuracy 0.93 >= 0.9"),
        ({"min": 0.90}, 0.9, True, "accuracy 0.9 >= 0.9"),
        ({"min": 0.9}, 0.87, False, "accuracy 0.87 is below the minimum 0.9"),
        ({"min": 0.9}, 0.8999999999999999, False, "accuracy 0.8999999999999999 is below the minimum 0.9"),
        ({"min": 1}, 1.0, True, "accuracy 1 >= 1"),
        ({"min": 1.0}, 1, True, "accuracy 1 >= 1"),
        ({"min": 0}, -0.0, True, "accuracy 0 >= 0"),
        ({"min": 0}, -1, False, "accuracy -1 is below the minimum 0"),
        ({"max": 0.5}, 0.5, True, "accuracy 0.5 <= 0.5"),
        ({"max": 0.5}, 0.51, False, "accuracy 0.51 is above the maximum 0.5"),
        ({"max": 120}, 121, False, "accuracy 121 is above the maximum 120"),
        ({"max": 1e-7}, 1e-8, True, "accuracy 1e-08 <= 1e-07"),
        # Whole numbers of more digits than a float has.
        ({"min": 2**53 + 1}, 2**53, False, f"accuracy {2**53} is below the minimum {2**53 + 1}"),
        ({"max": 10**400}, 1e308, True, "accuracy 1e+308 <= 1e+400"),
        ({}, 0.93, True, "accuracy is 0.93"),
        ({}, 0, True, "accuracy is 0"),
    ],
)
def test_limits_are_inclusive(gate: Mapping[str, Any], value: Any, passed: bool, text: str) -> None:
    assert metric(gate, value) == Verdict("metric accuracy", passed, text)


@pytest.mark.parametrize(
    ("gate", "new", "old", "passed", "text"),
    [
        ({"max_drop": 0.01}, 0.93, 0.95, False, "accuracy fell from 0.95 to 0.93, by 0.02; at most 0.01 is allowed"),
        ({"max_drop": 0.01}, 0.89, 0.90, True, "accuracy fell from 0.9 to 0.89, by 0.01; at most 0.01 is allowed"),
        ({"max_drop": 0.1}, 0.2, 0.3, True, "accuracy fell from 0.3 to 0.2, by 0.1; at most 0.1 is allowed"),
        ({"max_drop": 0}, 0.9, 0.9, True, "accuracy stayed at 0.9; it may drop by 0"),
        ({"max_drop": 0}, 0.89, 0.9, False, "accuracy fell from 0.9 to 0.89, by 0.01; at most 0 is allowed"),
        ({"max_drop": 0.01}, 0.95, 0.9, True, "accuracy rose from 0.9 to 0.95, by 0.05; it may drop by 0.01"),
        ({"max_drop": 1}, 7, 9, False, "accuracy fell from 9 to 7, by 2; at most 1 is allowed"),
        ({"max_rise": 0.01}, 0.11, 0.10, True, "accuracy rose from 0.1 to 0.11, by 0.01; at most 0.01 is allowed"),
        ({"max_rise": 0.1}, 0.3, 0.2, True, "accuracy rose from 0.2 to 0.3, by 0.1; at most 0.1 is allowed"),
        ({"max_rise": 0.01}, 0.3, 0.1, False, "accuracy rose from 0.1 to 0.3, by 0.2; at most 0.01 is allowed"),
        ({"max_rise": 0.01}, 0.1, 0.3, True, "accuracy fell from 0.3 to 0.1, by 0.2; it may rise by 0.01"),
        ({"max_rise": 5}, 5, 0.0, True, "accuracy rose from 0 to 5, by 5; at most 5 is allowed"),
        ({"max_drop": 0.5}, 0.93, None, True, "there is nothing in production to compare with; accuracy is 0.93"),
        ({"max_rise": 0.5}, 0.93, None, True, "there is nothing in production to compare with; accuracy is 0.93"),
        (
            {"max_drop": 0.5},
            0.93,
            NAN,
            True,
            "nothing in production to compare accuracy 0.93 with: "
            "accuracy of 1.1.0 is nan; a finite number is expected",
        ),
    ],
)  # fmt: skip
def test_comparisons_with_what_is_in_the_stage(
    gate: Mapping[str, Any], new: Any, old: Any, passed: bool, text: str
) -> None:
    assert metric(gate, new, old) == Verdict("metric accuracy", passed, text)


def test_what_is_in_the_stage_may_lack_the_metric() -> None:
    case = promotion(candidate({"accuracy": 0.9}), incumbent({"f1": 0.8}))
    text = "nothing in production to compare accuracy 0.9 with: 1.1.0 has no metric accuracy; it has f1"
    assert one({"metric": "accuracy", "max_drop": 0}, case) == Verdict("metric accuracy", True, text)


def test_a_gate_gives_a_verdict_for_each_limit() -> None:
    case = promotion(candidate({"accuracy": 0.93}), incumbent({"accuracy": 0.95}))
    verdicts = judge(gates({"metric": "accuracy", "max_drop": 0.01, "min": 0.9}), case)
    assert [(v.gate, v.passed) for v in verdicts] == [("metric accuracy", True), ("metric accuracy", False)]
    # However many limits there are, a number that is missing is one fault.
    assert len(judge(gates({"metric": "f1", "max_drop": 0.01, "min": 0.9}), case)) == 1


@pytest.mark.parametrize("value", [NAN, INF, -INF, True, False, "0.99", None, [0.99], (1,), {}, 1j])
@pytest.mark.parametrize("gate", [{}, {"min": -1e9}, {"max": 1e9}, {"max_drop": 1e9}, {"max_rise": 1e9}])
def test_what_is_no_finite_number_fails(gate: Mapping[str, Any], value: Any) -> None:
    verdict = metric(gate, value, 0.9)
    assert not verdict.passed and verdict.gate == "metric accuracy"
    assert value == {} or "a finite number is expected" in verdict.text


@pytest.mark.parametrize("key", ["min", "max", "max_drop", "max_rise"])
@pytest.mark.parametrize("limit", [NAN, INF, -INF, True, "0.9", None])
def test_a_limit_that_is_no_finite_number_fails(key: str, limit: Any) -> None:
    verdict = metric({key: limit}, 0.93, 0.93)
    assert not verdict.passed and verdict.text.startswith(f"{key} is ")


@pytest.mark.parametrize(
    ("metrics", "name", "text"),
    [
        ({"test": {"auc": 0.9}}, "test.auc", "test.auc is 0.9"),
        ({"test.auc": 0.9}, "test.auc", "test.auc is 0.9"),
        ({"test": {"eu": {"auc": 1}}}, "test.eu.auc", "test.eu.auc is 1"),
        ({"test.eu": {"auc": 1}}, "test.eu.auc", "test.eu.auc is 1"),
        ({"test": {"eu.auc": 1}}, "test.eu.auc", "test.eu.auc is 1"),
        # The flat key was written to be read by that name.
        ({"test": {"auc": 0.1}, "test.auc": 0.9}, "test.auc", "test.auc is 0.9"),
        ({1: {2: 0.5}}, "1.2", "1.2 is 0.5"),
    ],
)
def test_nested_metrics(metrics: Mapping[str, Any], name: str, text: str) -> None:
    assert one({"metric": name}, promotion(candidate(metrics))) == Verdict(f"metric {name}", True, text)


@pytest.mark.parametrize(
    ("metrics", "name", "text"),
    [
        ({}, "auc", "1.2.0 has no metrics, so no auc"),
        ({"test": {}}, "auc", "1.2.0 has no metrics, so no auc"),
        (
            {"accuracy": 0.9, "f1": 1},
            "acuracy",
            "1.2.0 has no metric acuracy (did you mean 'accuracy'?); it has accuracy, f1",
        ),
        ({"test": {"auc": 0.9}}, "test", "1.2.0 has no metric test (did you mean 'test.auc'?); it has test.auc"),
        ({"zz": 1, "aa": 2}, "loss", "1.2.0 has no metric loss; it has aa, zz"),
        (
            {f"m{i:02}": 1 for i in range(25)},
            "loss",
            "1.2.0 has no metric loss; it has m00, m01, m02, m03, m04, m05, m06, m07, m08, m09 and 15 more",
        ),
        ({"a\nb": 1}, "loss", "1.2.0 has no metric loss; it has 'a\\nb'"),
    ],
)  # fmt: skip
def test_a_missing_metric_fails_and_names_those_that_there_are(
    metrics: Mapping[str, Any], name: str, text: str
) -> None:
    for limits in ({}, {"min": 0}, {"max_drop": 1}, {"max_rise": 1, "max": 1}):
        verdict = one({"metric": name, **limits}, promotion(candidate(metrics), incumbent({name: 1})))
        assert verdict == Verdict(f"metric {name}", False, text)


def test_metrics_nested_as_deep_as_files_can_be() -> None:
    metrics: dict[str, Any] = {"auc": 0.9}
    for _ in range(3000):
        metrics = {"a": metrics}
    assert one({"metric": "a." * 3000 + "auc"}, promotion(candidate(metrics))).passed


RETURN = "a return: 1.2.0 was in production before"


@pytest.mark.parametrize("new", [0.1, NAN, "x"])
def test_a_return_passes_comparisons_with_the_stage_alone(new: Any) -> None:
    assert metric({"max_drop": 0}, new, 0.9, returning=True) == Verdict("metric accuracy", True, RETURN)
    verdicts = judge(
        gates({"metric": "accuracy", "max_drop": 0, "max_rise": 0, "min": 0.2}),
        promotion(candidate({"accuracy": new}), incumbent({"accuracy": 0.9}), returning=True),
    )
    assert [v.passed for v in verdicts] == [True, True, False]
    assert not metric({"min": 0.2}, new, 0.9, returning=True).passed


def test_a_return_still_needs_a_metric_that_must_be_there() -> None:
    assert metric({}, 0.1, 0.9, returning=True).passed
    assert not one({"metric": "f1"}, promotion(returning=True)).passed


@pytest.mark.parametrize("seed", range(10))
def test_drops_are_judged_as_decimals(seed: int) -> None:
    """Against whole hundredths, where there is no doubt."""
    dice = random.Random(seed)
    for _ in range(200):
        old, new, limit = (dice.randint(0, 100) for _ in range(3))
        values = {"new": new / 100, "old": old / 100}
        assert metric({"max_drop": limit / 100}, **values).passed is (new >= old - limit)
        assert metric({"max_rise": limit / 100}, **values).passed is (new <= old + limit)
        assert metric({"min": limit / 100}, new / 100).passed is (new >= limit)
        assert metric({"max": limit / 100}, new / 100).passed is (new <= limit)


def test_differences_are_exact_over_the_whole_range_of_floats() -> None:
    assert not metric({"max_drop": 1e308}, -5e-324, 1e308).passed
    assert metric({"max_drop": 1e308}, 0.0, 1e308).passed
    assert not metric({"max_rise": 10**399}, 10**399 + 1, 0).passed
    assert metric({"max_rise": 10**399}, 10**399, 0).passed


@pytest.mark.parametrize(
    ("old", "new", "passed", "text"),
    [
        (SCHEMA, SCHEMA, True, "compatible with 1.1.0 in production: no change"),
        (None, None, True, "compatible with 1.1.0 in production: no change"),
        (None, SCHEMA, True, "compatible with 1.1.0 in production: a schema where there was none"),
        (SCHEMA, None, False, "not compatible with 1.1.0 in production: the schema was removed"),
        (
            SCHEMA,
            ModelSchema([X], [Y, ModelSchemaItem("p", DataType.INT, [2])]),
            True,
            "compatible with 1.1.0 in production: new output 'p' (int [2])",
        ),
        (
            ModelSchema([X, ModelSchemaItem("age", DataType.INT, [1])], [Y]),
            ModelSchema([X], [ModelSchemaItem("y", DataType.DOUBLE, [1]), X]),
            False,
            "not compatible with 1.1.0 in production: "
            "input 'age' was removed; output 'y': data_type float became double",
        ),
    ],
)
def test_schema(old: ModelSchema | None, new: ModelSchema | None, passed: bool, text: str) -> None:
    case = promotion(candidate(schema=new), incumbent(schema=old))
    assert one({"schema": "compatible"}, case) == Verdict("schema", passed, text)
    back = promotion(candidate(schema=new), incumbent(schema=old), returning=True)
    assert one({"schema": "compatible"}, back) == Verdict("schema", True, RETURN)
    alone = promotion(candidate(schema=new))
    text = "there is nothing in production to compare with"
    assert one({"schema": "compatible"}, alone) == Verdict("schema", True, text)


@pytest.mark.parametrize(
    ("allowed", "found", "passed", "text"),
    [
        (["onnx", "safetensors"], "onnx", True, "onnx is allowed"),
        (["ONNX"], "onnx", True, "onnx is allowed"),
        (["onnx"], "ONNX", True, "ONNX is allowed"),
        (["onnx", "safetensors"], "pickle", False, "pickle is not allowed; allowed: onnx or safetensors"),
        (["onnx"], None, False, "the format is not known; allowed: onnx"),
        (["onnx"], "onn", False, "onn is not allowed; allowed: onnx"),
        ([], "onnx", False, "onnx is not allowed; allowed: none"),
        (["None"], None, False, "the format is not known; allowed: None"),
    ],
)
def test_format(allowed: list[str], found: str | None, passed: bool, text: str) -> None:
    verdict = one({"format": allowed}, promotion(candidate(format=found)))
    assert verdict == Verdict("format", passed, text)


LEFT = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("stays", "passed", "text"),
    [
        ((), False, "1.2.0 was never in staging or canary"),
        ((ago("archived", days=9),), False, "1.2.0 was never in staging or canary"),
        ((ago(days=1),), True, "1.2.0 is in staging"),
        ((ago("canary", days=1),), True, "1.2.0 is in canary"),
        ((ago(days=9, until=LEFT),), True, "1.2.0 was in staging until 2026-11-20 09:30 UTC"),
        (
            (ago(days=9, until=LEFT), ago("canary", days=20, until=LEFT - timedelta(days=2))),
            True,
            "1.2.0 was in staging until 2026-11-20 09:30 UTC",
        ),
        ((ago("canary", days=9, until=LEFT), ago(days=1)), True, "1.2.0 is in staging"),
    ],
)
def test_from(stays: tuple[Stay, ...], passed: bool, text: str) -> None:
    case = promotion(stays=stays, sources=("staging", "canary"))
    assert judge({}, case) == [Verdict("from", passed, text)]
    policy = {"from": ["staging", "canary"], "gates": [], "description": "what customers get"}
    assert judge(policy, promotion(stays=stays)) == [Verdict("from", passed, text)]


def test_the_policy_says_from_where_even_if_the_promotion_says_less() -> None:
    assert not judge({"from": ["staging"]}, promotion(sources=()))[0].passed
    assert judge({"from": []}, promotion(sources=("staging",))) == []


def test_no_policy_lets_everything_pass() -> None:
    assert judge({}, promotion()) == judge({"from": [], "gates": []}, promotion()) == []


@pytest.mark.parametrize(
    ("soak", "stays", "passed", "text"),
    [
        ("7d", (ago(days=8, hours=2),), True, "8d 2h of 7d in staging"),
        ("7d", (ago(days=7),), True, "7d of 7d in staging"),
        ("1w", (ago(days=7),), True, "7d of 1w in staging"),
        ("168h", (ago(days=7),), True, "7d of 168h in staging"),
        ("7d", (ago(days=2, hours=3),), False, "2d 3h of 7d in staging; enough at 2026-11-28 10:00 UTC"),
        ("7d", (ago(days=7, seconds=-1),), False, "6d 23h of 7d in staging; enough at 2026-11-23 13:01 UTC"),
        ("90m", (ago(minutes=12, seconds=30),), False, "12m 30s of 90m in staging; enough at 2026-11-23 14:18 UTC"),
        ("10s", (ago(seconds=4),), False, "4s of 10s in staging; enough at 2026-11-23 13:01 UTC"),
        ("0s", (ago(),), True, "0s of 0s in staging"),
        ("007d", (ago(days=7),), True, "7d of 007d in staging"),
        ("7d\n", (ago(days=7),), True, "7d of 7d in staging"),
        # In one stay: two of four days are not eight.
        (
            "7d",
            (ago(days=10, until=NOW - timedelta(days=6)), ago(days=4)),
            False,
            "4d of 7d in staging; enough at 2026-11-26 13:00 UTC",
        ),
        # What is told of is the stay that can still become enough.
        (
            "7d",
            (ago(days=10, until=NOW - timedelta(days=4)), ago(days=1)),
            False,
            "1d of 7d in staging; enough at 2026-11-29 13:00 UTC",
        ),
        (
            "7d",
            (ago(days=5, until=LEFT), ago("canary", days=9, until=NOW - timedelta(days=8))),
            False,
            "1d 20h of 7d in staging, which it left at 2026-11-20 09:30 UTC",
        ),
        # A past stay is as good as one that goes on, and any of the sources as good as another.
        ("7d", (ago(days=20, until=NOW - timedelta(days=10)), ago(days=1)), True, "10d of 7d in staging"),
        ("7d", (ago("canary", days=8), ago(days=1)), True, "8d of 7d in canary"),
        ("1d", (), False, "0s of 1d: 1.2.0 was never in staging or canary"),
        ("1d", (ago("archived", days=9),), False, "0s of 1d: 1.2.0 was never in staging or canary"),
        ("1d", (ago("production", days=9),), False, "0s of 1d: 1.2.0 was never in staging or canary"),
        # Clocks differ: the tag may be written in the future.
        ("1h", (ago(hours=-1),), False, "0s of 1h in staging; enough at 2026-11-23 15:00 UTC"),
        ("1h", (ago(minutes=30, until=NOW + timedelta(hours=1)),), False, "30m of 1h in staging, which it left at 2026-11-23 14:00 UTC"),
        ("99999999w", (ago(days=1),), False, "1d of 99999999w in staging; enough after the year 9999"),
        ("9000w", (ago(days=1),), False, "1d of 9000w in staging; enough at 2199-05-19 13:00 UTC"),
    ],
)  # fmt: skip
def test_soak(soak: str, stays: tuple[Stay, ...], passed: bool, text: str) -> None:
    case = promotion(stays=stays, sources=("staging", "canary"))
    verdicts = [verdict for verdict in judge(gates({"soak": soak}), case) if verdict.gate != "from"]
    assert verdicts == [Verdict("soak", passed, text)]


def test_a_soak_of_thousands_of_digits_is_only_long() -> None:
    verdict = one({"soak": "9" * 5000 + "d"}, promotion(stays=(ago(days=1),)))
    assert not verdict.passed and verdict.text.endswith("enough after the year 9999")
    assert one({"soak": "0" * 5000 + "d"}, promotion(stays=(ago(days=1),))).passed


def test_without_sources_a_soak_counts_in_any_other_stage() -> None:
    assert one({"soak": "2d"}, promotion(stays=(ago("canary", days=3),))).passed
    assert one({"soak": "2d"}, promotion(stays=(ago("production", days=3),))) == Verdict(
        "soak", False, "0s of 2d: 1.2.0 was never in a stage other than production"
    )


ZONES = [None, timezone.utc, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=8))]


@pytest.mark.parametrize(("now_zone", "zone"), [*itertools.product(ZONES, ZONES)])
def test_times_in_any_zone_and_without_one(now_zone: timezone | None, zone: timezone | None) -> None:
    def written(when: datetime, zone: timezone | None) -> datetime:
        return when.astimezone(zone) if zone else when.replace(tzinfo=None)

    since, until = NOW - timedelta(days=2, hours=3), NOW - timedelta(hours=3)
    now = written(NOW, now_zone)
    open_stay = Stay("staging", written(since, zone), None)
    verdict = one({"soak": "7d"}, promotion(stays=(open_stay,), now=now))
    assert verdict.text == "2d 3h of 7d in staging; enough at 2026-11-28 10:00 UTC"
    past = Stay("staging", written(since, zone), written(until, zone))
    assert judge({"from": ["staging"], **gates({"soak": "2d"})}, promotion(stays=(past,), now=now)) == [
        Verdict("from", True, "1.2.0 was in staging until 2026-11-23 10:00 UTC"),
        Verdict("soak", True, "2d of 2d in staging"),
    ]


@pytest.mark.parametrize("seed", range(10))
def test_a_soak_is_enough_when_it_said_so_and_not_a_minute_earlier(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(50):
        since = NOW - timedelta(seconds=dice.random() * 1e6)
        soak = f"{dice.randint(12, 50)}d"
        stays = (Stay("staging", since, None),)
        verdict = one({"soak": soak}, promotion(stays=stays))
        assert not verdict.passed
        said = verdict.text.partition("enough at ")[2]
        then = datetime.strptime(said, "%Y-%m-%d %H:%M UTC").replace(tzinfo=timezone.utc)
        assert one({"soak": soak}, promotion(stays=stays, now=then)).passed
        early = then - timedelta(minutes=1)
        assert not one({"soak": soak}, promotion(stays=stays, now=early)).passed


class Samples:
    def __init__(self, answer: str | None) -> None:
        self.answer, self.asked = answer, 0

    def __call__(self) -> str | None:
        self.asked += 1
        return self.answer


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (None, Verdict("samples", True, "all samples pass")),
        ("sample 2: y is 0.4, not 0.5", Verdict("samples", False, "sample 2: y is 0.4, not 0.5")),
        ("", Verdict("samples", False, "")),
    ],
)
def test_samples_are_asked_once_and_last(answer: str | None, verdict: Verdict) -> None:
    samples = Samples(answer)
    policy = gates({"samples": "pass", "metric": "auc"}, {"samples": "pass"}, {"schema": "compatible"})
    verdicts = judge(policy, promotion(candidate({"auc": 1}, samples=samples)))
    assert [v.gate for v in verdicts] == ["metric auc", "schema", "samples"]
    assert verdicts[-1] == verdict and samples.asked == 1


@pytest.mark.parametrize(
    "policy",
    [
        gates({"samples": "pass"}, {"metric": "auc"}),
        gates({"samples": "pass", "soak": "1d"}),
        gates({"samples": "pass"}, {"scan": "clean"}),
        {"from": ["staging"], **gates({"samples": "pass"})},
    ],
)
def test_samples_are_not_run_where_another_gate_failed(policy: dict[str, Any]) -> None:
    first, last = judge(policy, promotion())
    assert not first.passed
    assert last == Verdict("samples", False, "not run: other gates failed")


def test_what_samples_raise_goes_through() -> None:
    with pytest.raises(AssertionError, match="samples were run"):
        judge(gates({"samples": "pass"}), promotion())


@pytest.mark.parametrize("key", ["scan", "signature", "sign", "format ", ""])
def test_a_gate_that_is_not_available_fails(key: str) -> None:
    text = f"the gate '{key}' is not available in this gitreg"
    assert one({key: "clean"}, promotion()) == Verdict(key, False, text)
    assert describe(gates({key: "clean"})) == [f"{text}, so no version passes"]
    verdicts = judge(gates({"metric": "auc", key: "clean"}), promotion(candidate({"auc": 1})))
    assert [v.passed for v in verdicts] == [True, False]


@pytest.mark.parametrize("key", ["min", "max", "max_drop", "max_rise"])
def test_a_limit_of_no_metric_fails(key: str) -> None:
    text = f"the gate '{key}' has no 'metric' beside it"
    assert one({key: 0.9}, promotion()) == Verdict(key, False, text)
    assert describe(gates({key: 0.9})) == [f"{text}, so no version passes"]


def test_every_gate_of_the_schema_is_known_or_refused() -> None:
    """A key that the schema of registry.yaml gains must not pass before somebody writes the gate."""
    import json
    from pathlib import Path

    schema = json.loads((Path(__file__).parent.parent / "schemas" / "registry.schema.json").read_text())
    for key in schema["$defs"]["gate"]["properties"]:
        if key not in GATES:
            assert not one({key: 1}, promotion()).passed


def test_verdicts_come_in_the_policy_s_order() -> None:
    policy = {
        "from": ["staging"],
        "gates": [
            {"format": ["onnx"]},
            {"soak": "1d", "schema": "compatible"},
            {"samples": "pass"},
            {"metric": "auc", "max": 1, "min": 0},
        ],
    }
    new = candidate({"auc": 0.5}, samples=Samples(None))
    verdicts = judge(policy, promotion(new, incumbent(), stays=(ago(days=2),)))
    labels = ["from", "format", "soak", "schema", "metric auc", "metric auc", "samples"]
    assert [v.gate for v in verdicts] == labels and all(v.passed for v in verdicts)


def test_judging_changes_nothing_and_gives_the_same_again() -> None:
    policy = {"from": ["staging"], **gates({"metric": "auc", "min": 0.9}, {"soak": "7d"})}
    case = promotion(candidate({"auc": 0.5}), stays=(ago(days=2),))
    assert judge(policy, case) == judge(policy, case)


def test_describe() -> None:
    policy = {
        "description": "what customers get",
        "from": ["staging", "canary"],
        "gates": [
            {"metric": "accuracy", "max_drop": 0.01, "min": 0.90},
            {"metric": "loss", "max": 2, "max_rise": 0.5},
            {"metric": "auc"},
            {"schema": "compatible"},
            {"samples": "pass"},
            {"soak": "7d"},
            {"format": ["onnx", "safetensors"]},
        ],
    }
    assert describe(policy) == [
        "from staging or canary",
        "accuracy at least 0.9",
        "accuracy may drop by at most 0.01 below what is in the stage",
        "loss at most 2",
        "loss may rise by at most 0.5 above what is in the stage",
        "auc is there",
        "schema compatible with what is in the stage",
        "its samples pass",
        "at least 7d in staging or canary, in one stay",
        "format onnx or safetensors",
    ]
    assert describe({}) == describe({"from": [], "gates": []}) == []
    assert describe(gates({"soak": "7d"})) == ["at least 7d in another stage, in one stay"]


# Policies that no version could meet ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "place", "said"),
    [
        ("{gates: [{min: 0.9}]}", "gates[0].min", "'min' needs 'metric: NAME' beside it"),
        ("{gates: [{metric: a}, {max_drop: 1}]}", "gates[1].max_drop", "'max_drop' needs 'metric: NAME'"),
        ("{gates: [{scan: clean}]}", "gates[0].scan", "this gitreg has no gate 'scan'"),
        (
            "{gates: [{signature: valid, soak: 1d}]}",
            "gates[0].signature",
            "this gitreg has no gate 'signature'",
        ),
        (
            "{gates: [{format: [onnx, onxx]}]}",
            "gates[0].format[1]",
            "'onxx' is not a format (did you mean 'onnx'?)",
        ),
        ("{gates: [{format: [files]}]}", "gates[0].format[0]", "'files' is not a format"),
        ("{gates: [{format: []}]}", "gates[0].format", "no format is allowed"),
        (
            "{gates: [{metric: a, min: 0.9, max: 0.1}]}",
            "gates[0].min",
            "the minimum 0.9 is above the maximum 0.1",
        ),
        ("{from: [production]}", "from[0]", "the stage 'production' follows itself"),
        (
            "{from: [stagin]}",
            "from[0]",
            "the stage 'production' follows 'stagin', which there is not (did you mean 'staging'?)",
        ),
    ],
)
def test_check_refuses_a_policy_that_no_version_could_meet(
    workshop: Workshop, policy: str, place: str, said: str
) -> None:
    file = workshop.root / "registry.yaml"
    text = yaml.safe_load(file.read_text())
    lines = ["staging: {}", f"production: {policy}"]
    text.pop("stages")
    file.write_text(yaml.safe_dump(text) + "stages:\n" + "".join(f"  {line}\n" for line in lines))
    row = len(file.read_text().splitlines())
    for more in ([], ["--base", "HEAD"]):
        done = workshop.gitreg("check", "--no-run", *more)
        assert done.returncode == 1
        (line,) = [one for one in done.stderr.splitlines() if one.startswith("registry.yaml:")]
        assert line.startswith(f"registry.yaml:{row}:") and f"stages.production.{place}: {said}" in line


def test_policies_that_can_be_met_are_fine(workshop: Workshop) -> None:
    file = workshop.root / "registry.yaml"
    text = yaml.safe_load(file.read_text())
    gates = [{"metric": "a", "min": 1, "max": 1}, {"format": ["ONNX", "pickle"]}, {"schema": "compatible"}]
    text["stages"] = {"staging": None, "production": {"from": ["staging"], "gates": gates}, "archived": {}}
    file.write_text(yaml.safe_dump(text))
    assert workshop.gitreg("check", "--no-run").returncode == 0
