"""How words sound that the aligner's English dictionary lacks: espeak-ng's IPA, in the phonemes of its acoustic model.

The acoustic model was trained on English. A sound that English lacks becomes the nearest one that the lips make alike,
so that what is judged, p, b, m, f, v and how far vowels open, stays what was said.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import unicodedata
from collections.abc import Sequence
from typing import Final

ARPABET_OF_IPA: Final = {
    **{letter: letter.upper() for letter in "pbtdkfvszlmnw"},
    **{"tʃ": "CH", "dʒ": "JH", "ts": "T S", "dz": "D Z", "pf": "P F", "tɕ": "CH", "dʑ": "JH", "tʂ": "CH"},
    **{"ɡ": "G", "g": "G", "q": "K", "c": "K", "ɟ": "G", "ʔ": "", "ɸ": "F", "ʋ": "V", "ɱ": "M", "β": "W", "ʍ": "W"},
    **{"θ": "TH", "ð": "DH", "ʃ": "SH", "ʒ": "ZH", "ɕ": "SH", "ʑ": "ZH", "ʂ": "SH", "ʐ": "ZH"},
    **{"h": "HH", "x": "HH", "χ": "HH", "ɣ": "G", "ɦ": "HH", "ħ": "HH", "c\N{COMBINING CEDILLA}": "HH", "ʁ": "HH"},
    **{"ŋ": "NG", "ɲ": "N Y", "ɳ": "N", "ɭ": "L", "ʎ": "L Y", "ɫ": "L", "j": "Y", "ʝ": "Y", "ɥ": "W"},
    **{"r": "R", "ɹ": "R", "ɾ": "D", "ɻ": "R", "ʀ": "HH"},
    **{"a": "AA", "ɑ": "AA", "ɐ": "AH", "ʌ": "AH", "æ": "AE", "ə": "AH", "ɘ": "AH", "ɤ": "AH"},
    **{"ɒ": "AO", "ɔ": "AO", "o": "OW", "ø": "ER", "œ": "ER", "ʊ": "UH", "ʏ": "UH", "ɵ": "UH", "u": "UW", "ʉ": "UW"},
    **{"y": "UW", "ɚ": "ER", "ɜ": "ER", "ɝ": "ER", "ɞ": "ER", "ɛ": "EH", "e": "EY", "ɪ": "IH", "ɨ": "IH", "ᵻ": "IH"},
    **{"ɯ": "IH", "i": "IY"},
    **{"aɪ": "AY", "aʊ": "AW", "eɪ": "EY", "oʊ": "OW", "əʊ": "OW", "ɔɪ": "OY", "ɔø": "OY"},
}
"""One or two ARPAbet phonemes for each sound of IPA, as its canonical decomposition spells it (a ç has two characters);
the longest match counts, unknown marks are passed over."""


def arpabet(ipa: str) -> list[str]:
    """Return the ARPAbet phonemes of a word in IPA; a nasal vowel becomes the vowel and N."""
    marks = unicodedata.normalize("NFD", ipa)
    found: list[str] = []
    place = 0
    while place < len(marks):
        for length in (2, 1):
            sound = ARPABET_OF_IPA.get(marks[place : place + length])
            if sound is not None and len(marks[place : place + length]) == length:
                found += sound.split()
                place += length
                break
        else:
            if marks[place] == "\N{COMBINING TILDE}":
                found.append("N")
            place += 1
    return found


def pronounce(words: Sequence[str], language: str) -> list[list[str]]:
    """Return the ARPAbet phonemes of each of `words`, as espeak-ng's voice `language` says them.

    Raises:
        FileNotFoundError: espeak-ng is not installed.
        ValueError: espeak-ng does not know the language, or says nothing for a word.
    """
    if not words:
        return []
    program = shutil.which("espeak-ng")
    if program is None:
        raise FileNotFoundError("espeak-ng is not on this machine: apt-get install espeak-ng")
    # A blank line between: within a sentence it joins short words and leaves out what is silent.
    done = subprocess.run(
        [program, "-q", "--ipa", "-v", language],
        input="".join(f"{word}\n\n" for word in words),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    said = [arpabet(re.sub(r"\(.*?\)", "", line)) for line in done.stdout.splitlines() if line.strip()]
    if done.returncode or len(said) != len(words) or not all(said):
        if len(words) > 1:
            return [phonemes for word in words for phonemes in pronounce([word], language)]
        raise ValueError(f"espeak-ng's voice {language!r} says nothing for {words[0]!r}: {done.stderr.strip()}")
    return said
