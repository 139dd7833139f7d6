"""The configurations of both speech stages follow the encoder: its embeddings' width, and how many threads pay."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from facestream.contract import EMBEDDING_SIZE, EMBEDDING_STEPS
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from export.ensembles import ENSEMBLES, read_config, read_stages, wire

STAGES: Final = ("speech_encoder", "expression")
THREADS: Final = "intra_op_thread_count"


def fitted(config: ModelConfig, size: int) -> ModelConfig:
    """Return a copy of a stage's configuration with embeddings of `size`.

    A transformer shares its work among two threads; the small networks are through before a second one has begun.
    """
    changed = ModelConfig()
    changed.CopyFrom(config)
    for tensor in [*changed.input, *changed.output]:
        if tensor.name == "EMBEDDING":
            tensor.dims[:] = [EMBEDDING_STEPS, size]
    if changed.name == "speech_encoder":
        changed.parameters[THREADS].string_value = "1" if size == EMBEDDING_SIZE else "2"
    return changed


def fit_configurations(repository: Path, size: int, title: str) -> None:
    """Write the configurations of both stages in `repository` where they change; `title` names the encoder in them.

    Raises:
        ValueError: a configuration does not fit Triton's schema, or an ensemble cannot be wired any more.
    """
    for name in STAGES:
        path = repository / name / "config.pbtxt"
        config = read_config(path)
        changed = fitted(config, size)
        if changed != config:
            head = f"# Made for {title}, by `python -m export.speech.export`.\n"
            path.write_text(head + text_format.MessageToString(changed))
    stages = read_stages(repository)
    for ensemble in ENSEMBLES:
        wire(ensemble, stages)
