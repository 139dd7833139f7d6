"""The mouth of a face that feels while it speaks: the speech has the last word.

A feeling may widen a smile or bare teeth as far as the speech opens the lips, but it never holds a /p/ open and never
opens a closed mouth: its jaw drops no further than that, and what else it would part, the lower lip closes again. What
it does to the nose does not go with the syllables.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from facestream.parameters import ARKIT, INDEX
from numpy.typing import NDArray

PARTING_MM = {
    "jawOpen": 29.7,
    "mouthClose": -37.5,
    "mouthFunnel": 12.0,
    "mouthUpperUp": 7.3,
    "noseSneer": 6.7,
    "mouthLowerDown": 6.0,
    "mouthShrugUpper": 5.1,
    "mouthPucker": -0.3,
    "cheekSquint": 0.4,
    "mouthDimple": -1.5,
    "mouthFrown": -0.2,
    "mouthStretch": -0.5,
    "mouthRollLower": -2.6,
    "mouthRollUpper": -0.3,
    "mouthPress": -2.5,
    "mouthShrugLower": -6.5,
}
"""By how much a weight of 1, on both sides where it has two, moves the middle of the lips apart: measured on the face
model; a test holds the two together."""

_FREEDOM = 0.35  # of what the speech opens, a feeling may add so much
_LOWER_LIP_MOST = 0.80  # a chin raised further looks like a pout
_OPEN_MM = 4.0  # from here on the mouth is open: what a feeling does to hold it shut is over
_ROUND = ("mouthPucker", "mouthFunnel")
_SPREADING = ("mouthSmile", "mouthDimple", "mouthStretch", "mouthFrown")
_ROUNDING_WINS = 1.3  # a weight of 0.6 on rounded lips leaves a fifth of a smile
_OPENED_KEPT, _ROUNDED_KEPT = 0.93, 0.65  # a frame later: tension is back after half a second, a smile after a tenth
_OPENED_MOST = 0.4  # in one frame: pressed lips do not burst open


def _on(names: dict[str, float]) -> NDArray[np.float64]:
    row = np.zeros(len(ARKIT))
    for name, value in names.items():
        if name in INDEX:
            row[INDEX[name]] = value
        else:
            row[INDEX[f"{name}Left"]] = row[INDEX[f"{name}Right"]] = 0.5 * value
    return row


_PARTING = _on(PARTING_MM)
_LOWER_LIP = INDEX["mouthShrugLower"]
_JAW = INDEX["jawOpen"]
_CLOSE = INDEX["mouthClose"]
_ROUND_AT = [INDEX[name] for name in _ROUND]
_NOSE_AT = [INDEX["noseSneerLeft"], INDEX["noseSneerRight"]]
_RAISING_AT = [
    INDEX[name]
    for name in (
        "mouthUpperUpLeft",
        "mouthUpperUpRight",
        "mouthShrugUpper",
        "mouthFunnel",
        "mouthLowerDownLeft",
        "mouthLowerDownRight",
    )
]
_SHUTTING_AT = [
    INDEX[name] for name in ("mouthPressLeft", "mouthPressRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower")
]
_SPREADING_AT = [INDEX[f"{name}{side}"] for name in _SPREADING for side in ("Left", "Right")]


class Taken(NamedTuple):
    """How far, in [0, 1], the speech takes the lips from what a feeling does to them."""

    opened: float
    rounded: float


def taken_by(speech: NDArray[np.float64]) -> Taken:
    """By `speech` (52,) alone, whatever was said before."""
    return Taken(
        min(max(float(speech @ _PARTING), 0.0) / _OPEN_MM, 1.0),
        min(_ROUNDING_WINS * max(float(speech[_ROUND_AT].max()), 0.0), 1.0),
    )


class Yielding:
    """What one session's speech has taken from its feeling: soon, and given back slowly.

    Lips that were pressed in anger again between any two syllables would flicker, and so would a smile between rounded
    ones.
    """

    def __init__(self) -> None:
        self._taken = Taken(0.0, 0.0)

    def __call__(self, speech: NDArray[np.float64]) -> Taken:
        """In the next frame, of which the speech is `speech` (52,)."""
        now, before = taken_by(speech), self._taken
        opened = min(max(now.opened, _OPENED_KEPT * before.opened), before.opened + _OPENED_MOST)
        self._taken = Taken(opened, max(now.rounded, _ROUNDED_KEPT * before.rounded))
        return self._taken


def _share_raised(feeling: NDArray[np.float64]) -> float:
    """The share of what raises the nose and parts the lips that the lower lip alone can close again."""
    parting = np.maximum(feeling * _PARTING, 0.0)
    parting[_JAW] = 0.0
    left = float(parting.sum()) + _LOWER_LIP_MOST * PARTING_MM["mouthShrugLower"]
    raised = float(parting[[*_NOSE_AT, *_RAISING_AT]].sum())
    return max(1.0 - left / raised, 0.0) if left > 0.0 and raised > 0.0 else 1.0


def felt_speech(
    speech: NDArray[np.float64], feeling: NDArray[np.float64], opening: float, taken: Taken | None = None
) -> NDArray[np.float64]:
    """The ARKit weights (52,) of a mouth that says `speech` (52,) with the weights `feeling` (52,) of a feeling.

    `opening` is the feeling's factor of how far the speech opens the jaw, `taken` what Yielding gives; without it, what
    the speech takes by itself.
    """
    if taken is None:
        taken = taken_by(speech)
    # The nose parts the lips, too, but one that rose and sank with every syllable would twitch: it stays where it may
    # be when the lips meet.
    share = _share_raised(feeling)
    feeling = feeling.copy()
    feeling[_NOSE_AT] *= share
    feeling[_SPREADING_AT] *= 1.0 - taken.rounded
    parts = max(float(speech @ _PARTING), 0.0)
    feeling[_JAW] *= min(parts / _OPEN_MM, 1.0)
    feeling[_SHUTTING_AT] *= 1.0 - taken.opened
    # What the nose parts the lower lip closes while somebody speaks, or it would do so anew for each /p/.
    under_nose = float(feeling[_NOSE_AT] @ _PARTING[_NOSE_AT]) / -PARTING_MM["mouthShrugLower"]
    feeling[_LOWER_LIP] = max(float(feeling[_LOWER_LIP]), taken.opened * min(under_nose, _LOWER_LIP_MOST))
    # What the feeling parts beyond its freedom its own jaw takes back first: under one that drops, as in surprise, a
    # raised chin would pout with every syllable. Then the lower lip: it rises, as a chin does in disgust or sorrow.
    # What is more than it can, the upper lip does not raise.
    excess = float(feeling @ _PARTING) - _FREEDOM * parts
    if excess > 0.0:
        shut = min(excess / PARTING_MM["jawOpen"], float(feeling[_JAW]))
        feeling[_JAW] -= shut
        excess -= shut * PARTING_MM["jawOpen"]
        rise = min(excess / -PARTING_MM["mouthShrugLower"], max(_LOWER_LIP_MOST - float(feeling[_LOWER_LIP]), 0.0))
        feeling[_LOWER_LIP] += rise
        left = excess + rise * PARTING_MM["mouthShrugLower"]
        raised = float(feeling[_RAISING_AT] @ _PARTING[_RAISING_AT])
        if left > 0.0 and raised > 0.0:
            feeling[_RAISING_AT] *= max(1.0 - left / raised, 0.0)
    said = speech.copy()
    said[_JAW] *= opening
    mixed = said + feeling
    mixed[_CLOSE] = min(mixed[_CLOSE], mixed[_JAW])  # ARKit's own rule: lips cannot close beyond the jaw's opening
    return mixed
