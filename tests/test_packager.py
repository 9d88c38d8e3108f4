"""The packager on its own, with no registry and no Git around it: rows M1 to M13 and M15."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import stat
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import gitreg
from gitreg import (
    CustomTritonPackager,
    DataType,
    Model,
    ModelSchema,
    ModelSchemaItem,
    StorageType,
    folders,
    load_raw_model,
)

SCALER = """
from pathlib import Path

import numpy as np

from gitreg import Model
from helpers.arithmetic import times


class ScaleModel(Model):
    def __init__(self, factor):
        self.factor = factor

    def save(self, path):
        (Path(path) / "factor.txt").write_text(str(self.factor))

    @classmethod
    def load(cls, path):
        return cls(int((Path(path) / "factor.txt").read_text()))

    def predict(self, inputs):
        return {"y": times(inputs["x"], self.factor)}
"""
ARITHMETIC = "import numpy as np\n\ndef times(x, n):\n    return x * np.int32(n)\n"
SCHEMA = ModelSchema(
    [ModelSchemaItem("x", DataType.INT, [2])],
    [ModelSchemaItem("y", DataType.INT, [2])],
)
SAMPLES = [{"x": np.array([n, n + 1], np.int32)} for n in (1, 5, 9)]
REQUIRED = inspect.Parameter.empty


@dataclass
class Project:
    """A user's folder: a source tree on sys.path and what training left; nothing of Git."""

    root: Path

    def write(self, file: str, text: str) -> None:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def triton(self, model_class: Any = "scaler.ScaleModel", **options: Any) -> Path:
        packager = CustomTritonPackager(options.pop("custom", False))
        model_path = options.pop("model_path", self.root / "trained")
        schema = options.pop("model_schema", SCHEMA)
        return Path(packager.create_model_package(model_path, model_class, schema, **options))

    def raw(self, model_class: Any = "scaler.ScaleModel", **options: Any) -> Path:
        packager = CustomTritonPackager(options.pop("custom", False))
        model_path = options.pop("model_path", self.root / "trained")
        schema = options.pop("model_schema", SCHEMA)
        samples = options.pop("sample_data", SAMPLES)
        return Path(packager.create_raw_model_package(model_path, model_class, schema, samples, **options))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = lay_out(tmp_path / "work")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(made.root)
    monkeypatch.syspath_prepend(made.root / "src")
    return made


def lay_out(root: Path) -> Project:
    project = Project(root)
    project.write("src/scaler.py", SCALER)
    project.write("src/helpers/arithmetic.py", ARITHMETIC)
    project.write("trained/factor.txt", "3")
    return project


def tree(folder: Path) -> dict[str, tuple[str, str]]:
    """Every path below a folder with its mode and the hash of its bytes."""
    return {
        path.relative_to(folder).as_posix(): (
            stat.filemode(path.lstat().st_mode),
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in [folder, *sorted(folder.rglob("*"))]
    }


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())


def nothing_aside(folder: Path) -> bool:
    return not list(folder.rglob(f"{folders.ASIDE}*"))


# The names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (ModelSchemaItem, {"name": REQUIRED, "data_type": DataType.UNKNOWN, "shape": None, "optional": None}),
        (CustomTritonPackager, {"custom_batch_processing": False}),
        (
            CustomTritonPackager().create_model_package,
            {
                "model_path": REQUIRED,
                "model_class": REQUIRED,
                "model_schema": REQUIRED,
                "model_name": None,
                "dest_model_path": None,
                "model_revision": None,
                "model_path_source_type": StorageType.LOCAL,
                "include_import_prefixes": None,
            },
        ),
        (
            CustomTritonPackager().create_raw_model_package,
            {
                "model_path": REQUIRED,
                "model_class": REQUIRED,
                "model_schema": REQUIRED,
                "sample_data": REQUIRED,
                "dest_model_path": None,
                "model_path_source_type": StorageType.LOCAL,
                "requirements": None,
                "include_import_prefixes": None,
            },
        ),
        (Model.save, {"self": REQUIRED, "path": REQUIRED}),
        (Model.load, {"path": REQUIRED}),
        (Model.predict, {"self": REQUIRED, "inputs": REQUIRED}),
        (load_raw_model, {"path": REQUIRED}),
    ],
)
def test_parameters_and_defaults_are_those_of_michelangelos_packager(function: Any, expected: Any) -> None:
    found = inspect.signature(function).parameters
    assert {name: p.default for name, p in found.items()} == expected
    assert list(found) == list(expected)


def test_a_schema_takes_its_two_sides_by_keyword() -> None:
    schema = ModelSchema(input_schema=SCHEMA.input_schema, output_schema=SCHEMA.output_schema)
    assert schema == SCHEMA


def test_data_types_are_those_of_the_row_and_name_numpy_dtypes() -> None:
    expected = {
        "BOOLEAN": "bool",
        "STRING": "object",
        "BYTE": "int8",
        "CHAR": "uint8",
        "SHORT": "int16",
        "INT": "int32",
        "LONG": "int64",
        "FLOAT": "float32",
        "DOUBLE": "float64",
    }
    assert {t.name: t.dtype.name for t in DataType if t is not DataType.UNKNOWN} == expected
    with pytest.raises(ValueError, match="UNKNOWN"):
        _ = DataType.UNKNOWN.dtype


def test_every_public_name_is_there_to_import() -> None:
    assert all(getattr(gitreg, name) is not None for name in gitreg.__all__)


@pytest.mark.parametrize("missing", ["save", "load", "predict"])
def test_a_subclass_without_one_of_the_three_methods_cannot_be_made(missing: str) -> None:
    methods: dict[str, Any] = {
        "save": lambda self, path: None,
        "load": classmethod(lambda cls, path: cls()),
        "predict": lambda self, inputs: {},
    }
    del methods[missing]
    with pytest.raises(TypeError, match=missing):
        type("Part", (Model,), methods)()


# Layouts --------------------------------------------------------------------------------------------


def test_the_triton_package_has_exactly_the_files_of_row_m6(project: Project) -> None:
    assert files(project.triton()) == [
        "0/download.yaml",
        "0/gitreg/__init__.py",
        "0/helpers/arithmetic.py",
        "0/model.py",
        "0/model/factor.txt",
        "0/model_class.txt",
        "0/scaler.py",
        "0/user_model.py",
        "config.pbtxt",
    ]


def test_the_raw_package_has_exactly_the_files_of_row_m7(project: Project) -> None:
    package = project.raw(requirements=["numpy>=1.24"])
    assert files(package) == [
        "0/defs/gitreg/__init__.py",
        "0/defs/helpers/arithmetic.py",
        "0/defs/model_class.txt",
        "0/defs/scaler.py",
        "0/dependencies/requirements.txt",
        "0/metadata/download.yaml",
        "0/metadata/sample_data.yaml",
        "0/metadata/schema.yaml",
        "0/metadata/type.yaml",
        "0/model/factor.txt",
    ]
    assert yaml.safe_load((package / "0/metadata/type.yaml").read_text()) == {"type": "custom-python"}
    assert yaml.safe_load((package / "0/metadata/sample_data.yaml").read_text()) == [
        {"x": [1, 2]},
        {"x": [5, 6]},
        {"x": [9, 10]},
    ]
    assert (package / "0/defs/model_class.txt").read_text() == "scaler.ScaleModel"


def test_the_name_comes_from_the_class_and_the_place_is_a_fresh_temporary_folder(project: Project) -> None:
    one, other = project.triton(), project.triton()
    assert one.name == other.name == "scale-model"
    assert (
        one.parent != other.parent and one.parent.parent == other.parent.parent == project.root.parent / "tmp"
    )
    assert stat.S_IMODE(one.parent.stat().st_mode) == 0o700
    assert files(one.parent) == [f"scale-model/{f}" for f in files(one)], "nothing but the package in it"
    assert 'name: "scale-model"' in (one / "config.pbtxt").read_text()


def test_the_destination_receives_the_contents_of_the_package(project: Project) -> None:
    returned = project.triton(model_name="grower", dest_model_path="out/deep/here")
    assert returned == project.root / "out/deep/here"
    assert (returned / "config.pbtxt").is_file() and (returned / "0").is_dir()
    assert 'name: "grower"' in (returned / "config.pbtxt").read_text()
    assert project.raw(dest_model_path=str(project.root / "raw")) == project.root / "raw"
    assert nothing_aside(project.root)


def test_the_record_says_what_the_package_was_made_of(project: Project) -> None:
    record = yaml.safe_load((project.triton(model_revision="run-7") / "0/download.yaml").read_text())
    md5 = hashlib.md5(b"3").hexdigest()
    listed = f'[{{"md5": "{md5}", "relpath": "factor.txt"}}]'
    assert record["revision"] == "run-7"
    assert record["artifact"]["digest"] == f"md5:{hashlib.md5(listed.encode()).hexdigest()}.dir"
    assert record["files"]["0/model/factor.txt"] == {"size": 1, "sha256": hashlib.sha256(b"3").hexdigest()}


def test_a_single_file_artifact_lies_in_model_under_its_own_name(project: Project) -> None:
    project.write("src/scaler.py", SCALER.replace('(Path(path) / "factor.txt")', "Path(path)"))
    raw, triton = (
        project.raw(model_path="trained/factor.txt"),
        project.triton(model_path="trained/factor.txt"),
    )
    for package in (raw, triton):
        assert [f for f in files(package) if "/model/" in f] == ["0/model/factor.txt"]
    assert load_raw_model(raw).predict(SAMPLES[0])["y"].tolist() == [3, 6]


@pytest.mark.parametrize("given", [["numpy>=1.24", "click"], "requirements.txt", Path("requirements.txt")])
def test_requirements_are_a_list_or_a_path(project: Project, given: Any) -> None:
    project.write("requirements.txt", "numpy>=1.24\nclick\n")
    package = project.raw(requirements=given)
    assert (package / "0/dependencies/requirements.txt").read_text() == "numpy>=1.24\nclick\n"


def test_the_class_may_be_given_as_an_object(project: Project) -> None:
    scaler = importlib.import_module("scaler")
    try:
        package = project.raw(scaler.ScaleModel)
    finally:
        for name in ("scaler", "helpers", "helpers.arithmetic"):
            sys.modules.pop(name, None)
    assert (package / "0/defs/model_class.txt").read_text() == "scaler.ScaleModel"
    assert load_raw_model(package).predict(SAMPLES[1])["y"].tolist() == [15, 18]


def test_import_prefixes_limit_what_is_bundled(project: Project) -> None:
    project.write("src/extras/plots.py", "")
    project.write(
        "src/scaler.py",
        SCALER.replace(
            "import numpy", "try:\n    import extras.plots\nexcept ImportError:\n    pass\nimport numpy"
        ),
    )
    assert "0/extras/plots.py" in files(project.triton())
    assert "0/extras/plots.py" not in files(project.triton(include_import_prefixes=["helpers"]))


def test_a_prefix_bundles_even_an_installed_package(project: Project) -> None:
    project.write("src/scaler.py", SCALER.replace("import numpy", "import click\nimport numpy"))
    assert not [f for f in files(project.triton()) if "click" in f]
    assert "0/click/__init__.py" in files(project.triton(include_import_prefixes=["helpers", "click"]))


# Batching -------------------------------------------------------------------------------------------

SHAPES = SCALER.replace(
    "return {", 'assert inputs["x"].shape == SHAPE, f"got {inputs[\'x\'].shape}"\n        return {'
)


def test_by_default_the_model_sees_single_samples_of_exactly_the_schemas_shape(project: Project) -> None:
    project.write("src/scaler.py", SHAPES.replace("class ", "SHAPE = (2,)\nclass "))
    project.raw()


@pytest.mark.parametrize("sample", [[[1, 2]], [1, 2]], ids=["as a batch", "as one row"])
def test_with_custom_batching_it_sees_a_leading_batch_dimension(project: Project, sample: Any) -> None:
    project.write("src/scaler.py", SHAPES.replace("class ", "SHAPE = (1, 2)\nclass "))
    project.raw(custom=True, sample_data=[{"x": np.array(sample, np.int32)}])


def test_with_custom_batching_a_sample_may_hold_many_rows(project: Project) -> None:
    project.write("src/scaler.py", SHAPES.replace("class ", "SHAPE = (3, 2)\nclass "))
    project.raw(custom=True, sample_data={"x": np.ones((3, 2), np.int32)})


# Mistakes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["triton", "raw"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model_class": None}, "^model_class is required$"),
        ({"model_class": ""}, "^model_class is required$"),
        ({"model_schema": None}, "^model_schema is required$"),
        ({"model_path": "nowhere"}, "nowhere.*does not exist"),
        ({"model_class": "Scaler"}, "dotted import path"),
        ({"model_class": "absent.Scaler"}, "no module 'absent'"),
        ({"model_class": "scaler.ScaleModle"}, "did you mean 'ScaleModel'"),
        ({"model_class": SCHEMA}, "expected a dotted path or a class, got ModelSchema"),
        ({"model_schema": ModelSchema([], [])}, "no input(.|\n)*no output"),
        (
            {"model_schema": ModelSchema([ModelSchemaItem("x")], SCHEMA.output_schema)},
            "'x'.*UNKNOWN(.|\n)*'x'.*shape is required",
        ),
        (
            {"model_schema": ModelSchema(SCHEMA.input_schema, [ModelSchemaItem("y", shape=[1])])},
            "'y'.*UNKNOWN",
        ),
        ({"model_path_source_type": "hdfs"}, "hdfs"),
    ],
)
def test_a_wrong_argument_is_a_value_error_that_names_it(
    project: Project, kind: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(project, kind)(**given, dest_model_path="out")
    assert not (project.root / "out").exists()


@pytest.mark.parametrize("kind", ["triton", "raw"])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(Model):", ":", "does not extend gitreg.Model"),
        ("def save(", "def store(", "does not define save"),
        ("def load(", "def read(", "does not define load"),
        ("def predict(", "def answer(", "does not define predict"),
        (
            "import numpy",
            "raise RuntimeError('no luck')\nimport numpy",
            "imported.*RuntimeError: no luck.*scaler.py:4",
        ),
        (
            "return cls(",
            "raise OSError('no file')\n        return cls(",
            "loaded.*OSError: no file.*scaler.py:19",
        ),
        ("return cls(", "return (", "load returned a int"),
        ("class ScaleModel", "class ScaleModel(", "not Python"),
    ],
)
def test_a_class_that_does_not_work_is_refused_and_leaves_nothing(
    project: Project, kind: str, old: str, new: str, message: str
) -> None:
    assert old in SCALER
    project.write("src/scaler.py", SCALER.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        getattr(project, kind)(dest_model_path="out")
    assert not (project.root / "out").exists() and nothing_aside(project.root)


def test_a_failing_model_leaves_no_temporary_folder(project: Project) -> None:
    project.write("src/scaler.py", SCALER.replace("return cls(", "return ("))
    with pytest.raises(ValueError, match="load returned"):
        project.triton()
    assert not list((project.root.parent / "tmp").iterdir())


@pytest.mark.parametrize(
    ("third", "message"),
    [
        ({"x": np.zeros(3, np.int32)}, r"sample_data\[2\].x: expected int \[2\], got int(32)? \[3\]"),
        ({"x": np.zeros(2, np.int64)}, r"sample_data\[2\].x: expected int \[2\], got (long|int64) \[2\]"),
        ({"x": np.zeros((1, 2), np.int32)}, r"sample_data\[2\].x: expected int \[2\]"),
        ({"x": [1, 2]}, r"sample_data\[2\].x: expected int \[2\], got a Python list"),
        ({}, r"sample_data\[2\].x: is missing"),
        ({"x": SAMPLES[0]["x"], "z": SAMPLES[0]["x"]}, r"sample_data\[2\].z: is not an input"),
        ([1, 2], r"sample_data\[2\]: expected a dict"),
    ],
)
def test_a_third_sample_that_breaks_the_schema_is_named(project: Project, third: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        project.raw(sample_data=[*SAMPLES[:2], third], dest_model_path="out")
    assert not (project.root / "out").exists()


def test_every_sample_is_checked_and_every_mistake_is_told(project: Project) -> None:
    wrong = [{"x": np.zeros(n, np.int32)} for n in (2, 4, 2, 7)]
    with pytest.raises(ValueError) as error:
        project.raw(sample_data=wrong)
    assert [line.partition(":")[0] for line in str(error.value).splitlines()] == [
        "sample_data[1].x",
        "sample_data[3].x",
    ]


@pytest.mark.parametrize("samples", [None, [], {}])
def test_a_raw_package_needs_a_sample(project: Project, samples: Any) -> None:
    with pytest.raises(ValueError, match=r"sample"):
        project.raw(sample_data=samples)


def test_strings_are_checked_element_by_element(project: Project) -> None:
    schema = ModelSchema([ModelSchemaItem("x", DataType.STRING, [2])], SCHEMA.output_schema)
    with pytest.raises(ValueError, match=r"sample_data\[0\].x.*element of type int"):
        project.raw(model_schema=schema, sample_data={"x": np.array([b"a", 1], object)})


def test_string_inputs_reach_the_model_as_bytes_whatever_the_sample_held(project: Project) -> None:
    schema = ModelSchema([ModelSchemaItem("x", DataType.STRING, [2])], SCHEMA.output_schema)
    check = 'assert inputs["x"].tolist() == [b"a", "\\u00e9".encode()], inputs\n        inputs = {"x": np.zeros(2, np.int32)}\n        return {'
    project.write("src/scaler.py", SCALER.replace("return {", check))
    for array in (np.array(["a", "é"]), np.array([b"a", "é"], object)):
        project.raw(model_schema=schema, sample_data={"x": array})


@pytest.mark.parametrize("third", ["int64", "shape"])
def test_an_answer_that_breaks_the_schema_at_the_third_sample_is_refused(
    project: Project, third: str
) -> None:
    wrong = "y.astype(np.int64)" if third == "int64" else "y[:1]"
    code = (
        f'y = times(inputs["x"], self.factor)\n        return {{"y": {wrong} if inputs["x"][0] == 9 else y}}'
    )
    project.write("src/scaler.py", SCALER.replace('return {"y": times(inputs["x"], self.factor)}', code))
    with pytest.raises(ValueError, match=r"sample \[2\].*output 'y': expected int \[2\], got"):
        project.raw(dest_model_path="out")
    assert not (project.root / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('(Path(path) / "factor.txt").write_text(str(self.factor))', "pass", "saved.*FileNotFoundError"),
        ('(Path(path) / "factor.txt").write_text(str(self.factor))', "raise IOError('full')", "saved.*full"),
    ],
    ids=["writes nothing", "raises"],
)
def test_a_model_that_cannot_be_saved_and_loaded_again_is_refused(
    project: Project, old: str, new: str, message: str
) -> None:
    project.write("src/scaler.py", SCALER.replace(old, new))
    with pytest.raises(ValueError, match=message):
        project.raw(dest_model_path="out")
    assert not (project.root / "out").exists()


def test_a_model_that_needs_its_source_tree_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child may not find a module through sys.path, PYTHONPATH or the current folder."""
    project.write("src/unseen.py", "VALUE = 1\n")
    hidden = 'import importlib\nunseen = importlib.import_module("un" + "seen")\nimport numpy'
    project.write("src/scaler.py", SCALER.replace("import numpy", hidden, 1))
    monkeypatch.setenv("PYTHONPATH", str(project.root / "src"))
    monkeypatch.chdir(project.root / "src")
    for package in (project.raw, project.triton):
        with pytest.raises(ValueError, match="No module named 'unseen'"):
            package(model_path=project.root / "trained")


@pytest.mark.parametrize("line", ["-r other.txt", "numpy >> 1", "a b c"])
def test_a_line_that_is_no_requirement_is_refused(project: Project, line: str) -> None:
    with pytest.raises(ValueError, match="requirement"):
        project.raw(requirements=["numpy", line])


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", "/evil"])
def test_a_model_name_is_no_path(project: Project, name: str) -> None:
    with pytest.raises(ValueError, match="model_name"):
        project.triton(model_name=name)
    assert not list((project.root.parent / "tmp").rglob("config.pbtxt"))
    assert not Path("/evil").exists()


# The same bytes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["triton", "raw"])
def test_packages_are_the_same_to_the_byte_and_mode_across_folders_umasks_and_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    made = []
    for name, umask, time in (("one", 0o022, 1_000_000_000), ("other place", 0o077, 1_700_000_000)):
        before = os.umask(umask)
        try:
            project = lay_out(tmp_path / name)
            for path in project.root.rglob("*"):
                os.utime(path, (time, time))
            monkeypatch.chdir(project.root)
            with monkeypatch.context() as patch:
                patch.syspath_prepend(project.root / "src")
                made.append(tree(getattr(project, kind)(dest_model_path="out")))
        finally:
            os.umask(before)
    assert made[0] == made[1]
    assert {mode for mode, _ in made[0].values()} == {"drwxr-xr-x", "-rw-r--r--", "-r--r--r--"}


def test_a_package_does_not_name_the_machine(project: Project) -> None:
    for package in (project.triton(), project.raw()):
        for file in package.rglob("*"):
            assert file.is_dir() or str(project.root.parent).encode() not in file.read_bytes()


# Side by side --------------------------------------------------------------------------------------


def _package_in_a_process(root: str, destination: str) -> dict[str, tuple[str, str]]:
    sys.path.insert(0, f"{root}/src")
    return tree(Project(Path(root)).raw(dest_model_path=destination))


def test_processes_package_side_by_side_into_one_folder(project: Project) -> None:
    destinations = [str(project.root / "out" / f"p{n % 2}") for n in range(4)]
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        made = list(pool.map(_package_in_a_process, [str(project.root)] * 4, destinations))
    assert all(one == made[0] for one in made)
    assert sorted(p.name for p in (project.root / "out").iterdir()) == ["p0", "p1"]


def test_threads_package_side_by_side_into_one_folder(project: Project) -> None:
    before = (list(sys.path), os.getcwd(), set(sys.modules))
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda n: project.triton(dest_model_path=f"out/p{n}"), range(6)))
    assert len({tuple(sorted(tree(one).items())) for one in made}) == 1
    assert len(list((project.root / "out").iterdir())) == 6
    assert (list(sys.path), os.getcwd()) == before[:2]
    assert not {"scaler", "helpers"} & (set(sys.modules) - before[2]), "the packager imported the user's code"


def test_many_builders_may_lay_out_beside_each_other(tmp_path: Path) -> None:
    """The sweep of what a killed builder left must not take a living builder's folder."""

    def lay(n: int) -> None:
        for i in range(100):
            with folders.aside(tmp_path / "out") as new:
                (new / "file").write_text("")
                folders.put(new, tmp_path / "out" / f"{n}-{i}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lay, range(8)))
    assert len(list((tmp_path / "out").iterdir())) == 800


# Someone's files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["triton", "raw"])
def test_a_folder_with_someones_files_is_refused_and_left_as_it_is(project: Project, kind: str) -> None:
    project.write("out/thesis.txt", "my thesis")
    with pytest.raises(ValueError, match=r"is not a .* package of gitreg's"):
        getattr(project, kind)(dest_model_path="out")
    assert files(project.root / "out") == ["thesis.txt"]
    assert (project.root / "out/thesis.txt").read_text() == "my thesis"


def test_a_file_or_a_link_at_the_destination_is_refused_and_left_as_it_is(project: Project) -> None:
    project.write("file", "my thesis")
    (project.root / "elsewhere").mkdir()
    (project.root / "link").symlink_to("elsewhere")
    for place in ("file", "link"):
        with pytest.raises(ValueError, match="not a folder"):
            project.triton(dest_model_path=place)
    assert (project.root / "file").read_text() == "my thesis"
    assert (project.root / "link").is_symlink() and not files(project.root / "elsewhere")


@pytest.mark.parametrize("file", ["notes.txt", "0/model/extra.bin", "0/__pycache__/notes.txt", "0/scaler.py"])
def test_a_package_with_someones_files_in_it_is_never_replaced(project: Project, file: str) -> None:
    package = project.triton(dest_model_path="out")
    before = tree(package)
    project.write(f"out/{file}", "my thesis")
    project.write("trained/factor.txt", "4")
    with pytest.raises(ValueError, match=Path(file).name):
        project.triton(dest_model_path="out")
    assert (package / file).read_text() == "my thesis"
    assert {p: v for p, v in tree(package).items() if p in before and p != file} == {
        p: v for p, v in before.items() if p != file
    }


def test_a_package_of_the_other_format_is_not_replaced(project: Project) -> None:
    before = tree(project.raw(dest_model_path="out"))
    with pytest.raises(ValueError, match="not a triton package"):
        project.triton(dest_model_path="out")
    assert tree(project.root / "out") == before


# Again ---------------------------------------------------------------------------------------------


def test_a_rebuild_leaves_nothing_of_the_old_version(project: Project) -> None:
    project.write("trained/old.bin", "old")
    project.triton(dest_model_path="out")
    (project.root / "trained/old.bin").unlink()
    project.write("trained/new.bin", "new")
    project.write("src/scaler.py", SCALER.replace("helpers.", "fresh."))
    project.write("src/fresh/arithmetic.py", ARITHMETIC)
    package = project.triton(dest_model_path="out")
    assert tree(package) == tree(project.triton(dest_model_path="beside"))
    assert "0/model/new.bin" in files(package)
    assert not {"0/model/old.bin", "0/helpers/arithmetic.py"} & set(files(package))
    assert not (package / "0/helpers").exists() and nothing_aside(project.root)


@pytest.mark.parametrize("kind", ["triton", "raw"])
def test_a_failing_model_keeps_the_earlier_good_package(project: Project, kind: str) -> None:
    before = tree(getattr(project, kind)(dest_model_path="out"))
    project.write(
        "src/scaler.py", SCALER.replace("return cls(", "raise OSError('gone')\n        return cls(")
    )
    with pytest.raises(ValueError, match="gone"):
        getattr(project, kind)(dest_model_path="out")
    assert tree(project.root / "out") == before
    assert nothing_aside(project.root)


def test_the_users_own_artifact_is_not_shared_with_the_package(project: Project) -> None:
    package = project.triton(dest_model_path="out")
    (project.root / "trained/factor.txt").write_text("9")
    assert (package / "0/model/factor.txt").read_text() == "3"
    assert stat.S_IMODE((project.root / "trained/factor.txt").stat().st_mode) & 0o200


# Names that clash -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model", "user_model", "defs"])
def test_a_users_module_may_have_the_name_of_a_package_file(project: Project, name: str) -> None:
    project.write(f"src/{name}.py", SCALER)
    triton, raw = project.triton(f"{name}.ScaleModel"), project.raw(f"{name}.ScaleModel")
    assert "TritonPythonModel" in (triton / "0/model.py").read_text()
    assert load_raw_model(raw).predict(SAMPLES[0])["y"].tolist() == [3, 6]


def test_a_users_package_may_be_called_model(project: Project) -> None:
    project.write("src/model/__init__.py", "")
    project.write("src/model/net.py", SCALER.replace("from helpers.", "from ."))
    project.write("src/model/arithmetic.py", ARITHMETIC)
    triton, raw = project.triton("model.net.ScaleModel"), project.raw("model.net.ScaleModel")
    assert [f for f in files(triton) if f.startswith("0/model/")] == ["0/model/factor.txt"]
    assert load_raw_model(raw).predict(SAMPLES[0])["y"].tolist() == [3, 6]


def test_the_orchestrators_task_needs_no_git_and_no_registry(project: Project) -> None:
    """Row M15: train, then package, in one plain function of a script that knows only gitreg."""
    script = textwrap.dedent(
        """
        import numpy as np
        from gitreg import CustomTritonPackager, DataType, ModelSchema, ModelSchemaItem, load_raw_model
        from scaler import ScaleModel

        def task():
            ScaleModel(6).save("trained")
            schema = ModelSchema([ModelSchemaItem("x", DataType.INT, [2])], [ModelSchemaItem("y", DataType.INT, [2])])
            packager = CustomTritonPackager()
            packager.create_model_package("trained", ScaleModel, schema, dest_model_path="out/triton")
            return packager.create_raw_model_package(
                "trained", ScaleModel, schema, [{"x": np.array([1, 2], np.int32)}], dest_model_path="out/raw")

        print(load_raw_model(task()).predict({"x": np.array([1, 2], np.int32)})["y"].tolist())
        """
    )
    project.write("src/task.py", script)
    environment = {**os.environ, "PATH": "/nonexistent", "GIT_CEILING_DIRECTORIES": "/"}
    done = subprocess.run(
        [sys.executable, "src/task.py"], capture_output=True, text=True, env=environment, cwd=project.root
    )
    assert done.stderr == "" and done.stdout == "[6, 12]\n"
