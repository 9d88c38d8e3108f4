"""What a model may require: projects on a package index, and nothing that pip takes for something else."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from pathlib import Path

import pytest

from gitreg.requirements import mistakes, parsed
from tests.support import Workshop

# What is refused, and a word of why.
REFUSED = {
    "evil.zip": "the name of a file",
    "x.tar.gz": "the name of a file",
    "PKG.WHL": "the name of a file",
    "evil.zip[extra]": "the name of a file",
    "evil.zip; python_version > '3'": "the name of a file",
    "evil.whl>=1": "the name of a file",
    "evil.zip @ https://example.org/x.whl": "the name of a file",
    "requirements.txt": "the name of a file",
    "x==1.0+a.zip": "the name of a file",
    "x!=1,==1.0+a.tar.gz , !=2": "the name of a file",
    "x===1.zip": "the name of a file",
    "x===1.0.zip[a]": "the name of a file",
    "x===anything": "is no version",
    "./x": "is a path",
    "../x.zip": "is a path",
    ".": "is a path",
    "x/y": "is a path",
    "/x": "is a path",
    "C:\\x": "is a path",
    "file:x.zip": "is a path or an address",
    "https://example.org/x.zip": "is a path or an address",
    "git+https://example.org/x": "is a path or an address",
    "x @ ./x.zip": "an address is",
    "x@file:///x.zip": "an address is",
    "x @ git+file:///x": "an address is",
    "x @ https:///x.zip": "an address is",
    "x @ ftp://example.org/x.zip": "an address is",
    # For pip this is x.zip in the folder that it runs in, if there is one.
    "x @ https://example.org/../../x.zip": "has no '..'",
    "x @ https://example.org/a#subdirectory=../../..": "has no '..'",
    "x @ https://example.org/${GITHUB_TOKEN}": "variables",
    "-r other.txt": "options",
    "-e .": "options",
    "-rother": "options",
    "--index-url https://example.org": "options",
    "numpy --pre": "options",
    "numpy ; os_name == ' -e . '": "options",
    "numpy --hash=nothing": "only --hash",
    "--hash=sha256:00": "options",
    "gitreg==0.0.1": "gitreg is no requirement",
    "GitReg": "gitreg is no requirement",
    "gitreg[onnx]>=1 ; python_version > '3'": "gitreg is no requirement",
    "gitreg @ https://example.org/x.whl": "gitreg is no requirement",
    "g\u0456treg": "ASCII",
    "\uff47itreg": "ASCII",
    "\u212aeras": "ASCII",
    "num\u00a0py": "ASCII",
    "num\u200bpy": "ASCII",
    "numpy\n--index-url https://example.org": "one line",
    "numpy\u2028evil": "one line",
    "numpy # no more\x85evil.zip": "one line",
    "# -*- coding: utf-7 -*-": "UTF-8",
    "numpy >> 1": "is not a requirement",
    "a b": "is not a requirement",
}
# What is kept, and as what.
KEPT = {
    "pyyaml<5": "pyyaml<5",
    "numpy": "numpy",
    "Flask_X.y[B,a] >=1, <2;python_version<'4'  # why": 'flask-x-y[a,b]<2,>=1 ; python_version < "4"',
    "torch===1.7.0+cpu": "torch===1.7.0+cpu",
    "x (==1.*)": "x==1.*",
    "ruamel.yaml": "ruamel-yaml",
    "discord.py": "discord-py",
    "backports.tarfile>=1": "backports-tarfile>=1",
    "x==2!1.0.post1": "x==2!1.0.post1",
    "x @ https://example.org/x-1-py3-none-any.whl#sha256=00": "x @ https://example.org/x-1-py3-none-any.whl#sha256=00",
    "x@git+https://example.org/x@v1": "x @ git+https://example.org/x@v1",
    "x==1 --hash=sha256:bb --hash=sha256:aa": "x==1 --hash=sha256:aa --hash=sha256:bb",
    "# gitreg": None,
    "# coding: utf-8": None,
    "": None,
}


@pytest.mark.parametrize(("line", "why"), REFUSED.items())
def test_what_no_model_may_require(line: str, why: str) -> None:
    ((index, mistake),) = mistakes(["numpy", "", line])
    assert index == 2 and why in mistake
    assert [one.line for one in parsed([line, "numpy"])] == ["numpy"]


@pytest.mark.parametrize(("line", "text"), KEPT.items())
def test_what_a_model_may_require_has_one_way_of_writing(line: str, text: str | None) -> None:
    assert list(mistakes([line])) == []
    assert [one.line for one in parsed([line])] == ([text] if text else [])


def test_lines_go_on_after_a_backslash_as_for_pip() -> None:
    assert [one.line for one in parsed(["x==1 \\", "  --hash=sha256:aa \\", " --hash=sha256:bb"])] == [
        "x==1 --hash=sha256:aa --hash=sha256:bb"
    ]
    for lines in (
        ["numpy\\", ".zip"],
        ["numpy", "x===1.\\", "zip"],
        ["# why \\", "evil.zip"],
        ["git\\", "reg"],
    ):
        assert len(list(mistakes(lines))) == 1, lines


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pip's own, of versions
def test_pip_finds_no_file_for_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By pip's own reading of a line, in a folder where whatever it might look for is there."""
    from pip._internal.exceptions import InstallationError
    from pip._internal.req.constructors import parse_req_from_line

    monkeypatch.chdir(tmp_path)
    endings = ("", ".zip", ".tar.gz", ".whl", ".TGZ", ".tar.lzma")
    names = [f"evil{one}" for one in endings] + ["./evil", "evil/", "a/evil.zip"]
    pins = ["", "==1", "==1+a.zip", "===1.zip", ">=1.tar.gz", " @ https://h/../../evil.zip", "@file:evil.zip"]
    extras = ["", "[a]", "[a.zip]", " ; python_version > '3'"]
    lines = ["".join(one) for one in itertools.product(names, extras[:3], pins, extras)]
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "setup.py").write_text("")
    for line in lines:
        for place in (line.partition(";")[0].strip(), line.partition("[")[0]):
            file = Path(os.path.normpath(tmp_path / place))
            with contextlib.suppress(OSError):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
    read = {True: 0, False: 0}
    for line in lines:
        try:
            link = parse_req_from_line(line, None).link
        except (InstallationError, ValueError):
            continue
        is_file = link is not None and link.scheme == "file"
        read[is_file] += 1
        assert not (is_file and not any(mistakes([line]))), line
    assert read[True] > 50 and read[False] > 20, read


def test_check_names_them_all_where_they_stand(workshop: Workshop) -> None:
    workshop.manifest(requirements=["numpy>=1.24", "evil.zip", "pyyaml<5", "gitreg==0.0.1"])
    (workshop.adder / "needs.txt").write_text(
        "# mine\nnumpy\n./x\nx===1.\\\nzip\nx @ https://example.org/x.zip\n"
    )
    other = {"name": "other", "artifact": "../adder/artifacts", "code": "../adder/src"}
    workshop.manifest(
        "other", requirements="../adder/needs.txt", sample_data="../adder/samples.json", **other
    )
    (workshop.root / "evil.zip").write_text("not even a zip")
    done = workshop.gitreg("check")
    assert done.returncode == 1
    found = [line for line in done.stderr.splitlines() if line.startswith("models/")]
    assert [line.partition(": ")[0] for line in found] == [
        "models/adder/model.yaml:31:5",
        "models/adder/model.yaml:33:5",
        "models/adder/needs.txt:3:1",
        "models/adder/needs.txt:4:1",
    ]
    assert found[0].endswith(
        "requirements[1]: 'evil.zip': the name of a file, which pip would look for; "
        "a project on a package index is expected"
    )
    said = workshop.gitreg("requirements", "adder", "--json")
    assert json.loads(said.stdout) == [], "what check refuses is not installed"


def test_what_pip_gets_is_written_by_gitreg(workshop: Workshop) -> None:
    workshop.manifest(requirements=["NumPy >=1.24 # the least", "x @ https://example.org/x.zip", "# no more"])
    assert workshop.gitreg("requirements", "adder").stdout == "numpy>=1.24\nx @ https://example.org/x.zip\n"
    workshop.commit()
    said = workshop.gitreg("requirements", "--base", "HEAD~1").stdout
    assert said == "numpy>=1.24\n", "an address may be code that pip runs"


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://user:secret@example.org/simple",
        "--extra-index-url=https://secret@example.org/simple",
        "git+https://user:secret@example.org/x.git",
        "https://user:p@secret@example.org/x-1.0-py3-none-any.whl",
        "x @ https://user:secret@example.org/../x.zip",
        "x @ https://user:secret@example.org/x.whl --user",
    ],
)
def test_what_is_refused_is_quoted_without_its_password(line: str) -> None:
    ((_, said),) = mistakes([line])
    assert "secret" not in said and "example.org" in said


@pytest.mark.parametrize(
    "address",
    [
        "https://me:secret@example.org/x-1.0-py3-none-any.whl",
        "https://secret@example.org/x-1.0-py3-none-any.whl",
        "https://example.org/x-1.0-py3-none-any.whl?sig=secret&se=2030",
        "https://example.org/x-1.0-py3-none-any.whl?X-Amz-Signature=secret#sha256=00",
        "git+https://me:secret@example.org/x.git",
        "git+ssh://git:secret@example.org/x.git",
    ],
)
def test_no_address_of_a_requirement_holds_a_secret(address: str) -> None:
    ((_, said),) = mistakes([f"x @ {address}"])
    assert "the address of x holds a password, a token or a signature" in said
    assert "secret" not in said and "example.org/x" in said and parsed([f"x @ {address}"]) == []


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/x-1.0-py3-none-any.whl?version=2#sha256=00",
        "https://example.org/x-1.0-py3-none-any.whl?",
        "git+ssh://git@example.org/x.git@v1",
    ],
)
def test_an_address_without_a_secret_stays_as_it_is(address: str) -> None:
    assert not [*mistakes([f"x @ {address}"])]
    assert [one.address for one in parsed([f"x @ {address}"])] == [address]


@pytest.mark.parametrize(
    "line", ["numpy" + " " * 200_000 + "x", "numpy" + "\t" * 200_000 + "--hash", "numpy" + " #" * 100_000]
)
def test_no_requirement_takes_for_ever(line: str) -> None:
    assert len([*mistakes([line]), *parsed([line])]) == 1
