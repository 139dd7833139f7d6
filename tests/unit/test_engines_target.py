"""What a machine is, asked of the driver. The libraries are put on here, as no test machine has a GPU."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from export.engines.__main__ import fits
from export.engines.refusal import Refusal
from export.engines.target import Target, detect, tensorrt_version

T4 = Target("Tesla T4", (7, 5), 15 * 2**30, 40, "580.95.05", "11.2.1")


class Driver:
    """libcuda and libnvidia-ml of a machine, as ctypes calls them."""

    def __init__(self, *gpus: Target, status: int = 0) -> None:
        self._gpus, self._status = gpus, status

    def cuInit(self, flags: int) -> int:
        return self._status

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self._gpus)
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:
        device._obj.value = index
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:
        name.value = self._gpus[device.value].gpu.encode()
        return 0

    def cuDeviceTotalMem_v2(self, memory: Any, device: Any) -> int:
        memory._obj.value = self._gpus[device.value].memory_bytes
        return 0

    def cuDeviceGetAttribute(self, number: Any, attribute: int, device: Any) -> int:
        gpu = self._gpus[device.value]
        number._obj.value = {75: gpu.capability[0], 76: gpu.capability[1], 16: gpu.processors}[attribute]
        return 0

    def cuDriverGetVersion(self, number: Any) -> int:
        number._obj.value = 13000
        return 0

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlSystemGetDriverVersion(self, text: Any, size: int) -> int:
        text.value = self._gpus[0].driver.encode()
        return 0

    def nvmlShutdown(self) -> int:
        return 0


class TensorRt:
    def __init__(self, number: int) -> None:
        self._number = number

    def getInferLibVersion(self) -> int:
        return self._number


def libraries(driver: Driver | None, tensorrt: dict[str, int] | None = None, management: bool = True) -> Any:
    def load(name: str) -> Any:
        if driver is not None and (name == "libcuda.so.1" or (management and name == "libnvidia-ml.so.1")):
            return driver
        if tensorrt and name in tensorrt:
            return TensorRt(tensorrt[name])
        raise OSError(f"{name}: cannot open shared object file")

    return load


def test_a_machine_is_described_whole() -> None:
    assert detect(libraries(Driver(T4, T4), {"libnvinfer.so.11": 110201})) == T4
    assert T4.slug == "tesla-t4-sm75"
    assert Target.from_json(T4.as_json()) == T4


def test_tensorrt_of_either_lane_is_known_by_its_library() -> None:
    assert tensorrt_version(libraries(None, {"libnvinfer.so.10": 100400})) == "10.4.0"
    assert tensorrt_version(libraries(None, {"libnvinfer.so.10": 101303})) == "10.13.3"
    assert tensorrt_version(libraries(None)) is None


def test_without_its_management_library_the_driver_is_named_by_its_cuda() -> None:
    assert detect(libraries(Driver(T4), management=False)).driver == "CUDA 13.0"


@pytest.mark.parametrize(
    ("driver", "says"),
    [
        (None, r"no NVIDIA driver here: libcuda\.so\.1"),
        (Driver(T4, status=100), "finds no GPU"),
        (Driver(T4, status=35), "older than the container's CUDA"),
        (Driver(T4, status=999), "CUDA_ERROR 999"),
        (Driver(), "shows no GPU"),
        (
            Driver(T4, Target("NVIDIA L4", (8, 9), 1, 58, "", None)),
            r"GPUs differ: Tesla T4 \(7\.5\), NVIDIA L4 \(8\.9\)",
        ),
    ],
)
def test_a_machine_that_cannot_serve_is_refused_with_what_mends_it(driver: Driver | None, says: str) -> None:
    with pytest.raises(Refusal, match=says) as refused:
        detect(libraries(driver))
    assert refused.value.remedy


def test_boards_of_several_gpus_are_told_of_the_service_that_they_lack() -> None:
    """nvidia-smi answers, and a newer driver would change nothing: an engineer at eight A100 has nothing to go by."""
    with pytest.raises(Refusal, match="SYSTEM_NOT_READY") as refused:
        detect(libraries(Driver(T4, status=802)))
    assert "nvidia-fabricmanager" in refused.value.remedy


def test_a_real_library_is_opened() -> None:
    """ctypes itself, on a machine whose driver is not put on."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        with pytest.raises(Refusal, match="no NVIDIA driver"):
            detect()
    else:
        pytest.skip("this machine has a driver")


@pytest.mark.parametrize(
    ("gpu", "capability", "tensorrt", "says"),
    [
        ("Tesla V100", (7, 0), "11.2.1", "run --rm build-engines-v100"),
        ("NVIDIA B200", (10, 0), "10.4.0", "run --rm build-engines$"),
        ("Tesla P4", (6, 1), "10.4.0", "expected 7.0"),
    ],
)
def test_a_gpu_in_the_wrong_lane_is_sent_to_its_own(
    gpu: str, capability: tuple[int, int], tensorrt: str, says: str
) -> None:
    with pytest.raises(Refusal, match=says):
        fits(Target(gpu, capability, 1, 1, "580", tensorrt))


def test_a_gpu_in_its_lane_fits() -> None:
    fits(T4)
    fits(Target("Tesla V100", (7, 0), 1, 80, "580", "10.4.0"))
    fits(Target("NVIDIA H100", (9, 0), 1, 132, "580", "10.4.0"))
