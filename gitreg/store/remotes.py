"""DVC's remotes: artifacts by their hashes, from where the configuration says, and from nowhere else."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from gitreg.errors import Outside
from gitreg.redaction import cleaned
from gitreg.store import dvcfiles, settings
from gitreg.store.pointers import Tracked
from gitreg.store.troubles import NoFolder, explain, is_lost

if TYPE_CHECKING:
    from gitreg.store import Store

# Where DVC's configuration says nothing: seconds that a server may take, and how often it is asked.
_CONNECT, _READ, _TRIES = 10, 30, 2


def push(store: Store, wanted: Sequence[Tracked]) -> None:
    """Send what the cache has of some artifacts to our own remotes.

    Raises:
        Outside: a remote cannot be reached, or there is none.
    """
    from dvc_data.hashfile.hash_info import HashInfo

    store.refuse_links()
    try:
        with quiet(), opened(store) as repo:
            for remote in sorted({t.remote for t in wanted}, key=str):
                ours = [t for t in wanted if t.remote == remote]
                hashes = {md5 for t in ours for md5 in (t.md5, *(store.listed(t.md5) or ()))}
                reached(repo, remote, "push", made=True)
                with _logged() as errors:
                    done = repo.cloud.push([HashInfo("md5", md5) for md5 in sorted(hashes)], remote=remote)
                if done.failed:
                    raise errors[0] if errors else OSError(f"{len(done.failed)} files did not get there")
    except Exception as error:  # each kind of remote has errors of its own
        trouble = explain(error)
        raise Outside(f"dvc push: {trouble.why}", trouble.hint) from error


@contextlib.contextmanager
def _logged() -> Iterator[list[BaseException]]:
    """The errors that DVC logs, of which it tells no more than how many there were."""
    found: list[BaseException] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:
                found.append(record.exc_info[1])

    logger, keeper = logging.getLogger("dvc_data.hashfile.transfer"), Keeper()
    level, logger.propagate = logger.level, False
    logger.addHandler(keeper)
    logger.setLevel(logging.ERROR)
    try:
        yield found
    finally:
        logger.setLevel(level)
        logger.removeHandler(keeper)
        logger.propagate = True


def absent(store: Store, hashes: Collection[str]) -> tuple[dict[str, set[str]], dict[str, str]]:
    """Which artifacts no DVC remote has; of a folder also which of its files, where its list is known.

    Args:
        hashes: of whole artifacts; one that ends in `.dir` is a folder.

    Returns:
        hash -> what of it no remote has, without those that are whole; and remote -> why it could not
        be asked. Without any remote, nothing is asked.

    Raises:
        Outside: DVC's configuration is broken.
    """
    store.refuse_links()
    lists = {one: store.listed(one) for one in hashes}
    lacking = {*hashes}.union(*(files for files in lists.values() if files))
    silent: dict[str, str] = {}
    try:
        with quiet(), opened(store) as repo:
            first = repo.config["core"].get("remote")
            remotes = sorted(repo.config["remote"], key=lambda name: name != first)
            for name in remotes:
                try:
                    lacking = _still(repo, name, lacking, lists)
                except Exception as error:  # each kind of remote has errors of its own
                    silent[name] = explain(error).why
    except Exception as error:
        raise Outside(f"DVC: {explain(error).why}", "dvc config --list") from error
    found = {one: lacking & {one, *(files or ())} for one, files in lists.items() if remotes}
    return {one: missing for one, missing in found.items() if missing}, silent


def opened(store: Store, config: Mapping[str, Any] | None = None, scm: bool = False) -> Any:
    """DVC's repository of a store, with the configuration that `settings` gives it.

    Servers have a bounded time to answer: by default some are waited for a quarter of an hour.

    Args:
        scm: whether DVC works with Git, whose files it reads in a way of its own: to add a file.

    Raises:
        Refused: the configuration is broken.
    """
    repo = _opened(store, config, scm)
    for said in repo.config["remote"].values():
        if str(said.get("url", "")).partition("://")[0] in ("http", "https", "s3"):
            said.setdefault("connect_timeout", _CONNECT)
            said.setdefault("read_timeout", _READ)
    return repo


def address_of(repo: Any, name: str | None) -> str:
    """Returns the address of a remote, without secrets; empty where there is none."""
    said = repo.config["remote"].get((name or str(repo.config["core"].get("remote", ""))).lower(), {})
    return cleaned(str(said.get("url", "")))


def reached(repo: Any, name: str | None, what: str, made: bool = False) -> tuple[Any, str]:
    """Returns the objects of a remote, and its folder, where it is one.

    Args:
        name: None for the default one.
        what: is to be done with it.
        made: whether a folder that is not there will be made.

    Raises:
        NoFolder: it is not there, or cannot be read.
        Refused: a file that Git tracks says of it what is not taken.
    """
    repo.config.check(name)
    odb = repo.cloud.get_remote_odb(name, what)
    fs = odb.fs
    if fs.protocol in ("http", "https"):
        fs.SESSION_RETRIES = _TRIES
    elif fs.protocol == "s3":
        fs.fs_args.setdefault("config_kwargs", {}).setdefault("retries", {"max_attempts": _TRIES - 1})
        fs.fs.retries = _TRIES
    if fs.protocol != "local":
        return odb, ""
    place = str(repo.cloud.get_remote(name).path)
    if not made:
        try:
            os.listdir(place)
        except OSError as error:
            raise NoFolder(place, error) from error
    return odb, place


def _opened(store: Store, config: Mapping[str, Any] | None, scm: bool) -> Any:
    from dvc.repo import Repo

    dvcfiles.refuse_ignores(store.root, [store.root / ".dvcignore"])
    how = dict(config or {}) if scm else {**(config or {}), "core": {"no_scm": "true"}}

    class Sifted(Repo):  # type: ignore[misc]
        @cached_property
        def config(self) -> Any:
            return settings.config(store, how)

    return Sifted(str(store.root))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """DVC reports to stdout, where gitreg's own answer belongs; its errors come as exceptions."""
    with contextlib.redirect_stdout(io.StringIO()):
        for name in ("dvc", "dvc_data", "dvc_objects"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        yield


def _still(repo: Any, name: str, lacking: set[str], lists: dict[str, set[str] | None]) -> set[str]:
    """What is still lacking when a remote was asked; `lists` is told what only it knows of folders."""
    if not lacking:
        return lacking
    odb, _ = reached(repo, name, "status -c")
    held, files = _held(odb, lacking), set[str]()
    for one in (one for one in held if lists.get(one, held) is None):
        listed = json.loads(odb.fs.cat_file(odb.oid_to_path(one)))
        lists[one] = {str(entry["md5"]) for entry in listed}
        files.update(lists[one] or ())
    return (lacking - held) | (files - _held(odb, files))


def _held(odb: Any, hashes: set[str]) -> set[str]:
    """The hashes that a remote has. Its objects are not read: DVC would delete those that are corrupt."""
    if not hashes:
        return hashes
    if odb.fs.protocol == "local":
        return {one for one in hashes if os.path.isfile(odb.oid_to_path(one))}
    if odb.fs.protocol not in ("http", "https"):
        return {*odb.oids_exist(hashes)}
    # For DVC, a web server that does not answer is one that has nothing.
    first, *others = sorted(hashes)
    found = {first: _is_there(odb, first)}  # one that is down is asked once
    with ThreadPoolExecutor(odb.fs.jobs) as pool:
        found.update(zip(others, pool.map(partial(_is_there, odb), others), strict=True))
    return {one for one, there in found.items() if there}


def _is_there(odb: Any, md5: str) -> bool:
    try:
        odb.fs.info(odb.oid_to_path(md5))
    except Exception as error:
        if is_lost(error):
            return False
        raise
    return True
