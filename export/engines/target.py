"""What this machine is: its GPUs, their driver, and the TensorRT that serves.

Asked of the driver's own libraries, so that the guard before the server needs no package beside Python.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from export.engines.refusal import Refusal
from export.lanes import Capability

_MAJOR, _MINOR, _PROCESSORS = 75, 76, 16  # of CUdevice_attribute
_INSUFFICIENT_DRIVER, _NO_DEVICE = 35, 100  # of CUresult; 35 and 803 come of a driver older than its libraries
_NOT_READY = 802  # on boards of several GPUs, whose NVSwitch a service of its own sets up
_MISMATCH = 803

TENSORRT_LIBRARIES: Final = ("libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so")


class Libraries(Protocol):
    """How a shared library is opened; ctypes.CDLL, and the only thing that a test puts another in place of."""

    def __call__(self, name: str) -> Any:
        """The library, or OSError where there is none."""


@dataclass(frozen=True)
class Target:
    """A machine that networks are built for."""

    gpu: str
    """As the driver calls it: 'NVIDIA A100-SXM4-40GB'. All GPUs of the machine are of one kind."""
    capability: Capability
    """CUDA's compute capability."""
    memory_bytes: int
    processors: int
    """Streaming multiprocessors: a part of a GPU (MIG) has fewer than the whole."""
    driver: str
    """'580.95.05'."""
    tensorrt: str | None
    """'10.13.3', or None where there is no TensorRT."""

    @property
    def slug(self) -> str:
        """For names of folders: 'nvidia-a100-sxm4-40gb-sm80'."""
        name = re.sub(r"[^a-z0-9]+", "-", self.gpu.lower()).strip("-")
        return f"{name}-sm{self.capability[0]}{self.capability[1]}"

    def as_json(self) -> dict[str, Any]:
        """For records; `from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Target:
        """Raises ValueError, KeyError or TypeError for anything but what `as_json` gave."""
        major, minor = values["capability"]
        tensorrt = values["tensorrt"]
        return cls(
            str(values["gpu"]),
            (int(major), int(minor)),
            int(values["memory_bytes"]),
            int(values["processors"]),
            str(values["driver"]),
            None if tensorrt is None else str(tensorrt),
        )


def detect(libraries: Libraries = ctypes.CDLL) -> Target:
    """This machine.

    Raises:
        Refusal: there is no driver or no GPU, or the GPUs differ.
    """
    cuda = _open(libraries, ("libcuda.so.1", "libcuda.so"))
    if cuda is None:
        raise Refusal(
            "there is no NVIDIA driver here: libcuda.so.1 is not found",
            "install the driver (nvidia-smi must answer) and nvidia-container-toolkit on the host, and start the "
            "container with its GPUs (docker run --gpus all; compose's profiles gpu and v100 do)",
        )
    status = cuda.cuInit(0)
    if status != 0:
        raise Refusal(f"the NVIDIA driver does not start: {_why(status)}", _mend(status))
    found = _devices(cuda)
    if not found:
        raise Refusal(
            "the NVIDIA driver shows no GPU", "unset CUDA_VISIBLE_DEVICES, or give the container a GPU (--gpus all)"
        )
    if len({(name, capability) for name, capability, _, _ in found}) > 1:
        names = ", ".join(f"{name} ({capability[0]}.{capability[1]})" for name, capability, _, _ in found)
        raise Refusal(
            f"the GPUs differ: {names}; an engine is for one kind of GPU",
            "serve each kind in a container of its own: device_ids in docker-compose.yml, or CUDA_VISIBLE_DEVICES",
        )
    name, capability, memory, processors = found[0]
    return Target(name, capability, memory, processors, _driver(libraries, cuda), tensorrt_version(libraries))


def tensorrt_version(libraries: Libraries = ctypes.CDLL) -> str | None:
    """Version of the TensorRT that a program here loads: '10.13.3'; None where there is none."""
    library = _open(libraries, TENSORRT_LIBRARIES)
    if library is None:
        return None
    number = int(library.getInferLibVersion())
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def _devices(cuda: Any) -> list[tuple[str, Capability, int, int]]:
    """Name, compute capability, bytes of memory and multiprocessors of each GPU that the process may use."""
    count = ctypes.c_int()
    status = cuda.cuDeviceGetCount(ctypes.byref(count))
    if status != 0:
        raise Refusal(f"the NVIDIA driver does not count its GPUs: {_why(status)}", _mend(status))
    found = []
    for index in range(count.value):
        device, name, memory = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_size_t()
        numbers = [ctypes.c_int() for _ in range(3)]
        status = (
            cuda.cuDeviceGet(ctypes.byref(device), index)
            or cuda.cuDeviceGetName(name, 256, device)
            or cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
            or next(
                (
                    code
                    for number, attribute in zip(numbers, (_MAJOR, _MINOR, _PROCESSORS), strict=True)
                    if (code := cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device))
                ),
                0,
            )
        )
        if status != 0:
            raise Refusal(f"the NVIDIA driver does not describe GPU {index}: {_why(status)}", _mend(status))
        major, minor, processors = (number.value for number in numbers)
        found.append((name.value.decode(), (major, minor), memory.value, processors))
    return found


def _driver(libraries: Libraries, cuda: Any) -> str:
    """The driver's release; where its management library is missing, the CUDA version that it is made for."""
    management = _open(libraries, ("libnvidia-ml.so.1",))
    if management is not None and management.nvmlInit_v2() == 0:
        text = ctypes.create_string_buffer(96)
        status = management.nvmlSystemGetDriverVersion(text, 96)
        management.nvmlShutdown()
        if status == 0:
            return text.value.decode()
    number = ctypes.c_int()
    if cuda.cuDriverGetVersion(ctypes.byref(number)) != 0:
        return "unknown"
    return f"CUDA {number.value // 1000}.{number.value % 1000 // 10}"


def _open(libraries: Libraries, names: Sequence[str]) -> Any:
    for name in names:
        try:
            return libraries(name)
        except OSError:
            continue
    return None


def _why(status: int) -> str:
    known = {
        _INSUFFICIENT_DRIVER: "it is older than the container's CUDA (CUDA_ERROR 35)",
        _MISMATCH: "it is older than the container's CUDA, or its parts are of different releases (CUDA_ERROR 803)",
        _NO_DEVICE: "it finds no GPU (CUDA_ERROR_NO_DEVICE)",
        _NOT_READY: "the links between the GPUs are not set up (CUDA_ERROR_SYSTEM_NOT_READY)",
    }
    return known.get(status, f"CUDA_ERROR {status}")


def _mend(status: int) -> str:
    if status == _NO_DEVICE:
        return "give the container a GPU (docker run --gpus all), or unset CUDA_VISIBLE_DEVICES"
    if status == _NOT_READY:
        return (
            "on the host: sudo systemctl enable --now nvidia-fabricmanager (of the driver's own release; A100, H100 "
            "and H200 on boards with NVSwitch do nothing without it, though nvidia-smi lists them)"
        )
    return "bring the host's driver up to date, restart it, and look at what nvidia-smi says in the container"
