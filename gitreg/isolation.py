"""Starts the child process in which a user's model runs, and reads its verdict.

The child may print, hang, exit, change its folder or die; what comes back is an `Outcome` either way.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import environment
from gitreg.declared import DEFAULT_TIMEOUT
from gitreg.errors import Outside, Usage
from gitreg.model import ModelSchema

if TYPE_CHECKING:
    from gitreg.schema import Array, Sample

_HERE = Path(__file__).parent / "isolated"
USER_MODEL = _HERE / "user_model.py"
_MAX_OUTPUT = 64 << 10
_MAX_RESULT = 1 << 30
_MIN_FREE = 64 << 10
# Every process that a child starts inherits this variable, wherever it goes.
_MARK = "GITREG_CHILD"
_LIVE: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True)
class Task:
    """What the child is to do.

    Attributes:
        code: folder with the bundled modules.
        artifact: what the class's `load` gets.
        samples: rows with a leading batch dimension (without one when `whole`).
        user_model: the `user_model.py` to call the class with: the package's own where it has one.
        save: also save the model and load what it saved.
        compare: also measure whether stacked samples give the same answers faster.
        free: expect no particular outputs; answers come without a batch dimension where the model
            has none.
        describe: ask the model for its own schema, and nothing else (flavors alone).
        convert: after the samples, write the model as ONNX to this path, of this `opset`.
        native: also ask it what Triton's own backend must know of it (flavors alone).
        blocks: answer these instead of samples, `batch` rows at a time.
    """

    code: Path
    artifact: Path
    model_class: str
    schema: ModelSchema
    samples: list[Sample] = field(default_factory=list)
    custom: bool = False
    whole: bool = False
    user_model: Path = USER_MODEL
    save: bool = False
    compare: bool = False
    free: bool = False
    describe: bool = False
    native: bool = False
    convert: str = ""
    opset: int | None = None
    blocks: tuple[Block, ...] = ()
    batch: int = 1


@dataclass(frozen=True)
class Python:
    """An interpreter that children run in.

    Attributes:
        executable: the program.
        keep: the folders from which a child may import, beside the package.
        environment: the digest of the environment that was made for it; empty for the one that runs gitreg.
        warning: what of the model's requirements is not met there; empty where all is.
    """

    executable: str
    keep: tuple[str, ...]
    environment: str = ""
    warning: str = ""


def current() -> Python:
    """The interpreter that runs gitreg."""
    keep = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    keep += [p for p in sys.path if p.endswith(("site-packages", "dist-packages")) or p.endswith(".zip")]
    return Python(sys.executable, tuple(keep))


@dataclass(frozen=True)
class Conditions:
    """What a child may take, and see of this machine.

    Attributes:
        timeout: seconds for everything together; None for GITREG_TIMEOUT, else 120.
        passed: names of variables that it gets besides those of `environment.allowed`.
        python: what it runs in; None for the interpreter that runs gitreg.
    """

    timeout: float | None = None
    passed: tuple[str, ...] = ()
    python: Python | None = None

    def digest(self) -> str:
        """What of them may change a model's answers; empty for what is usual."""
        return environment.digest(os.environ, self.passed) if self.passed else ""


USUAL = Conditions()


@dataclass(frozen=True)
class Block:
    """Rows that have the same inputs and shapes, in files.

    Attributes:
        inputs: input -> its file, with the rows along the first axis.
        answers: the folder for a file of each output.
        numbers: the numbers of the rows, for errors; None where they are counted from 0.
    """

    rows: int
    inputs: dict[str, str]
    answers: str
    numbers: list[int] | None = None


@dataclass(frozen=True)
class Call:
    """A function of the user's that the child is to call, with no model in its process.

    Attributes:
        model_class: the function, as `module:name`; called as of a task, for errors name it.
        paths: folders to import it from, beside what is installed.
        given: side -> name -> file of the arrays it gets; None for one that gives data.
        out: an empty folder, for what it gives.
    """

    model_class: str
    paths: tuple[Path, ...]
    given: dict[str, dict[str, str]] | None
    out: Path


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        answers: output name to array, per sample, as far as they were answered.
        error: None, or what went wrong in one line; `traceback` has the rest.
        printed: what the model wrote to stdout and stderr (its last 64 KiB).
        stacked: seconds per row, single and stacked, when the answers were the same.
        described: what the model says of itself.
        warnings: what of its requirements was not met.
    """

    answers: list[dict[str, Array]] = field(default_factory=list)
    error: str | None = None
    traceback: str = ""
    printed: str = ""
    stacked: dict[str, float] | None = None
    described: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def environment_timeout() -> float | None:
    """Seconds a model may take as GITREG_TIMEOUT says; None where it is not set.

    Raises:
        Usage: it is not a positive number.
    """
    text = os.environ.get("GITREG_TIMEOUT", "")
    try:
        seconds = float(text) if text else None
    except ValueError:
        seconds = -1.0
    if seconds is not None and not 0 < seconds < math.inf:
        raise Usage(f"GITREG_TIMEOUT is {text!r}; a positive number of seconds is expected")
    return seconds


class Gate:
    """Holds children back before they load their artifact, until it is known to be sound."""

    def __init__(self) -> None:
        self._decided = threading.Event()
        self._open = False

    def open(self) -> None:
        """Let the children load."""
        self._open = True
        self._decided.set()

    def shut(self) -> None:
        """Have them end, unless the gate is open."""
        self._decided.set()

    def passed(self) -> bool:
        """Wait for the decision; whether the gate is open."""
        self._decided.wait()
        return self._open


def run(task: Task | Call, conditions: Conditions = USUAL, gate: Gate | None = None) -> Outcome:
    """Run a task in a fresh process of an interpreter, and end every process it leaves behind.

    Args:
        gate: the child starts and imports at once, and loads the artifact when this opens.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="gitreg-") as name:
            return _run(task, Path(name), conditions, gate)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _no_space(Path(tempfile.gettempdir())) from error


def _run(task: Task | Call, folder: Path, conditions: Conditions, gate: Gate | None) -> Outcome:
    limit = conditions.timeout or environment_timeout() or DEFAULT_TIMEOUT
    python = conditions.python or current()
    for name in ("work", "home"):
        (folder / name).mkdir(0o700)
    (folder / "task.json").write_text(json.dumps({**_written(task), "keep": python.keep}))
    pipe, hold = os.pipe()
    try:
        process = _start(folder, pipe, python, conditions)
        try:
            late = _wait(process, hold, limit, gate)
        finally:
            _end(process, folder)
    finally:
        os.close(pipe)
        os.close(hold)
    outcome = _outcome(task, folder, process, limit if late else None)
    outcome.warnings += filter(None, [python.warning])
    return outcome


def _no_space(place: Path) -> Outside:
    return Outside(f"no space left in {place}", "free some space, or have TMPDIR name another place")


def _start(folder: Path, pipe: int, python: Python, conditions: Conditions) -> subprocess.Popen[bytes]:
    command = [python.executable, "-I", "-B", "-u"]
    with open(folder / "printed", "wb") as printed:
        process = subprocess.Popen(
            [*command, _HERE / "child.py", folder / "task.json", folder / "result.json", str(pipe)],
            cwd=folder / "work",
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            pass_fds=[pipe],
            start_new_session=True,
            env=_environment(folder, conditions.passed),
        )
    _LIVE.add(process)
    return process


def _wait(process: subprocess.Popen[bytes], hold: int, limit: float, gate: Gate | None) -> bool:
    """Let the child go on, and wait for its end; whether it took too long."""
    if gate is not None and not gate.passed():
        return False
    with contextlib.suppress(BrokenPipeError):
        os.write(hold, b"g")
    try:
        process.wait(limit)
        return False
    except subprocess.TimeoutExpired:
        return True


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a session of its own that does not outlive the block, nor `end_all`."""
    _LIVE.add(process)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _LIVE.discard(process)


def end_all() -> None:
    """End every child that runs now, for a parent that was interrupted while threads wait for them."""
    for process in tuple(_LIVE):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _environment(folder: Path, passed: tuple[str, ...]) -> dict[str, str]:
    """What is allowed and passed of the parent's variables, and folders of the child's own."""
    own = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "work"), _MARK: str(folder)}
    return {**environment.allowed(os.environ, passed), **own}


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    """End the child, its process group, and whoever left that group but still bears its mark."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _LIVE.discard(process)
    mark = f"{_MARK}={folder}".encode()
    for entry in Path("/proc").glob("[0-9]*/environ") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):
            if mark in entry.read_bytes().split(b"\0"):
                os.kill(int(entry.parent.name), signal.SIGKILL)


def _written(task: Task | Call) -> dict[str, Any]:
    from gitreg.isolated.arrays import encode

    if isinstance(task, Call):
        paths = [str(path) for path in task.paths]
        return {"function": task.model_class, "paths": paths, "given": task.given, "out": str(task.out)}
    return {
        "code": str(task.code.absolute()),
        "artifact": str(task.artifact.absolute()),
        "model_class": task.model_class,
        "custom": task.custom,
        "whole": task.whole,
        "user_model": str(task.user_model.absolute()),
        "save": task.save,
        "save_as": task.artifact.name if task.artifact.is_file() else "",
        "compare": task.compare,
        "free": task.free,
        "describe": task.describe,
        "native": task.native,
        "convert": task.convert,
        "opset": task.opset,
        "blocks": [asdict(block) for block in task.blocks],
        "batch": task.batch,
        "outputs": [
            {"name": o.name, "dtype": o.data_type.dtype.name, "shape": o.shape}
            for o in task.schema.output_schema
        ],
        "samples": [{name: encode(array) for name, array in sample.items()} for sample in task.samples],
    }


_STEPS = {
    "import": "could not be imported from the package",
    "load": "could not be loaded from the package",
    "predict": "failed to predict",
    "save": "could not be saved and loaded again",
    "convert": "could not be converted",
    "find": "could not be imported",
    "call": "failed",
}


def _outcome(
    task: Task | Call, folder: Path, process: subprocess.Popen[bytes], late: float | None
) -> Outcome:
    from gitreg.isolated.arrays import decode

    with open(folder / "printed", "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _MAX_OUTPUT))
        printed = stream.read().decode("utf-8", "replace")
    outcome = Outcome(printed=printed)
    if late is not None:
        outcome.error = f"{task.model_class} did not finish within {late:g} s"
        return outcome
    try:
        file = folder / "result.json"
        if file.stat().st_size > _MAX_RESULT:
            raise ValueError("too large")
        result = json.loads(file.read_text())
        if result["pid"] != process.pid:
            raise ValueError("written by another process")
        outcome.answers = [{str(n): decode(a) for n, a in one.items()} for one in result["answers"]]
        outcome.stacked = result.get("stacked")
        outcome.described = dict(result.get("described") or {})
        failed = result.get("error")
        if failed:
            sample = f" sample [{int(result['sample'])}]" if "sample" in result else ""
            outcome.error = _sentence(task, str(result["step"]) + sample, failed)
            outcome.traceback = str(failed["traceback"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        if shutil.disk_usage(folder).free < _MIN_FREE:
            raise _no_space(folder.parent) from None
        code = process.returncode
        how = (
            f"was killed by signal {-code}"
            if code and code < 0
            else f"ended its process with exit code {code}"
        )
        outcome.error = f"{task.model_class} {how} before it answered"
    return outcome


def _sentence(task: Task | Call, step: str, failed: dict[str, Any]) -> str:
    step, _, sample = step.partition(" ")
    what = f"{failed['type']}: {failed['text']}" if failed["text"] else str(failed["type"])
    where = f" ({failed['where']})" if failed["where"] else ""
    does = " ".join(filter(None, [_STEPS.get(step, step), sample]))
    return f"{task.model_class} {does}: {what}{where}"
