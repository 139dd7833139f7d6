"""Which of a word's AH are schwas: the aligner's dictionary has no stress, and a schwa opens the mouth half as far.

flite's pronunciations tell `ax` from `ah`; in the few words that are hardly ever stressed every AH is a schwa.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from typing import Final

UNSTRESSED: Final = frozenset(("a", "an", "at", "but", "from", "of", "than", "that", "the", "them", "was"))

_VOWELS: Final = frozenset(
    ("aa", "ae", "ah", "ao", "aw", "ax", "axr", "ay", "eh", "er", "ey", "ih", "ix", "iy", "ow", "oy", "uh", "uw")
)


@cache
def _vowels(word: str) -> tuple[str, ...]:
    """Return flite's vowels of `word`; none where there is no flite."""
    if shutil.which("flite") is None:
        return ()
    done = subprocess.run(["flite", "-ps", "-t", word, "-o", "none"], capture_output=True, text=True, check=False)
    return tuple(sound for sound in done.stdout.split() if sound in _VOWELS)


def with_schwas(word: str, phonemes: Sequence[str]) -> list[str]:
    """Return the ARPAbet `phonemes` of English `word` with AX for each AH that is not stressed.

    A word whose vowels flite counts otherwise stays as it is, and so do all but UNSTRESSED without flite.
    """
    if word in UNSTRESSED:
        return ["AX" if sound == "AH" else sound for sound in phonemes]
    places = [i for i, sound in enumerate(phonemes) if sound.lower() in _VOWELS]
    found = list(phonemes)
    if len(places) > 1 and "AH" in phonemes:
        said = _vowels(word)
        if len(said) == len(places):
            for i, vowel in zip(places, said, strict=True):
                if found[i] == "AH" and vowel == "ax":
                    found[i] = "AX"
    return found
