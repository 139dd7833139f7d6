"""Feeling and speech in one mouth: no emotion may hold a /p/ open or part lips that the speech holds shut."""

from __future__ import annotations

import numpy as np
import pytest
from emotion import STYLES, Emotion
from facestream.avatar.face_model import load_face_model
from facestream.contract import FRAME_RATE
from facestream.parameters import ARKIT, EMOTIONS, INDEX
from mouth import PARTING_MM, Yielding, felt_speech

UPPER, LOWER = [81, 82, 13, 312, 311], [178, 87, 14, 317, 402]  # MediaPipe's inner lips, about the middle
SILENT = np.zeros(len(ARKIT))


def weights(**named: float) -> np.ndarray:
    """ARKit weights (52,); a name without a side stands for both."""
    row = np.zeros(len(ARKIT))
    for name, value in named.items():
        for full_name in (name, f"{name}Left", f"{name}Right"):
            if full_name in INDEX:
                row[INDEX[full_name]] = value
    return row


def gap_mm(arkit: np.ndarray) -> float:
    """Distance of the lips' middle of the face model beyond that at rest, mm."""
    model = load_face_model()
    positions = model.neutral + np.tensordot(np.clip(arkit, 0, 1) @ model.arkit_matrix(), model.expression, 1)
    rest, moved = (model.landmarks(vertices) for vertices in (model.neutral, positions))
    return 10.0 * float(np.mean((moved[UPPER] - moved[LOWER])[:, 1] - (rest[UPPER] - rest[LOWER])[:, 1]))


def settled(*emotions: str) -> tuple[np.ndarray, float]:
    """Shapes and factor of opening of whole emotions."""
    feeling = Emotion()
    wanted = np.array([name in emotions for name in EMOTIONS], np.float32)
    for _ in range(5 * FRAME_RATE):
        mood = feeling(wanted)
    return mood.shapes, mood.opening


def test_parting_is_that_of_the_face_model() -> None:
    for name, millimetres in PARTING_MM.items():
        assert gap_mm(weights(**{name: 0.1})) == pytest.approx(0.1 * millimetres, abs=0.02), name


SAID = {
    "rest": {},
    "p": {"mouthPress": 0.3, "mouthRollLower": 0.2, "mouthRollUpper": 0.2},
    "p, lightly": {"mouthPress": 0.1},
}


@pytest.mark.parametrize("emotion", EMOTIONS)
@pytest.mark.parametrize("said", SAID)
def test_no_emotion_opens_a_closed_mouth(emotion: str, said: str) -> None:
    shapes, opening = settled(emotion)
    assert gap_mm(felt_speech(weights(**SAID[said]), shapes, opening)) < 0.3
    assert felt_speech(weights(**SAID[said]), shapes, opening)[INDEX["jawOpen"]] < 0.005


@pytest.mark.parametrize("pair", [("disgusted", "angry"), ("disgusted", "surprised"), ("fearful", "happy")])
def test_no_pair_of_emotions_opens_a_closed_mouth(pair: tuple[str, str]) -> None:
    shapes, opening = settled(*pair)
    for named in SAID.values():
        assert gap_mm(felt_speech(weights(**named), shapes, opening)) < 0.3


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_no_emotion_shuts_an_open_vowel(emotion: str) -> None:
    said = weights(jawOpen=0.25, mouthLowerDown=0.08, mouthUpperUp=0.04)
    shapes, opening = settled(emotion)
    assert 0.75 < gap_mm(felt_speech(said, shapes, opening)) / gap_mm(said) < 1.6


def test_rounded_lips_win_over_a_smile() -> None:
    """A happy "oo" that stays as wide as a grin is heard as another vowel."""
    shapes, opening = settled("happy")
    smile = INDEX["mouthSmileLeft"]
    assert felt_speech(weights(mouthPucker=0.6), shapes, opening)[smile] < 0.3 * shapes[smile]
    assert felt_speech(SILENT, shapes, opening)[smile] == shapes[smile]


@pytest.mark.parametrize("said", [{"jawOpen": 0.1}, {"jawOpen": 0.22, "mouthLowerDown": 0.08}, {"jawOpen": 0.4}])
def test_surprise_drops_the_jaw_and_raises_no_chin(said: dict[str, float]) -> None:
    """A jaw and a chin that pull against each other pout with every syllable."""
    shapes, opening = settled("surprised")
    mixed = felt_speech(weights(**said), shapes, opening)
    assert mixed[INDEX["jawOpen"]] > said["jawOpen"]
    assert mixed[INDEX["mouthShrugLower"]] == 0.0


def test_lips_close_no_further_than_the_jaw_is_open() -> None:
    """ARKit's rule for mouthClose: beyond it the lips pass through each other."""
    mixed = felt_speech(weights(jawOpen=0.1, mouthClose=0.4), SILENT, 1.0)
    assert mixed[INDEX["mouthClose"]] == pytest.approx(0.1)


SYLLABLES: list[dict[str, float]] = [
    {},
    {"mouthPress": 0.22, "mouthRollLower": 0.06, "mouthRollUpper": 0.06},
    {"jawOpen": 0.05},
    {"jawOpen": 0.22, "mouthLowerDown": 0.08, "mouthUpperUp": 0.04},
    {"jawOpen": 0.45, "mouthLowerDown": 0.2, "mouthUpperUp": 0.1},
]


@pytest.mark.parametrize("emotions", [("disgusted",), ("angry",), ("disgusted", "angry")])
def test_the_nose_does_not_move_with_the_syllables(emotions: tuple[str, ...]) -> None:
    """A nose that wrinkles with each vowel twitches."""
    shapes, opening = settled(*emotions)
    noses = [felt_speech(weights(**said), shapes, opening)[INDEX["noseSneerLeft"]] for said in SYLLABLES]
    assert noses == pytest.approx([noses[0]] * len(noses))
    assert noses[0] > 0.35


def talk(*emotions: str, syllables: int = 12) -> np.ndarray:
    """Weights (frames, 52) of a mouth that opens and closes five times a second."""
    shapes, opening = settled(*emotions)
    yielding = Yielding()
    said = [weights(**SYLLABLES[index]) for _ in range(syllables) for index in (1, 3, 4, 4, 3, 2)]
    return np.array([felt_speech(face, shapes, opening, yielding(face)) for face in said])


@pytest.mark.parametrize(("emotion", "name"), [("angry", "mouthPressLeft"), ("sad", "mouthShrugLower")])
def test_a_tense_mouth_does_not_flicker_between_syllables(emotion: str, name: str) -> None:
    """Lips that are pressed in anger, or a chin that is raised in sorrow, anew in each closure."""
    course = talk(emotion)[12:, INDEX[name]]  # the first syllables release it
    said = np.array([weights(**SYLLABLES[index])[INDEX[name]] for index in (1, 3, 4, 4, 3, 2)] * 10)
    assert np.abs(course - said).max() < 0.35 * settled(emotion)[0][INDEX[name]]


def test_pressed_lips_do_not_burst_open() -> None:
    course = talk("angry")[:, INDEX["mouthPressLeft"]]
    assert np.diff(course).min() > -0.6


def test_a_feeling_comes_back_when_nobody_speaks() -> None:
    shapes, opening = settled("angry")
    yielding = Yielding()
    yielding(weights(jawOpen=0.4))
    after = [felt_speech(SILENT, shapes, opening, yielding(SILENT)) for _ in range(2 * FRAME_RATE)]
    press = [face[INDEX["mouthPressLeft"]] / shapes[INDEX["mouthPressLeft"]] for face in after]
    assert press[3] < 0.75
    assert press[FRAME_RATE] > 0.9


@pytest.mark.parametrize("emotion", EMOTIONS)
@pytest.mark.parametrize("said", SAID)
def test_no_emotion_opens_a_mouth_that_closes_amid_speech(emotion: str, said: str) -> None:
    """Where the speech has just released what a feeling holds shut, a /p/ has to close all the same."""
    shapes, opening = settled(emotion)
    yielding = Yielding()
    for _ in range(5):
        yielding(weights(jawOpen=0.4))
    closed = weights(**SAID[said])
    mixed = felt_speech(closed, shapes, opening, yielding(closed))
    assert gap_mm(mixed) < 0.3
    assert mixed[INDEX["jawOpen"]] < 0.005


def test_neutral_leaves_the_speech_as_it_is() -> None:
    said = weights(jawOpen=0.3, mouthSmile=0.1, mouthFunnel=0.2)
    shapes, opening = settled("neutral")
    assert np.array_equal(felt_speech(said, shapes, opening), said)


def test_every_style_names_shapes_that_exist() -> None:
    """A misspelt one would do nothing, silently."""
    for emotion, style in STYLES.items():
        for name, weight in style.shapes.items():
            assert {name, f"{name}Left"} & set(INDEX), f"{emotion}: {name}"
            assert 0.0 < weight <= 1.0, f"{emotion}: {name}"
