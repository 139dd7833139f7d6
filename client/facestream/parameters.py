"""The face parameters: every number that `motion` gives to the face, with its range and meaning.

The first 52 are Apple's ARKit blendshape locations, same names, same order as ARFaceAnchor.BlendShapeLocation lists
them, left and right being the person's own. The rest is what ARKit keeps outside of its blendshapes or lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple


class Group(NamedTuple):
    """Parameters that move alike, and how `motion` holds them: the constants of their One-Euro filter and their limits.

    The filter's cutoff is `min_cutoff_hz + beta * (speed - noise_speed)`, speed in units of the parameter per second;
    below `noise_speed` a change is taken for noise, but for one to exact rest (model_repository/motion/1/one_euro.py).
    """

    name: str
    min_cutoff_hz: float
    beta: float
    """Hz for each unit per second."""
    noise_speed: float
    """Units per second."""
    apart: float
    """The left and the right parameter of a pair differ by no more than this."""
    why: str


GROUPS: Final = {
    group.name: group
    for group in (
        Group("lids", 8.0, 12.0, 0.0, 0.15, "a lid closes in 75 ms and both close together; generated without noise"),
        Group("eyes", 2.0, 4.0, 0.9, 0.40, "squint and widening are slow, noise in them looks nervous"),
        Group("look", 8.0, 20.0, 0.0, 1.00, "lids follow the eyes; left and right are opposite by nature"),
        Group(
            "mouth",
            2.5,
            16.0,
            0.9,
            0.75,
            "a closure of 0.3 within a frame lifts the cutoff above 100 Hz and passes 96 % of it at once; noise of "
            "+-0.02 stays below the noise speed and is halved by 2.5 Hz",
        ),
        Group("brows", 2.5, 4.0, 0.9, 0.50, "an accent's raise takes 200 ms; one brow may go up alone, within limits"),
        Group("cheeks", 2.0, 4.0, 0.9, 0.50, "cheeks and nose follow emotions only"),
        Group("head turn", 4.0, 30.0, 0.0, 0.0, "made by springs, smooth already; the filter only guards"),
        Group("head shift", 4.0, 100.0, 0.0, 0.0, "the same, in pictures: a hundredth of the head's units"),
        Group("gaze", 8.0, 30.0, 0.0, 0.15, "a saccade is over in 30 to 50 ms and must not be smeared; eyes converge"),
        Group("emotion", 4.0, 4.0, 0.0, 0.0, "blended over a second before; the filter only guards"),
        Group("certainty", 6.0, 10.0, 0.0, 0.0, "steps with each word; a whole step passes at once"),
        Group("level", 6.0, 0.02, 0.0, 0.0, "in decibels, a hundred times the others' units"),
        Group("breath", 2.0, 1.0, 0.0, 0.0, "a slow wave"),
    )
}
"""How the parameters of each group are smoothed and limited, by name."""


class Parameter(NamedTuple):
    """One face parameter; `low` and `high` bound the value in `unit`."""

    name: str
    low: float
    high: float
    unit: str
    group: str
    """Name of its entry in GROUPS."""
    meaning: str


_GROUP_OF_BLENDSHAPE: Final = {
    "eyeBlink": "lids",
    "eyeLook": "look",
    "eye": "eyes",
    "brow": "brows",
    "cheekSquint": "cheeks",
    "nose": "cheeks",
}
"""By the beginning of the name, the longest first; the others are of the mouth."""


def _blendshape(name: str, meaning: str) -> Parameter:
    group = next((group for begin, group in _GROUP_OF_BLENDSHAPE.items() if name.startswith(begin)), "mouth")
    return Parameter(name, 0.0, 1.0, "1", group, meaning)


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
    Parameter("headYaw", -0.25, 0.25, "rad", "head turn", "turns the head, positive towards the person's left"),
    Parameter("headPitch", -0.20, 0.20, "rad", "head turn", "nods the head, positive downwards"),
    Parameter(
        "headRoll", -0.20, 0.20, "rad", "head turn", "tilts the head, positive towards the person's left shoulder"
    ),
    Parameter(
        "headX", -0.05, 0.05, "picture widths", "head shift", "moves the head, positive to the right of the picture"
    ),
    Parameter("headY", -0.05, 0.05, "picture heights", "head shift", "moves the head, positive downwards"),
    Parameter("headZ", -0.05, 0.05, "1", "head shift", "brings the head nearer: growth of its size"),
)

GAZE: Final = (
    Parameter("gazeYawLeft", -0.5, 0.5, "rad", "gaze", "turns the left eye, positive towards the person's left"),
    Parameter("gazePitchLeft", -0.4, 0.4, "rad", "gaze", "turns the left eye, positive downwards"),
    Parameter("gazeYawRight", -0.5, 0.5, "rad", "gaze", "turns the right eye, positive towards the person's left"),
    Parameter("gazePitchRight", -0.4, 0.4, "rad", "gaze", "turns the right eye, positive downwards"),
)

EMOTIONS: Final = ("neutral", "happy", "sad", "angry", "surprised", "fearful", "disgusted", "contemptuous")
"""The per-session input EMOTION holds one intensity in [0, 1] for each of these, in this order."""


def check_emotion(intensities: Sequence[float]) -> None:
    """Raises ValueError, naming the emotion, where an intensity of the 8 lies outside of [0, 1] or is not a number."""
    for name, value in zip(EMOTIONS, intensities, strict=True):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"EMOTION[{name}] is {value}, expected an intensity in [0, 1]")


EMOTION: Final = tuple(
    Parameter(f"emotion{name.capitalize()}", 0.0, 1.0, "1", "emotion", f"shown intensity of the emotion '{name}'")
    for name in EMOTIONS
)

SPEECH: Final = (
    Parameter("voiceActivity", 0.0, 1.0, "1", "certainty", "certainty that somebody speaks in this frame"),
    Parameter("loudness", -90.0, 0.0, "dBFS", "level", "root mean square level of this frame's sound"),
    Parameter("breath", -1.0, 1.0, "1", "breath", "phase of the breath: -1 out, 1 in"),
)

PARAMETERS: Final = ARKIT + HEAD + GAZE + EMOTION + SPEECH
"""All 73, in the order of the PARAMETERS tensor."""

PAIRS: Final = tuple(
    (left.name, f"{left.name.removesuffix('Left')}Right", GROUPS[left.group].apart)
    for left in PARAMETERS
    if left.name.endswith("Left") and left.name not in ("jawLeft", "mouthLeft") and left.group != "look"
)
"""Left and right parameters of the same movement, and by how much they may differ. jawLeft and mouthLeft move the whole
jaw and mouth and are no half of a pair."""

INDEX: Final = {parameter.name: index for index, parameter in enumerate(PARAMETERS)}
"""Position of each name in the PARAMETERS tensor."""


def table() -> str:
    """All parameters as a Markdown table, then the groups."""
    lines = ["| # | parameter | range | unit | group | meaning |", "|---:|---|---|---|---|---|"]
    for index, parameter in enumerate(PARAMETERS):
        span = f"{parameter.low:g} to {parameter.high:g}"
        lines.append(
            f"| {index} | {parameter.name} | {span} | {parameter.unit} | {parameter.group} | {parameter.meaning} |"
        )
    lines += ["", "| group | least cutoff, Hz | beta | noise below, 1/s | left and right apart | why |"]
    lines.append("|---|---:|---:|---:|---:|---|")
    for group in GROUPS.values():
        apart = f"{group.apart:g}" if any(_group_of(left) == group.name for left, _, _ in PAIRS) else ""
        numbers = f"{group.min_cutoff_hz:g} | {group.beta:g} | {group.noise_speed:g} | {apart}"
        lines.append(f"| {group.name} | {numbers} | {group.why} |")
    return "\n".join(lines)


def _group_of(name: str) -> str:
    return PARAMETERS[INDEX[name]].group
