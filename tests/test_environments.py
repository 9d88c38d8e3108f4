"""Environments of models' own: what is in them, who makes them, and what never gets near gitreg."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gitreg as api
from gitreg import installers
from gitreg.errors import Refused, Usage
from gitreg.virtualenvs import Environments, Unreachable, unmet
from tests.support import ADDER_CODE, Workshop, gitreg, run
from tests.wheelhouse import sdist, wheel


@pytest.fixture
def light(house: Path) -> Path:
    """The same with a NumPy that is a name, for environments in which no model runs."""
    shutil.rmtree(house)
    wheel(house, "numpy", "1.26.4")
    return house


def says(shop: Workshop, expression: str, model: str = "adder") -> None:
    """Have a model answer what an expression is, as its error."""
    code = ADDER_CODE.replace(
        "        return cls(", f"        raise ValueError({expression})\n        return cls("
    )
    (shop.root / "models" / model / "src" / "adder_model.py").write_text(code)


def errors(shop: Workshop, *models: str, env: str = "own") -> str:
    """What is wrong with some models, when they run."""
    report = api.Registry(shop.root).check(models or ["adder"], run=True, env=env)
    assert report.ok == (not any(problem.level == "error" for problem in report.problems))
    return "\n".join(str(problem) for problem in report.problems if problem.level == "error")


def answer(text: str) -> str:
    """What a model answered that `says` something."""
    (line,) = [line for line in text.splitlines() if "could not be loaded from the package: " in line]
    return line.partition("ValueError: ")[2].rpartition(" (")[0]


def environments(cache: Path) -> list[dict[str, Any]]:
    """The environments that were made to their end."""
    return [json.loads(file.read_text()) for file in sorted(cache.glob("environments/*/complete"))]


# What is in an environment ------------------------------------------------------------------------


def test_a_model_of_its_own_environment_finds_what_it_requires_and_nothing_of_gitreg(
    workshop: Workshop, house: Path, tmp_path: Path
) -> None:
    wheel(house, "lib", "1.0", requires=["sub>=2"])
    wheel(house, "sub", "2.5")
    workshop.manifest(requirements=["lib<2", "pyyaml<5 ; python_version < '3'"])
    says(
        workshop,
        "repr([__import__('lib').VERSION, __import__('sub').VERSION, [n for n in ('yaml', 'click', 'dvc', 'pip', "
        "'packaging') if __import__('importlib.util').util.find_spec(n)], __import__('sys').prefix])",
    )
    done = workshop.gitreg("check", "adder", "--env", "own")
    assert done.returncode == 1
    lib, sub, found, prefix = eval(answer(done.stderr))
    assert (lib, sub, found) == ("1.0", "2.5", [])
    (made,) = environments(tmp_path / "cache")
    assert Path(prefix).name == made["folder"] and made["requires"] == [
        "lib<2",
        "numpy",
        'pyyaml<5 ; python_version < "3"',
    ]
    assert "making the environment of adder" in done.stderr

    workshop.code("import lib\n" + ADDER_CODE)
    done = workshop.gitreg("predict", "adder", env={**os.environ, "GITREG_ENV": "own"})
    assert done.returncode == 0 and "making" not in done.stderr, "it was there"
    failed = errors(workshop, env="current")
    assert "No module named 'lib'" in failed
    assert "requirements that are not met here: lib<2 (not installed)" in failed


def test_models_whose_requirements_exclude_each_other_are_checked_in_one_run(
    workshop: Workshop, house: Path, tmp_path: Path
) -> None:
    for version in ("1.0", "2.0"):
        wheel(house, "lib", version)
    shutil.copytree(workshop.adder / "src", workshop.root / "models" / "other" / "src")
    other = {"artifact": "../adder/artifacts", "sample_data": "../adder/samples.json"}
    workshop.manifest(requirements=["lib<2"])
    workshop.manifest("other", name="other", requirements=["Lib >= 2"], **other)
    for model, number in (("adder", 1), ("other", 2)):
        code = f"import lib\nassert lib.VERSION == '{number}.0'\n{ADDER_CODE}"
        (workshop.root / "models" / model / "src" / "adder_model.py").write_text(code)
    assert errors(workshop, "adder", "other") == ""
    assert [one["requires"] for one in environments(tmp_path / "cache")] in (
        [["lib<2", "numpy"], ["lib>=2", "numpy"]],
        [["lib>=2", "numpy"], ["lib<2", "numpy"]],
    )


def test_code_that_a_wheel_starts_by_itself_runs_in_the_models_process_alone(
    workshop: Workshop, house: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    line = f"import os, sys; open({str(marker)!r}, 'a').write(repr(sys.orig_argv) + '\\n')\n"
    wheel(house, "evil", files={"evil.pth": line})
    workshop.manifest(requirements=["evil", "gitreg-evil"])
    wheel(house, "gitreg_evil", files={"yaml.py": "raise SystemExit('no')", "sitecustomize.py": line})
    done = workshop.gitreg("check", "adder", "--env", "own")
    assert done.returncode == 0, done.stderr
    (built,) = api.Registry(workshop.root).build(env="own")
    assert built.error is None
    started = [eval(line) for line in marker.read_text().splitlines()]
    assert len({command[5] for command in started}) == 3, "the child of the check, and two of the build"
    for command in started:
        assert command[1:4] == ["-I", "-B", "-u"] and command[4].endswith("isolated/child.py"), command


def test_an_archive_beside_the_manifest_is_no_requirement(
    workshop: Workshop, house: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    evil = sdist(tmp_path, "evil", "1", marker)
    for place in (workshop.root, workshop.adder):
        for name in ("evil.zip", "evil.tar.gz", "lib==1.0+x.zip", "evil"):
            shutil.copy(evil, place / name)
    for lines in (["evil.zip"], ["./evil.tar.gz"], ["lib==1.0+x.zip"], ["evil"]):
        workshop.manifest(requirements=lines)
        failed = errors(workshop)
        assert failed, lines
    assert "Could not find a version that satisfies the requirement evil" in failed
    assert not marker.exists() and environments(tmp_path / "cache") == []


def test_sources_are_built_only_where_the_operator_says_so(
    workshop: Workshop, house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "marker"
    sdist(house, "evil", "1", marker)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for line, why in (
        ("evil", "its requirements cannot be installed: Could not find a version that satisfies"),
        ("evil @ https://example.org/evil-1.tar.gz", "only wheels are installed"),
        ("evil @ git+https://example.org/evil", "only wheels are installed"),
    ):
        workshop.manifest(requirements=[line])
        assert why in errors(workshop) and not marker.exists()
    workshop.manifest(requirements=["evil"])
    monkeypatch.setenv("GITREG_SDISTS", "1")
    assert errors(workshop) == ""
    seen = json.loads(marker.read_text())
    assert "PIP_FIND_LINKS" in seen and "AWS_SECRET_ACCESS_KEY" not in seen


@pytest.mark.parametrize(
    "name", ["X.WHL", ".whl", "%2F.whl", "x-1-py3-none-any.tar.whl", "x.whl.zip", "x.tar.gz", ""]
)
def test_an_address_is_a_wheel_only_if_pip_takes_it_for_one(name: str, light: Path) -> None:
    with pytest.raises(Refused, match="only wheels are installed"):
        with Environments("own").of("m", [f"x @ https://example.org/{name}"]):
            pass


class Web(http.server.SimpleHTTPRequestHandler):
    """A web server; `/from/X/to/Y` leads to Y, and `/locked/` wants a password."""

    key = f"Basic {base64.b64encode(b'me:pass').decode()}"

    def do_GET(self) -> None:
        """Answers a file, a list of files or a redirect."""
        if self.path.startswith("/from/"):
            self.send_response(302)
            self.send_header("Location", f"/{self.path.rpartition('/to/')[2].partition('/as/')[0]}")
            self.end_headers()
        elif self.path.startswith("/locked/") and self.headers["Authorization"] != self.key:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
        else:
            self.path = self.path.replace("/locked/simple/", "/")
            super().do_GET()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a web server of the folder `www`."""
    (tmp_path / "www").mkdir()
    handler = functools.partial(Web, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def install_by(which: str, house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have uv or a pip install, from a folder alone."""
    if which == "uv":
        for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
            monkeypatch.delenv(name, raising=False)
        (tmp_path / "mine.toml").write_text(f'no-index = true\nfind-links = ["{house}"]\n')
        monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "mine.toml"))
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    elif which == "pip that Python brings":
        brought = list(installers.pips())[1:]
        monkeypatch.setattr(installers, "pips", lambda: iter(brought))


INSTALLERS = ("pip", "uv", "pip that Python brings")


@pytest.mark.parametrize("which", INSTALLERS)
def test_nothing_is_built_whatever_the_metadata_of_a_wheel_names(
    which: str, light: Path, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker, www = tmp_path / "marker", tmp_path / "www"
    evil = sdist(www, "evil", "1.0", marker)
    shutil.copy(evil, www / "evil-1.0.tar.whl")
    shutil.copy(evil, www / "evil-2.0-py3-none-any.whl")
    source = tmp_path / "source"
    shutil.unpack_archive(evil, source)
    run("git", "init", "-q", source / "evil-1.0", cwd=tmp_path)
    run("git", "add", ".", cwd=source / "evil-1.0")
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    run("git", *who, "commit", "-qm", "x", cwd=source / "evil-1.0")
    local = wheel(tmp_path / "local", "evil")
    install_by(which, light, tmp_path, monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for number, address in enumerate(
        (
            f"file://{evil}",
            f"{web}/evil-1.0.tar.gz",
            f"{web}/evil-1.0.tar.whl",
            f"{web}/evil-2.0-py3-none-any.whl",
            f"{web}/from/evil-1.0-py3-none-any.whl/to/evil-1.0.tar.gz/as/evil-1.0-py3-none-any.whl",
            f"file://{source}/evil-1.0",
            f"git+file://{source}/evil-1.0",
            f"git+{web}/x-1.0-py3-none-any.whl",
            f"git+file://{source}/evil-1.0/x-1.0-py3-none-any.whl",
            f"file://{local}",
        )
    ):
        wheel(www, "xb", f"{number}", requires=[f"evil @ {address}"])
        with pytest.raises(Refused, match="m: its requirements cannot be installed: ") as failed:
            with Environments("own").of("m", [f"xb @ {web}/xb-{number}-py3-none-any.whl"]):
                pass
        assert not marker.exists(), address
        if which != "uv" and "git+" not in address and "any.whl" not in address:
            assert "only wheels are installed: evil, which xb requires: " in str(failed.value)
    # One of an index, two steps away, by an extra.
    wheel(light, "near", requires=["far[more]"])
    wheel(light, "far", requires=[f"evil @ file://{evil} ; extra == 'more'\nProvides-Extra: more"])
    with pytest.raises(Refused):
        with Environments("own").of("m", ["near"]):
            pass
    with Environments("own").of("m", ["far"]):
        assert not marker.exists() and len(environments(tmp_path / "cache")) == 1


def test_pip_starts_no_process_to_build_anything(light: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    evil = sdist(tmp_path, "evil", "1.0", marker)
    unguarded = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from gitreg import piprunner\n"
        "piprunner._guard = lambda: None; piprunner._main()"
    )
    house = str(Path(installers.__file__).parent.parent)
    for pip in installers.pips():
        command = [
            sys.executable,
            "-c",
            unguarded,
            house,
            pip,
            "wheels",
            "install",
            "--target",
            "there",
            evil,
        ]
        done = subprocess.run([str(one) for one in command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode != 0 and not marker.exists()
        assert "would run to build a package" in done.stdout + done.stderr


@pytest.mark.parametrize("which", INSTALLERS)
def test_a_wheel_at_an_address_is_installed_with_what_it_requires(
    which: str, light: Path, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1.0", "1.5"):
        wheel(light, "lib", version, requires=["none ; python_version < '3'", "none ; extra == 'x'"])
    wheel(tmp_path / "www", "other", "3.0")
    other = f"{web}/from/x/to/other-3.0-py3-none-any.whl/as/other-3.0-py3-none-any.whl"
    wheel(tmp_path / "www", "x", "1.0+local", requires=["lib<1.5", f"other @ {other}"])
    install_by(which, light, tmp_path, monkeypatch)
    ask = "import x, lib, other; print(x.VERSION, lib.VERSION, other.VERSION, lib.__cached__)"
    with Environments("own").of("m", [f"x @ {web}/x-1.0%2Blocal-py3-none-any.whl"]) as python:
        said = run(python.executable, "-B", "-c", ask, cwd=tmp_path).stdout.split()
    assert said[:3] == ["1.0+local", "1.0", "3.0"] and Path(said[3]).exists()


@pytest.mark.parametrize("which", INSTALLERS)
def test_what_is_installed_runs_in_no_process_of_the_installer(
    which: str, light: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "marker"
    line = f"import sys; open({str(marker)!r}, 'w').write(repr(sys.orig_argv))\n"
    wheel(light, "evil", files={"evil.pth": line, "sitecustomize.py": line, "compileall.py": line})
    install_by(which, light, tmp_path, monkeypatch)
    with Environments("own").of("m", ["evil"]) as python:
        assert not marker.exists()
        run(python.executable, "-I", "-c", "", cwd=tmp_path)
    assert marker.exists()


@pytest.mark.parametrize("which", INSTALLERS)
def test_a_keyring_opens_a_private_index_and_sees_no_secret_of_the_job(
    which: str, light: Path, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in list(light.iterdir()):
        name = file.name.partition("-")[0]
        (tmp_path / "www" / name).mkdir()
        shutil.move(file, tmp_path / "www" / name / file.name)
    install_by(which, light, tmp_path, monkeypatch)
    seen, keyring = tmp_path / "seen", tmp_path / "bin" / "keyring"
    keyring.parent.mkdir()
    keyring.write_text(f"#!/bin/sh\nenv > '{seen}'\necho pass\n")
    keyring.chmod(0o755)
    monkeypatch.setenv("PATH", f"{keyring.parent}:{os.environ['PATH']}")
    for name in ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "UV_PUBLISH_TOKEN"):
        monkeypatch.setenv(name, "of-the-job")
    monkeypatch.setenv("KEYRING_PROPERTY_SCHEME", "mine")
    kind = which[:3].strip().upper()
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "UV_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(f"{kind}_KEYRING_PROVIDER", "subprocess")
    monkeypatch.setenv(f"{kind}_INDEX_URL", web.replace("//", "//me@") + "/locked/simple/")
    with Environments("own").of("m", []):
        pass
    assert "KEYRING_PROPERTY_SCHEME=mine" in seen.read_text() and "of-the-job" not in seen.read_text()


# What fails ---------------------------------------------------------------------------------------


def test_requirements_that_cannot_be_met_are_refused_and_nothing_is_left(
    workshop: Workshop, house: Path, tmp_path: Path
) -> None:
    wheel(house, "lib", requires=["other>=3"])
    wheel(house, "other", "1.0")
    for lines, why in (
        (["nosuch>=1"], "Could not find a version that satisfies the requirement nosuch>=1"),
        (["lib", "other"], "other>=3"),
        (["lib==2"], "Could not find a version that satisfies the requirement lib==2"),
    ):
        workshop.manifest(requirements=lines)
        failed = errors(workshop)
        assert failed.startswith("models/adder/model.yaml: adder: its requirements cannot be installed: ")
        assert why in failed and "\n    | pip: ERROR: " in failed
    done = workshop.gitreg("build", "adder", "--env", "own")
    assert done.returncode == 1 and why in done.stderr
    assert list(tmp_path.glob("cache/environments/*/*")) == []


def test_hashes_hold(light: Path) -> None:
    import hashlib

    files = (wheel(light, "lib"), light / "numpy-1.26.4-py3-none-any.whl")
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    version = "1.26.4"
    lines = [f"lib==1.0 --hash=sha256:{digests[0]}", f"numpy=={version} --hash=sha256:{digests[1]}"]
    with Environments("own").of("m", lines):
        pass
    for wrong in ([lines[0]], [lines[0].replace(digests[0], "0" * 64), lines[1]]):
        with pytest.raises(Refused, match=r"(?s)m: its requirements cannot be installed.*[Hh]ash|HASHES"):
            with Environments("own").of("m", wrong):
                pass


def test_an_index_that_cannot_be_reached_is_no_fault_of_the_files(
    workshop: Workshop, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@127.0.0.1:9/simple")
    workshop.manifest(requirements=["nosuch"])
    for verb in ("check", "build"):
        done = workshop.gitreg(verb, "adder", "--env", "own")
        assert done.returncode == 4, (verb, done.stderr)
        assert "the environment of adder cannot be made: pip failed with exit code 1" in done.stderr
        assert "Connection refused" in done.stderr and "secret" not in done.stderr
    # What is wrong with the files is told all the same, and is what counts.
    workshop.manifest("other", name="other", requirements=["evil.zip"], model_class="nowhere.Nothing")
    report = api.Registry(workshop.root).check(["adder", "other"], run=True, env="own")
    failed = "\n".join(map(str, report.problems))
    assert report.exit_code == 1 and "evil.zip" in failed and "Connection refused" in failed
    with pytest.raises(Unreachable):
        api.Registry(workshop.root).predict("adder", env="own")


def test_offline_an_environment_that_is_there_serves(workshop: Workshop, house: Path) -> None:
    offline = {**os.environ, "GITREG_OFFLINE": "1"}
    done = workshop.gitreg("check", "adder", "--env", "own", env=offline)
    assert done.returncode == 4 and "offline, and there is no environment" in done.stderr
    assert errors(workshop) == ""
    assert api.Registry(workshop.root, offline=True, env="own").check(["adder"], run=True).ok


def test_settings_that_send_packages_elsewhere_do_not(
    light: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "TARGET": tmp_path / "t",
        "USER": "1",
        "PREFIX": tmp_path / "p",
        "NO_BINARY": ":all:",
    }.items():
        monkeypatch.setenv(f"PIP_{name}", str(value))
    with Environments("own").of("m", []):
        pass
    assert not (tmp_path / "t").exists() and not (tmp_path / "p").exists()
    (tmp_path / "pip.conf").write_text(f"[install]\ntarget = {tmp_path / 't'}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.delenv("PIP_TARGET")
    wheel(light, "lib")
    with pytest.raises(Unreachable, match="installed no NumPy into it"):
        with Environments("own").of("m", ["lib"]):
            pass


def test_an_operators_settings_reach_pip_and_not_the_model(
    workshop: Workshop, house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    wheel(tmp_path / "more", "lib")
    (tmp_path / "pip.conf").write_text(
        f"[global]\nno-index = true\nfind-links =\n  {house}\n  {tmp_path / 'more'}\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://token@example.org/simple")
    monkeypatch.setenv("UV_INDEX_URL", "https://token@example.org/simple")
    workshop.manifest(requirements=["lib"])
    says(workshop, "sorted(n for n in __import__('os').environ if n.startswith(('PIP_', 'UV_')))")
    assert [answer(errors(workshop, env=env)) for env in ("own", "current")] == ["[]", "[]"]


# Who makes it -------------------------------------------------------------------------------------


SLOW = """
import os, sys, time
sys.path.insert(0, {tests!r})
from gitreg import installers
before = installers.install
def install(*how):
    open({marker!r}, "w").close()
    while os.path.exists({hold!r}):
        time.sleep(0.01)
    return before(*how)
installers.install = install
from gitreg.cli import main
sys.argv[1:] = ["check", "adder", "--env", "own"]
main()
"""


@pytest.fixture
def slow(workshop: Workshop, tmp_path: Path) -> Iterator[Any]:
    """Starts checks whose environments are made only once `hold` is away; each says that it makes one."""
    hold = tmp_path / "hold"
    hold.touch()
    running: list[subprocess.Popen[str]] = []

    def start(marker: Path) -> subprocess.Popen[str]:
        root = str(Path(__file__).resolve().parent.parent)
        code = SLOW.format(tests=root, marker=str(marker), hold=str(hold))
        how: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen([sys.executable, "-c", code], cwd=workshop.root, **how))
        return running[-1]

    start.hold = hold  # type: ignore[attr-defined]
    yield start
    for one in running:
        one.kill()
        one.communicate()


def wait_for(file: Path) -> None:
    end = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


class Index(http.server.BaseHTTPRequestHandler):
    """A package index that holds back the first file that is asked for."""

    folder: Path
    asked, release = threading.Event(), threading.Event()

    def do_GET(self) -> None:
        """Answers a list of files, or a file."""
        name = Path(self.path).name if self.path.endswith(".whl") else ""
        if name and not self.asked.is_set():
            self.asked.set()
            self.release.wait(60)
        files = sorted(file.name for file in self.folder.iterdir())
        links = "".join(f'<a href="/{file}">{file}</a>' for file in files)
        body = (self.folder / name).read_bytes() if name else f"<!DOCTYPE html><html>{links}</html>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream" if name else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def alive(folder: Path) -> bool:
    """Whether a process runs that was told of a folder."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if os.fsencode(folder) in entry.read_bytes():
                return True
    return False


def test_a_pip_whose_gitreg_was_killed_spoils_no_other_environment(
    workshop: Workshop, house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Index.folder = house
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        command = [sys.executable, "-m", "gitreg", "check", "adder", "--env", "own"]
        with subprocess.Popen(command, cwd=workshop.root, stderr=subprocess.DEVNULL) as killed:
            assert Index.asked.wait(60)
            killed.kill()
        (left,) = tmp_path.glob("cache/environments/*/*")
        assert (left / "bin" / "python").exists() and left.name != "complete" and alive(left)
        done = workshop.gitreg("check", "adder", "--env", "own")
        assert done.returncode == 0 and "making the environment" in done.stderr, done.stderr
        Index.release.set()
        end = time.monotonic() + 60
        while alive(left):
            assert time.monotonic() < end
            time.sleep(0.02)
        server.shutdown()
    (made,) = environments(tmp_path / "cache")
    assert made["folder"] != left.name and errors(workshop) == ""


def test_processes_that_start_at_once_share_what_one_of_them_makes(
    workshop: Workshop, house: Path, tmp_path: Path, slow: Any
) -> None:
    markers = [tmp_path / f"marker{i}" for i in range(3)]
    running = [slow(markers[0])]
    wait_for(markers[0])
    running += [slow(marker) for marker in markers[1:]]
    waiting = [line for one in running[1:] for line in [one.stderr.readline()]]
    slow.hold.unlink()
    said = [one.communicate(timeout=120) for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], said
    assert all(
        line.startswith("waiting for the environment of adder, which is being made (") for line in waiting
    )
    assert [marker.exists() for marker in markers] == [True, False, False]
    assert len(list(tmp_path.glob("cache/environments/*/*/bin/python"))) == 1


def test_one_whose_python_is_gone_or_that_somebody_broke_is_made_anew(light: Path, tmp_path: Path) -> None:
    with Environments("own").of("m", []) as python:
        first = Path(python.executable)
    (complete,) = tmp_path.glob("cache/environments/*/complete")
    for harm in (first.unlink, lambda: complete.write_text("{"), lambda: complete.write_text("[]")):
        harm()
        with Environments("own").of("m", []) as python:
            assert os.access(python.executable, os.X_OK)
    told: list[str] = []
    with Environments("own", told.append).of("m", ["NumPy"]):
        pass
    assert told == [], "another way of writing is the same environment"


def test_the_cache_shows_environments_and_keeps_those_in_use(light: Path, tmp_path: Path) -> None:
    with Environments("own").of("m", []) as python:
        done = gitreg("cache", "clear", cwd=tmp_path)
        assert done.returncode == 4 and "another process is at work in the cache" in done.stderr
        assert os.access(python.executable, os.X_OK)
    said = json.loads(gitreg("cache", "--json", cwd=tmp_path).stdout)
    (kept,) = [one for one in said["kept"] if one["name"] == "environments"]
    assert kept["entries"] == 1 and kept["size"] > 1000
    assert gitreg("cache", "clear", cwd=tmp_path).returncode == 0
    assert not any(tmp_path.glob("cache/environments/*"))


@pytest.mark.parametrize("number", range(2))
def test_pip_of_this_python_and_the_one_that_python_brings_both_install(
    number: int, light: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list(installers.pips())
    assert len(found) == 2
    monkeypatch.setattr(installers, "pips", lambda: iter(found[number:]))
    with Environments("own").of("m", []) as python:
        run(python.executable, "-c", "import numpy", cwd=tmp_path)
        assert (
            run(
                python.executable, "-c", "import importlib.util as u; print(u.find_spec('pip'))", cwd=tmp_path
            ).stdout
            == "None\n"
        )


def test_uv_installs_where_pip_is_not_configured(
    light: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    (tmp_path / "mine.toml").write_text(f'no-index = true\nfind-links = ["{light}"]\n')
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "mine.toml"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_TARGET", str(tmp_path / "elsewhere"))
    wheel(light, "lib", requires=["sub"])
    wheel(light, "sub")
    marker = tmp_path / "marker"
    sdist(light, "evil", "1", marker)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "uv.toml").write_text("only-binary = [")  # of a folder above
    with Environments("own").of("m", ["lib"]) as python:
        run(python.executable, "-c", "import lib, sub, numpy", cwd=tmp_path)
    (made,) = environments(tmp_path / "cache")
    assert made["by"] == "uv" and not (tmp_path / "elsewhere").exists()
    for lines in (["evil"], ["nosuch>=3"], ["lib", "sub>=2"]):
        with pytest.raises(Refused, match=r"(?s)m: its requirements cannot be installed: .*\n    \| uv: "):
            with Environments("own").of("m", lines):
                pass
    assert not marker.exists()
    monkeypatch.delenv("UV_CONFIG_FILE")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_INDEX_URL", "http://me:secret@127.0.0.1:9/simple")
    with pytest.raises(Unreachable, match=r"(?s)uv failed with exit code .*Failed to fetch") as failed:
        with Environments("own").of("m", ["nosuch>=3"]):
            pass
    assert "secret" not in str(failed.value)
    # An index that pip was told of is the operator's: uv would not know it.
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(Unreachable, match="pip failed with exit code 1"):
        with Environments("own").of("m", ["nosuch>=3"]):
            pass


# Where it counts ----------------------------------------------------------------------------------


def test_current_is_the_default_makes_nothing_and_names_what_is_not_met(
    workshop: Workshop, house: Path, tmp_path: Path
) -> None:
    workshop.manifest(requirements=["numpy<1", "NoSuch>=2", "click", "x ; python_version < '3'"])
    said = "requirements that are not met here: numpy<1 ("
    done = workshop.gitreg("check", "adder")
    assert done.returncode == 0 and not (tmp_path / "cache").exists()
    (line,) = [line for line in done.stdout.splitlines() if "not met here" in line]
    assert line.startswith(f"models/adder/model.yaml: warning: {said}") and line.endswith(
        "nosuch>=2 (not installed)"
    )
    done = workshop.gitreg("predict", "adder")
    assert done.returncode == 0 and done.stderr.startswith(f"warning: adder: {said}")
    done = workshop.gitreg("build", "adder")
    assert done.returncode == 0 and f"warning: adder: {said}" in done.stdout
    done = workshop.gitreg("verify", "dist")
    assert done.returncode == 0 and said in done.stderr
    assert unmet(["numpy>=1.0", "pytest"]) == ""


def test_a_choice_that_is_none_is_a_mistake_of_the_call(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert workshop.gitreg("check", "--env", "mine").returncode == 2
    monkeypatch.setenv("GITREG_ENV", "mine")
    assert workshop.gitreg("check", "adder").returncode == 2
    with pytest.raises(Usage, match="GITREG_ENV is 'mine'"):
        api.Registry(workshop.root).predict("adder")
    with pytest.raises(Usage, match="env is 'none'"):
        api.Registry(workshop.root, env="none")


def test_a_build_is_remembered_for_the_environment_that_it_was_tested_in(
    workshop: Workshop, house: Path
) -> None:
    wheel(house, "lib")
    workshop.manifest(requirements=["lib"])
    workshop.commit()
    registry = api.Registry(workshop.root)

    def status(env: str | None) -> tuple[str, bool]:
        (report,) = registry.build(["adder"], workshop.root / "dist", env=env)
        return report.status, bool(report.environment)

    time.sleep(0.05)  # what was written within a tick of the clock is not remembered
    assert status("own") == ("built", True)
    assert status("own") == ("unchanged", True)
    assert status(None) == ("built", False)
    assert status("current") == ("unchanged", False)
    assert status("own") == ("built", True)


def test_a_gate_asks_versions_in_their_own_environment(workshop: Workshop, house: Path) -> None:
    wheel(house, "lib")
    workshop.code("import lib\n" + ADDER_CODE)
    workshop.manifest(requirements=["lib"], version="1.1.0")
    policy = workshop.root / "registry.yaml"
    policy.write_text(policy.read_text().replace("staging: {}", "staging: {gates: [{samples: pass}]}"))
    (workshop.root / "stages/staging.yaml").write_text("adder: 1.1.0\n")
    workshop.commit()
    registry = api.Registry(workshop.root)
    assert [str(verdict) for _, verdict in registry.plan().refused] != []
    assert registry.plan(env="own").refused == []
    assert workshop.gitreg("apply").returncode == 1
    done = workshop.gitreg("apply", "--env", "own")
    assert done.returncode == 0, done.stderr
    done = workshop.gitreg("pull", "adder@1.1.0", "--package", "raw", "-o", "out")
    assert done.returncode == 1 and "No module named 'lib'" in done.stderr
    assert (
        workshop.gitreg("pull", "adder@1.1.0", "--package", "raw", "-o", "out", "--env", "own").returncode
        == 0
    )


def test_verify_finds_the_requirements_of_a_package(workshop: Workshop, house: Path, tmp_path: Path) -> None:
    wheel(house, "lib")
    workshop.code("import lib\n" + ADDER_CODE)
    workshop.manifest(requirements="needs.txt")
    (workshop.adder / "needs.txt").write_text("# mine\nlib\n")
    workshop.commit()
    assert workshop.gitreg("build", "--env", "own").returncode == 0
    dist = workshop.root / "dist"
    for package in (dist, dist / "raw/adder", dist / "triton/adder"):
        assert gitreg("verify", package, "--env", "own", cwd=tmp_path).returncode == 0, package
    shutil.rmtree(dist / "raw")
    done = gitreg("verify", dist, "--env", "own", cwd=tmp_path)
    assert done.returncode == 1 and "does not say what its model requires" in done.stderr
    assert workshop.gitreg("verify", "dist", "--env", "own").returncode == 0, "its registry knows"
    workshop.manifest(requirements=[])
    assert workshop.gitreg("verify", "dist", "--env", "own").returncode == 1, "another content"


def test_new_and_evaluate_use_it_too(workshop: Workshop, house: Path, tmp_path: Path) -> None:
    wheel(house, "lib")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "adder_model.py").write_text("import lib\n" + ADDER_CODE)
    (tmp_path / "art").mkdir()
    (tmp_path / "art" / "number.txt").write_text("3")
    arguments = [
        "new",
        "third",
        "--from",
        tmp_path / "art",
        "--class",
        "adder_model.Adder",
        "--code",
        tmp_path / "src",
    ]
    arguments += ["--samples", workshop.adder / "samples.json", "--requirement", "lib"]
    done = workshop.gitreg(*arguments)
    assert done.returncode == 1 and "No module named 'lib'" in done.stderr
    done = workshop.gitreg(*arguments, "--env", "own")
    assert done.returncode == 0, done.stderr
    (tmp_path / "data.json").write_text(json.dumps([{"x": [1, 2], "target": 4}]))
    (workshop.root / "measuring.py").write_text("import lib\n\ndef one(targets, answers):\n    return 1.0\n")
    asked = [
        "evaluate",
        "third",
        "--data",
        tmp_path / "data.json",
        "--target",
        "y=target",
        "--metric",
        "measuring:one",
    ]
    done = workshop.gitreg(*asked, "--env", "own", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["metrics"] == {"one": 1.0}, done.stderr
    assert workshop.gitreg(*asked).returncode == 1


def test_code_that_a_wheel_starts_by_itself_is_kept_apart_and_in_the_sandbox(
    workshop: Workshop, house: Path, tmp_path: Path
) -> None:
    """It runs before any line of gitreg's in that process."""
    secret = {**os.environ, "HOME": str(tmp_path), "TOKEN_OF_MINE": "kept-to-myself"}
    (tmp_path / "seen").mkdir()
    look = f"""
import glob
found = b""
for file in glob.glob("/proc/[0-9]*/environ"):
    try:
        found += open(file, "rb").read()
    except OSError:
        pass
assert b"kept-to-" + b"myself" not in found
place = {str(tmp_path / "seen")!r}
"""
    write = 'try: open(place + "/it", "w").close()\nexcept OSError: pass\n'
    wheel(house, "evil", files={"evil.pth": "import evil_start\n", "evil_start.py": look + write})
    workshop.manifest(requirements=["evil"])
    bystander = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=secret, text=True
    )
    try:
        done = workshop.gitreg("check", "adder", "--env", "own", env=secret)
        assert done.returncode == 0, done.stderr
        assert [file.name for file in (tmp_path / "seen").iterdir()] == ["it"]
        (tmp_path / "seen" / "it").unlink()
        with open(workshop.root / "registry.yaml", "a") as stream:
            stream.write("build: {sandbox: true}\n")
        done = workshop.gitreg("check", "adder", "--env", "own", env=secret)
        assert done.returncode == 0, done.stderr
        assert not list((tmp_path / "seen").iterdir())
    finally:
        bystander.communicate("\n")
