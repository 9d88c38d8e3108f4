"""What a model file is, by its content: format, framework, and whether loading it runs code. No I/O.

Names and extensions are hints for people and prove nothing: a pickle that is called `model.onnx` is
seen as the pickle it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """One serialization format.

    Attributes:
        name: as people call it.
        key: as policies and JSON say it.
        type: the manifest's `type`.
        framework: what reads it.
        runs_code: whether loading it may run code of the file's author.
    """

    name: str
    key: str
    type: str
    framework: str
    runs_code: bool


PICKLE = Format("pickle", "pickle", "scikit-learn", "pickle or joblib", True)
TORCH_PICKLE = Format("PyTorch state (zip of a pickle)", "pytorch-pickle", "pytorch", "PyTorch", True)
TORCHSCRIPT = Format("TorchScript", "torchscript", "pytorch", "PyTorch", True)
ONNX = Format("ONNX", "onnx", "onnx", "ONNX Runtime", False)
SAFETENSORS = Format("safetensors", "safetensors", "huggingface", "safetensors", False)
HDF5 = Format("HDF5", "hdf5", "keras", "Keras", True)
KERAS = Format("Keras (.keras)", "keras", "keras", "Keras", True)
SKOPS = Format("skops", "skops", "scikit-learn", "skops", False)
NPZ = Format("NumPy .npz", "npz", "custom-python", "NumPy", False)
NPY = Format("NumPy .npy", "npy", "custom-python", "NumPy", False)
XGBOOST_JSON = Format("XGBoost JSON", "xgboost-json", "xgboost", "XGBoost", False)
XGBOOST_UBJ = Format("XGBoost UBJSON", "xgboost-ubj", "xgboost", "XGBoost", False)
LIGHTGBM = Format("LightGBM text", "lightgbm", "lightgbm", "LightGBM", False)
PMML = Format("PMML", "pmml", "pmml", "a PMML evaluator", False)
MLEAP = Format("MLeap bundle", "mleap", "mleap", "MLeap", False)
SAVED_MODEL = Format("TensorFlow SavedModel", "savedmodel", "tensorflow", "TensorFlow", True)
MLFLOW = Format("MLflow model", "mlflow", "mlflow", "MLflow", True)
TRANSFORMERS = Format("Transformers folder", "transformers", "huggingface", "Transformers", False)
COREML = Format("Core ML package", "coreml", "coreml", "Core ML", False)
JSON = Format("JSON", "json", "custom-python", "any", False)
UNKNOWN = Format("files", "files", "custom-python", "your own class", False)


def detect_file(head: bytes, members: Collection[str] = ()) -> Format:
    """The format of a file.

    Args:
        head: its first 4 KiB.
        members: the names inside, where it is a zip archive.
    """
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _zip(members)
    for magic, found in (
        (b"\x89HDF\r\n\x1a\n", HDF5),
        (b"\x93NUMPY", NPY),
        (b"tree\nversion=", LIGHTGBM),
        (b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner", XGBOOST_UBJ),
    ):
        if head.startswith(magic):
            return found
    if re.match(rb"\x80[\x02-\x05]", head) or re.match(
        rb"(\x78[\x01\x5e\x9c\xda]|\x1f\x8b|BZh|\xfd7zXZ)", head
    ):
        return PICKLE  # joblib compresses its pickles in any of these ways
    if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100 << 20:
        return SAFETENSORS
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<") and b"<PMML" in head:
        return PMML
    if text.startswith((b"{", b"[")):
        return XGBOOST_JSON if b'"learner"' in head else JSON
    return ONNX if _looks_like_onnx(head) else UNKNOWN


def _zip(members: Collection[str]) -> Format:
    names = set(members)
    tails = {name.partition("/")[2] for name in names}
    if "data.pkl" in tails:
        return TORCHSCRIPT if any(tail.startswith("code/") for tail in tails) else TORCH_PICKLE
    if "config.json" in names and "metadata.json" in names:
        return KERAS
    if "schema.json" in names:
        return SKOPS
    if "bundle.json" in names:
        return MLEAP
    if names and all(name.endswith(".npy") for name in names):
        return NPZ
    return UNKNOWN


def _looks_like_onnx(head: bytes) -> bool:
    """ModelProto starts with ir_version (field 1, varint), then producer (2), graph (7) or opset (8)."""
    return bool(re.match(rb"\x08[\x01-\x14][\x12\x3a\x42]", head))


def detect_folder(names: Collection[str]) -> Format:
    """The format of a folder, by the relative names of the files in it."""
    if "MLmodel" in names:
        return MLFLOW
    if "saved_model.pb" in names:
        return SAVED_MODEL
    if "Manifest.json" in names and any(n.startswith("Data/") for n in names):
        return COREML
    if "config.json" in names and any(n.endswith(".safetensors") for n in names):
        return TRANSFORMERS
    return UNKNOWN
