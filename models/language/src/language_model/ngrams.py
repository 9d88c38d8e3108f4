"""Text to the short runs of letters by which languages differ."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

LONGEST = 3
LETTERS = re.compile(r"[^\W\d_]+")  # in any script


def ngrams(text: str) -> Iterator[str]:
    """Every run of 1 to LONGEST characters within each word, of which a space marks both ends.

    >>> list(ngrams("Ja!"))
    ['j', 'a', ' j', 'ja', 'a ', ' ja', 'ja ']
    """
    # NFC, because "é" may also arrive as an "e" and an accent, which is no letter.
    for word in LETTERS.findall(unicodedata.normalize("NFC", text).lower()):
        yield from word
        padded = f" {word} "
        for length in range(2, LONGEST + 1):
            for start in range(len(padded) - length + 1):
                yield padded[start : start + length]
