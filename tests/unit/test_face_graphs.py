"""The three drawing stages as they are committed, run on the ready avatars without a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
from facestream.avatar.bundle import load_bundle
from facestream.avatar.drawing_stages import STAGES
from facestream.avatar.layers_canvas import AVATAR_TENSORS, CANVAS_X, CANVAS_Y, EYES_HEIGHT
from facestream.avatar.preview import FacePreview, parameter_vector
from numpy.typing import NDArray

from export.ensembles import REPOSITORY

Tensors = dict[str, NDArray[Any]]
Draw = Callable[[Tensors], Tensors]

AVATARS = {path.stem: path for path in sorted((REPOSITORY / "avatar_store" / "avatars").glob("*.avatar"))}
SPEAKING = {"jawOpen": 0.35, "mouthFunnel": 0.3, "headYaw": 0.08, "headPitch": -0.03, "eyeBlinkLeft": 0.5}


def tensors(*avatars: str, faces: tuple[Mapping[str, float], ...]) -> Tensors:
    """A batch: each face on its avatar."""
    bundles = [load_bundle(AVATARS[name]).tensors for name in avatars]
    batch: Tensors = {name: np.stack([bundle[name] for bundle in bundles]) for name in AVATAR_TENSORS}
    batch["PARAMETERS"] = np.stack([parameter_vector(face) for face in faces])
    return batch


@pytest.fixture(scope="module")
def draw() -> Draw:
    """Runs the three stages with ONNX Runtime; the answer holds all tensors on the way."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [
        onnxruntime.InferenceSession(REPOSITORY / stage / "1" / "model.onnx", options, ["CPUExecutionProvider"])
        for stage in STAGES
    ]

    def run(given: Tensors) -> Tensors:
        known = dict(given)
        for session in sessions:
            names = [output.name for output in session.get_outputs()]
            made = session.run(names, {port.name: known[port.name] for port in session.get_inputs()})
            known.update(zip(names, made, strict=True))
            if "CANVAS_TEXTURE" in known:
                known["STABLE_TEXTURE"] = known["CANVAS_TEXTURE"]
        return known

    return run


def one(draw: Draw, avatar: str, **face: float) -> Tensors:
    """All tensors of one face, without the batch."""
    return {name: value[0] for name, value in draw(tensors(avatar, faces=(face,))).items()}


@pytest.mark.parametrize("avatar", AVATARS)
def test_at_rest_the_frame_is_the_photo(draw: Draw, avatar: str) -> None:
    """A listener's avatar must be the portrait that its owner chose, closed lips and all."""
    made = one(draw, avatar)
    photo = made["AVATAR_PHOTO"].transpose(1, 2, 0)
    np.testing.assert_array_equal(made["FRAME"], photo)
    assert not made["CANVAS_TEXTURE"].any()
    assert not made["CANVAS_FLOW"].any()


@pytest.mark.parametrize("avatar", AVATARS)
def test_the_mouth_opens_with_the_jaw(draw: Draw, avatar: str) -> None:
    """Speech is unreadable when a wider jaw does not show a wider mouth."""
    openings = [float(one(draw, avatar, jawOpen=jaw)["CANVAS_TEXTURE"][3].sum()) for jaw in (0.0, 0.1, 0.25, 0.5, 0.9)]
    assert openings[0] == 0.0
    assert all(wider > narrower + 20.0 for narrower, wider in pairwise(openings)), openings


@pytest.mark.parametrize("avatar", AVATARS)
def test_pressed_lips_stay_closed(draw: Draw, avatar: str) -> None:
    """On M, B and P an open mouth is what viewers notice first."""
    made = one(draw, avatar, mouthPressLeft=0.5, mouthPressRight=0.5, mouthRollLower=0.3, mouthRollUpper=0.2)
    assert made["CANVAS_TEXTURE"][3].sum() < 15.0


@pytest.mark.parametrize("avatar", AVATARS)
def test_a_blink_covers_the_eyes(draw: Draw, avatar: str) -> None:
    """No slit of eyeball may be left: where the pupils were there is skin, as bright as above the lid."""
    rest, blink = one(draw, avatar), one(draw, avatar, eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    rows = slice(CANVAS_Y + 16, CANVAS_Y + EYES_HEIGHT - 16)
    for columns in (slice(CANVAS_X + 16, 244), slice(268, CANVAS_X + 176)):
        before = rest["FRAME"][rows, columns].mean(2)
        y, x = np.unravel_index(before.argmin(), before.shape)  # a pupil is the darkest thing there
        around = np.s_[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        lid = blink["FRAME"][rows, columns].mean(2)[around].mean()
        assert lid > before[around].mean() + 25.0


@pytest.mark.parametrize("avatar", AVATARS)
def test_closed_lids_show_nothing_from_within_the_eye(draw: Draw, avatar: str) -> None:
    """Where the lids meet, the mean of both lids' motions once led into the pupil: specks along the lashes."""
    made = one(draw, avatar, eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    flow, cover = made["CANVAS_FLOW"][:, :EYES_HEIGHT], made["CANVAS_TEXTURE"][3, :EYES_HEIGHT]
    y, x = np.mgrid[0:EYES_HEIGHT, 0 : flow.shape[2]].astype(np.float32)
    scores = [
        cv2.remap(plane.astype(np.float32), (x + flow[0] - 0.5) / 2, (y + flow[1] - 0.5) / 2, cv2.INTER_LINEAR)
        for plane in made["AVATAR_SCORES"]
    ]
    within = np.maximum(*scores) < -4.0  # px from either lid's edge
    assert (within & (cover < 0.3)).sum() == 0


def test_one_eye_blinks_alone_on_the_persons_left(draw: Draw) -> None:
    """Left is the person's own: the right of the picture. Swapped sides would mirror every ARKit recording."""
    rest = one(draw, "ada")["FRAME"].astype(int)
    changed = np.abs(one(draw, "ada", eyeBlinkLeft=1.0)["FRAME"] - rest).max(2) > 8
    changed = changed[CANVAS_Y : CANVAS_Y + EYES_HEIGHT]
    assert changed[:, 256:].sum() > 200
    assert changed[:, :256].sum() == 0


@pytest.mark.parametrize(
    ("name", "axis", "row"),
    [("headYaw", 0, 33), ("headPitch", 1, 33), ("headRoll", 0, 12), ("headX", 0, 33), ("headY", 1, 33)],
)
def test_head_turns_the_way_the_parameters_say(draw: Draw, name: str, axis: int, row: int) -> None:
    """Fields point to where a pixel comes from: positive motion, negative flow. `row` is a node of 8 px."""
    assert one(draw, "ada", **{name: 0.05})["HEAD_FLOW"][axis, row, 32] < -1.0
    assert one(draw, "ada", **{name: -0.05})["HEAD_FLOW"][axis, row, 32] > 1.0


@pytest.mark.parametrize("avatar", AVATARS)
def test_the_background_stands_still(draw: Draw, avatar: str) -> None:
    """A wall that moves with the head is the first sign of a warped photo. Away from the person not a bit changes."""
    turn = {"headYaw": 0.175, "headPitch": 0.10, "headRoll": -0.10, "headX": 0.02}
    made = one(draw, avatar, **turn)
    photo = made["AVATAR_PHOTO"].transpose(1, 2, 0)
    matte = made["AVATAR_BACKDROP"][3].repeat(2, 0).repeat(2, 1)
    person = cv2.dilate((matte > 0).astype(np.uint8), np.ones((181, 181), np.uint8)) > 0
    assert (~person).mean() > 0.01  # beside the widest curls little is left to compare
    np.testing.assert_array_equal(made["FRAME"][~person], photo[~person])
    free = cv2.dilate((matte > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    changed = np.abs(made["FRAME"].astype(int) - photo).max(2) > 0
    assert changed[~free].mean() > 0.5  # the person did move
    assert changed[free].mean() < 0.35  # only where the head is now


def test_no_crack_runs_through_the_background(draw: Draw) -> None:
    """Between what moves with the head and what stands still, the background once broke along a line."""
    given = tensors("ben", faces=({"headRoll": -0.14},))
    photo = given["AVATAR_PHOTO"][0]
    small = photo.reshape(3, 256, 2, 256, 2).mean((2, 4)).round().astype(np.uint8)
    head = given["AVATAR_BACKDROP"][0, 3:].copy()
    given["AVATAR_BACKDROP"] = np.concatenate([small, head])[None]  # the person is part of the background, too
    frame = draw(given)["FRAME"][0].astype(float)
    wall = np.s_[10:90, 350:420]  # beside the head, where the motion fades
    drawn, true = frame[wall], photo.transpose(1, 2, 0)[wall].astype(float)
    assert np.abs(drawn - true).max() < 6.0


def test_gaze_moves_the_iris_and_nothing_else(draw: Draw) -> None:
    """A gaze to the person's left moves both irises to the right of the picture; the skin stays."""
    rest = one(draw, "ada")["FRAME"].astype(int)
    made = one(draw, "ada", gazeYawLeft=0.2, gazeYawRight=0.2)
    changed = np.abs(made["FRAME"] - rest).max(2) > 8
    assert changed[CANVAS_Y : CANVAS_Y + EYES_HEIGHT].sum() == changed.sum() > 100
    assert (made["AFFINES"][3:, 0, 2] < -1.0).all()


def test_a_batch_is_what_each_session_gets_alone(draw: Draw) -> None:
    """Sessions share batches: another's avatar or face must not change a single byte."""
    faces = (SPEAKING, {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.5, "headRoll": 0.05})
    both = draw(tensors("ada", "ben", faces=faces))["FRAME"]
    for index, avatar in enumerate(("ada", "ben")):
        alone = draw(tensors(avatar, faces=faces[index : index + 1]))["FRAME"][0]
        np.testing.assert_array_equal(both[index], alone)


def test_no_parameter_breaks_the_picture(draw: Draw) -> None:
    """Beyond the range of a parameter the frame still is a picture of the person, not noise."""
    wild = one(draw, "ben", jawOpen=3.0, mouthFunnel=2.0, headYaw=0.25, headPitch=0.2, headRoll=0.2, eyeBlinkLeft=5.0)
    assert all(np.isfinite(wild[name]).all() for name in ("FACE_FLOW", "SEAM_FLOW", "HEAD_FLOW", "CANVAS_TEXTURE"))
    photo = wild["AVATAR_PHOTO"].transpose(1, 2, 0).astype(int)
    assert np.abs(wild["FRAME"] - photo).mean() < 25.0


def test_openvino_draws_what_onnx_runtime_draws(draw: Draw) -> None:
    """The server runs the one or the other; owners must not see which."""
    expected = one(draw, "ada", **SPEAKING)["FRAME"].astype(int)
    drawn = FacePreview(REPOSITORY, load_bundle(AVATARS["ada"])).draw(parameter_vector(SPEAKING))
    difference = np.abs(drawn - expected)
    assert difference.max() <= 3
    assert difference.mean() < 0.02


def test_the_committed_graphs_are_what_the_modules_say(draw: Draw) -> None:
    """Who changes a module under export/face and forgets `python -m export.face.export` finds out here."""
    torch = pytest.importorskip("torch")
    from export.face.export import INPUTS, OUTPUTS, make_stage, run

    given = tensors("ada", "ben", faces=(SPEAKING, {"jawOpen": 0.6, "gazeYawLeft": 0.2}))
    expected = draw(given)
    known = {name: torch.from_numpy(np.array(value)) for name, value in given.items()}
    for stage in STAGES:
        made = run(make_stage(stage), INPUTS[stage], known)
        known.update(zip(OUTPUTS[stage], made, strict=True))
        if stage == "renderer":
            known["STABLE_TEXTURE"] = known["CANVAS_TEXTURE"]
    for name in ("FACE_FLOW", "SEAM_FLOW", "HEAD_FLOW", "AFFINES", "CANVAS_FLOW"):
        np.testing.assert_allclose(known[name].numpy(), expected[name], atol=2e-3, err_msg=name)
    assert np.abs(known["FRAME"].numpy().astype(int) - expected["FRAME"]).max() <= 2
