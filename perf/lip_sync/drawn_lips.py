"""The lips of drawn frames (perf.lip_sync.rendered) in the form in which the judge takes them."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from perf.lip_sync.lips import Lips
from perf.lip_sync.measures import CONTACT
from perf.lip_sync.rendered import CACHE, RenderedLips

Floats = npt.NDArray[np.float64]

TOUCHING: Final = 0.02
"""The lower lip is at the teeth where less than this is seen between them: 2.7 px in the ready avatars' frames."""


@cache
def _lips_of(avatar: str) -> RenderedLips:
    return RenderedLips(avatar, CACHE)


def drawn_lips(parameters: npt.NDArray[np.float32], avatar: str) -> tuple[Lips, Lips]:
    """Return the lips by landmarks and by pixels of the frames that PARAMETERS [n, 73] of one clip make.

    By landmarks the gap is the inner lips' distance beyond that at rest, which is taken as the clip's second
    percentile; by pixels it is the height of teeth and dark between the lips. The width is the same in both; contact
    is left to the landmarks, since between lips hardly parted there is no dark to be seen below the teeth.
    """
    seen = _lips_of(avatar).measure(parameters)
    contact = np.nan_to_num(CONTACT + TOUCHING - seen["lower_lip_teeth"], nan=0.0)
    inner = np.maximum(seen["gap"] - np.percentile(seen["gap"], 2), 0.0)
    dark = seen["teeth"] + seen["cavity"]

    def lips(gap: Floats, contact: Floats) -> Lips:
        motion = np.abs(np.diff(gap)) + np.abs(np.diff(seen["width"]))
        return Lips(gap, seen["width"], contact, motion)

    return lips(inner, contact), lips(dark, np.full(len(dark), np.nan))
