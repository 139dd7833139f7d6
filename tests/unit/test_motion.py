"""Movement: the mouth obeys the speech, the rest lives, and nothing leaves its range."""

from __future__ import annotations

import numpy as np
import pytest
from emotion import SHAPES
from face_motion import FaceMotion
from facestream.contract import FRAME_RATE, LOOKAHEAD_FRAMES
from facestream.parameters import ARKIT, EMOTIONS, INDEX, PARAMETERS, check_emotion
from facestream.prosody import Prosody
from facestream.sequence import SessionLost
from one_euro import OneEuroFilter

SILENCE = np.array(Prosody(-90.0, 0.0, 0.0, 0.0, -90.0), np.float32)
SPEECH = np.array(Prosody(-20.0, 1.0, 120.0, 0.9, -22.0), np.float32)
MOUTH = [index for index, shape in enumerate(ARKIT) if shape.name.startswith(("jaw", "mouth", "cheekPuff", "tongue"))]


def run(
    seconds: float,
    *,
    seed: int = 7,
    jaw: np.ndarray | None = None,
    emotion: str | None = None,
    prosody: np.ndarray = SILENCE,
) -> np.ndarray:
    """Parameters (frames, 73) of a session."""
    motion = FaceMotion(seed)
    wanted = np.zeros(len(EMOTIONS), np.float32)
    if emotion:
        wanted[EMOTIONS.index(emotion)] = 1.0
    frames = []
    for frame in range(int(seconds * FRAME_RATE)):
        face = np.zeros(len(ARKIT), np.float32)
        if jaw is not None:
            face[INDEX["jawOpen"]] = jaw[frame]
        frames.append(motion.step(face, prosody, wanted, frame - LOOKAHEAD_FRAMES))
    return np.array(frames)


def test_silence_gives_a_still_mouth_and_a_living_face() -> None:
    frames = run(60)
    assert np.abs(frames[:, MOUTH]).max() == 0.0
    assert frames[:, INDEX["headYaw"]].std() > 0.005
    assert 8 <= (np.diff((frames[:, INDEX["eyeBlinkLeft"]] > 0.5).astype(int)) > 0).sum() <= 30


def test_first_frame_is_the_avatar_at_rest() -> None:
    """A jump of the head in the first frame is what a viewer notices first."""
    assert np.abs(run(0.1)[0, INDEX["headYaw"] : INDEX["headZ"] + 1]).max() < 2e-3


def test_lips_close_within_a_stop() -> None:
    """A /p/ closes for about 70 ms: a smoothing that is slower swallows it."""
    jaw = np.array([0.35] * 20 + [0.0] * 2 + [0.35] * 8, np.float32)
    shown = run(1, jaw=jaw, prosody=SPEECH)[:, INDEX["jawOpen"]]
    assert shown[19] > 0.34
    assert shown[21] < 0.02


def test_jitter_at_rest_is_smoothed() -> None:
    jitter = np.random.default_rng(0).normal(0, 0.004, 300) + 0.1
    one_euro = OneEuroFilter(np.full(1, 0.1), min_cutoff_hz=3.0, beta=16.0, rate_hz=FRAME_RATE)
    smooth = np.array([one_euro(np.array([value]))[0] for value in jitter])
    assert smooth.std() < 0.7 * jitter.std()


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_emotion_blends_in_and_leaves_the_lips_to_the_speech(emotion: str) -> None:
    assert not any(name.startswith(("jawOpen", "mouthLowerDown", "mouthUpperUp")) for name in SHAPES[emotion])
    frames = run(4, emotion=emotion)
    steps = np.abs(np.diff(frames[:, INDEX["emotionNeutral"] : INDEX["emotionContemptuous"] + 1], axis=0))
    assert frames[-1, INDEX[f"emotion{emotion.capitalize()}"]] > 0.98
    assert steps.max() < 0.06


def test_every_parameter_stays_within_its_range() -> None:
    jaw = np.random.default_rng(2).uniform(-1, 3, 300).astype(np.float32)
    frames = run(10, jaw=jaw, emotion="surprised", prosody=SPEECH)
    for index, parameter in enumerate(PARAMETERS):
        assert parameter.low <= frames[:, index].min(), parameter.name
        assert frames[:, index].max() <= parameter.high, parameter.name


def test_same_session_moves_alike_and_another_does_not() -> None:
    """Bit-equal replays are how a leak between sessions is found; two avatars that blink together look wrong."""
    assert np.array_equal(run(20, seed=11), run(20, seed=11))
    assert not np.array_equal(run(20, seed=11), run(20, seed=12))


def test_frame_out_of_order_is_refused() -> None:
    motion = FaceMotion(1)
    with pytest.raises(SessionLost, match="frame 5 arrived where frame -2 was due"):
        motion.step(np.zeros(52, np.float32), SILENCE, np.zeros(8, np.float32), 5)


def test_wrong_emotion_is_named() -> None:
    with pytest.raises(ValueError, match=r"EMOTION\[sad\] is 3"):
        check_emotion([0, 0, 3, 0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match=r"EMOTION\[happy\] is nan"):
        check_emotion([0, float("nan"), 0, 0, 0, 0, 0, 0])
