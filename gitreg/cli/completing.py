"""Completion of models, versions and stages in bash, zsh and fish; `gitreg completion` prints what does it.

Names come from one `git for-each-ref` and from the names of folders: nothing is opened, and nothing fetched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import click

from gitreg.cli import output

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from gitreg.places import Place

_VARIABLE = "_GITREG_COMPLETE"
# What bash runs. It takes words apart at `@` and `:`, which are within references: the line is taken apart
# at blanks instead, and what bash takes for the word before the last such sign is cut off the answers.
_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' line="${COMP_LINE:0:COMP_POINT}" breaks="${COMP_WORDBREAKS//[^@:=]/}"
    local word="${line##*[[:space:]]}" prefix="" type value
    if [[ -n $breaks && $word == *[$breaks]* ]]; then
        prefix="${word%%"${word##*[$breaks]}"}"
    fi
    COMPREPLY=()
    for completion in $(COMP_LINE="$line" %(complete_var)s=bash_complete "$1" 2>/dev/null); do
        IFS=',' read -r type value <<< "$completion"
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$prefix"}") ;;
        esac
    done
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@output.in_folder
@output.as_json
def completion(shell: str, json_: bool) -> None:
    """Print what makes SHELL complete commands, options, models, versions and stages."""
    prepare(None)
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made
    context = click.get_current_context().find_root()
    assert isinstance(context.command, click.Group)
    source = made(context.command, {}, "gitreg", _VARIABLE).source()
    if json_:
        output.print_json({"shell": shell, "script": source})
    else:
        output.lines(source.removesuffix("\n").split("\n"))


def prepare(group: click.Group | None) -> None:
    """Teach click our bash, and our arguments what may be said for them."""
    from click.shell_completion import BashComplete, add_completion_class, split_arg_string

    class Bash(BashComplete):
        source_template = _BASH

        @staticmethod
        def _check_version() -> None:
            """What is needed is in every bash since 4.4; another one says so itself."""

        def get_completion_args(self) -> tuple[list[str], str]:
            line = os.environ.get("COMP_LINE", "")
            words = split_arg_string(line)
            incomplete = "" if not words or line[-1:].isspace() else words.pop()
            return words[1:], incomplete

    add_completion_class(Bash)
    for command in group.commands.values() if group else ():
        for argument in command.params:
            complete = _COMPLETE.get(str(argument.name)) if isinstance(argument, click.Argument) else None
            if complete:
                argument.shell_complete = partial(_answer, complete)  # type: ignore[method-assign]


def asked() -> bool:
    """Whether a shell asks for completions."""
    return _VARIABLE in os.environ


# What a model or a stage is called; no other file's name gets into somebody's shell.
_NAME = re.compile(r"[a-z][a-z0-9-]*")
Complete = Callable[[click.Context, str], Iterable[str]]


def _answer(complete: Complete, context: click.Context, incomplete: str) -> list[CompletionItem]:
    """Completions; what goes wrong completes nothing, as a shell's line is no place for errors."""
    from click.shell_completion import CompletionItem

    try:
        return [CompletionItem(word) for word in complete(context, incomplete) if word.startswith(incomplete)]
    except Exception:  # noqa: BLE001
        return []


def _models(context: click.Context, incomplete: str) -> Iterable[str]:
    """Models that are registered, or have a manifest."""
    place = _place(context)
    return sorted({*_registered(place), *_declared(place)})


def _references(context: click.Context, incomplete: str) -> Iterable[str]:
    """Models; after `churn@` its versions, after `churn#` the stages; and MLflow's URIs."""
    place = _place(context)
    uri = incomplete.startswith("models:/")
    model, sign, _ = re.match(r"([^@#/]*)([@#/]?)(.*)", incomplete.removeprefix("models:/")).groups()  # type: ignore[union-attr]
    start = "models:/" if uri else ""
    if not sign:
        more = _stages(context, incomplete) if _ends_with_stage(context) else ()
        return [*(f"{start}{name}" for name in _models(context, incomplete)), *more]
    stages = [f"{start}{model}{sign}{stage}" for stage in _stages(context, "")]
    versions = [f"{start}{model}{sign}{version}" for version in [*_versions(place, model), "latest"]]
    return {"@": stages if uri else versions, "#": [] if uri else stages, "/": [*versions, *stages]}[sign]


def _ends_with_stage(context: click.Context) -> bool:
    """Whether a stage may come now: `promote REF... STAGE`, after the first REF."""
    takes_one = any(argument.name == "stage" for argument in context.command.params)
    # What stands there alone so far is taken for the stage.
    return takes_one and any(context.params.get(name) for name in ("references", "models", "stage"))


def _named(context: click.Context, incomplete: str) -> Iterable[str]:
    return [*_models(context, incomplete), *(_stages(context, "") if _ends_with_stage(context) else ())]


def _stages(context: click.Context, incomplete: str) -> list[str]:
    """Stages that have a file, or that a tag names."""
    place = _place(context)
    found = {path.stem for path in (place.root / "stages").glob("*.y*ml") if _NAME.fullmatch(path.stem)}
    for name in _tags(place):
        tag = re.search(r"#([a-z][a-z0-9-]*)!?(?:#[0-9]+)?\Z", name)
        if tag:
            found.add(tag[1])
    return sorted(found)


def _place(context: click.Context) -> Place:
    """The registry that the command line names: a folder; nothing is fetched."""
    from gitreg import places
    from gitreg.addresses import address_of

    where = str(context.params.get("where") or os.environ.get("GITREG_REGISTRY") or ".")
    return places.find("." if address_of(where) else where)


def _tags(place: Place) -> list[str]:
    """The names of the registry's tags, without their prefix."""
    from gitreg.git import plain
    from gitreg.repository import Repository

    prefix = Repository(place.root, place.bare, place.prefix).space.prefix
    start = f"{prefix}=" if prefix else ""
    lines = plain.tags(place.root).decode("utf-8", "replace").split("\n")
    names = (line.partition(" ")[2] for line in lines)
    return [name.removeprefix(start) for name in names if name.startswith(start)]


def _registered(place: Place) -> set[str]:
    names = {re.split("[@#]", name, maxsplit=1)[0] for name in _tags(place) if "@" in name or "#" in name}
    return {name for name in names if _NAME.fullmatch(name)}


def _declared(place: Place) -> set[str]:
    """By the usual place of manifests, whose folder has the model's name."""
    folders = {path.parent.name for path in place.root.glob("models/*/model.yaml")}
    return {name for name in folders if _NAME.fullmatch(name)}


def _versions(place: Place, model: str) -> list[str]:
    """Registered ones, the highest first."""
    from gitreg.names import NAME
    from gitreg.repository import Repository
    from gitreg.versions import order

    if not NAME.match(model):
        return []
    known = Repository(place.root, place.bare, place.prefix).record(model)
    return sorted(known.registered, key=order, reverse=True)


_COMPLETE: dict[str, Complete] = {
    "reference": _references,
    "references": _references,
    "old": _references,
    "new": _references,
    "model": _models,
    "models": _named,
    "stage": _stages,
}
