"""MP3 at few bits, as games, voice mail and messengers keep speech: what the real coder does to it."""

from __future__ import annotations

import io
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
import soxr
from facestream.contract import SAMPLE_RATE

Floats = npt.NDArray[np.float64]

CODINGS: Final = ((11025, 16000), (11025, 24000), (16000, 24000), (22050, 32000), (22050, 48000))
"""Sample rate and bits per second of what is heard."""


def through_mp3(audio: Floats, rate: int, bits_per_second: int) -> Floats:
    """Return `audio` float64[n] at SAMPLE_RATE as it comes out of an MP3 of `rate` Hz, without a shift in time.

    The coder's delay is told in the file and left out by the decoder.
    """
    peak = max(float(np.abs(audio).max(initial=0.0)), 1e-6) / 0.9
    sound = np.clip(soxr.resample(audio / peak, SAMPLE_RATE, rate), -1, 1)
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as output:
        stream: Any = output.add_stream("libmp3lame", rate=rate)
        stream.bit_rate = bits_per_second
        stream.layout = "mono"
        stream.thread_count = 1
        frame = av.AudioFrame.from_ndarray((sound * 32767).astype(np.int16)[None], format="s16p", layout="mono")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    file.seek(0)
    with av.open(file, "r") as coded:
        blocks = [heard.to_ndarray().reshape(-1) for heard in coded.decode(audio=0)]
    back = np.asarray(soxr.resample(np.concatenate(blocks).astype(np.float64), rate, SAMPLE_RATE)) * peak
    return np.pad(back[: len(audio)], (0, max(len(audio) - len(back), 0)))
