"""hook: registry tags that somebody pushes, or pushed, by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gitreg.cli import output

if TYPE_CHECKING:
    from gitreg.warden import Finding

F = TypeVar("F", bound=Callable[..., Any])


def _prefixes(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    found = []
    for value in values:
        parts = [part for part in value.split("/") if part not in ("", ".")]
        if value.startswith("/") or ".." in parts:
            raise click.BadParameter("a folder in the repository, as ml/models", ctx, parameter)
        found.append("".join(f"{part}/" for part in parts))
    return tuple(dict.fromkeys(found)) or ("",)


WITHIN = click.option(
    "--within",
    "prefixes",
    multiple=True,
    metavar="FOLDER",
    callback=_prefixes,
    help="Where registry.yaml is in the repository; by default at its top. Repeatable.",
)


@click.group()
@output.in_folder
def hook() -> None:
    """Hold registry tags against files and policy: on your own Git server, or in CI."""


@hook.command("pre-receive")
@WITHIN
@output.in_folder
@output.as_json
def pre_receive(prefixes: tuple[str, ...], json_: bool) -> None:
    """Refuse a push with bad tags; for Git to call.

    Reads from standard input what Git gives a pre-receive hook. Exits with 1 to refuse the push, all of it,
    and tells everything that is wrong. A push without registry tags passes at once.
    """
    from gitreg import warden
    from gitreg.warden import hook

    updates = hook.updates(sys.stdin.buffer)
    views = [warden.View(hook.here(), prefix) for prefix in prefixes]
    _report([found for view in views for found in warden.judge(view, updates)], json_)


@hook.command("verify-tags")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--remote", metavar="NAME", help="Whose branch counts; by default what is followed, or origin.")
@click.option("--branch", metavar="NAME", help="The branch that counts; by default the remote's.")
@output.in_folder
@output.as_json
def verify_tags(names: tuple[str, ...], remote: str | None, branch: str | None, json_: bool) -> None:
    """Judge tags that are here already.

    For the workflow that runs when a tag is pushed: gitreg hook verify-tags -- "$TAG". The tags NAME... are
    held against the default branch as last fetched, and against the tags that were here before them. What is
    wrong is told, with the command that undoes it. It needs the whole history, and the tags as the remote has
    them: actions/checkout with `fetch-depth: 0` and the default branch as its `ref`; asked for an annotated
    tag it makes a lightweight one. Exits with 1 when any is wrong; tags without '@' and '#' never are.
    """
    from gitreg import warden

    known = output.registry()
    view = warden.View.of_clone(known.root, remote, branch)
    _report(warden.verify(view, names), json_, view.remote)


@hook.command()
@click.argument(
    "folder", default=".", metavar="[DIR]", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@WITHIN
@output.in_folder
@output.as_json
def install(folder: Path, prefixes: tuple[str, ...], json_: bool) -> None:
    """Write the hook into a bare repository.

    DIR is where others push to. The hook runs with the Python that runs this. One that is there and not
    gitreg's is left alone; in gitreg's own, other registries of the repository stay.
    """
    from gitreg.warden import hook

    file = hook.install(folder, *prefixes)
    if json_:
        output.print_json({"hook": file})
    else:
        output.say(f"wrote {file}")


def _report(findings: Sequence[Finding], json_: bool, remote: str | None = None) -> None:
    """Print what is wrong, and how to undo it where a remote has it; then exit."""
    undo: dict[str, str] = {}
    if findings and remote:
        from gitreg import warden

        undo = {finding.ref: warden.undo(finding.ref, remote) for finding in findings}
    if json_:
        data = [{**finding._asdict(), "undo": undo.get(finding.ref)} for finding in findings]
        shown = [{key: text and _shown(text) for key, text in one.items()} for one in data]
        output.print_json({"ok": not findings, "findings": shown})
    for number, finding in enumerate(() if json_ else findings):
        output.say(f"error: {finding.ref}: {finding.text}", err=True)
        if finding.hint:
            output.say(f"hint: {finding.hint}", err=True)
        last = finding.ref not in {other.ref for other in findings[number + 1 :]}
        if last and finding.ref in undo:
            output.say(f"hint: to undo it: {undo[finding.ref]}", err=True)
    if findings:
        raise click.exceptions.Exit(1)


def _shown(text: str) -> str:
    """A reference's name may be any bytes; JSON may not."""
    return text.encode("utf-8", "backslashreplace").decode()
