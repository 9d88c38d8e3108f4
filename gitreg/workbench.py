"""Builds the models of a registry, runs their samples, asks them: many models, one report each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gitreg import builder, checker, detection, flavors, folders, formats, git, isolation, memo, outputs
from gitreg.declared import Artifact, Manifest, Named
from gitreg.errors import GitregError, InvalidFiles, NotSupported, Outside, Problem, Refused, Usage
from gitreg.gather import Gathered, artifact_of, content_of, parts_of
from gitreg.packages import Parts, content_digest
from gitreg.pins import ANY, Pin
from gitreg.reports import ModelReport, advice, unchanged
from gitreg.store import Tracked

if TYPE_CHECKING:
    from gitreg.registry import Registry
    from gitreg.schema import Sample

T = TypeVar("T")


class Workbench:
    """Where the models of one registry are built and tried."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def run_samples(self, file: str, timeout: float | None) -> list[Problem]:
        """Load a model from a package made for the purpose, and ask it its samples.

        Raises:
            Outside: its artifact or what it requires cannot be fetched at the moment, a disk is full, ...
        """
        gathered = self.registry.gather(file)
        assert gathered.manifest
        if not flavors.is_loadable(gathered.manifest.type):
            return []
        try:
            self._fetch([gathered.tracked] if gathered.tracked else [])
            parts = self._parts(gathered)
            with self.testing(parts, timeout) as conditions, self.registry.scratch() as place:
                kinds = ["raw", *(["triton"] if parts.backend == "native" else [])]
                built = builder.package(parts, {k: place / k for k in kinds}, place, conditions)
        except Outside:
            raise
        except GitregError as error:
            return [Problem(file, 0, 0, "", error.message)]
        self._remember_stacked(gathered, built.stacked)
        return [Problem(file, 0, 0, "", w, "warning") for w in built.warnings] + advice(file, built.stacked)

    def _remember_stacked(self, gathered: Gathered, stacked: dict[str, float] | None) -> None:
        self.registry.memo.remember("stacked", {gathered.file: (gathered.inputs, stacked)})

    def build(
        self,
        references: Sequence[str],
        output: str | os.PathLike[str],
        formats: Sequence[str] | None,
        jobs: int | None,
        timeout: float | None,
        progress: Callable[[ModelReport], None] | None,
    ) -> list[ModelReport]:
        """See `Registry.build`."""
        kinds = tuple(formats or self.registry.file.formats)
        place = outputs.claim(Path(output), *kinds)
        files = self.registry.chosen(references)
        key = "|".join([str(place), ",".join(sorted(kinds)), *self._seen()])
        known = self.registry.memo.recall(f"build {key}")
        tags = self.registry.tagged(known[file]["model"] for file in files if file in known)
        environments = self.registry.environments
        reports = {
            file: unchanged(known[file])
            for file in files
            if file in known
            and known[file]["tag"] == tags(known[file]["model"], known[file]["version"])
            and known[file]["environment"] == environments.digest(known[file]["requirements"])
        }
        todo = [file for file in files if file not in reports]
        for report in reports.values():
            _tell(progress, report)
        gathered = [self.registry.gather(file) for file in todo]
        self._refuse(gathered, reports)
        self._fetch([g.tracked for g in gathered if g.tracked])
        workers = max(1, min(jobs or os.cpu_count() or 1, len(gathered) or 1))
        with ThreadPoolExecutor(workers) as pool:
            running: dict[Future[ModelReport], Gathered] = {
                pool.submit(self._build_one, g, place, kinds, formats is not None, timeout): g
                for g in gathered
            }
            try:
                for done in as_completed(running):
                    one = running[done]
                    reports[one.file] = report = done.result()
                    self._remember_build(key, one, report)
                    _tell(progress, report)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                while not all(job.done() for job in running):
                    isolation.end_all()
                    time.sleep(0.05)
                raise
        return [reports[file] for file in files]

    def _seen(self) -> list[str]:
        """What else the outcome of a build depends on: the variables that models are passed, the sandbox."""
        return list(filter(None, [self.conditions(None).digest()]))

    def conditions(self, timeout: float | None) -> isolation.Conditions:
        """What a model may take and see, as registry.yaml says.

        Args:
            timeout: seconds; None for GITREG_TIMEOUT, then registry.yaml, then 120.
        """
        limit = timeout or isolation.environment_timeout() or self.registry.file.timeout
        return isolation.Conditions(limit, self.registry.passed, sandbox=self.registry.sandboxed)

    @contextmanager
    def testing(
        self, parts: Parts, timeout: float | None, more: Iterable[str] = ()
    ) -> Iterator[isolation.Conditions]:
        """What a model may take and see, with the Python that it runs in, which stays while the block lasts.

        Args:
            more: what has to be installed besides what the model requires.

        Raises:
            Refused: its requirements cannot be met.
            Unreachable: they cannot be fetched at the moment.
        """
        if parts.entry is None:  # nothing is loaded
            yield self.conditions(timeout)
            return
        with self.registry.environments.of(parts.name, parts.requirements, more) as python:
            yield replace(self.conditions(timeout), python=python)

    def _refuse(self, gathered: Iterable[Gathered], reports: dict[str, ModelReport]) -> None:
        problems = [p for g in gathered for p in g.errors]
        if problems:
            raise InvalidFiles(problems, "gitreg check shows every problem of every model")
        names = [g.named for g in gathered if g.named]
        names += [Named(file, report.model) for file, report in reports.items()]
        if twice := checker.check_names(sorted(names)):
            raise InvalidFiles(twice)

    def _fetch(self, tracked: Sequence[Tracked], tell: Callable[[str], None] | None = None) -> None:
        """Get what the cache lacks, in one go."""
        lacking = [t for t in tracked if self._lacks(t)]
        if lacking and self.registry.place.offline:
            raise Outside(f"offline, and '{lacking[0].path}' is not in the DVC cache")
        for one in lacking if tell else ():
            tell(f"fetching {one.path}" + (f", {one.size:,} bytes" if one.size else ""))  # type: ignore[misc]
        self.registry.store.fetch(lacking)

    def _lacks(self, tracked: Tracked) -> bool:
        try:
            return bool(self.registry.store.missing(tracked))
        except Refused:
            return False  # corrupt: its own model's build says so

    def _build_one(
        self, gathered: Gathered, place: Path, kinds: Sequence[str], asked: bool, timeout: float | None
    ) -> ModelReport:
        manifest = gathered.manifest
        assert manifest
        version, number = self.registry.version_of(gathered)
        report = ModelReport(manifest.name, version, "failed", ordinal=number)
        try:
            if asked:
                builder.refuse_unsupported(manifest.type, kinds)
            elif not flavors.is_loadable(manifest.type) and "triton" in kinds:
                kinds = [k for k in kinds if k != "triton"]
                report.warnings.append(f"no Triton package: the type '{manifest.type}' has none")
            parts = self._parts(gathered, version, number)
            places = {kind: place / kind / manifest.name for kind in kinds}
            with self.testing(parts, timeout) as conditions:
                built = builder.package(parts, places, place, conditions)
            report.environment = self.registry.environments.digest(parts.requirements)
            report.requirements = parts.requirements
        except (Refused, NotSupported) as error:
            report.error = error
            return report
        report.status, report.packages, report.digest = "built", built.packages, content_digest(parts)
        report.warnings += built.warnings + [str(p) for p in gathered.problems]
        report.stacked = built.stacked
        return report

    def _parts(self, gathered: Gathered, version: str | None = None, ordinal: int = 0) -> Parts:
        manifest, tracked = gathered.manifest, gathered.tracked
        assert manifest
        if tracked is None:
            _refuse_without(manifest)
        artifact = self.registry.store.artifact(tracked) if tracked else artifact_of(manifest, None)
        _refuse_pickles(manifest, artifact)
        parts = parts_of(gathered, artifact, version)
        return replace(
            parts,
            commit=git.last_commit(self.registry.root, sorted(set(gathered.committed))),
            ordinal=ordinal,
        )

    def artifact(
        self, model: str, tell: Callable[[str], None], name: str = "", wanted: Pin = ANY
    ) -> Artifact:
        """A model's artifact in the DVC cache; it is fetched if need be.

        Args:
            tell: is told what takes long.
            name: of the version, for what is said when it is not what is wanted.

        Raises:
            InvalidFiles: the manifest, or the file that tracks the artifact, has problems.
            Refused: DVC tracks none; or the version is not what is wanted.
            Outside: it cannot be fetched.
        """
        gathered = self.registry.gather(self.registry.manifest_file(model), build=False)
        if gathered.tracked is None:
            self._refuse([gathered], {})
            raise Refused(f"DVC tracks no artifact of {model}")
        if wanted.digest:
            self._refuse([gathered], {})
            wanted.hold_digest(name, content_of(gathered).digest, "its content")
        self._fetch([gathered.tracked], tell)
        found = self.registry.store.artifact(gathered.tracked)
        wanted.hold_artifact(name, found)
        return found

    def registered(
        self,
        model: str,
        version: str,
        ordinal: int,
        digest: str | None,
        tell: Callable[[str], None] | None = None,
    ) -> Parts:
        """What the packages of a registered version are made of; its artifact is fetched if need be.

        Args:
            digest: the content digest that was registered, where one was.
            tell: is told what takes long.

        Raises:
            InvalidFiles: the manifest, or what it names, has problems.
            Refused: the content is not what was registered, or the artifact is corrupt.
            NotSupported: the type has no loader.
            Outside: the artifact cannot be fetched.
        """
        gathered = self.registry.gather(self.registry.manifest_file(model))
        self._refuse([gathered], {})
        manifest = gathered.manifest
        assert manifest
        self._need_loader(manifest)
        found = content_of(gathered).digest
        if digest and digest != found:
            raise Refused(
                f"{model}@{version} is not what was registered: its content digest is {found[:19]}..., "
                f"and its tag says {digest[:19]}...",
                "gitreg doctor --deep, in a clone",
            )
        if gathered.tracked:
            self._fetch([gathered.tracked], tell)
        return self._parts(gathered, version, ordinal)

    def _need_loader(self, manifest: Manifest) -> None:
        if not flavors.is_loadable(manifest.type):
            raise NotSupported(
                f"no loader for the type '{manifest.type}'",
                f"it can be loaded {flavors.where(manifest.type)}",
            )

    def format_of(self, file: str) -> formats.Format:
        """The serialization format of a model's artifact, by content; it is fetched if need be.

        Raises:
            Outside: it cannot be fetched.
        """
        gathered = self.registry.gather(file, build=False)
        if gathered.tracked is None:
            return formats.UNKNOWN
        self._fetch([gathered.tracked])
        files = self.registry.store.artifact(gathered.tracked).files
        return detection.detect_files({name: link.source for name, link in files.items()})

    def _remember_build(self, key: str, gathered: Gathered, report: ModelReport) -> None:
        if report.status != "built":
            return
        self._remember_stacked(gathered, report.stacked)
        record = builder.find_record(next(iter(report.packages.values())))
        if record is None or record.get("commit") is None:
            return  # built from changes that are not committed: its commit is still to come
        files = dict(gathered.inputs)
        for folder in report.packages.values():
            files |= memo.stamps(_package_files(folder))
        outcome = {
            "model": report.model,
            "version": report.version,
            "ordinal": report.ordinal,
            "tag": self.registry.tagged([report.model])(report.model, report.version),
            "digest": report.digest,
            "warnings": report.warnings,
            "environment": report.environment,
            "requirements": report.requirements,
            "packages": {kind: str(folder) for kind, folder in report.packages.items()},
        }
        self.registry.memo.remember(f"build {key}", {gathered.file: (files, outcome)})

    def predict(
        self, reference: str, samples: Sequence[Sample] | None, timeout: float | None, wanted: Pin = ANY
    ) -> tuple[Manifest, list[Sample], isolation.Outcome]:
        """See `Registry.predict`."""
        parts, manifest = self.parts(reference, wanted)
        asked = list(samples) if samples is not None else list(parts.samples)
        if not asked:
            raise Refused(
                f"{manifest.name} has no sample data to predict", "gitreg predict MODEL --input FILE"
            )
        with self._laid(replace(parts, samples=tuple(asked))) as (_, task):
            with self.testing(parts, timeout) as conditions:
                outcome = isolation.run(task, conditions)
        if outcome.error:
            raise builder.failure(parts, outcome)
        return manifest, asked, outcome

    def parts(self, model: str, wanted: Pin = ANY) -> tuple[Parts, Manifest]:
        """What a model that can be loaded is made of; its artifact is in the cache.

        Raises:
            InvalidFiles: the manifest has problems.
            Refused: loading it would run code that its manifest does not trust; or it is not what is wanted.
            NotSupported: nothing here loads its type.
        """
        gathered = self.registry.gather(self.registry.manifest_file(model))
        self._refuse([gathered], {})
        manifest = gathered.manifest
        assert manifest
        self._need_loader(manifest)
        name = f"{manifest.name}@{manifest.version}" if manifest.version else manifest.name
        wanted.hold_digest(name, content_of(gathered).digest, "its content")
        if gathered.tracked:
            self._fetch([gathered.tracked])
        parts = self._parts(gathered)
        wanted.hold_artifact(name, parts.artifact)
        return parts, manifest

    @contextmanager
    def _laid(self, parts: Parts) -> Iterator[tuple[Path, isolation.Task]]:
        """A folder with a raw package in it, and the task of loading that and asking its samples."""
        with self.registry.scratch() as place:
            # Its samples are asked, and not packaged: writing many takes far longer than asking them.
            builder.whole("raw", replace(parts, samples=()), place / parts.name)
            yield place, replace(builder.task("raw", parts, place / parts.name), save=False, compare=False)

    def answer(
        self,
        model: str,
        blocks: Callable[[Path], tuple[isolation.Block, ...]],
        batch: int,
        timeout: float | None,
        then: Callable[[Path], T],
    ) -> T:
        """Ask a model many rows, by files.

        Args:
            blocks: writes them into a folder.
            then: reads the answers, while they are there.

        Raises:
            ModelFailed: the model failed; the message says how, and for which row.
        """
        parts, _ = self.parts(model)
        with self._laid(replace(parts, samples=())) as (place, task):
            (place / "rows").mkdir()
            asked = replace(task, blocks=blocks(place / "rows"), batch=batch)
            with self.testing(parts, timeout) as conditions:
                outcome = isolation.run(asked, conditions)
            if outcome.error:
                raise builder.failure(parts, outcome)
            return then(place / "rows")


def versions_built(
    registry: Registry, references: Sequence[str], output: Path, *how: Any
) -> list[ModelReport]:
    """Build versions, each where its files are: here, or in a clone of its commit; see `Registry.build`."""
    with ExitStack() as stack:
        held = [stack.enter_context(registry.holding(reference)) for reference in dict.fromkeys(references)]
        names = [model for _, model in held]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            hint = "build them one by one, each to its own -o"
            raise Usage(f"two versions of {twice[0]} in one folder", hint)
        groups: dict[Path, tuple[Registry, list[str]]] = {}
        for there, model in held:
            groups.setdefault(there.root, (there, []))[1].append(model)
        return [
            report
            for there, models in groups.values()
            for report in there.workbench.build(models, output.absolute(), *how)
        ]


def _refuse_without(manifest: Manifest) -> None:
    """Raise NotSupported where a model has no artifact, and cannot be packaged as a reference."""
    source = manifest.artifact
    if source and not source.imported and flavors.is_loadable(manifest.type):
        raise NotSupported(
            f"{manifest.name}: its artifact was not imported, and is needed to load it",
            f"remove `imported: false`, and gitreg update {manifest.name}",
        )
    if source is None and not manifest.image and manifest.type != "template":
        raise NotSupported(
            f"{manifest.name}: there is nothing to package: no artifact and no image",
            "artifact: PATH, after dvc add PATH",
        )


def _refuse_pickles(manifest: Manifest, artifact: Artifact) -> None:
    """Raise Refused where a type's loader would run code that the manifest does not trust."""
    if "pickle" in manifest.trust:
        return
    found = detection.unpickled({name: link.source for name, link in artifact.files.items()}, manifest.type)
    if found:
        raise Refused(
            f"{manifest.file}: {found} runs code when it is loaded",
            "`trust: pickle` in the manifest, if you trust who made it",
        )


def _package_files(folder: Path) -> Iterator[Path]:
    yield folder
    for path in folders.tree_files(folder):
        yield folder / path


def _tell(progress: Callable[[ModelReport], None] | None, report: ModelReport) -> None:
    if progress:
        progress(report)
