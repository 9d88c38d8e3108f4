"""DVC's configuration as gitreg has DVC see it: of files that Git tracks, no more than `dvckeys` takes.

What the user alone wrote (`.dvc/config.local`, the global and the system's configuration, and a `.dvc/config`
that Git does not track) counts as it is. No error tells what stands in these files: they hold secrets.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import dvcconfig, dvckeys, safewrite, treefiles
from gitreg.dvckeys import Fault
from gitreg.errors import Refused

if TYPE_CHECKING:
    from gitreg.store import Store

FILES = {"repo": ".dvc/config", "local": ".dvc/config.local"}


def cache_folder(store: Store) -> Path:
    """DVC's `cache.dir`: the last of its configuration files that sets it, relative to that file.

    Read without DVC, whose own configuration module loads its HTTP client (0.1 s and more):
    https://dvc.org/doc/user-guide/project-structure/configuration

    Raises:
        Refused: a file is broken; or the last one that sets it is tracked by Git, and is elsewhere.
    """
    place, refused = store.root / ".dvc" / "cache", None
    for level, file in _files(store):
        name = FILES.get(level, str(file))
        said = dvckeys.named(dvckeys.parse(_raw(store, level, file), name, interpolation=True)).get("cache")
        folder = said.get("dir") if isinstance(said, Mapping) else None
        if isinstance(folder, str) and folder:
            place = Path(os.path.normpath(file.parent / os.path.expanduser(folder)))
            away = level in FILES and not dvckeys.stays_inside(folder) and store.is_tracked(name)
            refused = name if away else None
    if refused:
        command = f"dvc config --local cache.dir {shlex.quote(str(place))}"
        raise Refused(
            f"{refused}: cache.dir is a folder outside of .dvc, which no branch may have filled: it is not "
            f"taken from a file that Git tracks. If it is meant: {command}"
        )
    return place


def config(store: Store, more: Mapping[str, Any] | None = None) -> Any:
    """DVC's merged configuration, a mapping.

    Its `faults` are what it does not have of files that Git tracks and nobody else sets, and `check(NAME)`
    raises Refused where one of them is of a remote.

    Raises:
        Refused: it is broken.
    """
    from dvc.config import Config, ConfigError, _lower_keys, _parse_named
    from voluptuous import Invalid

    class Sifted(Config):  # type: ignore[misc]
        LEVELS = Config.REPO_LEVELS if store.alone else Config.LEVELS

        def __init__(self, folder: str, **how: Any) -> None:
            self.faults: list[Fault] = []
            super().__init__(folder, **how)

        def _load_config(self, level: str) -> dict[str, Any]:
            file = Path(self.files[level])
            name = FILES.get(level, str(file))
            read = dvckeys.parse(_raw(store, level, file), name, interpolation=True)
            if not all(isinstance(one, dict) for one in read.values()):
                raise Refused(f"{name}: a key stands outside of a section", "dvc config --list")
            said: dict[str, Any] = _parse_named(_lower_keys(read))
            kept, faults = dvckeys.sift(said) if level in FILES else (said, [])
            if level in FILES and _lacks(said, kept) and store.is_tracked(name):
                self.faults += faults
                return kept
            if level == "local":  # what the user says in the place of it
                self.faults = [one for one in self.faults if not _says(said, one)]
            return said

        def check(self, name: str | None) -> None:
            """Raise Refused where a remote lacks what a file that Git tracks says of it."""
            wanted = (name or str(self.get("core", {}).get("remote") or "")).lower()
            found = [one for one in self.faults if one.remote == wanted]
            if found:
                raise Refused([f".dvc/config: {one.line}" for one in found], _hint(found))

    try:
        return Sifted(str(store.root / ".dvc"), config=more)
    except ConfigError as error:
        raise Refused(str(error).partition("\n")[0], "dvc config --list") from None
    except (Invalid, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, Refused):
            raise
        raise Refused(
            "DVC's configuration is broken: a section or a value is not what DVC has there",
            "dvc config --list",
        ) from None


def _hint(faults: list[Fault]) -> str:
    return f"if it is meant: {'; '.join(one.hint for one in faults)}"


def faults(store: Store) -> Iterator[tuple[str, Fault]]:
    """Yields the files that Git tracks, each with what is not taken of it; broken ones say nothing."""
    for name in FILES.values():
        try:
            raw = treefiles.read(store.root, name, dvcconfig.MOST)
            said = dvckeys.named(dvckeys.parse(raw, name, interpolation=True))
        except Refused:  # which is another problem
            continue
        found = dvckeys.sift(said)[1]
        if found and store.is_tracked(name):
            yield from ((name, one) for one in found)


def remote_names(store: Store) -> set[str]:
    """The names of all remotes, by whoever configured them; in small letters, as DVC has them."""
    found: set[str] = set()
    for level, file in _files(store):
        name = FILES.get(level, str(file))
        found |= dvckeys.named(dvckeys.parse(_raw(store, level, file), name, interpolation=True))[
            "remote"
        ].keys()
    return found


def of_repository(root: Path, is_tracked: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
    """Yields what a repository's own files say, later ones over earlier ones."""
    for name in FILES.values():
        raw = _unlinked(root, name, is_tracked)
        yield dvckeys.named(dvckeys.parse(raw, name, interpolation=True))


def _files(store: Store) -> Iterator[tuple[str, Path]]:
    """DVC's configuration files, later ones over earlier ones."""
    import platformdirs

    system = os.environ.get("DVC_SYSTEM_CONFIG_DIR") or platformdirs.site_config_dir("dvc", "iterative")
    user = os.environ.get("DVC_GLOBAL_CONFIG_DIR") or platformdirs.user_config_dir("dvc", "iterative")
    yield "system", Path(system) / "config"
    yield "global", Path(user) / "config"
    for level, name in FILES.items():
        yield level, store.root / name


def _raw(store: Store, level: str, file: Path) -> bytes:
    """A file's content, empty where there is none."""
    if level in FILES:
        return _unlinked(store.root, FILES[level], store.is_tracked)
    return treefiles.follow(file, str(file), dvcconfig.MOST) if os.path.lexists(file) else b""


def _unlinked(root: Path, name: str, is_tracked: Callable[[str], bool]) -> bytes:
    """The content of a repository's own file, never through a link that Git tracks."""
    if (link := safewrite.link_in(root, name)) and is_tracked(name):
        raise Refused(
            f"{link} is a symbolic link that Git tracks, and is not followed: it may lead to secrets",
            f"git rm {link}; a link that Git does not track may stay",
        )
    return treefiles.follow(root / name, name, dvcconfig.MOST) if os.path.lexists(root / name) else b""


def _lacks(said: Mapping[str, Any], kept: Mapping[str, Any]) -> bool:
    """Whether anything of a configuration is not kept."""
    return any(bool(one) and kept.get(key) != one for key, one in said.items())


def _says(said: Mapping[str, Any], fault: Fault) -> bool:
    section = said.get(fault.section) if fault.remote is None else said.get("remote", {}).get(fault.remote)
    return isinstance(section, Mapping) and fault.key in section
