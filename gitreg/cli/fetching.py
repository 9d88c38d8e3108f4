"""pull: a registered version's files, in a folder."""

from __future__ import annotations

import click

from gitreg.cli import output


@click.command()
@click.argument("reference", metavar="REF")
@click.option(
    "-o",
    "--output",
    "destination",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="The folder that holds it then; by default the model's name.",
)
@click.option(
    "--package", type=click.Choice(["raw", "triton"]), help="The tested package instead of the artifact."
)
@click.option(
    "--timeout",
    type=output.Seconds(),
    metavar="SECONDS",
    help="How long the model may run its test.",
)
@output.in_environment
@output.pins
@output.passes_variables
@output.of_registry
@output.in_folder
@output.as_json
def pull(
    reference: str,
    destination: str | None,
    package: str | None,
    timeout: float | None,
    digest: str | None,
    allow_format: tuple[str, ...],
    where: str | None,
    json_: bool,
) -> None:
    """Put the artifact of a registered version into a folder, or its tested package.

    The folder appears whole or not at all. One that was pulled into before, and not changed since, is
    replaced; anything else that is there is left alone. What was fetched already is not fetched again.
    """

    def tell(text: str) -> None:
        if not json_:
            output.say(text, err=True)

    allowed = allow_format or None
    whole = output.registry(where)
    pulled = whole.pull(reference, destination, package, timeout, tell, digest=digest, formats=allowed)
    if json_:
        output.print_json(
            {
                "model": pulled.model,
                "version": pulled.version.version,
                "id": pulled.version.id,
                "ordinal": pulled.ordinal,
                "commit": pulled.version.tag.commit,
                "kind": pulled.kind,
                "status": pulled.status,
                "path": pulled.path,
                "artifact": {"digest": pulled.digest, "files": pulled.files, "size": pulled.size},
            }
        )
        return
    what = "the artifact" if pulled.kind == "artifact" else f"the {pulled.kind} package"
    output.say(f"{pulled.model}@{pulled.version.version}: {what} is in {destination or pulled.model}")
    if pulled.status == "unchanged":
        output.say("it was there already", err=True)
