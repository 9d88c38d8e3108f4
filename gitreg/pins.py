"""What a consumer expects of a version: which content it is, and what its artifact's files are.

A registry, a tag or a cache can be changed by whoever may write to it. What a consumer writes down cannot: a
content digest that was reviewed, and the formats that it is ready to load. Both are held before anything of
the model is loaded or run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitreg.errors import Refused, Usage

if TYPE_CHECKING:
    from gitreg.declared import Artifact
    from gitreg.registry import Registry

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")
_MOST = 10


@dataclass(frozen=True)
class Pin:
    """What is expected of a version.

    Attributes:
        digest: its content digest, as `sha256:<64 hex digits>`; None for any.
        formats: the formats that the files of its artifact may have; None for all.
    """

    digest: str | None = None
    formats: frozenset[str] | None = None

    @property
    def given(self) -> bool:
        """Whether anything is expected."""
        return self != ANY

    def hold_digest(self, name: str, found: str, whose: str) -> None:
        """Raise Refused where a content digest is another than is expected.

        Args:
            name: of the version, as `churn@1.2.0`.
            whose: what has this digest, as "its tag".
        """
        if self.digest and found != self.digest:
            raise Refused(
                f"{name} is not the version that was pinned: expected the content {self.digest}, "
                f"and {whose} says {found}",
                f"gitreg show {name}; pin its digest once what changed is reviewed",
            )

    def hold_files(self, name: str, files: Mapping[str, Path]) -> None:
        """Raise Refused where a file of an artifact, by its content, is of no format that is allowed.

        Args:
            files: by their names in the artifact.
        """
        if self.formats is None:
            return
        wrong = [line for file, path in sorted(files.items()) for line in self._mistakes(file, path)]
        if wrong:
            more = f"; and {len(wrong) - _MOST:,} more" if len(wrong) > _MOST else ""
            raise Refused(
                f"{name} has files of other formats than {', '.join(sorted(self.formats))}: "
                f"{'; '.join(wrong[:_MOST])}{more}",
                "gitreg inspect --json says what files are, and whether loading them runs code",
            )

    def hold_artifact(self, name: str, artifact: Artifact) -> None:
        """The same of an artifact in a cache, whose bytes are those of its hashes or are refused, too."""
        if self.formats is not None:
            for link in artifact.files.values():
                link.verified()
            self.hold_files(name, {file: link.source for file, link in artifact.files.items()})

    def _mistakes(self, file: str, path: Path) -> list[str]:
        from gitreg.scanning import inspect_file

        assert self.formats is not None
        try:
            seen = inspect_file(path, file)
        except OSError as error:
            return [f"{file} cannot be read: {error.strerror}"]
        wrong = [
            f"{one.path} is {one.format.key}" for one in seen.all() if one.format.key not in self.formats
        ]
        if seen.unseen and "archive-opaque" not in self.formats:
            wrong.append(f"{file} could not be looked into as a whole")
        return wrong


ANY = Pin()


def pin(digest: str | None = None, formats: Collection[str] | str | None = None) -> Pin:
    """What is expected, as a caller says it.

    Args:
        digest: as `gitreg show` prints it: `sha256:` and 64 hex digits, or these alone.
        formats: names of formats, as `gitreg inspect --json` gives them to files.

    Raises:
        Usage: the digest is none, or only the beginning of one; there is no such format.
    """
    if digest is None and formats is None:
        return ANY
    found = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if digest is not None and not found:
        raise Usage(
            f"{digest!r} is not a content digest: `sha256:` and all of its 64 hex digits are expected",
            "gitreg show churn@1.2.0 prints that of a version",
        )
    return Pin(f"sha256:{found[1].lower()}" if found else None, _formats(formats))


def _formats(said: Collection[str] | str | None) -> frozenset[str] | None:
    if said is None:
        return None
    from gitreg.formats import FOLDERS, FORMATS
    from gitreg.names import did_you_mean

    names = [said] if isinstance(said, str) else list(said)
    if not names:
        raise Usage("no format is allowed, so nothing could be loaded", "leave `formats` out to allow all")
    known = {one.key for one in FORMATS} - FOLDERS
    for name in names:
        if name in FOLDERS:
            raise Usage(f"{name!r} is what a folder is as a whole: name the formats of the files in it")
        if name not in known:
            raise Usage(f"{name!r} is not a format{did_you_mean(str(name), known)}", ", ".join(sorted(known)))
    return frozenset(names)


def confirm(registry: Registry, reference: str, wanted: Pin) -> str:
    """Raise Refused unless a model is what is wanted; nothing of it is loaded or run. Its name."""
    from gitreg import resolver

    resolver.hold_claim(registry, reference, wanted)
    with registry.holding(reference) as (there, model):
        there.workbench.parts(model, wanted)
        return model
