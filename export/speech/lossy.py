"""Lossy coding of speech, as games, voice mail and messengers keep it: what the real coder does to it."""

from __future__ import annotations

import io
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
import soxr
from facestream.contract import SAMPLE_RATE

Floats = npt.NDArray[np.float64]
Sound = npt.NDArray[np.floating]

CODINGS: Final = ((11025, 16000), (11025, 24000), (16000, 24000), (22050, 32000), (22050, 48000))
"""Sample rate and bits per second of what is heard of an MP3."""


def coded(audio: Sound, codec: str, container: str, rate: int, bits_per_second: int) -> Sound:
    """Return `audio` [n] at SAMPLE_RATE, within -1 .. 1, out of a codec of FFmpeg's at `rate` Hz: about as long.

    What the container tells of the coder's delay is left out by the decoder.
    """
    sound = np.clip(soxr.resample(audio, SAMPLE_RATE, rate), -1, 1)
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=rate)
        stream.bit_rate = bits_per_second
        stream.layout = "mono"
        stream.thread_count = 1
        frame = av.AudioFrame.from_ndarray((sound * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    file.seek(0)
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    with av.open(file, "r") as made:
        blocks = [out.to_ndarray().reshape(-1) for heard in made.decode(audio=0) for out in resampler.resample(heard)]
    return np.asarray(soxr.resample(np.concatenate(blocks), rate, SAMPLE_RATE))


def through_mp3(audio: Floats, rate: int, bits_per_second: int) -> Floats:
    """Return `audio` float64[n] at SAMPLE_RATE as it comes out of an MP3 of `rate` Hz, without a shift in time."""
    peak = max(float(np.abs(audio).max(initial=0.0)), 1e-6) / 0.9
    back = np.asarray(coded(audio / peak, "libmp3lame", "mp3", rate, bits_per_second), np.float64) * peak
    return np.pad(back[: len(audio)], (0, max(len(audio) - len(back), 0)))
