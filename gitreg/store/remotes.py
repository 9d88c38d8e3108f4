"""DVC's remotes: artifacts by their hashes, from where the configuration says, and from nowhere else."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gitreg.errors import Outside
from gitreg.store.pointers import Tracked

if TYPE_CHECKING:
    from gitreg.store import Store

_PUSH = "dvc push, where the artifact was made"


def fetch(store: Store, wanted: Sequence[Tracked], config: Mapping[str, Any] | None = None) -> None:
    """Get artifacts from their DVC remote into the cache: the default one, or what their file names.

    Raises:
        Outside: the remote is not configured, not reachable, or does not have them.
    """
    if not wanted:
        return
    from dvc_data.hashfile.hash_info import HashInfo

    store.refuse_links()
    try:
        with quiet(), opened(store, config) as repo:
            # By hash, from configured remotes alone. `dvc fetch` would go to wherever an imported
            # artifact's .dvc file says that it once came from, which a pull request may say.
            for _ in range(2):  # a folder's list of files comes first, and then what it lists
                for remote in sorted({t.remote for t in wanted}, key=str):
                    hashes = [md5 for t in wanted if t.remote == remote for md5 in store.missing(t)]
                    if hashes:
                        repo.cloud.pull([HashInfo("md5", md5) for md5 in hashes], remote=remote)
        failed = None
    except Exception as error:  # each kind of remote has errors of its own
        failed = error
    lacking = [(t, missing) for t in wanted if (missing := store.missing(t))]
    if lacking:
        raise Outside(
            [said for t, missing in lacking for said in (_lack(t, missing, failed), *_left_out(store, t))],
            _remote_hint(failed),
        ) from failed


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
                repo.cloud.push([HashInfo("md5", md5) for md5 in sorted(hashes)], remote=remote)
    except Exception as error:  # each kind of remote has errors of its own
        raise Outside(f"dvc push: {str(error) or type(error).__name__}", _remote_hint(error)) from error


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
                    silent[name] = str(error) or type(error).__name__
    except Exception as error:
        raise Outside(f"DVC: {error}", "dvc config --list") from error
    found = {one: lacking & {one, *(files or ())} for one, files in lists.items() if remotes}
    return {one: missing for one, missing in found.items() if missing}, silent


def opened(store: Store, config: Mapping[str, Any] | None = None) -> Any:
    """DVC's repository of a store; if it is alone, without the configuration of the user and the machine."""
    from dvc.config import Config
    from dvc.repo import Repo

    if not store.alone:
        return Repo(str(store.root), config=config)

    class Alone(Config):  # type: ignore[misc]
        LEVELS = Config.REPO_LEVELS

    class AloneRepo(Repo):  # type: ignore[misc]
        @cached_property
        def config(self) -> Config:
            return Alone(self.dvc_dir, local_dvc_dir=self.local_dvc_dir, config=self._config)

    return AloneRepo(str(store.root), config=config)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """DVC reports to stdout, where gitreg's own answer belongs; its errors come as exceptions."""
    with contextlib.redirect_stdout(io.StringIO()):
        for name in ("dvc", "dvc_data", "dvc_objects"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        yield


def _still(repo: Any, name: str, lacking: set[str], lists: dict[str, set[str] | None]) -> set[str]:
    """What is still lacking when a remote was asked; `lists` is told what only it knows of folders."""
    held, files = _held(repo, name, lacking), set[str]()
    odb = repo.cloud.get_remote_odb(name, "status -c")
    for one in (one for one in held if lists.get(one, held) is None):
        listed = json.loads(odb.fs.cat_file(odb.oid_to_path(one)))
        lists[one] = {str(entry["md5"]) for entry in listed}
        files.update(lists[one] or ())
    return (lacking - held) | (files - _held(repo, name, files))


def _held(repo: Any, name: str, hashes: set[str]) -> set[str]:
    """The hashes that a remote has. Its objects are not read: DVC would delete those that are corrupt."""
    if not hashes:
        return hashes
    odb = repo.cloud.get_remote_odb(name, "status -c")
    if odb.fs.protocol != "local":
        return {*odb.oids_exist(hashes)}
    if not os.path.isdir(place := repo.cloud.get_remote(name).path):
        raise FileNotFoundError(f"there is no folder {place}")
    return {one for one in hashes if os.path.isfile(odb.oid_to_path(one))}


def _lack(tracked: Tracked, missing: list[str], failed: Exception | None) -> str:
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    text = f"{tracked.by}: '{tracked.path}' needs {missing[0]}{more}, which the DVC cache does not have"
    if failed is None:
        return f"{text}, nor does the remote"
    return f"{text}, and DVC cannot fetch it: {str(failed) or type(failed).__name__}"


def _left_out(store: Store, tracked: Tracked) -> list[str]:
    """Why DVC does not get to see an artifact's remote, where gitreg leaves it out."""
    why = store.left_out.get((tracked.remote or "").lower())
    if why:
        return [why]
    return [] if tracked.remote else list(store.left_out.values())


def _remote_hint(error: Exception | None) -> str:
    """What helps with a remote that did not answer as it should."""
    if error is None or "failed to download" in str(error) or "Missing cache" in str(error):
        return _PUSH
    plugin = re.search(r"requires '(dvc-[a-z0-9]+)'", str(error))
    if plugin:
        return f"pip install {plugin[1]}"
    return "dvc remote list shows where DVC looked; are its address and the credentials right?"
