"""TensorRT, or where it is not installed TensorRT-RTX: engines built here for this GPU, run as CUDA graphs.

Networks are strongly typed: what the ONNX file says is what is computed, so fp16 and int8 need the typed files. TF32 is
off. Builder and profiles are those that the served engines are built with (export/engines). Plans are kept in
build/gpu, by network, card and version, so that a second run starts at once. The buffers are PyTorch's.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from export.engines.build import ModuleBuilder
from export.engines.profile import BatchProfile
from export.engines.refusal import Refusal
from export.networks import Precision
from perf.gpu.engine import Tensors, Unavailable
from perf.gpu.stages import ROOT, NoNetwork, digest, network_file, ports

MODULES: Final = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
PLANS: Final = ROOT / "build" / "gpu" / "plans"


class TensorRTEngine:
    """TensorRT on the first GPU."""

    name = "tensorrt"

    def __init__(self, device: str, max_batch: int, card: str, plans: Path = PLANS) -> None:
        """`card` names the GPU in the plans' files. Raises Unavailable where there is no GPU or no TensorRT."""
        self._trt = installed()
        if device != "cuda" or not torch.cuda.is_available():
            raise Unavailable("TensorRT runs on a GPU only")
        self.version = f"{self._trt.__name__.removesuffix('_bindings')} {self._trt.__version__}"
        self.is_rtx = "rtx" in self._trt.__name__
        self._builder = ModuleBuilder(self._trt, rtx_target(self._trt) if self.is_rtx else None)
        self.profile = BatchProfile.of(max_batch)
        self._card, self._plans = card, plans
        self._logger = self._trt.Logger(self._trt.Logger.ERROR)
        self._runtime = self._trt.Runtime(self._logger)

    def load(self, stage: str, precision: Precision) -> TensorRTReady:
        """The engine of a stage, built if it is not kept."""
        try:
            path = network_file(stage, precision)
        except NoNetwork as error:
            raise Unavailable(str(error)) from error
        name = f"{stage}-{precision}-{digest(path)[:12]}-{self._card}-{self.version.replace(' ', '-')}"
        kept = self._plans / f"{name}-b{self.profile.largest}.plan"
        if not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            inputs = {port.name: port.shape for port in ports(path)[0]}
            timings = self._plans / f"{self._card}-{self.version.replace(' ', '-')}.timings"
            try:
                plan = self._builder.build(path, inputs, self.profile, None if self.is_rtx else timings)
            except Refusal as error:
                raise Unavailable(error.reason) from error
            partly = kept.with_suffix(".part")
            partly.write_bytes(plan)
            partly.rename(kept)
        engine = self._runtime.deserialize_cuda_engine(kept.read_bytes())
        if engine is None:
            kept.unlink()
            raise Unavailable(f"{self.version} does not take the plan of {stage} that it has built itself")
        return TensorRTReady(self._trt, engine, self.is_rtx, self.profile)


def rtx_target(trt: Any) -> str:
    """TensorRT-RTX's name of this GPU: 'SM75'. Told nothing, it builds for newer ones, and a T4 takes no such engine.

    Raises Unavailable where the release builds nothing for it: for Volta and Hopper there is TensorRT alone.
    """
    name = "SM{}{}".format(*torch.cuda.get_device_capability())
    if name not in trt.ComputeCapability.__members__:
        mend = "pip install tensorrt (for a V100 tensorrt-cu12==10.4.0, the last that knows it)"
        raise Unavailable(f"TensorRT-RTX {trt.__version__} builds no engines for {name}: {mend}")
    return name


def installed() -> Any:
    """TensorRT's module; raises Unavailable where none is installed."""
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise Unavailable("TensorRT is not installed (Python modules looked for: " + ", ".join(MODULES) + ")")


class TensorRTReady:
    """An engine."""

    def __init__(self, trt: Any, engine: Any, is_rtx: bool, profile: BatchProfile) -> None:
        self._trt, self._engine, self._is_rtx, self._profile = trt, engine, is_rtx, profile

    def bind(self, feeds: Mapping[str, NDArray[Any]]) -> TensorRTBound:
        """A context with its tensors on the GPU, and its run captured."""
        batch = len(next(iter(feeds.values())))
        # As Triton does: the profile that is tuned for the nearer size.
        tuned = self._profile.tuned
        profile = min(range(len(tuned)), key=lambda index: abs(tuned[index] - batch))
        return TensorRTBound(self._trt, self._engine, self._is_rtx, profile, feeds)


class TensorRTBound:
    """One batch."""

    def __init__(self, trt: Any, engine: Any, is_rtx: bool, profile: int, feeds: Mapping[str, NDArray[Any]]) -> None:
        self._context = _context(trt, engine, is_rtx)
        if self._context is None:
            raise Unavailable(
                "TensorRT makes no context of its engine: too little memory, as a rule (it says so above)"
            )
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        if profile and not self._context.set_optimization_profile_async(profile, self._stream.cuda_stream):
            raise Unavailable(f"TensorRT did not take the profile {profile} of its own engine")
        self._stream.synchronize()
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        given = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self._tensors: dict[str, torch.Tensor] = {}
        for name in given:
            self._tensors[name] = torch.from_numpy(np.ascontiguousarray(feeds[name])).cuda()
            if not self._context.set_input_shape(name, tuple(self._tensors[name].shape)):
                raise Unavailable(f"TensorRT: {name} cannot have the shape {tuple(self._tensors[name].shape)}")
        self._made = [name for name in names if name not in given]
        for name in self._made:
            dtype = torch.from_numpy(np.empty(0, trt.nptype(engine.get_tensor_dtype(name)))).dtype
            self._tensors[name] = torch.empty(tuple(self._context.get_tensor_shape(name)), dtype=dtype, device="cuda")
        for name, tensor in self._tensors.items():
            self._context.set_tensor_address(name, tensor.data_ptr())
        torch.cuda.synchronize()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._enqueue()
        self._stream.synchronize()
        if not is_rtx:  # which captures by itself
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._stream):
                self._enqueue()
            self._graph = graph

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise Unavailable("TensorRT could not run the engine (its own message is above)")

    def run(self) -> None:
        """Replay the graph, or enqueue, and wait."""
        if self._graph is None:
            self._enqueue()
            self._stream.synchronize()
        else:
            self._graph.replay()
            torch.cuda.synchronize()

    def outputs(self) -> Tensors:
        """Copies in the host's memory, in fp32 where it is a floating point number."""
        return {
            name: (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
            for name, tensor in ((name, self._tensors[name]) for name in self._made)
        }


def _context(trt: Any, engine: Any, is_rtx: bool) -> Any:
    if not is_rtx:
        return engine.create_execution_context()
    config = engine.create_runtime_config()
    config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    # Or the first runs of each batch would be those of kernels for any batch.
    config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
    return engine.create_execution_context(config)
