"""Finds the schema of a model that is being added: from its file, from its samples, from its own answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import builder, detection, documents, flavors, mlmodel, source
from gitreg.datafiles import plain_samples, read_text
from gitreg.declared import CUSTOM_PYTHON, Artifact, Batching
from gitreg.elements import array_of
from gitreg.errors import GitregError, InvalidFiles, Outside, Refused
from gitreg.model import DataType, ModelSchema, ModelSchemaItem
from gitreg.names import input_name
from gitreg.packages import Parts
from gitreg.schema import infer_schema, single

if TYPE_CHECKING:
    from gitreg.registry import Registry
    from gitreg.schema import Sample


@dataclass(frozen=True)
class Unknown:
    """A model whose schema is not known yet.

    Attributes:
        artifact: gives its files; None where there are none at hand.
        place: where they lie, and no code of its own.
        code, model_class: of a custom-python model, or a class that the type's loader needs.
        samples: a file of sample inputs.
        own: whether the class is its author's, and not a first draft that cannot answer yet.
        requirements: what it requires, as far as its author says.
    """

    name: str
    type: str
    artifact: Callable[[], Artifact] | None
    place: Path | None = None
    code: Path | None = None
    model_class: str | None = None
    samples: Path | None = None
    custom_batching: bool = False
    own: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    trust: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()


@dataclass
class Found:
    """What was found.

    Attributes:
        schema: None where nothing is known; without outputs where they are not.
        options: what the loader needs to know besides.
        batched: whether the model takes batches, or answers one request as it is.
        requirements: what loaded the model here.
        todo: what is left for its author, one line each.
    """

    schema: ModelSchema | None = None
    options: dict[str, Any] = field(default_factory=dict)
    batched: bool = True
    requirements: list[str] = field(default_factory=list)
    todo: list[str] = field(default_factory=list)


def infer(registry: Registry, model: Unknown) -> Found:
    """Find the schema of a model, as far as it can be found.

    Files of types that gitreg loads are asked in an isolated process; so is the user's own class, for its
    answers to the samples.

    Raises:
        Refused: the model does not load, or does not answer its samples.
    """
    found = Found()
    flavored = model.type in flavors.FLAVORS
    if model.type == flavors.MLFLOW:
        _read_mlmodel(model, found)
    code = _unpickled(model) if flavored else None
    if code and "pickle" not in model.trust:
        found.todo.append(f"{code} runs code when it is loaded: `trust: pickle`, if you trust who made it")
        if found.schema is None:
            found.todo.append("declare the schema in model.yaml; what is there is a placeholder")
        return found
    if flavored and model.type != flavors.MLFLOW and model.artifact:
        _describe(registry, model, found)
    if model.samples is None:
        found.todo.append("declare sample_data: a list of {input name: array}")
        if found.schema is None and (model.model_class or flavored):
            found.todo.append("declare the schema in model.yaml; what is there is a placeholder")
        return found
    _ask_samples(registry, model, model.samples, found)
    return found


def _unpickled(model: Unknown) -> str | None:
    """What a type's loader would unpickle."""
    files = model.artifact().files if model.artifact else {}
    return detection.unpickled({name: link.source for name, link in files.items()}, model.type)


def _read_mlmodel(model: Unknown, found: Found) -> None:
    """What an MLmodel says of itself, and the requirements beside it. It needs no MLflow.

    Raises:
        Refused: there is no MLmodel, or it cannot be read.
    """
    files = model.artifact().files if model.artifact else {}
    if mlmodel.FILE not in files:
        raise Refused(f"the artifact has no {mlmodel.FILE} file, and so is no MLflow model")
    said = mlmodel.read(read_mlmodel(files[mlmodel.FILE].source))
    if said.loader is None:
        raise Refused(
            f"the {mlmodel.FILE} names no python_function, which is how gitreg loads MLflow models",
            f"its own flavors are {', '.join(said.flavors)}" if said.flavors else None,
        )
    found.schema, found.batched = said.schema, said.batched
    found.options = {"names": said.names} if said.names else {}
    if "requirements.txt" in files:
        kept, left = mlmodel.requirements(read_text(files["requirements.txt"].source, "requirements.txt"))
        found.requirements = kept
        found.todo += [
            f"requirements.txt: {line!r} is not taken over: no manifest may require it" for line in left
        ]
    if said.schema is None:
        found.todo.append(f"no schema: {said.why}")
    if said.native in flavors.FLAVORS:
        found.todo.append(f"--type {said.native} loads its own file without MLflow")


def read_mlmodel(file: Path) -> Any:
    """The data of an MLmodel file.

    Raises:
        InvalidFiles: it is not YAML as gitreg reads it.
    """
    with open(file, "rb") as stream:
        document, problems = documents.parse(stream.read(mlmodel.MOST + 1), file.name, mlmodel.MOST)
    if problems:
        raise InvalidFiles(problems)
    return document.data


def _describe(registry: Registry, model: Unknown, found: Found) -> None:
    """What a file knows of itself."""
    parts = _parts(registry, model, ModelSchema())
    with registry.workbench.testing(parts, None) as conditions, registry.scratch() as place:
        said = builder.described(parts, place / "raw", conditions)
    found.options = dict(said.get("options") or {})
    found.batched = bool(said.get("batched", True))
    found.requirements = [str(one) for one in said.get("requirements") or ()]
    if said.get("inputs") and said.get("outputs"):
        found.schema = ModelSchema(_items(said["inputs"]), _items(said["outputs"]))


def _items(said: list[Any]) -> list[ModelSchemaItem]:
    unknown = [f"{i['name']}: {i['data_type']}" for i in said if str(i["data_type"]).startswith("unknown")]
    if unknown:
        raise Refused(
            f"{', '.join(unknown).replace('unknown ', '')}: gitreg, as Michelangelo, has no such data type",
            "write the model with inputs and outputs of float32 or int64; within it types are its own",
        )
    return [
        ModelSchemaItem(
            str(i["name"]), DataType(i["data_type"]), [int(n) for n in i["shape"]], i.get("optional")
        )
        for i in said
    ]


def _ask_samples(registry: Registry, model: Unknown, file: Path, found: Found) -> None:
    """The schema of sample inputs, and of what the model answers to them."""
    plain = [_named(one) for one in plain_samples(file, file.name, scale=1)]
    known = found.schema
    names = {name for sample in plain for name in sample}
    if known is not None and (model.type == flavors.MLFLOW or names == _inputs(known)):
        return  # the file knows better than numbers in JSON what its types are
    schema = infer_schema(plain)
    whole = [item.name for item in schema.input_schema if item.data_type is DataType.LONG]
    if whole and file.suffix != ".npz":
        found.todo.append(f"{', '.join(whole)}: whole numbers are taken for long; 1.0 makes them float")
    if (model.type == CUSTOM_PYTHON and not model.own) or not flavors.is_loadable(model.type):
        found.todo.append("declare schema.outputs; what is there is a placeholder")
        found.schema = schema
        return
    answers = _answers(registry, model, plain, schema, found)
    found.schema = replace(schema, output_schema=infer_schema(answers).input_schema)


def _named(sample: Any) -> Any:
    """A sample whose columns are called as inputs can be."""
    if not isinstance(sample, Mapping):
        return sample
    return {input_name(str(column)): value for column, value in sample.items()}


def _inputs(schema: ModelSchema) -> set[str]:
    return {item.name for item in schema.input_schema}


def _answers(
    registry: Registry, model: Unknown, plain: list[Any], schema: ModelSchema, found: Found
) -> list[Any]:
    """The model's answers to its samples, from an isolated process that expects nothing of them."""
    items = {item.name: item for item in schema.input_schema}
    samples: tuple[Sample, ...] = tuple(
        {name: single(items[name], array_of(items[name], value)) for name, value in one.items()}
        for one in plain
    )
    parts = replace(_parts(registry, model, replace(schema, output_schema=[]), found), samples=samples)
    try:
        with registry.workbench.testing(parts, None) as conditions, registry.scratch() as place:
            answers = builder.free_answers(parts, place / "raw", conditions)
    except Outside:
        raise
    except GitregError as error:
        raise Refused(
            f"the outputs cannot be inferred: {error.message}",
            "--samples without --class leaves them to you" if model.type == CUSTOM_PYTHON else error.hint,
        ) from error
    if parts.batching.custom:
        return [{name: array[0] for name, array in answer.items()} for answer in answers]
    return answers


def _parts(registry: Registry, model: Unknown, schema: ModelSchema, found: Found | None = None) -> Parts:
    """A model as a package that is thrown away again.

    Raises:
        Refused: there is no artifact.
    """
    if model.artifact is None:
        raise Refused("without an artifact the outputs cannot be inferred", "leave out --samples")
    code: dict[str, bytes] = {}
    if model.model_class and model.code:
        tree = source.Tree(
            (model.code,), registry.root, registry.root, hidden=(model.place,) if model.place else ()
        )
        files = source.bundle(model.model_class, tree).files
        code = {path: file.read_bytes() for path, file in files.items()}
    flavor, batched = flavors.FLAVORS.get(model.type), found is None or found.batched
    learnt = tuple(found.requirements) if found else ()
    return Parts(
        name=model.name,
        type=model.type,
        artifact=model.artifact(),
        schema=schema,
        model_class=model.model_class,
        code=code,
        batching=Batching(batched if flavor else model.custom_batching, Batching.max_batch_size * batched),
        options={**model.options, **(found.options if found else {})},
        trust=model.trust,
        requirements=model.requirements or learnt or (flavor.requirements if flavor else ()),
    )
