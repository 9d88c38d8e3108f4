"""A model of MLflow's: a folder with an MLmodel file, `runs:/RUN/PATH`, `models:/NAME/VERSION` or `@ALIAS`.

A folder is read as it is, without MLflow. For the others the tracking server or store is asked that
MLFLOW_TRACKING_URI names, by MLflow itself, in a process of its own: see mlflow_client.py.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gitreg import builder, detection, folders, inference, mlmodel, safewrite
from gitreg.datafiles import read_text
from gitreg.errors import InvalidFiles, Outside, Refused
from gitreg.names import is_of_git
from gitreg.origins.desk import Brought, Desk, absolute
from gitreg.redaction import cleaned

_CLIENT = Path(__file__).with_name("mlflow_client.py")
_URIS = ("runs:/", "models:/")
_MOST_EXAMPLE = 1 << 20
# Tags of MLflow's own: https://mlflow.org/docs/latest/ml/tracking/tracking-api/#system-tags
_OWN = "mlflow."


def matches(text: str) -> bool:
    """Whether a SOURCE is an MLflow model."""
    return text.startswith(_URIS) or os.path.isfile(absolute(text) / mlmodel.FILE)


def bring(desk: Desk, text: str) -> Brought:
    """Take an MLflow model; see `origins`.

    Raises:
        Refused: there is no such run or model, or MLflow is needed and not installed.
        Outside: the tracking server, its store, or the artifacts cannot be reached.
    """
    known: Mapping[str, Any] = {}
    if text.startswith(_URIS):
        with desk.registry.scratch() as place:
            known = _asked(text, place)
            if of_git := next(filter(is_of_git, folders.tree_files(Path(known["path"]))), None):
                raise Refused(f"{text}: {of_git!r} is of a Git repository, and no part of a model")
            target = desk.free("artifacts")
            shutil.move(known["path"], target)
        origin = target
    else:
        origin = absolute(text)
        target = desk.take(origin, "artifacts")
    said = mlmodel.read(inference.read_mlmodel(target / mlmodel.FILE))
    taken = [] if origin == target else [origin]
    return Brought(
        desk.below(target),
        target,
        lambda: builder.local_artifact(target),
        format=detection.detect(target),
        fields=_fields(desk, target, said, known),
        taken=taken,
        track=True,
        made_elsewhere=True,
        samples=_example(target, said),
    )


# The tracking server or store ----------------------------------------------------------------------


def _asked(uri: str, place: Path) -> dict[str, Any]:
    """What MLflow knows of a model, which it brings to `path`."""
    _look_for_store()
    (place / "model").mkdir(parents=True)
    result = place / "result.json"
    done = subprocess.run(
        [sys.executable, "-I", str(_CLIENT), uri, str(place / "model"), str(result)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    try:
        told: dict[str, Any] = json.loads(result.read_text())
    except (OSError, ValueError):
        raise Outside(f"MLflow did not answer: {_last(done.stderr)}") from None
    if "error" in told:
        kind, why = told["error"]
        why = cleaned_text(why)
        if kind == "missing":
            # Stores in a database need more than the extra brings.
            whole = "sqlalchemy" in why or "alembic" in why
            hint = "pip install mlflow" if whole else "pip install 'gitreg[mlflow]'"
            raise Refused(f"{uri} needs MLflow, which is not installed here: {why}", hint)
        if kind == "refused":
            raise Refused(f"{uri}: {why}")
        raise Outside(f"{uri}: {why}", "MLFLOW_TRACKING_URI names the tracking server or store")
    return told


def _look_for_store() -> None:
    """Make sure that MLflow does not make a store of its own where it is to find one."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    here = "MLFLOW_TRACKING_URI names the tracking server or store"
    if not uri:
        if not Path("mlruns").is_dir() and not Path("mlflow.db").is_file():
            raise Refused("no MLflow tracking server or store is named, and none lies here", here)
        return
    local = re.fullmatch(r"(?:sqlite:///|file://)?((?:/|\.{0,2}[\w~-])[^:?]*)", uri)
    if local and not Path(local[1]).exists():
        raise Outside(f"there is no MLflow store at {local[1]}", here)


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return cleaned_text(lines[-1]) if lines else "no reason was given"


def cleaned_text(text: str) -> str:
    """The first lines of an error, without the secrets of the addresses in it."""
    first = " ".join(text.split())[:600]
    return re.sub(r"\w+://[^\s'\")]+", lambda match: cleaned(match[0]), first)


# Into the manifest ---------------------------------------------------------------------------------


def _fields(desk: Desk, place: Path, said: mlmodel.MLModel, known: Mapping[str, Any]) -> dict[str, Any]:
    """What MLflow knows of the manifest's fields."""
    run, version, logged = known.get("run") or {}, known.get("version") or {}, known.get("logged") or {}
    tags = run.get("tags", {})
    numbers = {**run.get("metrics", {}), **logged.get("metrics", {})}
    words = {**run.get("params", {}), **logged.get("params", {})}
    release = {"description": version.get("description"), "tags": _own(version.get("tags", {}))}
    fields = {
        "title": version.get("name") if version.get("name") != desk.name else None,
        "description": version.get("model_description") or tags.get("mlflow.note.content"),
        "tags": {**_own(tags), **_own(version.get("model_tags", {}))},
        "params": {name: mlmodel.value(str(text)) for name, text in sorted(words.items())},
        "metrics": {name: v for name, v in sorted(numbers.items()) if math.isfinite(v)},
        "release": {key: value for key, value in release.items() if value},
        "lineage": _lineage(desk, place, said, known),
    }
    return {key: value for key, value in fields.items() if value}


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in sorted(tags.items()) if not name.startswith(_OWN)}


def _lineage(desk: Desk, place: Path, said: mlmodel.MLModel, known: Mapping[str, Any]) -> dict[str, Any]:
    run = known.get("run") or {}
    run_id, tags = run.get("run_id") or said.run_id, run.get("tags", {})
    lineage: dict[str, Any] = {}
    commit = tags.get("mlflow.source.git.commit", "")
    if re.fullmatch(r"[0-9a-f]{7,64}", commit):
        repo = cleaned(tags.get("mlflow.source.git.repoURL", ""))
        lineage["code"] = {**({"repo": repo} if repo else {}), "commit": commit}
    if data := [entry for one in run.get("data", ()) if (entry := _data(one))]:
        lineage["data"] = list({entry["name"]: entry for entry in data}.values())
    lineage["environment"] = _environment(desk, place, said)
    if run_id:
        lineage["run"] = {"tracker": "mlflow", **_pipeline(run, known), "run_id": run_id}
    return {key: value for key, value in lineage.items() if value}


def _pipeline(run: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, str]:
    """The experiment, and the run's page where a server shows one."""
    if not run:
        return {}
    server = cleaned(known["tracking"]).rstrip("/")
    page = f"{server}/#/experiments/{run['experiment_id']}/runs/{run['run_id']}"
    return {"pipeline": run["experiment"], **({"url": page} if server.startswith("http") else {})}


def _data(one: Mapping[str, str]) -> dict[str, str] | None:
    """A data set that a run has read, with its address where that is one."""
    try:
        source = json.loads(one["source"])
    except (ValueError, RecursionError):
        source = None
    source = source if isinstance(source, Mapping) else {}
    address = source.get("uri") or source.get("url") or source.get("path")
    entry = {"name": cleaned(one["name"]), "version": one["digest"]}
    return entry | ({"url": cleaned(address)} if isinstance(address, str) and "://" in address else {})


def _environment(desk: Desk, place: Path, said: mlmodel.MLModel) -> dict[str, Any]:
    """The Python and the versions that the model was logged with; its Conda file is brought along."""
    environment: dict[str, Any] = {"python": said.python} if said.python else {}
    try:
        lines = mlmodel.requirements(read_text(place / "requirements.txt", "requirements.txt"))[0]
    except InvalidFiles:
        lines = []
    if packages := mlmodel.pins(lines):
        environment["packages"] = packages
    conda = place / "conda.yaml"
    if conda.is_file() and not (desk.folder / conda.name).exists():
        safewrite.copy(conda, desk.registry.root, desk.free(conda.name))
        environment["conda"] = conda.name
    return environment


def _example(place: Path, said: mlmodel.MLModel) -> list[dict[str, Any]]:
    """Samples, of the input example that was logged with the model."""
    name = said.example
    if not name or not re.fullmatch(r"[\w.-]+\.json", name):
        return []
    file = place / name
    try:
        if not file.is_file() or file.is_symlink() or file.stat().st_size > _MOST_EXAMPLE:
            return []
        return mlmodel.samples(json.loads(file.read_bytes()), said)
    except (OSError, ValueError, RecursionError):
        return []
