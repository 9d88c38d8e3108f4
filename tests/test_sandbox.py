"""`build.sandbox`: a model that tries everything reaches nothing; honest models answer as before."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitreg.isolated import sandbox
from tests.support import ADDER_CODE, Workshop, gitreg, make_registry, needs_triton, run
from tests.test_child_environment import serving

LINUX = sys.platform == "linux"
pytestmark = pytest.mark.skipif(not LINUX, reason="sandboxes are made of what Linux has")
SECRET = "kept-to-myself"
# What a model tries when it is loaded; it says what of it works.
TRY = """
import contextlib, ctypes, glob, json, os, signal, socket, subprocess, sys
T = json.loads(TARGETS)
done = []

@contextlib.contextmanager
def trying(what):
    try:
        yield
    except BaseException:
        return
    done.append(what)

def read(path):
    with open(path, "rb") as stream:
        return stream.read()

for name in ("aws", "dvc", "git", "registry", "temporary", "shm"):
    with trying(f"read {name}"):
        read(T[name])
with trying("list home"):
    os.listdir(T["home"])
with trying("stat home"):
    os.stat(T["aws"])
for name in ("venv", "package"):
    with trying(f"write {name}"):
        open(os.path.join(T.get(name) or path, "planted"), "w").close()
for name in ("home", "registry_folder", "tmp"):  # these names may be there, and lead to nothing of the user's
    with contextlib.suppress(OSError):
        open(os.path.join(T[name], "planted"), "w").close()
with trying("change package"):
    os.chmod(path, 0o755)
with trying("change artifact"):
    os.chmod(os.path.join(path, "number.txt"), 0o600)
with trying("change device"):
    os.chmod("/dev/null", 0o666)
with trying("append artifact"):
    open(os.path.join(path, "number.txt"), "a").close()
with trying("tcp"):
    socket.create_connection(("127.0.0.1", T["port"]), 5).close()
with trying("udp"):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53))
with trying("socket file"):
    socket.socket(socket.AF_UNIX).connect(T["socket"])
with trying("abstract socket"):
    socket.socket(socket.AF_UNIX).connect(chr(0) + T["abstract"])
with trying("environment of others"):
    found = b""
    for file in glob.glob("/proc/[0-9]*/environ"):
        with contextlib.suppress(OSError):
            found += read(file)
    assert T["secret"].encode() in found
with trying("files of others"):
    read(f"/proc/{T['bystander']}/root" + T["aws"])
with trying("memory of others"):
    open(f"/proc/{T['bystander']}/mem", "rb").close()
with trying("signal others"):
    os.kill(T["bystander"], 0)
    assert b"bystander" in read(f"/proc/{T['bystander']}/cmdline")
with trying("descriptors"):
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.path.isdir(f"/proc/self/fd/{fd}"):
                with trying("a folder that is open"):
                    os.open(f"/proc/self/fd/{fd}/..", os.O_RDONLY)
    raise OSError
libc = ctypes.CDLL(None, use_errno=True)
with trying("a namespace"):
    assert libc.unshare(0x10000000) == 0
with trying("mount"):
    assert libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0
with trying("chroot"):
    subprocess.run([sys.executable, "-c", "import os; os.chroot('/tmp')"], check=True, capture_output=True)
with trying("device"):
    os.mknod(os.path.join(os.environ["HOME"], "disk"), 0o60600, os.makedev(254, 0))
with trying("kernel settings"):
    open("/proc/sys/kernel/hostname", "w").close()
with trying("capabilities"):
    assert "CapEff:\\t0000000000000000" not in read("/proc/self/status").decode()
with trying("new privileges"):
    assert "NoNewPrivs:\\t1" not in read("/proc/self/status").decode()
# And what it may.
assert os.getpid() and os.path.expanduser("~") == os.environ["HOME"]
for place in (os.environ["HOME"], os.environ["TMPDIR"], "/tmp", "/dev/shm"):
    with open(os.path.join(place, "mine"), "w") as stream:
        stream.write("mine")
    os.remove(os.path.join(place, "mine"))
with socket.create_server(("127.0.0.1", 0)) as own:
    socket.create_connection(own.getsockname()).close()
assert subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True).stdout == b"42\\n"
if path.startswith(os.environ["TMPDIR"]):  # what it saved itself
    own = ("change artifact", "append artifact", "write package", "change package")
    done = [one for one in done if one not in own]
done = [one for one in done if one not in T["may"]]
if done:
    raise RuntimeError("reached: " + ", ".join(done))
"""
# Of the tries, what a model without a sandbox never does, where Linux has Landlock.
NEVER = {"environment of others", "files of others", "memory of others", "abstract socket", "signal others"}
NEVER |= {"mount", "new privileges"}


class Trap:
    """What a model may be after, and what tells that it was there."""

    def __init__(self, place: Path, shop: Workshop) -> None:
        self.place, self.shop = place, shop
        self.home = place / "home of ada"
        (self.home / ".aws").mkdir(parents=True)
        (self.home / ".aws/credentials").write_text(SECRET)
        (shop.root / ".dvc/config.local").write_text(f"['remote \"s\"']\n    password = {SECRET}\n")
        (place / "theirs.txt").write_text(SECRET)
        self.shm = Path("/dev/shm") / f"gitreg-test-{os.getpid()}"
        self.shm.write_text(SECRET)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.sockets = [socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)]
        self.abstract = f"gitreg-test-{os.getpid()}"
        os.chdir(place)  # an address of a socket is short
        self.sockets[0].bind("socket")
        self.sockets[1].bind("\0" + self.abstract)
        for one in self.sockets:
            one.listen()
        command = [sys.executable, "-c", "import sys; sys.stdin.read()  # bystander"]
        self.bystander = subprocess.Popen(command, stdin=subprocess.PIPE, env=self.environment())

    def close(self) -> None:
        self.bystander.communicate()
        for one in (self.server, *self.sockets):
            one.close()
        self.shm.unlink()

    def environment(self) -> dict[str, str]:
        """Of a user who has a secret in it."""
        return {**os.environ, "HOME": str(self.home), "AWS_SECRET_ACCESS_KEY": SECRET}

    def code(self, *may: str) -> str:
        """The adder, which tries everything when it is loaded, and says so of what it may not."""
        targets = {
            "aws": str(self.home / ".aws/credentials"),
            "dvc": str(self.shop.root / ".dvc/config.local"),
            "git": str(self.shop.root / ".git/config"),
            "registry": str(self.shop.root / "registry.yaml"),
            "temporary": str(self.place / "theirs.txt"),
            "home": str(self.home),
            "registry_folder": str(self.shop.root),
            "tmp": str(self.place),
            "venv": sys.prefix,
            "shm": str(self.shm),
            "port": self.server.getsockname()[1],
            "socket": str(self.place / "socket"),
            "abstract": self.abstract,
            "secret": SECRET,
            "may": may,
            "bystander": self.bystander.pid,
        }
        head = f"TARGETS = {json.dumps(targets)!r}\nTRY = {TRY!r}\n"
        return head + ADDER_CODE.replace(
            "return cls(int((Path", "exec(TRY, {**globals(), 'path': path})\n        return cls(int((Path"
        )


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    top = tmp_path_factory.mktemp("t")
    make_registry(top / "registry")
    before = Path.cwd()
    trap = Trap(top, Workshop(top / "registry"))
    os.chdir(before)
    trap.shop.code(trap.code())
    trap.shop.commit("tries everything")
    yield trap
    trap.close()


@pytest.fixture
def trap(_made: Trap) -> Trap:
    """A registry whose model tries everything; without a sandbox."""
    run("git", "checkout", "-q", "--", "registry.yaml", cwd=_made.shop.root)
    return _made


@pytest.fixture
def boxed(trap: Trap) -> Trap:
    """The same, with a sandbox."""
    wanted(trap.shop)
    return trap


def wanted(shop: Workshop) -> None:
    with open(shop.root / "registry.yaml", "a") as stream:
        stream.write("build: {sandbox: true}\n")


def told(trap: Trap, *arguments: str | Path, code: int = 0, **options: Any) -> str:
    done = gitreg(*arguments, cwd=trap.shop.root, env=trap.environment(), **options)
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert SECRET not in done.stdout + done.stderr
    assert not list(trap.place.rglob("planted"))
    return done.stdout + done.stderr


def test_in_the_sandbox_a_model_reaches_nothing(boxed: Trap, tmp_path: Path) -> None:
    told(boxed, "check", "adder")
    told(boxed, "build", "-o", tmp_path / "dist")
    told(boxed, "verify", tmp_path / "dist")
    assert "[0] y = [6, 7]" in told(boxed, "predict", "adder")
    assert boxed.bystander.poll() is None


def test_without_it_a_model_is_a_process_of_the_users(trap: Trap) -> None:
    """What docs/operate.md says is not protected: so the sandbox is not needless, nor these tests."""
    done = gitreg("check", "adder", cwd=trap.shop.root, env=trap.environment())
    assert done.returncode == 1, done.stdout + done.stderr
    planted = [*trap.place.rglob("planted"), *Path(sys.prefix).glob("planted")]
    for path in planted:
        path.unlink()
    said = (done.stdout + done.stderr).partition("reached: ")[2].partition(" (")[0].split(", ")
    reached = set(said)
    assert {"read aws", "read dvc", "read git", "read shm", "write venv", "tcp", "socket file"} <= reached, (
        done.stderr
    )
    assert reached & NEVER == set()
    assert {trap.home, trap.shop.root, trap.place, Path(sys.prefix)} <= {path.parent for path in planted}


@needs_triton
def test_triton_has_the_network_and_nothing_else(boxed: Trap) -> None:
    """A model that Triton loads may reach what is reached by the network: it could not be asked without."""
    boxed.shop.code(boxed.code("tcp", "udp"))
    try:
        with serving(boxed.shop) as port:
            ask = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "INT32", "data": [1, 2]}]}
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/v2/models/adder/infer", json.dumps(ask).encode()
            )
            assert json.load(urllib.request.urlopen(request))["outputs"][0]["data"] == [6, 7]
    finally:
        boxed.shop.code(boxed.code())


HELD = """
import os
from pathlib import Path

HERE = Path(__file__).parent


def seen():
    return sorted(os.listdir(HERE)), os.path.exists(HERE / ".git/config"), os.path.exists(HERE / ".dvc/config")


def data():
    names, git, dvc = seen()
    assert "registry.yaml" in names and not git and not dvc, names
    assert (HERE / "rows.txt").read_text() == "rows"
    return {"x": [[1, 2], [3, 4]], "y": [[6, 7], [8, 9]]}


def wrong(targets, answers):
    assert not any(seen()[1:])
    return float((targets["y"] != answers["y"]).sum())
"""


def test_functions_of_evaluate_see_the_registry_without_what_is_hidden(boxed: Trap) -> None:
    (boxed.shop.root / "held.py").write_text(HELD)
    (boxed.shop.root / "rows.txt").write_text("rows")
    try:
        said = told(boxed, "evaluate", "adder", "--data", "held:data", "--metric", "held:wrong", "--json")
        assert json.loads(said)["metrics"] == {"wrong": 0.0}
    finally:
        (boxed.shop.root / "held.py").unlink()


def test_nothing_of_it_outlives_a_sandbox(workshop: Workshop, tmp_path: Path) -> None:
    """A process that left its group, cleared its environment and has no parent ends with the sandbox."""
    wanted(workshop)
    mark = f"left-behind-{os.getpid()}"
    leave = f"""
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)  # {mark}"], {{}})
    os._exit(0)
os.wait()
"""
    workshop.code(ADDER_CODE.replace("return cls(", f"exec({leave!r})\n        return cls("))
    done = workshop.gitreg("check", "adder")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if _is_of(p, mark, tmp_path / "none")]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_sandbox_ends_with_gitreg(workshop: Workshop, tmp_path: Path, number: signal.Signals) -> None:
    wanted(workshop)
    mark = f"waits-{os.getpid()}-{number}"
    wait = f"""
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)  # {mark}"])
open(os.path.join(os.environ["TMPDIR"], "ready"), "w").close()
import time
time.sleep(600)
"""
    workshop.code(ADDER_CODE.replace("return cls(", f"exec({wait!r})\n        return cls("))
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "gitreg", "predict", "adder"],
        cwd=workshop.root,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    while not list((tmp_path / "tmp").glob("*/*/work/ready")):
        assert process.poll() is None, process.communicate()
        select.select([], [], [], 0.02)
    pids = [int(p.parent.name) for p in Path("/proc").glob("[0-9]*/cmdline") if _is_of(p, mark, tmp_path)]
    assert len(pids) == 4  # the process that gitreg waits for, the first of the sandbox, the model, its own
    handles = [os.pidfd_open(pid) for pid in pids]
    process.send_signal(number)
    process.communicate(timeout=60)
    for handle in handles:
        assert select.select([handle], [], [], 20)[0]
        os.close(handle)


def _is_of(file: Path, mark: str, place: Path) -> bool:
    """Whether a process is one of a sandbox: by what it was started with."""
    try:
        line = file.read_bytes()
    except OSError:
        return False
    return mark.encode() in line or (b"child.py" in line and os.fsencode(place) in line)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("sys.exit(3)", "SystemExit: 3"),
        ("os._exit(3)", "ended its process with exit code 3"),
        ("os.kill(os.getpid(), 9)", "was killed by signal 9"),
        ("ctypes.string_at(0)", "was killed by signal 11"),
        ("os.abort()", "was killed by signal 6"),
        ("os.killpg(0, 9)", "was killed by signal 9"),
        ("os.kill(os.getppid(), 9)", "PermissionError"),
        ("time.sleep(600)", "did not finish within 3 s"),
    ],
)
def test_models_that_fail_in_a_sandbox_are_told_as_elsewhere(workshop: Workshop, how: str, says: str) -> None:
    wanted(workshop)
    workshop.code(
        ADDER_CODE.replace("return cls(", f"import ctypes, os, sys, time; {how}\n        return cls(")
    )
    done = workshop.gitreg("predict", "adder", "--timeout", "3")
    assert done.returncode == 1 and says in done.stderr, done.stderr


# What a model writes where gitreg reads ---------------------------------------------------------------


@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "deep", "not a mapping"])
def test_gitreg_reads_nothing_else_than_what_the_child_wrote(
    workshop: Workshop, tmp_path: Path, kind: str, boxes: bool
) -> None:
    if boxes:
        wanted(workshop)
    (tmp_path / "secret").write_text(json.dumps({"error": SECRET, "pid": 0}))
    swap = f"""
import os
own = os.environ["GITREG_CHILD"]
for name in ("printed", "said/result.json"):
    file = os.path.join(own, name)
    if os.path.isdir(os.path.dirname(file)):
        if os.path.exists(file):
            os.remove(file)
        kind = {kind!r}
        try:
            if kind == "link":
                os.symlink({str(tmp_path / "secret")!r}, file)
            elif kind == "pipe":
                os.mkfifo(file)
            elif kind == "folder":
                os.mkdir(file)
            else:
                open(file, "w").write("[" * 100000 if kind == "deep" else "[]")
        except OSError:
            pass
print("a word of mine", flush=True)
os._exit(0)
"""
    workshop.code(ADDER_CODE.replace("return cls(", f"exec({swap!r})\n        return cls("))
    done = workshop.gitreg("predict", "adder", "--timeout", "20")
    assert done.returncode == 1, done.stderr
    assert "ended its process with exit code 0 before it answered" in done.stderr
    assert "a word of mine" in done.stderr and SECRET not in done.stdout + done.stderr


# Who decides ------------------------------------------------------------------------------------------


def test_a_pull_request_does_not_take_its_own_models_out_of_the_sandbox(trap: Trap, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(trap.shop.root, clone, symlinks=True)
    there = Workshop(clone)
    plain = (clone / "registry.yaml").read_text()
    wanted(there)
    there.commit("a sandbox")
    (clone / "registry.yaml").write_text(plain)
    there.commit("no sandbox")
    done = gitreg("check", "--base", "HEAD~1", cwd=clone, env=trap.environment())
    assert done.returncode == 0, done.stdout + done.stderr  # else it says what was reached
    assert "models no longer run in a sandbox" in done.stdout
    done = gitreg("check", "--base", "HEAD~2", cwd=clone, env=trap.environment())
    assert done.returncode == 0 and "sandbox" not in done.stdout
    wanted(there)
    there.commit("a sandbox again")
    done = gitreg("check", "--base", "HEAD~1", cwd=clone, env=trap.environment())
    assert done.returncode == 0 and "models run in a sandbox from the merge on" in done.stdout


# Where there can be none ------------------------------------------------------------------------------

NO_NAMESPACES = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
POWERLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs"]


def inside(*command: str | Path) -> list[str]:
    """A command as root of a namespace in which there may be no more of them."""
    return ["unshare", "--user", "--map-root-user", "sh", "-c", NO_NAMESPACES, "sh", *map(str, command)]


@pytest.mark.parametrize("who", ["root without namespaces of users", "a user without rights"])
def test_root_and_others_can_have_a_sandbox(boxed: Trap, who: str) -> None:
    """As root of a container that may mount, whose rights go before the model comes; and as a plain user."""
    command = [sys.executable, "-m", "gitreg", "check", "adder"]
    plain = ["unshare", "--user", "--map-user=1000", "--map-group=1000", *command]
    command = inside(*command) if who.startswith("root") else plain
    done = subprocess.run(
        command, cwd=boxed.shop.root, env=boxed.environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments", [("predict", "adder"), ("check", "adder"), ("build",), ("check", "--base", "HEAD~1")]
)
def test_a_sandbox_that_cannot_be_had_is_an_error_and_nothing_runs(
    boxed: Trap, arguments: tuple[str, ...]
) -> None:
    command = inside(*POWERLESS, sys.executable, "-m", "gitreg", *arguments)
    done = subprocess.run(
        command, cwd=boxed.shop.root, env=boxed.environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 4, done.stdout + done.stderr
    assert "error: registry.yaml: build.sandbox: models cannot run in a sandbox here" in done.stderr
    assert "user.max_user_namespaces is 0" in done.stderr
    assert "hint: sudo sysctl user.max_user_namespaces=10000" in done.stderr
    assert "reached" not in done.stdout + done.stderr


def test_verify_and_doctor_say_so_too(boxed: Trap, tmp_path: Path) -> None:
    told(boxed, "build", "--format", "raw", "-o", tmp_path / "dist")
    ask = inside(*POWERLESS, sys.executable, "-m", "gitreg")
    how: Any = {"cwd": boxed.shop.root, "env": boxed.environment(), "capture_output": True, "text": True}
    done = subprocess.run([*ask, "verify", str(tmp_path / "dist")], **how)
    assert done.returncode == 4 and "build.sandbox" in done.stderr
    done = subprocess.run([*ask, "doctor", "--json"], **how)
    found = {one["name"]: one for one in json.loads(done.stdout)}
    assert found["sandbox"]["level"] == "warning" and found["build.sandbox"]["level"] == "error"
    assert "user.max_user_namespaces is 0" in found["sandbox"]["detail"]
    said = json.loads(gitreg("doctor", "--json", cwd=boxed.shop.root).stdout)
    good = {one["name"]: one["level"] for one in said}
    assert (good["model processes"], good["sandbox"], good["build.sandbox"]) == ("ok", "ok", "ok")


# Honest models ----------------------------------------------------------------------------------------

WORKERS = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
import numpy as np
from gitreg import Model


def double(number):
    return number * 2


class Pool(Model):
    def save(self, path):
        pass

    @classmethod
    def load(cls, path):
        import getpass, locale, platform, tempfile, zoneinfo
        assert getpass.getuser() and platform.platform() and zoneinfo.ZoneInfo("Europe/Berlin")
        with tempfile.TemporaryDirectory() as folder:
            np.save(folder + "/a.npy", np.ones(3))
            assert np.load(folder + "/a.npy").sum() == 3
        return cls()

    def predict(self, inputs):
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn" if 0 else "fork")) as pool:
            return {"y": np.array(list(pool.map(double, inputs["x"].tolist())), np.int32)}
"""


def test_honest_models_answer_as_before(workshop: Workshop, tmp_path: Path) -> None:
    import onnx
    import torch
    from onnx import TensorProto, helper
    from sklearn.ensemble import RandomForestClassifier

    wanted(workshop)
    workshop.code(WORKERS.replace("class Pool", "class Adder"))
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2]) for n in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "neg.onnx")
    torch.jit.script(torch.nn.Linear(2, 1)).save(tmp_path / "line.pt")
    import joblib

    forest = RandomForestClassifier(5, n_jobs=2).fit(np.arange(20.0).reshape(10, 2), [0, 1] * 5)
    joblib.dump(forest, tmp_path / "forest.joblib")
    (tmp_path / "samples.json").write_text(json.dumps([{"x": [1.0, 2.0]}, {"x": [3.5, 4.5]}]))
    samples = ("--samples", tmp_path / "samples.json")
    for name, file, more in (
        ("neg", "neg.onnx", ()),
        ("line", "line.pt", ()),
        ("forest", "forest.joblib", ("--trust", "pickle")),
    ):
        done = workshop.gitreg("new", name, "--from", tmp_path / file, *samples, *more)
        assert done.returncode == 0, done.stdout + done.stderr
    done = workshop.gitreg("build")
    assert done.returncode == 0, done.stdout + done.stderr
    done = workshop.gitreg("verify", "dist")
    assert done.returncode == 0, done.stdout + done.stderr
    done = workshop.gitreg("convert", "forest", "--to", "onnx", "-o", tmp_path / "forest.onnx")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "forest.onnx").is_file()


def test_a_package_is_the_same_with_and_without_a_sandbox(workshop: Workshop, tmp_path: Path) -> None:
    def built(name: str) -> dict[str, bytes]:
        assert workshop.gitreg("build", "-o", tmp_path / name).returncode == 0
        files = (path for path in (tmp_path / name).rglob("*") if path.is_file())
        return {path.relative_to(tmp_path / name).as_posix(): path.read_bytes() for path in files}

    before = built("plain")
    wanted(workshop)
    assert built("boxed") == before


# The description of a sandbox -------------------------------------------------------------------------


def test_libraries_that_are_named_are_shown_but_no_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    paths = ["", ".", "relative", "/opt/cuda/lib64", str(home), str(tmp_path), "/", str(home / "lib")]
    monkeypatch.setenv("LD_LIBRARY_PATH", os.pathsep.join(paths))
    monkeypatch.setenv("JAVA_HOME", "/opt/java")
    assert sandbox.libraries() == ["/opt/cuda/lib64", str(home / "lib"), "/opt/java"]


def test_what_is_hidden_is_found_at_any_depth(tmp_path: Path) -> None:
    for file in (
        ".dvc/config.local",
        "a/b/.git/config",
        "a/.env",
        "a/.gitignore",
        "a/b/seen.txt",
        ".aws/x/y",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("x")
    found = {os.path.relpath(path, tmp_path) for path in sandbox.hidden(tmp_path)}
    assert found == {".dvc", ".aws", "a/.env", "a/b/.git"}
