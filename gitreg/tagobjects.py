"""What a tag object says, read from its bytes as far as they go; and what is odd about it. Pure.

Anybody can write anything into a tag object (`git hash-object --literally`). It is read by one rule wherever
it is read from, and what is odd is a sentence that readers show.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_HEAD = re.compile(
    r"object ([0-9a-f]+)\ntype ([a-z]+)\ntag ([^\n]*)"
    r"(?:\ntagger ([^\n\0]*?>)(?: ([0-9]{1,18})(?![0-9])[^\n]*)?)?(?:\n|\Z)"
)
_SANE = re.compile(
    r"object [0-9a-f]+\ntype [a-z]+\ntag [^\n\0]+\n"
    r"tagger [^<>\n\0]*<[^<>\n\0]*> ([0-9]{1,12}) [+-](?:[01][0-9]|2[0-3])[0-9]{2}(?:\n|\Z)"
)
_TAGGER = re.compile(r"\ntagger(?: ([^\n]*))?(?:\n|\Z)")
_TIMED = re.compile(r"[^<>\n]*<[^<>\n]*> ([0-9]+) [+-]([0-9]{2})[0-9]{2}\Z")
# Python's dates, and so GTO's, end with the year 9999; a day less for time zones.
END = 253_402_214_400


class TagObject(NamedTuple):
    """What a tag's object says.

    Attributes:
        kind: of the object: "tag", or another for a tag that is lightweight; empty where it cannot be read.
        target: the kind of what it names; empty where it does not say.
        commit: the id of what it names.
        time: its tagger time, seconds since 1970; 0 where there is none that can be read.
        tagger: `Name <mail>`.
        message: all that follows the first empty line.
        name: its own name.
        odd: what is odd about it, as "it has no tagger"; empty for most.
    """

    kind: str
    target: str = ""
    commit: str = ""
    time: int = 0
    tagger: str = ""
    message: str = ""
    name: str = ""
    odd: str = ""


def read(kind: str | None, data: bytes) -> TagObject:
    """Reads an object that a tag's reference names.

    Args:
        kind: of the object; None where it cannot be read.
    """
    if kind != "tag":
        return TagObject(kind or "", odd="" if kind else "its object is missing or damaged")
    text = data.decode("utf-8", "replace")
    head, _, message = text.partition("\n\n")
    found = _HEAD.match(head)
    if found is None:
        return TagObject("tag", message=message, odd="its object does not say what it names")
    commit, target, name, who, moment = found.groups()
    return TagObject("tag", target, commit, int(moment or 0), who or "", message, name, _odd(text, data))


def nothing(kind: str, target: str) -> str:
    """Returns the kind of a tag that records nothing, by those of its object and of what that names."""
    if kind == "tag":
        return f"of a {target}" if target else "broken"
    return "missing" if not kind else "lightweight" if kind == "commit" else f"of a {kind}"


def why_nothing(kind: str) -> str:
    """Returns why a tag of such a kind records nothing."""
    known = {
        "lightweight": "it is lightweight, and GTO and gitreg read annotated tags only",
        "renamed": "its object has another name",
        "missing": "its object is missing or damaged",
        "broken": "its object does not say what it names",
    }
    return known.get(kind, f"it is a tag {kind}, not of a commit")


def _odd(text: str, data: bytes) -> str:
    found = _SANE.match(text)
    if found and 0 < int(found[1]) <= END and "\ufffd" not in text:
        return "" if "\n\n" in text else "it has no empty line before its message"
    said = _TAGGER.search(text.partition("\n\n")[0])
    if said is None:
        return "it has no tagger"
    timed = _TIMED.match(said[1] or "")
    if "\0" in text.partition("\n\n")[0]:
        return f"its tagger is {said[1]!r:.200}"
    if timed is None or int(timed[2]) > 23 or len(timed[1]) > 18:
        return f"its tagger is {said[1] or ''!r:.200}"
    if int(timed[1]) > END:
        return f"its time is {timed[1]}, after the year 9999"
    if int(timed[1]) == 0:
        return "its time is 0, the beginning of 1970"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "it is not UTF-8"
    return "" if "\n\n" in text else "it has no empty line before its message"
