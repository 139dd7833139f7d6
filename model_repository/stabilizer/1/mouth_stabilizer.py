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

_TOLERANCE = np.array([10.0, 10.0, 10.0, 0.04, 0.04], np.float32)[:, None, None]
"""Difference at which the past has lost its weight: RGB levels, interior alpha, lip shade."""

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
            texture: (5, h, w): residual RGB (levels, premultiplied), interior alpha, lip shade.
            flow: (2, h, w): displacement from each pixel to the photo's pixel that it shows, x and y, px.
            frame_index: of the shown frame.

        Returns:
            Like `texture`, in its dtype.

        Raises:
            SessionLost: `frame_index` is not the next one.
        """
        self._order.check(frame_index)
        if not np.isfinite(texture).all():
            raise SessionLost("MOUTH_TEXTURE holds a value that is not finite; begin anew with START")
        self._order.advance()

        now = texture.astype(np.float32)
        flow = flow.astype(np.float32)
        if self._texture is not None and self._flow is not None:
            past = self._follow(self._texture, flow - self._flow)
            difference = np.abs(now - past) / _TOLERANCE
            weight = _KEEP * np.clip(1.0 - difference.max(axis=0), 0.0, 1.0)
            now = now + weight * (past - now)
        self._texture, self._flow = now, flow
        return now.astype(texture.dtype)

    @staticmethod
    def _follow(texture: NDArray[np.float32], motion: NDArray[np.float32]) -> NDArray[np.float32]:
        if np.abs(motion).max() < _STILL_PIXELS:
            return texture
        height, width = motion.shape[1:]
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        moved = cv2.remap(
            np.ascontiguousarray(texture.transpose(1, 2, 0)),
            columns + motion[0],
            rows + motion[1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.ascontiguousarray(moved.transpose(2, 0, 1))
