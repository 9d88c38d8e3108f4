"""Tumor: how likely a breast tumour is malignant, by logistic regression in NumPy alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from gitreg import Model


@dataclass(frozen=True)
class Feature:
    """One measured feature: how it is standardised, and what it then adds to the log-odds."""

    name: str
    mean: float
    scale: float
    weight: float


class Tumor(Model):
    """A weighted sum of standardised features, squeezed into a probability."""

    def __init__(self, features: list[Feature], bias: float, threshold: float) -> None:
        """`bias` is the log-odds of an average tumour, `threshold` the one that holds unless sent."""
        self.features = features
        self.bias = bias
        self.threshold = threshold
        self._mean = np.array([feature.mean for feature in features])
        self._scale = np.array([feature.scale for feature in features])
        self._weights = np.array([feature.weight for feature in features])

    def save(self, path: str) -> None:
        """Write `model.json` into the folder `path`: thirty named weights that a reviewer can read."""
        content = {
            "threshold": self.threshold,
            "bias": self.bias,
            "features": [asdict(feature) for feature in self.features],
        }
        (Path(path) / "model.json").write_bytes(json.dumps(content, indent=1).encode())

    @classmethod
    def load(cls, path: str) -> Tumor:
        """Read what `save` wrote into the folder `path`."""
        content = json.loads((Path(path) / "model.json").read_bytes())
        features = [Feature(**feature) for feature in content["features"]]
        return cls(features, content["bias"], content["threshold"])

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one tumour.

        Args:
            inputs: `features`, float64 [30], in the units and order of the model card, and
                optionally `threshold`, float64 [1]: the probability from which to say malignant.

        Returns:
            `malignant`, bool [1], and `probability`, float64 [1].

        Raises:
            ValueError: a feature is not finite, or the threshold is not between 0 and 1.
        """
        features = inputs["features"]
        if not np.isfinite(features).all():
            missing = self.features[int(np.argmin(np.isfinite(features)))]
            raise ValueError(f"features: {missing.name!r} is not a finite number")
        threshold = float(inputs["threshold"][0]) if "threshold" in inputs else self.threshold
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold: expected a probability from 0 to 1, got {threshold}")

        log_odds = (features - self._mean) / self._scale @ self._weights + self.bias
        # The logistic function by way of tanh, which unlike exp cannot overflow.
        probability = 0.5 * (1 + np.tanh(log_odds / 2))
        return {
            "malignant": np.array([probability >= threshold]),
            "probability": np.array([probability]),
        }
