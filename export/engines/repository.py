"""Assembles the model repository for a target: the committed one, its networks replaced by what was built.

The committed config.pbtxt files stay the source: names, types and shapes of all tensors and the stateful stages' order
are theirs. What differs by target is set in Triton's own message (ModelConfig), and nothing else is touched.

- Networks: backend, file, largest batch, batching of requests that wait, instances, CUDA graphs, warm-up.
- Stages in Python: their largest batch grows with the networks', so that a full house is one call of each.
- Ensembles: copied.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup, ModelOptimizationPolicy

from export.engines.profile import BatchProfile
from export.ensembles import read_config
from export.network_files import sha256
from export.networks import NETWORKS

Runtime = Literal["tensorrt", "onnxruntime-tensorrt", "onnxruntime-cuda", "onnxruntime-cpu"]

RUNTIMES: Final[Mapping[Runtime, str]] = {
    "tensorrt": "engines built here, run by Triton's TensorRT backend",
    "onnxruntime-tensorrt": "ONNX Runtime's TensorRT provider, whose engines are built and kept at the first run",
    "onnxruntime-cuda": "ONNX Runtime's CUDA provider: no TensorRT, fully under the MIT licence",
    "onnxruntime-cpu": "ONNX Runtime, no GPU",
}

CPU_ONLY: Final = ("intra_op_thread_count", "cpu_runtime")
"""Parameters of a network's configuration that say how a CPU runs it."""

ENCODER: Final = "video_encoder"
SESSIONS_AN_ENCODER: Final = 4
"""A process encodes six sessions in time on a fast core; some of it is to spare."""
CORES_AN_ENCODER: Final = 4
"""What encodes leaves the host's other cores to the other stages."""
MOST_ENCODERS: Final = 8
"""On a GPU each process has a CUDA context of some hundred MB."""

_LEFT_OUT: Final = shutil.ignore_patterns("__pycache__", "*.pyc")


@dataclass(frozen=True)
class NetworkFile:
    """What a stage's network is replaced by."""

    path: Path
    tuned: tuple[int, ...] = ()
    """Sizes of batch that TensorRT's profiles are tuned for, in their order."""

    @property
    def name(self) -> str:
        """Its name in the repository."""
        return "model.plan" if self.tuned else "model.onnx"


def on_gpu(runtime: Runtime) -> bool:
    """Whether networks run on a GPU."""
    return runtime != "onnxruntime-cpu"


def network_config(
    committed: ModelConfig, runtime: Runtime, profile: BatchProfile, instances: int, file: NetworkFile, cache: Path
) -> ModelConfig:
    """The configuration of a stage that runs a network.

    committed: of the stage as it is in the source repository.
    instances: How many of it work side by side.
    cache: Folder, in the server's own view, of the engines that ONNX Runtime's TensorRT provider builds.
    """
    config = ModelConfig()
    config.CopyFrom(committed)
    config.max_batch_size = profile.largest
    config.default_model_filename = file.name
    del config.instance_group[:]
    group = config.instance_group.add(count=instances)
    group.kind = ModelInstanceGroup.KIND_GPU if on_gpu(runtime) else ModelInstanceGroup.KIND_CPU
    if on_gpu(runtime) or instances > 1:
        # Committed configurations go without: on a CPU frames of a batch are drawn one after the other, and the batcher
        # is one more thread that a frame waits for at each network. A single instance answers in order without it.
        config.dynamic_batching.preserve_ordering = True
    if on_gpu(runtime):
        for name in CPU_ONLY:
            config.parameters.pop(name, None)
    if runtime == "tensorrt":
        config.backend, config.platform = "tensorrt", "tensorrt_plan"
        group.profile.extend(str(index) for index in range(len(file.tuned)))
        _capture_graphs(config, profile)
    elif runtime == "onnxruntime-tensorrt":
        # By network: the provider knows its engines by the graph's nodes, and would take those of older weights.
        _accelerate(config, profile, engine_cache(cache, config.name, file.path))
    elif runtime == "onnxruntime-cuda":
        # cuDNN's thorough search takes seconds for each new size of batch; its heuristics take none.
        config.parameters["cudnn_conv_algo_search"].string_value = "1"
    _warm_up(config, (1, profile.largest) if runtime == "tensorrt" else profile.measured)
    return config


def engine_cache(cache: Path, stage: str, network: Path) -> Path:
    """Folder of the engines that ONNX Runtime's TensorRT provider builds of a stage's ONNX file."""
    return cache / stage / sha256(network)[:16]


def _capture_graphs(config: ModelConfig, profile: BatchProfile) -> None:
    """CUDA graphs for all sizes of batch. Shapes are given in full: without, a lower bound is not heeded."""
    cuda = config.optimization.cuda
    cuda.graphs = True
    for graph in profile.graphs:
        spec = cuda.graph_spec.add(batch_size=graph.largest)
        for tensor in config.input:
            spec.input[tensor.name].dim.extend(tensor.dims)
        if graph.smallest < graph.largest:
            spec.graph_lower_bound.batch_size = graph.smallest
            for tensor in config.input:
                spec.graph_lower_bound.input[tensor.name].dim.extend(tensor.dims)


def _accelerate(config: ModelConfig, profile: BatchProfile, cache: Path) -> None:
    """ONNX Runtime's TensorRT provider: engines kept on disk, and one range of shapes, so that none is built twice.

    Types are the ONNX's own: its `precision_mode` is left out.
    """
    accelerator: ModelOptimizationPolicy.ExecutionAccelerators.Accelerator
    accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="tensorrt")
    accelerator.parameters["trt_engine_cache_enable"] = "1"
    accelerator.parameters["trt_engine_cache_path"] = str(cache)
    accelerator.parameters["trt_timing_cache_enable"] = "1"
    for bound, size in (("min", 1), ("opt", profile.largest), ("max", profile.largest)):
        shapes = (f"{tensor.name}:{'x'.join(map(str, (size, *tensor.dims)))}" for tensor in config.input)
        accelerator.parameters[f"trt_profile_{bound}_shapes"] = ",".join(shapes)


def _warm_up(config: ModelConfig, sizes: tuple[int, ...]) -> None:
    """Run once for each of these sizes of batch before the model is ready: memory and kernels are chosen by then."""
    for size in sizes:
        warmup = config.model_warmup.add(name=f"batch of {size}", batch_size=size)
        for tensor in config.input:
            given = warmup.inputs[tensor.name]
            given.data_type = tensor.data_type
            given.dims.extend(tensor.dims)
            # Zeros are a valid index, and a face at rest.
            given.zero_data = True


def python_config(committed: ModelConfig, profile: BatchProfile, encoders: int) -> ModelConfig:
    """The configuration of a stage in Python: its own, for batches as large as the networks'.

    An instance is one process, and takes one frame after the other. Only ENCODER, the dearest one, gets several: its
    sessions share nothing, and a session stays with its instance. The door counts all sessions, the shelf holds each
    avatar once, and the governor of the tiers sees the load of all.
    """
    config = ModelConfig()
    config.CopyFrom(committed)
    if config.HasField("sequence_batching"):
        config.max_batch_size = profile.largest
    if config.name == ENCODER:
        for group in config.instance_group:
            group.count = encoders
    return config


def encoders_for(sessions: int, cores: int) -> int:
    """Processes that encode video, for so many sessions on a host of so many cores."""
    return max(1, min(math.ceil(sessions / SESSIONS_AN_ENCODER), cores // CORES_AN_ENCODER, MOST_ENCODERS))


def assemble(
    source: Path,
    destination: Path,
    runtime: Runtime,
    networks: Mapping[str, NetworkFile],
    profile: BatchProfile,
    instances: int = 1,
    encoders: int = 1,
    cache: Path = Path("engine-cache"),
) -> None:
    """Write the repository for a target into `destination`, a folder that is not there yet.

    source: The committed repository.
    networks: For each stage that runs a network, what it is replaced by.
    instances, encoders: How many of each network, and of ENCODER, work side by side.

    Raises:
        ValueError: a network is missing or one too many, or a committed configuration does not fit Triton's schema.
    """
    wanted = {network.stage for network in NETWORKS}
    if networks.keys() != wanted:
        raise ValueError(f"networks are {', '.join(sorted(networks))}; expected {', '.join(sorted(wanted))}")
    destination.mkdir(parents=True)
    for folder in sorted(path.parent for path in source.glob("*/config.pbtxt")):
        committed = read_config(folder / "config.pbtxt")
        model = destination / folder.name
        if folder.name in wanted:
            file = networks[folder.name]
            config = network_config(committed, runtime, profile, instances, file, cache)
            (model / "1").mkdir(parents=True)
            shutil.copyfile(file.path, model / "1" / file.name)
        else:
            config = python_config(committed, profile, encoders)
            shutil.copytree(folder, model, ignore=_LEFT_OUT)
        head = f"# Assembled by `python -m export.engines` for {runtime}; the source is the stage's own config.pbtxt.\n"
        body: str = text_format.MessageToString(config)
        (model / "config.pbtxt").unlink(missing_ok=True)
        (model / "config.pbtxt").write_text(head + body)


def input_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shape of each input by name, without the batch."""
    return {tensor.name: tuple(tensor.dims) for tensor in config.input}
