"""From text with marks to chunks of sound with emotions: the work of this stage, without Triton."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
import soxr
from facestream.audio import Chunker
from facestream.contract import SAMPLE_RATE
from facestream.errors import BadInput
from facestream.tts.marks import Passage, parse
from facestream.tts.sentences import sentences
from numpy.typing import NDArray
from synthesizer import Synthesizer

MAX_SECONDS = 300.0
"""Sound of one request: what a client that does not read makes the server hold."""

Chunk = tuple[NDArray[np.float32], NDArray[np.float32]]
"""AUDIO, float32 [800], and EMOTION, float32 [8], in force at its first sample."""


def speak(text: str, voice: Synthesizer, speed: float, emotion: NDArray[np.float32]) -> Iterator[Chunk]:
    """Speak a text, chunk by chunk as the voice gives sound; the last chunk is filled up with zeros.

    Args:
        text: With marks (`facestream.tts.marks`).
        voice: Who speaks.
        speed: 0.5 to 2.
        emotion: float32 [8], until the first mark of an emotion.

    Raises `BadInput` for a wrong mark before any sound, and for a text that takes more than MAX_SECONDS where it does.
    """
    passages = list(parse(text, emotion))
    chunker = Chunker()
    begins: deque[tuple[int, NDArray[np.float32]]] = deque([(0, emotion)])  # sample from which an emotion holds
    made = given = 0  # samples
    for passage in passages:
        begins.append((made, passage.emotion))
        for samples in _sound(passage, voice, speed):
            made += len(samples)
            if made > MAX_SECONDS * SAMPLE_RATE:
                raise BadInput(f"the text takes more than {MAX_SECONDS:g} s to speak; send it in parts")
            for chunk in chunker.push(samples):
                yield chunk, _at(begins, given)
                given += len(chunk)
    for chunk in chunker.flush():
        yield chunk, _at(begins, given)


def _at(begins: deque[tuple[int, NDArray[np.float32]]], sample: int) -> NDArray[np.float32]:
    """The emotion in force at a sample; forgets those before it."""
    while len(begins) > 1 and begins[1][0] <= sample:
        begins.popleft()
    return begins[0][1]


def _sound(passage: Passage, voice: Synthesizer, speed: float) -> Iterator[NDArray[np.float32]]:
    """A passage at 24 kHz."""
    if not passage.text:
        yield np.zeros(round(passage.pause_s * SAMPLE_RATE), np.float32)
        return
    resampler = soxr.ResampleStream(voice.sample_rate, SAMPLE_RATE, 1, "float32")
    for sentence in sentences(passage.text):
        for samples in voice.synthesize(sentence, speed):
            yield resampler.resample_chunk(samples)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
