"""convert: a model as ONNX, held against the original."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitreg.cli import output

if TYPE_CHECKING:
    from gitreg.converter import Converted


@click.command()
@click.argument("reference", metavar="REF")
@click.option("--to", "target", required=True, type=click.Choice(["onnx"]), help="The format.")
@click.option("--name", metavar="NEW", help="Add it to the registry as this new model.")
@click.option(
    "-o",
    "--output",
    "destination",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="The file that it becomes; by default the model's name with .onnx.",
)
@click.option(
    "--rtol",
    default=1e-4,
    show_default=True,
    type=output.Finite(min=0),
    help="Relative tolerance of floats.",
)
@click.option(
    "--atol",
    default=1e-5,
    show_default=True,
    type=output.Finite(min=0),
    help="Absolute tolerance of floats.",
)
@click.option(
    "--opset", type=click.IntRange(7, 99), metavar="N", help="ONNX's opset; by default a usual one."
)
@click.option(
    "--timeout",
    type=output.Seconds(),
    metavar="SECONDS",
    help="How long converting may take.",
)
@output.in_environment
@output.passes_variables
@output.in_folder
@output.as_json
def convert(
    reference: str,
    target: str,
    name: str | None,
    destination: str | None,
    rtol: float,
    atol: float,
    opset: int | None,
    timeout: float | None,
    json_: bool,
) -> None:
    """Convert a model, and compare the answers of both to its sample data.

    Labels have to be equal, and floats within the tolerance; else nothing is left. The original is loaded and
    converted in an isolated process.
    """
    if name and destination:
        raise click.UsageError("--name and -o exclude each other")
    registry = output.registry()
    file = None
    if not name:
        file = Path(destination) if destination else Path(f"{_model(reference)}.{target}")
    done = registry.convert(reference, timeout, name=name, file=file, rtol=rtol, atol=atol, opset=opset)
    if json_:
        output.print_json(_data(done))
        return
    rows = [[d.output, d.values, _short(d.absolute), _short(d.relative)] for d in done.differences]
    output.table(["output", "values compared", "largest difference", "relative"], rows)
    was = f"{done.model}@{done.version}" if done.version else done.model
    if done.added:
        for made in done.added.made:
            output.say(f"  made  {made}")
        for item in done.added.todo:
            output.say(f"  to do {item}")
        output.say(f"{was} is {done.added.folder}, as ONNX. Next: gitreg check {name}")
    else:
        output.say(f"{was} as ONNX: {done.file}")


def _model(reference: str) -> str:
    from gitreg.names import parse_reference

    return parse_reference(reference).model


def _short(number: float | None) -> str:
    return "equal" if number is None else f"{number:.2g}"


def _data(done: Converted) -> dict[str, Any]:
    return {
        "model": done.model,
        "version": done.version,
        "to": "onnx",
        "file": done.file,
        "name": done.added.folder.rpartition("/")[2] if done.added else None,
        "made": done.added.made if done.added else [],
        "todo": done.added.todo if done.added else [],
        "samples": done.samples,
        "outputs": [
            {
                "name": d.output,
                "values": d.values,
                "unlike": d.unlike,
                "absolute": d.absolute,
                "relative": d.relative,
            }
            for d in done.differences
        ],
    }
