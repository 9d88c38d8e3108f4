"""Packages answer on a real Triton server: rows M12, M14, M16 and the last section of design.md.

One server holds every small model of this file.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tritonclient import grpc, http
from tritonclient.utils import InferenceServerException

from gitreg import CustomTritonPackager, DataType, ModelSchema, ModelSchemaItem, load_raw_model, server
from tests.odd import ODD, RAISED, RAISING, RETURNED, RETURNING
from tests.support import Workshop, make_registry, needs_triton
from tests.wheelhouse import wheel

MARK = "TRITON_TEST_MARK"
PROXY = {name: "http://127.0.0.1:9" for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy")}

pytestmark = needs_triton

HEAD = """
import os
import sys
from pathlib import Path

import numpy as np

from gitreg import Model


class It(Model):
    out = np.zeros(1, np.int32)

    def save(self, path):
        pass

    @classmethod
    def load(cls, path):
        return cls()

    def predict(self, inputs):
"""

INT1 = {"data_type": "int", "shape": [1]}
TYPES = {
    "boolean": np.array([True, False]),
    "byte": np.array([-128, 127], np.int8),
    "char": np.array([0, 255], np.uint8),
    "short": np.array([-32768, 32767], np.int16),
    "int": np.array([-(2**31), 2**31 - 1], np.int32),
    "long": np.array([-(2**63), 2**63 - 1], np.int64),
    "float": np.array([0.1, -3e38], np.float32),
    "double": np.array([0.1, 1e300], np.float64),
}
DELAY = {"dynamic_batching": {"max_queue_delay_microseconds": 300000, "preferred_batch_size": [8]}}
POISON = """
x = inputs["x"]
if (x < 0).any():
    raise ValueError(f"poisoned by {int(x.min())}")
return {"y": x * np.int32(2)}"""


@dataclass
class Small:
    """One small model: the body of its predict, its schema, and a sample."""

    body: str
    inputs: dict[str, dict[str, Any]]
    outputs: dict[str, dict[str, Any]]
    sample: dict[str, Any]
    more: dict[str, Any]


def small(body: str, inputs: Any = None, outputs: Any = None, sample: Any = None, **more: Any) -> Small:
    return Small(body, inputs or {"x": INT1}, outputs or {"y": INT1}, sample or {"x": [3]}, more)


def _odd() -> dict[str, Small]:
    """Models that raise and return whatever they are asked for, and answer positive numbers."""
    made = {}
    for name, body, outputs in (
        ("raising", RAISING, {"y": INT1}),
        ("returning", RETURNING, {"y": INT1, "t": {"data_type": "string", "shape": [1]}}),
    ):
        made[name] = small(body, outputs=outputs, triton=DELAY)
        made[f"{name}-custom"] = small(body, outputs=outputs, triton=DELAY, batching={"custom": True})
    return made


SMALL = {
    "default": small('assert inputs["x"].shape == (1,)\nreturn {"y": inputs["x"] + np.int32(1)}'),
    "custom": small(
        'assert inputs["x"].shape[1:] == (1,)\nreturn {"y": inputs["x"] + np.int32(1), "n": np.full_like(inputs["x"], len(inputs["x"]))}',
        outputs={"y": INT1, "n": INT1},
        batching={"custom": True},
    ),
    "optional": small(
        'return {"y": inputs["x"] + inputs.get("bonus", np.int32([1000]))}',
        inputs={"x": INT1, "bonus": {**INT1, "optional": True}},
        triton=DELAY,
    ),
    "optional-custom": small(
        'return {"y": inputs["x"] + inputs.get("bonus", np.int32([1000]))}',
        inputs={"x": INT1, "bonus": {**INT1, "optional": True}},
        batching={"custom": True},
        triton=DELAY,
    ),
    "text": small(
        """
        assert all(type(t) is bytes for t in inputs["t"])
        return {
            "raw": np.array([t[::-1] for t in inputs["t"]], object),
            "str": np.array([t.decode("utf-8", "replace").upper() for t in inputs["t"]], object),
            "fixed": np.array([t.decode("utf-8", "replace") for t in inputs["t"]]),
        }""",
        inputs={"t": {"data_type": "string", "shape": [2]}},
        outputs={n: {"data_type": "string", "shape": [2]} for n in ("raw", "str", "fixed")},
        sample={"t": ["ab", "é"]},
    ),
    "types": small(
        "return {n + '_out': a for n, a in inputs.items()}",
        inputs={n: {"data_type": n, "shape": [2]} for n in TYPES},
        outputs={f"{n}_out": {"data_type": n, "shape": [2]} for n in TYPES},
        sample={n: a.tolist() for n, a in TYPES.items()},
    ),
    "ragged": small(
        'return {"y": inputs["x"] * np.float32(2), "n": np.array([len(inputs["x"])], np.int32)}',
        inputs={"x": {"data_type": "float", "shape": [-1]}},
        outputs={"y": {"data_type": "float", "shape": [-1]}, "n": INT1},
        sample={"x": [1, 2, 3]},
        triton=DELAY,
    ),
    "ragged-custom": small(
        'return {"y": inputs["x"] * np.float32(2)}',
        inputs={"x": {"data_type": "float", "shape": [-1]}},
        outputs={"y": {"data_type": "float", "shape": [-1]}},
        sample={"x": [1, 2, 3]},
        batching={"custom": True},
        triton=DELAY,
    ),
    "whole": small(
        'return {"y": inputs["x"].sum(axis=1, dtype=np.int32)}',
        inputs={"x": {"data_type": "int", "shape": [-1, 2]}},
        outputs={"y": {"data_type": "int", "shape": [-1]}},
        sample={"x": [[1, 2], [3, 4], [5, 6]]},
        batching={"max_batch_size": 0},
    ),
    "poison": small(POISON, triton=DELAY),
    "poison-custom": small(POISON, triton=DELAY, batching={"custom": True}),
    "leaver": small('sys.exit(3) if inputs["x"][0] < 0 else None\nreturn {"y": inputs["x"]}'),
    "leaver-custom": small(
        'sys.exit(3) if (inputs["x"] < 0).any() else None\nreturn {"y": inputs["x"]}',
        batching={"custom": True},
    ),
    "wrong": small(
        """
        x = inputs["x"]
        return {
            0: {"y": x, "z": x.astype(np.float32)},
            1: {"y": x.astype(np.int64), "z": x.astype(np.float32)},
            2: {"y": np.int32([1, 2]), "z": x.astype(np.float32)},
            3: {"y": [1], "z": x.astype(np.float32)},
            4: {"y": x},
            5: None,
            6: {"y": x, "z": x.astype(np.float64)},
        }[int(x[0])]""",
        outputs={"y": INT1, "z": {"data_type": "float", "shape": [1]}},
        sample={"x": [0]},
    ),
    "wrong-custom": small(
        """
        x = inputs["x"]
        return {
            0: {"y": x},
            1: {"y": x.astype(np.int64)},
            2: {"y": x[:, 0]},
            3: {"y": x.tolist()},
            4: {},
            5: None,
            6: {"y": np.concatenate([x, x])},
        }[int(x[0, 0])]""",
        sample={"x": [0]},
        batching={"custom": True},
    ),
    "reuser": small('self.out[:] = inputs["x"] * 2\nreturn {"y": self.out}'),
    "writer": small('x = inputs["x"]\nx += np.int32(1)\nreturn {"y": x}'),
    "turner": small(
        'return {"y": inputs["x"].T, "s": inputs["x"][::-1, ::2]}',
        inputs={"x": {"data_type": "int", "shape": [2, 4]}},
        outputs={"y": {"data_type": "int", "shape": [4, 2]}, "s": {"data_type": "int", "shape": [2, 2]}},
        sample={"x": [[1, 2, 3, 4], [5, 6, 7, 8]]},
    ),
    "turner-custom": small(
        'return {"y": inputs["x"].transpose(0, 2, 1)}',
        inputs={"x": {"data_type": "int", "shape": [2, 3]}},
        outputs={"y": {"data_type": "int", "shape": [3, 2]}},
        sample={"x": [[1, 2, 3], [4, 5, 6]]},
        batching={"custom": True},
    ),
    "large": small(
        'n = int(inputs["x"][0])\nreturn {"y": np.ones(max(n, 0), np.int32), "t": np.array(["a" * max(-n, 0)])}',
        outputs={"y": {"data_type": "int", "shape": [-1]}, "t": {"data_type": "string", "shape": [1]}},
        triton=DELAY,
    ),
    "twins": small(
        'import time\ntime.sleep(0.05)\nreturn {"y": np.array([os.getpid()], np.int64)}',
        outputs={"y": {"data_type": "long", "shape": [1]}},
        batching={"max_batch_size": 1},
        triton={"instance_group": [{"kind": "KIND_CPU", "count": 2}]},
    ),
    **_odd(),
}


def write_model(shop: Workshop, name: str, model: Small) -> None:
    folder = shop.root / "models" / name
    (folder / "src").mkdir(parents=True)
    body = textwrap.indent(textwrap.dedent(model.body).strip(), " " * 8)
    head = (
        HEAD.replace("class It(Model):", ODD.strip()) if name.startswith(("raising", "returning")) else HEAD
    )
    (folder / "src" / "it.py").write_text(head + body + "\n")
    (folder / "samples.json").write_text(json.dumps([model.sample]))
    shutil.copy(shop.adder / "artifacts.dvc", folder)
    schema = {
        side: [{"name": n, **item} for n, item in items.items()]
        for side, items in (("inputs", model.inputs), ("outputs", model.outputs))
    }
    shop.manifest(name, name=name, model_class="it.It", schema=schema, **model.more)


NET = """
from pathlib import Path

import torch
from gitreg import Model


class Net(Model):
    def __init__(self, layers):
        self.layers = layers.eval()

    @staticmethod
    def fresh():
        return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))

    def save(self, path):
        torch.save(self.layers.state_dict(), Path(path) / "weights.pt")

    @classmethod
    def load(cls, path):
        layers = cls.fresh()
        layers.load_state_dict(torch.load(Path(path) / "weights.pt", weights_only=True))
        return cls(layers)

    def predict(self, inputs):
        with torch.no_grad():
            return {"y": self.layers(torch.from_numpy(inputs["x"].copy())).numpy()}
"""
NET_SCHEMA = ModelSchema(
    [ModelSchemaItem("x", DataType.FLOAT, [4])], [ModelSchemaItem("y", DataType.FLOAT, [2])]
)
INT_SCHEMA = ModelSchema([ModelSchemaItem("x", DataType.INT, [1])], [ModelSchemaItem("y", DataType.INT, [1])])
# The development environment installs it from Python 3.11 on; there its absence is a failure.
HAS_TORCH = sys.version_info >= (3, 11)


def add_packages(place: Path, dist: Path) -> None:
    """What the packager makes without a registry: a `model.py` of the user's, one file, PyTorch."""
    (place / "src").mkdir()
    single = HEAD.replace(
        "return cls()", "it = cls()\n        it.n = np.int32(Path(path).read_text())\n        return it"
    )
    single = single.replace("        pass", "        Path(path).write_text(str(self.n))")
    (place / "src/model.py").write_text(single + '        return {"y": inputs["x"] + self.n}\n')
    (place / "number.txt").write_text("40")
    made = [("single", place / "number.txt", "model.It", INT_SCHEMA, {"x": np.array([2], np.int32)})]
    if HAS_TORCH:
        (place / "src/net.py").write_text(NET)
        (place / "trained").mkdir()
        train = "import net, torch; torch.manual_seed(1); net.Net(net.Net.fresh()).save('../trained')"
        subprocess.run([sys.executable, "-c", train], cwd=place / "src", check=True)
        made.append(("net", place / "trained", "net.Net", NET_SCHEMA, {"x": np.ones(4, np.float32)}))
    sys.path.insert(0, str(place / "src"))
    try:
        for name, path, cls, schema, sample in made:
            packager = CustomTritonPackager()
            packager.create_model_package(path, cls, schema, name, dist / "triton" / name)
            packager.create_raw_model_package(path, cls, schema, sample, dist / "raw" / name)
    finally:
        sys.path.remove(str(place / "src"))


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packages of every small model."""
    place = tmp_path_factory.mktemp("triton")
    shop = Workshop(place / "registry")
    make_registry(shop.root)
    for name, model in SMALL.items():
        write_model(shop, name, model)
    done = shop.gitreg("build", *SMALL, "-o", place / "dist")
    assert done.returncode == 0, done.stdout + done.stderr
    add_packages(place, place / "dist")
    return place / "dist"


@pytest.fixture(scope="module")
def listening(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Ports]:
    """A real server over all of them."""
    log = tmp_path_factory.mktemp("log") / "triton.log"
    ports = server.free_ports("127.0.0.1", 0, 0, 0)
    with server.serve(server.find(), dist / "triton", ports, log):
        yield ports


@pytest.fixture(scope="module")
def url(listening: server.Ports) -> str:
    return f"127.0.0.1:{listening.http}"


def ask(url: str, model: str, **inputs: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Ask over HTTP; int arrays may be given as lists. Raises InferenceServerException."""
    arrays = {n: a if isinstance(a, np.ndarray) else np.array(a, np.int32) for n, a in inputs.items()}
    from tritonclient.utils import np_to_triton_dtype

    sent = []
    for name, array in arrays.items():
        one = http.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        one.set_data_from_numpy(array)
        sent.append(one)
    with contextlib.closing(http.InferenceServerClient(url, network_timeout=60)) as client:
        answer = client.infer(model, sent)
        return {o["name"]: answer.as_numpy(o["name"]) for o in answer.get_response()["outputs"]}


def tell(url: str, path: str, body: Any = None) -> Any:
    """JSON over plain HTTP; an error comes back as its own JSON."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(f"http://{url}/v2/models/{path}", data, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def y(url: str, model: str, x: Any, datatype: str = "INT32", **others: Any) -> Any:
    """The flat answer `y` of a model, or its error's text."""
    inputs = [
        {"name": n, "datatype": datatype, "shape": list(np.shape(v)), "data": v}
        for n, v in {"x": x, **others}.items()
    ]
    answer = tell(url, f"{model}/infer", {"inputs": inputs})
    return answer.get("error") or next(o["data"] for o in answer["outputs"] if o["name"] == "y")


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [one.result() for one in [pool.submit(call) for call in calls]]


def executions(url: str, model: str) -> tuple[int, int]:
    """How many requests and how many calls of `execute` a model has had."""
    stats = tell(url, f"{model}/stats")["model_stats"][0]
    return stats["inference_count"] + stats["inference_stats"]["fail"]["count"], stats["execution_count"]


# Every model ----------------------------------------------------------------------------------------


def as_bytes(array: np.ndarray[Any, Any]) -> Any:
    if array.dtype.kind not in "OSU":
        return array.tolist()
    return [e.encode() if isinstance(e, str) else e for e in array.ravel().tolist()]


@pytest.mark.parametrize("name", [*[n for n in SMALL if n != "twins"], "single", "net"])
def test_the_server_answers_a_models_samples_as_the_raw_package_does(dist: Path, url: str, name: str) -> None:
    if name == "net" and not HAS_TORCH:
        pytest.skip("no PyTorch for this Python")
    version = dist / "raw" / name / "0"
    schema = yaml.safe_load((version / "metadata/schema.yaml").read_text())["input_schema"]
    sample = yaml.safe_load((version / "metadata/sample_data.yaml").read_text())[0]
    arrays = {}
    for item in schema:
        if item["name"] in sample:
            value = sample[item["name"]]
            if item["data_type"] == "STRING":
                value = [e.encode() for e in value]
            arrays[item["name"]] = np.array(value, DataType[item["data_type"]].dtype)
    config = tell(url, f"{name}/config")
    batched = config["max_batch_size"] > 0
    custom = "gitreg.custom_batching" in config["parameters"]
    sent = {n: a[None] if batched else a for n, a in arrays.items()}
    direct = load_raw_model(version).predict({n: a.copy() for n, a in (sent if custom else arrays).items()})
    served = ask(url, name, **sent)
    assert {n: as_bytes(a[0] if batched else a) for n, a in served.items()} == {
        n: as_bytes(a[0] if custom else a) for n, a in direct.items()
    }


# Batching -------------------------------------------------------------------------------------------


def test_a_batch_of_rows_is_answered_row_by_row(url: str) -> None:
    assert y(url, "default", [[n] for n in range(256)]) == list(range(1, 257))


def test_with_custom_batching_the_model_gets_all_rows_at_once(url: str) -> None:
    answer = ask(url, "custom", x=[[1], [2], [3]])
    assert answer["y"].tolist() == [[2], [3], [4]] and answer["n"].tolist() == [[3], [3], [3]]


@pytest.mark.parametrize("name", ["optional", "optional-custom"])
def test_requests_with_and_without_an_optional_input_come_out_right_together(url: str, name: str) -> None:
    def call(n: int) -> Callable[[], Any]:
        rows = [[n]] * (1 + n % 3)
        bonus = {"bonus": [[n * 10]] * len(rows)} if n % 2 else {}
        return lambda: y(url, name, rows, **bonus)

    answers = at_once([call(n) for n in range(16)])
    assert answers == [[n + (n * 10 if n % 2 else 1000)] * (1 + n % 3) for n in range(16)]


@pytest.mark.parametrize("name", ["ragged", "ragged-custom"])
def test_requests_of_different_lengths_come_out_right_together(url: str, name: str) -> None:
    def call(n: int) -> Callable[[], Any]:
        return lambda: ask(url, name, x=np.full((1 + n % 2, n), n, np.float32))["y"].tolist()

    answers = at_once([call(n) for n in range(1, 13)])
    assert answers == [[[2.0 * n] * n] * (1 + n % 2) for n in range(1, 13)]


def test_a_variable_length_may_be_zero(url: str) -> None:
    answer = ask(url, "ragged", x=np.zeros((2, 0), np.float32))
    assert answer["y"].shape == (2, 0) and answer["n"].tolist() == [[0], [0]]


def test_without_batching_the_model_gets_the_request_as_it_is(url: str) -> None:
    assert ask(url, "whole", x=[[1, 2]])["y"].tolist() == [3]
    assert ask(url, "whole", x=[[n, n] for n in range(500)])["y"].tolist() == [2 * n for n in range(500)]
    assert tell(url, "whole/config")["max_batch_size"] == 0


def test_a_request_over_the_batch_size_is_refused(url: str) -> None:
    assert "<= 256" in y(url, "default", [[0]] * 257)


def test_rows_of_a_model_that_reuses_its_output_buffer_stay_apart(url: str) -> None:
    assert y(url, "reuser", [[1], [2], [3]]) == [2, 4, 6]


def test_a_model_may_write_into_its_inputs(url: str) -> None:
    assert y(url, "writer", [[1], [2], [3]]) == [2, 3, 4]


@pytest.mark.parametrize("name", ["turner", "turner-custom"])
def test_outputs_that_are_not_contiguous_come_out_right(url: str, name: str) -> None:
    width = 4 if name == "turner" else 3
    x = np.arange(2 * 2 * width, dtype=np.int32).reshape(2, 2, width)
    answer = ask(url, name, x=x)
    assert answer["y"].tolist() == x.transpose(0, 2, 1).tolist()
    if name == "turner":
        assert answer["s"].tolist() == x[:, ::-1, ::2].tolist()


# Types ----------------------------------------------------------------------------------------------


def test_every_data_type_makes_the_round_trip_unchanged(url: str) -> None:
    sent = {name: np.stack([array, array[::-1]]) for name, array in TYPES.items()}
    answer = ask(url, "types", **sent)
    for name, array in sent.items():
        assert answer[f"{name}_out"].dtype == array.dtype, name
        assert (answer[f"{name}_out"] == array).all(), name


def test_strings_arrive_as_bytes_and_leave_as_utf8(url: str) -> None:
    texts = np.array([[b"ab", "é".encode()], [b"\xff\x00a", b""]], object)
    answer = ask(url, "text", t=texts)
    assert answer["raw"].tolist() == [[b"ba", "é".encode()[::-1]], [b"a\x00\xff", b""]]
    assert answer["str"].tolist() == [[b"AB", "É".encode()], ["\ufffd\0A".encode(), b""]]
    assert answer["fixed"].tolist()[0] == [b"ab", "é".encode()]


def test_strings_may_be_asked_in_json(url: str) -> None:
    sent = {
        "inputs": [{"name": "t", "datatype": "BYTES", "shape": [1, 2], "data": ["ü", ""]}],
        "outputs": [{"name": "str"}],
    }
    answer = tell(url, "text/infer", sent)
    assert {o["name"]: o["data"] for o in answer["outputs"]} == {"str": ["Ü", ""]}


def test_an_input_of_another_type_is_refused(url: str) -> None:
    assert "INT32" in y(url, "default", [[1.0]], datatype="FP32")


# Failures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["poison", "poison-custom"])
def test_a_poisoned_request_fails_alone_and_the_others_of_its_batch_are_right(url: str, name: str) -> None:
    before = executions(url, name)
    xs = [n if n % 4 else -n - 1 for n in range(16)]
    answers = at_once([lambda x=x: y(url, name, [[x]]) for x in xs])  # type: ignore[misc]
    after = executions(url, name)
    for x, answer in zip(xs, answers, strict=True):
        if x < 0:
            assert f"ValueError: poisoned by {x}" in answer
        else:
            assert answer == [2 * x]
    calls = after[1] - before[1]
    assert calls < len(xs), "they did share batches"


@pytest.mark.parametrize("name", ["raising", "raising-custom", "returning", "returning-custom"])
def test_whatever_a_model_raises_or_returns_its_own_request_alone_fails(url: str, name: str) -> None:
    expected = {n: text for n, (_, text) in (RAISED if "raising" in name else RETURNED).items()}
    if name == "returning-custom":  # of a batch the array itself is looked at, and not what it says
        expected[20] = None
    before = executions(url, name)
    xs = [x for n in expected for x in (-n, n)]
    answers = at_once([lambda x=x: y(url, name, [[x]]) for x in xs])  # type: ignore[misc]
    after = executions(url, name)
    for x, answer in zip(xs, answers, strict=True):
        text = None if x > 0 else expected[-x]
        if text is None:
            assert answer == [2 * x], x
        else:
            assert text.replace("{}", "1, " if "custom" in name else "") in answer, x
            assert len(answer.encode()) <= 2000
    assert after[1] - before[1] < len(xs), "they did share batches"


IN_LITTLE_MEMORY = """
import json, sys
from pathlib import Path
from gitreg import server
from tests.test_triton import at_once, y

ports = server.free_ports("127.0.0.1", 0, 0, 0)
with server.serve(server.find(), Path(sys.argv[1]), ports, Path(sys.argv[2])):
    url = f"127.0.0.1:{ports.http}"
    for large in (20_000_000, -80_000_000):
        calls = [lambda x=x: y(url, "large", [[x]]) for x in (1, 2, large, 3, 4, 5, 6, 7)]
        print(json.dumps([a if isinstance(a, str) else len(a) for a in at_once(calls)]))
"""


def test_an_answer_that_is_larger_than_the_shared_memory_fails_alone(dist: Path, tmp_path: Path) -> None:
    """As in Docker, which gives a container 64 MiB."""
    shutil.copytree(dist / "triton" / "large", tmp_path / "models" / "large")
    own = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else []), "sh", "-ec"]
    own += ['mount -t tmpfs -o size=64m none /dev/shm && exec "$@"', "sh"]
    command = [sys.executable, "-c", IN_LITTLE_MEMORY, str(tmp_path / "models"), str(tmp_path / "log")]
    done = subprocess.run([*own, *command], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    numbers, texts = map(json.loads, done.stdout.splitlines())
    for answers in (numbers, texts):
        error = answers.pop(2)
        assert error.startswith("MemoryError: the answer takes 80,000,0"), error
        assert "and all of /dev/shm has 67,108,864; Docker: --shm-size" in error
        assert answers == [1, 2, 3, 4, 5, 6, 7]


def test_a_grpc_client_reads_the_text_of_an_error_however_long_it_was(listening: server.Ports) -> None:
    sent = grpc.InferInput("x", [1, 1], "INT32")
    with grpc.InferenceServerClient(
        f"127.0.0.1:{listening.grpc}", channel_args=[("grpc.enable_http_proxy", 0)]
    ) as client:
        for number in (7, 8):
            sent.set_data_from_numpy(np.array([[-number]], np.int32))
            with pytest.raises(InferenceServerException, match=r"ValueError: .*\.\.\. \(shortened\)"):
                client.infer("raising", [sent])


@pytest.mark.parametrize("name", ["leaver", "leaver-custom"])
def test_a_model_that_calls_sys_exit_answers_with_an_error_and_goes_on(url: str, name: str) -> None:
    assert "SystemExit: 3" in y(url, name, [[-1]])
    assert y(url, name, [[7]]) == [7]
    with urllib.request.urlopen(f"http://{url}/v2/health/ready") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("name", "x", "error"),
    [
        ("wrong", 1, "output 'y': expected int [1], got long [1]"),
        ("wrong", 2, "output 'y': expected int [1], got int [2]"),
        ("wrong", 3, "output 'y': expected int [1], got a Python list"),
        ("wrong", 4, "output 'z' is missing from the model's answer"),
        ("wrong", 5, "predict returned a NoneType; a dict of arrays is expected"),
        ("wrong", 6, "output 'z': expected float [1], got double [1]"),
        ("wrong-custom", 1, "output 'y': expected int [1, 1], got long [1, 1]"),
        ("wrong-custom", 2, "output 'y': expected int [1, 1], got int [1]"),
        ("wrong-custom", 3, "output 'y': expected int [1, 1], got a Python list"),
        ("wrong-custom", 4, "output 'y' is missing from the model's answer"),
        ("wrong-custom", 5, "predict returned a NoneType; a dict of arrays is expected"),
        ("wrong-custom", 6, "output 'y': expected int [1, 1], got int [2, 1]"),
    ],
)
def test_a_wrong_output_is_an_error_that_names_it(url: str, name: str, x: int, error: str) -> None:
    assert error in y(url, name, [[x]])
    assert y(url, name, [[0]]) == [0]


def test_one_wrong_row_fails_its_request(url: str) -> None:
    assert "output 'y': expected int [1], got long [1]" in y(url, "wrong", [[0], [1], [0]])


# Configuration --------------------------------------------------------------------------------------


def test_an_instance_group_of_the_triton_fragment_is_two_processes(url: str) -> None:
    assert tell(url, "twins/config")["instance_group"][0]["count"] == 2
    answers = at_once([lambda: y(url, "twins", [[0]])] * 16)
    assert len({a[0] for a in answers}) == 2


def test_the_fragment_is_merged_over_the_generated_config(url: str) -> None:
    config = tell(url, "poison/config")
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 300000
    assert config["max_batch_size"] == 256 and config["input"][0]["dims"] == [1]
    assert tell(url, "optional/config")["input"][1]["optional"] is True


def test_a_single_file_artifact_and_a_users_model_py_are_served(url: str) -> None:
    assert y(url, "single", [[2], [3]]) == [42, 43]


@pytest.mark.skipif(not HAS_TORCH, reason="no PyTorch for this Python")
def test_a_pytorch_model_answers_a_batch_as_it_does_single_rows(dist: Path, url: str) -> None:
    rows = np.random.default_rng(1).normal(size=(32, 4)).astype(np.float32)
    net = load_raw_model(dist / "raw" / "net")
    single = np.stack([net.predict({"x": row})["y"] for row in rows])
    np.testing.assert_allclose(ask(url, "net", x=rows)["y"], single, rtol=1e-6)


# gitreg serve ---------------------------------------------------------------------------------------


@dataclass
class Serving:
    """`gitreg serve` as a user starts it, from a terminal."""

    process: subprocess.Popen[str]
    mark: str

    def ready(self) -> dict[str, Any]:
        assert self.process.stdout and self.process.stderr
        said = ""
        for line in self.process.stdout:
            said += line
            with contextlib.suppress(ValueError):
                return dict(json.loads(said))
        pytest.fail(f"it never was ready: {self.process.stderr.read()}")

    def mine(self) -> list[int]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{MARK}={self.mark}".encode() in (process / "environ").read_bytes():
                    found.append(int(process.name))
        return found

    def nothing_is_left(self) -> None:
        end, lively = time.monotonic() + 20, []
        for pid in self.mine():
            with contextlib.suppress(OSError):
                handle = os.pidfd_open(pid)
                if not select.select([handle], [], [], max(0, end - time.monotonic()))[0]:
                    lively.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
                    os.kill(pid, signal.SIGKILL)
                os.close(handle)
        assert lively == []
        assert list(Path("/dev/shm").glob(f"gitreg-{self.process.pid}-*")) == []


@pytest.fixture
def serve(workshop: Workshop, tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    (tmp_path / "tmp").mkdir()
    started: list[Serving] = []

    def start(*arguments: str) -> Serving:
        mark = uuid.uuid4().hex
        process = subprocess.Popen(
            [sys.executable, "-m", "gitreg", "serve", "--pass-env", MARK, *arguments],
            cwd=workshop.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # No proxy is there; nothing on this machine may ask it.
            env={**os.environ, **PROXY, MARK: mark, "TMPDIR": str(tmp_path / "tmp")},
        )
        started.append(Serving(process, mark))
        return started[-1]

    yield start
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.communicate()


FREE = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")


def test_serve_says_when_it_is_ready_answers_and_ends_with_an_interrupt(
    serve: Callable[..., Serving], tmp_path: Path
) -> None:
    serving = serve("adder", "--json", *FREE)
    ready = serving.ready()
    assert ready["models"] == ["adder"] and ready["pid"] == serving.process.pid
    assert len({ready["http"], ready["grpc"], ready["metrics"]}) == 3
    assert y(f"127.0.0.1:{ready['http']}", "adder", [[1, 2], [3, 4]]) == [6, 7, 8, 9]
    with urllib.request.urlopen(f"http://127.0.0.1:{ready['metrics']}/metrics") as answer:
        assert b"nv_inference_request_success" in answer.read()
    assert list(Path("/dev/shm").glob(f"gitreg-{serving.process.pid}-*")), "its segments can be told apart"
    os.killpg(serving.process.pid, signal.SIGINT)
    _, stderr = serving.process.communicate(timeout=40)
    assert serving.process.returncode == 130 and "Traceback" not in stderr
    serving.nothing_is_left()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_served_model_finds_what_its_own_environment_has(
    serve: Callable[..., Serving], workshop: Workshop, house: Path
) -> None:
    wheel(house, "lib", "7")
    code = (workshop.adder / "src/adder_model.py").read_text()
    workshop.code(
        code.replace("self.number)", "int(lib.VERSION))").replace("import numpy", "import lib\nimport numpy")
    )
    workshop.manifest(requirements=["lib"])
    serving = serve("adder", "--json", "--env", "own", *FREE)
    ready = serving.ready()
    assert y(f"127.0.0.1:{ready['http']}", "adder", [[1, 2]]) == [8, 9]
    os.killpg(serving.process.pid, signal.SIGINT)
    serving.process.communicate(timeout=40)
    serving.nothing_is_left()

    other = {"artifact": "../adder/artifacts", "code": "../adder/src", "sample_data": "../adder/samples.json"}
    workshop.manifest("other", name="other", requirements=["lib>6"], **other)
    serving = serve("adder", "other", "--env", "own", *FREE)
    _, stderr = serving.process.communicate(timeout=60)
    assert serving.process.returncode == 1
    assert "error: adder and other have different requirements, and so environments of their own" in stderr
    reason = server.unfit(server.find(), "2.1.0")
    assert reason and reason.endswith("needs NumPy 1; NumPy 2.1.0 is installed")


def test_a_killed_serve_ends_its_server(serve: Callable[..., Serving], workshop: Workshop) -> None:
    serving = serve("adder", "--json", *FREE)
    port = serving.ready()["http"]
    assert any("tritonserver" in Path(f"/proc/{p}/cmdline").read_text() for p in serving.mine())
    serving.process.kill()
    serving.process.wait()
    serving.nothing_is_left()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert workshop.gitreg("predict", "adder").returncode == 0
    assert not list(workshop.root.rglob(".gitreg-*")), "what it left is swept by the next"


@pytest.mark.parametrize("option", ["--http-port", "--grpc-port", "--metrics-port"])
def test_a_port_in_use_is_named_with_a_hint(serve: Callable[..., Serving], option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ports = dict(zip(FREE[::2], FREE[1::2], strict=True)) | {option: port}
        serving = serve("adder", *(word for pair in ports.items() for word in pair))
        _, stderr = serving.process.communicate(timeout=40)
    assert serving.process.returncode == 4
    assert f"error: port {port} on 127.0.0.1 is taken" in stderr and f"or {option} 0, which" in stderr
    serving.nothing_is_left()


def test_a_model_that_fails_is_not_served(serve: Callable[..., Serving], workshop: Workshop) -> None:
    workshop.code("raise RuntimeError('no luck')\n" + (workshop.adder / "src/adder_model.py").read_text())
    serving = serve("adder", "--json", *FREE)
    stdout, stderr = serving.process.communicate(timeout=40)
    assert (serving.process.returncode, stdout) == (1, "")
    assert "RuntimeError: no luck" in stderr
    serving.nothing_is_left()


def test_a_server_that_dies_is_told_and_cleaned_up(serve: Callable[..., Serving]) -> None:
    serving = serve("adder", "--json", *FREE)
    serving.ready()
    for pid in serving.mine():
        if "bin/tritonserver" in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(pid, signal.SIGKILL)
    _, stderr = serving.process.communicate(timeout=40)
    assert serving.process.returncode == 4 and "error: tritonserver ended" in stderr
    assert "starting Triton again" not in stderr
    serving.nothing_is_left()


def add_other(workshop: Workshop, name: str, load: str) -> None:
    """Adds the adder once more, whose `load` does something before, on Triton alone."""
    shutil.copytree(workshop.adder, workshop.root / "models" / name)
    code = "import os, sys, time\n" + (workshop.adder / "src/adder_model.py").read_text()
    load = f'        if "triton_python_backend_utils" in sys.modules:\n            {load}\n'
    code = code.replace("        return cls(", load + "        return cls(").replace("adder_model", "it")
    (workshop.root / "models" / name / "src/it.py").write_text(code)
    workshop.manifest(name, name=name, model_class="it.Adder")


def test_models_that_are_not_ready_in_time_are_named(
    serve: Callable[..., Serving], workshop: Workshop
) -> None:
    add_other(workshop, "slow", "time.sleep(100)")
    serving = serve("adder", "slow", "--ready-timeout", "6", *FREE)
    stdout, stderr = serving.process.communicate(timeout=60)
    assert (serving.process.returncode, stdout) == (4, "")
    assert re.search(r"[01] of 2 models are ready; waiting for (adder, )?slow \(\d+ s\)\n", stderr)
    # A busy machine may not have loaded the other either.
    assert re.search(r"error: [12] of 2 models are not ready after 6 s: (adder, )?slow\n    \| ", stderr)
    assert '"loading: slow:0"' in stderr and "hint: --ready-timeout" in stderr
    serving.nothing_is_left()


def test_models_that_triton_cannot_load_are_named_whatever_they_raise(
    serve: Callable[..., Serving], workshop: Workshop
) -> None:
    raised = {
        "stopped": ("raise KeyboardInterrupt('while it loads')", "KeyboardInterrupt: while it loads"),
        "half": (r"raise ValueError('a\ud800b')", r"ValueError: a\\ud800b"),
        "long": ("raise ValueError('m' * 10_000_000)", "ValueError: mmm"),
        "leaver": ("raise SystemExit(3)", "SystemExit: 3"),
        "plain": ("raise ValueError('no luck')", "ValueError: no luck"),
    }
    for name, (load, _) in raised.items():
        add_other(workshop, name, load)
    serving = serve(*raised, "--json", *FREE)
    stdout, stderr = serving.process.communicate(timeout=60)
    assert (serving.process.returncode, stdout) == (4, "")
    # On a slow machine it tells before what it waits for.
    head, *lines = stderr[stderr.index("error: ") :].rstrip().splitlines()
    assert head.startswith("error: tritonserver ended with exit code 1, as it could not load ")
    for name, (_, text) in raised.items():
        assert name in head
        assert any(f"failed to load '{name}' version 0: " in line and text in line for line in lines), stderr
    assert all(line.startswith("    | ") and len(line) < 450 for line in lines)
    serving.nothing_is_left()


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_to_be_ready_is_a_number_of_seconds(workshop: Workshop, seconds: str) -> None:
    done = workshop.gitreg("serve", "adder", "--ready-timeout", seconds)
    assert done.returncode == 2 and "--ready-timeout" in done.stderr


DEATHS = """
if inputs["x"][0] < 0:
    import ctypes
    import os

    [lambda: os._exit(0), lambda: ctypes.string_at(0), lambda: os.kill(os.getpid(), 9)][-inputs["x"][0] - 1]()
"""


def test_a_server_is_started_again_when_a_model_ends_its_process_and_ends_at_the_third_time(
    serve: Callable[..., Serving], workshop: Workshop
) -> None:
    # What a model has forked may come back from `load` too, and end as it likes.
    add_other(workshop, "other", "os.fork(); os.fork() or (time.sleep(1), os._exit(0))")
    workshop.code(
        (workshop.adder / "src/adder_model.py")
        .read_text()
        .replace("        return {", textwrap.indent(DEATHS, " " * 8) + "        return {")
    )
    serving = serve("adder", "other", "--json", *FREE)
    url = f"127.0.0.1:{serving.ready()['http']}"
    assert serving.process.stderr
    said = ""
    for deadly in (-1, -2, -3):
        assert y(url, "adder", [[1, 2]]) == [6, 7] and y(url, "other", [[1, 2]]) == [6, 7]
        with contextlib.suppress(OSError):  # it may be gone before it has answered
            assert "Stub process 'adder_0' is not healthy" in y(url, "adder", [[deadly, 0]])
        while deadly > -3 and "Triton is ready again\n" not in said:
            line = serving.process.stderr.readline()
            assert line, said
            said += "" if "models are ready" in line else line
        if deadly > -3:
            assert said.startswith("warning: adder: the process of the model ended (os._exit, a crash"), said
            assert said.count("\n") == 2
            said = ""
    _, stderr = serving.process.communicate(timeout=40)
    assert serving.process.returncode == 4
    assert "error: adder: the process of the model ended; that was the third time in a minute" in stderr
    assert "hint: gitreg predict adder --input FILE" in stderr
    serving.nothing_is_left()
