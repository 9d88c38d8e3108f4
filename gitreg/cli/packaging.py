"""build, verify, predict: from a manifest to packages, and to answers."""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitreg.cli import output

if TYPE_CHECKING:
    from gitreg.declared import Manifest
    from gitreg.isolation import Conditions
    from gitreg.registry import Registry
    from gitreg.reports import ModelReport
    from gitreg.verifier import Verified

_TIMEOUT = click.option(
    "--timeout",
    type=output.Seconds(),
    metavar="SECONDS",
    help="How long each model may run.",
)


@click.command()
@click.argument("references", nargs=-1, metavar="[REF]...")
@click.option("--all", "everything", is_flag=True, help="Every model of the registry (also the default).")
@click.option(
    "--changed-since",
    metavar="REF",
    help="Models that changed since REF, as the commit before a merge.",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["triton", "raw"]),
    help="Which packages; both by default.",
)
@click.option(
    "-o",
    "--output",
    "destination",
    default="dist",
    show_default=True,
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Where they go.",
)
@click.option(
    "-j", "--jobs", type=click.IntRange(1), metavar="N", help="Models at a time; one per core by default."
)
@_TIMEOUT
@output.in_environment
@output.passes_variables
@output.in_folder
@output.as_json
def build(
    references: tuple[str, ...],
    everything: bool,
    changed_since: str | None,
    formats: tuple[str, ...],
    destination: str,
    jobs: int | None,
    timeout: float | None,
    json_: bool,
) -> None:
    """Make packages: DIR/triton/<model>/ and DIR/raw/<model>/.

    Each model is tested first: loaded from the package alone, asked every sample, saved and loaded
    again. A package appears whole or not at all. What has not changed is not built again.
    """
    if sum(map(bool, (references, everything, changed_since))) > 1:
        raise click.UsageError("--all, --changed-since and REFs exclude each other")
    registry = output.registry()
    place = Path(destination)
    if changed_since:
        references = tuple(registry.changed_since(changed_since))
        if not references:
            output.print_json([]) if json_ else output.say(f"no model changed since {changed_since}")
            return
    with output.progress("built", len(references or registry.files), json_) as step:
        reports = registry.build(
            references,
            place,
            formats or None,
            jobs,
            timeout,
            lambda r: step(f"{r.model} {r.version}: {r.status}"),
        )
    failed = [r for r in reports if r.error]
    if json_:
        output.print_json([_build_data(r) for r in reports])
    else:
        _print_build(reports, place)
    for report in failed:
        if report.error:
            output.say_error(report.error)
    if failed:
        raise click.exceptions.Exit(1)


def _build_data(report: ModelReport) -> dict[str, Any]:
    return {
        "model": report.model,
        "version": report.version,
        "ordinal": report.ordinal,
        "status": report.status,
        "packages": report.packages,
        "digest": report.digest,
        "warnings": report.warnings,
        "error": report.error.message if report.error else None,
    }


def _print_build(reports: list[ModelReport], place: Path) -> None:
    if not reports:
        output.say("no models yet; gitreg new NAME --from PATH adds one")
        return
    rows = [[r.model, r.version, r.status, ", ".join(sorted(r.packages)), r.digest[7:19]] for r in reports]
    output.table(["model", "version", "status", "packages", "digest"], rows)
    for report in reports:
        for warning in report.warnings:
            output.say(f"warning: {report.model}: {warning}")
    output.say(f"in {place}")


@click.command()
@click.argument("package", type=click.Path(exists=True, file_okay=False))
@_TIMEOUT
@output.in_environment
@output.passes_variables
@output.as_json
@output.in_folder
def verify(package: str, timeout: float | None, json_: bool) -> None:
    """Hold PACKAGE (or every package below a folder) against its own record.

    Every digest, the layout, a load in an isolated process, and the samples. A Triton package carries
    no samples; it is asked those of the raw package of the same content beside it, if there is one.
    """
    from gitreg import verifier

    found = verifier.find_packages(Path(package))
    conditions = _conditions(timeout)
    results: list[Verified] = []
    with output.progress("verified", len(found), json_ or len(found) < 2) as step:
        for one in found:
            results.append(verifier.verify(one, conditions, output.environments()))
            step(f"{results[-1].format} {results[-1].model}")
    if json_:
        output.print_json([_verified_data(r) for r in results])
    else:
        rows = [
            [
                r.model,
                r.version or "",
                r.format,
                "refused" if r.problems else "verified" if r.loaded else "intact, not loaded",
                r.samples,
                r.digest[7:19],
            ]
            for r in results
        ]
        output.table(["model", "version", "package", "verdict", "samples", "digest"], rows)
    for result in results:
        for warning in result.warnings:
            output.say(f"warning: {result.path}: {warning}", err=True)
        for problem in result.problems:
            output.say(f"error: {result.path}: {problem}", err=True)
    if any(r.problems for r in results):
        output.say("hint: move what is refused away; gitreg build makes it again", err=True)
        raise click.exceptions.Exit(1)


def _conditions(timeout: float | None) -> Conditions:
    """What a package's model may take and see: as the registry says in which this runs, if it is in one."""
    from gitreg import isolation, places
    from gitreg.errors import Refused

    try:
        places.find(".")
    except Refused:
        return isolation.Conditions(timeout, output.passed())
    return output.registry().workbench.conditions(timeout)


def _verified_data(result: Verified) -> dict[str, Any]:
    return {
        "path": result.path,
        "format": result.format,
        "model": result.model,
        "version": result.version,
        "digest": result.digest,
        "ok": not result.problems,
        "loaded": result.loaded,
        "samples": result.samples,
        "problems": result.problems,
        "warnings": result.warnings,
    }


@click.command()
@click.argument("reference", metavar="REF")
@click.option(
    "--input",
    "input_",
    metavar="FILE",
    help="Samples to ask (.json, .yaml, .npz), or - for JSON on stdin; the model's own by default.",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
)
@output.pins
@_TIMEOUT
@output.in_environment
@output.passes_variables
@output.of_registry
@output.in_folder
@output.as_json
def predict(
    reference: str,
    input_: str | None,
    digest: str | None,
    allow_format: tuple[str, ...],
    timeout: float | None,
    where: str | None,
    json_: bool,
) -> None:
    """Load a model in an isolated process and ask it samples."""
    from gitreg import resolver
    from gitreg.pins import pin

    wanted = pin(digest, allow_format or None)
    whole = output.registry(where)
    resolver.hold_claim(whole, reference, wanted)
    with whole.holding(reference) as (registry, model):
        samples = _read_input(registry, model, input_) if input_ else None
        manifest, asked, outcome = registry.workbench.predict(model, samples, timeout, wanted)
    for warning in outcome.warnings:
        output.say(f"warning: {manifest.name}: {warning}", err=True)
    answers = [
        _plain_answer(manifest, answer, sample) for answer, sample in zip(outcome.answers, asked, strict=True)
    ]
    if json_:
        output.print_json({"model": manifest.name, "version": manifest.version, "predictions": answers})
        return
    for i, answer in enumerate(answers):
        output.say(f"[{i}] " + "  ".join(f"{name} = {value}" for name, value in answer.items()))


def _read_input(registry: Registry, model: str, input_: str) -> list[Any]:
    from gitreg import folders
    from gitreg.datafiles import read_samples
    from gitreg.errors import InvalidFiles, Refused

    read = registry.read(registry.manifest_file(model))
    manifest = read.manifest
    if manifest is None:
        raise InvalidFiles(read.problems)
    if manifest.schema is None:
        raise Refused(f"{manifest.name} declares no schema to read the input with")
    with folders.temporary() as new:
        file, name = Path(input_), input_
        if input_ == "-" or file.is_fifo():  # as of `<(command)` in a shell
            file, name = new / "input.json", "<stdin>" if input_ == "-" else name
            with contextlib.nullcontext(sys.stdin.buffer) if input_ == "-" else open(input_, "rb") as stream:
                with open(file, "wb") as copy:
                    shutil.copyfileobj(stream, copy)
        samples, problems = read_samples(file, name, manifest.schema, manifest.batching.custom, scale=8)
    if problems:
        raise InvalidFiles(problems)
    return samples


def _plain_answer(manifest: Manifest, answer: dict[str, Any], sample: Any) -> dict[str, Any]:
    """One answer as plain data, without the batch dimension that serving adds to a single sample."""
    from gitreg.elements import plain
    from gitreg.schema import is_batch

    assert manifest.schema
    batch = manifest.batching.custom and is_batch(manifest.schema, sample)
    whole = manifest.batching.max_batch_size == 0 and not manifest.batching.custom
    return {name: plain(array if batch or whole else array[0]) for name, array in answer.items()}
