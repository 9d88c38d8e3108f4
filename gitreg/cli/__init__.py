"""The `gitreg` command: a thin door over the Python API.

Only click is imported here and in the files beside it; what a command needs is imported in its body, so
that `gitreg --help` and completion are as fast as click.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
from types import FrameType

import click

from gitreg import __version__, printed
from gitreg.cli import (
    authoring,
    caching,
    checking,
    comparing,
    completing,
    converting,
    evaluating,
    fetching,
    hooks,
    inspecting,
    output,
    packaging,
    reading,
    recording,
    serving,
    site,
    staging,
    tracing,
)


class _Sections(click.Group):
    """A group whose help lists the commands by what they are for, each with its whole sentence."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(c.name or "", c.get_short_help_str(200)) for c in commands])


@click.group(cls=_Sections, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="gitreg")
@output.in_folder
def gitreg() -> None:
    """A model registry with no server: the Git repository is the registry.

    \b
    gitreg init                    make a registry
    gitreg new churn --from out/   add a model to it
    gitreg check                   everything that can be wrong
    gitreg build                   a Triton package and a raw package per model
    gitreg serve churn             ask it over HTTP, on a real Triton server
    """


SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Models": (
        authoring.init,
        authoring.new,
        authoring.update,
        checking.check,
        recording.bump,
        tracing.trace,
        evaluating.evaluate,
        converting.convert,
    ),
    "Versions and stages": (
        recording.plan,
        recording.apply,
        recording.register,
        staging.promote,
        staging.demote,
        staging.rollback,
    ),
    "Finding and comparing": (
        reading.list_,
        reading.show,
        reading.history,
        reading.search,
        comparing.compare,
        comparing.diff,
        comparing.lineage,
        tracing.reproduce,
        site.site,
        site.open_,
    ),
    "Packages": (
        packaging.build,
        packaging.verify,
        packaging.predict,
        serving.serve,
        fetching.pull,
        inspecting.inspect,
    ),
    "Operating": (
        serving.doctor,
        hooks.hook,
        checking.requirements,
        caching.cache,
        completing.completion,
    ),
}
for command in (one for commands in SECTIONS.values() for one in commands):
    gitreg.add_command(command)


def main(arguments: list[str] | None = None) -> int:
    """Run a command and turn whatever comes of it into text and an exit code.

    Returns:
        0 done; 1 refused; 2 usage; 3 a defect in gitreg; 4 the outside failed; 130 interrupted.
    """
    if completing.asked():
        completing.prepare(gitreg)
    signal.signal(signal.SIGTERM, _terminated)
    _spare_this_machine()
    interrupts: list[int] = []
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:

        def interrupted(signum: int, frame: FrameType | None) -> None:
            if not _put_off(signum):
                interrupts.append(signum)
                raise KeyboardInterrupt

        signal.signal(signal.SIGINT, interrupted)
    with output.careful():
        return _run(arguments, interrupts)


def _spare_this_machine() -> None:
    """Has no library or program ask a proxy for an address of this machine, which no proxy reaches."""
    if not any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in os.environ):
        return
    told = {name: os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY")}
    for name in told:
        value = told[name] or told["no_proxy"] or told["NO_PROXY"]
        hosts = [host.strip() for host in value.split(",")]
        own = [host for host in ("localhost", "127.0.0.1", "::1") if not {host, "*"} & set(hosts)]
        os.environ[name] = ",".join(filter(None, [value, *own]))


def _run(arguments: list[str] | None, interrupts: list[int]) -> int:
    try:
        code = gitreg.main(arguments, prog_name="gitreg", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        output.lines((error.ctx.get_help() if error.ctx else error.format_message()).split("\n"), err=True)
        return 2
    except click.ClickException as error:
        message = error.format_message().replace("\n\t", " ")  # so click lists what may be said
        output.say(f"error: {message}", err=True)
        context = getattr(error, "ctx", None)
        output.say(f"hint: {context.command_path if context else 'gitreg'} --help", err=True)
        return 2
    except (KeyboardInterrupt, click.Abort):
        output.say("interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader went away (`gitreg check | head`); what is left to flush must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if interrupts:  # C extensions turn ^C during their import into an ImportError
            output.say("interrupted", err=True)
            return 130
        return _failed(error)


def _failed(error: Exception) -> int:
    from gitreg.errors import GitregError

    if isinstance(error, GitregError):
        output.say_error(error)
        return error.exit_code
    if isinstance(error, OSError) and error.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
        errno.EIO,
    ):
        place = error.filename or _full() or os.getcwd()
        output.say(f"error: {place}: {error.strerror}", err=True)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        helps = (
            "free some space there, and run this again"
            if full
            else f"look who may write there: ls -ld {place}"
        )
        output.say(f"hint: {helps}", err=True)
        return 4
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # wherever it came from: no defect
        output.say(f"error: {str(error.filename)[:200]}...: {error.strerror}", err=True)
        return 1
    _report_defect()
    return 3


def _full() -> str:
    """A place that has no room, of those that are written to; empty where all have."""
    import tempfile

    from gitreg import caches

    for place in (os.getcwd(), tempfile.gettempdir(), str(caches.top())):
        with contextlib.suppress(OSError):
            if os.statvfs(place).f_bavail == 0:
                return place
    return ""


def _report_defect() -> None:
    """Everything somebody who mends gitreg wants to know, ready to paste."""
    import platform
    import traceback

    output.say(
        "error: this is a defect in gitreg, not in what you did. Please report it with this text:", err=True
    )
    output.say("", err=True)
    output.say(f"gitreg {__version__}, Python {platform.python_version()}, {platform.platform()}", err=True)
    output.say(f"command: {' '.join(['gitreg', *sys.argv[1:]])}", err=True)
    output.say(printed.said(traceback.format_exc()), err=True)


def _terminated(signum: int, frame: FrameType | None) -> None:
    """End like ^C does, so that children and half-made folders go too; the exit code says which."""
    if not _put_off(signum):
        raise SystemExit(128 + signum)


def _put_off(signum: int) -> bool:
    """Whether a signal comes while NumPy is imported, and will come again in a moment.

    NumPy's import loses an exception that is raised within it, or crashes.
    """
    spec = getattr(sys.modules.get("numpy"), "__spec__", None)
    if not getattr(spec, "_initializing", False):
        return False
    threading.Timer(0.02, os.kill, (os.getpid(), signum)).start()
    return True
