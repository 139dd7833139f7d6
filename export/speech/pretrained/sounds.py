"""The corpus as sound: what an encoder is trained with that takes sound, not mel power."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from export.speech.corpus.shard import shard_paths
from export.speech.feature_cache import cache_folder, fits, whole
from export.speech.features import STRETCHES, TARGETS, stretches

STEP: Final = 400
"""Samples at 24 kHz of one step at 60 Hz."""


@dataclass
class Sound:
    """One voice as a stream of n steps at 60 Hz."""

    name: str
    audio: npt.NDArray[np.int16]
    """int16[400 * n] on the disk; step j ends with sample 400 * (j + 1)."""
    lips: Tensor
    """The curves of targets.CURVES, float16[4, n]."""
    visemes: Tensor
    """Index of VISEMES, int64[n]."""


def load_sounds(corpus: Path) -> list[Sound]:
    """Lay every shard of `corpus` open beside it, once, and return them; the audio stays on the disk until it is read.

    Raises:
        FileNotFoundError: `corpus` holds no shard.
    """
    shards = shard_paths(corpus)
    cache = cache_folder(corpus, "sounds", *STRETCHES, *TARGETS)
    sounds = []
    for shard in shards:
        audio, targets = cache / f"{shard.stem}.npy", cache / f"{shard.stem}.pt"
        # The targets are written last: where they are, the audio is whole.
        if not fits(targets, shard):
            _lay_open(shard, audio, targets)
        lips, visemes = torch.load(targets)
        sounds.append(Sound(shard.stem, np.load(audio, mmap_mode="r"), lips, visemes))
    return sounds


def _lay_open(shard: Path, audio: Path, targets: Path) -> None:
    pieces, lips, visemes = [], [], []
    for stretch in stretches(shard):
        pieces.append((np.clip(stretch.audio[STEP:], -1, 1) * 32767).astype(np.int16))
        lips.append(torch.from_numpy(stretch.lips).half())
        visemes.append(torch.from_numpy(stretch.visemes))
    # A file that another training has mapped is replaced, not written over.
    with whole(audio) as unfinished:
        np.save(unfinished, np.concatenate(pieces))
    with whole(targets) as unfinished:
        torch.save((torch.cat(lips, 1), torch.cat(visemes)), unfinished)
