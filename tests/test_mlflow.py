"""Models of MLflow's: from a real store, from a folder, and as packages (rows C3, F4, Z3; issue 4)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import gitreg
from gitreg import mlmodel
from gitreg.model import ModelSchemaItem
from tests.flavored import is_verified, raw_answers, same, shop_with, triton, triton_answers
from tests.support import Workshop, needs_triton, run

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Tracked:
    """A real MLflow store with runs and a registered model.

    Attributes:
        runs: name -> run id.
        folder: an MLflow model on disk.
    """

    def __init__(self, place: Path) -> None:
        self.place, self.uri = place, f"sqlite:///{place}/mlflow.db"
        self.runs: dict[str, str] = {}
        self.folder = place / "people"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "MLFLOW_TRACKING_URI": self.uri}


def people_model() -> Any:
    """A model of its author's own, over columns of all kinds."""
    import mlflow.pyfunc

    class People(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads hints
            import pandas

            frame = model_input
            since = (pandas.Timestamp("2026-01-01") - frame["joined at"]).dt.days
            return pandas.DataFrame(
                {
                    "days": since.astype("int64"),
                    "who": [
                        n + "!" if loud else n for n, loud in zip(frame["name"], frame["loud"], strict=True)
                    ],
                    "mean score": frame["scores"].map(lambda one: float(sum(one)) / len(one)),
                }
            )

    return People()


def people_signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Schema

    inputs = [
        ColSpec(DataType.datetime, "joined at"),
        ColSpec(DataType.string, "name"),
        ColSpec(DataType.boolean, "loud"),
        ColSpec(Array(DataType.double), "scores"),
    ]
    outputs = [
        ColSpec(DataType.long, "days"),
        ColSpec(DataType.string, "who"),
        ColSpec(DataType.double, "mean score"),
    ]
    return ModelSignature(Schema(inputs), Schema(outputs))


PEOPLE = [
    {"joined_at": ["2025-12-30"], "name": ["ann"], "loud": [True], "scores": [1.0, 2.0]},
    {"joined_at": ["2025-12-01"], "name": ["bo"], "loud": [False], "scores": [4.0]},
]


def classifier() -> tuple[Any, Any]:
    from sklearn.linear_model import LogisticRegression

    x = np.random.default_rng(0).normal(size=(40, 4))
    return LogisticRegression().fit(x, (x[:, 0] > 0).astype(int)), x


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    import mlflow
    from mlflow.models import infer_signature

    known = Tracked(tmp_path_factory.mktemp("mlflow"))
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    mlflow.set_tracking_uri(known.uri)
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("churn", f"file://{known.place}/store")
    model, x = classifier()
    with mlflow.start_run(experiment_id=experiment) as started:
        mlflow.log_params({"C": 1.0, "solver": "lbfgs", "balanced": False})
        mlflow.log_metrics({"accuracy": 0.925, "broken": float("nan")})
        mlflow.set_tags({"team": "risk", "mlflow.source.git.commit": COMMIT})
        mlflow.set_tag("mlflow.source.git.repoURL", "https://token@git.example.org/churn.git")
        mlflow.log_input(mlflow.data.from_numpy(x, source="https://data.example.org/c.npy", name="customers"))
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(x, model.predict(x)),
            input_example=x[:3],
            registered_model_name="Churn_Model",
            pip_requirements=["mlflow==9.9.9", "scikit-learn==1.0.0", "numpy>=1.24"],
        )
        known.runs["trained"] = started.info.run_id
    client.set_registered_model_alias("Churn_Model", "champion", "1")
    client.update_registered_model("Churn_Model", "Who leaves.")
    client.set_model_version_tag("Churn_Model", "1", "reviewed", "yes")
    with mlflow.start_run(experiment_id=experiment) as started:
        known.runs["empty"] = started.info.run_id
    mlflow.pyfunc.save_model(
        known.folder,
        python_model=people_model(),
        signature=people_signature(),
        pip_requirements=[f"mlflow=={mlflow.__version__}", "pandas"],
    )
    (known.place / "people.json").write_text(json.dumps(PEOPLE))
    return known


@pytest.fixture(scope="module")
def shop(tracked: Tracked, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    previous = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = tracked.uri
    try:
        return shop_with(
            tmp_path_factory.mktemp("shop") / "registry",
            {
                "churn-model": ["--from", "models:/Churn_Model@champion", "--trust", "pickle"],
                "people": [
                    *("--from", tracked.folder, "--trust", "pickle"),
                    *("--samples", tracked.place / "people.json"),
                ],
            },
        )
    finally:
        os.environ.pop("MLFLOW_TRACKING_URI")
        if previous is not None:
            os.environ["MLFLOW_TRACKING_URI"] = previous


def declared(shop: Workshop, name: str) -> dict[str, Any]:
    said: dict[str, Any] = yaml.safe_load((shop.root / "models" / name / "model.yaml").read_text())
    return said


def test_what_mlflow_knows_is_taken_over(shop: Workshop, tracked: Tracked) -> None:
    said = declared(shop, "churn-model")
    assert said["title"] == "Churn_Model" and said["tags"] == {"team": "risk"}
    assert said["params"] == {"C": 1.0, "balanced": False, "solver": "lbfgs"}
    assert said["metrics"] == {"accuracy": 0.925}
    assert said["release"] == {"tags": {"reviewed": True}} or said["release"]["tags"]["reviewed"] == "yes"
    lineage = said["lineage"]
    assert lineage["run"] == {"tracker": "mlflow", "pipeline": "churn", "run_id": tracked.runs["trained"]}
    assert lineage["code"] == {"repo": "https://git.example.org/churn.git", "commit": COMMIT}
    assert lineage["data"][0]["name"] == "customers"
    assert lineage["data"][0]["url"] == "https://data.example.org/c.npy"
    environment = lineage["environment"]
    assert environment["python"] == ".".join(map(str, sys.version_info[:3]))
    assert environment["packages"] == {"mlflow": "9.9.9", "scikit-learn": "1.0.0"}
    assert environment["conda"] == "conda.yaml" and (shop.root / "models/churn-model/conda.yaml").is_file()
    assert said["requirements"] == ["mlflow==9.9.9", "scikit-learn==1.0.0", "numpy>=1.24"]
    assert said["schema"]["inputs"] == [{"name": "x", "data_type": "double", "shape": [4]}]
    assert len(json.loads((shop.root / "models/churn-model/samples.json").read_text())) == 3


def test_answers_are_those_of_the_model(shop: Workshop) -> None:
    model, x = classifier()
    said = [int(one["prediction"][0]) for one in raw_answers(shop, "churn-model")]
    assert said == model.predict(x[:3]).tolist()
    first, second = raw_answers(shop, "people")
    assert (first["days"].tolist(), first["who"].tolist()) == ([2], ["ann!"])
    assert (second["who"].tolist(), second["mean_score"].tolist()) == (["bo"], [4.0])
    assert declared(shop, "people")["options"]["names"] == {
        "joined_at": "joined at",
        "mean_score": "mean score",
    }
    is_verified(shop, "people")


@needs_triton
def test_triton_answers_the_same(shop: Workshop) -> None:
    with triton(shop) as client:
        for name in ("churn-model", "people"):
            same(triton_answers(client, shop, name), raw_answers(shop, name))


def test_a_run_names_its_model_and_gitregs_own_type_takes_its_file(
    workshop: Workshop, tracked: Tracked
) -> None:
    """`runs:/RUN` alone means its only model; scikit-learn's file is loaded without MLflow or trust."""
    source = f"runs:/{tracked.runs['trained']}"
    done = workshop.gitreg("new", "own", "--from", source, "--type", "scikit-learn", env=tracked.environment)
    assert done.returncode == 0, done.stderr
    said = declared(workshop, "own")
    assert said["metrics"] == {"accuracy": 0.925} and "trust" not in said
    assert [one["name"] for one in said["schema"]["outputs"]] == ["label", "probabilities"]


@pytest.mark.parametrize(
    ("source", "says"),
    {
        "runs:/{empty}/model": "has no model at 'model'; it has none",
        "runs:/00000000000000000000000000000000/model": "not found",
        "models:/Churn_Model/7": "not found",
    }.items(),
)
def test_what_is_not_there_is_refused(workshop: Workshop, tracked: Tracked, source: str, says: str) -> None:
    text = source.format(**tracked.runs)
    done = workshop.gitreg("new", "gone", "--from", text, env=tracked.environment)
    assert done.returncode == 1 and says in done.stderr, done.stderr
    assert not (workshop.root / "models" / "gone").exists()


@pytest.mark.parametrize(
    ("uri", "code", "says"),
    [
        ("http://user:secret@127.0.0.1:9", 4, "refused"),
        ("sqlite:////nowhere/mlflow.db", 4, "there is no MLflow store at /nowhere/mlflow.db"),
        ("", 1, "no MLflow tracking server or store is named"),
    ],
)
def test_a_server_that_is_not_there(workshop: Workshop, uri: str, code: int, says: str) -> None:
    env = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = workshop.gitreg("new", "gone", "--from", "models:/x/1", env=env)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "secret" not in done.stderr and "MLFLOW_TRACKING_URI" in done.stderr
    assert not (workshop.root / "models" / "gone").exists()
    assert not (workshop.root / "mlruns").exists() and not (workshop.root / "mlflow.db").exists()


def bare_python(place: Path, without: str) -> Path:
    """A Python that has everything but one package."""
    run(sys.executable, "-m", "venv", "--without-pip", place, cwd=place.parent)
    bare = place / "bin" / "python"
    inside = run(bare, "-c", "import site; print(site.getsitepackages()[0])", cwd=place).stdout.strip()
    for entry in Path(np.__file__).parent.parent.iterdir():
        if not entry.name.startswith(without):
            (Path(inside) / entry.name).symlink_to(entry)
    return bare


def test_a_folder_needs_no_mlflow_and_the_rest_says_what_to_install(
    workshop: Workshop, tracked: Tracked, tmp_path: Path
) -> None:
    bare = bare_python(tmp_path / "bare", "mlflow")
    root = str(Path(gitreg.__file__).parent.parent)

    def new(source: str | Path) -> subprocess.CompletedProcess[str]:
        command = [bare, "-m", "gitreg", "new", "people", "--from", source]
        env = {**tracked.environment, "PYTHONPATH": root}
        return subprocess.run(command, cwd=workshop.root, capture_output=True, text=True, env=env)

    done = new("models:/Churn_Model/1")
    assert done.returncode == 1 and "hint: pip install 'gitreg[mlflow]'" in done.stderr, done.stderr
    done = new(tracked.folder)
    assert done.returncode == 0, done.stderr
    said = declared(workshop, "people")
    assert [one["data_type"] for one in said["schema"]["inputs"]] == ["string", "string", "boolean", "double"]
    assert said["schema"]["inputs"][3]["shape"] == [-1] and "trust" not in said
    assert "`trust: pickle`" in done.stdout


def test_no_verb_runs_a_model_that_is_not_trusted(workshop: Workshop, tmp_path: Path) -> None:
    folder, gone_off = tmp_path / "bomb", tmp_path / "gone-off"
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "bomb.py").write_text(f"import os\nos.mkdir({str(gone_off)!r})\n")
    signature = {side: '[{"type": "double", "name": "x"}]' for side in ("inputs", "outputs")}
    function = {"loader_module": "bomb", "code": "code"}
    data = {"flavors": {"python_function": function}, "signature": signature}
    (folder / "MLmodel").write_text(yaml.safe_dump(data))
    (tmp_path / "s.json").write_text('[{"x": [1.0]}]')
    done = workshop.gitreg("new", "bomb", "--from", folder, "--samples", tmp_path / "s.json")
    assert done.returncode == 0, done.stderr
    workshop.commit("bomb")
    for verb in ("inspect", "check", "predict", "build", "serve"):
        done = workshop.gitreg(verb, "bomb")
        assert not gone_off.exists(), verb
        if verb != "inspect":
            assert done.returncode == 1 and "runs code when it is loaded" in done.stderr + done.stdout, (
                done.stderr
            )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no python_function"),
        ("flavors: [", "MLmodel:"),
        ("a: &x [1]\nflavors: {onnx: {}}", "no python_function"),
        ("flavors: !!python/object/apply:os.system [exit]", "MLmodel:"),
    ],
)
def test_a_broken_mlmodel_is_refused_and_leaves_nothing(
    workshop: Workshop, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "MLmodel").write_text(text)
    done = workshop.gitreg("new", "broken", "--from", tmp_path / "m")
    assert done.returncode == 1 and says in done.stderr, done.stderr
    assert not (workshop.root / "models" / "broken").exists()


# Signatures ----------------------------------------------------------------------------------------


def signature(inputs: str, outputs: str = '[{"type": "double"}]') -> mlmodel.MLModel:
    return mlmodel.read({"signature": {"inputs": inputs, "outputs": outputs}})


def tensor(dtype: str, *shape: int, name: str | None = None) -> str:
    spec: dict[str, Any] = {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}
    return json.dumps([{**spec, **({"name": name} if name else {})}])


@pytest.mark.parametrize(
    ("inputs", "item", "batched"),
    [
        (tensor("float32", -1, 28, 28), ModelSchemaItem("x", gitreg.DataType.FLOAT, [28, 28]), True),
        (tensor("<U5", -1, name="text in"), ModelSchemaItem("text_in", gitreg.DataType.STRING, [1]), True),
        (tensor("uint8", 3, -1), ModelSchemaItem("x", gitreg.DataType.CHAR, [3, -1]), False),
        (
            '[{"type": "long", "name": "1st", "required": false}]',
            ModelSchemaItem("_1st", gitreg.DataType.LONG, [1], True),
            True,
        ),
    ],
)
def test_a_signature_in_the_manifests_words(inputs: str, item: ModelSchemaItem, batched: bool) -> None:
    outputs = tensor("float64", 3) if not batched else '[{"type": "double"}]'
    found = signature(inputs, outputs)
    assert found.schema and found.schema.input_schema == [item] and found.batched == batched, found.why


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (tensor("float16", -1, 2), "no data type for the float16 of 'x'"),
        ('[{"type": "map", "name": "m", "values": {"type": "long"}}]', "no data type for the map of 'm'"),
        ("[]", "says nothing of the inputs"),
        ("nonsense", "Expecting value"),
        ('[{"nothing": 1}]', "type"),
    ],
)
def test_a_signature_that_has_no_words_says_why(inputs: str, says: str) -> None:
    found = signature(inputs)
    assert found.schema is None and says in found.why


def test_input_examples_become_samples() -> None:
    two = signature('[{"type": "double", "name": "a b"}, {"type": "string", "name": "c", "required": false}]')
    frame = {"columns": ["a b", "c"], "data": [[1.0, "x"], [2.0, None]]}
    assert mlmodel.samples(frame, two) == [{"a_b": [1.0], "c": ["x"]}, {"a_b": [2.0]}]
    assert mlmodel.samples({"a b": [1.0], "c": ["x"]}, two) == [{"a_b": [1.0], "c": ["x"]}]
    assert mlmodel.samples([[1, 2]], two) == [] and mlmodel.samples({"data": 3}, two) == []
    one = signature(tensor("float32", -1, 2))
    assert mlmodel.samples([[1, 2], [3, 4]], one) == [{"x": [1, 2]}, {"x": [3, 4]}]


def test_parameters_are_numbers_again() -> None:
    texts = ("1", "0.5", "1e-05", "True", "nan", "01", "lbfgs", "1_000")
    assert [mlmodel.value(text) for text in texts] == [1, 0.5, 1e-05, True, "nan", "01", "lbfgs", "1_000"]


def test_requirements_that_a_manifest_cannot_hold_are_named() -> None:
    text = "mlflow==3.1\n# why\n-r more.txt\n--hash=sha256:1\ntorch>=2 # cpu\nx[a]==1.0\n"
    kept, left = mlmodel.requirements(text)
    assert (kept, left) == (["mlflow==3.1", "torch>=2", "x[a]==1.0"], ["-r more.txt", "--hash=sha256:1"])
    assert mlmodel.pins(kept) == {"mlflow": "3.1", "x": "1.0"}


def test_a_store_of_files_is_read_too(workshop: Workshop, tracked: Tracked, tmp_path: Path) -> None:
    """As older MLflow has it, made from a newer one's run by hand: MLflow itself writes none any more."""
    run_id, store = "a" * 32, tmp_path / "mlruns"
    place = store / "1" / run_id
    for folder in ("params", "metrics", "tags", "artifacts"):
        (place / folder).mkdir(parents=True)
    shutil.copytree(tracked.folder, place / "artifacts" / "model")
    times = {"creation_time": 1, "last_update_time": 1, "lifecycle_stage": "active"}
    meta = {"experiment_id": "1", "name": "old", "artifact_location": f"file://{store}/1", **times}
    (store / "1" / "meta.yaml").write_text(yaml.safe_dump(meta))
    info = {"run_id": run_id, "run_uuid": run_id, "experiment_id": "1", "user_id": "u", "run_name": "r"}
    info |= {"status": 3, "start_time": 1, "end_time": 2, "lifecycle_stage": "active"}
    info |= {"artifact_uri": f"file://{place}/artifacts", "tags": [], "source_type": 4}
    (place / "meta.yaml").write_text(yaml.safe_dump(info))
    (place / "params" / "depth").write_text("3")
    env = {**os.environ, "MLFLOW_TRACKING_URI": str(store)}
    done = workshop.gitreg("new", "old", "--from", f"runs:/{run_id}/model", env=env)
    assert done.returncode == 0, done.stderr
    said = declared(workshop, "old")
    assert said["params"] == {"depth": 3} and said["lineage"]["run"]["pipeline"] == "old"
