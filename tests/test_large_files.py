"""The worst files of their size: told within seconds, with a bounded number of problems."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitreg.datafiles import read_samples, read_values
from gitreg.errors import InvalidFiles
from gitreg.git import refs
from gitreg.manifest import judged, manifest_of
from gitreg.model import DataType, ModelSchema, ModelSchemaItem
from gitreg.tagspace import Space
from tests.support import ADDER_MANIFEST, Workshop, run

SCHEMA = ModelSchema([ModelSchemaItem("x", DataType.FLOAT, [2])], [])


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Time of the processor: other work on the machine does not count."""
    began = time.process_time()
    yield
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ('{"x": [' + "1e999," * 400_000 + "1]}", "1e999 is beyond what a float holds"),
        ('{"x": [' + "NaN," * 400_000 + "1]}", "expected float [2], got"),
        ('{"x": [' + "1," * 1_000_000 + "1]}", "expected float [2], got"),
        ("[" + '{"y": 1},' * 100_000 + "{}]", "10,000"),
        ("[" + '{"y": 1},' * 9_000 + "{}]", "is missing; expected float [2]"),
        (
            "[{" + "".join(f'"y{i}": 1,' for i in range(200_000)) + '"x": 1}]',
            "has 200,001 inputs; the schema has 1",
        ),
        ("[" * 3_000_000, "nested too deep"),
    ],
)
def test_samples(text: str, first: str, tmp_path: Path) -> None:
    (tmp_path / "samples.json").write_text(text)
    problems = read_samples(tmp_path / "samples.json", "samples.json", SCHEMA, False)[1]
    assert first in problems[0].message and len(problems) <= 101


def test_metrics_of_numbers_that_are_too_large(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(
        "{" + "".join(f'"k{i}": 1e999,' for i in range(60_000)) + '"a": 1}'
    )
    with pytest.raises(InvalidFiles) as refused:
        read_values(tmp_path / "metrics.json", "metrics.json", tmp_path, finite=True)
    assert len(refused.value.problems) == 101


def test_a_key_that_stands_twice_among_many(tmp_path: Path) -> None:
    text = "{" + "".join(f'"k{i}": 1,' for i in range(60_000)) + '"k59999": 1}'
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(InvalidFiles, match="the key 'k59999' stands twice"):
        read_values(tmp_path / "metrics.json", "metrics.json", tmp_path)


@pytest.mark.parametrize(
    "text", ["a." * 400_000 + "a = 1", "[" + "a . " * 200_000 + "a]", "a" * 900_000 + " = 1"]
)
def test_toml_of_long_keys(text: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.toml").write_text(text)
    if "." not in text:
        assert read_values(tmp_path / "metrics.toml", "metrics.toml", tmp_path)
        return
    with pytest.raises(InvalidFiles, match="a dotted key of more than 40 parts"):
        read_values(tmp_path / "metrics.toml", "metrics.toml", tmp_path)


def told(**changes: Any) -> list[str]:
    """The problems of a manifest, on its own."""
    raw = json.dumps({**ADDER_MANIFEST, **changes}).encode()
    document, problems = judged(raw, "models/adder/model.yaml", "model")
    return [one.message for one in manifest_of(document, problems, Path("/nowhere")).problems]


def test_many_import_roots_and_lists_of_what_cannot_be_sorted() -> None:
    roots = told(code=[f"c{i}" for i in range(40_000)])
    assert any("has 40,000 entries; at most 100 are allowed" in one for one in roots) and len(roots) < 110
    assert told(owners=[{"a": i} for i in range(20_000)])
    assert any("non-unique" in one or "uniqueItems" in one for one in told(code=["src", "src"]))


def test_tags_of_more_models_than_a_command_line_names(workshop: Workshop) -> None:
    for tag in ("adder@v1.0.0", "other@v1.0.0", "adder-2@v1.0.0", "adder#staging#2", "v1.0.0"):
        run("git", "tag", "-a", "-m", "x", tag, cwd=workshop.root)
    many = ["adder", *(f"model-{i}-{'x' * 40}" for i in range(50_000))]
    for space in (Space(), Space("ml/registry", "ml/registry")):
        few, all_of_them = (refs.tags(workshop.root, models, space) for models in (["adder"], many))
        assert few == all_of_them
    assert [tag.name for tag in refs.tags(workshop.root, many)[0]] == ["adder#staging#2", "adder@v1.0.0"]
    (workshop.root / "stages" / "staging.yaml").write_text(
        "".join(f"{name}: 1.0.0\n" for name in many[1:15_000])
    )
    assert workshop.gitreg("check").returncode == 1


def test_a_large_file_of_dvcs_is_refused_before_dvc_reads_it(workshop: Workshop) -> None:
    outs = "".join(f"- md5: {i:032x}\n  size: 1\n  hash: md5\n  path: f{i}\n" for i in range(8000))
    for name, text in (("many.dvc", f"outs:\n{outs}"), ("long.dvc", f"desc: {'x' * 600_000}\nouts: []\n")):
        (workshop.root / name).write_text(text)
    done = workshop.gitreg("check", "--no-run")
    assert done.returncode == 1
    for name in ("many.dvc", "long.dvc"):
        assert (
            f"{name}: " in done.stderr and "DVC takes minutes for such a file: at most 524,288" in done.stderr
        )
