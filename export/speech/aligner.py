"""Phoneme times in speech whose words are known: forced alignment by pocketsphinx.

The judge of recorded voices needs it, the recorded voices of the corpus, and any synthesiser that does not report its
phonemes. Words that pocketsphinx's dictionary lacks, and every word of another language, are pronounced by espeak-ng.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr
from facestream.contract import SAMPLE_RATE

from export.speech.phonemes import classes_of
from export.speech.pronunciation import pronounce

Audio = npt.NDArray[np.float32]
Phonemes = list[tuple[str, float, float]]
"""ARPAbet name, start and end in seconds."""

UNCOVERED_SHARE: Final = 0.12
"""A recording with more of its energy outside of all aligned phonemes is not to be believed."""
LONGEST_CONSONANT: Final = 0.40
"""Seconds: an aligned consonant that lasts longer was not where the aligner puts it."""
WIDE: Final = {"beam": 1e-120, "pbeam": 1e-120, "wbeam": 1e-100}
"""Beams of pocketsphinx that keep nearly every path; its own keep 1e-48, 1e-48 and 7e-29."""


class Word(NamedTuple):
    """One word, or a pause between words, with its phonemes; `name` as in the dictionary: `read(2)`, `<sil>`."""

    name: str
    phonemes: Phonemes


class Aligner:
    """Forced alignment with the acoustic model and the dictionary of pocketsphinx's wheel, both English."""

    def __init__(self, *, wide: bool = False) -> None:
        """Load the model; `wide` gives up no path, for languages whose sounds the English model finds unlikely.

        Raises:
            ImportError: pocketsphinx is not installed.
        """
        try:
            import pocketsphinx
        except ImportError as error:
            raise ImportError(f"{error}: pip install -e '.[judge]'") from error

        beams = WIDE if wide else {}
        self._decoder = pocketsphinx.Decoder(samprate=16000, lm=None, bestpath=False, loglevel="FATAL", **beams)

    def words(self, audio: Audio, text: str) -> list[Word]:
        """Return the words of English `text` with the times of their phonemes in `audio`, and the pauses.

        `audio` is float32[n], mono at SAMPLE_RATE. The times come in steps of 10 ms.

        Raises:
            ValueError: the words do not fit the sound, or the dictionary lacks one.
        """
        if not len(audio):
            raise ValueError(f"there is no sound, expected the words {text!r}")
        raw = (np.clip(soxr.resample(audio, SAMPLE_RATE, 16000), -1, 1) * 32767).astype("<i2").tobytes()
        words = re.sub(r"[^a-z' ]+", " ", text.lower()).strip()
        try:
            self._decoder.set_align_text(words)
            self._decode(raw)
            if self._decoder.hyp() is None:
                raise RuntimeError("no path through the words")
            self._decoder.set_alignment()
            self._decode(raw)
        except RuntimeError as error:
            raise ValueError(f"pocketsphinx cannot align the words {words!r}: {error}") from error
        return [
            Word(word.name, [(sound.name, sound.start * 0.01, (sound.start + sound.duration) * 0.01) for sound in word])
            for word in self._decoder.get_alignment()
        ]

    def words_in(self, audio: Audio, text: str, language: str) -> list[Word]:
        """Do what `words` does in any language that espeak-ng can pronounce: `language` is a voice of espeak-ng.

        Raises:
            FileNotFoundError: a word needs espeak-ng, which is not installed.
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
        return self.words(audio, " ".join(names))

    def align(self, audio: Audio, text: str) -> Phonemes:
        """Return the phonemes of `words`."""
        return [phoneme for word in self.words(audio, text) for phoneme in word.phonemes]

    def align_in(self, audio: Audio, text: str, language: str) -> Phonemes:
        """Return the phonemes of `words_in`."""
        return [phoneme for word in self.words_in(audio, text, language) for phoneme in word.phonemes]

    @staticmethod
    def _letters(word: str) -> str:
        """Spell a word of any script with the letters that `words` leaves in place."""
        return "".join(chr(ord("a") + int(digit, 16)) for digit in word.encode().hex())

    def _decode(self, raw: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(raw, full_utt=True)
        self._decoder.end_utt()


def fault_of(audio: Audio, phonemes: Phonemes) -> str | None:
    """Say why an alignment is not to be believed, None where nothing is found.

    Words that do not cover the sound were not what the speaker said.
    """
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
