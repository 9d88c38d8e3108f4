"""What people and programs see: tables, JSON, progress. Only this package prints."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gitreg import printed

if TYPE_CHECKING:
    from gitreg.catalog import Catalog
    from gitreg.errors import GitregError
    from gitreg.registry import Registry
    from gitreg.virtualenvs import Environments

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

# Where a command's context keeps what `--pass-env` says.
_PASSED = "gitreg.pass_env"


class Finite(click.FloatRange):
    """A number in a range that is finite; click lets NaN and infinity pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the number; see `click.ParamType.convert`."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class Seconds(Finite):
    """A number of seconds, for which a system can wait."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True, max=2_000_000)  # declared.MOST_SECONDS, without its import


def in_folder(function: F) -> F:
    """Add `-C DIR`, which every command takes. It acts before any other path is looked at."""
    return click.option(
        "-C",
        "_folder",
        metavar="DIR",
        help="Run as if started in DIR.",
        type=click.Path(exists=True, file_okay=False),
        callback=_enter,
        is_eager=True,
        expose_value=False,
    )(function)


def _enter(ctx: click.Context, parameter: click.Parameter, folder: str | None) -> None:
    if folder:
        os.chdir(folder)


def as_json(function: F) -> F:
    """Add `--json`."""
    return click.option(
        "--json", "json_", is_flag=True, help="Print JSON with stable keys, and nothing else."
    )(function)


def of_registry(function: F) -> F:
    """Add `--registry`, for commands that only read; `registry` takes what it says."""
    return click.option(
        "--registry",
        "where",
        metavar="PATH|URL",
        envvar="GITREG_REGISTRY",
        help="The registry to read: a folder, or the address of a Git repository. This one by default.",
    )(function)


def in_environment(function: F) -> F:
    """Add `--env`, for commands that may run models; it counts as if GITREG_ENV said it."""
    return click.option(
        "--env",
        "_env",
        type=click.Choice(["current", "own"]),
        envvar="GITREG_ENV",
        help="What models run in: this Python, or an environment made of what each requires.",
        callback=_choose,
        expose_value=False,
    )(function)


def _choose(ctx: click.Context, parameter: click.Parameter, env: str | None) -> None:
    if env:
        os.environ["GITREG_ENV"] = env


def environments(offline: bool | None = None) -> Environments:
    """What models run in, as `--env` says; what takes long is told."""
    from gitreg.virtualenvs import Environments

    return Environments(None, lambda line: say(line, err=True), offline)


def passes_variables(function: F) -> F:
    """Add `--pass-env`, for commands that may run models; `registry` and `passed` know what it says."""
    return click.option(
        "--pass-env",
        "_passed",
        metavar="NAME",
        multiple=True,
        help="An environment variable that models may see; repeatable. Most are hidden from them.",
        callback=_pass,
        expose_value=False,
    )(function)


def pins(function: F) -> F:
    """Add `--digest` and `--allow-format`, for commands with which a consumer loads one version."""
    return click.option(
        "--digest",
        metavar="SHA256",
        help="The content digest that the version has to have, as `gitreg show` prints it.",
    )(allows_formats(function))


def allows_formats(function: F) -> F:
    """Add `--allow-format`: `allow_format` is a tuple."""
    return click.option(
        "--allow-format",
        metavar="FORMAT",
        multiple=True,
        help="A format that files of the artifact may have, by content, as onnx; repeatable. Default: all.",
    )(function)


def _pass(ctx: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> None:
    if not names:
        return
    from gitreg import environment

    ctx.meta[_PASSED] = environment.checked(names)
    for name in ctx.meta[_PASSED]:
        if name not in os.environ:
            say(f"warning: --pass-env {name}: it is not set here, so models do not see it", err=True)


def passed() -> tuple[str, ...]:
    """The names that `--pass-env` has."""
    context = click.get_current_context(silent=True)
    names: tuple[str, ...] = context.meta.get(_PASSED, ()) if context else ()
    return names


def registry(where: str | None = None) -> Registry:
    """The registry that a command works in.

    Args:
        where: a path or an address; by default here.
    """
    from gitreg.registry import Registry

    found = _telling(lambda: Registry(where or ".", pass_env=passed()))
    found.environments = environments(found.place.offline)
    found.sweep()  # what a killed command left takes no room for longer than until the next one
    return found


def catalog(where: str | None = None) -> Catalog:
    """What can be read of a registry; without all that the other commands need."""
    from gitreg import places
    from gitreg.catalog import Catalog

    place = _telling(lambda: places.find(where or "."))
    return Catalog(place.root, reading_progress(), place.bare, place.prefix)


def _telling(find: Callable[[], T]) -> T:
    """Find a registry, and say what there is to say of its clone."""
    import warnings

    from gitreg.clones import Stale

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        one = find()
    for warning in caught:
        level = "note" if issubclass(warning.category, Stale) else "warning"
        say(f"{level}: {warning.message}", err=True)
    return one


safe = printed.line


def say(text: str = "", err: bool = False) -> None:
    """Print a line, and the block that it may have; see `printed`."""
    _echo(printed.shown(text), err)


def lines(texts: Iterable[str], err: bool = False) -> None:
    """Print lines, each of which stays one."""
    _echo("\n".join(map(printed.whole_line, texts)), err)


def say_error(error: GitregError) -> None:
    """Print what went wrong, and what helps."""
    say(f"error: {error.parts[0] if error.parts else ''}", err=True)
    for part in error.parts[1:]:
        say(part, err=True)
    if error.hint:
        say(f"hint: {error.hint}", err=True)


def command(text: str) -> None:
    """Print a workflow command of ours, for GitHub's runner to obey; nothing else is printed as it is."""
    click.echo(text)


def _echo(text: str, err: bool = False) -> None:
    click.echo(text, file=_stderr() if err else None, err=err)


def _stderr() -> Any:
    """Where gitreg itself writes; see `careful`."""
    # Libraries put their own in its place, around ours: DVC brings colorama, which does.
    return _OTHERS[-1].beneath if _OTHERS else sys.stderr


@contextlib.contextmanager
def careful() -> Iterator[None]:
    """Show what libraries write to stderr (warnings, logs, tracebacks of threads) behind bars."""
    import warnings

    before, formatted = sys.stderr, warnings.formatwarning
    if before is None or isinstance(before, _Others):
        yield
        return
    sys.stderr = others = _Others(before)
    _OTHERS.append(others)
    warnings.formatwarning = _warning
    try:
        yield
    finally:
        others.end()
        if before is not sys.__stderr__:  # a program's own stays so to its end, for what is said then
            _OTHERS.remove(others)
            sys.stderr, warnings.formatwarning = before, formatted


def _warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"{filename}:{lineno}: {category.__name__}: {printed.line(message)}\n"


class _Others:
    """What is not gitreg's own on stderr: each line behind a bar, and harmless."""

    def __init__(self, beneath: Any) -> None:
        self.beneath = beneath
        self._begun = ""

    def write(self, text: str) -> int:
        *whole, self._begun = (self._begun + text).split("\n")
        for line in whole:
            # An empty line says nothing; Click writes one when it is interrupted.
            self.beneath.write(f"{printed.BAR}{printed.line(line)}\n" if line else "\n")
        return len(text)

    def writelines(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.write(text)

    def end(self) -> None:
        """Write the line that was begun."""
        if self._begun:
            self.write("\n")
        self.flush()

    def flush(self) -> None:
        self.beneath.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.beneath, name)


# What `careful` has put in the place of stderr; the last one counts.
_OTHERS: list[_Others] = []


def print_json(data: Any) -> None:
    """Print data as JSON; NaN and infinity, which JSON lacks, become strings."""
    _echo(printed.in_json(json.dumps(_jsonable(data), indent=2, ensure_ascii=False)))


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, Path):
        return str(value)
    return value


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table that fits the terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(soft_wrap=False) if sys.stdout.isatty() else Console(width=200, color_system=None)
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for header in headers:
        drawn.add_column(header, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(safe(cell), style=_STYLES.get(str(cell), "")) for cell in row))
    # Lines end where their text ends: padded output is hard to grep and to paste.
    with console.capture() as capture:
        console.print(drawn)
    if sys.stdout.isatty():  # with colours
        click.echo("\n".join(line.rstrip() for line in capture.get().split("\n")).rstrip("\n"))
    else:
        lines(line.rstrip() for line in capture.get().removesuffix("\n").split("\n"))


# Fewer are read in no time.
_WORTH_TELLING = 2000


def reading_progress() -> Callable[[str, int, int], None]:
    """Tells what is read for the index, when it is much: one line on a terminal, a few elsewhere."""
    told: dict[str, int] = {}

    def tell(what: str, done: int, total: int) -> None:
        if total < _WORTH_TELLING:
            return
        if sys.stderr.isatty():
            click.echo(f"\r{what}: {done:,} of {total:,}" + "\n" * (done == total), nl=False, file=_stderr())
        elif done * 4 // total > told.get(what, 0):
            told[what] = done * 4 // total
            say(f"{what}: {done:,} of {total:,}", err=True)

    return tell


_STYLES = {
    **dict.fromkeys(["ok", "built", "same", "verified"], "green"),
    **dict.fromkeys(["failed", "error", "differs", "refused"], "bold red"),
    **dict.fromkeys(["warning", "note"], "yellow"),
    "unchanged": "dim",
}


@contextlib.contextmanager
def progress(what: str, total: int, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal, a plain line per step elsewhere; on stderr either way.

    Yields:
        A function that is told each step as it is done.
    """
    if quiet or total == 0:
        yield lambda step: None
        return
    if not sys.stderr.isatty():
        done = 0

        def line(step: str) -> None:
            nonlocal done
            done += 1
            say(f"[{done}/{total}] {what} {step}", err=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    told = TextColumn("{task.description}", markup=False)
    columns = (told, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=_stderr()), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda step: bar.update(task, advance=1, description=f"{what} {safe(step)}")


@contextlib.contextmanager
def transfer(what: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """How much of something has come: a bar on a terminal, a line for each tenth elsewhere; on stderr.

    Yields:
        A function that is told the bytes that are done, and all.
    """
    if quiet:
        yield lambda done, total: None
        return
    if not sys.stderr.isatty():
        told = 0

        def line(done: int, total: int) -> None:
            nonlocal told
            tenths = done * 10 // max(total, 1)
            if tenths > told and total > 32 << 20:
                told = tenths
                say(f"[{tenths * 10}%] {what}: {done:,} of {total:,} bytes", err=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(file=_stderr()), transient=True) as bar:
        task = bar.add_task(safe(what), total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
