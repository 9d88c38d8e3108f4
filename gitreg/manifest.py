"""Reads registry.yaml, model.yaml and stages/*.yaml: every problem with its file, line and column."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg.declared import ArtifactSource, Batching, Manifest, RegistryFile
from gitreg.documents import Document, parse, problems_of
from gitreg.errors import InvalidFiles, Problem, Refused
from gitreg.model import DataType, ModelSchema, ModelSchemaItem

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

REGISTRY_FILE = "registry.yaml"


@dataclass
class Read:
    """One file as read.

    Attributes:
        document: for places of later problems.
        problems: what is wrong so far.
        manifest: None where the file is too broken to say what it declares.
    """

    document: Document
    problems: list[Problem] = field(default_factory=list)
    manifest: Manifest | None = None


def schema_folder() -> Path:
    """Where the JSON Schemas are: inside the installed package, beside it in a checkout."""
    here = Path(__file__).parent
    return here / "schemas" if (here / "schemas").is_dir() else here.parent / "schemas"


@cache
def _validator(kind: str) -> Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads((schema_folder() / f"{kind}.schema.json").read_text()))


def find_root(start: Path) -> Path:
    """The nearest folder at or above `start` with a registry.yaml.

    Raises:
        Refused: there is none.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / REGISTRY_FILE).is_file():
            return folder
    raise Refused(f"no {REGISTRY_FILE} in {start} or above it", "gitreg init makes a registry here")


def contain(root: Path, folder: str, text: str) -> tuple[str, str | None]:
    """Resolve a path that a manifest names: the one place where such paths are judged.

    Args:
        root: the registry's root.
        folder: the manifest's folder, relative to the root.
        text: what the manifest says.

    Returns:
        The path relative to the root, and why it is refused (None when it is not).
    """
    if "\\" in text or "\0" in text:
        return "", f"{text!r}: write paths with forward slashes"
    if text.startswith("/") or (len(text) > 1 and text[1] == ":"):
        return "", f"{text!r} is an absolute path; it must be relative to the manifest"
    relative = os.path.normpath(os.path.join(folder, text))
    if relative == ".." or relative.startswith("../"):
        return "", f"{text!r} leaves the repository"
    if relative.split("/")[0] == ".git":
        return "", f"{text!r} lies in Git's own folder"
    real_root = os.path.realpath(root)
    real = os.path.realpath(os.path.join(real_root, relative))
    if real != real_root and not real.startswith(real_root + os.sep):
        return "", f"{text!r} leaves the repository through a symbolic link"
    return relative, None


def read_yaml(root: Path, file: str, kind: str | None) -> tuple[Document, list[Problem]]:
    """Read one YAML file of a registry and hold it against schemas/<kind>.schema.json."""
    relative, refused = contain(root, "", file)
    if refused:
        return Document(file), [Problem(file, 0, 0, "", refused)]
    try:
        with open(root / relative, "rb") as stream:
            raw = stream.read((1 << 20) + 1)
            size = os.fstat(stream.fileno()).st_size
    except OSError as error:
        return Document(file), [Problem(file, 0, 0, "", f"cannot be read: {error.strerror}")]
    if size > len(raw):
        message = f"{size:,} bytes; a YAML file of a registry has at most {1 << 20:,}"
        return Document(file), [Problem(file, 0, 0, "", message)]
    document, problems = parse(raw, file)
    if kind and not problems:
        problems = problems_of(document, _validator(kind).iter_errors(document.data))
    return document, problems


def read_registry(root: Path) -> RegistryFile:
    """Read registry.yaml.

    Raises:
        InvalidFiles: it is broken; nothing else can be said about the registry then.
    """
    document, problems = read_yaml(root, REGISTRY_FILE, "registry")
    if problems:
        raise InvalidFiles(problems, "docs/declare.md describes registry.yaml")
    said = document.data
    build = said.get("build", {})
    return RegistryFile(
        name=said["registry"],
        models=said.get("models", RegistryFile.models),
        scheme=said.get("versions", {}).get("scheme", "semver"),
        stages={name: stage or {} for name, stage in said.get("stages", {}).items()},
        formats=tuple(build.get("formats", RegistryFile.formats)),
        timeout=float(build.get("timeout", RegistryFile.timeout)),
        require=tuple(said.get("require", ())),
    )


def manifest_files(root: Path, registry: RegistryFile) -> list[str]:
    """The manifests' paths relative to the root, sorted; hidden folders are not looked into."""
    found = (path.relative_to(root).as_posix() for path in root.glob(registry.models))
    return sorted(file for file in found if not any(part.startswith(".") for part in file.split("/")))


def read_manifest(root: Path, file: str) -> Read:
    """Read one model.yaml, as far as it can be read."""
    document, problems = read_yaml(root, file, "model")
    read = Read(document, list(problems))
    if problems or not isinstance(document.data, Mapping):
        return read
    paths = _Paths(root, read)
    said = document.data
    read.manifest = _manifest(file, said, paths)
    seen: set[str] = set()
    for side in ("inputs", "outputs"):
        seen.clear()
        for i, item in enumerate(said.get("schema", {}).get(side, ())):
            if item["name"] in seen:
                message = f"the {side[:-1]} '{item['name']}' is declared twice"
                read.problems.append(document.problem(("schema", side, i, "name"), message))
            seen.add(item["name"])
    return read


class _Paths:
    """Turns the manifest's paths into paths from the root, and collects what is wrong with them."""

    def __init__(self, root: Path, read: Read) -> None:
        self.root, self.read = root, read
        self.folder = read.document.file.rpartition("/")[0]

    def take(self, text: str | None, *path: str | int, must_exist: bool = True) -> str | None:
        if text is None:
            return None
        relative, refused = contain(self.root, self.folder, text)
        if not refused and must_exist and not os.path.lexists(os.path.join(self.root, relative)):
            refused = f"'{relative}' does not exist"
        if refused:
            self.read.problems.append(self.read.document.problem(path, refused))
        return relative


def _manifest(file: str, said: Mapping[str, Any], paths: _Paths) -> Manifest:
    code = said.get("code", ())
    requirements = said.get("requirements", ())
    roots = [code] if isinstance(code, str) else code
    batching = said.get("batching", {})
    environment = said.get("lineage", {}).get("environment", {})
    for name in ("dockerfile", "conda"):
        paths.take(environment.get(name), "lineage", "environment", name)
    return Manifest(
        file=file,
        name=said["name"],
        version=said["version"],
        type=said["type"],
        description=said.get("description", ""),
        owners=tuple(said.get("owners", ())),
        tags=said.get("tags", {}),
        model_class=said.get("model_class"),
        code=tuple(
            paths.take(one, "code", *([i] if one is not code else [])) or "" for i, one in enumerate(roots)
        ),
        include_import_prefixes=tuple(said.get("include_import_prefixes", ())),
        artifact=_artifact(said.get("artifact"), paths),
        image=said.get("image"),
        schema=_schema(said.get("schema")),
        sample_data=paths.take(said.get("sample_data"), "sample_data"),
        requirements=() if isinstance(requirements, str) else tuple(requirements),
        requirements_file=paths.take(requirements if isinstance(requirements, str) else None, "requirements"),
        batching=Batching(
            batching.get("custom", False), batching.get("max_batch_size", Batching.max_batch_size)
        ),
        triton=said.get("triton", {}),
        params=_file_or_map(said.get("params"), paths, "params"),
        metrics=_file_or_map(said.get("metrics"), paths, "metrics"),
        lineage=said.get("lineage", {}),
        license=said.get("license"),
        card=paths.take(said.get("card"), "card"),
    )


def _artifact(said: Any, paths: _Paths) -> ArtifactSource | None:
    if said is None:
        return None
    if isinstance(said, str):
        return ArtifactSource(path=paths.take(said, "artifact", must_exist=False))
    source = dict(said)
    if "path" in source:
        source["path"] = paths.take(source["path"], "artifact", "path", must_exist=False)
    ways = [name for name in ("path", "stage", "url", "registry") if name in source]
    if len(ways) != 1 and ways != ["path", "stage"]:
        message = (
            f"names {' and '.join(ways) or 'nothing'}; exactly one of path, stage, url, registry is expected"
        )
        paths.read.problems.append(paths.read.document.problem(("artifact",), message))
    return ArtifactSource(**source)


def _file_or_map(said: Any, paths: _Paths, name: str) -> Any:
    return paths.take(said, name) if isinstance(said, str) else said


def _schema(said: Any) -> ModelSchema | None:
    if said is None:
        return None

    def items(side: str) -> list[ModelSchemaItem]:
        return [
            ModelSchemaItem(i["name"], DataType(i["data_type"]), list(i["shape"]), i.get("optional"))
            for i in said[side]
        ]

    return ModelSchema(items("inputs"), items("outputs"))


def read_stage(root: Path, file: str) -> tuple[Document, list[Problem]]:
    """Read one stages/<stage>.yaml; its data is a mapping of model name to version, or None."""
    return read_yaml(root, file, "stage")
