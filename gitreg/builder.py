"""Parts -> a package folder: laid out aside, tested from its own files alone, then renamed into place."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import flavors, folders, isolation, live, memo, printed, references
from gitreg.declared import CUSTOM_PYTHON, Artifact, Contents, Link
from gitreg.documents import own_yaml
from gitreg.elements import canonical
from gitreg.errors import ModelFailed, NotSupported, Refused
from gitreg.model import DataType, ModelSchema
from gitreg.packages import RECORD, Parts, contents_of, is_native, record_digest, record_of, record_path
from gitreg.schema import rows

if TYPE_CHECKING:
    from gitreg.schema import Array, Sample


@dataclass
class Built:
    """What a build made.

    Attributes:
        packages: format -> the package's folder.
        warnings: what its author should know, one line each.
        answers: the model's answers to its samples.
        stacked: seconds per row, single and stacked, when a stack gets the same answers.
        digest: the content digest.
        native: what the file knows that Triton's own backend must.
    """

    packages: dict[str, Path] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    answers: list[dict[str, Array]] = field(default_factory=list)
    stacked: dict[str, float] | None = None
    digest: str = ""
    native: dict[str, Any] = field(default_factory=dict)


def package(
    parts: Parts,
    places: Mapping[str, Path],
    beside: Path,
    conditions: isolation.Conditions = isolation.USUAL,
) -> Built:
    """Build packages of one model: all of them, or none.

    Args:
        parts: what they are made of.
        places: format -> destination; a folder that is not there, is empty, or holds a package that
            gitreg made and nobody changed.
        beside: the folder in which they are laid out first; best on the same file system.
        conditions: what the model may take in each test, and see.

    Raises:
        Refused: a destination holds something of someone else's; or an option or a file of the artifact
            names what is not in it.
        ModelFailed: the model did not import, load, predict or save from the package alone.
        NotSupported: there is no such package for the model's type.
    """
    built = Built()
    _refuse_references(parts)
    for kind, place in places.items():
        claim(place, kind)
    with folders.aside(beside) as new:
        native = {kind for kind in places if is_native(kind, parts)}
        # A native package has no Python to be tested with: the raw one of the same artifact is, in its place.
        kinds = sorted({*places, *(["raw"] if native else [])} - native)
        contents = {kind: contents_of(kind, parts) for kind in kinds}
        for kind, files in contents.items():
            lay(files, new / kind)
            if kind in places:
                live.need_room(new / kind, places[kind])
        if parts.entry:
            _test(parts, contents, new, built, conditions)
        else:
            for kind, files in contents.items():
                seal(kind, parts, files, new / kind)
        for kind in native:
            whole(kind, replace(parts, native=built.native), new / kind)
        for kind, place in places.items():
            claim(place, kind)
            live.put(new / kind, place)
            built.packages[kind] = place
    return built


def _test(
    parts: Parts,
    contents: dict[str, Contents],
    new: Path,
    built: Built,
    conditions: isolation.Conditions,
) -> None:
    """Load, ask and (the raw package) save the model from each package alone, in processes of their own.

    The processes start and import while the artifact is hashed for the records, and wait to load it
    until it is known to be sound.

    Raises:
        ModelFailed: with what the model printed and where it failed.
        Refused: the artifact is corrupt; nothing was loaded then.
    """
    before = {kind: memo.stamps(_everything(new / kind)) for kind in contents}
    gate = isolation.Gate()
    with ThreadPoolExecutor(len(contents)) as pool:
        running = {
            kind: pool.submit(isolation.run, task(kind, parts, new / kind), conditions, gate)
            for kind in contents
        }
        try:
            for kind, files in contents.items():
                record = seal(kind, parts, files, new / kind)
                before[kind][str(record)] = memo.stamp(record)
            gate.open()
            outcomes = {kind: one.result() for kind, one in running.items()}
        except (KeyboardInterrupt, SystemExit):
            gate.shut()
            while not all(one.done() for one in running.values()):
                isolation.end_all()
                time.sleep(0.02)
            raise
        finally:
            gate.shut()
    for kind, files in contents.items():
        _judge(kind, parts, outcomes[kind], built)
        built.warnings += restore(files, new / kind, before[kind])


def seal(kind: str, parts: Parts, contents: Contents, folder: Path) -> Path:
    """Write a package's record; the file.

    Raises:
        Refused: a file of the artifact is corrupt.
    """
    path = record_path(kind, parts.ordinal)
    contents[path] = record_of(kind, parts, contents)
    folders.write(folder / path, contents[path])  # type: ignore[arg-type]
    return folder / path


def lay(contents: Contents, folder: Path) -> None:
    """Write a package's files into a new folder, with fixed modes whatever the umask."""
    made = {folder}
    folder.mkdir(parents=True)
    for path, item in contents.items():
        target = folder / path
        made.update(p for p in target.parents if folder in p.parents)
        if isinstance(item, Link):
            folders.link(item.source, target, item.share)
        else:
            folders.write(target, item)
    for one in made:
        one.chmod(0o755)


def _everything(folder: Path) -> list[Path]:
    return [folder / path for path in folders.tree_files(folder, bytecode=True)]


def restore(contents: Contents, folder: Path, before: memo.Stamps) -> list[str]:
    """Undo what a model did to its own package while it was tested; a warning for each file.

    Raises:
        ModelFailed: it changed its artifact, through which the DVC cache may have been changed.
    """
    after = memo.stamps(_everything(folder))
    warnings = []
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) == after.get(name):
            continue
        path = Path(name).relative_to(folder).as_posix()
        item = contents.get(path)
        if isinstance(item, Link):
            raise ModelFailed(
                f"the model changed its own artifact: {path}", f"dvc status, and mend {item.source}"
            )
        if item is None:
            Path(name).unlink()
        else:
            folders.write(Path(name), item)
        warnings.append(f"the model wrote into its own package, which was undone: {path}")
    return warnings


def _judge(kind: str, parts: Parts, outcome: isolation.Outcome, built: Built) -> None:
    """Take what came of a test into the report."""
    if outcome.error:
        raise failure(parts, outcome)
    found = [*outcome.warnings, *answer_warnings(parts.schema, outcome.answers)]
    built.warnings.extend(w for w in found if w not in built.warnings)
    if kind == "raw" or not built.answers:
        built.answers = outcome.answers
        built.stacked = outcome.stacked or built.stacked
    if parts.backend == "native":
        built.native = outcome.described


def whole(kind: str, parts: Parts, folder: Path) -> None:
    """Lay out a package with its record, untested.

    Raises:
        Refused: an option of the loader, or a file of the artifact, names what is not in the artifact.
    """
    _refuse_references(parts)
    contents = contents_of(kind, parts)
    lay(contents, folder)
    seal(kind, parts, contents, folder)


def _refuse_references(parts: Parts) -> None:
    files = {name: link.source for name, link in parts.artifact.files.items()}
    if files:
        references.refuse(parts.type, parts.options, files, bool(parts.artifact.name), parts.name)


def task(kind: str, parts: Parts, folder: Path) -> isolation.Task:
    """The child's task for a package that was laid out in `folder`."""
    assert parts.entry and parts.schema
    own = parts.type == CUSTOM_PYTHON  # a flavor saves what it was given, and takes batches as they come
    version = folder / str(parts.ordinal)
    whole_requests = parts.batching.max_batch_size == 0 and not parts.batching.custom
    return isolation.Task(
        code=version if kind == "triton" else version / "defs",
        artifact=version / parts.artifact.place,
        model_class=parts.entry,
        schema=parts.schema,
        samples=requests(parts.schema, parts.samples, parts.batching.custom, whole_requests),
        custom=parts.batching.custom,
        whole=whole_requests,
        user_model=version / "user_model.py" if kind == "triton" else isolation.USER_MODEL,
        save=kind == "raw" and own,
        compare=kind == "raw" and own and not whole_requests,
        native=parts.backend == "native" and not own,
    )


def free_answers(parts: Parts, folder: Path, conditions: isolation.Conditions) -> list[dict[str, Array]]:
    """What a model answers to its samples, whatever it is: for inferring the schema of its outputs.

    Args:
        folder: where a throw-away package may be laid out.

    Raises:
        ModelFailed: it does not answer with a mapping of names to arrays.
    """
    whole("raw", parts, folder)
    outcome = isolation.run(
        replace(task("raw", parts, folder), save=False, compare=False, free=True), conditions
    )
    if outcome.error:
        raise failure(parts, outcome)
    return outcome.answers


def described(parts: Parts, folder: Path, conditions: isolation.Conditions) -> dict[str, Any]:
    """What a model of a type with a loader of its own says of itself: see `Flavored.describe`.

    Args:
        folder: where a throw-away package may be laid out.

    Raises:
        ModelFailed: it does not load.
    """
    whole("raw", parts, folder)
    one = replace(task("raw", parts, folder), save=False, compare=False, describe=True)
    outcome = isolation.run(one, conditions)
    if outcome.error:
        raise failure(parts, outcome)
    return outcome.described


def requests(
    schema: ModelSchema, samples: Sequence[Sample], custom: bool, whole_requests: bool
) -> list[Sample]:
    """Samples as the serving code gets them: strings as bytes, with a batch dimension in front."""
    items = {item.name: item for item in schema.input_schema}
    ready = [{n: canonical(items[n], a) for n, a in s.items()} for s in samples]
    return ready if whole_requests else [rows(schema, sample, custom) for sample in ready]


def failure(parts: Parts, outcome: isolation.Outcome) -> ModelFailed:
    """A failed outcome as an error that shows what the model's author needs."""
    return failed(parts.name, parts.type, outcome)


def failed(name: str, kind: str, outcome: isolation.Outcome) -> ModelFailed:
    """The same of a model of a name and a type."""
    text = f"{name}: {outcome.error}"
    if outcome.traceback:
        text += printed.block(outcome.traceback.rstrip().splitlines()[-12:])
    if outcome.printed.strip():
        text += printed.block(["the model printed:", *outcome.printed.rstrip().splitlines()[-8:]])
    text += printed.block(f"warning: {warning}" for warning in outcome.warnings)
    hint = None
    if "ModuleNotFoundError" in (outcome.error or "") or "ImportError" in (outcome.error or ""):
        flavor = flavors.FLAVORS.get(kind)
        hint = f"pip install 'gitreg[{flavor.extra}]'" if flavor else None
        hint = (
            hint or "a package sees what is bundled or installed; `code` says where modules are bundled from"
        )
    elif "did not finish" in (outcome.error or ""):
        hint = "--timeout SECONDS, GITREG_TIMEOUT, or `build: {timeout: ...}` in registry.yaml"
    return ModelFailed(text, hint)


def answer_warnings(schema: ModelSchema | None, answers: Sequence[Mapping[str, Array]]) -> list[str]:
    """What is odd, though allowed, in a model's answers: NaN and infinity."""
    import numpy as np

    found = []
    for item in schema.output_schema if schema else ():
        if item.data_type not in (DataType.FLOAT, DataType.DOUBLE):
            continue
        bad = [i for i, a in enumerate(answers) if item.name in a and not np.isfinite(a[item.name]).all()]
        if bad:
            found.append(
                f"output '{item.name}' holds NaN or infinity for sample {', '.join(map(str, bad[:5]))}"
            )
    return found


def claim(place: Path, kind: str) -> None:
    """Make sure that a destination may be replaced; a replacement that was killed halfway is ended first.

    Raises:
        Refused: it holds files that no package of gitreg's put there, or that were changed since.
    """
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise Refused(f"{place} exists and is not a folder", "choose another output folder")
    live.recover(place)
    if not place.is_dir() or not any(place.iterdir()):
        return
    record = find_record(place)
    if record is None or record.get("format") != kind:
        raise Refused(
            f"{place} exists and is not a {kind} package of gitreg's", "move it away, or choose another -o"
        )
    foreign = sorted(differences(place, record, deep=False))
    if foreign:
        listed = ", ".join(foreign[:5]) + (", ..." if len(foreign) > 5 else "")
        raise Refused(f"{place} is not as gitreg made it: {listed}", "move it away, or choose another -o")


def find_record(folder: Path) -> dict[str, Any] | None:
    """The record of the package in a folder, with its version folder as "ordinal"; None without one."""
    import yaml

    found = sorted([*folder.glob(f"[0-9]*/{RECORD}"), *folder.glob(f"[0-9]*/metadata/{RECORD}")])
    if len(found) != 1 or found[0].is_symlink():
        return None
    try:
        data = own_yaml(found[0].read_bytes())
        files = {str(path): (int(f["size"]), str(f["sha256"])) for path, f in data["files"].items()}
        kind = str(data["format"])
        sound = data.get("record") == record_digest(data)
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None
    ordinal = int(found[0].relative_to(folder).parts[0])
    if kind not in ("triton", "raw") or found[0] != folder / record_path(kind, ordinal):
        return None
    whole_record = {**data, "files": files, "ordinal": ordinal}
    return {**whole_record, "sound": sound}


def differences(folder: Path, record: Mapping[str, Any], deep: bool) -> list[str]:
    """In what a package differs from its record.

    Args:
        deep: hash the artifact's files too, and not only compare their sizes; and count bytecode in
            `__pycache__`, which Python may run in place of the sources.
    """
    files: dict[str, tuple[int, str]] = record["files"]
    own = record_path(record["format"], record["ordinal"])
    artifact = f"{record['ordinal']}/{record['artifact']['path'] if record.get('backend') else 'model/'}"
    present = set(folders.tree_files(folder, bytecode=deep)) - {own}
    found = [] if record["sound"] else [f"{own} was changed"]
    found += [f"{path} is missing" for path in sorted(set(files) - present)]
    found += [f"{path} is not part of the package" for path in sorted(present - set(files))]
    for path in sorted(present & set(files)):
        size, sha256 = files[path]
        file = folder / path
        if file.stat().st_size != size:
            found.append(f"{path} has {file.stat().st_size:,} bytes, {size:,} are recorded")
        elif (deep or not path.startswith(artifact)) and folders.sha256(file) != sha256:
            found.append(f"{path} was changed")
    return found


def local_artifact(path: Path) -> Artifact:
    """The artifact at a path of the caller's own, outside of any DVC repository.

    Raises:
        Refused: there is nothing, or something that is neither a file nor a folder.
    """
    if not path.exists():
        raise Refused(f"model_path {str(path)!r} does not exist")
    names = [path.name] if path.is_file() else folders.tree_files(path, bytecode=True)
    if not names:
        raise Refused(f"model_path {str(path)!r} is an empty folder")
    files = {}
    for name in names:
        file = path if path.is_file() else path / name
        md5, sha256 = folders.digests(file)
        files[name] = Link(file, file.stat().st_size, md5, partial(str, sha256))
    if path.is_file():
        return Artifact(f"md5:{files[path.name].md5}", files, path.name)
    # The hash that DVC gives a folder: of its list of files as JSON.
    entries = [{"md5": link.md5, "relpath": name} for name, link in sorted(files.items())]
    listed = json.dumps(entries, sort_keys=True).encode()
    return Artifact(f"md5:{hashlib.md5(listed, usedforsecurity=False).hexdigest()}.dir", files)


def refuse_unsupported(parts_type: str, kinds: Sequence[str]) -> None:
    """Raise NotSupported where a type has no package of a wanted format."""
    if not flavors.is_loadable(parts_type) and "triton" in kinds:
        hint = f"gitreg build --format raw; it can be loaded {flavors.where(parts_type)}"
        raise NotSupported(f"no Triton package for the type '{parts_type}'", hint)
