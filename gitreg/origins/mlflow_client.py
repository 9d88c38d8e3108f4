"""Asks MLflow for a model and for what is known of it. Run as a program, and imported by nothing:

    python -I mlflow_client.py URI FOLDER RESULT

The model goes into FOLDER; RESULT is a JSON file. MLflow costs seconds to import, brings its own logging and
telemetry, and works with the settings of whoever calls gitreg; so it stays in a process of its own.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

# Of a server that is gone, one wants to know within seconds; MLflow's own patience is of minutes.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # it is only read
    "GIT_PYTHON_REFRESH": "quiet",
}
_REFUSED = (
    "RESOURCE_DOES_NOT_EXIST",
    "NOT_FOUND",
    "INVALID_PARAMETER_VALUE",
    "BAD_REQUEST",
    "INVALID_STATE",
    "RESOURCE_ALREADY_EXISTS",
)


def main() -> None:
    """Ask MLflow, in a process of its own, and write what it answers to a file."""
    uri, folder, result = sys.argv[1:]
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        told = _Asked(folder).tell(uri)
    except ImportError as error:
        told = {"error": ["missing", str(error)]}
    except Exception as error:  # noqa: BLE001 - whatever its plug-ins and stores raise is told
        told = {"error": [_kind(error), str(error) or type(error).__name__]}
    with open(result, "w") as stream:
        json.dump(told, stream)


def _kind(error: Exception) -> str:
    refused = getattr(error, "error_code", "") in _REFUSED or isinstance(error, LookupError)
    return "refused" if refused else "outside"


class _Asked:
    def __init__(self, folder: str) -> None:
        import mlflow.artifacts

        self.mlflow, self.client, self.folder = mlflow, mlflow.MlflowClient(), folder

    def tell(self, uri: str) -> dict[str, Any]:
        """What is known of a model, which is brought on the way."""
        known: dict[str, Any] = {"tracking": self.mlflow.get_tracking_uri()}
        scheme, _, rest = uri.partition(":/")
        run_id, path, logged = None, rest.strip("/"), None
        if scheme == "runs":
            run_id, _, path = path.partition("/")
        elif path.startswith("m-") and "/" not in path:
            logged = path
        else:
            version = self.version(path)
            known["version"] = self.of_version(version)
            uri, run_id = f"models:/{version.name}/{version.version}", version.run_id
            logged = getattr(version, "model_id", None)
        if logged:
            known["logged"] = self.of_logged(logged)
            run_id = run_id or known["logged"].get("run_id")
        if run_id:
            known["run"] = self.of_run(run_id, must=scheme == "runs")
        if scheme == "runs" and not path:
            path = self.only_model(run_id or "")
            uri = f"runs:/{run_id}/{path}"
        known["path"] = self.bring(uri, run_id, path, scheme)
        return known

    def bring(self, uri: str, run_id: str | None, path: str, scheme: str) -> str:
        try:
            found = self.mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=self.folder)
        except Exception as error:
            if scheme == "runs" and _kind(error) == "refused":
                raise LookupError(self._nothing(run_id or "", path)) from error
            raise
        if not os.path.isfile(os.path.join(found, "MLmodel")):
            where = self._nothing(run_id or "", path) if scheme == "runs" else f"{uri} is no MLflow model"
            raise LookupError(f"{where}: it has no MLmodel file" if scheme != "runs" else where)
        return str(found)

    def _nothing(self, run_id: str, path: str) -> str:
        has = self.models(run_id)
        return f"the run {run_id} has no model at {path!r}; it has {', '.join(has) if has else 'none'}"

    def only_model(self, run_id: str) -> str:
        has = self.models(run_id)
        if len(has) != 1:
            raise LookupError(
                f"the run {run_id} has {'several models: ' + ', '.join(has) if has else 'no model'}"
                + ("; runs:/RUN/PATH names one" if has else "")
            )
        return has[0]

    def models(self, run_id: str) -> list[str]:
        """The paths of a run's models."""
        logged = getattr(getattr(self.client.get_run(run_id), "outputs", None), "model_outputs", None) or []
        found = {self.client.get_logged_model(one.model_id).name for one in logged}
        for entry in self.client.list_artifacts(run_id):
            if entry.is_dir:
                inside = self.client.list_artifacts(run_id, entry.path)
                found |= {entry.path for one in inside if one.path == f"{entry.path}/MLmodel"}
        return sorted(found)

    # What is known of it -------------------------------------------------------------------------

    def version(self, rest: str) -> Any:
        """A version of a registered model: by number, alias, stage, or the latest."""
        name, at, alias = rest.partition("@")
        if at:
            return self.client.get_model_version_by_alias(name, alias)
        name, _, wanted = rest.partition("/")
        if not wanted:
            raise LookupError(f"models:/{rest} names no version: models:/NAME/VERSION or models:/NAME@ALIAS")
        if wanted.isdigit():
            return self.client.get_model_version(name, wanted)
        self.client.get_registered_model(name)
        versions = self.client.search_model_versions(f"name = '{name}'")
        if wanted.lower() != "latest":
            versions = [one for one in versions if (one.current_stage or "").lower() == wanted.lower()]
        if not versions:
            raise LookupError(f"the registered model {name} has no version at {wanted!r}")
        return max(versions, key=lambda one: int(one.version))

    def of_version(self, version: Any) -> dict[str, Any]:
        model = self.client.get_registered_model(version.name)
        return {
            "name": version.name,
            "version": str(version.version),
            "description": version.description or "",
            "tags": dict(version.tags or {}),
            "model_description": model.description or "",
            "model_tags": dict(model.tags or {}),
        }

    def of_logged(self, model_id: str) -> dict[str, Any]:
        model = self.client.get_logged_model(model_id)
        return {
            "params": dict(model.params or {}),
            "metrics": {one.key: one.value for one in model.metrics or []},
            "tags": dict(model.tags or {}),
            "run_id": model.source_run_id,
        }

    def of_run(self, run_id: str, must: bool) -> dict[str, Any] | None:
        """A run; None where it is gone, and the model is another's."""
        try:
            run = self.client.get_run(run_id)
        except Exception as error:
            if must or _kind(error) != "refused":
                raise
            return None
        experiment = self.client.get_experiment(run.info.experiment_id)
        inputs = getattr(getattr(run, "inputs", None), "dataset_inputs", None) or []
        return {
            "run_id": run.info.run_id,
            "experiment": experiment.name,
            "experiment_id": run.info.experiment_id,
            "params": dict(run.data.params),
            "metrics": dict(run.data.metrics),
            "tags": dict(run.data.tags),
            "data": [
                {"name": one.dataset.name, "digest": one.dataset.digest, "source": one.dataset.source}
                for one in inputs
            ],
        }


if __name__ == "__main__":
    main()
