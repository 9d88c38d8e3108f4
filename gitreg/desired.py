"""What the files of a commit say should be. Frozen, and free of YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class WantedModel:
    """A model as a manifest declares it.

    Attributes:
        version: what the manifest says; where it is blank, the one that comes next, or was registered for
            just this content.
        file: the manifest.
        line, column: of the version in it, for problems.
    """

    name: str
    version: str
    file: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True)
class WantedStay:
    """A line of a stage file: a version that should be in a stage."""

    stage: str
    model: str
    version: str
    file: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True)
class Desired:
    """What the files say.

    Attributes:
        commit: whose files.
        scheme: of the versions.
        stages: in the order of registry.yaml; only these are managed.
        names: of all models, where a stage file names one that there is not.
        prefix: what the names of tags begin with.
    """

    commit: str
    models: Mapping[str, WantedModel] = field(default_factory=dict)
    stages: tuple[str, ...] = ()
    stays: tuple[WantedStay, ...] = ()
    scheme: str = "semver"
    names: tuple[str, ...] = ()
    prefix: str = ""


@dataclass(frozen=True, order=True)
class Action:
    """One tag to write.

    Attributes:
        kind: "register", "unassign" or "assign".
        commit: what the tag names: the commit that has the version.
        number: a registration's ordinal.
        instead: the version that was in the stage before.
    """

    model: str
    kind: str
    version: str
    commit: str
    stage: str = ""
    number: int = 0
    instead: str = ""

    def __str__(self) -> str:
        if self.kind == "register":
            return f"register {self.model}@{self.version}"
        if self.kind == "unassign":
            return f"unassign {self.model}@{self.version} from {self.stage}"
        return f"assign   {self.model}@{self.version} to {self.stage}" + (
            f" (instead of {self.instead})" if self.instead else ""
        )
