"""What versions' manifests said, each at its own commit: read from Git's objects in batches.

Nothing is refused. A manifest that today's schema would refuse is read as far as it goes, and marked.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from gitreg import documents
from gitreg.datafiles import values_of
from gitreg.errors import InvalidFiles
from gitreg.git import plain
from gitreg.git.clones import obtain
from gitreg.inside import contain
from gitreg.manifest import judged, manifest_of, validator
from gitreg.sections import Sections

_CHUNK = 1000
_MOST_PROBLEMS = 20
_MOST_LEAVES = 10_000
_MOST_LINES = 2_000
# A dvc.lock lists every file of every stage, and so outgrows what people write.
_MOST_LOCK = 16 << 20
_TEXTS = ("title", "description", "type", "license", "model_class", "image")
_PATHS = ("params", "metrics", "requirements", "card", "sample_data")


class Wanted(NamedTuple):
    """A version whose manifest is asked for.

    Attributes:
        oid: of the tag that registered it.
        file: its manifest by the tag's trailers; empty where they do not say.
    """

    oid: str
    model: str
    commit: str
    file: str


Content = dict[str, Any]
# What a manifest says, and what is wrong with it.
Said = tuple[dict[str, Any], list[str]]


def read(
    root: Path, prefix: str, wanted: Sequence[Wanted], progress: Callable[[int], None], partial: bool = False
) -> Iterator[dict[str, Content]]:
    """Contents by the ids of the versions' tags, some at a time.

    Args:
        prefix: of the registry in its repository.
        partial: whether the repository may lack files, which are fetched then.
        progress: is told how many are done.
    """
    reader = _Reader(root, prefix, partial)
    for start in range(0, len(wanted), _CHUNK):
        yield reader.read(wanted[start : start + _CHUNK])
        progress(min(start + _CHUNK, len(wanted)))


class _Reader:
    """Reads manifests and what they name; what was read once is not read again."""

    def __init__(self, root: Path, prefix: str, partial: bool) -> None:
        self.root, self.prefix, self.partial = root, prefix, partial
        self.blobs: dict[str, bytes] = {}
        self.sections = Sections(_part)
        self.parsed: dict[tuple[str, str], Any] = {}
        self.schemas: dict[int, tuple[Any, dict[str, Any]]] = {}

    def read(self, wanted: Sequence[Wanted]) -> dict[str, Content]:
        """Contents of some versions."""
        files = [one.file or f"models/{one.model}/model.yaml" for one in wanted]
        manifests = self._blobs([(one.commit, file) for one, file in zip(wanted, files, strict=True)])
        read: list[tuple[Wanted, str, Said | None]] = []
        for one, file in zip(wanted, files, strict=True):
            raw = self.blobs.get(manifests.get((one.commit, file), ""))
            said = self._data(raw, file) if raw is not None else None
            if said is None or said[0].get("name") != one.model:
                file, said = self._elsewhere(one) or (file, said)
            read.append((one, file, said))
        lacking = self._lacking([(one, file) for one, file, said in read if said is None])
        found = {
            one.oid: self._content(one, file, said) if said else lacking[one.oid] for one, file, said in read
        }
        # An artifact is in a .dvc file of its own, or else in the dvc.lock of a pipeline.
        for asks in (_asks_first, _asks_then):
            asked = {one.oid: asks(found[one.oid]) for one in wanted}
            pairs = dict.fromkeys((one.commit, path) for one in wanted for path in asked[one.oid])
            there = self._blobs(list(pairs)) if pairs else {}
            for one in wanted:
                at = {path: there.get((one.commit, path)) for path in asked[one.oid]}
                self._complete(found[one.oid], {path: oid for path, oid in at.items() if oid})
        self.blobs.clear()
        return found

    def _blobs(self, asked: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """(commit, path) -> the id of its blob, whose content is in `blobs` then, unless it is large."""
        if self.partial:  # all that is lacking at once: Git itself would fetch file by file
            paths = [(commit, f"{self.prefix}{path}") for commit, path in asked]
            obtain(self.root, plain.blobs(self.root, paths), {commit for commit, _ in asked})
        names = [f"{commit}:{self.prefix}{path}" for commit, path in asked]
        found = {one: said for one, said in zip(asked, plain.sizes(self.root, names), strict=True) if said}
        small = {
            oid
            for (_, path), (oid, size) in found.items()
            if size <= (_MOST_LOCK if path.endswith("dvc.lock") else documents.MAX_BYTES)
        }
        new = sorted(small - self.blobs.keys())
        for said in plain.objects(self.root, new, _MOST_LOCK) if new else ():
            if said is not None:
                self.blobs[said.oid] = said.data
        return {one: oid for one, (oid, _) in found.items()}

    # Manifests ----------------------------------------------------------------------------------

    def _data(self, raw: bytes, file: str) -> Said:
        """What a manifest says, and what is wrong with it."""
        quick = self.sections.read(raw)
        if quick and quick[1] and _fits(tuple(quick[0]), quick[0].get("type")):
            return quick[0], []
        document, problems = judged(raw, file, "model")
        if not problems:
            problems = manifest_of(document, [], None).problems
        data = document.data if isinstance(document.data, dict) else {}
        return data, [str(problem) for problem in problems[:_MOST_PROBLEMS]]

    def _elsewhere(self, one: Wanted) -> tuple[str, Said] | None:
        """A model's manifest where neither its tag nor the usual place has it: all are looked through."""
        from gitreg.errors import GitregError
        from gitreg.manifest import REGISTRY_FILE
        from gitreg.memo import Memo
        from gitreg.snapshot import Snapshot

        if not plain.sizes(self.root, [f"{one.commit}:{self.prefix}{REGISTRY_FILE}"])[0]:
            return None
        snapshot = Snapshot(self.root, one.commit, Memo(None, ""), self.prefix)
        try:
            for file in snapshot.manifests:
                raw = snapshot.read(file)
                said = self._data(raw, file) if raw is not None else None
                if said and said[0].get("name") == one.model:
                    return file, said
        except GitregError:
            pass
        finally:
            snapshot.reader.close()
        return None

    def _lacking(self, asked: Sequence[tuple[Wanted, str]]) -> dict[str, Content]:
        """Contents of versions whose manifests cannot be read, by the ids of their tags: why they cannot."""
        if not asked:
            return {}
        named = [(one.commit, f"{self.prefix}{file}") for one, file in asked]
        names = [
            name for commit, path in named for name in (commit, f"{commit}^{{tree}}", f"{commit}:{path}")
        ]
        heads = plain.heads(self.root, names)
        listed = plain.blobs_at(self.root, dict.fromkeys(named))
        found = {}
        for i, ((one, file), at) in enumerate(zip(asked, named, strict=True)):
            odd = _why_not(one.commit[:12], file, heads[3 * i : 3 * i + 3], listed.get(at))
            problem = odd or f"commit {one.commit[:12]} has no manifest of {one.model}"
            found[one.oid] = {"file": None, "problems": [problem], **({"odd": [odd]} if odd else {})}
        return found

    def _content(self, one: Wanted, file: str, read: Said) -> Content:
        """What a manifest says itself."""
        said, problems = read
        if said.get("name") != one.model and not (problems and "name" not in said):
            problems = [*problems, f"{file}: name: the manifest is of {said.get('name')!r:.80}"]
        content: Content = {"file": file, "problems": problems}
        for key in _TEXTS:
            if isinstance(said.get(key), str):
                content[key] = said[key]
        content["owners"] = _words(said.get("owners"))
        content["tags"] = _mapping(said.get("tags"))
        release = _mapping(said.get("release"))
        content["release"] = {
            "description": release["description"] if isinstance(release.get("description"), str) else "",
            "tags": _mapping(release.get("tags")),
        }
        content["schema"] = self._items(said.get("schema"))
        for key in ("batching", "triton", "lineage"):
            content[key] = _mapping(said.get(key))
        folder = file.rpartition("/")[0]
        for key in _PATHS:
            value = said.get(key)
            if isinstance(value, str) and value:
                path, refused = _contained(folder, value)
                if not refused:
                    content[f"{key}_file"] = path
            elif key in ("params", "metrics"):
                content[key] = flat(_mapping(value))
            elif key == "requirements":
                content[key] = _words(value)
        source = said.get("artifact")
        source = {"path": source} if isinstance(source, str) else _mapping(source)
        artifact: dict[str, Any] = {k: v for k, v in source.items() if isinstance(v, str)}
        content["artifact"] = artifact
        if "path" in artifact:
            path, refused = _contained(folder, artifact["path"])
            artifact["path"] = None if refused else path
        content["format"] = _format(artifact.get("path") or "", str(content.get("type", "")))
        return content

    def _items(self, schema: Any) -> dict[str, Any]:
        """Inputs and outputs; of a schema that many versions share, once."""
        if id(schema) not in self.schemas:
            if len(self.schemas) > _CHUNK:
                self.schemas.clear()
            # With the schema itself, so that no other one gets its id.
            self.schemas[id(schema)] = schema, {side: _items(schema, side) for side in ("inputs", "outputs")}
        return self.schemas[id(schema)][1]

    # What they name -----------------------------------------------------------------------------

    def _complete(self, content: Content, there: Mapping[str, str]) -> None:
        """Take in what the files say that a manifest names."""
        for key, kind in (("params", "values"), ("metrics", "values"), ("requirements", "lines")):
            file = content.get(f"{key}_file")
            if isinstance(file, str) and file in there:
                content[key] = self._once(kind, there[file], file)
        artifact = content.get("artifact") or {}
        for file, oid in there.items():
            if artifact and "hash" not in artifact and file.endswith((".dvc", "/dvc.lock", "dvc.lock")):
                outs = self._once("outs", oid, file)
                artifact.update(_out(outs, artifact, file))

    def _once(self, kind: str, oid: str, file: str) -> Any:
        if (kind, oid) not in self.parsed:
            raw = self.blobs.get(oid)
            made: Any = [] if kind == "lines" else {}
            if raw is not None:
                made = {"values": _values, "lines": _lines, "outs": _outs}[kind](raw, file)
            if len(self.parsed) > 4 * _CHUNK:
                self.parsed.clear()
            self.parsed[kind, oid] = made
        return self.parsed[kind, oid]


def _part(text: bytes) -> tuple[Any, bool]:
    """What a part of a manifest says, and whether it is as the schema wants it."""
    document, problems = documents.parse(text, "")
    if problems or not isinstance(document.data, dict):
        return None, False
    ((key, value),) = document.data.items() if len(document.data) == 1 else (("", None),)
    schema = validator("model").schema["properties"].get(key)  # type: ignore[index]
    if schema is None:
        return document.data, False
    fine = validator("model").evolve(schema=schema).is_valid(value)
    return document.data, fine and not _asks_for_more(key, value)


def _asks_for_more(key: str, value: Any) -> bool:
    """Whether a part may be wrong in a way that the schema cannot say: the whole is read then."""
    if key == "schema":
        names = [[item["name"] for item in items] for items in value.values()]
        return any(len(set(some)) != len(some) for some in names)
    if key == "lineage":
        value = value.get("environment", {})
    if key == "artifact" and isinstance(value, dict):
        return True
    if key not in ("code", "artifact", "lineage", *_PATHS):
        return False
    texts = [value] if isinstance(value, str) else value.values() if isinstance(value, dict) else value
    return any(isinstance(text, str) and _ODD_PATH.search(text) for text in texts)


_ODD_PATH = re.compile(r"\.\.|^/|\\|\0|^.:|\.git(/|\Z)")
_SHAPES: dict[tuple[Any, ...], bool] = {}


def _fits(keys: tuple[str, ...], kind: Any) -> bool:
    """Whether a manifest with valid parts is valid as a whole: by its keys, and the type."""
    key = (keys, kind if isinstance(kind, str) else None)
    if key not in _SHAPES:
        schema = {**validator("model").schema, "properties": {}, "additionalProperties": True}  # type: ignore[dict-item]
        said = {name: kind if name == "type" else None for name in keys}
        _SHAPES[key] = bool(validator("model").evolve(schema=schema).is_valid(said))
    return _SHAPES[key]


@lru_cache(maxsize=10_000)
def _format(path: str, kind: str) -> str:
    """The serialization format that an artifact's name and its model's type suggest; empty for none.

    Content is not asked: it is in no commit. `gitreg inspect` and the gate `format` look at it.
    """
    from gitreg import formats

    ending = posixpath.splitext(path)[1].lower()
    fitting = [one for one in formats.FORMATS if ending and ending in one.extensions]
    for one in fitting:
        if one.type == kind:
            return one.key
    return fitting[0].key if len({one.key for one in fitting}) == 1 else ""


@lru_cache(maxsize=10_000)
def _contained(folder: str, text: str) -> tuple[str, str | None]:
    return contain(None, folder, text)


def why_not(root: Path, commit: str, file: str, prefix: str) -> str:
    """Returns what is odd about a commit whose manifest cannot be read; empty where it just has none."""
    named = (commit, f"{prefix}{file}")
    heads = plain.heads(root, [commit, f"{commit}^{{tree}}", ":".join(named)])
    return _why_not(commit[:12], file, heads, plain.blobs_at(root, [named]).get(named))


def _why_not(commit: str, file: str, heads: Sequence[plain.Object | None], listed: str | None) -> str:
    """What is odd about a commit or a manifest that cannot be read; empty where a commit just has none.

    Args:
        heads: the commit, its tree, and the file.
        listed: the object that the commit's tree has for the file.
    """
    whole, tree, there = heads
    if whole is None:
        return f"commit {commit}, which the tag names, is not in this repository, or is damaged"
    if whole.kind != "commit":
        return f"{commit}, which the tag names, is a {whole.kind} and no commit"
    if tree is None:
        return f"the files of commit {commit} cannot be read: the commit or its tree is damaged"
    if there is not None and there.kind == "blob" and there.size > documents.MAX_BYTES:
        return f"{file} at commit {commit} has {there.size:,} bytes, of at most {documents.MAX_BYTES:,}"
    if there is not None and there.kind != "blob":
        return f"{file} at commit {commit} is a folder"
    if listed or there is not None:
        return f"{file} at commit {commit} is missing from this repository, or damaged"
    return ""


def _asks_first(content: Content) -> list[str]:
    """The files that say more, but for those that `_asks_then` asks."""
    asks = [
        content[f"{key}_file"] for key in ("params", "metrics", "requirements") if f"{key}_file" in content
    ]
    path = (content.get("artifact") or {}).get("path")
    return [*asks, f"{path}.dvc"] if path else asks


def _asks_then(content: Content) -> list[str]:
    """Where the artifact of a stage is, nearest first."""
    artifact = content.get("artifact") or {}
    if artifact.get("hash") or not (artifact.get("path") or artifact.get("stage")):
        return []
    folder = content["file"].rpartition("/")[0]
    parts = folder.split("/") if folder else []
    return [posixpath.join(*parts[:n], "dvc.lock") for n in range(len(parts), -1, -1)]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _items(schema: Any, side: str) -> list[dict[str, Any]]:
    """Inputs or outputs, as far as they can be read."""
    said = schema.get(side) if isinstance(schema, dict) else None
    found = []
    for item in said if isinstance(said, list) else ():
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            shape = item.get("shape")
            found.append(
                {
                    "name": item["name"],
                    "data_type": str(item.get("data_type", "unknown")),
                    "shape": [n for n in shape if isinstance(n, int)] if isinstance(shape, list) else [],
                    "optional": item.get("optional") is True,
                    **(
                        {"description": item["description"]}
                        if isinstance(item.get("description"), str)
                        else {}
                    ),
                }
            )
    return found


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves by dotted name, at most 10,000: `{"test": {"auc": 0.9}}` is `{"test.auc": 0.9}`."""
    found: dict[str, Any] = {}
    todo: list[tuple[str, Mapping[str, Any]]] = [("", values)]
    for above, level in todo:
        for name, value in level.items():
            if len(found) >= _MOST_LEAVES:
                return found
            if isinstance(value, dict):
                todo.append((f"{above}{name}.", value))
            else:
                found.setdefault(f"{above}{name}", value)
    return found


def _values(raw: bytes, file: str) -> dict[str, Any]:
    try:
        return flat(values_of(raw, file))
    except InvalidFiles:
        return {}


def _lines(raw: bytes, file: str) -> list[str]:
    """The requirements in a requirements.txt."""
    lines = (line.split(" #")[0].strip() for line in raw.decode("utf-8", "replace").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))][:_MOST_LINES]


def _outs(raw: bytes, file: str) -> dict[str, Any]:
    """stage (empty in a .dvc file) -> what DVC says of its outputs."""
    document, problems = documents.parse(raw, file, _MOST_LOCK)
    data = _mapping(document.data) if not problems else {}
    if file.endswith(".dvc"):
        return {"": data.get("outs")}
    return {name: _mapping(stage).get("outs") for name, stage in _mapping(data.get("stages")).items()}


def _out(outs: Mapping[str, Any], artifact: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Hash, bytes and number of files of an artifact, by one of DVC's files."""
    folder = file.rpartition("/")[0]
    for stage, listed in outs.items():
        for out in listed if isinstance(listed, list) else ():
            said = _mapping(out)
            path = posixpath.normpath(posixpath.join(folder, str(said.get("path", ""))))
            wanted = artifact.get("path")
            mine = path == wanted if wanted else stage == artifact.get("stage")
            if mine and isinstance(said.get("md5"), str):
                size, count = said.get("size"), said.get("nfiles")
                return {
                    "hash": f"md5:{said['md5']}",
                    "size": size if isinstance(size, int) else None,
                    "files": count if isinstance(count, int) else None,
                    "at": path,
                }
    return {}
