"""load_raw_model: the user's own class out of a package, and each package's modules its own (row M8)."""

from __future__ import annotations

import importlib
import importlib.util
import os
import py_compile
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitreg import CustomTritonPackager, DataType, Model, ModelSchema, ModelSchemaItem, load_raw_model

CODE = {
    "net.py": """
        from pathlib import Path

        import numpy as np

        from gitreg import Model
        from layers import VERSION
        from layers.dense import Dense


        class Net(Model):
            def __init__(self, dense):
                self.dense = dense

            def save(self, path):
                import pickle
                (Path(path) / "dense.pickle").write_bytes(pickle.dumps(self.dense))

            @classmethod
            def load(cls, path):
                return cls(Dense(int((Path(path) / "weight.txt").read_text()))) if (
                    Path(path) / "weight.txt"
                ).exists() else cls(cls.unpickled(path))

            @staticmethod
            def unpickled(path):
                import pickle
                return pickle.loads((Path(path) / "dense.pickle").read_bytes())

            def predict(self, inputs):
                from layers import late
                return {"y": self.dense(inputs["x"]) + np.int32(VERSION + late.VERSION)}

            def by_name(self):
                import importlib
                return importlib.import_module("layers.later").VERSION

            def star(self):
                import layers.deep.deeper as deeper
                return deeper.value()
        """,
    "layers/__init__.py": "VERSION = {version}\n",
    "layers/dense.py": """
        import numpy as np

        class Dense:
            def __init__(self, weight):
                self.weight = weight

            def __call__(self, x):
                return x * np.int32(self.weight)
        """,
    "layers/late.py": "VERSION = {version}\n",
    "layers/later.py": "VERSION = {version}\n",
    "layers/deep/deeper.py": "def value():\n    from ..later import VERSION\n    return VERSION\n",
}
SCHEMA = ModelSchema([ModelSchemaItem("x", DataType.INT, [1])], [ModelSchemaItem("y", DataType.INT, [1])])
SAMPLE = {"x": np.array([7], np.int32)}


def make(place: Path, version: int = 1000, change: dict[str, str] | None = None) -> Path:
    """A raw package of Net; its answer to SAMPLE is 7 * 3 + 2 * version."""
    for name, text in {**CODE, **(change or {})}.items():
        file = place / "src" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).replace("{version}", str(version)))
    (place / "trained").mkdir(exist_ok=True)
    (place / "trained/weight.txt").write_text("3")
    sys.path.insert(0, str(place / "src"))
    try:
        packager = CustomTritonPackager()
        made = packager.create_raw_model_package(
            place / "trained", "net.Net", SCHEMA, [SAMPLE], dest_model_path=place / "package"
        )
    finally:
        sys.path.remove(str(place / "src"))
    return Path(made)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("one"), 1000)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("two"), 2000)


def answer(model: Model) -> int:
    return int(model.predict(SAMPLE)["y"][0])


@pytest.mark.parametrize("below", ["", "0"])
def test_the_path_is_the_package_or_its_version_folder(one: Path, below: str) -> None:
    assert answer(load_raw_model(one / below)) == 7 * 3 + 2000


def test_the_path_may_be_relative_and_the_folder_may_be_left_afterwards(
    one: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(one.parent)
    model = load_raw_model("package")
    monkeypatch.chdir("/")
    assert answer(model) == 2021


def test_what_is_loaded_is_an_instance_of_the_users_class(one: Path) -> None:
    model = load_raw_model(one)
    assert (type(model).__name__, type(model).__module__) == ("Net", "net")
    assert isinstance(model, Model)


def test_two_versions_are_loaded_side_by_side(one: Path, two: Path) -> None:
    first, second = load_raw_model(one), load_raw_model(two)
    assert type(first) is not type(second)
    assert [answer(first), answer(second), answer(first)] == [2021, 4021, 2021]


def test_an_import_in_a_method_finds_the_packages_own_submodule(one: Path, two: Path) -> None:
    first, second = load_raw_model(one), load_raw_model(two)
    assert [second.star(), first.star(), second.star()] == [2000, 1000, 2000]  # type: ignore[attr-defined]


def test_an_import_by_name_in_a_method_finds_the_packages_own_module(one: Path, two: Path) -> None:
    first, second = load_raw_model(one), load_raw_model(two)
    assert [first.by_name(), second.by_name()] == [1000, 2000]  # type: ignore[attr-defined]


def test_loaded_models_save_themselves_with_pickle_and_read_it_back(
    one: Path, two: Path, tmp_path: Path
) -> None:
    """Pickle looks classes up in sys.modules by name; each version's must still be found there."""
    for name, package, wanted in (("a", one, 2021), ("b", two, 4021), ("c", one, 2021)):
        model = load_raw_model(package)
        (tmp_path / name).mkdir()
        model.save(str(tmp_path / name))
        assert answer(type(model).load(str(tmp_path / name))) == wanted


def test_the_callers_program_does_not_see_a_packages_modules(one: Path) -> None:
    model = load_raw_model(one)
    try:
        with pytest.raises(ImportError):
            importlib.import_module("layers")
    finally:
        sys.modules.pop("layers", None)
    assert answer(model) == 2021


def test_the_callers_own_modules_of_the_same_names_stay_as_they_are(
    one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "layers.py").write_text("VERSION = 'mine'\n")
    monkeypatch.syspath_prepend(tmp_path)
    import layers  # type: ignore[import-not-found]

    try:
        model = load_raw_model(one)
        assert answer(model) == 2021
        assert sys.modules["layers"] is layers and layers.VERSION == "mine"
        assert "net" not in sys.modules
    finally:
        del sys.modules["layers"]


def test_loading_leaves_nothing_in_the_import_system(one: Path) -> None:
    load_raw_model(one)  # warms up what gitreg itself imports
    before = list(sys.path), set(sys.modules), list(sys.meta_path), list(sys.path_hooks)
    answer(load_raw_model(one))
    assert (list(sys.path), set(sys.modules), list(sys.meta_path), list(sys.path_hooks)) == before


def test_bytecode_that_is_not_of_the_packages_sources_is_not_run(one: Path, tmp_path: Path) -> None:
    """What `verify` has verified are the sources; a __pycache__ beside them could hold anything."""
    package = tmp_path / "copy"
    shutil.copytree(one, package)
    source = package / "0/defs/layers/late.py"
    shadow = tmp_path / "late.py"
    shadow.write_text("VERSION = 666\n")
    compiled = importlib.util.cache_from_source(str(source))
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(shadow), compiled, doraise=True, invalidation_mode=mode)
    assert answer(load_raw_model(package)) == 2021


def test_an_empty_sys_path_entry_does_not_let_other_code_in(
    one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("net.py", "layers.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong module')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    assert answer(load_raw_model(one)) == 2021


def test_threads_load_and_ask_both_versions_at_once(one: Path, two: Path) -> None:
    def load_and_ask(n: int) -> int:
        return answer(load_raw_model((one, two)[n % 2]))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(load_and_ask, range(64))) == [2021, 4021] * 32


def test_threads_ask_one_model_at_once(one: Path) -> None:
    model = load_raw_model(one)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: answer(model), range(64))) == {2021}


def test_a_load_that_imports_in_threads_of_its_own_does_not_hang(tmp_path: Path) -> None:
    threaded = """
        from concurrent.futures import ThreadPoolExecutor
        from gitreg import Model

        def shard(n):
            from layers import late
            return late.VERSION

        class Net(Model):
            def save(self, path): pass
            def predict(self, inputs): return {"y": inputs["x"]}
            @classmethod
            def load(cls, path):
                with ThreadPoolExecutor(2) as pool:
                    cls.shards = list(pool.map(shard, range(2)))
                return cls()
        """
    package = make(tmp_path, change={"net.py": threaded})
    code = f"import gitreg; print(gitreg.load_raw_model({str(package)!r}).shards)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=10)
    assert done.stdout == "[1000, 1000]\n"


# What cannot be loaded ------------------------------------------------------------------------------


def changed(package: Path, place: Path, file: str, text: str | None) -> Path:
    """A copy of a package with one file replaced, or without it."""
    copy = place / "copy"
    shutil.copytree(package, copy)
    (copy / file).unlink()
    if text is not None:
        (copy / file).write_text(text)
    return copy


@pytest.mark.parametrize("kind", ["template", "mleap", "image"])
def test_a_type_without_a_loader_is_a_not_implemented_error_that_names_it(
    one: Path, tmp_path: Path, kind: str
) -> None:
    package = changed(one, tmp_path, "0/metadata/type.yaml", f"type: {kind}\n")
    with pytest.raises(NotImplementedError, match=f"'{kind}'"):
        load_raw_model(package)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("0/metadata/type.yaml", "{", "type.yaml does not name a type"),
        ("0/metadata/type.yaml", "- 1\n", "type.yaml does not name a type"),
        ("0/metadata/type.yaml", "", "type.yaml does not name a type"),
        ("0/metadata/type.yaml", None, "is not a raw package"),
        ("0/defs/model_class.txt", None, "model_class.txt: No such file"),
        ("0/defs/model_class.txt", "net.Gone", "net.Gone cannot be imported"),
        ("0/defs/model_class.txt", "gone.Net", "gone.Net cannot be imported"),
        ("0/defs/model_class.txt", "", "model_class.txt"),
        ("0/defs/model_class.txt", "Net", "model_class.txt|Net cannot be imported"),
        ("0/defs/layers/dense.py", None, "net.Net cannot be imported: .*dense"),
    ],
)
def test_a_broken_package_is_a_value_error_that_names_what_is_broken(
    one: Path, tmp_path: Path, file: str, text: str | None, message: str
) -> None:
    package = changed(one, tmp_path, file, text)
    with pytest.raises(ValueError, match=message):
        load_raw_model(package)
    assert not {"net", "layers"} & set(sys.modules)


@pytest.mark.parametrize("made", ["nothing", "an empty folder", "a file"])
def test_a_path_with_no_package_is_a_value_error(tmp_path: Path, made: str) -> None:
    path = tmp_path / "package"
    if made == "an empty folder":
        path.mkdir()
    elif made == "a file":
        path.write_text("")
    with pytest.raises(ValueError, match="is not a raw package"):
        load_raw_model(path)


def test_a_triton_package_is_no_raw_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "src")
    triton = CustomTritonPackager().create_model_package(
        tmp_path / "trained", "net.Net", SCHEMA, dest_model_path=tmp_path / "triton"
    )
    with pytest.raises(ValueError, match="is not a raw package"):
        load_raw_model(triton)


def test_a_load_that_raises_passes_its_own_error_on_and_cleans_up(one: Path, tmp_path: Path) -> None:
    package = changed(one, tmp_path, "0/model/weight.txt", "not a number")
    before = list(sys.meta_path)
    with pytest.raises(ValueError, match="not a number"):
        load_raw_model(package)
    assert sys.meta_path == before and "net" not in sys.modules


def test_a_package_answers_where_only_numpy_is_installed(one: Path, tmp_path: Path) -> None:
    """The `gitreg` that a package carries is enough to import its modules."""
    code = textwrap.dedent(
        f"""
        import sys
        sys.path[:] = [p for p in sys.path if "site-packages" not in p]
        sys.meta_path[:] = [f for f in sys.meta_path if "__editable__" not in getattr(f, "__module__", "")]
        sys.path[:0] = [{str(one / "0/defs")!r}, {str(_alone("numpy", tmp_path))!r}]
        import gitreg, net, numpy as np
        assert gitreg.__file__.startswith({str(one)!r})
        print(net.Net.load({str(one / "0/model")!r}).predict({{"x": np.array([7], np.int32)}})["y"])
        try:
            from gitreg import Registry
        except (ImportError, AttributeError) as error:
            print("Registry" in str(error))
        """
    )
    done = subprocess.run([sys.executable, "-I", "-B", "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[2021]\nTrue\n", "")


def _alone(name: str, place: Path) -> Path:
    """A folder in which one installed package (with its libraries) is all there is."""
    module: Any = __import__(name)
    installed = Path(module.__file__).parent
    for found in (installed, installed.with_name(f"{name}.libs")):
        if found.exists():
            os.symlink(found, place / found.name)
    return place
