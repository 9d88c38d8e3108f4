"""What the process of a model sees of the variables of whoever starts it: an allow-list, and no secret."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitreg import CustomTritonPackager, DataType, ModelSchema, ModelSchemaItem, Registry, environment
from gitreg.errors import InvalidFiles, Usage
from gitreg.manifest import read_registry
from tests.support import ADDER_CODE, Workshop, gitreg, make_registry, needs_triton, run
from tests.test_triton import FREE
from tests.upstream import Upstream

SECRETS = {
    name: f"secret-{number}"
    for number, name in enumerate(
        [
            *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"),
            *("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONFIG_FILE"),
            *("GOOGLE_APPLICATION_CREDENTIALS", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_CLIENT_SECRET"),
            *("GITHUB_TOKEN", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"),
            *("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_RUNTIME_TOKEN"),
            *("RUNNER_TEMP", "RUNNER_TOOL_CACHE", "GH_TOKEN", "CI_JOB_TOKEN", "CI_REGISTRY_PASSWORD"),
            *("GITREG_TOKEN", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HOME", "WANDB_API_KEY"),
            *("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_URI", "DATABASE_URL", "PGPASSWORD", "NETRC"),
            *("NPM_TOKEN", "npm_config__authToken", "NODE_AUTH_TOKEN", "PIP_INDEX_URL", "UV_INDEX_URL"),
            *("UV_INDEX_INTERNAL_PASSWORD", "TWINE_PASSWORD", "DOCKER_AUTH_CONFIG", "KUBECONFIG"),
            *("SSH_AUTH_SOCK", "SSH_AGENT_PID", "GPG_AGENT_INFO", "DBUS_SESSION_BUS_ADDRESS"),
            *("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "DVC_STUDIO_TOKEN", "FOO_SECRET"),
            *("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "LD_PRELOAD_KEY", "OPENAI_API_KEY", "SLACK_WEBHOOK"),
            # Beside what is on the list.
            *("NVIDIA_API_KEY", "NVIDIA_NGC_TOKEN", "TF_VAR_db_password", "TF_TOKEN_app_terraform_io"),
            *(
                "LC_SESSION",
                "LC_PASSWORD",
                "JAVA_OPTS",
                "HFTOKEN",
                "PATH_TO_KEY",
                "TZ_KEY",
                "CUDA_DEPLOY_TOKEN",
            ),
            *("HOMEASSISTANT", "LANGSMITH_API_KEY", "LANGUAGETOOL_KEY", "USERPASS", "SSL_CLIENT_KEY"),
        ]
    )
}
ALLOWED = {
    **{"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "Europe/Berlin", "CUDA_VISIBLE_DEVICES": ""},
    **{"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "KMP_BLOCKTIME": "0"},
    **{"NUMEXPR_MAX_THREADS": "1", "NVIDIA_VISIBLE_DEVICES": "none", "TF_ENABLE_ONEDNN_OPTS": "0"},
    **{"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "SSL_CERT_FILE": "/etc/ssl/cert.pem"},
    **{"no_proxy": "localhost,127.0.0.1,::1,.example.org", "LD_LIBRARY_PATH": "/opt/nothing/lib"},
    **{"XLA_FLAGS": "--xla_cpu_enable_fast_math=false", "HIP_VISIBLE_DEVICES": "0", "KERAS_BACKEND": "torch"},
}
PROXIES = {"https_proxy": "http://ada:pass-word@proxy.example.org:3128/", "HTTP_PROXY": "ada:pw@10.0.0.1:80"}
SPY = """
import json, os, tempfile
home = os.environ["HOME"]
seen = {"env": dict(os.environ), "in home": [name for name in os.listdir(home) if name != "a note"], "mode": os.stat(home).st_mode & 0o777}
open(os.path.join(home, "a note"), "w").close()
handle, name = tempfile.mkstemp(suffix=".json", dir=PLACE)
with os.fdopen(handle, "w") as stream:
    json.dump(seen, stream)
"""


def spying(place: Path) -> str:
    """The adder, which writes down what it sees when it is loaded."""
    return f"PLACE = {str(place)!r}\n{ADDER_CODE}".replace(
        "return cls(int((Path", f"exec({SPY!r})\n        return cls(int((Path"
    )


class Watch:
    """A folder in which spies write down what they saw."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def take(self) -> list[dict[str, Any]]:
        """What was seen since the last time; at least one spy did."""
        files = sorted(self.folder.iterdir())
        found = [json.loads(file.read_text()) for file in files]
        for file in files:
            file.unlink()
        assert found, "no model was loaded"
        return found

    def held(self, *more: str) -> None:
        """Whether no spy since the last time saw more than it may, or a home that is somebody's."""
        for seen in self.take():
            variables = seen["env"]
            for name in more:
                assert variables.pop(name) == SECRETS[name]
            assert set(variables) & set(SECRETS) == set()
            assert "secret-" not in json.dumps(variables) and "pass" not in json.dumps(_proxies(variables))
            assert {name: variables.get(name) for name in ALLOWED} == ALLOWED | _libraries(variables)
            assert variables["https_proxy"] == "http://proxy.example.org:3128"
            assert variables["HTTP_PROXY"] == "10.0.0.1:80"
            assert (seen["in home"], seen["mode"]) == ([], 0o700)
            assert not Path(variables["HOME"]).exists() and not Path(variables["TMPDIR"]).exists()


def _proxies(variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.lower().endswith("_proxy")}


def _libraries(variables: dict[str, str]) -> dict[str, str]:
    """Triton's own libraries come before those of whoever starts it."""
    found = variables.get("LD_LIBRARY_PATH", "")
    assert found.endswith(ALLOWED["LD_LIBRARY_PATH"])
    return {"LD_LIBRARY_PATH": found}


def around(**more: str) -> dict[str, str]:
    """The environment of somebody who has secrets in it."""
    return {**os.environ, **SECRETS, **ALLOWED, **PROXIES, **more}


def told(*arguments: str | Path, cwd: Path, code: int = 0, **options: Any) -> str:
    done = gitreg(*arguments, cwd=cwd, env=around(), **options)
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A registry whose only model is a spy, which is in staging by a gate that loads it."""
    top = tmp_path_factory.mktemp("spied")
    make_registry(top / "registry")
    shop = Workshop(top / "registry")
    shop.code(spying(top / "seen"))
    rules = {"staging": {"gates": [{"samples": "pass"}]}, "production": {}, "archived": {}}
    (shop.root / "registry.yaml").write_text(json.dumps({"registry": "workshop", "stages": rules}))
    shop.commit("a spy")
    return shop


@pytest.fixture
def watch(shop: Workshop) -> Iterator[Watch]:
    one = Watch(shop.root.parent / "seen")
    yield one
    shutil.rmtree(one.folder)


# Every way in which a model is loaded --------------------------------------------------------------


def test_a_model_sees_no_secret_when_it_is_checked_built_verified_asked_and_measured(
    shop: Workshop, watch: Watch, tmp_path: Path
) -> None:
    told("check", "adder", cwd=shop.root)
    watch.held()
    told("check", "--base", "HEAD~1", cwd=shop.root)
    watch.held()
    told("build", "-o", tmp_path / "dist", cwd=shop.root)
    watch.held()
    told("verify", tmp_path / "dist", cwd=shop.root)
    watch.held()
    told("verify", tmp_path / "dist", cwd=tmp_path)
    watch.held()
    told("predict", "adder", cwd=shop.root)
    watch.held()
    (shop.root / "held.py").write_text(
        f"PLACE = {str(watch.folder)!r}\n"
        f"def data():\n    exec({SPY!r})\n    return {{'x': [[1, 2], [3, 4]], 'y': [[6, 7], [8, 9]]}}\n"
        f"def wrong(targets, answers):\n    exec({SPY!r})\n    return 0.0\n"
    )
    told("evaluate", "adder", "--data", "held:data", "--metric", "held:wrong", cwd=shop.root)
    assert len(list(watch.folder.iterdir())) == 3  # the data, the model, the metric
    watch.held()
    (shop.root / "held.py").unlink()


def test_a_model_sees_no_secret_when_a_gate_loads_it(shop: Workshop, watch: Watch, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(shop.root, clone, symlinks=True)
    told("apply", cwd=clone)
    told("promote", "adder", "staging", "--branch", "wanted", cwd=clone)
    watch.held()
    run("git", "checkout", "-q", "wanted", cwd=clone)
    told("plan", cwd=clone)
    watch.held()
    told("apply", cwd=clone)
    watch.held()
    told("pull", "adder@1.0.0", "--package", "raw", "-o", tmp_path / "pulled", cwd=clone)
    watch.held()
    told("predict", "adder@1.0.0", cwd=clone)
    watch.held()


@needs_triton
def test_a_model_sees_no_secret_on_the_triton_that_serve_starts(shop: Workshop, watch: Watch) -> None:
    with serving(shop) as port:
        ask = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "INT32", "data": [1, 2]}]}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v2/models/adder/infer", json.dumps(ask).encode()
        )
        assert json.load(urllib.request.urlopen(request))["outputs"][0]["data"] == [6, 7]
    assert len(list(watch.folder.iterdir())) == 2  # its test, and Triton
    watch.held()


@contextlib.contextmanager
def serving(shop: Workshop, *options: str) -> Iterator[int]:
    """The HTTP port of a `gitreg serve` that is ready."""
    import signal
    import subprocess

    process = subprocess.Popen(
        [sys.executable, "-m", "gitreg", "serve", "adder", "--json", *FREE, *options],
        cwd=shop.root,
        env=around(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout and process.stderr
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("}"):
                break
        assert said, process.stderr.read()
        yield json.loads(said)["http"]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_a_model_sees_no_secret_when_it_is_added(shop: Workshop, watch: Watch, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(shop.root, clone, symlinks=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/number.txt").write_text("5")
    how = ("--class", "adder_model.Adder", "--code", shop.adder / "src", "--samples")
    told("new", "more", "--from", tmp_path / "out", *how, shop.adder / "samples.json", cwd=clone)
    watch.held()


class Planted:
    """A pickle that looks around when it is loaded, and then is what it should be."""

    def __init__(self, place: Path, model: object) -> None:
        self.code = f"(exec({SPY!r}, {{'PLACE': {str(place)!r}}}), __import__('pickle').loads({pickle.dumps(model)!r}))[1]"

    def __reduce__(self) -> Any:
        return eval, (self.code,)


def test_a_pickle_sees_no_secret_when_it_is_added_and_converted(
    shop: Workshop, watch: Watch, tmp_path: Path
) -> None:
    from sklearn.linear_model import LinearRegression

    clone = tmp_path / "clone"
    shutil.copytree(shop.root, clone, symlinks=True)
    model = LinearRegression().fit(np.eye(2), [1.0, 2.0])
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Planted(watch.folder, model)))
    (tmp_path / "samples.json").write_text(json.dumps([{"x": [1.0, 2.0]}, {"x": [3.0, 4.5]}]))
    how = ("--type", "scikit-learn", "--trust", "pickle", "--samples", tmp_path / "samples.json")
    told("new", "line", "--from", tmp_path / "model.pkl", *how, cwd=clone)
    watch.held()
    told("convert", "line", "--to", "onnx", "-o", tmp_path / "line.onnx", cwd=clone)
    watch.held()


def test_a_model_sees_no_secret_when_the_packager_tests_it(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/spied_model.py").write_text(spying(watch.folder))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/number.txt").write_text("5")
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    for name, value in around().items():
        monkeypatch.setenv(name, value)
    schema = ModelSchema([ModelSchemaItem("x", DataType.INT, [2])], [ModelSchemaItem("y", DataType.INT, [2])])
    how: Any = (str(tmp_path / "out"), "spied_model.Adder", schema)
    samples = [{"x": np.array([1, 2], np.int32)}]
    CustomTritonPackager().create_model_package(*how)
    watch.held()
    CustomTritonPackager().create_raw_model_package(*how, samples)
    watch.held()
    packager = CustomTritonPackager()
    packager.pass_env = ["HF_TOKEN"]
    packager.create_raw_model_package(*how, samples)
    watch.held("HF_TOKEN")
    packager.pass_env = ["HOME"]
    with pytest.raises(Usage, match="HOME is not passed"):
        packager.create_raw_model_package(*how, samples)


# What is passed by name ----------------------------------------------------------------------------


def test_what_is_named_is_passed_and_nothing_else(shop: Workshop, watch: Watch, tmp_path: Path) -> None:
    named = ("--pass-env", "HF_TOKEN", "--pass-env", "DATABASE_URL")
    dist = tmp_path / "dist"
    told("check", "adder", *named, cwd=shop.root)
    watch.held("HF_TOKEN", "DATABASE_URL")
    told("build", *named, "-o", dist, cwd=shop.root)
    watch.held("HF_TOKEN", "DATABASE_URL")
    told("verify", dist, *named, cwd=shop.root)
    watch.held("HF_TOKEN", "DATABASE_URL")
    told("predict", "adder", *named, cwd=shop.root)
    watch.held("HF_TOKEN", "DATABASE_URL")
    Registry(shop.root, pass_env=["HF_TOKEN"])  # the same in Python
    assert "warning: --pass-env NO_SUCH: it is not set here" in told(
        "predict", "adder", "--pass-env", "NO_SUCH", cwd=shop.root
    )
    watch.held()


@needs_triton
def test_what_is_named_is_passed_to_triton(shop: Workshop, watch: Watch) -> None:
    with serving(shop, "--pass-env", "HF_TOKEN"):
        pass
    watch.held("HF_TOKEN")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("HF_TOKEN=hf_abc", "HF_TOKEN=... is not the name of a variable"),
        ("AWS_*", "'AWS_*' is not the name of a variable"),
        ("", "'' is not the name of a variable"),
        ("A B", "'A B' is not the name of a variable"),
        ("A\nB", "'A\\nB' is not the name of a variable"),
        ("HOME", "HOME is not passed: the process of a model has one of its own"),
        ("TMPDIR", "TMPDIR is not passed"),
        ("GITREG_CHILD", "GITREG_CHILD is not passed"),
        ("PYTHONPATH", "PYTHONPATH is not passed: a model sees its package"),
        ("PYTHONSTARTUP", "PYTHONSTARTUP is not passed"),
    ],
)
def test_a_name_that_cannot_be_passed_is_refused(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(Usage) as caught:
        environment.checked(["LANG", name])
    assert says in caught.value.message and "hf_abc" not in caught.value.message
    (tmp_path / "registry.yaml").write_text(
        json.dumps({"registry": "r", "build": {"environment": ["LANG", name]}})
    )
    with pytest.raises(InvalidFiles, match=r"registry.yaml:1:\d+: build.environment\[1\]"):
        read_registry(tmp_path)


def test_a_value_on_the_command_line_is_refused_and_not_repeated(shop: Workshop) -> None:
    said = told("predict", "adder", "--pass-env", "HF_TOKEN=hf_abc", cwd=shop.root, code=2)
    assert "HF_TOKEN=..." in said and "hf_abc" not in said and "hint: export NAME=VALUE" in said


def test_registry_yaml_names_variables_for_everybody(shop: Workshop, watch: Watch, tmp_path: Path) -> None:
    clone = naming(shop, tmp_path, "HF_TOKEN")
    told("check", "adder", cwd=clone)
    watch.held("HF_TOKEN")
    told("build", cwd=clone)
    watch.held("HF_TOKEN")
    told("verify", "dist", cwd=clone)
    watch.held("HF_TOKEN")
    told("verify", clone / "dist", cwd=tmp_path)  # of no registry: nobody says so
    watch.held()
    told("predict", "adder", "--pass-env", "NPM_TOKEN", cwd=clone)
    watch.held("HF_TOKEN", "NPM_TOKEN")


def naming(shop: Workshop, tmp_path: Path, *names: str) -> Path:
    """A clone whose registry.yaml names variables; it is committed."""
    clone = tmp_path / "clone"
    shutil.copytree(shop.root, clone, symlinks=True)
    say(clone, *names)
    Workshop(clone).commit("variables")
    return clone


def say(root: Path, *names: str) -> None:
    said = json.loads((root / "registry.yaml").read_text())
    (root / "registry.yaml").write_text(json.dumps({**said, "build": {"environment": list(names)}}))


def test_an_earlier_commit_does_not_say_what_models_see_now(
    shop: Workshop, watch: Watch, tmp_path: Path
) -> None:
    clone = naming(shop, tmp_path, "AWS_SECRET_ACCESS_KEY", "HF_TOKEN")
    told("apply", cwd=clone)
    say(clone, "HF_TOKEN", "NPM_TOKEN")
    Workshop(clone).manifest(version="1.1.0")
    Workshop(clone).commit("others")
    told("predict", "adder@1.0.0", cwd=clone)
    watch.held("HF_TOKEN", "NPM_TOKEN")
    told("build", "adder@1.0.0", cwd=clone)
    watch.held("HF_TOKEN", "NPM_TOKEN")


def test_a_registry_at_an_address_does_not_ask_for_variables(up: Upstream, tmp_path: Path) -> None:
    watch = Watch(tmp_path / "seen")
    shop = up.work()
    shop.code(spying(watch.folder))
    said = "build: {environment: [AWS_SECRET_ACCESS_KEY, HF_TOKEN]}\n"
    with open(shop.root / "registry.yaml", "a") as stream:
        stream.write(said)
    shop.manifest(version="1.2.0")
    shop.commit("give me all")
    up.push()
    assert shop.gitreg("register", "adder", "--push").returncode == 0
    told("predict", "adder@1.2.0", "--registry", up.url, cwd=tmp_path)
    watch.held()
    told("predict", "adder", "--registry", up.url, "--pass-env", "HF_TOKEN", cwd=tmp_path)
    watch.held("HF_TOKEN")
    told("pull", "adder@1.2.0", "--package", "raw", "--registry", up.url, cwd=tmp_path)
    watch.held()


def test_a_pull_request_cannot_name_variables_for_its_own_check(
    shop: Workshop, watch: Watch, tmp_path: Path
) -> None:
    clone = naming(shop, tmp_path, "HF_TOKEN", "NPM_TOKEN")
    say(clone, "HF_TOKEN", "AWS_SECRET_ACCESS_KEY")
    Workshop(clone).commit("more")
    said = told("check", "--base", "HEAD~1", cwd=clone)
    watch.held("HF_TOKEN")
    assert "models see the variable AWS_SECRET_ACCESS_KEY from the merge on" in said
    assert "models no longer see the variable NPM_TOKEN" in said
    assert "secret-" not in said
    asked = ("--pass-env", "AWS_SECRET_ACCESS_KEY", "--format", "markdown")
    said = told("check", "--base", "HEAD~1", *asked, cwd=clone)  # a person says so
    assert "## Policy\n\n- models see the variable AWS" in said
    watch.held("HF_TOKEN", "AWS_SECRET_ACCESS_KEY")


def test_what_is_passed_is_part_of_what_a_build_depends_on(
    shop: Workshop, watch: Watch, tmp_path: Path
) -> None:
    clone = naming(shop, tmp_path, "HF_TOKEN")
    first, other = around(), around(HF_TOKEN="secret-other")
    build = lambda env: json.loads(gitreg("build", "--json", cwd=clone, env=env).stdout)[0]  # noqa: E731
    one = build(first)
    assert one["status"] == "built"
    bytes_of = {p: p.read_bytes() for p in (clone / "dist").rglob("*") if p.is_file()}
    assert build(first)["status"] == "unchanged"
    changed = build(other)
    assert changed["status"] == "built" and changed["digest"] == one["digest"]
    assert {p: p.read_bytes() for p in (clone / "dist").rglob("*") if p.is_file()} == bytes_of
    assert build({**other, "NPM_TOKEN": "x", "LANG": "C"})["status"] == "unchanged"  # it does not see them so
    remembered = (clone / ".git/gitreg/memo.sqlite").read_bytes()
    assert b"secret-other" not in remembered and SECRETS["HF_TOKEN"].encode() + b'"' not in remembered
    watch.take()


# The list ------------------------------------------------------------------------------------------


def test_the_list_has_no_secret_in_it() -> None:
    assert environment.allowed(SECRETS) == {}
    assert environment.allowed(ALLOWED) == ALLOWED
    assert environment.allowed(SECRETS, ["HF_TOKEN", "NO_SUCH"]) == {"HF_TOKEN": SECRETS["HF_TOKEN"]}


@pytest.mark.parametrize(
    ("proxy", "left"),
    [
        ("http://proxy:3128", "http://proxy:3128"),
        ("proxy:3128", "proxy:3128"),
        ("http://u:p@proxy:3128", "http://proxy:3128"),
        ("http://u:p@ss@proxy:3128", "http://proxy:3128"),
        ("http://u:p/ss@proxy:3128", "http://proxy:3128"),
        ("http://u:p://ss@proxy:3128/", "http://proxy:3128"),
        ("socks5h://u:p@[::1]:1080", "socks5h://[::1]:1080"),
        ("u:p@proxy", "proxy"),
        ("http://token@proxy", "http://proxy"),
        ("http://proxy:3128/?token=abc", "http://proxy:3128"),
        ("http://u:p\n@proxy", "http://proxy"),
        ("", None),
        ("http://u:p@", None),
    ],
)
def test_proxies_go_without_user_and_password(proxy: str, left: str | None) -> None:
    for name in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY", "ftp_proxy"):
        assert environment.allowed({name: proxy}).get(name) == left
        assert environment.allowed({name: proxy}, [name]) == {name: proxy}  # by name, as it is
