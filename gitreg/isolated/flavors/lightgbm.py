"""LightGBM: its text format."""

import os
import re

import numpy as np

from . import Flavored, chosen, columns_in_order, declared, floats, requirement, texts


class Lightgbm(Flavored):
    """A booster.

    One input is the matrix of features, in the order of training; several are columns, by the names that the
    booster knows; categories that pandas had are words or numbers, as they were there. NaN is a missing
    value, and so is a category that training did not see. What it answers is in its objective: classes have
    a `label` and `probabilities`, all else has a `prediction`.

    Options:
        file: which file of a folder to load.
        outputs: output -> `label`, `probabilities`, `prediction` (as the booster has it), `scores` (before
            the objective's function), `leaves` or `contributions`, where its name is none of these.
        rounds: how many rounds of training count; by default all that are in the file.
    """

    def open(self):
        file = self.file(".txt", ".lgb", ".model")
        head, ends = _ends_of(file)
        if "end of trees" not in ends or ("\nparameters:" in ends and "end of parameters" not in ends):
            raise ValueError("the file is no text of LightGBM's, or is truncated: it does not end as they do")
        import lightgbm

        self.booster = lightgbm.Booster(model_file=file)
        header = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
        self.objective = header.get("objective", "").partition(" ")[0]
        names = self.booster.feature_name()
        unnamed = names == [f"Column_{i}" for i in range(len(names))]
        self.columns = [] if unnamed else list(declared(names))
        self.categories = self._categories(ends)
        said = self.options.get("outputs", {})
        if self.outputs or said:
            known = ("label", "probabilities", "prediction", "scores", "leaves", "contributions")
            self.wanted = chosen(self.outputs, said, known)
        else:
            self.wanted = {name: name for name, _, _ in self.known_outputs()}

    def _categories(self, ends):
        """feature -> its categories, where pandas had them."""
        kept = self.booster.pandas_categorical or []
        said = re.search(r"^\[categorical_feature: ([\d,]+)\]$", ends, re.MULTILINE)
        places = [int(n) for n in said[1].split(",")] if said else []
        if kept and len(places) != len(kept):
            raise ValueError("the file does not say which of its features are the categories that pandas had")
        names = list(declared(self.booster.feature_name()))
        return {names[i]: one for i, one in zip(places, kept)} if kept else {}

    def unwrap(self):
        """The booster."""
        return self.booster

    def answer(self, inputs):
        table = self._table(inputs)
        kinds = set(self.wanted.values())
        found = {}
        if kinds & {"label", "probabilities", "prediction"}:
            found["prediction"] = value = self._ask(table)
            if self.objective == "binary":
                found |= {
                    "label": (value > 0.5).astype(np.int64),
                    "probabilities": np.stack([1 - value, value], 1),
                }
            elif value.ndim == 2:
                found |= {"label": value.argmax(axis=1), "probabilities": value}
        for kind, how in (
            ("scores", "raw_score"),
            ("leaves", "pred_leaf"),
            ("contributions", "pred_contrib"),
        ):
            if kind in kinds:
                found[kind] = self._ask(table, **{how: True})
        return floats(self.outputs, {name: found[kind] for name, kind in self.wanted.items()})

    def _ask(self, table, **how):
        return self.booster.predict(table, num_iteration=self.options.get("rounds"), **how)

    def _table(self, inputs):
        """The matrix of features, or a data frame where some are categories."""
        if len(inputs) == 1 and self.columns != list(inputs):
            (matrix,) = inputs.values()
            if self.categories:
                names = ", ".join(self.categories)
                raise ValueError(
                    f"{names} are categories: a matrix cannot hold them; an input per feature can"
                )
            return matrix
        arrays = columns_in_order(inputs, self.columns)
        if not self.categories:
            return np.concatenate([a.reshape(len(a), 1).astype(np.float64) for a in arrays.values()], axis=1)
        import pandas

        frame = {}
        for name, array in arrays.items():
            column = texts(array).reshape(len(array))
            known = self.categories.get(name)
            frame[name] = column if known is None else pandas.Categorical(column, categories=known)
        return pandas.DataFrame(frame)

    def known_inputs(self):
        if not self.columns:
            return [("x", np.float64, (None, self.booster.num_feature()))]
        return [(name, _dtype(self.categories.get(name)), (None, 1)) for name in self.columns]

    def known_outputs(self):
        label, count = ("label", np.int64, (None,)), self.booster.num_model_per_iteration()
        if self.objective == "binary":
            return [label, ("probabilities", np.float64, (None, 2))]
        if self.objective in ("multiclass", "multiclassova"):
            return [label, ("probabilities", np.float64, (None, count))]
        return [("prediction", np.float64, (None,) if count == 1 else (None, count))]

    def native(self):
        return {
            "features": self.booster.num_feature(),
            "objective": self.objective,
            "classes": {"binary": 2}.get(self.objective, self.booster.num_model_per_iteration()),
            "targets": 1,
            "categories": bool(self.categories),
            "format": "text",
            "part": bool(self.options.get("rounds")),
            "wanted": self.wanted,
        }

    def requirements(self):
        return [requirement("lightgbm"), *([requirement("pandas")] if self.categories else [])]


def _ends_of(file):
    """The header of a model, and its end from the last tree on."""
    with open(file, "rb") as stream:
        head = stream.read(1 << 20).decode("utf-8", "replace").partition("\nTree=")[0]
        stream.seek(max(0, os.path.getsize(file) - (4 << 20)))
        return head, stream.read().decode("utf-8", "replace")


def _dtype(categories):
    if categories is None:
        return np.float64
    kinds = {type(one) for one in categories}
    return (
        object
        if kinds == {str}
        else {"b": np.bool_, "i": np.int64}.get(np.asarray(categories).dtype.kind, np.float64)
    )
