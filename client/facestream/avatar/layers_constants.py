"""The small numbers of an avatar, AVATAR_CONSTANTS: how far its shapes go, where its teeth stand, the light on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from facestream.avatar import landmark_topology as topology
from facestream.avatar import layers_canvas as canvas
from facestream.avatar.face_model import FaceModel
from facestream.avatar.fit import TO_PICTURE, FaceFit
from facestream.avatar.layers_eyes import Eyeballs
from facestream.avatar.layers_seams import LEFT_LOWER_LID, LEFT_UPPER_LID, RIGHT_LOWER_LID, RIGHT_UPPER_LID, Seam
from facestream.avatar.lid_travel import blink_gain
from facestream.parameters import ARKIT

Floats = NDArray[np.floating[Any]]

INCISOR_EDGE = -3.53
"""Model y (cm) of the edge of the upper incisors."""
INCISORS_BELOW_SEAM_CM = 0.28
"""So far the upper incisors reach below the line of the closed lips; the fit does not know. People's show 0.34 (women)
and 0.19 (men) below lips that part (Vig and Brundo 1978). Eight of our path-traced people have 0.20 +- 0.07."""
CHEEK_HUE = (1.22, 0.95, 0.83)
"""RGB of a cheek in white light over its mean."""
SHOWN_NOISE = 0.25
"""What the fit finds of an expression up to this weight is its noise: in calm faces it reads smiles of 0.15 to 0.4."""
BLINKS = ("eyeBlinkRight", "eyeBlinkLeft")
"""In the order of lid_seams."""
LIP_RIM_CM = 0.16
"""Width of the inner lip that turns out when the mouth opens."""


def pixels_per_cm(fit: FaceFit) -> Floats:
    """[2, 3]: px of the picture's x and y for each cm of the model's x, y and z."""
    projection: Floats = (fit.scale * np.asarray(fit.rotation, np.float64) * TO_PICTURE[None]).T[:2]
    return projection


def constants(
    fit: FaceFit, model: FaceModel, projection: Floats, gains: Floats, lips: tuple[Seam, Seam], eyeballs: Eyeballs
) -> NDArray[np.float32]:
    """AVATAR_CONSTANTS."""
    packed = np.zeros(canvas.CONSTANTS_SIZE, np.float32)

    def put(name: str, values: object) -> None:
        first, count = canvas.CONSTANTS[name]
        packed[first : first + count] = np.asarray(values, np.float64).reshape(count)

    put("gain", gains)
    put("projection", projection)
    put("pivot", fit.pivot)
    put("scale", fit.scale)
    put("teeth", teeth_place(fit, model, lips[0]))
    middle = 0.5 * (lips[0].left + lips[0].right)
    put("mouth", [lips[0].left, lips[0].right, lips[0].at(np.array([middle]))[0], LIP_RIM_CM * fit.scale])
    # The whites of eyes in shadow or behind glasses tell too little light, those of a dark face too much for its teeth.
    cheek = cheek_colour(fit)
    light = np.clip(eyeballs.white, 0.95 * cheek.mean(), 1.3 * cheek.mean()) / 175.0
    light = np.clip(light, 0.35, 1.15)
    # Some of what makes a cheek redder than most is the light, and falls on the teeth as well.
    cast = np.clip(np.sqrt(cheek / cheek.mean() / np.array(CHEEK_HUE)), 0.94, 1.06)
    put("enamel", np.clip((0.6 * light + 0.4 * light.mean()) * cast * np.array([1.16, 1.12, 1.06]), 0.0, 1.05))
    lip = lip_colour(fit.photo, lips, fit.scale)
    put("flesh", np.clip(0.5 * lip / np.array([190.0, 112.0, 105.0]) + 0.5 * light.mean(), 0.3, 1.1))
    put("cavity", np.array([44.0, 16.0, 14.0]) * light.mean())
    put("eye_radius", float(model.eye_radius.mean()) * fit.scale)
    return packed


def lip_colour(photo: NDArray[np.uint8], lips: tuple[Seam, Seam], scale: float) -> Floats:
    """Median RGB [3] of the lips beside their line."""
    seam = lips[1]
    x = np.linspace(seam.left + 0.3 * (seam.right - seam.left), seam.right - 0.3 * (seam.right - seam.left), 20)
    y = seam.at(x) + 0.4 * scale
    colour: Floats = np.median(photo[y.astype(int), x.astype(int)].astype(np.float64), axis=0)
    return colour


def cheek_colour(fit: FaceFit) -> Floats:
    """Median RGB [3] of the cheeks."""
    samples = []
    for landmark in topology.CHEEKS:
        x, y = fit.landmarks[landmark, :2].astype(int)
        samples.append(fit.photo[y - 6 : y + 7, x - 6 : x + 7].reshape(-1, 3))
    colour: Floats = np.median(np.concatenate(samples).astype(np.float64), axis=0)
    return colour


def shape_gains(fit: FaceFit, model: FaceModel, projection: Floats, lids: list[tuple[Seam, Seam]]) -> Floats:
    """Factor [52] on each ARKit weight.

    The photo's own expression is the rest, so a shape that it clearly shows has less way to go, left and right alike:
    a gain for each side would make every smile lopsided by the noise of the fit. A blink has to close this person's
    eyes from where the photo has them, whatever the model's lids do.
    """
    shown = np.clip(np.asarray(fit.expression, np.float64) - SHOWN_NOISE, 0.0, 1.0)
    matrix = model.arkit_matrix().astype(np.float64)
    gains: Floats = np.clip(1.0 - (matrix @ shown) / matrix.sum(1), 0.6, 1.0)
    names = [entry.name for entry in ARKIT]
    for left, name in enumerate(names):
        if name.endswith("Left") and (other := name.removesuffix("Left") + "Right") in names:
            pair = [left, names.index(other)]
            gains[pair] = gains[pair].mean()
    for (lower, upper), name, upper_ids, lower_ids in (
        (lids[0], BLINKS[0], RIGHT_UPPER_LID, RIGHT_LOWER_LID),
        (lids[1], BLINKS[1], LEFT_UPPER_LID, LEFT_LOWER_LID),
    ):
        moved = model.expression[model.row(name)].astype(np.float64) @ projection.T  # [V, 2] px
        at_landmarks = model.landmarks(moved)
        middle = slice(3, -3)
        x = fit.landmarks[list(upper_ids), 0][middle].astype(np.float64)
        opening = lower.at(x) - upper.at(x)
        closing = at_landmarks[list(upper_ids), 1][middle] - at_landmarks[list(lower_ids), 1][middle]
        gains[names.index(name)] = blink_gain(opening, closing)
    return gains


def blinks_px(model: FaceModel, projection: Floats, gains: Floats) -> Floats:
    """[2, V]: how far down (px) a full blink of the right and of the left eye moves each vertex."""
    names = [entry.name for entry in ARKIT]
    down = [gains[names.index(name)] * (model.expression[model.row(name)] @ projection[1]) for name in BLINKS]
    return np.array(down, np.float64)


def teeth_place(fit: FaceFit, model: FaceModel, seam: Seam) -> Floats:
    """Origin (px) and scale (cm per px) of x and y: across from the fitted front teeth, in height from the lips."""
    teeth = model.part_vertices("teeth_upper")
    teeth = teeth[model.neutral[teeth, 2] > 9.0]
    slope, offset = np.polyfit(model.neutral[teeth, 0].astype(np.float64), fit.vertices[teeth, 0], 1)
    middle = np.array([0.5 * (seam.left + seam.right)])
    edge = float(seam.at(middle)[0]) + INCISORS_BELOW_SEAM_CM * fit.scale
    return np.array([offset, edge + INCISOR_EDGE * fit.scale, 1.0 / slope, -1.0 / fit.scale])
