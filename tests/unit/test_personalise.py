"""Tuning an avatar to its person by a video: wrong tracking or a judge that knows its frames would spoil the avatar."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch (extra `export`)")

import av  # noqa: E402
import cv2  # noqa: E402
from facestream.avatar import layers_canvas as canvas  # noqa: E402
from facestream.avatar.adapter import SERVED  # noqa: E402
from facestream.avatar.bundle import load_bundle, save_bundle  # noqa: E402
from facestream.avatar.face_model import load_face_model  # noqa: E402
from facestream.avatar.layers_canvas import ADAPTER_SIZE  # noqa: E402
from facestream.avatar.photo import PhotoError  # noqa: E402
from facestream.parameters import INDEX, PARAMETERS  # noqa: E402

from export.ensembles import REPOSITORY  # noqa: E402
from export.face.personal_video import Followed, Tracker, track  # noqa: E402
from export.face.personalise import (  # noqa: E402
    Course,
    main,
    matched_light,
    personalised,
    prepare,
    split,
    trained_networks,
    tune,
)
from export.face.refine.rough_canvas import draw  # noqa: E402
from export.face.refiner import compose, source_of, trained_tiers, weights_checksum  # noqa: E402

AVATARS = Path(__file__).parents[2] / "model_repository" / "avatar_store" / "avatars"
ADA = AVATARS / "ada.avatar"


def said(**weights: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    parameters = np.zeros(len(PARAMETERS), dtype=np.float32)
    for name, value in weights.items():
        parameters[INDEX[name]] = value
    return parameters


def film(parameters: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Frames [N, 512, 512, 3] of ada at PARAMETERS [N, 73], drawn by geometry."""
    tensors = {name: value.copy() for name, value in load_bundle(ADA).tensors.items()}
    made = draw(tensors, parameters)
    photo = torch.from_numpy(tensors["AVATAR_PHOTO"])
    source = source_of(photo[None]).expand(len(parameters), -1, -1, -1)
    shown = compose(torch.from_numpy(made["flow"]).float(), torch.from_numpy(made["texture"]).float(), source)
    frames = np.repeat(tensors["AVATAR_PHOTO"].transpose(1, 2, 0)[None], len(parameters), axis=0)
    rows = slice(canvas.CANVAS_Y, canvas.CANVAS_Y + canvas.CANVAS_HEIGHT)
    columns = slice(canvas.CANVAS_X, canvas.CANVAS_X + canvas.CANVAS_WIDTH)
    frames[:, rows, columns] = shown.clamp(0, 255).round().byte().permute(0, 2, 3, 1).numpy()
    return frames


def write_clip(path: Path, frames: np.ndarray[Any, Any], options: dict[str, str] | None = None) -> Path:
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=Fraction(30))
        stream.width, stream.height, stream.pix_fmt, stream.options = 512, 512, "yuv444p", {"crf": "8"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return path


def test_parameters_are_read_back_and_the_head_is_taken_out() -> None:
    """What is learned is the face at given parameters: wrong ones would teach a smile for a vowel."""
    tracker = Tracker(load_bundle(ADA).tensors, load_face_model())
    wanted = np.stack([said(jawOpen=0.4), said(eyeBlinkLeft=0.9, eyeBlinkRight=0.9)])
    frames = film(wanted)
    for frame, truth in zip(frames, wanted, strict=True):
        shifted = np.roll(frame, (9, -14), (0, 1))
        for picture in (frame, shifted):
            followed = tracker.follow(picture)
            assert followed is not None
            strongest = int(truth.argmax())
            assert followed.parameters[strongest] == pytest.approx(truth[strongest], abs=0.25)
            rows = slice(canvas.CANVAS_Y, canvas.CANVAS_Y + canvas.CANVAS_HEIGHT)
            own = frame[rows, canvas.CANVAS_X : canvas.CANVAS_X + canvas.CANVAS_WIDTH].astype(np.float64)
            error = ((followed.canvas - own) ** 2).mean()
            assert 10 * np.log10(255**2 / error) > 27  # half a pixel off at most: the shift is gone


def test_somebody_else_and_too_little_are_refused(tmp_path: Path) -> None:
    """A stranger's video would turn the avatar into a mixture of two people."""
    tracker = Tracker(load_bundle(ADA).tensors, load_face_model())
    ben = load_bundle(AVATARS / "ben.avatar").tensors["AVATAR_PHOTO"].transpose(1, 2, 0)
    with pytest.raises(PhotoError, match="somebody other"):
        track(write_clip(tmp_path / "ben.mp4", np.repeat(ben[None], 16, axis=0)), tracker, 100)
    with pytest.raises(PhotoError, match="at least 16"):
        track(write_clip(tmp_path / "short.mp4", np.repeat(tracker.photo[None], 3, axis=0)), tracker, 100)
    (tmp_path / "no.mp4").write_bytes(b"no video")
    with pytest.raises(PhotoError, match="can be read"):
        track(tmp_path / "no.mp4", tracker, 100)
    with pytest.raises(PhotoError, match="no such file"):
        track(tmp_path / "absent.mp4", tracker, 100)


def test_frames_are_spread_over_what_a_browser_recorded(tmp_path: Path) -> None:
    """Its WebM tells neither length nor number: of five minutes the first eight seconds alone were learned from."""

    class Follower:
        def follow(self, picture: np.ndarray[Any, Any]) -> Followed:
            return Followed(said(), np.zeros((256, 192, 3), np.uint8), 0.5, 0.1)

    frames = np.full((128, 512, 512, 3), 90, np.uint8)
    path = write_clip(tmp_path / "live.mkv", frames, {"live": "1"})
    tracked = track(path, Follower(), 16)  # type: ignore[arg-type]
    assert tracked.seconds == pytest.approx(np.arange(16) * 8 / 30, abs=0.01)


def test_a_second_person_is_not_learned_from(tmp_path: Path) -> None:
    """Of two faces the larger was followed: a guest who leaned in taught their own lips to the avatar."""
    tracker = Tracker(load_bundle(ADA).tensors, load_face_model())
    ben = load_bundle(AVATARS / "ben.avatar").tensors["AVATAR_PHOTO"].transpose(1, 2, 0)
    guest = cv2.resize(np.ascontiguousarray(ben[40:480, 60:460]), (464, 512))
    both = tracker.follow(np.hstack([tracker.photo, guest]))
    assert both is not None
    assert both.unlike < 0.5
    assert np.abs(both.parameters).max() < 0.2
    frames = np.stack([tracker.photo] * 17 + [ben] * 7)
    tracked = track(write_clip(tmp_path / "turns.mp4", frames), tracker, 100)
    assert (len(tracked.parameters), tracked.left_out) == (17, 7)
    assert tracked.seconds == pytest.approx(np.arange(17) / 30, abs=0.01)
    with pytest.raises(PhotoError, match=r"15 frames show the avatar's face .* at least 16 are needed; 9 do not"):
        track(write_clip(tmp_path / "fewer.mp4", np.stack([tracker.photo] * 15 + [ben] * 9)), tracker, 100)


def test_a_face_that_is_away_at_times_leaves_enough_to_judge_by() -> None:
    """Six seconds with the face in four of them were refused, one and a half with the face in all were not."""
    seconds = np.arange(72) / 12.0
    shown = seconds[np.arange(72) // 8 % 3 > 0]
    learn, stop, judge = split(shown)
    assert sorted([*learn, *stop, *judge]) == list(range(len(shown)))
    assert len(judge) >= len(shown) // 5


def test_frames_that_judge_are_no_neighbours_of_those_learned_from() -> None:
    """Frames a thirtieth of a second apart are nearly one: judged by them, anything learned by heart seems to gain."""
    seconds = np.arange(600) / 30.0
    learn, stop, judge = split(seconds)
    assert sorted([*learn, *stop, *judge]) == list(range(600))
    assert len(judge) == 150
    assert (np.diff(judge) == 1).mean() > 0.9  # whole blocks
    with pytest.raises(ValueError, match="blocks of time"):
        split(np.zeros(40))


def test_a_brighter_camera_is_no_feature_of_the_person() -> None:
    shown = 40 + 100 * torch.rand(2, 3, 32, 24)
    factor = torch.tensor([1.3, 1.1, 0.8]).reshape(1, 3, 1, 1)
    matched = matched_light(shown * factor, shown, torch.ones(2, 1, 32, 24))
    assert torch.allclose(matched, shown, atol=0.01)


def test_what_an_adapter_can_tell_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A film that a network with known numbers has drawn: the numbers found must show frames never seen as well."""
    try:
        networks = trained_networks()
    except ValueError as error:
        pytest.skip(str(error))
    networks = {"fast": networks["fast"]}
    tensors = load_bundle(ADA).tensors
    chance = np.random.default_rng(0)
    count = 24
    parameters = np.stack(
        [
            said(jawOpen=chance.uniform(0, 0.5), mouthSmileLeft=chance.uniform(0, 0.6), eyeBlinkLeft=chance.uniform())
            for _ in range(count)
        ]
    )
    blank = np.full((count, 3, canvas.CANVAS_HEIGHT, canvas.CANVAS_WIDTH), 128, dtype=np.uint8)
    tracked = _tracked(parameters, blank)
    shots = prepare(tensors, tracked)
    known = torch.from_numpy(chance.normal(size=(1, ADAPTER_SIZE)).astype(np.float32))
    with torch.no_grad():
        shots.truth[:] = shots.shown(networks, np.arange(count), known)["fast"][1].clamp(0, 255)
    course = tune(networks, shots, tracked.seconds, steps=20)
    assert course.after["fast"]["canvas"] > course.before["fast"]["canvas"] + 0.3
    assert course.gains


def _tracked(parameters: Any, frames: Any) -> Any:
    from export.face.personal_video import Tracked

    return Tracked(parameters, frames, np.arange(len(parameters)) / 3.0, 0.5, 0)


def test_a_tuned_bundle_loads_and_tells_what_it_is(tmp_path: Path) -> None:
    bundle = load_bundle(ADA)
    decibels = {"canvas": 30.0, "mouth": 29.0, "eyes": 28.0}
    better = {name: value + 0.4 for name, value in decibels.items()}
    course = Course(np.full(ADAPTER_SIZE, 0.5, np.float32), {"fast": decibels}, {"fast": better}, (10, 2, 4))
    try:
        manifest, tensors = personalised(bundle.manifest, bundle.tensors, course, Path("/home/me/film.mp4"))
    except FileNotFoundError:
        pytest.skip("the fast network has no weights")
    save_bundle(tmp_path / "x.avatar", tensors, manifest)
    loaded = load_bundle(tmp_path / "x.avatar")
    assert (loaded.tensors["AVATAR_ADAPTER"] == 0.5).all()
    told = loaded.manifest["quality"]["personalised"]
    assert told["video"] == "film.mp4"  # not the folder
    assert told["gain_db"]["fast"]["mouth"] == pytest.approx(0.4)
    assert course.gains
    worse = Course(course.adapter, {"fast": decibels}, {"fast": {**better, "canvas": 29.9}}, (10, 2, 4))
    assert not worse.gains


def test_the_repository_says_which_weights_it_serves() -> None:
    """By it a server tells which tuned avatars fit: one of an older training would let just the wrong ones in."""
    served = (REPOSITORY / "avatar_store" / SERVED).read_text().strip()
    assert served == weights_checksum(trained_tiers()), "write it with: python -m export.face.export"


def test_command_refuses_what_it_cannot_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, complaint in (
        ([str(ADA), "--video", "absent.mp4", "-o", "x.avatar"], "absent.mp4: there is no such file"),
        ([str(tmp_path / "no.avatar"), "--video", "x", "-o", "x.avatar"], "no.avatar"),
        ([str(ADA), "--video", "x", "-o", "x.avatar", "--frames", "3"], "--frames is 3, expected at least 16"),
        ([str(ADA), "--video", "x", "-o", "x.zip"], "--output x.zip: a bundle's name ends in .avatar"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert complaint in capsys.readouterr().err
