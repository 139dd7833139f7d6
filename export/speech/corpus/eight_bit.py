"""Sound as games of the early nineties keep it: unsigned bytes at 11,025 Hz."""

from __future__ import annotations

from typing import Final

import numpy as np
import soxr
from facestream.contract import SAMPLE_RATE

from export.speech.aligner import Audio

RATE: Final = 11025


def decode(data: bytes) -> Audio:
    """Return the samples `data`, without their mean, as float32[n] at SAMPLE_RATE."""
    samples = np.frombuffer(data, np.uint8).astype(np.float32)
    return np.asarray(soxr.resample((samples - samples.mean()) / 128, RATE, SAMPLE_RATE), np.float32)
