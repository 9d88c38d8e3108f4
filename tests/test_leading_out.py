"""Nothing that a manifest, a package or an artifact names lies outside of the package: Triton's settings, loaders'
options, and paths in model files. Real files, real frameworks, and a real Triton for what it would have run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gitreg import builder, flavors, folders, load_raw_model, references, server, verifier
from gitreg.errors import Refused
from gitreg.gather import gather
from gitreg.packages import fields, record_digest
from gitreg.packages.settings import judge_package
from gitreg.packages.triton import around_package, mistakes, model_config_pb2, parse_config
from gitreg.store import Store
from tests.flavored import shop_with
from tests.support import Workshop, make_registry, needs_triton

DOCS = Path(__file__).parent.parent / "docs"
FILE = "models/adder/model.yaml"


def check(shop: Workshop, name: str = "adder") -> list[str]:
    """The errors of one model's manifest."""
    gathered = gather(shop.root, f"models/{name}/model.yaml", Store(shop.root, folders.digests), None)
    return [str(problem) for problem in gathered.errors]


# The list -------------------------------------------------------------------------------------------


def every_field(descriptor: Any, above: str = "") -> Iterator[str]:
    """Every field of a message that holds a value, by its dotted name; of a mapping, the mapping itself too."""
    for one in descriptor.fields:
        name, kind = f"{above}.{one.name}".lstrip("."), one.message_type
        mapping = kind is not None and kind.GetOptions().map_entry
        if kind is None or mapping or not kind.fields:
            yield name
        if mapping:
            kind = kind.fields_by_name["value"].message_type
        if kind is not None:
            yield from every_field(kind, name)


def test_the_list_decides_every_field_of_the_message_and_no_other() -> None:
    names = set(every_field(model_config_pb2().ModelConfig.DESCRIPTOR))
    assert len(names) > 100
    assert {name for name in names if not fields.decided(name)} == set()
    assert {*fields.ALLOWED, *fields.WRITTEN} - names == set()
    for one in (*fields.REFUSED, *fields.OWNED):
        assert any(name == one or name.startswith(f"{one}.") for name in names), one


def test_a_field_that_the_list_does_not_decide_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(fields.ALLOWED, "response_cache.enable")
    monkeypatch.delitem(fields.ALLOWED, "version_policy.all")
    for said, place in (
        ({"response_cache": {"enable": True}}, ("response_cache",)),
        ({"version_policy": {"all": {}}}, ("version_policy", "all")),
    ):
        (found,) = mistakes(said, "python")
        assert found[0] == place and "not a field that gitreg knows" in found[1]


def test_the_guide_prints_the_list() -> None:
    assert fields.tables() in (DOCS / "serve.md").read_text()


def test_every_option_of_every_loader_names_a_file_or_does_not() -> None:
    options = {option for flavor in flavors.FLAVORS.values() for option in flavor.options}
    assert options == references.FILE_OPTIONS | references.OTHER_OPTIONS
    assert not references.FILE_OPTIONS & references.OTHER_OPTIONS


# Manifests ------------------------------------------------------------------------------------------


def parameter(name: str, value: str) -> dict[str, Any]:
    return {"parameters": {name: {"string_value": value}}}


def warmup(file: str, **more: Any) -> dict[str, Any]:
    inputs = {"x": {"data_type": "TYPE_INT32", "dims": [2], "input_data_file": file, **more}}
    return {"model_warmup": [{"name": "w", "batch_size": 1, "inputs": inputs}]}


def state(file: str) -> dict[str, Any]:
    said = {"name": "s", "data_type": "TYPE_INT32", "dims": [1], "data_file": file}
    return {
        "sequence_batching": {"state": [{"input_name": "a", "output_name": "b", "initial_state": [said]}]}
    }


def accelerator(where: str, name: str, **parameters: str) -> dict[str, Any]:
    one = {"name": name, "parameters": parameters}
    return {"optimization": {"execution_accelerators": {f"{where}_execution_accelerator": [one]}}}


HOSTILE: list[tuple[dict[str, Any], str]] = [
    ({"default_model_filename": "../../../../evil.py"}, "default_model_filename"),
    ({"defaultModelFilename": "/tmp/evil.py"}, "defaultModelFilename"),
    ({"default_model_filename": "model/evil.py"}, "default_model_filename"),
    ({"cc_model_filenames": {"7.5": "../evil.onnx"}}, "cc_model_filenames.7.5"),
    ({"model_operations": {"op_library_filename": ["evil.so"]}}, "model_operations"),
    ({"modelOperations": {"opLibraryFilename": ["/tmp/evil.so"]}}, "modelOperations"),
    ({"runtime": "../../evil"}, "runtime"),
    ({"backend": "../../evil"}, "backend"),
    ({"maxBatchSize": 4}, "maxBatchSize"),
    ({"output": [{"name": "y", "label_filename": "/etc/passwd"}]}, "output"),
    ({"input": []}, "input"),
    ({"model_repository_agents": {"agents": [{"name": "evil"}]}}, "model_repository_agents"),
    ({"ensemble_scheduling": {"step": [{"model_name": "other", "model_version": 1}]}}, "ensemble_scheduling"),
    (parameter("EXECUTION_ENV_PATH", "/tmp/env.tar.gz"), "parameters.EXECUTION_ENV_PATH"),
    (parameter("EXECUTION_ENV_PATH", "$$TRITON_MODEL_DIRECTORY/../env"), "parameters.EXECUTION_ENV_PATH"),
    (parameter("TRITON_BATCH_STRATEGY_PATH", "evil.so"), "parameters.TRITON_BATCH_STRATEGY_PATH"),
    (parameter("TF_INIT_OPS_FILE", "init.json"), "parameters.TF_INIT_OPS_FILE"),
    (parameter("gitreg.artifact", "../../../x"), "parameters.gitreg.artifact"),
    (parameter("custom_op_library", "/tmp/evil.so"), "parameters.custom_op_library.string_value"),
    (parameter("mine", "a/../../b"), "parameters.mine.string_value"),
    (warmup("../../../secret"), "model_warmup[0].inputs.x.input_data_file"),
    (warmup("/etc/passwd"), "model_warmup[0].inputs.x.input_data_file"),
    (warmup("not-there"), "model_warmup[0].inputs.x.input_data_file"),
    (state("../0/model.py"), "sequence_batching.state[0].initial_state[0].data_file"),
    (accelerator("gpu", "tensorrt", trt_engine_cache_path="/tmp"), "trt_engine_cache_path"),
    (accelerator("gpu", "tensorrt", trt_extra_plugin_lib_paths="evil.so"), "trt_extra_plugin_lib_paths"),
    (accelerator("gpu", "tensorrt", int8_calibration_table_name="../x"), "int8_calibration_table_name"),
    (accelerator("cpu", "openvino", cache_dir="x"), "cache_dir"),
    (accelerator("cpu", "../evil"), "cpu_execution_accelerator[0].name"),
    # Triton's Python backend has a shell start a process with this name on its command line.
    ({"instance_group": [{"name": "x; touch evil #"}]}, "instance_group[0].name"),
    ({"instance_group": [{"host_policy": "../x"}]}, "instance_group[0].host_policy"),
    ({"instance_group": [{"count": 100000}]}, "instance_group[0].count"),
    ({"instance_group": [{"count": 100}] * 30}, "instance_group"),
    ({"dynamic_batching": {"priority_levels": 10**12}}, "dynamic_batching.priority_levels"),
    ({"dynamic_batching": {"max_queue_delay_microseconds": 10**15}}, "max_queue_delay_microseconds"),
    ({"model_warmup": [{"name": f"w{i}"} for i in range(1001)]}, "model_warmup"),
    (
        {"model_warmup": [{"batch_size": 9, "inputs": {"x": {"dims": [10**12], "zero_data": True}}}]},
        "model_warmup[0].inputs.x",
    ),
]


@pytest.mark.parametrize(("said", "place"), HOSTILE, ids=lambda value: json.dumps(value)[:70])
def test_a_setting_of_triton_that_leads_out_is_refused_where_it_stands(
    workshop: Workshop, said: dict[str, Any], place: str
) -> None:
    workshop.manifest(triton=said)
    (found,) = check(workshop)
    file, line, column, rest = found.split(":", 3)
    assert file == FILE and int(column) > 1 and int(line) > 1
    assert rest.startswith(" triton.") and f"{place}: " in rest and "\n" not in rest


NATIVE = [
    parameter("custom_op_library", "evil.so"),
    parameter("session.custom", "sub/evil.so"),
    parameter("cache", "\\\\host\\share"),
]


@pytest.mark.parametrize("said", NATIVE, ids=json.dumps)
def test_a_parameter_for_a_backend_of_triton_is_a_word_or_a_number(said: dict[str, Any]) -> None:
    assert len(mistakes(said, "onnxruntime")) == 1
    assert mistakes(parameter("intra_op_thread_count", "4"), "onnxruntime") == []
    assert mistakes(parameter("threshold", "0.5"), "fil") == []
    assert mistakes(parameter("DISABLE_OPTIMIZED_EXECUTION", "true"), "pytorch") == []


NOT_SETTINGS: list[Any] = [
    {"parameters": 5},
    {"parameters": {"a": None}},
    {"parameters": {"a": "text"}},
    {"instance_group": {}},
    {"model_warmup": [None]},
    {"dynamic_batching": 5},
    {"dynamic_batching": {"priority_queue_policy": {"x": {}}}},
    {"instance_group": [{"count": 1.5}]},
    {"instance_group": [{"count": 10**30}]},
    {"nothing": 1},
    {"[inference.x]": 1},
]


@pytest.mark.parametrize("said", NOT_SETTINGS, ids=json.dumps)
def test_what_is_no_message_is_refused_in_a_line(workshop: Workshop, said: Any) -> None:
    workshop.manifest(triton=said)
    (found,) = check(workshop)
    assert found.startswith(f"{FILE}:") and "triton: not a ModelConfig" in found and "\n" not in found


HONEST: dict[str, Any] = {
    "instance_group": [{"name": "cpu", "count": 2, "kind": "KIND_CPU"}],
    "dynamic_batching": {
        "max_queue_delay_microseconds": 500,
        "preferred_batch_size": [4, 8],
        "priority_levels": 2,
        "default_priority_level": 1,
        "priority_queue_policy": {"1": {"max_queue_size": 100}},
    },
    "parameters": {
        "threshold": {"string_value": "0.5"},
        "MY_NAME": {"string_value": "a/b, and more"},
        "FORCE_CPU_ONLY_INPUT_TENSORS": {"string_value": "yes"},
    },
    "metricTags": {"team": "risk"},
    "response_cache": {"enable": False},
    "version_policy": {"latest": {"num_versions": 1}},
    "optimization": {"graph": {"level": 1}, "input_pinned_memory": {"enable": False}},
    "model_warmup": [
        {"name": "file", "batch_size": 1, "inputs": warmup("x.bin")["model_warmup"][0]["inputs"]},
        {
            "name": "zeros",
            "batch_size": 2,
            "count": 3,
            "inputs": {"x": {"data_type": "TYPE_INT32", "dims": [2], "zero_data": True}},
        },
    ],
}


def with_warmup(shop: Workshop) -> None:
    """The adder with every honest setting, and a file for its warm-up."""
    (shop.adder / "warmup").mkdir(exist_ok=True)
    (shop.adder / "warmup" / "x.bin").write_bytes(np.array([1, 2], np.int32).tobytes())
    shop.manifest(triton=HONEST)


def test_honest_settings_pass_and_a_warm_up_file_is_part_of_the_version(workshop: Workshop) -> None:
    with_warmup(workshop)
    assert check(workshop) == []
    workshop.commit()
    file = workshop.adder / "warmup" / "x.bin"
    digests = []
    for data in (file.read_bytes(), b"\0" * 8):
        file.write_bytes(data)
        done = workshop.gitreg("build", "adder", "--json")
        assert done.returncode == 0, done.stderr
        package = workshop.root / "dist" / "triton" / "adder"
        assert (package / "warmup" / "x.bin").read_bytes() == data
        found = verifier.verify(package)
        assert (found.problems, found.samples) == ([], 2)
        digests.append(found.digest)
    assert digests[0] != digests[1]
    file.unlink()
    file.symlink_to("/etc/passwd")
    assert "leaves the repository through a symbolic link" in check(workshop)[0]


ONNX = [
    accelerator("gpu", "tensorrt", precision_mode="FP16", max_workspace_size_bytes="1073741824"),
    accelerator("gpu", "cuda", cudnn_conv_use_max_workspace="0"),
    accelerator("gpu", "tensorrt", trt_profile_min_shapes="/a/x:1x3,y:1x4", trt_engine_cache_enable="1"),
    accelerator("cpu", "openvino"),
    {"optimization": {"graph": {"level": -1}}, **parameter("intra_op_thread_count", "2")},
]


@pytest.mark.parametrize("said", ONNX, ids=json.dumps)
def test_optimizations_that_name_no_file_pass(said: dict[str, Any]) -> None:
    assert mistakes(said, "onnxruntime") == []


# Packages that somebody else made -------------------------------------------------------------------


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The adder's packages, with a warm-up."""
    shop = Workshop(tmp_path_factory.mktemp("registry") / "registry")
    make_registry(shop.root)
    with_warmup(shop)
    done = shop.gitreg("build")
    assert done.returncode == 0, done.stderr
    return shop.root / "dist"


@pytest.fixture
def package(dist: Path, tmp_path: Path) -> Path:
    """A copy of the Triton package that may be changed; the raw one lies beside it."""
    shutil.copytree(dist, tmp_path / "dist")
    return tmp_path / "dist" / "triton" / "adder"


def reseal(package: Path, artifact: str = "") -> None:
    """Write a package's record anew, as one would who knows how it is made."""
    file = package / builder.record_path(package.parent.name, 0)
    data = yaml.safe_load(file.read_text())
    own = file.relative_to(package).as_posix()
    names = [name for name in folders.tree_files(package) if name != own]
    data["files"] = {
        name: {"size": (package / name).stat().st_size, "sha256": folders.sha256(package / name)}
        for name in names
    }
    data["artifact"]["path"] = artifact or data["artifact"]["path"]
    data["record"] = record_digest(data)
    file.write_text(yaml.safe_dump(data, sort_keys=False))


def add_settings(package: Path, text: str) -> None:
    config = package / "config.pbtxt"
    before = config.read_text()
    if text.startswith("ensemble_scheduling"):  # a message has one way to schedule
        before = re.sub(r"(?ms)^dynamic_batching \{.*?^\}\n", "", before)
    if text.startswith(("name:", "backend:")):
        before = re.sub(rf"(?m)^{text.partition(':')[0]}:.*\n", "", before)
    config.write_text(before + text)
    reseal(package)


TEXTS = [
    'default_model_filename: "../../../evil.py"',
    'default_model_filename: "model/number.txt"',
    'runtime: "../../evil"',
    'platform: "evil"',
    'backend: "../../evil"',
    'backend: "onnxruntime"',
    'name: "adder; touch evil"',
    'parameters { key: "EXECUTION_ENV_PATH" value { string_value: "/tmp/x.tar.gz" } }',
    'parameters { key: "gitreg.artifact" value { string_value: "../../../other" } }',
    'parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "x.so" } }',
    'model_warmup { name: "x" batch_size: 1 inputs { key: "x" value { input_data_file: "../../x" } } }',
    'model_warmup { name: "x" batch_size: 1 inputs { key: "x" value { input_data_file: "gone" } } }',
    'model_operations { op_library_filename: "evil.so" }',
    'model_repository_agents { agents { name: "evil" } }',
    'output { name: "z" data_type: TYPE_INT32 dims: 1 label_filename: "/etc/passwd" }',
    'cc_model_filenames { key: "7.5" value: "../x" }',
    "ensemble_scheduling { }",
    "instance_group { count: 100000 }",
    'instance_group { name: "$(touch evil)" }',
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_package_whose_settings_lead_out_is_not_verified(package: Path, text: str) -> None:
    add_settings(package, text)
    found = verifier.verify(package)
    assert found.problems and all(one.startswith("config.pbtxt: ") for one in found.problems)
    assert not found.loaded


def test_a_field_that_no_message_has_is_refused(package: Path) -> None:
    add_settings(package, 'execute_this: "evil"')
    (problem,) = verifier.verify(package).problems
    assert problem.startswith("config.pbtxt is not a ModelConfig")


@pytest.mark.parametrize(
    "path",
    [
        "triton_python_backend_stub",
        "0/batchstrategy.so",
        "0/libtriton_python.so",
        "7/model.py",
        "configs/x.pbtxt",
    ],
)
def test_code_that_a_server_finds_by_itself_is_no_part_of_a_package(package: Path, path: str) -> None:
    (package / path).parent.mkdir(exist_ok=True)
    (package / path).write_text("evil")
    reseal(package)
    (problem,) = verifier.verify(package).problems
    assert problem.startswith(f"{path}: ")


def test_a_native_package_names_its_own_file(package: Path) -> None:
    record: dict[str, Any] = {
        "type": "xgboost",
        "backend": "native",
        "files": ["config.pbtxt", "0/xgboost.json"],
        "ordinal": 0,
        "artifact": {"path": "xgboost.json"},
    }
    for name, count in (("xgboost.json", 0), ("../../x.json", 1), ("gone.json", 1), ("/x", 1)):
        text = f'name: "m" backend: "fil" default_model_filename: "{name}"'
        assert len(judge_package(parse_config(text.encode()), around_package(record))) == count, name
    other = parse_config(b'name: "m" backend: "python"')
    assert "'fil' was expected" in judge_package(other, around_package(record))[0][1]


@pytest.mark.parametrize("kind", ["raw", "triton"])
@pytest.mark.parametrize("path", ["/etc", "../../../../..", "model/../../.."])
def test_the_artifact_that_a_record_names_lies_in_the_package(package: Path, kind: str, path: str) -> None:
    one = package.parent.parent / kind / "adder"
    reseal(one, path)
    assert (
        verifier.verify(one).problems[0]
        == f"the record names the artifact {path!r}, which the package does not have"
    )
    if kind == "raw":
        with pytest.raises(Refused, match="outside of the package"):
            load_raw_model(one)


# A real server --------------------------------------------------------------------------------------

EVIL = """
from pathlib import Path
import triton_python_backend_utils as utils
Path({marker!r}).write_text("ran")
class TritonPythonModel:
    def execute(self, requests):
        return [utils.InferenceResponse([]) for _ in requests]
"""


@pytest.fixture
def evil(tmp_path: Path) -> tuple[Path, Path]:
    """A file outside of every package that says when it was run, and where."""
    marker, folder = tmp_path / "marker", tmp_path / "outside"
    folder.mkdir()
    (folder / "evil.py").write_text(EVIL.format(marker=str(marker)))
    return folder / "evil.py", marker


@needs_triton
def test_triton_runs_a_file_outside_and_verify_refuses_the_package(
    package: Path, evil: tuple[Path, Path]
) -> None:
    outside = os.path.relpath(evil[0], package / "0")
    add_settings(package, f'default_model_filename: "{outside}"')
    assert len(verifier.verify(package).problems) == 1 and not evil[1].exists()
    ports = server.free_ports("127.0.0.1", 0, 0, 0)
    with server.serve(server.find(), package.parent, ports, package.parent.parent / "log"):
        assert evil[1].exists()  # or this file shows nothing


@needs_triton
@pytest.mark.parametrize("old", [False, True])
def test_serve_refuses_before_a_server_starts(workshop: Workshop, evil: tuple[Path, Path], old: bool) -> None:
    workshop.manifest(triton={"default_model_filename": "../" * 30 + str(evil[0]).lstrip("/")})
    workshop.commit("evil")
    reference = "adder"
    if old:  # registered by an older gitreg, and long since mended
        tag = ["git", "tag", "-a", "adder@v1.0.0", "-m", "old"]
        subprocess.run(tag, cwd=workshop.root, check=True)
        workshop.manifest(version="1.0.1")
        workshop.commit("mended")
        reference = "adder@1.0.0"
    ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    for command in (["serve", reference, *ports], ["build", reference, "-o", "elsewhere"]):
        done = workshop.gitreg(*command)
        assert done.returncode == 1 and "triton.default_model_filename: gitreg sets it" in done.stderr, (
            command
        )
    assert not evil[1].exists() and not (workshop.root / "elsewhere" / "triton").exists()


@needs_triton
def test_honest_settings_are_served(workshop: Workshop) -> None:
    with_warmup(workshop)
    workshop.commit()
    ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", "--json"]
    command = [sys.executable, "-m", "gitreg", "serve", "adder", *ports]
    with subprocess.Popen(command, cwd=workshop.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout and run.stderr
        try:
            first = run.stdout.readline()
            while first and not first.rstrip().endswith(b"}"):
                first += run.stdout.readline()
            assert first, run.stderr.read().decode()
            assert json.loads(first)["models"] == ["adder"]
        finally:
            run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130


# Loaders' options -----------------------------------------------------------------------------------

BAD_FILES = [
    "../../../outside.json",
    "/etc/passwd",
    "a/../../outside.json",
    "./model.onnx",
    "",
    "C:\\x",
    "gone.onnx",
    5,
]


def graph(location: str = "", nested: bool = False) -> bytes:
    """An ONNX graph that adds four numbers, which may be kept in another file."""
    from onnx import TensorProto, helper

    tensor = TensorProto(name="w", data_type=1, dims=[4])
    if location:
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "16")):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
    else:
        tensor.float_data[:] = [1, 2, 3, 4]
    given = [helper.make_tensor_value_info("x", 1, [None, 4])]
    made = [helper.make_tensor_value_info("y", 1, [None, 4])]
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    if nested:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
    whole = helper.make_graph(nodes, "g", given, made, [] if nested else [tensor])
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    data: bytes = model.SerializeToString()
    return data


@pytest.fixture(scope="module")
def adding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with an ONNX model whose artifact is a folder of two graphs, built."""
    place = tmp_path_factory.mktemp("adding")
    (place / "both").mkdir()
    for name in ("one.onnx", "two.onnx"):
        (place / "both" / name).write_bytes(graph())
    (place / "s.json").write_text(json.dumps([{"x": [1.0, 2.0, 3.0, 4.0]}]))
    asked = [
        "--from",
        place / "both",
        "--type",
        "onnx",
        "--option",
        "file=one.onnx",
        "--samples",
        place / "s.json",
    ]
    return shop_with(place / "registry", {"graph": asked}).root


@pytest.fixture
def graphs(adding: Path, tmp_path: Path) -> Workshop:
    shutil.copytree(adding, tmp_path / "registry", symlinks=True)
    return Workshop(tmp_path / "registry")


def set_option(shop: Workshop, file: Any) -> None:
    manifest = shop.root / "models" / "graph" / "model.yaml"
    data = yaml.safe_load(manifest.read_text())
    manifest.write_text(json.dumps({**data, "options": {"file": file}}, indent=1))


@pytest.mark.parametrize("file", BAD_FILES, ids=repr)
def test_an_option_that_names_a_file_elsewhere_is_refused(graphs: Workshop, file: Any) -> None:
    set_option(graphs, file)
    (found,) = check(graphs, "graph")
    assert found.startswith("models/graph/model.yaml:") and " options.file: " in found


@pytest.mark.parametrize("command", [["build"], ["predict"], ["check"], ["check", "--run"], ["evaluate"]])
def test_no_command_follows_an_option_out_of_the_artifact(
    graphs: Workshop, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "outside.onnx").write_bytes(graph())
    (tmp_path / "rows.json").write_text(json.dumps([{"x": [1.0, 2.0, 3.0, 4.0], "y": [0.0] * 4}]))
    set_option(graphs, "../../../../outside.onnx")
    more = ["--data", tmp_path / "rows.json", "--metric", "mae"] if command == ["evaluate"] else []
    done = graphs.gitreg(*command, "graph", *more)
    assert done.returncode == 1 and "options.file: '../../" in done.stderr + done.stdout, done


def test_an_option_that_names_a_file_of_the_artifact_passes(graphs: Workshop) -> None:
    set_option(graphs, "two.onnx")
    assert check(graphs, "graph") == []
    assert graphs.gitreg("build", "graph").returncode == 0
    assert load_raw_model(graphs.root / "dist" / "raw" / "graph")


def with_option(package: Path, file: Any) -> None:
    """Have the loader of a package read another file."""
    (settings,) = package.glob("0/**/settings.json")
    data = json.loads(settings.read_text())
    data["options"] = {"file": file}
    settings.write_text(json.dumps(data))
    reseal(package)


@pytest.mark.parametrize("file", BAD_FILES, ids=repr)
@pytest.mark.parametrize("kind", ["raw", "triton"])
def test_a_package_whose_loader_reads_another_file_is_neither_verified_nor_loaded(
    graphs: Workshop, tmp_path: Path, kind: str, file: Any
) -> None:
    (tmp_path / "outside.json").write_bytes(graph())
    package = graphs.root / "dist" / kind / "graph"
    assert verifier.verify(package).problems == []
    with_option(package, file)
    found = verifier.verify(package)
    assert found.problems and found.problems[0].startswith("options.file: ") and not found.loaded
    if kind == "raw":
        with pytest.raises(Refused, match=r"options\.file: "):
            load_raw_model(package)


def test_links_out_of_a_raw_package_are_not_followed(graphs: Workshop, tmp_path: Path) -> None:
    (tmp_path / "outside.onnx").write_bytes(graph())
    package = graphs.root / "dist" / "raw" / "graph"
    for place in ("one.onnx", "folder"):
        link = package / "0" / "model" / place
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path if place == "folder" else tmp_path / "outside.onnx")
        with pytest.raises(Refused, match="link"):
            load_raw_model(package)
        assert "neither a file nor a folder" in verifier.verify(package).problems[0]
        link.unlink()
        link.write_bytes(graph())


def test_a_package_that_was_kept_for_loading_is_looked_at_again(graphs: Workshop, tmp_path: Path) -> None:
    from gitreg.loader import load_class

    (tmp_path / "outside.onnx").write_bytes(graph())
    package = graphs.root / "dist" / "raw" / "graph"
    dotted = (package / "0" / "defs" / "model_class.txt").read_text().strip()
    assert load_class(package / "0", dotted, "model")
    with_option(package, os.path.relpath(tmp_path / "outside.onnx", package / "0" / "model"))
    with pytest.raises(Refused, match="leads out of its folder"):
        load_class(package / "0", dotted, "model")


# Paths in model files -------------------------------------------------------------------------------


def found_in(folder: Path, kind: str, **options: Any) -> list[str]:
    return references.of_files(kind, options, folder)


@pytest.mark.parametrize(
    "location", ["../w.bin", "/etc/passwd", "gone.bin", "a/../../w.bin", "*/_ORT_MEM_ADDR_/*"]
)
@pytest.mark.parametrize("nested", [False, True])
def test_weights_of_an_onnx_graph_lie_in_its_artifact(tmp_path: Path, location: str, nested: bool) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 16)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "m.onnx").write_bytes(graph(location, nested))
    (problem,) = found_in(folder, "onnx")
    assert problem.startswith("m.onnx: external data: ")
    for good in ("w.bin", "./w.bin"):
        (folder / "w.bin").write_bytes(b"\0" * 16)
        (folder / "m.onnx").write_bytes(graph(good, nested))
        assert found_in(folder, "onnx") == []


def test_a_file_that_is_no_onnx_is_left_to_its_loader(tmp_path: Path) -> None:
    for i, data in enumerate([b"", b"\xff" * 40, b"text", graph()[:50], b"\x3a\xff\xff\xff\xff\x0f"]):
        (tmp_path / f"{i}.onnx").write_bytes(data)
    assert found_in(tmp_path, "onnx") == []
    # A group, which no reader of today writes and every reader skips, hides nothing behind it.
    (tmp_path / "0.onnx").write_bytes(b"\xfb\x0f\xfc\x0f" + graph("../w.bin"))
    assert len(found_in(tmp_path, "onnx")) == 1


def test_the_graph_that_an_option_names_is_looked_into_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "graph.bin").write_bytes(graph("../w.bin"))
    (tmp_path / "other.txt").write_text("")
    assert len(found_in(tmp_path, "onnx", file="graph.bin")) == 1
    (tmp_path / "other.txt").unlink()
    assert len(found_in(tmp_path, "onnx")) == 1


def transformers(folder: Path, **files: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in {"config": {"architectures": ["BertModel"]}, **files}.items():
        (folder / f"{name.replace('__', '.')}.json").write_text(json.dumps(data))
    (folder / "a.safetensors").write_bytes(b"\0")
    return folder


TRANSFORMERS = [
    {"model__safetensors__index": {"weight_map": {"w": "../x.safetensors"}}},
    {"model__safetensors__index": {"weight_map": {"w": "/x.safetensors"}}},
    {"pytorch_model__bin__index": {"weight_map": {"w": "gone.bin"}}},
    {"adapter_config": {"base_model_name_or_path": "/models/base"}},
    {"adapter_config": {"base_model_name_or_path": "bert-base-uncased"}},
    {"tokenizer_config": {"vocab_file": "/etc/passwd"}},
    {"tokenizer_config": {"fast_tokenizer_files": ["../tokenizer.4.0.json"]}},
    {"tokenizer_config": {"source_spm": "../x"}},
    {"config": {"transformers_weights": "../x.safetensors"}},
]


@pytest.mark.parametrize("files", TRANSFORMERS, ids=json.dumps)
def test_files_of_a_transformers_folder_name_no_others(tmp_path: Path, files: dict[str, Any]) -> None:
    assert len(found_in(transformers(tmp_path / "m", **files), "huggingface")) == 1


def test_what_transformers_itself_writes_passes(tmp_path: Path) -> None:
    folder = transformers(
        tmp_path / "m",
        model__safetensors__index={"metadata": {}, "weight_map": {"w": "a.safetensors"}},
        tokenizer_config={
            "name_or_path": "/root/x",
            "special_tokens_map_file": "/root/y",
            "tokenizer_file": None,
        },
        config={"_name_or_path": "/root/checkpoint", "architectures": ["BertModel"]},
    )
    assert found_in(folder, "huggingface") == []
    (folder / "tokenizer_config.json").write_text("[" * 100_000)
    assert found_in(folder, "huggingface") == []


MLMODELS = [
    {"python_function": {"data": "../../x"}},
    {"python_function": {"code": "../.."}},
    {"python_function": {"model_path": "/x"}},
    {"python_function": {"python_model": "a/../../x.pkl"}},
    {"python_function": {"artifacts": {"a": {"path": "../x", "uri": "/once/there"}}}},
    {"python_function": {"env": {"conda": "../conda.yaml"}}},
    {"sklearn": {"pickled_model": "../x.pkl"}},
]


@pytest.mark.parametrize("said", MLMODELS, ids=json.dumps)
def test_an_mlmodel_names_files_of_its_folder(tmp_path: Path, said: dict[str, Any]) -> None:
    (tmp_path / "MLmodel").write_text(yaml.safe_dump({"flavors": said}))
    (problem,) = found_in(tmp_path, "mlflow")
    assert problem.startswith("MLmodel: flavors.")


def test_what_mlflow_itself_writes_passes(tmp_path: Path) -> None:
    function = {
        "code": None,
        "data": "model.pkl",
        "artifacts": {"a": {"path": "artifacts/a", "uri": "/once/there"}},
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        "model_code_path": "/home/ada/model.py",
        "loader_module": "mlflow.sklearn",
        "model_path": ".",
    }
    (tmp_path / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": function, "x": None}}))
    assert found_in(tmp_path, "mlflow") == []
    for text in ("[", "flavors: 5", "- a", ""):
        (tmp_path / "MLmodel").write_text(text)
        assert found_in(tmp_path, "mlflow") == []


def scripted(file: Path, outside: Path | None) -> None:
    import torch

    class Plain(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    class Reading(torch.nn.Module):
        def __init__(self, path: str) -> None:
            super().__init__()
            self.path = path

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.from_file(self.path, False, 4)

    torch.jit.script(Reading(str(outside)) if outside else Plain()).save(str(file))  # type: ignore[no-untyped-call]


def test_torchscript_that_reads_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    scripted(tmp_path / "m.pt", tmp_path / "w.bin")
    (problem,) = found_in(tmp_path / "m.pt", "pytorch")
    assert "torch.from_file" in problem
    scripted(tmp_path / "m.pt", None)
    assert found_in(tmp_path / "m.pt", "pytorch") == []
    data = (tmp_path / "m.pt").read_bytes()
    place = data.index(b"return torch.add") if b"return torch.add" in data else len(data) // 4
    (tmp_path / "m.pt").write_bytes(data[:place] + b"X" + data[place + 1 :])
    assert isinstance(found_in(tmp_path / "m.pt", "pytorch"), list)  # damaged, and no defect of gitreg's


def test_a_build_refuses_an_artifact_that_leads_out(graphs: Workshop, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 16)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "m.onnx").write_bytes(graph("../w.bin"))
    said: Callable[..., Any] = graphs.gitreg
    shutil.copytree(tmp_path / "other", graphs.root / "models" / "graph" / "other")
    subprocess.run(
        [sys.executable, "-m", "dvc", "add", "-q", "models/graph/other"], cwd=graphs.root, check=True
    )
    manifest = graphs.root / "models" / "graph" / "model.yaml"
    data = yaml.safe_load(manifest.read_text())
    manifest.write_text(json.dumps({**data, "artifact": "other", "options": {}}))
    for command in (["build", "graph"], ["predict", "graph"]):
        done = said(*command)
        assert done.returncode == 1 and "m.onnx: external data: '../w.bin' leads out" in done.stderr, (
            done.stderr
        )
