"""Train the language model; writes artifacts/, metrics.json and samples.json beside this file.

Needs NumPy only: python models/language/train.py
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from language_model import Language
from language_model.ngrams import ngrams

HERE = Path(__file__).resolve().parent

Corpus = dict[str, list[str]]  # language code to its texts

SAMPLES = [
    "The weather will be fine tomorrow.",
    "Überall blühen schon die Krokusse.",
    "Où est passée la clé de l'église ?",
    "¿Mañana también trabajas?",
    "gezellig",
    "Καλημέρα, 世界 👋",  # no letter that the corpus knows: undetermined
]


def read_corpus() -> Corpus:
    """A file per language, a sentence per line."""
    files = sorted((HERE / "corpus").glob("*.txt"))
    return {file.stem: file.read_text(encoding="utf-8").splitlines() for file in files}


def split(corpus: Corpus, every: int) -> tuple[Corpus, Corpus]:
    """Part the corpus into what is kept and every n-th sentence, which is held out."""
    kept = {
        language: [text for line, text in enumerate(texts) if line % every]
        for language, texts in corpus.items()
    }
    return kept, {language: texts[::every] for language, texts in corpus.items()}


def word_pairs(corpus: Corpus) -> Corpus:
    """The same texts cut into two words each, which are hard to tell."""

    def cut(text: str) -> list[str]:
        words = text.split()
        return [" ".join(words[start : start + 2]) for start in range(0, len(words) - 1, 2)]

    return {language: [pair for text in texts for pair in cut(text)] for language, texts in corpus.items()}


def count(corpus: Corpus, params: dict[str, Any], temperature: float) -> Language:
    """A model of the most frequent n-grams of the corpus."""
    counts = [Counter(ngram for text in texts for ngram in ngrams(text)) for texts in corpus.values()]
    total = sum(counts, Counter[str]())
    ranked = sorted(total, key=lambda ngram: (-total[ngram], ngram))
    vocabulary = sorted(ranked[: params["vocabulary"]])
    table = np.array([[used[ngram] for ngram in vocabulary] for used in counts], dtype=np.uint16)
    return Language(list(corpus), vocabulary, table, params["smoothing"], temperature)


def accuracy_and_confidence(model: Language, corpus: Corpus) -> tuple[float, float]:
    """The share of texts told right, and the mean confidence: of an honest model they are equal."""
    answers = [(language, *model.detect(text)) for language, texts in corpus.items() for text in texts]
    right = [language == found for language, found, _ in answers]
    return float(np.mean(right)), float(np.mean([confidence for *_, confidence in answers]))


def fit_temperature(corpus: Corpus, params: dict[str, Any]) -> float:
    """The temperature at which confidence equals accuracy, on a part of the training sentences."""
    kept, held_out = split(corpus, params["held_out_every"])
    pairs = word_pairs(held_out)

    def overconfidence(temperature: float) -> float:
        accuracy, confidence = accuracy_and_confidence(count(kept, params, temperature), pairs)
        return abs(confidence - accuracy)

    return min((step / 10 for step in range(10, 60)), key=overconfidence)


def evaluate(model: Language, corpus: Corpus) -> dict[str, float]:
    """Metrics on sentences that the model was not trained on."""
    accuracy, confidence = accuracy_and_confidence(model, corpus)
    pairs_accuracy, pairs_confidence = accuracy_and_confidence(model, word_pairs(corpus))
    metrics = {
        "accuracy": accuracy,
        "mean_confidence": confidence,
        "accuracy_two_words": pairs_accuracy,
        "mean_confidence_two_words": pairs_confidence,
        "held_out_sentences": sum(map(len, corpus.values())),
    }
    return {name: round(value, 4) for name, value in metrics.items()}


def main() -> None:
    params = json.loads((HERE / "params.json").read_text(encoding="utf-8"))
    # Every language holds out the same lines, for some of them translate each other.
    kept, held_out = split(read_corpus(), params["held_out_every"])
    model = count(kept, params, fit_temperature(kept, params))
    metrics = evaluate(model, held_out)

    artifacts = HERE / "artifacts"
    shutil.rmtree(artifacts, ignore_errors=True)
    artifacts.mkdir()
    model.save(str(artifacts))
    (HERE / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    rows = ",\n  ".join(json.dumps({"text": [text]}, ensure_ascii=False) for text in SAMPLES)
    (HERE / "samples.json").write_text(f"[\n  {rows}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
