"""The H.264 encoders that a session can be given, and their settings.

All make the same kind of stream: no frame held back, no frame that refers to a later one, a keyframe every two seconds
and wherever one is asked for, SPS and PPS before each, Annex B.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from facestream.contract import FRAME_RATE

KEYFRAME_SECONDS = 2
_GROUP = str(KEYFRAME_SECONDS * FRAME_RATE)


@dataclass(frozen=True)
class H264Codec:
    """An encoder of FFmpeg's, as PyAV calls it."""

    name: str
    options: Mapping[str, str]
    in_hardware: bool = False


X264 = H264Codec(
    "libx264",
    {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "crf": "21",  # no difference to the eye at 512 x 512
        "g": _GROUP,
        "x264-params": "repeat-headers=1:annexb=1:scenecut=0",
    },
)
"""On the processor."""

NVENC = H264Codec(
    "h264_nvenc",
    {
        "preset": "p4",
        "tune": "ull",  # ultra low latency
        "profile": "baseline",
        "rc": "vbr",
        "cq": "23",  # a target quality, as x264's crf; the bit rate follows
        "rc-lookahead": "0",
        "delay": "0",  # each frame's access unit before the next frame comes
        "zerolatency": "1",
        "bf": "0",
        "g": _GROUP,
        "no-scenecut": "1",
        "forced-idr": "1",  # a keyframe that is asked for is one that a decoder can begin with
    },
    in_hardware=True,
)
"""On the encoder block of an NVIDIA GPU. T4, V100, L4 and A10 have one; A100, H100 and H200 have none."""
