"""Where a registry is: a folder, or the address of a Git repository. Hostile addresses are refused.

An address may come from a configuration file or a pull request. Git hands parts of it to other programs:
https://nvd.nist.gov/vuln/detail/CVE-2017-1000117 (options in the place of hosts), and `ext::` runs a command.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from gitreg.errors import Refused

SCHEMES = ("https", "http", "ssh", "git", "file")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# Git's own rule: a colon before the first slash, as git@host:path; and `<helper>::<address>`.
_SHORT = re.compile(r"(?:[^/:]+@)?(?:[^/:@\[]+|\[[^]/]+\]):(?!//)")
_WITHIN = "subdirectory="


@dataclass(frozen=True)
class Address:
    """A Git repository elsewhere, and where the registry lies in it.

    Attributes:
        url: as Git takes it.
        prefix: empty, or a path with a slash at its end.
    """

    url: str
    prefix: str = ""

    @property
    def shown(self) -> str:
        """The address without a password or token."""
        return redacted(self.url)

    @property
    def key(self) -> str:
        """A name for a folder: the repository's, and a digest of the address."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", self.url.rstrip("/").removesuffix(".git").rpartition("/")[2])
        return f"{name.strip('.-')[-40:] or 'registry'}-{hashlib.sha256(self.url.encode()).hexdigest()[:16]}"

    @property
    def folder(self) -> str | None:
        """The folder of this machine that it names, or None."""
        from urllib.parse import unquote, urlsplit

        return unquote(urlsplit(self.url).path) if self.url.startswith("file://") else None


def address_of(text: str) -> Address | None:
    """The address that a text is; None for a path.

    A registry that is not at the top of its repository is named as pip does: `URL#subdirectory=FOLDER`.

    Raises:
        Refused: it is an address that Git should not be given.
    """
    if not _SCHEME.match(text) and not _SHORT.match(text):
        return None
    url, _, within = text.partition("#")
    if "::" in re.split("[/@ ]", url)[0]:
        raise Refused(f"{text!r}: Git is not to run a helper for this", "https://, ssh:// or git@host:path")
    if re.search(r"[\x00-\x20\x7f\ud800-\udfff]", url):
        odd = "a blank, a control character or a byte that is no UTF-8 in it"
        raise Refused(f"{text!r} is not the address of a Git repository: {odd}")
    if _SCHEME.match(url):
        _check(text, url)
    elif any(part.startswith("-") for part in re.split("[@:]", url, maxsplit=2)):
        raise Refused(f"{text!r}: an option is no host, user or path")
    return Address(url, _prefix(text, within))


def _check(text: str, url: str) -> None:
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(url)
        host, user = parts.hostname or "", parts.username or ""
    except ValueError as error:
        raise Refused(f"{text!r} is not the address of a Git repository: {error}") from None
    if parts.scheme.lower() not in SCHEMES:
        raise Refused(f"{text!r}: {parts.scheme} is none of {', '.join(SCHEMES)}")
    if any(unquote(part).startswith("-") for part in (host, user, parts.netloc)):
        raise Refused(f"{text!r}: an option is no host or user")
    if not parts.path.strip("/") or (not host and parts.scheme != "file"):
        raise Refused(f"{text!r} names no repository")


def _prefix(text: str, within: str) -> str:
    if not within:
        return ""
    parts = within.removeprefix(_WITHIN).strip("/").split("/")
    if not within.startswith(_WITHIN) or {"", ".", "..", ".git"} & set(parts) or "\\" in within:
        raise Refused(
            f"{text!r}: after # comes subdirectory=FOLDER, and it may not lead out of the repository"
        )
    return "/".join(parts) + "/"


def redacted(text: str) -> str:
    """A text with passwords and tokens of addresses in it left out."""
    return re.sub(r"(https?://)[^/\s]*@", r"\1", text)


# Where DVC can bring data from; a file of this machine is no address that others could use.
DATA_SCHEMES = (
    "s3",
    "gs",
    "azure",
    "https",
    "http",
    "ssh",
    "sftp",
    "hdfs",
    "webdavs",
    "webdav",
    "oss",
    "remote",
)
_SIGNED = re.compile(
    r"[?&](X-Amz-Signature|X-Goog-Signature|Signature|sig|token|access_token)=", re.IGNORECASE
)


def is_data(text: str) -> bool:
    """Whether a text is the address of data, right or wrong."""
    return text.partition("://")[0].lower() in DATA_SCHEMES and "://" in text


def url_mistake(text: str) -> str | None:
    """Why a text is not the address of data, or should not be written down; None where it is sound."""
    from urllib.parse import urlsplit

    if not is_data(text):
        return f"{text!r} is not the address of data: {', '.join(f'{s}://' for s in DATA_SCHEMES)} are known"
    if re.search(r"[\x00-\x20\x7f\\]", text):
        return f"{text!r}: a blank, a backslash or a control character is in it"
    try:
        parts = urlsplit(text)
        held = bool(parts.password) or (bool(parts.username) and parts.scheme.startswith(("http", "webdav")))
        parts.port  # noqa: B018 - it is read late, and may be no number
    except ValueError as error:
        return f"{text!r}: {error}"
    if held or _SIGNED.search(text):
        return "holds a password, a token or a signature, which would be in Git for good"
    if not parts.netloc or parts.netloc.startswith("-") or not parts.path.strip("/"):
        return f"{text!r} names nothing that could be fetched"
    if ".." in parts.path.split("/"):
        return f"{text!r}: '..' leads elsewhere"
    return None


def registry_mistake(text: str) -> str | None:
    """Why a text is not the address of a registry, or should not be written down; None where it is sound."""
    if text.startswith("-") or re.search(r"[\x00-\x20\x7f]", text):
        return f"{text!r} is not the address of a Git repository"
    try:
        found = address_of(text)
    except Refused as refused:
        return refused.message
    if found and redacted(found.url) != found.url:
        return (
            "holds a password or a token, which would be in Git for good; Git's credential helpers keep them"
        )
    return None
