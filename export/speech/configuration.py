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
MADE_FOR: Final = "# Made for "
"""So begins a configuration that was written here."""


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
        FileNotFoundError: `repository` lacks one of the stages.
        ValueError: a configuration does not fit Triton's schema, or an ensemble could not be wired any more; nothing
            is written.
    """
    paths = {name: repository / name / "config.pbtxt" for name in STAGES}
    configs = {name: read_config(path) for name, path in paths.items()}
    changed = {name: fitted(config, size) for name, config in configs.items()}
    stages = read_stages(repository) | changed
    for ensemble in ENSEMBLES:
        wire(ensemble, stages)
    head = f"{MADE_FOR}{title}, by `python -m export.speech.export`.\n"
    for name, path in paths.items():
        text = path.read_text()
        another = text.startswith(MADE_FOR) and not text.startswith(head)
        if another or changed[name] != configs[name]:
            path.write_text(head + text_format.MessageToString(changed[name]))
