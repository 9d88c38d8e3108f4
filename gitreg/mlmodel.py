"""What an MLmodel file says, in the manifest's words. Needs no MLflow, and does no I/O.

https://mlflow.org/docs/latest/ml/model/#model-signature-and-input-example
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gitreg.model import DataType, ModelSchema, ModelSchemaItem
from gitreg.requirements import mistakes

FILE = "MLmodel"
MOST = 8 << 20  # signatures of a thousand columns are long

_COLUMNS = {
    "boolean": DataType.BOOLEAN,
    "integer": DataType.INT,
    "long": DataType.LONG,
    "float": DataType.FLOAT,
    "double": DataType.DOUBLE,
    "string": DataType.STRING,
    "binary": DataType.STRING,
    "datetime": DataType.STRING,
}
_TENSORS = {
    "bool": DataType.BOOLEAN,
    "int8": DataType.BYTE,
    "uint8": DataType.CHAR,
    "int16": DataType.SHORT,
    "int32": DataType.INT,
    "int64": DataType.LONG,
    "float32": DataType.FLOAT,
    "float64": DataType.DOUBLE,
    **dict.fromkeys(("str", "bytes", "object"), DataType.STRING),
}
# MLflow's flavors whose files gitreg loads itself, by its name for the type.
NATIVE = {"onnx": "onnx", "sklearn": "scikit-learn", "xgboost": "xgboost", "lightgbm": "lightgbm"}
# What reading finds where MLflow did not write it.
_ODD = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


@dataclass
class MLModel:
    """An MLflow model, as its MLmodel describes it.

    Attributes:
        schema: of its signature; None where there is none, or where gitreg has no words for it.
        names: declared name -> the signature's, where that is no valid name.
        batched: whether its inputs have a batch dimension: columns have, and tensors that begin with -1.
        why: why there is no schema.
        loader: the module that loads it as a python_function; None where nothing does.
        flavors: MLflow's names.
        example: the file of its input example.
    """

    schema: ModelSchema | None = None
    names: dict[str, str] = field(default_factory=dict)
    batched: bool = True
    why: str = ""
    loader: str | None = None
    flavors: tuple[str, ...] = ()
    run_id: str | None = None
    python: str | None = None
    example: str | None = None

    @property
    def native(self) -> str | None:
        """The type of gitreg's that loads the same files without MLflow."""
        return next((NATIVE[name] for name in self.flavors if name in NATIVE), None)


def read(said: Any) -> MLModel:
    """What a parsed MLmodel says. Whatever is not as MLflow writes it is left out."""
    said = said if isinstance(said, Mapping) else {}
    flavors = _mapping(said, "flavors")
    function = _mapping(flavors, "python_function")
    found = MLModel(
        loader=_text(function, "loader_module"),
        flavors=tuple(str(name) for name in flavors if name != "python_function"),
        run_id=_word(said, "run_id", r"[\w-]{1,100}"),
        python=_word(function, "python_version", r"\d+(\.\d+){1,2}\w{0,10}"),
        example=_text(_mapping(said, "saved_input_example_info"), "artifact_path"),
    )
    signature = _mapping(said, "signature")
    try:
        inputs = list(_fields(signature.get("inputs"), "x"))
        outputs = list(_fields(signature.get("outputs"), "prediction"))
        _fill(found, inputs, outputs)
    except _ODD as error:
        found.why = f"the signature of {FILE}: {error}"
    return found


@dataclass(frozen=True)
class _Field:
    name: str
    original: str | None
    data_type: DataType
    shape: tuple[int, ...]
    optional: bool


def _fill(found: MLModel, inputs: Sequence[_Field], outputs: Sequence[_Field]) -> None:
    if not inputs or not outputs:
        side = "inputs" if not inputs else "outputs"
        raise ValueError(f"it says nothing of the {side}")
    found.batched = all(one.shape[:1] == (-1,) for one in inputs)
    if found.batched and any(one.shape[:1] != (-1,) for one in outputs):
        raise ValueError("its inputs come in batches, and its outputs do not")
    sides = [[_item(one, found.batched) for one in side] for side in (inputs, outputs)]
    found.schema = ModelSchema(*sides)
    fields = [*inputs, *outputs]
    found.names = {one.name: one.original for one in fields if one.original and one.original != one.name}


def _item(one: _Field, batched: bool) -> ModelSchemaItem:
    shape = list(one.shape[1:] if batched else one.shape) or [1]
    return ModelSchemaItem(one.name, one.data_type, shape, True if one.optional else None)


def _fields(text: Any, default: str) -> Iterator[_Field]:
    """The fields of one side of a signature, each with a batch dimension as MLflow says it."""
    seen: set[str] = set()
    for i, spec in enumerate(json.loads(text) if isinstance(text, str) else ()):
        original = spec.get("name")
        name = _clean(str(original)) if original is not None else default + (f"_{i}" if i else "")
        while name in seen:
            name += "_"
        seen.add(name)
        kind, shape = _typed(spec, name)
        yield _Field(name, original, kind, shape, spec.get("required") is False)


def _typed(spec: Mapping[str, Any], name: str) -> tuple[DataType, tuple[int, ...]]:
    if spec["type"] == "tensor":
        tensor = spec["tensor-spec"]
        kind = _TENSORS.get(re.sub(r"^[<>|=]?[USO]\d*$", "str", str(tensor["dtype"])))
        shape = tuple(int(n) for n in tensor["shape"])
        said = tensor["dtype"]
    else:
        shape, said = (-1,), spec
        while said["type"] == "array":
            shape, said = (*shape, -1), said["items"]
        said = said["type"]
        kind = _COLUMNS.get(said)
    if kind is None:
        raise ValueError(f"gitreg has no data type for the {said} of '{name}'")
    return kind, shape


def _clean(name: str) -> str:
    """A name as the schema has them."""
    cleaned = re.sub(r"[^A-Za-z0-9_./-]", "_", name)[:120]
    return cleaned if re.match(r"[A-Za-z_]", cleaned) else f"_{cleaned}"


def _mapping(said: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = said.get(key)
    return value if isinstance(value, Mapping) else {}


def _text(said: Mapping[str, Any], key: str) -> str | None:
    value = said.get(key)
    return value if isinstance(value, str) else None


def _word(said: Mapping[str, Any], key: str, pattern: str) -> str | None:
    value = _text(said, key)
    return value if value and re.fullmatch(pattern, value) else None


# Beside it -----------------------------------------------------------------------------------------


def samples(example: Any, model: MLModel, most: int = 8) -> list[dict[str, Any]]:
    """Samples of an input example, as MLflow writes them: rows of a frame, an array, or arrays by name.

    Args:
        example: the parsed JSON.

    Returns:
        At most so many, and none where they do not fit the signature.
    """
    if model.schema is None:
        return []
    items = model.schema.input_schema
    try:
        table = _table(example, {item.name: model.names.get(item.name, item.name) for item in items})
        if not model.batched:
            return [table]
        rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)][:most]
    except _ODD:
        return []
    lists = {item.name for item in items if item.shape == [1]}
    found = []
    for row in rows:
        told = {name: [v] if name in lists and not isinstance(v, list) else v for name, v in row.items()}
        # What MLflow calls no value is an input that is left out.
        found.append({name: value for name, value in told.items() if value not in (None, [None])})
    return found


def _table(example: Any, originals: Mapping[str, str]) -> dict[str, list[Any]]:
    """Declared name -> its values, row by row."""
    if isinstance(example, Mapping) and "columns" in example and "data" in example:
        at = {str(name): i for i, name in enumerate(example["columns"])}
        return {
            name: [row[at[original]] for row in example["data"]]
            for name, original in originals.items()
            if original in at
        }
    if isinstance(example, Mapping) and "data" in example and len(originals) == 1:
        return {next(iter(originals)): example["data"]}  # columns without names
    if isinstance(example, Mapping):
        return {name: example[original] for name, original in originals.items() if original in example}
    if isinstance(example, list) and len(originals) == 1:
        return {next(iter(originals)): example}
    raise ValueError("an example of another form")


def requirements(text: str) -> tuple[list[str], list[str]]:
    """The lines of a requirements.txt that a manifest can hold, and those that it cannot."""
    lines = [one for one in (line.partition(" #")[0].strip() for line in text.splitlines()) if one]
    lines = [line for line in lines if not line.startswith("#")]
    left = [line for line in lines if line.endswith("\\") or any(mistakes([line]))]
    return [line for line in lines if line not in left], left


def pins(lines: Iterable[str]) -> dict[str, str]:
    """name -> version of the lines that name exactly one."""
    matches = (re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^,;*\s]+)", line) for line in lines)
    return {match[1]: match[2] for match in matches if match}


def value(text: str) -> Any:
    """A parameter, which MLflow keeps as text, as the number or truth that it was."""
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            number = kind(text)
        except (ValueError, OverflowError):
            continue
        if repr(number) == text and text not in ("nan", "inf", "-inf"):
            return number
    return text
