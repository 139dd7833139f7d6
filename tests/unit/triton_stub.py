"""A stand-in for what a Triton Python model sees: `triton_python_backend_utils`, requests and tensors.

Enough to run a stage's `execute` as Triton does, on arrays of any kind: an array that is not NumPy's counts as one on a
GPU, and the stage's own code for GPUs runs on it.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.array_namespace import ArrayNamespace
from facestream.sequence_stage import SequenceStage

START, END = 1, 2


@dataclass
class StubTensor:
    """A tensor as the Python backend hands it out; `array` is what it shares its memory with."""

    label: str
    array: Any

    def name(self) -> str:
        return self.label

    def is_cpu(self) -> bool:
        return isinstance(self.array, np.ndarray)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0) if self.is_cpu() else (2, 0)

    def __dlpack__(self, **wishes: Any) -> Any:
        if not self.is_cpu():
            raise BufferError("memory on a GPU")  # what NumPy would find
        array = self.array if self.array.flags.writeable else self.array.copy()
        return array.__dlpack__()


@dataclass
class StubRequest:
    """A request of one session."""

    session: int
    inputs: Mapping[str, Any]
    bits: int = 0

    def correlation_id(self) -> int:
        return self.session

    def flags(self) -> int:
        return self.bits


@dataclass
class StubError:
    text: str

    def message(self) -> str:
        return self.text


@dataclass
class StubResponse:
    """What a stage answers: tensors, or an error."""

    output_tensors: list[StubTensor] = field(default_factory=list)
    error: Any = None

    def has_error(self) -> bool:
        return self.error is not None

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """The outputs in the host's memory, without the batch."""
        assert self.error is None, self.error
        return {tensor.label: np.asarray(tensor.array)[0] for tensor in self.output_tensors}


class _FromTensors:
    """A namespace that takes tensors of `StubTensor`, as CuPy takes those of Triton that lie on the GPU."""

    def __init__(self, xp: Any) -> None:
        self._xp = xp

    def __getattr__(self, name: str) -> Any:
        return getattr(self._xp, name)

    def from_dlpack(self, tensor: StubTensor) -> Any:
        return tensor.array


class DeviceNamespace(ArrayNamespace):
    """Arrays of a strict namespace in place of a GPU's; counts how often the host waits for them."""

    def __init__(self, xp: Any) -> None:
        super().__init__(_FromTensors(xp), on_device=True)
        self.waits = 0

    def to_host(self, arrays: Any) -> list[Any]:
        self.waits += 1
        return super().to_host(arrays)


class _Received:
    """A capsule that the backend was handed."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, **wishes: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


@dataclass
class StubTriton:
    """The module `triton_python_backend_utils`, and what was logged through it."""

    infer: Callable[[Any], StubResponse] | None = None
    """Answers BLS requests."""
    log: list[str] = field(default_factory=list)
    ready: Callable[[str], bool] = lambda name: True

    def module(self) -> types.ModuleType:
        stub = self

        class InferenceRequest:
            def __init__(self, **settings: Any) -> None:
                self.__dict__.update(settings)

            async def async_exec(self) -> StubResponse:
                assert stub.infer is not None
                return stub.infer(self)

        module = types.ModuleType("triton_python_backend_utils")
        module.__dict__.update(
            Tensor=types.SimpleNamespace(
                from_dlpack=lambda name, capsule: StubTensor(name, np.from_dlpack(_Received(capsule)).copy())
            ),
            InferenceRequest=InferenceRequest,
            InferenceResponse=lambda tensors=(), error=None: StubResponse(list(tensors), error),
            TritonError=StubError,
            PreferredMemory=lambda kind, device: (kind, device),
            TRITONSERVER_MEMORY_CPU="CPU",
            TRITONSERVER_MEMORY_GPU="GPU",
            Logger=types.SimpleNamespace(log_error=stub.log.append, log_warn=stub.log.append, log_info=stub.log.append),
            is_model_ready=lambda name: stub.ready(name),
            get_input_tensor_by_name=lambda request, name: (
                StubTensor(name, request.inputs[name]) if name in request.inputs else None
            ),
            get_output_tensor_by_name=lambda response, name: next(
                tensor for tensor in response.output_tensors if tensor.label == name
            ),
        )
        return module


def start_stage(
    stage: SequenceStage[Any],
    folder: Path,
    inputs: list[str],
    arrays: ArrayNamespace | None,
    monkeypatch: pytest.MonkeyPatch,
    triton: StubTriton | None = None,
    optional: Collection[str] = (),
) -> StubTriton:
    """Bring a stage up as Triton does; with `arrays` it works there, as on a GPU. `optional` are some of `inputs`."""
    triton = triton or StubTriton()
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", triton.module())
    if arrays is not None:
        monkeypatch.setattr("facestream.sequence_stage.choose", lambda args: arrays)
    config = {"name": folder.name, "input": [{"name": name, "optional": name in optional} for name in inputs]}
    stage.initialize({"model_config": json.dumps(config), "model_repository": str(folder)})
    return triton
