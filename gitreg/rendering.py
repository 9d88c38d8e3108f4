"""Reports for where people review: Markdown for pull requests, GitHub's annotations, SARIF 2.1.0.

Names, versions and descriptions come from strangers: everything is escaped for where it goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gitreg.errors import Problem
from gitreg.review import Artifact, ModelReview, Review
from gitreg.version import __version__

_MOST = 50
_WORDS = {"A": "added", "M": "changed", "D": "deleted", "T": "changed"}


def markdown(review: Review) -> str:
    """A review as GitHub-flavoured Markdown."""
    return "\n".join(_lines(review)).rstrip() + "\n"


def _lines(review: Review) -> Iterator[str]:
    report = review.report
    errors = sum(p.level == "error" for p in report.problems)
    state = "refused" if errors else "ready"
    count = len(review.models)
    yield f"# Model registry: {state}"
    yield ""
    problems = f"{errors} error{'s' * (errors != 1)}" if errors else "no errors"
    yield f"{count} model{'s' * (count != 1)} touched, {problems}, since `{review.base[:12]}`."
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
            place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
            what = f"{problem.path}: {problem.message}" if problem.path else problem.message
            yield f"- **{problem.level}** {code(place)} {text(what)}"
        if len(report.problems) > _MOST:
            yield f"- and {len(report.problems) - _MOST} more"
        yield ""
    for model in review.models:
        yield from _model(model)
    yield from _plan(review)


def _model(model: ModelReview) -> Iterator[str]:
    yield f"## {text(model.name)}{_versions(model)}"
    yield ""
    if model.status == "removed":
        yield "The manifest is removed. Its registered versions stay as they are."
        yield ""
    for stage, (before, after) in model.stages.items():
        yield f"- stage {code(stage)}: {code(before or 'nothing')} → {code(after or 'nothing')}"
    if model.status == "stages":
        yield ""
    else:
        yield f"- schema: {_schema(model)}"
        yield from (f"  - **{change.level}** {text(change.text)}" for change in model.schema)
        yield f"- artifact: {_artifact(*model.artifact)}"
        if model.files:
            yield f"- files: {len(model.files)}"
            yield from (f"  - {_WORDS.get(s, 'changed')} {code(path)}" for s, path in model.files[:_MOST])
            if len(model.files) > _MOST:
                yield f"  - and {len(model.files) - _MOST} more"
        yield ""
    yield from _metrics(model)


def _versions(model: ModelReview) -> str:
    if model.status == "stages":
        return ""
    before = model.before or ("none" if model.status == "new" else "blank")
    after = model.after or ("none" if model.status == "removed" else "the next version")
    return f" {text(after)}" if before == after else f" {text(before)} → {text(after)}"


def _schema(model: ModelReview) -> str:
    if model.status != "changed":
        return model.status
    if not model.schema:
        return "unchanged"
    broken = any(change.level == "major" for change in model.schema)
    return "**incompatible**: callers break" if broken else "compatible: callers keep working"


def _artifact(before: Artifact, after: Artifact) -> str:
    if after.digest is None and before.digest is None:
        return "not tracked by a .dvc file"
    if before.digest == after.digest:
        return f"unchanged ({code(after.digest or '')}, {size(after.size)})"
    return (
        f"{code(before.digest or 'none')} ({size(before.size)}) → "
        f"{code(after.digest or 'none')} ({size(after.size)})"
    )


def _metrics(model: ModelReview) -> Iterator[str]:
    """A row per metric, beside the version before and the one in each stage."""
    names = list(dict.fromkeys(name for values in model.metrics.values() for name in values))
    if not names:
        return
    columns: list[str] = [c for c in ("after", "before") if c in model.metrics]
    columns += sorted(c for c in model.metrics if c not in columns)
    words = {"after": "now", "before": "before"}
    heads = [f"{text(words.get(c, c))} {text(model.columns.get(c, ''))}".strip() for c in columns]
    yield f"| metric | {' | '.join(heads)} |"
    yield f"|---|{'---:|' * len(columns)}"
    for name in names[:_MOST]:
        now = model.metrics.get("after", {}).get(name)
        cells = [_number(model.metrics[c].get(name), None if c == "after" else now) for c in columns]
        yield f"| {text(name)} | {' | '.join(cells)} |"
    yield ""


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
    if not planned.actions:
        yield "No tag."
    for action in planned.actions:
        yield f"- {text(' '.join(str(action).split()))}"
        for verdict in planned.verdicts.get(action, ()):
            word = "passed" if verdict.passed else "**refused**"
            yield f"  - {word} {text(verdict.gate)}: {text(verdict.text)}"
    yield ""


def text(value: object) -> str:
    """Text that Markdown and HTML take as it is, on one line."""
    plain = " ".join(str(value).split())
    return re.sub(r"([\\`*_{}\[\]<>()#|~@&!])", lambda m: f"&#{ord(m[1])};", plain) if _odd(plain) else plain


def _odd(plain: str) -> bool:
    return bool(re.search(r"[\\`*_{}\[\]<>#|~@&!]", plain)) or plain.startswith(("-", "+", "=", ">"))


def code(value: object) -> str:
    """Text as code, whatever is in it."""
    plain = " ".join(str(value).split())
    if re.search(r"[`|<>&]", plain):
        return f"<code>{text(plain)}</code>"
    return f"`{plain}`" if plain else ""


def size(count: int | None) -> str:
    """1,234 bytes as 1.2 KiB."""
    if count is None:
        return "size not known"
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
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


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
                        "rules": [{"id": rule} for rule in sorted({_rule(p) for p in problems})],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(problem, prefix) for problem in problems],
            }
        ],
    }


def _rule(problem: Problem) -> str:
    """Problems of one kind of field are one rule: `schema.inputs.data_type`."""
    return re.sub(r"\[[0-9]+\]", "", problem.path) if problem.path else "file"


def _result(problem: Problem, prefix: str) -> dict[str, Any]:
    from urllib.parse import quote

    place: dict[str, Any] = {"artifactLocation": {"uri": quote(prefix + problem.file)}}
    if problem.line:
        place["region"] = {"startLine": problem.line, "startColumn": max(problem.column, 1)}
    return {
        "ruleId": _rule(problem),
        "level": problem.level,
        "message": {"text": f"{problem.path}: {problem.message}" if problem.path else problem.message},
        "locations": [{"physicalLocation": place}],
    }
