"""Several pictures of one person: the best is the portrait, the others lend teeth and lids; strangers are refused."""

from __future__ import annotations

import hashlib
import struct
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from facestream.avatar import views as views_module
from facestream.avatar.build import build_avatar, rebuild_avatar
from facestream.avatar.bundle import load_bundle, save_bundle
from facestream.avatar.face_model import load_face_model
from facestream.avatar.landmarks import detect_faces, find_landmarks
from facestream.avatar.photo import PhotoError, read_photo
from facestream.avatar.preview import FacePreview, parameter_vector
from facestream.avatar.views import MAX_DIFFERENCE, PORTRAITS_TRIED, View, choose, read_views, unlikeness
from numpy.typing import NDArray

from tests.unit.test_avatar_photo import png_that_declares

REPOSITORY = Path(__file__).parents[2] / "model_repository"
PORTRAITS = REPOSITORY / "avatar_store" / "avatars"
DATA = Path(__file__).parents[1] / "data"
MODEL = load_face_model()
REST, SHUT, OPEN = DATA / "at_rest.jpg", DATA / "eyes_shut.jpg", DATA / "mouth_open.jpg"  # one person


def views_of(path: Path) -> list[View]:
    return [view for view, _ in read_views(path, MODEL)]


def test_one_person_is_told_from_another() -> None:
    rest, ben, shut, wide = (views_of(path)[0] for path in (REST, PORTRAITS / "ben.jpg", SHUT, OPEN))
    for view in (shut, wide):
        assert unlikeness(rest, view) < MAX_DIFFERENCE
        assert unlikeness(ben, view) > MAX_DIFFERENCE
    assert unlikeness(rest, ben) > MAX_DIFFERENCE
    assert unlikeness(rest, rest) == pytest.approx(0.0, abs=1e-6)


def test_the_best_view_becomes_the_portrait() -> None:
    views = choose(SHUT, [OPEN, REST], MODEL)
    assert views.chosen == "at_rest.jpg"
    assert any("the portrait is at_rest.jpg" in note for note in views.notes)
    assert views.blink is not None
    assert views.smile is not None


def test_a_bundle_names_the_file_that_its_portrait_is_in(tmp_path: Path) -> None:
    """It named the first file, which shows shut eyes: nobody could have told where the face is from."""
    built = build_avatar(SHUT, tmp_path / "x.avatar", name="x", licence="CC0-1.0", consent="synthetic", also=[REST])
    assert load_bundle(built.path).manifest["source"] == {
        "file": "at_rest.jpg",
        "sha256": hashlib.sha256(REST.read_bytes()).hexdigest(),
    }


def test_the_first_photo_is_kept_if_it_will_do() -> None:
    """Its owner chose it."""
    assert choose(REST, [SHUT], MODEL).chosen == "at_rest.jpg"


def test_pictures_of_somebody_else_are_refused_by_name() -> None:
    with pytest.raises(PhotoError, match=r"(at_rest|ben)\.jpg does not show the same person"):
        choose(REST, [PORTRAITS / "ben.jpg"], MODEL)


def test_pictures_that_stand_on_their_head_lend_nothing(tmp_path: Path) -> None:
    """Their brows were taken for lips: teeth of that colour, lids of a chin."""
    path = tmp_path / "turned.png"
    cv2.imwrite(str(path), read_photo(SHUT)[::-1, ::-1, ::-1])
    with pytest.raises(PhotoError, match=r"turned\.png: does not show exactly one face clearly and the right way up"):
        choose(REST, [path], MODEL)


def test_too_many_files_are_refused() -> None:
    with pytest.raises(PhotoError, match="22 files: at most 20"):
        choose(SHUT, [SHUT] * 21, MODEL)


def test_real_lids_and_teeth_come_into_the_bundle(tmp_path: Path) -> None:
    alone, helped = (
        build_avatar(REST, tmp_path / file, name="ada", licence="CC0-1.0", consent="synthetic", also=also)
        for file, also in (("alone.avatar", []), ("ada.avatar", [SHUT, OPEN]))
    )
    assert len(helped.notes) == 2
    bundle = load_bundle(helped.path)
    assert bundle.manifest["quality"]["real_lids"] == 1.0
    # The lid that is drawn over the eye has the colours of the person's own, nearer than the painted one.
    shut = choose(REST, [SHUT], MODEL).blink
    assert shut is not None
    image, points = shut
    own = [image[int(points[i, 1]) - 13 : int(points[i, 1]) - 6, int(points[i, 0])].mean(0) for i in (159, 386)]
    errors = []
    for path in (alone.path, helped.path):
        tensors = load_bundle(path).tensors
        photo = tensors["AVATAR_PHOTO"].transpose(1, 2, 0)
        edge = find_landmarks(photo, detect_faces(photo)[0]).landmarks
        lids = photo[172:236, 160:352].astype(float) + tensors["AVATAR_LIDS"].transpose(1, 2, 0) - 128.0
        drawn = [lids[int(edge[i, 1]) - 178 : int(edge[i, 1]) - 174, int(edge[i, 0]) - 160].mean(0) for i in (159, 386)]
        errors.append(float(np.abs(np.array(drawn) - own).mean()))
    assert errors[1] < 0.7 * errors[0]
    # Nothing of it shows at rest.
    rest = FacePreview(REPOSITORY, bundle).draw(parameter_vector({}))
    assert np.array_equal(rest, bundle.tensors["AVATAR_PHOTO"].transpose(1, 2, 0))
    # Building it again from the bundle alone cannot keep them, nor what was learned of a video, and says so.
    tuned = {**bundle.tensors, "AVATAR_ADAPTER": np.ones_like(bundle.tensors["AVATAR_ADAPTER"])}
    save_bundle(helped.path, tuned, bundle.manifest)
    again = rebuild_avatar(helped.path, tmp_path / "again.avatar")
    assert any("real_lids of other pictures" in note for note in again.notes)
    assert any("tune it again" in note for note in again.notes)
    assert load_bundle(again.path).manifest["source"] == bundle.manifest["source"]


def clip(
    path: Path, frames: list[NDArray[np.uint8]], rate: int = 10, begin: int = 0, options: dict[str, str] | None = None
) -> Path:
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 8_000_000
        for number, picture in enumerate(frames, start=begin * rate):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_clip_gives_portrait_and_lids(tmp_path: Path) -> None:
    """A few seconds of a phone's camera: a blink in it is enough."""
    ada, shut = (
        cv2.resize(read_photo(path), (768, 768), interpolation=cv2.INTER_AREA).astype(np.uint8) for path in (REST, SHUT)
    )
    views = choose(clip(tmp_path / "me.mp4", [shut, shut, ada, ada, shut, ada]), [], MODEL)
    assert views.chosen.startswith("me.mp4 at 0.")
    assert views.blink is not None


GREY = [np.full((128, 128, 3), 90, np.uint8)] * 30


def test_clips_that_were_filmed_lying_down_are_set_upright(tmp_path: Path) -> None:
    """Phones do not turn the pictures but write a matrix into the file: ignored, no face would be found."""
    ada = cv2.resize(read_photo(REST), (768, 768), interpolation=cv2.INTER_AREA).astype(np.uint8)
    path = clip(tmp_path / "lying.mp4", [np.rot90(ada)] * 2)  # counter-clockwise
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 768 << 16, 0, 1 << 30)  # clockwise
    path.write_bytes(data)
    views = views_of(path)
    assert abs(views[0].angles[2]) < 5.0


@pytest.mark.parametrize("content", [b"", b"not a clip", b"\x00\x00\x00\x18ftypmp42"], ids=["empty", "text", "cut"])
def test_files_that_are_no_clips_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(PhotoError, match=r"x\.mp4"):
        choose(path, [], MODEL)
    with pytest.raises(PhotoError, match="no such file"):
        choose(tmp_path / "absent.mp4", [], MODEL)


def film_of_pngs(path: Path, pictures: list[bytes], declared: tuple[int, int]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "rgb24"
        for number, picture in enumerate(pictures):
            packet = av.Packet(picture)
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 10), number, number
            packet.is_keyframe = True
            container.mux(packet)
    data = bytearray(path.read_bytes())
    struct.pack_into(">HH", data, data.index(b"png ") + 28, *declared)  # in the description of its samples
    path.write_bytes(data)
    return path


def test_clips_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    """Of pictures of 30000 x 30000 px a decoder keeps several: 2.7 GB each, from a file of a kilobyte."""
    small = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    bomb = png_that_declares(30000, 30000)
    told = film_of_pngs(tmp_path / "told.mov", [bomb], (30000, 30000))
    with pytest.raises(PhotoError, match=r"told\.mov: its pictures have 30000 x 30000 px \(900 million\)"):
        views_of(told)
    # The container's own word is not to be trusted, nor the first picture for the others.
    for pictures in ([bomb], [small, small, bomb]):
        with pytest.raises(PhotoError, match=r"lying\.mov: .* has pictures of more than 40 million pixels"):
            views_of(film_of_pngs(tmp_path / "lying.mov", pictures, (64, 64)))


def test_clips_of_every_container_are_looked_at_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WebM tells no length of its pictures: taken for a minute, a blink in a short clip fell between the views."""
    monkeypatch.setattr(views_module, "_view", lambda name, *arguments, few: name)
    for file in ("three_seconds.mp4", "three_seconds.mkv"):
        assert len(views_of(clip(tmp_path / file, GREY))) == 30


def test_what_a_browser_recorded_is_looked_at_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its WebM tells no length at all, and a later part of it does not begin at 0: three views, or none."""
    monkeypatch.setattr(views_module, "_view", lambda name, *arguments, few: name)
    assert len(views_of(clip(tmp_path / "live.mkv", GREY, options={"live": "1"}))) == 30
    assert len(views_of(clip(tmp_path / "later.mkv", GREY, begin=100, options={"live": "1"}))) == 30


def test_of_a_clip_only_the_pictures_that_may_be_chosen_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """48 pictures of 3000 x 1688 px are 0.7 GB, and 20 clips may be given: the machine stands still."""
    pictures: list[weakref.ref[NDArray[np.uint8]]] = []
    rest, shut, wide = (read_photo(path) for path in (REST, SHUT, OPEN))

    def frames(path: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for number in range(12):
            picture = (shut, rest, wide)[number % 3] + np.uint8(number // 3)
            pictures.append(weakref.ref(picture))
            yield f"{path.name} at {number} s", picture
            assert sum(ref() is not None for ref in pictures) <= PORTRAITS_TRIED + 1  # and the one just seen

    monkeypatch.setattr(views_module, "_frames", frames)
    views = choose(Path("me.mp4"), [Path("more.mp4")], MODEL)
    assert len(pictures) == 24
    assert views.chosen.endswith((" at 1 s", " at 4 s", " at 7 s", " at 10 s"))
    assert views.blink is not None
    assert views.smile is not None


def test_a_clip_without_a_face_is_refused(tmp_path: Path) -> None:
    path = clip(tmp_path / "wall.mp4", [np.full((768, 768, 3), 90, np.uint8)] * 3)
    with pytest.raises(PhotoError, match="no frame of the clip"):
        choose(path, [], MODEL)
