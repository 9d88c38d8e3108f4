"""Manifest -> everything its packages need but the artifact's bytes, and every problem on the way."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import documents, memo
from gitreg.declared import CUSTOM_PYTHON, Manifest
from gitreg.documents import Document
from gitreg.errors import InvalidFiles, Problem, Refused
from gitreg.manifest import Read, read_manifest
from gitreg.model import ModelSchema
from gitreg.source import Tree, bundle
from gitreg.store import Store, Tracked

if TYPE_CHECKING:
    from gitreg.schema import Sample

_MAX_SAMPLES = 64 << 20


@dataclass
class Gathered:
    """One model, as far as it could be read.

    Attributes:
        file: its manifest, relative to the root.
        manifest: None where the manifest itself is broken.
        problems: everything that is wrong, warnings included.
        tracked: its artifact as DVC knows it.
        code: import path with slashes -> file.
        inputs: stamps of every file and folder that was looked at, as before the look.
        committed: the paths whose last commit is the package's commit.
    """

    file: str
    manifest: Manifest | None = None
    problems: list[Problem] = field(default_factory=list)
    tracked: Tracked | None = None
    code: dict[str, Path] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    requirements: tuple[str, ...] = ()
    inputs: memo.Stamps = field(default_factory=dict)
    committed: list[str] = field(default_factory=list)

    @property
    def errors(self) -> list[Problem]:
        """The problems that stop a build."""
        return [p for p in self.problems if p.level == "error"]


def gather(root: Path, file: str, store: Store, visible: Collection[str] | None) -> Gathered:
    """Read a model and all that its manifest names.

    Args:
        root: the registry's root.
        file: the manifest, relative to the root.
        store: where artifacts are tracked.
        visible: files that Git does not ignore, or None for all.
    """
    gathered = Gathered(file)
    gathered.inputs = memo.stamps([root / file])
    read = read_manifest(root, file)
    gathered.problems = read.problems
    gathered.manifest = read.manifest
    gathered.committed = [file]
    if read.manifest is not None:
        _Gatherer(root, gathered, read, store).everything(visible)
    gathered.problems = sorted(set(gathered.problems))
    return gathered


class _Gatherer:
    def __init__(self, root: Path, gathered: Gathered, read: Read, store: Store) -> None:
        assert read.manifest is not None
        self.root, self.gathered, self.store = root, gathered, store
        self.manifest, self.document = read.manifest, read.document

    def everything(self, visible: Collection[str] | None) -> None:
        self.artifact()
        self.code(visible)
        self.requirements()
        self.samples()
        self.batching()
        self.triton()
        for name in ("params", "metrics"):
            self.values(name)
        for path in (self.manifest.card,):
            if path:
                self.look(path)

    def problem(self, path: documents.Path, message: str, level: str = "error") -> None:
        self.gathered.problems.append(self.document.problem(path, message, level))

    def look(self, path: str, committed: bool = False) -> Path:
        """Note that a file decides the outcome."""
        full = self.root / path
        self.gathered.inputs.setdefault(str(full), memo.stamp(full))
        if committed:
            self.gathered.committed.append(path)
        return full

    def artifact(self) -> None:
        source = self.manifest.artifact
        if source is None or (source.path is None and source.stage is None):
            return
        folder = self.manifest.folder
        if source.path:
            self.look(f"{source.path}.dvc")
        try:
            self.gathered.tracked = tracked = self.store.tracked(source, folder)
        except Refused as refused:
            hint = f" ({refused.hint})" if refused.hint else ""
            self.problem(("artifact",), refused.message + hint)
            return
        self.look(tracked.by, committed=True)

    def code(self, visible: Collection[str] | None) -> None:
        manifest = self.manifest
        if (
            manifest.type != CUSTOM_PYTHON
            or not manifest.model_class
            or any(p.path.startswith("code") for p in self.gathered.problems)
        ):
            return
        roots = manifest.code or (manifest.folder,)
        hidden = [self.root / manifest.artifact.path] if manifest.artifact and manifest.artifact.path else []
        tree = Tree(
            tuple(self.root / r for r in roots), self.root, self.root.resolve(), visible, tuple(hidden)
        )
        try:
            found = bundle(manifest.model_class, tree, manifest.include_import_prefixes)
        except InvalidFiles as invalid:
            self.gathered.problems.extend(invalid.problems)
            return
        except Refused as refused:
            self.problem(("model_class",), refused.message)
            return
        self.gathered.problems.extend(found.warnings)
        self.gathered.code = found.files
        for place in found.watched:
            self.gathered.inputs.setdefault(str(place), memo.stamp(place))
        for file in found.files.values():
            self.gathered.inputs.setdefault(str(file), memo.stamp(file))
            if file.is_relative_to(self.root):
                self.gathered.committed.append(file.relative_to(self.root).as_posix())

    def requirements(self) -> None:
        manifest = self.manifest
        lines: list[tuple[documents.Path, str]] = [
            (("requirements", i), line) for i, line in enumerate(manifest.requirements)
        ]
        if manifest.requirements_file:
            file = self.look(manifest.requirements_file, committed=True)
            try:
                text = file.read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                self.problem(("requirements",), f"'{manifest.requirements_file}' cannot be read: {error}")
                return
            lines = [(("requirements",), line) for line in text.splitlines()]
        for path, line in lines:
            if mistake := requirement_mistake(line):
                self.problem(path, mistake)
        self.gathered.requirements = tuple(line for _, line in lines)

    def samples(self) -> None:
        manifest = self.manifest
        if not manifest.sample_data or manifest.schema is None:
            return
        if any(p.path == "sample_data" for p in self.gathered.problems):
            return
        file = self.look(manifest.sample_data, committed=True)
        samples, problems = read_samples(
            file, manifest.sample_data, manifest.schema, manifest.batching.custom
        )
        self.gathered.problems.extend(problems)
        if not samples and not problems:
            self.problem(
                ("sample_data",), f"'{manifest.sample_data}' holds no sample; at least one is expected"
            )
        self.gathered.samples = tuple(samples)

    def batching(self) -> None:
        if self.manifest.batching.custom and self.manifest.batching.max_batch_size == 0:
            self.problem(("batching",), "custom batching needs a max_batch_size above 0")

    def triton(self) -> None:
        if not self.manifest.triton:
            return
        from gitreg.packages.triton import merge, model_config_pb2

        try:
            merge(model_config_pb2().ModelConfig(), self.manifest.triton)
        except Refused as refused:
            self.problem(("triton",), refused.message.removeprefix("triton: "))

    def values(self, name: str) -> None:
        """Params and metrics that are kept in a file of their own."""
        path = getattr(self.manifest, name)
        if not isinstance(path, str) or any(p.path == name for p in self.gathered.problems):
            return
        try:
            read_values(self.look(path), path)
        except InvalidFiles as invalid:
            self.gathered.problems.extend(invalid.problems)


def requirement_mistake(line: str) -> str | None:
    """What is wrong with one line of a requirements.txt; options, comments and URLs are pip's business."""
    from packaging.requirements import InvalidRequirement, Requirement

    text = line.partition(" #")[0].partition(" --hash")[0].strip().rstrip("\\").strip()
    if not text or text.startswith(("#", "--hash")):
        return None
    if "\n" in line or "\r" in line:
        return "a requirement is one line"
    if text.startswith("-"):
        return f"{text!r}: options are not carried into packages; list the requirements themselves"
    try:
        Requirement(text)
    except InvalidRequirement as error:
        return f"{text!r} is not a requirement: {str(error).splitlines()[0]}"
    return None


def read_values(file: Path, name: str) -> Mapping[str, Any]:
    """A mapping from a JSON, YAML or TOML file.

    Raises:
        InvalidFiles: it is none of these, or not a mapping.
    """
    raw = _raw(file, name, documents.MAX_BYTES)
    try:
        if name.endswith(".toml"):
            data = _toml(raw.decode())
        elif name.endswith((".yaml", ".yml")):
            document, problems = documents.parse(raw, name)
            if problems:
                raise InvalidFiles(problems)
            data = document.data
        else:
            data = _json(raw, name)
    except (ValueError, RecursionError) as error:
        if isinstance(error, InvalidFiles):
            raise
        raise InvalidFiles([Problem(name, 0, 0, "", f"cannot be read: {error}")]) from None
    if not isinstance(data, Mapping):
        raise InvalidFiles([Problem(name, 1, 1, "", f"expected a mapping, got {type(data).__name__}")])
    return data


def _toml(text: str) -> Any:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)


def _raw(file: Path, name: str, most: int) -> bytes:
    try:
        if file.stat().st_size > most:
            raise InvalidFiles(
                [Problem(name, 0, 0, "", f"{file.stat().st_size:,} bytes; at most {most:,} are read")]
            )
        return file.read_bytes()
    except OSError as error:
        raise InvalidFiles([Problem(name, 0, 0, "", f"cannot be read: {error.strerror}")]) from None


def _json(raw: bytes, name: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen = dict(pairs)
        if len(seen) < len(pairs):
            twice = next(k for i, (k, _) in enumerate(pairs) if k in [p[0] for p in pairs[:i]])
            raise InvalidFiles([Problem(name, 0, 0, "", f"the key {twice!r} stands twice")])
        return seen

    try:
        return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise InvalidFiles([Problem(name, error.lineno, error.colno, "", f"not JSON: {error.msg}")]) from None
    except UnicodeDecodeError as error:
        raise InvalidFiles([Problem(name, 0, 0, "", f"not UTF-8: byte {error.start}")]) from None
    except RecursionError:
        raise InvalidFiles([Problem(name, 0, 0, "", "nested too deep")]) from None


def read_samples(
    file: Path, name: str, schema: ModelSchema, custom: bool
) -> tuple[list[Sample], list[Problem]]:
    """Read a file of samples (JSON, YAML or .npz) as a schema says, with every mistake in it.

    Args:
        name: what the file is called in problems.
        custom: whether samples may be batches.
    """
    from gitreg.schema import read_sample

    try:
        data = plain_samples(file, name)
    except InvalidFiles as invalid:
        return [], list(invalid.problems)
    samples, problems = [], []
    for i, said in enumerate(data):
        sample, mistakes = read_sample(schema, said, custom)
        samples.append(sample)
        problems += [_sample_problem(file, name, i, field_name, mistake) for field_name, mistake in mistakes]
    return samples, problems


def plain_samples(file: Path, name: str) -> list[Any]:
    """Samples as plain data: a list of mappings of input name to (nested) values.

    Raises:
        InvalidFiles: the file is not one of samples.
    """
    if name.endswith(".npz"):
        return list(_npz_samples(file, name))
    if name.endswith((".yaml", ".yml")):
        document, problems = documents.parse(_raw(file, name, documents.MAX_BYTES), name)
        if problems:
            raise InvalidFiles(problems)
        data = document.data
    else:
        data = _json(_raw(file, name, _MAX_SAMPLES), name)
    if isinstance(data, Mapping):
        return [data]
    if not isinstance(data, list):
        message = f"expected a list of {{input name: array}}, got {type(data).__name__}"
        raise InvalidFiles([Problem(name, 1, 1, "", message)])
    return data


def _npz_samples(file: Path, name: str) -> Iterator[dict[str, Any]]:
    """Samples from an .npz: an array per input, with the samples along its first axis."""
    import zipfile

    import numpy as np

    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InvalidFiles([Problem(name, 0, 0, "", f"not an .npz of plain arrays: {error}")]) from None
    lengths = {len(a) if a.ndim else 0 for a in arrays.values()}
    if len(lengths) != 1:
        message = f"arrays with different numbers of samples: {sorted(lengths)}"
        raise InvalidFiles([Problem(name, 0, 0, "", message)])
    for i in range(lengths.pop()):
        yield {key: a[i].tolist() if a.dtype.kind in "SUO" else a[i] for key, a in arrays.items()}


def _sample_problem(file: Path, name: str, i: int, field_name: str, mistake: str) -> Problem:
    """A mistake in a sample, with the line and column where the text has them."""
    path: documents.Path = (i, field_name) if field_name else (i,)
    document = Document(name)
    if not name.endswith(".npz") and file.stat().st_size <= documents.MAX_BYTES:
        # JSON is YAML; reading it again as such, now that it is known to be wrong, finds the place.
        document = documents.parse(file.read_bytes(), name)[0]
        if isinstance(document.data, Mapping):
            return document.problem(path[1:], mistake)
        return document.problem(path, mistake)
    return Problem(name, 0, 0, documents.dotted(path), mistake)
