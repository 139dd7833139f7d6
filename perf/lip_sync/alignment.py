"""Recordings with the times of their phonemes: words looked up, aligned once, kept on disk.

Words that pocketsphinx's dictionary lacks, and every word of another language, are pronounced by espeak-ng. A
recording whose words do not cover its sound is left out: the speaker said something else, and a judge that believes the
transcript would blame the mouth.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from facestream.contract import SAMPLE_RATE

from export.speech.aligner import Aligner
from export.speech.phonemes import classes_of
from perf.lip_sync.pronunciation import pronounce
from perf.lip_sync.recordings import Audio, read_audio

Floats = npt.NDArray[np.float64]
Phonemes = list[tuple[str, float, float]]

UNCOVERED_SHARE: Final = 0.12
"""A recording with more of its energy outside of all aligned phonemes is left out."""
LONGEST_CONSONANT: Final = 0.40
"""Seconds: an aligned consonant that lasts longer was not where the aligner puts it."""


class Clip(NamedTuple):
    """One recording: `audio` float32[n] mono at SAMPLE_RATE; `phonemes` (ARPAbet name, start, end) in seconds."""

    name: str
    audio: Audio
    phonemes: Phonemes


class LanguageAligner(Aligner):
    """Forced alignment in any language that espeak-ng can pronounce, with the English acoustic model."""

    def align_in(self, audio: Audio, text: str, language: str) -> Phonemes:
        """Return the timed phonemes of `text` (in `language`, a voice of espeak-ng) in `audio`.

        Raises:
            ValueError: the words do not fit the sound, or cannot be pronounced.
        """
        english = language.startswith("en")
        words = re.findall(r"[a-z']+" if english else r"[^\W\d_]+(?:'[^\W\d_]+)*", text.lower().replace("’", "'"))
        words = [word for word in (word.strip("'") for word in words) if word]
        # The dictionary is English: another language's words get names that no English word has.
        names = words if english else [f"q{self._letters(language)}q{self._letters(word)}" for word in words]
        unknown = {name: word for name, word in zip(names, words, strict=True) if not self._decoder.lookup_word(name)}
        for name, phonemes in zip(unknown, pronounce(list(unknown.values()), language), strict=True):
            self._decoder.add_word(name, " ".join(phonemes), True)
        return self.align(audio, " ".join(names))

    @staticmethod
    def _letters(word: str) -> str:
        """Spell a word of any script with the letters that `align` leaves in place."""
        return "".join(chr(ord("a") + int(digit, 16)) for digit in word.encode().hex())


def fault_of(audio: Audio, phonemes: Phonemes) -> str | None:
    """Say why an alignment is not to be believed, None where nothing is found."""
    energy = audio.astype(np.float64) ** 2
    covered = np.zeros(len(energy), bool)
    for name, start, end in phonemes:
        kinds = classes_of(name, "arpabet")
        if kinds != ("silence",):
            covered[max(int((start - 0.05) * SAMPLE_RATE), 0) : int((end + 0.05) * SAMPLE_RATE)] = True
            if kinds[0][0].islower() and end - start > LONGEST_CONSONANT:
                return f"{name} would last {end - start:.2f} s"
    share = float(energy[~covered].sum() / max(float(energy.sum()), 1e-12))
    if share > UNCOVERED_SHARE:
        return f"{100 * share:.0f} % of its energy is outside of the words"
    return None


class Alignments:
    """Aligns recordings, keeping what it has aligned in a file."""

    def __init__(self, path: Path) -> None:
        """`path`: a JSON file; it is made where there is none."""
        self._path = path
        self._kept: dict[str, Phonemes | str] = json.loads(path.read_text()) if path.exists() else {}
        self._aligner: LanguageAligner | None = None

    def clips(self, entries: Iterable[tuple[Path, str]], language: str = "en-us") -> list[Clip]:
        """Return the clips of (sound file, its words); one that does not align is left out, with a line on stderr."""
        found = []
        for path, text in entries:
            audio = read_audio(path)
            key = hashlib.sha256(audio.tobytes() + f"1 {language} {text}".encode()).hexdigest()[:24]
            if key not in self._kept:
                self._kept[key] = self._align(audio, text, language)
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._path.write_text(json.dumps(self._kept) + "\n")
            phonemes = self._kept[key]
            if isinstance(phonemes, str):
                print(f"{path.parent.name}/{path.name}: left out: {phonemes}", file=sys.stderr)
            else:
                found.append(Clip(path.stem, audio, [(name, start, end) for name, start, end in phonemes]))
        return found

    def _align(self, audio: Audio, text: str, language: str) -> Phonemes | str:
        if self._aligner is None:
            self._aligner = LanguageAligner()
        try:
            phonemes = self._aligner.align_in(audio, text, language)
        except ValueError as error:
            return str(error)
        return fault_of(audio, phonemes) or phonemes
