"""Look closely at an avatar: `python -m perf.face_sheet NAME.avatar -o build/face.png`.

Three sheets below each other: whole faces, mouths and eyes, the last two enlarged, drawn by the model repository's
three drawing stages without a server. `facestream avatar preview` draws for the avatar's owner; this sheet is for
whoever changes the graphs, and shows what breaks first: narrow and wide openings, closed lips, half-closed lids, gazes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
from facestream.avatar.bundle import BundleError, load_bundle
from facestream.avatar.layers_canvas import CANVAS_WIDTH, CANVAS_X, CANVAS_Y, EYES_HEIGHT, MOUTH_Y
from facestream.avatar.preview import FacePreview, Image, both, contact_sheet, is_picture, parameter_vector

MOUTHS: Mapping[str, Mapping[str, float]] = {
    "rest": {},
    "jawOpen 0.1": {"jawOpen": 0.1},
    "jawOpen 0.25": {"jawOpen": 0.25},
    "jawOpen 0.7": {"jawOpen": 0.7},
    "press": {**both("mouthPress", 0.5), "mouthRollLower": 0.2},
    "F, V": {"mouthRollLower": 0.5, **both("mouthUpperUp", 0.35), "jawOpen": 0.08},
    "funnel": {"mouthFunnel": 0.8, "jawOpen": 0.25},
    "pucker": {"mouthPucker": 0.8, "jawOpen": 0.05},
    "smile": {**both("mouthSmile", 0.6), **both("mouthUpperUp", 0.2), "jawOpen": 0.12},
    "EE": {**both("mouthStretch", 0.5), **both("mouthLowerDown", 0.4), **both("mouthUpperUp", 0.2), "jawOpen": 0.15},
    "tongue out": {"jawOpen": 0.35, "tongueOut": 0.8},
    "frown": {**both("mouthFrown", 0.7), "mouthShrugLower": 0.4},
}
EYES: Mapping[str, Mapping[str, float]] = {
    "rest": {},
    "blink 0.25": both("eyeBlink", 0.25),
    "blink 0.5": both("eyeBlink", 0.5),
    "blink 0.75": both("eyeBlink", 0.75),
    "blink": both("eyeBlink", 1.0),
    "squint": both("eyeSquint", 0.8),
    "gaze left": both("gazeYaw", 0.3),
    "gaze right": both("gazeYaw", -0.3),
    "gaze down": {**both("gazePitch", 0.25), **both("eyeLookDown", 0.5)},
    "gaze up": {**both("gazePitch", -0.25), **both("eyeLookUp", 0.5)},
    "wide": {**both("eyeWide", 0.8), "browInnerUp": 0.6},
    "angry": {**both("browDown", 0.8), **both("noseSneer", 0.4)},
}
HEADS: Mapping[str, Mapping[str, float]] = {
    "rest": {},
    "yaw 0.15": {"headYaw": 0.15, "jawOpen": 0.2},
    "yaw -0.15": {"headYaw": -0.15, "jawOpen": 0.2},
    "yaw 0.25": {"headYaw": 0.25},
    "pitch 0.12": {"headPitch": 0.12},
    "pitch -0.12": {"headPitch": -0.12},
    "roll 0.12": {"headRoll": 0.12},
    "nearer, aside": {"headX": 0.03, "headY": 0.02, "headZ": 0.04},
}


def enlarge(frame: Image, left: int, top: int, width: int, height: int, size: int = 384) -> Image:
    """A crop of a frame, enlarged to a square cell of `size` px, black where it does not fill it."""
    scale = size / max(width, height)
    crop = cv2.resize(frame[top : top + height, left : left + width], None, fx=scale, fy=scale)
    cell = np.zeros((size, size, 3), np.uint8)
    cell[: crop.shape[0], : crop.shape[1]] = crop
    return cell


def face_sheet(preview: FacePreview) -> Image:
    """All sheets of an avatar, RGB."""

    def draw(poses: Mapping[str, Mapping[str, float]]) -> list[tuple[str, Image]]:
        return [(label, preview.draw(parameter_vector(values))) for label, values in poses.items()]

    mouths, eyes = draw(MOUTHS), draw(EYES)
    mouth_box = (CANVAS_X + 24, MOUTH_Y + 16, CANVAS_WIDTH - 48, 144)
    eye_box = (CANVAS_X, CANVAS_Y - 12, CANVAS_WIDTH, EYES_HEIGHT + 24)
    eye_cells = [(label, enlarge(frame, *eye_box)) for label, frame in eyes]
    eye_sheet = contact_sheet(eye_cells).reshape(-1, 384, 4 * 384, 3)
    used = 384 * (EYES_HEIGHT + 24) // CANVAS_WIDTH
    return np.vstack(
        [
            contact_sheet([*draw(HEADS), *mouths[1:4], *eyes[4:5]]),
            contact_sheet([(label, enlarge(frame, *mouth_box)) for label, frame in mouths]),
            *(row[:used] for row in eye_sheet),
        ]
    )


def write_sheet(
    parser: argparse.ArgumentParser, options: argparse.Namespace, draw: Callable[[FacePreview], Image]
) -> int:
    """Write what `draw` makes of the bundle `options.avatar` to `options.output`; returns the exit code."""
    if not is_picture(options.output):
        parser.error(
            f"--output is {options.output}, expected a picture's name, such as {parser.get_default('output').name}"
        )
    try:
        bundle = load_bundle(options.avatar)
    except BundleError as error:
        parser.error(f"avatar: {error}")
    sheet = draw(FacePreview(options.repository, bundle))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(options.output), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        parser.error(f"--output {options.output} cannot be written")
    print(f"{options.output}: {sheet.shape[1]}x{sheet.shape[0]}")
    return 0


def main() -> int:
    """Draw the sheet of one bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("avatar", type=Path, help="the bundle, NAME.avatar")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/face_sheet.png"), help="picture to write")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), help="where the graphs are")
    return write_sheet(parser, parser.parse_args(), face_sheet)


if __name__ == "__main__":
    sys.exit(main())
