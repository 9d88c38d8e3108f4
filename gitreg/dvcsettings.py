"""DVC's settings in a folder that a commit was laid out in: gitreg's own, and never the commit's `.dvc`.

A commit may be a stranger's, or a pull request's. Of its `.dvc/config` (the blob, never what a link leads to)
no more is taken than where its remotes are and how they are asked, by a list of keys. Credentials go only to
the address that the user configured them for, whatever a commit calls its remote. No other configuration
counts in such a folder: what the user's own says is copied into it (see `Store.alone`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitreg import dvckeys, safewrite
from gitreg.dvckeys import Fault
from gitreg.errors import Refused

Section = dict[str, str]

# Of the user's own configuration: how DVC works on a disk. Of both: how pipelines fill in templates.
_CORE = ("checksum_jobs", "hardlink_lock")
_CACHE = ("type", "shared", "slow_link_warning")
_OWN = (".dvc/config", ".dvc/config.local")
_PARSING = {"bool": ("store_true", "boolean_optional"), "list": ("nargs", "append")}
# What DVC itself resolves against the file that it stands in.
_PATHS = (
    *("url", "credentialpath", "configpath", "keyfile", "cert_path", "key_path"),
    *("gdrive_user_credentials_file", "gdrive_service_account_json_file_path"),
)


@dataclass
class _Said:
    """What configuration files say, later ones over earlier ones; keys in small letters, as in DVC."""

    remotes: dict[str, Section] = field(default_factory=dict)
    others: dict[str, Section] = field(default_factory=dict)

    @property
    def default(self) -> str | None:
        name = self.others.get("core", {}).get("remote")
        return name.lower() if name else None

    def add(self, raw: bytes, name: str, folder: Path | None = None, tracked: bool = False) -> list[Fault]:
        """Read one more file; its relative paths are made absolute where its folder is given.

        Returns:
            What is not taken of it, where Git tracks it.
        """
        read = dvckeys.named(dvckeys.parse(raw, name))
        read, faults = dvckeys.sift(read) if tracked else (read, [])
        for section, values in read.items():
            if section != "remote" and isinstance(values, Mapping):
                self.others.setdefault(section, {}).update(_texts(values))
        for remote, values in read["remote"].items():
            if isinstance(values, Mapping):
                said = _texts(values)
                if folder:
                    said |= {key: _placed(folder, said[key]) for key in _PATHS if key in said}
                self.remotes.setdefault(remote, {}).update(said)
        return faults


def _texts(values: Mapping[str, Any]) -> Section:
    return {key: one for key, one in values.items() if isinstance(one, str)}


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
    # One of the user's that is an address in another remote is left out where the commit says what that is.
    usable = {
        name: one
        for name, one in mine.remotes.items()
        if "url" in one and name not in said.remotes and _base(one["url"]) not in said.remotes
    }
    left: dict[str, str] = {}
    taken = _taken(root, said.remotes, mine.remotes, source, left)
    default = said.default or mine.default
    _write(root, {**usable, **taken}, default, cache, {}, _parsing(said))
    return left


def lend(
    root: Path, committed: bytes | None, own: Path, cache: Path, tracked: Collection[str] = ()
) -> dict[str, str]:
    """Make `.dvc` of an older commit of the user's own clone, with the clone's remotes and cache.

    A remote is what the clone's configuration says today, with its credentials; of the commit's remotes those
    are taken whose names the clone does not use. See `settle`.

    Args:
        own: the clone's registry.
        tracked: which of its `.dvc/config` and `.dvc/config.local` Git tracks.
    """
    said, mine = _of_commit(committed), _Said()
    faults: list[Fault] = []
    for file in _outer_files():
        _read(mine, file)
    for name in _OWN:
        now = _Said()
        faults += _read(now, own / name, name in tracked)
        if name not in tracked:  # what the user says in the place of it
            faults = [one for one in faults if one.key not in now.remotes.get(one.remote or "", {})]
        _read(mine, own / name, name in tracked)
    left = {one.remote: f".dvc/config: {one.line}: {one.hint}" for one in faults if one.remote}
    lent = {name: one for name, one in mine.remotes.items() if name not in left}
    usable = {name: one for name, one in lent.items() if "url" in one and _base(one["url"]) not in left}
    left |= {
        name: f"your DVC configuration has settings and no address for the remote {name!r}: they are not "
        "used for the address that the commit names"
        for name in lent.keys() - usable.keys()
        if "url" not in lent[name]
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
    remotes = {name: lent for name, one in said.remotes.items() if not dvckeys.odd(lent := dvckeys.lent(one))}
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
        lent = dvckeys.lent(values)
        why = dvckeys.odd(lent) or _place(root, lent, source)
        if why:
            left[name] = f"the commit's DVC remote {name!r} {why}"
            continue
        # Who configured this address, or one above it, is asked for its settings whole: an endpoint of the
        # commit's beside credentials of the user's would send these to wherever the commit says.
        owners = [one for one in mine.values() if "url" in one and dvckeys.is_at(lent["url"], one["url"])]
        owner = max(owners, key=lambda one: len(one["url"]), default=None)
        found[name] = {**owner, "url": lent["url"]} if owner else lent
    return found


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


def _base(url: str) -> str | None:
    """The remote that an address lies in, where it is one of `remote://`."""
    scheme, _, rest = url.strip().partition("://")
    return rest.partition("/")[0].lower() if scheme.lower() == "remote" else None


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


def _read(said: _Said, file: Path, tracked: bool = False) -> list[Fault]:
    try:
        raw = file.read_bytes() if file.is_file() else b""
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None
    return said.add(raw, str(file), file.parent, tracked)


def _of_commit(committed: bytes | None) -> _Said:
    said = _Said()
    said.add(committed or b"", ".dvc/config")
    return said


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
