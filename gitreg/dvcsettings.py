"""DVC's settings in a folder that a commit was laid out in: gitreg's own, and never the commit's `.dvc`.

A commit may be a stranger's, or a pull request's. Of its `.dvc/config` (the blob, never what a link leads to)
no more is taken than where its remotes are and how they are asked, by a list of keys. Credentials go only to
the address that the user configured them for, whatever a commit calls its remote. No other configuration
counts in such a folder: what the user's own says is copied into it (see `Store.alone`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitreg import dvcconfig, safewrite
from gitreg.errors import Refused

Section = dict[str, str]

# What may be taken of a commit's remote, and why:
# - where it is: without these, honest registries cannot be read;
# - `user` is a name without its password; `profile` names credentials that stay on the reader's machine;
# - how long to wait, for stores that are slow; `version_aware`, how objects are named there;
# - `allow_anonymous_login` asks without credentials.
# Not what names commands (`bearer_token_command`), files that name commands or hold secrets (`configpath`,
# `credentialpath`, `keyfile`), what weakens TLS (`ssl_verify`; `use_ssl`: an endpoint without TLS
# begins with http://), credentials, or how much is done at once (`jobs`).
_LENT = (
    *("url", "endpointurl", "region", "port", "account_name", "projectname", "oss_endpoint"),
    *("user", "profile", "read_timeout", "connect_timeout", "version_aware", "allow_anonymous_login"),
)
# These sign what they ask, and do not send the key; the endpoint of any other would be sent a token.
_SIGNING = ("s3",)
# Of the user's own configuration: how DVC works on a disk. Of both: how pipelines fill in templates.
_CORE = ("checksum_jobs", "hardlink_lock")
_CACHE = ("type", "shared", "slow_link_warning")
_PARSING = {"bool": ("store_true", "boolean_optional"), "list": ("nargs", "append")}
# What DVC itself resolves against the file that it stands in.
_PATHS = (
    *("url", "credentialpath", "configpath", "keyfile", "cert_path", "key_path"),
    *("gdrive_user_credentials_file", "gdrive_service_account_json_file_path"),
)
_REMOTE = re.compile(r'\s*remote\s*"(.*)"\s*\Z', re.DOTALL)
_MOST = 1 << 20


@dataclass
class _Said:
    """What configuration files say, later ones over earlier ones; keys in small letters, as in DVC."""

    remotes: dict[str, Section] = field(default_factory=dict)
    others: dict[str, Section] = field(default_factory=dict)

    @property
    def default(self) -> str | None:
        name = self.others.get("core", {}).get("remote")
        return name.lower() if name else None

    def add(self, raw: bytes, name: str, folder: Path | None = None) -> None:
        """Read one more file; its relative paths are made absolute where its folder is given."""
        for section, values in _parsed(raw, name).items():
            if not isinstance(values, Mapping):
                continue
            said = {key.lower(): one for key, one in values.items() if isinstance(one, str)}
            found = _REMOTE.match(section.lower())
            if found and folder:
                said |= {key: _placed(folder, said[key]) for key in _PATHS if key in said}
            home = self.remotes if found else self.others
            home.setdefault(found[1] if found else section.lower(), {}).update(said)


def settle(root: Path, committed: bytes | None, cache: Path, source: Path | None) -> dict[str, str]:
    """Make `.dvc` of a registry that is not the user's: with a cache of its own, and without Git.

    Args:
        committed: the commit's `.dvc/config`.
        source: the folder on this machine that the commit comes from; addresses relative to it are meant.

    Returns:
        Remotes of the commit that DVC does not get to see here -> why.
    """
    said, mine = _of_commit(committed), _Said()
    for file in _outer_files():
        _read(mine, file)
    usable = {name: one for name, one in mine.remotes.items() if "url" in one and name not in said.remotes}
    left: dict[str, str] = {}
    taken = _taken(root, said.remotes, mine.remotes, source, left)
    default = said.default or mine.default
    _write(root, {**usable, **taken}, default, cache, {}, _parsing(said))
    return left


def lend(root: Path, committed: bytes | None, own: Path, cache: Path) -> dict[str, str]:
    """Make `.dvc` of an older commit of the user's own clone, with the clone's remotes and cache.

    A remote is what the clone's configuration says today, with its credentials; of the commit's remotes those
    are taken whose names the clone does not use. See `settle`.

    Args:
        own: the clone's registry.
    """
    said, mine = _of_commit(committed), _Said()
    for file in (*_outer_files(), own / ".dvc" / "config", own / ".dvc" / "config.local"):
        _read(mine, file)
    usable = {name: one for name, one in mine.remotes.items() if "url" in one}
    left = {
        name: f"your DVC configuration has settings and no address for the remote {name!r}: they are not "
        "used for the address that the commit names"
        for name in mine.remotes.keys() - usable.keys()
    }
    fresh = {name: one for name, one in said.remotes.items() if name not in mine.remotes}
    taken = _taken(root, fresh, mine.remotes, own, left)
    kept = {
        "core": {
            key: mine.others.get("core", {})[key] for key in _CORE if key in mine.others.get("core", {})
        },
        "cache": {
            key: mine.others.get("cache", {})[key] for key in _CACHE if key in mine.others.get("cache", {})
        },
    }
    parsing = {**_parsing(said), **_parsing(mine)}
    _write(root, {**taken, **usable}, mine.default or said.default, cache, kept, parsing)
    return left


def keep_to_itself(root: Path, committed: bytes | None, stays: bool) -> None:
    """Leave in a laid out folder's settings what the commit says, by the list, and nothing that was lent.

    Args:
        stays: whether the folder becomes the user's, to work in with Git.
    """
    said = _of_commit(committed)
    remotes = {
        name: lent for name, one in said.remotes.items() if "url" in (lent := _lent(one)) and not _odd(lent)
    }
    sections: dict[str, Section] = {f'remote "{name}"': one for name, one in remotes.items()}
    core = {} if stays else {"no_scm": "true", "site_cache_dir": str(root / ".dvc" / "site")}
    core |= {"remote": said.default} if said.default and said.default in remotes else {}
    _save(root, {"core": core, **sections, "parsing": _parsing(said)})


def kept_inside(committed: bytes | None) -> list[str]:
    """The folders, relative to the root, in which a repository keeps its own artifacts."""
    urls = (one["url"] for one in _of_commit(committed).remotes.values() if "url" in one)
    return [place for url in urls if _relative(url) and (place := _inside(url))]


# Remotes --------------------------------------------------------------------------------------------


def _taken(
    root: Path,
    said: Mapping[str, Section],
    mine: Mapping[str, Section],
    source: Path | None,
    left: dict[str, str],
) -> dict[str, Section]:
    """A commit's remotes as DVC gets to see them; what it does not is added to `left`."""
    found: dict[str, Section] = {}
    for name, values in said.items():
        lent = _lent(values)
        why = _odd(lent) or _place(root, lent, source)
        if why:
            left[name] = f"the commit's DVC remote {name!r} {why}"
            continue
        # Who configured this address, or one above it, is asked for its settings whole: an endpoint of the
        # commit's beside credentials of the user's would send these to wherever the commit says.
        owners = [one for one in mine.values() if "url" in one and _is_at(lent["url"], one["url"])]
        owner = max(owners, key=lambda one: len(one["url"]), default=None)
        found[name] = {**owner, "url": lent["url"]} if owner else lent
    return found


def _lent(values: Section) -> Section:
    """What is taken of a commit's remote."""
    lent = {key: values[key] for key in _LENT if key in values}
    if lent.get("url", "").partition("://")[0].lower() not in _SIGNING:
        lent.pop("endpointurl", None)
    return lent


def _odd(lent: Section) -> str | None:
    """What is wrong with a commit's remote."""
    if not lent.get("url"):
        return "has no url"
    for key, value in lent.items():
        # DVC's reader of configurations fills in %(name)s from beside it.
        if "%(" in value or not value.isprintable() or '"' in value:
            return f"has a {key} that gitreg does not take: {value!r}"
    return None


def _place(root: Path, lent: Section, source: Path | None) -> str | None:
    """Make a relative address absolute; why it cannot be used."""
    url = lent["url"]
    if not _relative(url):
        return None
    inside = _inside(url)
    if inside and (link := safewrite.link_in(root, inside)):
        return f"lies behind the symbolic link {link} of the commit"
    if inside and (source is None or (root / inside).is_dir()):
        lent["url"] = str(root / inside)
    elif source is not None:
        lent["url"] = os.path.normpath(source / ".dvc" / url)
    else:
        return f"is at {url!r}, relative to a folder that is not here"
    return None


def _is_at(url: str, other: str) -> bool:
    """Whether an address is another one, or lies below it."""
    url, other = url.rstrip("/"), other.rstrip("/")
    below = url.startswith(f"{other}/") and not {"..", "."} & set(url[len(other) :].split("/"))
    return bool(other) and (url == other or below)


def _relative(url: str) -> bool:
    return not os.path.isabs(url) and not re.match(r"[\w.+-]+:", url) and not url.startswith("~")


def _inside(url: str) -> str | None:
    path = os.path.normpath(os.path.join(".dvc", url))
    return None if path == ".." or path.startswith("../") else path


# Files ----------------------------------------------------------------------------------------------


def _outer_files() -> list[Path]:
    """DVC's configuration files outside of any repository."""
    import platformdirs

    system = os.environ.get("DVC_SYSTEM_CONFIG_DIR") or platformdirs.site_config_dir("dvc", "iterative")
    user = os.environ.get("DVC_GLOBAL_CONFIG_DIR") or platformdirs.user_config_dir("dvc", "iterative")
    return [Path(system) / "config", Path(user) / "config"]


def _read(said: _Said, file: Path) -> None:
    try:
        raw = file.read_bytes() if file.is_file() else b""
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None
    said.add(raw, str(file), file.parent)


def _of_commit(committed: bytes | None) -> _Said:
    said = _Said()
    said.add(committed or b"", ".dvc/config")
    return said


def _parsed(raw: bytes, name: str) -> Mapping[str, Any]:
    if len(raw) > _MOST:
        raise Refused(f"{name}: {len(raw):,} bytes; a DVC configuration has at most {_MOST:,}")
    try:
        return dvcconfig.parsed(raw, interpolation=False)
    except ValueError as error:
        raise Refused(f"{name}: not a DVC configuration: {error}", "dvc config --list") from None


def _placed(folder: Path, value: str) -> str:
    """A path of a configuration file, as DVC resolves it."""
    if re.match(r"\w+://", value):
        return value
    return os.path.normpath(folder / os.path.expanduser(value))


def _parsing(said: _Said) -> Section:
    known = said.others.get("parsing", {})
    return {key: known[key] for key, words in _PARSING.items() if known.get(key, "").lower() in words}


def _write(
    root: Path,
    remotes: Mapping[str, Section],
    default: str | None,
    cache: Path,
    kept: Mapping[str, Section],
    parsing: Section,
) -> None:
    """Make `.dvc`."""
    try:
        (root / ".dvc").mkdir(mode=0o700)
    except FileExistsError:
        raise Refused(f"the commit has an entry that this file system takes for {root.name}/.dvc") from None
    # DVC's readers of Git do not know of clones without content; and its notes are to go with this folder.
    core = {"no_scm": "true", "site_cache_dir": str(root / ".dvc" / "site"), "analytics": "false"}
    core |= {"remote": default} if default and default in remotes else {}
    sections = {f'remote "{name}"': one for name, one in remotes.items() if re.match(r"[^\"'\n\r]+\Z", name)}
    _save(
        root,
        {
            "core": {**kept.get("core", {}), **core},
            "cache": {**kept.get("cache", {}), "dir": str(cache)},
            **sections,
            "parsing": parsing,
        },
    )


def _save(root: Path, sections: Mapping[str, Section]) -> None:
    from configobj import ConfigObj

    said = ConfigObj(encoding="utf-8", interpolation=False)
    said.update({name: dict(one) for name, one in sections.items() if one})
    lines = said.write()
    text = "".join(f"{line.decode() if isinstance(line, bytes) else line}\n" for line in lines)
    safewrite.replace(root, ".dvc/config", text.encode("utf-8", "surrogateescape"))
