"""What a registry's readers see: registered models, their versions, and the stages that they are in.

The words are those of model registries since ZenML's: RegisteredModel, ModelVersion, ModelVersionStage. All
are frozen, and free of Git: what tags record, and what the version's manifest said at its own commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gitreg.model import DataType, ModelSchema, ModelSchemaItem
from gitreg.versions import order


@dataclass(frozen=True)
class ModelVersionStage:
    """A time for which a version is, or was, in a stage.

    Attributes:
        stage: its name.
        version: None where the tag names a commit of no registered version.
        since, until: when; `until` is None while it lasts.
        by: who put it there, as Git writes it: `Name <mail>`.
        message: the first line of the tag's message.
        tag: the tag that says so.
    """

    stage: str
    version: str | None
    since: datetime
    until: datetime | None
    by: str
    message: str
    tag: str

    def __str__(self) -> str:
        return self.stage


@dataclass(frozen=True)
class ModelVersion:
    """One registered version: what its tag records, and what its manifest said at its commit.

    Attributes:
        model, version: its name.
        ordinal: as in `models:/churn/3`.
        id, model_id: stable for ever.
        created, by, message: of the tag that registered it.
        tag, commit: the tag's name, and the commit that it names.
        digest: of the content, as the tag says; empty in a tag of GTO's.
        gone: when it was deregistered; None while it is registered.
        latest: whether it is the highest of the registered ones.
        stages: those it is in now.
        stays: all that it is and was in, in order.
        content: all that is known of the manifest; the properties below read it.
        odd_tag: what is odd about the tag's object, a sentence each.
    """

    model: str
    version: str
    ordinal: int
    id: str
    model_id: str
    created: datetime
    by: str
    message: str
    tag: str
    commit: str
    digest: str = ""
    gone: datetime | None = None
    latest: bool = False
    stages: tuple[str, ...] = ()
    stays: tuple[ModelVersionStage, ...] = ()
    trailers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)
    odd_tag: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"

    def __repr__(self) -> str:
        there = f", in {', '.join(self.stages)}" if self.stages else ""
        return f"<ModelVersion {self}, registered {self.created:%Y-%m-%d}{there}>"

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model

    @property
    def stage(self) -> str | None:
        """The stage that it came into last of those it is in; None for none."""
        return self.stages[-1] if self.stages else None

    @property
    def uri(self) -> str:
        """`models:/churn/1.2.0`."""
        return f"models:/{self.model}/{self.version}"

    @property
    def problems(self) -> tuple[str, ...]:
        """Why today's schema would refuse the manifest, or why there is none; empty when it is fine."""
        return tuple(self.content.get("problems", ()))

    @property
    def odd(self) -> tuple[str, ...]:
        """What is odd about its tag, the commit or the manifest's object, a sentence each; empty for most."""
        return (*self.odd_tag, *map(str, self.content.get("odd", ())))

    @property
    def file(self) -> str | None:
        """The manifest, relative to the registry's root; None where the commit has none."""
        found = self.content.get("file")
        return str(found) if found else None

    @property
    def title(self) -> str:
        """The name that people know it by, where it has one."""
        return str(self.content.get("title", ""))

    @property
    def description(self) -> str:
        """What holds for the model, in the words of this version."""
        return str(self.content.get("description", ""))

    @property
    def release_description(self) -> str:
        """What holds for this version alone."""
        return str(self._of("release").get("description", ""))

    @property
    def model_tags(self) -> Mapping[str, Any]:
        """Tags that hold for the model."""
        return self._of("tags")

    @property
    def release_tags(self) -> Mapping[str, Any]:
        """Tags of this version alone."""
        found = self._of("release").get("tags")
        return found if isinstance(found, Mapping) else {}

    @property
    def tags(self) -> Mapping[str, Any]:
        """Both; this version's own win."""
        return {**self.model_tags, **self.release_tags}

    @property
    def owners(self) -> tuple[str, ...]:
        """Who answers for it, as `@risk-team`."""
        return tuple(self.content.get("owners", ()))

    @property
    def type(self) -> str:
        """The manifest's, as `onnx`."""
        return str(self.content.get("type", ""))

    @property
    def format(self) -> str:
        """The serialization format that the artifact's file name and the type suggest; empty for none."""
        return str(self.content.get("format", ""))

    @property
    def params(self) -> Mapping[str, Any]:
        """By dotted name."""
        return self._of("params")

    @property
    def metrics(self) -> Mapping[str, float]:
        """Numbers by dotted name; NaN and infinity among them where the file has them."""
        return {k: v for k, v in self._of("metrics").items() if _is_number(v)}

    @property
    def inputs(self) -> tuple[Mapping[str, Any], ...]:
        """`name`, `data_type`, `shape`, `optional` of each."""
        return tuple(self._of("schema").get("inputs", ()))

    @property
    def outputs(self) -> tuple[Mapping[str, Any], ...]:
        """Likewise."""
        return tuple(self._of("schema").get("outputs", ()))

    @property
    def schema(self) -> ModelSchema | None:
        """None where the manifest has none."""
        if not self.inputs and not self.outputs:
            return None
        return ModelSchema([*map(_item, self.inputs)], [*map(_item, self.outputs)])

    @property
    def requirements(self) -> tuple[str, ...]:
        """Lines, as `numpy>=1.24`."""
        return tuple(self.content.get("requirements", ()))

    @property
    def lineage(self) -> Mapping[str, Any]:
        """`code`, `data`, `environment`, `run`, as the manifest says."""
        return self._of("lineage")

    @property
    def license(self) -> str:
        """An SPDX expression, or what else the manifest says."""
        return str(self.content.get("license", ""))

    @property
    def card(self) -> str | None:
        """The model card's file, relative to the registry's root."""
        found = self.content.get("card_file")
        return str(found) if found else None

    @property
    def image(self) -> str:
        """The image that it is, or is served in; pinned by digest."""
        return str(self.content.get("image", ""))

    @property
    def artifact(self) -> Mapping[str, Any]:
        """`path`, `stage`, `url`, ... as the manifest says; `hash`, `size`, `files` as DVC does."""
        return self._of("artifact")

    @property
    def artifact_hash(self) -> str:
        """DVC's, as `md5:<hex>`; empty where it is not known."""
        return str(self.artifact.get("hash") or self.trailers.get("Gitreg-Artifact", ""))

    @property
    def size(self) -> int | None:
        """Bytes of the artifact; None where DVC does not say."""
        found = self.artifact.get("size")
        return found if isinstance(found, int) else None

    @property
    def tracker(self) -> str:
        """The experiment tracker that the run is in."""
        return self._run("tracker")

    @property
    def pipeline_name(self) -> str:
        """The pipeline that made it, by lineage.run; empty where it does not say. So are the next ones."""
        return self._run("pipeline")

    @property
    def pipeline_run_id(self) -> str:
        """The run of the pipeline."""
        return self._run("pipeline_run_id")

    @property
    def step_name(self) -> str:
        """The step of the pipeline."""
        return self._run("step")

    @property
    def run_id(self) -> str:
        """The experiment tracker's id."""
        return self._run("run_id")

    def _run(self, key: str) -> str:
        run = self.lineage.get("run")
        found = run.get(key) if isinstance(run, Mapping) else None
        return found if isinstance(found, str) else ""

    def _of(self, key: str) -> Mapping[str, Any]:
        found = self.content.get(key)
        return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True)
class RegisteredModel:
    """A model with at least one registered version, or one that once was.

    Attributes:
        latest: the highest registered version; None when all are deregistered.
        stages: stage -> the version in it.
        count: registered versions.
        created, updated: the times of its first registration and of its last tag.
        deprecated: whether its last tag says so.
        about: the latest version (or the last that there was), whose words hold for the model.
        odd_tags: what is odd about any of its tags, a sentence each; those that record nothing among them.
    """

    name: str
    id: str
    latest: str | None
    stages: Mapping[str, str]
    count: int
    created: datetime
    updated: datetime
    deprecated: bool
    about: ModelVersion = field(repr=False)
    _versions: Callable[[], list[ModelVersion]] = field(repr=False, compare=False)
    odd_tags: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        there = "".join(f", {stage} {version}" for stage, version in self.stages.items())
        return f"<RegisteredModel {self.name}, latest {self.latest}{there}>"

    @property
    def description(self) -> str:
        """Of its highest version, as all that follows."""
        return self.about.description

    @property
    def title(self) -> str:
        """The name that people know it by, where it has one."""
        return self.about.title

    @property
    def tags(self) -> Mapping[str, Any]:
        """The model's own, without those of a release."""
        return self.about.model_tags

    @property
    def owners(self) -> tuple[str, ...]:
        """Who answers for it."""
        return self.about.owners

    @property
    def type(self) -> str:
        """As `onnx`; empty where no manifest can be read."""
        return self.about.type

    @property
    def problems(self) -> tuple[str, ...]:
        """Why today's schema would refuse its manifest."""
        return self.about.problems

    @property
    def odd(self) -> tuple[str, ...]:
        """What is odd about its tags, and about what its highest version's tag names; empty for most."""
        return tuple(dict.fromkeys((*self.odd_tags, *self.about.odd)))

    def versions(self) -> list[ModelVersion]:
        """All versions, the highest first; deregistered ones among them, with `gone`."""
        return sorted(self._versions(), key=lambda v: order(v.version), reverse=True)

    def version(self, version: str) -> ModelVersion | None:
        """One version; None where there is none."""
        return next((one for one in self._versions() if one.version == version), None)

    def history(self) -> Iterator[ModelVersionStage]:
        """Every stay of every version, in order."""
        stays = {stay.tag: stay for one in self._versions() for stay in one.stays}
        yield from sorted(stays.values(), key=lambda stay: stay.since)


@dataclass(frozen=True)
class ModelEvent:
    """One line of a model's history: what one tag did.

    Attributes:
        kind: "register", "deregister", "assign", "unassign" or "deprecate".
        version: of "assign", the one that is registered at the tag's commit; None for none.
        stage: of "assign" and "unassign".
        when, by, message: of the tag; the message is whole.
        odd: what is odd about the tag's object; empty for most.
    """

    kind: str
    version: str | None
    stage: str | None
    when: datetime
    by: str
    message: str
    tag: str
    commit: str
    odd: str = ""


class Page(list[ModelVersion]):
    """Versions that were found, in order.

    Attributes:
        token: gives what comes next, in any process; None at the end.
        total: how many there are on all pages.
        notes: what may explain that there are none.
    """

    def __init__(
        self,
        found: Iterable[ModelVersion] = (),
        token: str | None = None,
        total: int = 0,
        notes: Iterable[str] = (),
    ) -> None:
        super().__init__(found)
        self.token, self.total, self.notes = token, total, tuple(notes)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _item(said: Mapping[str, Any]) -> ModelSchemaItem:
    try:
        kind = DataType(said["data_type"])
    except ValueError:
        kind = DataType.UNKNOWN
    return ModelSchemaItem(said["name"], kind, list(said["shape"]), said["optional"] or None)
