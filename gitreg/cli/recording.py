"""plan, apply, register, bump: from what files say to what tags record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitreg.cli import output

if TYPE_CHECKING:
    from gitreg.planner import Planned

PUSH = click.option("--push", is_flag=True, help="Fetch before and push after, as one transaction.")
REMOTE = click.option(
    "--remote", metavar="NAME", help="Where to push; by default what the branch follows, or origin."
)


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--at", "commit", default="HEAD", show_default=True, help="The commit whose files count.")
@click.option(
    "--matrix", is_flag=True, help="Print GitHub's strategy.matrix for building what is to be registered."
)
@output.in_environment
@output.passes_variables
@output.of_registry
@output.in_folder
@output.as_json
def plan(models: tuple[str, ...], commit: str, matrix: bool, where: str | None, json_: bool) -> None:
    """Show what `apply` would do: what the files say, minus what the tags record.

    With MODELs, only for these. Exits with 1 when the plan could not be applied.
    """
    from gitreg import planner
    from gitreg.git import refs

    registry = output.registry(where)
    planned = registry.plan(commit, models or None)
    if matrix:
        from gitreg import jobs

        output.print_json(jobs.matrix(planned))
    elif json_:
        output.print_json(planner.as_data(planned))
    else:
        _show(planned, "would ")
    if refs.is_shallow(registry.root):
        lacks = "this is a shallow clone, which may lack tags and commits"
        output.say(f"hint: {lacks}: git fetch --unshallow --tags", err=True)
    if not planned.ok:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@PUSH
@REMOTE
@click.option("--before", metavar="COMMIT", help="Register first what an overtaken run of COMMIT has not.")
@click.option(
    "--matrix", is_flag=True, help="Print GitHub's strategy.matrix for building what was registered."
)
@output.in_environment
@output.passes_variables
@output.in_folder
@output.as_json
def apply(
    models: tuple[str, ...], push: bool, remote: str | None, before: str | None, matrix: bool, json_: bool
) -> None:
    """Write the tags that `plan` shows: all of them, or none.

    A second run does nothing. With --push, a race that is lost is run again from the start.
    """
    from gitreg import planner

    push = push or bool(remote)
    if before and not push:
        raise click.UsageError(
            "--before goes with --push: only a branch that others push to overtakes anybody"
        )
    planned = output.registry().apply(push, remote, models or None, _tell, before)
    if json_:
        output.print_json(planner.as_data(planned))
        return
    for one in (planned.earlier, planned):
        if one is planned or (one and (one.actions or one.late)):
            _show(one, "", err=matrix)
    if matrix:
        from gitreg import jobs

        output.print_json(jobs.matrix(planned))


def _tell(line: str) -> None:
    output.say(line, err=True)


def _show(planned: Planned, mood: str, err: bool = False) -> None:
    for action, later in planned.late:
        output.say(
            f"{action.model}@{action.version} comes too late: {later} of a later commit is registered",
            err=err,
        )
    if planned.behind and not planned.actions:
        output.say(f"nothing done: {planned.behind}", err=err)
        return
    for action in planned.actions:
        output.say(f"{mood}{action}", err=err)
        for verdict in planned.verdicts.get(action, ()):
            mark = "ok     " if verdict.passed else "refused"
            output.say(f"    {mark} {verdict.gate}: {verdict.text}", err=err)
    for problem in planned.problems:
        output.say(str(problem), err=True)
    if not planned.actions and not planned.problems:
        output.say(f"nothing to do: the tags say what {planned.commit[:12]} says", err=err)
    elif not planned.ok:
        refused = len(planned.problems) + len(planned.refused)
        output.say(f"error: {refused} reason{'s' * (refused != 1)} not to apply this", err=True)
    elif not mood:
        count = len(planned.actions)
        output.say(f"{count} tag{'s' * (count != 1)} written", err=err)
    if planned.behind:
        output.say(planned.behind, err=err)


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@PUSH
@REMOTE
@output.in_folder
@output.as_json
def register(models: tuple[str, ...], push: bool, remote: str | None, json_: bool) -> None:
    """Register the versions that the manifests of MODEL... say, at the commit that is checked out.

    This is the part of `apply` that teams without CI want alone. What is registered is never overwritten.
    """
    from gitreg import planner

    planned = output.registry().register(models, push or bool(remote), remote, progress=_tell)
    if json_:
        output.print_json(planner.as_data(planned))
    else:
        _show(planned, "")


@click.command()
@click.argument("model")
@click.argument("level", type=click.Choice(["major", "minor", "patch", "auto"]), default="auto")
@output.in_folder
@output.as_json
def bump(model: str, level: str, json_: bool) -> None:
    """Write the next version of MODEL into its manifest, counted from the last registered one.

    `auto` reads the change of the schema: what can break callers is major, what gives them more is minor,
    else patch. Comments and order stay.
    """
    done = output.registry().bump(model, level)
    if json_:
        output.print_json(
            {
                "file": done.file,
                "last": done.last,
                "before": done.before,
                "after": done.after,
                "level": done.level,
                "changes": [{"level": c.level, "text": c.text} for c in done.changes],
            }
        )
        return
    for change in done.changes:
        output.say(f"  {change.level:5}  {change.text}")
    if done.last is None:
        output.say(f"{model}: no version is registered yet; {done.after or 'the first one'} comes next")
    elif done.before == done.after:
        output.say(f"{done.file}: {done.after} already follows {done.last}")
    else:
        output.say(f"{done.file}: {done.before or 'blank'} -> {done.after} ({done.level}, after {done.last})")
