"""Digits: which digit an 8x8 grey image shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gitreg import Model

from .network import Network

BRIGHTEST = 16  # the value of a fully inked pixel


def labels() -> list[str]:
    """The English name of each class, in the order of the network's outputs."""
    names: list[str] = json.loads(Path(__file__).with_name("labels.json").read_bytes())
    return names


class Digits(Model):
    """Classifies a whole batch of images in two matrix products."""

    def __init__(self, network: Network) -> None:
        """Raises ValueError when the network tells apart other classes than labels.json names."""
        classes, named = len(network.output_bias), len(labels())
        if classes != named:
            raise ValueError(f"the network has {classes} classes, labels.json names {named}")
        self.network = network

    def save(self, path: str) -> None:
        """Write `network.npz` into the folder `path`."""
        np.savez(Path(path) / "network.npz", **vars(self.network))

    @classmethod
    def load(cls, path: str) -> Digits:
        """Read what `save` wrote into the folder `path`."""
        with np.load(Path(path) / "network.npz", allow_pickle=False) as arrays:
            return cls(Network(**arrays))

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer a batch of n images.

        Args:
            inputs: `pixels`, float32 [n, 64]: the rows of each image one after another, top row
                first, from 0 (paper) to 16 (ink).

        Returns:
            `digit`, int32 [n, 1], and `probabilities`, float32 [n, 10], of which each row sums to 1.
        """
        probabilities = self.network.probabilities(inputs["pixels"] / BRIGHTEST)
        digit = probabilities.argmax(axis=1, keepdims=True).astype(np.int32)
        return {"digit": digit, "probabilities": probabilities}
