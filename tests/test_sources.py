"""Sources of models, from `new` to a build in a fresh clone: stages, images, templates, ModelArts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import ADDER_CODE, Workshop, gitreg, run

DIGEST = "sha256:" + "0123456789abcdef" * 4
IMAGE = f"registry.example.org/acme/churn@{DIGEST}"
TRAIN = """
import json, pathlib
number = json.load(open("params.json"))["number"]
pathlib.Path("out").mkdir(exist_ok=True)
pathlib.Path("out/number.txt").write_text(str(number))
json.dump({"accuracy": 0.9}, open("metrics.json", "w"))
pathlib.Path("ran.txt").open("a").write("x")
"""
PIPELINE = {
    "stages": {
        "train": {
            "cmd": f"{sys.executable} train.py",
            "deps": ["train.py"],
            "params": [{"params.json": ["number"]}],
            "outs": ["out"],
            "metrics": [{"metrics.json": {"cache": False}}],
        }
    }
}


def dvc(shop: Workshop, *arguments: str) -> None:
    run(sys.executable, "-m", "dvc", *arguments, cwd=shop.root)


def manifest(shop: Workshop, name: str) -> dict[str, object]:
    data: dict[str, object] = yaml.safe_load((shop.root / "models" / name / "model.yaml").read_text())
    return data


def must(shop: Workshop, *arguments: str | Path) -> str:
    done = shop.gitreg(*arguments)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def clone_of(shop: Workshop) -> Workshop:
    place = shop.root.parent / "clone"
    run("git", "clone", "-q", shop.root, place, cwd=shop.root)
    return Workshop(place)


def answers(shop: Workshop, reference: str) -> list[dict[str, list[int]]]:
    return json.loads(must(shop, "predict", reference, "--json"))["predictions"]  # type: ignore[no-any-return]


# The output of a training job -------------------------------------------------------------------------


@pytest.fixture
def trained(workshop: Workshop) -> Workshop:
    (workshop.root / "train.py").write_text(TRAIN)
    (workshop.root / "params.json").write_text('{"number": 5}')
    said = yaml.safe_load((workshop.root / "dvc.yaml").read_text()) or {}
    (workshop.root / "dvc.yaml").write_text(yaml.safe_dump({**said, **PIPELINE}))
    (workshop.root / "lib").mkdir()
    (workshop.root / "lib" / "trained_model.py").write_text(ADDER_CODE)
    dvc(workshop, "repro", "-q")
    return workshop


def test_a_stage_is_registered_and_its_next_output_too_without_another_hand(trained: Workshop) -> None:
    samples = trained.adder / "samples.json"
    how = ["--class", "trained_model.Adder", "--code", "lib", "--samples", samples, "--description", "Adds."]
    must(trained, "new", "from-stage", "--from", "stage:train", *how)
    said = manifest(trained, "from-stage")
    assert said["artifact"] == {"stage": "train"} and "version" not in said
    assert said["metrics"] == "../../metrics.json" and said["params"] == "../../params.json"
    assert (trained.root / "ran.txt").read_text() == "x", "gitreg does not run a stage"
    trained.commit("model")
    dvc(trained, "push", "-q")
    must(trained, "check", "from-stage")
    must(trained, "apply")

    (trained.root / "params.json").write_text('{"number": 7}')
    dvc(trained, "repro", "-q")
    dvc(trained, "push", "-q")
    trained.commit("trained again")
    assert "register from-stage@1.0.1" in must(trained, "apply")
    there = clone_of(trained)
    must(there, "build", "from-stage")
    must(there, "verify", "dist")
    assert answers(there, "from-stage") == [{"y": [8, 9]}, {"y": [37, 47]}]
    assert answers(there, "from-stage@1.0.0") == [{"y": [6, 7]}, {"y": [35, 45]}]
    dvc(there, "artifacts", "get", ".", "from-stage", "--rev", "v1.0.0", "-o", "got")
    assert (there.root / "got" / "number.txt").read_text() == "5"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("stage:tran", "did you mean 'train'?"),
        ("stage:train:nothing", "has 0 fitting outputs (metrics.json, out)"),
        ("stage:", "names no stage"),
    ],
)
def test_a_stage_that_there_is_not_is_told_and_leaves_nothing(
    trained: Workshop, source: str, said: str
) -> None:
    done = trained.gitreg("new", "lost", "--from", source)
    assert done.returncode == 1 and said in done.stderr, done.stderr
    assert not (trained.root / "models" / "lost").exists()


# Images -----------------------------------------------------------------------------------------------


def test_an_image_is_packaged_as_a_reference(workshop: Workshop) -> None:
    must(workshop, "new", "served", "--from", f"image:{IMAGE}", "--description", "Somebody's service.")
    assert manifest(workshop, "served")["image"] == IMAGE
    workshop.commit("image")
    must(workshop, "check", "served")
    assert "register served@1.0.0" in must(workshop, "apply")
    there = clone_of(workshop)
    must(there, "build", "served")
    must(there, "verify", "dist")
    package = there.root / "dist" / "raw" / "served" / "1" / "metadata"
    record = yaml.safe_load((package / "download.yaml").read_text())
    assert record["image"] == IMAGE and record["artifact"]["files"] == 0
    assert yaml.safe_load((package / "type.yaml").read_text()) == {"type": "image", "image": IMAGE}


def test_a_tag_alone_is_refused_with_the_way_to_the_digest(workshop: Workshop) -> None:
    done = workshop.gitreg("new", "served", "--from", "image:registry.example.org:5000/acme/churn")
    assert done.returncode == 1 and "pinned by its digest" in done.stderr
    assert "crane digest registry.example.org:5000/acme/churn:latest" in done.stderr
    for wrong in ("image:-v", "image:a b", "image:x@sha256:123", f"image:x@y@{DIGEST}"):
        assert workshop.gitreg("new", "served", "--from", wrong).returncode == 1, wrong


def test_an_image_beside_an_artifact_is_part_of_what_a_version_is(workshop: Workshop) -> None:
    file = workshop.root.parent / "model.bin"
    file.write_bytes(b"weights")
    more = ["--type", "custom", "--description", "Weights and what serves them."]
    must(workshop, "new", "both", "--from", file, "--image", IMAGE, *more)
    workshop.commit("both")
    must(workshop, "apply")
    dvc(workshop, "push", "-q")
    there = clone_of(workshop)
    built = json.loads(must(there, "build", "both", "--json"))[0]
    message = run("git", "tag", "-l", "--format=%(contents)", "both@v1.0.0", cwd=there.root).stdout
    assert f"Gitreg-Digest: {built['digest']}" in message, "what is built is what was registered"
    assert (there.root / "dist/raw/both/1/model/model.bin").read_bytes() == b"weights"
    text = (workshop.root / "models/both/model.yaml").read_text()
    (workshop.root / "models/both/model.yaml").write_text(text.replace("0123", "3210"))
    done = workshop.gitreg("check", "both", "--no-run")
    assert done.returncode == 1 and "registered with other content" in done.stderr + done.stdout


# Templates --------------------------------------------------------------------------------------------

PLACEHOLDERS = {
    "width": {"type": "int", "description": "how many numbers"},
    "region": {"type": "enum", "values": ["eu", "us", 3], "default": "eu"},
    "note": {"type": "str", "required": False},
    "extra": {"type": "json", "default": {}},
    "live": {"type": "bool", "default": False},
    "rate": {"type": "float", "default": 0.5},
}
SIDE = [{"name": "x", "data_type": "int", "shape": ["${width}"]}]
BODY = {
    "type": "custom-python",
    "description": "Adds for ${region}; $${this} stays.",
    "model_class": "adder_model.Adder",
    "code": "src",
    "artifact": "artifacts",
    "schema": {"inputs": SIDE, "outputs": [{**SIDE[0], "name": "y"}]},
    "sample_data": "samples.json",
    "requirements": ["numpy>=1.24"],
    "params": {"region": "${region}", "note": "${note}", "extra": "${extra}", "rate": "${rate}"},
    "serving": {"prebuilt": "${live}"},
}


@pytest.fixture
def house(workshop: Workshop) -> Workshop:
    """The adder as a template."""
    data = {"name": "adder", "version": "1.0.0", "type": "template", "placeholders": PLACEHOLDERS}
    (workshop.adder / "model.yaml").write_text(json.dumps({**data, "template": BODY}))
    workshop.commit("a template")
    return workshop


def test_a_broken_template_is_not_called_missing(house: Workshop) -> None:
    file = house.adder / "model.yaml"
    file.write_text(file.read_text().replace('"version": "1.0.0"', '"version": [1]'))
    done = house.gitreg("new", "made", "--template", "adder")
    assert done.returncode == 1 and "models/adder/model.yaml:1:" in done.stderr, done.stderr
    assert "there is no template" not in done.stderr and "hint: gitreg check adder" in done.stderr


def test_a_template_becomes_a_model_with_typed_values(house: Workshop, tmp_path: Path) -> None:
    must(house, "check", "adder")
    extra = tmp_path / "extra.json"
    extra.write_text('{"model_class: evil.Evil\\n": [1, null]}')
    evil = "x\nmodel_class: evil.Evil\n# ${region}: !!python/name:os.system"
    values = ["--set", "width=2", "--set", "region=3", "--set", f"note={evil}", "--set", "rate=2"]
    must(house, "new", "made", "--template", "adder", *values, "--set-file", f"extra={extra}")
    said = manifest(house, "made")
    assert said["description"] == "Adds for 3; ${this} stays."
    extra_ = {"model_class: evil.Evil\n": [1, None]}
    assert said["params"] == {"region": 3, "note": evil, "extra": extra_, "rate": 2.0}
    assert said["model_class"] == "adder_model.Adder" and said["serving"] == {"prebuilt": False}
    assert said["lineage"]["template"]["model"] == "adder"  # type: ignore[index]
    house.commit("made")
    assert "register made@1.0.0" in must(house, "apply")
    there = clone_of(house)
    must(there, "build")
    must(there, "verify", "dist")
    assert answers(there, "made") == [{"y": [6, 7]}, {"y": [35, 45]}]
    assert (there.root / "dist/raw/made/1/metadata/serving.yaml").read_text() == "{prebuilt: false}\n"
    assert "width" in (there.root / "dist/raw/adder/1/metadata/reference.yaml").read_text()


def test_every_mistake_in_what_is_given_is_told_at_once(house: Workshop) -> None:
    wrong = ["width=two", "regoin=eu", "region=asia", "live=yes", "rate=nan", "extra={"]
    done = house.gitreg("new", "made", "--template", "adder", *(w for one in wrong for w in ("--set", one)))
    assert done.returncode == 1
    assert done.stderr.splitlines()[:6] == [
        "error: width: 'two' is not a whole number",
        "regoin: there is no such placeholder (did you mean 'region'?)",
        "region: 'asia' is not one of eu, us, 3",
        "live: 'yes' is not true or false",
        "rate: 'nan' is not a number",
        "extra: '{' is not JSON",
    ]
    assert not (house.root / "models" / "made").exists()
    done = house.gitreg("new", "made", "--template", "adder")
    assert done.returncode == 1 and "width: is missing; a whole number is expected (how many" in done.stderr
    done = house.gitreg("new", "made", "--template", "ader", "--set", "width=2")
    assert done.returncode == 1 and "did you mean 'adder'?" in done.stderr
    for words in (["--set", "width"], ["--set", "=2"], ["--set", "width=2", "--set", "width=2"]):
        assert house.gitreg("new", "made", "--template", "adder", *words).returncode == 2
    assert house.gitreg("new", "made").returncode == 2


def test_a_value_that_makes_a_bad_manifest_leaves_nothing(house: Workshop) -> None:
    done = house.gitreg("new", "made", "--template", "adder", "--set", "width=0")
    assert done.returncode == 1 and "0 is not a dimension" in done.stderr
    assert not (house.root / "models" / "made").exists()


def test_a_template_takes_its_artifact_from_another_source(house: Workshop, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "number.txt").write_text("100")
    must(house, "new", "made", "--template", "adder", "--set", "width=2", "--from", tmp_path / "out")
    assert answers(house, "made")[0] == {"y": [101, 102]}
    assert gitreg("check", "made", cwd=house.root).returncode == 0


# A directory as ModelArts has it ------------------------------------------------------------------------

NUMBERS = {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "integer"}}
CONFIG = {
    "model_type": "PyTorch",
    "model_algorithm": "sums",
    "runtime": "python3.11",
    "metrics": {"accuracy": "0.46", "f1": 0.3, "note": "none"},
    "apis": [
        {
            "url": "/",
            "method": "post",
            "request": {"data": {"type": "object", "properties": {"x": NUMBERS}}},
            "response": {"data": {"type": "object", "properties": {"y": NUMBERS}}},
        }
    ],
    "dependencies": [
        {
            "installer": "pip",
            "packages": [
                {"package_name": "numpy", "package_version": "1.24", "restraint": "ATLEAST"},
                {"package_name": "six"},
            ],
        }
    ],
    "install_type": ["real-time", "edge", "batch"],
    "dynamic_load_mode": "Single",
    "prebuilt": True,
    "initial_config": {"workers": 2},
}


def model_directory(place: Path, **changes: object) -> Path:
    place.mkdir()
    (place / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    (place / "model.bin").write_bytes(b"weights")
    (place / "customize_service.py").write_text(f"open({str(place / 'ran')!r}, 'w')\n")
    return place


def test_a_modelarts_directory_brings_what_its_configuration_says(workshop: Workshop, tmp_path: Path) -> None:
    place = model_directory(tmp_path / "arts")
    must(workshop, "new", "arts", "--from", place, "--type", "custom", "--description", "Sums.")
    said = manifest(workshop, "arts")
    assert said["artifact"] == "model.bin" and said["metrics"] == {"accuracy": 0.46, "f1": 0.3}
    assert said["requirements"] == ["numpy>=1.24", "six"] and said["tags"] == {"algorithm": "sums"}
    item = {"data_type": "long", "shape": [2]}
    assert said["schema"] == {"inputs": [{"name": "x", **item}], "outputs": [{"name": "y", **item}]}
    assert said["serving"] == {
        "install": ["real_time", "edge", "batch"],
        "runtime": "python3.11",
        "dynamic_load": "single",
        "prebuilt": True,
        "config": {"workers": 2},
        "code": "service",
    }
    workshop.commit("arts")
    dvc(workshop, "push", "-q")
    must(workshop, "check", "arts")
    assert "register arts@1.0.0" in must(workshop, "apply")
    there = clone_of(workshop)
    must(there, "build", "arts")
    must(there, "verify", "dist")
    package = there.root / "dist" / "raw" / "arts" / "1"
    assert yaml.safe_load((package / "metadata" / "serving.yaml").read_text())["config"] == {"workers": 2}
    assert (package / "service" / "customize_service.py").is_file()
    assert not (place / "ran").exists(), "the service's code is never run"


def test_a_modelarts_configuration_that_is_no_json_is_told(workshop: Workshop, tmp_path: Path) -> None:
    place = model_directory(tmp_path / "arts")
    (place / "config.json").write_text('{"model_type": "Custom",,}')
    done = workshop.gitreg("new", "arts", "--from", place)
    assert done.returncode == 1 and "config.json:1:25: not JSON" in done.stderr


def test_what_a_schema_cannot_say_of_an_api_is_kept_and_told(workshop: Workshop, tmp_path: Path) -> None:
    file = {"data": {"type": "object", "properties": {"images": {"type": "file"}}}}
    apis = [{**CONFIG["apis"][0], "request": file}]  # type: ignore[index, dict-item]
    place = model_directory(tmp_path / "arts", apis=apis, model_type="Unheard", swr_location="a/b:1")
    told = must(workshop, "new", "arts", "--from", place, "--type", "custom", "--description", "Sees.")
    said = manifest(workshop, "arts")
    assert "schema" not in said and said["serving"]["apis"] == apis  # type: ignore[index]
    for what in ("declare the schema", "'Unheard' is none", "pin the image a/b:1"):
        assert what in told
