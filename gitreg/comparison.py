"""Versions side by side: which is better by which metric, and what changed for callers. Pure.

A metric is better when it is higher, or lower: a gate of registry.yaml says which (`min` and `max_drop` want
it high, `max` and `max_rise` low), else the words in its name do. Where neither does, none is called better.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gitreg import compatibility
from gitreg.catalogued import ModelVersion
from gitreg.compatibility import Change
from gitreg.versions import order

Direction = Literal["higher", "lower"]

_WORDS: dict[Direction, str] = {
    "lower": """
        loss error err mae mse rmse rmsle mape smape wmape medae logloss perplexity ppl brier wer cer ter
        latency seconds secs ms duration time fid kid ece mce hamming regret deviance aic bic cost
        misclassification eer fpr fnr emd wasserstein divergence kl""",
    "higher": """
        accuracy acc auc auroc roc auprc aucpr pr precision recall f1 f2 fbeta fscore r2 bleu rouge meteor
        map ndcg mrr iou miou dice jaccard mcc kappa sensitivity specificity tpr tnr ap hit hits gini ks
        lift score bertscore psnr ssim throughput qps reward win likelihood""",
}
_LOWER, _HIGHER = (frozenset(_WORDS[way].split()) for way in ("lower", "higher"))
_KNOWN = _LOWER | _HIGHER


@dataclass(frozen=True)
class Row:
    """One line of a comparison.

    Attributes:
        values: of each version; None where it has none.
        direction: of a metric, which way is better; None where that is not known.
        best: the places in `values` of the best, where not all are the same.
    """

    name: str
    values: tuple[Any, ...]
    direction: Direction | None = None
    best: tuple[int, ...] = ()

    @property
    def same(self) -> bool:
        """Whether all versions say the same."""
        return all(_equal(one, self.values[0]) for one in self.values)


@dataclass(frozen=True)
class Verdict:
    """Whether the new one of two versions is better.

    Attributes:
        word: "better", "worse", "mixed", "same", or "unknown" where no metric says.
        text: a sentence for a person.
        better, worse, same: names of metrics.
    """

    word: str
    text: str
    better: tuple[str, ...] = ()
    worse: tuple[str, ...] = ()
    same: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Versions side by side; each row has a value for each of them, in order.

    Attributes:
        facts: type, format, size and their like.
        schema: inputs and outputs, as `float [4]`.
        requirements: package -> what follows its name.
        changes: of the schema, from the first version to the last.
        verdict: of the last against the first.
    """

    versions: tuple[ModelVersion, ...]
    facts: tuple[Row, ...]
    metrics: tuple[Row, ...]
    params: tuple[Row, ...]
    tags: tuple[Row, ...]
    schema: tuple[Row, ...]
    requirements: tuple[Row, ...]
    changes: tuple[Change, ...]
    verdict: Verdict

    @property
    def compatible(self) -> bool:
        """Whether callers of the first version keep working with the last."""
        return compatibility.needed_bump(self.changes) != "major"


@dataclass(frozen=True)
class Diff:
    """What changed from one version to another: only rows whose two values differ.

    Attributes:
        changes: of the schema, with the step of the version that each asks for.
        level: the step that all ask for: "major", "minor" or "patch".
        files: (A, M or D, path) of the model's files.
    """

    old: ModelVersion
    new: ModelVersion
    facts: tuple[Row, ...]
    metrics: tuple[Row, ...]
    params: tuple[Row, ...]
    tags: tuple[Row, ...]
    requirements: tuple[Row, ...]
    changes: tuple[Change, ...]
    level: str
    files: tuple[tuple[str, str], ...]
    verdict: Verdict

    @property
    def compatible(self) -> bool:
        """Whether callers of the old version keep working."""
        return self.level != "major"


@dataclass(frozen=True)
class Directions:
    """Which way metrics are better.

    Attributes:
        gates: metric -> what the gates of registry.yaml say; None where they disagree.
    """

    gates: Mapping[str, Direction | None] = field(default_factory=dict)

    def of(self, metric: str) -> Direction | None:
        """By a gate, or by the words in its name."""
        if metric in self.gates:
            return self.gates[metric]
        words = set(re.findall(r"[a-z]+[0-9]?", _split(metric.rpartition(".")[2]).lower()))
        words |= set(re.findall(r"[a-z]+[0-9]?", _split(metric).lower())) if not words & _KNOWN else set()
        if words & _LOWER:
            return "lower"
        return "higher" if words & _HIGHER else None


def _split(name: str) -> str:
    """`valLoss` as `val Loss`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)


def directions(stages: Mapping[str, Mapping[str, Any]]) -> Directions:
    """What the gates of a registry's stages say of metrics."""
    found: dict[str, set[Direction]] = {}
    for stage in stages.values():
        for gate in stage.get("gates") or ():
            ways = found.setdefault(str(gate["metric"]), set()) if "metric" in gate else set()
            ways |= {"higher"} if {"min", "max_drop"} & set(gate) else set()
            ways |= {"lower"} if {"max", "max_rise"} & set(gate) else set()
    return Directions(
        {metric: next(iter(ways)) if len(ways) == 1 else None for metric, ways in found.items() if ways}
    )


def compare(versions: Sequence[ModelVersion], ways: Directions) -> Comparison:
    """Versions side by side, in order."""
    old, new = versions[0], versions[-1]
    return Comparison(
        tuple(versions),
        tuple(_rows([_facts(one) for one in versions])),
        tuple(_metrics(versions, ways)),
        tuple(_rows([one.params for one in versions])),
        tuple(_rows([one.tags for one in versions])),
        tuple(_rows([_schema(one) for one in versions])),
        tuple(_rows([_requirements(one) for one in versions])),
        tuple(compatibility.compare(old.schema, new.schema)),
        verdict(old, new, ways),
    )


def diff(old: ModelVersion, new: ModelVersion, ways: Directions, files: Iterable[tuple[str, str]]) -> Diff:
    """What changed from `old` to `new`."""
    whole = compare([old, new], ways)
    changes = whole.changes

    def changed(rows: Iterable[Row]) -> tuple[Row, ...]:
        return tuple(row for row in rows if not row.same)

    return Diff(
        old,
        new,
        changed(whole.facts),
        changed(whole.metrics),
        changed(whole.params),
        changed(whole.tags),
        changed(whole.requirements),
        changes,
        compatibility.needed_bump(changes),
        tuple(files),
        whole.verdict,
    )


def verdict(old: ModelVersion, new: ModelVersion, ways: Directions) -> Verdict:
    """Whether the new one is better, by the metrics that both have and whose direction is known."""
    better: list[str] = []
    worse: list[str] = []
    same: list[str] = []
    for row in _metrics([old, new], ways):
        if row.direction is None or not all(map(_is_finite, row.values)):
            continue
        before, after = row.values
        if before == after:
            same.append(row.name)
        else:
            (better if (after > before) is (row.direction == "higher") else worse).append(row.name)
    groups = tuple(better), tuple(worse), tuple(same)
    if not better and not worse and not same:
        return Verdict("unknown", f"no metric says whether {new} is better than {old}", *groups)
    if not better and not worse:
        return Verdict("same", f"{new} is as good as {old} by {_names(same)}", *groups)
    if better and worse:
        text = f"{new} is better than {old} by {_names(better)}, and worse by {_names(worse)}"
        return Verdict("mixed", text, *groups)
    word, names = ("better", better) if better else ("worse", worse)
    more = f"; the same by {_names(same)}" if same else ""
    return Verdict(word, f"{new} is {word} than {old} by {_names(names)}{more}", *groups)


def _names(names: Sequence[str]) -> str:
    shown = [name[:60] for name in names[:5]]
    return ", ".join(shown) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _metrics(versions: Sequence[ModelVersion], ways: Directions) -> Iterable[Row]:
    for row in _rows([one.metrics for one in versions]):
        way = ways.of(row.name)
        numbers = [value for value in row.values if _is_finite(value)]
        best: tuple[int, ...] = ()
        if way and len(numbers) > 1 and len(set(numbers)) > 1:
            top = max(numbers) if way == "higher" else min(numbers)
            best = tuple(i for i, value in enumerate(row.values) if _is_finite(value) and value == top)
        yield Row(row.name, row.values, way, best)


def _rows(columns: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A row for each name that any column has, in the order in which they come."""
    names = dict.fromkeys(name for column in columns for name in column)
    return [Row(name, tuple(column.get(name) for column in columns)) for name in names]


def _facts(one: ModelVersion) -> dict[str, Any]:
    return {
        "type": one.type or None,
        "format": one.format or None,
        "class": one.content.get("model_class"),
        "license": one.license or None,
        "owners": ", ".join(one.owners) or None,
        "description": one.description or None,
        "release": one.release_description or None,
        "artifact": one.artifact_hash or None,
        "size": one.size,
        "code": _code(one),
        "pipeline": one.pipeline_name or None,
        "run": one.run_id or one.pipeline_run_id or None,
        "digest": one.digest or None,
        "commit": one.commit,
        "created": one.created.isoformat(),
        "by": one.by,
        "stages": ", ".join(one.stages) or None,
    }


def _code(one: ModelVersion) -> str | None:
    code = one.lineage.get("code")
    return str(code.get("commit") or code.get("repo") or "") or None if isinstance(code, dict) else None


def _schema(one: ModelVersion) -> dict[str, str]:
    found = {}
    for side, items in (("input", one.inputs), ("output", one.outputs)):
        for item in items:
            rest = ", optional" if item.get("optional") else ""
            found[f"{side} {item['name']}"] = f"{item['data_type']} {item['shape']}{rest}"
    return found


def _requirements(one: ModelVersion) -> dict[str, str]:
    """Package -> the rest of its line; names as PyPI compares them."""
    found = {}
    for line in one.requirements:
        match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(.*)", line)
        name, rest = (re.sub(r"[-_.]+", "-", match[1]).lower(), match[2]) if match else (line, "")
        found[name] = rest.strip() or "any"
    return found


def newest_last(versions: Iterable[ModelVersion]) -> list[ModelVersion]:
    """By precedence."""
    return sorted(versions, key=lambda one: order(one.version))


def _is_finite(value: Any) -> bool:
    """Whether this is a number that a float can hold; an older gitreg registered others, too."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other or (one != one and other != other))
