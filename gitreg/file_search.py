"""Finds files by a pattern of registry.yaml's."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from gitreg.globs import Glob, is_plain


def matching(root: Path, glob: Glob) -> Iterator[str]:
    """Returns what a pattern matches below a folder, relative to it. Looks into no folder twice.

    Git does not look behind links, so nothing is searched for there. What the pattern names outright behind a
    link is returned, and so is a link that it names outright: whoever reads that says what it is.
    """
    todo = [("", glob.start())]
    while todo:
        folder, places = todo.pop()
        for name in _names(os.path.join(root, folder), glob.names(places)):
            path, after = folder + name, glob.follow(places, name)
            full = os.path.join(root, path)
            if glob.end in after:
                yield path
            elif os.path.islink(full):
                for rest in (glob.rest(place, name) for place in places):
                    yield from _behind(full, path, rest, name in glob.parts)
            if after - {glob.end} and os.path.isdir(full) and not os.path.islink(full):
                todo.append((f"{path}/", after))


def _names(folder: str, only: Collection[str] | None) -> list[str]:
    try:
        there = os.listdir(folder) if only is None else only
    except OSError:
        return []
    return [n for n in there if n[:1] != "." and (only is None or os.path.lexists(os.path.join(folder, n)))]


def _behind(link: str, path: str, rest: Sequence[str], named: bool) -> Iterator[str]:
    if rest and all(map(is_plain, rest)):
        yield from ["/".join([path, *rest])] if os.path.lexists(os.path.join(link, *rest)) else []
    elif rest and named:
        yield path
