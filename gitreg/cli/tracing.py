"""trace: where a model came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gitreg.cli import output


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
