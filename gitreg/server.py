"""The only file that talks to Triton: finds a server on this machine, starts it, stops it whole."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitreg import environment, folders, printed, tritonlog
from gitreg.errors import GitregError, Outside, Refused, Usage
from gitreg.isolated import apart
from gitreg.isolated import sandbox as sandboxes
from gitreg.ports import unusable

READY_SECONDS = 300.0
_TELL_AFTER, _TELL_EVERY = 3.0, 10.0
_STOP_SECONDS = 20.0
# How often the processes of models are looked at, and how long a server with a broken one is left to end.
_LOOK_EVERY, _BROKEN_SECONDS = 0.5, 2.0
_MOST_OF_LOG = 4 << 20
_PR_SET_PDEATHSIG = 1
HOW_TO_GET = "pip install 'gitreg[triton]' (Linux on x86_64), or put a tritonserver on PATH"


@dataclass(frozen=True)
class Triton:
    """A server that was found.

    Attributes:
        binary: the tritonserver to run.
        wheel: the site-packages folder of the nvidia-pytriton wheel it is from, or None.
    """

    binary: Path
    wheel: Path | None = None

    def __str__(self) -> str:
        return f"{self.binary}" + (" (nvidia-pytriton)" if self.wheel else "")


@dataclass(frozen=True)
class Ports:
    """Where a server listens, on one address."""

    address: str
    http: int
    grpc: int
    metrics: int

    @property
    def url(self) -> str:
        """Base of the HTTP API."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.http}"


@dataclass
class Running:
    """A server that is ready.

    Attributes:
        process: its own process, or that of the sandbox around it.
        log: the file that it prints to.
        stubs: the processes of the Python backend: id -> model.
        patience: how long it is left to end by itself.
    """

    process: subprocess.Popen[bytes]
    ports: Ports
    log: Path
    region: str
    stubs: dict[int, str]
    patience: float = _BROKEN_SECONDS  # one that still loads models does not end when it is asked to

    def watch(self) -> list[str]:
        """Waits until processes of models have ended; returns these models.

        Triton does not start such a process again: it stays ready, and answers all requests of the model
        with HTTP 500. Nothing of its APIs shows that.

        Raises:
            Outside: the server has ended.
        """
        while True:
            if self.process.poll() is not None:
                code = self.process.returncode
                raise Outside(f"tritonserver ended with exit code {code}:{reasons(self.log)}")
            ended = {model for pid, model in self.stubs.items() if not _is_stub(pid, self.region)}
            if ended and _is_ready(self.ports):  # else the server is ending, and they with it
                self.patience = _BROKEN_SECONDS
                return sorted(ended)
            time.sleep(_LOOK_EVERY)


def find() -> Triton:
    """The Triton of the nvidia-pytriton wheel, else a `tritonserver` on PATH.

    Raises:
        Refused: there is neither; the hint says how to get one.
    """
    spec = importlib.util.find_spec("pytriton")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(place) / "tritonserver" / "bin" / "tritonserver"
        if binary.is_file() and sys.platform == "linux" and _stub(Path(place)).is_file():
            return Triton(binary, Path(place).parent)
    on_path = shutil.which("tritonserver")
    if on_path:
        return Triton(Path(on_path))
    raise Refused("no Triton server on this machine", HOW_TO_GET)


def unfit(triton: Triton, numpy: str | None = None) -> str | None:
    """Why a server that was found cannot serve from an environment, or None.

    Args:
        numpy: the version of NumPy there; by default the one that is installed here.

    The wheel's Python backend was built for NumPy 1 and answers with empty tensors under NumPy 2:
    https://github.com/triton-inference-server/server/issues/7647
    """
    from importlib.metadata import version

    numpy = numpy or version("numpy")
    if triton.wheel and int(numpy.partition(".")[0]) >= 2:
        return f"the Triton of nvidia-pytriton needs NumPy 1; NumPy {numpy} is installed"
    return None


def backends_of(triton: Triton) -> set[str] | None:
    """The backends that a server has; None where that cannot be seen."""
    folder = (
        triton.wheel / "pytriton" / "tritonserver" if triton.wheel else triton.binary.resolve().parent.parent
    )
    try:
        return {entry.name for entry in (folder / "backends").iterdir() if entry.is_dir()}
    except OSError:
        return None


def _stub(pytriton: Path) -> Path:
    """The wheel's Python-backend process for the Python that runs now."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return pytriton / "tritonserver" / "python_backend_stubs" / python / "triton_python_backend_stub"


@contextlib.contextmanager
def serve(
    triton: Triton,
    repository: Path,
    ports: Ports,
    log: Path,
    ready_seconds: float = READY_SECONDS,
    passed: Sequence[str] = (),
    python: str = sys.executable,
    sandbox: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> Iterator[Running]:
    """Run a server over a model repository until the block ends; it is ready when the block starts.

    Whatever ends the block, the server and the processes it started end too; if this process is
    killed, the kernel ends them (Linux).

    Args:
        log: receives what the server prints.
        passed: names of variables that the server and its models see, besides `environment.allowed`.
        python: the interpreter whose packages the models find.
        sandbox: whether it has nothing of the disk but what it needs; it has the network, to be asked by.
        tell: is told from time to time which models it waits for.

    Raises:
        Outside: it does not become ready; the message has its reasons.
    """
    with folders.temporary() as scratch:
        region = f"gitreg-{os.getpid()}-{os.urandom(3).hex()}"
        command = _command(triton, repository, ports, scratch, region)
        if sandbox:
            command = _in_sandbox(command, triton, repository, scratch, python)
        with open(log, "wb") as output:
            process = subprocess.Popen(
                command,
                env=_environment(triton, scratch, passed, python),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent if sandbox else _keep_apart,
            )
        running = Running(process, ports, log, region, {})
        try:
            models = sorted(entry.name for entry in repository.iterdir() if entry.is_dir())
            _wait_until_ready(running, models, ready_seconds, tell)
            running.stubs, running.patience = _stubs(region), _STOP_SECONDS
            yield running
        finally:
            _stop(process, running.patience)
            for left in Path("/dev/shm").glob(f"{region}*"):
                left.unlink(missing_ok=True)


def _command(triton: Triton, repository: Path, ports: Ports, scratch: Path, region: str) -> list[str]:
    command = [
        str(triton.binary),
        f"--model-repository={repository}",
        f"--http-address={ports.address}",
        f"--grpc-address={ports.address}",
        f"--http-port={ports.http}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-address={ports.address}",
        f"--metrics-port={ports.metrics}",
        f"--backend-config=python,shm-region-prefix-name={region}",
        "--exit-timeout-secs=5",
        # Triton's own default is 4; what loads from a slow disk or network waits more than it computes.
        f"--model-load-thread-count={max(8, 2 * (os.cpu_count() or 1))}",
        "--disable-auto-complete-config",
    ]
    if triton.wheel:
        command.append(f"--backend-directory={_backends(triton.wheel, scratch)}")
    return command


def _backends(wheel: Path, scratch: Path) -> Path:
    """A backend folder for the Python that runs now: the wheel's own lacks the stub process."""
    ours = scratch / "backends" / "python"
    ours.mkdir(parents=True)
    for file in (wheel / "pytriton" / "tritonserver" / "backends" / "python").iterdir():
        (ours / file.name).symlink_to(file)
    shutil.copy(_stub(wheel / "pytriton"), ours / "triton_python_backend_stub")
    (ours / "triton_python_backend_stub").chmod(0o755)
    return ours.parent


def _environment(triton: Triton, scratch: Path, passed: Sequence[str], python: str) -> dict[str, str]:
    """What is allowed and passed of this process's variables, and folders of the server's own.

    The server's Python must find the model's requirements, and its own libpython.

    The Python backend ignores PYTHONPATH. It takes its packages from the installation or virtual
    environment of the `python3` that comes first on PATH, so that is made to be the models'.
    """
    found = environment.allowed(os.environ, passed)
    for name, folder in (("HOME", scratch / "home"), ("TMPDIR", scratch / "work")):
        folder.mkdir(0o700)
        found[name] = str(folder)
    found["PATH"] = os.pathsep.join([os.path.dirname(python), os.environ.get("PATH", "")])
    found["PYTHONDONTWRITEBYTECODE"] = "1"
    if triton.wheel:
        libraries = [str(triton.wheel / "nvidia_pytriton.libs"), str(sysconfig.get_config_var("LIBDIR"))]
        libraries += filter(None, [os.environ.get("LD_LIBRARY_PATH", "")])
        found["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
    return found


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _keep_apart() -> None:
    _die_with_parent()
    apart.keep()


def _in_sandbox(
    command: list[str], triton: Triton, repository: Path, scratch: Path, python: str
) -> list[str]:
    """The command that runs another in a sandbox with the network."""
    for name in ("top", "said"):
        (scratch / name).mkdir()
    spec = {**sandboxes.plain(str(scratch)), "network": True}
    installed = str(triton.wheel or triton.binary.resolve().parent.parent)
    spec["read"] = [str(repository.absolute()), str(scratch / "backends"), installed, *sandboxes.libraries()]
    spec["read"] += sandboxes.interpreter(python)
    (scratch / "spec.json").write_text(json.dumps(spec))
    return [sys.executable, "-I", "-S", "-B", sandboxes.__file__, str(scratch / "spec.json"), *command]


def _wait_until_ready(
    running: Running, models: list[str], seconds: float, tell: Callable[[str], None]
) -> None:
    process, log = running.process, running.log
    began = time.monotonic()
    next_told = began + _TELL_AFTER
    while (now := time.monotonic()) < began + seconds:
        if process.poll() is not None:
            failed = tritonlog.failed(_read(log))
            why = f", as it could not load {tritonlog.some(failed)}" if failed else ""
            raise Outside(f"tritonserver ended with exit code {process.returncode}{why}:{reasons(log)}")
        if _is_ready(running.ports):
            return
        if now >= next_told:
            tell(tritonlog.progress(_read(log), models, now - began))
            next_told += _TELL_EVERY
        time.sleep(0.05)
    waiting = tritonlog.missing(_read(log), models)
    lines = printed.block(tritonlog.about(_read(log), waiting))
    raise Outside(
        f"{len(waiting)} of {tritonlog.counted(len(models))} not ready after {seconds:g} s: "
        f"{tritonlog.some(waiting)}{lines}"
        if waiting
        else f"tritonserver is not ready after {seconds:g} s, though its models are:{reasons(log)}",
        "--ready-timeout SECONDS waits longer",
    )


def _is_ready(ports: Ports) -> bool:
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy leads to this machine
    try:
        with ask.open(f"{ports.url}/v2/health/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _stubs(region: str) -> dict[int, str]:
    """Returns the processes that a server's Python backend runs models in: id -> model.

    What a model has forked looks like one; but its parent is no tritonserver.
    """
    found = {}
    for entry in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        if not _is_stub(int(entry.name), region):
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            if Path(f"/proc/{parent}/comm").read_text().strip() == "tritonserver":
                file = Path(os.fsdecode((entry / "cmdline").read_bytes().split(b"\0")[1]))
                found[int(entry.name)] = file.parent.parent.name
    return found


def _is_stub(pid: int, region: str) -> bool:
    """Whether a process is there, and is one of the Python backend that uses a region of shared memory."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return len(words) > 2 and words[2].startswith(region.encode())


def reasons(log: Path) -> str:
    """The lines of a server's log that say what went wrong, or its end; as a block."""
    return printed.block(tritonlog.telling(_read(log)))


def _read(log: Path) -> str:
    """Returns what a server has printed, of very much the end."""
    with open(log, "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _MOST_OF_LOG))
        return stream.read(_MOST_OF_LOG).decode("utf-8", "replace")


def _stop(process: subprocess.Popen[bytes], patience: float) -> None:
    """End the server's whole group, politely first."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_ports(address: str, http: int, grpc: int, metrics: int) -> Ports:
    """Returns the ports to listen on; 0 picks a free one.

    Raises:
        Usage: one is named twice.
        Outside: one is taken, or cannot be had; each that is so is told.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    chosen: list[int] = []
    failed: list[GitregError] = []
    with contextlib.ExitStack() as held:
        for port, option in ((http, "--http-port"), (grpc, "--grpc-port"), (metrics, "--metrics-port")):
            if port and port in chosen:
                raise Usage(f"port {port} is asked for twice", f"{option} 0 picks a free one")
            probe = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                chosen.append(probe.getsockname()[1])
            except OSError as error:
                failed.append(unusable(address, port, error, option))
    if len(failed) > 1:
        raise type(failed[0])(dict.fromkeys(one.message for one in failed), failed[0].hint)
    if failed:
        raise failed[0]
    return Ports(address, *chosen)
