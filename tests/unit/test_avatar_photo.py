"""Photos that will not do are refused with words that help; good ones come to lie where the graphs expect them."""

from __future__ import annotations

import errno
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from facestream.avatar import photo
from facestream.avatar.clip import read_clip
from facestream.avatar.face_model import load_face_model
from facestream.avatar.landmark_topology import FACE_OVAL
from facestream.avatar.landmarks import detect_faces
from facestream.avatar.photo import (
    EYES,
    MOUTH,
    PhotoError,
    eye_point,
    head_angles,
    mouth_point,
    prepare_portrait,
    read_photo,
)
from facestream.avatar.picture_header import read_header
from numpy.typing import NDArray

Image = NDArray[np.uint8]

PORTRAITS = Path(__file__).parents[2] / "model_repository" / "avatar_store" / "avatars"
DATA = Path(__file__).parents[1] / "data"
MODEL = load_face_model()


@pytest.fixture(scope="module", name="ada")
def ada_fixture() -> Image:
    return read_photo(PORTRAITS / "ada.jpg")


@pytest.fixture(scope="module", name="ben")
def ben_fixture() -> Image:
    return read_photo(PORTRAITS / "ben.jpg")


def turned(picture: Image, degrees: float) -> Image:
    """The picture, turned counter-clockwise about its middle."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)


def resized(picture: Image, side: int) -> Image:
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)


@pytest.mark.parametrize("name", ["ada", "ben"])
def test_eyes_and_mouth_come_to_their_fixed_places(name: str) -> None:
    """The graphs' windows are fixed: a portrait off its place would move the wrong skin."""
    portrait = prepare_portrait(read_photo(PORTRAITS / f"{name}.jpg"), MODEL)
    assert portrait.image.shape == (512, 512, 3)
    assert portrait.image.dtype == np.uint8
    assert np.allclose(eye_point(portrait.landmarks), EYES, atol=0.01)
    assert np.allclose(mouth_point(portrait.landmarks), MOUTH, atol=0.01)
    oval = portrait.landmarks[list(FACE_OVAL), 1]
    assert 0.44 < (oval.max() - oval.min()) / 512 < 0.52
    assert portrait.warnings == ()


def test_picture_and_landmarks_are_moved_alike(ada: Image) -> None:
    """A shift between them would make lips open beside the lip line: found again in the aligned picture, they agree."""
    portrait = prepare_portrait(ada, MODEL)
    again = prepare_portrait(portrait.image, MODEL)
    distance = np.linalg.norm(portrait.landmarks[:, :2] - again.landmarks[:, :2], axis=1)
    assert np.median(distance) < 0.8
    difference = np.abs(portrait.image.astype(int) - again.image.astype(int))[100:400, 100:400]
    assert difference.mean() < 3.0


def test_a_tilted_head_is_set_upright(ada: Image) -> None:
    portrait = prepare_portrait(turned(ada, 10.0), MODEL)
    assert portrait.measures["roll_deg"] == pytest.approx(-9.0, abs=2.0)  # the person's right shoulder: negative
    corners = portrait.landmarks[[33, 263], :2]
    assert abs(np.degrees(np.arctan2(*(corners[1] - corners[0])[::-1]))) < 2.0


def test_size_of_the_photo_does_not_matter(ada: Image) -> None:
    small, large = (prepare_portrait(resized(ada, side), MODEL) for side in (540, 1920))
    assert np.median(np.linalg.norm(small.landmarks[:, :2] - large.landmarks[:, :2], axis=1)) < 0.8


@pytest.mark.parametrize(
    ("photo", "words"),
    [
        (lambda a, b: np.full((512, 512, 3), 127, np.uint8), "no face was found"),
        (lambda a, b: np.hstack([resized(a, 512), b]), "2 faces"),
        (lambda a, b: resized(a, 160), "too small"),
        (lambda a, b: a[:420], "cut off at the picture's bottom"),
        (lambda a, b: np.ascontiguousarray(a[::-1, ::-1]), "the photo is upside down; turn it by 180 degrees"),
        (lambda a, b: turned(b, 195.0), "upside down"),
        (lambda a, b: turned(a, 45.0), "tilted to the shoulder by 4"),
        (lambda a, b: a[140:560, 200:580], "cropped too tightly"),
        (lambda a, b: (a * 0.1).astype(np.uint8), "too dark"),
        (lambda a, b: np.clip(a.astype(int) + 170, 0, 255).astype(np.uint8), "overexposed"),
        (lambda a, b: a[:40, :40], "only 40 x 40 px"),
        (lambda a, b: a[..., 0], "expected uint8"),
    ],
    ids=[
        "no face",
        "pair",
        "small",
        "cut",
        "on its head",
        "on its head, tilted",
        "tilted",
        "tight",
        "dark",
        "bright",
        "tiny",
        "grey array",
    ],
)
def test_refusals_name_the_cause(photo, words: str, ada: Image, ben: Image) -> None:  # type: ignore[no-untyped-def]
    """Without its words the owner of the photo would not know what to change."""
    with pytest.raises(PhotoError, match=words):
        prepare_portrait(photo(ada, ben), MODEL)


@pytest.mark.parametrize(
    ("photo", "words"),
    [
        (lambda a: resized(a, 400), "the face is small"),
        (lambda a: cv2.GaussianBlur(a, (0, 0), 3.0), "blurred"),
        (lambda a: (a * 0.25).astype(np.uint8), "the face is dark"),
        (lambda a: a[:, 90:680], "cropped tightly"),
    ],
    ids=["small", "blurred", "dark", "cropped"],
)
def test_doubts_are_warnings(photo, words: str, ada: Image) -> None:  # type: ignore[no-untyped-def]
    portrait = prepare_portrait(photo(ada), MODEL)
    assert any(words in warning for warning in portrait.warnings), portrait.warnings


@pytest.mark.parametrize(
    ("file", "words"), [("mouth_open.jpg", "the mouth is open"), ("eyes_shut.jpg", "an eye is shut")]
)
def test_expressions_that_spoil_an_avatar_are_refused(file: str, words: str) -> None:
    """The photo is the avatar's rest: teeth or lids in it would stay for ever."""
    with pytest.raises(PhotoError, match=words):
        prepare_portrait(read_photo(DATA / file), MODEL)


def test_head_angles_have_the_signs_of_the_face_parameters() -> None:
    """Wrong signs would give advice that makes a photo worse."""
    points = MODEL.landmarks(MODEL.neutral).astype(np.float64)
    for axis, turn in (
        (0, np.array([[0.98, 0, -0.199], [0, 1, 0], [0.199, 0, 0.98]])),  # nose (z) to the person's left (x)
        (1, np.array([[1, 0, 0], [0, 0.98, 0.199], [0, -0.199, 0.98]])),  # nose (z) down (-y)
        (2, np.array([[0.98, -0.199, 0], [0.199, 0.98, 0], [0, 0, 1]])),  # crown (y) to the person's left (x)
    ):
        seen = np.zeros((478, 3))
        seen[:468] = points @ turn * [1, -1, 1]
        angles = head_angles(seen.astype(np.float32), MODEL)
        expected = [0.0, 0.0, 0.0]
        expected[axis] = 11.5
        assert np.allclose(angles, expected, atol=0.3)


def test_exif_orientation_is_obeyed(tmp_path: Path, ada: Image) -> None:
    """Phones save portraits lying down and say so in EXIF: ignored, no face would be found."""
    lying = np.ascontiguousarray(np.rot90(ada))  # to be turned clockwise for viewing: orientation 6
    jpeg = cv2.imencode(".jpg", lying[..., ::-1])[1].tobytes()
    tiff = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    exif = b"Exif\x00\x00" + tiff
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    path = tmp_path / "phone.jpg"
    path.write_bytes(jpeg[:2] + segment + jpeg[2:])
    found = read_photo(path)
    assert np.abs(found.astype(int) - ada.astype(int)).mean() < 3.0


def test_transparent_png_is_laid_over_grey(tmp_path: Path) -> None:
    """Cut-out portraits often hide noise under transparency."""
    picture = np.zeros((80, 80, 4), np.uint8)
    picture[..., 0] = 255
    cv2.imwrite(str(tmp_path / "cut.png"), picture)
    assert (read_photo(tmp_path / "cut.png") == 128).all()


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\xff\xd8\xff\xe0broken"], ids=["empty", "text", "cut"])
def test_files_that_are_no_pictures_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(PhotoError, match=r"x\.jpg"):
        read_photo(path)
    with pytest.raises(PhotoError, match="no such file"):
        read_photo(tmp_path / "absent.jpg")
    with pytest.raises(PhotoError, match="is a folder, expected a file"):
        read_photo(tmp_path)


def test_a_broken_avif_is_refused(tmp_path: Path) -> None:
    """libavif's own error is none that Pillow expects of a broken header: the command ended in a traceback."""
    path = tmp_path / "x.avif"
    PIL.Image.fromarray(cut_out()).save(path)
    path.write_bytes(path.read_bytes().replace(b"pitm", b"pitx"))
    with pytest.raises(PhotoError, match=r"x\.avif: is not a picture that can be read"):
        read_photo(path)


@pytest.mark.parametrize("method", ["is_file", "open"])
@pytest.mark.parametrize("read", [read_photo, read_clip])
def test_a_photo_that_may_not_be_read_is_not_called_broken(
    read: Callable[[Path], object], method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was to be saved as JPEG; in a closed folder it was the bundle that could not be written."""
    (tmp_path / "mine.jpg").write_bytes(b"secret")

    def closed(path: Path, *arguments: object) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, method, closed)
    with pytest.raises(PhotoError, match=r"mine\.jpg: cannot be read \(Permission denied\)"):
        read(tmp_path / "mine.jpg")


def test_detector_finds_faces_off_centre_and_in_wide_pictures(ada: Image) -> None:
    """The detector sees a square: its answers must come back to the picture's own pixels."""
    wide = np.full((768, 1600, 3), 90, np.uint8)
    wide[:, 800:1568] = ada
    alone, moved = detect_faces(ada)[0], detect_faces(wide)[0]
    assert np.abs(moved.keypoints - alone.keypoints - [800, 0]).mean() < 12.0  # one cell of its input: 12.5 px


def test_faces_that_only_the_detector_sees_do_not_count(ada: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fold of a jumper before dim lights was a second face to it."""
    found = detect_faces(ada)
    x, y, w, h = found[0].box
    lower = found[0].keypoints + np.array([0.0, 1.6 * h], np.float32)
    fold = replace(found[0], score=0.51, box=(x, y + 1.6 * h, w, h), keypoints=lower)
    monkeypatch.setattr(photo, "detect_faces", lambda image: [*found, fold])
    assert prepare_portrait(ada, MODEL).warnings == ()


def test_small_faces_of_large_photos_are_found(ada: Image) -> None:
    """A phone's photo in full length has pixels enough for an avatar, though the head is small in it."""
    large = np.full((3000, 2250, 3), 120, np.uint8)
    large[300:844, 700:1244] = resized(ada, 544)
    face = detect_faces(large)[0]
    assert len(detect_faces(large)) == 1
    expected = detect_faces(ada)[0].keypoints * (544 / 768) + [700, 300]
    assert np.abs(face.keypoints - expected).mean() < 15.0
    assert prepare_portrait(large, MODEL).measures["eye_to_mouth_px"] == pytest.approx(97, abs=3)


def cut_out() -> Image:
    """RGBA [48, 64, 4], with one corner away."""
    picture = np.full((48, 64, 4), 255, np.uint8)
    picture[..., :3] = np.random.default_rng(0).integers(0, 255, (48, 64, 3))
    picture[:30, :20, 3] = 0
    return picture


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "webp", "tiff", "avif"])
def test_transparency_is_turned_with_the_colours(suffix: str, orientation: int, tmp_path: Path) -> None:
    """A cut-out portrait that its EXIF sets upright would lose a part of the face, and show what was cut away."""
    path = tmp_path / f"cut.{suffix}"
    exif = PIL.Image.Exif()
    exif[0x112] = orientation
    options = {"quality": 100, "subsampling": "4:4:4"} if suffix == "avif" else {"lossless": True, "exact": True}
    PIL.Image.fromarray(cut_out()).save(path, exif=exif, **options)
    # EXIF 2.32, tag 274: where the first row and the first column are to be seen.
    rows_first = cut_out().swapaxes(0, 1) if orientation > 4 else cut_out()
    axes: dict[int, tuple[int, ...]] = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}
    upright = np.flip(rows_first, axes.get(orientation, ()))
    found, expected = read_photo(path), np.where(upright[..., 3:] > 0, upright[..., :3], 128)
    assert np.abs(found.astype(int) - expected).max() <= (3 if suffix == "avif" else 0)  # AVIF: by way of YCbCr


def test_an_avif_that_lies_is_turned(tmp_path: Path) -> None:
    """Its boxes say so, which OpenCV does not read: no face would be found."""
    exif = PIL.Image.Exif()
    exif[0x112] = 6
    picture = cut_out()[..., :3]
    PIL.Image.fromarray(picture).save(tmp_path / "phone.avif", exif=exif, quality=100, subsampling="4:4:4")
    assert np.abs(read_photo(tmp_path / "phone.avif").astype(int) - np.rot90(picture, -1)).max() <= 3


@pytest.mark.parametrize("alpha_kind", [1, 2], ids=["associated", "unassociated"])
@pytest.mark.parametrize("deep", [False, True])
def test_soft_edges_of_a_cut_out_tiff_are_not_darkened(alpha_kind: int, deep: bool, tmp_path: Path) -> None:
    """libtiff multiplies its colours by alpha by itself: a second time they had dark fringes about the hair."""
    colour, alpha = np.array([200, 120, 40]), np.array([255, 192, 128, 64, 0])
    shares = alpha[None, :, None] / 255.0
    pixels = np.zeros((64, 5, 4))
    pixels[..., :3] = np.round(colour * (shares if alpha_kind == 1 else 1.0))
    pixels[..., 3] = alpha
    (tmp_path / "cut.tiff").write_bytes(
        tiff(pixels.astype(np.uint16) * 257 if deep else pixels.astype(np.uint8), alpha_kind)
    )
    expected = colour * shares + 128.0 * (1.0 - shares)
    assert np.abs(read_photo(tmp_path / "cut.tiff") - expected).max() <= 1.0


@pytest.mark.parametrize("deep", [False, True])
def test_a_tiff_with_its_channels_apart_is_read_rightly_or_not_at_all(deep: bool, tmp_path: Path) -> None:
    """Photoshop writes such on demand; of 16 bits OpenCV takes a mix of the channels for alpha: a grey veil, unsaid."""
    pixels = np.full((64, 64, 4), (200, 120, 40, 255), np.uint8)
    path = tmp_path / "apart.tiff"
    path.write_bytes(tiff(pixels.astype(np.uint16) * 257 if deep else pixels, 2, apart=True))
    if deep:
        with pytest.raises(PhotoError, match=r"apart\.tiff: is not a picture that can be read; save it as JPEG or PNG"):
            read_photo(path)
    else:
        assert np.array_equal(read_photo(path), pixels[..., :3])


def tiff(pixels: NDArray[Any], alpha_kind: int, *, apart: bool = False) -> bytes:
    """RGBA [H, W, 4] of 8 or 16 bits as a file without compression; Pillow and OpenCV write no associated alpha."""
    height, width, _ = pixels.shape
    strips = 4 if apart else 1
    after = 8 + 2 + 11 * 12 + 4
    data = after + 8 + (32 if apart else 0)
    size = pixels.nbytes // strips
    entries = (
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 4, after),  # where the four numbers of bits are
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, strips, after + 8 if apart else data),
        (277, 3, 1, 4),
        (278, 4, 1, height),
        (279, 4, strips, after + 24 if apart else size),
        (284, 3, 1, 2 if apart else 1),
        (338, 3, 1, alpha_kind),
    )
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    bits = struct.pack("<4H", *[8 * pixels.itemsize] * 4)
    head = b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + bits
    if not apart:
        return head + pixels.tobytes()
    places = struct.pack("<8I", *(data + number * size for number in range(4)), *[size] * 4)
    return head + places + pixels.transpose(2, 0, 1).tobytes()


def test_deep_transparency_is_turned_too(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x112] = 6  # to be turned clockwise
    deep = np.ascontiguousarray(cut_out()[..., [2, 1, 0, 3]]).astype(np.uint16) * 257
    block = np.frombuffer(exif.tobytes().removeprefix(b"Exif\0\0"), np.uint8)
    _, data = cv2.imencodeWithMetadata(".png", deep, [cv2.IMAGE_METADATA_EXIF], [block])
    (tmp_path / "deep.png").write_bytes(data.tobytes())
    upright = np.rot90(cut_out(), -1)
    assert np.array_equal(read_photo(tmp_path / "deep.png"), np.where(upright[..., 3:] > 0, upright[..., :3], 128))


def saved(path: Path, picture: NDArray[Any]) -> Path:
    assert cv2.imwrite(str(path), picture)
    return path


def test_greyscale_deep_and_palette_pictures_are_read_as_rgb(tmp_path: Path, ada: Image) -> None:
    """Scanners give 16 bits, old photos have one channel, GIFs have 256 colours and several frames."""
    small = resized(ada, 128)
    bgr = np.ascontiguousarray(small[..., ::-1])
    assert np.array_equal(read_photo(saved(tmp_path / "deep.png", bgr.astype(np.uint16) * 257)), small)
    alpha = np.dstack([bgr.astype(np.uint16) * 257, np.full((128, 128), 65535, np.uint16)])
    assert np.array_equal(read_photo(saved(tmp_path / "deep_alpha.png", alpha)), small)
    grey = read_photo(saved(tmp_path / "grey.png", cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)))
    assert grey.shape == (128, 128, 3)
    assert (grey[..., 0] == grey[..., 2]).all()
    for suffix in ("webp", "tiff", "bmp"):
        assert np.abs(read_photo(saved(tmp_path / f"x.{suffix}", bgr)).astype(int) - small).mean() < 3.0


def test_of_moving_pictures_the_first_is_taken(tmp_path: Path, ada: Image) -> None:
    small = resized(ada, 128)
    frames = cv2.Animation()
    frames.frames = [np.ascontiguousarray(small[..., ::-1]), np.zeros((128, 128, 3), np.uint8)]
    frames.durations = [100, 100]
    assert cv2.imwriteanimation(str(tmp_path / "moving.webp"), frames)
    assert np.abs(read_photo(tmp_path / "moving.webp").astype(int) - small).mean() < 8.0


def test_cmyk_pictures_of_print_shops_are_read(tmp_path: Path, ada: Image) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow writes the CMYK picture")
    small = resized(ada, 128)
    image.fromarray(small).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert np.abs(read_photo(tmp_path / "print.jpg").astype(int) - small).mean() < 4.0


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_truncated_pictures_are_refused(tmp_path: Path, suffix: str, ada: Image) -> None:
    """Half a download: the lower half would be grey."""
    path = saved(tmp_path / f"half.{suffix}", ada[..., ::-1])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PhotoError, match=r"half\."):
        read_photo(path)


def png_that_declares(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def patched(suffix: str, mark: bytes, offset: int, layout: str, *sizes: int) -> bytes:
    """A small picture's file with other sizes, so far behind a mark of its format."""
    data = bytearray(cv2.imencode(suffix, np.zeros((64, 48, 3), np.uint8))[1].tobytes())
    struct.pack_into(layout, data, data.index(mark) + offset, *sizes)
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (png_that_declares(30000, 30000), r"bomb: declares 30000 x 30000 px \(900 million\), expected at most 210"),
        (png_that_declares(60000, 60000), r"bomb: declares 60000 x 60000 px \(3600 million\)"),
        (patched(".jpg", b"\xff\xc0", 5, ">HH", 30000, 20000), r"bomb: declares 20000 x 30000 px \(600 million\)"),
        (patched(".webp", b"VP8L", 9, "<I", 16382 | 16382 << 14), r"bomb: .*268"),  # Pillow may refuse it by itself
        (patched(".bmp", b"BM", 18, "<ii", 30000, 30000), r"bomb: declares 30000 x 30000 px"),
        (patched(".gif", b"GIF8", 6, "<HH", 60000, 60000), r"bomb: declares 60000 x 60000 px"),
        (patched(".tiff", b"\x00\x01\x03\x00", 2, "<HII", 4, 1, 9_000_000), r"bomb: declares 9000000 x 64 px"),
    ],
    ids=["png", "larger png", "jpeg", "webp", "bmp", "gif", "tiff"],
)
def test_pictures_that_would_fill_the_memory_are_refused_undecoded(
    content: bytes, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of a kilobyte may say that it has 30000 x 30000 px: 2.7 GB, and the machine stands still."""
    (tmp_path / "bomb").write_bytes(content)
    monkeypatch.setattr(cv2, "imdecode", lambda *arguments: pytest.fail("it was decoded"))
    with pytest.raises(PhotoError, match=told):
        read_photo(tmp_path / "bomb")


def test_the_largest_pictures_of_phones_are_no_bombs(tmp_path: Path) -> None:
    """Samsung's 200 million pixels, 16320 x 12240, pass the door; here they then turn out to be missing."""
    (tmp_path / "phone.png").write_bytes(png_that_declares(16320, 12240))
    assert photo.MAX_PIXELS > 16320 * 12240
    header = read_header(tmp_path / "phone.png")
    assert header is not None
    assert (header.width, header.height, header.transparent) == (16320, 12240, False)


def test_a_picture_as_narrow_as_a_thread_is_refused(tmp_path: Path) -> None:
    """Shrunk to its longer side, nothing of it would be left: OpenCV's own words for that help nobody."""
    thread = saved(tmp_path / "thread.png", np.zeros((1, 9000, 3), np.uint8))
    with pytest.raises(PhotoError, match=r"thread\.png: is 9000 x 1 px"):
        read_photo(thread)


def test_an_avatars_own_portrait_is_not_aligned_again(ada: Image) -> None:
    """Rebuilding must not blur it a little each time."""
    once = prepare_portrait(ada, MODEL)
    again = prepare_portrait(once.image, MODEL, aligned=True)
    assert again.image is once.image
    assert np.median(np.linalg.norm(once.landmarks[:, :2] - again.landmarks[:, :2], axis=1)) < 0.8
