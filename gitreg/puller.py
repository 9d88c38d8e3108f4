"""A registered version -> its artifact, or its tested package, in a folder of the caller's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import builder, folders, live, outputs
from gitreg.declared import Artifact
from gitreg.errors import Refused, Usage
from gitreg.pins import ANY, Pin
from gitreg.recorded import Version

if TYPE_CHECKING:
    from gitreg.registry import Registry

# Says which files of a folder are a pulled artifact's, so that the next pull may replace them, and no others.
RECORD = ".gitreg-pull.json"


@dataclass(frozen=True)
class Pulled:
    """What lies in a folder now.

    Attributes:
        kind: "artifact", "raw" or "triton".
        status: "pulled", or "unchanged" when it was there.
        path: the folder.
        files, size: how many, and their bytes; of a package, those of its artifact.
    """

    model: str
    version: Version
    ordinal: int
    kind: str
    status: str
    path: Path
    digest: str
    files: int
    size: int


class Puller:
    """Pulls one version.

    Args:
        reference: a registered version.
        place: the folder; by default, one of the model's name in the current folder.
        progress: is told what takes long.
        wanted: what the version has to be.

    Raises:
        Refused: there is no such version; or its tag says that it is another than `wanted`.
        Usage: the folder is the current one, or one above it.
    """

    def __init__(
        self,
        registry: Registry,
        reference: str,
        place: Path | None = None,
        progress: Callable[[str], None] | None = None,
        wanted: Pin = ANY,
    ) -> None:
        self.registry, self.wanted = registry, wanted
        self.model, self.version = registry.resolve(reference)
        self.name = f"{self.model.name}@{self.version.version}"
        self.said = registry.trailers(self.version.tag).get("Gitreg-Digest")
        if self.said:
            wanted.hold_digest(self.name, self.said, "its tag")
        self.place = outputs.claim(place or Path(self.model.name))
        self.tell = progress or (lambda text: None)
        if self.place.resolve() in (here := Path.cwd().resolve(), *here.parents):
            raise Usage(f"{place} cannot be replaced as a whole", f"-o {self.model.name}")

    def artifact(self) -> Pulled:
        """The artifact's files, in the folder.

        Raises:
            Refused: the folder holds something else, or was changed; the artifact is corrupt, or not what is
                wanted.
            Outside: it cannot be fetched.
        """
        live.recover(self.place)
        old = _claimed(self.place)
        with self.registry.at(self.version.tag.commit, model=self.model.name) as there:
            found = there.workbench.artifact(self.model.name, self.tell, self.name, self.wanted)
            files = {name: link.md5 for name, link in found.files.items()}
            if old == files:
                return self._pulled(there, "artifact", "unchanged", found)
            with (
                live.beside(self.place, "artifact", self.registry.scratch) as beside,
                folders.aside(beside) as new,
            ):
                for name, link in found.files.items():
                    link.verified()
                    folders.link(link.source, new / "it" / name, share=False)
                    (new / "it" / name).chmod(0o644)
                said = {"model": self.model.name, "version": self.version.version, "files": files}
                folders.write(new / "it" / RECORD, json.dumps(said, indent=2).encode())
                (new / "it").chmod(0o755)
                _claimed(self.place)
                live.put(new / "it", self.place)
            return self._pulled(there, "artifact", "pulled", found)

    def package(self, kind: str, timeout: float | None = None) -> Pulled:
        """The package, tested as `gitreg build` tests it; the folder is the package.

        Args:
            kind: "raw" or "triton". A Triton package's folder has the model's name.
            timeout: seconds that the model may take.

        Raises:
            Refused: the folder holds something else, or a package that was changed.
            ModelFailed: the model does not pass its test.
            NotSupported: there is no such package for the model's type.
            Outside: the artifact cannot be fetched.
        """
        if kind == "triton" and self.place.name != self.model.name:
            hint = f"-o {self.place.name}/{self.model.name}"
            raise Usage(f"Triton wants the folder to be named as the model, {self.model.name}", hint)
        builder.claim(self.place, kind)
        with self.registry.at(self.version.tag.commit, model=self.model.name) as there:
            workbench = there.workbench
            number = self.registry.ordinal(self.version)
            said = self.said or self.wanted.digest
            parts = workbench.registered(self.model.name, self.version.version, number, said, self.tell)
            self.wanted.hold_artifact(self.name, parts.artifact)
            builder.refuse_unsupported(parts.type, [kind])
            record = builder.find_record(self.place) if self.place.is_dir() else None
            if record and _is_of(record, parts.version, number, parts.commit):
                return self._pulled(there, kind, "unchanged", parts.artifact)
            self.tell(f"testing the {kind} package of {self.model.name}@{self.version.version}")
            scratch = self.registry.scratch
            with (
                workbench.testing(parts, timeout) as conditions,
                live.beside(self.place, kind, scratch) as beside,
            ):
                builder.package(parts, {kind: self.place}, beside, conditions)
            return self._pulled(there, kind, "pulled", parts.artifact)

    def _pulled(self, there: Registry, kind: str, status: str, artifact: Artifact) -> Pulled:
        return Pulled(
            self.model.name,
            self.version,
            self.registry.ordinal(self.version),
            kind,
            status,
            self.place,
            artifact.digest,
            len(artifact.files),
            artifact.size,
        )


def _is_of(record: Mapping[str, Any], version: str | None, number: int, commit: str | None) -> bool:
    """Whether a package, which is as gitreg made it, is this one already."""
    return (record["version"], record["ordinal"], record["commit"]) == (version, number, commit)


def _claimed(place: Path) -> dict[str, str]:
    """The files of an artifact that was pulled into a folder before, by MD5; none for an empty folder.

    Raises:
        Refused: there is something else in it, or a file was changed.
    """
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise Refused(f"{place} exists and is not a folder", "choose another -o")
    if not place.is_dir() or not any(place.iterdir()):
        return {}
    try:
        files = {str(k): str(v) for k, v in json.loads((place / RECORD).read_bytes())["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise Refused(f"{place} exists, and gitreg pulled nothing into it", "choose another -o") from None
    there = [name for name in folders.tree_files(place, bytecode=True) if name != RECORD]
    foreign = [n for n in there if n not in files or folders.digests(place / n)[0] != files[n]]
    if foreign:
        listed = ", ".join(foreign[:5]) + (", ..." if len(foreign) > 5 else "")
        raise Refused(f"{place} is not as it was pulled: {listed}", "move it away, or choose another -o")
    return {name: md5 for name, md5 in files.items() if name in there}
