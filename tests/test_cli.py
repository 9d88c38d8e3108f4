"""The command as a person types it: exits, messages, JSON, and what is safe to show."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import Workshop, gitreg


def test_help_names_every_command_and_each_has_help_of_its_own() -> None:
    from gitreg.cli import gitreg as group

    for name, command in group.commands.items():
        assert command.help, name
        assert all(getattr(p, "help", "") for p in command.params if p.param_type_name == "option"), name
    with group.make_context("gitreg", [], resilient_parsing=True) as context:
        said = " ".join(group.get_help(context).split())
    for name, command in group.commands.items():
        assert f" {name} {command.get_short_help_str(200)}" in said


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["frobnicate"], 2, "No such command 'frobnicate'"),
        (["check", "--nope"], 2, "No such option"),
        (["build", "--all", "adder"], 2, "exclude each other"),
        (["build", "ader"], 1, "there is no model 'ader' (did you mean 'adder'?)"),
        (["build", "adder@2.0.0"], 1, "no version of adder is registered yet"),
        (["build", "adder@3"], 2, "an ordinal does not name a version here"),
        (["build", "--upload-pack=x"], 2, "No such option"),
        (["verify", "models"], 1, "is not a package of gitreg's"),
        (["predict", "adder", "--input", "nowhere.json"], 2, "does not exist"),
        (["promote", "adder", "staging", "--remote", "--x"], 1, "there is no remote '--x'"),
        (["apply", "--remote", "a\nb"], 1, "there is no remote 'a\\nb'"),
        (["verify", "\x1b[31m"], 2, "\\x1b[31m"),
    ],
)
def test_a_mistake_exits_with_its_code_and_says_what_helps(
    workshop: Workshop, arguments: list[str], code: int, message: str
) -> None:
    done = workshop.gitreg(*arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert "\nhint: " in done.stderr
    assert done.stdout == ""


def test_outside_of_a_registry_it_says_how_to_make_one(tmp_path: Path) -> None:
    done = gitreg("check", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("hint: gitreg init makes a registry here\n")


def test_every_command_runs_as_if_started_elsewhere(workshop: Workshop, tmp_path: Path) -> None:
    assert gitreg("check", "-C", workshop.root, cwd=tmp_path).stdout == "ok: 1 model\n"
    assert gitreg("-C", workshop.root / "models", "check", cwd=tmp_path).stdout == "ok: 1 model\n"
    assert gitreg("build", "-C", workshop.root, "-o", "out", cwd=tmp_path).returncode == 0
    assert (workshop.root / "out" / "raw" / "adder").is_dir()


def test_json_alone_is_on_stdout(workshop: Workshop) -> None:
    workshop.code((workshop.adder / "src/adder_model.py").read_text() + '\nprint("hello from the model")\n')
    for arguments in (["check"], ["build"], ["verify", "dist"], ["predict", "adder"], ["doctor"]):
        done = workshop.gitreg(*arguments, "--json")
        json.loads(done.stdout)
        assert done.stderr == "", arguments


def test_check_says_that_custom_batching_would_be_faster_once_it_was_measured(workshop: Workshop) -> None:
    assert workshop.gitreg("check").stdout == "ok: 1 model\n"
    named = workshop.gitreg("check", "adder").stdout
    assert "`custom: true` would serve faster" in named
    assert "times as long" in named
    assert workshop.gitreg("check").stdout == named, "what was measured is remembered"


def test_a_model_that_mixes_its_rows_is_not_told_to_stack_them(workshop: Workshop) -> None:
    code = (workshop.adder / "src/adder_model.py").read_text()
    workshop.code(code.replace('inputs["x"] + np.int32', 'np.cumsum(inputs["x"], 0, np.int32) + np.int32'))
    assert workshop.gitreg("check", "adder").stdout == "ok: 1 model\n"


def test_init_keeps_what_is_there_and_adds_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "registry.yaml").write_text("registry: mine\n")
    first = json.loads(gitreg("init", "--json", cwd=tmp_path).stdout)
    assert "registry.yaml" in first["kept"]
    assert "schemas/model.schema.json" in first["made"]
    assert (tmp_path / "registry.yaml").read_text() == "registry: mine\n"
    second = json.loads(gitreg("init", "--json", cwd=tmp_path).stdout)
    assert second["made"] == []
    assert gitreg("check", cwd=tmp_path).returncode == 0


def test_new_detects_by_content_and_does_not_run_what_it_finds(workshop: Workshop, tmp_path: Path) -> None:
    trap = tmp_path / "model.onnx"
    trap.write_bytes(b"\x80\x04cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    done = workshop.gitreg("new", "trap", "--from", trap)
    assert done.returncode == 0, done.stderr
    assert "pickle" in done.stdout
    assert "may run its author's code" in done.stdout
    assert not (tmp_path / "ran").exists()
    assert trap.exists()


def test_new_leaves_nothing_behind_when_it_fails(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "broken_model.py").write_text("raise RuntimeError('no')\n\n\nclass Broken:\n    pass\n")
    (tmp_path / "samples.json").write_text('[{"x": [1.0]}]')
    (tmp_path / "weights.bin").write_bytes(b"\0\1\2")
    before = sorted(p.as_posix() for p in workshop.root.rglob("*") if ".git/" not in p.as_posix())
    done = workshop.gitreg(
        *("new", "broken", "--from", tmp_path / "weights.bin", "--class", "broken_model.Broken"),
        *("--code", tmp_path, "--samples", tmp_path / "samples.json"),
    )
    assert done.returncode == 1
    assert "RuntimeError: no" in done.stderr
    after = sorted(p.as_posix() for p in workshop.root.rglob("*") if ".git/" not in p.as_posix())
    assert [p for p in after if p not in before and ".dvc/" not in p] == []


def test_new_refuses_a_name_that_is_taken(workshop: Workshop) -> None:
    done = workshop.gitreg("new", "adder", "--from", "registry.yaml")
    assert done.returncode == 1
    assert "there is a model 'adder' already: models/adder/model.yaml" in done.stderr


def test_text_from_a_manifest_cannot_steer_the_terminal(workshop: Workshop) -> None:
    workshop.manifest(**{"type": "\x1b[31mred\u202e"})
    done = workshop.gitreg("check")
    assert done.returncode == 1
    assert "\x1b" not in done.stdout + done.stderr
    assert "\u202e" not in done.stdout + done.stderr


def test_a_reader_that_goes_away_is_no_defect(workshop: Workshop) -> None:
    command = f"{sys.executable} -m gitreg predict adder --json | head -c 1"
    done = subprocess.run(["bash", "-c", command], cwd=workshop.root, capture_output=True, text=True)
    assert "defect" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_gets_a_progress_bar_and_no_lines(workshop: Workshop) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gitreg", "build"], cwd=workshop.root, stdout=subprocess.PIPE, stderr=slave
    )
    assert process.wait() == 0
    os.close(slave)
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert "built" in shown
    assert "[1/1]" not in shown


def test_a_defect_is_reported_ready_to_paste(workshop: Workshop) -> None:
    # A module of gitreg's that cannot be imported is as good a defect as any.
    broken = workshop.root / "broken" / "sitecustomize.py"
    broken.parent.mkdir()
    broken.write_text("import sys\nsys.modules['gitreg.checker'] = None\n")
    done = workshop.gitreg("check", env={**os.environ, "PYTHONPATH": str(broken.parent)})
    assert done.returncode == 3
    assert "this is a defect in gitreg" in done.stderr
    assert "command: gitreg check" in done.stderr
    assert "Traceback" in done.stderr


def test_predict_reads_a_pipe_that_the_shell_names(workshop: Workshop) -> None:
    script = 'gitreg() { "$0" -m gitreg "$@"; }; gitreg predict adder --input <(echo \'[{"x": [1, 2]}]\')'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable], cwd=workshop.root, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout[:3]) == (0, "[0]"), done.stderr
