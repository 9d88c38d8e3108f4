"""What stands beside models and is no code: texts, pictures, nothing at all. By content, and no I/O.

A file that nothing recognises may be code, whatever it is called. A text is none, unless its name or its
first line says that something runs it.
"""

from __future__ import annotations

import codecs
import re

from gitreg.protobufs import At

_MOST_TEXT = 1 << 20
_CODE = re.compile(
    r"\.(py[a-z]?|pth|sh|bash|zsh|ksh|fish|bat|cmd|ps1|psm1|vbs|js|mjs|cjs|jsx?|tsx?|rb|pl|pm|lua|r|jl|php|"
    r"java|scala|kts?|groovy|clj|cs|fs|c|cc|cpp|cxx|cu|cuh|h|hh|hpp|rs|go|swift|m|mm|tcl|awk|el|lisp|nim|"
    r"desktop|service|command|mk|cmake|gradle|ninja|wat|ll|s|asm)$|(^|/)(makefile|dockerfile|justfile)$"
)
_CONTROLS = bytes({*range(9), 11, *range(14, 27), *range(28, 32), 127})
_PICTURES = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP", re.DOTALL)
# Core ML keeps its weights so: a count, the version 2, and a mark where the first of them is described.
_COREML_WEIGHTS = re.compile(rb".{4}\x02\x00\x00\x00.{56}\xef\xbe\xad\xde", re.DOTALL)
# A reader of YAML that is not a safe one makes objects of these.
_MAKES_OBJECTS = re.compile(rb"!!python/|tag:yaml\.org,2002:python/|!<tag:")


# Linux, Windows, macOS (in both orders of bytes, and of several processors or Java), scripts, archives.
_PROGRAMS = (
    b"\x7fELF",
    b"MZ",
    b"\xfe\xed\xfa",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
    b"#!",
    b"PK",
)
_LIBRARY = re.compile(r"\.(so(\.\d+)*|dll|dylib|pyd|exe|jar|class|wasm|egg|whl)$")


def runs(name: str, first: bytes) -> bool:
    """Whether a file that is said to hold numbers looks like a program, by its name or its first bytes."""
    lower = name.lower()
    return first.startswith(_PROGRAMS) or bool(_CODE.search(lower) or _LIBRARY.search(lower))


def is_no_code(name: str, at: At, size: int) -> bool:
    """Whether a file of no known format is a text, a picture, or empty, and nothing that something runs.

    Args:
        name: with the folders and archives that it is in.
    """
    if not size:
        return True
    if _CODE.search(name.replace("!", "/").lower()):
        return False
    data = at(0, _MOST_TEXT)
    if _PICTURES.match(data) or _COREML_WEIGHTS.match(data):
        return True
    if not data or data.startswith((b"#!", b"\xef\xbb\xbf#!")) or _MAKES_OBJECTS.search(data):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, len(data) == size)
    except UnicodeDecodeError:
        return False
    return len(data.translate(None, _CONTROLS)) == len(data)
