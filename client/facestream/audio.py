"""Sound in: any file or array -> mono float32 at 24 kHz -> chunks of 800 samples, one for each video frame."""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from facestream.contract import CHUNK_SAMPLES, FRAME_RATE, SAMPLE_RATE
from facestream.errors import BadInput
from facestream.sound_survey import Survey, check_samples

SoundSource = NDArray[Any] | Iterable[NDArray[Any]]
"""An array, or an iterable of arrays of any lengths: mono at 24 kHz, float or int16/int32."""

LOWEST_RATE, HIGHEST_RATE = 4_000, 384_000
"""Sample rates of files, Hz. Below the first is no speech, above the second no recorder."""

_BLOCK = 1 << 16

_CUT_CHUNK = re.compile(r"^ ?(?:data|SSND) : (\d+) \(should be (\d+)\)$", re.MULTILINE)
_STREAMED = 0x7FFF0000
"""Bytes: whoever writes a WAV file into a pipe does not know its size, and writes one that is this large or larger."""


class SoundFile:
    """A sound file of any format, rate and number of channels that libsndfile knows (WAV, FLAC, OGG, MP3, ...).

    It is read in blocks each time that its sound is asked for, so an hour takes no more memory than a second. `speech`
    and `original` hold the whole of it, for those who want an array.
    """

    def __init__(self, path: str | Path) -> None:
        """Read the file once, to its end, to find what is wrong with it before a session begins.

        Raises:
            BadInput: The file is missing, unreadable (also in part), empty, or holds numbers that are no sound; the
                message says which and where.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise BadInput(f"{path} is not a file")
        with self._open() as file:
            self.original_rate: int = file.samplerate
            self.channels: int = file.channels
            if not LOWEST_RATE <= self.original_rate <= HIGHEST_RATE:
                raise BadInput(
                    f"{path} has a sample rate of {self.original_rate} Hz; "
                    f"expected {LOWEST_RATE} to {HIGHEST_RATE} Hz, 24,000 best"
                )
            survey = Survey(str(path), file.samplerate, file.channels)
            for block in self._read(file):
                survey.add(block)
            promised = max(file.frames, _promised(survey.samples, file.extra_info))
        if not survey.samples:
            raise BadInput(f"{path} holds no sound: 0 samples")
        self.samples = survey.samples
        """For each channel, at `original_rate`."""
        self.remarks: tuple[str, ...] = survey.remarks()
        """What a user should know of this sound: clipped, silent, channels mixed, ..."""
        if promised > survey.samples + self.original_rate // 10:
            words = f"{path} breaks off after {self.seconds:.2f} s; its header promises more"
            self.remarks = (words, *self.remarks)
        self._only = survey.only_channel()

    @property
    def seconds(self) -> float:
        """Length."""
        return self.samples / self.original_rate

    @property
    def frames(self) -> int:
        """Video frames that it makes."""
        # In whole numbers: 31 frames' seconds, times 30, are a little more than 31.
        resampled = (2 * self.samples * SAMPLE_RATE + self.original_rate) // (2 * self.original_rate)
        return max(1, -(-resampled // CHUNK_SAMPLES))

    @cached_property
    def original(self) -> NDArray[np.float32]:
        """The whole sound as it is in the file, float32 [samples, channels]."""
        return np.concatenate(list(self.original_blocks()))

    @cached_property
    def speech(self) -> NDArray[np.float32]:
        """The whole sound as the server takes it, float32 [n], mono at 24 kHz."""
        return np.concatenate(list(self.speech_blocks()))

    def original_blocks(self) -> Iterator[NDArray[np.float32]]:
        """The sound as it is in the file, in blocks float32 [n, channels]."""
        with self._open() as file:
            yield from self._read(file)

    def speech_blocks(self) -> Iterator[NDArray[np.float32]]:
        """The sound as the server takes it, in blocks float32 [n], mono at 24 kHz."""
        return resample_blocks((self._mono(block) for block in self.original_blocks()), self.original_rate)

    def _mono(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._only is not None:
            return block[:, self._only]
        if self.channels == 1:
            return block[:, 0]
        mixed: NDArray[np.float32] = np.ascontiguousarray(block.T).mean(axis=0)
        return mixed

    @contextmanager
    def _open(self) -> Iterator[soundfile.SoundFile]:
        try:
            file = soundfile.SoundFile(os.fsencode(self.path))  # soundfile itself encodes no name that is not UTF-8
        except soundfile.LibsndfileError as error:
            raise BadInput(f"{self.path} cannot be read as sound: {error.error_string}") from error
        except (OSError, TypeError) as error:  # TypeError: of .raw, which has no header
            raise BadInput(f"{self.path} cannot be read as sound: {error}") from error
        with file:
            yield file

    def _read(self, file: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
        at = 0
        while True:
            try:
                block: NDArray[np.float32] = file.read(_BLOCK, dtype="float32", always_2d=True)
            except (OSError, soundfile.LibsndfileError) as error:
                raise BadInput(
                    f"{self.path} is broken after sample {at} ({at / self.original_rate:.3f} s): {error}"
                ) from error
            if not len(block):
                return
            at += len(block)
            yield block


def _promised(samples: int, told: str) -> int:
    """Samples that a WAV or AIFF file's header promises, by what libsndfile tells of it beside their true number."""
    for size, there in _CUT_CHUNK.findall(told):
        if int(size) < _STREAMED and int(there) > 0:
            return samples * int(size) // int(there)
    return samples


def read_sound(path: str | Path) -> SoundFile:
    """Open a sound file; warns of what is told in its `remarks`. Raises `BadInput` as `SoundFile` does."""
    sound = SoundFile(path)
    for remark in sound.remarks:
        warnings.warn(remark, stacklevel=2)
    return sound


def resample(mono: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Resample float32 [n] from `rate` Hz to 24 kHz."""
    return np.concatenate([np.zeros(0, np.float32), *resample_blocks([mono], rate)])


def resample_blocks(mono: Iterable[NDArray[np.float32]], rate: int) -> Iterator[NDArray[np.float32]]:
    """Resample blocks float32 [n] from `rate` Hz to 24 kHz; how the sound is cut into blocks changes no sample.

    Sound of any length makes at least one sample, so that no file is without a frame.
    """
    if rate <= 0:
        raise BadInput(f"sample rate is {rate}; expected a positive number of Hz")
    if rate == SAMPLE_RATE:
        yield from mono
        return
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    came = given = 0
    for block in mono:
        came += len(block)
        resampled = resampler.resample_chunk(block)
        given += len(resampled)
        yield resampled
    rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
    yield rest if given + len(rest) or not came else np.zeros(1, np.float32)


def to_float(samples: NDArray[Any], first: int = 0) -> NDArray[np.float32]:
    """Give samples as float32 in [-1, 1]; integers are scaled by their full scale.

    Raises `BadInput` for another shape than [n], another type, or numbers that are no sound. `first` is the place of
    the first of them in the whole sound: the message counts from there.
    """
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise BadInput(f"sound has the shape {list(samples.shape)}; expected [n], mono at {SAMPLE_RATE} Hz")
    if samples.dtype in (np.int16, np.int32):
        return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    if samples.dtype not in (np.float32, np.float64):
        raise BadInput(f"sound is {samples.dtype}; expected float32, float64, int16 or int32")
    check_samples(samples[:, np.newaxis], "sound", SAMPLE_RATE, first)
    return samples.astype(np.float32, copy=False)


class Chunker:
    """Cuts sound of any lengths into chunks of exactly 800 samples; none is lost, the last is filled with zeros."""

    def __init__(self) -> None:
        self._rest: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self._taken = 0

    def push(self, samples: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """Take sound [n], mono at 24 kHz, and give the chunks that are complete."""
        new = to_float(samples, self._taken)
        self._taken += len(new)
        samples = np.concatenate([self._rest, new])
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
    begin = 0.0
    for number, chunk in enumerate(chunks(sound)):
        begin = begin or time.monotonic()  # a source may take its time for the first sound
        time.sleep(max(0.0, begin + number / FRAME_RATE - time.monotonic()))
        yield chunk
