"""Portraits of real people, as a test only: those that well-known packages carry, and any folder.

Eileen Collins (NASA, 1999) is in scikit-image, Grace Hopper (US Navy, 1984) in matplotlib; both pictures are works of
the United States government and in the public domain. Nothing that is drawn of them is kept with the project.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from facestream.avatar import landmark_topology as topology
from facestream.avatar.build import build_avatar
from facestream.avatar.bundle import load_bundle
from facestream.avatar.landmarks import detect_faces, find_landmarks
from facestream.avatar.photo import PhotoError, mouth_gap
from facestream.avatar.preview import parameter_vector
from facestream.contract import FRAME_SIZE
from numpy.typing import NDArray

from perf.face.ablation import Ablation
from perf.face.picture_measures import decibels, squared_error

Image = NDArray[np.uint8]
Fields = NDArray[np.float32]

PICTURES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
ASTRONAUT: Final = ("scikit-image==0.25.2", "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5")
TURN: Final = 0.05
"""rad, 3 degrees: how far a head is turned for the posed re-rendering."""
WAVE_PX: Final = 64.0
"""Length of the waves that measure how a picture is moved; it must be more than twice the longest displacement."""


class Portrait(NamedTuple):
    """A portrait and what became of it."""

    name: str
    avatar: dict[str, NDArray[Any]] | None
    """None where the photo was refused."""
    said: tuple[str, ...]
    """Why it was refused, or what is doubtful."""


def found_in_packages(work: Path) -> Iterator[tuple[str, Path]]:
    """Names and files of portraits in packages that are here or that pip can fetch; others are said and left out."""
    try:
        import matplotlib

        yield "hopper", Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    except ImportError:
        print("portrait of Grace Hopper: left out: matplotlib is not installed", file=sys.stderr)
    try:
        yield "collins", astronaut(work)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"portrait of Eileen Collins: left out: {error}", file=sys.stderr)


def astronaut(work: Path) -> Path:
    """Fetch scikit-image's wheel once; return its picture."""
    requirement, sha256 = ASTRONAUT
    path = work / "astronaut.png"
    if not path.is_file():
        work.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, requirement, "--dest", str(work)], check=True)
        (wheel,) = work.glob(f"{requirement.replace('-', '_').replace('==', '-')}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read("skimage/data/astronaut.png")
        wheel.unlink()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError(f"{wheel.name} holds another picture than it did")
        path.write_bytes(data)
    return path


def in_folder(folder: Path) -> list[tuple[str, Path]]:
    """Names and files of the pictures of a folder.

    Raises:
        FileNotFoundError: there is none.
    """
    found = [(path.stem, path) for path in sorted(folder.glob("*")) if path.suffix.lower() in PICTURES]
    if not found:
        raise FileNotFoundError(f"portraits is {folder}, expected a folder of pictures ({', '.join(PICTURES)})")
    return found


def portrait(name: str, photo: Path) -> Portrait:
    """Make the avatar of a photo as its owner would; its bundle, which would have to name a consent, is not kept."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            built = build_avatar(
                photo, Path(folder) / "test.avatar", name="test", licence="none, a test", consent="public-domain"
            )
        except PhotoError as error:
            return Portrait(name, None, (str(error),))
        tensors = {key: np.array(tensor) for key, tensor in load_bundle(built.path).tensors.items()}
    return Portrait(name, tensors, built.warnings)


def photo_of(avatar: Mapping[str, NDArray[Any]]) -> Image:
    """AVATAR_PHOTO as a picture [512, 512, 3]."""
    return np.ascontiguousarray(np.asarray(avatar["AVATAR_PHOTO"], np.uint8).transpose(1, 2, 0))


def face_mask(photo: Image) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
    """The face's outline filled, [512, 512], and the landmarks; ValueError where no face is found."""
    faces = detect_faces(photo)
    if not faces:
        raise ValueError("no face is found in the avatar's photo")
    landmarks = find_landmarks(photo, faces[0]).landmarks
    mask = np.zeros(photo.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(landmarks[list(topology.FACE_OVAL), :2]).astype(np.int32)], 1)
    return mask.astype(bool), landmarks


def re_rendered(ablation: Ablation, avatar: Mapping[str, NDArray[Any]], row: str = "fast") -> dict[str, float]:
    """How well the photo comes back on the face.

    Returns:
        rest_db: of the frame with all parameters 0. posed_db: least of four frames with the head turned or tilted by
        TURN, moved back by the motion that the same frame gives to a picture of waves. rest_gap: distance of the inner
        lips at rest in distances of the eyes.
    """
    photo = photo_of(avatar)
    mask, landmarks = face_mask(photo)
    rest = drawn(ablation, avatar, {}, row)
    posed = []
    for pose in ({"headYaw": TURN}, {"headYaw": -TURN}, {"headPitch": TURN}, {"headRoll": TURN}):
        there = back(ablation, avatar, pose, row)
        frame = drawn(ablation, avatar, pose, row)
        returned = cv2.remap(frame, there[..., 0], there[..., 1], cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
        posed.append(decibels(float(squared_error(np.asarray(returned, np.uint8), photo)[mask].mean())))
    return {
        "rest_db": decibels(float(squared_error(rest, photo)[mask].mean())),
        "posed_db": min(posed),
        "rest_gap": float(mouth_gap(landmarks)),
    }


def drawn(ablation: Ablation, avatar: Mapping[str, NDArray[Any]], values: Mapping[str, float], row: str) -> Image:
    """One frame of named parameters."""
    return next(ablation.draw(avatar, [parameter_vector(values)], [row]))[row].frame


def back(ablation: Ablation, avatar: Mapping[str, NDArray[Any]], pose: Mapping[str, float], row: str) -> Fields:
    """Where in the posed frame each of the photo's pixels lies, [512, 512, 2], px: measured, not taken from the graphs.

    In place of the photo waves are drawn, whose phase tells at each pixel of the frame what pixel of the photo it
    shows; that map is then inverted.
    """
    down, across = np.mgrid[0:FRAME_SIZE, 0:FRAME_SIZE].astype(np.float32)
    angle = [2 * np.pi / WAVE_PX * axis for axis in (across, down)]
    shown = []
    for wave in angle:
        planes = [127.5 + 120.0 * np.cos(wave), 127.5 + 120.0 * np.sin(wave), np.full_like(wave, 127.5)]
        waves = np.rint(np.stack(planes)).astype(np.uint8)
        frame = drawn(ablation, {**avatar, "AVATAR_PHOTO": waves}, pose, row).astype(np.float32)
        cosine, sine = (cv2.GaussianBlur(frame[..., plane] - 127.5, (0, 0), 1.5) for plane in (0, 1))
        turned = np.arctan2(sine, cosine) - np.arctan2(np.sin(wave), np.cos(wave))
        shown.append(((turned + np.pi) % (2 * np.pi) - np.pi) * (WAVE_PX / (2 * np.pi)))
    there = np.stack(shown, 2).astype(np.float32)  # photo pixel less frame pixel, at each frame pixel
    place = np.dstack([across, down])
    for _ in range(12):
        place = np.dstack([across, down]) - cv2.remap(there, place[..., 0], place[..., 1], cv2.INTER_LINEAR)
    return np.asarray(place, np.float32)
