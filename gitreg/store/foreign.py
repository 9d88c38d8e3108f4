"""The DVC remotes of another registry: used for their addresses, and for nothing else that stands there.

A configuration may name commands (`bearer_token_command`), and files that name commands (`configpath`, whose
`credential_process` is one). Nobody but this registry's own configuration and environment says such things.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import dvckeys
from gitreg.errors import Outside
from gitreg.store import fetching, settings
from gitreg.store.pointers import Tracked

if TYPE_CHECKING:
    from gitreg.store import Store

_SCHEMES = ("s3", "gs", "azure", "https", "http", "ssh", "sftp", "oss", "hdfs")
_KEPT = ("url", "endpointurl", "region", "port", "account_name", "projectname", "oss_endpoint")
_DEFAULT = ""


def lendable(root: Path, is_tracked: Callable[[str], bool] = bool) -> dict[str, dict[str, Any]]:
    """name -> settings of a registry's remotes; the default one also as the empty name.

    Args:
        is_tracked: whether Git tracks a file of `.dvc`: then it is read through no link.
    """
    found: dict[str, dict[str, Any]] = {}
    default: object = None
    for said in settings.of_repository(root, is_tracked):
        core = said.get("core")
        default = core.get("remote", default) if isinstance(core, Mapping) else default
        for name, values in said["remote"].items():
            if not isinstance(values, Mapping):
                continue
            one = found.setdefault(name, {})
            one.update({key: values[key] for key in _KEPT if isinstance(values.get(key), str)})
            if "url" in one:
                one["url"] = _placed(root, one["url"])
    usable = {
        name: one for name, one in found.items() if not dvckeys.odd(one) and _is_usable(one.get("url", ""))
    }
    first = default.lower() if isinstance(default, str) else None
    return {**usable, **({_DEFAULT: usable[first]} if first in usable else {})}


def _placed(root: Path, url: str) -> str:
    if re.match(r"[\w.+-]+:", url) or os.path.isabs(url):
        return url
    return os.path.normpath(root / ".dvc" / url)


def _is_usable(url: str) -> bool:
    return os.path.isabs(url) or url.partition("://")[0] in _SCHEMES


def fetch(store: Store, lent: Mapping[str, Mapping[str, Any]], wanted: Sequence[Tracked]) -> None:
    """Get artifacts by their hashes from another registry's remotes; see `Store.fetch_from`."""
    lacking = [one for one in wanted if store.missing(one)]
    if not lacking:
        return
    needed = {one.remote or _DEFAULT for one in lacking}
    unknown = sorted(needed - lent.keys())
    if unknown:
        what = f"the DVC remote {unknown[0]!r}" if unknown[0] else "a default DVC remote"
        raise Outside(
            f"{lacking[0].by} there: the registry has not {what} that could be used from here",
            "`dvc remote list`, there",
        )
    names = {name: f"gitreg-upstream-{i}" for i, name in enumerate(sorted(needed))}
    own = settings.config(store)
    at = {str(one.get("url")): name for name, one in own.get("remote", {}).items()}
    config = {"remote": {names[name]: _lent(own, at, lent[name]) for name in needed}}
    fetching.fetch(store, [replace(one, remote=names[one.remote or _DEFAULT]) for one in lacking], config)


def _lent(own: Any, at: Mapping[str, str], lent: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a remote: our own with our credentials, where we have one at its address."""
    name = at.get(lent["url"])
    if name is None:
        return dict(lent)
    own.check(name)
    return dict(own["remote"][name])
