"""init, new: what authors of registries and models begin with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitreg.cli import output

if TYPE_CHECKING:
    from gitreg.formats import Format
    from gitreg.scaffold import Added
    from gitreg.updater import Update


@click.command()
@click.argument("directory", required=False, type=click.Path(file_okay=False))
@click.option("--name", help="The registry's name; the folder's name by default.")
@output.in_folder
@output.as_json
def init(directory: str | None, name: str | None, json_: bool) -> None:
    """Make a registry in DIRECTORY (here by default) that passes `check`.

    Git, DVC, registry.yaml, stages, JSON Schemas for editors, workflows, CODEOWNERS and a pre-commit
    hook. Files that are there already are left alone.
    """
    from gitreg import starter

    made = starter.init(Path(directory or "."), name)
    if json_:
        output.print_json({"root": made.root, "made": made.made, "kept": made.kept, "added": made.added})
        return
    for file in made.made:
        output.say(f"  made  {file}")
    for file in made.kept:
        output.say(f"  kept  {file}")
    for file in made.added:
        output.say(f"  added to  {file}")
    output.say(f"A registry in {made.root}. Next:")
    output.say("  dvc remote add --default NAME URL     where artifacts go")
    output.say("  gitreg new NAME --from PATH           add a model")
    output.say("  .github/CODEOWNERS                    say who approves promotions")
    output.say(
        "  git push                              .github/workflows check, record and build from then on"
    )


@click.command()
@click.argument("name")
@click.option(
    "--from",
    "origin",
    metavar="SOURCE",
    help="A file or folder, stage:NAME of a dvc.yaml, runs:/RUN/PATH of MLflow, and others; see the guide.",
)
@click.option(
    "--artifact/--no-artifact",
    "imported",
    default=True,
    help="Whether the artifact of another registry's model is brought, or only named.",
)
@click.option("--image", metavar="IMAGE", help="The image that it is served in, as NAME@sha256:...")
@click.option("--template", metavar="NAME", help="A template of this registry to make it from.")
@click.option(
    "--set", "values", metavar="NAME=VALUE", multiple=True, help="The value of a placeholder; repeatable."
)
@click.option(
    "--set-file",
    "files",
    metavar="NAME=FILE",
    multiple=True,
    help="The value of a placeholder from a file; repeatable.",
)
@click.option(
    "--type", "type_", metavar="TYPE", help="The model's type; by default what the artifact's content says."
)
@click.option(
    "--class",
    "model_class",
    metavar="PATH",
    help="Your class, as churn_model.Churn; makes the type custom-python.",
)
@click.option(
    "--code",
    metavar="DIR",
    help="Its import root; the model's own folder by default.",
    type=click.Path(exists=True, file_okay=False),
)
@click.option(
    "--samples",
    metavar="FILE",
    help="Sample data (.json, .yaml, .npz); the schema is inferred from it.",
    type=click.Path(exists=True, dir_okay=False),
)
@click.option(
    "--requirement",
    "requirements",
    metavar="REQ",
    multiple=True,
    help="A requirement, as numpy>=1.24; repeatable.",
)
@click.option("--description", default="", help="One sentence on what it predicts.")
@click.option("--version", help="The first version; by default 1.0.0, or 1.1.1 in the triplet scheme.")
@click.option("--custom-batching", is_flag=True, help="The class takes a leading batch dimension.")
@click.option(
    "--trust",
    multiple=True,
    type=click.Choice(["pickle"]),
    help="Let the loader of the type unpickle the artifact, which runs its author's code.",
)
@click.option(
    "--option",
    "options",
    metavar="KEY=VALUE",
    multiple=True,
    help="An option of the type's loader, as file=model.onnx; repeatable.",
)
@output.in_environment
@output.passes_variables
@output.in_folder
@output.as_json
def new(
    name: str,
    origin: str | None,
    imported: bool,
    image: str | None,
    template: str | None,
    values: tuple[str, ...],
    files: tuple[str, ...],
    type_: str | None,
    model_class: str | None,
    code: str | None,
    samples: str | None,
    requirements: tuple[str, ...],
    description: str,
    version: str | None,
    custom_batching: bool,
    trust: tuple[str, ...],
    options: tuple[str, ...],
    json_: bool,
) -> None:
    """Add the model NAME: track its artifact with DVC, infer its schema, write its manifest.

    What the artifact is, is found by its content; nothing is unpickled to find out. The outputs of your
    own class are inferred by asking it the samples in an isolated process.
    """
    if origin is None and not (template or image):
        raise click.UsageError("Missing option '--from': where does the artifact come from?")
    with output.transfer(f"bringing {origin}", json_) as told:
        added = output.registry().new(
            name,
            origin,
            type=type_,
            model_class=model_class,
            code=Path(code) if code else None,
            samples=Path(samples) if samples else None,
            requirements=requirements,
            description=description,
            version=version,
            custom_batching=custom_batching,
            options=_options(options),
            trust=trust,
            image=image,
            imported=imported,
            template=template,
            given=_given(values, files),
            told=told,
        )
    if json_:
        output.print_json(_added(added))
    else:
        _say_added(added)


def _added(added: Added) -> dict[str, Any]:
    return {
        "name": added.folder.rpartition("/")[2],
        "folder": added.folder,
        "type": added.type,
        "format": added.format.name if added.format else None,
        "runs_code": added.format.may_run_code if added.format else None,
        "made": added.made,
        "todo": added.todo,
    }


def _say_added(added: Added) -> None:
    output.say(f"{added.folder}: {_found(added.format)}type {added.type}")
    for file in added.made:
        output.say(f"  made  {file}")
    for item in added.todo:
        output.say(f"  to do {item}")
    output.say(f"Next: gitreg check {added.folder.rpartition('/')[2]}")


def _options(given: tuple[str, ...]) -> dict[str, Any]:
    """`--option KEY=VALUE`, with values as YAML reads them."""
    import yaml

    found: dict[str, Any] = {}
    for one in given:
        key, equals, text = one.partition("=")
        if not key or not equals:
            raise click.UsageError(f"--option {one!r}: KEY=VALUE is expected")
        try:
            found[key] = yaml.safe_load(text)
        except yaml.YAMLError:
            found[key] = text
    return found


def _found(format_: Format | None) -> str:
    """What the artifact is, where there is one."""
    if format_ is None:
        return ""
    risk = "loading it may run its author's code" if format_.may_run_code else "loading it runs no code"
    return f"{format_.name} ({format_.framework}; {risk}), "


def _given(values: tuple[str, ...], files: tuple[str, ...]) -> dict[str, str]:
    """The texts of `--set NAME=VALUE` and `--set-file NAME=FILE`; each name once."""
    found: dict[str, str] = {}
    for option, one in [("--set", v) for v in values] + [("--set-file", f) for f in files]:
        name, equals, text = one.partition("=")
        if not name or not equals:
            shape = "NAME=VALUE" if option == "--set" else "NAME=FILE"
            raise click.UsageError(f"{option} {one!r}: {shape} is expected")
        if name in found:
            raise click.UsageError(f"{option} {one!r}: {name} is given twice")
        found[name] = text if option == "--set" else _text_of(option, text)
    return found


def _text_of(option: str, file: str) -> str:
    try:
        raw = Path(file).read_bytes()
        if len(raw) > 1 << 20:
            raise click.UsageError(f"{option} {file}: {len(raw):,} bytes; a manifest has at most {1 << 20:,}")
        return raw.decode()
    except OSError as error:
        raise click.UsageError(f"{option} {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{option} {file}: it is not UTF-8") from None


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--check", is_flag=True, help="Only tell what there is; exit code 1 when something is newer.")
@click.option("--push", is_flag=True, help="A branch for each, pushed, and the pull request with gh.")
@click.option("--remote", metavar="NAME", help="By default what the branch follows, or origin.")
@output.in_folder
@output.as_json
def update(models: tuple[str, ...], check: bool, push: bool, remote: str | None, json_: bool) -> None:
    """Move models that came from an address or another registry on to what is there now.

    The work tree is edited, for you to look at and to commit; with --push a commit on a branch of its own is
    made from the default branch, and the artifact goes to your DVC remote.
    """
    if check and push:
        raise click.UsageError("--check only tells, and --push changes; choose")
    with output.transfer("bringing what is new", json_) as told:
        found = output.registry().update(models, check=check, push=push, remote=remote, told=told)
    if json_:
        output.print_json([_update_data(one) for one in found])
    elif not found:
        output.say("no model came from an address or another registry")
    else:
        rows = [[u.name, u.status, u.now or "", u.there or "", u.version or "", u.source] for u in found]
        output.table(["model", "status", "now", "there", "version here", "from"], rows)
        for one in found:
            _say_update(one)
    failed = [one.error for one in found if one.error]
    for error in failed:
        output.say_error(error)
    if failed or (check and any(one.newer for one in found)):
        raise SystemExit(max((error.exit_code for error in failed), default=1))


def _update_data(one: Update) -> dict[str, Any]:
    prepared = one.prepared
    return {
        "name": one.name,
        "status": one.status,
        "source": one.source,
        "now": one.now,
        "there": one.there,
        "version": one.version,
        "changed": one.changed,
        "branch": prepared.branch if prepared else None,
        "commit": prepared.commit if prepared else None,
        "request": prepared.request if prepared else None,
        "error": one.error.message if one.error else None,
    }


def _say_update(one: Update) -> None:
    if one.prepared:
        output.say(f"{one.name}: branch {one.prepared.branch}, pushed")
        if one.prepared.request:
            output.say(f"  {'pull request' if one.prepared.opened else 'open it at'} {one.prepared.request}")
    elif one.changed:
        for file in one.changed:
            output.say(f"  changed  {file}")
        output.say(f"Next: gitreg check {one.name}, git commit, dvc push")
