"""What a package contains. One module per format: `contents(parts)` says every file. No I/O.

    parts (model, artifact, code, schema, samples) -> {path: bytes | Link} -> record (download.yaml)

Paths are relative to `<model>/`. Everything is a function of the parts alone, so the same inputs give
the same bytes on any machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gitreg import flavors
from gitreg.declared import CUSTOM_PYTHON, Artifact, Batching, Contents, Link
from gitreg.model import ModelSchema

if TYPE_CHECKING:
    from gitreg.schema import Sample

LAYOUT = 1
RECORD = "download.yaml"


@dataclass(frozen=True)
class Parts:
    """Everything that packages are made of.

    Attributes:
        model_class: the user's own class; `entry` is what a package loads.
        code: import path with slashes -> bytes.
        options, trust, backend: what the manifest says to the type's loader.
        native: what the file knows of itself that Triton's own backend must; see `packages.native`.
        requirements: lines of requirements.txt.
        samples: as declared, without a batch dimension (or with one, for custom batching).
        image: the container image that it is, or is served in.
        serving: how it is to be served by others.
        service: path -> bytes of the code for that, which gitreg never imports.
        beside: path -> bytes of the files that Triton's configuration names, as of a warm-up.
        reference: what there is in the place of an artifact: a template, or a version elsewhere.
        ordinal: the version folder; 0 outside of a registry and before registration.
        revision: what the caller calls this build (standalone packager only).
        commit: the commit that last changed what the package is made of; None when it is not committed.
        lineage: where the model came from, as its manifest says; changes no version's identity.
    """

    name: str
    artifact: Artifact
    schema: ModelSchema | None = None
    model_class: str | None = None
    code: Mapping[str, bytes] = field(default_factory=dict)
    type: str = CUSTOM_PYTHON
    samples: tuple[Sample, ...] = ()
    requirements: tuple[str, ...] = ()
    batching: Batching = field(default_factory=Batching)
    triton: Mapping[str, Any] = field(default_factory=dict)
    version: str | None = None
    revision: str | None = None
    commit: str | None = None
    ordinal: int = 0
    lineage: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    trust: tuple[str, ...] = ()
    backend: str = "python"
    native: Mapping[str, Any] = field(default_factory=dict)
    image: str | None = None
    serving: Mapping[str, Any] = field(default_factory=dict)
    service: Mapping[str, bytes] = field(default_factory=dict)
    beside: Mapping[str, bytes] = field(default_factory=dict)
    reference: Mapping[str, Any] = field(default_factory=dict)

    @property
    def entry(self) -> str | None:
        """The class that a package loads; None for a type that nothing here loads."""
        return flavors.entry(self.type, self.model_class)


def formats() -> dict[str, ModuleType]:
    """Every package format by name."""
    from gitreg.packages import raw, triton

    return {"triton": triton, "raw": raw}


FORMATS = ("triton", "raw")
# The types that Triton has a backend of its own for; `native` knows how each takes them.
NATIVE = ("lightgbm", "onnx", "pytorch", "tensorflow", "xgboost")


def is_native(kind: str, parts: Parts) -> bool:
    """Whether a package is one for Triton's own backend, with no Python in it."""
    return kind == "triton" and parts.backend == "native"


def _place(kind: str, parts: Parts) -> str:
    """Where a package's version folder holds the artifact."""
    if not is_native(kind, parts):
        return parts.artifact.place
    from gitreg.packages.native import layout

    return layout(parts).place


def record_path(kind: str, ordinal: int) -> str:
    """Where a package of a format keeps its record."""
    return f"{ordinal}/{RECORD}" if kind == "triton" else f"{ordinal}/metadata/{RECORD}"


def schema_data(schema: ModelSchema | None) -> dict[str, Any]:
    """A schema as plain data, for schema.yaml and for digests."""
    if schema is None:
        return {}

    def items(side: list[Any]) -> list[dict[str, Any]]:
        return [
            {
                "name": i.name,
                "data_type": i.data_type.name,
                "shape": list(i.shape or []),
                **({"optional": True} if i.optional else {}),
            }
            for i in side
        ]

    return {"input_schema": items(schema.input_schema), "output_schema": items(schema.output_schema)}


def content_digest(parts: Parts) -> str:
    """The identity of what changes a version's behaviour, as `sha256:<hex>`.

    Needs none of the artifact's bytes: DVC's hash stands for them. Covers artifact, code, schema, type,
    class, requirements, batching and triton settings; not the description, owners, tags, card or samples.
    """
    return digest_of(content_data(parts))


def digest_of(content: Mapping[str, Any]) -> str:
    """The content digest of what `content_data` gives."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def content_data(parts: Parts) -> dict[str, Any]:
    """What a content digest is of, as plain data."""
    content = {
        "artifact": [parts.artifact.digest, parts.artifact.name],
        "batching": [parts.batching.custom, parts.batching.max_batch_size],
        "code": {path: hashlib.sha256(data).hexdigest() for path, data in parts.code.items()},
        "model_class": parts.model_class,
        "requirements": list(parts.requirements),
        "schema": schema_data(parts.schema),
        "triton": parts.triton,
        "type": parts.type,
        **{key: value for key, value in _said_to_loader(parts).items() if value},
    }
    # What few models have: the digests of all others stay what they were before there was such a thing.
    rare = {
        "image": parts.image if parts.artifact.files or parts.artifact.digest.startswith("md5:") else None,
        "serving": parts.serving,
        "service": {path: hashlib.sha256(data).hexdigest() for path, data in parts.service.items()},
        "beside": {path: hashlib.sha256(data).hexdigest() for path, data in parts.beside.items()},
        "reference": parts.reference,
    }
    return content | {key: value for key, value in rare.items() if value}


def parts_in(content: Mapping[str, Any]) -> Parts:
    """As much of the parts as `content_data` tells: what a raw package's code is made of beside its modules.

    Raises:
        KeyError, TypeError, ValueError: it is not what `content_data` gives.
    """
    from gitreg.schema import schema_of

    digest, file = content["artifact"]
    custom, most = content["batching"]
    return Parts(
        name="",
        artifact=Artifact(str(digest), name=file),
        schema=schema_of(content["schema"]) if content["schema"] else None,
        model_class=content["model_class"],
        type=str(content["type"]),
        batching=Batching(bool(custom), int(most)),
        options=content.get("options", {}),
        trust=tuple(content.get("trust", ())),
        backend=content.get("backend", "python"),
    )


def _said_to_loader(parts: Parts) -> dict[str, Any]:
    """What most manifests do not say, and so is no part of their digests."""
    native = parts.backend if parts.backend != "python" else None
    return {"options": dict(parts.options), "trust": list(parts.trust), "backend": native}


def contents_of(kind: str, parts: Parts) -> Contents:
    """Every file of a package but its record, for which all must be hashed.

    Raises:
        NotSupported: there is no such package for the model's type.
    """
    contents: Contents = formats()[kind].contents(parts)
    return dict(sorted(contents.items()))


def record_of(kind: str, parts: Parts, contents: Contents) -> bytes:
    """A package's record, which says what it was made from and lies at `record_path`.

    Raises:
        Refused: a file of the artifact is corrupt.
    """
    record = _record(kind, parts, contents)
    return yaml_bytes({**record, "record": record_digest(record)})


def record_digest(record: Mapping[str, Any]) -> str:
    """The digest of a record's own content, without the field that holds it."""
    content = {key: value for key, value in record.items() if key != "record"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _record(kind: str, parts: Parts, contents: Contents) -> dict[str, Any]:
    """What the package was made from; `verify` holds the package against it."""
    return {
        "format": kind,
        "layout": LAYOUT,
        "model": parts.name,
        "type": parts.type,
        "version": parts.version,
        **({"revision": parts.revision} if parts.revision else {}),
        "commit": parts.commit,
        **({"lineage": parts.lineage} if parts.lineage else {}),
        "digest": content_digest(parts),
        **({"backend": "native"} if is_native(kind, parts) else {}),
        **({"model_class": parts.entry} if parts.entry and not is_native(kind, parts) else {}),
        **({"image": parts.image} if parts.image else {}),
        "custom_batching": parts.batching.custom,
        "max_batch_size": parts.batching.max_batch_size,
        "schema": schema_data(parts.schema),
        "artifact": {
            "path": _place(kind, parts),
            "digest": parts.artifact.digest,
            "size": parts.artifact.size,
            "files": len(parts.artifact.files),
        },
        "files": {
            path: {"size": item.size, "sha256": item.sha256}
            if isinstance(item, Link)
            else {"size": len(item), "sha256": hashlib.sha256(item).hexdigest()}
            for path, item in sorted(contents.items())
        },
    }


def yaml_bytes(data: Any) -> bytes:
    """YAML of plain data: keys in the order given, leaves in flow style, LF, UTF-8."""
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True  # equal values are not one value, and anchors are hard to read

    text: str = yaml.dump(
        data, Dumper=Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110
    )
    return text.encode("utf-8", "surrogatepass")


def carried(parts: Parts, place: Callable[[str], str]) -> Contents:
    """The bundled modules and the copy of gitreg's `Model` that they extend, each at `place(path)`."""
    files: Contents = {place(path): data for path, data in parts.code.items()}
    if flavor := flavors.FLAVORS.get(parts.type):
        for name in ("__init__", flavor.module):
            files[place(f"{flavors.PACKAGE}/{name}.py")] = own_file(f"isolated/flavors/{name}.py")
        files[place(f"{flavors.PACKAGE}/settings.json")] = flavors.settings(parts)
    return files | {place("gitreg/__init__.py"): own_file("model.py")}


def own_file(name: str) -> bytes:
    """A file of gitreg itself that packages carry."""
    return (Path(__file__).parent.parent / name).read_bytes()
