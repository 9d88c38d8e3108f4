"""Train the wine model; writes wine.onnx, metrics.json and samples.json beside this file.

Needs scikit-learn and skl2onnx, which serving it does not: python models/wine/train.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).resolve().parent

# As in model.yaml's `params`.
REGULARISATION, HELD_OUT, SEED = 1.0, 0.3, 0


def graph(model: Pipeline, count: int) -> bytes:
    """The pipeline as an ONNX graph: X, float32 [n, count] -> label [n], probabilities [n, 3]."""
    zeros = np.zeros((1, count), np.float32)
    return bytes(to_onnx(model, zeros, options={"zipmap": False}, target_opset=17).SerializeToString())


def main() -> None:
    data = load_wine()
    seen, held_out, seen_cultivar, held_out_cultivar = train_test_split(
        data.data, data.target, test_size=HELD_OUT, random_state=SEED, stratify=data.target
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION)).fit(seen, seen_cultivar)
    probabilities = model.predict_proba(held_out)
    metrics = {
        "accuracy": accuracy_score(held_out_cultivar, probabilities.argmax(1)),
        "f1_macro": f1_score(held_out_cultivar, probabilities.argmax(1), average="macro"),
        "log_loss": log_loss(held_out_cultivar, probabilities),
    }
    # The surest wine of each cultivar, and the most doubtful of all.
    chosen = [int(probabilities[:, cultivar].argmax()) for cultivar in range(3)]
    chosen.append(int(probabilities.max(1).argmin()))
    samples = ",\n  ".join(json.dumps({"X": held_out[i].tolist()}) for i in chosen)
    (HERE / "wine.onnx").write_bytes(graph(model, len(data.feature_names)))
    (HERE / "samples.json").write_text(f"[\n  {samples}\n]\n", encoding="utf-8")
    rounded = {name: round(float(value), 4) for name, value in metrics.items()}
    (HERE / "metrics.json").write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
