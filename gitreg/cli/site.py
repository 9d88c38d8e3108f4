"""site build, site serve, open: the registry as web pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitreg import printed
from gitreg.cli import output

if TYPE_CHECKING:
    from gitreg.site.serving import Server


@click.group()
@output.in_folder
def site() -> None:
    """The registry as web pages: files for any web server, or live from the working tree."""


@site.command()
@click.option(
    "-o",
    "--output",
    "folder",
    default="dist/site",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the pages go; other files there are left alone.",
)
@output.of_registry
@output.in_folder
@output.as_json
def build(folder: Path, where: str | None, json_: bool) -> None:
    """Write the registry's pages: they work from GitHub Pages, from a folder, and offline.

    Run again, only the pages of models that changed are written.
    """
    import gc

    from gitreg import site as pages

    gc.disable()  # nothing that a build makes is in a circle, and looking for circles takes a fifth of it
    built = pages.build(output.catalog(where), folder, output.reading_progress())
    if json_:
        output.print_json(pages.data_of(built))
        return
    changed = len(built.files.written)
    removed = f", {len(built.files.removed):,} removed" if built.files.removed else ""
    output.say(
        f"{built.models:,} models: {changed:,} files written{removed}, {built.files.same:,} as they were"
    )
    output.say(f"{folder}/index.html")


@site.command()
@click.option(
    "--port", default=8700, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free one."
)
@click.option("--read-only", is_flag=True, help="Show, and change nothing.")
@output.in_environment
@output.passes_variables
@output.of_registry
@output.in_folder
@output.as_json
def serve(port: int, read_only: bool, where: str | None, json_: bool) -> None:
    """Show the working tree live, and register and promote from the page, until ^C.

    Only this machine can reach it. The address that is printed holds a token, without which nothing can be
    changed. With --json one object is printed when it is ready.
    """
    serve_until_interrupted(where, port, read_only, lambda one: _tell(one, json_))


def _tell(one: Server, json_: bool) -> None:
    if json_:
        output.print_json({"url": one.address(), "page": one.page, "changes": one.desk is not None})
        return
    output.say(f"serving {one.shown} until ^C:")
    output.say(one.address())


def serve_until_interrupted(
    where: str | None, port: int, read_only: bool, ready: Callable[[Server], None]
) -> None:
    """Serve a registry; the server ends with ^C."""
    from gitreg.site.serving import Server

    tell = lambda text: output.say(printed.said(text), err=True)  # noqa: E731
    with Server(output.registry(where), port, read_only, tell) as one:
        try:
            ready(one)
            one.run()
        except KeyboardInterrupt:
            output.say("stopped", err=True)
            raise click.exceptions.Exit(130) from None


@click.command("open")
@click.argument("reference", metavar="[REF]", default="")
@click.option("--site", "there", metavar="DIR|URL", help="A site that was built, or where it is published.")
@click.option("--print", "print_", is_flag=True, help="Print the address and open nothing.")
@click.option(
    "--port", default=0, type=click.IntRange(0, 65535), help="Of the server; by default a free one."
)
@output.in_environment
@output.passes_variables
@output.of_registry
@output.in_folder
@output.as_json
def open_(reference: str, there: str | None, print_: bool, port: int, where: str | None, json_: bool) -> None:
    """Open the page of REF in a browser: a model, a version (churn@1.2.0, churn#production), or all models.

    Without --site it serves the working tree until ^C, as `site serve` does.
    """
    from gitreg.site import opening

    page = opening.page_of(output.catalog(where), reference)
    if there:
        _open(opening.address(there, page), print_, json_)
        return
    serve_until_interrupted(where, port, False, lambda one: _open(one.address(page), print_, json_))


def _open(address: str, print_: bool, json_: bool) -> None:
    from gitreg.site import opening

    if json_:
        output.print_json({"url": address})
    elif print_:
        output.say(address)
    if print_ or json_:
        return
    if not opening.browse(address):
        output.say("no browser could be started; open this:", err=True)
        output.say(address)
