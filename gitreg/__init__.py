"""gitreg: a model registry with no server. The Git repository is the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gitreg.version import __version__ as __version__

if TYPE_CHECKING:
    from gitreg.catalogued import ModelVersion as ModelVersion
    from gitreg.catalogued import ModelVersionStage as ModelVersionStage
    from gitreg.catalogued import RegisteredModel as RegisteredModel
    from gitreg.errors import GitregError as GitregError
    from gitreg.load import load_model as load_model
    from gitreg.loaded import LoadedModel as LoadedModel
    from gitreg.loader import load_raw_model as load_raw_model
    from gitreg.model import DataType as DataType
    from gitreg.model import Model as Model
    from gitreg.model import ModelSchema as ModelSchema
    from gitreg.model import ModelSchemaItem as ModelSchemaItem
    from gitreg.model import StorageType as StorageType
    from gitreg.packager import CustomTritonPackager as CustomTritonPackager
    from gitreg.registry import Registry as Registry
    from gitreg.schema import infer_schema as infer_schema

# Resolved on first use: `import gitreg` and the command line stay as fast as click alone.
_HOMES = {
    "CustomTritonPackager": "packager",
    "DataType": "model",
    "GitregError": "errors",
    "LoadedModel": "loaded",
    "Model": "model",
    "ModelSchema": "model",
    "ModelSchemaItem": "model",
    "ModelVersion": "catalogued",
    "ModelVersionStage": "catalogued",
    "RegisteredModel": "catalogued",
    "Registry": "registry",
    "StorageType": "model",
    "infer_schema": "schema",
    "load_model": "load",
    "load_raw_model": "loader",
}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gitreg' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"gitreg.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
