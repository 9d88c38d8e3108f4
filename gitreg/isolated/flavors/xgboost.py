"""XGBoost: boosters, and the models of its scikit-learn interface, in any of its formats."""

import json

import numpy as np

from . import Flavored, chosen, columns_in_order, declared, floats, requirement, texts

_BINARY, _MULTI = ("binary:logistic", "reg:logistic"), ("multi:softprob", "multi:softmax")


class Xgboost(Flavored):
    """A booster.

    One input is the matrix of features, in the order of training; several are columns, by the names that the
    booster knows. NaN is a missing value. What it answers is in its objective: classes have a `label` and
    `probabilities`, all else has a `prediction`.

    Options:
        file: which file of a folder to load.
        outputs: output -> `label`, `probabilities`, `prediction` (as the booster has it), `scores` (before
            the objective's function), `leaves` or `contributions`, where its name is none of these.
        missing: the value that means a missing one, besides NaN.
        rounds: how many rounds of training count; by default all, or the best ones where the scikit-learn
            interface stopped early.
    """

    def open(self):
        import xgboost

        file = self.file(".json", ".ubj", ".model", ".bst", ".xgb", ".bin", ".deprecated")
        with open(file, "rb") as stream:
            data = bytearray(stream.read())
        if not data:
            raise ValueError("the file is empty")
        self.format = "ubj" if data[:2] == b"{L" else "json" if data[:1] == b"{" else "binary"
        self.booster = xgboost.Booster()
        try:
            self.booster.load_model(data)
        except xgboost.core.XGBoostError as error:
            if data[:1] != b"{":
                raise ValueError(
                    f"XGBoost {xgboost.__version__} does not read this file: it is not XGBoost's, or in the "
                    "binary format that 3.1 dropped; an older XGBoost writes it as .ubj: Booster.save_model"
                ) from None
            raise ValueError(_first(error)) from None
        learner = json.loads(self.booster.save_config())["learner"]
        param = learner["learner_model_param"]
        self.objective = learner["objective"]["name"]
        self.linear = learner.get("gradient_booster", {}).get("name") == "gblinear"
        self.classes, self.targets = int(param["num_class"]), max(1, int(param.get("num_target", 1)))
        self.originals = declared(self.booster.feature_names or [])
        self.columns = list(self.originals)
        self.kinds = list(self.booster.feature_types or [])
        self.categories = _categories(self.booster, self.columns) if "c" in self.kinds else {}
        self.rounds = self._rounds()
        said = self.options.get("outputs", {})
        if self.outputs or said:
            known = ("label", "probabilities", "prediction", "scores", "leaves", "contributions")
            self.wanted = chosen(self.outputs, said, known)
        else:
            self.wanted = {name: name for name, _, _ in self.known_outputs()}

    def _rounds(self):
        """The rounds that count, as XGBoost wants them; (0, 0) for all."""
        said = self.options.get("rounds")
        attributes = self.booster.attributes()
        if said is None and "scikit_learn" in attributes and "best_iteration" in attributes:
            said = int(attributes["best_iteration"]) + 1
        return (0, 0 if self.linear else int(said or 0))

    def unwrap(self):
        """The booster."""
        return self.booster

    def answer(self, inputs):
        table = self._table(inputs)
        kinds = set(self.wanted.values())
        found = {}
        if kinds & {"label", "probabilities", "prediction"}:
            found = self._values(table)
        if "scores" in kinds:
            found["scores"] = self._ask(table, "margin")
        for kind, how in (("leaves", "pred_leaf"), ("contributions", "pred_contribs")):
            if kind in kinds:
                found[kind] = self.booster.predict(self._matrix(table), **{how: True})
        return floats(self.outputs, {name: found[kind] for name, kind in self.wanted.items()})

    def _values(self, table):
        """What the objective makes of the trees: labels and probabilities, or predictions."""
        if self.objective == "multi:softmax":
            margin = self._ask(table, "margin").astype(np.float64)
            powers = np.exp(margin - margin.max(axis=1, keepdims=True))
            chances = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
            label = chances.argmax(axis=1)
            return {"label": label, "probabilities": chances, "prediction": label.astype(np.float32)}
        value = self._ask(table, "value")
        found = {"prediction": value}
        if self.objective == "multi:softprob":
            found |= {"label": value.argmax(axis=1), "probabilities": value}
        elif self.objective in _BINARY:
            both = value if self.targets > 1 else np.concatenate([1 - value, value], axis=1)
            found |= {"label": (value > 0.5).astype(np.int64), "probabilities": both}
        elif self.objective == "binary:hinge":
            found["label"] = value.astype(np.int64)
        return found

    def _ask(self, table, what):
        if self.linear:
            matrix = self._matrix(table)
            return self.booster.predict(matrix, output_margin=what == "margin", strict_shape=True)
        return self.booster.inplace_predict(
            table,
            iteration_range=self.rounds,
            predict_type=what,
            missing=self._missing(),
            strict_shape=True,
        )

    def _missing(self):
        return float(self.options.get("missing", "nan"))

    def _matrix(self, table):
        import xgboost

        names = None if not isinstance(table, np.ndarray) else self.booster.feature_names
        kinds = None if names is None else self.kinds or None
        return xgboost.DMatrix(
            table, missing=self._missing(), feature_names=names, feature_types=kinds, enable_categorical=True
        )

    def _table(self, inputs):
        """The matrix of features, or a data frame where some are words."""
        if len(inputs) == 1 and self.columns != list(inputs):
            (matrix,) = inputs.values()
            if matrix.ndim != 2 or matrix.shape[1] != self.booster.num_features():
                wanted = self.booster.num_features()
                raise ValueError(f"the booster was trained on {wanted} features; {matrix.shape[1:]} came")
            return matrix
        arrays = columns_in_order(inputs, self.columns)
        if not self.categories:
            return np.concatenate([a.reshape(len(a), 1).astype(np.float32) for a in arrays.values()], axis=1)
        import pandas

        frame = {}
        for name, array in arrays.items():
            column = texts(array).reshape(len(array))
            original = self.originals[name]
            frame[original] = pandas.Categorical(column) if name in self.categories else column
        return pandas.DataFrame(frame)

    def known_inputs(self):
        if not self.columns:
            return [("x", np.float32, (None, int(self.booster.num_features())))]
        return [(name, self.categories.get(name, np.float32), (None, 1)) for name in self.columns]

    def known_outputs(self):
        label, prediction = ("label", np.int64, (None,)), ("prediction", np.float32, (None,))
        if self.objective in _MULTI:
            return [label, ("probabilities", np.float32, (None, self.classes))]
        if self.objective in ("binary:logistic", "binary:hinge"):
            several = (None, self.targets) if self.targets > 1 else (None,)
            labels = ("label", np.int64, several)
            chances = ("probabilities", np.float32, (None, max(2, self.targets)))
            return [labels] if self.objective == "binary:hinge" else [labels, chances]
        if self.objective == "binary:logitraw":
            return [("scores", np.float32, (None,))]
        return [("prediction", np.float32, (None, self.targets))] if self.targets > 1 else [prediction]

    def native(self):
        all_rounds = self.rounds[1] in (0, self.booster.num_boosted_rounds())
        return {
            "features": int(self.booster.num_features()),
            "objective": self.objective,
            "classes": 2 if self.objective in ("binary:logistic", "binary:hinge") else self.classes,
            "targets": self.targets,
            "categories": bool(self.categories) or "c" in self.kinds,
            "format": self.format,
            "part": self.linear or not all_rounds,
            "missing": "missing" in self.options,
            "wanted": self.wanted,
        }

    def requirements(self):
        needed = [requirement("xgboost", "xgboost-cpu")]
        return needed + ([requirement("pandas")] if self.categories else [])


def _categories(booster, names):
    """feature -> dtype of the categories that the file holds; without them a feature is their codes.

    Args:
        names: the features', in their order, as the schema has them.
    """
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    model = learner["gradient_booster"].get("model") or learner["gradient_booster"].get("gbtree", {}).get(
        "model", {}
    )
    said = (model.get("cats") or {}).get("enc") or []
    return {n: object if "offsets" in one else np.int64 for n, one in zip(names, said) if one.get("values")}


def _first(error):
    """What XGBoost says, without its stack."""
    return str(error).partition("\nStack trace")[0]
