"""Converts a model to ONNX (`convert`), and believes the result only when it answers the samples alike."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import builder, flavors, folders, isolation, outputs, scaffold
from gitreg.declared import CUSTOM_PYTHON, Artifact, Batching
from gitreg.errors import ModelFailed, NotSupported, Refused
from gitreg.model import DataType, ModelSchema
from gitreg.packages import Parts, content_digest

if TYPE_CHECKING:
    from gitreg.registry import Registry
    from gitreg.schema import Array

CONVERTIBLE = ("scikit-learn", "xgboost", "lightgbm", "pytorch")
RTOL, ATOL = 1e-4, 1e-5


@dataclass(frozen=True)
class Asked:
    """What `convert` is asked for.

    Attributes:
        name: the new model's; or else
        file: where the ONNX file goes.
        rtol, atol: how far floats may be apart, as `numpy.isclose` has it.
        opset: of ONNX; None for the converter's choice.
    """

    name: str | None = None
    file: Path | None = None
    rtol: float = RTOL
    atol: float = ATOL
    opset: int | None = None


@dataclass(frozen=True)
class Difference:
    """How far the answers of one output are apart, over all samples.

    Attributes:
        absolute, relative: the largest ones, of floats.
        unlike: values that differ: labels at all, floats by more than the tolerance.
        values: how many were compared.
    """

    output: str
    values: int
    unlike: int
    absolute: float | None = None
    relative: float | None = None


@dataclass
class Converted:
    """What came of it.

    Attributes:
        model, version: what was converted.
        samples: how many were asked.
        file: what was written; None where it became a model.
        added: the new model.
    """

    model: str
    version: str | None
    samples: int
    differences: list[Difference]
    file: Path | None = None
    added: scaffold.Added | None = None


def convert(registry: Registry, reference: str, asked: Asked, timeout: float | None = None) -> Converted:
    """Convert a model to ONNX: into a file, or into a new model of the registry.

    Args:
        reference: what is converted.
        timeout: seconds that each of the two processes may take.

    Raises:
        Refused: its answers to the samples are not those of the original; or the file, or a model of this
            name, is there. Nothing is left then.
        ModelFailed: it does not load, or has no counterpart in ONNX.
        NotSupported: there is no converter for the type.
    """
    if asked.file:
        outputs.claim(asked.file.parent)
    if asked.file and os.path.lexists(asked.file):
        raise Refused(f"{asked.file} exists already", "choose another -o")
    if asked.name:
        registry.need_files("convert to a new model")
    with registry.holding(reference) as (held, model), registry.scratch() as place:
        parts, manifest = held.workbench.parts(model)
        _refuse(parts)
        (place / "onnx").mkdir()
        onnx, other = place / "onnx" / f"{parts.name}.onnx", _as_onnx(parts)
        with held.workbench.testing(parts, timeout, _converters()) as conditions:
            originals = _original(parts, place, onnx, asked.opset, conditions)
        with held.workbench.testing(other, timeout) as conditions:
            others = _answers_of(other, onnx, place, conditions)
        done = Converted(parts.name, parts.version, len(parts.samples), [])
        assert parts.schema
        done.differences = differences(parts.schema, originals, others, asked)
        _believe(done, asked)
        if asked.name:
            samples = held.root / manifest.sample_data if manifest.sample_data else None
            new = scaffold.NewModel(
                "onnx",
                samples=samples,
                description=manifest.description,
                lineage=_lineage(parts, manifest.lineage),
            )
            done.added = scaffold.new(registry, asked.name, str(onnx), new)
        elif asked.file:
            _put(onnx, asked.file)
            done.file = asked.file
    return done


def _refuse(parts: Parts) -> None:
    """Raise where there is nothing that could be converted, or compared."""
    if parts.type == "onnx":
        raise Refused(f"{parts.name} is ONNX already")
    if parts.type not in CONVERTIBLE:
        own = (
            " is a class of your own, which only its author can convert"
            if parts.type == CUSTOM_PYTHON
            else ""
        )
        raise NotSupported(
            f"{parts.name}{own}: no converter from '{parts.type}' to ONNX"
            if not own
            else f"{parts.name}{own}",
            f"gitreg converts {', '.join(CONVERTIBLE)}",
        )
    if not parts.samples:
        raise Refused(
            f"{parts.name} has no sample data to compare the answers of both on",
            "sample_data: FILE in model.yaml",
        )


def _converters() -> list[str]:
    """What gitreg's own extra for `convert` installs."""
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    found = map(Requirement, requires("gitreg") or ())
    markers = [(one, one.marker) for one in found if one.marker]
    return [
        f"{one.name}{one.specifier}"
        for one, marker in markers
        if marker.evaluate({"extra": "convert"}) and not marker.evaluate({"extra": ""})
    ]


def _original(
    parts: Parts, place: Path, onnx: Path, opset: int | None, conditions: isolation.Conditions
) -> Sequence[Mapping[str, Array]]:
    """Ask the model its samples and write it as ONNX, in one isolated process."""
    builder.whole("raw", parts, place / "original")
    task = replace(
        builder.task("raw", parts, place / "original"),
        save=False,
        compare=False,
        convert=str(onnx),
        opset=opset,
    )
    outcome = isolation.run(task, conditions)
    if outcome.error:
        failed = builder.failure(parts, outcome)
        hint = failed.hint
        if "could not be converted: ModuleNotFoundError" in outcome.error:
            hint = "pip install 'gitreg[convert]'"
        raise ModelFailed(failed.message, hint)
    if onnx.is_symlink() or not onnx.is_file():  # whatever wrote it ran beside the model
        raise ModelFailed(f"{parts.name}: no ONNX file was written")
    return outcome.answers


def _as_onnx(parts: Parts) -> Parts:
    """The same model as ONNX, but for its artifact."""
    assert parts.schema
    return Parts(
        name=parts.name,
        type="onnx",
        artifact=Artifact(""),
        schema=ModelSchema(parts.schema.input_schema, []),
        samples=parts.samples,
        requirements=flavors.FLAVORS["onnx"].requirements,
        batching=Batching(parts.batching.max_batch_size > 0, parts.batching.max_batch_size),
    )


def _answers_of(
    other: Parts, onnx: Path, place: Path, conditions: isolation.Conditions
) -> Sequence[Mapping[str, Array]]:
    """What ONNX Runtime answers to the same samples."""
    other = replace(other, artifact=builder.local_artifact(onnx))
    return builder.free_answers(other, place / "converted", conditions)


def differences(
    schema: ModelSchema,
    ones: Sequence[Mapping[str, Array]],
    others: Sequence[Mapping[str, Array]],
    asked: Asked,
) -> list[Difference]:
    """How far two models' answers to the same samples are apart, per declared output.

    Raises:
        Refused: an output is missing, or has another number of values.
    """
    import numpy as np

    found = []
    for item in schema.output_schema:
        pairs = []
        for i, (one, other) in enumerate(zip(ones, others, strict=True)):
            if item.name not in other or one[item.name].size != other[item.name].size:
                came = list(other[item.name].shape) if item.name in other else "nothing"
                raise Refused(
                    f"output {item.name!r}, sample [{i}]: {came} instead of {list(one[item.name].shape)}"
                )
            pairs.append((one[item.name].ravel(), other[item.name].ravel()))
        left, right = (np.concatenate(side) for side in zip(*pairs, strict=True))
        if item.data_type not in (DataType.FLOAT, DataType.DOUBLE):
            found.append(Difference(item.name, left.size, int((left != right).sum())))
            continue
        left, right = left.astype(np.float64), right.astype(np.float64)
        alike = np.isclose(right, left, asked.rtol, asked.atol, equal_nan=True)
        with np.errstate(all="ignore"):
            apart = np.nan_to_num(np.abs(right - left), nan=0.0, posinf=np.inf)
            parted = np.nan_to_num(apart / np.abs(left), nan=0.0, posinf=np.inf)
        far = float(apart.max(initial=0)), float(parted.max(initial=0))
        found.append(Difference(item.name, left.size, int((~alike).sum()), *far))
    return found


def _believe(done: Converted, asked: Asked) -> None:
    """Raise Refused where the answers are not the same."""
    wrong = [one for one in done.differences if one.unlike]
    if wrong:
        told = "; ".join(
            f"{one.output}: {one.unlike} of {one.values} values differ"
            + (
                f", by up to {one.absolute:.3g} ({one.relative:.3g} of the value)"
                if one.absolute is not None
                else ""
            )
            for one in wrong
        )
        raise Refused(
            f"{done.model}: as ONNX it answers its samples otherwise: {told}",
            f"--rtol and --atol allow more than {asked.rtol:g} and {asked.atol:g}; labels have to be equal",
        )


def _lineage(parts: Parts, known: Mapping[str, Any]) -> dict[str, Any]:
    """Where a converted model comes from: the original, and what is known of its training."""
    source = {
        "model": parts.name,
        "version": parts.version,
        "commit": parts.commit,
        "digest": content_digest(parts),
    }
    trained = {key: known[key] for key in ("code", "data", "run") if key in known}
    return {**trained, "source": {key: value for key, value in source.items() if value}}


def _put(file: Path, destination: Path) -> None:
    """Move a file to where it was asked for: whole, or not at all.

    Raises:
        Refused: something came to be there meanwhile.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    with folders.aside(destination.absolute().parent) as aside:
        shutil.copyfile(file, aside / "model.onnx")
        try:
            os.link(aside / "model.onnx", destination)
        except FileExistsError:
            raise Refused(f"{destination} exists already", "choose another -o") from None
