"""A model of another registry: `git+URL#model`, `git+URL#model@1.2.0`, `git+URL#model#production`.

Its manifest's parts and files are taken over, its artifact is fetched by hash from the DVC remote of the
registry there, and the commit, tag and digest that it was are recorded. `gitreg update` moves it on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gitreg import safewrite, versions
from gitreg.addresses import address_of
from gitreg.errors import Refused
from gitreg.origins.desk import Brought, Desk
from gitreg.origins.upstream import Taken, Upstream

_WORD = "git+"
_WITHIN = "subdirectory="


def matches(text: str) -> bool:
    """Whether a SOURCE names a model of another registry."""
    return text.startswith(_WORD)


def bring(desk: Desk, text: str) -> Brought:
    """Subscribe; see `origins`.

    Raises:
        Refused: there is no such version, it is not what its tag says, or Git is not to be given the address.
        Outside: the registry or its DVC remote cannot be reached.
    """
    address, reference = _parsed(text.removeprefix(_WORD))
    upstream = Upstream(address)
    known, version = upstream.find(reference)
    taken = upstream.take(known, version)
    data = dict(taken.fields)
    if versions.is_valid(version.version, desk.registry.file.scheme):
        data["version"] = version.version
    for name, content in taken.files.items():
        safewrite.create(desk.registry.root, desk.free(name), content)
    brought = Brought(artifact_of(taken, desk.imported), fields=data, made_elsewhere=True)
    if taken.tracked and desk.imported:
        name = name_of(taken)
        desk.registry.store.fetch_from(taken.remotes, [taken.tracked])
        pointer = desk.free(f"{name}.dvc")
        safewrite.create(desk.registry.root, pointer, pointer_of(desk.registry.store, taken))
        desk.ignore(name)
        brought.place = desk.folder / name
        brought.todo.append("dvc push, once it is committed: builds fetch it from your own DVC remote")
    if taken.trusts:
        brought.todo.append("`trust: pickle` stands there and not here: declare it, if you trust who made it")
    return brought


def artifact_of(taken: Taken, imported: bool) -> dict[str, Any]:
    """What the manifest says of the artifact."""
    said = {key: taken.source[key] for key in ("registry", "model", "version")}
    if taken.tracked and imported:
        return {**said, "path": name_of(taken)}
    return {**said, "imported": False}


def name_of(taken: Taken) -> str:
    """What the artifact is called here."""
    assert taken.tracked
    return taken.tracked.path.rpartition("/")[2]


def pointer_of(store: Any, taken: Taken, name: str | None = None) -> bytes:
    """The .dvc file of the artifact, with where it came from."""
    tracked, source = taken.tracked, taken.source
    assert tracked
    out = {"md5": tracked.md5, "size": tracked.size, "hash": "md5", "path": name or name_of(taken)}
    repo = {"url": source["registry"], "rev": taken.tag, "rev_lock": source["commit"]}
    data: bytes = store.import_file(
        [{key: value for key, value in out.items() if value is not None}],
        {"path": tracked.path, "repo": repo},
    )
    return data


def _parsed(text: str) -> tuple[str, str]:
    address, _, reference = text.partition("#")
    if reference.startswith(_WITHIN):
        within, _, reference = reference.partition("#")
        address = f"{address}#{within}"
    if not reference or not address:
        raise Refused(f"git+{text} names no model", "--from git+URL#model, or git+URL#model@1.2.0")
    if not address.startswith("-") and address_of(address) is None:
        address = str(Path(os.path.abspath(address)))
    return address, reference
