"""Holds packages against their own records: every digest, the layout, a load, and the samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import builder, isolation, references
from gitreg.datafiles import read_text
from gitreg.documents import own_yaml
from gitreg.errors import GitregError, Outside, Refused
from gitreg.model import ModelSchema
from gitreg.packages.fields import leads_out
from gitreg.schema import read_sample, schema_of
from gitreg.virtualenvs import Environments

if TYPE_CHECKING:
    from gitreg.schema import Sample


@dataclass
class Verified:
    """What was found of one package.

    Attributes:
        problems: why it is refused, one line each; empty when it is sound.
        samples: how many samples it answered.
        loaded: whether it was loaded at all.
    """

    path: Path
    format: str
    model: str
    version: str | None
    digest: str
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    samples: int = 0
    loaded: bool = False


def find_packages(path: Path) -> list[Path]:
    """The packages at, above (a version folder) or below a path.

    Raises:
        Refused: there are none.
    """
    if not path.exists():
        raise Refused(f"{path} does not exist")
    candidates = [path, path.parent, *sorted(path.glob("*")), *sorted(path.glob("*/*"))]
    found = [p for p in candidates[:2] if p.is_dir() and builder.find_record(p)][:1]
    if not found:
        found = [
            p for p in candidates[2:] if p.is_dir() and not p.name.startswith(".") and builder.find_record(p)
        ]
    if not found:
        raise Refused(
            f"{path} is not a package of gitreg's, and holds none", "gitreg build -o DIR makes packages"
        )
    return found


def verify(
    folder: Path,
    conditions: isolation.Conditions = isolation.USUAL,
    environments: Environments | None = None,
) -> Verified:
    """Verify one package. Everything that is wrong is in the result; nothing in the package is changed.

    Args:
        conditions: what the model may take and see when it is loaded.
        environments: give it the Python that it runs in; by default as `GITREG_ENV` says.

    Raises:
        Refused: it is no package.
        Outside: what the model requires cannot be fetched at the moment, a disk is full, there is no sandbox.
    """
    where = environments or Environments()
    record = builder.find_record(folder)
    if record is None:
        raise Refused(f"{folder} is not a package of gitreg's")
    found = Verified(
        folder,
        str(record["format"]),
        str(record.get("model")),
        record.get("version"),
        str(record.get("digest")),
    )
    try:
        found.problems += builder.differences(folder, record, deep=True)
        if not found.problems:
            _layout(folder, record, found)
        if not found.problems:
            _references(folder, record, found)
        if not found.problems and record.get("backend") == "native":
            _ask_twin(folder, record, found, conditions, where)
        elif not found.problems and record.get("model_class"):
            _load_and_ask(folder, record, found, conditions, where)
    except Outside:
        raise
    except GitregError as error:
        found.problems.append(error.message)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found.problems.append(f"its record cannot be read: {type(error).__name__}: {error}")
    return found


def _layout(folder: Path, record: Mapping[str, Any], found: Verified) -> None:
    version = folder / str(record["ordinal"])
    place = str(record["artifact"]["path"])
    held = record["artifact"].get("files") != 0
    if leads_out(place) or (held and not (version / place).exists()):
        found.problems.append(f"the record names the artifact {place!r}, which the package does not have")
    if record["format"] == "triton":
        from gitreg.packages.settings import stray
        from gitreg.packages.triton import around_package, lead_out, parse_config

        config: Any = parse_config((folder / "config.pbtxt").read_bytes())
        around = around_package(record)
        found.problems += lead_out(config, around)
        found.problems += [
            f"{path}: a server would load it, and no package of gitreg's has it"
            for path in stray(frozenset(record["files"]), record["ordinal"])
        ]
        if config.name != folder.name:
            found.warnings.append(
                f"Triton wants the folder to be named '{config.name}', as config.pbtxt says"
            )


def _references(folder: Path, record: Mapping[str, Any], found: Verified) -> None:
    """What the artifact, and what is said to its loader, names outside of the package."""
    version, place = folder / str(record["ordinal"]), str(record["artifact"]["path"])
    if record.get("backend") == "native":
        found.problems += references.of_files(str(record.get("type")), {}, version / place)
    else:
        code = version if record["format"] == "triton" else version / "defs"
        found.problems += references.of_package(version, code, place)


def _load_and_ask(
    folder: Path,
    record: Mapping[str, Any],
    found: Verified,
    conditions: isolation.Conditions,
    where: Environments,
) -> None:
    schema = schema_of(record["schema"])
    version = folder / str(record["ordinal"])
    triton = record["format"] == "triton"
    custom = bool(record["custom_batching"])
    whole = record["max_batch_size"] == 0 and not custom
    raw = _raw_twin(folder, record) if triton else version
    samples = list(_samples(raw, schema, custom))
    task = isolation.Task(
        code=version if triton else version / "defs",
        artifact=version / str(record["artifact"]["path"]),
        model_class=str(record["model_class"]),
        schema=schema,
        samples=builder.requests(schema, samples, custom, whole),
        custom=custom,
        whole=whole,
        user_model=version / "user_model.py" if triton else isolation.USER_MODEL,
    )
    with where.of(found.model, _requirements(raw, record, where)) as python:
        outcome = isolation.run(task, replace(conditions, python=python))
    found.warnings += outcome.warnings
    found.samples = len(outcome.answers)
    found.loaded = not outcome.error
    if outcome.error:
        found.problems.append(builder.failed(found.model, str(record.get("type")), outcome).message)
    found.warnings += builder.answer_warnings(schema, outcome.answers)


def _requirements(raw: Path | None, record: Mapping[str, Any], where: Environments) -> list[str]:
    """What a package's model requires: by the raw package, else by the registry here that it was built of.

    Raises:
        Refused: an environment is to be made of them, and nothing says them.
    """
    if raw is not None:
        with suppress(FileNotFoundError):
            return read_text(raw / "dependencies" / "requirements.txt", "requirements.txt").splitlines()
        return []
    if where.choice == "current":
        return []
    found = _declared(record)
    if found is None:
        raise Refused(
            "a Triton package does not say what its model requires, and no environment can be made for it: "
            "put its raw package beside it, verify it in its registry, or use --env current"
        )
    return found


def _declared(record: Mapping[str, Any]) -> list[str] | None:
    """The requirements of a version, by the registry of this folder; None where it has no such content."""
    from gitreg.gather import content_of
    from gitreg.registry import Registry

    with suppress(GitregError):
        with Registry(".").holding(f"{record.get('model')}@{record.get('version')}") as (there, model):
            gathered = there.gather(there.manifest_file(model), build=False)
            if not gathered.errors and content_of(gathered).digest == record.get("digest"):
                return list(gathered.requirements)
    return None


def _ask_twin(
    folder: Path,
    record: Mapping[str, Any],
    found: Verified,
    conditions: isolation.Conditions,
    where: Environments,
) -> None:
    """Ask the raw package beside a native one, which Triton alone can load: it has the same artifact."""
    version = _raw_twin(folder, record, ("schema", "custom_batching", "digest"))
    twin = builder.find_record(version.parent) if version else None
    if version and twin and twin.get("model_class"):
        _load_and_ask(version.parent, twin, found, conditions, where)
    else:
        found.warnings.append(
            "Triton's own backend loads it; without its raw package beside it, it is not asked"
        )


def _raw_twin(
    folder: Path,
    record: Mapping[str, Any],
    alike: tuple[str, ...] = ("model_class", "schema", "custom_batching"),
) -> Path | None:
    """The raw package beside it whose samples fit: a Triton package carries none of its own."""
    twin = folder.parent.parent / "raw" / folder.name
    other = builder.find_record(twin) if twin.is_dir() else None
    if other is None or builder.differences(twin, other, deep=True):
        return None
    same = all(other.get(key) == record.get(key) for key in alike)
    return twin / str(other["ordinal"]) if same and _artifact(other) == _artifact(record) else None


def _artifact(record: Mapping[str, Any]) -> Any:
    artifact = record.get("artifact")
    return artifact.get("digest") if isinstance(artifact, Mapping) else None


def _samples(version: Path | None, schema: ModelSchema, custom: bool) -> Iterator[Sample]:
    if version is None:
        return
    import yaml

    try:
        data = own_yaml((version / "metadata" / "sample_data.yaml").read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise Refused(f"metadata/sample_data.yaml: {error}") from None
    if data is not None and not isinstance(data, list):
        raise Refused(f"metadata/sample_data.yaml: expected a list of samples, got a {type(data).__name__}")
    for i, said in enumerate(data or ()):
        sample, mistakes = read_sample(schema, said, custom)
        if mistakes:
            name, mistake = mistakes[0]
            raise Refused(f"metadata/sample_data.yaml: [{i}]{f'.{name}' if name else ''}: {mistake}")
        yield sample
