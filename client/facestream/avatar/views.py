"""Several pictures, or a clip, of one person: what each of them can tell, and which is the best portrait.

A portrait at rest hides teeth and lids. Another picture may show them: a smile, a blink. All that is taken from other
pictures is checked first: they have to show the same person, as far as the bones of the face and the skin can tell.
That notices a wrong file, not a lookalike: there is no network for recognising faces here, and people of a like build
pass for each other.

The pictures are gone through one by one, and few are kept: 48 frames of one clip take up to 1.3 GB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facestream.avatar import landmark_topology as topology
from facestream.avatar.clip import read_clip, upright
from facestream.avatar.face_model import FaceModel
from facestream.avatar.landmarks import LOOKS, detect_faces, find_landmarks, upside_down
from facestream.avatar.photo import (
    MAX_MOUTH_GAP,
    MIN_EYE_TO_MOUTH_PX,
    PhotoError,
    Portrait,
    align,
    eye_opening,
    eye_point,
    head_angles,
    mouth_gap,
    mouth_point,
    prepare_portrait,
    read_photo,
    sharpness,
    shrunk,
)

Floats = NDArray[np.floating[Any]]
Image = NDArray[np.uint8]

CLIPS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")
"""File names that end so are clips; all others are pictures."""
CLIP_FRAMES = 48
"""So many frames of a clip are looked at, evenly spread ..."""
CLIP_SECONDS = 60.0
"""... over so much of its beginning."""
MAX_PICTURES = 20
PORTRAITS_TRIED = 4
"""So many of the best views are tried as the portrait, one after the other; only their pictures are kept whole."""

FEW_LOOKS = LOOKS[::6]
"""Frames are many, and one is as good as its neighbour."""

CLOSED_EYES = 0.13
"""Height over width of the lids' opening below which both eyes are shut."""
SHUT_YAW_DEG, SHUT_PITCH_DEG = 10.0, 12.0
"""Shut lids are taken from views that are turned by no more than this against the portrait."""
SMILE_GAP = 0.05
"""Teeth are looked for where the lips are so far apart."""

BONES = (
    33, 133, 362, 263, 1, 2, 98, 327, 168, 6, 197, 195, 5, 4, 94, 19, 64, 294, 48, 278, 234, 454, 127, 356, 10, 109,
    338, 67, 297, 93, 323, 132, 361,
)  # fmt: skip
"""Landmarks that neither speech nor looks move: corners of the eyes, nose, forehead, temples and cheekbones."""
BONES_UNIT = 3.2
"""Mean distance of them, percent of their spread, after the best rigid motion. Renders of one person with other
expressions differ by 0.9 to 2.8."""
SKIN_UNIT = 26.0
"""Distance of the cheeks' colours in CIE Lab, with brightness for a third: light changes more than hue."""
MAX_DIFFERENCE = 0.97
"""Pictures that differ by more, in those units, show somebody else. Renders of one person differ by up to 0.9 (eyes
shut against mouth open). Portraits of two differ by 0.68 to 2.4; of 15 pairs, 10 by more than this."""
STRAIGHT_DEG, TURNED_DIFFERENCE = 10.0, 0.02
"""Allowed on top, for each degree beyond that a head is turned: depth is a guess, and its errors then show."""


@dataclass(frozen=True)
class View:
    """One picture of the person."""

    name: str
    """The file's name, and the second of a clip."""
    landmarks: Floats
    """[478, 3] px."""
    angles: tuple[float, float, float]
    """Yaw, pitch and roll, degrees."""
    gap: float
    """See photo.mouth_gap."""
    opening: tuple[float, float]
    """See photo.eye_opening, of the right eye and of the left."""
    skin: Floats
    """Median of the cheeks in CIE Lab [3]."""

    @property
    def size(self) -> float:
        """Pixels from eyes to mouth."""
        return _eyes_to_mouth(self.landmarks)


@dataclass(frozen=True)
class Views:
    """What was chosen among all pictures."""

    portrait: Portrait
    chosen: str
    """Name of the view that the portrait was made of."""
    source: Path
    """The file that it is in."""
    smile: tuple[Image, Floats] | None = None
    """The aligned picture [512, 512, 3] and the landmarks of a view that shows teeth."""
    blink: tuple[Image, Floats] | None = None
    """The same of a view with shut eyes."""
    notes: tuple[str, ...] = field(default=())
    """What was taken from where, and what could not be used."""


@dataclass
class _Candidate:
    """A view that may become the portrait."""

    cost: float
    view: View
    photo: Image
    """RGB [H, W, 3]."""
    source: Path


@dataclass(frozen=True)
class _Aligned:
    """A view that may lend something to the portrait."""

    view: View
    picture: tuple[Image, Floats]
    """The aligned picture [512, 512, 3] and the landmarks in it."""


class _Sifted:
    """What is kept of all views while they are gone through: of most of them no picture."""

    def __init__(self) -> None:
        self.views: list[View] = []
        self.candidates: list[_Candidate] = []
        """The PORTRAITS_TRIED best, the best first."""
        self.smile: _Aligned | None = None
        """The best."""
        self.shut: list[_Aligned] = []
        """All with shut eyes: which one will do depends on the portrait."""

    def add(self, view: View, photo: Image, source: Path) -> None:
        """Keep of a view, its picture and its file what may be needed."""
        self.views.append(view)
        image, points, outside = align(photo, view.landmarks)
        aligned = _Aligned(view, (image, points))
        candidate = _Candidate(_cost(view, sharpness(image, points), outside), view, photo, source)
        candidates = [*self.candidates, candidate]
        self.candidates = nsmallest(PORTRAITS_TRIED, candidates, key=lambda candidate: candidate.cost)
        if view.gap > SMILE_GAP and view.size > 40.0:
            known = [self.smile] if self.smile else []
            self.smile = min([*known, aligned], key=lambda other: _cost_of_smile(other.view))
        if max(view.opening) < CLOSED_EYES:
            self.shut.append(aligned)


def read_views(path: Path, model: FaceModel) -> Iterator[tuple[View, Image]]:
    """All views that a file has, each with its picture, RGB [H, W, 3]; those without a clear face are left out.

    There is one of a picture and there are up to CLIP_FRAMES of a clip.

    Raises:
        PhotoError: the file cannot be read, or no view shows one face clearly and the right way up.
    """
    if path.suffix.lower() not in CLIPS:
        photo = read_photo(path)
        view = _view(path.name, photo, model, few=False)
        if view is None:
            raise PhotoError(f"{path}: does not show exactly one face clearly and the right way up")
        yield view, photo
        return
    found = False
    for name, frame in _frames(path):
        if (view := _view(name, frame, model, few=True)) is not None:
            found = True
            yield view, frame
    if not found:
        raise PhotoError(f"{path}: no frame of the clip shows one face clearly and the right way up")


def _frames(path: Path) -> Iterator[tuple[str, Image]]:
    clip = read_clip(path)
    step = min(max(clip.seconds, 0.1), CLIP_SECONDS) / CLIP_FRAMES
    begin, due, count = None, 0.0, 0
    for frame in clip.frames():
        time = float(frame.time or 0.0)
        begin = time if begin is None else begin  # a part of a longer recording goes on with its clock
        if time - begin > CLIP_SECONDS or count >= CLIP_FRAMES:
            break
        if time + 1e-6 >= due:
            yield f"{path.name} at {time:.1f} s", shrunk(path, upright(frame))
            due, count = time + step, count + 1


def _view(name: str, photo: Image, model: FaceModel, *, few: bool) -> View | None:
    if min(photo.shape[:2]) < 64:
        return None
    faces = detect_faces(photo)
    if not faces:
        return None
    largest = max(faces, key=lambda face: face.box[2] * face.box[3])
    if upside_down(photo, largest):
        return None
    face = find_landmarks(photo, largest, FEW_LOOKS if few else LOOKS)
    return view_of(name, photo, face.landmarks, model) if face.presence >= 0.5 else None


def view_of(name: str, photo: Image, landmarks: Floats, model: FaceModel) -> View:
    """What a picture, RGB uint8 [H, W, 3], tells by the landmarks of the face in it, float32 [478, 3] px."""
    angles, gap, opening = head_angles(landmarks, model), mouth_gap(landmarks), eye_opening(landmarks)
    return View(name, landmarks, angles, gap, opening, _skin(photo, landmarks))


def _eyes_to_mouth(landmarks: Floats) -> float:
    return float(np.linalg.norm(mouth_point(landmarks) - eye_point(landmarks)))


def choose(photo: Path, others: Sequence[Path], model: FaceModel) -> Views:
    """Read all files, choose the portrait, and find what the others add to it.

    Args:
        photo: the picture that the person would like best: kept as the portrait if it will do.
        others: more pictures or clips.
        model: the face model.

    Raises:
        PhotoError: a file cannot be read, shows somebody else, or no view makes a portrait.
    """
    if len(others) >= MAX_PICTURES:
        raise PhotoError(f"{1 + len(others)} files: at most {MAX_PICTURES} pictures and clips are read")
    sifted = _Sifted()
    for path in (photo, *others):
        for view, picture in read_views(path, model):
            sifted.add(view, picture, path)
        if len(sifted.views) == 1:  # of the first file: its owner chose it
            sifted.candidates[0].cost -= 1.0
    portrait, best, source, refusal = None, sifted.views[0], photo, None
    for candidate in sifted.candidates:
        best, source = candidate.view, candidate.source
        try:
            portrait = prepare_portrait(candidate.photo, model)
            break
        except PhotoError as error:
            refusal = refusal or PhotoError(f"{best.name}: {error}")
    if portrait is None:
        assert refusal is not None
        raise refusal
    for view in sifted.views:
        difference = unlikeness(best, view)
        limit = MAX_DIFFERENCE + TURNED_DIFFERENCE * max(max(map(abs, view.angles[:2])) - STRAIGHT_DEG, 0.0)
        if difference > limit:
            raise PhotoError(
                f"{view.name} does not show the same person as {best.name}, it seems (difference {difference:.2f}, at"
                f" most {limit:.2f}); leave it out"
            )
    notes = [] if best is sifted.views[0] else [f"the portrait is {best.name}"]
    blinks = [aligned for aligned in sifted.shut if _lids_fit(aligned.view, best)]
    blink = min(blinks, key=lambda aligned: max(aligned.view.opening), default=None)
    if blink is not None:
        notes.append(f"closed lids are those of {blink.view.name}")
    used = [best, *(aligned.view for aligned in (sifted.smile, blink) if aligned is not None)]
    unused = len(sifted.views) - len(set(map(id, used)))
    if unused and not any(path.suffix.lower() in CLIPS for path in (photo, *others)):
        notes.append(f"{unused} of the {len(sifted.views)} pictures added nothing")
    smile = sifted.smile.picture if sifted.smile else None
    return Views(portrait, best.name, source, smile, blink.picture if blink else None, tuple(notes))


def _cost(view: View, sharp: float, outside: float) -> float:
    """How far a view is from a portrait: straight, lips closed, eyes open, large, sharp and nothing of it `outside`."""
    yaw, pitch, roll = view.angles
    cost = (yaw / 6.0) ** 2 + (pitch / 8.0) ** 2 + (roll / 15.0) ** 2
    cost += 0.5 * max(view.gap / MAX_MOUTH_GAP[0] - 1.0, 0.0)
    cost += 40.0 * max(0.22 - min(view.opening), 0.0)
    cost += 3.0 * max(1.0 - view.size / MIN_EYE_TO_MOUTH_PX[0], 0.0)
    return cost + 2.0 * max(1.0 - sharp / 3.0, 0.0) + 8.0 * outside


def _cost_of_smile(view: View) -> float:
    """Teeth show best in a smile towards the camera, not in a wide open mouth."""
    return (view.angles[0] / 10.0) ** 2 + (view.angles[1] / 12.0) ** 2 + (abs(view.gap - 0.14) / 0.06) ** 2


def _lids_fit(view: View, portrait: View) -> bool:
    near = abs(view.angles[0] - portrait.angles[0]) < SHUT_YAW_DEG
    near = near and abs(view.angles[1] - portrait.angles[1]) < SHUT_PITCH_DEG
    return near and view.size > 0.6 * min(portrait.size, 100.0)


def unlikeness(a: View, b: View) -> float:
    """How little two views look like one person: below about 1 they may be, above MAX_DIFFERENCE they are not."""
    return float(np.hypot(_bones_apart(a, b) / BONES_UNIT, _skin_apart(a, b) / SKIN_UNIT))


def _bones_apart(a: View, b: View) -> float:
    shapes = []
    for view in (a, b):
        points = view.landmarks[list(BONES)].astype(np.float64)
        points = points - points.mean(0)
        shapes.append(points / np.sqrt((points**2).sum(1).mean()))
    u, _, vt = np.linalg.svd(shapes[0].T @ shapes[1])
    handed = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    apart = (shapes[0] @ (u @ handed @ vt) - shapes[1]) * (1.0, 1.0, 0.5)  # depth is a guess
    return float(100.0 * np.sqrt((apart**2).sum(1).mean()))


def _skin_apart(a: View, b: View) -> float:
    apart = (a.skin - b.skin) * (1.0 / 3.0, 1.0, 1.0)
    return float(np.linalg.norm(apart))


def _skin(photo: Image, landmarks: Floats) -> Floats:
    reach = max(int(0.06 * _eyes_to_mouth(landmarks)), 1)
    height, width = photo.shape[:2]
    samples = []
    for x, y in np.round(landmarks[list(topology.CHEEKS), :2]).astype(int):
        x, y = int(np.clip(x, reach, width - 1 - reach)), int(np.clip(y, reach, height - 1 - reach))
        samples.append(photo[y - reach : y + reach + 1, x - reach : x + reach + 1].reshape(-1, 3))
    median = np.median(np.concatenate(samples), axis=0).astype(np.float32) / np.float32(255.0)
    colour: Floats = cv2.cvtColor(median[None, None], cv2.COLOR_RGB2LAB)[0, 0].astype(np.float64)
    return colour
