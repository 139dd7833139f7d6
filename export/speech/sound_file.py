"""Sound files of any kind as the corpus, the judge and the prosody network's training take them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from facestream.contract import SAMPLE_RATE


def read_audio(path: Path | io.BytesIO) -> npt.NDArray[np.float32]:
    """Read a sound file as float32[n], mono at SAMPLE_RATE."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(audio.mean(1), rate, SAMPLE_RATE), np.float32)
