"""scikit-learn: skops files; pickles and joblib's where the manifest trusts them."""

import zipfile

import numpy as np

from . import Flavored, texts, version

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


class Sklearn(Flavored):
    """A fitted estimator or pipeline.

    One input is the matrix of features, a row per sample; several are columns, one value per sample, put
    into a data frame where the estimator was fitted on one.

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
        self.columns = [str(n) for n in getattr(self.estimator, "feature_names_in_", ())]
        self.methods = self._methods()

    def unwrap(self):
        """The estimator."""
        return self.estimator

    def _methods(self):
        """output -> the estimator's method."""
        has = [m for m in ("predict", "predict_proba", "transform") if hasattr(self.estimator, m)]
        if not self.outputs:
            first = (
                "label" if hasattr(self.estimator, "classes_") or _clusters(self.estimator) else "prediction"
            )
            names = {"predict": first, "predict_proba": "probabilities", "transform": "transformed"}
            return {names[m]: m for m in has if m != "transform" or "predict" not in has}
        said = self.options.get("outputs", {})
        found = {f.name: said.get(f.name) or _METHODS.get(f.name) for f in self.outputs}
        left = [m for m in has if m not in found.values()]
        return {name: method or (left.pop(0) if left else "predict") for name, method in found.items()}

    def answer(self, inputs):
        table = self._table(inputs)
        return {name: getattr(self.estimator, method)(table) for name, method in self.methods.items()}

    def _table(self, inputs):
        arrays = {name: texts(array) for name, array in inputs.items()}
        if len(arrays) == 1 and len(self.inputs) <= 1:
            (array,) = arrays.values()
            if len(self.columns) == 1 and self.inputs and self.inputs[0].name in self.columns:
                return _frame(arrays)
            return array
        if self.columns:
            return _frame({name: arrays[name] for name in self.columns if name in arrays})
        order = [f.name for f in self.inputs if f.name in arrays] or list(arrays)
        return np.concatenate([arrays[n].reshape(len(arrays[n]), -1) for n in order], axis=1)

    def known_inputs(self):
        if self.columns:
            return [(name, np.float64, (None, 1)) for name in self.columns]
        count = getattr(self.estimator, "n_features_in_", None)
        return [("x", np.float64, (None, int(count)))] if count else None

    def requirements(self):
        needed = [f"scikit-learn=={version('scikit-learn')}"]
        needed += [f"skops>={version('skops')}"] if self.skops else [f"joblib>={version('joblib')}"]
        return needed + ([f"pandas>={version('pandas').split('.')[0]}"] if self.columns else [])


def _from_skops(file, trusted):
    """Load a skops file, none of whose types is a stranger's."""
    from skops import io

    strange = sorted(set(io.get_untrusted_types(file=file)) - set(trusted))
    if strange:
        raise PermissionError(
            f"the skops file holds types that are not trusted: {', '.join(strange[:10])}; "
            "`options: {trusted: [...]}` in the manifest names those that are"
        )
    return io.load(file, trusted=list(trusted))


def _clusters(estimator):
    from sklearn.base import is_clusterer

    return is_clusterer(estimator)


def _frame(columns):
    import pandas

    return pandas.DataFrame({name: array.reshape(len(array)) for name, array in columns.items()})
