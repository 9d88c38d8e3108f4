"""Reads registry.yaml, model.yaml and stages/*.yaml: every problem with its file, line and column."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import clauses, printed, treefiles
from gitreg.bounds import not_finite
from gitreg.declared import ArtifactSource, Batching, Manifest, Named, RegistryFile
from gitreg.documents import Document, parse, problems_of
from gitreg.documents import Path as DocumentPath
from gitreg.errors import InvalidFiles, Problem, Refused
from gitreg.file_search import matching
from gitreg.flavors import FLAVORS
from gitreg.globs import Glob
from gitreg.inside import contain, is_from_cache
from gitreg.model import DataType, ModelSchema, ModelSchemaItem
from gitreg.names import prefix_mistake
from gitreg.patterns import Unfilled, is_unfilled

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

REGISTRY_FILE = "registry.yaml"
_MOST_ROOTS = 100
_SIZE = "{size:,} bytes; a YAML file of a registry has at most {most:,}"


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

    @property
    def named(self) -> Named | None:
        """The name that the file says, valid or not."""
        data = self.document.data
        if not isinstance(data, Mapping) or not isinstance(data.get("name"), str):
            return None
        return Named(self.document.file, data["name"], *self.document.values[("name",)])


def schema_folder() -> Path:
    """Where the JSON Schemas are: inside the installed package, beside it in a checkout."""
    here = Path(__file__).parent
    return here / "schemas" if (here / "schemas").is_dir() else here.parent / "schemas"


@cache
def model_schema() -> Mapping[str, Any]:
    """The JSON Schema of manifests."""
    schema: Mapping[str, Any] = json.loads((schema_folder() / "model.schema.json").read_text())
    return schema


@cache
def _validator(kind: str) -> Validator:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import extend

    def pattern(_: Any, wanted: str, value: Any, __: Any) -> Any:
        # JSON Schema's `$` is the very end, as ECMA 262 says; Python's lets a newline follow.
        if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", wanted), value):
            yield ValidationError(f"{value!r} does not match {wanted!r}")

    def unique(_: Any, wanted: bool, value: Any, __: Any) -> Any:
        # The library compares each with each where they cannot be sorted.
        if wanted and isinstance(value, list) and len({*map(_in_one_way, value)}) < len(value):
            yield ValidationError(f"{value!r} has non-unique elements")

    schema = json.loads((schema_folder() / f"{kind}.schema.json").read_text())
    definitions = schema.pop("$defs", {})
    validator: Validator = extend(  # type: ignore[no-untyped-call]
        Draft202012Validator, {"pattern": pattern, "uniqueItems": unique}
    )(_inlined(schema, definitions))
    return validator


def _in_one_way(value: Any) -> str:
    """A value as a text that equal ones share: to JSON Schema, 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True)


def validator(kind: str) -> Validator:
    """The validator of schemas/<kind>.schema.json, with all definitions in place."""
    return _validator(kind)


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """A schema with its definitions in place: following a reference costs more than most checks."""
    if isinstance(schema, list):
        return [_inlined(one, definitions) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    whole = {key: _inlined(value, definitions) for key, value in schema.items() if key != "$ref"}
    if "$ref" in schema:
        whole = {**_inlined(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions), **whole}
    return whole


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


def read_yaml(root: Path, file: str, kind: str | None) -> tuple[Document, list[Problem]]:
    """Read one YAML file of a registry and hold it against schemas/<kind>.schema.json."""
    relative, refused = contain(root, "", file)
    if refused:
        return Document(file), [Problem(file, 0, 0, "", refused)]
    try:
        raw = treefiles.read(root, relative, rule=_SIZE)
    except InvalidFiles as invalid:
        return Document(file), [replace(problem, file=file) for problem in invalid.problems]
    return judged(raw, file, kind)


def judged(raw: bytes, file: str, kind: str | None) -> tuple[Document, list[Problem]]:
    """YAML held against schemas/<kind>.schema.json."""
    document, problems = parse(raw, file)
    if kind and not problems:
        problems = problems_of(document, _validator(kind).iter_errors(document.data))
    return document, problems


def read_registry(root: Path, folder: str | None = None) -> RegistryFile:
    """Read registry.yaml.

    Args:
        folder: as of `registry_of`.

    Raises:
        InvalidFiles: it is broken; nothing else can be said about the registry then.
    """
    return registry_of(*read_yaml(root, REGISTRY_FILE, "registry"), folder)


def registry_of(document: Document, problems: list[Problem], folder: str | None = None) -> RegistryFile:
    """What a registry.yaml that was read says.

    Args:
        folder: of the registry in its repository; empty for the top, None where it is not known.

    Raises:
        InvalidFiles: it is broken.
    """
    if problems:
        raise InvalidFiles(problems, "schemas/registry.schema.json describes every field")
    said = document.data
    build = said.get("build", {})
    models = said.get("models", RegistryFile.models)
    try:
        Glob(models)
    except ValueError:
        rule = _validator("registry").schema["properties"]["models"]  # type: ignore[index]
        message = f"{models!r} is not a {rule['title']}: {rule['description']}"
        raise InvalidFiles([document.problem(("models",), message)]) from None
    if odd := not_finite(document, ("stages",)):
        raise InvalidFiles(odd)
    if not math.isfinite(build.get("timeout", 1)):
        message = f"{build['timeout']} is not a number of seconds"
        raise InvalidFiles([document.problem(("build", "timeout"), message)])
    tags = said.get("tags", {})
    if folder is not None and (mistake := _prefix_mistake(tags.get("prefix"), folder)):
        raise InvalidFiles([document.problem(("tags", "prefix"), mistake)])
    return RegistryFile(
        name=said["registry"],
        models=models,
        scheme=said.get("versions", {}).get("scheme", "semver"),
        stages={name: stage or {} for name, stage in said.get("stages", {}).items()},
        formats=tuple(build.get("formats", RegistryFile.formats)),
        timeout=float(build.get("timeout", RegistryFile.timeout)),
        require=tuple(said.get("require", ())),
        environment=tuple(build.get("environment", ())),
        prefix=tags.get("prefix", ""),
        ignore=tuple(tags.get("ignore", ())),
        sandbox=bool(build.get("sandbox", False)),
    )


def _prefix_mistake(prefix: str | None, folder: str) -> str | None:
    """Why a prefix of tags cannot be that of a registry; None where it can."""
    if prefix is None:
        return None
    if not folder:
        return f"{prefix!r}: a registry at the top of its repository has no prefix: leave it out"
    if prefix != folder:
        return f"{prefix!r} is not the folder of this registry in its repository, {folder!r}"
    why = prefix_mistake(folder)
    return f"{folder!r} cannot be the prefix of tags: {why}" if why else None


def manifest_files(root: Path, registry: RegistryFile) -> list[str]:
    """The manifests' paths relative to the root, sorted; hidden folders are not looked into."""
    return sorted(matching(root, Glob(registry.models)))


def read_manifest(root: Path, file: str) -> Read:
    """Read one model.yaml, as far as it can be read."""
    return manifest_of(*read_yaml(root, file, "model"), root)


def manifest_of(document: Document, problems: list[Problem], root: Path | None) -> Read:
    """What a manifest that was read says.

    Args:
        root: where the files lie that it names; None does not look for them.
    """
    file = document.file
    if printed.line(file) != file:
        message = "its path has characters that cannot be seen, end a line or steer a log; rename the folder"
        problems = [*problems, Problem(file, 0, 0, "", message)]
    read = Read(document, list(problems))
    if not isinstance(document.data, Mapping):
        return read
    said = document.data
    paths = _Paths(root, document)
    if not problems:
        read.manifest = _manifest(file, said, paths)
        read.problems += clauses.mistakes(document)
    told = {problem.path for problem in problems}
    more = paths.problems + clauses.twice(document, said.get("schema"))
    read.problems += [problem for problem in more if problem.path not in told]
    return read


def drafted(root: Path, document: Document) -> list[Problem]:
    """What is wrong with what a template would become, but for what is not known yet."""
    errors = (
        error
        for error in _validator("model").iter_errors(document.data)
        if not (isinstance(error.instance, Unfilled) or (error.context and is_unfilled(error.instance)))
    )
    problems = problems_of(document, errors)
    known = {key: value for key, value in document.data.items() if not is_unfilled(value)}
    paths = _Paths(root, Document(document.file, known, document.values, document.keys))
    return problems + paths.problems


class _Paths:
    """The paths that a manifest names, from the root; and what is wrong with them.

    Looks at every path that is there, also in a manifest that is invalid elsewhere.
    """

    def __init__(self, root: Path | None, document: Document) -> None:
        self.problems: list[Problem] = []
        self.found: dict[DocumentPath, str] = {}
        folder = document.file.rpartition("/")[0]
        for path, text in named_paths(document.data):
            relative, refused = contain(root, folder, text)
            if refused and root is not None and path[0] == "artifact" and is_from_cache(root, folder, text):
                relative, refused = os.path.normpath(os.path.join(folder, text)), None
            if not refused and root is not None and path[0] != "artifact":
                refused = _unfit(f"{root}/{relative}", relative, path)
            if refused:
                self.problems.append(document.problem(path, refused))
            else:
                self.found[path] = relative

    def at(self, *path: str | int) -> str | None:
        """The path that stands at a place of the document; None if there is none, or a refused one."""
        return self.found.get(path)


def places(document: Document) -> list[str]:
    """Where the paths that a manifest names lie, relative to the root, whatever is there; none outside of it.

    Of an artifact only whether a link stands in its place matters: such a path ends with a slash.
    """
    folder = document.file.rpartition("/")[0]
    every = named_paths(document.data) if isinstance(document.data, Mapping) else ()
    found = [(contain(None, folder, text)[0], path[0]) for path, text in every]
    return [f"{place}/" if kind == "artifact" else place for place, kind in found if place not in ("", ".")]


def _unfit(full: str, relative: str, path: DocumentPath) -> str | None:
    """Why what lies at a path that a manifest names is not what it should be."""
    try:
        mode = os.stat(full).st_mode
    except OSError:
        lost = f"'{relative}' is a symbolic link that leads nowhere"
        return lost if os.path.islink(full) else f"'{relative}' does not exist"
    if path[0] == "code":
        return None if stat.S_ISDIR(mode) else f"'{relative}' is not a folder"
    if stat.S_ISDIR(mode):
        return None if path[0] == "serving" else f"'{relative}' is a folder; a file is expected"
    return None if stat.S_ISREG(mode) else f"'{relative}' is neither a file nor a folder"


def named_paths(said: Mapping[str, Any]) -> Iterator[tuple[DocumentPath, str]]:
    """Every path that a manifest names, with its place in it."""
    lineage, code = said.get("lineage"), said.get("code")
    environment = lineage.get("environment") if isinstance(lineage, Mapping) else None
    candidates: list[tuple[DocumentPath, Any]] = [
        ((name,), said.get(name))
        for name in ("code", "artifact", "sample_data", "requirements", "params", "metrics", "card")
    ]
    roots = code[:_MOST_ROOTS] if isinstance(code, list) else ()  # the schema refuses more
    candidates += [(("code", i), one) for i, one in enumerate(roots)]
    if isinstance(said.get("artifact"), Mapping):
        candidates.append((("artifact", "path"), said["artifact"].get("path")))
    if isinstance(said.get("serving"), Mapping):
        candidates.append((("serving", "code"), said["serving"].get("code")))
    if isinstance(environment, Mapping):
        candidates += [
            (("lineage", "environment", name), environment.get(name)) for name in ("dockerfile", "conda")
        ]
    yield from ((path, value) for path, value in candidates if isinstance(value, str) and value)


def _manifest(file: str, said: Mapping[str, Any], paths: _Paths) -> Manifest:
    code = said.get("code", ())
    roots = [paths.at("code")] if isinstance(code, str) else [paths.at("code", i) for i in range(len(code))]
    requirements = said.get("requirements", ())
    batching = said.get("batching", {})
    most = int(batching.get("max_batch_size", Batching.max_batch_size))
    trust = said.get("trust", ())
    return Manifest(
        file=file,
        name=said["name"],
        version=said.get("version"),
        type=said["type"],
        description=said.get("description", ""),
        owners=tuple(said.get("owners", ())),
        tags=said.get("tags", {}),
        release=said.get("release", {}),
        model_class=said.get("model_class"),
        options=said.get("options", {}),
        trust=(trust,) if isinstance(trust, str) else tuple(trust),
        backend=said.get("backend", "python"),
        code=tuple(root for root in roots if root is not None),
        include_import_prefixes=tuple(said.get("include_import_prefixes", ())),
        artifact=_artifact(said.get("artifact"), paths),
        image=said.get("image"),
        schema=_schema(said.get("schema")),
        sample_data=paths.at("sample_data"),
        requirements=() if isinstance(requirements, str) else tuple(requirements),
        requirements_file=paths.at("requirements"),
        # Frameworks take batches by themselves.
        batching=Batching(batching.get("custom", said["type"] in FLAVORS and most > 0), most),
        triton=said.get("triton", {}),
        params=_file_or_map(said.get("params"), paths.at("params")),
        metrics=_file_or_map(said.get("metrics"), paths.at("metrics")),
        lineage=said.get("lineage", {}),
        license=said.get("license"),
        card=paths.at("card"),
        serving=_serving(said.get("serving", {}), paths.at("serving", "code")),
        placeholders=said.get("placeholders", {}),
        template=said.get("template", {}),
    )


def _serving(said: Mapping[str, Any], code: str | None) -> Mapping[str, Any]:
    kept = {key: value for key, value in said.items() if key != "code"}
    return {**kept, "code": code} if code else kept


def _artifact(said: Any, paths: _Paths) -> ArtifactSource | None:
    """None, too, where its path was refused: there is nothing more to say of it then."""
    if said is None or isinstance(said, str):
        path = paths.at("artifact")
        return ArtifactSource(path=path) if path else None
    source = dict(said)
    if "path" in source:
        source["path"] = paths.at("artifact", "path")
        if source["path"] is None:
            return None
    return ArtifactSource(**source)


def _file_or_map(said: Any, path: str | None) -> Any:
    return path if isinstance(said, str) else said


def _schema(said: Any) -> ModelSchema | None:
    if said is None:
        return None

    def items(side: str) -> list[ModelSchemaItem]:
        return [
            ModelSchemaItem(
                i["name"], DataType(i["data_type"]), [int(n) for n in i["shape"]], i.get("optional")
            )
            for i in said[side]
        ]

    return ModelSchema(items("inputs"), items("outputs"))


def read_stage(root: Path, file: str) -> tuple[Document, list[Problem]]:
    """Read one stages/<stage>.yaml; its data is a mapping of model name to version, or None."""
    return read_yaml(root, file, "stage")
