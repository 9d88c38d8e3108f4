"""Manifest -> everything its packages need but the artifact's bytes, and every problem on the way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import documents, flavors, fragment, git, memo, patterns, references, requirements, treefiles
from gitreg.bounds import spelled
from gitreg.datafiles import read_samples, read_text, read_values
from gitreg.declared import Artifact, Manifest, Named
from gitreg.errors import InvalidFiles, Problem, Refused
from gitreg.folders import tree_files
from gitreg.manifest import Read, drafted, manifest_of, places, read_yaml
from gitreg.names import did_you_mean
from gitreg.packages import NATIVE, Parts, content_digest, schema_data
from gitreg.redaction import cleaned, holds_secret
from gitreg.source import Bundle, Tree, bundle
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
        service: the code for its service: path below that -> file.
        beside: files that its Triton configuration names: path in the package -> file.
        inputs: stamps of every file and folder that was looked at, as before the look; of what is named and
            not there, too.
        version_place: line and column of the version in the manifest.
        committed: the paths whose last commit is the package's commit.
        document: the manifest as read, for the places of later problems.
    """

    file: str
    manifest: Manifest | None = None
    named: Named | None = None
    problems: list[Problem] = field(default_factory=list)
    tracked: Tracked | None = None
    code: dict[str, Path] = field(default_factory=dict)
    service: dict[str, Path] = field(default_factory=dict)
    beside: dict[str, Path] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    requirements: tuple[str, ...] = ()
    inputs: memo.Stamps = field(default_factory=dict)
    version_place: tuple[int, int] = (0, 0)
    committed: list[str] = field(default_factory=list)
    document: documents.Document | None = None

    @property
    def errors(self) -> list[Problem]:
        """The problems that stop a build."""
        return [p for p in self.problems if p.level == "error"]


def gather(
    root: Path,
    file: str,
    store: Store,
    visible: Collection[str] | None,
    build: bool = False,
    submodules: Collection[str] = (),
) -> Gathered:
    """Read a model and all that its manifest names.

    Args:
        root: the registry's root.
        file: the manifest, relative to the root.
        store: where artifacts are tracked.
        visible: files that Git does not ignore, or None for all.
        build: whether its packages are to be built: its artifact is hashed in the background then.
        submodules: of the work tree; what lies in one is in no commit.
    """
    gathered = Gathered(file)
    gathered.inputs = memo.stamps(memo.lying(root, file))
    document, problems = read_yaml(root, file, "model")
    gathered.inputs |= memo.stamps(f"{root}/{place}" for place in places(document))
    read = manifest_of(document, problems, root)
    gathered.problems = read.problems
    gathered.manifest = read.manifest
    gathered.named = read.named
    gathered.document = read.document
    values = read.document.values
    gathered.version_place = values.get(("version",)) or values.get(("name",)) or (0, 0)
    gathered.committed = [file]
    if read.manifest is not None:
        _Gatherer(root, gathered, read, store, build).everything(visible)
    within = treefiles.submodules_of(root, gathered.inputs, submodules) if submodules else []
    gathered.problems += [Problem(file, 0, 0, "", f"'{one}' {treefiles.SUBMODULE}") for one in within]
    gathered.problems = sorted(set(gathered.problems))
    return gathered


@dataclass(frozen=True)
class Content:
    """What a version is, as its tag records it.

    Attributes:
        digest: the content digest.
        artifact: DVC's hash, as `md5:<hex>`, or where else the artifact is.
        schema: digest of the schema.
        file: the manifest.
        size: of the artifact in bytes; 0 where it is elsewhere, or DVC did not write it.
    """

    digest: str
    artifact: str
    schema: str
    file: str
    description: str = ""
    size: int = 0


def parts_of(gathered: Gathered, artifact: Artifact, version: str | None = None) -> Parts:
    """What the packages of a gathered model are made of."""
    manifest = gathered.manifest
    assert manifest
    return Parts(
        name=manifest.name,
        version=version or manifest.version,
        type=manifest.type,
        artifact=artifact,
        schema=manifest.schema,
        model_class=manifest.model_class,
        code={path: file.read_bytes() for path, file in gathered.code.items()},
        samples=gathered.samples,
        requirements=gathered.requirements,
        batching=manifest.batching,
        triton=manifest.triton,
        lineage=manifest.lineage,
        options=manifest.options,
        trust=manifest.trust,
        backend=manifest.backend,
        image=manifest.image,
        serving=_serving(manifest),
        service={path: file.read_bytes() for path, file in gathered.service.items()},
        beside={path: file.read_bytes() for path, file in gathered.beside.items()},
        reference=reference_of(manifest),
    )


def content_of(gathered: Gathered) -> Content:
    """What a model that was gathered is. Reads no byte of its artifact."""
    manifest, tracked = gathered.manifest, gathered.tracked
    assert manifest
    artifact = artifact_of(manifest, tracked)
    where = artifact.digest + (f" {manifest.image}" if tracked and manifest.image else "")
    schema = json.dumps(schema_data(manifest.schema), sort_keys=True, separators=(",", ":"))
    return Content(
        content_digest(parts_of(gathered, artifact)),
        where,
        f"sha256:{hashlib.sha256(schema.encode()).hexdigest()}",
        gathered.file,
        manifest.release.get("description") or manifest.description,
        (tracked.size or 0) if tracked else 0,
    )


def artifact_of(manifest: Manifest, tracked: Tracked | None) -> Artifact:
    """An artifact without its files: by DVC's hash, or by what stands in its place."""
    if tracked:
        return Artifact(f"md5:{tracked.md5}", name=tracked.name)
    elsewhere = {
        **({"image": manifest.image} if manifest.image else {}),
        **({k: v for k, v in asdict(manifest.artifact).items() if v} if manifest.artifact else {}),
    }
    return Artifact(json.dumps(elsewhere, sort_keys=True))


def reference_of(manifest: Manifest) -> dict[str, Any]:
    """What there is in the place of an artifact: a template, or a version of another registry."""
    if manifest.type == "template":
        return {"placeholders": dict(manifest.placeholders), "template": dict(manifest.template)}
    source = manifest.artifact
    if source and not source.imported:
        return {"registry": source.registry, "model": source.model, "version": source.version}
    return {}


def _serving(manifest: Manifest) -> dict[str, Any]:
    """Without the path of its code, which lies elsewhere in the package."""
    said = {key: value for key, value in manifest.serving.items() if key != "code"}
    return {**said, "code": "service"} if "code" in manifest.serving else said


class _Gatherer:
    def __init__(self, root: Path, gathered: Gathered, read: Read, store: Store, build: bool) -> None:
        assert read.manifest is not None
        self.build = build
        self.root, self.gathered, self.store = root, gathered, store
        self.manifest, self.document = read.manifest, read.document

    def everything(self, visible: Collection[str] | None) -> None:
        """All parts, each with its problems."""
        self.artifact()
        self.code(visible)
        self.requirements()
        self.serving(visible)
        self.template()
        self.samples()
        self.batching()
        self.loader()
        self.triton()
        for name in ("params", "metrics"):
            self.values(name)
        self.lineage()
        if self.manifest.card:
            self.look(self.manifest.card)

    def problem(self, path: documents.Path, message: str, level: str = "error") -> None:
        self.gathered.problems.append(self.document.problem(path, message, level))

    def look(self, path: str, committed: bool = False) -> Path:
        """Note that a file decides the outcome."""
        for place in memo.lying(self.root, path):
            if place not in self.gathered.inputs:
                self.gathered.inputs[place] = memo.stamp(place)
        if committed:
            self.gathered.committed.append(path)
        return self.root / path

    def artifact(self) -> None:
        """The artifact, as DVC or a pipeline tracks it."""
        source = self.manifest.artifact
        if source is None or not source.imported:
            return
        if any(p.path.startswith("artifact") for p in self.gathered.problems):
            return
        folder = self.manifest.folder
        if not source.path:
            self.look(folder)
        elif (self.root / source.path).is_symlink() and git.links(self.root, f":(literal){source.path}"):
            self.problem(("artifact",), f"'{source.path}' is a symbolic link that Git tracks: `git rm` it")
            return
        try:
            self.gathered.tracked = tracked = self.store.tracked(source, folder, self.look)
        except Refused as refused:
            hint = f" ({refused.hint})" if refused.hint else ""
            self.problem(("artifact",), refused.message + hint)
            return
        self.look(tracked.by, committed=True)
        if self.build:
            with contextlib.suppress(Refused):  # a corrupt list of files is told when it is built
                self.store.start_hashing(tracked)

    def code(self, visible: Collection[str] | None) -> None:
        """The user's code, followed from the class."""
        manifest = self.manifest
        if (
            not manifest.model_class
            or not flavors.is_loadable(manifest.type)
            or any(p.path.startswith("code") for p in self.gathered.problems)
        ):
            return
        roots = manifest.code or (manifest.folder,)
        hidden = [self.root / manifest.artifact.path] if manifest.artifact and manifest.artifact.path else []
        tree = Tree(
            tuple(self.root / r for r in roots), self.root, self.root.resolve(), visible, tuple(hidden)
        )
        found = Bundle()
        try:
            bundle(manifest.model_class, tree, manifest.include_import_prefixes, found)
        except InvalidFiles as invalid:
            self.gathered.problems.extend(invalid.problems)
            return
        except Refused as refused:
            self.problem(("model_class",), refused.message)
            return
        finally:
            for place in (*found.watched, *found.files.values()):
                self.gathered.inputs.setdefault(str(place), memo.stamp(place))
        self.gathered.problems.extend(found.warnings)
        self.gathered.code = found.files
        for file in found.files.values():
            if file.is_relative_to(self.root):
                self.gathered.committed.append(file.relative_to(self.root).as_posix())
            self.whole(("model_class",), file)

    def whole(self, path: documents.Path, file: Path) -> None:
        """A file whose content Git LFS keeps elsewhere would be packaged as what stands in its place."""
        status = self.gathered.inputs[str(file)]
        small = status and status[0] < treefiles.MOST_POINTER and file.suffix != ".py"
        if small and treefiles.is_pointer(file.read_bytes()):
            where = os.path.relpath(file, self.root)
            self.problem(path, f"'{where}' is a pointer of Git LFS; its content is not here")

    def requirements(self) -> None:
        """The requirements, held against PEP 508 and the imports."""
        manifest = self.manifest
        if manifest.requirements_file:
            self.requirements_file(manifest.requirements_file)
            return
        for index, mistake in requirements.mistakes(manifest.requirements):
            self.problem(("requirements", index), mistake)
        own = flavors.FLAVORS.get(manifest.type)
        default = own.requirements if own and "requirements" not in self.document.data else ()
        self.gathered.requirements = manifest.requirements or default

    def requirements_file(self, name: str) -> None:
        """The lines of a requirements file, with their places."""
        file = self.look(name, committed=True)
        try:
            lines = read_text(file, name).splitlines()
        except InvalidFiles as invalid:
            self.gathered.problems.extend(invalid.problems)
            return
        for index, mistake in requirements.mistakes(lines):
            self.gathered.problems.append(Problem(name, index + 1, 1, "", mistake))
        self.gathered.requirements = tuple(lines)

    def serving(self, visible: Collection[str] | None) -> None:
        """The code of the service: it is kept as it is, and never imported."""
        code = self.manifest.serving.get("code")
        if not code:
            return
        place = self.look(code, committed=True)
        if place.is_file():
            self.gathered.service = {place.name: place}
            self.whole(("serving", "code"), place)
            return
        if not place.is_dir():
            return  # which is told of the path
        try:
            every = tree_files(place)
        except Refused as refused:
            self.problem(("serving", "code"), refused.message)
            return
        names = [name for name in every if visible is None or f"{code}/{name}" in visible]
        self.gathered.service = {name: self.look(f"{code}/{name}", committed=True) for name in names}
        for file in self.gathered.service.values():
            self.whole(("serving", "code"), file)
        if not names:
            self.problem(("serving", "code"), f"'{code}' is an empty folder")

    def template(self) -> None:
        """What is wrong with a template, and with what would come of it as far as that can be known."""
        if self.manifest.type != "template":
            return
        self.gathered.problems += patterns.mistakes(self.document)
        data = patterns.sketch(self.manifest.placeholders, self.manifest.template)
        body = patterns.body_of(self.document, data)
        known = [p for p in self.gathered.problems if p.level == "error"]
        for problem in () if known else drafted(self.root, body):
            self.gathered.problems.append(replace(problem, path=f"template.{problem.path}".rstrip(".")))

    def samples(self) -> None:
        """The samples, held against the schema."""
        manifest = self.manifest
        if flavors.is_loadable(manifest.type) and "sample_data" not in self.document.data:
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

    def loader(self) -> None:
        """What the manifest says to the loader of its type."""
        manifest, flavor = self.manifest, flavors.FLAVORS.get(self.manifest.type)
        known = flavor.options if flavor else ()
        for key in manifest.options:
            if key not in known:
                takes = f"takes {', '.join(known)}" if known else "takes no options"
                self.problem(
                    ("options", key), f"the type '{manifest.type}' {takes}{did_you_mean(key, known)}"
                )
        for key, why in references.option_mistakes(manifest.options, self.names()) if flavor else ():
            if key in known:
                self.problem(("options", key), why)
        if manifest.backend == "native" and manifest.type not in NATIVE:
            able = ", ".join(NATIVE)
            self.problem(
                ("backend",), f"Triton has no backend of its own for '{manifest.type}'; it has for {able}"
            )
        if manifest.model_class and flavor and not flavor.takes_class:
            self.problem(
                ("model_class",), f"the type '{manifest.type}' has a loader of its own and takes none"
            )
        if flavor and manifest.schema is None:
            self.problem((), f"'schema' is missing; the type '{manifest.type}' is served by it")

    def names(self) -> set[str] | None:
        """The files of the artifact's folder, where an option names one and the cache has their list."""
        tracked = self.gathered.tracked
        if tracked is None or tracked.name or not references.FILE_OPTIONS & self.manifest.options.keys():
            return None
        return self.store.names(tracked)

    def triton(self) -> None:
        """What the manifest adds to Triton's configuration, held against its message."""
        found, files = fragment.judge(self.root, self.manifest, self.document)
        self.gathered.problems += found
        for path, relative in files.items():
            self.gathered.beside[path] = self.look(relative, committed=True)

    def lineage(self) -> None:
        """Addresses with a password or a token, which would be in Git for good."""
        said = self.manifest.lineage
        places: list[tuple[documents.Path, Any]] = [
            (("lineage", facet, key), said.get(facet, {}).get(key))
            for facet, key in (("code", "repo"), ("run", "url"), ("source", "registry"))
        ]
        for i, one in enumerate(said.get("data", ())):
            places += [(("lineage", "data", i, key), one.get(key)) for key in ("url", "repo")]
        for path, address in places:
            if isinstance(address, str) and holds_secret(address):
                self.problem(path, f"holds a password, a token or a signature; write {cleaned(address)}")

    def values(self, name: str) -> None:
        """Params and metrics that are kept in a file of their own."""
        path = getattr(self.manifest, name)
        if not isinstance(path, str) or any(p.path == name for p in self.gathered.problems):
            return
        try:
            values = read_values(self.look(path), path, self.root, finite=True)
            self.gathered.problems += spelled(path, values) if name == "metrics" else []
        except InvalidFiles as invalid:
            self.gathered.problems.extend(invalid.problems)
