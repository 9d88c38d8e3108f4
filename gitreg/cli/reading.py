"""list, show, history, search: what is registered, in which stage, since when, with which metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gitreg.cli import output, tables

if TYPE_CHECKING:
    from gitreg.catalog import Catalog
    from gitreg.catalogued import ModelEvent, ModelVersion, RegisteredModel

F = TypeVar("F", bound=Callable[..., Any])

_MOST_STAGES = 5
_MOST_STRAY = 5
_DESCRIBED = 60
_PAGE = 100
_SHOWN_VERSIONS = 10
_SPARE_IN_LIST = ("type", "changed", "description")


def formatted(*formats: str) -> Callable[[F], F]:
    """Add `--format` and `--json`."""

    def add(function: F) -> F:
        option = click.option("--format", "how", type=click.Choice(formats), help="How to print it.")
        return option(output.as_json(function))

    return add


def day(moment: datetime) -> str:
    """For tables: the minute, UTC."""
    return f"{moment:%Y-%m-%d %H:%M}"


def number(value: Any) -> str:
    """A metric, or a parameter, as people write it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (bool, list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)


@click.command("list")
@output.of_registry
@output.in_folder
@formatted(*tables.FORMATS)
def list_(where: str | None, how: str | None, json_: bool) -> None:
    """List the registered models: the latest version, and what is in each stage."""
    catalog = output.catalog(where)
    models = catalog.models()
    reasons = [reason for some in catalog.stray.values() for reason in some]
    for reason in reasons[:_MOST_STRAY]:
        output.say(f"odd: {reason}", err=True)
    if reasons:
        more = len(reasons) - _MOST_STRAY
        output.say(f"{f'{more:,} more; ' if more > 0 else ''}gitreg doctor tells what helps", err=True)
    if json_ or how == "json":
        from gitreg.plaindata import model_data

        output.print_json([model_data(one) for one in models])
    elif not models and how in (None, "table"):
        output.say("no model is registered yet; gitreg plan shows what would be")
    else:
        _list(catalog, models, how or "table")


def _list(catalog: Catalog, models: Sequence[RegisteredModel], how: str) -> None:
    used = {stage for one in models for stage in one.stages}
    stages = [stage for stage in catalog.stages() if stage in used]
    stages += sorted(used - set(stages))
    wide = len(stages) <= _MOST_STAGES
    heads = stages if wide else ["stages"]
    rows = []
    for one in models:
        there = [one.stages.get(stage) for stage in stages]
        if not wide:
            there = [", ".join(f"{stage} {version}" for stage, version in one.stages.items())]
        words = one.description if how != "table" else _short(one.description)
        rows.append([one.name, one.latest, *there, one.type, day(one.updated), _note(one), words])
    _noted(["model", "latest", *heads, "type", "changed", "note", "description"], rows, how, _SPARE_IN_LIST)


def _noted(heads: list[str], rows: list[list[Any]], how: str, spare: Sequence[str]) -> None:
    """A table; what nothing is noted in needs no column for it, but for programs."""
    at = heads.index("note")
    if how == "table" and not any(row[at] for row in rows):
        heads, rows = [h for h in heads if h != "note"], [[*row[:at], *row[at + 1 :]] for row in rows]
    tables.show(heads, rows, how, spare)


def _short(text: str) -> str:
    line = text[: _DESCRIBED * 4].strip().partition("\n")[0]
    return line if len(line) <= _DESCRIBED else f"{line[: _DESCRIBED - 3]}..."


def _note(one: RegisteredModel | ModelVersion) -> str:
    """What one should know first."""
    notes = ["deprecated"] if getattr(one, "deprecated", False) else []
    notes += ["odd"] if one.odd else []
    notes += ["manifest problems" if one.type else "no readable manifest"] if one.problems else []
    return ", ".join(notes)


@click.command()
@click.argument("reference", metavar="REF")
@click.option("--all", "all_", is_flag=True, help="All versions of a model; by default the highest ten.")
@output.of_registry
@output.in_folder
@formatted(*tables.FORMATS)
def show(reference: str, all_: bool, where: str | None, how: str | None, json_: bool) -> None:
    """Show a model with its versions, as churn; or a version, as churn@1.0.0, churn@latest, churn#staging."""
    from gitreg.names import parse_reference
    from gitreg.plaindata import model_data, version_data

    catalog = output.catalog(where)
    wanted = parse_reference(reference)
    plain = not (wanted.version or wanted.stage or wanted.ordinal or wanted.id)
    if (plain and reference == wanted.model) or reference.startswith("m_"):
        model = catalog.model(reference)
        versions = model.versions()
        shown = versions if all_ or json_ or how == "json" else versions[:_SHOWN_VERSIONS]
        if json_ or how == "json":
            output.print_json({**model_data(model), "versions": [version_data(one) for one in shown]})
        else:
            _show_model(model, shown, len(versions), how or "table")
        return
    version = catalog.version(reference)
    if json_ or how == "json":
        output.print_json(version_data(version))
    else:
        tables.pairs(_version_lines(version), how or "table")


def _show_model(model: RegisteredModel, versions: Sequence[ModelVersion], total: int, how: str) -> None:
    if how == "table":
        tables.pairs(_model_lines(model), how)
        output.say()
    names = _metric_names(versions)
    heads = ["version", "#", "stages", "registered", "by", *names, "note", "id"]
    rows = [
        [
            one.version,
            one.ordinal,
            ", ".join(one.stages) or ("deregistered" if one.gone else ""),
            day(one.created),
            one.by.partition(" <")[0],
            *(number(one.metrics.get(name)) for name in names),
            _note(one),
            one.id,
        ]
        for one in versions
    ]
    _noted(heads, rows, how, ["id", "by", *reversed(names[1:]), "#"])
    if how == "table" and total > len(versions):
        output.say(f"... {total - len(versions)} more; --all shows them")


def _metric_names(versions: Iterable[ModelVersion], most: int = 4) -> list[str]:
    names = dict.fromkeys(name for one in versions for name in one.metrics if len(name) <= 40)
    return list(names)[:most]


def _model_lines(one: RegisteredModel) -> list[tuple[str, Any]]:
    return [
        ("model", one.name),
        ("title", one.title),
        ("note", _note(one)),
        ("description", one.description),
        ("id", one.id),
        ("type", one.type),
        ("owners", ", ".join(one.owners)),
        ("tags", _joined(one.tags)),
        ("latest", one.latest or "every version is deregistered"),
        ("stages", ", ".join(f"{stage} {version}" for stage, version in one.stages.items())),
        ("versions", one.count),
        ("registered", f"{day(one.created)} UTC"),
        ("changed", f"{day(one.updated)} UTC"),
        *(("odd", reason) for reason in one.odd),
    ]


def _version_lines(one: ModelVersion) -> list[tuple[str, Any]]:
    stays = [
        f"{stay.stage} {day(stay.since)} to {day(stay.until) if stay.until else 'now'}" for stay in one.stays
    ]
    artifact = [str(one.artifact.get("path") or one.artifact.get("url") or ""), one.artifact_hash]
    artifact += [f"{one.size:,} bytes"] if one.size is not None else []
    return [
        ("version", f"{one}{' (latest)' if one.latest else ''}"),
        ("description", one.description),
        ("release", one.release_description),
        ("id", one.id),
        ("uri", f"{one.uri}, models:/{one.model}/{one.ordinal}"),
        ("registered", f"{day(one.created)} UTC by {one.by}"),
        ("deregistered", f"{day(one.gone)} UTC" if one.gone else ""),
        ("stages", ", ".join(one.stages)),
        ("was in", "; ".join(stays)),
        ("type", one.type),
        ("format", one.format),
        ("owners", ", ".join(one.owners)),
        ("tags", _joined(one.tags)),
        ("license", one.license),
        ("inputs", "; ".join(map(_item, one.inputs))),
        ("outputs", "; ".join(map(_item, one.outputs))),
        ("metrics", _joined(one.metrics)),
        ("params", _joined(one.params)),
        ("requirements", ", ".join(one.requirements)),
        ("artifact", ", ".join(part for part in artifact if part)),
        ("image", one.image),
        ("pipeline", ", ".join(p for p in (one.pipeline_name, one.pipeline_run_id, one.step_name) if p)),
        ("run", one.run_id),
        ("manifest", one.file),
        ("commit", one.commit),
        ("digest", one.digest),
        *(("odd", reason) for reason in one.odd),
        *(("problem", problem) for problem in one.problems if problem not in one.odd),
    ]


def _joined(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in values.items())


def _item(said: Mapping[str, Any]) -> str:
    return f"{said['name']} {said['data_type']} {said['shape']}{' optional' if said.get('optional') else ''}"


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--limit", type=click.IntRange(1), help="Only the last so many lines.")
@output.of_registry
@output.in_folder
@formatted(*tables.FORMATS)
def history(model: str, limit: int | None, where: str | None, how: str | None, json_: bool) -> None:
    """Show what happened to a model, tag by tag: who registered, promoted and took out what, and why."""
    from gitreg.plaindata import event_data

    events = output.catalog(where).history(model)
    events = events[-limit:] if limit else events
    if json_ or how == "json":
        output.print_json([event_data(one) for one in events])
    else:
        rows = [[day(one.when), _deed(one), one.by.partition(" <")[0], _why(one), one.tag] for one in events]
        tables.show(["when", "what", "by", "message", "tag"], rows, how or "table", ["tag", "by"])


def _deed(one: ModelEvent) -> str:
    version = one.version or "a commit of no version"
    deed = {
        "register": f"{version} registered",
        "deregister": f"{version} deregistered",
        "assign": f"{version} into {one.stage}",
        "unassign": f"{version} out of {one.stage}",
        "deprecate": "model deprecated",
    }[one.kind]
    return f"{deed} (odd: {one.odd})" if one.odd else deed


def _why(one: ModelEvent) -> str:
    return one.message.partition("\n")[0]


@click.command()
@click.argument("expression", metavar="[EXPR]", default="")
@click.option("--order-by", metavar="KEYS", default="", help="As 'metrics.accuracy DESC, name'.")
@click.option("--limit", type=click.IntRange(1), default=_PAGE, show_default=True, help="Versions on a page.")
@click.option("--page", "token", metavar="TOKEN", help="The page after the one that printed TOKEN.")
@click.option("--latest", is_flag=True, help="Only the latest version of each model.")
@output.of_registry
@output.in_folder
@formatted(*tables.FORMATS)
def search(
    expression: str,
    order_by: str,
    limit: int,
    token: str | None,
    latest: bool,
    where: str | None,
    how: str | None,
    json_: bool,
) -> None:
    """Find versions, as with "metrics.accuracy > 0.9 AND stage = 'production'"; all of them without EXPR."""
    from gitreg import query
    from gitreg.plaindata import version_data

    found = output.catalog(where).search(expression, order_by, limit, token, latest)
    if json_ or how == "json":
        versions = [version_data(one) for one in found]
        output.print_json({"versions": versions, "total": found.total, "token": found.token})
        return
    asked = [*query.parse(expression).fields, *(key.field for key in query.parse_order(order_by))]
    known = {"name", "version", "stage", "created", "latest"}
    names = [name for name in dict.fromkeys(field.name for field in asked) if name not in known][:6]
    heads = ["model", "version", "stages", "registered", *names, "note"]
    rows = [
        [
            one.model,
            one.version,
            ", ".join(one.stages),
            day(one.created),
            *(_value(one, name) for name in names),
            _note(one),
        ]
        for one in found
    ]
    if rows or how in ("csv", "md"):
        _noted(heads, rows, how or "table", ["registered"])
    if how in ("csv", "md"):
        return
    if not rows:
        output.say("no version is found" + "".join(f"; {note}" for note in found.notes))
    elif found.token:
        output.say(f"{len(rows)} of {found.total:,}; the next page: --page {found.token}")


def _value(one: ModelVersion, name: str) -> str:
    from gitreg.fields import facts

    value = facts(one.content).get(name, getattr(one, name, None) if name.isidentifier() else None)
    return ", ".join(map(str, value)) if isinstance(value, list) else number(value)
