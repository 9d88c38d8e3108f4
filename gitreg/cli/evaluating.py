"""evaluate: a version on held-out data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitreg.cli import output

if TYPE_CHECKING:
    from gitreg.evaluator import Evaluation


@click.command()
@click.argument("reference", metavar="REF")
@click.option(
    "--data",
    required=True,
    metavar="FILE|FUNCTION",
    help="Held-out rows (.json, .yaml, .npz, .csv, .parquet), or a function, as package.module:name.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="[NAME=]METRIC",
    help="accuracy, f1, roc_auc, mae, rmse, ..., or a function; repeatable. By default those recorded.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="OUTPUT=COLUMN",
    help="Which column says what an output should be; by default the one of its name.",
)
@click.option("--classes", metavar="A,B,...", help="The classes, in the order of an output's probabilities.")
@click.option("--write", is_flag=True, help="Write the metrics into the manifest's metrics, to be committed.")
@click.option(
    "--timeout",
    type=output.Seconds(),
    metavar="SECONDS",
    help="How long the model, and each function, may run.",
)
@output.in_environment
@output.passes_variables
@output.of_registry
@output.in_folder
@output.as_json
def evaluate(
    reference: str,
    data: str,
    metrics: tuple[str, ...],
    targets: tuple[str, ...],
    classes: str | None,
    write: bool,
    timeout: float | None,
    where: str | None,
    json_: bool,
) -> None:
    """Measure the version REF on held-out data, beside what is recorded of it and of the versions in stages.

    The model runs in an isolated process and never sees the targets; functions of yours run in another.
    """
    from gitreg import evaluator

    named = tuple(filter(None, (classes or "").split(",")))
    asked = evaluator.Asked(data, metrics, targets, named, write, (Path.cwd(),), timeout)
    done = output.registry(where).evaluate(reference, asked)
    if json_:
        output.print_json(evaluator.as_data(done))
    else:
        _print(done)


def _print(done: Evaluation) -> None:
    headers = ["metric", "measured", "recorded"]
    headers += [f"{stage} ({version})" for stage, (version, _) in done.stages.items()]
    rows = [
        [name, _shown(value), _shown(done.recorded.get(name))]
        + [_shown(found.get(name)) for _, found in done.stages.values()]
        for name, value in done.metrics.items()
    ]
    output.table(headers, rows)
    for note in done.notes:
        output.say(f"note: {note}")
    name = f"{done.model}@{done.version}" if done.version else done.model
    output.say(f"{name}: {done.rows:,} rows")
    if done.written:
        output.say(f"written to {done.written}; commit it")


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
