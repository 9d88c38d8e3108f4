"""Files that others write, in shapes that nobody writes: read, or refused with their place, and never a defect."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitreg import builder, datafiles, documents, loader, mlmodel, requirements, stagefile, verifier
from gitreg.addresses import address_of
from gitreg.declared import ArtifactSource
from gitreg.errors import InvalidFiles, Refused
from gitreg.manifest import judged
from gitreg.model import ModelSchema
from gitreg.origins import mlflow, modelarts
from gitreg.site import extras, telling
from gitreg.store import dvcfiles, pipelines
from gitreg.store.pointers import Pointers
from tests.support import Workshop, run

ODD: tuple[Any, ...] = (
    None,
    True,
    1,
    1e308,
    "x",
    "x" * 100_000,
    [],
    [1],
    ["x"],
    [None],
    [[]],
    {},
    {"x": 1},
    [{}],
)
ODD += ([{"path": 1}], [{"path": None, "md5": []}], {"path": {}}, [[[[[[[[[[1]]]]]]]]]])


# DVC ----------------------------------------------------------------------------------------------

STAGE = {
    "cmd": "x",
    "deps": [{"path": "d"}],
    "outs": [{"path": "a", "md5": "0" * 32}],
    "params": {"p.yaml": {"a": 1}},
}


@pytest.mark.parametrize("key", [*STAGE, "", "stages"])
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
def test_every_field_of_a_dvc_lock_may_be_anything(key: str, odd: Any, tmp_path: Path) -> None:
    said: Any = {"schema": "2.0", "stages": {"train": {**STAGE, key: odd} if key else odd}}
    said = odd if key == "stages" else said
    (tmp_path / "dvc.lock").write_text(json.dumps(said))
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": {"train": odd}, "artifacts": odd}))
    for file in ("dvc.lock", "dvc.yaml"):
        assert all(problem.file == file for problem in dvcfiles.mistakes(tmp_path, file))
    for read in (
        lambda: Pointers(tmp_path).tracked(ArtifactSource(stage="train"), "models/a"),
        lambda: Pointers(tmp_path).tracked(ArtifactSource(path="a"), ""),
        lambda: Pointers(tmp_path).outputs("dvc.lock"),
        lambda: Pointers(tmp_path).measures("train", ""),
        lambda: pipelines.find(tmp_path, "a"),
    ):
        try:
            read()
        except Refused as refused:
            assert "dvc" in refused.message.lower()


@pytest.mark.parametrize("key", ["outs", "deps", "meta", "wdir", "md5", "frozen", "desc"])
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
def test_every_field_of_a_dvc_file_may_be_anything(key: str, odd: Any, tmp_path: Path) -> None:
    said = {"outs": [{"md5": "0" * 32, "path": "a"}], "deps": [{"path": "s3://b/a"}], key: odd}
    (tmp_path / "a.dvc").write_text(json.dumps(said))
    dvcfiles.mistakes(tmp_path, "a.dvc")
    for read in (
        lambda: Pointers(tmp_path).tracked(ArtifactSource(path="a"), ""),
        lambda: Pointers(tmp_path).outputs("a.dvc"),
        lambda: pipelines.tracked(tmp_path, "a"),
        lambda: pipelines.imported(tmp_path, "a.dvc"),
    ):
        try:
            read()
        except Refused as refused:
            assert "a.dvc" in refused.message


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("remote = here\n[core]\n", "'remote' stands outside of a section"),
        ("core = 1\n", "'core' stands outside of a section"),
        ("[core\n", "line 1 is neither"),
        ("[" * 100_000, "line 1 has 100,000 characters"),
        ("\n" + "[ " * 100, "line 2: a section has at most two brackets"),
        ("[" * 50 + "x" + "]" * 50, "line 1: a section has at most two brackets"),
        ("[core]\nremote = %(x)s\n", "key that is not there"),
    ],
)
def test_a_dvc_configuration_of_another_shape_is_a_problem(text: str, why: str, workshop: Workshop) -> None:
    said = dvcfiles.config_mistake(text.encode())
    assert said and why in said
    if "core = 1" in text:
        (workshop.root / ".dvc" / "config").write_text(text)
        done = workshop.gitreg("check")
        assert done.returncode == 1, done.stderr
        assert f".dvc/config: DVC refuses it: {why}" in done.stdout + done.stderr


def test_aliases_that_stand_for_millions_of_values_are_refused_at_once() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]" for i in range(1, 30)]
    raw = "\n".join(lines).encode()
    for most in (documents.MAX_BYTES, 32 << 20):
        document, problems = documents.parse(raw, "dvc.yaml", most, merging=True)
        assert document.data is None and ("values" in problems[0].message or "aliases" in problems[0].message)
    assert "values" in (documents.overgrown(raw) or "")


# MLflow -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
def test_an_mlmodel_may_say_anything(odd: Any) -> None:
    good = {"type": "double", "name": "x"}
    tensor = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1]}}
    sides = [odd, [odd], [{**good, "type": odd}], [{**good, "name": odd}], [{**tensor, "tensor-spec": odd}]]
    sides += [[{**tensor, "tensor-spec": {"dtype": odd, "shape": odd}}], [{"type": "array", "items": odd}]]
    for said in (odd, {"flavors": odd, "signature": odd}, {"flavors": {"python_function": odd}}):
        assert mlmodel.read(said).schema is None
    for side in sides:
        text = json.dumps([good])
        signature = {"inputs": json.dumps(side), "outputs": text}
        mlmodel.read({"signature": signature})
        mlmodel.read({"signature": {"inputs": odd, "outputs": odd}})
    told = mlmodel.read({"signature": {"inputs": json.dumps([good]), "outputs": json.dumps([good])}})
    for example in (
        odd,
        {"columns": odd, "data": odd},
        {"columns": ["x"], "data": [odd]},
        {"data": odd},
        {"x": odd},
    ):
        assert isinstance(mlmodel.samples(example, told), list)
    assert mlflow._data({"name": "d", "digest": "1", "source": json.dumps(odd)})


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '[{"type": "tensor", "tensor-spec": {"dtype": "f", "shape": [1e999]}}]', "{"]
)
def test_what_json_in_an_mlmodel_cannot_be_is_why_there_is_no_schema(text: str) -> None:
    told = mlmodel.read({"signature": {"inputs": text, "outputs": text}})
    assert told.schema is None and told.why.startswith("the signature of MLmodel")
    assert mlflow._data({"name": "d", "digest": "1", "source": text}) == {"name": "d", "version": "1"}


# ModelArts ----------------------------------------------------------------------------------------

KEYS = (
    "model_type",
    "model_algorithm",
    "metrics",
    "dependencies",
    "apis",
    "install_type",
    "runtime",
    "initial_config",
)
KEYS += ("health", "swr_location", "prebuilt", "dynamic_load_mode")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
def test_every_field_of_a_config_json_may_be_anything(key: str, odd: Any) -> None:
    properties = {"x": {"type": "array", "items": odd}, "y": odd, "z": {"type": odd}}
    for said in (
        {key: odd},
        {
            "dependencies": [
                {"installer": "pip", "packages": [{"package_name": odd, "restraint": odd}], key: odd}
            ]
        },
        {"dependencies": [{"installer": odd, "packages": odd}]},
        {"apis": [{"request": odd, "response": {"properties": {"x": odd}}}]},
        {"apis": [{side: {"properties": properties, "required": odd} for side in ("request", "response")}]},
        {"apis": [{side: {"properties": {"z": {"type": odd}}} for side in ("request", "response")}]},
    ):
        list(modelarts._unsaid(said, modelarts._fields(said)))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[]", "config.json:1:1: expected a mapping"),
        ("1", "config.json:1:1: expected a mapping"),
        ("{", "config.json:1:2: not JSON"),
        ("\xff", "config.json: not UTF-8"),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ("[" * 100_000, "config.json: nested too deep"),
    ],
)
def test_a_config_json_that_is_none_is_refused_at_its_place(
    text: str, place: str, workshop: Workshop
) -> None:
    folder = workshop.root.parent / "arts"
    folder.mkdir()
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    (folder / "model.onnx").write_bytes(b"\x08\x09")
    with pytest.raises(InvalidFiles, match=place.replace("(", r"\(")):
        modelarts.configuration(folder / "config.json", "config.json")


# Packages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["format", "artifact", "files", "schema", "record", "max_batch_size", "model_class"]
)
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
def test_every_field_of_a_record_may_be_anything(key: str, odd: Any, tmp_path: Path) -> None:
    record = {
        "format": "raw",
        "model": "a",
        "artifact": {"path": "model"},
        "files": {},
        "schema": {},
        "record": "x",
    }
    (tmp_path / "0" / "metadata").mkdir(parents=True)
    (tmp_path / "0" / "metadata" / "download.yaml").write_text(json.dumps({**record, key: odd}))
    if builder.find_record(tmp_path):
        assert verifier.verify(tmp_path).problems


@pytest.mark.parametrize(
    "text",
    [
        "format: raw\nfiles: {}\nartifact: {path: model}\nwhen: 2026-99-99\n",
        "format: raw\nfiles: {}\nartifact: {path: model}\nwhen: 2026-01-01\n",
        "format: raw\nfiles: {}\nartifact: {path: model}\n1: x\n",
        "format: raw\nfiles: {}\nartifact: {path: model}\nx: " + "[" * 150 + "]" * 150,
        "format: raw\nfiles: {}\nartifact: {path: model}\nx: " + "[" * 900 + "]" * 900,
        "format: raw\nfiles: {}\nartifact: {path: model}\na0: &a0 [1]\n"
        + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20)),
        "format: raw\nfiles: {}\nartifact: {path: 1}\n",
        "format: raw\nfiles: {}\n",
    ],
)
def test_a_record_that_is_none_makes_no_package(text: str, tmp_path: Path) -> None:
    (tmp_path / "0" / "metadata").mkdir(parents=True)
    (tmp_path / "0" / "metadata" / "download.yaml").write_text(text)
    record = builder.find_record(tmp_path)
    assert record is None or not record["sound"]


def test_samples_of_a_package_are_a_list(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    for text in ("true", "1", "{x: 1}", "2026-01-01", "text"):
        (tmp_path / "metadata" / "sample_data.yaml").write_text(text)
        with pytest.raises(Refused, match=r"metadata/sample_data\.yaml: expected a list of samples"):
            list(verifier._samples(tmp_path, ModelSchema(), False))


# The rest -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", ["\x00", "\x7f", "\r", "\x0b", "\x1b", "\x85", "\u2028", "\u2029", "\xff"])
def test_a_comment_of_a_stage_file_hides_no_line(sign: str) -> None:
    for text in (f"a1: 1.0.0 # x{sign}b1: 2.0.0\n", f"# x{sign}b1: 2.0.0\na1: 1.0.0\n"):
        assert stagefile.entries(text.encode()) is None
        assert stagefile.entries(text.encode("utf-16")) is None
    document, problems = judged("a1: 1.0.0 # x\u2028b1: 2.0.0\n".encode(), "stages/x.yaml", "stage")
    assert problems or document.data == {"a1": "1.0.0", "b1": "2.0.0"}
    assert stagefile.entries(b"a1: 1.0.0 # why, ~ and \t so\n# more\n") is not None


@pytest.mark.parametrize("text", ["1..." + "0" * 80, "[1._2, 1e999]", "1e1e1e", "1." * 100])
def test_what_only_begins_like_a_number_is_none(text: str, tmp_path: Path) -> None:
    for name in ("x.json", "x.toml", "x.yaml"):
        (tmp_path / name).write_text(text)
        with pytest.raises(InvalidFiles):
            datafiles.read_values(tmp_path / name, name, tmp_path, finite=True)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("code", [0x110000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_text_in_an_npz_with_characters_that_there_are_not_is_a_problem(
    code: int, order: str, tmp_path: Path
) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array(["ab", "c"], f"{order}U2"))
    raw = bytearray(stream.getvalue())
    raw[-4:] = np.array([code], f"{order}u4").tobytes()
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", bytes(raw))
    with pytest.raises(InvalidFiles, match="characters that there are not"):
        datafiles.plain_samples(tmp_path / "x.npz", "x.npz")


@pytest.mark.parametrize("line", ["numpy_>=1.24", "numpy.", "a-", "a[b_]", "a_ @ https://x/y.whl"])
def test_the_name_of_a_requirement_ends_in_a_letter_or_digit(line: str) -> None:
    assert [index for index, _ in requirements.mistakes([line])] == [0]
    assert not requirements.parsed([line])


@pytest.mark.parametrize("url", ["https://x/\ud800", "git@h:\udcff", "ssh://h/a\udfff"])
def test_an_address_has_no_half_of_a_character(url: str) -> None:
    with pytest.raises(Refused, match="no UTF-8"):
        address_of(url)


@pytest.mark.parametrize(
    "raw", [b"[" * 100_000, b'{"a": ' * 100_000, b"1", b'["x"]', b"\xff", b"[{}, 1]", b""]
)
def test_samples_that_the_page_cannot_read_are_said_to_be_so(raw: bytes) -> None:
    for name in ("samples.json", "samples.yaml"):
        shown = extras._read(name, len(raw), raw).shown
        assert "why" in shown or "rows" in shown


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b"\xff", ".dvcignore: not UTF-8: byte 0"),
        (b"# fine\n[z-a]\n", ".dvcignore:2:1: DVC refuses the pattern"),
        (b"!\n", ".dvcignore:1:1: DVC refuses the pattern"),
        (b"x\n" + b"*a" * 60 + b"\n", ".dvcignore:2:1: more than 3 `*`"),
        (b"**/**/**/**/**/x\n", ".dvcignore:1:1: more than 3 `*`"),
        (b"x" * 70_000, ".dvcignore: 70,000 bytes; at most 65,536 are read"),
    ],
)
def test_a_dvcignore_that_dvc_ends_on_or_is_never_done_with_is_a_problem(
    raw: bytes, place: str, tmp_path: Path
) -> None:
    for folder in ("", "models/", "models/a/"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / ".dvcignore").write_bytes(raw)
        told = [str(one) for one in dvcfiles.ignore_mistakes(tmp_path, [f"{folder}x.dvc"])]
        assert told and told[-1].startswith(f"{folder}{place}")
        (tmp_path / folder / ".dvcignore").write_bytes(b"# fine\n*.tmp\n/data/**/*.csv\n!keep\n\n")
        assert not dvcfiles.ignore_mistakes(tmp_path, [f"{folder}x.dvc"])


def test_check_names_such_a_dvcignore(workshop: Workshop) -> None:
    (workshop.root / ".dvcignore").write_bytes(b"*a" * 60)
    done = workshop.gitreg("check")
    assert done.returncode == 1, done.stderr
    assert ".dvcignore:1:1: more than 3 `*`" in done.stdout + done.stderr


def test_the_page_shows_an_input_that_says_nothing_of_itself() -> None:
    assert telling._item({"name": "", "data_type": "", "shape": []}) == {
        "name": "",
        "type": "",
        "shape": "[]",
    }


@pytest.mark.parametrize("odd", [*ODD, {"path": 1}], ids=lambda odd: repr(odd)[:20])
def test_a_package_whose_record_names_no_artifact_is_not_loaded(odd: Any, tmp_path: Path) -> None:
    (tmp_path / "0" / "metadata").mkdir(parents=True)
    record = {"format": "raw", "artifact": odd, "files": {}, "record": "x"}
    (tmp_path / "0" / "metadata" / "download.yaml").write_text(json.dumps(record))
    with pytest.raises(Refused, match="the record names no artifact"):
        loader._artifact(tmp_path / "0")


@pytest.mark.parametrize("folder", ["", "models/", "models/adder/", "elsewhere/deep/"])
def test_new_names_the_dvcignore_that_dvc_would_end_on(folder: str, workshop: Workshop) -> None:
    (workshop.root / folder).mkdir(parents=True, exist_ok=True)
    (workshop.root / folder / ".dvcignore").write_bytes(b"\xff\n")
    done = workshop.gitreg("new", "third", "--from", workshop.adder / "artifacts")
    assert done.returncode == 1, done.stderr
    assert f"{folder}.dvcignore: not UTF-8: byte 0 is 0xff" in done.stderr
    assert not (workshop.root / "models" / "third").exists()


def test_a_list_of_files_that_is_nested_too_deep_is_corrupt(workshop: Workshop) -> None:
    deep = b"[" * 100_000
    md5 = f"{hashlib.md5(deep).hexdigest()}.dir"
    place = workshop.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(deep)
    (workshop.adder / "artifacts.dvc").write_text(f"outs:\n- md5: {md5}\n  hash: md5\n  path: artifacts\n")
    done = workshop.gitreg("build", "adder")
    assert done.returncode == 1 and "it is not a list of files" in done.stderr, done.stderr


def test_a_nul_in_the_name_that_a_tag_bears_is_no_defect(workshop: Workshop) -> None:
    head = run("git", "rev-parse", "HEAD", cwd=workshop.root).stdout.strip()
    for name, text in (
        ("adder@v1.0.0", ""),
        ("adder@v1.1.0", f"object {head}\ntype commit\ntag \0x\0\n\nx\n"),
    ):
        oid = run(
            "git", "hash-object", "-t", "tag", "-w", "--literally", "--stdin", cwd=workshop.root, input=text
        ).stdout.strip()
        ref = workshop.root / ".git" / "refs" / "tags" / name
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(f"{oid}\n")
    for verb in ("plan", "list", "doctor", "check"):
        assert workshop.gitreg(verb).returncode in (0, 1)
