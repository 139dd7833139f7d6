"""wav2vec 2.0 and HuBERT checkpoints, from their folder to face parameters on the real server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.audio import read_sound
from facestream.contract import EMBEDDING_STEPS, PARAMETERS_ENSEMBLE
from facestream.parameters import PARAMETERS
from facestream.server import TritonServer
from facestream.session import Client

from tests.tiny_checkpoint import LARGE, write_checkpoint
from tests.tiny_corpus import write_corpus

torch = pytest.importorskip("torch", reason="torch is in the extra [export]")
pytest.importorskip("transformers", reason="transformers is in the extra [export]")

from export.ensembles import read_stages  # noqa: E402
from export.speech.export import main as export_main  # noqa: E402
from export.speech.train import main as train_main  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("speech") / "corpus")


@pytest.mark.parametrize(("model_type", "layer"), [("wav2vec2", 2), ("hubert", 0)])
def test_a_checkpoint_folder_becomes_a_served_repository(
    model_type: str, layer: int, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Choosing an encoder is one setting: shapes and configurations follow, or the server would refuse to load."""
    monkeypatch.chdir(ROOT)
    folder = write_checkpoint(tmp_path / "tiny", model_type, **(LARGE if layer else {}))
    encoder = ["--encoder", str(folder), "--layer", str(layer), "--checkpoint", str(tmp_path / "kept.pt")]
    assert train_main([*encoder, "--corpus", str(corpus), "--steps", "2"]) == 0
    repository = tmp_path / "repository"
    before = (ROOT / "model_repository/speech_encoder/config.pbtxt").read_bytes()
    assert export_main([*encoder, "--repository", str(repository)]) == 0
    assert (ROOT / "model_repository/speech_encoder/config.pbtxt").read_bytes() == before

    stages = read_stages(repository)
    assert list(stages["speech_encoder"].output[0].dims) == [EMBEDDING_STEPS, 32]
    assert list(stages["expression"].input[0].dims) == [EMBEDDING_STEPS, 32]
    assert stages["speech_encoder"].parameters["intra_op_thread_count"].string_value == "2"
    speech = read_sound(ROOT / "tests/data/speech.wav").speech[: 24_000 * 2]
    with (
        TritonServer(repository, models=[PARAMETERS_ENSEMBLE]) as server,
        Client(server.grpc_url) as client,
        client.session(output="parameters") as session,
    ):
        frames = list(session.stream(speech))
    assert len(frames) == 60
    shown = np.stack([frame.parameters for frame in frames if frame.parameters is not None])
    assert shown.shape == (60, len(PARAMETERS))
    assert np.isfinite(shown).all()
    assert np.ptp(shown, axis=0).max() > 0


def test_the_default_repository_keeps_the_small_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An encoder of 30 ms in the repository of a real-time server, by a forgotten option."""
    with pytest.raises(SystemExit):
        export_main(["--encoder", str(tmp_path), "--layer", "1", "--repository", "model_repository"])
    assert "keeps the small encoder" in capsys.readouterr().err
