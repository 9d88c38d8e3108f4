"""Registry: a folder of manifests, read, checked, built, asked. The story of gitreg, top to bottom."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import applier, bumper, doors, environment, isolation, places, planner, promoter, resolver
from gitreg.bumper import Bumped
from gitreg.declared import Manifest
from gitreg.gather import Gathered
from gitreg.names import parse_reference
from gitreg.outlook import Outlook
from gitreg.pins import pin
from gitreg.planner import Planned
from gitreg.promoter import Prepared
from gitreg.puller import Pulled, Puller
from gitreg.recorded import ModelRecord, Version
from gitreg.reports import CheckReport, ModelReport
from gitreg.review import Review, Reviewer
from gitreg.virtualenvs import Environments
from gitreg.workbench import Workbench, versions_built
from gitreg.worktree import WorkTree

if TYPE_CHECKING:  # what few commands need is imported by them
    from gitreg import converter, evaluator, provenance, reproducer, scaffold, updater
    from gitreg.schema import Sample


class Registry(WorkTree):
    """A registry: on disk, or at the address of a Git repository, and then read only.

    A repository elsewhere is cloned once for all processes, without the content of its files, and brought
    up to date whenever a Registry is made of it.

    Args:
        path: any folder in it; the folder of a bare repository; or an address that Git takes, with
            `#subdirectory=FOLDER` where the registry is not at the top.
        offline: use no network; by default as `GITREG_OFFLINE` says.
        pass_env: environment variables that its models see besides those that `build.environment` in
            registry.yaml names, and those in which no secrets are.

        env: what models run in: "current", the Python that runs gitreg, or "own", an environment that is made
            of what each requires; by default as `GITREG_ENV` says, else "current". Methods that run models
            take `env`, too.

    Raises:
        Usage: `pass_env` has what is no name of a variable, or one that cannot be passed; `env` is unknown.
        Refused: there is no registry.yaml at `path` or above it; or Git should not be given this address.
        Outside: the repository cannot be reached, and was not cloned before.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | places.Place = ".",
        offline: bool | None = None,
        pass_env: Sequence[str] = (),
        env: str | None = None,
    ) -> None:
        found = path if isinstance(path, places.Place) else places.find(path, offline)
        super().__init__(found.root, found.bare, found.prefix)
        self.pass_env = environment.checked(pass_env)
        self.place = found
        self.environments = Environments(env, offline=found.offline)

    # What there is ------------------------------------------------------------------------------

    @property
    def workbench(self) -> Workbench:
        """Where models are built and tried."""
        return Workbench(self)

    # Versions and stages ---------------------------------------------------------------------------

    def resolve(self, reference: str) -> tuple[ModelRecord, Version]:
        """The registered version that a reference, a URI or an id names.

        Raises:
            Usage: it is no reference.
            Refused: there is no such model or version, or nothing is in that stage.
        """
        return resolver.resolve(self, parse_reference(reference))

    def bump(self, model: str, level: str = "auto") -> Bumped:
        """Write a model's next version into its manifest, keeping comments and order.

        Run again, it changes nothing: the step is counted from the last registered version.

        Args:
            level: "major", "minor", "patch", or "auto" for what the changes of the schema demand.

        Raises:
            Refused: there is no such model, or the step is smaller than the change.
        """
        self.need_files("bump")
        return bumper.bump(self, resolver.model_name(self, model), level)

    def register(
        self, models: Sequence[str], push: bool = False, remote: str | None = None, **how: Any
    ) -> Planned:
        """Register the versions that the manifests of some models say, at the commit that is checked out.

        Raises:
            Refused: one is registered already: nothing is ever overwritten.
        """
        self.need_files("register")
        return applier.Applier(self, remote, **how).register(push, self._names(models))

    def promote(self, references: Sequence[str], stage: str, **how: Any) -> Prepared:
        """Put versions into a stage: a commit on a branch of its own, for a pull request.

        Args:
            references: registered versions, of one model each.
            how: `env`, and as of `Promoter`: push, apply, remote, branch, note, progress.

        Raises:
            Refused: there is no such version or stage, or a gate does not pass.
            Outside: the remote refuses, or the race was lost too often.
        """
        self.need_files("promote")
        return self._promoter(stage, **how).promote(references)

    def demote(self, models: Sequence[str], stage: str, **how: Any) -> Prepared:
        """Take models out of a stage; see `promote`."""
        self.need_files("demote")
        return self._promoter(stage, **how).demote(self._names(models))

    def rollback(self, models: Sequence[str], stage: str, to: str | None = None, **how: Any) -> Prepared:
        """Put back what was in a stage before, or the version `to`; see `promote`."""
        self.need_files("rollback")
        return self._promoter(stage, **how).rollback(self._names(models), to)

    def _promoter(self, stage: str, env: str | None = None, **how: Any) -> promoter.Promoter:
        return promoter.Promoter(self.using(env), stage, **how)

    def _names(self, models: Iterable[str]) -> list[str]:
        return [resolver.model_name(self, model) for model in models]

    def version_of(self, gathered: Gathered) -> tuple[str, int]:
        """The version that a model has as it lies here, and its ordinal: 0 when it is not registered."""
        return bumper.version_of(self, gathered)

    @contextmanager
    def at(
        self,
        commit: str,
        within: Sequence[str] = (".",),
        dirty: Collection[str] | None = None,
        model: str | None = None,
    ) -> Iterator[Registry]:
        """This registry as a commit has it, on disk: here, if that is what lies here, else in a clone.

        Args:
            within: the folders that matter to the caller.
            dirty: files that are not as HEAD has them, where that is known.
            model: what it needs is enough, if this registry has no files here.
        """
        with places.at(self, commit, within, dirty, model) as other:
            yield other

    @contextmanager
    def holding(self, reference: str) -> Iterator[tuple[Registry, str]]:
        """The registry that has a version in its files, this or a clone of an earlier commit; the model.

        A model's bare name is what its manifest here says, registered or not.
        """
        with places.holding(self, reference) as found:
            yield found

    # Author --------------------------------------------------------------------------------------

    def new(self, name: str, source: str | None, **how: Any) -> scaffold.Added:
        """Add a model: bring its artifact from where it is, infer its schema, write its manifest.

        Args:
            source: as `gitreg new --from` takes it; None where a template or an image is all.
            how: see `scaffold.NewModel`: type, model_class, samples, description, template, given, ...

        Raises:
            Refused: the name is taken or invalid, or there is nothing at `source`. Nothing is left then.
            Outside: what is needed from elsewhere cannot be had.
        """
        from gitreg import scaffold

        self.need_files("new")
        return scaffold.new(self.using(how.pop("env", None)), name, source, scaffold.NewModel(**how))

    def update(self, models: Sequence[str] = (), **how: Any) -> list[updater.Update]:
        """Move models that came from elsewhere on to what is there now; see `updater.Updater` for `how`.

        Raises:
            Refused: a model that was named did not come from elsewhere. What fails of one is in its report.
        """
        from gitreg import updater

        return updater.Updater(self, **how).update(models)

    def convert(self, reference: str, timeout: float | None = None, **how: Any) -> converter.Converted:
        """Convert a model to ONNX: into a file, or into a new model; see `converter.Asked` for `how`.

        Raises:
            Refused: its answers to the samples are not those of the original. Nothing is left then.
            ModelFailed: it does not load, or has no counterpart in ONNX.
        """
        from gitreg import converter

        return converter.convert(self.using(how.pop("env", None)), reference, converter.Asked(**how), timeout)

    # Plan and apply -----------------------------------------------------------------------------

    def plan(
        self,
        commit: str = "HEAD",
        models: Collection[str] | None = None,
        files: Collection[str] | None = None,
        env: str | None = None,
    ) -> Planned:
        """What `apply` would do: the files of a commit minus what the tags record.

        Args:
            commit: any revision.
            models: plan for these alone.
            files: their manifests, where they are known: no others are read then.

        Raises:
            Refused: there is no such commit, or its registry.yaml is broken.
        """
        oid = self.commit(commit)
        models = self._names(models) if models is not None else None
        recorded = self.catalog.records() if models is None else self.records(models)
        with planner.Planner(self.using(env), oid, recorded, models, files) as one:
            return one.planned()

    def apply(
        self,
        push: bool = False,
        remote: str | None = None,
        models: Collection[str] | None = None,
        progress: Callable[[str], None] | None = None,
        before: str | None = None,
        env: str | None = None,
    ) -> Planned:
        """Write the tags that are missing: all or none.

        Of a commit that the remote's branch has left behind only versions are registered: see `overtaken`.

        Args:
            push: fetch before, push after; tried again when somebody else was faster.
            before: with push, the commit that the branch was at before: if its own run has been overtaken,
                what it says is registered first.
            remote: where to; by default the one that the branch follows, or origin.
            models: apply for these alone.

        Raises:
            Refused: a file has a problem, or a gate did not pass; nothing is written then.
            Outside: the remote refuses, or the race was lost too often.
        """
        self.need_files("apply")
        names = self._names(models) if models is not None else None
        return applier.Applier(self.using(env), remote, progress).apply(push, names, before)

    # Pull ---------------------------------------------------------------------------------------

    def pull(
        self,
        reference: str,
        place: str | os.PathLike[str] | None = None,
        package: str | None = None,
        timeout: float | None = None,
        progress: Callable[[str], None] | None = None,
        env: str | None = None,
        digest: str | None = None,
        formats: Collection[str] | str | None = None,
    ) -> Pulled:
        """Put a registered version's artifact, or its tested package, into a folder.

        Args:
            place: the folder: a new one, an empty one, or one that was pulled into and not changed since; by
                default of the model's name, in the current folder.
            package: "raw" or "triton", for a package; the folder is the package then.
            timeout: seconds that the model may take in its test.
            progress: is told what takes long.
            digest, formats: what the version has to be, as of `load_model`.

        Raises:
            Refused: there is no such version, it is another, or the folder holds something else.
            Outside: the artifact cannot be fetched.
        """
        folder = Path(place) if place is not None else None
        one = Puller(self.using(env), reference, folder, progress, pin(digest, formats))
        return one.package(package, timeout) if package else one.artifact()

    # Check --------------------------------------------------------------------------------------

    def check(
        self,
        references: Sequence[str] = (),
        run: bool = False,
        timeout: float | None = None,
        progress: Callable[[str], None] | None = None,
        env: str | None = None,
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
        from gitreg import audit

        self.need_files("check")
        return audit.audit(self.using(env), references, run, timeout, progress)

    def review(
        self,
        base: str,
        run: bool = False,
        timeout: float | None = None,
        committed: bool = False,
        progress: Callable[[str], None] | None = None,
        outlook: Outlook | None = None,
        env: str | None = None,
    ) -> Review:
        """Check what changed since a base, as a pull request is checked, and say what it does.

        Args:
            base: the branch or commit that the change is to be merged into.
            run: also load each model that is touched and ask it its samples.
            committed: the work tree is as HEAD has it, as in CI; else Git walks all of it for changes.
            outlook: what Git was asked already.

        Raises:
            Refused: the base is no commit here.
        """
        self.need_files("check")
        return Reviewer(self.using(env), base, committed, outlook).review(run, timeout, progress)

    def fix(self) -> list[str]:
        """Mend what has one right answer: dvc.yaml's artifacts; the files that were written."""
        self.need_files("fix")
        return doors.fix(self)

    # Lineage ------------------------------------------------------------------------------------

    def trace(self, model: str, code: Path | None = None, data: Sequence[str] = ()) -> provenance.Recorded:
        """Write what can be known of where a model came from into its manifest; see `provenance.Origin`."""
        from gitreg import provenance

        return provenance.record(self, resolver.model_name(self, model), code, data)

    def reproduce(self, reference: str, **how: Any) -> reproducer.Reproduction:
        """Say what is known of how a version was made; with `run`, make it again: see `reproducer.Asked`.

        Raises:
            Refused: there is no such version; or no pipeline to run, or one of its commands failed.
            Outside: what the pipeline reads cannot be had at the moment.
        """
        from gitreg import reproducer

        return reproducer.reproduce(self.using(how.pop("env", None)), reference, reproducer.Asked(**how))

    # Build --------------------------------------------------------------------------------------

    def build(
        self,
        references: Sequence[str] = (),
        output: str | os.PathLike[str] = "dist",
        formats: Sequence[str] | None = None,
        jobs: int | None = None,
        timeout: float | None = None,
        progress: Callable[[ModelReport], None] | None = None,
        env: str | None = None,
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
            Outside: an artifact, or what a model requires, cannot be fetched.
        """
        if not references:
            self.need_files("build")
            return self.using(env).workbench.build((), output, formats, jobs, timeout, progress)
        return versions_built(self.using(env), references, Path(output), formats, jobs, timeout, progress)

    def changed_since(self, base: str) -> list[str]:
        """The models that changed since a base: those that `review` touches and that are still there.

        Raises:
            Refused: the base is no commit here.
        """
        self.need_files("changed since")
        files = Reviewer(self, base, committed=True).touched()
        found = (self.read(file).manifest for file in files if (self.root / file).is_file())
        return sorted(manifest.name for manifest in found if manifest)

    # Ask ----------------------------------------------------------------------------------------

    def predict(
        self,
        reference: str,
        samples: Sequence[Sample] | None = None,
        timeout: float | None = None,
        env: str | None = None,
        digest: str | None = None,
        formats: Collection[str] | str | None = None,
    ) -> tuple[Manifest, list[Sample], isolation.Outcome]:
        """Load a model in a process of its own and ask it samples: its own, or others.

        Args:
            digest, formats: what the model has to be, as of `load_model`.

        Returns:
            The manifest, the samples asked, and the outcome with one answer per sample (each with a
            leading batch dimension).

        Raises:
            InvalidFiles: the manifest has problems.
            ModelFailed: the model failed; the message says how.
        """
        wanted = pin(digest, formats)
        resolver.hold_claim(self, reference, wanted)
        with self.using(env).holding(reference) as (registry, model):
            return registry.workbench.predict(model, samples, timeout, wanted)

    def evaluate(
        self, reference: str, asked: evaluator.Asked, env: str | None = None
    ) -> evaluator.Evaluation:
        """Measure a version on held-out data; with `asked.write`, into the manifest's metrics."""
        from gitreg import evaluator

        return evaluator.evaluate(self.using(env), reference, asked)
