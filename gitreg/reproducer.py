"""reproduce: what is known of how a version was made; and, on the explicit word, making it again.

    version -> a clean clone of its commit -> facts (known.py)
    with a DVC pipeline, and `run`: its inputs -> its stages, run -> the same hash? else metrics, predictions

All of it happens in the clone. The user's work tree, cache and index are never written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import dvcsettings, folders, isolation, known, outputs, places, printed
from gitreg.datafiles import flat
from gitreg.errors import GitregError, InvalidFiles, Outside, Refused
from gitreg.known import Fact
from gitreg.names import parse_reference
from gitreg.store import pipelines

if TYPE_CHECKING:
    from gitreg.gather import Gathered
    from gitreg.registry import Registry
    from gitreg.schema import Array


@dataclass(frozen=True)
class Difference:
    """How the answers of two models to one sample differ, in one output.

    Attributes:
        samples: how many samples were compared, and `differing` how many of them differ at all.
        most: the largest absolute difference of numbers; None for what is no number.
    """

    samples: int
    differing: int
    most: float | None


@dataclass
class Rerun:
    """What came of running the pipeline.

    Attributes:
        expected, got: DVC's hashes of the artifact: as registered, and as made now.
        metrics: name -> number as recorded and as made now; empty where the pipeline writes none.
        predictions: output -> how the answers to the samples differ; only where the hashes differ.
        notes: what was not compared, and why.
    """

    expected: str
    got: str
    metrics: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    predictions: dict[str, Difference] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether the artifact is the same to the byte."""
        return self.expected == self.got


@dataclass
class Reproduction:
    """What is known of a version, and what came of making it again.

    Attributes:
        version: None where the manifest leaves it blank.
        registered: whether a tag names the commit.
        stages: (name, command) of the pipeline, in order.
        folder: where the clone was kept.
    """

    model: str
    version: str | None
    commit: str
    registered: bool
    facts: list[Fact] = field(default_factory=list)
    stages: list[tuple[str, str]] = field(default_factory=list)
    rerun: Rerun | None = None
    folder: Path | None = None

    @property
    def lacking(self) -> list[Fact]:
        """What stands in the way."""
        return [fact for fact in self.facts if fact.stops]

    @property
    def ok(self) -> bool:
        """Made again to the byte; or, without a run, everything that is needed is known."""
        return self.rerun.same if self.rerun else not self.lacking


@dataclass(frozen=True)
class Asked:
    """What `reproduce` is asked for.

    Attributes:
        run: also run the pipeline.
        output: where the clone is kept; it must not be there, or be empty.
        timeout: seconds that the pipeline may take; None for as long as it likes.
        tell: is told each command before it runs, and each line that it prints.
    """

    run: bool = False
    output: Path | None = None
    timeout: float | None = None
    tell: Callable[[str], None] = lambda line: None


def reproduce(registry: Registry, reference: str, asked: Asked) -> Reproduction:
    """Say what is known of how a version was made, and make it again; see `Registry.reproduce`."""
    registry.need_files("reproduce")
    if asked.output and (asked.output.is_file() or (asked.output.is_dir() and any(asked.output.iterdir()))):
        raise Refused(f"{asked.output} is there, and not empty", "-o DIR names a new folder")
    name, version, commit = _find(registry, reference)
    done = Reproduction(name, version, commit, version is not None)
    with _clone(registry, commit, asked.output) as (there, scratch):
        gathered = there.gather(there.manifest_file(name), build=False)
        if gathered.manifest is None:
            raise InvalidFiles(gathered.problems)
        done.version = done.version or gathered.manifest.version
        inquiry = known.Inquiry(registry, there, gathered, commit, scratch)
        done.facts = inquiry.facts()
        if inquiry.pipeline:
            done.stages = [(stage.name, stage.cmd) for stage in inquiry.pipeline.stages]
        if asked.run:
            done.rerun = _Runner(registry, there, gathered, inquiry, asked).run(done)
        if asked.output:
            done.folder = asked.output.absolute()
    return done


def _find(registry: Registry, reference: str) -> tuple[str, str | None, str]:
    """Model, version and commit; without a registered version what is committed."""
    wanted = parse_reference(reference)
    plain = not (wanted.stage or wanted.ordinal or wanted.id or wanted.version)
    if plain and not registry.record(wanted.model).registered:
        return wanted.model, None, registry.commit("HEAD")
    record, version = registry.resolve(reference)
    return record.name, version.version, version.tag.commit


@contextmanager
def _clone(registry: Registry, commit: str, output: Path | None) -> Iterator[tuple[Registry, Path]]:
    """A clean clone of a commit, and an empty folder; the clone is kept at `output`, also after a refusal."""
    beside = outputs.claim(output.parent) if output else None
    with folders.aside(beside) if beside else registry.scratch() as place:
        there = places.cloned(registry, commit, place / "clone", shared=output is None)
        config = registry.snapshot(commit).dvc_config()[0]
        try:
            yield there, place / "scratch"
        except Refused:
            _keep(there, place / "clone", config, output)
            raise
        _keep(there, place / "clone", config, output)


def _keep(there: Registry, clone: Path, config: bytes | None, output: Path | None) -> None:
    """Move the clone to where it is to stay, with nothing of the settings that were lent to it."""
    if output:
        dvcsettings.keep_to_itself(there.root, config, stays=True)
        if output.is_dir():
            output.rmdir()
        clone.rename(output)


class _Runner:
    """Runs the pipeline of one version in its clone."""

    def __init__(
        self,
        registry: Registry,
        there: Registry,
        gathered: Gathered,
        inquiry: known.Inquiry,
        asked: Asked,
    ) -> None:
        self.registry, self.there, self.gathered = registry, there, gathered
        self.inquiry, self.asked = inquiry, asked
        assert gathered.manifest
        self.manifest = gathered.manifest

    def run(self, done: Reproduction) -> Rerun:
        """Run it and compare.

        Raises:
            Refused: there is no pipeline, what it reads is gone, or a command failed.
            Outside: what it reads cannot be had at the moment.
        """
        pipeline, tracked = self.inquiry.pipeline, self.gathered.tracked
        if pipeline is None or tracked is None:
            raise Refused(
                f"no DVC pipeline makes the artifact of {done.model}: there is nothing to run",
                "artifact: {stage: NAME}, of a dvc.yaml; gitreg reproduce without --run says what is known",
            )
        self._refuse(self.inquiry.inputs)
        recorded = flat(self.there.values(self.manifest.metrics))
        done.stages = pipelines.commands(self.there.root, pipeline.last)
        for name, command in done.stages:
            self.asked.tell(f"{name}: {printed.said(command)}")
        files = [
            found[0] for dep in pipeline.sources if (found := pipelines.tracked(pipeline.root, dep.path))
        ]
        pipelines.checkout(self.there.root, sorted(set(files)), self.asked.tell)
        config = self.registry.snapshot(done.commit).dvc_config()[0]
        dvcsettings.keep_to_itself(
            self.there.root, config, stays=False
        )  # what is made now goes into no cache of the user's
        pipelines.rerun(self.there.root, pipeline.last, self.asked.timeout, self.asked.tell)
        return self._compare(pipeline, tracked.path, tracked.md5, recorded, done)

    @staticmethod
    def _refuse(facts: Sequence[Fact]) -> None:
        """Refuse to run a pipeline that lacks what it reads."""
        lost = [f for f in facts if f.status in (known.GONE, known.MISSING)]
        if lost:
            raise Refused((f"{fact.name} {fact.text}" for fact in lost), "nothing was run")
        if silent := [f for f in facts if f.status == known.UNREACHABLE]:
            raise Outside((f"{fact.name}: {fact.text}" for fact in silent), "nothing was run")

    def _compare(
        self,
        pipeline: pipelines.Pipeline,
        path: str,
        expected: str,
        recorded: Mapping[str, float],
        done: Reproduction,
    ) -> Rerun:
        now = pipelines.find(self.there.root, path)
        made = {out.path: out.md5 for out in now.last.outs} if now else {}
        rerun = Rerun(expected, made.get(path) or "")
        outs = {out.path for stage in pipeline.stages for out in stage.outs}
        if self.manifest.metrics in outs:
            new = flat(self.there.values(self.manifest.metrics))
            rerun.metrics = {n: (recorded.get(n), new.get(n)) for n in sorted({*recorded, *new})}
        elif recorded:
            rerun.notes.append("metrics: the pipeline does not write them")
        if not rerun.same:
            self._predictions(rerun, done)
        return rerun

    def _predictions(self, rerun: Rerun, done: Reproduction) -> None:
        """Both models' answers to the samples, if both can be asked."""
        if not self.gathered.samples:
            rerun.notes.append("predictions: the version has no samples")
            return
        try:
            with self.registry.at(done.commit) as then:
                _, _, before = then.workbench.predict(done.model, None, None)
            fresh = type(self.there)(self.there.root)
            fresh.passed, fresh.sandboxed = self.registry.passed, self.registry.sandboxed
            fresh.environments, fresh.store.alone = self.registry.environments, True
            _, _, after = fresh.workbench.predict(done.model, None, None)
        except GitregError as error:
            rerun.notes.append(f"predictions: {error.message}")
            return
        rerun.predictions = differences(before, after)


def differences(before: isolation.Outcome, after: isolation.Outcome) -> dict[str, Difference]:
    """How two models' answers to the same samples differ, by output."""
    pairs = list(zip(before.answers, after.answers, strict=True))
    names = dict.fromkeys(name for one, _ in pairs for name in one)
    return {name: _difference([(one[name], other[name]) for one, other in pairs]) for name in names}


def _difference(pairs: Sequence[tuple[Array, Array]]) -> Difference:
    import numpy as np

    differing, most = 0, None
    for one, other in pairs:
        numbers = one.dtype.kind in "iuf" and other.dtype.kind in "iuf"
        if one.shape != other.shape or not numbers:
            differing += not (one.shape == other.shape and bool((one == other).all()))
            continue
        apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
        apart = np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0.0, apart)
        most = max(most or 0.0, float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max(initial=0.0)))
        differing += bool((apart != 0).any())
    return Difference(len(pairs), differing, most)


def as_data(done: Reproduction) -> dict[str, Any]:
    """A reproduction as plain data with stable keys."""
    rerun = done.rerun
    return {
        "model": done.model,
        "version": done.version,
        "commit": done.commit,
        "registered": done.registered,
        "ok": done.ok,
        "facts": [{"facet": f.facet, "name": f.name, "status": f.status, "text": f.text} for f in done.facts],
        "stages": [{"name": name, "command": command} for name, command in done.stages],
        "run": {
            "same": rerun.same,
            "expected": rerun.expected,
            "got": rerun.got,
            "metrics": {name: {"recorded": a, "now": b} for name, (a, b) in rerun.metrics.items()},
            "predictions": {
                name: {"samples": one.samples, "differing": one.differing, "most": one.most}
                for name, one in rerun.predictions.items()
            },
            "notes": rerun.notes,
        }
        if rerun
        else None,
        "folder": str(done.folder) if done.folder else None,
    }
