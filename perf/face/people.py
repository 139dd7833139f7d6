"""Synthetic people that were held back from all training: their photo, and path-traced frames with their PARAMETERS.

export.face.people writes them, a folder each:

    photo.png                      512 x 512, at rest
    parameters.npy, frame_N.png    stills, and in folders of their own the same for films of 30 frames a second

A frame is the part of the picture at (FRAME_LEFT, FRAME_TOP), 216 x 280 px; the rest of the picture stands still.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from facestream.avatar import landmark_topology as topology
from facestream.avatar import layers_canvas as canvas
from facestream.avatar.face_model import load_face_model
from facestream.avatar.fit import fit_face
from facestream.avatar.landmarks import detect_faces, find_landmarks
from facestream.avatar.layers import build_layers
from facestream.avatar.photo import read_photo
from facestream.parameters import PARAMETERS
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

PEOPLE: Final = Path("build/people/heldout")
COMMAND: Final = "python -m export.face.people --set heldout"
FRAME_LEFT: Final = 148
FRAME_TOP: Final = 160
FRAME_WIDTH: Final = 216
FRAME_HEIGHT: Final = 280
MOUTH: Final = (30, 100, 162, 212)
EYES: Final = (8, 4, 184, 62)
"""Left, top, right, bottom in the canvas: what an observer looks at."""


class NoPeople(FileNotFoundError):
    """There is nobody to judge by; the text names the command that makes them."""


@dataclass(frozen=True)
class Film:
    """Path-traced frames."""

    name: str
    """Empty for stills, which do not follow each other."""
    parameters: NDArray[np.float32]
    """[n, 73]"""
    frames: list[Image]
    """[FRAME_HEIGHT, FRAME_WIDTH, 3] each, RGB."""


@dataclass(frozen=True)
class Person:
    """One held-back person."""

    name: str
    avatar: dict[str, NDArray[Any]]
    photo: Image
    """[512, 512, 3], RGB."""
    films: tuple[Film, ...]
    regions: dict[str, Mask]
    """face, mouth and eyes in the frames' window [FRAME_HEIGHT, FRAME_WIDTH]."""

    def shortened(self, most: int) -> Person:
        """The same person with at most so many frames of each film."""
        films = tuple(Film(film.name, film.parameters[:most], film.frames[:most]) for film in self.films)
        return replace(self, films=films)

    def whole(self, part: Image) -> Image:
        """The picture [512, 512, 3] of which a frame is a part."""
        picture = self.photo.copy()
        picture[WINDOW] = part
        return picture


WINDOW: Final = (slice(FRAME_TOP, FRAME_TOP + FRAME_HEIGHT), slice(FRAME_LEFT, FRAME_LEFT + FRAME_WIDTH))
"""Rows and columns of the frames in the picture."""
CANVAS_IN_FRAME: Final = (
    slice(canvas.CANVAS_Y - FRAME_TOP, canvas.CANVAS_Y - FRAME_TOP + canvas.CANVAS_HEIGHT),
    slice(canvas.CANVAS_X - FRAME_LEFT, canvas.CANVAS_X - FRAME_LEFT + canvas.CANVAS_WIDTH),
)
"""The same of the canvas in a frame."""


def held_back(folder: Path = PEOPLE, most: int | None = None) -> Iterator[Person]:
    """The people of a folder who have a photo and frames, by name; at most `most`.

    Raises:
        NoPeople: there is none.
        ValueError: a person's files are not as they should be; the text names the file.
    """
    found = 0
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if most is not None and found >= most:
            break
        if (path / "photo.png").is_file():
            films = tuple(films_of(path))
            if films:
                found += 1
                yield person(path, films)
    if not found:
        raise NoPeople(f"{folder} holds nobody with a photo and frames; make them with: {COMMAND}")


def films_of(path: Path) -> Iterator[Film]:
    """The stills and films of one person's folder, as far as they are rendered."""
    for file in sorted(path.rglob("parameters.npy")):
        parameters = np.load(file, allow_pickle=False).astype(np.float32)
        if parameters.ndim != 2 or parameters.shape[1] != len(PARAMETERS) or not np.isfinite(parameters).all():
            raise ValueError(f"{file} has the shape {parameters.shape}, expected finite [n, {len(PARAMETERS)}]")
        stills = file.parent == path
        frames, kept = [], []
        for number in range(len(parameters)):
            source = file.parent / f"frame_{number:04d}.png"
            if not source.is_file():
                if stills:
                    continue
                break  # a film ends where rendering has come to
            picture = cv2.imread(str(source), cv2.IMREAD_COLOR)
            if picture is None or picture.shape != (FRAME_HEIGHT, FRAME_WIDTH, 3):
                shape = "no picture" if picture is None else f"{picture.shape[1]} x {picture.shape[0]} px"
                raise ValueError(f"{source} is {shape}, expected {FRAME_WIDTH} x {FRAME_HEIGHT} px")
            frames.append(np.ascontiguousarray(picture[..., ::-1], np.uint8))
            kept.append(number)
        if frames:
            yield Film("" if stills else file.parent.name, parameters[kept], frames)


def person(path: Path, films: tuple[Film, ...]) -> Person:
    """The person of a folder, with the avatar that the project makes of the photo.

    The photo is taken as it is: its camera was placed so that eyes and mouth lie where an avatar has them, and to move
    them by a fraction of a pixel would blur what the frames are compared with.
    """
    photo = read_photo(path / "photo.png")
    faces = detect_faces(photo)
    if len(faces) != 1:
        raise ValueError(f"{path}/photo.png: {len(faces)} faces were found, expected one")
    landmarks = find_landmarks(photo, faces[0]).landmarks
    model = load_face_model()
    avatar = dict(build_layers(fit_face(photo, landmarks, model), model))
    return Person(path.name, avatar, photo, films, regions_of(landmarks))


def regions_of(landmarks: NDArray[np.floating]) -> dict[str, Mask]:
    """Masks [FRAME_HEIGHT, FRAME_WIDTH] of face, mouth and eyes; the face is what the face's outline surrounds."""
    outline = np.asarray(landmarks)[list(topology.FACE_OVAL), :2] - (FRAME_LEFT, FRAME_TOP)
    face = np.zeros((FRAME_HEIGHT, FRAME_WIDTH), np.uint8)
    cv2.fillPoly(face, [np.rint(outline).astype(np.int32)], 1)
    regions = {"face": face.astype(bool)}
    for name, (left, top, right, bottom) in (("mouth", MOUTH), ("eyes", EYES)):
        mask = np.zeros((canvas.CANVAS_HEIGHT, canvas.CANVAS_WIDTH), bool)
        mask[top:bottom, left:right] = True
        regions[name] = np.zeros((FRAME_HEIGHT, FRAME_WIDTH), bool)
        regions[name][CANVAS_IN_FRAME] = mask
    return regions
