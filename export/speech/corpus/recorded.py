"""Recorded people whose words are known: no synthesiser sounds as they do, and nobody reports their phonemes' times.

The words are aligned with the sound (export.speech.aligner), so these shards are less exact than synthetic ones. A line
whose words do not fit its sound is left out, and so is one with digits, for how they were read is not known. None of
these speakers is one of the judge's (perf/lip_sync/recordings.py), and none of their sound is part of this repository.

| shards | who | Debian's package | licence |
|---|---|---|---|
| steel_sky | a dozen British and American actors, 11 kHz, 8 bits | beneath-a-steel-sky | free to share and change |
| drascula | ten characters, English, 11 kHz, 8 bits | drascula | free to share and change |
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from export.speech.aligner import Aligner, Audio, fault_of
from export.speech.corpus import drascula
from export.speech.corpus.schwa import with_schwas
from export.speech.corpus.shard import Shard, Utterance, VoiceMissing
from export.speech.corpus.steel_sky import SteelSky
from export.speech.packages import debian_package

Lines = Iterator[tuple[Audio, str]]
"""float32[n] mono at SAMPLE_RATE, and the words."""

SOURCES: Final = Path("build/speech/sources")
RECORDED: Final = "recorded"
"""The names of all these shards begin so."""
SHORTEST_WORDS: Final = 3
"""Letters: a shorter line is a cry."""


def steel_sky(section: int) -> Lines:
    """Yield the lines of one section of "Beneath a Steel Sky"."""
    folder = debian_package(SOURCES, "beneath-a-steel-sky") / "usr/share/scummvm/beneath-a-steel-sky"
    yield from SteelSky(folder).lines(section)


def drascula_lines(speaker: str) -> Lines:
    """Yield the lines of one character of "Drascula"."""
    yield from drascula.lines(debian_package(SOURCES, "drascula") / "usr/share/scummvm/drascula/en", speaker)


def aligned(
    name: str, lines: Callable[[], Lines], language: str, _texts: Iterator[str], _rng: random.Random
) -> Iterator[Utterance]:
    """Yield the utterances of `lines`, spoken in `language` (a voice of espeak-ng); say how many were left out.

    What to say and how is settled already: `_texts` and `_rng` are not used.

    Raises:
        VoiceMissing: the recordings cannot be fetched, or pocketsphinx or espeak-ng is missing.
    """
    try:
        aligner = Aligner()
    except ImportError as error:
        raise VoiceMissing(f"{error}: pip install -e '.[judge]'") from error
    all_, left_out = 0, 0
    try:
        for audio, text in lines():
            all_ += 1
            if re.search(r"\d", text) or len(re.findall(r"[^\W\d_]", text)) < SHORTEST_WORDS:
                left_out += 1
                continue
            try:
                words = aligner.words_in(audio, text, language)
            except ValueError:
                left_out += 1
                continue
            if fault_of(audio, [sound for word in words for sound in word.phonemes]) is not None:
                left_out += 1
                continue
            phonemes = []
            for word in words:
                sounds = with_schwas(word.name.partition("(")[0], [sound for sound, _, _ in word.phonemes])
                phonemes += [(new, a, b) for new, (_, a, b) in zip(sounds, word.phonemes, strict=True)]
            yield Utterance(audio, phonemes)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise VoiceMissing(f"its recordings cannot be read: {error}") from error
    print(f"{name}: {left_out} of {all_} lines left out: their words do not fit the sound", file=sys.stderr)


def recorded_shards() -> list[Shard]:
    """List the shards of recorded people, with somewhat more minutes than each has."""
    listed: list[tuple[str, float, Callable[[], Lines], str]] = [
        (f"{RECORDED}_steel_sky_{section}", minutes, partial(steel_sky, section), "en-gb")
        for section, minutes in enumerate((6.0, 12.0, 30.0, 26.0, 33.0, 20.0))
    ]
    listed += [
        (f"{RECORDED}_drascula_{speaker}", minutes, partial(drascula_lines, speaker), "en-us")
        for speaker, minutes in {
            "hacker": 21.5,
            "drascula": 6.0,
            "von_braun": 5.5,
            "billie_jean": 3.5,
            "werewolf": 3.0,
            "igor": 2.0,
            "bartender": 1.6,
            "undead": 1.6,
            "drunk": 1.1,
            "pianist": 0.7,
        }.items()
    ]
    return [
        Shard(name, "arpabet", minutes, _nothing, partial(aligned, name, lines, language))
        for name, minutes, lines, language in listed
    ]


def _nothing(_seed: int) -> Iterator[str]:
    return iter(())
