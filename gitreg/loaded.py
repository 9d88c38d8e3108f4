"""A model that was loaded, whatever it was made with: one class, whose inputs are held against its schema."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gitreg import inputs as rules
from gitreg.errors import ModelFailed
from gitreg.model import ModelSchema

if TYPE_CHECKING:
    import numpy as np

    from gitreg.inputs import Asked
    from gitreg.model import Model

    Array = np.ndarray[Any, Any]

_MOST_FORMS = 256


class LoadedModel:
    """A registered version, ready to answer.

    As safe in threads as the model itself is.

    Args:
        model: with a `predict` over a mapping of arrays.
        schema: its inputs and outputs.
        custom_batching: whether it takes a leading batch dimension itself.
        metadata: what is known of the version.

    Attributes:
        schema: its inputs and outputs.
        name: the model's.
        version: as `1.2.0`.
        digest: of its content, as `sha256:...`.
        metadata: what the registry knows of the version: description, tags, params, metrics, ids, stages, ...
    """

    def __init__(
        self,
        model: Model,
        schema: ModelSchema,
        custom_batching: bool = False,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        import numpy as np

        self.schema = schema
        self.metadata: dict[str, Any] = dict(metadata or {})
        self._model, self._custom = model, custom_batching
        self._predict: Callable[[dict[str, Array]], Mapping[str, Array]] = model.predict
        wanted = [item.name for item in schema.input_schema if not item.optional]
        self._only = wanted[0] if len(wanted) == 1 else None
        self._ndarray = np.ndarray
        self._checked = bool(schema.input_schema)
        # What inputs of exactly these types and shapes are: one sample (None), or so many rows.
        self._forms: dict[Any, int | None] = {}

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.metadata.get("name", type(self._model).__name__))

    @property
    def version(self) -> str | None:
        """The version, as `1.2.0`."""
        return self.metadata.get("version")

    @property
    def digest(self) -> str | None:
        """The version's content digest, which `load_model(..., digest=...)` pins; None of no version."""
        return self.metadata.get("digest")

    def __repr__(self) -> str:
        kind = self.metadata.get("type", type(self._model).__name__)
        sides = self.schema.input_schema, self.schema.output_schema
        takes, gives = (", ".join(f"{i.name}: {i.describe()}" for i in side) for side in sides)
        return f"<{self.name}{f'@{self.version}' if self.version else ''} {kind} ({takes}) -> ({gives})>"

    def unwrap(self) -> Any:
        """The model itself: an instance of its own class, or the framework's object of a ready-made type."""
        ready_made = type(self._model).__module__.partition(".")[0] == "gitreg_flavors"
        inner = getattr(self._model, "unwrap", None) if ready_made else None
        return inner() if inner else self._model

    def predict(self, inputs: Any) -> dict[str, Array]:
        """Answer one sample, or a batch.

        Args:
            inputs: a mapping of input name to array (or nested lists); a pandas or polars data frame, whose
                columns are inputs and whose rows are samples; or one array, where there is one input. Arrays
                have the schema's shapes, or one more dimension in front for a batch, whether or not the
                model takes batches itself. No value is changed by a cast; see `gitreg.inputs`.

        Returns:
            Output name to array, with a leading dimension if and only if the inputs had one.

        Raises:
            Refused: a name, type or shape is not the schema's. It is a ValueError; a line for each.
            Whatever the model raises passes through.
        """
        if not self._checked:
            return self._predict(inputs)  # type: ignore[return-value]
        form = None
        if type(inputs) is self._ndarray and self._only:
            inputs = {self._only: inputs}
        if type(inputs) is dict:
            try:
                form = tuple([(n, type(a), a.dtype, a.shape, a.strides) for n, a in inputs.items()])
                length = self._forms[form]
            except (AttributeError, KeyError, TypeError):
                pass
            else:
                return self._answer(rules.Asked(inputs.copy(), length, {}))
        asked = rules.read(self.schema, inputs)
        if form is not None and all(inputs.get(name) is array for name, array in asked.arrays.items()):
            self._remember(form, asked)
        return self._answer(asked)

    def _remember(self, form: Any, asked: Asked) -> None:
        """Inputs of this form are taken as they are from now on: nothing of them had to be changed.

        Strings are objects, and are looked at every time.
        """
        if all(dtype.kind != "O" for _, _, dtype, _, _ in form) and len(form) == len(asked.arrays):
            if len(self._forms) >= _MOST_FORMS:
                self._forms.clear()
            self._forms[form] = asked.length

    def _answer(self, asked: Asked) -> dict[str, Array]:
        if asked.length is None:
            if not self._custom:
                return self._predict(asked.arrays)  # type: ignore[return-value]
            answer = self._predict({name: array[None] for name, array in asked.arrays.items()})
            return {name: array[0] for name, array in _mapping(answer).items()}
        if asked.length == 0:
            return self._nothing()
        if not self._custom:
            return _stacked([_kept(self._predict(row)) for row in asked.rows()])
        if not asked.present:
            return self._predict(asked.arrays)  # type: ignore[return-value]
        rows = ({name: array[None] for name, array in row.items()} for row in asked.rows())
        return _stacked([{n: a[0] for n, a in _kept(self._predict(row)).items()} for row in rows])

    def _nothing(self) -> dict[str, Array]:
        """The answer to no rows, which few models are made for."""
        import numpy as np

        return {
            item.name: np.empty((0, *(max(n, 0) for n in item.shape or ())), item.data_type.dtype)
            for item in self.schema.output_schema
        }


def _mapping(answer: Any) -> Mapping[str, Array]:
    if not isinstance(answer, Mapping):
        raise ModelFailed(f"predict returned a {type(answer).__name__}; a mapping of arrays is expected")
    return answer


def _kept(answer: Any) -> dict[str, Array]:
    """An answer that the model cannot change any more: some give out one buffer again and again."""
    import numpy as np

    return {name: np.array(array) for name, array in _mapping(answer).items()}


def _stacked(answers: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    import numpy as np

    names: Iterable[str] = answers[0]
    found = {}
    for name in names:
        rows = [answer[name] for answer in answers if name in answer]
        shapes = sorted({row.shape for row in rows})
        if len(rows) < len(answers) or len(shapes) > 1:
            said = "not in every row" if len(rows) < len(answers) else f"of the shapes {[*map(list, shapes)]}"
            raise ModelFailed(f"the output '{name}' is {said}, and fits no batch", "ask the rows one by one")
        found[name] = np.stack(rows)
    return found
