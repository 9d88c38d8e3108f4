"""The Python in which models run: the one that runs gitreg, or an environment of their own.

- `current`: nothing is made; what of a model's requirements is not met is a warning.
- `own`: one environment for each set of requirements, Python and platform, below the cache:

      environments/<digest>/complete     which folder is the environment, and its interpreter
      environments/<digest>/<random>/    a virtual environment, made where it stays

  It is believed once `complete` is there, which is written last. Who makes one holds its lock alone; who uses
  one shares it. What a killed process left, and its pip may still be writing to, is never believed: the next
  one makes a folder of another name.

gitreg is in none of them. The files that gitreg's child runs by need NumPy, which is added.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gitreg import caches, folders, installers, isolation, printed, trees
from gitreg.errors import Outside, Refused, Usage
from gitreg.requirements import Requirement, mistakes, parsed

CHOICES = ("current", "own")
VARIABLE = "GITREG_ENV"
_LAYOUT = 1
_COMPLETE = "complete"
# PyTorch with CUDA is some gigabytes, on a slow line.
_PATIENCE, _TELL_AFTER, _TELL_EVERY = 4 * 3600.0, 2.0, 30.0
# Asked before anything is installed: a .pth file of a package is run by each later start.
_ASK = """
import json, sys, sysconfig
keep = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
print(json.dumps([sys.executable, keep + [path for path in sys.path if path.endswith(".zip")]]))
"""


class Unreachable(Outside):
    """The package index, or the disk, failed while an environment was made."""


@dataclass(frozen=True)
class _Wanted:
    """An environment.

    Attributes:
        model: whose requirements they are, for errors.
        lines: all that is installed, in order.
        digest: of these, Python and the platform.
    """

    model: str
    lines: tuple[str, ...]
    digest: str


class Environments:
    """Gives models the Python that they run in.

    Args:
        choice: "current" or "own"; by default as GITREG_ENV says, else "current".
        tell: is told what takes long.
        offline: make none: nothing may be fetched.

    Raises:
        Usage: there is no such choice.
    """

    def __init__(
        self,
        choice: str | None = None,
        tell: Callable[[str], None] | None = None,
        offline: bool | None = None,
    ) -> None:
        self.tell = tell or (lambda line: None)
        self.offline = offline
        self._choice = choice
        if choice is not None:
            _known(choice, "env")

    @property
    def choice(self) -> str:
        """Which of CHOICES counts."""
        return self._choice or _known(os.environ.get(VARIABLE) or CHOICES[0], VARIABLE)

    def digest(self, lines: Iterable[str]) -> str:
        """What tells the environment of some requirements from others; empty for the current one."""
        return "" if self.choice == "current" else _wanted("", lines).digest

    @contextmanager
    def of(self, model: str, lines: Iterable[str], more: Iterable[str] = ()) -> Iterator[isolation.Python]:
        """The interpreter for a model, which stays for as long as the block lasts.

        Args:
            lines: what the model requires.
            more: what is needed besides, for what is done with it.

        Raises:
            Refused: its requirements cannot be met, or are none.
            Unreachable: they cannot be fetched at the moment.
        """
        lines = list(lines)
        if self.choice == "current":
            yield replace(isolation.current(), warning=unmet([*lines, *more]))
            return
        _refuse(model, lines)
        with self._held(_wanted(model, [*lines, *more])) as python:
            yield python

    @contextmanager
    def of_all(self, models: Mapping[str, Sequence[str]]) -> Iterator[isolation.Python]:
        """The one interpreter for several models, in one process.

        Args:
            models: what each requires.

        Raises:
            Refused: they have different environments.
        """
        if not models:
            yield isolation.current()
            return
        first = next(iter(models))
        for model, lines in models.items():
            if self.digest(lines) != self.digest(models[first]):
                raise Refused(
                    f"{first} and {model} have different requirements, and so environments of their own; "
                    "a server has one for all its models",
                    "serve them apart, on other ports (--http-port 0 and so on), or use --env current",
                )
        with self.of(first, models[first]) as python:
            yield python

    @contextmanager
    def _held(self, wanted: _Wanted) -> Iterator[isolation.Python]:
        """An environment that is there, or is made; nobody deletes it while the block lasts."""
        home = caches.entry("environments", wanted.digest)
        while True:
            with self._locked(wanted, shared=True):
                if python := _believed(home, wanted.digest):
                    yield python
                    return
            if caches.is_offline(self.offline):
                raise Unreachable(
                    f"offline, and there is no environment for the requirements of {wanted.model} yet",
                    "once with a network",
                )
            with self._locked(wanted):
                if _believed(caches.entry("environments", wanted.digest), wanted.digest) is None:
                    self._make(home, wanted)

    @contextmanager
    def _locked(self, wanted: _Wanted, shared: bool = False) -> Iterator[None]:
        """Hold the lock of an environment, and tell that it is waited for."""
        file = caches.place("locks") / f"environment-{wanted.digest}.lock"
        began, patience = time.monotonic(), _TELL_AFTER
        while True:
            with caches.locked(file, patience, shared) as held:
                if held:
                    yield
                    return
            waited, patience = time.monotonic() - began, _TELL_EVERY
            if waited > _PATIENCE:
                raise Outside(f"another process makes the environment of {wanted.model}, and does not end")
            self.tell(f"waiting for the environment of {wanted.model}, which is being made ({waited:.0f} s)")

    def _make(self, home: Path, wanted: _Wanted) -> None:
        """Make an environment, in place; it is believed once `complete` is there."""
        shown = ", ".join(wanted.lines)
        self.tell(f"making the environment of {wanted.model}, once: {shown[:200]}")
        began = time.monotonic()
        trees.remove(home, ignore_errors=True)  # what was left by who was killed
        place = home / os.urandom(6).hex()
        try:
            place.mkdir(parents=True)
            said = _venv(place)
            listed = place / "requirements.txt"
            listed.write_text("".join(f"{line}\n" for line in wanted.lines))
            said["by"] = installers.install(said["executable"], listed)
            if not installers.takes_sources():
                _refuse_local(said["keep"])
            _need_numpy(said)
            text = json.dumps({**said, "layout": _LAYOUT, "folder": place.name, "requires": wanted.lines})
            folders.replace(home / _COMPLETE, text.encode())
        except BaseException as error:
            trees.remove(place, ignore_errors=True)
            if isinstance(error, Refused):
                raise Refused(
                    f"{wanted.model}: its requirements cannot be installed: {error.message}"
                ) from None
            if isinstance(error, Outside):
                raise Unreachable(
                    f"the environment of {wanted.model} cannot be made: {error.message}", error.hint
                ) from None
            if isinstance(error, OSError):
                raise Unreachable(f"the environment of {wanted.model}: {error.strerror}: {home}") from error
            raise
        self.tell(f"made the environment of {wanted.model} in {time.monotonic() - began:.0f} s")


def _known(choice: str, where: str) -> str:
    if choice not in CHOICES:
        raise Usage(f"{where} is {choice!r}; {' or '.join(CHOICES)} is expected")
    return choice


def unmet(lines: Iterable[str]) -> str:
    """What of some requirements is not met by what is installed here, in one line; empty where all is."""
    from importlib.metadata import PackageNotFoundError, version

    from packaging.requirements import Requirement as Parsed

    found = []
    for line in parsed(lines):
        one = Parsed(line.text)
        if one.marker is not None and not one.marker.evaluate():
            continue
        try:
            here = version(line.name)
        except PackageNotFoundError:
            found.append(f"{line.text} (not installed)")
            continue
        if not one.specifier.contains(here, prereleases=True):
            found.append(f"{line.text} ({here} is installed)")
    return f"requirements that are not met here: {', '.join(found)}" if found else ""


def _refuse(model: str, lines: list[str]) -> None:
    """Raise Refused where requirements are none, or would run code outside of the model's own process."""
    for _, mistake in mistakes(lines):
        raise Refused(f"{model}: its requirements cannot be installed: {mistake}")
    code = [one.text for one in parsed(lines) if one.is_code]
    if code and not installers.takes_sources():
        raise Refused(
            f"{model} requires {', '.join(code)}: only wheels are installed, as code of anything else "
            "would run outside of the model's own process",
            "name a wheel (https://.../x-1.0-py3-none-any.whl), or set GITREG_SDISTS=1",
        )


def _wanted(model: str, lines: Iterable[str]) -> _Wanted:
    found: list[Requirement] = parsed(lines)
    texts = {one.line for one in found} | ({"numpy"} if all(one.name != "numpy" for one in found) else set())
    what = {
        "layout": _LAYOUT,
        "python": [sys.version, sys.implementation.cache_tag, os.path.realpath(sys.base_prefix)],
        "platform": [sysconfig.get_platform(), sysconfig.get_config_var("EXT_SUFFIX")],
        "requires": sorted(texts),
        "sources": installers.takes_sources(),
    }
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return _Wanted(model, tuple(sorted(texts)), digest[:40])


def _believed(home: Path, digest: str) -> isolation.Python | None:
    """The interpreter of an environment that was made to its end; None where there is none."""
    try:
        said = json.loads((home / _COMPLETE).read_bytes())
        executable, keep = str(said["executable"]), tuple(str(path) for path in said["keep"])
        inside = Path(executable).is_relative_to(home / said["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if said.get("layout") != _LAYOUT or not inside or not os.access(executable, os.X_OK):
        return None
    return isolation.Python(executable, keep, digest)


def _refuse_local(places: Sequence[str]) -> None:
    """Raise Refused where a package came from a file or folder that the metadata of another one names.

    pip refuses it by itself as gitreg runs it, uv does not. Both write where a package came from:
    https://packaging.python.org/en/latest/specifications/direct-url/
    """
    from importlib.metadata import distributions

    for package in distributions(path=list(places)):
        text = package.read_text("direct_url.json")
        if text is None:
            continue
        try:
            address = str(json.loads(text)["url"])
        except (ValueError, KeyError, TypeError, RecursionError):
            address = ""
        if not address.startswith(("http://", "https://")):
            raise Refused(
                f"only wheels of an index or a web server are installed, and one came from {address!r}"
            )


def _need_numpy(said: dict[str, Any]) -> None:
    """Raise Outside where what was installed went elsewhere."""
    if numpy_of(isolation.Python(said["executable"], tuple(said["keep"]))) is None:
        raise Outside(
            f"{said['by']} installed no NumPy into it",
            "a setting of pip or uv may send packages elsewhere: pip config list",
        )


def numpy_of(python: isolation.Python) -> str | None:
    """The version of NumPy that an interpreter finds; None where it has none."""
    from importlib.metadata import distributions

    found = (one.version for one in distributions(name="numpy", path=list(python.keep)))
    return next(found, None)


def _venv(place: Path) -> dict[str, Any]:
    """Make an empty virtual environment of this Python; its interpreter, and from where that imports."""
    import venv

    venv.create(place, with_pip=False, symlinks=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [place / "bin" / "python", "-I", "-c", _ASK], capture_output=True, text=True, env=kept, check=False
    )
    with suppress(ValueError):
        executable, keep = json.loads(done.stdout)
        return {"executable": executable, "keep": keep}
    raise Outside(f"the new environment's Python does not run: {printed.said(done.stderr.strip()[-400:])}")
