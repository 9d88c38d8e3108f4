"""Brings artifacts from DVC's remotes into the cache, and says of each that does not come why not."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gitreg.errors import Outside
from gitreg.store.pointers import Tracked
from gitreg.store.remotes import address_of, opened, quiet, reached
from gitreg.store.troubles import LOST, Trouble, explain

if TYPE_CHECKING:
    from gitreg.store import Store


@dataclass
class Failed:
    """Why artifacts did not come.

    Attributes:
        objects: hash -> why.
        remotes: name -> why nothing more was asked of it.
        everywhere: why no remote was asked.
    """

    objects: dict[str, Trouble] = field(default_factory=dict)
    remotes: dict[str | None, Trouble] = field(default_factory=dict)
    everywhere: Trouble | None = None

    def of(self, tracked: Tracked, missing: Sequence[str]) -> Trouble:
        """Returns why an artifact did not come: rather what may pass than that it is lost."""
        known = [self.everywhere, self.remotes.get(tracked.remote), *map(self.objects.get, missing)]
        return min(filter(None, known), key=lambda one: one.lost, default=LOST)


def fetch(store: Store, wanted: Sequence[Tracked], config: Mapping[str, Any] | None = None) -> None:
    """Gets artifacts from their DVC remote into the cache: the default one, or what their file names.

    Raises:
        Outside: the remote is not configured, not reachable, or does not have them.
    """
    if not wanted:
        return
    store.refuse_links()
    failed = Failed()
    try:
        with quiet(), opened(store, config) as repo:
            # By hash, from configured remotes alone. `dvc fetch` would go to wherever an imported
            # artifact's .dvc file says that it once came from, which a pull request may say.
            for _ in range(2):  # a folder's list of files comes first, and then what it lists
                for remote in sorted({t.remote for t in wanted} - failed.remotes.keys(), key=str):
                    hashes = {md5: None for t in wanted if t.remote == remote for md5 in store.missing(t)}
                    _bring(repo, remote, [md5 for md5 in hashes if md5 not in failed.objects], failed)
    except Exception as error:  # DVC's configuration, or its own folders
        failed.everywhere = explain(error)
    lacking = [(t, missing, failed.of(t, missing)) for t in wanted if (missing := store.missing(t))]
    if lacking:
        lines = [(_lack(t, missing, why), *_left_out(store, t)) for t, missing, why in lacking]
        hints = dict.fromkeys(why.hint for _, _, why in lacking)
        raise Outside([said for some in lines for said in some], "; ".join(hints))


def _bring(repo: Any, remote: str | None, hashes: Sequence[str], failed: Failed) -> None:
    """Get objects from a remote into the cache, several at once, and tell why others did not come.

    DVC's `pull` asks first which of them are there, and takes a server that does not answer for one that has
    none of them; and of a single file that was cut off it keeps what came. So each is asked for by itself.
    When one cannot be had though it may be there, no more are asked for.
    """
    if not hashes:
        return
    address = address_of(repo, remote)
    try:
        odb, place = reached(repo, remote, "fetch")
    except Exception as error:  # each kind of remote has errors of its own
        failed.remotes[remote] = explain(error, "", address)
        return
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()

    def one(md5: str) -> None:
        try:
            _take(repo.cache.local, odb, md5)
        except Exception as error:
            failed.objects[md5] = trouble = explain(error, place, address)
            if not trouble.lost:
                failed.remotes[remote] = trouble

    def work() -> None:
        while remote not in failed.remotes:
            try:
                one(todo.get_nowait())
            except queue.Empty:
                return

    one(hashes[0])  # a remote that is down is asked once
    for md5 in hashes[1:]:
        todo.put(md5)
    # Daemons: an interrupt does not wait for gigabytes, or for a server that hangs.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(odb.fs.jobs, todo.qsize()))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _take(cache: Any, odb: Any, md5: str) -> None:
    """Get one object into the cache, whole.

    Raises:
        ValueError: what came has another hash.
    """
    verify = odb.verify or odb.fs.protocol in ("http", "https")  # any page that a proxy shows is a file
    cache.add(odb.oid_to_path(md5), odb.fs, md5, check_exists=False, verify=verify)
    if not os.path.isfile(cache.oid_to_path(md5)):
        raise ValueError(f"what {odb.fs.unstrip_protocol(odb.oid_to_path(md5))} gives has another hash")


def _lack(tracked: Tracked, missing: Sequence[str], trouble: Trouble) -> str:
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    text = f"{tracked.by}: '{tracked.path}' needs {missing[0]}{more}, which the DVC cache does not have"
    if trouble.lost:
        return f"{text}, nor does the remote"
    return f"{text}, and DVC cannot fetch it: {trouble.why}"


def _left_out(store: Store, tracked: Tracked) -> Sequence[str]:
    """Why DVC does not get to see an artifact's remote, where gitreg leaves it out."""
    why = store.left_out.get((tracked.remote or "").lower())
    if why:
        return [why]
    return [] if tracked.remote else list(store.left_out.values())
