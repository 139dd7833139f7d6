"""Training goes on from the networks of a model repository, whose checkpoints nobody has kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile

torch = pytest.importorskip("torch", reason="torch is in the extra [export]")

from export.speech.encoder import LogMel  # noqa: E402
from export.speech.export import windows, write_onnx  # noqa: E402
from export.speech.networks import fit_norms, norms_of, served  # noqa: E402

ROOT = Path(__file__).parents[2]
REPOSITORY = ROOT / "model_repository"


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Windows float32[16, 16400] of the test sentence."""
    audio, _ = soundfile.read(ROOT / "tests/data/speech.wav", dtype="float32")
    return windows(audio)[40:56]


def test_the_served_networks_answer_as_their_files_do(sound: np.ndarray) -> None:
    """A course that began with a weight in the wrong place would unlearn in silence what was shipped."""
    networks = served(REPOSITORY)
    with torch.inference_mode():
        embedding = networks.encoder(torch.from_numpy(sound))
        face, viseme = networks.expression(embedding)
    encoder, expression = (
        onnxruntime.InferenceSession(str(REPOSITORY / stage / "1" / "model.onnx"))
        for stage in ("speech_encoder", "expression")
    )
    (wanted,) = encoder.run(None, {"AUDIO_WINDOW": sound})
    np.testing.assert_allclose(embedding.numpy(), wanted, atol=2e-3)
    wanted_face, wanted_viseme = expression.run(None, {"EMBEDDING": wanted})
    np.testing.assert_allclose(face.numpy(), wanted_face, atol=1e-3)
    np.testing.assert_allclose(viseme.numpy(), wanted_viseme, atol=1e-3)


def test_norms_that_are_fitted_change_no_answer_and_let_training_begin_there(sound: np.ndarray) -> None:
    """In training a norm takes each batch's own mean and spread: unfitted ones would make other networks of these."""
    networks = served(REPOSITORY)
    mel = LogMel()(torch.from_numpy(sound))
    with torch.inference_mode():
        before = networks(mel)
        fit_norms(networks, mel)
        torch.testing.assert_close(networks(mel), before, atol=2e-3, rtol=0.0)
        for _, norm in norms_of(networks):
            norm.train()  # and nothing else, for what training drops is not asked here
        torch.testing.assert_close(networks(mel), before, atol=5e-3, rtol=0.0)


def test_networks_of_another_shape_are_refused(tmp_path: Path) -> None:
    """wav2vec's stages, or networks of another day, must not be loaded half."""
    with pytest.raises(FileNotFoundError, match="speech_encoder"):
        served(tmp_path)
    for stage in ("speech_encoder", "expression"):
        narrow = torch.nn.Linear(8, 8)
        write_onnx(narrow, torch.zeros(2, 8), ["X"], ["Y"], tmp_path / stage / "1" / "model.onnx")
    with pytest.raises(ValueError, match="another shape"):
        served(tmp_path)
