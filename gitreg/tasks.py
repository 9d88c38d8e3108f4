"""What the process of a model is given to do, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg.model import ModelSchema

if TYPE_CHECKING:
    from gitreg.schema import Array, Sample

USER_MODEL = Path(__file__).parent / "isolated" / "user_model.py"


@dataclass(frozen=True)
class Task:
    """What the child is to do.

    Attributes:
        code: folder with the bundled modules.
        artifact: what the class's `load` gets.
        samples: rows with a leading batch dimension (without one when `whole`).
        user_model: the `user_model.py` to call the class with: the package's own where it has one.
        save: also save the model and load what it saved.
        compare: also measure whether stacked samples give the same answers faster.
        free: expect no particular outputs; answers come without a batch dimension where the model
            has none.
        describe: ask the model for its own schema, and nothing else (flavors alone).
        convert: after the samples, write the model as ONNX to this path, of this `opset`.
        native: also ask it what Triton's own backend must know of it (flavors alone).
        blocks: answer these instead of samples, `batch` rows at a time.
    """

    code: Path
    artifact: Path
    model_class: str
    schema: ModelSchema
    samples: list[Sample] = field(default_factory=list)
    custom: bool = False
    whole: bool = False
    user_model: Path = USER_MODEL
    save: bool = False
    compare: bool = False
    free: bool = False
    describe: bool = False
    native: bool = False
    convert: str = ""
    opset: int | None = None
    blocks: tuple[Block, ...] = ()
    batch: int = 1


@dataclass(frozen=True)
class Block:
    """Rows that have the same inputs and shapes, in files.

    Attributes:
        inputs: input -> its file, with the rows along the first axis.
        answers: the folder for a file of each output.
        numbers: the numbers of the rows, for errors; None where they are counted from 0.
    """

    rows: int
    inputs: dict[str, str]
    answers: str
    numbers: list[int] | None = None


@dataclass(frozen=True)
class Call:
    """A function of the user's that the child is to call, with no model in its process.

    Attributes:
        model_class: the function, as `module:name`; called as of a task, for errors name it.
        paths: folders to import it from, beside what is installed.
        given: side -> name -> file of the arrays it gets; None for one that gives data.
        out: an empty folder, for what it gives.
    """

    model_class: str
    paths: tuple[Path, ...]
    given: dict[str, dict[str, str]] | None
    out: Path


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        answers: output name to array, per sample, as far as they were answered.
        error: None, or what went wrong in one line; `traceback` has the rest.
        printed: what the model wrote to stdout and stderr (its last 64 KiB).
        stacked: seconds per row, single and stacked, when the answers were the same.
        described: what the model says of itself.
        warnings: what of its requirements was not met.
    """

    answers: list[dict[str, Array]] = field(default_factory=list)
    error: str | None = None
    traceback: str = ""
    printed: str = ""
    stacked: dict[str, float] | None = None
    described: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
