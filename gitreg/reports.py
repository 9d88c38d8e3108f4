"""What the long verbs report: `check` its problems, `build` a line per model, `doctor` its findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitreg.errors import GitregError, Outside, Problem

# Stacked samples must be this much faster before it is worth telling.
_WORTH_TELLING = 1.5


@dataclass
class CheckReport:
    """What `check` found.

    Attributes:
        models: how many manifests were checked.
        problems: all of them, errors first in file order, then warnings and notes.
        outside: those of them that are no fault of the files: a remote or a package index could not be
            reached, a disk is full.
        hints: what helps with those.
    """

    models: int
    problems: list[Problem] = field(default_factory=list)
    outside: set[Problem] = field(default_factory=set)
    hints: list[str] = field(default_factory=list)

    def fails(self, file: str, error: Outside) -> None:
        """Adds what failed outside of gitreg while a model was tried."""
        found = [Problem(file, 0, 0, "", part) for part in error.parts]
        self.problems += found
        self.outside.update(found)
        self.hints += [error.hint] if error.hint else []

    @property
    def ok(self) -> bool:
        """Whether nothing is an error."""
        return not any(p.level == "error" for p in self.problems)

    @property
    def exit_code(self) -> int:
        """What the command line exits with."""
        errors = {p for p in self.problems if p.level == "error"}
        return 0 if not errors else 1 if errors - self.outside else Outside.exit_code


@dataclass
class ModelReport:
    """What `build` did for one model.

    Attributes:
        status: "built", "unchanged" or "failed".
        packages: format -> folder.
        ordinal: the version's, 0 before it is registered.
        digest: the content digest.
        warnings: one line each.
        error: why it failed.
        stacked: seconds per row, single and stacked, when stacked samples got the same answers.
        environment: the digest of the environment that it was tested in; empty for gitreg's own.
        requirements: what the model requires.
    """

    model: str
    version: str
    status: str
    packages: dict[str, Path] = field(default_factory=dict)
    digest: str = ""
    warnings: list[str] = field(default_factory=list)
    error: GitregError | None = None
    stacked: dict[str, float] | None = None
    ordinal: int = 0
    environment: str = ""
    requirements: tuple[str, ...] = ()


def unchanged(outcome: Mapping[str, Any]) -> ModelReport:
    """The report of a model that was built before, by what is remembered of that."""
    return ModelReport(
        outcome["model"],
        outcome["version"],
        "unchanged",
        {kind: Path(folder) for kind, folder in outcome["packages"].items()},
        outcome["digest"],
        list(outcome["warnings"]),
        ordinal=outcome["ordinal"],
        environment=outcome["environment"],
        requirements=tuple(outcome["requirements"]),
    )


def advice(file: str, stacked: dict[str, float] | None) -> list[Problem]:
    """Say that custom batching would serve a model faster, if it was measured to.

    Args:
        stacked: seconds per row, single and stacked, when stacked samples got the same answers.
    """
    if not stacked or stacked["single_s"] < stacked["stacked_s"] * _WORTH_TELLING:
        return []
    rows, single, together = stacked["rows"], stacked["single_s"], stacked["stacked_s"]
    message = (
        f"stacked samples get the same answers, so `custom: true` would serve faster: {rows:.0f} rows took "
        f"{rows * together * 1e6:.0f} microseconds stacked and {rows * single * 1e6:.0f} one by one, "
        f"{single / together:.1f} times as long"
    )
    return [Problem(file, 0, 0, "batching", message, "note")]


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        name: what.
        level: "ok", "note" (good to know), "warning" (something will not work, or may not be right) or
            "error" (nothing will, or what is recorded is not true).
        detail: what was found.
        hint: what to do about it, or None.
    """

    name: str
    level: str
    detail: str
    hint: str | None = None
