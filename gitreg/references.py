"""What a ready-made model's options and files name beside themselves: it has to lie in the artifact.

A package's digests cover its artifact. A loader that follows a path out of it, as an option, an index of
weights or an ONNX graph says it, answers with what no digest covers. Models of a class of the user's own are
not looked into: what they read is for their code to say.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gitreg import folders
from gitreg.errors import Refused
from gitreg.flavors import FLAVORS, MLFLOW
from gitreg.packages.fields import leads_out
from gitreg.protobufs import Field, fields_of

Files = Mapping[str, Path]
_MOST = 64 << 20  # bytes of a file of JSON or YAML that is looked into


def mistakes(kind: str, options: Mapping[str, Any], files: Files, single: bool) -> list[str]:
    """What leads out of an artifact, a line each.

    Args:
        kind: the model's type.
        options: what the manifest, or the package, says to the type's loader.
        files: the artifact's, by their names in it.
        single: whether the artifact is one file, and no folder.
    """
    flavor = FLAVORS.get(kind)
    if flavor is None:
        return []
    names = None if single else files
    found = [f"options.{name}: {why}" for name, why in option_mistakes(options, names)]
    look = _LOOKS.get(kind)
    return found + (list(look(files, options)) if look else [])


def refuse(kind: str, options: Mapping[str, Any], files: Files, single: bool, what: str) -> None:
    """Raise Refused with everything that leads out of an artifact.

    Args:
        what: the model or package, for the message.
    """
    if found := mistakes(kind, options, files, single):
        lines = "; ".join(found)
        raise Refused(f"{what}: {lines}", "everything that a model reads has to lie in its artifact")


def option_mistakes(options: Mapping[str, Any], names: Any = None) -> Iterator[tuple[str, str]]:
    """The options that name files, and what is wrong with them.

    Args:
        names: of the files in the artifact's folder; None does not look there.
    """
    for option in sorted(FILE_OPTIONS & options.keys()):
        said = options[option]
        if not isinstance(said, str):
            yield option, f"a file's name is expected, not {said!r}"
        elif reason := leads_out(said):
            yield option, f"{reason}; it is the name of a file in the artifact's folder"
        elif names is not None and said not in names:
            yield option, f"the artifact has no file {said!r}"


# The options of all loaders: those that name files, and those that name nothing outside of the artifact.
FILE_OPTIONS = frozenset({"file"})
OTHER_OPTIONS = frozenset(
    {"arguments", "device", "key", "max_new_tokens", "missing", "names", "outputs", "params"}
    | {"pooling", "rounds", "signature", "task", "trusted"}
)


def of_package(version: Path, code: Path, artifact: str) -> list[str]:
    """What leads out of the artifact of a package for one of gitreg's own loaders.

    Args:
        version: the package's version folder.
        code: where its modules lie.
        artifact: the artifact's place below the version folder.
    """
    module, settings = _settings(code)
    if module is None:
        return []
    kind = next((flavor.type for flavor in FLAVORS.values() if flavor.module == module), "")
    return of_files(kind, settings, version / artifact)


def of_files(kind: str, options: Mapping[str, Any], artifact: Path) -> list[str]:
    """What leads out of an artifact that lies in a package.

    Raises:
        Refused: there is something in it that is neither a file nor a folder, as a link.
    """
    if not artifact.exists():
        return []
    single = artifact.is_file()
    names = [] if single else folders.tree_files(artifact, bytecode=True)
    files = {artifact.name: artifact} if single else {name: artifact / name for name in names}
    return mistakes(kind, options, files, single)


def option_leads_out(code: Path, artifact: Path) -> str | None:
    """What is wrong with an option of a package that names a file: as `of_package`, and reads no artifact."""
    _, options = _settings(code)
    for option, why in option_mistakes(options):
        return f"options.{option}: {why}"
    for option in FILE_OPTIONS & options.keys():
        if not artifact.is_dir():
            continue
        named = artifact / options[option]
        if not named.is_file() or not named.resolve().is_relative_to(artifact.resolve()):
            return f"options.{option}: the artifact has no file {options[option]!r}"
    return None


def _settings(code: Path) -> tuple[str | None, Mapping[str, Any]]:
    """The loader's module in a package, and its options; (None, {}) where it has none of gitreg's."""
    folder = code / "gitreg_flavors"
    try:
        options = json.loads((folder / "settings.json").read_bytes())["options"]
    except FileNotFoundError:
        return None, {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(f"{folder / 'settings.json'} cannot be read: {error}") from None
    if not isinstance(options, Mapping):
        raise Refused(f"{folder / 'settings.json'}: options: a mapping is expected")
    modules = {flavor.module for flavor in FLAVORS.values()}
    return next((name for name in modules if (folder / f"{name}.py").is_file()), None), options


# Transformers ----------------------------------------------------------------------------------


def _transformers(files: Files, _: Mapping[str, Any]) -> Iterator[str]:
    """Indexes of weights, adapters of other models, and files that a tokenizer or a configuration names."""
    for name in sorted(files):
        if name.endswith(".index.json"):
            shards = _json(files[name]).get("weight_map")
            for shard in sorted({str(one) for one in shards.values()}) if isinstance(shards, Mapping) else ():
                yield from _inside(files, name, "weight_map", shard)
    if "adapter_config.json" in files and _json(files["adapter_config.json"]).get("base_model_name_or_path"):
        yield (
            "adapter_config.json: base_model_name_or_path: the base model lies outside of the artifact; "
            "merge_and_unload() and save_pretrained() write one model"
        )
    for name in ("config.json", "tokenizer_config.json"):
        for key, value in _json(files[name]).items() if name in files else ():
            named = value if isinstance(value, list) else [value]
            for one in named if _NAMES_FILES.match(key) else ():
                if isinstance(one, str) and one and (reason := leads_out(one)):
                    yield f"{name}: {key}: {reason}"


# Of these two the tokenizer makes no use, and save_pretrained wrote absolute paths there for years.
_NAMES_FILES = re.compile(
    r"(?!special_tokens_map_file|name_or_path)(\w+_files?|\w*spm|transformers_weights)\Z"
)


# ONNX ------------------------------------------------------------------------------------------


def _onnx(files: Files, options: Mapping[str, Any]) -> Iterator[str]:
    """Where graphs keep their tensors outside of themselves."""
    for name in sorted(files):
        if len(files) > 1 and name != options.get("file") and not name.endswith((".onnx", ".ort")):
            continue
        for location in sorted(locations(files[name])):
            yield from _inside(files, name, "external data", location)


# What holds what in onnx.proto: message -> field -> message.
_HOLDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_LARGE = ("model", "graph", "tensor")
_DEEPEST = 100  # Protobuf itself reads no deeper
_UNREADABLE = "/what cannot be looked into"


def locations(file: Path) -> set[str]:
    """The locations of external data in an ONNX file, whose tensors are not read."""
    import mmap

    if not file.stat().st_size:
        return set()
    found: set[str] = set()
    with open(file, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        todo = [("model", 0, len(whole), 0)]
        try:
            while todo:
                kind, start, end, depth = todo.pop()
                fields = fields_of(lambda at, count: whole[at : at + count], start, end, 1 << 40)
                if kind == "entry":
                    found |= _location(whole, fields)
                    continue
                for one in fields if depth < _DEEPEST else ():
                    last = min(end, one.start + one.length)
                    below = _HOLDS[kind].get(one.number) if one.wire == 2 else None
                    # Tensors hold megabytes in few fields; nodes are many, and few hold tensors.
                    if below and (below in _LARGE or whole.find(b"location", one.start, last) >= 0):
                        todo.append((below, one.start, last, depth + 1))
        except (ValueError, IndexError):
            # What is no ONNX, its loader says better; what may be read in another way is not believed.
            return found | ({_UNREADABLE} if whole.find(b"location") >= 0 else set())
    return found


def _location(whole: Any, entry: Iterator[Field]) -> set[str]:
    """What an entry of `external_data` says of the location."""
    pair = {one.number: bytes(whole[one.start : one.start + one.length]) for one in entry}
    return {pair.get(2, b"").decode("utf-8", "replace")} if pair.get(1) == b"location" else set()


# Others ----------------------------------------------------------------------------------------


def _mlflow(files: Files, _: Mapping[str, Any]) -> Iterator[str]:
    """The files that an MLmodel names, by flavor."""
    import yaml

    from gitreg.documents import own_yaml

    if "MLmodel" not in files or files["MLmodel"].stat().st_size > _MOST:
        return
    try:
        said = own_yaml(files["MLmodel"].read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError):
        return  # MLflow says it better
    flavors = said.get("flavors") if isinstance(said, Mapping) else None
    for flavor, told in flavors.items() if isinstance(flavors, Mapping) else ():
        for key, value in told.items() if isinstance(told, Mapping) else ():
            for place, path in _paths(key, value):
                if isinstance(path, str) and path and (reason := _climbs(path)):
                    yield f"MLmodel: flavors.{flavor}.{place}: {reason}"


# Keys of an MLmodel that hold paths. Those of where something once came from are not followed.
_MLMODEL = {"code", "data", "model_binary", "model_data", "model_path", "pickled_model", "python_model"}


def _paths(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if key in _MLMODEL:
        yield key, value
    elif key == "env":
        yield from ((f"env.{name}", one) for name, one in value.items()) if isinstance(value, Mapping) else ()
    elif key == "artifacts" and isinstance(value, Mapping):
        for name, one in value.items():
            yield f"artifacts.{name}.path", one.get("path") if isinstance(one, Mapping) else None


def _torch(files: Files, _: Mapping[str, Any]) -> Iterator[str]:
    """TorchScript that maps a file into a tensor while it runs."""
    import zipfile
    import zlib

    for name, path in sorted(files.items()):
        if not zipfile.is_zipfile(path):
            continue
        try:
            with zipfile.ZipFile(path) as archive:
                code = [one for one in archive.infolist() if re.search(r"(^|/)code/.*\.py\Z", one.filename)]
                large = [one.filename for one in code if one.file_size > _MOST]
                reads = [one.filename for one in code if one.file_size <= _MOST and _reads(archive.read(one))]
        except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, ValueError, EOFError) as error:
            yield f"{name}: its code cannot be looked into: {error}"
            continue
        yield from (f"{name}: {one}: torch.from_file reads a file while the model answers" for one in reads)
        yield from (f"{name}: {one}: too large to be looked into" for one in large)


def _reads(code: bytes) -> bool:
    return re.search(rb"\bfrom_file\s*\(", code) is not None


_LOOKS: Mapping[str, Callable[[Files, Mapping[str, Any]], Iterator[str]]] = {
    "huggingface": _transformers,
    MLFLOW: _mlflow,
    "onnx": _onnx,
    "pytorch": _torch,
}


def _json(file: Path) -> Mapping[str, Any]:
    """A mapping of JSON; an empty one where it is something else, which its loader says better."""
    try:
        said = json.loads(file.read_bytes()) if file.stat().st_size <= _MOST else {}
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, Mapping) else {}


def _inside(files: Files, name: str, what: str, path: str) -> Iterator[str]:
    """Why a path that a file of the artifact names, relative to itself, is none of the artifact's."""
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
    if reason := _climbs(path):
        yield f"{name}: {what}: {reason}"
    elif beside not in files:
        yield f"{name}: {what}: the artifact has no file {beside!r}"


def _climbs(path: str) -> str | None:
    """Why a path leads out of its folder; it may end in a slash, or begin with a dot."""
    plain = posixpath.normpath(path)
    return None if plain == "." else leads_out(plain)
