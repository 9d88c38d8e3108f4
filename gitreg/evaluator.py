"""evaluate: a version on held-out data, its metrics beside the recorded ones, and into the metrics file.

    data -> columns -> rows -> the model, in a process of its own, by files -> answers
    targets, which the model never sees, and answers -> metrics -> the manifest's metrics

A function of the user's runs in an isolated process too, in which there is no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import columns, heldout, isolation, measures, metricsfile, planner
from gitreg.columns import Rows, Table
from gitreg.datafiles import flat
from gitreg.errors import GitregError, InvalidFiles, ModelFailed, NotSupported, Refused, Usage
from gitreg.isolated import arrays
from gitreg.names import did_you_mean

if TYPE_CHECKING:
    from gitreg.declared import Manifest
    from gitreg.model import ModelSchema
    from gitreg.registry import Registry
    from gitreg.schema import Array


@dataclass(frozen=True)
class Asked:
    """What `evaluate` is asked for.

    Attributes:
        data: a file, or a function as `package.module:name`.
        metrics: names, or functions; `recorded=metric` says under which name it is kept.
        targets: `output=column` each.
        classes: the names of the classes, in the order of an output's probabilities.
        write: whether the metrics go into the metrics file.
        paths: folders to import functions from, besides the model's own.
    """

    data: str
    metrics: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    write: bool = False
    paths: tuple[Path, ...] = ()
    timeout: float | None = None


@dataclass
class Evaluation:
    """What came of it.

    Attributes:
        rows: how many were measured; `left_out` of the data had no target.
        metrics: name -> value, in the order asked for.
        recorded: name -> the number in the manifest's metrics; without those that there are not.
        stages: stage -> the version in it, and its recorded metrics.
        written: the file that they were written to.
    """

    model: str
    version: str | None
    rows: int
    left_out: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    recorded: dict[str, float] = field(default_factory=dict)
    stages: dict[str, tuple[str, dict[str, float]]] = field(default_factory=dict)
    written: str | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Side:
    """One output with its targets: the rows that have one."""

    output: str
    column: str
    answer: Array
    target: Array


def evaluate(registry: Registry, reference: str, asked: Asked) -> Evaluation:
    """Measure a version; see `Registry.evaluate`."""
    for text in asked.metrics:
        _check_name(text.rpartition("=")[2])
    with registry.holding(reference) as (there, model):
        read = there.read(there.manifest_file(model))
        if read.manifest is None:
            raise InvalidFiles(read.problems)
        if asked.write and there is not registry:
            hint = f"gitreg evaluate {model} measures the files here"
            raise Usage(f"--write writes into the files here, and {reference} is not what they say", hint)
        return _Evaluator(registry, there, read.manifest, asked).evaluated()


def _check_name(metric: str) -> None:
    if metric not in measures.METRICS and not heldout.is_function(metric):
        known = f"metrics: {', '.join(measures.METRICS)}; or a function, as package.module:name"
        raise Usage(f"there is no metric '{metric}'{did_you_mean(metric, measures.METRICS)}", known)


class _Evaluator:
    def __init__(self, registry: Registry, there: Registry, manifest: Manifest, asked: Asked) -> None:
        self.registry, self.there, self.manifest, self.asked = registry, there, manifest, asked
        if manifest.schema is None:
            raise Refused(f"{manifest.name} declares no schema to read the data with")
        self.schema: ModelSchema = manifest.schema
        roots = [registry.root / folder for folder in (*manifest.code, manifest.folder, "")]
        self.paths = (*asked.paths, *([] if registry.bare else roots))

    def evaluated(self) -> Evaluation:
        """Data -> rows -> answers -> metrics."""
        table = self.table()
        targets = columns.targets_of(self.schema, table, dict(columns.parsed(self.asked.targets)))
        answers = self.answers(columns.rows_of(self.schema, table, list(targets.values())), table.rows)
        sides, kept = self.sides(table, targets, answers)
        done = Evaluation(self.manifest.name, self.manifest.version, kept, table.rows - kept)
        if done.left_out:
            done.notes.append(f"{done.left_out} rows have no target, and were left out")
        recorded = flat(self.there.values(self.manifest.metrics))
        for text in self.asked.metrics or self.usual(recorded, sides):
            name, _, metric = text.rpartition("=")
            try:
                done.metrics |= self.measured(name, metric, sides)
            except GitregError as error:
                if self.asked.metrics:
                    raise
                done.notes.append(f"{name or metric} was not measured: {error.message}")
        done.recorded = {name: recorded[name] for name in done.metrics if name in recorded}
        done.stages = dict(self.in_stages(done.metrics))
        if self.asked.write:
            done.written, notes = metricsfile.write(self.registry, self.manifest, done.metrics)
            done.notes += notes
        return done

    @contextmanager
    def conditions(self) -> Iterator[isolation.Conditions]:
        """Those of the model, for functions that give its data or measure it, too."""
        bench, name = self.there.workbench, self.manifest.name
        lines = self.there.gather(self.there.manifest_file(name), build=False).requirements
        with self.there.environments.of(name, lines) as python:
            yield replace(bench.conditions(self.asked.timeout), python=python)

    def table(self) -> Table:
        """The data, as columns."""
        if not heldout.is_function(self.asked.data):
            return heldout.read(Path(self.asked.data))
        with self.conditions() as conditions, self.registry.scratch() as folder:
            return heldout.call(self.asked.data, self.paths, folder, conditions)

    # Answers ------------------------------------------------------------------------------------

    def answers(self, groups: Sequence[Rows], count: int) -> dict[str, Array]:
        """output -> an array with the answer to each row; strings as str."""

        def blocks(folder: Path) -> tuple[isolation.Block, ...]:
            return tuple(_block(folder / str(i), rows, len(groups) == 1) for i, rows in enumerate(groups))

        def collect(folder: Path) -> dict[str, Array]:
            return {o.name: self._collected(folder, o.name, groups, count) for o in self.schema.output_schema}

        batch = self.manifest.batching.max_batch_size or 1
        return self.there.workbench.answer(self.manifest.name, blocks, batch, self.asked.timeout, collect)

    def _collected(self, folder: Path, output: str, groups: Sequence[Rows], count: int) -> Array:
        import numpy as np

        parts = [heldout.load(folder / str(i) / "answers" / _escaped(output)) for i in range(len(groups))]
        item = next(item for item in self.schema.output_schema if item.name == output)
        shapes = {part.shape[1:] for part in parts}
        if any(
            len(part) != len(rows.numbers) or item.mismatch(part, True)
            for part, rows in zip(parts, groups, strict=True)
        ):
            raise ModelFailed(f"{self.manifest.name}: the answers for '{output}' are not as they were sent")
        if len(shapes) > 1:
            raise Refused(f"output '{output}' has different shapes for different rows: {sorted(shapes)}")
        whole = np.empty((count, *shapes.pop()), parts[0].dtype)
        for part, rows in zip(parts, groups, strict=True):
            whole[rows.numbers] = part
        if whole.dtype.kind == "O":
            flat_ = np.empty(whole.size, object)
            flat_[:] = [one.decode("utf-8", "replace") for one in whole.ravel().tolist()]
            whole = flat_.reshape(whole.shape)
        return whole.reshape(count) if whole.size == count else whole

    def sides(
        self, table: Table, targets: Mapping[str, str], answers: Mapping[str, Array]
    ) -> tuple[list[_Side], int]:
        """Each output that has targets, for the rows that have all of them; and how many these are."""
        import numpy as np

        read = {output: columns.target(table, column) for output, column in targets.items()}
        there = np.logical_and.reduce([kept for _, kept in read.values()])
        if not there.any():
            raise Refused(f"no row has a target in {', '.join(targets.values())}")
        sides = [_Side(o, targets[o], answers[o][there], values[there]) for o, (values, _) in read.items()]
        return sides, int(there.sum())

    # Metrics ------------------------------------------------------------------------------------

    def usual(self, recorded: Mapping[str, float], sides: Sequence[_Side]) -> list[str]:
        """The metrics that are recorded already and have a name that is known; else those of the kind."""
        known = [
            f"{name}={last}" for name in recorded if (last := name.rpartition(".")[2]) in measures.METRICS
        ]
        if known:
            return known
        first = sides[0]
        return (
            ["accuracy"] if measures.is_classification(first.answer, first.target) else ["mae", "rmse", "r2"]
        )

    def measured(self, name: str, metric: str, sides: Sequence[_Side]) -> dict[str, float]:
        """A metric, of the output that it suits; with the output in its name where it suits several."""
        if metric not in measures.METRICS:
            return self._by_function(name, metric, sides)
        fitting = [side for side in sides if measures.suits(metric, side.answer)] or list(sides)
        found: dict[str, float] = {}
        for side in fitting:
            try:
                value = measures.compute(metric, side.answer, side.target, self.asked.classes)
            except NotSupported:
                raise
            except GitregError as error:
                where = f"output '{side.output}' (targets in '{side.column}')"
                raise Refused(f"{metric}: {where} {error.message}", error.hint) from None
            prefix = f"{side.output}." if len(fitting) > 1 else ""
            found[f"{prefix}{name or metric}"] = value
        return found

    def _by_function(self, name: str, metric: str, sides: Sequence[_Side]) -> dict[str, float]:
        """A metric, or several, of a function of the user's, in a process without the model."""
        with self.conditions() as conditions, self.registry.scratch() as folder:
            given: dict[str, dict[str, str]] = {"targets": {}, "answers": {}}
            for i, side in enumerate(sides):
                for which, array in (("targets", side.target), ("answers", side.answer)):
                    file = folder / f"{which}{i}"
                    arrays.write(file, _bytes(array))
                    given[which][side.output] = str(file)
            out = isolation.Call(metric, tuple(self.paths), given, folder)
            values = heldout.run(out, conditions).described["values"]
        own = metric.rpartition(":")[2]
        return {_named(name, own, str(key)): float(value) for key, value in values.items()}

    def in_stages(self, names: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, dict[str, float]]]]:
        """The same metrics as recorded for the version in each stage."""
        known = self.registry.record(self.manifest.name)
        for stage, version in known.stages.items():
            one = known.versions[version]
            there = planner.manifest_of(self.registry, known, one)
            said = flat(self.registry.snapshot(one.tag.commit).values(there.metrics)) if there else {}
            yield stage, (version, {name: said[name] for name in names if name in said})


def _named(name: str, own: str, key: str) -> str:
    """What a function's number is called: as the user says, or as the function; with its own name for it."""
    return ".".join(part for part in (name or ("" if key else own), key) if part)


def _bytes(array: Array) -> Array:
    import numpy as np

    if array.dtype.kind != "O":
        return array
    flat_ = np.empty(array.size, object)
    flat_[:] = [one.encode("utf-8", "surrogateescape") for one in array.ravel().tolist()]
    return flat_.reshape(array.shape)


def _escaped(output: str) -> str:
    return output.replace("/", "%2F")


def _block(folder: Path, rows: Rows, alone: bool) -> isolation.Block:
    """Write rows for the child."""
    (folder / "answers").mkdir(parents=True)
    inputs = {}
    for i, (name, array) in enumerate(rows.inputs.items()):
        inputs[name] = str(folder / str(i))
        arrays.write(folder / str(i), array)
    numbers = None if alone else [int(n) for n in rows.numbers]
    return isolation.Block(len(rows.numbers), inputs, str(folder / "answers"), numbers)


def as_data(done: Evaluation) -> dict[str, Any]:
    """An evaluation as plain data with stable keys."""
    return {
        "model": done.model,
        "version": done.version,
        "rows": done.rows,
        "left_out": done.left_out,
        "metrics": done.metrics,
        "recorded": done.recorded,
        "stages": {
            stage: {"version": version, "metrics": found} for stage, (version, found) in done.stages.items()
        },
        "written": done.written,
        "notes": done.notes,
    }
