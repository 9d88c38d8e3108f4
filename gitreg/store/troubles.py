"""What an error of a remote's library means: that something is not there, or that it could not be asked for.

Each kind of remote has errors of its own, and wraps those of the libraries below it. What they have in common
is looked for in the whole chain: the status of an HTTP answer, the number of a system's error, the kind of a
failure of names, credentials or certificates.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shlex
import socket
import ssl
from collections.abc import Iterator
from typing import Any, NamedTuple

from gitreg.errors import GitregError
from gitreg.redaction import cleaned

_PUSH = "dvc push, where the artifact was made"
_LONGEST = 300
_DISK = {
    errno.ENOSPC: "make room there, or put the cache on another disk: dvc cache dir",
    errno.EDQUOT: "make room there, or put the cache on another disk: dvc cache dir",
    errno.EROFS: "the DVC cache has to be where you may write: dvc cache dir",
    errno.EIO: "is the disk sound? `dvc cache dir` puts the cache on another one",
}
_NAMES = r"DNSError|gaierror|NoSuchBucket|InvalidURL|InvalidUrl|NoSuchHost|UnknownHost"
_DENIED = (
    "Credentials|CredentialRetrieval|TokenRetrieval|ProfileNotFound|AuthenticationRequired|Unauthorized"
    "|AccessDenied|PermissionDenied|SignatureDoesNotMatch|InvalidAccessKeyId|ExpiredToken"
)
_SETTINGS = r"ConfigError|NoRemoteError|RemoteNotFoundError|RemoteConfigError|NoRegion|ParamValidation"


class Trouble(NamedTuple):
    """What went wrong with a remote.

    Attributes:
        lost: whether the remote answered, and does not have it.
        why: in a line.
        hint: what helps.
    """

    lost: bool
    why: str
    hint: str


LOST = Trouble(True, "the remote does not have it", _PUSH)


class NoFolder(OSError):
    """A remote is a folder that is not there, or cannot be read.

    Attributes:
        place: the folder.
        hint: what helps.
    """

    def __init__(self, place: str, error: OSError) -> None:
        lacks = isinstance(error, FileNotFoundError)
        super().__init__(f"there is no folder {place}" if lacks else f"the folder {place}: {error.strerror}")
        self.place = place
        first = "is it mounted" if lacks else "may you read it"
        self.hint = f"{first}? ls -ld {shlex.quote(place)}; `dvc remote list` shows where DVC looked"


def chain(error: BaseException) -> Iterator[Any]:
    """Yields an error and those that it came from, as Python and botocore keep them."""
    seen: set[int] = set()
    todo: list[Any] = [error]
    while todo:
        one = todo.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        kept = getattr(one, "kwargs", None)
        told = kept.get("error") if isinstance(kept, dict) else None
        todo += [one.__cause__, None if one.__suppress_context__ else one.__context__, told]
        todo += [getattr(one, "os_error", None)]


def is_lost(error: BaseException) -> bool:
    """Tells whether a remote said that it does not have it; an answer that never came says nothing."""
    found = [*chain(error)]
    if any(code == "NoSuchBucket" for code in map(_code, found)):
        return False
    for status in filter(None, map(_status, found)):
        return status in (404, 410)
    if not isinstance(error, FileNotFoundError):
        return False
    # fsspec's `info` over HTTP calls every failure so; what it was is the cause.
    return all(isinstance(one, (FileNotFoundError, KeyError)) for one in _causes(error))


def explain(error: BaseException, place: str = "", address: str = "") -> Trouble:
    """Tells what an error of a remote's library means.

    Args:
        place: the folder of a remote that is one; else empty.
        address: the remote's, to be named where the error does not.
    """
    found = _explained(error, place)
    if not address or address in found.why:
        return found
    return found._replace(why=f"{address}: {found.why}")


def _explained(error: BaseException, place: str) -> Trouble:
    why = said(error)
    found = [*chain(error)]
    words = " ".join(f"{kind.__name__} {_code(one)}" for one in found for kind in type(one).__mro__)
    statuses = [*filter(None, map(_status, found))]
    if plugin := re.search(r"requires '?(dvc-[a-z0-9]+)", why):
        return Trouble(False, why, f"pip install {plugin[1]}")
    if isinstance(error, GitregError):
        return Trouble(False, "; ".join(error.parts), error.hint or "dvc config --list")
    if isinstance(error, NoFolder):
        return Trouble(False, why, error.hint)
    if is_lost(error):
        return Trouble(True, why, _PUSH)
    if re.search(_SETTINGS, words):
        hint = "dvc remote list shows where DVC looked; are its address and the credentials right?"
        return Trouble(False, why, hint)
    if disk := next((one for one in found if isinstance(one, OSError) and _is_ours(one, place)), None):
        where = disk.filename2 or disk.filename  # of a copy, where it goes
        why = f"{where}: {disk.strerror}" if where else f"the disk of the DVC cache: {disk.strerror}"
        return Trouble(False, why, _DISK.get(disk.errno or 0, _DISK[errno.EROFS]))
    if any(isinstance(one, socket.gaierror) for one in found) or re.search(_NAMES, words):
        hint = "is the address right (dvc remote list), and does this machine resolve names?"
        return Trouble(False, why, hint)
    if any(status in (401, 403, 407) for status in statuses) or re.search(_DENIED, words):
        return Trouble(False, why, "are the credentials right, and may they read there? dvc remote list")
    if any(isinstance(one, PermissionError) for one in found):
        hint = (
            f"ls -ld {shlex.quote(place)}" if place else "are the credentials right, and may they read there?"
        )
        return Trouble(False, why, hint)
    if any(isinstance(one, ssl.SSLError) for one in found) or "Certificate" in words:
        return Trouble(
            False, why, "is the certificate one that this machine trusts? `ssl_verify` names another"
        )
    return Trouble(
        False, why, "run it again; if it stays so, is the remote up? dvc remote list shows its address"
    )


def said(error: BaseException) -> str:
    """Returns an error's text on one line, without secrets of the addresses in it, and not without end."""
    if isinstance(error, FileNotFoundError):  # fsspec's may name the address alone
        error = next((one for one in chain(error) if not isinstance(one, FileNotFoundError)), error)
    if any(isinstance(one, (TimeoutError, asyncio.TimeoutError)) for one in chain(error)):
        return "no answer in time"
    text = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
    text = re.sub(r"\w[\w+.-]*://[^\s'\"<>]+", lambda found: cleaned(found[0]), text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _causes(error: BaseException) -> Iterator[BaseException]:
    while error.__cause__ is not None:
        error = error.__cause__
        yield error


def _status(error: Any) -> int | None:
    """The status of the HTTP answer that an error is, where it is one."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        kept = response.get("ResponseMetadata")
        status = kept.get("HTTPStatusCode") if isinstance(kept, dict) else None
    else:
        status = getattr(error, "status", None) or getattr(error, "status_code", None)
    return status if isinstance(status, int) and 400 <= status < 600 else None


def _code(error: Any) -> str:
    response = getattr(error, "response", None)
    kept = response.get("Error") if isinstance(response, dict) else None
    return str(kept.get("Code", "")) if isinstance(kept, dict) else ""


def _is_ours(error: OSError, place: str) -> bool:
    """Whether an error is of the disk here, and not of a remote: s3fs gives out EIO for those, too."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return True  # a remote is only read
    file = str(error.filename or "")
    return (
        error.errno in (errno.EIO, errno.EACCES)
        and os.path.isabs(file)
        and not (place and os.path.commonpath([place, file]) == place)
    )
