"""Manifests of many versions of a model, read quickly: what stands below each top-level key is read once.

Two versions of a manifest differ in a few lines. A manifest is cut at its top-level keys, and a part that was
read before is not read again. What cannot be cut safely is read whole: text before the first key that is no
comment, a first line of JSON, a document marker, anything at the margin that is neither a key nor part of the
list above it. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

# Where a part begins: a line whose first character is no blank, no comment's and no list item's.
_CUT = re.compile(rb"^(?=[^ \t\r\n#-])", re.MULTILINE)
_KEY = re.compile(rb"[A-Za-z_][A-Za-z0-9_-]*:(?=[ \r\n]|\Z)")
# What stands before the first part and need not be parsed: comments, of characters that end no line.
_HEAD = re.compile(rb"(?:#[\t\x20-\x7e]*\r?\n|\r?\n)*\Z")
_MOST = 50_000

Parse = Callable[[bytes], "tuple[Any, bool]"]
# (key, its value, whether it is valid); None where what stands there can only be read with the rest.
Part = tuple[str, Any, bool]


class Sections:
    """Remembers what parts say.

    Args:
        parse: (data, whether it could be read and is valid) of one part.
    """

    def __init__(self, parse: Parse) -> None:
        self._parse = parse
        self._known: dict[bytes, Part | None] = {}

    def read(self, raw: bytes) -> tuple[dict[str, Any], bool] | None:
        """(data, whether every part is valid) of a manifest; None where it has to be read whole.

        Values are shared between manifests, and are not to be changed.
        """
        head, *parts = _CUT.split(raw)
        if not parts or not (_HEAD.match(head) or self._parse(head + b"a: 1\n")[0] == {"a": 1}):
            return None
        whole: dict[str, Any] = {}
        valid = True
        for text in parts:
            part = self._known[text] if text in self._known else self._new(text)
            if part is None:
                return None
            key, value, fine = part
            whole[key] = value
            valid = valid and fine
        return (whole, valid) if len(whole) == len(parts) else None

    def _new(self, text: bytes) -> Part | None:
        if len(self._known) > _MOST:
            self._known.clear()
        part: Part | None = None
        if _KEY.match(text):
            data, fine = self._parse(text)
            if isinstance(data, dict) and len(data) == 1:
                ((key, value),) = data.items()
                part = key, value, fine
        self._known[text] = part
        return part
