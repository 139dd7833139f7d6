"""See an avatar without a server: run the three stages that draw, and lay its faces and its report on one sheet."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino
from numpy.typing import NDArray

from facestream.avatar.adapter import check_adapter
from facestream.avatar.bundle import Bundle
from facestream.avatar.drawing_stages import STAGES, Stabilizer, draw_stages
from facestream.parameters import INDEX, PARAMETERS

Image = NDArray[np.uint8]


def both(name: str, value: float) -> dict[str, float]:
    """The same value left and right."""
    return {f"{name}Left": value, f"{name}Right": value}


POSES: Mapping[str, Mapping[str, float]] = {
    "rest": {},
    "M, B, P": {**both("mouthPress", 0.4), "mouthRollLower": 0.25, "mouthRollUpper": 0.15},
    "jawOpen 0.25": {"jawOpen": 0.25},
    "jawOpen 0.7": {"jawOpen": 0.7},
    "mouthFunnel": {"mouthFunnel": 0.8, "jawOpen": 0.2},
    "mouthPucker": {"mouthPucker": 0.8, "jawOpen": 0.05},
    "smile, teeth": {**both("mouthSmile", 0.55), **both("mouthUpperUp", 0.2), "jawOpen": 0.12},
    "F, V": {"mouthRollLower": 0.5, **both("mouthUpperUp", 0.3), "jawOpen": 0.07},
    "eyeBlink": both("eyeBlink", 1.0),
    "gaze left, brows up": {**both("gazeYaw", 0.3), "browInnerUp": 0.6, **both("browOuterUp", 0.6)},
    "head left": {"headYaw": 0.12, "headPitch": 0.03, "jawOpen": 0.2},
    "head right": {"headYaw": -0.12, "headRoll": 0.06},
}
"""Names of faces and the parameters that make them; the rest is 0."""


MOUTHS = ("M, B, P", "jawOpen 0.25", "jawOpen 0.7", "mouthFunnel", "mouthPucker", "smile, teeth", "F, V", "rest")
"""The poses whose mouth is shown enlarged."""

EYES: Mapping[str, Mapping[str, float]] = {
    "blink 0.4": both("eyeBlink", 0.4),
    "blink 0.7": both("eyeBlink", 0.7),
    "blink 1": both("eyeBlink", 1.0),
    "gaze": both("gazeYaw", -0.3),
}
"""What is shown of the eyes, enlarged."""

TURNS: Mapping[str, Mapping[str, float]] = {
    "yaw 10": {"headYaw": math.radians(10.0)},
    "yaw -10": {"headYaw": math.radians(-10.0)},
    "pitch 8": {"headPitch": math.radians(8.0)},
    "pitch -8, roll 8": {"headPitch": math.radians(-8.0), "headRoll": math.radians(8.0)},
}
"""The farthest turns of the head, degrees."""

MOUTH_WINDOW = (176, 244, 160, 128)
EYES_WINDOW = (160, 172, 192, 64)
"""left, top, width, height of what is enlarged, px."""

LINE_PX, LINE_LETTERS = 22, 168
"""Height of a line of the report, and the letters in it."""


def parameter_vector(values: Mapping[str, float]) -> NDArray[np.float32]:
    """PARAMETERS [73] with the named values, 0 elsewhere; KeyError for an unknown name."""
    vector = np.zeros(len(PARAMETERS), dtype=np.float32)
    for name, value in values.items():
        vector[INDEX[name]] = value
    return vector


class OpenVinoGraph:
    """One ONNX file in OpenVINO on the CPU, in single precision."""

    def __init__(self, path: Path) -> None:
        """Raises FileNotFoundError where there is no such file."""
        if not path.is_file():
            raise FileNotFoundError(f"{path}: this stage of the model repository is missing")
        self._compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def __call__(self, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """All outputs by name, for `tensors`, which may hold more than the inputs; they live until the next call."""
        # A port may have several names, of which OpenVINO made up some.
        ports = self._compiled.inputs
        outputs = self._compiled([next(tensors[name] for name in port.names if name in tensors) for port in ports])
        return {name: outputs[port] for port in self._compiled.outputs for name in port.names}


class FacePreview:
    """Draws an avatar's face for given parameters, as the server's graphs do."""

    def __init__(self, repository: Path, bundle: Bundle) -> None:
        """Compile the stages of a model repository.

        Raises:
            FileNotFoundError: a stage is missing.
            BundleError: the avatar was tuned to other networks than these.
        """
        check_adapter(bundle, repository / "avatar_store")
        self._graphs = {stage: OpenVinoGraph(repository / stage / "1" / "model.onnx") for stage in STAGES}
        self._avatar = {name: np.array(tensor)[None] for name, tensor in bundle.tensors.items()}

    def draw(self, parameters: NDArray[np.float32]) -> Image:
        """One frame [512, 512, 3] RGB for PARAMETERS [73]; no stabilizer stands between, so frames do not depend."""
        frame: Image = self.tensors(parameters)["FRAME"][0]
        return frame

    def tensors(self, parameters: NDArray[np.float32], steady: Stabilizer | None = None) -> dict[str, NDArray[Any]]:
        """All tensors of one frame by name, [1, ...] each, for PARAMETERS [73]; `steady` stands for the stabilizer."""
        given = {**self._avatar, "PARAMETERS": parameters[None].astype(np.float32)}
        return draw_stages(self._graphs, given, steady)


def contact_sheet(pictures: Sequence[tuple[str, Image]], columns: int = 4, size: int = 384) -> Image:
    """Pictures [H, W, 3] with their labels, side by side; each `size` px wide and high."""
    square = [(label, cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)) for label, picture in pictures]
    return lay_out([(label, cell.astype(np.uint8)) for label, cell in square], columns)


def lay_out(pictures: Sequence[tuple[str, Image]], columns: int) -> Image:
    """Pictures [h, w, 3] of one size with their labels, side by side, row by row."""
    cells: list[Image] = []
    for label, picture in pictures:
        cell = picture.copy()
        for colour, width in ((0, 3), (255, 1)):
            cv2.putText(cell, label, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (colour,) * 3, width, cv2.LINE_AA)
        cells.append(cell)
    while len(cells) % columns:
        cells.append(np.zeros_like(cells[0]))
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    return np.vstack(rows)


def is_picture(path: Path) -> bool:
    """Whether OpenCV writes pictures of such a name."""
    try:
        return cv2.haveImageWriter(str(path))
    except cv2.error:  # a format that this build of it leaves out
        return False


def preview_sheet(repository: Path, bundle: Bundle) -> Image:
    """The sheet of an avatar, RGB: all POSES, mouths and eyes enlarged, the head turned, and the quality report."""
    preview = FacePreview(repository, bundle)
    frames = {label: preview.draw(parameter_vector(values)) for label, values in POSES.items()}
    size, columns = 384, 4
    poses = contact_sheet(list(frames.items()), columns, size)
    mouths = lay_out([(label, _enlarged(frames[label], MOUTH_WINDOW, size)) for label in MOUTHS], columns)
    eyes = lay_out(
        [
            (label, _enlarged(preview.draw(parameter_vector(values)), EYES_WINDOW, size))
            for label, values in EYES.items()
        ],
        columns,
    )
    turns = [(label, preview.draw(parameter_vector(values))) for label, values in TURNS.items()]
    heads = contact_sheet(turns, columns, size)
    return np.vstack([poses, mouths, eyes, heads, _report(bundle, columns * size)])


def _enlarged(frame: Image, window: tuple[int, int, int, int], width: int) -> Image:
    """A part of a frame (left, top, width, height), enlarged to `width` px."""
    left, top, across, down = window
    part = frame[top : top + down, left : left + across]
    return cv2.resize(part, (width, width * down // across), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def _report(bundle: Bundle, width: int) -> Image:
    """Name, licence, consent, measures and warnings of an avatar as a picture of text."""
    manifest = bundle.manifest
    measured = manifest.get("quality")
    measures = measured.items() if isinstance(measured, Mapping) else ()
    warnings = [f"! {text}" for text in manifest["warnings"][:20]] or ["no warnings"]
    paragraphs = [
        f"{bundle.name}   consent: {manifest['consent']}   licence: {manifest['licence']}",
        "   ".join(f"{name} {value}" for name, value in measures),
        *warnings,
    ]
    # OpenCV draws ASCII only, and a stranger's bundle may hold anything.
    lines = [
        line
        for text in paragraphs
        for line in textwrap.wrap(text[:2000].encode("ascii", "replace").decode(), LINE_LETTERS) or [""]
    ]
    panel = np.full((LINE_PX * (len(lines) + 1), width, 3), 245, np.uint8)
    for number, line in enumerate(lines):
        place = (12, LINE_PX * (number + 1))
        cv2.putText(panel, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 30), 1, cv2.LINE_AA)
    return panel
