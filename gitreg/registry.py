"""Registry: a folder of manifests, read, checked, built, asked. The story of gitreg, top to bottom."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import builder, checker, folders, git, isolation, memo
from gitreg.declared import CUSTOM_PYTHON, Manifest, Named, RegistryFile
from gitreg.errors import GitregError, InvalidFiles, NotSupported, Problem, Refused
from gitreg.gather import Gathered, gather
from gitreg.manifest import find_root, manifest_files, read_manifest, read_registry
from gitreg.names import did_you_mean, parse_reference
from gitreg.packages import Parts, content_digest
from gitreg.reports import CheckReport, ModelReport, advice
from gitreg.store import Store, Tracked
from gitreg.version import __version__

if TYPE_CHECKING:
    from gitreg.schema import Sample

# What outcomes depend on besides files: a new gitreg forgets what an older one found.
_MEMO_VERSION = "1"


class Registry:
    """A registry on disk.

    Args:
        path: any folder in it.

    Raises:
        Refused: there is no registry.yaml at `path` or above it.
    """

    def __init__(self, path: str | os.PathLike[str] = ".") -> None:
        self.root = find_root(Path(path))

    # What there is ------------------------------------------------------------------------------

    @cached_property
    def file(self) -> RegistryFile:
        """registry.yaml."""
        return read_registry(self.root)

    @cached_property
    def files(self) -> list[str]:
        """The manifests, relative to the root."""
        return manifest_files(self.root, self.file)

    @cached_property
    def store(self) -> Store:
        """Where artifacts are."""
        return Store(self.root, self._hashes)

    @cached_property
    def memo(self) -> memo.Memo:
        """What earlier runs found; lives in Git's folder and can be deleted."""
        import sys

        place = git.git_folder(self.root)
        version = f"{_MEMO_VERSION} {__version__} {sys.version_info[:2]} {sys.prefix}"
        return memo.Memo(place / "gitreg" if place else None, version)

    @cached_property
    def _visible(self) -> Collection[str] | None:
        return git.visible_files(self.root)

    def _hashes(self, file: Path) -> tuple[str, str]:
        """Digests of a cache object; each is read once for as long as it does not change."""
        known = self.memo.recall_one("digests", str(file))
        if known is None:
            before = memo.stamps([file])
            known = list(folders.digests(file))
            self.memo.remember("digests", {str(file): (before, known)})
        return known[0], known[1]

    def models(self) -> list[Manifest]:
        """Every model whose manifest can be read, by name."""
        read = (read_manifest(self.root, file).manifest for file in self.files)
        return sorted((m for m in read if m is not None), key=lambda m: m.name)

    def manifest_file(self, reference: str) -> str:
        """The manifest that a reference names.

        Raises:
            Refused: there is no such model, or the version is not the one in its manifest.
        """
        wanted = parse_reference(reference)
        guess = [f for f in self.files if f.split("/")[-2:-1] == [wanted.model]]
        names: list[str] = []
        for file in [*guess, *(f for f in self.files if f not in guess)]:
            manifest = read_manifest(self.root, file).manifest
            if manifest is None:
                if file in guess:
                    return file  # broken; reading it again tells why
                continue
            names.append(manifest.name)
            if manifest.name == wanted.model:
                if wanted.version not in (None, manifest.version):
                    raise Refused(
                        f"{wanted}: {file} is at version {manifest.version}",
                        f"check out the commit that has {wanted.version}",
                    )
                if wanted.stage:
                    raise Refused(
                        f"{wanted}: stages cannot be resolved here yet", f"gitreg build {wanted.model}"
                    )
                return file
        known = ", ".join(sorted(names)[:20]) + (", ..." if len(names) > 20 else "")
        raise Refused(
            f"there is no model '{wanted.model}'{did_you_mean(wanted.model, names)}",
            f"models here: {known or 'none yet'}",
        )

    def _chosen(self, references: Sequence[str]) -> list[str]:
        if not references:
            return self.files
        return list(dict.fromkeys(self.manifest_file(r) for r in references))

    # Check --------------------------------------------------------------------------------------

    def check(
        self,
        references: Sequence[str] = (),
        run: bool = False,
        timeout: float | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> CheckReport:
        """Find everything that is wrong with the registry, or with some of its models.

        Args:
            references: models; all when empty.
            run: also load each model in isolation and ask it its samples.
            timeout: seconds each model may take to run.
            progress: is told each model as it is done.

        Raises:
            InvalidFiles: registry.yaml itself is broken.
        """
        files = self._chosen(references)
        report = CheckReport(len(files))
        names: list[Named] = []
        runnable: list[str] = []
        verdicts = self.memo.recall("stacked")
        for file, named, problems in checker.check_models(self.root, files, self._visible, self.memo):
            report.problems += problems
            if named:
                names.append(named)
            if run and not any(p.level == "error" for p in problems):
                runnable.append(file)
            elif file in verdicts:
                report.problems += advice(file, verdicts[file])
            if progress:
                progress(named.name if named else file)
        for file in runnable:
            report.problems += self._run_samples(file, timeout)
        if references:
            names = [n for f in self.files if (n := read_manifest(self.root, f).named)]
        report.problems += checker.check_names(names)
        report.problems += checker.check_stages(self.root, self.file, {one.name for one in names})
        order = {"error": 0, "warning": 1, "note": 2}
        report.problems = sorted(set(report.problems), key=lambda p: (order[p.level], p))
        return report

    def _run_samples(self, file: str, timeout: float | None) -> list[Problem]:
        """Load a model from a package made for the purpose, and ask it its samples."""
        gathered = self._gather(file)
        assert gathered.manifest
        if gathered.manifest.type != CUSTOM_PYTHON:
            return []
        try:
            self._fetch([gathered.tracked] if gathered.tracked else [])
            parts = self._parts(gathered)
            with self.scratch() as place:
                built = builder.package(parts, {"raw": place / "raw"}, place, self._limit(timeout))
        except GitregError as error:
            return [Problem(file, 0, 0, "", error.message)]
        self._remember_stacked(gathered, built.stacked)
        return [Problem(file, 0, 0, "", w, "warning") for w in built.warnings] + advice(file, built.stacked)

    def _remember_stacked(self, gathered: Gathered, stacked: dict[str, float] | None) -> None:
        self.memo.remember("stacked", {gathered.file: (gathered.inputs, stacked)})

    # Build --------------------------------------------------------------------------------------

    def build(
        self,
        references: Sequence[str] = (),
        output: str | os.PathLike[str] = "dist",
        formats: Sequence[str] | None = None,
        jobs: int | None = None,
        timeout: float | None = None,
        progress: Callable[[ModelReport], None] | None = None,
    ) -> list[ModelReport]:
        """Build packages: `<output>/triton/<model>/` and `<output>/raw/<model>/`.

        Models of which nothing has changed since their packages were built are left as they are. One
        model's failure does not stop the others; it is in its report.

        Args:
            references: models; all when empty.
            formats: of "triton" and "raw"; by default what registry.yaml says, else both.
            jobs: models at a time; by default one for each core.
            timeout: seconds that each model may take; by default what registry.yaml says, else 120.
            progress: is told each report as it is done.

        Raises:
            InvalidFiles: a manifest has problems; nothing is built then.
            Outside: an artifact cannot be fetched.
        """
        kinds = tuple(formats or self.file.formats)
        place = Path(output).absolute()
        files = self._chosen(references)
        key = f"{place}|{','.join(sorted(kinds))}"
        known = self.memo.recall(f"build {key}")
        reports = {file: _unchanged(known[file]) for file in files if file in known}
        todo = [file for file in files if file not in reports]
        for report in reports.values():
            _tell(progress, report)
        gathered = [self._gather(file) for file in todo]
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

    def _limit(self, timeout: float | None) -> float:
        """Seconds a model may take: what the call says, GITREG_TIMEOUT, registry.yaml, 120."""
        return timeout or isolation.environment_timeout() or self.file.timeout

    def _gather(self, file: str) -> Gathered:
        return gather(self.root, file, self.store, self._visible, build=True)

    def _refuse(self, gathered: Iterable[Gathered], reports: dict[str, ModelReport]) -> None:
        problems = [p for g in gathered for p in g.errors]
        if problems:
            raise InvalidFiles(problems, "gitreg check shows every problem of every model")
        names = [g.named for g in gathered if g.named]
        names += [Named(file, report.model) for file, report in reports.items()]
        if twice := checker.check_names(sorted(names)):
            raise InvalidFiles(twice)

    def _fetch(self, tracked: Sequence[Tracked]) -> None:
        """Get what the cache lacks, in one go."""
        self.store.fetch([t for t in tracked if self._lacks(t)])
        # A folder's list of files may have come just now, and name files that are still missing.
        self.store.fetch([t for t in tracked if self._lacks(t)])

    def _lacks(self, tracked: Tracked) -> bool:
        try:
            return bool(self.store.missing(tracked))
        except Refused:
            return False  # corrupt: its own model's build says so

    def _build_one(
        self, gathered: Gathered, place: Path, kinds: Sequence[str], asked: bool, timeout: float | None
    ) -> ModelReport:
        manifest = gathered.manifest
        assert manifest
        report = ModelReport(manifest.name, manifest.version, "failed")
        try:
            if asked:
                builder.refuse_unsupported(manifest.type, kinds)
            elif manifest.type != CUSTOM_PYTHON and "triton" in kinds:
                kinds = [k for k in kinds if k != "triton"]
                report.warnings.append(f"no Triton package: the type '{manifest.type}' has none yet")
            parts = self._parts(gathered)
            places = {kind: place / kind / manifest.name for kind in kinds}
            built = builder.package(parts, places, place, self._limit(timeout))
        except (Refused, NotSupported) as error:
            report.error = error
            return report
        report.status, report.packages, report.digest = "built", built.packages, content_digest(parts)
        report.warnings += built.warnings + [str(p) for p in gathered.problems]
        report.stacked = built.stacked
        return report

    def _parts(self, gathered: Gathered) -> Parts:
        manifest, tracked = gathered.manifest, gathered.tracked
        assert manifest
        if tracked is None:
            raise NotSupported(
                f"{manifest.name}: only artifacts that DVC tracks in this registry can be built yet",
                "artifact: PATH, after dvc add PATH",
            )
        return Parts(
            name=manifest.name,
            version=manifest.version,
            type=manifest.type,
            artifact=self.store.artifact(tracked),
            schema=manifest.schema,
            model_class=manifest.model_class,
            code={path: file.read_bytes() for path, file in gathered.code.items()},
            samples=gathered.samples,
            requirements=gathered.requirements,
            batching=manifest.batching,
            triton=manifest.triton,
            commit=git.last_commit(self.root, sorted(set(gathered.committed))),
        )

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
            "digest": report.digest,
            "warnings": report.warnings,
            "packages": {kind: str(folder) for kind, folder in report.packages.items()},
        }
        self.memo.remember(f"build {key}", {gathered.file: (files, outcome)})

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on the registry's own file system, gone when the block ends."""
        place = git.git_folder(self.root)
        with folders.aside(place / "gitreg" if place else self.root) as folder:
            yield folder

    # Ask ----------------------------------------------------------------------------------------

    def predict(
        self, reference: str, samples: Sequence[Sample] | None = None, timeout: float | None = None
    ) -> tuple[Manifest, list[Sample], isolation.Outcome]:
        """Load a model in a process of its own and ask it samples: its own, or others.

        Returns:
            The manifest, the samples asked, and the outcome with one answer per sample (each with a
            leading batch dimension).

        Raises:
            InvalidFiles: the manifest has problems.
            ModelFailed: the model failed; the message says how.
        """
        from dataclasses import replace

        gathered = self._gather(self.manifest_file(reference))
        self._refuse([gathered], {})
        manifest = gathered.manifest
        assert manifest
        if manifest.type != CUSTOM_PYTHON:
            raise NotSupported(f"no loader for the type '{manifest.type}' yet")
        if gathered.tracked:
            self._fetch([gathered.tracked])
        parts = self._parts(gathered)
        asked = list(samples) if samples is not None else list(gathered.samples)
        if not asked:
            raise Refused(
                f"{manifest.name} has no sample data to predict", "gitreg predict MODEL --input FILE"
            )
        parts = replace(parts, samples=tuple(asked))
        with self.scratch() as place:
            folder = place / manifest.name
            builder.whole("raw", parts, folder)
            task = replace(builder.task("raw", parts, folder), save=False, compare=False)
            outcome = isolation.run(task, self._limit(timeout))
        if outcome.error:
            raise builder.failure(manifest.name, outcome)
        return manifest, asked, outcome


def _package_files(folder: Path) -> Iterator[Path]:
    yield folder
    for path in folders.tree_files(folder):
        yield folder / path


def _unchanged(outcome: dict[str, Any]) -> ModelReport:
    return ModelReport(
        outcome["model"],
        outcome["version"],
        "unchanged",
        {kind: Path(folder) for kind, folder in outcome["packages"].items()},
        outcome["digest"],
        list(outcome["warnings"]),
    )


def _tell(progress: Callable[[ModelReport], None] | None, report: ModelReport) -> None:
    if progress:
        progress(report)
