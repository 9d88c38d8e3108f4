"""Everything that can be wrong with a registry's files, found in one run."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gitreg import folders, memo
from gitreg.declared import Named, RegistryFile
from gitreg.errors import Problem
from gitreg.gather import gather
from gitreg.manifest import REGISTRY_FILE, read_stage, read_yaml
from gitreg.names import did_you_mean
from gitreg.store import Store

# Below this many changed models starting a second process costs more than it saves.
_WORTH_A_PROCESS = 100

Verdict = dict[str, Any]


def check_models(
    root: Path, files: Sequence[str], visible: Collection[str] | None, remembered: memo.Memo
) -> Iterator[tuple[str, Named | None, list[Problem]]]:
    """Check models: (manifest file, the name it says, its problems), in order.

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
        named = Named(*verdict["named"]) if verdict["named"] else None
        yield file, named, [Problem(**p) for p in verdict["problems"]]


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
        verdict: Verdict = {
            "named": gathered.named,
            "problems": [asdict(p) for p in gathered.problems],
        }
        found.append((file, gathered.inputs, verdict))
    return found


def check_names(names: Sequence[Named]) -> list[Problem]:
    """Models that have one name, or names that differ only in case."""
    first: dict[str, Named] = {}
    problems = []
    for one in names:
        other = first.setdefault(one.name.casefold(), one)
        if other.file != one.file:
            case = "" if other.name == one.name else f" differs from '{other.name}' only in case; that name"
            message = f"'{one.name}'{case} is taken by {other.file}"
            problems.append(Problem(one.file, one.line, one.column, "name", message))
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
    return problems + _unknown_from(root, registry)


def _unknown_from(root: Path, registry: RegistryFile) -> list[Problem]:
    wrong = [
        (name, i, other)
        for name, stage in registry.stages.items()
        for i, other in enumerate(stage.get("from", ()))
        if other not in registry.stages
    ]
    if not wrong:
        return []
    document, _ = read_yaml(root, REGISTRY_FILE, None)
    return [
        document.problem(
            ("stages", name, "from", i),
            f"the stage '{name}' follows '{other}', which there is not{did_you_mean(other, registry.stages)}",
        )
        for name, i, other in wrong
    ]
