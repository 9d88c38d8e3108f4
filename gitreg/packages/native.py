"""The native Triton package: the artifact as Triton's own backend for its type takes it, and no Python.

<model>/config.pbtxt
<model>/0/{model.onnx, model.pt, model.savedmodel/, model.graphdef, xgboost.json, model.txt}  the artifact
<model>/0/download.yaml

What the file knows of itself (`Flavored.native`, asked in an isolated process) is in `parts.native`; what is
declared is held against it here, because no Triton with these backends is at hand to say it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gitreg.declared import Contents, Link
from gitreg.errors import Refused
from gitreg.model import DataType, ModelSchemaItem

if TYPE_CHECKING:
    from gitreg.packages import Parts


@dataclass(frozen=True)
class Layout:
    """How a backend takes a model.

    Attributes:
        backend, platform: as config.pbtxt says them.
        place: what the artifact is called in the version folder.
        files: path below `place` -> file; the empty path where `place` is the file.
        parameters: of config.pbtxt.
        flat: outputs that have no dimension of their own in the graph, where the schema says [1].
        named: whether config.pbtxt has to say `place`.
    """

    backend: str
    place: str
    files: Mapping[str, Link]
    platform: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    flat: frozenset[str] = frozenset()
    named: bool = False


def layout(parts: Parts) -> Layout:
    """How Triton's own backend takes a model.

    Raises:
        Refused: it cannot; with every reason.
    """
    mistakes = list(_everywhere(parts))
    found = None
    try:
        found, more = _KINDS[parts.type](parts)
        mistakes += more
    except Refused as refused:
        mistakes.append(refused.message)
    if mistakes or found is None:
        raise Refused(
            f"{parts.name}: `backend: native`: " + "; ".join(mistakes),
            "leave it out: Triton's Python backend serves the model with the same answers",
        )
    return found


def contents(parts: Parts, config: Callable[[Parts], bytes]) -> Contents:
    """Every file of a native package but its record."""
    found = layout(parts)
    top = f"{parts.ordinal}/{found.place}"
    files: Contents = {"config.pbtxt": config(parts)}
    return files | {f"{top}/{path}" if path else top: link for path, link in found.files.items()}


def configure(message: Any, parts: Parts) -> None:
    """Say in a ModelConfig message what is the backend's own."""
    found = layout(parts)
    message.backend = found.backend
    if found.platform:
        message.platform = found.platform
    if found.named:
        message.default_model_filename = found.place
    for key, value in found.parameters.items():
        message.parameters[key].string_value = value
    for tensor in message.output:
        if tensor.name in found.flat:
            tensor.reshape.SetInParent()  # the graph has no dimension for it


def _everywhere(parts: Parts) -> Iterator[str]:
    if parts.model_class:
        yield f"{parts.model_class} is a class of your own, which only Python can load"
    if parts.schema and any(item.optional for item in parts.schema.input_schema):
        yield "its backends know no optional inputs"


def _only_file(parts: Parts) -> Link:
    """The one file of the artifact.

    Raises:
        Refused: there are several.
    """
    if len(parts.artifact.files) != 1:
        raise Refused(f"the artifact has {len(parts.artifact.files)} files, and the backend takes one")
    return next(iter(parts.artifact.files.values()))


# ONNX Runtime ----------------------------------------------------------------------------------


def _onnx(parts: Parts) -> tuple[Layout, list[str]]:
    files = dict(parts.artifact.files)
    if len(files) == 1:
        files = {"": next(iter(files.values()))}
    else:
        graph = parts.options.get("file") or next((n for n in sorted(files) if n.endswith(".onnx")), None)
        if graph not in files:
            raise Refused("the artifact's folder has no .onnx file")
        files["model.onnx"] = files.pop(graph)
    flat, mistakes = _held(parts)
    return Layout("onnxruntime", "model.onnx", files, flat=frozenset(flat)), mistakes


def _held(parts: Parts) -> tuple[set[str], list[str]]:
    """The schema against what the graph has, where that is known: the flat outputs, and what differs."""
    flat: set[str] = set()
    mistakes = [
        f"the graph calls {declared!r} {own!r}, and the backend has no other names"
        for declared, own in parts.options.get("names", {}).items()
    ]
    assert parts.schema
    sides = ("inputs", parts.schema.input_schema), ("outputs", parts.schema.output_schema)
    for side, items in sides if parts.native else ():
        graph_has = {one["name"]: one for one in parts.native[side]}
        for item in items:
            mistakes += _against(
                item, side, graph_has.get(item.name), parts.batching.max_batch_size > 0, flat
            )
        if side == "inputs" and not mistakes:
            left = sorted(set(graph_has) - {item.name for item in items})
            mistakes += [f"the graph's input {name!r} is not in the schema" for name in left]
    return flat, mistakes


def _against(
    item: ModelSchemaItem, side: str, graph: Mapping[str, Any] | None, batched: bool, flat: set[str]
) -> Iterator[str]:
    """How a declared tensor differs from the graph's."""
    what = f"{side[:-1]} {item.name!r}"
    if graph is None:
        yield f"{what} is not in the graph"
        return
    if graph["shape"] is None:
        yield f"{what} is {graph['data_type']} in the graph, no tensor (skl2onnx: {{'zipmap': False}})"
        return
    shape, declared = list(graph["shape"]), list(item.shape or [])
    if graph["data_type"] != item.data_type.value:
        yield f"{what} is {graph['data_type']} in the graph, and {item.data_type.value} in the schema"
    if batched:
        if not shape or shape[0] is not None:
            yield f"{what} has no batch dimension in the graph, {shape}: `batching: {{max_batch_size: 0}}`"
            return
        shape = shape[1:]
    if declared == [1] and shape == [] and side == "outputs" and batched:
        flat.add(item.name)
    elif len(shape) != len(declared) or any(
        a is not None and b != a for a, b in zip(shape, declared, strict=True)
    ):
        told = [-1 if n is None else n for n in shape]
        yield f"{what} is {told} in the graph, and {declared} in the schema"


# LibTorch, TensorFlow --------------------------------------------------------------------------


def _pytorch(parts: Parts) -> tuple[Layout, list[str]]:
    mistakes = []
    kind = parts.native.get("kind", "torchscript")
    if kind != "torchscript":
        mistakes.append("its PyTorch backend loads TorchScript alone (torch.jit.save)")
    assert parts.schema
    names = parts.native.get("arguments")
    inputs = [item.name for item in parts.schema.input_schema]
    if names is not None and kind == "torchscript" and len(inputs) > len(names):
        mistakes.append(f"forward takes {len(names)} arguments, and the schema has {len(inputs)} inputs")
    for side, items in (("input", parts.schema.input_schema), ("output", parts.schema.output_schema)):
        mistakes += _places(side, [item.name for item in items])
    if parts.native.get("mapping"):
        mistakes.append("forward returns a dict, whose values the backend does not find; return a tuple")
    file = {"": _only_file(parts)}
    return Layout("pytorch", "model.pt", file, platform="pytorch_libtorch"), mistakes


def _places(side: str, names: Sequence[str]) -> Iterator[str]:
    """NAME__INDEX is the backend's way to say the place of a tensor; other names go in the schema's order."""
    said = [name.rpartition("__")[2] if "__" in name else "" for name in names]
    if any(one.isdigit() for one in said) and said != [str(i) for i in range(len(names))]:
        yield f"{side}s {', '.join(names)}: NAME__INDEX is a place to the backend, and these are not in order"


def _tensorflow(parts: Parts) -> tuple[Layout, list[str]]:
    files = parts.artifact.files
    if any(name in files for name in ("saved_model.pb", "saved_model.pbtxt")):
        flat, mistakes = _held(parts)
        signature = parts.options.get("signature")
        chosen = {"TF_SIGNATURE_DEF": str(signature)} if signature else {}
        folder = Layout(
            "tensorflow", "model.savedmodel", files, "tensorflow_savedmodel", chosen, frozenset(flat)
        )
        return folder, mistakes
    if len(files) == 1 and next(iter(files)).endswith(".pb"):
        graph = {"": _only_file(parts)}
        return Layout("tensorflow", "model.graphdef", graph, "tensorflow_graphdef"), []
    raise Refused("its TensorFlow backend loads SavedModel folders and frozen graphs (.pb) alone")


# FIL -------------------------------------------------------------------------------------------

_FIL = {
    "json": ("xgboost_json", "xgboost.json"),
    "ubj": ("xgboost_ubj", "xgboost.ubj"),
    "binary": ("xgboost", "xgboost.model"),
    "text": ("lightgbm", "model.txt"),
}


def _fil(parts: Parts) -> tuple[Layout, list[str]]:
    facts, mistakes = parts.native, []
    assert parts.schema
    kind, place = _FIL[facts.get("format", "json")]
    inputs, outputs = parts.schema.input_schema, parts.schema.output_schema
    if [i.name for i in inputs] != ["input__0"] or inputs[0].data_type is not DataType.FLOAT:
        mistakes.append("its FIL backend takes one input, `input__0`, a matrix of float")
    elif facts and list(inputs[0].shape or []) != [facts["features"]]:
        mistakes.append(
            f"input__0 is {inputs[0].shape} in the schema; there are {facts['features']} features"
        )
    if [o.name for o in outputs] != ["output__0"] or outputs[0].data_type is not DataType.FLOAT:
        mistakes.append(
            "its FIL backend answers one output, `output__0`, of float; "
            "`options: {outputs: {output__0: probabilities}}` says which (or label, or prediction)"
        )
    for key, reason in (
        ("categories", "categories that the file holds are words to it, and codes to FIL"),
        ("part", "FIL asks every round of training, and linear boosters not at all"),
        ("missing", "FIL knows no missing value but NaN"),
    ):
        mistakes += [reason] if facts.get(key) else []
    asked = facts.get("wanted", {}).get("output__0", "prediction")
    classes = int(facts.get("classes") or 0)
    if facts.get("targets", 1) > 1:
        mistakes.append("FIL takes boosters of one target")
    if asked not in ("label", "probabilities", "prediction"):
        mistakes.append(f"FIL does not answer {asked}")
    if asked == "prediction" and classes > 1:
        mistakes.append("of a classifier FIL answers `probabilities` or `label`")
    classifies = str(asked != "prediction").lower()
    parameters = {
        "model_type": kind,
        "output_class": classifies,
        "is_classifier": classifies,  # what newer ones call it
        "predict_proba": str(asked == "probabilities").lower(),
        **({"threshold": "0.5"} if asked == "label" else {}),
    }
    return Layout("fil", place, {"": _only_file(parts)}, parameters=parameters, named=True), mistakes


_KINDS: dict[str, Callable[[Parts], tuple[Layout, list[str]]]] = {
    "lightgbm": _fil,
    "onnx": _onnx,
    "pytorch": _pytorch,
    "tensorflow": _tensorflow,
    "xgboost": _fil,
}
