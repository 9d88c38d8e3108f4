"""What a file, archive or folder is, by its content. Nothing is loaded, and only heads of files are read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from gitreg import flavors, folders, formats, trees
from gitreg.beside import runs
from gitreg.errors import Refused
from gitreg.scanning import Seen, inspect_file, keep, named, settle

_MOST_FILES = 20_000


def detect(path: Path) -> formats.Format:
    """The format of a file or folder. Raises Refused when it is neither."""
    if path.is_dir():
        return detect_files({name: path / name for name in folders.tree_files(path)})
    return inspect_file(path, path.name).format


def detect_files(files: Mapping[str, Path]) -> formats.Format:
    """The format of an artifact, from its files by their names in it."""
    found = formats.detect_folder(list(files))
    if found is formats.UNKNOWN and len(files) == 1:
        name, path = next(iter(files.items()))
        return inspect_file(path, name).format
    return found if found.runs_code else inspect_files(files, "").format


def _only_model(seen: Seen) -> formats.Format:
    """The format of the only file of a folder that a type's loader takes, as ONNX with weights beside it."""
    names = {one.path: one.path[len(seen.path) + 1 :] for one in seen.inside}
    found = [one for one in seen.inside if "/" not in names[one.path] and _loads_files(one.format.type)]
    others = [one for one in seen.inside if one not in found]
    if len(found) != 1 or seen.unseen or any(one.suspect for one in others):
        return formats.UNKNOWN
    return found[0].format


def _loads_files(kind: str) -> bool:
    """Whether a type's loader takes one file of a folder."""
    return kind in flavors.FLAVORS and "file" in flavors.FLAVORS[kind].options


def inspect(path: Path, name: str | None = None) -> Seen:
    """Everything that can be said of a file or folder. Links are followed at `path`, and below it only
    where they stay below it.

    Raises:
        Refused: there is nothing at `path`.
    """
    name = name or str(path)
    if not os.path.lexists(path):
        raise Refused(f"{path} does not exist")
    if not path.is_dir():
        return named(_careful(path, name))
    found, whole = _walk(path)
    seen = inspect_files(found, name)
    if not whole:
        seen.warnings.append(f"only its first {_MOST_FILES:,} files were looked into")
        seen.unseen = True
    return seen


def inspect_files(files: Mapping[str, Path | str], name: str) -> Seen:
    """Like `inspect`, of a folder's files by their names in it; a text instead of a path says why not."""
    seen = Seen(name, formats.detect_folder(list(files)), 0)
    graphs: list[str] = []
    for member, path in sorted(files.items()):
        label = f"{name}!{member}"
        one = _careful(path, label) if isinstance(path, Path) else Seen(label, warnings=[path], unseen=True)
        seen.size = (seen.size or 0) + (one.size or 0)
        graphs += [member] if one.format is formats.ONNX else []
        keep(seen, one)
    if seen.strangers and graphs:
        tensors = _tensors(files, graphs)
        seen.strangers = [one for one in seen.strangers if one not in tensors]
    if seen.format is formats.TRANSFORMERS and seen.suspect:
        seen.format = formats.TRANSFORMERS_CODE
    elif seen.format is formats.UNKNOWN:
        seen.format = _only_model(seen)
    return settle(seen)


def _tensors(files: Mapping[str, Path | str], graphs: Sequence[str]) -> set[str]:
    """The files in which ONNX graphs keep tensors: data, unless names or first bytes say that they run."""
    from gitreg.references import locations

    found = set()
    for graph in graphs:
        folder = graph.rpartition("/")[0]
        for place in locations(Path(files[graph])):
            member = os.path.normpath(f"{folder}/{place}" if folder else place)
            file = files.get(member)
            if isinstance(file, Path) and not runs(member, _first(file)):
                found.add(member)
    return found


def _first(file: Path) -> bytes:
    with open(file, "rb") as stream:
        return stream.read(16)


def unpickled(files: Mapping[str, Path], kind: str) -> str | None:
    """What the loader of a type of model would unpickle, in words; None where there is nothing.

    Args:
        files: of the artifact, by their names in it.
    """
    flavor = flavors.FLAVORS.get(kind)
    if flavor is None:
        return None
    seen = inspect_files(files, "").all()
    bad = [one for one in seen if one.format.key in (flavors.PICKLES | flavor.unsafe) - flavor.safe]
    if not bad:
        return None
    damaged = "".join(f"; {why}" for why in bad[0].warnings if why.startswith("truncated"))
    return f"{bad[0].path.lstrip('!') or 'the artifact'} ({bad[0].format.name}{damaged})"


def _walk(root: Path) -> tuple[dict[str, Path | str], bool]:
    """Files below a folder by their names, or why they are not looked at; and whether these are all."""
    found: dict[str, Path | str] = {}
    inside = os.path.realpath(root)
    refused: list[OSError] = []
    for at, _, names in trees.walk(root, refused.append):
        for one in sorted(names):
            path = Path(at, one)
            target = os.path.realpath(path)
            stays = os.path.commonpath([inside, target]) == inside
            if path.is_symlink() and not (stays and os.path.isfile(target)):
                why = "a link to a folder or to nothing" if stays else "a link out of the folder"
                found[path.relative_to(root).as_posix()] = f"{why}: not followed"
            else:
                found[path.relative_to(root).as_posix()] = path
            if len(found) >= _MOST_FILES:
                return found, False
    for error in refused:
        place = Path(str(error.filename)).relative_to(root).as_posix()
        found[place] = f"a folder that cannot be read: {error.strerror}"
    return found, True


def _careful(path: Path, name: str) -> Seen:
    try:
        return inspect_file(path, name)
    except OSError as error:
        return Seen(name, warnings=[f"cannot be read: {error.strerror}"], unseen=True)
    except Refused as error:
        return Seen(name, warnings=[error.message], unseen=True)
