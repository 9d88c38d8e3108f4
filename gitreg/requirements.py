"""What models require: the lines of a requirements.txt that a manifest may have, and how they are written.

- A requirement names a project on a package index, by PEP 508, in ASCII. It may name the address of one file.
- Nothing that pip or uv could take for a file of the folder they run in, for an option, or for a variable.
- Never gitreg: the manifest of a model does not choose the version that checks it.

Lines are joined and freed of comments as pip does it, so that what is judged is what pip would read:
https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from gitreg.addresses import redacted
from gitreg.redaction import cleaned, holds_secret

if TYPE_CHECKING:
    from packaging.requirements import Requirement as Parsed

# White space is looked at from its beginning alone: from each of its characters it would take for ever.
_COMMENT = re.compile(r"(^|(?<!\s)\s+)#.*$")
# As PEP 508 has it; `packaging` also takes a name that ends in `_`.
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
_HASH = re.compile(r"--hash[= ]([a-z0-9]+:[0-9a-f]+)\Z")
# Python's way to name the encoding of a file, which pip takes from its first two lines.
_CODING = re.compile(r"coding[:=]\s*(?!(utf-?8|ascii)\b)[-\w.]", re.IGNORECASE)
_EXTRAS = re.compile(r"\s*\[[^\]]+\]\s*\Z")
# Endings that pip or uv take for an archive, or for a list of requirements.
_FILES = re.compile(
    r"\.(zip|whl|egg|txt|tar|tgz|tbz|txz|tlz|tar\.(gz|bz2|xz|lz|lzma|zst|z)|7z|rar)\Z", re.IGNORECASE
)
_ADDRESS = re.compile(r"((git|hg|svn|bzr)\+)?(https?|ssh)\Z")
# A wheel for pip, too: it takes `X.WHL` and `.whl` for sources. `%2B` is the + of a local version.
_WHEEL = re.compile(r"[A-Za-z0-9][\w.]*-([\w.!+]|%2[Bb])+(-\w+)?-[\w.]+-\w+-[\w.]+\.whl\Z", re.ASCII)
_OWN = "gitreg"


@dataclass(frozen=True)
class Requirement:
    """One requirement of a model.

    Attributes:
        name: the project, as package indexes compare names (PEP 503).
        text: the whole requirement in one way of writing; without hashes.
        hashes: of the files that may be installed, as `sha256:<hex>`.
        address: where the file is; None for one of an index.
    """

    name: str
    text: str
    hashes: tuple[str, ...] = ()
    address: str | None = None

    @property
    def line(self) -> str:
        """The line of a requirements.txt."""
        return " ".join([self.text, *(f"--hash={digest}" for digest in self.hashes)])

    @property
    def is_code(self) -> bool:
        """Whether it has to be built: its address names no wheel, so its own code runs to install it."""
        if self.address is None:
            return False
        parts = urlsplit(self.address)
        file = parts.path.rpartition("/")[2]
        return "+" in parts.scheme or not _WHEEL.match(file) or file.endswith(".tar.whl")


def mistakes(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(index of the line, what is wrong) of the lines that no manifest may have."""
    found = [*_of_lines(lines), *((index, _read(text)[1]) for index, text in _joined(lines))]
    yield from ((index, redacted(mistake)) for index, mistake in found if mistake)


def _of_lines(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    for index, line in enumerate(lines):
        if len(line.splitlines()) > 1:
            yield index, f"{line!r}: a requirement is one line"
        elif line.startswith("#") and _CODING.search(line):
            yield index, f"{line!r}: a list of requirements is UTF-8, and pip would obey this line"


def parsed(lines: Iterable[str]) -> list[Requirement]:
    """The requirements of lines without mistakes; lines with one are left out."""
    read = (_read(text)[0] for _, text in _joined(lines))
    return [one for one in read if one]


def _joined(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The lines without comments, one that ends in a backslash with the next; with the index of the first."""
    begun: list[str] = []
    start = 0
    for index, line in enumerate(lines):
        line = "" if len(line.splitlines()) > 1 else line  # it is refused
        start = start if begun else index
        comment = _COMMENT.match(line)
        if line.endswith("\\") and not comment:
            begun.append(line.strip("\\"))
            continue
        text = "".join([*begun, f" {line}" if comment else line])
        begun = []
        yield from _stripped(start, text)
    yield from _stripped(start, "".join(begun))


def _stripped(index: int, text: str) -> Iterator[tuple[int, str]]:
    text = _COMMENT.sub("", text).strip()
    if text:
        yield index, text


def _read(text: str) -> tuple[Requirement | None, str | None]:
    """A requirement, or what is wrong with it."""
    from packaging.requirements import InvalidRequirement
    from packaging.requirements import Requirement as Parsed
    from packaging.utils import canonicalize_name

    bare, *options = re.split(r"(?<!\s)\s+(?=--hash\b)", text)
    hashes = [match[1] for one in options if (match := _HASH.match(one.strip()))]
    if len(hashes) < len(options):
        return None, f"{text!r}: only --hash=ALGORITHM:DIGEST may follow a requirement"
    if mistake := _unlike(bare):
        return None, mistake
    try:
        one = Parsed(bare)
    except InvalidRequirement as error:
        return None, f"{bare!r} is not a requirement: {str(error).splitlines()[0]}"
    for word in (one.name, *one.extras):
        if not _NAME.match(word):
            return None, f"{bare!r}: {word!r} is no name: a letter or digit is at its end"
    name = canonicalize_name(one.name)
    if one.url is not None and (clean := _without_secret(one.url)):
        return None, (
            f"the address of {name} holds a password, a token or a signature, which would be in Git for "
            f"good; write {clean} and name the account in ~/.netrc"
        )
    if mistake := _refused(one, name):
        return None, f"{bare!r}: {mistake}"
    return Requirement(name, _written(one, name), tuple(sorted(hashes)), one.url), None


def _unlike(text: str) -> str | None:
    """Why a text cannot be a requirement, whatever it means as one."""
    if text.startswith("-") or re.search(r"\s-", text):
        return f"{text!r}: options are not carried into packages; list the requirements themselves"
    odd = next((sign for sign in text if not " " <= sign <= "~" and sign != "\t"), None)
    if odd:
        return f"{text!r} is not a requirement: it has the character U+{ord(odd):04X}, and is to be ASCII"
    if "${" in text:
        return f"{text!r}: variables are not filled in; write what is meant"
    first = re.split(r"[\s;@\[<>=!~(]", text)[0]
    if "/" in first or "\\" in first or first.startswith((".", "~")) or re.match(r"[\w+-]+:", first):
        return f"{text!r} is a path or an address; the name of a project on a package index is expected"
    return None


def _refused(one: Parsed, name: str) -> str | None:
    """Why a model may not have this requirement."""
    from packaging.version import InvalidVersion, Version

    if name == _OWN:
        return "gitreg is no requirement of a model: packages carry what they need of it"
    pinned = _EXTRAS.sub("", str(one.specifier))
    if _FILES.search(one.name) or _FILES.search(pinned) or any(map(_FILES.search, _versions(pinned))):
        return "the name of a file, which pip would look for; a project on a package index is expected"
    for specifier in one.specifier:
        try:
            Version(specifier.version if specifier.operator == "===" else "0")
        except InvalidVersion:
            return f"{specifier.version!r} is no version"
    if one.url is not None:
        return _bad_address(one.url)
    return None


def _versions(pinned: str) -> list[str]:
    return [version.strip() for version in pinned.split(",")]


def _without_secret(url: str) -> str | None:
    """An address without the secret that it holds; None where it holds none."""
    try:
        same = urlunsplit(urlsplit(url))  # which may leave out an empty query
    except ValueError:
        return None
    return cleaned(same) if holds_secret(same) else None


def _bad_address(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "its address cannot be read"
    if not _ADDRESS.match(parts.scheme) or not host:
        return "an address is https://..., http://... or git+https://..., with a host"
    # pip first looks for a file of that name, and `x @ https://host/../../evil.zip` is one of its folder.
    if "\\" in url or ";" in url or ".." in re.split("[/&#?=]", url):
        return "an address has no '..', no backslash and no semicolon"
    return None


def _written(one: Parsed, name: str) -> str:
    """A requirement in the one way that all its spellings share."""
    from packaging.utils import canonicalize_name

    extras = ",".join(sorted({canonicalize_name(extra) for extra in one.extras}))
    text = f"{name}[{extras}]" if extras else name
    text += f" @ {one.url}" if one.url is not None else str(one.specifier)
    return f"{text} ; {one.marker}" if one.marker else text
