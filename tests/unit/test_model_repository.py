"""The repository as it is committed: every config against Triton's schema, the contract and its ONNX file."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from facestream import contract
from facestream.avatar.layers_canvas import AVATAR_TENSORS
from facestream.parameters import ARKIT, EMOTIONS, PARAMETERS
from facestream.prosody import Prosody
from facestream.quality import REFINERS
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from export.ensembles import REPOSITORY, read_config

CONFIGS = {path.parent.name: read_config(path) for path in sorted(REPOSITORY.glob("*/config.pbtxt"))}
NEURAL = {name: config for name, config in CONFIGS.items() if config.backend == "onnxruntime"}
STATEFUL = {name: config for name, config in CONFIGS.items() if config.HasField("sequence_batching")}

SHAPES = {
    "AUDIO": [contract.CHUNK_SAMPLES],
    "AVATAR": [contract.AVATAR_NAME_BYTES],
    "TEXT": [contract.TEXT_BYTES],
    "VOICE": [contract.VOICE_BYTES],
    "SPEECH_ID": [1],
    "STOP": [1],
    "AUDIO_WINDOW": [contract.WINDOW_SAMPLES],
    "EMBEDDING": [contract.EMBEDDING_STEPS, contract.EMBEDDING_SIZE],
    "SPEECH_FACE": [len(ARKIT)],
    "PROSODY": [len(Prosody._fields)],
    "EMOTION": [len(EMOTIONS)],
    "PARAMETERS": [len(PARAMETERS)],
    "FRAME": [contract.FRAME_SIZE, contract.FRAME_SIZE, 3],
    "FRAME_INDEX": [1],
    "QUALITY": [1],
    "QUALITY_USED": [1],
}


def test_every_folder_is_a_model_and_every_stage_is_there() -> None:
    """Triton refuses to become ready for one folder that is no model."""
    assert {path.name for path in REPOSITORY.iterdir()} == set(CONFIGS)
    assert all(config.name == name for name, config in CONFIGS.items())
    graphs = {"speech_encoder", "expression", "face_geometry", "renderer", "compositor"}
    assert set(NEURAL) == graphs | set(REFINERS.values())
    assert set(STATEFUL) == {"avatar_store", "audio_frontend", "motion", "stabilizer", "video_encoder"}


@pytest.mark.parametrize("name", CONFIGS)
def test_shapes_are_the_contract(name: str) -> None:
    for tensor in [*CONFIGS[name].input, *CONFIGS[name].output]:
        if tensor.name in SHAPES:
            assert list(tensor.dims) == SHAPES[tensor.name], tensor.name


def test_avatar_store_gives_what_a_bundle_holds() -> None:
    triton = {"uint8": "UINT8", "int32": "INT32", "float16": "FP16", "float32": "FP32"}
    bundle = {name: (triton[dtype], list(shape)) for name, (dtype, shape) in AVATAR_TENSORS.items()}
    assert tensors_of_config(CONFIGS["avatar_store"].output) == bundle | {"ADMITTED": ("BOOL", [1])}


@pytest.mark.parametrize("name", CONFIGS)
def test_sizes_are_fixed(name: str) -> None:
    """Triton lets an empty tensor through where a dimension is left open."""
    assert all(-1 not in tensor.dims for tensor in CONFIGS[name].input)
    assert {tensor.name for tensor in CONFIGS[name].output if -1 in tensor.dims} <= {"ACCESS_UNIT"}


@pytest.mark.parametrize("name", STATEFUL)
def test_stateful_stages_forget_alike(name: str) -> None:
    """Stages that differ here lose a session one after the other, and its frames with it."""
    batching = STATEFUL[name].sequence_batching
    assert batching.max_sequence_idle_microseconds == contract.SEQUENCE_IDLE_SECONDS * 1e6
    assert contract.STATE_IDLE_SECONDS > contract.SEQUENCE_IDLE_SECONDS
    assert batching.oldest.preserve_ordering


@pytest.mark.parametrize("name", STATEFUL)
def test_starts_that_are_refused_keep_nobody_waiting(name: str) -> None:
    """Triton keeps a refused START's place until it is idle, and has whoever finds none wait without a word."""
    places = STATEFUL[name].sequence_batching.oldest.max_candidate_sequences
    assert places >= 6000 * contract.SEQUENCE_IDLE_SECONDS


@pytest.mark.parametrize("name", NEURAL)
def test_neural_stages_answer_in_order_and_run_on_any_device(name: str) -> None:
    """Without a batcher it is the single instance that keeps a session's frames in order."""
    config = NEURAL[name]
    assert config.max_batch_size == 8
    assert not config.HasField("dynamic_batching")
    assert [(group.kind, group.count) for group in config.instance_group] == [(config.instance_group[0].KIND_AUTO, 1)]


@pytest.mark.parametrize("name", NEURAL)
def test_onnx_file_has_the_tensors_of_its_config(name: str) -> None:
    graph = onnx.load(REPOSITORY / name / "1" / "model.onnx").graph
    weights = {tensor.name for tensor in graph.initializer}
    assert tensors_of_onnx([tensor for tensor in graph.input if tensor.name not in weights]) == tensors_of_config(
        NEURAL[name].input
    )
    assert tensors_of_onnx(graph.output) == tensors_of_config(NEURAL[name].output)


def test_weights_stay_small() -> None:
    """A clone of the repository is the installation."""
    assert sum(path.stat().st_size for path in REPOSITORY.rglob("*.onnx")) < 40e6


def tensors_of_config(tensors: list[ModelConfig]) -> dict[str, tuple[str, list[int]]]:
    names = {value: name.removeprefix("TYPE_") for name, value in DataType.items()}
    return {tensor.name: (names[tensor.data_type], list(tensor.dims)) for tensor in tensors}


def tensors_of_onnx(values: list[onnx.ValueInfoProto]) -> dict[str, tuple[str, list[int]]]:
    triton = {"FLOAT": "FP32", "FLOAT16": "FP16", "DOUBLE": "FP64"}
    found = {}
    for value in values:
        tensor = value.type.tensor_type
        element = onnx.TensorProto.DataType.Name(tensor.elem_type)
        batch, *dims = tensor.shape.dim
        assert batch.dim_param == "batch", f"{value.name}: the leading dimension must be the open one, 'batch'"
        found[value.name] = (triton.get(element, element), [dim.dim_value for dim in dims])
    return found


def test_version_folders_hold_what_their_backend_loads() -> None:
    files = {"onnxruntime": "model.onnx", "python": "model.py"}
    for name, config in CONFIGS.items():
        folder: Path = REPOSITORY / name / "1"
        assert (folder / files[config.backend]).is_file() if config.backend else folder.is_dir(), name
