"""cache: what is kept of registries elsewhere, and emptying it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from gitreg.cli import output, tables

if TYPE_CHECKING:
    from gitreg.cleaning import Kept


@click.group(invoke_without_command=True)
@output.in_folder
@output.as_json
@click.pass_context
def cache(context: click.Context, json_: bool) -> None:
    """Show what is kept of registries elsewhere, where, and how much it takes."""
    from gitreg import caches, cleaning
    from gitreg.rendering import size

    if context.invoked_subcommand:
        return
    kept = cleaning.kept()
    if json_:
        output.print_json({"folder": caches.top(), "kept": _data(kept)})
        return
    output.say(str(caches.top()))
    rows = [[one.name, one.entries, size(one.size), caches.FOLDERS[one.name]] for one in kept if one.entries]
    if rows:
        tables.show(["folder", "entries", "size", "what"], rows)
        output.say(f"{size(sum(one.size for one in kept))} in all; gitreg cache clear deletes it")
    else:
        output.say("nothing is kept")


@cache.command()
@output.in_folder
@output.as_json
def clear(json_: bool) -> None:
    """Delete all that is kept; it comes back as it is needed, for which a network may be needed.

    Nothing is deleted while another process is at work there. Your registry, its DVC cache and its index are
    not in it.
    """
    from gitreg import caches, cleaning
    from gitreg.rendering import size

    before = cleaning.clear()
    if json_:
        output.print_json({"folder": caches.top(), "kept": _data(before)})
    else:
        output.say(f"{size(sum(one.size for one in before))} deleted from {caches.top()}")


def _data(kept: Sequence[Kept]) -> list[dict[str, object]]:
    return [{"name": one.name, "entries": one.entries, "size": one.size} for one in kept]
