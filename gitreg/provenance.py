"""Where a model came from, as far as it can be known: into its manifest's `lineage`, and nothing invented.

    code         the commit and remote of the repository in which the artifact, or the training code, lies
    data         what the DVC pipeline that made the artifact read, as dvc.lock and .dvc files name it
    environment  this Python, the installed versions of what the model requires; Dockerfile and Conda file
    run          the MLflow run that an MLmodel beside the artifact names

What is not known is left out, and a note says why.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import edits, git, safewrite
from gitreg.documents import parse
from gitreg.errors import InvalidFiles, Refused, Usage
from gitreg.git import refs
from gitreg.redaction import cleaned
from gitreg.store import pipelines

if TYPE_CHECKING:
    from gitreg.registry import Registry
    from gitreg.store.pipelines import Pipeline, Reference

Lineage = dict[str, Any]

# What is code when a stage reads it from Git; all else that it reads is data.
_CODE = {".py", ".pyx", ".ipynb", ".sh", ".r", ".jl", ".scala", ".java", ".c", ".cpp", ".rs", ".go", ".sql"}
_CONDA = ("environment.yml", "environment.yaml", "conda.yaml", "conda.yml")
_RUN = re.compile(r"[\w-]{1,100}\Z")


@dataclass(frozen=True)
class Origin:
    """Where a model came from, on this machine.

    Attributes:
        artifact: the file or folder as training left it; for a model of the registry, where it lies there.
        code: the folder of the training code, where somebody said it.
        data: what training read, where somebody said it: paths, or addresses.
        requirements: lines of the model's requirements.
        elsewhere: whether it was made in another environment than this one.
    """

    artifact: Path | None = None
    code: Path | None = None
    data: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    elsewhere: bool = False

    @property
    def places(self) -> list[Path]:
        """The folders that may belong to training, the surest first."""
        return [_folder(one) for one in (self.code, self.artifact) if one is not None]


@dataclass
class Traced:
    """What was found.

    Attributes:
        lineage: as a manifest has it, but for the files that its environment names.
        files: `dockerfile` and `conda`, where they lie.
        notes: what is not known, and why, a line each.
    """

    lineage: Lineage = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Recorded:
    """What `trace` did.

    Attributes:
        file: the manifest.
        changes: dotted path -> value before and after; None for nothing.
        copied: files that were brought into the model's folder.
    """

    file: str
    lineage: Lineage
    changes: dict[str, tuple[Any, Any]]
    copied: list[str]
    notes: list[str]


def trace(registry_root: Path, origin: Origin) -> Traced:
    """Find out where a model came from.

    Args:
        registry_root: the registry's own repository: there, only a pipeline says what is training code.

    Raises:
        Refused: a dvc.lock or .dvc file is broken, or data that was named is not there.
    """
    return _Tracer(registry_root, origin).traced()


class _Tracer:
    def __init__(self, registry_root: Path, origin: Origin) -> None:
        self.origin = origin
        self.own = git.top(registry_root)
        self.top = next((top for place in origin.places if (top := git.top(place))), None)
        self.found = Traced()

    def traced(self) -> Traced:
        pipeline = self.pipeline()
        self.code(pipeline)
        self.data(pipeline)
        self.environment()
        self.run()
        return self.found

    def pipeline(self) -> Pipeline | None:
        """The DVC pipeline that made the artifact."""
        artifact = self.origin.artifact
        top = git.top(_folder(artifact.parent)) if artifact else None
        if artifact is None or top is None:
            return None
        # Not what the artifact itself links to: DVC may link it into its cache.
        place = artifact.parent.resolve() / artifact.name
        return pipelines.find(top, place.relative_to(top).as_posix())

    # Code ---------------------------------------------------------------------------------------

    def code(self, pipeline: Pipeline | None) -> None:
        if self.top is None:
            self.found.notes.append("code: the artifact comes from no Git repository; --code DIR names one")
        elif git.head(self.top) is None:
            self.found.notes.append(f"code: {self.top} has no commit yet")
        elif self.origin.code is None and self.top == self.own and pipeline is None:
            self.found.notes.append(
                "code: no DVC pipeline of this repository makes the artifact; --code DIR says what does"
            )
        else:
            self.found.lineage["code"] = self._code(self.top, pipeline)

    def _code(self, top: Path, pipeline: Pipeline | None) -> dict[str, Any]:
        """The commit that the code is at: of its own files where they are known, else of the repository."""
        exact = self._files(top, pipeline)
        commit = git.last_commit(top, exact) if exact else None
        remote = refs.default_remote(top)
        url = cleaned(git.setting(top, f"remote.{remote}.url")) if remote else ""
        if url and "://" not in url and not re.match(r"[^/]+:", url):
            url = os.path.normpath(top / url)  # a folder beside it
        path = self.origin.code.resolve().relative_to(top).as_posix() if self.origin.code else "."
        code: dict[str, Any] = {"repo": url} if url else {}
        code["commit"] = commit or git.head(top)
        code |= {"path": path} if path != "." else {}
        return code | ({"dirty": True} if commit is None and self._dirty(top, bool(exact)) else {})

    def _files(self, top: Path, pipeline: Pipeline | None) -> list[str]:
        """The files of the training code, relative to the top: those of the pipeline, or the folder named.

        Of another repository the commit is the one that is checked out: all of it may have taken part.
        """
        if top != self.own:
            return []
        if pipeline is not None and pipeline.root == top:
            read = [dep.path for dep in pipeline.sources if self._is_code(top, dep)]
            return sorted({*read, *(stage.lock.replace("dvc.lock", "dvc.yaml") for stage in pipeline.stages)})
        return [self.origin.code.resolve().relative_to(top).as_posix()] if self.origin.code else []

    def _dirty(self, top: Path, exact: bool) -> bool:
        """Whether what trained may be in no commit: changed files, and new ones that are code."""
        if exact:
            return True
        known = git.changed(top, untracked=False)
        new = (path for path in git.changed(top) if Path(path).suffix.lower() in _CODE)
        return bool(known) or any(new)

    @staticmethod
    def _is_code(top: Path, dep: Reference) -> bool:
        """Whether a stage reads this as code: in Git, and a program or a folder with one."""
        if "://" in dep.path or pipelines.tracked(top, dep.path):
            return False
        seen = git.visible_files(top, [f":(literal){dep.path}"]) or ()
        return any(Path(path).suffix.lower() in _CODE for path in seen)

    # Data ---------------------------------------------------------------------------------------

    def data(self, pipeline: Pipeline | None) -> None:
        entries = []
        if pipeline is not None:
            sources = [dep for dep in pipeline.sources if not self._is_code(pipeline.root, dep)]
            entries = [self._entry(pipeline.root, dep) for dep in sources]
        entries += [self._named(text) for text in self.origin.data]
        names = [entry["name"] for entry in entries]
        for entry in entries:
            if names.count(entry["name"]) > 1 and "path" in entry:
                entry["name"] = entry["path"]
        if entries:
            self.found.lineage["data"] = list({entry["name"]: entry for entry in entries}.values())
        elif pipeline is None:
            self.found.notes.append("data: no DVC pipeline says what training read; --data PATH names it")

    def _entry(self, top: Path, dep: Reference) -> dict[str, str]:
        """A reference to data that a stage read."""
        name = dep.path.rstrip("/").rpartition("/")[2]
        if "://" in dep.path:
            mark = {"md5": dep.md5} if dep.md5 else {}
            return {"name": cleaned(name), "url": cleaned(dep.path), **dep.marks, **mark}
        entry = {"name": name, "path": dep.path, **({"md5": dep.md5} if dep.md5 else {})}
        known = pipelines.tracked(top, dep.path)
        return entry | (_imported(top, known[0]) if known else {})

    def _named(self, text: str) -> dict[str, str]:
        """A reference to data that somebody named."""
        if "://" in text:
            return {
                "name": cleaned(text).partition("?")[0].rstrip("/").rpartition("/")[2],
                "url": cleaned(text),
            }
        place = Path(os.path.abspath(text))
        top = git.top(place.parent) if place.parent.is_dir() else None
        path = place.relative_to(top).as_posix() if top and place.is_relative_to(top) else place.name
        known = pipelines.tracked(top, path) if top else None
        if top and known:
            file, out = known
            md5 = out.md5 if out.path == path else None
            return {"name": place.name, "path": path, **({"md5": md5} if md5 else {}), **_imported(top, file)}
        if not place.is_file():
            raise Refused(f"{text} is no file, and DVC does not track it", "dvc add, and name it then")
        seen = git.visible_files(top, [f":(literal){path}"]) if top else None
        if not seen or place.name not in {Path(one).name for one in seen}:
            self.found.notes.append(f"data: {text} is neither in DVC nor in Git: its hash alone is recorded")
        return {"name": place.name, "path": path, "md5": _md5(place)}

    # Environment and run ------------------------------------------------------------------------

    def environment(self) -> None:
        if self._foreign():
            self.found.notes.append("environment: the artifact was imported, and not made here")
            return
        environment: dict[str, Any] = {"python": platform.python_version()}
        packages = dict(self._packages(self.origin.requirements))
        self.found.lineage["environment"] = environment | ({"packages": packages} if packages else {})
        beside = list(dict.fromkeys(folder for place in self.origin.places for folder in self._beside(place)))
        for key, names in (("dockerfile", ("Dockerfile",)), ("conda", _CONDA)):
            there = (folder / name for folder in beside for name in names)
            found = next((file for file in there if _is_small(file)), None)
            if found:
                self.found.files[key] = found

    def _foreign(self) -> bool:
        """Whether the artifact came from elsewhere: by `dvc import` or `import-url`, or of a tracker."""
        if self.origin.elsewhere:
            return True
        artifact = self.origin.artifact
        file = artifact.with_name(f"{artifact.name}.dvc") if artifact else None
        return bool(file and file.is_file() and pipelines.imported(file.parent, file.name))

    def _beside(self, place: Path) -> Iterator[Path]:
        """A folder and the one above it; where its repository is that of the training code, up to the top."""
        yield place
        top = git.top(place)
        if top is None or place.resolve() != top:
            known = top is not None and top == self.top and "code" in self.found.lineage
            above = [
                folder for folder in place.resolve().parents if top is None or folder.is_relative_to(top)
            ]
            yield from above if known else above[:1]

    def _packages(self, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
        """(name, version) of what is installed here of what is required."""
        for name, allowed, line in requirements(lines):
            version = installed(name)
            if version is None:
                self.found.notes.append(f"environment: {name} is not installed here")
            elif not allowed(version):
                self.found.notes.append(
                    f"environment: {name} {version} is installed here, and the model requires {line}"
                )
            else:
                yield name, version

    def run(self) -> None:
        """The MLflow run that an MLmodel names. Only the YAML is read."""
        for place in self.origin.places:
            file = place / "MLmodel"
            if not file.is_file():
                continue
            with open(file, "rb") as stream:
                document, problems = parse(stream.read((1 << 20) + 1), str(file))
            said = document.data.get("run_id") if isinstance(document.data, Mapping) else None
            if isinstance(said, str) and _RUN.match(said):
                self.found.lineage["run"] = {"tracker": "mlflow", "run_id": said}
                return
            why = problems[0].message if problems else "it names no run"
            self.found.notes.append(f"run: {file}: {why}")


def _imported(top: Path, file: str) -> dict[str, str]:
    return {key: cleaned(value) for key, value in pipelines.imported(top, file).items()}


def _folder(place: Path) -> Path:
    """The nearest folder at or above a place that is there."""
    while not place.is_dir():
        place = place.parent
    return place


def _is_small(file: Path) -> bool:
    return file.is_file() and not file.is_symlink() and file.stat().st_size <= 1 << 20


def _md5(file: Path) -> str:
    with open(file, "rb") as stream:
        state = hashlib.md5(usedforsecurity=False)
        while chunk := stream.read(1 << 20):
            state.update(chunk)
    return state.hexdigest()


def requirements(lines: Iterable[str]) -> Iterator[tuple[str, Callable[[str], bool], str]]:
    """(name, whether a version is allowed, the line) of each requirement that holds on this machine."""
    from packaging.requirements import InvalidRequirement, Requirement

    for line in lines:
        text = line.partition(" #")[0].partition(" --hash")[0].strip().rstrip("\\").strip()
        try:
            one = Requirement(text)
        except InvalidRequirement:
            continue  # a comment, a hash; or a mistake, which `check` tells
        if one.marker is None or one.marker.evaluate():
            yield one.name, lambda v, one=one: one.specifier.contains(v, prereleases=True), text  # type: ignore[misc]


def installed(name: str) -> str | None:
    """The version of a package in the environment that runs gitreg; None where it is not there."""
    try:
        return importlib.metadata.version(name) or None
    except importlib.metadata.PackageNotFoundError:
        return None


def here(name: str) -> str:
    """The version of a package, or of python, in the environment that runs gitreg; empty without one."""
    return platform.python_version() if name == "python" else installed(name) or ""


# Into the manifest ----------------------------------------------------------------------------------


def bring(traced: Traced, folder: Path, take: Callable[[Path, str], Path]) -> Lineage:
    """The lineage with the files of its environment, brought into the model's folder.

    Args:
        folder: the model's.
        take: brings a file there, under a name, and gives its new place.
    """
    lineage = {**traced.lineage}
    if traced.files:
        lineage["environment"] = {**lineage["environment"]}
    for key, file in traced.files.items():
        place = folder / file.name
        if not _inside(file, folder) and place.exists() and place.read_bytes() != file.read_bytes():
            traced.notes.append(f"environment: {file} is not taken: {place.name} is there, and differs")
            continue
        here = file if _inside(file, folder) else place if place.exists() else take(file, file.name)
        lineage["environment"][key] = Path(os.path.relpath(here, folder)).as_posix()
    return lineage


def _inside(file: Path, folder: Path) -> bool:
    """Whether a manifest in this folder can name the file: both are in one repository."""
    top = git.top(folder if folder.is_dir() else folder.parent)
    return top is not None and file.resolve().is_relative_to(top)


def record(registry: Registry, model: str, code: Path | None, data: Sequence[str]) -> Recorded:
    """Write what is known of where a model came from into its manifest; see `Registry.trace`."""
    file = registry.manifest_file(model)
    gathered = registry.gather(file, build=False)
    manifest = gathered.manifest
    if manifest is None:
        raise InvalidFiles(gathered.problems)
    if code is not None and not code.is_dir():
        raise Usage(f"{code} is no folder", "--code DIR names the folder of the training code")
    folder = registry.root / manifest.folder
    artifact = gathered.tracked.path if gathered.tracked else manifest.artifact and manifest.artifact.path
    origin = Origin(
        registry.root / artifact if artifact else None,
        code.absolute() if code else None,
        tuple(data),
        gathered.requirements,
    )
    traced = trace(registry.root, origin)
    copies: dict[Path, Path] = {}

    def take(source: Path, name: str) -> Path:
        copies[folder / name] = source
        return folder / name

    lineage = merged(manifest.lineage, bring(traced, folder, take))
    changes = dict(_changes(manifest.lineage, lineage))
    raw = (registry.root / file).read_bytes().decode("utf-8", "surrogateescape")
    text = edits.set_fields(raw, file, {("lineage", *path): after for path, (_, after) in changes.items()})
    safewrite.refuse_links(registry.root, file, *copies)  # before anything is written
    for target, source in copies.items():
        safewrite.replace(registry.root, target, source.read_bytes())
    if text != raw:
        safewrite.replace(registry.root, file, text.encode("utf-8", "surrogateescape"))
    told = {".".join(("lineage", *path)): change for path, change in changes.items()}
    return Recorded(
        file, lineage, told, [p.relative_to(registry.root).as_posix() for p in copies], traced.notes
    )


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> Lineage:
    """A lineage brought up to date: what was found stands, and of the rest what people wrote."""
    whole: Lineage = {**old}
    for key, value in new.items():
        if key == "data":
            names = {entry["name"] for entry in value}
            whole[key] = [entry for entry in old.get(key, ()) if entry["name"] not in names] + value
        elif key == "code":  # one commit's repository and state say nothing of another's
            whole[key] = value
        else:
            whole[key] = {**old.get(key, {}), **value}
    return whole


def _changes(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], tuple[Any, Any]]]:
    """(path, (before, after)) of what differs, at most two levels deep: facet and key."""
    for facet, value in new.items():
        before = old.get(facet)
        if not isinstance(value, Mapping):
            if value != before:
                yield (facet,), (before, value)
            continue
        known = before if isinstance(before, Mapping) else {}
        for key in [*value, *(key for key in known if key not in value)]:
            if known.get(key) != value.get(key):
                yield (facet, key), (known.get(key), value.get(key))
