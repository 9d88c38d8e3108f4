"""Models that misbehave: `gitreg build` says which, how and where, and nothing is left of them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitreg import CustomTritonPackager, DataType, ModelSchema, ModelSchemaItem, builder, isolation
from gitreg import model as model_module
from tests.odd import ODD, RAISED, RAISING, RETURNED, RETURNING
from tests.support import ADDER_CODE, Workshop, run

PREDICT = 'return {"y": inputs["x"] + np.int32(self.number)}'
MARK = "HOSTILE_TEST_MARK"


def hostile(predict: str, top: str = "") -> str:
    """The adder's code with other lines in `predict` (they fall through to the right answer)."""
    lines = "".join(f"{line}\n        " for line in predict.splitlines())
    assert PREDICT in ADDER_CODE
    return top + ADDER_CODE.replace(PREDICT, lines + PREDICT)


@dataclass
class Yard:
    """A registry with the hostile `adder` and a harmless `other`, run so that what it leaves is seen."""

    shop: Workshop
    temporary: Path
    mark: str

    def build(self, code: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.shop.code(code)
        variables = {**os.environ, "TMPDIR": str(self.temporary), MARK: self.mark, **environment}
        return self.shop.gitreg("build", "--timeout", "60", "--pass-env", MARK, *options, env=variables)

    def refuses(self, code: str, *says: str, options: tuple[str, ...] = (), **environment: str) -> str:
        """Build, and hold what the issue says of every failing model; returns stderr."""
        done = self.build(code, *options, **environment)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "error: adder: adder_model.Adder " in done.stderr
        for one in says:
            assert one in done.stderr
        dist = self.shop.root / "dist"
        assert sorted(p.relative_to(dist).as_posix() for p in dist.glob("*/*")) == [
            "raw/other",
            "triton/other",
        ]
        self.left_nothing()
        return done.stderr

    def left_nothing(self) -> None:
        self.nothing_runs()
        assert list(self.temporary.iterdir()) == []
        assert not list(self.shop.root.rglob(".gitreg-*")), "a folder that was laid aside"

    def nothing_runs(self) -> None:
        """What was killed may take a moment to go; what was not is told, and ended."""
        lively, end = [], time.monotonic() + 5
        for pid in self.processes():
            with contextlib.suppress(OSError):
                handle = os.pidfd_open(pid)
                if not select.select([handle], [], [], max(0, end - time.monotonic()))[0]:
                    lively.append((pid, Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")))
                    os.kill(pid, signal.SIGKILL)
                os.close(handle)
        assert lively == []

    def processes(self) -> list[int]:
        """Processes that were started by this test's gitreg and still run."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{MARK}={self.mark}".encode() in (process / "environ").read_bytes():
                    found.append(int(process.name))
        return found


@pytest.fixture
def yard(workshop: Workshop, tmp_path: Path) -> Yard:
    other = workshop.root / "models" / "other"
    shutil.copytree(workshop.adder, other)
    workshop.manifest("other", name="other")
    workshop.commit("another model")
    (tmp_path / "tmp").mkdir()
    return Yard(workshop, tmp_path / "tmp", uuid.uuid4().hex)


# Raises, hangs, exits, dies -------------------------------------------------------------------------


def test_an_import_that_fails_shows_the_users_line(yard: Yard) -> None:
    yard.refuses(
        "import json\nraise RuntimeError('no luck today')\n" + ADDER_CODE,
        "could not be imported from the package: RuntimeError: no luck today (adder_model.py:2)",
        "raise RuntimeError('no luck today')",
    )


def test_a_predict_that_raises_names_the_sample_and_shows_the_users_line(yard: Yard) -> None:
    code = hostile("if inputs['x'][0] == 30: raise ValueError('thirty is too much')")
    yard.refuses(
        code,
        "failed to predict sample [1]: ValueError: thirty is too much (adder_model.py:",
        "if inputs['x'][0] == 30: raise ValueError('thirty is too much')",
        'adder_model.py", line',
    )


def test_an_error_that_cannot_be_printed_is_still_told(yard: Yard) -> None:
    top = "class Bad(Exception):\n    def __str__(self): raise ValueError('no text')\n"
    yard.refuses(hostile("raise Bad()", top), "failed to predict sample [0]: Bad")


def test_a_model_that_hangs_is_ended_with_its_children(yard: Yard) -> None:
    code = hostile("import subprocess, time\nsubprocess.Popen(['sleep', '1000'])\ntime.sleep(1000)")
    stderr = yard.refuses(code, "did not finish within 3 s", options=("--timeout", "3"))
    assert "hint: " in stderr and "--timeout" in stderr


def test_a_model_that_ignores_being_terminated_is_ended_all_the_same(yard: Yard) -> None:
    code = hostile(
        "import signal, time\n[signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)]\nwhile True: time.sleep(1)"
    )
    yard.refuses(code, "did not finish within 3 s", options=("--timeout", "3"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("import sys; sys.exit(0)", "failed to predict sample [0]: SystemExit: 0 (adder_model.py:"),
        ("import os; os._exit(0)", "ended its process with exit code 0 before it answered"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9 before it answered"),
    ],
)
def test_a_model_that_ends_its_process_is_refused(yard: Yard, line: str, says: str) -> None:
    yard.refuses(hostile(line), says)


# Raises and returns what it likes: see tests/odd.py --------------------------------------------------


def odd_task(folder: Path, body: str, *numbers: int, **changes: Any) -> isolation.Task:
    """Asks a model of tests/odd.py for some numbers, as packages do."""
    (folder / "gitreg").mkdir()
    shutil.copy(model_module.__file__, folder / "gitreg" / "__init__.py")
    head = "import sys\n\nimport numpy as np\n\nfrom gitreg import Model\n" + ODD
    methods = "\n    def save(self, path):\n        pass\n\n    @classmethod\n    def load(cls, path):\n"
    methods += "        return cls()\n\n    def predict(self, inputs):\n"
    (folder / "it.py").write_text(head + methods + textwrap.indent(body, " " * 8) + "\n")
    outputs = [ModelSchemaItem("y", DataType.INT, [1])]
    outputs += [ModelSchemaItem("t", DataType.STRING, [1])] if body == RETURNING else []
    schema = ModelSchema([ModelSchemaItem("x", DataType.INT, [1])], outputs)
    samples = [{"x": np.array([[number]], np.int32)} for number in numbers]
    return isolation.Task(folder, folder, "it.It", schema, samples, **changes)


@pytest.mark.parametrize("number", [1, 5, 7, 9, 11, 12, 13, 15, 16])
def test_whatever_a_model_raises_is_told_as_its_error(tmp_path: Path, number: int) -> None:
    outcome = isolation.run(odd_task(tmp_path, RAISING, 4, -number))
    text = RAISED[number][1].replace("\\ud800", "\ud800")
    assert outcome.error and len(outcome.error) < 5000 and len(outcome.traceback) <= 20_000
    assert outcome.error.startswith("it.It failed to predict sample [1]: ")
    assert text in outcome.error and "(it.py:" in outcome.error
    assert [one["y"].tolist() for one in outcome.answers] == [[[8]]]


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("number", [2, 3, 4, 11, 12, 13, 14, 16, 17, 18, 19])
def test_whatever_a_model_returns_is_an_error_or_its_answer(tmp_path: Path, number: int, free: bool) -> None:
    outcome = isolation.run(odd_task(tmp_path, RETURNING, 4, -number, free=free))
    text = RETURNED[number][1]
    if free:
        text = {
            3: "predict returned a key that is no text, but a int",
            4: None,  # nothing is looked up by name
            11: "output 'y': a NumPy array is expected, not a list",
            12: "output 'y': a NumPy array is expected, not a Liar",
            13: None,  # the methods of a dict are not asked, but the dict
            14: "output 't': text with half of a pair, which is no UTF-8",
            16: "output 't': str or bytes is expected, not a NoneType",
            19: "predict returned a key that is no text, but a int",
        }.get(number, text and text.replace("a dict of arrays", "a dict of NumPy arrays"))
    if text is None:
        assert outcome.error is None and outcome.answers[1]["y"].ravel()[0] in (-number, -2 * number)
    else:
        assert outcome.error and text.replace("{}", "") in outcome.error
        assert outcome.error.startswith("it.It failed to predict sample [1]: ")


def test_an_undeclared_output_of_any_type_is_named(tmp_path: Path) -> None:
    body = 'return {"y": inputs["x"], 3: None, ("a", "b" * 1000): 1, np.str_("t"): inputs["x"].astype(str)}'
    outcome = isolation.run(odd_task(tmp_path, body, 4))
    assert outcome.error and "the model answers 't', ('a', 'bbb" in outcome.error
    assert "3, which the schema does not declare" in outcome.error and len(outcome.error) < 1000


def test_a_model_that_takes_the_streams_away_is_answered_all_the_same(tmp_path: Path) -> None:
    body = "import atexit\natexit.register(sys.exit, 5)\nsys.stdout = sys.stderr = None\n" + RAISING
    outcome = isolation.run(odd_task(tmp_path, body, 4))
    assert outcome.error is None and outcome.answers[0]["y"].tolist() == [[8]]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("number", "says"),
    [
        (-1, "KeyboardInterrupt: stop"),
        (-3, "SystemExit: 3"),
        (-11, "Odd: its text cannot be read (SystemExit)"),
        (-9, "Odd: its text cannot be read (ZeroDivisionError)"),
    ],
)
def test_the_row_of_many_that_a_model_exits_at_is_named(
    tmp_path: Path, number: int, says: str, whole: bool
) -> None:
    (tmp_path / "answers").mkdir()
    np.save(tmp_path / "x.npy", np.array([[1], [2], [number], [4]], np.int32))
    block = isolation.Block(4, {"x": str(tmp_path / "x.npy")}, str(tmp_path / "answers"), [10, 20, 30, 40])
    task = odd_task(tmp_path, RAISING, blocks=(block,), batch=4, whole=whole)
    error = isolation.run(task).error
    assert error and error.startswith("it.It failed to predict sample [30]: ") and says in error


@pytest.mark.parametrize("batch", [1, 4])
def test_rows_of_several_shapes_of_one_block_are_an_error_that_names_the_output(
    tmp_path: Path, batch: int
) -> None:
    (tmp_path / "answers").mkdir()
    np.save(tmp_path / "x.npy", np.array([[1], [2], [3], [4]], np.int32))
    block = isolation.Block(4, {"x": str(tmp_path / "x.npy")}, str(tmp_path / "answers"))
    body = 'return {"y": np.zeros(int(inputs["x"][0]), np.int32)}'
    task = odd_task(tmp_path, body, blocks=(block,), batch=batch)
    schema = ModelSchema(task.schema.input_schema, [ModelSchemaItem("y", DataType.INT, [-1])])
    error = isolation.run(replace(task, schema=schema)).error
    assert error and "output 'y': " in error and "the shapes [1] and [2]" in error


# Prints, reads, wanders -----------------------------------------------------------------------------


def test_what_a_model_prints_stays_out_of_the_json(yard: Yard) -> None:
    noisy = "import os, sys\nprint('{' * 1000)\nos.write(1, b'}]\\xff')\nprint('noise', file=sys.stderr)"
    done = yard.build(hostile(noisy, "print('imported')\n"), "--json")
    assert done.returncode == 0, done.stderr
    assert {r["model"]: r["status"] for r in json.loads(done.stdout)} == {"adder": "built", "other": "built"}
    assert done.stderr == ""


def test_a_failure_is_in_the_json_too(yard: Yard) -> None:
    done = yard.build(hostile("print('[')\nraise OSError('gone')"), "--json")
    reports = {r["model"]: r for r in json.loads(done.stdout)}
    assert done.returncode == 1
    assert reports["adder"]["status"] == "failed" and "OSError: gone" in reports["adder"]["error"]
    assert reports["adder"]["packages"] == {} and reports["other"]["status"] == "built"


def test_control_characters_of_a_model_do_not_reach_the_terminal(yard: Yard) -> None:
    done = yard.build(hostile("print('\\x1b[2J')\nraise OSError('\\x1b]0;owned\\x07')"))
    assert done.returncode == 1 and "\x1b" not in done.stdout + done.stderr


def test_a_model_that_changes_the_working_directory_is_built(yard: Yard) -> None:
    done = yard.build(hostile("import os; os.chdir('/')"))
    assert done.returncode == 0, done.stderr
    yard.left_nothing()


def test_a_model_that_reads_stdin_finds_it_empty(yard: Yard) -> None:
    yard.shop.code(hostile("input()"))
    done = yard.shop.gitreg("build", "adder", input="yes\n" * 100)
    assert done.returncode == 1 and "failed to predict sample [0]: EOFError" in done.stderr


# Leaves things running or lying ---------------------------------------------------------------------


LEAVES = """
import os, subprocess, threading, time
if 'not again' not in os.environ:
    os.environ['not again'] = 'please'
    {how}"""


def test_what_a_model_leaves_running_is_gone_after_the_build(yard: Yard) -> None:
    how = """threading.Thread(target=time.sleep, args=(1000,)).start()
    subprocess.Popen(['sleep', '1000'])
    if os.fork() == 0:
        time.sleep(1000)"""
    done = yard.build(hostile(LEAVES.format(how=how)))
    assert done.returncode == 0, done.stderr
    yard.left_nothing()


def test_a_child_in_a_session_of_its_own_is_gone_after_the_build(yard: Yard) -> None:
    done = yard.build(
        hostile(LEAVES.format(how="subprocess.Popen(['sleep', '1000'], start_new_session=True)"))
    )
    assert done.returncode == 0, done.stderr
    yard.left_nothing()


FORKS = """
import os
if os.getpid() == os.getsid(0):
    if os.fork() == 0:
        return {{'y': inputs['x'] * np.int32(0)}}
    os.wait()
    {then}"""


def test_a_forked_child_does_not_answer_in_its_parents_place(yard: Yard) -> None:
    """Both sides of the fork come back from predict, and run on to the end of the test."""
    yard.shop.code(hostile(FORKS.format(then="pass")))
    done = yard.shop.gitreg("predict", "adder", "--json")
    assert [p["y"] for p in json.loads(done.stdout)["predictions"]] == [[6, 7], [35, 45]]


def test_a_forked_childs_answer_does_not_hide_that_the_model_died(yard: Yard) -> None:
    yard.refuses(hostile(FORKS.format(then="os._exit(3)")), "exit code 3 before it answered")


@pytest.mark.parametrize(
    "target", ["__file__.replace('adder_model', 'cache')", "__file__", "self.place + '/number.txt'"]
)
def test_a_model_that_writes_into_its_own_package_does_not_change_what_is_built(
    yard: Yard, target: str
) -> None:
    """Refused or built without it: what stands in dist is what its record says, and the cache is whole."""
    code = hostile(f"with open({target}, 'a') as f: f.write('#')").replace(
        "return cls(", "cls.place = str(path)\n        return cls("
    )
    done = yard.build(code)
    assert done.returncode in (0, 1), done.stderr
    for package in (yard.shop.root / "dist").glob("*/*"):
        record = builder.find_record(package)
        assert record is not None and builder.differences(package, record, deep=True) == []
    assert run(sys.executable, "-m", "dvc", "status", cwd=yard.shop.root).stdout.startswith(
        "Data and pipelines are"
    )
    for cached in (yard.shop.root / ".dvc/cache/files/md5").glob("*/*"):
        if cached.suffix != ".dir":
            assert cached.read_bytes() == b"5"


def test_temporary_files_of_a_model_go_with_it(yard: Yard) -> None:
    done = yard.build(hostile("import tempfile\ntempfile.mkdtemp()\nopen('here', 'w').close()"))
    assert done.returncode == 0, done.stderr
    yard.left_nothing()


# Answers with the wrong things ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("{}", "sample [0]: OutputError: output 'y' is missing from the model's answer"),
        ("{'z': inputs['x']}", "output 'y' is missing"),
        ("{'y': inputs['x'], 'z': inputs['x']}", "'z'"),
        ("{'y': inputs['x'].astype(np.int64)}", "output 'y': expected int [2], got long [2]"),
        ("{'y': inputs['x'][:1]}", "output 'y': expected int [2], got int [1]"),
        ("{'y': inputs['x'][None]}", "output 'y': expected int [2], got int [1, 2]"),
        ("{'y': inputs['x'].tolist()}", "output 'y': expected int [2], got a Python list"),
        ("{'y': inputs['x'][0]}", "output 'y': expected int [2], got"),
        ("{'y': None}", "output 'y': expected int [2], got a Python NoneType"),
        ("{'y': inputs['x'].astype(str)}", "output 'y': expected int [2], got string [2]"),
        ("{'y': np.ma.masked_array(inputs['x'], [1, 0])[:1]}", "output 'y': expected int [2], got"),
        ("None", "predict returned a NoneType; a dict of arrays is expected"),
        ("[inputs['x']]", "predict returned a list; a dict of arrays is expected"),
    ],
)
def test_a_wrong_answer_is_refused_and_says_what_came_and_what_was_expected(
    packager: Packager, answer: str, says: str
) -> None:
    with pytest.raises(ValueError) as error:
        packager(hostile(f"return {answer}"))
    assert (
        str(error.value).startswith("adder: adder_model.Adder failed to predict sample [0]: ")
        or "'z'" in says
    )
    assert says in str(error.value)


def test_a_wrong_answer_to_one_sample_is_refused_by_the_build(yard: Yard) -> None:
    yard.refuses(
        hostile("if inputs['x'][0] == 30: return {'y': inputs['x'][:1]}"),
        "failed to predict sample [1]: OutputError: output 'y': expected int [2], got int [1]",
    )


def test_nan_is_a_warning(yard: Yard) -> None:
    schema: dict[str, Any] = {
        "inputs": [{"name": "x", "data_type": "int", "shape": [2]}],
        "outputs": [{"name": "y", "data_type": "float", "shape": [2]}],
    }
    yard.shop.manifest(schema=schema)
    done = yard.build(hostile("return {'y': np.array([1, np.nan], np.float32)}"))
    assert done.returncode == 0, done.stderr
    assert "warning: adder: output 'y' holds NaN or infinity for sample 0, 1" in done.stdout
    assert (yard.shop.root / "dist/raw/adder").is_dir()


def test_a_module_that_was_not_bundled_is_not_found_elsewhere(yard: Yard) -> None:
    """Neither PYTHONPATH nor the current folder may stand in for a module that the package lacks."""
    aside = yard.shop.root / "aside"
    aside.mkdir()
    (aside / "unseen.py").write_text("")
    (yard.shop.root / "unseen.py").write_text("")
    stderr = yard.refuses(
        hostile("__import__('un' + 'seen')"),
        "failed to predict sample [0]: ModuleNotFoundError: No module named 'unseen' (adder_model.py:",
        PYTHONPATH=str(aside),
    )
    assert "hint: a package sees" in stderr


def test_a_module_beside_the_sources_that_was_not_bundled_is_not_found(yard: Yard) -> None:
    (yard.shop.adder / "src" / "unseen.py").write_text("")
    yard.refuses(hostile("__import__('un' + 'seen')"), "No module named 'unseen'")


def test_an_earlier_good_package_outlives_a_bad_change(yard: Yard) -> None:
    assert yard.build(ADDER_CODE).returncode == 0
    before = {p: p.stat().st_ino for p in (yard.shop.root / "dist").rglob("*") if p.is_file()}
    assert yard.build(hostile("raise OSError")).returncode == 1
    assert {p: p.stat().st_ino for p in (yard.shop.root / "dist").rglob("*") if p.is_file()} == before


def test_both_models_are_told_when_both_fail(yard: Yard) -> None:
    bad = hostile("raise OSError('gone')")
    (yard.shop.root / "models/other/src/adder_model.py").write_text(bad)
    done = yard.build(bad)
    assert done.returncode == 1
    assert "error: adder: " in done.stderr and "error: other: " in done.stderr
    assert not list((yard.shop.root / "dist").glob("*/*"))


# The same through the packager ----------------------------------------------------------------------


class Packager:
    """Packages an `Adder` of other code with the Python API."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "src").mkdir()
        (root / "trained").mkdir()
        (root / "trained/number.txt").write_text("5")

    def __call__(self, code: str) -> Path:
        (self.root / "src/adder_model.py").write_text(code)
        items = [ModelSchemaItem(name, DataType.INT, [2]) for name in "xy"]
        schema = ModelSchema(items[:1], items[1:])
        samples = [{"x": np.array([1, 2], np.int32)}]
        made = CustomTritonPackager().create_raw_model_package(
            self.root / "trained", "adder_model.Adder", schema, samples, self.root / "out"
        )
        return Path(made)


@pytest.fixture
def packager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packager]:
    monkeypatch.syspath_prepend(tmp_path / "src")
    yield Packager(tmp_path)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("raise OSError('gone')", "sample \\[0\\]: OSError: gone \\(adder_model.py:"),
        ("import os; os._exit(7)", "exit code 7 before it answered"),
        ("import os; os.abort()", "was killed by signal 6 before it answered"),
        ("print('about to fall')\nimport os; os.abort()", "the model printed:\n    . about to fall"),
        ("raise KeyboardInterrupt", "sample \\[0\\]: KeyboardInterrupt"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("import time; time.sleep(1000)", "did not finish within 2 s"),
        ("input()", "EOFError"),
    ],
)
def test_the_packager_refuses_it_too_and_leaves_nothing(
    packager: Packager, monkeypatch: pytest.MonkeyPatch, lines: str, says: str
) -> None:
    if "sleep" in lines:
        monkeypatch.setenv("GITREG_TIMEOUT", "2")
    with pytest.raises(ValueError, match=says):
        packager(hostile(lines))
    assert sorted(p.name for p in packager.root.iterdir()) == ["src", "trained"]


def test_the_packagers_own_process_is_untouched(packager: Packager) -> None:
    before = os.getcwd(), dict(os.environ), list(sys.path)
    packager(hostile("import os, sys\nos.chdir('/')\nos.environ['X'] = 'y'\nsys.path.clear()"))
    assert (os.getcwd(), dict(os.environ), list(sys.path)) == before
