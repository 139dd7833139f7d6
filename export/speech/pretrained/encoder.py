"""wav2vec 2.0 and HuBERT as speech encoders: any Hugging Face checkpoint folder, cut at a layer.

    python -m export.speech.train --encoder FOLDER --layer 6     # an expression stage on its embeddings
    python -m export.speech.export --encoder FOLDER --layer 6    # both stages and their configurations

The folder is what `save_pretrained` writes and what a download of a model holds: config.json, the weights as
safetensors or .bin, and preprocessor_config.json. Base and large models, with group or layer normalisation, and
distilled ones (DistilHuBERT) are of one of two model types, "wav2vec2" and "hubert" (Baevski et al. 2020, "wav2vec
2.0"; Hsu et al. 2021, "HuBERT"; Chang et al. 2022, "DistilHuBERT").

They were trained with 16 kHz, take a step every 20 ms and look both ways. The graph keeps the contract all the same:
sound at 24 kHz is resampled inside, the steps are brought to 60 Hz, and what they look forward to ends with the window.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import torch
from facestream.contract import EMBEDDING_STEPS
from torch import Tensor, nn
from torch.nn.utils import parametrize

from export.speech.pretrained.resampling import RESAMPLED_RATE, Resampler, features_needed, interpolation

MODEL_TYPES: Final = ("wav2vec2", "hubert")
WEIGHTS: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


class CheckpointError(ValueError):
    """The folder is no checkpoint that can be an encoder; the text names the file, the value and what was expected."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder says of itself."""

    folder: Path
    weights: Path
    """The file with the weights, or with the list of such files."""
    model_type: str
    layers: int
    """Transformer layers of the whole model."""
    size: int
    """Width of an embedding."""
    stride: int
    """Samples at 16 kHz from one step to the next: 320."""
    span: int
    """Samples at 16 kHz that a step of the convolutions sees: 400."""
    normalised: bool
    """Whether the model expects sound of mean 0 and variance 1."""
    settings: dict[str, Any]
    """The whole of config.json."""

    def check(self, layer: int) -> None:
        """Raise CheckpointError where the model has no such layer."""
        if not 0 <= layer <= self.layers:
            raise CheckpointError(f"layer is {layer}, expected 0 to {self.layers}, the layers of {self.folder}")

    def identity(self, layer: int) -> dict[str, Any]:
        """Return what tells this encoder from any other: model type, layer, preparation, a digest of the weights."""
        digest = hashlib.sha256()
        for path in sorted({self.weights, *self.folder.glob("*.safetensors"), *self.folder.glob("pytorch_model*.bin")}):
            with path.open("rb") as file:
                while block := file.read(1 << 24):
                    digest.update(block)
        return {
            "model_type": self.model_type,
            "layer": layer,
            "normalised": self.normalised,
            "weights": digest.hexdigest(),
        }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}), expected a JSON object") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a JSON object")
    return content


def _transformers() -> Any:
    return import_module("transformers")  # heavy: only who uses a checkpoint waits for it


def _kinds(model_type: str) -> tuple[Any, Any]:
    """Return the classes of transformers for the configuration and the model."""
    library = _transformers()
    if model_type == "wav2vec2":
        return library.Wav2Vec2Config, library.Wav2Vec2Model
    return library.HubertConfig, library.HubertModel


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read the settings of a checkpoint folder.

    Raises:
        CheckpointError: it is no folder, lacks a file, or is of a model that cannot be an encoder.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder, expected one of a Hugging Face checkpoint with its config.json")
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no config.json, expected a Hugging Face checkpoint folder")
    settings = _read_json(path)
    model_type = settings.get("model_type")
    if model_type not in MODEL_TYPES:
        raise CheckpointError(f"{path}: model_type is {model_type!r}, expected one of {MODEL_TYPES}")
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise CheckpointError(f"{folder} has no weights for torch, expected one of {', '.join(WEIGHTS)}")
    kind, _ = _kinds(model_type)
    try:
        config = kind.from_dict(dict(settings))
    except Exception as error:  # transformers checks by several kinds of error
        raise CheckpointError(f"{path} does not describe a {model_type} model: {error}") from error
    stride = math.prod(config.conv_stride)
    span = 1
    for kernel, step in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        span = (span - 1) * step + kernel

    normalised = True  # what Wav2Vec2FeatureExtractor does where nothing is said
    path = folder / "preprocessor_config.json"
    if path.is_file():
        preprocessing = _read_json(path)
        rate = preprocessing.get("sampling_rate", RESAMPLED_RATE)
        if rate != RESAMPLED_RATE:
            raise CheckpointError(f"{path}: sampling_rate is {rate}, expected {RESAMPLED_RATE}")
        normalised = bool(preprocessing.get("do_normalize", True))
    return Checkpoint(
        folder, weights, model_type, config.num_hidden_layers, config.hidden_size, stride, span, normalised, settings
    )


def _load(checkpoint: Checkpoint, layer: int) -> Any:
    """Return the transformers model of a checkpoint, cut behind `layer` layers, with plain attention."""
    transformers = _transformers()
    kind_of_config, kind = _kinds(checkpoint.model_type)
    config = kind_of_config.from_dict(dict(checkpoint.settings))
    config.num_hidden_layers = layer
    config.add_adapter = False  # lies behind the last layer
    verbosity = transformers.logging.get_verbosity()
    bars = transformers.logging.is_progress_bar_enabled()
    # Weights of the layers that are cut off, and of heads, are no news.
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        model, report = kind.from_pretrained(
            str(checkpoint.folder),
            config=config,
            attn_implementation="eager",
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # safetensors, zipfile, pickle and torch have errors of their own
        raise CheckpointError(f"{checkpoint.weights} cannot be loaded: {error}") from error
    finally:
        transformers.logging.set_verbosity(verbosity)
        if bars:
            transformers.logging.enable_progress_bar()
    missing = sorted(set(report["missing_keys"]) - {"masked_spec_embed"})
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise CheckpointError(
            f"{checkpoint.weights} lacks {len(missing)} of the tensors that config.json asks for: {shown}"
        )
    return model.eval()


class PretrainedEncoder(nn.Module):
    """AUDIO_WINDOW float32[batch, 16400] at 24 kHz to EMBEDDING float32[batch, 40, size], oldest first, 60 Hz.

    The embeddings are what the checkpoint's model calls its hidden states at `layer`: 0 is what enters the first
    transformer layer, n what leaves the nth; behind the last layer of a model with normalisation in front
    ("do_stable_layer_norm") stands its final normalisation.

    Sound of another length, 400 samples for each step and 400 more, gives as many steps.
    """

    def __init__(self, checkpoint: Checkpoint, layer: int) -> None:
        super().__init__()
        checkpoint.check(layer)
        self.size = checkpoint.size
        self.stride = checkpoint.stride
        self.span = checkpoint.span
        self.normalised = checkpoint.normalised
        model = _load(checkpoint, layer)
        self.feature_extractor = model.feature_extractor
        self.feature_projection = model.feature_projection
        self.positions = model.encoder.pos_conv_embed
        convolution = self.positions.conv
        if parametrize.is_parametrized(convolution, "weight"):
            parametrize.remove_parametrizations(convolution, "weight")  # the weight itself, not how it was trained
        self.layers = model.encoder.layers
        stable = bool(model.config.do_stable_layer_norm)
        self.norm_before: nn.Module = nn.Identity() if stable else model.encoder.layer_norm
        self.norm_behind: nn.Module = (
            model.encoder.layer_norm if stable and layer == checkpoint.layers else nn.Identity()
        )
        self.requires_grad_(False)
        self.resampler, self.to_sixty = self._rates(EMBEDDING_STEPS)

    def _rates(self, steps: int) -> tuple[Resampler, nn.Linear]:
        samples = self.span + self.stride * (features_needed(self.stride, steps) - 1)
        matrix = interpolation(self.stride, steps)
        linear = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False).requires_grad_(False)
        linear.weight.copy_(matrix)
        return Resampler(samples + samples % 2), linear

    def _normalise(self, audio: Tensor) -> Tensor:
        """Sound of mean 0 and variance 1, as Wav2Vec2FeatureExtractor makes it: (x - mean) / sqrt(variance + 1e-7)."""
        # A thousand times louder: onnxscript's optimiser takes tiny constants for 0, and would divide silence by it.
        centred = (audio - audio.mean(1, keepdim=True)) * 1e3
        return centred / torch.sqrt((centred * centred).mean(1, keepdim=True) + 0.1)

    def hidden(self, audio: Tensor) -> Tensor:
        """Sound [batch, samples] at 16 kHz to the hidden states [batch, features, size] at the cut."""
        if self.normalised:
            audio = self._normalise(audio)
        x = self.feature_extractor(audio).transpose(1, 2)  # [batch, features, 512]
        x = self.feature_projection(x)
        if isinstance(x, tuple):  # wav2vec 2.0 gives what it projected, too
            x = x[0]
        x = self.norm_before(x + self.positions(x))
        for layer in self.layers:
            x = layer(x)
            if isinstance(x, tuple):
                x = x[0]
        states: Tensor = self.norm_behind(x)
        return states

    def forward(self, audio_window: Tensor) -> Tensor:
        steps = audio_window.shape[1] // 400 - 1
        resampler, to_sixty = (self.resampler, self.to_sixty) if steps == EMBEDDING_STEPS else self._rates(steps)
        features = self.hidden(resampler(audio_window))  # [batch, 34, size]
        embedding: Tensor = to_sixty(features.transpose(1, 2)).transpose(1, 2)  # [batch, 40, size]
        return embedding
