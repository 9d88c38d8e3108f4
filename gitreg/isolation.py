"""Starts the child process in which a user's model runs, and reads its verdict.

The child may print, hang, exit, change its folder or die; what comes back is an `Outcome` either way.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from gitreg import environment, folders
from gitreg.declared import DEFAULT_TIMEOUT, MOST_SECONDS
from gitreg.errors import NoSandbox, Outside, Usage
from gitreg.tasks import USER_MODEL, Block, Call, Outcome, Task

__all__ = ["USER_MODEL", "USUAL", "Block", "Call", "Conditions", "Gate", "Outcome", "Python", "Task"]
__all__ += ["current", "end_all", "ended", "environment_timeout", "keeps_apart", "run", "try_sandbox"]

_HERE = Path(__file__).parent / "isolated"
_MAX_OUTPUT = 64 << 10
_MAX_RESULT = 1 << 30
# A child may write a result of its own: what `child.py` cuts is cut here again, a little later.
_MAX_NAME, _MAX_TEXT, _MAX_TRACEBACK = 300, 5000, 25_000
_MIN_FREE = 64 << 10
# What a child may write to, and where the disk of its sandbox is put together.
_FOLDERS = ("work", "home", "said", "top")
_RESULT = "said/result.json"
# Runs a program of this folder without what is installed: no `.pth` file, no sitecustomize.
_LAUNCHER = (sys.executable, "-I", "-S", "-B")
# The id of the model's process in its sandbox, whose first process starts it.
_IN_SANDBOX = 2
# Every process that a child starts inherits this variable, wherever it goes.
_MARK = "GITREG_CHILD"
_LIVE: set[subprocess.Popen[bytes]] = set()


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
        sandbox: whether it has no network, and nothing of the disk but what it needs.
    """

    timeout: float | None = None
    passed: tuple[str, ...] = ()
    python: Python | None = None
    sandbox: bool = False

    def digest(self) -> str:
        """What of them may change a model's answers; empty for what is usual."""
        told = environment.digest(os.environ, self.passed) if self.passed else ""
        return told + ("|sandbox" if self.sandbox else "")


USUAL = Conditions()


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
    if seconds is not None and not 0 < seconds <= MOST_SECONDS:
        raise Usage(f"GITREG_TIMEOUT is {text!r}; a number of seconds up to {MOST_SECONDS:,} is expected")
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
        with folders.temporary() as folder:
            return _run(task, folder, conditions, gate)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _no_space(Path(tempfile.gettempdir())) from error


def _run(task: Task | Call, folder: Path, conditions: Conditions, gate: Gate | None) -> Outcome:
    limit = conditions.timeout or environment_timeout() or DEFAULT_TIMEOUT
    python = conditions.python or current()
    for name in _FOLDERS:
        (folder / name).mkdir(0o700)
    (folder / "task.json").write_text(json.dumps({**_written(task), "keep": python.keep}))
    if conditions.sandbox:
        (folder / "spec.json").write_text(json.dumps(_sandbox(task, folder, python)))
    pipe, hold = os.pipe()
    # Read by this descriptor later: what stands at its name then may be a link of the model's.
    with open(folder / "printed", "w+b") as printed:
        try:
            process = _start(folder, pipe, python, conditions, printed)
            try:
                late = _wait(process, hold, limit, gate)
            finally:
                _end(process, folder)
        finally:
            os.close(pipe)
            os.close(hold)
        pid = _IN_SANDBOX if conditions.sandbox else process.pid
        outcome = _outcome(task, folder, process, pid, _tail(printed), limit if late else None)
    outcome.warnings += filter(None, [python.warning])
    return outcome


def _no_space(place: Path) -> Outside:
    return Outside(f"no space left in {place}", "free some space, or have TMPDIR name another place")


def _start(
    folder: Path, pipe: int, python: Python, conditions: Conditions, printed: IO[bytes]
) -> subprocess.Popen[bytes]:
    child: list[str | Path] = [python.executable, "-I", "-B", "-u", _HERE / "child.py"]
    launch: list[str | Path] = []
    # What the interpreter runs when it starts is trusted no more than the model, if that chose the packages.
    if conditions.sandbox:
        launch = [*_LAUNCHER, _HERE / "sandbox.py", folder / "spec.json"]
    elif python.environment:
        launch = [*_LAUNCHER, _HERE / "apart.py"]
    process = subprocess.Popen(
        [*launch, *child, folder / "task.json", folder / _RESULT, str(pipe)],
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


def _sandbox(task: Task | Call, folder: Path, python: Python) -> dict[str, Any]:
    """What a task has in a sandbox: what it needs for reading, and its own folders."""
    write = [folder / name for name in _FOLDERS if name != "top"]
    from gitreg.isolated import sandbox

    hide: list[str] = []
    if isinstance(task, Call):
        code = [path for path in task.paths if not sandbox.is_above_home(path)]
        hide = [found for path in code for found in sandbox.hidden(path)]
        read = code + [Path(file) for files in (task.given or {}).values() for file in files.values()]
        write += [task.out] if task.given is None else []
    else:
        read = [task.code.absolute(), task.artifact.absolute(), task.user_model.absolute()]
        read += [Path(file) for block in task.blocks for file in block.inputs.values()]
        write += [Path(block.answers) for block in task.blocks]
        write += [Path(task.convert).parent] if task.convert else []
    return {
        **sandbox.plain(str(folder)),
        "read": [
            *map(str, read),
            str(folder / "task.json"),
            *sandbox.libraries(),
            *sandbox.interpreter(python.executable, python.keep),
        ],
        "hide": hide,
        "write": [str(path) for path in write],
    }


def keeps_apart() -> bool:
    """Whether this machine keeps models from looking at the user's other processes."""
    return subprocess.run([sys.executable, "-I", "-B", _HERE / "apart.py"]).returncode == 0


def try_sandbox() -> None:
    """Try whether there can be a sandbox on this machine.

    Raises:
        NoSandbox: there cannot; the message says what is missing.
    """
    from gitreg.isolated import sandbox

    with folders.temporary() as folder:
        for one in _FOLDERS:
            (folder / one).mkdir()
        (folder / "spec.json").write_text(json.dumps(sandbox.plain(str(folder))))
        command: list[str | Path] = [*_LAUNCHER, _HERE / "sandbox.py", folder / "spec.json"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd=folder)
        if done.returncode:
            try:
                said = _said(folder).get("unavailable")
            except (OSError, ValueError):
                said = [done.stderr.decode("utf-8", "replace").strip()[-500:]]
            raise _no_sandbox(said)


def _no_sandbox(said: Any) -> NoSandbox:
    why, *helps = map(str, said) if isinstance(said, list) and said else ["it cannot be made"]
    return NoSandbox(why, helps[0] if helps else None)


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


def _tail(printed: IO[bytes]) -> str:
    """The end of what a child printed."""
    printed.seek(max(0, os.fstat(printed.fileno()).st_size - _MAX_OUTPUT))
    return printed.read(_MAX_OUTPUT).decode("utf-8", "replace")


def _said(folder: Path) -> dict[str, Any]:
    """What a child wrote as its result.

    Raises:
        OSError, ValueError: it wrote none, or something else.
    """
    descriptor = os.open(folder / _RESULT, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_RESULT:
            raise ValueError("no file, or too large")
        said = json.loads(stream.read(_MAX_RESULT))
    if not isinstance(said, dict):
        raise ValueError("no mapping")
    return said


def _outcome(
    task: Task | Call,
    folder: Path,
    process: subprocess.Popen[bytes],
    pid: int,
    printed: str,
    late: float | None,
) -> Outcome:
    from gitreg.isolated.arrays import decode

    outcome = Outcome(printed=printed)
    if late is not None:
        outcome.error = f"{task.model_class} did not finish within {late:g} s"
        return outcome
    try:
        result = _said(folder)
        if "unavailable" in result:
            raise _no_sandbox(result["unavailable"])
        if result["pid"] != pid:
            raise ValueError("written by another process")
        outcome.answers = [{str(n): decode(a) for n, a in one.items()} for one in result["answers"]]
        outcome.stacked = result.get("stacked")
        outcome.described = dict(result.get("described") or {})
        failed = result.get("error")
        if failed:
            sample = f" sample [{int(result['sample'])}]" if "sample" in result else ""
            outcome.error = _sentence(task, str(result["step"]) + sample, failed)
            outcome.traceback = str(failed["traceback"])[-_MAX_TRACEBACK:]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        if shutil.disk_usage(folder).free < _MIN_FREE:
            raise _no_space(Path(tempfile.gettempdir())) from None
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
    kind, text = str(failed["type"])[:_MAX_NAME], str(failed["text"])[:_MAX_TEXT]
    what = f"{kind}: {text}" if text else kind
    where = f" ({failed['where']})" if failed["where"] else ""
    does = " ".join(filter(None, [_STEPS.get(step, step), sample]))
    return f"{task.model_class} {does}: {what}{where}"
