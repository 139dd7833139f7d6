"""Where a stage works: on the processor unless Triton puts it on a GPU, and then refused in words if it cannot."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
from facestream.array_namespace import HOST, ArraysMissing, choose
from facestream.contract import NETWORKS_VARIABLE
from facestream.triton_tensor import from_triton

from tests.unit.triton_stub import DeviceNamespace, StubTensor

GPU = {"model_name": "stabilizer_0", "model_instance_kind": "GPU", "model_instance_device_id": "0"}


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NETWORKS_VARIABLE, raising=False)


def cupy(count: int = 1, fault: Exception | None = None) -> types.ModuleType:
    """A module that behaves like CuPy as far as `choose` looks, on NumPy."""

    class Ndarray(np.ndarray):
        def get(self, blocking: bool = True) -> np.ndarray:
            return np.array(self)

    def asarray(array: np.ndarray, copy: bool | None = None) -> Any:
        if fault is not None:
            raise fault
        return array.copy().view(Ndarray)

    waits: list[int] = []
    stream = types.SimpleNamespace(synchronize=lambda: waits.append(1))
    module = types.ModuleType("cupy")
    module.__dict__.update(
        __version__="14.2.0",
        ndarray=Ndarray,
        asarray=asarray,
        waits=waits,
        cuda=types.SimpleNamespace(
            runtime=types.SimpleNamespace(getDeviceCount=lambda: count),
            Device=lambda device: types.SimpleNamespace(use=lambda: None),
            get_current_stream=lambda: stream,
        ),
    )
    return module


@pytest.mark.parametrize("args", [{"model_instance_kind": "CPU"}, {}])
def test_stage_on_the_processor_never_imports_cupy(args: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert choose(args) is HOST


def test_server_without_a_container_stays_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its networks do, whatever card the machine has: frames would travel for nothing."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setenv(NETWORKS_VARIABLE, "cpu")
    assert choose(GPU) is HOST


def test_gpu_with_cupy_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    module = cupy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    arrays = choose(GPU)
    assert arrays.on_device
    module.waits.clear()
    one, other = arrays.to_host([arrays.asarray(np.ones(3)), np.zeros(2)])
    assert (one.tolist(), other.tolist()) == ([1, 1, 1], [0, 0])
    assert len(module.waits) == 1, "all copies are waited for together"
    assert not arrays.lost()
    monkeypatch.setattr(module.cuda, "get_current_stream", lambda: pytest.fail("illegal address"))
    with pytest.raises(pytest.fail.Exception):
        arrays.synchronize()


def test_missing_cupy_is_told_with_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors would lie where the stage cannot reach them: better at the start than at the first frame."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ArraysMissing, match=r"stabilizer_0: .*KIND_GPU.*\.\[gpu-cuda12\].*KIND_CPU"):
        choose(GPU)


def test_driver_that_is_too_old_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version")
    monkeypatch.setitem(sys.modules, "cupy", cupy(fault=fault))
    with pytest.raises(ArraysMissing, match=r"CuPy 14.2.0 cannot use GPU 0: cudaErrorInsufficientDriver.*nvidia-smi"):
        choose(GPU)


def test_several_gpus_are_refused_with_how_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session's tensors would lie on different cards from stage to stage."""
    monkeypatch.setitem(sys.modules, "cupy", cupy(count=4))
    with pytest.raises(ArraysMissing, match=r"sees 4 GPUs.*CUDA_VISIBLE_DEVICES=0 tritonserver"):
        choose(GPU)


def test_real_cupy_without_a_gpu_is_told() -> None:
    module = pytest.importorskip("cupy", reason="CuPy comes with the extras gpu-cuda12 and gpu-cuda13")
    if module.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ArraysMissing, match="cannot use GPU 0"):
        choose(GPU)


class OnDevice:
    """What lies on a GPU: NumPy cannot take it."""


def test_tensor_on_a_gpu_is_refused_by_a_stage_on_the_processor() -> None:
    """Configurations that put networks and stages on different sides are the operator's to mend."""
    with pytest.raises(ValueError, match=r"CANVAS_FLOW lies on GPU 0, this stage works on the processor: give the"):
        from_triton(StubTensor("CANVAS_FLOW", OnDevice()))


def test_tensor_on_another_gpu_is_refused() -> None:
    arrays = DeviceNamespace(np)
    arrays.device = 1
    with pytest.raises(ValueError, match=r"CANVAS_FLOW lies on GPU 0, this stage works on GPU 1.*CUDA_VISIBLE"):
        from_triton(StubTensor("CANVAS_FLOW", OnDevice()), arrays)
    arrays.device = 0
    there = OnDevice()
    assert from_triton(StubTensor("CANVAS_FLOW", there), arrays) is there
    assert from_triton(StubTensor("FRAME_INDEX", np.array([[3]])), arrays).tolist() == [[3]]
