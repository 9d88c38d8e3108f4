"""promote, demote, rollback: what should be in a stage, as a change that can be reviewed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gitreg.cli import output

if TYPE_CHECKING:
    from gitreg.promoter import Prepared

F = TypeVar("F", bound=Callable[..., Any])


def _how(function: F) -> F:
    """Options that say where the change goes."""
    for option in (
        click.option("-m", "--message", "note", default="", metavar="TEXT", help="Why, for the reviewer."),
        click.option("--branch", metavar="NAME", help="The new branch; by default named after what is done."),
        click.option("--remote", metavar="NAME", help="By default what the branch follows, or origin."),
        click.option(
            "--apply", is_flag=True, help="Without a review: commit to the default branch and write the tags."
        ),
        click.option("--push", is_flag=True, help="Push the branch, and open the pull request with gh."),
        output.in_folder,
        output.as_json,
    ):
        function = option(function)
    return function


def _options(push: bool, apply: bool, remote: str | None, branch: str | None, note: str) -> dict[str, Any]:
    if push and apply:
        raise click.UsageError("--push asks for a review and --apply does without one; choose")
    if apply and branch:
        raise click.UsageError("--apply commits to the default branch; it makes none")
    return {
        "push": push,
        "apply": apply,
        "remote": remote,
        "branch": branch,
        "note": note,
        "progress": lambda line: output.say(line, err=True),
    }


@click.command()
@click.argument("references", nargs=-1, required=True, metavar="REF...")
@click.argument("stage")
@_how
@output.in_environment
@output.passes_variables
def promote(
    references: tuple[str, ...],
    stage: str,
    push: bool,
    apply: bool,
    remote: str | None,
    branch: str | None,
    note: str,
    json_: bool,
) -> None:
    """Put the versions REF... into STAGE: a commit on a branch of its own.

    REF is `churn@1.2.0`, `churn` for the latest, `churn#staging` for what is there. The gates of the stage
    are judged before anything is made. The work tree stays as it is.
    """
    how = _options(push, apply, remote, branch, note)
    _report(output.registry().promote(references, stage, **how), json_)


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.argument("stage")
@_how
def demote(
    models: tuple[str, ...],
    stage: str,
    push: bool,
    apply: bool,
    remote: str | None,
    branch: str | None,
    note: str,
    json_: bool,
) -> None:
    """Take MODEL... out of STAGE: a commit on a branch of its own.

    `dvc artifacts get --stage` does not know of this: it keeps giving the last version that was there.
    """
    how = _options(push, apply, remote, branch, note)
    _report(output.registry().demote(models, stage, **how), json_)


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.argument("stage")
@click.option("--to", metavar="VERSION", help="Another version that was there; by default the one before.")
@_how
@output.in_environment
@output.passes_variables
def rollback(
    models: tuple[str, ...],
    stage: str,
    to: str | None,
    push: bool,
    apply: bool,
    remote: str | None,
    branch: str | None,
    note: str,
    json_: bool,
) -> None:
    """Put back into STAGE what was there before: a commit on a branch of its own.

    Gates that compare with the version in the stage do not stop a return.
    """
    how = _options(push, apply, remote, branch, note)
    _report(output.registry().rollback(models, stage, to, **how), json_)


def _report(done: Prepared, json_: bool) -> None:
    if json_:
        output.print_json(_data(done))
        return
    if done.commit is None:
        output.say(f"nothing to do: {done.stage} says so already")
        return
    for model, (before, after) in sorted(done.changes.items()):
        output.say(f"{model}: {before or 'nothing'} -> {after or 'nothing'} in {done.stage}")
    for action, verdicts in (done.planned.verdicts if done.planned else {}).items():
        for verdict in verdicts:
            output.say(f"    ok      {action.model}: {verdict.gate}: {verdict.text}")
    for action in done.planned.actions if done.planned else ():
        if action.kind == "register":
            output.say(
                f"    {'' if done.applied else 'the merge would '}register {action.model}@{action.version}"
            )
    if done.applied:
        count = len(done.planned.actions) if done.planned else 0
        where = f"{done.remote}/{done.base}" if done.remote else done.base
        output.say(f"commit {done.commit[:12]} on {where}, {count} tag{'s' * (count != 1)} written")
        return
    output.say(f"commit {done.commit[:12]} on the branch {done.branch}, on top of {done.base}")
    if done.opened:
        output.say(f"pull request: {done.request}")
    elif done.request:
        output.say(f"pushed to {done.remote}; open the pull request: {done.request}")
    elif done.pushed:
        output.say(f"pushed to {done.remote}; open a pull request from it into {done.base}")
    else:
        output.say(f"next: git push {done.remote or 'REMOTE'} {done.branch}, and open a pull request")


def _data(done: Prepared) -> dict[str, Any]:
    from gitreg import planner

    return {
        "stage": done.stage,
        "changes": [{"model": m, "before": b, "after": a} for m, (b, a) in sorted(done.changes.items())],
        "branch": done.branch,
        "commit": done.commit,
        "base": done.base,
        "remote": done.remote,
        "message": done.message,
        "pushed": done.pushed,
        "applied": done.applied,
        "request": done.request,
        "opened": done.opened,
        "plan": planner.as_data(done.planned) if done.planned else None,
    }
