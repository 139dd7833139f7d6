"""The stabiliser of `canvas_stabilizer` for the sessions of one call together, on arrays of any namespace.

Written with functions of Python's array API standard alone, and without a branch that depends on a pixel: CuPy queues
all of it on the GPU, and nobody waits in between. Operation by operation it is what `CanvasStabilizer` does with NumPy
and OpenCV, so a GPU and a processor show the same picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from canvas_stabilizer import KEEP, SAME, STILL_PX, TOLERANCE
from facestream.array_namespace import Array, ArrayNamespace
from facestream.contract import LOOKAHEAD_FRAMES
from facestream.sequence import FrameOrder

REMAP_STEPS_BITS = 5
"""OpenCV's remap rounds coordinates to 1/32 px, and so does this one: with other steps the two differ by whole levels
at the rims of teeth and lids."""


class Past(NamedTuple):
    """What a session keeps of its last frame.

    Both are parts of the arrays of a whole call. A session that pauses holds on to those of its last one until it goes
    on or is evicted.
    """

    texture: Array
    """(4, h, w), steadied."""
    flow: Array
    """(2, h, w), px."""


class ArrayCanvasStabilizer:
    """Previous output of one session."""

    def __init__(self) -> None:
        self._order = FrameOrder(-LOOKAHEAD_FRAMES)
        self.past: Past | None = None

    def check(self, frame_index: int) -> None:
        """Raises SessionLost where `frame_index` is not the next one."""
        self._order.check(frame_index)

    def advance(self, past: Past) -> None:
        """The next frame is answered; `past` is of it."""
        self._order.advance()
        self.past = past


class Steadied(NamedTuple):
    """The next frames of n sessions. None of it has to be computed yet."""

    textures: Array
    """(n, 4, h, w): like those that came."""
    finite: Array
    """(n,) bool: whether each texture that came was finite. One that was not must not be shown, nor kept as a past."""

    def past(self, number: int, flows: Array) -> Past:
        """What session `number` keeps."""
        return Past(self.textures[number, ...], flows[number, ...])


def steady_together(
    xp: Any, pasts: Sequence[Past | None], textures: Array, flows: Array, keep: float = KEEP
) -> Steadied:
    """The steadied textures of n sessions, each by its own past; changes nothing.

    Args:
        xp: the namespace of all arrays.
        pasts: of the sessions; None for one that has just begun.
        textures: (n, 4, h, w) float32: RGB to add (levels, premultiplied), and cover (share of the photo).
        flows: (n, 2, h, w) float32: displacement from each pixel to the photo's pixel that it shows, x and y, px.
        keep: share of the past in a pixel that differs by nothing.
    """
    finite = xp.all(xp.isfinite(textures), axis=(1, 2, 3))
    if not keep or all(past is None for past in pasts):
        return Steadied(textures, finite)
    # A session without a past gets its own frame as one: nothing has moved, and nothing differs.
    before = xp.stack([textures[i, ...] if past is None else past.texture for i, past in enumerate(pasts)])
    motion = flows - xp.stack([flows[i, ...] if past is None else past.flow for i, past in enumerate(pasts)])
    moves = xp.max(xp.abs(motion), axis=(1, 2, 3), keepdims=True) > STILL_PX
    change = _follow(xp, before, motion * xp.astype(moves, xp.float32)) - textures
    excess = xp.maximum(
        xp.abs(change[:, 3:, :, :]) * (TOLERANCE[0] / TOLERANCE[3]),
        xp.max(xp.abs(change[:, :3, :, :]), axis=1, keepdims=True),
    )
    excess = excess * (1.0 / TOLERANCE[0])
    excess = excess * excess
    weight = xp.maximum(keep - keep * excess, 0.0) * xp.astype(excess > SAME * SAME, xp.float32)
    return Steadied(change * weight + textures, finite)


def warm_up(arrays: ArrayNamespace, height: int, width: int) -> None:
    """Steady frames of no meaning, so that no session waits for kernels: CuPy compiles each at its first use.

    Those for one session and for several differ, as do the first frame and the ones after it.
    """
    for number in (1, 2):
        textures = arrays.asarray(np.zeros((number, 4, height, width), np.float32))
        flows = arrays.asarray(np.zeros((number, 2, height, width), np.float32))
        pasts = [steady_together(arrays.xp, [None] * number, textures, flows).past(i, flows) for i in range(number)]
        for before in ([pasts[0], *([None] * (number - 1))], pasts):
            arrays.to_host([steady_together(arrays.xp, before, textures, flows).finite])


def _follow(xp: Any, textures: Array, motion: Array) -> Array:
    """Textures (n, 4, h, w) where their content lies now, moved by `motion` (n, 2, h, w) px: bilinear, borders kept."""
    number, planes, height, width = textures.shape
    across = xp.reshape(xp.arange(width, dtype=xp.float32), (1, 1, 1, width)) + motion[:, :1, :, :]
    down = xp.reshape(xp.arange(height, dtype=xp.float32), (1, 1, height, 1)) + motion[:, 1:, :, :]
    left, right, from_left = _neighbours(xp, across, width)
    above, below, from_above = _neighbours(xp, down, height)
    flat = xp.reshape(textures, (-1,))
    plane = xp.reshape(xp.arange(number * planes, dtype=xp.int32), (number, planes, 1, 1)) * (height * width)

    def at(row: Array, column: Array) -> Array:
        index = plane + (row * width + column)
        return xp.reshape(xp.take(flat, xp.reshape(index, (-1,)), axis=0), textures.shape)

    to_above, to_left = 1.0 - from_above, 1.0 - from_left
    return (
        at(above, left) * (to_above * to_left)
        + at(above, right) * (to_above * from_left)
        + at(below, left) * (from_above * to_left)
        + at(below, right) * (from_above * from_left)
    )


def _neighbours(xp: Any, coordinate: Array, size: int) -> tuple[Array, Array, Array]:
    """Of each coordinate the whole numbers beside it, kept within [0, size), and how far it lies from the lower one."""
    steps = xp.astype(xp.round(coordinate * float(1 << REMAP_STEPS_BITS)), xp.int32)
    lower = steps >> REMAP_STEPS_BITS
    rest = steps & ((1 << REMAP_STEPS_BITS) - 1)
    share = xp.astype(rest, xp.float32) * (1.0 / (1 << REMAP_STEPS_BITS))
    return xp.clip(lower, 0, size - 1), xp.clip(lower + 1, 0, size - 1), share
