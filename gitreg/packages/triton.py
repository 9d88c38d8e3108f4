"""The Triton package: a model folder that a Triton server loads with its Python backend.

<model>/config.pbtxt
<model>/0/{model.py, user_model.py, model_class.txt, download.yaml}
<model>/0/model/                       the artifact
<model>/0/<module or package>          the bundled modules (in defs/ where the name is Triton's own)
<model>/{warmup,initial_state}/        files that the manifest's `triton` fragment names
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg.declared import Contents
from gitreg.documents import dotted
from gitreg.errors import NotSupported, Refused
from gitreg.flavors import FLAVORS, where
from gitreg.model import DataType
from gitreg.packages import Parts, carried, native, own_file
from gitreg.packages.fields import Around, Place
from gitreg.packages.settings import Found, files_of, judge_manifest, judge_package

if TYPE_CHECKING:
    from google.protobuf.message import Message

_TYPES = {
    DataType.BOOLEAN: "TYPE_BOOL",
    DataType.STRING: "TYPE_STRING",
    DataType.BYTE: "TYPE_INT8",
    DataType.CHAR: "TYPE_UINT8",
    DataType.SHORT: "TYPE_INT16",
    DataType.INT: "TYPE_INT32",
    DataType.LONG: "TYPE_INT64",
    DataType.FLOAT: "TYPE_FP32",
    DataType.DOUBLE: "TYPE_FP64",
}


def contents(parts: Parts) -> Contents:
    """Every file of a Triton package but its record.

    Raises:
        NotSupported: the model's type has no Python-backend package.
    """
    if parts.backend == "native":
        return {**native.contents(parts, config_text), **parts.beside}
    if parts.entry is None:
        raise NotSupported(f"{parts.name}: no Triton package for the type '{parts.type}'", where(parts.type))
    top = f"{parts.ordinal}/"
    files: Contents = {
        "config.pbtxt": config_text(parts),
        f"{top}model.py": own_file("isolated/triton_model.py"),
        f"{top}user_model.py": own_file("isolated/user_model.py"),
        f"{top}model_class.txt": parts.entry.encode(),
    }
    files |= parts.beside
    files |= carried(parts, lambda path: f"{top}defs/{path}" if _clashes(path) else f"{top}{path}")
    return files | {f"{top}model/{path}": link for path, link in parts.artifact.files.items()}


def _clashes(path: str) -> bool:
    """Whether a module would lie on the package's own files (`model.py`, `model/`, `user_model.py`)."""
    return path.partition("/")[0].partition(".")[0] in ("model", "user_model", "defs")


def config_text(parts: Parts) -> bytes:
    """config.pbtxt, made as Triton's ModelConfig message and printed by protobuf."""
    from google.protobuf import text_format

    text: str = text_format.MessageToString(config(parts), as_utf8=True)
    return text.encode()


def config(parts: Parts) -> Message:
    """The ModelConfig message of a model.

    Raises:
        Refused: the manifest's `triton` fragment is not valid for the message.
    """
    message: Any = model_config_pb2().ModelConfig()
    message.name = parts.name
    if parts.backend != "native":
        message.backend = "python"
    message.max_batch_size = parts.batching.max_batch_size
    if parts.batching.max_batch_size:
        message.dynamic_batching.SetInParent()
    assert parts.schema is not None
    for target, items in (
        (message.input, parts.schema.input_schema),
        (message.output, parts.schema.output_schema),
    ):
        for item in items:
            tensor = target.add(name=item.name, data_type=_TYPES[item.data_type], dims=item.shape)
            if item.optional:
                tensor.optional = True
    if parts.backend == "native":
        native.configure(message, parts)
    else:
        _for_python(message, parts)
    merge(message, parts.triton, message.backend)
    return message  # type: ignore[no-any-return]


def _for_python(message: Any, parts: Parts) -> None:
    """What `model.py` has to know."""
    if parts.batching.custom:
        message.parameters["gitreg.custom_batching"].string_value = "true"
    message.parameters["gitreg.artifact"].string_value = parts.artifact.place


def merge(message: Any, fragment: Mapping[str, Any], backend: str = "python") -> None:
    """Merge a manifest's `triton` fragment over a generated config.

    Raises:
        Refused: with everything that is wrong with the fragment; see `mistakes`.
    """
    if not fragment:
        return
    if found := mistakes(fragment, backend):
        raise Refused(f"{dotted(('triton', *place))}: {why}" for place, why in found)
    message.MergeFrom(_parsed(fragment))


def mistakes(fragment: Mapping[str, Any], backend: str) -> list[Found]:
    """What is wrong with a manifest's `triton` fragment: each with its place in the fragment.

    It names a field that the message does not have, has a value of the wrong type, says what belongs
    elsewhere in the manifest, or sets what the list in `fields` does not allow.

    Args:
        backend: Triton's name of the backend that the package is for.
    """
    try:
        message = _parsed(fragment)
    except Refused as refused:
        return [((), refused.message)]
    return judge_manifest(message, fragment, Around(backend))


def carried_files(fragment: Mapping[str, Any]) -> list[tuple[Place, str]]:
    """The files that a sound `triton` fragment names: each with its place in the fragment."""
    return files_of(_parsed(fragment), fragment)


def _parsed(fragment: Mapping[str, Any]) -> Any:
    from google.protobuf import json_format

    try:
        return json_format.ParseDict(dict(fragment), model_config_pb2().ModelConfig())
    # What is of no type that it expects, it does not always say so by its own error.
    except (json_format.ParseError, TypeError, ValueError, AttributeError) as error:
        raise Refused(f"not a ModelConfig: {str(error).partition(chr(10))[0]}") from None


def lead_out(config: Message, around: Around) -> list[str]:
    """What in a package's config.pbtxt names something outside of the package, a line each."""
    return [f"config.pbtxt: {dotted(place)}: {why}" for place, why in judge_package(config, around)]


def around_package(record: Mapping[str, Any]) -> Around:
    """What the config.pbtxt of a package is judged against, by the package's record."""
    native_one = record.get("backend") == "native"
    flavor = FLAVORS.get(str(record.get("type")))
    return Around(
        (flavor.native if flavor else "") if native_one else "python",
        frozenset(record["files"]),
        int(record["ordinal"]),
        str(record["artifact"]["path"]),
    )


def parse_config(text: bytes) -> Message:
    """Read a config.pbtxt.

    Raises:
        Refused: it is not a ModelConfig in protobuf's text format.
    """
    from google.protobuf import text_format

    try:
        message: Message = text_format.Parse(text.decode(), model_config_pb2().ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise Refused(f"config.pbtxt is not a ModelConfig: {error}") from None
    return message


def model_config_pb2() -> Any:
    """Triton's generated ModelConfig module, taken out of `tritonclient` alone.

    Importing `tritonclient.grpc` would load gRPC, which is not needed to describe a model (and not
    installed without the extra).
    """
    name = "gitreg_model_config_pb2"
    if name not in sys.modules:
        package = importlib.util.find_spec("tritonclient")
        assert package is not None and package.submodule_search_locations
        file = Path(package.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]
