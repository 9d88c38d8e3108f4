"""A naive Bayes classifier that tells which language a text is written in."""

from .model import Language

__all__ = ["Language"]
