"""Remotes that fail: what failed is said, and an artifact is called lost only when its remote answers so."""

from __future__ import annotations

import ctypes
import hashlib
import http.server
import os
import shutil
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gitreg import Registry, load_model
from gitreg.doctor import examine
from gitreg.errors import Outside, Refused
from tests.support import Workshop, mounted, run

LOST = "which the DVC cache does not have, nor does the remote"
FIVE = hashlib.md5(b"5").hexdigest()


class Web:
    """A web server over a folder, that fails as it is told to.

    Attributes:
        how: what happens to a request, by the end of its path; the empty end is for all others.
        asked: paths, as they came.
    """

    def __init__(self, folder: Path) -> None:
        self.how: dict[str, str] = {}
        self.asked: list[str] = []
        self.over = threading.Event()
        owner = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __init__(self, *args: object) -> None:
                super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

            def do_GET(self) -> None:
                owner.asked.append(self.path)
                how = next((owner.how[end] for end in owner.how if end and self.path.endswith(end)), "")
                owner.answer(self, how or owner.how.get("", ""))

            do_HEAD = do_GET

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True, args=(0.01,)).start()

    def answer(self, one: http.server.SimpleHTTPRequestHandler, how: str) -> None:
        if how.isdigit():
            one.send_error(int(how))
        elif how == "hang":
            self.over.wait(60)
            one.close_connection = True
        elif how == "cut":
            one.send_response(200)
            one.send_header("Content-Length", "1000")
            one.end_headers()
            one.wfile.write(b"5" * 10)
            one.close_connection = True
        elif how == "page":  # as the network of a hotel has it
            one.send_response(200)
            one.send_header("Content-Length", "5")
            one.end_headers()
            one.wfile.write(b"login")
        elif one.command == "HEAD":
            http.server.SimpleHTTPRequestHandler.do_HEAD(one)
        else:
            http.server.SimpleHTTPRequestHandler.do_GET(one)

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


def dvc(shop: Workshop, *arguments: str) -> str:
    return run(sys.executable, "-m", "dvc", *arguments, cwd=shop.root).stdout


@pytest.fixture
def store(workshop: Workshop, tmp_path: Path) -> Path:
    """The folder of a remote with the adder's artifact, which is nowhere else; the remote is set to it."""
    own = tmp_path / "store"
    shutil.copytree(workshop.root / ".dvc" / "cache", own)
    remote_is(workshop, str(own))
    shutil.rmtree(workshop.root / ".dvc" / "cache")
    return own


def remote_is(shop: Workshop, url: str, *more: str) -> None:
    """Have the default remote be at an address; `name = value` of what else is set."""
    lines = ["[core]", "remote = here", "analytics = false", "['remote \"here\"']", f"url = {url}", *more]
    (shop.root / ".dvc" / "config").write_text("\n".join(lines))


@pytest.fixture
def web(store: Path, workshop: Workshop) -> Iterator[Web]:
    one = Web(store)
    remote_is(workshop, one.url, "read_timeout = 1")
    yield one
    one.close()


def artifact(shop: Workshop) -> str:
    return str(yaml.safe_load((shop.adder / "artifacts.dvc").read_text())["outs"][0]["md5"])


def name_of(md5: str) -> str:
    return f"{md5[:2]}/{md5[2:]}"


def told(shop: Workshop) -> tuple[str, str]:
    """The error and the hint of a fetch; both empty when it succeeds."""
    registry = Registry(shop.root)
    tracked = registry.gather("models/adder/model.yaml").tracked
    assert tracked
    try:
        registry.store.fetch([tracked])
    except Outside as error:
        assert "'models/adder/artifacts' needs" in error.message
        return error.message, error.hint or ""
    assert not registry.store.missing(tracked)
    return "", ""


# One server, many ends --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "why", "hint"),
    [
        ("500", "500, message='Internal Server Error'", "run it again"),
        ("503", "503, message='Service Unavailable'", "run it again"),
        ("403", "403, message='Forbidden'", "credentials"),
        ("401", "401, message='Unauthorized'", "credentials"),
        ("hang", "no answer in time", "run it again"),
        ("cut", "Response payload is not completed", "run it again"),
        ("page", "has another hash", "run it again"),
    ],
)
@pytest.mark.parametrize("which", ["all", "one file"])
def test_what_a_server_fails_with_is_said(
    workshop: Workshop, web: Web, how: str, why: str, hint: str, which: str
) -> None:
    web.how = {"" if which == "all" else name_of(FIVE): how}
    errors, helps = told(workshop)
    lacking = artifact(workshop) if which == "all" else FIVE
    assert f"needs {lacking}" in errors and LOST not in errors
    assert why in errors and hint in helps and "dvc push" not in helps
    left = [p for p in (workshop.root / ".dvc/cache").rglob("*") if p.is_file()]
    assert {p.name for p in left} <= {artifact(workshop)[2:]}, "nothing of what was cut off"
    web.how = {}
    assert told(workshop) == ("", ""), "what passed is over"


@pytest.mark.parametrize("which", ["all", "one file"])
def test_a_404_is_what_is_lost(workshop: Workshop, web: Web, which: str) -> None:
    web.how = {"" if which == "all" else name_of(FIVE): "404"}
    errors, helps = told(workshop)
    lacking = artifact(workshop) if which == "all" else FIVE
    assert f"needs {lacking}, {LOST}" in errors
    assert helps == "dvc push, where the artifact was made"


def test_a_server_that_is_down_is_asked_once(workshop: Workshop, store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    remote_is(workshop, f"http://127.0.0.1:{port}")
    begun = time.monotonic()
    errors, helps = told(workshop)
    assert f"Cannot connect to host 127.0.0.1:{port}" in errors and LOST not in errors
    assert "run it again" in helps and time.monotonic() - begun < 30


def test_a_name_that_no_server_has_is_said_to_be_one(workshop: Workshop, store: Path) -> None:
    remote_is(workshop, "http://no-such-host.invalid/store")
    errors, helps = told(workshop)
    assert "no-such-host.invalid" in errors and LOST not in errors
    assert "is the address right (dvc remote list)" in helps


def test_a_certificate_that_nobody_vouches_for_is_told(workshop: Workshop, web: Web, tmp_path: Path) -> None:
    names = ["-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, cwd=tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    web.server.socket = context.wrap_socket(web.server.socket, server_side=True)
    remote_is(workshop, web.url.replace("http:", "https:"))
    errors, helps = told(workshop)
    assert "certificate" in errors.lower() and LOST not in errors
    assert "ssl_verify" in helps


def test_a_password_in_an_address_is_not_said(workshop: Workshop, web: Web) -> None:
    remote_is(workshop, web.url.replace("//", "//me:hush@"))
    web.how = {"": "500"}
    errors, _ = told(workshop)
    assert "500" in errors and "hush" not in errors


def test_a_hang_in_the_middle_of_many_files_ends_in_time(workshop: Workshop, store: Path, web: Web) -> None:
    for n in range(60):
        (workshop.adder / "artifacts" / f"{n}.bin").write_bytes(os.urandom(8))
    dvc(workshop, "add", "-q", "models/adder/artifacts")
    shutil.copytree(workshop.root / ".dvc" / "cache", store, dirs_exist_ok=True)
    shutil.rmtree(workshop.root / ".dvc" / "cache")
    workshop.commit("many")
    web.how = {name_of(artifact(workshop)): "200 OK", "": "hang"}
    begun = time.monotonic()
    errors, helps = told(workshop)
    assert "no answer in time" in errors and "run it again" in helps and LOST not in errors
    assert time.monotonic() - begun < 40 and len(web.asked) < 10, "one is asked first"
    web.how = {}
    assert told(workshop) == ("", "")


# Folders ----------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_mounted_is_told(workshop: Workshop, store: Path) -> None:
    store.rename(store.with_name("away"))
    errors, helps = told(workshop)
    assert f"there is no folder {store}" in errors and LOST not in errors
    assert helps.startswith("is it mounted?")


def test_a_folder_that_is_a_file_is_told(workshop: Workshop, store: Path) -> None:
    store.rename(store.with_name("away"))
    store.write_text("an image, perhaps")
    errors, _ = told(workshop)
    assert f"the folder {store}: Not a directory" in errors and LOST not in errors


def without_powers() -> None:
    """Have root's programs that are started from here see only what they may: it reads everything else."""
    for power in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, power, 0, 0, 0)


@pytest.mark.parametrize("which", ["folder", "file"])
def test_a_folder_that_may_not_be_read_is_told(workshop: Workshop, store: Path, which: str) -> None:
    place = store if which == "folder" else store / "files" / "md5" / FIVE[:2] / FIVE[2:]
    mode = place.stat().st_mode
    place.chmod(0)
    try:
        done = workshop.gitreg("build", preexec_fn=without_powers)
    finally:
        place.chmod(mode)
    assert done.returncode == 4 and "Permission denied" in done.stderr and LOST not in done.stderr
    assert str(place) in done.stderr and "ls -ld" in done.stderr


def test_an_empty_folder_has_nothing(workshop: Workshop, store: Path) -> None:
    shutil.rmtree(store)
    store.mkdir()
    errors, helps = told(workshop)
    assert LOST in errors and helps.startswith("dvc push")


# Every door -------------------------------------------------------------------------------------------


def ran(shop: Workshop, verb: str) -> tuple[int, str, str]:
    """(code, errors, hint) of a command."""
    done = shop.gitreg(*verb.split())
    return done.returncode, done.stderr, done.stderr.rpartition("hint: ")[2]


VERBS = ["build", "check adder", "predict adder", "pull adder -o out", "pull adder --package raw -o out"]
VERBS += ["serve adder --http-port 0 --grpc-port 0 --metrics-port 0"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_says_the_same(workshop: Workshop, web: Web, verb: str) -> None:
    if verb.startswith("pull"):
        assert workshop.gitreg("apply").returncode == 0
    web.how = {"": "500"}
    code, errors, helps = ran(workshop, verb)
    assert code == 4, errors
    assert "'models/adder/artifacts' needs" in errors and "500, message='Internal Server Error'" in errors
    assert "run it again" in helps and LOST not in errors
    web.how = {"": "404"}
    code, errors, helps = ran(workshop, verb)
    assert LOST in errors and "dvc push" in helps


def test_check_tells_what_is_wrong_with_the_files_too(workshop: Workshop, web: Web) -> None:
    web.how = {"": "500"}
    workshop.manifest("broken", name="broken", artifact=None, version="x")
    done = workshop.gitreg("check", "adder", "broken")
    assert done.returncode == 1 and "500" in done.stderr and "models/broken/model.yaml" in done.stderr


def test_so_does_python(
    workshop: Workshop, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITREG_CACHE", str(tmp_path / "cache"))
    assert workshop.gitreg("apply").returncode == 0
    web.how = {"": "403"}
    with pytest.raises(Outside, match="403, message='Forbidden'") as caught:
        load_model("models:/adder/1.0.0", registry=workshop.root)
    assert caught.value.hint and "credentials" in caught.value.hint
    web.how = {"": "404"}
    with pytest.raises(Outside, match="nor does the remote"):
        load_model("models:/adder/1.0.0", registry=workshop.root)


def test_a_registry_elsewhere_says_the_same(workshop: Workshop, web: Web, tmp_path: Path) -> None:
    workshop.commit("a remote")
    assert workshop.gitreg("apply").returncode == 0
    web.how = {"": "500"}
    how = {**os.environ, "GITREG_CACHE": str(tmp_path / "cache")}
    command = ["predict", "adder@1.0.0", "--registry", workshop.root.as_uri()]
    done = workshop.gitreg(*command, env=how)
    assert done.returncode == 4 and "500, message=" in done.stderr and LOST not in done.stderr
    web.how = {}
    assert workshop.gitreg(*command, env=how).returncode == 0


def test_doctor_says_lost_only_of_what_is(
    workshop: Workshop, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert workshop.gitreg("apply").returncode == 0
    monkeypatch.chdir(workshop.root)

    def told_of_dvc() -> list[str]:
        found = examine(workshop.root, None, True)
        return [f"{f.level} {f.detail}" for f in found if f.name in ("dvc remote", "artifact missing")][1:]

    assert told_of_dvc() == []
    for how, why in (("500", "500"), ("403", "403"), ("hang", "no answer in time")):
        web.how = {"": how}
        asked, missing = told_of_dvc()
        assert asked.startswith("warning the DVC remote 'here' cannot be asked") and why in asked
        assert missing.endswith("which is in no DVC remote that answered; others did not")
    web.how = {name_of(FIVE): "503"}
    assert "503" in told_of_dvc()[0]
    web.how = {name_of(artifact(workshop)): "404"}
    assert told_of_dvc() == [f"error adder@1.0.0 needs {artifact(workshop)}, which is in no DVC remote"]


def test_a_push_that_fails_is_told(workshop: Workshop, web: Web) -> None:
    assert told(workshop) == ("", "")  # the cache has it now
    for file in web_files(workshop, web):
        file.unlink()
    web.how = {"": "500"}
    store = Registry(workshop.root).store
    tracked = Registry(workshop.root).gather("models/adder/model.yaml").tracked
    assert tracked
    with pytest.raises(Outside, match=r"dvc push: 50[01]"):
        store.push([tracked])


def web_files(shop: Workshop, web: Web) -> list[Path]:
    return [p for p in (shop.root.parent / "store").rglob("*") if p.is_file()]


@pytest.mark.parametrize(("how", "kind"), [("404", Refused), ("500", Outside), ("403", Outside)])
def test_data_at_an_address_is_missing_only_where_its_server_says_so(
    workshop: Workshop, web: Web, how: str, kind: type[Exception]
) -> None:
    web.how = {"data.bin": how}
    with pytest.raises(kind, match="there is nothing at" if how == "404" else how):
        Registry(workshop.root).store.said_of(f"{web.url}/data.bin")


# The disk ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "why"), [("size=16k", "No space left on device"), ("ro", "Read-only file system")]
)
def test_a_cache_that_cannot_be_written_is_the_disk_s(
    workshop: Workshop, store: Path, how: str, why: str
) -> None:
    (workshop.adder / "artifacts" / "weights.bin").write_bytes(os.urandom(1 << 20))
    dvc(workshop, "add", "-q", "models/adder/artifacts")
    cache = workshop.root / ".dvc" / "cache"
    shutil.copytree(cache, store, dirs_exist_ok=True)
    shutil.rmtree(cache)
    workshop.commit("large")
    with mounted(cache, how):
        for verb in ("build", "check adder"):
            code, errors, helps = ran(workshop, verb)
            assert code == 4 and why in errors and str(cache) in errors and LOST not in errors, errors
            assert "dvc cache dir" in helps
