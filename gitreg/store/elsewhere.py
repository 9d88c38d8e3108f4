"""Data at an address: whether it is still there, and still the same. Nothing of it is read."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gitreg.dvckeys import is_at
from gitreg.errors import Outside, Refused
from gitreg.redaction import cleaned
from gitreg.store import settings
from gitreg.store.remotes import quiet

if TYPE_CHECKING:
    from gitreg.store import Store

_SECONDS = 20
_VERSION = ("version_id", "VersionId", "generation", "version")


def marks_of(store: Store, url: str) -> dict[str, str] | None:
    """What tells the object at an address from others: `etag`, `version`; None where there is none.

    Args:
        store: whose remotes lend their credentials and endpoints.

    Raises:
        Outside: it cannot be asked.
    """
    try:
        if urlsplit(url).scheme in ("http", "https"):
            return _by_http(url)
        info = _info(store, url)
    except FileNotFoundError:
        return None
    except Refused as refused:
        raise Outside(f"{cleaned(url)} cannot be asked: {refused.message}", refused.hint) from None
    except Exception as error:  # each kind of storage has errors of its own
        why = str(error) or type(error).__name__
        raise Outside(f"{cleaned(url)} cannot be asked: {why.replace(url, cleaned(url))}") from error
    etag = info.get("ETag") or info.get("etag")
    version = next((info[key] for key in _VERSION if info.get(key) not in (None, "null")), None)
    found = {"etag": etag, "version": version}
    return {key: str(value).strip('"') for key, value in found.items() if value is not None}


def _by_http(url: str) -> dict[str, str] | None:
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "gitreg"})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            etag = answer.headers.get("ETag")
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            return None
        raise
    return {"etag": etag.removeprefix("W/").strip('"')} if etag else {}


def _info(store: Store, url: str) -> Mapping[str, Any]:
    """What a file system of DVC's knows of an object."""
    from dvc.fs import get_cloud_fs

    with quiet():
        config = settings.config(store)
        # An address below a remote's is asked with that remote's endpoint and credentials.
        remotes: Mapping[str, Mapping[str, Any]] = config["remote"]
        above = [name for name, said in remotes.items() if is_at(url, str(said.get("url", "")))]
        near = max(above, key=lambda name: len(remotes[name]["url"]), default=None)
        config.check(near or (url.split("/")[2] if url.startswith("remote://") else ""))
        kind, said, path = get_cloud_fs(config, **({"name": near} if near else {"url": url}))
        fs = kind(**said)
        info: Mapping[str, Any] = fs.info(kind._strip_protocol(url) if near else path)
        return info
