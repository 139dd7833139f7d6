"""How a film moves, beside how the truth moves. Definitions and sources: perf.face."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perf.face.picture_measures import luma

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
Fields = NDArray[np.float32]

CONSISTENT_PX: Final = 1.0
"""Optical flow there and back must agree this well for a pixel to count: the rest was hidden."""


def optical_flow(now: Image, before: Image) -> Fields:
    """Dense inverse search (Kroeger et al. 2016): where each pixel of `now` was, displacement [h, w, 2], px."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [np.clip(np.rint(luma(picture)), 0, 255).astype(np.uint8) for picture in (now, before)]
    return np.asarray(search.calc(grey[0], grey[1], None), np.float32)  # type: ignore[call-overload]


def moved(picture: NDArray[np.generic], flow: Fields) -> Fields:
    """`picture` [h, w, ...] at the pixels displaced by `flow` [h, w, 2]."""
    down, across = np.mgrid[0 : flow.shape[0], 0 : flow.shape[1]].astype(np.float32)
    places = across + flow[..., 0], down + flow[..., 1]
    return np.asarray(
        cv2.remap(picture.astype(np.float32), *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


class TruthMotion:
    """Optical flow of a film of the truth, to which films are compared."""

    def __init__(self, film: Sequence[Image]) -> None:
        self.flows = [optical_flow(now, before) for before, now in pairwise(film)]
        self.visible = []
        for (before, now), there in zip(pairwise(film), self.flows, strict=True):
            back = moved(optical_flow(before, now), there)
            self.visible.append(np.hypot(*np.moveaxis(there + back, -1, 0)) < CONSISTENT_PX)

    def warping_error(self, film: Sequence[Image]) -> float:
        """RMS levels between each frame and the one before, moved as the truth moves."""
        errors = []
        for number, (flow, visible) in enumerate(zip(self.flows, self.visible, strict=True)):
            change = film[number + 1].astype(np.float64) - moved(film[number], flow)
            errors.append(np.square(change[visible]).mean())
        return float(np.sqrt(np.mean(errors)))

    def flow_distance(self, film: Sequence[Image]) -> float:
        """tOF: mean distance of the film's flow from the truth's, px."""
        apart = [
            np.hypot(*np.moveaxis(optical_flow(now, before) - flow, -1, 0)).mean()
            for before, now, flow in zip(film, film[1:], self.flows, strict=False)
        ]
        return float(np.mean(apart))


def flicker(film: Sequence[NDArray[np.generic]], flows: Sequence[Fields], mask: NDArray[np.bool_]) -> float:
    """Mean size, levels, of the second differences in time along a known motion.

    Args:
        film: canvas pictures [h, w, 3], or differences of such.
        flows: CANVAS_FLOW [2, h, w] of each, to the photo's pixels.
        mask: [h, w], the pixels that count.
    """
    found = []
    for t in range(1, len(film) - 1):
        around = [moved(film[s], (flows[t] - flows[s]).transpose(1, 2, 0)) for s in (t - 1, t + 1)]
        found.append(np.abs(2.0 * film[t].astype(np.float64) - around[0] - around[1]).mean(2)[mask].mean())
    return float(np.mean(found))


def change_variance(film: Sequence[Image]) -> float:
    """Variance over time of the mean absolute difference between successive frames, levels^2."""
    change = [np.abs(now.astype(np.float64) - before).mean() for before, now in pairwise(film)]
    return float(np.var(change))
