"""Steadies the texture of the canvas from frame to frame, along the motion that the geometry knows.

The previous output is moved to where its content lies now: the flow of both frames tells which point of the photo each
pixel shows, so a pixel x of this frame finds its past at x + (flow_now(x) - flow_before(x)), to first order. There it
is blended in where both agree up to flicker; where they differ by more (teeth appear, lids close) the new one stands.

Nothing drifts. An output is a mean of this frame's texture and at most KEEP of the output before it, so what was there
k frames ago has lost all but KEEP**k of its weight; and a texture that repeats comes to rest on itself, bit for bit.
The photo below the texture is not touched at all.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from facestream.contract import LOOKAHEAD_FRAMES
from facestream.sequence import FrameOrder, SessionLost
from numpy.typing import NDArray

Floats = NDArray[np.float32]

KEEP = 0.62
"""Share of the past in a pixel that differs by nothing.

TOLERANCE was chosen by films of two synthetic people whose true frames are known, KEEP by `perf.stabilizer`: it takes
two thirds of white noise and half of detail that swims on the skin. In films of three more people 0.6 costs 0.03 dB of
likeness about the mouth, 0.65 costs 0.05.
"""

TOLERANCE = (31.8, 31.8, 31.8, 0.129)
"""Difference at which the past of a pixel has lost its weight: RGB levels, cover."""

STILL_PX = 0.02
"""Motion below this needs no resampling."""
SAME = 1e-3
"""A difference below this share of the tolerance is none: there the new texture stands, and nothing fades for ever."""

NOT_FINITE = "CANVAS_TEXTURE holds a value that is not finite; begin anew with START"


class CanvasStabilizer:
    """Previous output of one session."""

    def __init__(self, keep: float = KEEP) -> None:
        """`keep` 0 lets every texture through as it is."""
        self._order = FrameOrder(-LOOKAHEAD_FRAMES)
        self._keep = keep
        self._texture: Floats | None = None  # (h, w, 4), of the previous frame
        self._flow: Floats | None = None

    def check(self, frame_index: int) -> None:
        """Raises SessionLost where `frame_index` is not the next one."""
        self._order.check(frame_index)

    def step(self, texture: Floats, flow: Floats, frame_index: int) -> Floats:
        """The steadied texture of the next frame.

        Args:
            texture: (4, h, w): RGB to add (levels, premultiplied), and cover (share of the photo that it takes away).
            flow: (2, h, w): displacement from each pixel to the photo's pixel that it shows, x and y, px.
            frame_index: of the shown frame.

        Returns:
            Like `texture`.

        Raises:
            SessionLost: `frame_index` is not the next one, or the texture is not finite; nothing has changed.
        """
        self.check(frame_index)
        steady = self._blend(texture, flow)
        self._order.advance()
        self._texture, self._flow = cv2.merge(list(steady)), flow.copy()
        return steady

    def _blend(self, texture: Floats, flow: Floats) -> Floats:
        """`texture` with its past blended in; the same array where there is nothing to blend. Changes nothing."""
        if self._texture is None or self._flow is None or not self._keep:
            if not np.isfinite(texture).all():
                raise SessionLost(NOT_FINITE)
            return texture
        motion = flow - self._flow
        moves = max(float(motion.max()), -float(motion.min())) > STILL_PX
        past = _follow(self._texture, motion) if moves else self._texture
        change = np.empty_like(texture)
        planes = cv2.split(past, list(change))  # where `change` lies: no memory is asked for
        for plane, before, now in zip(change, planes, texture, strict=True):
            np.subtract(before, now, out=plane)
        excess = np.abs(change[3])
        excess *= TOLERANCE[0] / TOLERANCE[3]
        plane_excess = np.empty_like(excess)
        for plane in change[:3]:
            np.maximum(excess, np.abs(plane, out=plane_excess), out=excess)
        most = float(excess.max())
        if not np.isfinite(most):  # the past is finite, so it is the texture: one look less at all of it
            raise SessionLost(NOT_FINITE)
        if most < SAME * TOLERANCE[0]:
            return texture
        excess *= 1.0 / TOLERANCE[0]
        excess *= excess
        weight = np.maximum(self._keep - self._keep * excess, 0.0)
        weight *= excess > SAME * SAME
        change *= weight
        change += texture
        return change


def _follow(texture: Floats, motion: Floats) -> Floats:
    """A texture (h, w, 4) where its content lies now, moved by `motion` (2, h, w) px."""
    across, down = _pixels(*motion.shape[1:])
    moved = cv2.remap(texture, across + motion[0], down + motion[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


@cache
def _pixels(height: int, width: int) -> tuple[Floats, Floats]:
    """Column and row of each pixel."""
    across, down = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return across, down
