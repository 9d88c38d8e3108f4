"""Everything that can be wrong with a registry's files, found in one run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from gitreg import demands, folders, git, memo, policies, stagefile, treefiles
from gitreg.declared import Named, RegistryFile
from gitreg.desired import WantedStay
from gitreg.errors import InvalidFiles, NoSandbox, Outside, Problem
from gitreg.gather import Content, Gathered, content_of, gather
from gitreg.git import discovery, listing
from gitreg.manifest import read_stage
from gitreg.names import did_you_mean
from gitreg.reports import CheckReport, advice
from gitreg.store import Store

if TYPE_CHECKING:
    from gitreg.registry import Registry

# Below this many changed models starting a second process costs more than it saves.
_WORTH_A_PROCESS = 100

_DVC = ":(icase).dvc"
Verdict = dict[str, Any]


@dataclass(frozen=True)
class Checked:
    """What was found of one model.

    Attributes:
        named: the name that its manifest says.
        content: what the version is; None where the files are broken.
        version: as the manifest says; None where it is blank, or broken.
        line, column: of the version.
        artifact: its path, where it is at one.
        files: what its content, its parameters and its metrics are read from.
    """

    file: str
    named: Named | None
    problems: list[Problem]
    content: Content | None
    version: str | None
    line: int = 0
    column: int = 0
    artifact: str | None = None
    files: tuple[str, ...] = ()


def check_models(
    root: Path,
    files: Sequence[str],
    visible: Collection[str] | None,
    remembered: memo.Memo,
    require: Sequence[str] = (),
    submodules: Collection[str] = (),
) -> Iterator[Checked]:
    """Check models, in order.

    What was found before is recalled for models none of whose files have changed.

    Args:
        require: the fields that each must have.
        submodules: of the work tree.
    """
    kind = " ".join(["check", *require, *(f"/{one}" for one in sorted(submodules))])
    known = remembered.recall(kind)
    todo = [file for file in files if file not in known]
    fresh: dict[str, tuple[memo.Stamps, Verdict]] = {}
    for file, stamps, verdict in _check_all(root, todo, visible, require, submodules):
        fresh[file] = (stamps, verdict)
        known[file] = verdict
    remembered.remember(kind, fresh)
    for file in files:
        verdict = known[file]
        named = Named(*verdict["named"]) if verdict["named"] else None
        content = Content(**verdict["content"]) if verdict["content"] else None
        problems = [Problem(**p) for p in verdict["problems"]]
        yield Checked(
            file,
            named,
            problems,
            content,
            verdict["version"],
            verdict["place"][0],
            verdict["place"][1],
            verdict["artifact"],
            tuple(verdict["files"]),
        )


def examine(
    registry: Registry,
    files: Sequence[str],
    report: CheckReport,
    run: bool,
    timeout: float | None,
    progress: Callable[[str], None] | None,
    visible: Collection[str] | EllipsisType | None = ...,
    submodules: Collection[str] | None = None,
) -> list[Checked]:
    """Check some manifests and all that they name, and run their models if asked to, into a report.

    Raises:
        Planted: the registry's folder, or one above, is a Git repository of its own on some file systems.
    """
    discovery.refuse_planted(registry.root, folded=True)
    seen = registry.visible if isinstance(visible, EllipsisType) else visible
    runnable: list[str] = []
    verdicts = registry.memo.recall("stacked")
    found = []
    kept = registry.submodules if submodules is None else submodules
    for one in check_models(registry.root, files, seen, registry.memo, registry.file.require, kept):
        found.append(one)
        report.problems += one.problems
        if run and not any(p.level == "error" for p in one.problems):
            runnable.append(one.file)
        elif one.file in verdicts:
            report.problems += advice(one.file, verdicts[one.file])
        if progress:
            progress(one.named.name if one.named else one.file)
    for file in runnable:
        try:
            report.problems += registry.workbench.run_samples(file, timeout)
        except NoSandbox:
            raise
        except Outside as error:
            report.fails(file, error)
    return found


def _check_all(
    root: Path,
    files: Sequence[str],
    visible: Collection[str] | None,
    require: Sequence[str],
    submodules: Collection[str],
) -> Iterator[tuple[str, memo.Stamps, Verdict]]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if len(files) < _WORTH_A_PROCESS or cores == 1:
        yield from _check_some(root, files, visible, require, submodules)
        return
    size = max(25, len(files) // (cores * 4))
    chunks = [files[i : i + size] for i in range(0, len(files), size)]
    with ProcessPoolExecutor(cores) as pool:
        jobs = [pool.submit(_check_some, root, chunk, visible, require, submodules) for chunk in chunks]
        for job in jobs:
            yield from job.result()


def store_of(root: Path, hashes: Callable[[Path], tuple[str, str]]) -> Store:
    """The DVC side of the registry at a folder, which knows what of it Git tracks.

    Args:
        hashes: see `Store`.
    """

    def tracked() -> Sequence[str]:
        return listing.tracked(root, [_DVC]) if discovery.find(root) else ()

    return Store(root, hashes, lambda: git.links(root, _DVC), tracked)


def _check_some(
    root: Path,
    files: Sequence[str],
    visible: Collection[str] | None,
    require: Sequence[str],
    submodules: Collection[str],
) -> list[tuple[str, memo.Stamps, Verdict]]:
    store = store_of(root, folders.digests)
    found = []
    for file in files:
        gathered = gather(root, file, store, visible, submodules=submodules)
        manifest = gathered.manifest
        sound = manifest is not None and not gathered.errors
        verdict: Verdict = {
            "named": gathered.named,
            "content": asdict(content_of(gathered)) if sound else None,
            "version": manifest.version if manifest else None,
            "place": gathered.version_place,
            "artifact": manifest.artifact.path if manifest and manifest.artifact else None,
            "files": _read_by(gathered),
            "problems": [asdict(p) for p in (*gathered.problems, *demands.problems(root, gathered, require))],
        }
        found.append((file, gathered.inputs, verdict))
    return found


def _read_by(gathered: Gathered) -> list[str]:
    manifest = gathered.manifest
    values = (manifest.params, manifest.metrics) if manifest else ()
    return [*gathered.committed, *(one for one in values if isinstance(one, str))]


def sorted_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Each problem once, errors first, in file order; those of one place as they were found."""
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(dict.fromkeys(problems), key=lambda p: (order[p.level], p.file, p.line, p.column, p.path))


def check_names(names: Sequence[Named]) -> list[Problem]:
    """Models that have one name, or names or manifests that differ only in case."""
    first: dict[str, Named] = {}
    files: dict[str, str] = {}
    problems = []
    for one in names:
        other = first.setdefault(one.name.casefold(), one)
        if other.file != one.file:
            case = "" if other.name == one.name else f" differs from '{other.name}' only in case; that name"
            message = f"'{one.name}'{case} is taken by {other.file}"
            problems.append(Problem(one.file, one.line, one.column, "name", message))
        twin = files.setdefault(one.file.casefold(), one.file)
        if twin != one.file:
            message = f"this path differs from {twin} only in case: on some machines they are one file"
            problems.append(Problem(one.file, 0, 0, "", message))
    return problems


def check_stages(root: Path, registry: RegistryFile, models: Collection[str]) -> list[Problem]:
    """Stage files: valid, of a stage that registry.yaml knows, and of models that there are."""
    problems = []
    for file in stage_files(root):
        problems += check_stage(root, file, registry, models)
    return problems + policies.mistakes(root, registry.stages)


def stage_files(root: Path) -> list[str]:
    """The stage files, relative to the root; links that lead nowhere, too."""
    return sorted(path.relative_to(root).as_posix() for path in (root / "stages").glob("*.y*ml"))


def check_stage(
    root: Path, file: str, registry: RegistryFile, models: Collection[str] | None
) -> list[Problem]:
    """One stage file; None for `models` does not look whether they are there."""
    problems = []
    stage = Path(file).stem
    if stage not in registry.stages:
        guess = did_you_mean(stage, registry.stages)
        problems.append(Problem(file, 0, 0, "", f"registry.yaml has no stage '{stage}'{guess}"))
    kept = f"stages/{stage}.yaml"
    if not file.endswith((".yaml", ".yml")) or (file != kept and os.path.lexists(root / kept)):
        problems.append(Problem(file, 0, 0, "", f"is not read: {kept} is the file of this stage"))
    with contextlib.suppress(InvalidFiles):
        if models is None and stagefile.entries(treefiles.read(root, file)):
            return problems
    document, found = read_stage(root, file)
    problems += found
    if not found and models is not None:
        for name in document.data or ():
            if name not in models:
                message = f"there is no model '{name}'{did_you_mean(name, models)}"
                problems.append(document.problem((name,), message, key=True))
    return problems


def no_model(stay: WantedStay, models: Collection[str]) -> Problem:
    """A line of a stage file on a model that there is not."""
    message = f"there is no model '{stay.model}'{did_you_mean(stay.model, models)}"
    return Problem(stay.file, stay.line, 1, stay.model, message)
