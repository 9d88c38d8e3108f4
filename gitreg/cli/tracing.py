"""trace, reproduce: where a model came from, and making it again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitreg import printed
from gitreg.cli import output

if TYPE_CHECKING:
    from gitreg.reproducer import Reproduction, Rerun


@click.command()
@click.argument("model")
@click.option(
    "--code",
    metavar="DIR",
    help="The folder of the training code; by default the DVC pipeline that made the artifact says.",
    type=click.Path(exists=True, file_okay=False),
)
@click.option(
    "--data",
    metavar="PATH",
    multiple=True,
    help="What training read beyond what a pipeline says: a path, or an address; repeatable.",
)
@output.in_folder
@output.as_json
def trace(model: str, code: str | None, data: tuple[str, ...], json_: bool) -> None:
    """Write where MODEL came from into its manifest's lineage, as far as it can be known.

    The commit of the training code, the data that a DVC pipeline read, this Python and its packages,
    Dockerfile and Conda file, the MLflow run. What people wrote stays, but for what is found anew; nothing
    is guessed.
    """
    done = output.registry().trace(model, Path(code) if code else None, data)
    if json_:
        changes = {path: {"before": old, "after": new} for path, (old, new) in done.changes.items()}
        output.print_json(
            {"file": done.file, "lineage": done.lineage, "changes": changes}
            | {"copied": done.copied, "notes": done.notes}
        )
        return
    for path, (old, new) in done.changes.items():
        before = f"  (was {_short(old)})" if old is not None else ""
        output.say(f"  {path}: {_short(new)}{before}")
    for file in done.copied:
        output.say(f"  made  {file}")
    for note in done.notes:
        output.say(f"  not known: {note}")
    output.say(f"{done.file}: {'lineage is as it was' if not done.changes else 'written; commit it'}")


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "; ".join(_short(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    return str(value)


@click.command()
@click.argument("reference", metavar="REF")
@click.option("--run", is_flag=True, help="Run the DVC pipeline that made the artifact, and compare.")
@click.option(
    "-o",
    "--output",
    "destination",
    metavar="DIR",
    help="Keep the clone there, with what was made.",
    type=click.Path(file_okay=False),
)
@click.option(
    "--timeout",
    type=output.Seconds(),
    metavar="SECONDS",
    help="How long the pipeline may run.",
)
@output.in_environment
@output.passes_variables
@output.in_folder
@output.as_json
def reproduce(reference: str, run: bool, destination: str | None, timeout: float | None, json_: bool) -> None:
    """Say what is known, and what is missing, to make the version REF again from scratch.

    In a clean clone of the version's commit. With --run its DVC pipeline is run there: its commands, as
    dvc.yaml has them, with your rights. They are shown first.
    """
    from gitreg import reproducer

    done = output.registry().reproduce(
        reference,
        run=run,
        output=Path(destination) if destination else None,
        timeout=timeout,
        tell=lambda line: output.say(printed.BAR + printed.line(line), err=True),
    )
    if json_:
        output.print_json(reproducer.as_data(done))
    else:
        _print_reproduction(done)
    if not done.ok:
        silent = not done.rerun and all(fact.status == "unreachable" for fact in done.lacking)
        raise click.exceptions.Exit(4 if silent else 1)


def _print_reproduction(done: Reproduction) -> None:
    version = done.version or "no version"
    output.say(
        f"{done.model} {version}, commit {done.commit[:12]}{'' if done.registered else ', not registered'}"
    )
    rows = [[fact.status, fact.facet, f"{fact.name}: {fact.text}".removeprefix(": ")] for fact in done.facts]
    output.table(["", "what", "found"], rows)
    if done.rerun:
        _print_rerun(done.rerun)
    elif done.lacking:
        output.say(
            f"{len(done.lacking)} of what is needed {'is' if len(done.lacking) == 1 else 'are'} not at hand",
            err=True,
        )
    else:
        for name, command in done.stages:
            output.say(f"  {name}: {printed.said(command)}")
        output.say("everything is known" + ("; --run makes it again" if done.stages else ""))
    if done.folder:
        output.say(f"in {done.folder}")


def _print_rerun(rerun: Rerun) -> None:
    for name, (recorded, now) in rerun.metrics.items():
        output.say(f"  {name}: {recorded} was recorded, {now} now")
    for name, one in rerun.predictions.items():
        most = f", by at most {one.most:g}" if one.most is not None and one.differing else ""
        output.say(f"  {name}: {one.differing} of {one.samples} answers differ{most}")
    for note in rerun.notes:
        output.say(f"  not compared: {note}")
    if rerun.same:
        output.say(f"reproduced: the artifact is the same to the byte, md5 {rerun.got}")
    else:
        output.say(f"differs: md5 {rerun.expected} was registered, {rerun.got or 'nothing'} was made")
