"""pip and uv: install requirements into an environment, and say why it failed.

- They see no file of the caller's: they run in an empty folder, and are given a list that gitreg wrote.
- Wheels alone: no code of what is installed runs, whatever the metadata of a package names; see `piprunner`.
  With GITREG_SDISTS=1 sources are built, by their own code.
- What an operator has configured counts: pip's and uv's variables and files, but for where things go. Of
  other variables they see what they need to reach an index, and no secret.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from gitreg import environment, folders, isolation, printed
from gitreg.errors import GitregError, Outside, Refused

# Settings that say where things go, or what else is installed. gitreg says that.
_ELSEWHERE = re.compile(
    r"(PIP|UV)_(BREAK_SYSTEM_PACKAGES|DIRECTORY|DRY_RUN|EDITABLE|GROUP|LOG|NO_BINARY|NO_DEPS|ONLY_BINARY|PREFIX|"
    r"PROJECT|PYTHON|PYTHON_PLATFORM|PYTHON_VERSION|QUIET|REPORT|REQUIREMENT|REQUIRE_VIRTUALENV|ROOT|"
    r"SYSTEM_PYTHON|TARGET|USER|WORKING_DIRECTORY)\Z"
)
# Variables of pip that do not say what is taken from where: uv may be used where they are set.
_HARMLESS = re.compile(
    r"PIP_(CACHE_DIR|DEFAULT_TIMEOUT|DISABLE_PIP_VERSION_CHECK|NO_CACHE_DIR|NO_COLOR|NO_INPUT|PROGRESS_BAR|"
    r"ROOT_USER_ACTION|VERBOSE)\Z"
)
# What code that builds a package sees besides what a model may see.
_FOR_BUILDS = re.compile(r"(HOME|TMPDIR|XDG_\w+|CC|CXX|\w+FLAGS|(PIP|UV)_(?!PUBLISH)\w+)\Z")
# What pip and uv see besides, where nothing is built: settings, certificates, proxies with their users, and
# by what a keyring finds its accounts: names of files and services, no secrets.
_FOR_INSTALLERS = re.compile(
    r"(HOME|TMPDIR|TMP|TEMP|NETRC|XDG_\w+|(PIP|UV)_(?!PUBLISH)\w+|HTTP_TIMEOUT|(HTTPS?|ALL|FTP)_PROXY|"
    r"SSL_CLIENT_CERT|OPENSSL_(CONF|MODULES)|KEYRING_PROPERTY_\w+|PYTHON_KEYRING_BACKEND|"
    r"DBUS_SESSION_BUS_ADDRESS|GOOGLE_APPLICATION_CREDENTIALS|CLOUDSDK_(CONFIG|ACTIVE_CONFIG_NAME)|"
    r"AWS_(PROFILE|CONFIG_FILE|SHARED_CREDENTIALS_FILE|REGION|DEFAULT_REGION)|AZURE_CONFIG_DIR)\Z"
)
# The network, the index or the disk failed: another time it may be otherwise.
_OUTSIDE = re.compile(
    r"connection broken|Max retries exceeded|ConnectionError|timed out|ReadTimeout|"
    r"ConnectTimeout|ProxyError|SSLError|name resolution|not a trusted or secure host|Failed to fetch|"
    r"error sending request|No space left|\b(401|403|407|408|429|5\d\d) (Client |Server )?Error|"
    r"HTTP (error|status).{0,40}\b(401|403|407|408|429|5\d\d)\b"
)
_UNREACHED = re.compile(r"Could not fetch URL (?!.*\b(404|410) Client Error).{1,500}")
# The requirements are such that nothing can be installed for them.
_UNMET = re.compile(
    r"No matching distribution|Could not find a version|ResolutionImpossible|[Cc]onflict|No solution found|"
    r"Requires-Python|unsatisfiable|DO NOT MATCH THE HASHES|[Hh]ash mismatch|require-hashes|inconsistent|"
    r"not a supported wheel|[Ii]nvalid|\b(404|410)\b|Failed to build|Failed building|subprocess-exited|"
    r"Failed to read metadata|BadZipFile|' for wheel|Failed to download and build|"
    r"[Oo]nly wheels are installed|Building source distributions .{1,200} disabled|as a URL dependency"
)
# What the installers begin the lines with that say what is wrong; pip ends in a traceback for some metadata.
_TELLING = re.compile(
    r"(ERROR|WARNING|error|cause|Caused|\u00d7|\u2570|pip\._vendor\.[\w.]+: |AssertionError: )"
)
_LINES = 12


def takes_sources() -> bool:
    """Whether packages may be built from their sources, as GITREG_SDISTS says."""
    return os.environ.get("GITREG_SDISTS", "0") not in ("", "0")


def install(python: str, listed: Path) -> str:
    """Install the requirements of a list into an environment; what did it.

    Args:
        python: the environment's interpreter.
        listed: a requirements.txt that gitreg wrote.

    Raises:
        Refused: they cannot be met, or there is neither pip nor uv.
        Outside: the package index cannot be reached, or the disk is full.
    """
    with folders.temporary() as folder:
        output, log = folder / "printed", folder / "log"
        name, command = _command(python, listed, log)
        code = _run(command, folder, output, _variables())
        if code:
            more = log.read_text("utf-8", "replace") if log.exists() else ""
            raise _why(name, code, output.read_text("utf-8", "replace"), more)
        if name == "uv":
            _run(_compile(python), folder, output, environment.allowed(os.environ))
    return name


def _run(command: list[str], folder: Path, output: Path, variables: dict[str, str]) -> int:
    """Run a command in an empty folder; its exit code.

    Args:
        folder: where that folder is made.
        output: where what the command prints goes.
    """
    (folder / "empty").mkdir(exist_ok=True)
    with open(output, "wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=folder / "empty",
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with isolation.ended(process):
        return process.wait()


def _compile(python: str) -> list[str]:
    """A command that compiles what uv installed: what cannot be compiled stays as it is.

    uv's own `--compile-bytecode` starts the environment's interpreter, which runs the `.pth` files of what
    has just been installed. This starts gitreg's, which is the same Python, without them.
    """
    folder = Path(python).parent.parent / "lib"
    return [sys.executable, "-I", "-S", "-m", "compileall", "-qq", "-j", "0", str(folder)]


def _command(python: str, listed: Path, log: Path) -> tuple[str, list[str]]:
    wheels = [] if takes_sources() else ["--only-binary", ":all:"]
    uv = None if _is_pip_configured() else _uv()
    if uv:
        how = ["--python", python, "--color", "never", "--no-progress", *_uv_settings()]
        return "uv", [uv, "pip", "install", *how, "--no-compile-bytecode", *wheels, "-r", str(listed)]
    pip = next(pips(), None)
    if pip is None:
        raise Refused(
            f"there is neither uv nor pip 22.3 or newer for {sys.executable}, and one of them has to install",
            "python -m ensurepip, or put uv on PATH",
        )
    how = ["--log", str(log), "--no-input", "--no-color", "--progress-bar", "off", "--no-user"]
    how += ["--disable-pip-version-check"]
    kind = "wheels" if wheels else "sources"
    runner = [python, "-I", str(Path(__file__).with_name("piprunner.py")), pip, kind]
    return "pip", [*runner, "install", *how, *wheels, "-r", str(listed)]


def _uv() -> str | None:
    """The uv beside this Python, or on PATH; never one of the current folder."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    found = shutil.which("uv", path=path)
    return found if found and os.path.isabs(found) else None


def _uv_settings() -> list[str]:
    """uv's file of settings that is the user's or the machine's: it would also take one of a folder above."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    for file in (os.environ.get("UV_CONFIG_FILE"), f"{home}/uv/uv.toml", "/etc/uv/uv.toml"):
        if file and os.path.isabs(file) and os.path.isfile(file):
            return ["--config-file", file]
    return ["--no-config"]


def pips() -> Iterator[str]:
    """The folder or wheel that pip is in: of this Python, or the one that Python itself brings."""
    spec = importlib.util.find_spec("pip")
    if spec and spec.origin:
        from importlib.metadata import version

        if tuple(map(int, re.findall(r"\d+", version("pip"))[:2])) >= (22, 3):  # runs by any interpreter
            yield str(Path(spec.origin).parent.parent)
    found = importlib.util.find_spec("ensurepip")
    places = [f"{place}/_bundled" for place in (found.submodule_search_locations or ())] if found else []
    for place in [*places, sysconfig.get_config_var("WHEEL_PKG_DIR") or ""]:
        for wheel in sorted(Path(place).glob("pip-*.whl")) if place else ():
            yield str(wheel)


def _is_pip_configured() -> bool:
    """Whether pip was told what to take from where, which uv would not know of."""
    told = {name for name in os.environ if name.startswith("PIP_") and not _HARMLESS.match(name)}
    if os.environ.get("PIP_CONFIG_FILE") == os.devnull:  # pip reads no file then
        return bool(told - {"PIP_CONFIG_FILE"})
    return bool(told) or any(os.path.isfile(file) for file in _pip_files())


def _pip_files() -> Iterator[str]:
    """Where pip looks for settings: https://pip.pypa.io/en/stable/topics/configuration/"""
    home = os.path.expanduser("~")
    yield "/etc/pip.conf"
    for folder in (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep):
        yield f"{folder}/pip/pip.conf"
    yield f"{home}/.pip/pip.conf"
    yield f"{os.environ.get('XDG_CONFIG_HOME') or f'{home}/.config'}/pip/pip.conf"
    for folder in ("/Library", f"{home}/Library"):
        yield f"{folder}/Application Support/pip/pip.conf"
    yield _site_file()


def _site_file() -> str:
    return os.path.join(sys.prefix, "pip.conf")


def _variables() -> dict[str, str]:
    """What the installer sees of the environment: what a model may see, and what leads to an index."""
    passed = [
        name
        for name in os.environ
        if not _ELSEWHERE.match(name)
        and (_FOR_BUILDS.match(name) if takes_sources() else _FOR_INSTALLERS.match(name.upper()))
    ]
    kept = environment.allowed(os.environ, passed)
    kept["_PIP_RUNNING_IN_SUBPROCESS"] = "1"  # or pip would go on by the interpreter that a setting names
    # A file of settings of gitreg's own environment would not be seen: pip runs by the other's interpreter.
    if "PIP_CONFIG_FILE" not in kept and os.path.isfile(_site_file()):
        kept["PIP_CONFIG_FILE"] = _site_file()
    return kept


def _why(name: str, code: int, text: str, log: str) -> GitregError:
    """Why an installer failed, with its last lines.

    Args:
        text: what it printed.
        log: what pip did in detail: it says there alone that an index could not be reached.
    """
    lines = [re.sub(r"//[^/\s@]*@", "//***@", line).strip()[:400] for line in text.splitlines()]
    told = [line for line in lines if _TELLING.match(line)]
    unreached = [match[0].strip() for match in _UNREACHED.finditer(re.sub(r"//[^/\s@]*@", "//***@", log))]
    outside = [line for line in told if _OUTSIDE.search(line)] + unreached
    first = next((i for i, line in enumerate(lines) if _TELLING.match(line) and _UNMET.search(line)), None)
    if outside or first is None:
        hint = "the same again, later; the settings of pip and uv say which package index is asked"
        return Outside(
            f"{name} failed with exit code {code}:{_tail(name, [*unreached, *told] or lines)}", hint
        )
    reason = re.sub(r"\A(ERROR|error|cause|Caused by)\b:?\s*| \(from versions: .*", "", lines[first])
    return Refused(f"{reason}:{_tail(name, lines[first:])}")


def _tail(name: str, lines: list[str]) -> str:
    return printed.block(f"{name}: {line[:500]}" for line in list(filter(None, lines))[-_LINES:])
