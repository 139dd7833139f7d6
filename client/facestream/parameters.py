"""The face parameters: every number that `motion` gives to the face, with its range and meaning.

The first 52 are Apple's ARKit blendshape locations, same names, same order as ARFaceAnchor.BlendShapeLocation lists
them, left and right being the person's own. The rest is what ARKit keeps outside of its blendshapes or lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple


class Parameter(NamedTuple):
    """One face parameter; `low` and `high` bound the value in `unit`."""

    name: str
    low: float
    high: float
    unit: str
    meaning: str


def _blendshape(name: str, meaning: str) -> Parameter:
    return Parameter(name, 0.0, 1.0, "1", meaning)


ARKIT: Final = (
    _blendshape("eyeBlinkLeft", "closes the left lids"),
    _blendshape("eyeLookDownLeft", "left lids follow a downward look"),
    _blendshape("eyeLookInLeft", "left eye turns towards the nose"),
    _blendshape("eyeLookOutLeft", "left eye turns away from the nose"),
    _blendshape("eyeLookUpLeft", "left lids follow an upward look"),
    _blendshape("eyeSquintLeft", "contracts the skin about the left eye"),
    _blendshape("eyeWideLeft", "widens the left lids"),
    _blendshape("eyeBlinkRight", "closes the right lids"),
    _blendshape("eyeLookDownRight", "right lids follow a downward look"),
    _blendshape("eyeLookInRight", "right eye turns towards the nose"),
    _blendshape("eyeLookOutRight", "right eye turns away from the nose"),
    _blendshape("eyeLookUpRight", "right lids follow an upward look"),
    _blendshape("eyeSquintRight", "contracts the skin about the right eye"),
    _blendshape("eyeWideRight", "widens the right lids"),
    _blendshape("jawForward", "moves the jaw forward"),
    _blendshape("jawLeft", "moves the jaw to the left"),
    _blendshape("jawRight", "moves the jaw to the right"),
    _blendshape("jawOpen", "opens the jaw"),
    _blendshape("mouthClose", "closes the lips independently of the jaw"),
    _blendshape("mouthFunnel", "forms the lips into an open funnel"),
    _blendshape("mouthPucker", "compresses and protrudes the closed lips"),
    _blendshape("mouthLeft", "moves the mouth to the left"),
    _blendshape("mouthRight", "moves the mouth to the right"),
    _blendshape("mouthSmileLeft", "raises the left mouth corner"),
    _blendshape("mouthSmileRight", "raises the right mouth corner"),
    _blendshape("mouthFrownLeft", "lowers the left mouth corner"),
    _blendshape("mouthFrownRight", "lowers the right mouth corner"),
    _blendshape("mouthDimpleLeft", "draws the left mouth corner back"),
    _blendshape("mouthDimpleRight", "draws the right mouth corner back"),
    _blendshape("mouthStretchLeft", "draws the left mouth corner to the side"),
    _blendshape("mouthStretchRight", "draws the right mouth corner to the side"),
    _blendshape("mouthRollLower", "rolls the lower lip inwards"),
    _blendshape("mouthRollUpper", "rolls the upper lip inwards"),
    _blendshape("mouthShrugLower", "pushes the lower lip up and out"),
    _blendshape("mouthShrugUpper", "pushes the upper lip up and out"),
    _blendshape("mouthPressLeft", "presses the left side of the lips together"),
    _blendshape("mouthPressRight", "presses the right side of the lips together"),
    _blendshape("mouthLowerDownLeft", "lowers the left side of the lower lip"),
    _blendshape("mouthLowerDownRight", "lowers the right side of the lower lip"),
    _blendshape("mouthUpperUpLeft", "raises the left side of the upper lip"),
    _blendshape("mouthUpperUpRight", "raises the right side of the upper lip"),
    _blendshape("browDownLeft", "lowers the outer left brow"),
    _blendshape("browDownRight", "lowers the outer right brow"),
    _blendshape("browInnerUp", "raises the inner brows"),
    _blendshape("browOuterUpLeft", "raises the outer left brow"),
    _blendshape("browOuterUpRight", "raises the outer right brow"),
    _blendshape("cheekPuff", "blows out the cheeks"),
    _blendshape("cheekSquintLeft", "raises the left cheek below the eye"),
    _blendshape("cheekSquintRight", "raises the right cheek below the eye"),
    _blendshape("noseSneerLeft", "raises the left side of the nose"),
    _blendshape("noseSneerRight", "raises the right side of the nose"),
    _blendshape("tongueOut", "pushes the tongue out"),
)

HEAD: Final = (
    Parameter("headYaw", -0.25, 0.25, "rad", "turns the head, positive towards the person's left"),
    Parameter("headPitch", -0.20, 0.20, "rad", "nods the head, positive downwards"),
    Parameter("headRoll", -0.20, 0.20, "rad", "tilts the head, positive towards the person's left shoulder"),
    Parameter("headX", -0.05, 0.05, "picture widths", "moves the head, positive to the right of the picture"),
    Parameter("headY", -0.05, 0.05, "picture heights", "moves the head, positive downwards"),
    Parameter("headZ", -0.05, 0.05, "1", "brings the head nearer: growth of its size"),
)

GAZE: Final = (
    Parameter("gazeYawLeft", -0.5, 0.5, "rad", "turns the left eye, positive towards the person's left"),
    Parameter("gazePitchLeft", -0.4, 0.4, "rad", "turns the left eye, positive downwards"),
    Parameter("gazeYawRight", -0.5, 0.5, "rad", "turns the right eye, positive towards the person's left"),
    Parameter("gazePitchRight", -0.4, 0.4, "rad", "turns the right eye, positive downwards"),
)

EMOTIONS: Final = ("neutral", "happy", "sad", "angry", "surprised", "fearful", "disgusted", "contemptuous")
"""The per-session input EMOTION holds one intensity in [0, 1] for each of these, in this order."""


def check_emotion(intensities: Sequence[float]) -> None:
    """Raises ValueError, naming the emotion, where an intensity of the 8 lies outside of [0, 1] or is not a number."""
    for name, value in zip(EMOTIONS, intensities, strict=True):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"EMOTION[{name}] is {value}, expected an intensity in [0, 1]")


EMOTION: Final = tuple(
    Parameter(f"emotion{name.capitalize()}", 0.0, 1.0, "1", f"shown intensity of the emotion '{name}'")
    for name in EMOTIONS
)

SPEECH: Final = (
    Parameter("voiceActivity", 0.0, 1.0, "1", "certainty that somebody speaks in this frame"),
    Parameter("loudness", -90.0, 0.0, "dBFS", "root mean square level of this frame's sound"),
    Parameter("breath", -1.0, 1.0, "1", "phase of the breath: -1 out, 1 in"),
)

PARAMETERS: Final = ARKIT + HEAD + GAZE + EMOTION + SPEECH
"""All 73, in the order of the PARAMETERS tensor."""

INDEX: Final = {parameter.name: index for index, parameter in enumerate(PARAMETERS)}
"""Position of each name in the PARAMETERS tensor."""
