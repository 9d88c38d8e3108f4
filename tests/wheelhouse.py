"""Packages made on the spot, in folders that pip takes them from: no test needs a network."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import os
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

# What importing NumPy, and array operations, do without.
_LEFT_OUT = ("/tests/", "numpy/f2py/", "numpy/distutils/", "/include/", "numpy/typing/", "__pycache__", "../")


def wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    files: Mapping[str, str | bytes] | None = None,
    requires: Iterable[str] = (),
) -> Path:
    """A wheel; with a module of its own name that says its version, where `files` are not given."""
    content = {**(files if files is not None else {f"{name}.py": f"VERSION = {version!r}\n"})}
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    content[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    return _written(folder / f"{name}-{version}-py3-none-any.whl", info, content)


_BACKEND = """
import json, os, pathlib, sys
def build_wheel(folder, config_settings=None, metadata_directory=None):
    pathlib.Path({marker!r}).write_text(json.dumps(dict(os.environ)))
    name = "{name}-{version}-py3-none-any.whl"
    pathlib.Path(folder, name).write_bytes(bytes.fromhex({wheel!r}))
    return name
"""


def sdist(folder: Path, name: str, version: str, marker: Path) -> Path:
    """A source distribution that is built by code of its author's, which writes what it sees into a file."""
    file = folder / f"{name}-{version}.tar.gz"
    made = wheel(folder / "made", name, version).read_bytes().hex()
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": _BACKEND.format(name=name, version=version, marker=str(marker), wheel=made),
        "setup.py": f"open({str(marker)!r}, 'w')",
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
    }
    with tarfile.open(file, "w:gz") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{path}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return file


def numpy_wheel(folder: Path) -> Path:
    """The NumPy that is installed here, as a wheel again: what it takes to import it."""
    found = importlib.metadata.distribution("numpy")
    content: dict[str, bytes] = {}
    for path in found.files or ():
        name = path.as_posix()
        if not any(part in name for part in _LEFT_OUT) and not name.endswith(
            ("/RECORD", "/INSTALLER", ".pyi")
        ):
            content[name] = Path(str(path.locate())).read_bytes()
    info = next(name.partition("/")[0] for name in content if ".dist-info/" in name)
    tag = next(
        line[5:] for line in content[f"{info}/WHEEL"].decode().splitlines() if line.startswith("Tag: ")
    )
    return _written(folder / f"{info.removesuffix('.dist-info')}-{tag}.whl", info, content)


def _written(file: Path, info: str, content: Mapping[str, str | bytes]) -> Path:
    record = ""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(f".{os.getpid()}")
    with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            raw = data.encode() if isinstance(data, str) else data
            archive.writestr(name, raw)
            digest = base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(raw)}\n"
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    aside.replace(file)
    return file
