"""Train the tumor model; writes artifacts/, metrics.json and samples.json beside this file.

Needs scikit-learn, which the model itself does not: python models/tumor/train.py
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, brier_score_loss, recall_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from tumor_model import Feature, Tumor

HERE = Path(__file__).resolve().parent

# As in model.yaml's `params`.
REGULARISATION, HELD_OUT, SEED = 1.0, 0.3, 0
THRESHOLD = 0.5


def rounded(values: np.ndarray) -> list[float]:
    """To six digits: those beyond differ between machines, and would change the artifact's hash."""
    return [float(f"{value:.6g}") for value in values]


def train(names: list[str], features: np.ndarray, malignant: np.ndarray) -> Tumor:
    """Fit on `features` float64 [n, 30] and `malignant` bool [n]."""
    scaler = StandardScaler().fit(features)
    regression = LogisticRegression(C=REGULARISATION).fit(scaler.transform(features), malignant)
    columns = map(rounded, (scaler.mean_, scaler.scale_, regression.coef_[0]))
    (bias,) = rounded(regression.intercept_)
    return Tumor([Feature(*row) for row in zip(names, *columns, strict=True)], bias, THRESHOLD)


def probabilities(model: Tumor, features: np.ndarray) -> np.ndarray:
    """Of every row of `features` [n, 30], as callers get them."""
    return np.array([model.predict({"features": row})["probability"][0] for row in features])


def evaluate(model: Tumor, features: np.ndarray, malignant: np.ndarray) -> dict[str, float]:
    """Metrics on tumours that the model was not trained on, at its own threshold."""
    probability = probabilities(model, features)
    found = probability >= model.threshold
    metrics = {
        "accuracy": accuracy_score(malignant, found),
        "sensitivity": recall_score(malignant, found),
        "specificity": recall_score(malignant, found, pos_label=False),
        "roc_auc": roc_auc_score(malignant, probability),
        "brier_score": brier_score_loss(malignant, probability),
    }
    return {name: round(float(value), 4) for name, value in metrics.items()}


def main() -> None:
    data = load_breast_cancer()
    malignant = data.target == list(data.target_names).index("malignant")  # which is 0 in this data
    seen, held_out, seen_malignant, held_out_malignant = train_test_split(
        data.data, malignant, test_size=HELD_OUT, random_state=SEED, stratify=malignant
    )
    model = train([str(name) for name in data.feature_names], seen, seen_malignant)
    metrics = evaluate(model, held_out, held_out_malignant)

    # With the optional input and without it; the doubtful tumour's answer turns on the threshold.
    probability = probabilities(model, held_out)
    doubtful = held_out[np.abs(probability - 0.3).argmin()].tolist()
    samples = [
        {"features": held_out[probability.argmin()].tolist()},
        {"features": held_out[probability.argmax()].tolist()},
        {"features": doubtful},
        {"features": doubtful, "threshold": [0.1]},
        {"features": held_out[0].tolist(), "threshold": [0.9]},
    ]

    artifacts = HERE / "artifacts"
    shutil.rmtree(artifacts, ignore_errors=True)
    artifacts.mkdir()
    model.save(str(artifacts))
    (HERE / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    rows = ",\n  ".join(json.dumps(sample) for sample in samples)
    (HERE / "samples.json").write_text(f"[\n  {rows}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
