"""Shards of the corpus: the speech of one voice with the time of every phoneme, in one file.

A shard holds `audio` int16[n] mono at SAMPLE_RATE, all utterances end to end, `starts` int64[u] the first sample of
each utterance, and `phonemes`, a JSON list with [name, start, end] in seconds for each utterance, and `alphabet`.
"""

from __future__ import annotations

import json
import random
import wave
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr
from facestream.contract import SAMPLE_RATE

Audio = npt.NDArray[np.float32]
Phonemes = list[tuple[str, float, float]]
Texts = Callable[[int], Iterator[str]]
"""Endless texts from a seed."""
Speak = Callable[[Iterator[str], random.Random], Iterator["Utterance"]]

LONGEST_SECONDS: Final = 14.0
SHORTEST_SECONDS: Final = 0.35


class Utterance(NamedTuple):
    """`audio` float32[n] mono at SAMPLE_RATE; `phonemes` (name, start, end) in seconds, in order."""

    audio: Audio
    phonemes: Phonemes


class VoiceMissing(RuntimeError):
    """The synthesiser or this voice of it is not installed."""


class NothingSpoken(ValueError):
    """What a voice said holds nothing that a shard can take."""


class Shard(NamedTuple):
    """One voice, how to have it speak and what."""

    name: str
    alphabet: str
    minutes: float
    texts: Texts
    speak: Speak


def read_wave(path: Path) -> Audio:
    """Read a 16-bit mono wave file of any rate as float32[n] at SAMPLE_RATE."""
    with wave.open(str(path)) as file:
        rate = file.getframerate()
        audio = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768.0
    return np.asarray(soxr.resample(audio, rate, SAMPLE_RATE), np.float32)


def save_shard(path: Path, utterances: Iterable[Utterance], alphabet: str, seconds: float) -> float:
    """Write `utterances` to `path` until they make `seconds`; return the seconds written.

    Utterances without phonemes, of less than SHORTEST_SECONDS or more than LONGEST_SECONDS are left out.

    Raises:
        NothingSpoken: no utterance could be used; nothing is written.
    """
    audio: list[npt.NDArray[np.int16]] = []
    phonemes: list[Phonemes] = []
    total = 0
    for utterance in utterances:
        if not utterance.phonemes or not SHORTEST_SECONDS < len(utterance.audio) / SAMPLE_RATE < LONGEST_SECONDS:
            continue
        audio.append((np.clip(utterance.audio, -1, 1) * 32767).astype(np.int16))
        phonemes.append(utterance.phonemes)
        total += len(utterance.audio)
        if total >= seconds * SAMPLE_RATE:
            break
    if not audio:
        raise NothingSpoken(f"nothing usable was spoken for {path.name}")
    starts = np.cumsum([0, *(len(piece) for piece in audio[:-1])])
    unfinished = path.with_suffix(".tmp.npz")
    np.savez(unfinished, audio=np.concatenate(audio), starts=starts, phonemes=json.dumps(phonemes), alphabet=alphabet)
    unfinished.replace(path)  # whole or not at all
    return total / SAMPLE_RATE


def write_shard(path: Path, shard: Shard, seconds: float, seed: int) -> float:
    """Speak `seconds` of speech with one voice and write it to `path`; return the seconds written.

    Raises:
        NothingSpoken: the voice is there, but no utterance of it could be used; nothing is written.
        VoiceMissing: the voice is not installed; nothing is written.
    """
    return save_shard(path, shard.speak(shard.texts(seed), random.Random(seed)), shard.alphabet, seconds)


def shard_paths(folder: Path) -> list[Path]:
    """Return the finished shards of the corpus in `folder`.

    Raises:
        FileNotFoundError: it holds none.
    """
    shards = sorted(path for path in folder.glob("*.npz") if not path.name.endswith(".tmp.npz"))
    if not shards:
        raise FileNotFoundError(
            f"corpus is {folder}, expected a folder of .npz shards: run python -m export.speech.corpus"
        )
    return shards


def read_shard(path: Path) -> Iterable[tuple[Utterance, str]]:
    """Yield the utterances of one shard, each with the alphabet of its phonemes."""
    with np.load(path) as data:
        audio, alphabet = data["audio"], str(data["alphabet"])
        pieces = np.split(audio, data["starts"][1:])
        for piece, phonemes in zip(pieces, json.loads(str(data["phonemes"])), strict=True):
            yield Utterance(piece.astype(np.float32) / 32767.0, [(n, a, b) for n, a, b in phonemes]), alphabet
