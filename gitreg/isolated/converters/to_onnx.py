"""Writes a loaded model as an ONNX file, in the child process: a function per type. No package carries this.

The graph gets the names of the schema, whatever a converter calls them, so that callers see no difference.
"""

import copy

import numpy as np

# What a NumPy dtype is in ONNX's TensorProto.
_CODES = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "object": 8,
    "bool": 9,
    "float64": 11,
}
_MATRIX = "gitreg_features"
_OPSET = 18  # every ONNX Runtime since 1.14 takes it
_OLDER = 15  # the last one that onnxmltools knows


class NotConvertible(Exception):
    """The model, or a part of it, has no counterpart in ONNX that a converter knows."""


def write(model, path, opset, samples):
    """Convert a model.

    Args:
        model: an instance of a class of gitreg_flavors.
        path: where the ONNX file goes.
        opset: of ONNX; None for the newest that the converter and ONNX Runtime know.
        samples: one at least, each name to array with a batch dimension in front where there is batching.
    """
    kind = type(model).__name__
    if kind not in _KINDS:
        raise NotConvertible(f"models of this type ({kind}) have no converter to ONNX")
    _KINDS[kind](model, path, opset, samples)


# scikit-learn ----------------------------------------------------------------------------------


def _sklearn(model, path, opset, samples):
    from skl2onnx import to_onnx
    from sklearn.base import is_classifier

    if len(model.inputs) > 1 and not model.columns:
        raise NotConvertible(
            "several inputs of an estimator that was fitted on no data frame; declare one matrix"
        )
    methods = set(model.methods.values())
    if {"predict_proba", "decision_function"} <= methods:
        raise NotConvertible("a graph has either probabilities or scores, and the schema has both")
    options = None
    if is_classifier(model.estimator):
        options = {
            id(model.estimator): {
                "zipmap": False,
                **({"raw_scores": True} if "decision_function" in methods else {}),
            }
        }
    numbers = {field.dtype for field in model.inputs if field.dtype.kind in "iuf"}
    # Its converters take columns of one type, and ONNX Runtime has all of their operators for float alone.
    mixed = len(numbers) > 1
    kinds = [np.dtype("float32") if mixed and f.dtype in numbers else f.dtype for f in model.inputs]
    types = [
        (model.originals.get(field.name, field.name), _skl_type(kind, field.shape))
        for field, kind in zip(model.inputs, kinds)
    ]
    made = to_onnx(
        model.estimator,
        initial_types=types,
        options=options,
        target_opset=opset or {"": _OPSET, "ai.onnx.ml": 3},
    )
    _take_inputs(made, model.inputs)
    places = {"predict": 0, "transform": 0, "predict_proba": 1, "decision_function": 1}
    _finish(made, model, {name: places[method] for name, method in model.methods.items()}, path)


def _take_inputs(made, fields):
    """Give the graph's inputs the declared names and types."""
    from onnx import helper

    for value, field in zip(made.graph.input, fields):
        own, code = value.type.tensor_type.elem_type, _CODES[field.dtype.name]
        if value.name == field.name and own == code:
            continue
        inner = value.name if value.name != field.name else f"{field.name}_as_number"
        for node in made.graph.node:
            node.input[:] = [inner if name == value.name else name for name in node.input]
        made.graph.node.insert(0, helper.make_node("Cast", [field.name], [inner], to=own))
        value.name, value.type.tensor_type.elem_type = field.name, code


def _skl_type(dtype, shape):
    from skl2onnx.common import data_types

    kinds = {
        "float32": "FloatTensorType",
        "float64": "DoubleTensorType",
        "int64": "Int64TensorType",
        "int32": "Int32TensorType",
        "int16": "Int16TensorType",
        "int8": "Int8TensorType",
        "uint8": "UInt8TensorType",
        "bool": "BooleanTensorType",
        "object": "StringTensorType",
    }
    return getattr(data_types, kinds[dtype.name])([None, *shape])


# Boosters --------------------------------------------------------------------------------------


def _booster(model, path, opset, samples):
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType

    if model.categories:
        raise NotConvertible("boosters with categories have no converter to ONNX")
    places = {}
    for name, kind in model.wanted.items():
        classes = any(one[0] == "label" for one in model.known_outputs())
        if kind not in ("label", "probabilities", "prediction") or (kind == "prediction" and classes):
            raise NotConvertible(f"{kind} of this booster has no counterpart in ONNX (output {name!r})")
        places[name] = {"label": 0, "probabilities": 1, "prediction": 0}[kind]
    xgboost = type(model).__name__ == "Xgboost"
    count = int(model.booster.num_features() if xgboost else model.booster.num_feature())
    types, wanted = [(_MATRIX, FloatTensorType([None, count]))], opset or _OLDER
    booster = model.booster
    if xgboost:
        booster = booster[: model.rounds[1]] if model.rounds[1] else copy.copy(booster)
        booster.feature_names = booster.feature_types = None
        made = onnxmltools.convert_xgboost(booster, initial_types=types, target_opset=wanted)
    else:
        if model.options.get("rounds"):
            raise NotConvertible(
                "`rounds` of LightGBM are not cut off in ONNX; save the model with those alone"
            )
        made = onnxmltools.convert_lightgbm(booster, initial_types=types, zipmap=False, target_opset=wanted)
    _feed(made, model)
    _finish(made, model, places, path)


def _feed(made, model):
    """Have the graph take the declared inputs, and make the one matrix of float of them."""
    from onnx import helper

    if not any(one.domain == "" for one in made.opset_import):
        made.opset_import.append(helper.make_opsetid("", _OLDER))
    graph, nodes, parts = made.graph, [], []
    columns = model.columns if len(model.inputs) > 1 else [model.inputs[0].name]
    fields = {field.name: field for field in model.inputs}
    for name in columns:
        cast = f"{name}_as_float"
        nodes.append(helper.make_node("Cast", [name], [cast], to=_CODES["float32"]))
        parts.append(cast)
    nodes.append(helper.make_node("Concat", parts, [_MATRIX], axis=1))
    inputs = [
        helper.make_tensor_value_info(n, _CODES[fields[n].dtype.name], ["batch", *fields[n].shape])
        for n in columns
    ]
    rest = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*nodes, *rest])
    graph.input.extend(inputs)


def _finish(made, model, places, path):
    """Give the graph's outputs the declared names, in the declared order, and write it."""
    import onnx
    from onnx import helper

    outputs = list(made.graph.output)
    taken = {value.name for value in outputs}
    del made.graph.output[:]
    for field in model.outputs:
        place = places[field.name]
        if place >= len(outputs):
            raise NotConvertible(f"the converter gives no output for {field.name!r}")
        own = outputs[place]
        name = field.name
        if own.type.WhichOneof("value") not in (None, "tensor_type"):
            raise NotConvertible(f"{name!r} would be no tensor in the graph, but one per target")
        if own.name != name:
            if name in taken:  # another of its outputs is called so
                raise NotConvertible(f"the converter calls another output {name!r}")
            made.graph.node.append(helper.make_node("Identity", [own.name], [name]))
        dims = [one.dim_value or f"{name}_{i}" for i, one in enumerate(own.type.tensor_type.shape.dim)]
        code = own.type.tensor_type.elem_type or _CODES[field.dtype.name]
        shape = ["batch", *(dims[1:] if dims else field.shape)]
        made.graph.output.append(helper.make_tensor_value_info(name, code, shape))
    onnx.checker.check_model(made)
    onnx.save(made, path)


# PyTorch ---------------------------------------------------------------------------------------


def _pytorch(model, path, opset, samples):
    import torch

    names = [f.name for f in model.inputs]
    if set(names) <= set(model.names):
        names = [name for name in model.names if name in names]
    gives = [f.name for f in model.outputs]
    if model.device != "cpu":
        model.module = model.module.to("cpu")
        model.device = "cpu"
    if model.program is not None:
        torch.onnx.export(
            model.program,
            (),
            path,
            input_names=names,
            output_names=_ordered(model, samples, gives),
            opset_version=opset,
            external_data=False,
            dynamo=True,
        )
        return
    args = tuple(model._tensor(name, samples[0][name]) for name in names)
    module = model.module
    if isinstance(module, torch.jit.ScriptModule):
        if isinstance(module(*args), dict):
            raise NotConvertible(
                "TorchScript that returns a dict is not exported; have forward return a tuple"
            )
    else:
        module = _in_order(module, gives)
    axes = {f.name: _varying(f, model.batched) for f in [*model.inputs, *model.outputs]}
    torch.onnx.export(
        module,
        args,
        path,
        input_names=names,
        output_names=gives,
        dynamic_axes={name: one for name, one in axes.items() if one},
        opset_version=opset,
        dynamo=False,
    )


def _ordered(model, samples, gives):
    """The outputs' names in the order in which a program returns them."""
    said = model._answer(samples[0])
    return list(said) if isinstance(said, dict) else gives


def _in_order(module, gives):
    """A module that returns the declared outputs, in their order."""
    import torch

    class Ordered(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self, *args):
            said = self.module(*args)
            said = said._asdict() if hasattr(said, "_asdict") else said
            return tuple(said[name] for name in gives) if hasattr(said, "items") else said

    return Ordered().eval()


def _varying(field, batched):
    """The dimensions of a tensor that vary, by their names in ONNX."""
    first = {0: "batch"} if batched else {}
    return first | {i + batched: f"{field.name}_{i}" for i, n in enumerate(field.shape) if n == -1}


_KINDS = {"Sklearn": _sklearn, "Xgboost": _booster, "Lightgbm": _booster, "Pytorch": _pytorch}
