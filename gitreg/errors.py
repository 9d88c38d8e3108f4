"""Every error gitreg raises on purpose, and the problems it reports.

    GitregError              message, hint, exit code; the root of all of them
    ├── Refused (1)          invalid, a gate failed, verification failed; also a ValueError
    │   ├── InvalidFiles     carries every problem that was found, each with its place
    │   └── ModelFailed      the user's code did not do what the manifest promised
    ├── NotSupported (1)     there is no loader or package for this type; also a NotImplementedError
    ├── Usage (2)            the command was called the wrong way
    └── Outside (4)          a remote, a disk or another program failed; trying again may help
        └── NoSandbox        registry.yaml wants models to run in a sandbox, and this machine has none

Anything else that escapes is a defect in gitreg (3); an interrupt is 130.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class GitregError(Exception):
    """What went wrong, and the command that helps.

    Attributes:
        message: for a person; names the file, what came and what was expected. What else is told in lines,
            as a traceback, is a block of `printed`.
        parts: the messages, where there are several, of which each is a line of `message`.
        hint: what to do next, or None.
        exit_code: what the command line exits with.
    """

    exit_code = 1

    def __init__(self, message: str | Iterable[str], hint: str | None = None) -> None:
        self.parts = (message,) if isinstance(message, str) else tuple(message)
        self.message = "\n".join(self.parts)
        super().__init__(self.message)
        self.hint = hint


class Refused(GitregError, ValueError):
    """The input is understood, and not accepted."""


class InvalidFiles(Refused):
    """Files of the registry have problems; `problems` holds all of them, in file order."""

    def __init__(self, problems: Iterable[Problem], hint: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__((str(p) for p in self.problems), hint)


class ModelFailed(Refused):
    """The user's model did not import, load, predict or answer as declared."""


class NotSupported(GitregError, NotImplementedError):
    """gitreg knows this type of model and cannot do this with it."""


class Usage(GitregError):
    """The call itself is wrong."""

    exit_code = 2


class Outside(GitregError):
    """Something that is not gitreg's failed: a remote, the disk, another program."""

    exit_code = 4


class NoSandbox(Outside):
    """Models are to run in a sandbox, and this machine cannot make one.

    Attributes:
        why: what is missing.
    """

    def __init__(self, why: str, hint: str | None = None) -> None:
        super().__init__(f"registry.yaml: build.sandbox: models cannot run in a sandbox here: {why}", hint)
        self.why = why


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong in one place.

    Attributes:
        file: relative to the registry's root, with forward slashes.
        line, column: where, counted from 1; 0 when the whole file is meant.
        path: the place inside the document, as `schema.inputs[0].data_type`; may be empty.
        message: what came and what was expected.
        level: "error" (exit 1), "warning" or "note" (exit 0).
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    level: str = "error"

    def __str__(self) -> str:
        place = self.file
        if self.line:
            place += f":{self.line}:{self.column}"
        what = f"{self.path}: {self.message}" if self.path else self.message
        return f"{place}: {what}" if self.level == "error" else f"{place}: {self.level}: {what}"
