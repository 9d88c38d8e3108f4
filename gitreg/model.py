"""What users extend and declare with: Model, DataType, ModelSchemaItem, ModelSchema.

A copy of this one file travels in every package, as its `gitreg/__init__.py`, so that a package
answers on a machine where gitreg was never installed. It therefore imports nothing but the standard
library (NumPy only inside functions), and says in `__getattr__` what a package does not carry.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["DataType", "Model", "ModelSchema", "ModelSchemaItem", "StorageType"]


class Model(ABC):
    """A model that gitreg can package: save, load and predict over NumPy arrays.

    Extend it, and keep every import that `load` and `predict` need importable from the class's
    module: the packager follows those imports and bundles what they reach.
    """

    @abstractmethod
    def save(self, path: str) -> None:
        """Write everything that `load` needs under `path`.

        `path` is an existing empty folder when the artifact is a folder, and the path of a file to
        write when the artifact is a single file.
        """

    @classmethod
    @abstractmethod
    def load(cls, path: str) -> Model:
        """Return a model ready to predict from what `save` wrote at `path`."""

    @abstractmethod
    def predict(self, inputs: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Answer one sample, or one batch.

        Args:
            inputs: the declared name of each input to its array, of exactly the schema's dtype and
                shape, with a leading batch dimension when the model declares custom batching.
                STRING inputs are object arrays of `bytes`. An optional input that was not sent
                is not in the mapping.

        Returns:
            The declared name of each output to its array, of the schema's dtype and shape (with
            the same leading dimension when batching is custom). STRING outputs may hold `str` or
            `bytes`; `str` goes out as UTF-8.
        """


class DataType(enum.Enum):
    """The type of one input's or output's elements. Values are the words of the manifest."""

    UNKNOWN = "unknown"
    BOOLEAN = "boolean"
    STRING = "string"
    BYTE = "byte"
    CHAR = "char"
    SHORT = "short"
    INT = "int"
    LONG = "long"
    FLOAT = "float"
    DOUBLE = "double"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype; `object` (of `bytes`) for STRING. UNKNOWN has none: ValueError."""
        if self is DataType.UNKNOWN:
            raise ValueError("data type UNKNOWN has no NumPy dtype")
        import numpy as np

        return np.dtype(_DTYPES[self.value])

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> DataType:
        """The data type of a NumPy dtype; UNKNOWN where there is none (unsigned 16-bit, complex)."""
        if dtype.kind in "OSU":
            return cls.STRING
        names = {code: value for value, code in _DTYPES.items()}
        return cls(names.get(dtype.name, "unknown"))


_DTYPES = {
    "boolean": "bool",
    "string": "object",
    "byte": "int8",
    "char": "uint8",
    "short": "int16",
    "int": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
}


class StorageType(str, enum.Enum):
    """Where `model_path` lies. Registries name other places in the manifest's `artifact`."""

    LOCAL = "local"


@dataclass(frozen=True)
class ModelSchemaItem:
    """One input or output.

    Attributes:
        name: the key in `predict`'s mappings, and the tensor's name in Triton.
        data_type: the type of its elements.
        shape: as NumPy writes it, without a batch dimension; -1 where the length varies, [1] for a
            scalar.
        optional: whether callers may leave it out (inputs only).
    """

    name: str
    data_type: DataType = DataType.UNKNOWN
    shape: list[int] | None = None
    optional: bool | None = None

    def describe(self) -> str:
        """`float [4]`, the way errors write it."""
        return f"{self.data_type.value} {list(self.shape or [])}"

    def mismatch(self, value: Any, batched: bool = False) -> str | None:
        """Say how an array differs from this item, or None when it fits.

        Args:
            value: what came; anything but an ndarray is a mismatch.
            batched: whether the array has a leading batch dimension of any length.
        """
        import numpy as np

        shape = list(self.shape or [])
        wanted = [-1, *shape] if batched else shape
        expected = f"expected {self.data_type.value} {wanted}"
        if not isinstance(value, np.ndarray):
            return f"{expected}, got a Python {type(value).__name__}"
        came = DataType.of(value.dtype)
        got = f"{value.dtype.name if came is DataType.UNKNOWN else came.value} {list(value.shape)}"
        if self.data_type is DataType.STRING:
            if value.dtype.kind not in "OSU":
                return f"{expected}, got {got}"
            for element in value.flat if value.dtype.kind == "O" else ():
                if not isinstance(element, (bytes, str)):
                    return f"{expected}, got an element of type {type(element).__name__}"
        elif value.dtype != self.data_type.dtype:
            return f"{expected}, got {got}"
        fits = len(wanted) == value.ndim and all(
            w in (-1, n) for w, n in zip(wanted, value.shape, strict=True)
        )
        return None if fits else f"{expected}, got {got}"


@dataclass(frozen=True)
class ModelSchema:
    """The inputs and outputs of a model: at least one of each."""

    input_schema: list[ModelSchemaItem] = field(default_factory=list)
    output_schema: list[ModelSchemaItem] = field(default_factory=list)


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}: a package carries only "
        f"{', '.join(__all__)} of gitreg; import the rest outside of the model's own modules"
    )
