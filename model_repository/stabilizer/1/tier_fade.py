"""The passage of a session from one tier of quality to another, spread over frames so that nobody sees it."""

from __future__ import annotations

from collections.abc import Mapping

from facestream.array_namespace import Array
from facestream.quality import REFINERS, Quality

FADE_FRAMES = 8
"""From one tier to the next in 0.27 s."""

Weights = Mapping[Quality, float]
"""Share of each tier in a frame; they add up to 1, and tiers without a share are left out."""


class TierFade:
    """The shares of the tiers in one session's frames.

    A session's first frame has its tier at once. Then the shares move by 1/FADE_FRAMES a frame towards the wanted tier,
    taken from the others in proportion: a wish that changes in mid-fade turns the fade, without a step.
    """

    def __init__(self) -> None:
        self._weights: dict[Quality, float] = {}

    def next(self, wanted: Quality) -> Weights:
        """The shares of the next frame of a session that wants this tier; changes nothing."""
        if not self._weights:
            return {wanted: 1.0}
        others = 1.0 - self._weights.get(wanted, 0.0)
        left = max(others - 1.0 / FADE_FRAMES, 0.0)
        if left < 0.5 / FADE_FRAMES:  # floats: eight eighths are not quite one
            return {wanted: 1.0}
        kept = {tier: weight * left / others for tier, weight in self._weights.items() if tier is not wanted}
        return {**kept, wanted: 1.0 - left}

    def advance(self, weights: Weights) -> None:
        """A frame with these shares was shown."""
        self._weights = dict(weights)


def models(weights: Weights) -> list[Quality]:
    """The tiers among these that a model has to draw."""
    return [tier for tier in weights if tier in REFINERS]


def main_tier(weights: Weights) -> Quality:
    """The tier with the largest share, the better one of two with the same."""
    return max(weights, key=lambda tier: (weights[tier], tier))


def mix(fast: Array, weights: Weights, refined: Mapping[Quality, Array]) -> tuple[Array, Weights]:
    """The texture with these shares, and the shares that are really in it: those of a tier that failed are FAST's.

    Args:
        fast: (4, h, w) float32: the texture as it came.
        weights: shares of the tiers.
        refined: textures like `fast` of the tiers above it, without those that failed.
    """
    drawn = {tier: weight for tier, weight in weights.items() if tier in refined}
    if not drawn:
        return fast, {Quality.FAST: 1.0}
    if 1.0 in drawn.values():
        return refined[next(iter(drawn))], drawn
    rest = 1.0 - sum(drawn.values())
    texture = rest * fast
    for tier, weight in drawn.items():
        texture += weight * refined[tier]
    return texture, ({**drawn, Quality.FAST: rest} if rest > 1e-6 else drawn)
