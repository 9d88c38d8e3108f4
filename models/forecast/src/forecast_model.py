"""Forecast: the value that follows a series, by an autoregression on its steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gitreg import Model


class Forecast(Model):
    """The next step is a weighted sum of the steps before it.

    Steps (differences of neighbours) instead of values, and no constant term: a series that is
    shifted or scaled gets the same forecast, shifted or scaled.
    """

    def __init__(self, season: int, coefficients: list[list[float]]) -> None:
        """Take the fitted weights.

        Args:
            season: the number of steps after which the pattern repeats.
            coefficients: row k weighs the last k steps, oldest first; a history too short for the
                last row thus has weights of its own, and needs no invented past.
        """
        self.season = season
        self.coefficients = coefficients

    def save(self, path: str) -> None:
        """Write the file `path`."""
        content = {"season": self.season, "coefficients": self.coefficients}
        Path(path).write_bytes(json.dumps(content).encode())

    @classmethod
    def load(cls, path: str) -> Forecast:
        """Read the file `path`."""
        return cls(**json.loads(Path(path).read_bytes()))

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one series.

        Args:
            inputs: `history`, float32 [n], oldest first, in any unit and of any length from 1.

        Returns:
            `next`, float32 [1]: the value that follows, in the unit of the history; a single value
            is expected to stay what it is. `trend`, float32 [1]: the average step over the last
            season, or over a shorter history as a whole; so a season's own ups and downs cancel.

        Raises:
            ValueError: the history is empty, or holds a value that is not finite.
        """
        history = inputs["history"].astype(np.float64)
        if not history.size or not np.isfinite(history).all():
            raise ValueError("history: expected at least one value, all of them finite")

        steps = np.diff(history)
        known = min(len(steps), len(self.coefficients) - 1)
        next_step = steps[len(steps) - known :] @ np.array(self.coefficients[known])
        trend = steps[-self.season :].mean() if len(steps) else 0.0
        return {
            "next": np.array([history[-1] + next_step], dtype=np.float32),
            "trend": np.array([trend], dtype=np.float32),
        }
