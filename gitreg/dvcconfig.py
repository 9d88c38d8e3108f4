"""Reads DVC's configuration files within bounds: the reader that DVC uses is never done with some."""

from __future__ import annotations

import re
from typing import Any

MOST = 1 << 20
_MOST_LINE = 8192
# Sections are two deep at most; the reader tries every way to take more brackets than that.
_BRACKETS = re.compile(r"[\[\]](\s*[\[\]]){3}")


def parsed(raw: bytes, interpolation: bool = True) -> dict[str, Any]:
    """The sections of a configuration.

    Args:
        interpolation: whether `%(name)s` stands for what has that name.

    Raises:
        ValueError: it is none, or is longer than any is. Nothing of what stands in it is told: it may be
            secret.
    """
    from configobj import ConfigObj, ConfigObjError

    if len(raw) > MOST:
        raise ValueError(f"{len(raw):,} bytes; at most {MOST:,} are read")
    try:
        lines = raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    for number, line in enumerate(lines, 1):
        if len(line) > _MOST_LINE:
            raise ValueError(f"line {number} has {len(line):,} characters; at most {_MOST_LINE:,} are read")
        if _BRACKETS.search(line):
            raise ValueError(f"line {number}: a section has at most two brackets on either side")
    try:
        found: dict[str, Any] = ConfigObj(lines, interpolation=interpolation).dict()
    except ConfigObjError as error:
        number = next(iter(getattr(error, "errors", ())), error).line_number
        why = f"line {number} is neither a [section] nor `key = value`, or stands there twice"
        raise ValueError(why if number else "it refers to a key that is not there") from None
    return found
