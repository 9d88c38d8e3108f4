"""check: everything that can be wrong, for people, programs and pull requests."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitreg.cli import output

if TYPE_CHECKING:
    from gitreg.effects import ModelReview
    from gitreg.registry import Registry
    from gitreg.reports import CheckReport
    from gitreg.review import Review


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--base",
    metavar="REF",
    help="Check what changed since REF, as origin/main, by the rules of a pull request.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json", "github", "sarif", "markdown"]),
    default="text",
    show_default=True,
    help="How to report: github annotates lines, sarif is for code scanning.",
)
@click.option(
    "--summary",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="With --base, append the Markdown report to FILE too, as $GITHUB_STEP_SUMMARY.",
)
@click.option(
    "--run/--no-run",
    default=None,
    help="Also load each model in isolation and ask it its samples. By default with MODELs and --base.",
)
@click.option(
    "--timeout",
    type=output.Seconds(),
    metavar="SECONDS",
    help="How long each model may run.",
)
@click.option(
    "--committed/--no-committed",
    default=None,
    help="With --base: do not look for changes that are in no commit. The default where CI is set.",
)
@click.option("--fix", is_flag=True, help="First bring dvc.yaml's artifacts section in step with the models.")
@output.in_environment
@output.passes_variables
@output.in_folder
@output.as_json
def check(
    models: tuple[str, ...],
    base: str | None,
    format_: str,
    summary: str | None,
    run: bool | None,
    timeout: float | None,
    committed: bool | None,
    fix: bool,
    json_: bool,
) -> None:
    """Find everything that is wrong, with file, line and column.

    Without MODELs all files are checked and no model is run; with MODELs each is also loaded from a
    package of its own and asked its samples, in a process that sees nothing else. With --base only what
    changed is checked, and what the merge would do is told.
    """
    from gitreg import outlook

    only = bool(os.environ.get("CI")) if committed is None else committed
    begun = outlook.begin(Path.cwd(), not only) if base and not fix else None
    registry = output.registry()
    kind = "json" if json_ else format_
    if models and base:
        raise click.UsageError("--base finds the models itself; name MODELs or a base")
    if (summary or kind == "markdown") and not base:
        raise click.UsageError("the Markdown report tells of a change: name its --base, as origin/main")
    if fix:
        for file in registry.fix():
            output.say(f"wrote {file}", err=True)
    if base:
        done = registry.review(base, run is not False, timeout, only, outlook=begun)
        _print_review(registry, done, kind, summary)
        return
    quiet = kind != "text" or len(registry.files) < 100
    with output.progress("checked", len(models or registry.files), quiet) as step:
        report = registry.check(
            models, run=bool(models) if run is None else run, timeout=timeout, progress=step
        )
    if kind == "json":
        output.print_json(_check_data(report))
    else:
        _report(registry, report, kind)
    _judge(report)


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--base", metavar="REF", help="Of the models that changed since REF, for `check --base`.")
@click.option("--gates", is_flag=True, help="Of the models that a gate loads, for `apply`.")
@output.in_folder
@output.as_json
def requirements(models: tuple[str, ...], base: str | None, gates: bool, json_: bool) -> None:
    """Print what models need installed, as lines of a requirements.txt, for CI.

    With --base, lines with an address are left out: pip would run the setup.py behind it, whatever it is
    told of wheels. What cannot be read requires nothing here; the command that comes next tells why.
    """
    from gitreg import needs

    if bool(models) + bool(base) + gates != 1:
        raise click.UsageError("name MODELs, or --base, or --gates")
    lines = needs.requirements(output.registry(), base, models or None)
    if json_:
        output.print_json(lines)
    else:
        for line in lines:
            output.say(line)


def _print_review(registry: Registry, done: Review, kind: str, summary: str | None) -> None:
    from gitreg import rendering, review

    if summary:
        with open(summary, "a", encoding="utf-8") as stream:
            stream.write(rendering.markdown(done) + "\n")
    if kind == "json":
        output.print_json({**_check_data(done.report), **review.as_data(done)})
    elif kind == "markdown":
        output.lines(rendering.markdown(done).rstrip().split("\n"))
    else:
        if kind == "text":
            _show(done)
        _report(registry, done.report, kind)
    _judge(done.report)


def _judge(report: CheckReport) -> None:
    if not report.ok:
        raise click.exceptions.Exit(report.exit_code)


def _report(registry: Registry, report: CheckReport, kind: str) -> None:
    from gitreg import git, rendering

    prefix = git.prefix(registry.root) if registry.git_folder else ""
    if kind == "sarif":
        output.print_json(rendering.sarif(report.problems, prefix))
        return
    if kind == "github":
        for line in rendering.github(report.problems, prefix):
            output.command(line)
    _print_check(report)


def _show(done: Review) -> None:
    """What a change does, in a few lines per model."""
    for one in done.policies:
        before, after = one.before or [], one.after or []
        word = " is new" if one.before is None else " goes" if one.after is None else ""
        output.say(f"stage {one.stage}{word}")
        for line in before:
            if line not in after:
                output.say(f"  no longer asks: {line}")
        for line in after:
            if line not in before:
                output.say(f"  asks: {line}")
    for line in done.build:
        output.say(line)
    for model in done.models:
        if not model.same:
            _show_model(model)
    if count := sum(model.same for model in done.models):
        models = f"{count:,} model{'s' * (count != 1)}"
        output.say(f"{models} more checked, as registry.yaml changed; nothing of them changes")
    if done.uncommitted:
        some = ", ".join(done.uncommitted[:5])
        more = f" and {len(done.uncommitted) - 5} more" if len(done.uncommitted) > 5 else ""
        output.say(f"in no commit yet, so the merge would not have it: {some}{more}")
    for action in done.planned.actions if done.planned else ():
        output.say(f"the merge would {' '.join(str(action).split())}")


def _show_model(model: ModelReview) -> None:
    before, after = model.before or "blank", model.after or model.registers or "blank"
    versions = {
        "new": f"new, {after}",
        "removed": f"removed, was {before}",
        "invalid": "not readable",
        "stages": "",
        "changed": after if before == after else f"{before} -> {after}",
    }[model.status]
    output.say(f"{model.name}: {versions}".rstrip(": "))
    for stage, (old, new) in model.stages.items():
        output.say(f"  {stage}: {old or 'nothing'} -> {new or 'nothing'}")
    for change in model.schema:
        output.say(f"  {change.level}: {change.text}")
    old_artifact, new_artifact = model.artifact
    if old_artifact.digest != new_artifact.digest and model.status != "invalid":
        output.say(f"  artifact: {old_artifact.digest or 'none'} -> {new_artifact.digest or 'none'}")
    now = model.metrics.get("after", {})
    for column, values in model.metrics.items():
        if column != "after":
            told = [f"{n} {v:.6g} -> {now[n]:.6g}" for n, v in values.items() if n in now and now[n] != v]
            if told:
                output.say(f"  against {column} {model.columns.get(column, '')}: {', '.join(told)}")


def _check_data(report: CheckReport) -> dict[str, Any]:
    keys = ("file", "line", "column", "path", "message", "level")
    problems = [{key: asdict(p)[key] for key in keys} for p in report.problems]
    return {"ok": report.ok, "models": report.models, "problems": problems}


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
        fields = [p for p in report.problems if p.level == "error" and p.path not in ("", "version")]
        if any(not p.file.startswith("stages/") for p in fields):
            output.say("hint: schemas/model.schema.json describes every field of a manifest", err=True)
        for hint in dict.fromkeys(report.hints):
            output.say(f"hint: {hint}", err=True)
