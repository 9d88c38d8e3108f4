"""The DVC remotes of another registry: used for their addresses, and for nothing else that stands there.

A configuration may name commands (`bearer_token_command`), and files that name commands (`configpath`, whose
`credential_process` is one). Nobody but this registry's own configuration and environment says such things.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import dvcconfig
from gitreg.errors import Outside, Refused
from gitreg.store import fetching
from gitreg.store.pointers import Tracked

if TYPE_CHECKING:
    from gitreg.store import Store

_SCHEMES = ("s3", "gs", "azure", "https", "http", "ssh", "sftp", "oss", "hdfs")
_KEPT = ("url", "endpointurl", "region", "port", "account_name", "projectname", "oss_endpoint")
_DEFAULT = ""


def lendable(root: Path) -> dict[str, dict[str, Any]]:
    """name -> settings of a registry's remotes; the default one also as the empty name."""
    found: dict[str, dict[str, Any]] = {}
    default = None
    for name in ("config", "config.local"):
        try:
            said = dvcconfig.parsed((root / ".dvc" / name).read_bytes())
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise Refused(f".dvc/{name} there is not a DVC configuration: {error}") from None
        core = said.get("core")
        default = core.get("remote", default) if isinstance(core, Mapping) else default
        for section, values in said.items():
            match = re.match(r"'?remote \"([^\"]+)\"'?\Z", section)
            if match and isinstance(values, Mapping):
                one = found.setdefault(match[1], {})
                one.update({key: values[key] for key in _KEPT if key in values})
                if "url" in values:
                    one["url"] = _placed(root, str(values["url"]))
    usable = {name: one for name, one in found.items() if _is_usable(str(one.get("url", "")))}
    return {**usable, **({_DEFAULT: usable[default]} if default in usable else {})}


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
    own = _own(store.root)
    config = {"remote": {names[name]: own.get(lent[name]["url"], dict(lent[name])) for name in needed}}
    fetching.fetch(store, [replace(one, remote=names[one.remote or _DEFAULT]) for one in lacking], config)


def _own(root: Path) -> dict[str, dict[str, Any]]:
    """url -> our own settings for a remote at it, with our credentials."""
    from dvc.config import Config

    return {str(one["url"]): dict(one) for one in Config(str(root / ".dvc")).get("remote", {}).values()}
