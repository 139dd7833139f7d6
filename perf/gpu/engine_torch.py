"""PyTorch: the modules that the graphs are exported from, traced once, on a GPU replayed as one CUDA graph.

Half precision is what export.networks says of a network: convolutions whose weights it names are computed in fp16, and
their results stay in it until they meet a number in single precision, or not at all where what lies between is declared
to be in single precision. TF32 is off: fp32 means fp32.

The speech networks' training checkpoints are not part of the repository. Their weights are read back from the ONNX
files; the measure's comparison with ONNX Runtime would show it if that went wrong.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from fnmatch import fnmatch
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from export.networks import HalfPrecision, Precision, network
from export.speech.networks import STAGES, served
from perf.gpu.engine import Tensors, Unavailable
from perf.gpu.stages import REPOSITORY, network_file, ports

CONVOLUTIONS: Final = frozenset({torch.conv1d, torch.conv2d})


class TorchEngine:
    """PyTorch on a device, 'cuda' or 'cpu'."""

    name = "torch"

    def __init__(self, device: str) -> None:
        """Raises Unavailable where PyTorch has no such device."""
        if device == "cuda" and not torch.cuda.is_available():
            raise Unavailable("this PyTorch sees no GPU (torch.cuda.is_available() is false)")
        self.device = torch.device(device)
        self.version = str(torch.__version__)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def load(self, stage: str, precision: Precision) -> TorchReady:
        """The stage's module on the device."""
        half = network(stage).half
        if precision == "int8":
            raise Unavailable("PyTorch is measured in fp32 and fp16")
        if precision == "fp16" and (half is None or precision not in network(stage).precisions):
            raise Unavailable(f"{stage} is not had in fp16: see export/networks.py")
        inputs, outputs = ports(network_file(stage))
        module = module_of(stage).eval().requires_grad_(False).to(self.device)
        names = [port.name for port in outputs]
        return TorchReady(
            module, [port.name for port in inputs], names, self.device, half if precision == "fp16" else None
        )


class HalfConvolutions(TorchFunctionMode):
    """Has convolutions with chosen weights computed in fp16."""

    def __init__(self, module: nn.Module, half: HalfPrecision) -> None:
        super().__init__()
        named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        self.halves = {value.data_ptr(): value.half() for name, value in named.items() if fnmatch(name, half.weights)}
        self.handed_on_single = "Add" in half.single

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace the weight, and cast what it meets."""
        if function in CONVOLUTIONS:
            signal, weight, *others = args
            half = self.halves.get(weight.data_ptr())
            if half is not None:
                weight = half.reshape(weight.shape)
                others = [others[0].half() if others[0] is not None else None, *others[1:]] if others else []
            args = (signal.to(weight.dtype), weight, *others)
            if half is not None and self.handed_on_single:
                return function(*args, **(kwargs or {})).float()
        return function(*args, **(kwargs or {}))


class TorchReady:
    """A traced module."""

    def __init__(
        self,
        module: nn.Module,
        inputs: list[str],
        outputs: list[str],
        device: torch.device,
        half: HalfPrecision | None,
    ) -> None:
        self.inputs, self.outputs, self.device = inputs, outputs, device
        self._module = module
        self._half = half
        self._traced: torch.jit.ScriptModule | None = None

    def bind(self, feeds: Mapping[str, NDArray[Any]]) -> TorchBound:
        """The inputs on the device, and on a GPU the run captured as a graph."""
        given = [torch.from_numpy(np.ascontiguousarray(feeds[name])).to(self.device) for name in self.inputs]
        if self._traced is None:
            self._traced = self._trace(given)
        return TorchBound(self._traced, given, self.outputs)

    def _trace(self, given: list[Tensor]) -> torch.jit.ScriptModule:
        # Constants that a module writes down in its forward pass must be born on the device: a copy from the host can
        # not be captured. Tracing keeps them.
        mode = HalfConvolutions(self._module, self._half) if self._half else nullcontext()
        with warnings.catch_warnings(), torch.no_grad(), self.device, mode:
            warnings.simplefilter("ignore")
            # The trace holds for any batch where it was taken at more than one.
            example = [torch.cat([tensor, tensor])[: max(2, len(tensor))] for tensor in given]
            trace: Callable[..., torch.jit.ScriptModule] = torch.jit.trace
            traced = trace(self._module, tuple(example), check_trace=False)
        return traced


class TorchBound:
    """One batch."""

    def __init__(self, traced: Callable[..., Any], given: list[Tensor], names: list[str]) -> None:
        self._given, self._names = given, names
        self._traced = traced
        self._made: tuple[Tensor, ...] = ()
        self._graph: torch.cuda.CUDAGraph | None = None
        if given[0].device.type == "cuda":
            self._capture()

    def _forward(self) -> None:
        # Without the executor's own optimisations, which would measure runs that still compile.
        with torch.no_grad(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            made = self._traced(*self._given)
        self._made = made if isinstance(made, tuple) else (made,)

    def _capture(self) -> None:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._forward()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._forward()
        self._graph = graph

    def run(self) -> None:
        """Replay the graph, or run the module."""
        if self._graph is None:
            self._forward()
        else:
            self._graph.replay()
            torch.cuda.synchronize()

    def outputs(self) -> Tensors:
        """What was made, in fp32 where it is a floating point number."""
        made = [tensor.float() if tensor.is_floating_point() else tensor for tensor in self._made]
        return {name: tensor.cpu().numpy() for name, tensor in zip(self._names, made, strict=True)}


def module_of(stage: str) -> nn.Module:
    """The module of a stage with the weights that are served."""
    if stage in STAGES.values():
        try:
            networks = served(REPOSITORY)
        except ValueError as error:
            raise Unavailable(str(error)) from error
        return networks.encoder if stage == STAGES["encoder"] else networks.expression
    from export.face.export import make_stage

    return make_stage(stage)
