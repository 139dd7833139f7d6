"""Movement: the mouth obeys the speech, the rest lives, and nothing leaves its range."""

from __future__ import annotations

import time

import numpy as np
import pytest
from face_motion import FaceMotion
from facestream.contract import FRAME_RATE, LOOKAHEAD_FRAMES
from facestream.parameters import ARKIT, EMOTIONS, GROUPS, INDEX, PAIRS, PARAMETERS, check_emotion, table
from facestream.prosody import Prosody
from facestream.sequence import SessionLost

from perf.liveliness import statistics

SILENCE = np.array(Prosody(-90.0, 0.0, 0.0, 0.0, -90.0), np.float32)
SPEECH = np.array(Prosody(-20.0, 1.0, 120.0, 0.9, -22.0), np.float32)
MOUTH = [index for index, shape in enumerate(ARKIT) if shape.group == "mouth"]


def chatter(seconds: float, seed: int = 0) -> np.ndarray:
    """Prosody (frames, 5) of somebody who talks in phrases of about 2 s, with syllables, accents and pauses."""
    random = np.random.default_rng(seed)
    frames: list[tuple[float, ...]] = []
    while len(frames) < seconds * FRAME_RATE:
        for syllable in range(int(random.integers(6, 14))):
            strong = random.random() < 0.3
            pitch = (130.0 if strong else 112.0) - 2.0 * syllable
            for level in (-34.0, -20.0, -16.0 if strong else -20.0, -18.0 if strong else -22.0, -24.0):
                frames.append((level, 1.0, pitch, 0.9, level - 2.0))
        frames += [(-80.0, 0.0, 100.0, 0.0, -85.0)] * int(random.integers(8, 24))
    return np.array(frames[: int(seconds * FRAME_RATE)], np.float32)


def run(
    seconds: float,
    *,
    seed: int = 7,
    jaw: np.ndarray | None = None,
    emotion: str | None = None,
    intensity: float = 1.0,
    prosody: np.ndarray = SILENCE,
) -> np.ndarray:
    """Parameters (frames, 73) of a session; `prosody` is one frame's or all frames'."""
    motion = FaceMotion(seed)
    wanted = np.zeros(len(EMOTIONS), np.float32)
    if emotion:
        wanted[EMOTIONS.index(emotion)] = intensity
    frames = []
    for frame in range(int(seconds * FRAME_RATE)):
        face = np.zeros(len(ARKIT), np.float32)
        if jaw is not None:
            face[INDEX["jawOpen"]] = jaw[frame]
        heard = prosody if prosody.ndim == 1 else prosody[frame]
        frames.append(motion.step(face, heard, wanted, frame - LOOKAHEAD_FRAMES))
    return np.array(frames)


def test_parameters_are_one_complete_table() -> None:
    """Code, clients and documents read this table; a gap in it is a gap in all of them."""
    assert len(PARAMETERS) >= 70
    assert len(INDEX) == len(PARAMETERS)
    for parameter in PARAMETERS:
        assert parameter.low < parameter.high, parameter.name
        assert parameter.low <= 0.0 <= parameter.high, parameter.name
        assert parameter.unit, parameter.name
        assert len(parameter.meaning) > 10, parameter.name
        assert parameter.group in GROUPS, parameter.name
        assert f"| {parameter.name} |" in table()
    assert {parameter.group for parameter in PARAMETERS} == set(GROUPS)


def test_silence_gives_a_still_mouth_and_a_living_face() -> None:
    frames = run(60)
    assert np.abs(frames[:, MOUTH]).max() == 0.0
    assert frames[:, INDEX["headYaw"]].std() > 0.005
    assert frames[:, INDEX["breath"]].std() > 0.5
    assert frames[:, INDEX["browInnerUp"]].max() > 0.01


def test_blinks_are_as_frequent_and_as_long_as_peoples() -> None:
    """Bentivoglio et al. 1997: 17 a minute at rest, 26 in conversation; a stare or a flutter is seen at once."""
    heard = chatter(60)
    silent = [statistics(run(60, seed=seed)) for seed in range(2)]
    spoken = [statistics(run(60, seed=seed, prosody=heard)) for seed in range(2)]

    def mean(name: str, of: list[dict[str, float | None]]) -> float:
        return float(np.mean([figures[name] or 0.0 for figures in of]))

    assert 11 < mean("blinks_per_minute_silent", silent) < 21
    assert 19 < mean("blinks_per_minute_speaking", spoken) < 32
    assert 100 < mean("blink_half_closed_ms", spoken) < 200
    assert mean("blink_interval_log_deviation", spoken) > 0.3  # not a metronome


def test_both_eyes_close_together_and_at_their_widest_shut_too() -> None:
    for emotion in (None, "surprised"):
        frames = run(30, emotion=emotion, prosody=chatter(30))
        left, right = frames[:, INDEX["eyeBlinkLeft"]], frames[:, INDEX["eyeBlinkRight"]]
        assert np.abs(left - right).max() < 0.16
        assert left.max() > 0.97
        assert frames[left > 0.95, INDEX["eyeWideLeft"]].max() < 0.2


def test_head_moves_with_speech_more_than_without() -> None:
    silent, spoken = run(30), run(30, prosody=chatter(30))
    pose = [INDEX["headYaw"], INDEX["headPitch"], INDEX["headRoll"]]
    still, moving = (np.abs(np.diff(frames[:, pose], axis=0)).mean() for frames in (silent, spoken))
    assert moving > 2 * still
    assert np.rad2deg(np.abs(spoken[:, pose])).max() < 12
    # A nod is over in about half a second: what moves faster than 60 degrees a second is a twitch.
    assert np.rad2deg(np.abs(np.diff(spoken[:, pose], axis=0))).max() * FRAME_RATE < 60


def test_eyes_hold_the_viewer_while_the_head_turns() -> None:
    share = statistics(run(60, prosody=chatter(60)))["at_viewer_speaking"]
    assert share is not None
    assert 0.5 < share < 0.95


def test_eye_shapes_follow_the_eyes() -> None:
    """Applications with a renderer of their own read ARKit's shapes, not the angles."""
    frames = run(30, prosody=chatter(30))
    yaw, pitch = frames[:, INDEX["gazeYawLeft"]], frames[:, INDEX["gazePitchLeft"]]
    out, down = frames[:, INDEX["eyeLookOutLeft"]], frames[:, INDEX["eyeLookDownLeft"]]
    assert np.corrcoef(out, np.maximum(yaw, 0))[0, 1] > 0.97
    assert np.corrcoef(down, np.maximum(pitch, 0))[0, 1] > 0.97


def test_first_frame_is_the_avatar_at_rest() -> None:
    """A jump of the head in the first frame is what a viewer notices first."""
    for seed in range(5):
        first = run(0.1, seed=seed)[0]
        assert np.abs(first[INDEX["headYaw"] : INDEX["headZ"] + 1]).max() < 2e-3
        assert np.abs(first[: len(ARKIT)]).max() < 0.02


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_emotion_blends_in_over_time(emotion: str) -> None:
    frames = run(4, emotion=emotion)
    steps = np.abs(np.diff(frames[:, INDEX["emotionNeutral"] : INDEX["emotionContemptuous"] + 1], axis=0))
    assert frames[-1, INDEX[f"emotion{emotion.capitalize()}"]] > 0.98
    assert steps.max() < 0.06


def test_half_an_emotion_is_half_of_it() -> None:
    whole, half = (run(4, emotion="happy", intensity=intensity)[-1] for intensity in (1.0, 0.5))
    for name in ("mouthSmileLeft", "mouthSmileRight"):
        assert half[INDEX[name]] == pytest.approx(0.5 * whole[INDEX[name]], rel=0.05)


def test_faces_are_not_symmetric_but_nearly_so() -> None:
    """A mirrored smile looks like a mask; a crooked one like a palsy. Contempt is one-sided by nature."""
    left, right = INDEX["mouthSmileLeft"], INDEX["mouthSmileRight"]
    smiles = [run(2.5, seed=seed, emotion="happy")[-1] for seed in range(12)]
    ratios = np.array([frame[left] / frame[right] for frame in smiles])
    assert ratios.std() > 0.03
    assert (np.abs(ratios - 1.0) < 0.35).all()
    contempt = run(3, emotion="contemptuous")[-1]
    assert contempt[left] > 0.4
    assert contempt[right] < 0.1


def test_every_parameter_stays_within_its_range_and_pairs_together() -> None:
    jaw = np.random.default_rng(2).uniform(-1, 3, 150).astype(np.float32)
    for emotion in EMOTIONS:
        frames = run(5, jaw=jaw, emotion=emotion, prosody=chatter(5))
        for index, parameter in enumerate(PARAMETERS):
            assert parameter.low <= frames[:, index].min(), parameter.name
            assert frames[:, index].max() <= parameter.high, parameter.name
        for left, right, apart in PAIRS:
            assert np.abs(frames[:, INDEX[left]] - frames[:, INDEX[right]]).max() <= apart + 1e-6, left


def test_lips_round_and_smile_without_jumps() -> None:
    """Speech networks round the lips from one frame to the next; the width of a mouth that jumps is seen to."""
    motion = FaceMotion(7)
    wanted = np.zeros(len(EMOTIONS), np.float32)
    wanted[EMOTIONS.index("happy")] = 1.0
    frames = []
    for frame in range(240):
        face = np.zeros(len(ARKIT), np.float32)
        face[INDEX["mouthPucker"]] = 0.7 if frame % 16 < 8 else 0.0
        frames.append(motion.step(face, SPEECH, wanted, frame - LOOKAHEAD_FRAMES))
    steps = np.abs(np.diff(np.array(frames)[60:], axis=0))
    assert steps[:, INDEX["mouthPucker"]].max() < 0.32
    assert steps[:, INDEX["mouthSmileLeft"]].max() < 0.40


def test_same_session_moves_alike_and_another_does_not() -> None:
    """Bit-equal replays are how a leak between sessions is found; two avatars that blink together look wrong."""
    heard = chatter(10)
    assert np.array_equal(run(10, seed=11, prosody=heard), run(10, seed=11, prosody=heard))
    assert not np.array_equal(run(10, seed=11, prosody=heard), run(10, seed=12, prosody=heard))


def test_frame_out_of_order_is_refused() -> None:
    motion = FaceMotion(1)
    with pytest.raises(SessionLost, match="frame 5 arrived where frame -2 was due"):
        motion.step(np.zeros(52, np.float32), SILENCE, np.zeros(8, np.float32), 5)


def test_face_that_is_no_number_is_refused_and_changes_nothing() -> None:
    motion, undisturbed = FaceMotion(1), FaceMotion(1)
    broken = np.full(52, np.nan, np.float32)
    with pytest.raises(SessionLost, match="SPEECH_FACE"):
        motion.step(broken, SPEECH, np.zeros(8, np.float32), -2)
    face, emotion = np.zeros(52, np.float32), np.zeros(8, np.float32)
    assert np.array_equal(motion.step(face, SPEECH, emotion, -2), undisturbed.step(face, SPEECH, emotion, -2))


def test_wrong_emotion_is_named() -> None:
    with pytest.raises(ValueError, match=r"EMOTION\[sad\] is 3"):
        check_emotion([0, 0, 3, 0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match=r"EMOTION\[happy\] is nan"):
        check_emotion([0, float("nan"), 0, 0, 0, 0, 0, 0])


def test_a_frame_costs_little() -> None:
    """Processor time, so that other work on the machine does not count; the budget is 0.3 ms, this guards twice it."""
    heard = chatter(10)
    run(1)
    began = time.thread_time()
    run(10, prosody=heard, emotion="happy")
    assert (time.thread_time() - began) / (10 * FRAME_RATE) < 0.6e-3
