"""`gitreg verify` holds a package against its record, and runs nothing but what is recorded."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import py_compile
import shutil
import stat
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitreg import builder, load_raw_model, verifier
from gitreg.packages import record_digest
from tests.support import Workshop, gitreg, make_registry

SPY = "\nfrom pathlib import Path as _P\n_P({place!r}).write_text('ran')\n"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packages of the adder, with a bundled package and a data file in it."""
    shop = Workshop(tmp_path_factory.mktemp("registry") / "registry")
    make_registry(shop.root)
    helper = shop.adder / "src" / "tools"
    helper.mkdir()
    (helper / "__init__.py").write_text("")
    (helper / "table.json").write_text("{}")
    code = (shop.adder / "src" / "adder_model.py").read_text()
    shop.code(code.replace("import numpy", "import tools\nimport numpy"))
    shop.commit()
    done = shop.gitreg("build")
    assert done.returncode == 0, done.stderr
    return shop.root / "dist"


@pytest.fixture
def packages(dist: Path, tmp_path: Path) -> Path:
    """A copy that may be tampered with (files of the artifact are copies, too)."""
    shutil.copytree(dist, tmp_path / "dist")
    return tmp_path / "dist"


@pytest.fixture(params=["triton", "raw"])
def package(request: pytest.FixtureRequest, packages: Path) -> Path:
    return packages / request.param / "adder"


def problems(package: Path) -> list[str]:
    return verifier.verify(package).problems


def overwrite(file: Path, data: bytes) -> None:
    mode = stat.S_IMODE(file.stat().st_mode)
    file.chmod(0o644)
    file.write_bytes(data)
    file.chmod(mode)


def record_of(package: Path) -> Path:
    return package / builder.record_path(package.parent.name, 0)


def rewrite_record(package: Path, change: Callable[[dict[str, Any]], Any], sealed: bool = False) -> None:
    """Change a package's record; `sealed` as one would who also knows how its own digest is made."""
    data = yaml.safe_load(record_of(package).read_text())
    change(data)
    if sealed:
        data["record"] = record_digest(data)
    record_of(package).write_text(yaml.safe_dump(data, sort_keys=False))


# Sound packages -------------------------------------------------------------------------------------


def test_every_package_below_a_folder_is_verified(packages: Path) -> None:
    done = gitreg("verify", packages, "--json", cwd=packages)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {(r["format"], r["ok"], r["loaded"], r["samples"]) for r in found} == {
        ("triton", True, True, 2),
        ("raw", True, True, 2),
    }


def test_a_triton_package_on_its_own_is_loaded_though_it_has_no_samples(packages: Path) -> None:
    shutil.rmtree(packages / "raw")
    result = verifier.verify(packages / "triton" / "adder")
    assert (result.problems, result.loaded, result.samples) == ([], True, 0)


def test_the_version_folder_names_the_package_too(package: Path) -> None:
    assert verifier.find_packages(package / "0") == [package]


def test_verifying_leaves_the_package_as_it_was(package: Path) -> None:
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in package.rglob("*")}
    assert problems(package) == []
    assert {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in package.rglob("*")} == before


def test_a_package_that_was_loaded_still_verifies_and_can_be_replaced(packages: Path) -> None:
    package = packages / "raw" / "adder"
    load_raw_model(package)
    assert problems(package) == []
    builder.claim(package, "raw")


def test_a_folder_without_a_package_is_refused(tmp_path: Path) -> None:
    done = gitreg("verify", tmp_path, cwd=tmp_path)
    assert done.returncode == 1 and "is not a package of gitreg's" in done.stderr


# Tampered packages ----------------------------------------------------------------------------------


def test_one_changed_byte_in_any_file_is_found(package: Path) -> None:
    own = record_of(package)
    for file in sorted(p for p in package.rglob("*") if p.is_file() and p != own):
        data = file.read_bytes()
        overwrite(file, (bytes([data[0] ^ 1]) + data[1:]) if data else b"x")
        found = problems(package)
        overwrite(file, data)
        assert len(found) == 1 and found[0].startswith(file.relative_to(package).as_posix()), file
    assert problems(package) == []


def test_the_command_names_what_was_changed_and_exits_1(package: Path) -> None:
    overwrite(package / "0/model/number.txt", b"6")
    done = gitreg("verify", package, cwd=package)
    assert done.returncode == 1
    assert f"error: {package}: 0/model/number.txt was changed" in done.stderr and "hint: " in done.stderr


def test_a_missing_file_is_found(package: Path) -> None:
    (package / "0/model/number.txt").unlink()
    assert problems(package) == ["0/model/number.txt is missing"]


@pytest.mark.parametrize("file", ["note", "0/new.py", "0/model/b.bin", "1/model.py", "0/.hidden"])
def test_an_added_file_is_found(package: Path, file: str) -> None:
    (package / file).parent.mkdir(exist_ok=True)
    (package / file).write_text("")
    assert problems(package) == [f"{file} is not part of the package"]


def test_a_renamed_file_is_missing_under_one_name_and_added_under_the_other(package: Path) -> None:
    (package / "0/model/number.txt").rename(package / "0/model/Number.txt")
    assert problems(package) == [
        "0/model/number.txt is missing",
        "0/model/Number.txt is not part of the package",
    ]


def test_a_changed_config_is_found(packages: Path) -> None:
    config = packages / "triton/adder/config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size: 256", "max_batch_size: 255"))
    assert problems(packages / "triton/adder") == ["config.pbtxt was changed"]


@pytest.mark.parametrize("target", ["a file", "a folder", "nothing"])
def test_a_link_in_a_package_is_refused(package: Path, tmp_path: Path, target: str) -> None:
    same = tmp_path / "same"
    if target == "a file":
        (package / "0/model/number.txt").rename(same)
        (package / "0/model/number.txt").symlink_to(same)
    elif target == "a folder":
        (package / "0/model").rename(same)
        (package / "0/model").symlink_to(same)
    else:
        (package / "0/new").symlink_to(same)
    found = problems(package)
    assert len(found) == 1 and "neither a file nor a folder" in found[0]


def shadow(package: Path, tmp_path: Path) -> Path:
    """Put bytecode of other code, which says so, where Python looks for the adder's."""
    source = next(package.rglob("adder_model.py"))
    other, ran = tmp_path / "other.py", tmp_path / "ran"
    other.write_text(source.read_text() + SPY.format(place=str(ran)))
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(
        str(other), importlib.util.cache_from_source(str(source)), doraise=True, invalidation_mode=mode
    )
    return ran


def test_stale_bytecode_with_other_code_is_not_run(package: Path, tmp_path: Path) -> None:
    ran = shadow(package, tmp_path)
    verifier.verify(package)
    assert not ran.exists()


def test_bytecode_that_would_run_in_place_of_the_sources_is_a_problem(package: Path, tmp_path: Path) -> None:
    """A Triton server would run it: what is verified must be what is served."""
    shadow(package, tmp_path)
    assert any("__pycache__" in problem for problem in problems(package))


def test_nothing_of_a_tampered_package_is_run(package: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for name in ("adder_model.py", "user_model.py"):
        for source in package.rglob(name):
            source.write_text(source.read_text() + SPY.format(place=str(ran)))
    assert problems(package)
    assert not ran.exists()


# Tampered records -----------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "model": lambda r: r.update(model="other"),
    "version": lambda r: r.update(version="9.9.9"),
    "commit": lambda r: r.update(commit="0" * 40),
    "digest": lambda r: r.update(digest="sha256:" + "0" * 64),
    "type": lambda r: r.update(type="onnx"),
    "artifact digest": lambda r: r["artifact"].update(digest="md5:" + "0" * 32 + ".dir"),
    "artifact size": lambda r: r["artifact"].update(size=2),
    "class": lambda r: r.update(model_class="tools.Adder"),
    "schema": lambda r: r["schema"]["output_schema"][0].update(shape=[-1]),
    "batching": lambda r: r.update(max_batch_size=7),
    "a file's size": lambda r: r["files"]["0/model/number.txt"].update(size=9),
    "a file's hash": lambda r: r["files"]["0/model/number.txt"].update(sha256="0" * 64),
    "a file less": lambda r: r["files"].pop("0/model/number.txt"),
    "a file more": lambda r: r["files"].update({"0/ghost": {"size": 1, "sha256": "0" * 64}}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_changed_record_is_found(packages: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    package = packages / "raw" / "adder"
    rewrite_record(package, change)
    assert problems(package) != []


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["files"].update({"../../outside": {"size": 6, "sha256": "0" * 64}}),
        lambda r: r["files"].update({"/etc/passwd": {"size": 6, "sha256": "0" * 64}}),
        lambda r: r["artifact"].update(path="../../../outside"),
        lambda r: r["artifact"].update(path="/etc/passwd"),
        lambda r: r["artifact"].update(path="model/../../.."),
        lambda r: r["artifact"].update(path=""),
        lambda r: r.update(artifact=None),
        lambda r: r.update(schema={"input_schema": 3}),
        lambda r: r.update(schema=None),
        lambda r: r.update(model_class=["a"]),
        lambda r: r.update(model_class="../../outside.Adder"),
    ],
)
def test_a_hostile_record_is_refused_and_is_no_defect(
    package: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    (tmp_path / "outside").write_text("secret")
    rewrite_record(package, change, sealed=True)
    found = problems(package)
    assert found and not any("secret" in problem for problem in found)


@pytest.mark.parametrize(
    "text",
    ["", "{", "- 1", "a: &a [*a, *a]", "files: 3\nformat: raw", "!!python/object/apply:os.abort []", "\x00"],
)
def test_a_record_that_is_none_makes_it_no_package(package: Path, text: str) -> None:
    record_of(package).write_text(text)
    with pytest.raises(ValueError, match="is not a package of gitreg's"):
        verifier.find_packages(package)


def test_a_record_that_is_a_link_is_not_followed(package: Path, tmp_path: Path) -> None:
    record_of(package).rename(tmp_path / "record")
    record_of(package).symlink_to(tmp_path / "record")
    assert builder.find_record(package) is None


@pytest.mark.parametrize(
    "text",
    ["- {x: [1, 2, 3]}", "- {x: [a, b]}", "- {z: [1, 2]}", "3", "- [1, 2]"],
)
def test_samples_that_break_the_schema_are_a_problem(packages: Path, text: str) -> None:
    """With a record that fits them: they are held against the schema on their own."""
    package = packages / "raw" / "adder"
    file = package / "0/metadata/sample_data.yaml"
    file.write_text(text)
    entry = {"size": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    rewrite_record(package, lambda r: r["files"].update({"0/metadata/sample_data.yaml": entry}), True)
    assert problems(package) != []


def test_a_model_that_no_longer_loads_here_is_a_problem_that_shows_why(packages: Path) -> None:
    package = packages / "raw" / "adder"
    text = textwrap.dedent("raise RuntimeError('not on this machine')\n")
    (package / "0/defs/adder_model.py").write_text(text)
    entry = {"size": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    rewrite_record(package, lambda r: r["files"].update({"0/defs/adder_model.py": entry}), True)
    assert "not on this machine" in problems(package)[0]
