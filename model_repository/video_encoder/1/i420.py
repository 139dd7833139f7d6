"""RGB to I420 (ITU-R BT.709, limited range) on the processor, where the encoder is there too.

FFmpeg's scaler takes twice the processor time of this, and as PyAV calls it, it starts a thread for each core anew for
every frame. As in `nv12`, which makes the same of frames on a GPU, chroma is of the mean of the 2 x 2 pixels that share
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

# Of red, green and blue in 256ths of a level. Rounded so that greys stay grey; a saturated colour is off by up to 0.6
# of a level. What is negative is so modulo 2**16: a sum that ends in range may leave it on the way.
_LUMA = (47, 157, 16)
_BLUE = (-26, -87, 113)
_RED = (112, -102, -10)
_BLACK, _GREY = 16, 128  # levels of no luma and of no chroma


def to_i420(frame: Bytes) -> Any:
    """PyAV's frame of format yuv420p that shows a picture (h, w, 3) uint8 RGB, of even height and width."""
    height, width, _ = frame.shape
    made = av.VideoFrame(width, height, "yuv420p")
    halved = cv2.split(cv2.resize(frame, (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    _weigh(cv2.split(frame), _LUMA, _BLACK, _plane(made, 0))
    _weigh(halved, _BLUE, _GREY, _plane(made, 1))
    _weigh(halved, _RED, _GREY, _plane(made, 2))
    return made


def _plane(frame: Any, number: int) -> Bytes:
    """The pixels of a plane where they lie: FFmpeg's lines may be longer than they show."""
    plane = frame.planes[number]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def _weigh(colours: Sequence[Any], weights: Sequence[int], base: int, plane: Bytes) -> None:
    """Write base + the weighted sum of three planes, rounded."""
    total = np.full(plane.shape, base * 256 + 128, np.uint16)
    part = np.empty_like(total)
    for colour, weight in zip(colours, weights, strict=True):
        np.multiply(colour, np.uint16(weight % 2**16), out=part)
        total += part
    np.right_shift(total, 8, out=plane, casting="unsafe")
