"""Recordings with the times of their phonemes: words looked up, aligned once, kept on disk.

A recording whose words do not cover its sound is left out: the speaker said something else, and a judge that believes
the transcript would blame the mouth.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from export.speech.aligner import Aligner, Phonemes, fault_of
from export.speech.feature_cache import whole
from export.speech.sound_file import read_audio
from perf.lip_sync.recordings import Audio


class Clip(NamedTuple):
    """One recording: `audio` float32[n] mono at SAMPLE_RATE; `phonemes` (ARPAbet name, start, end) in seconds."""

    name: str
    audio: Audio
    phonemes: Phonemes


class Alignments:
    """Aligns recordings, keeping what it has aligned in a file."""

    def __init__(self, path: Path) -> None:
        """`path`: a JSON file; it is made where there is none."""
        self._path = path
        self._kept: dict[str, Phonemes | str] = json.loads(path.read_text()) if path.exists() else {}
        self._aligner: Aligner | None = None

    def clips(self, entries: Iterable[tuple[Path, str]], language: str = "en-us") -> list[Clip]:
        """Return the clips of (sound file, its words).

        One that cannot be read, whose words nobody can know for certain, or that does not align, is left out, with a
        line on stderr.
        """
        found = []
        for path, text in entries:
            try:
                audio = _heard(path)
                _check_words(text)
            except (soundfile.LibsndfileError, ValueError) as error:
                print(f"{path.parent.name}/{path.name}: left out: {error}", file=sys.stderr)
                continue
            key = hashlib.sha256(audio.tobytes() + f"1 {language} {text}".encode()).hexdigest()[:24]
            if key not in self._kept:
                self._kept[key] = self._align(audio, text, language)
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with whole(self._path) as unfinished:
                    unfinished.write_text(json.dumps(self._kept) + "\n")
            phonemes = self._kept[key]
            if isinstance(phonemes, str):
                print(f"{path.parent.name}/{path.name}: left out: {phonemes}", file=sys.stderr)
            else:
                found.append(Clip(path.stem, audio, [(name, start, end) for name, start, end in phonemes]))
        return found

    def _align(self, audio: Audio, text: str, language: str) -> Phonemes | str:
        if self._aligner is None:
            self._aligner = Aligner()
        try:
            phonemes = self._aligner.align_in(audio, text, language)
        except ValueError as error:
            return str(error)
        return fault_of(audio, phonemes) or phonemes


def _heard(path: Path) -> Audio:
    audio = read_audio(path)
    if not np.isfinite(audio).all():
        raise ValueError("it has samples that are no numbers")
    return audio


def _check_words(text: str) -> None:
    """A number is read in many ways: left out, it would lend its sound to the words beside it."""
    number = re.search(r"\d+", text)
    if number:
        raise ValueError(f"its words have the number {number.group()}, expected numbers to be written as words")
