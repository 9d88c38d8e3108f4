"""Types of models that gitreg itself loads, each by a module of isolated/flavors; where others can be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitreg import formats
from gitreg.declared import CUSTOM_PYTHON
from gitreg.model import ModelSchema

if TYPE_CHECKING:
    from gitreg.packages import Parts

PACKAGE = "gitreg_flavors"  # what isolated/flavors is called in packages
MLFLOW = "mlflow"


@dataclass(frozen=True)
class Flavor:
    """How models of one type are loaded.

    Attributes:
        module, cls: the class that loads it, in a module of isolated/flavors.
        requirements: what has to be installed, where the manifest says nothing.
        options: what its `options` may say in the manifest.
        extra: gitreg's own extra that installs them.
        native: Triton's own backend for it.
        safe: formats that run code when others load them, and not in this one's way.
        unsafe: formats that run code when this one loads them, beside pickles.
        takes_class: whether `model_class` may name a class of the user's that it needs.
    """

    type: str
    module: str
    cls: str
    requirements: tuple[str, ...]
    options: tuple[str, ...] = ("file",)
    extra: str = ""
    native: str = ""
    safe: frozenset[str] = frozenset()
    unsafe: frozenset[str] = frozenset()
    takes_class: bool = False

    @property
    def model_class(self) -> str:
        """Its class in a package."""
        return f"{PACKAGE}.{self.module}.{self.cls}"


_LISTED = (
    Flavor(
        "lightgbm",
        "lightgbm",
        "Lightgbm",
        ("lightgbm>=4.0",),
        ("file", "outputs", "rounds"),
        "lightgbm",
        "fil",
    ),
    Flavor("onnx", "onnx", "Onnx", ("onnxruntime>=1.16",), ("file", "names"), "onnx", "onnxruntime"),
    Flavor(
        "pytorch",
        "pytorch",
        "Pytorch",
        ("torch>=2.2",),
        ("file", "arguments", "device", "key"),
        "torch",
        "pytorch",
        safe=frozenset({formats.TORCH_PICKLE.key, formats.TORCH_LEGACY.key}),
        unsafe=frozenset({formats.TORCH_EXPORT.key}),  # evaluates expressions, unpickles what it likes
        takes_class=True,
    ),
    Flavor(
        "scikit-learn",
        "sklearn",
        "Sklearn",
        ("scikit-learn>=1.3", "skops>=0.10"),
        ("file", "outputs", "trusted"),
        "sklearn",
    ),
    Flavor(
        MLFLOW,
        "mlflow",
        "Mlflow",
        ("mlflow>=2.14",),
        ("names", "params"),
        "mlflow",
        unsafe=frozenset([formats.MLFLOW.key]),
    ),
    Flavor(
        "xgboost",
        "xgboost",
        "Xgboost",
        ("xgboost>=2.0",),
        ("file", "missing", "outputs", "rounds"),
        "xgboost",
        "fil",
    ),
    Flavor(
        "huggingface",
        "huggingface",
        "HuggingFace",
        ("transformers>=4.44", "safetensors>=0.4", "torch>=2.2"),
        ("task", "pooling", "max_new_tokens"),
        "huggingface",
    ),
    Flavor("keras", "keras", "Keras", ("keras>=3.12",), extra="keras", unsafe=frozenset([formats.HDF5.key])),
    Flavor("pmml", "pmml", "Pmml", ("pypmml>=1.5.8", "jpype1>=1.5"), extra="pmml"),
    Flavor(
        "tensorflow",
        "tensorflow",
        "TensorFlow",
        ("tensorflow>=2.16",),
        ("names", "signature"),
        "tensorflow",
        "tensorflow",
        unsafe=frozenset([formats.SAVED_MODEL.key, formats.GRAPH_DEF.key]),
    ),
)
FLAVORS = {flavor.type: flavor for flavor in _LISTED}

# Formats that a type's loader unpickles only where the manifest trusts them.
PICKLES = frozenset(
    one.key
    for one in (
        formats.PICKLE,
        formats.TORCH_PICKLE,
        formats.TORCH_LEGACY,
        formats.NPZ_OBJECTS,
        formats.NPY_OBJECTS,
        formats.ARCHIVE_CODE,
        formats.OPAQUE,
        formats.MIXED,
        formats.TRANSFORMERS_CODE,
    )
)

# Where models of the other types can be loaded; their raw packages carry them all the same.
ELSEWHERE = {
    "caffe": "with Caffe's own runtime, or after a conversion to ONNX",
    "coreml": "with Core ML on Apple's systems, or `coremltools` there",
    "custom": "by the runtime that you have for it",
    "image": "by running the image: its raw package names it",
    "mleap": "in a JVM, with MLeap's runtime",
    "mxnet": "with MXNet's own runtime, or after a conversion to ONNX",
    "spark-mllib": "in Spark, with pyspark.ml.PipelineModel.load",
    "template": "after `gitreg new NAME --template`: a template is no model",
}


def is_loadable(kind: str) -> bool:
    """Whether models of a type can be loaded and asked."""
    return kind == CUSTOM_PYTHON or kind in FLAVORS


def where(kind: str) -> str:
    """Where a model of a type that gitreg does not load can be."""
    return ELSEWHERE.get(kind, "elsewhere")


def entry(kind: str, model_class: str | None) -> str | None:
    """The class that a package of a type loads; None where nothing does."""
    flavor = FLAVORS.get(kind)
    return flavor.model_class if flavor else model_class if kind == CUSTOM_PYTHON else None


def settings(parts: Parts) -> bytes:
    """settings.json: what a flavor's class has to know of the manifest."""
    said = {
        "inputs": _items(parts.schema, "input_schema"),
        "outputs": _items(parts.schema, "output_schema"),
        "options": dict(parts.options),
        "trust": list(parts.trust),
        "batched": parts.batching.max_batch_size > 0,
        **({"model_class": parts.model_class} if parts.model_class else {}),
    }
    return json.dumps(said, sort_keys=True, indent=1).encode() + b"\n"


def _items(schema: ModelSchema | None, side: str) -> list[Mapping[str, Any]]:
    items = getattr(schema, side) if schema else ()
    return [
        {"name": item.name, "data_type": item.data_type.value, "shape": list(item.shape or [])}
        for item in items
    ]
