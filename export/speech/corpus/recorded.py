"""Recorded people whose words are known: no synthesiser sounds as they do, and nobody reports their phonemes' times.

The words are aligned with the sound (export.speech.aligner), so these shards are less exact than synthetic ones. A line
whose words do not fit its sound is left out, and so is one with digits, for how they were read is not known. None of
these speakers is one of the judge's (perf/lip_sync/recordings.py), and none of their sound is part of this repository.

| shards | who | Debian's package | licence |
|---|---|---|---|
| steel_sky | a dozen British and American actors, 11 kHz, 8 bits | beneath-a-steel-sky | free to share and change |
| drascula | ten characters, English, 11 kHz, 8 bits | drascula | free to share and change |
| fillets | two actresses, two actors and others, Czech and Dutch, 22 kHz | fillets-ng-data-cs, -nl | GPL-2 |
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

from facestream.contract import SAMPLE_RATE

from export.speech.aligner import Aligner, Audio, Phonemes, Word, fault_of
from export.speech.corpus import drascula, fillets
from export.speech.corpus.schwa import with_schwas
from export.speech.corpus.shard import SHORTEST_SECONDS, Shard, Utterance, VoiceMissing
from export.speech.corpus.steel_sky import SteelSky
from export.speech.packages import debian_package

Lines = Iterator[tuple[Audio, str]]
"""float32[n] mono at SAMPLE_RATE, and the words."""

SOURCES: Final = Path("build/speech/sources")
RECORDED: Final = "recorded"
"""The names of all these shards begin so."""
SHORTEST_WORDS: Final = 3
"""Letters: a shorter line is a cry."""
FOREIGN: Final = {"AH": "AX", "R": "DX"}
"""Beyond English the aligner's AH stands for a schwa, and its R for a trill or a tap, which does not round the lips."""


def steel_sky(section: int) -> Lines:
    """Yield the lines of one section of "Beneath a Steel Sky"."""
    folder = debian_package(SOURCES, "beneath-a-steel-sky") / "usr/share/scummvm/beneath-a-steel-sky"
    yield from SteelSky(folder).lines(section)


def drascula_lines(speaker: str) -> Lines:
    """Yield the lines of one character of "Drascula"."""
    yield from drascula.lines(debian_package(SOURCES, "drascula") / "usr/share/scummvm/drascula/en", speaker)


def fillets_lines(language: str, speaker: str, part: int) -> Lines:
    """Yield one part of the lines of a speaker of "Fish Fillets" in Czech (cs) or Dutch (nl)."""
    texts, sounds = (debian_package(SOURCES, name) for name in ("fillets-ng-data", f"fillets-ng-data-{language}"))
    yield from fillets.lines(texts, sounds, language, speaker, part)


def as_said(words: list[Word], language: str) -> Phonemes:
    """Return the phonemes of aligned `words` with the times found and the names that the lips go by."""
    said: Phonemes = []
    for word in words:
        sounds = [sound for sound, _, _ in word.phonemes]
        if language.startswith("en"):
            sounds = with_schwas(word.name.partition("(")[0], sounds)
        else:
            sounds = [FOREIGN.get(sound, sound) for sound in sounds]
        said += [(new, a, b) for new, (_, a, b) in zip(sounds, word.phonemes, strict=True)]
    return said


def aligned(
    name: str, lines: Callable[[], Lines], language: str, _texts: Iterator[str], _rng: random.Random
) -> Iterator[Utterance]:
    """Yield the utterances of `lines`, spoken in `language` (a voice of espeak-ng); say how many were left out.

    What to say and how is settled already: `_texts` and `_rng` are not used.

    Raises:
        VoiceMissing: the recordings cannot be fetched, or pocketsphinx or espeak-ng is missing.
    """
    try:
        aligner = Aligner(wide=not language.startswith("en"))
    except ImportError as error:
        raise VoiceMissing(str(error)) from error
    all_, left_out = 0, 0
    try:
        for audio, text in lines():
            all_ += 1
            silent = len(audio) < SHORTEST_SECONDS * SAMPLE_RATE
            if silent or re.search(r"\d", text) or len(re.findall(r"[^\W\d_]", text)) < SHORTEST_WORDS:
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
            yield Utterance(audio, as_said(words, language))
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise VoiceMissing(f"its recordings cannot be read: {error}") from error
    print(
        f"{name}: {left_out} of {all_} lines left out: too short, with digits, or their words do not fit the sound",
        file=sys.stderr,
    )


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
    listed += [
        (
            f"{RECORDED}_fillets_{language}_{who}_{part}",
            4.0 if who == fillets.OTHERS else 11.0,
            partial(fillets_lines, language, who, part),
            language,
        )
        for part in range(fillets.PARTS)
        for language, who in (("cs", "small"), ("nl", "small"), ("nl", "big"), ("cs", "big"), ("cs", fillets.OTHERS))
    ]
    return [
        Shard(name, "arpabet", minutes, no_texts, partial(aligned, name, lines, language))
        for name, minutes, lines, language in listed
    ]


def no_texts(_seed: int) -> Iterator[str]:
    """Return no text at all: what recorded people say is settled."""
    return iter(())
