"""Lips measured in our own rendered frames: what a viewer sees, not what the parameters ask for.

    python -m perf.lip_sync.rendered speech.wav --avatar ada        # the measures of a clip as a table of numbers

Two measures that share nothing but the frame. Landmarks: Attention Mesh (facestream.avatar.landmarks) finds the face
in each frame; lengths are in units of the distance between the outer corners of the eyes (133 px in the ready
avatars), after the head's motion has been taken out by points that no speech moves. Pixels: teeth and dark cavity
between the lips (perf.lip_sync.mouth_pixels), in the same unit. `python -m perf.lip_sync.rendered_calibration` tells
how small an opening each of them sees, and how much they tremble by themselves.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from facestream.avatar import landmark_topology as topology
from facestream.avatar.landmarks import Detection, detect_faces, find_landmarks
from facestream.avatar.preview import Image
from facestream.parameters import PARAMETERS
from numpy.typing import NDArray

from perf.drawn_frames import REPOSITORY, DrawnAvatar, SpokenFace
from perf.lip_sync.mouth_pixels import HALF_WIDTH, MouthPixels

Floats = NDArray[np.float64]

LOOKS: Final = (
    (1.3, -0.02, -0.02, 0.05),
    (1.3, 0.02, 0.02, -0.05),
    (1.5, -0.02, 0.02, -0.05),
    (1.5, 0.02, -0.02, 0.05),
)
"""Crops that each frame's landmarks are averaged over: a sixth of those for a portrait, for a film has many frames."""

EYE_CORNERS: Final = (33, 263)
"""Outer corners of the eyes: their distance is the unit of length."""

RIGID: Final = (33, 133, 362, 263, 168, 6, 197, 195)
"""Corners of the eyes and the bridge of the nose: the points that place the head."""

SKULL: Final = (*RIGID, 10, 109, 338, 127, 356, 234, 454)
"""With forehead and temples: the points that tell how it is turned."""

GAP_PAIRS: Final = ((82, 87), (13, 14), (312, 317))
"""Inner edge of the upper and the lower lip at the middle of the mouth and to both sides."""

MOUTH_CORNERS: Final = (61, 291)

CACHE: Final = Path("build/rendered")
"""Where measures are kept: to draw and measure a minute of speech takes a minute and a half of one core."""

MEASURES: Final = (
    "gap",
    "width",
    "upper_lip",
    "lower_lip",
    "protrusion",
    "teeth",
    "cavity",
    "lower_lip_teeth",
    "eyes",
    "yaw",
    "pitch",
    "roll",
    "presence",
)
"""What `measure` gives for each frame.

gap: distance of the inner edges of the lips at the middle of the mouth, by landmarks.
width: distance of the corners of the mouth.
upper_lip, lower_lip: height of the red of each lip: small where it is rolled in.
protrusion: how far the lips stand out before the eyes, by the network's own depth: a proxy.
teeth, cavity: heights of visible teeth and of the dark behind and below them, by pixels.
lower_lip_teeth: dark rows between the lowest visible teeth and the lower lip; NaN where no teeth are seen.
eyes: distance of the lids over the length of the eye, both eyes' mean.
yaw, pitch, roll: of the head, rad, in the sense of facestream.parameters.
presence: certainty of the network that it sees a face.
All lengths are in units of the distance between the outer corners of the eyes at rest.
"""


def similarity(points: Floats, onto: Floats) -> Floats:
    """Map [2, 3] that turns, scales and shifts `points` [n, 2] onto `onto` [n, 2] best (Umeyama 1991)."""
    middle, target = points.mean(0), onto.mean(0)
    a, b = points - middle, onto - target
    power = float((a**2).sum())
    if power == 0.0:
        raise ValueError("points is one and the same place throughout, expected at least two places")
    cosine, sine = float((a * b).sum()) / power, float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / power
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.hstack([turn, (target - turn @ middle)[:, None]])


def rotation(points: Floats, onto: Floats) -> Floats:
    """Rotation [3, 3] that turns `points` [n, 3] onto `onto` [n, 3] best, whatever their scales (Kabsch 1976)."""
    u, _, v = np.linalg.svd((points - points.mean(0)).T @ (onto - onto.mean(0)))
    proper = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ v))])
    return np.asarray((u @ proper @ v).T)


class FrameMeasure:
    """Measures frames of one avatar against its face at rest."""

    def __init__(self, rest: Image) -> None:
        """`rest` [512, 512, 3] is the avatar with all parameters 0.

        Raises:
            ValueError: no face is found in it.
        """
        faces = detect_faces(rest)
        if not faces:
            raise ValueError("rest shows no face that the detector finds, expected an avatar's frame")
        self._detection: Detection = faces[0]
        self._rest = find_landmarks(rest, self._detection, LOOKS).landmarks.astype(np.float64)
        corners = self._rest[list(EYE_CORNERS), :2]
        self.unit = float(np.linalg.norm(corners[1] - corners[0]))
        """Distance between the outer corners of the eyes at rest, px."""
        self._pixels = MouthPixels(rest, *self._lip_rows(self._rest[:, :2]))

    def _lip_rows(self, points: Floats) -> tuple[float, float, float, slice]:
        """Outer edges of both lips, where they meet, and the columns of the mouth's middle, px."""
        upper, lower = float(points[0, 1]), float(points[17, 1])
        seam = float(points[[13, 14], 1].mean())
        middle, half = float(points[[13, 14], 0].mean()), HALF_WIDTH * self.unit
        return upper, lower, seam, slice(round(middle - half), round(middle + half))

    def __call__(self, frame: Image) -> dict[str, float]:
        """The MEASURES of one frame [512, 512, 3]."""
        face = find_landmarks(frame, self._detection, LOOKS)
        seen = face.landmarks.astype(np.float64)
        place = similarity(seen[list(RIGID), :2], self._rest[list(RIGID), :2])
        points = seen[:, :2] @ place[:, :2].T + place[:, 2]
        scale = float(np.hypot(place[0, 0], place[1, 0]))
        depth = seen[:, 2] * scale

        upright = cv2.warpAffine(
            frame, place, frame.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        between = self._pixels.look(upright.astype(np.uint8), *self._lip_rows(points))

        turn = rotation(self._rest[list(SKULL)], seen[list(SKULL)])
        # x right, y down, z towards the viewer: the nose's direction (0, 0, 1) after the turn.
        nose = turn @ np.array([0.0, 0.0, 1.0])

        def apart(pair: tuple[int, int]) -> float:
            return float(np.linalg.norm(points[pair[1]] - points[pair[0]])) / self.unit

        lids = []
        for upper, lower, ends in (
            (topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER, (33, 133)),
            (topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER, (362, 263)),
        ):
            opened = (points[list(lower[3:6]), 1] - points[list(upper[3:6]), 1]).mean()
            lids.append(opened / np.linalg.norm(points[ends[1]] - points[ends[0]]))
        return {
            "gap": float(np.mean([points[b, 1] - points[a, 1] for a, b in GAP_PAIRS])) / self.unit,
            "width": apart(MOUTH_CORNERS),
            "upper_lip": float(points[13, 1] - points[0, 1]) / self.unit,
            "lower_lip": float(points[17, 1] - points[14, 1]) / self.unit,
            "protrusion": float(depth[[0, 13, 14, 17]].mean() - depth[list(EYE_CORNERS)].mean()) / self.unit,
            "teeth": between.teeth / self.unit,
            "cavity": between.cavity / self.unit,
            "lower_lip_teeth": between.below_teeth / self.unit,
            "eyes": float(np.mean(lids)),
            "yaw": float(np.arctan2(nose[0], nose[2])),
            "pitch": float(np.arctan2(nose[1], nose[2])),
            "roll": float(np.arctan2(turn[1, 0], turn[0, 0])),
            "presence": face.presence,
        }


def measure_frames(frames: Iterable[Image], rest: Image) -> dict[str, Floats]:
    """The MEASURES float64[n] of n frames [512, 512, 3] of the avatar whose face at rest is `rest`."""
    look = FrameMeasure(rest)
    rows = [look(frame) for frame in frames]
    return {name: np.array([row[name] for row in rows]) for name in MEASURES}


class RenderedLips:
    """Draws one avatar and measures what was drawn; keeps the measures of what it has seen on disk."""

    def __init__(self, avatar: str | Path, cache: Path | None = None, repository: Path = REPOSITORY) -> None:
        """`cache` is a folder for measures; None keeps none."""
        self._avatar = DrawnAvatar(avatar, repository)
        self._cache = cache
        stages = [repository / stage / "1" / "model.onnx" for stage in ("face_geometry", "renderer", "compositor")]
        stages += [repository / "stabilizer" / "1" / "mouth_stabilizer.py", self._avatar.path, Path(__file__)]
        stages.append(Path(__file__).with_name("mouth_pixels.py"))
        self._origin = hashlib.sha256(b"".join(path.read_bytes() for path in stages))

    def measure(self, parameters: NDArray[np.float32]) -> dict[str, Floats]:
        """The MEASURES float64[n] of the frames that PARAMETERS [n, 73] of one session make."""
        key = self._origin.copy()
        key.update(np.ascontiguousarray(parameters).tobytes())
        path = self._cache / f"{key.hexdigest()[:24]}.npz" if self._cache else None
        if path and path.exists():
            with np.load(path) as kept:
                return {name: kept[name] for name in MEASURES}
        rest = next(self._avatar.frames([np.zeros(len(PARAMETERS), np.float32)]))
        found = measure_frames(self._avatar.frames(parameters), rest)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".tmp.npz")
            np.savez(unfinished, **found)  # type: ignore[arg-type]
            unfinished.replace(path)
        return found


def measure(audio: NDArray[np.float32], avatar: str | Path, cache: Path | None = CACHE) -> dict[str, Floats]:
    """The MEASURES float64[n] of the n frames that the server would show for `audio` [samples], 24 kHz mono."""
    return RenderedLips(avatar, cache).measure(SpokenFace()(audio))


def summary(measures: dict[str, Floats]) -> dict[str, dict[str, Any]]:
    """Range of each measure over its frames."""
    return {
        name: {
            "lowest": float(np.nanmin(values)),
            "median": float(np.nanmedian(values)),
            "highest": float(np.nanmax(values)),
        }
        for name, values in measures.items()
        if np.isfinite(values).any()
    }


def main() -> int:
    """Measure one clip and print the range of each measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path, help="a sound file")
    parser.add_argument("--avatar", default="ada", help="name of a ready avatar, or NAME.avatar")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for measures once made")
    options = parser.parse_args()
    from perf.lip_sync.recordings import read_audio

    parameters = SpokenFace()(read_audio(options.speech))
    measures = RenderedLips(options.avatar, options.cache).measure(parameters)
    for name, spread in summary(measures).items():
        print(f"{name:16s}" + "  ".join(f"{key} {value:8.4f}" for key, value in spread.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
