"""Everything that can be wrong with a registry's files, found in one run."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

from gitreg import folders, memo
from gitreg.declared import RegistryFile
from gitreg.errors import Problem
from gitreg.gather import gather
from gitreg.manifest import read_stage
from gitreg.names import did_you_mean
from gitreg.store import Store

# Below this many changed models starting a second process costs more than it saves.
_WORTH_A_PROCESS = 100

Verdict = dict[str, object]


def check_models(
    root: Path, files: Sequence[str], visible: Collection[str] | None, remembered: memo.Memo
) -> Iterator[tuple[str, str | None, str | None, list[Problem]]]:
    """Check models: (manifest file, its model's name and version, its problems), in order.

    What was found before is recalled for models none of whose files have changed.
    """
    known = remembered.recall("check")
    todo = [file for file in files if file not in known]
    fresh: dict[str, tuple[memo.Stamps, Verdict]] = {}
    for file, stamps, verdict in _check_all(root, todo, visible):
        fresh[file] = (stamps, verdict)
        known[file] = verdict
    remembered.remember("check", fresh)
    for file in files:
        verdict = known[file]
        yield file, verdict["name"], verdict["version"], [Problem(**p) for p in verdict["problems"]]


def _check_all(
    root: Path, files: Sequence[str], visible: Collection[str] | None
) -> Iterator[tuple[str, memo.Stamps, Verdict]]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if len(files) < _WORTH_A_PROCESS or cores == 1:
        yield from _check_some(root, files, visible)
        return
    size = max(25, len(files) // (cores * 4))
    chunks = [files[i : i + size] for i in range(0, len(files), size)]
    with ProcessPoolExecutor(cores) as pool:
        jobs = [pool.submit(_check_some, root, chunk, visible) for chunk in chunks]
        for job in jobs:
            yield from job.result()


def _check_some(
    root: Path, files: Sequence[str], visible: Collection[str] | None
) -> list[tuple[str, memo.Stamps, Verdict]]:
    store = Store(root, folders.digests)
    found = []
    for file in files:
        gathered = gather(root, file, store, visible)
        manifest = gathered.manifest
        verdict: Verdict = {
            "name": manifest.name if manifest else None,
            "version": manifest.version if manifest else None,
            "problems": [asdict(p) for p in gathered.problems],
        }
        found.append((file, gathered.inputs, verdict))
    return found


def check_names(names: Sequence[tuple[str, str]]) -> list[Problem]:
    """Models that have one name, or names that differ only in case.

    Args:
        names: (manifest file, model name).
    """
    first: dict[str, tuple[str, str]] = {}
    problems = []
    for file, name in names:
        other = first.setdefault(name.casefold(), (file, name))
        if other != (file, name):
            same = (
                "is taken"
                if other[1] == name
                else f"differs from '{other[1]}' only in case; that name is taken"
            )
            problems.append(Problem(file, 0, 0, "name", f"'{name}' {same} by {other[0]}"))
    return problems


def check_stages(root: Path, registry: RegistryFile, models: Collection[str]) -> list[Problem]:
    """Stage files: valid, of a stage that registry.yaml knows, and of models that there are."""
    problems = []
    for path in sorted((root / "stages").glob("*.y*ml")):
        file = path.relative_to(root).as_posix()
        if path.stem not in registry.stages:
            guess = did_you_mean(path.stem, registry.stages)
            problems.append(Problem(file, 0, 0, "", f"registry.yaml has no stage '{path.stem}'{guess}"))
        document, found = read_stage(root, file)
        problems += found
        if not found:
            for name in document.data or ():
                if name not in models:
                    message = f"there is no model '{name}'{did_you_mean(name, models)}"
                    problems.append(document.problem((name,), message, key=True))
    for name, stage in registry.stages.items():
        for other in stage.get("from", ()):
            if other not in registry.stages:
                message = f"the stage '{name}' follows '{other}', which there is not"
                problems.append(Problem("registry.yaml", 0, 0, f"stages.{name}.from", message))
    return problems
