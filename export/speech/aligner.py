"""Phoneme times in English speech whose words are known: forced alignment by pocketsphinx.

The judge of recorded voices needs it, and any synthesiser that does not report its phonemes.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import soxr
from facestream.contract import SAMPLE_RATE


class Aligner:
    """Forced alignment with the acoustic model and the dictionary of pocketsphinx's wheel."""

    def __init__(self) -> None:
        import pocketsphinx

        self._decoder = pocketsphinx.Decoder(samprate=16000, lm=None, bestpath=False, loglevel="FATAL")

    def align(self, audio: npt.NDArray[np.float32], text: str) -> list[tuple[str, float, float]]:
        """Return the timed phonemes (ARPAbet name, start, end in seconds) of `text` in `audio`.

        `audio` is float32[n], mono at SAMPLE_RATE. The times come in steps of 10 ms.

        Raises:
            ValueError: the words do not fit the sound, or the dictionary lacks one.
        """
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
            (phoneme.name, phoneme.start * 0.01, (phoneme.start + phoneme.duration) * 0.01)
            for word in self._decoder.get_alignment()
            for phoneme in word
        ]

    def _decode(self, raw: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(raw, full_utt=True)
        self._decoder.end_utt()
