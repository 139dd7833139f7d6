"""Read a portrait, check that an avatar can be made of it, and align it to the avatar's picture.

Every refusal is a PhotoError that says what was found and what to change; what is only doubtful becomes a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.Image import DecompressionBombError

from facestream.avatar import landmark_topology as topology
from facestream.avatar.colour_profile import to_srgb
from facestream.avatar.face_model import FaceModel
from facestream.avatar.landmarks import LOOKS, Detection, detect_faces, find_landmarks, upside_down
from facestream.avatar.picture_header import read_header
from facestream.contract import FRAME_SIZE
from facestream.errors import FacestreamError

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]

EYES = (256.0, 205.0)
"""Where the middle of the four eye corners comes to lie in the 512 x 512 picture, px (x, y), in every avatar."""

MOUTH = (256.0, 305.0)
"""Where the middle of the outer lip line comes to lie. The face then takes 47 to 50 % of the picture's height."""

MAX_PIXELS = 210_000_000
"""Of a picture file. The largest that a phone takes has 200 million; decoded they are 0.6 GB, with a deep alpha channel
2.2 GB."""

MAX_SIDE = 3000
"""Larger photos are shrunk at once: the picture needs a twentieth of such a photo's pixels."""

TURNS = MappingProxyType({2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)})
"""Axes to reverse for an orientation of EXIF (2.32, tag 274); beyond 4 rows and columns change places before."""

# Each measure has a limit to warn at and one to refuse at.
MIN_EYE_TO_MOUTH_PX = (80.0, 45.0)
MAX_YAW_DEG = (10.0, 20.0)
MAX_PITCH_DEG = (14.0, 22.0)
MAX_ROLL_DEG = (12.0, 30.0)
MAX_MOUTH_GAP = (0.018, 0.18)  # gap of the inner lips over the distance of the eyes; between them lips are closed
MIN_EYE_OPENING = (0.17, 0.10)  # height over width of the lids' opening
MIN_SHARPNESS = (2.0, 0.0)  # see `sharpness`
MIN_LUMA = (45.0, 18.0)
MAX_LUMA = (225.0, 248.0)
MAX_OUTSIDE = (0.05, 0.30)  # share of the picture that the photo does not cover

OF_THE_PHOTO = ("eye_to_mouth_px", "roll_deg", "outside_share", "mouth_gap")
"""Measures that the portrait in a bundle no longer tells: all are of one size, upright and whole, with closed lips."""

OTHER_FACE_AREA = 0.2
"""A second face counts when its box has at least this share of the first one's area."""

MIN_PRESENCE = 0.5
"""The landmark network's own certainty from which on it sees a face."""


class PhotoError(FacestreamError, ValueError):
    """No avatar can be made of this photo; the message says why and what to change."""


@dataclass(frozen=True)
class Portrait:
    """A photo that passed, aligned to the avatar's picture."""

    image: Image
    """[512, 512, 3] RGB."""
    landmarks: Floats
    """[478, 3] px of `image`: x right, y down, z towards the viewer."""
    measures: dict[str, float]
    """What the checks measured; goes into the bundle's manifest."""
    warnings: tuple[str, ...] = field(default=())


def read_photo(path: Path) -> Image:
    """Read a picture file as sRGB [H, W, 3], turned as its EXIF orientation asks, transparency laid over grey.

    Raises:
        PhotoError: no such file, more than MAX_PIXELS, or not a picture that can be read (JPEG, PNG, WebP, TIFF, BMP,
            GIF or AVIF).
    """
    check_file(path)
    try:
        header = read_header(path)
    except DecompressionBombError as error:
        raise _too_large(path, str(error).rstrip(".")) from error
    unreadable = f"{path}: is not a picture that can be read; save it as JPEG or PNG (HEIC is not supported)"
    if header is None:
        raise PhotoError(unreadable)
    check_pixels(path, "declares", header.width, header.height, MAX_PIXELS)
    data = np.fromfile(path, dtype=np.uint8)
    flags = cv2.IMREAD_COLOR | (cv2.IMREAD_IGNORE_ORIENTATION if header.orientation else 0)
    try:
        picture = cv2.imdecode(data, flags)
        told = cv2.imdecodeWithMetadata(data, flags=cv2.IMREAD_UNCHANGED) if header.transparent else None
    except cv2.error as error:
        raise PhotoError(f"{path}: cannot be decoded as a picture ({error.err})") from error
    if picture is None or (told is not None and told[0] is None):
        raise PhotoError(unreadable)
    if told is not None and told[0].ndim == 3 and told[0].shape[2] == 4:
        whole, kinds, blocks = told
        alpha = np.ascontiguousarray(whole[..., 3])
        if not header.orientation:
            alpha = _turned(alpha, dict(zip(kinds, blocks, strict=True)))
        _lay_over_grey(picture, alpha, multiplied=header.multiplied)
    upright = np.ascontiguousarray(_set_upright(shrunk(path, picture), header.orientation)[..., ::-1])
    return to_srgb(upright, header.profile) if header.profile else upright


def check_file(path: Path) -> None:
    """PhotoError if there is no such file, or if it may not be read."""
    try:
        if path.is_file():
            path.open("rb").close()
            return
        folder = path.is_dir()
    except OSError as error:
        raise PhotoError(f"{path}: cannot be read ({error.strerror})") from error
    raise PhotoError(f"{path}: is a folder, expected a file" if folder else f"{path}: there is no such file")


def check_pixels(path: Path, told: str, width: int, height: int, most: int) -> None:
    """PhotoError if a file is `told` to hold pictures of more than `most` pixels."""
    if width * height > most:
        raise _too_large(
            path,
            f"{told} {width} x {height} px ({width * height / 1e6:.0f} million), expected at most"
            f" {most / 1e6:.0f} million",
        )


def _too_large(path: Path, what: str) -> PhotoError:
    return PhotoError(f"{path}: {what}; save it smaller")


def _turned(alpha: NDArray[Any], metadata: Mapping[int, Any]) -> NDArray[Any]:
    """An alpha channel [H, W] turned as the EXIF among its picture's metadata asks."""
    exif = cv2.IMAGE_METADATA_EXIF
    if exif not in metadata:
        return alpha
    # OpenCV turns a picture of colours or greys, but none with an alpha channel. So that becomes a picture of greys.
    quick = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    _, grey = cv2.imencodeWithMetadata(".png", alpha, [exif], [metadata[exif]], quick)
    return np.asarray(cv2.imdecode(grey, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH))


def _set_upright(picture: NDArray[Any], orientation: int) -> NDArray[Any]:
    """A picture [H, W, 3] turned as an orientation of EXIF asks; 0 asks for nothing."""
    rows_first = picture.swapaxes(0, 1) if orientation > 4 else picture
    return np.flip(rows_first, TURNS.get(orientation, ()))


def _lay_over_grey(picture: NDArray[Any], alpha: NDArray[Any], *, multiplied: bool) -> None:
    for row in range(0, len(picture), 256):  # in bands, since floats of a whole phone's picture are several GB
        band = slice(row, row + 256)
        share = alpha[band, :, None].astype(np.float32) / (65535.0 if alpha.dtype == np.uint16 else 255.0)
        colours = picture[band] if multiplied else picture[band] * share
        picture[band] = np.minimum(np.round(colours + 128.0 * (1.0 - share)), 255.0)


def shrunk(path: Path, picture: NDArray[Any]) -> Image:
    """The picture, or a smaller one of MAX_SIDE.

    Raises:
        PhotoError: it is so narrow that nothing would be left.
    """
    height, width = picture.shape[:2]
    scale = MAX_SIDE / max(height, width)
    if scale >= 1.0:
        return picture
    if round(min(height, width) * scale) < 1:
        raise PhotoError(f"{path}: is {width} x {height} px, which is too narrow for a face")
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)


def prepare_portrait(
    photo: Image, model: FaceModel, *, aligned: bool = False, of_photo: Mapping[str, float] = MappingProxyType({})
) -> Portrait:
    """Check a photo (RGB uint8 [H, W, 3]) and align it.

    Args:
        photo: the picture.
        model: the face model, for the head's pose.
        aligned: the picture is an avatar's own portrait: keep its pixels as they are.
        of_photo: measures of the photo that an own portrait was cut from, those of OF_THE_PHOTO that are known.

    Raises:
        PhotoError: with the first of: no face, several faces, upside down, not clear, too few pixels, cropped, turned,
            mouth open, eyes shut, far too dark or bright, too little picture about the head.
    """
    _check_array(photo)
    landmarks, presence = _one_face(photo)
    height, width = photo.shape[:2]
    checks = _Checks()

    eyes, mouth = eye_point(landmarks), mouth_point(landmarks)
    distance = float(np.linalg.norm(mouth - eyes))
    checks.at_least(
        "eye_to_mouth_px",
        of_photo.get("eye_to_mouth_px", distance),
        MIN_EYE_TO_MOUTH_PX,
        "the face is too small: {0:.1f} px from eyes to mouth, at least {1:.0f} are needed; use a larger picture",
        "the face is small ({0:.1f} px from eyes to mouth, {1:.0f} or more look sharp): the avatar will be soft",
    )
    oval = landmarks[list(topology.FACE_OVAL), :2]
    outside = (oval < -0.02 * distance) | (oval > np.array([width, height]) - 1 + 0.02 * distance)
    if outside.any():
        sides = [
            name
            for name, cut in zip(
                ("left", "top", "right", "bottom"),
                (oval[:, 0].min() < 0, oval[:, 1].min() < 0, oval[:, 0].max() > width, oval[:, 1].max() > height),
                strict=True,
            )
            if cut
        ]
        raise PhotoError(
            f"the face is cut off at the picture's {' and '.join(sides) or 'border'}; use a photo that shows all of it"
        )

    yaw, pitch, roll = head_angles(landmarks, model)
    roll = of_photo.get("roll_deg", roll)
    turn = "the head is {what} by {{0:.1f}} degrees, at most {{1:.0f}} work; {advice}"
    doubt = "the head is {what} by {{0:.1f}} degrees; up to {{1:.0f}} look best"
    for name, value, limits, what, advice in (
        ("yaw_deg", yaw, MAX_YAW_DEG, "turned to the side", "look straight into the camera"),
        ("pitch_deg", pitch, MAX_PITCH_DEG, "tilted up or down", "hold the camera at the height of the eyes"),
        ("roll_deg", roll, MAX_ROLL_DEG, "tilted to the shoulder", "hold the head upright or rotate the photo"),
    ):
        checks.at_most(
            name, abs(value), limits, turn.format(what=what, advice=advice), doubt.format(what=what), shown=value
        )

    checks.at_most(
        "mouth_gap",
        of_photo.get("mouth_gap", mouth_gap(landmarks)),
        MAX_MOUTH_GAP,
        "the mouth is open (lips {0:.3f} of the eyes' distance apart, at most {1:.2f} can be closed);"
        " use a photo with closed lips",
        "the lips are apart ({0:.3f} of the eyes' distance): they were closed in the picture; a photo with closed lips"
        " looks more like the person",
    )
    checks.at_least(
        "eye_opening",
        min(eye_opening(landmarks)),
        MIN_EYE_OPENING,
        "an eye is shut (opening {0:.3f}, at least {1:.2f} is needed); use a photo with open eyes",
        "an eye is nearly shut (opening {0:.3f}): gaze and blinks will look odd",
    )

    image, placed, share = (photo, landmarks, 0.0) if aligned else align(photo, landmarks)
    checks.at_most(
        "outside_share",
        of_photo.get("outside_share", share),
        MAX_OUTSIDE,
        "the photo is cropped too tightly: {0:.1%} of the picture about the head is missing, at most {1:.0%} can be"
        " filled; use one that shows hair and shoulders",
        "the photo is cropped tightly: {0:.1%} of the avatar's picture is filled with blurred border",
    )
    skin = _face_pixels(image, placed)
    luma = float(skin.mean())
    checks.at_least(
        "face_luma",
        luma,
        MIN_LUMA,
        "the face is too dark (mean brightness {0:.1f} of 255, at least {1:.0f} is needed); use more light",
        "the face is dark (mean brightness {0:.1f} of 255): shadows will look flat",
    )
    checks.at_most(
        "face_luma",
        luma,
        MAX_LUMA,
        "the face is overexposed (mean brightness {0:.1f} of 255, at most {1:.0f} works); use less light",
        "the face is very bright (mean brightness {0:.1f} of 255): its relief may be lost",
    )
    checks.at_least(
        "sharpness",
        sharpness(image, placed),
        MIN_SHARPNESS,
        "",
        "the photo is blurred (sharpness {0:.2f}, {1:.1f} or more is sharp): the avatar will be as soft as the photo",
    )
    checks.measures["presence"] = round(presence, 4)
    return Portrait(image, placed, checks.measures, tuple(checks.warnings))


class _Checks:
    """Collects measures and warnings; raises at the first measure beyond what works."""

    def __init__(self) -> None:
        self.measures: dict[str, float] = {}
        self.warnings: list[str] = []

    def at_most(
        self,
        name: str,
        value: float,
        limits: tuple[float, float],
        refusal: str,
        warning: str,
        shown: float | None = None,
    ) -> None:
        self.measures[name] = round(value if shown is None else shown, 4)
        if value > limits[1]:
            raise PhotoError(refusal.format(value, limits[1]))
        if value > limits[0]:
            self.warnings.append(warning.format(value, limits[0]))

    def at_least(self, name: str, value: float, limits: tuple[float, float], refusal: str, warning: str) -> None:
        self.measures[name] = round(value, 4)
        if value < limits[1]:
            raise PhotoError(refusal.format(value, limits[1]))
        if value < limits[0]:
            self.warnings.append(warning.format(value, limits[0]))


def _check_array(photo: Image) -> None:
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise PhotoError(f"photo: expected uint8 [H, W, 3], got {photo.dtype} {list(photo.shape)}")
    if min(photo.shape[:2]) < 64:
        raise PhotoError(f"the picture is only {photo.shape[1]} x {photo.shape[0]} px; use one of 512 x 512 or more")


def _one_face(photo: Image) -> tuple[Floats, float]:
    faces = detect_faces(photo)
    if not faces:
        raise PhotoError(
            "no face was found; use a photo of one person from the front, with the face at least a fifth of its height"
        )
    faces.sort(key=_area, reverse=True)
    # The detector sees faces in folds and foliage; the landmark network knows better.
    others = [
        face
        for face in faces[1:]
        if _area(face) >= OTHER_FACE_AREA * _area(faces[0])
        and find_landmarks(photo, face, LOOKS[:1]).presence >= MIN_PRESENCE
    ]
    if others:
        raise PhotoError(f"{1 + len(others)} faces were found; crop the photo to the one person it is to be")
    if upside_down(photo, faces[0]):
        raise PhotoError("the photo is upside down; turn it by 180 degrees")
    face = find_landmarks(photo, faces[0])
    if face.presence < MIN_PRESENCE:
        raise PhotoError(
            f"the face is not clear (certainty {face.presence:.2f}, at least {MIN_PRESENCE:.2f} is needed); use a photo"
            " without hands, hair or masks over it, from the front"
        )
    return face.landmarks, face.presence


def _area(face: Detection) -> float:
    return face.box[2] * face.box[3]


def _mean(landmarks: Floats, points: tuple[int, ...]) -> Floats:
    mean: Floats = landmarks[list(points), :2].mean(0)
    return mean


def eye_point(landmarks: Floats) -> Floats:
    """[2] px: the middle of the four eye corners."""
    return _mean(landmarks, (33, 133, 362, 263))


def mouth_point(landmarks: Floats) -> Floats:
    """[2] px: the middle of the outer lip line."""
    return _mean(landmarks, topology.LIP_OUTER)


def mouth_gap(landmarks: Floats) -> float:
    """Gap of the inner lips in the middle over the distance of the eyes: 0 closed, about 0.15 for a broad smile."""
    apart = float(np.linalg.norm(_mean(landmarks, (33, 133)) - _mean(landmarks, (362, 263))))
    return float(np.linalg.norm(landmarks[14, :2] - landmarks[13, :2])) / apart


def eye_opening(landmarks: Floats) -> tuple[float, float]:
    """Height over width of the lids' opening of the right eye and of the left: about 0.3 when open, 0.1 when shut."""
    openings = []
    for upper, lower in (
        (topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER),
        (topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER),
    ):
        height = np.linalg.norm(landmarks[list(upper[3:6]), :2] - landmarks[list(lower[3:6]), :2], axis=1).mean()
        openings.append(float(height / np.linalg.norm(landmarks[upper[0], :2] - landmarks[upper[-1], :2])))
    return openings[0], openings[1]


def head_angles(landmarks: Floats, model: FaceModel) -> tuple[float, float, float]:
    """Yaw, pitch and roll of the head in degrees, with the signs of facestream.parameters.HEAD.

    From the best rigid motion of the model's landmarks onto these (Kabsch, with the lips left out, which talk).
    """
    model_points = model.landmarks(model.neutral).astype(np.float64)
    seen = landmarks[: topology.MESH_POINTS].astype(np.float64) * np.array([1.0, -1.0, 1.0])
    stiff = np.setdiff1d(np.arange(topology.MESH_POINTS), topology.LIP_INNER + topology.LIP_OUTER)
    a, b = (points[stiff] - points[stiff].mean(0) for points in (model_points, seen))
    u, _, vt = np.linalg.svd(a.T @ b)
    turn = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt  # row vectors: model axes to picture axes
    nose = turn[2]  # where the model's z axis points to
    yaw = np.degrees(np.arctan2(nose[0], nose[2]))
    pitch = np.degrees(np.arctan2(-nose[1], np.hypot(nose[0], nose[2])))
    roll = np.degrees(np.arctan2(-turn[0, 1], turn[0, 0]))
    return float(yaw), float(pitch), float(roll)


def align(photo: Image, landmarks: Floats) -> tuple[Image, Floats, float]:
    """Turn, scale and shift the photo so that eyes and mouth come to EYES and MOUTH.

    What the photo does not cover is its border, continued and blurred.

    Returns:
        The picture [512, 512, 3], the landmarks in it [478, 3], and the share of it that the photo does not cover.
    """
    eyes, mouth = (point.astype(np.float64) for point in (eye_point(landmarks), mouth_point(landmarks)))
    down = complex(*(mouth - eyes))
    factor = complex(MOUTH[0] - EYES[0], MOUTH[1] - EYES[1]) / down
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    matrix = np.hstack([linear, (np.array(EYES) - linear @ eyes)[:, None]])

    moved = landmarks.copy()
    moved[:, :2] = landmarks[:, :2] @ linear.T + matrix[:, 2]
    moved[:, 2] *= abs(factor)

    # Shrink by areas first, then warp at twice the size: no aliasing at any scale.
    shrink = min(1.0, 2.0 * abs(factor))
    source = cv2.resize(photo, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1.0 else photo
    real = source.shape[1] / photo.shape[1], source.shape[0] / photo.shape[0]
    # Pixel centres: in a resized picture, x' + 0.5 = (x + 0.5) * k.
    to_photo = np.array([[1 / real[0], 0, 0.5 / real[0] - 0.5], [0, 1 / real[1], 0.5 / real[1] - 0.5], [0, 0, 1]])
    double = np.array([[2.0, 0, 0.5], [0, 2.0, 0.5], [0, 0, 1]])
    total = (double @ np.vstack([matrix, [0, 0, 1]]) @ to_photo)[:2]
    size = 2 * FRAME_SIZE
    large = cv2.warpAffine(
        source, total, (size, size), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE
    )  # fmt: skip
    covered = cv2.warpAffine(np.full(source.shape[:2], 255, np.uint8), total, (size, size), flags=cv2.INTER_LINEAR)
    picture = cv2.resize(large, (FRAME_SIZE, FRAME_SIZE), interpolation=cv2.INTER_AREA).astype(np.uint8)
    inside = cv2.resize(covered, (FRAME_SIZE, FRAME_SIZE), interpolation=cv2.INTER_AREA) > 127
    if not inside.all():
        picture = _soften_border(picture, inside)
    return picture, moved, float(1.0 - inside.mean())


def _soften_border(picture: Image, inside: NDArray[np.bool_]) -> Image:
    """Blur what replication drew outside of the photo: streaks become a soft continuation."""
    far = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
    result = picture.astype(np.float32)
    for sigma, begin in ((4.0, 1.0), (12.0, 8.0), (30.0, 24.0)):
        blurred = cv2.GaussianBlur(result, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        weight = np.clip(far / begin, 0.0, 1.0)[..., None]
        result = result * (1.0 - weight) + blurred * weight
    return np.clip(np.round(result), 0, 255).astype(np.uint8)


def _face_mask(landmarks: Floats) -> Image:
    mask = np.zeros((FRAME_SIZE, FRAME_SIZE), np.uint8)
    cv2.fillPoly(mask, [np.round(landmarks[list(topology.FACE_OVAL), :2]).astype(np.int32)], 255)
    return mask


def _face_pixels(image: Image, landmarks: Floats) -> Image:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[_face_mask(landmarks) > 0].astype(np.uint8)


def sharpness(image: Image, landmarks: Floats) -> float:
    """How fine the detail about the eyes is: 99th percentile of the Laplacian's size over contrast, times 10.

    Eyes are the sharpest edges of every face, so skin that is smooth by nature does not count as blur.
    """
    x, y = (int(value) for value in EYES)
    crop = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[y - 40 : y + 40, x - 90 : x + 90].astype(np.float32)
    contrast = float(np.percentile(crop, 98) - np.percentile(crop, 2)) + 1.0
    detail = float(np.percentile(np.abs(cv2.Laplacian(crop, cv2.CV_32F)), 99))
    return 10.0 * detail / contrast
