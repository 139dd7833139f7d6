"""wav2vec 2.0 and HuBERT checkpoints as encoders: what is read, what is refused, what the graph computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.contract import EMBEDDING_STEPS, SAMPLE_RATE, WINDOW_SAMPLES

from tests.tiny_checkpoint import LARGE, write_checkpoint

torch = pytest.importorskip("torch", reason="torch is in the extra [export]")
transformers = pytest.importorskip("transformers", reason="transformers is in the extra [export]")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from export.speech.export import write_onnx  # noqa: E402
from export.speech.pretrained.encoder import CheckpointError, PretrainedEncoder, read_checkpoint  # noqa: E402
from export.speech.pretrained.resampling import Resampler, interpolation  # noqa: E402

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2vec2-base": ("wav2vec2", {}),
    "wav2vec2-large": ("wav2vec2", LARGE),
    "hubert-base": ("hubert", {}),
    "hubert-large": ("hubert", LARGE),
    # DistilHuBERT: two layers, no normalisation before the projection
    "distilhubert": ("hubert", {"feat_proj_layer_norm": False}),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "tiny", "hubert")


def windows(count: int) -> Any:
    return torch.from_numpy((np.random.default_rng(0).standard_normal((count, WINDOW_SAMPLES)) * 0.1).astype("float32"))


def change(path: Path, **settings: Any) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **settings}))


def hidden_states(folder: Path, audio: Any, layer: int) -> Any:
    """What transformers itself says of sound at 16 kHz, prepared by its own feature extractor."""
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    values = extractor(list(audio.numpy()), sampling_rate=16_000, return_tensors="pt").input_values
    with torch.inference_mode():
        said = model(values, output_hidden_states=True)
    return said.last_hidden_state if layer == model.config.num_hidden_layers else said.hidden_states[layer]


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("name", VARIANTS)
def test_features_are_those_of_transformers(tmp_path: Path, name: str, layer: int) -> None:
    """An encoder that differs from the library's model would waste what the checkpoint has learnt, with no error."""
    model_type, settings = VARIANTS[name]
    folder = write_checkpoint(tmp_path, model_type, **settings)
    encoder = PretrainedEncoder(read_checkpoint(folder), layer).eval()
    audio = windows(2)[:, :10_960]
    with torch.inference_mode():
        got = encoder.hidden(audio)
    np.testing.assert_allclose(got.numpy(), hidden_states(folder, audio, layer).numpy(), atol=2e-5)


@pytest.mark.parametrize("name", ["wav2vec2-base", "hubert-large", "distilhubert"])
def test_the_file_gives_what_torch_gives(tmp_path: Path, name: str) -> None:
    """A stage that is silently another network; digital silence is where the normalisation divides by zero."""
    model_type, settings = VARIANTS[name]
    encoder = PretrainedEncoder(read_checkpoint(write_checkpoint(tmp_path, model_type, **settings)), 1).eval()
    write_onnx(encoder, torch.zeros(2, WINDOW_SAMPLES), ["AUDIO_WINDOW"], ["EMBEDDING"], tmp_path / "encoder.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "encoder.onnx"))
    assert [o.shape for o in session.get_outputs()] == [["batch", EMBEDDING_STEPS, 32]]
    sound = windows(3)
    sound[1] = 0
    (got,) = session.run(None, {"AUDIO_WINDOW": sound.numpy()})
    with torch.inference_mode():
        wanted = encoder(sound).numpy()
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, wanted, atol=1e-4)
    operators = {node.op_type for node in onnx.load(tmp_path / "encoder.onnx").graph.node}
    assert not operators & {"If", "Loop", "Scan", "NonZero", "Where", "Range", "Shape", "ScatterND"}


def test_old_checkpoints_of_torch_load(folder: Path) -> None:
    """Many downloads are pytorch_model.bin, with the names of before torch's parametrisations."""
    with torch.inference_mode():
        wanted = PretrainedEncoder(read_checkpoint(folder), 2).eval()(windows(1))
    weights = transformers.AutoModel.from_pretrained(folder).state_dict()
    old = {"original0": "weight_g", "original1": "weight_v"}
    renamed = {}
    for name, value in weights.items():
        head, _, tail = name.rpartition(".")
        renamed["hubert." + (head.removesuffix("parametrizations.weight") + old[tail] if tail in old else name)] = value
    assert any(name.endswith("conv.weight_g") for name in renamed)
    (folder / "model.safetensors").unlink()
    torch.save(renamed, folder / "pytorch_model.bin")
    with torch.inference_mode():
        np.testing.assert_array_equal(PretrainedEncoder(read_checkpoint(folder), 2).eval()(windows(1)), wanted)


def test_settings_of_years_ago_are_read(folder: Path) -> None:
    """The oldest checkpoints on the hub carry settings that transformers has dropped since."""
    with torch.inference_mode():
        wanted = PretrainedEncoder(read_checkpoint(folder), 2).eval()(windows(1))
    change(
        folder / "config.json",
        architectures=["HubertForPreTraining"],
        gradient_checkpointing=True,
        freeze_feat_extract_train=True,
        mask_channel_prob=0.0,
        no_mask_time_overlap=False,
        torch_dtype="float32",
        transformers_version="4.7.0.dev0",
    )
    with torch.inference_mode():
        np.testing.assert_array_equal(PretrainedEncoder(read_checkpoint(folder), 2).eval()(windows(1)), wanted)


def test_each_step_ends_where_the_small_encoders_does(folder: Path) -> None:
    """Embeddings that come late or early put the mouth out of step with the sound."""
    encoder = PretrainedEncoder(read_checkpoint(folder), 0).eval()
    # A window of one click: the convolutions' centre of mass tells when a step believes that it happens.
    matrix = encoder.to_sixty.weight
    ends = WINDOW_SAMPLES - 480.0 * np.arange(matrix.shape[1])[::-1]
    got = matrix.numpy() @ ends
    np.testing.assert_allclose(got, 800 + 400.0 * np.arange(EMBEDDING_STEPS), atol=1e-3)


def test_the_newest_sound_is_in_the_newest_step_alone_before_any_attention(folder: Path) -> None:
    """A resampler that drops the end of the window would make the mouth late by as much."""
    (folder / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 16000, "do_normalize": False}))
    encoder = PretrainedEncoder(read_checkpoint(folder), 0).eval()
    sound = windows(1)
    changed = sound.clone()
    changed[:, -40:] += 0.5

    def first_convolution(audio: Any) -> Any:
        return encoder.feature_extractor.conv_layers[0].conv(encoder.resampler(audio)[:, None])

    moved = (first_convolution(sound) - first_convolution(changed)).abs().amax((0, 1))
    assert moved[-1] > 1e-3
    assert moved[:-20].max() == 0


@pytest.mark.parametrize("hertz", [110.0, 1000.0, 5000.0])
def test_resampling_keeps_tones_where_and_as_loud_as_they_are(hertz: float) -> None:
    """Half a sample of delay is a phase error that no loudness shows."""
    time = np.arange(WINDOW_SAMPLES) / SAMPLE_RATE
    tone = np.sin(2 * np.pi * hertz * time).astype("float32")
    got = Resampler(10_960)(torch.from_numpy(tone)[None])[0].numpy()
    newest = time[-1] - 23.5 / SAMPLE_RATE
    wanted = np.sin(2 * np.pi * hertz * (newest - np.arange(10_959, -1, -1) / 16_000))
    np.testing.assert_allclose(got[100:], wanted[100:], atol=1e-3)


@pytest.mark.parametrize("hertz", [9200.0, 10_500.0, 11_900.0])
def test_resampling_folds_nothing_back(hertz: float) -> None:
    """Hiss above 8 kHz would appear as tones that the checkpoint has never heard."""
    tone = np.sin(2 * np.pi * hertz * np.arange(WINDOW_SAMPLES) / SAMPLE_RATE).astype("float32")
    assert np.abs(Resampler(10_960)(torch.from_numpy(tone)[None])[0].numpy()[100:]).max() < 1e-3


def test_long_sound_gives_the_steps_of_its_windows() -> None:
    """The teacher hears whole utterances, by the same path: a shift there would be distilled into the small encoder."""
    for steps in (40, 41, 100, 733):
        matrix = interpolation(320, steps).numpy()
        ends = -480.0 * np.arange(matrix.shape[1])[::-1]
        np.testing.assert_allclose(matrix @ ends, -400.0 * np.arange(steps)[::-1], atol=0.05)
        np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)


# --- refusals ---------------------------------------------------------------------------------------------------


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A model's name on the hub is no folder: nothing is downloaded."""
    with pytest.raises(CheckpointError, match="facebook/hubert-base-ls960 is no folder"):
        read_checkpoint(Path("facebook/hubert-base-ls960"))
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        read_checkpoint(tmp_path)


def test_broken_settings_are_named(folder: Path) -> None:
    """Half a download."""
    (folder / "config.json").write_text('{"model_type": ')
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        read_checkpoint(folder)


def test_another_kind_of_model_is_named(folder: Path) -> None:
    """WavLM has the same files and another attention: it would load with missing weights."""
    change(folder / "config.json", model_type="wavlm")
    with pytest.raises(
        CheckpointError, match=r"config\.json: model_type is 'wavlm', expected one of \('wav2vec2', 'hub"
    ):
        read_checkpoint(folder)


def test_missing_and_foreign_weights_are_named(folder: Path) -> None:
    """A repository for TensorFlow only has the same config.json."""
    (folder / "model.safetensors").rename(folder / "tf_model.h5")
    with pytest.raises(CheckpointError, match=r"has no weights for torch, expected one of model\.safetensors"):
        read_checkpoint(folder)


def test_cut_off_weights_are_named(folder: Path) -> None:
    """An interrupted download, or the pointer that Git LFS leaves instead of the file."""
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be loaded"):
        PretrainedEncoder(read_checkpoint(folder), 1)


def test_weights_of_another_shape_are_named(folder: Path) -> None:
    """Files of two models in one folder."""
    change(folder / "config.json", intermediate_size=128)
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be loaded"):
        PretrainedEncoder(read_checkpoint(folder), 1)


def test_weights_that_lack_layers_are_named(folder: Path) -> None:
    """transformers fills what is missing with random numbers and goes on."""
    change(folder / "config.json", num_hidden_layers=3)
    with pytest.raises(CheckpointError, match=r"model\.safetensors lacks 16 of the tensors.*encoder\.layers\.2\."):
        PretrainedEncoder(read_checkpoint(folder), 3)


@pytest.mark.parametrize("layer", [-1, 3])
def test_a_layer_out_of_range_is_named(folder: Path, layer: int) -> None:
    """Python would count a negative layer from the end."""
    with pytest.raises(CheckpointError, match=f"layer is {layer}, expected 0 to 2"):
        PretrainedEncoder(read_checkpoint(folder), layer)


def test_another_sample_rate_is_named(folder: Path) -> None:
    """Sound at the wrong rate is speech a fifth too low, which no error would show."""
    change(folder / "preprocessor_config.json", sampling_rate=24000)
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json: sampling_rate is 24000, expected 16000"):
        read_checkpoint(folder)


def test_loading_is_silent(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """transformers reports each weight that a cut leaves out, and draws bars."""
    PretrainedEncoder(read_checkpoint(folder), 1)
    said = capfd.readouterr()
    assert said.out == said.err == ""
