"""Manifest -> everything its packages need but the artifact's bytes, and every problem on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gitreg import documents, memo
from gitreg.datafiles import read_samples, read_text, read_values
from gitreg.declared import CUSTOM_PYTHON, Manifest, Named
from gitreg.errors import InvalidFiles, Problem, Refused
from gitreg.manifest import Read, read_manifest
from gitreg.source import Tree, bundle
from gitreg.store import Store, Tracked

if TYPE_CHECKING:
    from gitreg.schema import Sample


@dataclass
class Gathered:
    """One model, as far as it could be read.

    Attributes:
        file: its manifest, relative to the root.
        manifest: None where the manifest itself is broken.
        named: the name it says, even then.
        problems: everything that is wrong, warnings included.
        tracked: its artifact as DVC knows it.
        code: import path with slashes -> file.
        inputs: stamps of every file and folder that was looked at, as before the look.
        committed: the paths whose last commit is the package's commit.
    """

    file: str
    manifest: Manifest | None = None
    named: Named | None = None
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


def gather(
    root: Path, file: str, store: Store, visible: Collection[str] | None, build: bool = False
) -> Gathered:
    """Read a model and all that its manifest names.

    Args:
        root: the registry's root.
        file: the manifest, relative to the root.
        store: where artifacts are tracked.
        visible: files that Git does not ignore, or None for all.
        build: whether its packages are to be built: its artifact is hashed in the background then.
    """
    gathered = Gathered(file)
    gathered.inputs = memo.stamps([root / file])
    read = read_manifest(root, file)
    gathered.problems = read.problems
    gathered.manifest = read.manifest
    gathered.named = read.named
    gathered.committed = [file]
    if read.manifest is not None:
        _Gatherer(root, gathered, read, store, build).everything(visible)
    gathered.problems = sorted(set(gathered.problems))
    return gathered


class _Gatherer:
    def __init__(self, root: Path, gathered: Gathered, read: Read, store: Store, build: bool) -> None:
        assert read.manifest is not None
        self.build = build
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
        if self.build:
            with contextlib.suppress(Refused):  # a corrupt list of files is told when it is built
                self.store.start_hashing(tracked)

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
            self.requirements_file(manifest.requirements_file)
            return
        for path, line in lines:
            if mistake := requirement_mistake(line):
                self.problem(path, mistake)
        self.gathered.requirements = tuple(line for _, line in lines)

    def requirements_file(self, name: str) -> None:
        file = self.look(name, committed=True)
        try:
            lines = read_text(file, name).splitlines()
        except InvalidFiles as invalid:
            self.gathered.problems.extend(invalid.problems)
            return
        for number, line in enumerate(lines, 1):
            if mistake := requirement_mistake(line):
                self.gathered.problems.append(Problem(name, number, 1, "", mistake))
        self.gathered.requirements = tuple(lines)

    def samples(self) -> None:
        manifest = self.manifest
        if manifest.type == CUSTOM_PYTHON and "sample_data" not in self.document.data:
            self.problem(
                (), "no sample_data: a build can load this model, and not ask it anything", "warning"
            )
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
            self.problem(("triton",), refused.message.removeprefix("triton: ").partition("\n")[0])

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
