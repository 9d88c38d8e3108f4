"""The other registries in a Git repository, and whether their tags can be told from those of this one.

Another registry is a tracked file registry.yaml with the key `registry`. What only looks like one, a sample
of a test or a vendored copy, is named by this registry's own `tags: {ignore: [FOLDER]}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gitreg import git
from gitreg.documents import MAX_BYTES, parse
from gitreg.errors import Problem
from gitreg.git import objects, plain
from gitreg.globs import Glob
from gitreg.manifest import REGISTRY_FILE
from gitreg.names import prefix_mistake


class Neighbour(NamedTuple):
    """A registry in this repository.

    Attributes:
        folder: from the top of the repository; empty for the top.
        name: what its registry.yaml calls it.
        prefix: of its tags: its folder, or empty.
    """

    folder: str
    name: str
    prefix: str

    @property
    def file(self) -> str:
        """Its registry.yaml, from the top of the repository."""
        return f"{self.folder}/{REGISTRY_FILE}" if self.folder else REGISTRY_FILE


def said(raw: bytes, folder: str) -> Neighbour | None:
    """What a registry.yaml says that matters to others; None where it is no registry's."""
    document, _ = parse(raw, REGISTRY_FILE)
    data = document.data
    if not isinstance(data, Mapping) or not isinstance(data.get("registry"), str):
        return None
    prefix = _tags(data).get("prefix")
    return Neighbour(folder, data["registry"], folder if prefix == folder and folder else "")


def _tags(data: Mapping[str, Any]) -> Mapping[str, Any]:
    tags = data.get("tags")
    return tags if isinstance(tags, Mapping) else {}


def prefix_in(raw: bytes, folder: str) -> str:
    """The prefix that a registry.yaml gives the tags of the registry in a folder."""
    if not folder or b"prefix" not in raw:
        return ""
    found = said(raw, folder)
    return found.prefix if found else ""


def ignored_in(raw: bytes) -> tuple[str, ...]:
    """The folders whose registry.yaml is no registry's, by another registry.yaml."""
    document, _ = parse(raw, REGISTRY_FILE)
    given = _tags(document.data).get("ignore") if isinstance(document.data, Mapping) else None
    return tuple(one for one in given if isinstance(one, str)) if isinstance(given, list) else ()


def folders(paths: Iterable[str], own: str, ignored: Sequence[str] = ()) -> list[str]:
    """The folders of other registries, by the files of a repository.

    Args:
        own: this registry's folder.
        ignored: patterns of folders whose registry.yaml files are none.
    """
    files = (path for path in paths if path == REGISTRY_FILE or path.endswith(f"/{REGISTRY_FILE}"))
    found = {path.removesuffix(REGISTRY_FILE).removesuffix("/") for path in files} - {own}
    return sorted(folder for folder in found if not is_ignored(folder, ignored))


def is_ignored(folder: str, ignored: Sequence[str]) -> bool:
    """Whether a folder, or one above it, is named by a pattern."""
    parts = folder.split("/")
    above = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    return any(glob.match(place) for glob in map(_glob, ignored) if glob for place in above)


def _glob(text: str) -> Glob | None:
    try:
        return Glob(text)
    except ValueError:  # `check` tells
        return None


def tracked(
    root: Path, own: str, ignored: Sequence[str] = (), bare: bool = False, untracked: bool = False
) -> list[str]:
    """The folders of other registries, by what Git tracks: one look-up in its index.

    Args:
        untracked: also those that Git does not know and does not ignore.
    """
    if bare:
        return folders(objects.tree(root, "HEAD"), own, ignored)
    more = ["--cached", "--others", "--exclude-standard"] if untracked else []
    wanted = f":(top,glob)**/{REGISTRY_FILE}"
    listed = git.run(root, ["ls-files", "-z", "--full-name", *more, "--", wanted]).out
    return folders(listed.split("\0"), own, ignored)


def at(root: Path, commit: str, found: Sequence[str]) -> list[Neighbour]:
    """Those of some folders that have a registry in a commit."""
    names = [f"{commit}:{folder}/{REGISTRY_FILE}".replace(":/", ":") for folder in found]
    read = plain.objects(root, names) if names else ()
    made = (
        said(one.data, folder) for folder, one in zip(found, read, strict=False) if one and one.kind == "blob"
    )
    return [one for one in made if one]


def here(top: Path, found: Sequence[str]) -> list[Neighbour]:
    """Those of some folders that have a registry in the work tree."""
    made = []
    for folder in found:
        raw = _read(top / folder / REGISTRY_FILE)
        if raw is not None and (one := said(raw, folder)):
            made.append(one)
    return made


def _read(file: Path) -> bytes | None:
    """A file of a registry that is not this one; None where there is none, or a link."""
    if file.is_symlink() or not file.is_file():
        return None
    with open(file, "rb") as stream:
        return stream.read(MAX_BYTES + 1)


def inner(root: Path, own: str, files: Iterable[str], ignored: Sequence[str]) -> tuple[str, ...]:
    """The folders of registries inside of this one that some files lie in, each with a slash at its end.

    Args:
        own: this registry's folder.
        files: relative to `root`.
    """
    above: set[str] = set()
    for file in files:
        parts = file.split("/")[:-1]
        above.update("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    found = []
    for folder in sorted(above):
        raw = _read(root / folder / REGISTRY_FILE)
        if raw is not None and not is_ignored(f"{own}/{folder}".lstrip("/"), ignored):
            found += [f"{folder}/"] if said(raw, folder) else []
    return tuple(found)


def twins(own: str, found: Iterable[str]) -> list[str]:
    """The folders that differ from a registry's own in the case of letters alone."""
    return [one for one in found if one.casefold() == own.casefold()]


def clash(own: str, prefix: str, others: Sequence[Neighbour]) -> Problem | None:
    """What is wrong where this registry and another one write tags without a prefix.

    Args:
        own: this registry's folder.
        prefix: of its tags.
    """
    twin = next((one for one in others if one.prefix and one.prefix.casefold() == prefix.casefold()), None)
    if twin:
        message = (
            f"{twin.file} has the prefix {twin.prefix}, and {prefix} differs from it in the case of letters "
            "alone: where file systems do not tell case apart, their tags are one; rename one of the folders"
        )
        return Problem(REGISTRY_FILE, 1, 1, "tags.prefix", message)
    bare = [one for one in others if not one.prefix]
    if prefix or not bare:
        return None
    files = [Neighbour(own, "", "").file, *(one.file for one in bare)]
    named = f"{', '.join(files[:-1])} and {files[-1]}"
    places = [own, *(one.folder for one in bare)]
    able = next((place for place in places if place and not prefix_mistake(place)), None)
    help_ = f"`tags: {{prefix: {able}}}` in {able}/{REGISTRY_FILE}" if able else "move one"
    message = (
        f"{named} share this repository, and their tags have no prefix, so one would take the other's for "
        f"its own: {help_}. One registry may do without: the one that has tags"
    )
    if bare[0].folder:
        message += f". What is only a sample: `tags: {{ignore: [{bare[0].folder}]}}` here"
    return Problem(REGISTRY_FILE, 1, 1, "tags", message)
