"""init, new, check: what authors of registries and models do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitreg.cli import output

if TYPE_CHECKING:
    from gitreg.errors import Problem
    from gitreg.reports import CheckReport


@click.command()
@click.argument("directory", required=False, type=click.Path(file_okay=False))
@click.option("--name", help="The registry's name; the folder's name by default.")
@output.in_folder
@output.as_json
def init(directory: str | None, name: str | None, json_: bool) -> None:
    """Make a registry in DIRECTORY (here by default) that passes `check`.

    Git, DVC, registry.yaml, stages, JSON Schemas for editors, a workflow, CODEOWNERS and a pre-commit
    hook. Files that are there already are left alone.
    """
    from gitreg import scaffold

    made = scaffold.init(Path(directory or "."), name)
    if json_:
        output.print_json({"root": made.root, "made": made.made, "kept": made.kept})
        return
    for file in made.made:
        output.say(f"  made  {file}")
    for file in made.kept:
        output.say(f"  kept  {file}")
    output.say(f"A registry in {made.root}. Next:")
    output.say("  dvc remote add --default NAME URL     where artifacts go")
    output.say("  gitreg new NAME --from PATH           add a model")


@click.command()
@click.argument("name")
@click.option(
    "--from",
    "origin",
    required=True,
    metavar="SOURCE",
    help="The artifact: a file or a folder.",
    type=click.Path(),
)
@click.option(
    "--type", "type_", metavar="TYPE", help="The model's type; by default what the artifact's content says."
)
@click.option(
    "--class",
    "model_class",
    metavar="PATH",
    help="Your class, as churn_model.Churn; makes the type custom-python.",
)
@click.option(
    "--code",
    metavar="DIR",
    help="Its import root; the model's own folder by default.",
    type=click.Path(exists=True, file_okay=False),
)
@click.option(
    "--samples",
    metavar="FILE",
    help="Sample data (.json, .yaml, .npz); the schema is inferred from it.",
    type=click.Path(exists=True, dir_okay=False),
)
@click.option(
    "--requirement",
    "requirements",
    metavar="REQ",
    multiple=True,
    help="A requirement, as numpy>=1.24; repeatable.",
)
@click.option("--description", default="", help="One sentence on what it predicts.")
@click.option("--version", default="1.0.0", show_default=True, help="The first version.")
@click.option("--custom-batching", is_flag=True, help="The class takes a leading batch dimension.")
@output.in_folder
@output.as_json
def new(
    name: str,
    origin: str,
    type_: str | None,
    model_class: str | None,
    code: str | None,
    samples: str | None,
    requirements: tuple[str, ...],
    description: str,
    version: str,
    custom_batching: bool,
    json_: bool,
) -> None:
    """Add the model NAME: track its artifact with DVC, infer its schema, write its manifest.

    What the artifact is, is found by its content; nothing is unpickled to find out. The outputs of your
    own class are inferred by asking it the samples in an isolated process.
    """
    from gitreg import scaffold

    asked = scaffold.NewModel(
        type_,
        model_class,
        Path(code) if code else None,
        Path(samples) if samples else None,
        requirements,
        description,
        version,
        custom_batching,
    )
    added = scaffold.new(output.registry(), name, Path(origin), asked)
    if json_:
        data: dict[str, Any] = {
            "name": name,
            "folder": added.folder,
            "type": added.type,
            "format": added.format.name,
        }
        data |= {"runs_code": added.format.runs_code, "made": added.made, "todo": added.todo}
        output.print_json(data)
        return
    risk = "loading it may run its author's code" if added.format.runs_code else "loading it runs no code"
    output.say(f"{added.folder}: {added.format.name} ({added.format.framework}; {risk}), type {added.type}")
    for file in added.made:
        output.say(f"  made  {file}")
    for item in added.todo:
        output.say(f"  to do {item}")
    output.say(f"Next: gitreg check {name}")


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to report.",
)
@click.option(
    "--run/--no-run",
    default=None,
    help="Also load each model in isolation and ask it its samples. By default when models are named.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long each model may run.",
)
@output.in_folder
@output.as_json
def check(
    models: tuple[str, ...],
    format_: str,
    run: bool | None,
    timeout: float | None,
    json_: bool,
) -> None:
    """Find everything that is wrong, with file, line and column.

    Without MODELs all files are checked and no model is run; with MODELs each is also loaded from a
    package of its own and asked its samples, in a process that sees nothing else.
    """
    registry = output.registry()
    quiet = json_ or format_ == "json" or len(registry.files) < 100
    with output.progress("checked", len(models or registry.files), quiet) as step:
        report = registry.check(
            models, run=bool(models) if run is None else run, timeout=timeout, progress=step
        )
    if json_ or format_ == "json":
        output.print_json(_check_data(report))
    else:
        _print_check(report)
    if not report.ok:
        raise click.exceptions.Exit(1)


def _check_data(report: CheckReport) -> dict[str, Any]:
    return {"ok": report.ok, "models": report.models, "problems": [_problem_data(p) for p in report.problems]}


def _problem_data(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "message": problem.message,
        "level": problem.level,
    }


def _print_check(report: CheckReport) -> None:
    for problem in report.problems:
        output.say(str(problem), err=problem.level == "error")
    counts = {level: sum(p.level == level for p in report.problems) for level in ("error", "warning", "note")}
    found = ", ".join(f"{n} {level}{'s' * (n != 1)}" for level, n in counts.items() if n)
    models = f"{report.models} model{'s' * (report.models != 1)}"
    if report.ok:
        output.say(f"ok: {models}" + (f", {found}" if found else ""))
    else:
        output.say(f"error: {models}, {found}", err=True)
        output.say("hint: schemas/model.schema.json describes every field of a manifest", err=True)
