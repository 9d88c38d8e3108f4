"""Language: which of a few European languages a text is written in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gitreg import Model

from .ngrams import ngrams

UNDETERMINED = "und"  # ISO 639-2's code for it


class Language(Model):
    """Multinomial naive Bayes over character n-grams, every language equally likely beforehand."""

    def __init__(
        self,
        languages: list[str],
        vocabulary: list[str],
        counts: np.ndarray,
        smoothing: float,
        temperature: float,
    ) -> None:
        """Take what training counted.

        Args:
            languages: the ISO 639-1 code of each row of `counts`.
            vocabulary: the n-gram of each column of `counts`.
            counts: uint16 [languages, vocabulary], how often each language used each n-gram.
            smoothing: added to every count, so that an n-gram never seen is rare, not impossible.
            temperature: divides the evidence; n-grams overlap, so each letter votes several times.
        """
        self.languages = languages
        self.vocabulary = vocabulary
        self.counts = counts
        self.smoothing = smoothing
        self.temperature = temperature
        self._columns = {ngram: column for column, ngram in enumerate(vocabulary)}
        smoothed = counts + smoothing
        self._log_likelihood = np.log(smoothed / smoothed.sum(axis=1, keepdims=True))

    def save(self, path: str) -> None:
        """Write `model.json` and `counts.npz` into the folder `path`."""
        content = {
            "languages": self.languages,
            "smoothing": self.smoothing,
            "temperature": self.temperature,
            "vocabulary": self.vocabulary,
        }
        (Path(path) / "model.json").write_bytes(json.dumps(content, ensure_ascii=False).encode())
        np.savez(Path(path) / "counts.npz", counts=self.counts)

    @classmethod
    def load(cls, path: str) -> Language:
        """Read what `save` wrote into the folder `path`."""
        content = json.loads((Path(path) / "model.json").read_bytes())
        with np.load(Path(path) / "counts.npz", allow_pickle=False) as arrays:
            return cls(counts=arrays["counts"], **content)

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one text.

        Args:
            inputs: `text`, object [1] of UTF-8 bytes; what is not UTF-8 counts as no letter.

        Returns:
            `language`, object [1]: an ISO 639-1 code, or `und` when no known n-gram is in the text.
            `confidence`, float32 [1]: the probability of that language, 0 for `und`.
        """
        text = inputs["text"][0].decode("utf-8", errors="replace")
        language, confidence = self.detect(text)
        return {
            "language": np.array([language], dtype=object),
            "confidence": np.array([confidence], dtype=np.float32),
        }

    def detect(self, text: str) -> tuple[str, float]:
        """The most likely language and its probability."""
        found = [self._columns[ngram] for ngram in ngrams(text) if ngram in self._columns]
        if not found:
            return UNDETERMINED, 0.0
        evidence = self._log_likelihood[:, found].sum(axis=1) / self.temperature
        odds = np.exp(evidence - evidence.max())  # at most 1: cannot overflow
        best = int(odds.argmax())
        return self.languages[best], float(odds[best] / odds.sum())
