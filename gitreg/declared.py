"""What the files of a registry say, once read, and what a package holds: frozen, and free of YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gitreg.model import ModelSchema

CUSTOM_PYTHON = "custom-python"
DEFAULT_BATCH = 256
DEFAULT_TIMEOUT = 120.0
# What the system waits for at once: it counts milliseconds in 31 bits.
MOST_SECONDS = 2_000_000


class Named(NamedTuple):
    """A model's name where its manifest says it; the place is 0, 0 where it is not known."""

    file: str
    name: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True)
class ArtifactSource:
    """Where a model's artifact comes from: a path, a stage, a URL, or a model of another registry.

    Attributes:
        path: where it lies; of a stage, a URL or a registry, where it was brought.
        imported: false where only a reference to another registry's is kept.
    """

    path: str | None = None
    stage: str | None = None
    url: str | None = None
    registry: str | None = None
    model: str | None = None
    version: str | None = None
    imported: bool = True

    @property
    def address(self) -> str | None:
        """Where it was brought from; None for what is this registry's own."""
        return self.url or self.registry


@dataclass(frozen=True)
class Batching:
    """How requests are put together.

    Attributes:
        custom: the model takes a leading batch dimension itself.
        max_batch_size: the most samples in one call to Triton; 0 turns batching off.
    """

    custom: bool = False
    max_batch_size: int = DEFAULT_BATCH


@dataclass(frozen=True)
class Manifest:
    """One `model.yaml`. Paths are relative to the registry's root, with forward slashes.

    Attributes:
        version: None where it is left blank: the next one is taken when it is registered.
        description, tags: hold for all versions.
        release: description and tags of this version alone.
        options: what the type's own loader takes.
        trust: what it may load though that runs code: "pickle".
        backend: "python", or "native" for Triton's own for the type.
        serving: how it is to be served by others; its `code` is a path from the root.
        placeholders, template: of a template; see `templates`.
    """

    file: str
    name: str
    version: str | None
    type: str
    description: str = ""
    owners: tuple[str, ...] = ()
    tags: Mapping[str, Any] = field(default_factory=dict)
    release: Mapping[str, Any] = field(default_factory=dict)
    model_class: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    trust: tuple[str, ...] = ()
    backend: str = "python"
    code: tuple[str, ...] = ()
    include_import_prefixes: tuple[str, ...] = ()
    artifact: ArtifactSource | None = None
    image: str | None = None
    schema: ModelSchema | None = None
    sample_data: str | None = None
    requirements: tuple[str, ...] = ()
    requirements_file: str | None = None
    batching: Batching = field(default_factory=Batching)
    triton: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] | str | None = None
    metrics: Mapping[str, Any] | str | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)
    license: str | None = None
    card: str | None = None
    serving: Mapping[str, Any] = field(default_factory=dict)
    placeholders: Mapping[str, Any] = field(default_factory=dict)
    template: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The manifest's folder, relative to the registry's root; empty for the root itself."""
        return self.file.rpartition("/")[0]


@dataclass(frozen=True)
class RegistryFile:
    """`registry.yaml`.

    Attributes:
        environment: names of variables that models may see besides those of `environment.allowed`.
        prefix: what the names of its tags begin with: its own folder in the repository, or nothing.
        ignore: patterns of folders of the repository whose registry.yaml is no registry's.
        sandbox: whether models run without the network and the rest of the disk.
    """

    name: str
    models: str = "models/*/model.yaml"
    scheme: str = "semver"
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    formats: tuple[str, ...] = ("triton", "raw")
    timeout: float = DEFAULT_TIMEOUT
    require: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    prefix: str = ""
    ignore: tuple[str, ...] = ()
    sandbox: bool = False


@dataclass(frozen=True)
class Link:
    """A file that a package holds without copying it.

    Attributes:
        source: where its bytes are now.
        share: whether a hard link to `source` is allowed.
        size: bytes.
        md5: hex digest that its bytes should have.
        verified: hashes the file, holds it against `md5`, and gives the SHA-256 in hex. Called late,
            so that other work can go on meanwhile, and once.
    """

    source: Path
    size: int
    md5: str
    verified: Callable[[], str]
    share: bool = False

    @property
    def sha256(self) -> str:
        """The file's SHA-256 in hex.

        Raises:
            Refused: its bytes are not those that `md5` names.
        """
        return self.verified()


Contents = dict[str, "bytes | Link"]


@dataclass(frozen=True)
class Artifact:
    """The model's own files.

    Attributes:
        digest: DVC's hash of the whole, as `md5:<hex>` or `md5:<hex>.dir`.
        files: path below the artifact -> file; for a single file its own name. Empty where only the
            digest is asked for.
        name: of the artifact that is one file; None for a folder.
    """

    digest: str
    files: Mapping[str, Link] = field(default_factory=dict)
    name: str | None = None

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(link.size for link in self.files.values())

    @property
    def place(self) -> str:
        """Where a package's version folder holds what the class's `load` gets."""
        return f"model/{self.name}" if self.name else "model"
