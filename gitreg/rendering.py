"""Reports for where people review: Markdown for pull requests, GitHub's annotations, SARIF 2.1.0.

Names, versions and descriptions come from strangers: everything is escaped for where it goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gitreg import printed
from gitreg.effects import Artifact, ModelReview
from gitreg.errors import Problem
from gitreg.marking import block, code, text
from gitreg.review import Review
from gitreg.version import __version__

_MOST = 50  # files, metrics, problems
_MODELS = 100  # that are shown whole
_TAGS = 500  # that are listed
_LARGEST = 900_000  # bytes: GitHub takes no summary of more than 1 MiB
_WORDS = {"A": "added", "M": "changed", "D": "deleted", "T": "changed"}


def markdown(review: Review) -> str:
    """A review as GitHub-flavoured Markdown."""
    whole = "\n".join(_lines(review)).rstrip() + "\n"
    data = whole.encode("utf-8", "replace")
    if len(data) <= _LARGEST:
        return whole
    kept = data[:_LARGEST].decode("utf-8", "ignore")
    kept = kept[: max(kept.rfind("\n- "), kept.rfind("\n\n"))]  # never within an item
    return f"{kept}\n\nThe rest is cut off: the report is longer than GitHub shows.\n"


def _lines(review: Review) -> Iterator[str]:
    report = review.report
    errors = sum(p.level == "error" for p in report.problems)
    state = "refused" if errors else "ready"
    changed = [model for model in review.models if not model.same]
    yield f"# Model registry: {state}"
    yield ""
    problems = f"{errors} error{'s' * (errors != 1)}" if errors else "no errors"
    yield f"{_count(len(changed))} touched, {problems}, since `{review.base[:12]}`."
    yield ""
    if review.uncommitted:
        some = ", ".join(code(path) for path in review.uncommitted[:5])
        more = f" and {len(review.uncommitted) - 5} more" if len(review.uncommitted) > 5 else ""
        yield f"Checked as they lie here, and in no commit yet: {some}{more}."
        yield ""
    if report.problems:
        yield "## Problems"
        yield ""
        for problem in report.problems[:_MOST]:
            yield from _problem(problem)
        yield from _more(len(report.problems), "- ")
        yield ""
    yield from _policies(review)
    for model in changed[:_MODELS]:
        yield from _model(model)
    if rest := changed[_MODELS:]:
        yield f"## And {_count(len(rest))} more"
        yield ""
        yield ", ".join(f"{text(model.name)}{_versions(model)}" for model in rest)
        yield ""
    if count := len(review.models) - len(changed):
        yield f"{_count(count)} more checked, as registry.yaml changed; nothing of them changes."
        yield ""
    yield from _plan(review)


def _count(models: int) -> str:
    return f"{models:,} model{'s' * (models != 1)}"


def _more(count: int, before: str) -> Iterator[str]:
    """That a list goes on."""
    if count > _MOST:
        yield f"{before}and {count - _MOST:,} more"


def _problem(problem: Problem) -> Iterator[str]:
    """A problem; what it says in further lines, as a traceback, is shown as it is."""
    place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
    first, *others = problem.message.split(f"\n{printed.BAR}")
    what = f"{problem.path}: {first}" if problem.path else first
    yield f"- **{problem.level}** {code(place)} {text(what)}"
    if others:
        yield from block(others, "  ")


def _policies(review: Review) -> Iterator[str]:
    """What registry.yaml asks for from now on."""
    if not review.policies and not review.build:
        return
    yield "## Policy"
    yield ""
    for one in review.policies:
        before, after = one.before or [], one.after or []
        word = " is new" if one.before is None else " goes" if one.after is None else ""
        yield f"- stage {code(one.stage)}{word}"
        yield from (f"  - no longer asks: {text(line)}" for line in before if line not in after)
        yield from (f"  - asks: {text(line)}" for line in after if line not in before)
    yield from (f"- {text(line)}" for line in review.build)
    yield ""


def _model(model: ModelReview) -> Iterator[str]:
    yield f"## {text(model.name)}{_versions(model)}"
    yield ""
    if model.status == "removed":
        yield "The manifest is removed. Its registered versions stay as they are."
        yield ""
    if model.status == "invalid":
        yield "The manifest cannot be read: see the problems."
        yield ""
    for stage, (before, after) in model.stages.items():
        yield f"- stage {code(stage)}: {code(before or 'nothing')} → {code(after or 'nothing')}"
    if model.status != "stages":
        if model.status == "changed":
            yield f"- schema: {_schema(model)}"
            yield from (f"  - **{change.level}** {text(change.text)}" for change in model.schema)
        if model.status != "invalid":
            yield f"- artifact: {_artifact(*model.artifact)}"
        if model.files:
            yield f"- files: {len(model.files)}"
            yield from (f"  - {_WORDS.get(s, 'changed')} {code(path)}" for s, path in model.files[:_MOST])
            yield from _more(len(model.files), "  - ")
    yield ""
    yield from _metrics(model)


def _versions(model: ModelReview) -> str:
    """What follows the name in a title."""
    before, after = text(model.before or ""), text(model.after or model.registers or "")
    if model.status == "new":
        return f" {after} (new)".replace("  ", " ")
    if model.status in ("removed", "invalid"):
        what = "removed" if model.status == "removed" else "not readable"
        return f" ({what}, was {before})" if before else f" ({what})"
    if model.status == "stages" or not after:
        return ""
    return f" {after}" if before == after else f" {before or 'blank'} → {after}"


def _schema(model: ModelReview) -> str:
    if not model.schema:
        return "unchanged"
    broken = any(change.level == "major" for change in model.schema)
    return "**incompatible**: callers break" if broken else "compatible: callers keep working"


def _artifact(before: Artifact, after: Artifact) -> str:
    if after.digest is None and before.digest is None:
        return "not tracked by DVC"
    if before.digest == after.digest:
        return f"unchanged: {_sized(after)}"
    if before.digest is None or after.digest is None:
        return _sized(after) if after.digest else f"none any more, was {_sized(before)}"
    return f"{_sized(before)} → {_sized(after)}"


def _sized(artifact: Artifact) -> str:
    return code(artifact.digest or "") + (f" ({size(artifact.size)})" if artifact.size is not None else "")


def _metrics(model: ModelReview) -> Iterator[str]:
    """A row per metric, beside the version before and the one in each stage."""
    names = list(dict.fromkeys(name for values in model.metrics.values() for name in values))
    if not names:
        return
    columns: list[str] = [c for c in ("after", "before") if c in model.metrics]
    columns += [c for c in model.metrics if c not in columns]
    words = {"after": "now", "before": "before"}
    heads = [f"{text(words.get(c, c))} {text(_column(model, c))}".strip() for c in columns]
    yield f"| metric | {' | '.join(heads)} |"
    yield f"|---|{'---:|' * len(columns)}"
    if len(names) > _MOST:  # what changes comes first, lest it be cut off
        names.sort(key=lambda name: len({values.get(name) for values in model.metrics.values()}) == 1)
    for name in names[:_MOST]:
        now = model.metrics.get("after", {}).get(name)
        cells = [_number(model.metrics[c].get(name), None if c == "after" else now) for c in columns]
        yield f"| {text(name)} | {' | '.join(cells)} |"
    if len(names) > _MOST:
        yield ""
    yield from _more(len(names), "")
    yield ""


def _column(model: ModelReview, column: str) -> str:
    said = model.columns.get(column, "")
    return model.registers or said if column == "after" and not model.after else said


def _number(value: float | None, now: float | None) -> str:
    """A metric of another version, with what the new one gains or loses against it."""
    if value is None:
        return ""
    if now is None or now == value:
        return f"{value:.6g}"
    return f"{value:.6g} ({now - value:+.3g})"


def _plan(review: Review) -> Iterator[str]:
    yield "## What the merge records"
    yield ""
    planned = review.planned
    if planned is None:
        yield "Nothing can be said: see the problems."
        return
    if review.uncommitted:
        yield f"By the last commit, `{review.commit[:12]}`: what is in none does not count yet."
        yield ""
    if not planned.ok:
        yield "Nothing, as it is: it is refused. It asks for this:"
        yield ""
    if not planned.actions:
        yield "No tag."
    for action in planned.actions[:_TAGS]:
        yield f"- {text(' '.join(str(action).split()))}"
        for verdict in planned.verdicts.get(action, ()):
            word = "passed" if verdict.passed else "**refused**"
            yield f"  - {word} {text(verdict.gate)}: {text(verdict.text)}"
    if len(planned.actions) > _TAGS:
        yield f"- and {len(planned.actions) - _TAGS:,} more"
    yield ""


def size(count: int) -> str:
    """1,234 bytes as 1.2 KiB."""
    number = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def github(problems: Iterable[Problem], prefix: str = "") -> Iterator[str]:
    """GitHub's workflow commands, which annotate lines of a pull request.

    https://docs.github.com/actions/reference/workflow-commands-for-github-actions

    Args:
        prefix: of the registry in its repository.
    """
    for problem in problems:
        kind = {"error": "error", "warning": "warning"}.get(problem.level, "notice")
        place = f"file={_property(prefix + problem.file)}"
        if problem.line:
            place += f",line={problem.line},col={max(problem.column, 1)}"
        what = f"{problem.path}: {problem.message}" if problem.path else problem.message
        yield f"::{kind} {place},title=gitreg::{_data(what)}"


def _data(value: str) -> str:
    """A value of a command: line breaks as the runner wants them, and else nothing that steers."""
    parts = re.split("([\r\n])", value)
    return "".join(_BREAKS.get(part) or printed.line(part).replace("%", "%25") for part in parts)


_BREAKS = {"\r": "%0D", "\n": "%0A"}


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def sarif(problems: Sequence[Problem], prefix: str = "") -> dict[str, Any]:
    """Problems for code scanning: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html"""
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "gitreg",
                        "semanticVersion": __version__,
                        "rules": [_described(rule) for rule in sorted({_rule(p) for p in problems})],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(problem, prefix) for problem in problems],
            }
        ],
    }


# Fields of a manifest whose keys are its author's own.
_FREE = ("params", "metrics", "tags", "options", "triton", "placeholders", "template", "lineage")


def _rule(problem: Problem) -> str:
    """Problems of one kind of field are one rule: `schema.inputs.data_type`."""
    if problem.file.startswith("stages/"):
        return "stages"
    path = re.sub(r"\[[0-9]+\]", "", problem.path)
    top = path.partition(".")[0]
    if problem.file.rpartition("/")[2] == "dvc.yaml" or top in _FREE:
        return top or "file"
    return "unknown-key" if problem.message.startswith("unknown key") else path or "file"


def _described(rule: str) -> dict[str, Any]:
    """A rule with the texts that code scanning shows."""
    what = {
        "file": "A file that cannot be read, or a model that does not do what its manifest says",
        "stages": "A stage file that cannot be applied, or a gate that refuses",
        "artifacts": "dvc.yaml's section of artifacts",
        "unknown-key": "A key that there is not",
    }.get(rule, f"The field {rule}")
    said = {"text": f"{what}, as `gitreg check` finds it."}
    return {"id": rule, "shortDescription": {"text": what}, "fullDescription": said, "help": said}


def _result(problem: Problem, prefix: str) -> dict[str, Any]:
    from urllib.parse import quote

    # Code scanning wants a line: of a whole file, its first.
    region = {"startLine": max(problem.line, 1)}
    if problem.line:
        region["startColumn"] = max(problem.column, 1)
    try:
        name = (prefix + problem.file).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        name = (prefix + problem.file).encode("utf-8", "backslashreplace")
    place = {"artifactLocation": {"uri": quote(name)}, "region": region}
    return {
        "ruleId": _rule(problem),
        "level": problem.level,
        "message": {"text": f"{problem.path}: {problem.message}" if problem.path else problem.message},
        "locations": [{"physicalLocation": place}],
    }
