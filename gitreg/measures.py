"""Metrics by name: targets and answers -> a number. Pure; scikit-learn is imported by those that need it.

of classes   the answer is a class; or a probability, and 0.5 or more is 1; or one per class, the highest
of scores    the answer is a probability, or one per class
of numbers   the answer is a number, or several
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gitreg.errors import NotSupported, Refused

if TYPE_CHECKING:
    from gitreg.schema import Array

CLASSES, SCORES, NUMBERS = "classes", "scores", "numbers"
_OF_NUMBERS = "mae, rmse and r2 are for numbers"


def compute(name: str, answer: Array, target: Array, classes: Sequence[str] = ()) -> float:
    """A metric.

    Args:
        answer: one row per target; strings as str.
        target: none of them missing.
        classes: the names of the classes, in the order of an answer's probabilities.

    Raises:
        Refused: it cannot be had of such answers and targets; what is said follows the output's name.
        NotSupported: it needs scikit-learn, which is not installed.
    """
    import numpy as np

    if answer.dtype.kind == "f" and not np.isfinite(answer).all():
        bad = np.flatnonzero(~np.isfinite(answer).reshape(len(answer), -1).all(axis=1))
        raise Refused(f"is NaN or infinite for {len(bad)} of {len(answer)} rows (the first is row {bad[0]})")
    kind, measure = METRICS[name]
    prepared = _PREPARED[kind](answer, target, classes)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # what is not defined for such targets is NaN
        try:
            return float(measure(*prepared))
        except ValueError as error:
            raise Refused(f"has no {name}: {str(error).splitlines()[0]}") from None


def is_classification(answer: Array, target: Array) -> bool:
    """Whether these are classes: strings, booleans, probabilities; or whole numbers on both sides."""
    import numpy as np

    if target.dtype.kind in "bO" or answer.dtype.kind in "bO":
        return True
    whole = _is_whole(target)
    if answer.dtype.kind == "f" and answer.ndim == 1:
        return bool(whole and np.isin(target, (0, 1)).all() and ((answer >= 0) & (answer <= 1)).all())
    return bool(whole) and (answer.dtype.kind in "iu" or (answer.ndim == 2 and target.ndim == 1))


def suits(name: str, answer: Array) -> bool:
    """Whether a metric is meant for answers of this type, with nothing read into them."""
    kind = METRICS[name][0]
    if kind == CLASSES:
        return bool(answer.dtype.kind != "f")
    return answer.dtype.kind in ("f" if kind == SCORES else "iuf")


def _is_whole(array: Array) -> bool:
    import numpy as np

    return bool(array.dtype.kind in "biu" or (array.dtype.kind == "f" and (array == np.floor(array)).all()))


# Targets and answers as a metric takes them ---------------------------------------------------------


def _classes(answer: Array, target: Array, names: Sequence[str]) -> tuple[Array, Array]:
    """Targets and answers as classes of one type."""
    import numpy as np

    if answer.ndim == 2 and target.ndim == 1:
        return _places(target, answer.shape[1], names), answer.argmax(axis=1)
    _same_shape(answer, target)
    if target.dtype.kind == "O" and answer.dtype.kind != "O" and len(names) > 1:
        target = _places(target, len(names), names)
    if (answer.dtype.kind == "O") != (target.dtype.kind == "O"):
        words = {True: "strings", False: "numbers"}
        came, wanted = words[answer.dtype.kind == "O"], words[target.dtype.kind == "O"]
        raise Refused(f"answers {came}, and its targets are {wanted}", "--classes A,B names them in order")
    if answer.dtype.kind == "O":
        return target, answer
    if answer.dtype.kind == "f":
        if not _is_whole(target):
            raise Refused("is measured in classes, and its targets are no whole numbers", _OF_NUMBERS)
        if ((answer >= 0) & (answer <= 1)).all() and np.isin(target, (0, 1)).all():
            return target.astype(np.int64), (answer >= 0.5).astype(np.int64)
        if not _is_whole(answer):
            raise Refused("answers numbers that are neither classes nor probabilities", _OF_NUMBERS)
    return target.astype(np.int64), answer.astype(np.int64)


def _same_shape(answer: Array, target: Array) -> None:
    if answer.shape != target.shape:
        came, wanted = list(answer.shape[1:]) or [1], list(target.shape[1:]) or [1]
        raise Refused(f"has the shape {came} per row, its targets {wanted}")


def _places(target: Array, count: int, names: Sequence[str]) -> Array:
    """Targets as places in an answer's probabilities."""
    import numpy as np

    if target.dtype.kind == "O":
        if len(names) != count:
            hint = f"--classes names the {count} classes in the order of the answer"
            raise Refused(f"answers {count} probabilities, and its targets are strings", hint)
        places = {name: i for i, name in enumerate(names)}
        odd = next((one for one in target if one not in places), None)
        if odd is not None:
            raise Refused(f"has a target {odd!r}, which is none of the classes {', '.join(names)}")
        return np.array([places[one] for one in target], np.int64)
    if not _is_whole(target) or (target.size and not (target.min() >= 0 and target.max() < count)):
        raise Refused(f"answers {count} probabilities; its targets should be whole numbers up to {count - 1}")
    return target.astype(np.int64)


def _scores(answer: Array, target: Array, names: Sequence[str]) -> tuple[Array, Array]:
    """Targets as whole numbers, and the probability of 1, or of each class."""
    import numpy as np

    if answer.dtype.kind != "f":
        hint = "--target OUTPUT=COLUMN names the output that has them"
        raise Refused("answers classes, and this metric needs probabilities", hint)
    if answer.ndim == 2 and target.ndim == 1:
        places = _places(target, answer.shape[1], names)
        return places, answer[:, 1] if answer.shape[1] == 2 else answer
    if answer.ndim != 1 or target.ndim != 1:
        raise Refused(f"has the shape {list(answer.shape[1:])} per row: no probability, nor one per class")
    if target.dtype.kind == "O":
        return _places(target, 2, names), answer
    if not np.isin(target, (0, 1)).all():
        raise Refused("answers one probability; its targets should be 0 and 1")
    return target.astype(np.int64), answer


def _numbers(answer: Array, target: Array, names: Sequence[str]) -> tuple[Array, Array]:
    import numpy as np

    if {"O", "b"} & {answer.dtype.kind, target.dtype.kind}:
        raise Refused("is measured in numbers, and it or its targets are not", "accuracy is for classes")
    _same_shape(answer, target)
    return target.astype(np.float64), answer.astype(np.float64)


_PREPARED = {CLASSES: _classes, SCORES: _scores, NUMBERS: _numbers}


# The metrics: f(target, answer) ---------------------------------------------------------------------


def _accuracy(target: Array, answer: Array) -> Any:
    return (target == answer).reshape(len(target), -1).all(axis=1).mean()


def _mae(target: Array, answer: Array) -> Any:
    return abs(target - answer).mean()


def _mse(target: Array, answer: Array) -> Any:
    return ((target - answer) ** 2).mean()


def _rmse(target: Array, answer: Array) -> Any:
    return _mse(target, answer) ** 0.5


def _max_error(target: Array, answer: Array) -> Any:
    return abs(target - answer).max()


def _r2(target: Array, answer: Array) -> Any:
    """The mean over the columns; NaN where the targets do not vary, as there is nothing to explain then."""
    import numpy as np

    spread = ((target - target.mean(axis=0)) ** 2).sum(axis=0)
    return np.mean(1 - ((target - answer) ** 2).sum(axis=0) / np.where(spread == 0, np.nan, spread))


def _of_sklearn(function: str, **options: Any) -> Callable[[Array, Array], Any]:
    """A function of sklearn.metrics that takes targets and answers."""
    return lambda target, answer: getattr(_sklearn(function), function)(target, answer, **options)


def _roc_auc(target: Array, answer: Array) -> Any:
    several = {"multi_class": "ovr", "labels": range(answer.shape[1])} if answer.ndim == 2 else {}
    return _sklearn("roc_auc").roc_auc_score(target, answer, **several)


def _log_loss(target: Array, answer: Array) -> Any:
    count = answer.shape[1] if answer.ndim == 2 else 2
    return _sklearn("log_loss").log_loss(target, answer, labels=range(count))


def _sklearn(name: str) -> Any:
    try:
        import sklearn.metrics
    except ImportError:
        raise NotSupported(f"{name} is computed by scikit-learn", "pip install 'gitreg[sklearn]'") from None
    return sklearn.metrics


_Metric = tuple[str, Callable[..., Any]]


def _averaged(short: str) -> dict[str, _Metric]:
    averages = {"": "binary", **{f"_{kind}": kind for kind in ("macro", "micro", "weighted")}}
    return {
        f"{short}{ending}": (CLASSES, _of_sklearn(f"{short}_score", average=average, zero_division=0))
        for ending, average in averages.items()
    }


METRICS: Mapping[str, _Metric] = {
    "accuracy": (CLASSES, _accuracy),
    "balanced_accuracy": (CLASSES, _of_sklearn("balanced_accuracy_score")),
    **_averaged("precision"),
    **_averaged("recall"),
    **_averaged("f1"),
    "mcc": (CLASSES, _of_sklearn("matthews_corrcoef")),
    "cohen_kappa": (CLASSES, _of_sklearn("cohen_kappa_score")),
    "roc_auc": (SCORES, _roc_auc),
    "average_precision": (SCORES, _of_sklearn("average_precision_score")),
    "log_loss": (SCORES, _log_loss),
    "brier": (SCORES, _of_sklearn("brier_score_loss")),
    "mae": (NUMBERS, _mae),
    "mse": (NUMBERS, _mse),
    "rmse": (NUMBERS, _rmse),
    "r2": (NUMBERS, _r2),
    "max_error": (NUMBERS, _max_error),
    "medae": (NUMBERS, _of_sklearn("median_absolute_error")),
    "mape": (NUMBERS, _of_sklearn("mean_absolute_percentage_error")),
    "explained_variance": (NUMBERS, _of_sklearn("explained_variance_score")),
}
