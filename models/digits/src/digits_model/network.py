"""The forward pass of a neural network with one hidden layer, in NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Network:
    """The trained weights, all float32.

    Attributes:
        hidden_weights: [inputs, hidden]
        hidden_bias: [hidden]
        output_weights: [hidden, classes]
        output_bias: [classes]
    """

    hidden_weights: np.ndarray
    hidden_bias: np.ndarray
    output_weights: np.ndarray
    output_bias: np.ndarray

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """The probability of each class: float32 [n, inputs] to float32 [n, classes]."""
        hidden = np.maximum(x @ self.hidden_weights + self.hidden_bias, 0)
        scores = hidden @ self.output_weights + self.output_bias
        # Softmax does not change when a row is shifted; this shift keeps exp from overflowing.
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities: np.ndarray = odds / odds.sum(axis=1, keepdims=True)
        return probabilities
