"""A small neural network that reads handwritten digits."""

from .model import Digits

__all__ = ["Digits"]
