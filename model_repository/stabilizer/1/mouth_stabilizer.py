"""Steadies the mouth's texture from frame to frame, along the motion that the geometry knows.

The previous output is moved to where its content lies now: the flow of both frames tells which point of the photo each
pixel shows, so a pixel x of this frame finds its past at x + (flow_now(x) - flow_before(x)), to first order. There it
is blended in where both agree up to flicker; where they differ by more (teeth appear, lips part) the new one stands.
"""

from __future__ import annotations

import cv2
import numpy as np
from facestream.contract import LOOKAHEAD_FRAMES
from facestream.sequence import FrameOrder, SessionLost
from numpy.typing import NDArray

_KEEP = 0.6
"""Share of the past in a pixel that differs by nothing: a time constant of two frames."""

_TOLERANCE = (10.0, 10.0, 10.0, 0.04)
"""Difference at which the past has lost its weight: RGB levels, cover."""
_WEIGHT_LOSS = (1.0 / np.array(_TOLERANCE, np.float32))[:, None, None]

_STILL_PIXELS = 0.02
"""Motion below this needs no resampling, so that a resting face comes to rest bit for bit."""


class MouthStabilizer:
    """Previous output of one session."""

    def __init__(self) -> None:
        self._order = FrameOrder(-LOOKAHEAD_FRAMES)
        self._texture: NDArray[np.float32] | None = None
        self._flow: NDArray[np.float32] | None = None

    def step(self, texture: NDArray[np.floating], flow: NDArray[np.floating], frame_index: int) -> NDArray[np.floating]:
        """The steadied texture of the next frame.

        Args:
            texture: (4, h, w): residual RGB (levels, premultiplied), cover.
            flow: (2, h, w): displacement from each pixel to the photo's pixel that it shows, x and y, px.
            frame_index: of the shown frame.

        Returns:
            Like `texture`.

        Raises:
            SessionLost: `frame_index` is not the next one.
        """
        self._order.check(frame_index)
        if not np.isfinite(texture).all():
            raise SessionLost("CANVAS_TEXTURE holds a value that is not finite; begin anew with START")
        self._order.advance()

        steady = texture.copy()
        if self._texture is not None and self._flow is not None:
            # A closed mouth has no texture: where neither frame has any, there is nothing to do.
            rows, columns = _extent(texture, self._texture)
            part = (slice(None), rows, columns)
            now = texture[part]
            past = _follow(self._texture, flow[part] - self._flow[part], rows.start, columns.start)
            difference = np.abs(past - now)
            difference *= _WEIGHT_LOSS
            weight = _KEEP * np.maximum(1.0 - difference.max(axis=0), 0.0)
            steady[part] = now + weight * (past - now)
        self._texture, self._flow = steady, flow.copy()
        return steady


def _extent(now: NDArray[np.float32], past: NDArray[np.float32]) -> tuple[slice, slice]:
    """Rows and columns that hold all of both textures (4, h, w); empty where there is none."""
    held = np.any(now, axis=0) | np.any(past, axis=0)
    rows, columns = np.flatnonzero(np.any(held, axis=1)), np.flatnonzero(np.any(held, axis=0))
    if rows.size == 0:
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _follow(texture: NDArray[np.float32], motion: NDArray[np.float32], top: int, left: int) -> NDArray[np.float32]:
    """The part of texture (4, H, W) at (top, left), moved by `motion` (2, h, w) px: (4, h, w)."""
    height, width = motion.shape[1:]
    if motion.size == 0 or np.abs(motion).max() < _STILL_PIXELS:
        return texture[:, top : top + height, left : left + width]
    across = motion[0] + np.arange(left, left + width, dtype=np.float32)
    down = motion[1] + np.arange(top, top + height, dtype=np.float32)[:, None]
    return np.stack(
        [cv2.remap(plane, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for plane in texture]
    )
