"""inspect: what a file is, whatever it is called, and what loading it would do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitreg.cli import output

if TYPE_CHECKING:
    from gitreg.scanning import Seen

_MOST_LINES = 200


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--fail-on-code", is_flag=True, help="Exit 1 when something runs code when loaded; for CI.")
@output.in_folder
@output.as_json
def inspect(paths: tuple[str, ...], fail_on_code: bool, json_: bool) -> None:
    """Say what model files, folders and archives are, by their content, and whether loading them runs code.

    Nothing is loaded or unpickled, and only heads of files are read. A PATH that does not exist may be a
    model reference, as churn: its artifact in the DVC cache is looked at.
    """
    found = [_inspect(path) for path in paths]
    if json_:
        output.print_json([_data(seen) for seen in found])
    else:
        _show(found)
    if fail_on_code and any(seen.runs_code for seen in found):
        if not json_:
            output.say("error: this may run code when it is loaded", err=True)
        raise click.exceptions.Exit(1)


def _inspect(path: str) -> Seen:
    import os

    from gitreg import detection
    from gitreg.errors import Refused, Usage
    from gitreg.names import parse_reference

    if os.path.lexists(path):
        return detection.inspect(Path(path), path)
    try:
        parse_reference(path)
    except Usage:
        raise Refused(f"{path} does not exist") from None
    try:
        registry = output.registry()
    except Refused:
        raise Refused(f"{path} does not exist, and there is no registry here that has such a model") from None
    with registry.holding(path) as (holder, model):
        gathered = holder.gather(holder.manifest_file(model), build=False)
        tracked = gathered.tracked
        if tracked is None:
            raise Refused(f"{path}: DVC tracks no artifact of {model} here")
        if holder.store.missing(tracked):
            raise Refused(f"the artifact of {path} is not in the DVC cache", f"dvc fetch {tracked.by}")
        artifact = holder.store.artifact(tracked)
        files = {name: link.source for name, link in artifact.files.items()}
        if artifact.name:
            return detection.inspect(files[artifact.name], f"{path}!{artifact.name}")
        return detection.inspect_files(files, path)


def _shown(seen: Seen) -> tuple[list[Seen], int]:
    """What is inside and gets a line, what runs code first where there is too much; how many do not."""
    inside = list(seen.all())[1:]
    if len(inside) > _MOST_LINES:
        inside.sort(key=lambda one: (not one.runs_code, not one.warnings))
    return inside[:_MOST_LINES], len(inside[_MOST_LINES:])


def _show(found: list[Seen]) -> None:
    lines: list[Seen] = []
    left_out = 0
    for seen in found:
        inside, more = _shown(seen)
        lines += [seen, *inside]
        left_out += more
    output.table(
        ["path", "format", "framework", "risk", "size"],
        [(s.path, s.format.name, s.format.framework, s.risk, _size(s.size)) for s in lines],
    )
    if left_out:
        output.say(f"... {left_out} more")
    for seen in lines:
        for warning in seen.warnings:
            output.say(f"warning: {seen.path}: {warning}")


def _size(size: int | None) -> str:
    if size is None:
        return "?"
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f} {unit}" if unit != "B" else f"{size} B"


def _data(seen: Seen) -> dict[str, Any]:
    inside, more = _shown(seen)
    return {**_one(seen), "inside": [_one(one) for one in inside], "more": more}


def _one(seen: Seen) -> dict[str, Any]:
    return {
        "path": seen.path,
        "format": seen.format.key,
        "name": seen.format.name,
        "type": seen.format.type,
        "framework": seen.format.framework,
        "risk": seen.risk,
        "runs_code": seen.runs_code,
        "size": seen.size,
        "warnings": seen.warnings,
    }
