"""scikit-learn: skops files; pickles and joblib's where the manifest trusts them."""

import zipfile

import numpy as np

from . import Flavored, declared, texts, version

# The method that an output's name asks for.
_METHODS = {
    "label": "predict",
    "prediction": "predict",
    "probabilities": "predict_proba",
    "probability": "predict_proba",
    "proba": "predict_proba",
    "scores": "decision_function",
    "decision": "decision_function",
    "transformed": "transform",
}

# What skops does not trust and can do nothing: a dtype, as every OneHotEncoder has one. Trees are not here:
# scikit-learn follows the indices in them unchecked, and a crafted one reads where it should not.
_HARMLESS = ("numpy.dtype",)


class Sklearn(Flavored):
    """A fitted estimator or pipeline.

    One input is the matrix of features, a row per sample; several are columns, one value per sample, put
    into a data frame where the estimator was fitted on one. A column whose name the schema cannot have is
    called by it with `_` in the place of what is not allowed there.

    Options:
        file: which file of a folder to load.
        outputs: output -> method, where its name does not say (`label`, `prediction`: predict;
            `probabilities`: predict_proba; `scores`: decision_function; `transformed`: transform).
        trusted: types in a skops file that scikit-learn does not bring along.
    """

    def open(self):
        file = self.file(".skops", ".joblib", ".pkl", ".pickle")
        self.skops = zipfile.is_zipfile(file)
        if self.skops:
            self.estimator = _from_skops(file, self.options.get("trusted", []))
        else:
            self.refuse_pickle(file, "skops.io.dump writes a file that runs none")
            import joblib

            self.estimator = joblib.load(file)
        self.originals = declared(str(n) for n in getattr(self.estimator, "feature_names_in_", ()))
        self.columns = list(self.originals)
        self.methods = self._methods()

    def unwrap(self):
        """The estimator."""
        return self.estimator

    def _methods(self):
        """output -> the estimator's method."""
        has = [m for m in ("predict", "predict_proba", "transform") if hasattr(self.estimator, m)]
        said = self.options.get("outputs", {})
        if not self.outputs and said:
            return dict(said)
        if not self.outputs:
            first = (
                "label" if hasattr(self.estimator, "classes_") or _clusters(self.estimator) else "prediction"
            )
            names = {"predict": first, "predict_proba": "probabilities", "transform": "transformed"}
            return {names[m]: m for m in has if m != "transform" or "predict" not in has}
        found = {f.name: said.get(f.name) or _METHODS.get(f.name) for f in self.outputs}
        left = [m for m in has if m not in found.values()]
        return {name: method or (left.pop(0) if left else "predict") for name, method in found.items()}

    def answer(self, inputs):
        table = self._table(inputs)
        return {name: _one(getattr(self.estimator, method)(table)) for name, method in self.methods.items()}

    def _table(self, inputs):
        arrays = {name: texts(array) for name, array in inputs.items()}
        if len(arrays) == 1 and len(self.inputs) <= 1:
            (array,) = arrays.values()
            if len(self.columns) == 1 and self.inputs and self.inputs[0].name in self.columns:
                return self._frame(arrays)
            return array
        if self.columns:
            self._know(arrays)
            return self._frame({name: arrays[name] for name in self.columns if name in arrays})
        order = [f.name for f in self.inputs if f.name in arrays] or list(arrays)
        return np.concatenate([arrays[n].reshape(len(arrays[n]), -1) for n in order], axis=1)

    def _know(self, names):
        strange = [name for name in names if name not in self.originals]
        if strange:
            known = [n if n == own else f"{n} (for {own!r})" for n, own in self.originals.items()]
            raise ValueError(
                f"no column is called {', '.join(map(repr, strange))}; the estimator was fitted on "
                f"{', '.join(known[:30])}"
            )

    def _frame(self, columns):
        import pandas

        return pandas.DataFrame({self.originals[n]: a.reshape(len(a)) for n, a in columns.items()})

    def known_inputs(self):
        if self.columns:
            return [(name, np.float64, (None, 1)) for name in self.columns]
        count = getattr(self.estimator, "n_features_in_", None)
        return [("x", np.float64, (None, int(count)))] if count else None

    def requirements(self):
        needed = [f"scikit-learn=={version('scikit-learn')}"]
        needed += [f"skops>={version('skops')}"] if self.skops else [f"joblib>={version('joblib')}"]
        return needed + ([f"pandas>={version('pandas').split('.')[0]}"] if self.columns else [])


def _one(answer):
    """One array of what is a list of one per target: (rows, targets, classes), 0 for classes of others."""
    if not isinstance(answer, list):
        return answer
    most = max(one.shape[1] for one in answer)
    return np.stack([np.pad(one, ((0, 0), (0, most - one.shape[1]))) for one in answer], axis=1)


def _from_skops(file, trusted):
    """Load a skops file, none of whose types is a stranger's."""
    from skops import io

    strange = sorted(set(io.get_untrusted_types(file=file)) - {*trusted, *_HARMLESS})
    if strange:
        listed = ", ".join([*trusted, *strange])
        raise PermissionError(
            f"the skops file holds types that skops does not trust: {', '.join(strange)}. If you trust who "
            f"made the file: `options: {{trusted: [{listed}]}}` in the manifest, or of new "
            f"--option 'trusted=[{listed}]'"
        )
    return io.load(file, trusted=[*trusted, *_HARMLESS])


def _clusters(estimator):
    from sklearn.base import is_clusterer

    return is_clusterer(estimator)
