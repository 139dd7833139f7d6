"""What the networks are trained on: each voice of the corpus as mel power beside its lips and visemes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr
import torch
from facestream.contract import SAMPLE_RATE
from torch import Tensor

from export.speech import lossy, phonemes, room_tone, targets
from export.speech.corpus.recorded import RECORDED
from export.speech.corpus.shard import read_shard, shard_paths
from export.speech.encoder import HIGHEST_HZ, HOP, LOWEST_HZ, MELS, SPAN, LogMel
from export.speech.feature_cache import cache_folder, fits, whole
from export.speech.targets import curves, segments

NOMINAL_DBFS: Final = -25.0
"""Level of the loud part of each utterance before augmentation."""


TAPE_SPEEDS: Final = (1.0, 0.87, 1.16)
"""Speeds at which people's lines are played: pitch and vocal tract change with them (Ko et al. 2015, "Audio
augmentation for speech recognition"), so that each actor is three speakers."""


@dataclass
class Voice:
    """One voice as a stream of n steps at 60 Hz, with two mel steps for each."""

    name: str
    log_power: Tensor
    """Natural logarithm of mel power, float16[64, 2n]."""
    lips: Tensor
    """The curves of targets.CURVES, float16[4, n]."""
    visemes: Tensor
    """Index of VISEMES, int64[n]."""
    teacher: Tensor | None = None
    """Features of a teacher, float16[n, size], where one is distilled (pretrained/distil.py)."""


class Stretch(NamedTuple):
    """One utterance with a pause before and behind it, n steps at 60 Hz long."""

    audio: npt.NDArray[np.float32]
    """float32[400 * (n + 1)] at SAMPLE_RATE: step j ends with sample 400 * (j + 2), for 400 zeros come first."""
    lips: npt.NDArray[np.float32]
    """The curves of targets.CURVES at the end of each step, float32[4, n]."""
    visemes: npt.NDArray[np.int64]
    """Index of VISEMES, int64[n]."""


def levelled(audio: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return `audio` with its loud part at NOMINAL_DBFS."""
    loud = np.abs(audio) > np.percentile(np.abs(audio), 60)
    level = 0.7 * float(np.sqrt(np.mean(audio[loud] ** 2))) if loud.any() else 0.0
    return audio.astype(np.float64) * (10 ** (NOMINAL_DBFS / 20) / max(level, 1e-5))


def stretches(path: Path) -> Iterator[Stretch]:
    """Read one shard: level its utterances, put pauses between them and say what the lips do.

    Where people speak, each line is there at TAPE_SPEEDS, the pauses have the sound of the recording, and every second
    line has been an MP3.
    """
    rng = np.random.default_rng(0)
    people = path.stem.startswith(RECORDED)
    lines = ((line, speed) for line in read_shard(path) for speed in (TAPE_SPEEDS if people else (1.0,)))
    for number, ((utterance, alphabet), speed) in enumerate(lines):
        spoken = levelled(utterance.audio)
        if speed != 1:
            spoken = np.asarray(soxr.resample(spoken, speed * SAMPLE_RATE, SAMPLE_RATE), np.float64)
        before, after = rng.uniform(0.1, 0.7), rng.uniform(0.2, 0.8)
        audio: npt.NDArray[np.float64] = np.pad(spoken, (int(before * SAMPLE_RATE), int(after * SAMPLE_RATE)))
        room = room_tone.room_spectrum(spoken) if people else None
        if room is not None:
            audio = audio + room_tone.room_tone(room, len(audio), rng)
        if people and number % 2:
            audio = lossy.through_mp3(audio, *lossy.CODINGS[number // 2 % len(lossy.CODINGS)])
        steps = len(audio) // (2 * HOP)
        audio = audio[: steps * 2 * HOP] + rng.normal(0, 1e-5, steps * 2 * HOP)
        # Step k ends with hop k, so a whole span less one hop comes before the first.
        sound = np.concatenate([np.zeros(SPAN - HOP), audio]).astype(np.float32)
        times = (np.arange(steps) + 1.0) * 2 * HOP / SAMPLE_RATE
        timed = [
            (name, start / speed + before, end / speed + before)
            for name, start, end in segments(utterance.phonemes, alphabet)
        ]
        timed = [("silence", 0.0, before), *timed, ("silence", timed[-1][2], times[-1] + 1.0)]
        yield Stretch(sound, *curves(timed, times))


STRETCHES: Final = (
    levelled,
    stretches,
    NOMINAL_DBFS,
    HOP,
    SPAN,
    lossy,
    room_tone,
    str(TAPE_SPEEDS),
)
"""All that decides the sound of the stretches, for feature_cache."""

TARGETS: Final = (phonemes, targets)
"""All that decides what the lips do in them, for feature_cache."""


def load_voice(path: Path, log_mel: LogMel) -> Voice:
    """Read one shard and compute features and targets."""
    powers, lips, visemes = [], [], []
    for stretch in stretches(path):
        with torch.inference_mode():
            power = log_mel.power(torch.from_numpy(stretch.audio)[None])[0]
        powers.append(torch.log(power + 1e-10).half())
        lips.append(torch.from_numpy(stretch.lips).half())
        visemes.append(torch.from_numpy(stretch.visemes))
    return Voice(path.stem, torch.cat(powers, 1), torch.cat(lips, 1), torch.cat(visemes))


def load_corpus(folder: Path) -> list[Voice]:
    """Load every shard of `folder`; features are kept beside it, for each shard, and read back while they fit.

    Raises:
        FileNotFoundError: `folder` holds no shard.
    """
    shards = shard_paths(folder)
    cache = cache_folder(folder, "features", *STRETCHES, *TARGETS, LogMel, load_voice, MELS, LOWEST_HZ, HIGHEST_HZ)
    log_mel = LogMel()
    voices = []
    for shard in shards:
        kept = cache / f"{shard.stem}.pt"
        if fits(kept, shard):
            voices.append(Voice(**torch.load(kept)))
            continue
        voices.append(load_voice(shard, log_mel))
        with whole(kept) as unfinished:
            torch.save(vars(voices[-1]), unfinished)
    return voices
