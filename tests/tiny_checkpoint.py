"""Checkpoints of wav2vec 2.0 and HuBERT with random weights, on the disk as transformers writes real ones, but tiny."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

KINDS = {"wav2vec2": ("Wav2Vec2Config", "Wav2Vec2Model"), "hubert": ("HubertConfig", "HubertModel")}

TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
LARGE: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
"""What sets the large models apart from the base ones, but for their size."""


def write_checkpoint(folder: Path, model_type: str, **settings: Any) -> Path:
    """Write a checkpoint folder, TINY but for `settings`; return it."""
    torch, transformers = import_module("torch"), import_module("transformers")
    config, model = (getattr(transformers, name) for name in KINDS[model_type])
    torch.manual_seed(0)
    transformers.logging.disable_progress_bar()
    model(config(**{**TINY, **settings})).eval().save_pretrained(folder)
    preprocessing = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000, "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return folder
