"""DVC's configuration, where it has to be another than what is committed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gitreg.errors import Refused

# What may be taken from a registry that is not the user's own: where its remotes are, and how they are asked.
# Not what names commands (`bearer_token_command`), or files that name some (`configpath`), or weakens TLS.
_LENT = (
    *("url", "endpointurl", "region", "port", "user", "account_name", "projectname", "oss_endpoint"),
    *("profile", "use_ssl", "read_timeout", "connect_timeout", "jobs", "version_aware", "listobjects"),
    "allow_anonymous_login",
)


def settle(root: Path, cache: Path, source: Path | None) -> None:
    """Let DVC work in a folder that a commit was laid out in: with a cache of its own, and without Git.

    Of the commit's own configuration no more is left than addresses: it may be a stranger's.

    Args:
        source: the folder on this machine that the commit comes from; addresses relative to it are meant.
    """
    from configobj import ConfigObj

    _disarm(root / ".dvc" / "config")
    said = ConfigObj(str(root / ".dvc" / "config.local"), encoding="utf-8")
    said["cache"] = {"dir": str(cache)}
    # DVC's readers of Git do not know of clones without content; and its notes are to go with this folder.
    said["core"] = {"no_scm": "true", "site_cache_dir": str(root / ".dvc" / "site")}
    for section, values in _remotes((root / ".dvc" / "config").read_bytes()).items():
        if source and _relative(values["url"]) and not _inside(values["url"]):
            said[section] = {"url": os.path.normpath(source / ".dvc" / values["url"])}
    said.write()


def _disarm(file: Path) -> None:
    """Leave of a configuration what is lent, and nothing else."""
    from configobj import ConfigObj

    raw = file.read_bytes()
    left = ConfigObj(encoding="utf-8")
    for section, values in _remotes(raw).items():
        left[section] = {key: values[key] for key in _LENT if key in values}
    core = _parsed(raw).get("core")
    if isinstance(core, Mapping) and isinstance(core.get("remote"), str):
        left["core"] = {"remote": core["remote"]}
    left.filename = str(file)
    left.write()


def kept_inside(config: bytes) -> list[str]:
    """The folders, relative to the root, in which a repository keeps its own artifacts."""
    found = (_inside(values["url"]) for values in _remotes(config).values() if _relative(values["url"]))
    return [place for place in found if place]


def _parsed(config: bytes) -> Mapping[str, Any]:
    from configobj import ConfigObj, ConfigObjError

    try:
        said: Mapping[str, Any] = ConfigObj(config.decode("utf-8", "replace").splitlines())
    except ConfigObjError as error:
        raise Refused(f".dvc/config: not a DVC configuration: {error}", "dvc config --list") from None
    return said


def _remotes(config: bytes) -> dict[str, Mapping[str, str]]:
    return {
        section: values
        for section, values in _parsed(config).items()
        if section.startswith(("remote ", "'remote ")) and isinstance(values, Mapping) and "url" in values
    }


def _relative(url: str) -> bool:
    return not os.path.isabs(url) and not re.match(r"[\w.+-]+:", url)


def _inside(url: str) -> str | None:
    path = os.path.normpath(os.path.join(".dvc", url))
    return None if path == ".." or path.startswith("../") else path
