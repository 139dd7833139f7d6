"""Changes of sample rate inside the graph: 24 kHz sound to 16 kHz by a windowed sinc, feature steps to 60 Hz.

Both look back from the end of the sound, so that what is newest lies where it lay before, and neither sees beyond it.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import numpy as np
import torch
from facestream.contract import SAMPLE_RATE
from torch import Tensor, nn
from torch.nn import functional

from export.speech.targets import TARGET_RATE

RESAMPLED_RATE: Final = 16_000
"""Hz that wav2vec 2.0 and HuBERT were trained with."""

CUTOFF_HZ: Final = 7700.0
HALF_WIDTH: Final = 24
"""Samples at 24 kHz to each side of the sinc's centre: 1 ms."""

KAISER_BETA: Final = 6.0  # 0.1 dB lost at 6.9 kHz; -70 dB from 9 kHz on, which would land below 7 kHz


class Resampler(nn.Module):
    """Sound float32[batch, n] at 24 kHz to float32[batch, samples] at 16 kHz, as one convolution of two phases.

    The last output is the newest that needs no sample behind the end: it lies 1 ms before it.
    Where `samples` reach back beyond the sound's beginning there is silence.
    """

    kernel: Tensor

    def __init__(self, samples: int) -> None:
        super().__init__()
        if samples < 2 or samples % 2:
            raise ValueError(f"samples is {samples}, expected an even number from 2 on")
        # Outputs 2k and 2k + 1 lie 1.5 inputs apart: two kernels over the same 50 inputs, moved by three.
        taps = np.arange(2 * HALF_WIDTH + 2)
        kernels = []
        for centre in (HALF_WIDTH, HALF_WIDTH + SAMPLE_RATE / RESAMPLED_RATE):
            distance = taps - centre
            window = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (distance / HALF_WIDTH) ** 2, 0, None)))
            window[np.abs(distance) > HALF_WIDTH] = 0
            sinc = np.sinc(2 * CUTOFF_HZ / SAMPLE_RATE * distance) * window
            kernels.append(sinc / sinc.sum())
        self.register_buffer("kernel", torch.tensor(np.stack(kernels)[:, None], dtype=torch.float32))  # [2, 1, 50]
        self.needed = 3 * (samples // 2 - 1) + len(taps)

    def forward(self, audio: Tensor) -> Tensor:
        # A negative padding cuts off what is too old.
        audio = functional.pad(audio[:, None], (self.needed - audio.shape[1], 0))  # [batch, 1, needed]
        pairs = functional.conv1d(audio, self.kernel, stride=3)  # [batch, 2, samples / 2]
        return pairs.transpose(1, 2).reshape(pairs.shape[0], -1)


def features_needed(stride: int, steps: int) -> int:
    """Return how many features `stride` samples at 16 kHz apart `steps` embeddings at 60 Hz need: 34 for 320 and 40."""
    return math.ceil(_ratio(stride) * (steps - 1)) + 1


def interpolation(stride: int, steps: int) -> Tensor:
    """Return the matrix float32[steps, features] that gives embeddings at 60 Hz by linear interpolation.

    The last embedding is the last feature; embedding j lies between the two features whose ends surround its own.
    """
    count = features_needed(stride, steps)
    matrix = torch.zeros(steps, count)
    for step in range(steps):
        back = _ratio(stride) * (steps - 1 - step)
        newer = math.floor(back)
        part = float(back - newer)
        matrix[step, count - 1 - newer] = 1 - part
        if part:
            matrix[step, count - 2 - newer] = part
    return matrix


def _ratio(stride: int) -> Fraction:
    """Features for each embedding step."""
    return Fraction(RESAMPLED_RATE, TARGET_RATE) / stride
