"""What a starting Triton writes to its log: which models are loaded, and what it says of others. Pure.

A server that loads its models when it starts answers no request before all are loaded, so its log alone tells
how far it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

# Of many models some are named, and a line of the log is cut.
_NAMED, _LINES, _LONGEST = 5, 12, 400
_LOADED = re.compile(r"successfully loaded '([^']+)'")
_FAILED = re.compile(r"failed to load '([^']+)' version \d+: ")


def loaded(log: str, models: Iterable[str]) -> list[str]:
    """Returns the models that a log calls loaded, in the order of `models`."""
    names = set(_LOADED.findall(log))
    return [model for model in models if model in names]


def progress(log: str, models: Collection[str], seconds: float) -> str:
    """Returns how far a server is, as `12 of 21 models are ready; waiting for a, b, c (95 s)`."""
    waiting = missing(log, models)
    what = f"; waiting for {some(waiting)}" if waiting else "; waiting for Triton"
    return f"{len(models) - len(waiting)} of {counted(len(models))} ready{what} ({seconds:.0f} s)"


def missing(log: str, models: Collection[str]) -> list[str]:
    """Returns the models that a log does not call loaded."""
    there = set(loaded(log, models))
    return [model for model in models if model not in there]


def counted(number: int) -> str:
    """Returns `1 model is` or `21 models are`."""
    return "1 model is" if number == 1 else f"{number} models are"


def some(names: Collection[str]) -> str:
    """Returns names in a row: the first five, and how many more there are."""
    few = ", ".join(list(names)[:_NAMED])
    return few + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def failed(log: str) -> list[str]:
    """Returns the models that a log says could not be loaded."""
    return list(dict.fromkeys(_FAILED.findall(log)))


def telling(log: str) -> list[str]:
    """Returns the lines of a log that say why models were not loaded, or what else went wrong, or its end."""
    lines = log.splitlines()
    if models := [line[:_LONGEST] for line in lines if _FAILED.search(line)]:
        return models[:_LINES]
    wrong = [
        line for line in lines if line[:1] == "E" or "error:" in line.lower() or "failed" in line.lower()
    ]
    return [line[:_LONGEST] for line in (wrong or lines)[-_LINES:]]


def about(log: str, models: Iterable[str]) -> list[str]:
    """Returns the last lines of a log that name models: two of each of the first five."""
    lines = log.splitlines()
    found: list[str] = []
    for model in list(models)[:_NAMED]:
        name = re.compile(rf"(?<![\w-]){re.escape(model)}(_\d+){{0,2}}(?![\w-])")
        found += [line[:_LONGEST] for line in lines if name.search(line)][-2:]
    return list(dict.fromkeys(found))
