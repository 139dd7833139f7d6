"""Sound in: any file or array -> mono float32 at 24 kHz -> chunks of 800 samples, one for each video frame."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from facestream.contract import CHUNK_SAMPLES, FRAME_RATE, SAMPLE_RATE
from facestream.errors import BadInput

SoundSource = NDArray[Any] | Iterable[NDArray[Any]]
"""An array, or an iterable of arrays of any lengths: mono at 24 kHz, float or int16/int32."""

_CLIPPED_SHARE = 1e-3


@dataclass(frozen=True)
class SoundFile:
    """A sound file, as the server takes it and as it was."""

    speech: NDArray[np.float32]
    """float32 [n], mono at 24 kHz."""
    original: NDArray[np.float32]
    """float32 [samples, channels]."""
    original_rate: int
    """Hz."""

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.original) / self.original_rate


def read_sound(path: str | Path) -> SoundFile:
    """Read a file of any format, rate and number of channels that libsndfile knows (WAV, FLAC, OGG, MP3, ...).

    Raises `BadInput` where the file is missing, unreadable, empty or holds NaN; warns where it is clipped.
    """
    if not Path(path).is_file():
        raise BadInput(f"{path} is not a file")
    try:
        original, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise BadInput(f"{path} cannot be read as sound: {error}") from error
    if not len(original):
        raise BadInput(f"{path} holds no sound: 0 samples")
    if not np.isfinite(original).all():
        raise BadInput(f"{path} holds samples that are NaN or infinite")
    clipped = float((np.abs(original) >= 1.0).mean())
    if clipped > _CLIPPED_SHARE:
        warnings.warn(f"{path} is clipped: {clipped:.1%} of its samples are at full scale", stacklevel=2)
    return SoundFile(resample(original.mean(axis=1), rate), original, rate)


def resample(mono: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Resample float32 [n] from `rate` Hz to 24 kHz."""
    if rate <= 0:
        raise BadInput(f"sample rate is {rate}; expected a positive number of Hz")
    if rate == SAMPLE_RATE:
        return mono
    resampled: NDArray[np.float32] = soxr.resample(mono, rate, SAMPLE_RATE)
    return resampled.astype(np.float32, copy=False)


def to_float(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Give samples as float32 in [-1, 1]; integers are scaled by their full scale.

    Raises `BadInput` for another shape than [n], another type, or NaN.
    """
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise BadInput(f"sound has the shape {list(samples.shape)}; expected [n], mono at {SAMPLE_RATE} Hz")
    if samples.dtype in (np.int16, np.int32):
        return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    if samples.dtype not in (np.float32, np.float64):
        raise BadInput(f"sound is {samples.dtype}; expected float32, float64, int16 or int32")
    if not np.isfinite(samples).all():
        raise BadInput("sound holds samples that are NaN or infinite")
    return samples.astype(np.float32, copy=False)


class Chunker:
    """Cuts sound of any lengths into chunks of exactly 800 samples; none is lost, the last is filled with zeros."""

    def __init__(self) -> None:
        self._rest: NDArray[np.float32] = np.zeros(0, dtype=np.float32)

    def push(self, samples: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """Take sound [n], mono at 24 kHz, and give the chunks that are complete."""
        samples = np.concatenate([self._rest, to_float(samples)])
        complete = len(samples) // CHUNK_SAMPLES * CHUNK_SAMPLES
        self._rest = samples[complete:]
        yield from samples[:complete].reshape(-1, CHUNK_SAMPLES)

    def flush(self) -> Iterator[NDArray[np.float32]]:
        """Give what is left, if anything is, filled with zeros to 800 samples."""
        if len(self._rest):
            yield np.pad(self._rest, (0, CHUNK_SAMPLES - len(self._rest)))
            self._rest = self._rest[:0]


def chunks(sound: SoundSource) -> Iterator[NDArray[np.float32]]:
    """Cut an array, or arrays as they come, into chunks float32 [800]."""
    chunker = Chunker()
    for samples in [sound] if isinstance(sound, np.ndarray) else sound:
        yield from chunker.push(samples)
    yield from chunker.flush()


def pace(sound: SoundSource) -> Iterator[NDArray[np.float32]]:
    """Like `chunks`, at the speed of speech: chunk k is given k / 30 s after the first, or as soon as it can be."""
    begin = time.monotonic()
    for number, chunk in enumerate(chunks(sound)):
        time.sleep(max(0.0, begin + number / FRAME_RATE - time.monotonic()))
        yield chunk
