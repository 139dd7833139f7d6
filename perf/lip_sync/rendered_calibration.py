"""What perf.lip_sync.rendered can see: `python -m perf.lip_sync.rendered_calibration`.

Three trials for each avatar, against what the renderer knows of its own picture (the cover of the open mouth):

    ladder    the jaw opens in small steps: does each measure grow with the opening, from which height on does it see
              one, and how does it run beside the true height
    noise     one and the same face, shifted by parts of a pixel, brighter and darker, and compressed: how much does
              each measure tremble where nothing moves
    closures  faces whose lips are known to meet, and what is measured there
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from facestream.avatar.layers_canvas import EYES_HEIGHT
from facestream.avatar.preview import Image, both, parameter_vector
from numpy.typing import NDArray

from perf import machine
from perf.drawn_frames import DrawnAvatar
from perf.lip_sync.rendered import FrameMeasure
from perf.lip_sync.report import rounded

LADDER: Final = np.linspace(0.0, 0.5, 41)
"""jawOpen, in steps of 0.0125."""

CLOSED_FACES: Final[Mapping[str, Mapping[str, float]]] = {
    "rest": {},
    "pressed": {**both("mouthPress", 0.3), "mouthRollLower": 0.2, "mouthRollUpper": 0.2},
    "jaw down, lips held together": {"jawOpen": 0.15, "mouthClose": 0.15},
    "smiling": both("mouthSmile", 0.4),
    "head turned": {"headYaw": 0.15, "headPitch": 0.08, **both("mouthPress", 0.3)},
    "eyes shut": both("eyeBlink", 1.0),
}

OPEN_PX: Final = 10.0
LIP_SHADE: Final = 0.25
"""As in export.face.mouth_window: the shade of the lips, and the opening at which it is full."""

OPEN_SHARE: Final = 0.15
"""A face whose gap is below this part of a wide one's (jawOpen 0.4) counts as closed: the judge's rule."""


def true_height(tensors: Mapping[str, NDArray[Any]], columns: int = 16) -> float:
    """Height of the open mouth, px, mean over the middle `columns` to both sides, as the renderer drew it.

    The canvas's cover is 1 in the open mouth; on the lips about it lies a shade, which grows with the opening and is
    not to be counted.
    """
    cover = tensors["STABLE_TEXTURE"][0, 3, EYES_HEIGHT:]
    middle = cover.shape[1] // 2
    cover = cover[:, middle - columns : middle + columns]
    opening = np.clip((cover > 0.5).sum(0) / OPEN_PX, 0.0, 1.0)
    shade = LIP_SHADE * opening**2 * (3.0 - 2.0 * opening)
    return float(np.clip((cover - shade) / (1.0 - shade), 0.0, 1.0).sum(0).mean())


def disturbed(frame: Image) -> Iterator[Image]:
    """The same picture where nothing has moved: shifted by parts of a pixel, brighter, darker, compressed."""
    for x, y in ((0.25, 0.5), (0.5, 0.25), (0.75, 0.75), (0.5, -0.5), (-0.25, 0.25), (-0.75, -0.5)):
        shift = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
        moved = cv2.warpAffine(frame, shift, frame.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        yield moved.astype(np.uint8)
    for factor in (0.94, 1.06):
        yield np.clip(frame * factor, 0, 255).astype(np.uint8)
    for quality in (70, 85):
        coded = cv2.imencode(".jpg", frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        assert decoded is not None
        yield np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _tensors(avatar: DrawnAvatar, values: Mapping[str, float]) -> dict[str, NDArray[Any]]:
    return next(avatar.tensors([parameter_vector(values)]))


def calibrate(avatar: DrawnAvatar) -> dict[str, Any]:
    """All three trials for one avatar; lengths in px of the frame."""
    rest = _tensors(avatar, {})["FRAME"][0]
    measure = FrameMeasure(rest)
    unit = measure.unit

    noise: dict[str, float] = {}
    for jaw in (0.0, 0.06, 0.25):
        frame = _tensors(avatar, {"jawOpen": jaw})["FRAME"][0]
        rows = [measure(other) for other in (frame, *disturbed(frame))]
        for name in ("gap", "width", "teeth", "cavity"):
            spread = float(np.std([row[name] for row in rows])) * unit
            noise[name] = max(noise.get(name, 0.0), spread)
        for name in ("eyes", "yaw", "pitch", "roll"):
            noise[name] = max(noise.get(name, 0.0), float(np.std([row[name] for row in rows])))

    steps = [(float(jaw), _tensors(avatar, {"jawOpen": float(jaw)})) for jaw in LADDER]
    true = np.array([true_height(tensors) for _, tensors in steps])
    rows = [measure(tensors["FRAME"][0]) for _, tensors in steps]
    heights = {
        "landmarks": unit * np.array([row["gap"] for row in rows]),
        "pixels": unit * np.array([row["teeth"] + row["cavity"] for row in rows]),
    }
    wide = int(np.searchsorted(LADDER, 0.4))
    ladder: dict[str, Any] = {}
    for name, height in heights.items():
        floor = 3.0 * (noise["gap"] if name == "landmarks" else float(np.hypot(noise["teeth"], noise["cavity"])))
        unseen = np.flatnonzero(height - height[0] <= max(floor, 0.1))
        first = int(unseen[-1]) + 1
        ladder[name] = {
            "r_with_true_height": float(np.corrcoef(height, true)[0, 1]),
            "steps_back": int((np.diff(height) < -0.05 * height[wide]).sum()),
            "seen_from_jawOpen": float(LADDER[first]),
            "seen_from_true_px": float(true[first]),
            "at_jawOpen_0.4_px": float(height[wide]),
        }
    ladder["true_at_jawOpen_0.4_px"] = float(true[wide])
    ladder["course"] = [
        {"jawOpen": round(jaw, 4), "true": round(t, 2), "landmarks": round(a, 2), "pixels": round(b, 2)}
        for (jaw, _), t, a, b in zip(steps, true, heights["landmarks"], heights["pixels"], strict=True)
    ]

    closures = {}
    for name, values in CLOSED_FACES.items():
        tensors = _tensors(avatar, values)
        row = measure(tensors["FRAME"][0])
        gap, between = row["gap"] * unit, (row["teeth"] + row["cavity"]) * unit
        closures[name] = {
            "true_px": true_height(tensors),
            "landmarks_px": gap,
            "pixels_px": between,
            "taken_for_closed": bool(
                gap <= OPEN_SHARE * heights["landmarks"][wide] and between <= OPEN_SHARE * heights["pixels"][wide]
            ),
        }
    return {"unit_px": unit, "noise": noise, "ladder": ladder, "closures": closures}


def main() -> int:
    """Calibrate for each avatar, print and write the findings; 1 where a known closure is taken for an open mouth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatars", nargs="+", default=["ada", "ben"])
    parser.add_argument("--results", type=Path, default=Path("perf/results"), metavar="DIR")
    options = parser.parse_args()
    found = {str(name): calibrate(DrawnAvatar(name)) for name in options.avatars}
    wrong = 0
    for name, result in found.items():
        for way in ("landmarks", "pixels"):
            seen = result["ladder"][way]
            print(
                f"{name}, {way:9s}: r with the true height {seen['r_with_true_height']:.3f}, "
                f"{seen['steps_back']} steps back, sees an opening from jawOpen {seen['seen_from_jawOpen']:.3f} "
                f"({seen['seen_from_true_px']:.1f} px) on"
            )
        print(f"{name}, noise: " + ", ".join(f"{key} {value:.3f}" for key, value in result["noise"].items()))
        for face, row in result["closures"].items():
            wrong += not row["taken_for_closed"]
            print(
                f"{name}, {face}: true {row['true_px']:.2f} px, landmarks {row['landmarks_px']:.2f}, "
                f"pixels {row['pixels_px']:.2f}: {'closed' if row['taken_for_closed'] else 'TAKEN FOR OPEN'}"
            )
    out = options.results / machine.slug() / "rendered_calibration.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine.describe(), "avatars": rounded(found)}, indent=1) + "\n")
    print(f"written to {out}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
