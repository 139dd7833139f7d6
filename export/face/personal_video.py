"""Follow a person's face through their own video, in the picture of their avatar.

The avatar's bundle holds all that is needed: how each ARKit parameter moves the landmarks of this person (projection
and gains), and the portrait that all motion starts from. Frame by frame, the landmarks' way from the portrait is
explained by parameters within their range and a small turn of the head (bounded least squares); what the head's turn
and shift did to the picture is then taken back, so that the frame lies over the avatar's canvas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from facestream.avatar import landmark_topology as topology
from facestream.avatar import layers_canvas as canvas
from facestream.avatar.clip import read_clip, upright
from facestream.avatar.face_model import FaceModel
from facestream.avatar.fit import similarity
from facestream.avatar.landmarks import LOOKS, detect_faces, find_landmarks
from facestream.avatar.photo import PhotoError
from facestream.avatar.views import BONES, MAX_DIFFERENCE, View, unlikeness, view_of
from facestream.parameters import ARKIT, INDEX, PARAMETERS
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]

FEW_LOOKS: Final = LOOKS[::4]
MAX_TURN_DEG: Final = 9.0
"""A frame whose head is turned further from the portrait is left out: the picture of a turned head shows other skin."""
MIN_PRESENCE: Final = 0.8
FEWEST: Final = 16
"""Frames that a video must have of the face."""
BESIDE: Final = 0.5
"""Faces at least so wide as the widest may be the person; smaller ones stand in the background."""
STRANGER: Final = 1.5
"""Frames that are so much more unlike the portrait than most, and by more than one person's pictures are, show somebody
else: who comes to stand before the person, or takes turns with them."""

LEFT_OUT: Final = ("eyeLook", "tongueOut", "jawForward", "cheekPuff", "mouthClose")
"""Parameters that landmarks seen from the front do not tell: gaze is read off the irises."""
MOUTH_PENALTY_CM, PENALTY_CM = 0.10, 0.05
"""A parameter at 1 costs as much as all landmarks off by so much. Of 0.03 to 0.25, the mouth's 32 shapes come nearest
to the known ones of a synthetic person with 0.1 (0.057 rms), lids and brows with 0.05."""
LIP_WEIGHT, LID_WEIGHT, OVAL_WEIGHT = 4.0, 3.0, 0.3
SEEN_SHUT: Final = 0.78
"""What the landmarks tell of lids that are shut: the network never brings its lid lines together."""
LOOK_AT_ONE: Final = 0.6
"""Turn of an eye, rad, at which ARKit's eyeLook parameters are 1."""


@dataclass(frozen=True)
class Tracked:
    """The frames of a video that can be used. N of them."""

    parameters: NDArray[np.float32]
    """[N, 73] PARAMETERS, head at rest."""
    canvas: NDArray[np.uint8]
    """[N, 3, 256, 192] what the frames show where the avatar has its canvas."""
    seconds: Floats
    """[N] time in the video."""
    error_px: float
    """Median distance of a landmark from where the parameters put it, px of the avatar's picture."""
    left_out: int
    """Frames with no clear face, with the head turned too far, or with somebody else."""


@dataclass(frozen=True)
class Followed:
    """One frame."""

    parameters: NDArray[np.float32]
    """[73] PARAMETERS."""
    canvas: Image
    """[256, 192, 3]."""
    error_px: float
    """Median distance of a landmark from where the parameters put it."""
    unlike: float
    """How unlike the portrait the face is: see facestream.avatar.views.MAX_DIFFERENCE."""


class Tracker:
    """Follows one avatar's person."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], model: FaceModel) -> None:
        """Begin from the bundle's tensors.

        Raises:
            PhotoError: the bundle's portrait shows no face.
        """
        self._model = model
        self.photo: Image = np.ascontiguousarray(tensors["AVATAR_PHOTO"].transpose(1, 2, 0))
        faces = self._landmarks(self.photo, LOOKS)
        if not faces:
            raise PhotoError("the avatar's portrait shows no clear face")
        self.rest = faces[0]
        self._portrait = self._view("the portrait", self.photo, self.rest)
        self._angles = np.array(self._portrait.angles)
        numbers = tensors["AVATAR_CONSTANTS"].astype(np.float64)

        def constant(name: str) -> Floats:
            first, count = canvas.CONSTANTS[name]
            part: Floats = numbers[first : first + count]
            return part

        projection = constant("projection").reshape(2, 3)
        self._px_per_cm, self._eye_radius = float(constant("scale")[0]), float(constant("eye_radius")[0])
        shapes = np.einsum("pe,evk->pvk", model.arkit_matrix(), model.expression).astype(np.float64)
        moved = model.landmarks(shapes) @ projection.T * constant("gain")[:, None, None]  # [52, 468, 2] px
        self._rows = [i for i, entry in enumerate(ARKIT) if not entry.name.startswith(LEFT_OUT)]
        weights = np.ones(topology.MESH_POINTS)
        weights[list(topology.FACE_OVAL)] = OVAL_WEIGHT
        weights[list(topology.LIP_OUTER + topology.LIP_INNER)] = LIP_WEIGHT
        weights[list(topology.RIGHT_EYE + topology.LEFT_EYE)] = LID_WEIGHT
        self._weights = weights
        self._basis = moved[self._rows]
        middle = self.rest[: topology.MESH_POINTS].mean(0)
        x, y, z = (self.rest[: topology.MESH_POINTS] - middle).T
        nought, one = np.zeros_like(x), np.ones_like(x)
        # Shift, growth, roll, yaw, pitch: what a little motion of the head does to the picture of each landmark.
        self._pose = np.array(
            [
                np.stack([one, nought], 1),
                np.stack([nought, one], 1),
                np.stack([x, y], 1),
                np.stack([-y, x], 1),
                np.stack([z, nought], 1),
                np.stack([nought, z], 1),
            ]
        )
        self._pose[2:] /= 100.0
        count = len(self._rows)
        names = [ARKIT[row].name for row in self._rows]
        own = [MOUTH_PENALTY_CM if name.startswith(("mouth", "jaw")) else PENALTY_CM for name in names]
        penalty = np.array(own) * self._px_per_cm * np.sqrt(topology.MESH_POINTS)
        design = self._basis * weights[:, None]  # [K, 468, 2]
        self._design = np.vstack([design.reshape(count, -1).T, np.diag(penalty)])

    def _landmarks(self, picture: Image, looks: Any) -> list[Floats]:
        """Of the faces that are seen clearly, the largest first."""
        found = sorted(detect_faces(picture), key=lambda face: face.box[2] * face.box[3], reverse=True)
        near = [find_landmarks(picture, face, looks) for face in found if face.box[2] >= BESIDE * found[0].box[2]]
        return [face.landmarks.astype(np.float64) for face in near if face.presence >= MIN_PRESENCE]

    def _view(self, name: str, picture: Image, landmarks: Floats) -> View:
        return view_of(name, picture, landmarks.astype(np.float32), self._model)

    def follow(self, picture: Image) -> Followed | None:
        """Follow one frame, of several faces the one that is most like the portrait.

        None if it shows no clear face, or one that is turned too far.
        """
        views = [self._view("a frame", picture, seen) for seen in self._landmarks(picture, FEW_LOOKS)]
        if not views:
            return None
        view = min(views, key=lambda view: unlikeness(self._portrait, view))
        seen = view.landmarks.astype(np.float64)
        turned = np.abs(np.array(view.angles) - self._angles)
        if turned[:2].max() > MAX_TURN_DEG:
            return None
        bones = list(BONES)
        flat = np.zeros((len(bones), 3))
        flat[:, :2] = seen[bones, :2]
        goal = np.zeros_like(flat)
        goal[:, :2] = self.rest[bones, :2]
        scale, rotation, shift = similarity(flat, goal, np.ones(len(bones)))
        turn = scale * rotation[:2, :2]
        aligned = seen[:, :2] @ turn + shift[:2]

        way = (aligned - self.rest[:, :2])[: topology.MESH_POINTS]
        # The head's motion is what the bones did; all of them at once would take a blink for a nod.
        pose = np.linalg.lstsq(self._pose[:, bones].reshape(6, -1).T, way[bones].ravel(), rcond=None)[0]
        posed = np.tensordot(pose, self._pose, 1)  # [468, 2] px
        wanted = np.r_[((way - posed) * self._weights[:, None]).ravel(), np.zeros(len(self._rows))]
        expression = lsq_linear(self._design, wanted, (0.0, 1.0), method="bvls", max_iter=200).x
        parameters = np.zeros(len(PARAMETERS), dtype=np.float32)
        parameters[self._rows] = expression
        for name in ("eyeBlinkLeft", "eyeBlinkRight"):
            parameters[INDEX[name]] = min(1.0, float(parameters[INDEX[name]]) / SEEN_SHUT)
        error = np.linalg.norm(way - posed - np.tensordot(expression, self._basis, 1), axis=1)

        # The head's part of the motion as one affine map, and its reverse for the picture.
        rest = np.c_[self.rest[: topology.MESH_POINTS, :2], np.ones(topology.MESH_POINTS)]
        straight = np.linalg.lstsq(rest, rest[:, :2] + posed, rcond=None)[0].T  # [2, 3]: avatar's px to aligned px
        back = np.linalg.inv(turn)  # row vectors: aligned px to the frame's px
        to_frame = np.hstack([back.T @ straight[:, :2], (back.T @ (straight[:, 2] - shift[:2]))[:, None]])
        self._gaze(parameters, aligned)
        unlike = unlikeness(self._portrait, view)
        return Followed(parameters, self._cut(picture, to_frame), float(np.median(error)), unlike)

    def _gaze(self, parameters: NDArray[np.float32], aligned: Floats) -> None:
        for side, iris, corners in (
            ("Right", topology.RIGHT_IRIS, (33, 133)),
            ("Left", topology.LEFT_IRIS, (362, 263)),
        ):
            # An iris against the corners of its own eye, in the frame and in the portrait.
            own = aligned[iris[0]] - aligned[list(corners)].mean(0)
            own -= self.rest[iris[0], :2] - self.rest[list(corners), :2].mean(0)
            yaw, pitch = np.arcsin(np.clip(own / self._eye_radius, -0.4, 0.4))
            shut = float(parameters[INDEX[f"eyeBlink{side}"]])  # where nothing is seen of the iris, it is a guess
            yaw, pitch = (np.clip((0.6 - shut) / 0.3, 0.0, 1.0) * angle for angle in (yaw, pitch))
            parameters[INDEX[f"gazeYaw{side}"]], parameters[INDEX[f"gazePitch{side}"]] = yaw, pitch
            outwards = yaw if side == "Left" else -yaw
            for name, value in (("Down", pitch), ("Up", -pitch), ("Out", outwards), ("In", -outwards)):
                parameters[INDEX[f"eyeLook{name}{side}"]] = np.clip(value / LOOK_AT_ONE, 0.0, 1.0)

    def _cut(self, picture: Image, to_frame: Floats) -> Image:
        """The canvas's pixels from a frame; `to_frame` maps the avatar's picture (centres at + 0.5) to the frame."""
        size = float(np.sqrt(abs(np.linalg.det(to_frame[:, :2]))))
        source = cv2.GaussianBlur(picture, (0, 0), 0.4 * size) if size > 1.5 else picture
        matrix = to_frame.copy()
        offset = np.array([canvas.CANVAS_X + 0.5, canvas.CANVAS_Y + 0.5])
        matrix[:, 2] += to_frame[:, :2] @ offset - 0.5
        cut = cv2.warpAffine(
            source,
            matrix,
            (canvas.CANVAS_WIDTH, canvas.CANVAS_HEIGHT),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(cut, dtype=np.uint8)


def track(video: Path, tracker: Tracker, most: int) -> Tracked:
    """Follow up to `most` frames, evenly spread over a video.

    Raises:
        PhotoError: it cannot be read, it shows somebody else, or fewer than FEWEST frames show the face well.
    """
    parameters: list[NDArray[np.float32]] = []
    cuts: list[NDArray[np.uint8]] = []
    seconds: list[float] = []
    errors: list[float] = []
    unlike: list[float] = []
    left_out = 0
    clip = read_clip(video)
    step = max(1, -(-clip.count // most))
    for number, frame in enumerate(clip.frames()):
        if number % step or len(parameters) >= most:
            continue
        followed = tracker.follow(upright(frame))
        if followed is None:
            left_out += 1
            continue
        parameters.append(followed.parameters)
        cuts.append(followed.canvas.transpose(2, 0, 1))
        errors.append(followed.error_px)
        unlike.append(followed.unlike)
        seconds.append(float(frame.time or 0.0))
    most_are = float(np.median(unlike)) if unlike else 0.0
    if len(unlike) >= FEWEST and most_are > MAX_DIFFERENCE:
        raise PhotoError(
            f"{video}: shows somebody other than the avatar, or the same person in quite another light (unlikeness"
            f" {most_are:.2f}, one person has {MAX_DIFFERENCE} at most)"
        )
    own = np.array(unlike) <= max(MAX_DIFFERENCE, STRANGER * most_are)
    left_out += int((~own).sum())
    if own.sum() < FEWEST:
        raise PhotoError(
            f"{video}: {own.sum()} frames show the avatar's face clearly and from the front, at least {FEWEST} are"
            f" needed; {left_out} do not"
        )
    return Tracked(
        np.array(parameters, dtype=np.float32)[own],
        np.array(cuts, dtype=np.uint8)[own],
        np.array(seconds)[own],
        float(np.median(np.array(errors)[own])),
        left_out,
    )
