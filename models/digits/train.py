"""Train the digits model; writes artifacts/, metrics.json and samples.json beside this file.

Needs scikit-learn, which the model itself does not: python models/digits/train.py
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, recall_score
from sklearn.neural_network import MLPClassifier

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from digits_model.model import BRIGHTEST, Digits, labels
from digits_model.network import Network

HERE = Path(__file__).resolve().parent


def train(pixels: np.ndarray, digits: np.ndarray, params: dict[str, Any]) -> Digits:
    """Fit on `pixels` float32 [n, 64] and `digits` int [n]."""
    classifier = MLPClassifier(
        hidden_layer_sizes=(params["hidden"],),
        alpha=params["alpha"],
        max_iter=params["max_iter"],
        random_state=params["seed"],
    )
    # Double precision and six decimals: what differs between machines is rounded away, so that
    # training again gives the same artifact to the byte.
    classifier.fit(pixels.astype(np.float64) / BRIGHTEST, digits)
    hidden, output = zip(classifier.coefs_, classifier.intercepts_, strict=True)
    return Digits(Network(*(array.round(6).astype(np.float32) for array in (*hidden, *output))))


def evaluate(model: Digits, pixels: np.ndarray, digits: np.ndarray) -> dict[str, float]:
    """Metrics on images that the model was not trained on."""
    answers = model.predict({"pixels": pixels})
    found = answers["digit"][:, 0]
    of_truth = np.take_along_axis(answers["probabilities"], digits[:, np.newaxis], axis=1)
    recalls = recall_score(digits, found, average=None)
    metrics = {
        "accuracy": accuracy_score(digits, found),
        "log_loss": -np.log(of_truth).mean(),
        **{f"recall_{name}": recall for name, recall in zip(labels(), recalls, strict=True)},
    }
    return {name: round(float(value), 4) for name, value in metrics.items()}


def main() -> None:
    params = json.loads((HERE / "params.json").read_text(encoding="utf-8"))
    pixels, digits = load_digits(return_X_y=True)
    pixels = pixels.astype(np.float32)

    # The last rows, unshuffled: rows of one writer seem to stand together in this data, and a shuffled
    # split would test on handwriting that it trained on (and flatter the model by five points).
    seen = len(digits) - params["held_out"]
    model = train(pixels[:seen], digits[:seen], params)
    metrics = evaluate(model, pixels[seen:], digits[seen:])
    firsts = [seen + int(np.argmax(digits[seen:] == digit)) for digit in range(6)]
    samples = [{"pixels": pixels[row].tolist()} for row in firsts]

    artifacts = HERE / "artifacts"
    shutil.rmtree(artifacts, ignore_errors=True)
    artifacts.mkdir()
    model.save(str(artifacts))
    (HERE / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    rows = ",\n  ".join(json.dumps(sample) for sample in samples)
    (HERE / "samples.json").write_text(f"[\n  {rows}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
