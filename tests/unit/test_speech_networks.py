"""The two speech networks as they lie in the model repository, in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from facestream.contract import CHUNK_SAMPLES, EMBEDDING_SIZE, EMBEDDING_STEPS, LOOKAHEAD_FRAMES, WINDOW_SAMPLES
from facestream.parameters import ARKIT, INDEX

from perf.lip_sync import SpeechNetworks, frame_times, lip_gap, read_audio

ROOT = Path(__file__).parents[2]
REPOSITORY = ROOT / "model_repository"

# Of tests/data/speech.wav, as pocketsphinx aligns it; seconds.
HELD_LIPS = {
    "m of much": (4.00, 4.10),
    "m of might": (4.52, 4.62),
    "b of be": (4.79, 4.84),
    "p of prudently": (4.94, 5.05),
    "p of power": (5.75, 5.80),
}
OPEN_LIPS = {"o of John": (0.77, 0.91), "a of had": (1.68, 1.76), "ow of power": (5.80, 5.93)}


@pytest.fixture(scope="module")
def networks() -> SpeechNetworks:
    return SpeechNetworks(REPOSITORY)


@pytest.fixture(scope="module")
def faces(networks: SpeechNetworks) -> np.ndarray:
    """Faces float64[213, 52] shown for the test sentence."""
    return networks.faces(read_audio(ROOT / "tests/data/speech.wav"))


@pytest.mark.parametrize(
    ("stage", "inputs", "outputs"),
    [
        ("speech_encoder", {"AUDIO_WINDOW": [WINDOW_SAMPLES]}, {"EMBEDDING": [EMBEDDING_STEPS, EMBEDDING_SIZE]}),
        ("expression", {"EMBEDDING": [EMBEDDING_STEPS, EMBEDDING_SIZE]}, {"SPEECH_FACE": [len(ARKIT)], "VISEME": [15]}),
    ],
)
def test_shapes_are_the_contracts(stage: str, inputs: dict[str, list[int]], outputs: dict[str, list[int]]) -> None:
    """Triton refuses to load a stage whose file disagrees with its config.pbtxt, and no TensorRT engine fits it."""
    session = onnxruntime.InferenceSession(str(REPOSITORY / stage / "1" / "model.onnx"))
    assert {i.name: i.shape for i in session.get_inputs()} == {k: ["batch", *v] for k, v in inputs.items()}
    assert {o.name: o.shape for o in session.get_outputs()} == {k: ["batch", *v] for k, v in outputs.items()}
    assert {t.type for t in [*session.get_inputs(), *session.get_outputs()]} == {"tensor(float)"}


@pytest.mark.parametrize("stage", ["speech_encoder", "expression"])
def test_files_tell_nothing_of_the_machine_that_made_them(stage: str) -> None:
    """torch's exporter writes its Python stack, with file names, into every node unless export.py removes it."""
    content = (REPOSITORY / stage / "1" / "model.onnx").read_bytes()
    assert b"stack_trace" not in content
    assert b"site-packages" not in content


def test_batch_rows_do_not_touch(networks: SpeechNetworks) -> None:
    """Sessions share batches on the server: one must never see another's sound."""
    rng = np.random.default_rng(0)
    windows = (rng.standard_normal((8, WINDOW_SAMPLES)) * 0.05).astype(np.float32)
    together = networks.encoder({"AUDIO_WINDOW": windows})["EMBEDDING"]
    for i in range(8):
        alone = networks.encoder({"AUDIO_WINDOW": windows[i : i + 1]})["EMBEDDING"]
        np.testing.assert_allclose(together[i], alone[0], atol=1e-4)


def test_digital_silence_leaves_the_face_at_rest(networks: SpeechNetworks) -> None:
    """The mouth of a caller on mute moves: what users of talking heads complain of first."""
    faces = networks.faces(np.zeros(30 * CHUNK_SAMPLES, np.float32))
    assert np.abs(faces).max() < 0.01


@pytest.mark.parametrize("decibels", [-70.0, -55.0])
def test_room_noise_leaves_the_face_at_rest(networks: SpeechNetworks, decibels: float) -> None:
    """A microphone's noise opens the mouth between sentences."""
    noise = np.random.default_rng(1).standard_normal(60 * CHUNK_SAMPLES) * 10 ** (decibels / 20)
    faces = networks.faces(noise.astype(np.float32))
    assert faces[:, INDEX["jawOpen"]].max() < 0.05
    assert np.abs(np.diff(faces, axis=0)).sum(1).mean() < 0.02


def test_weights_stay_in_the_range_of_a_speaking_face(faces: np.ndarray) -> None:
    """Weights out of [0, 1] break a rig; a jaw beyond 0.6 is a scream."""
    assert faces.shape == (213, len(ARKIT))
    assert np.isfinite(faces).all()
    assert faces.min() >= 0.0
    assert faces.max() <= 1.0
    assert 0.3 < faces[:, INDEX["jawOpen"]].max() <= 0.6


def test_speech_moves_only_the_mouth(faces: np.ndarray) -> None:
    """Blinks, brows and gaze belong to the motion stage: two stages would fight over them."""
    moved = {ARKIT[i].name for i in np.flatnonzero(faces.max(0))}
    assert moved
    assert all(name.startswith(("jaw", "mouth", "tongue")) for name in moved)


@pytest.mark.parametrize(("start", "end"), [pytest.param(*span, id=name) for name, span in HELD_LIPS.items()])
def test_lips_meet_on_p_b_and_m(faces: np.ndarray, start: float, end: float) -> None:
    """Lips that stay open on p, b and m are what makes a dubbed film look wrong."""
    times = frame_times(len(faces))
    held = faces[(times > start - 0.017) & (times < end + 0.017)]
    best = held[lip_gap(held).argmin()]
    assert lip_gap(best[None])[0] < 0.06
    assert best[INDEX["jawOpen"]] < 0.04


@pytest.mark.parametrize(("start", "end"), OPEN_LIPS.values(), ids=OPEN_LIPS)
def test_jaw_opens_on_open_vowels(faces: np.ndarray, start: float, end: float) -> None:
    """A mouth that mumbles through its vowels looks as wrong as one that never closes."""
    times = frame_times(len(faces))
    assert faces[(times > start) & (times < end), INDEX["jawOpen"]].max() > 0.25


@pytest.mark.parametrize("decibels", [-18.0, 12.0])
def test_the_microphones_level_does_not_show(networks: SpeechNetworks, faces: np.ndarray, decibels: float) -> None:
    """A soft microphone would make a mumbler of whoever speaks into it."""
    sound = read_audio(ROOT / "tests/data/speech.wav") * np.float32(10 ** (decibels / 20))
    heard = networks.faces(sound)
    assert heard[:, INDEX["jawOpen"]].mean() == pytest.approx(faces[:, INDEX["jawOpen"]].mean(), rel=0.03)
    assert np.abs(heard - faces).mean() < 0.01


def test_the_mouth_never_sees_the_sound_behind_its_look_ahead(networks: SpeechNetworks) -> None:
    """A frame that depended on more sound than its request brings would show a delay that nobody counted."""
    audio = read_audio(ROOT / "tests/data/speech.wav")[: 60 * CHUNK_SAMPLES]
    changed = audio.copy()
    frame = 40
    changed[(frame + LOOKAHEAD_FRAMES + 1) * CHUNK_SAMPLES :] = 0
    np.testing.assert_array_equal(networks.faces(audio)[: frame + 1], networks.faces(changed)[: frame + 1])
