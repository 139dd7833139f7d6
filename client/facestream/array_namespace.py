"""Where a stage's arrays live: in the host's memory as NumPy's, or on the GPU as CuPy's.

Arithmetic that keeps to Python's array API standard (https://data-apis.org/array-api) runs on either. A stage that can
work on the GPU asks `choose` once, when Triton makes its instance; on a machine without a GPU nothing but NumPy is ever
imported.

All work on the GPU goes to CUDA's default stream. Triton lends a Python model no stream of its own (its C++ backends
have one), and waits for the default stream whenever an output tensor is handed over. So everything is queued there, in
order, and the host waits once for each call of the stage, in `to_host` or `synchronize`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facestream.contract import NETWORKS_VARIABLE

Array = Any
"""An array of either kind."""


class ArrayNamespace:
    """NumPy, or another namespace of the array API standard whose arrays are not the host's."""

    def __init__(self, xp: Any, *, on_device: bool = False, device: int = 0) -> None:
        """`xp` is the namespace; with `on_device` its arrays live on the CUDA device of number `device`."""
        self.xp = xp
        self.on_device = on_device
        self.device = device

    def asarray(self, array: Array) -> Array:
        """The array in this namespace: itself where it lives here, a copy where it lives elsewhere."""
        return self.xp.asarray(array)

    def copy(self, array: Array) -> Array:
        """A copy in this namespace, from wherever the array lives."""
        return self.xp.asarray(array, copy=True)

    def to_host(self, arrays: Sequence[Array]) -> list[NDArray[Any]]:
        """All of these in the host's memory, after whatever is still to be computed for them."""
        return [np.asarray(array) for array in arrays]

    def synchronize(self) -> None:
        """Wait until all that was asked for is computed."""

    def lost(self) -> bool:
        """Whether nothing can be computed any more until the process is started anew.

        Some faults of a GPU (an illegal address, a memory error that ECC cannot mend) end the process's CUDA context.
        """
        return False


class _Cupy(ArrayNamespace):
    """CuPy on one GPU."""

    def __init__(self, cupy: Any, device: int) -> None:
        super().__init__(cupy, on_device=True, device=device)
        cupy.cuda.Device(device).use()

    def to_host(self, arrays: Sequence[Array]) -> list[NDArray[Any]]:
        # The copies are queued one behind the other, and waited for together.
        copies = [
            array.get(blocking=False) if isinstance(array, self.xp.ndarray) else np.asarray(array) for array in arrays
        ]
        self.synchronize()
        return copies

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()

    def lost(self) -> bool:
        try:
            self.synchronize()
        except Exception:  # CUDA repeats the fault at every call from then on
            return True
        return False


HOST = ArrayNamespace(np)
"""NumPy."""


class ArraysMissing(RuntimeError):
    """The instance belongs on a GPU that it cannot use; the text says why, and what mends it."""


def choose(args: Mapping[str, str]) -> ArrayNamespace:
    """The namespace for an instance of a Python model.

    Args:
        args: what Triton hands to the model's `initialize`; `model_instance_kind` and `model_instance_device_id` count.

    Raises:
        ArraysMissing: Triton put the instance on a GPU, where its inputs will lie, and CuPy or the GPU is not usable.
    """
    if args.get("model_instance_kind") != "GPU" or os.environ.get(NETWORKS_VARIABLE) == "cpu":
        return HOST
    return _cupy(f"{args.get('model_name', 'this stage')}: its instance is on a GPU (KIND_GPU), ", args)


def _cupy(where: str, args: Mapping[str, str]) -> ArrayNamespace:
    device = int(args.get("model_instance_device_id", "0"))
    cpu = (
        "or keep the stage on the processor: in its config.pbtxt set FORCE_CPU_ONLY_INPUT_TENSORS to 'yes' and "
        "instance_group to KIND_CPU"
    )
    try:
        import cupy
    except ImportError as error:
        raise ArraysMissing(
            f"{where}and CuPy cannot be imported ({error}); install it for the CUDA of this machine with "
            f"pip install -e '.[gpu-cuda12]' or '.[gpu-cuda13]' in facestream's clone, {cpu}"
        ) from error
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
        if count > 1:
            raise ArraysMissing(
                f"{where}and this server sees {count} GPUs: tensors of one session would lie on several. Start one "
                f"server for each GPU: CUDA_VISIBLE_DEVICES=0 tritonserver ..., CUDA_VISIBLE_DEVICES=1 ..."
            )
        arrays = _Cupy(cupy, device)
        # A kernel is compiled and run: a driver too old for CuPy's CUDA shows here, not in the first session.
        probe = arrays.asarray(np.arange(4, dtype=np.float32))
        if arrays.to_host([probe + probe])[0].tolist() != [0.0, 2.0, 4.0, 6.0]:
            raise ArraysMissing(f"{where}and GPU {device} computes wrongly: 1 + 1 is not 2; see `nvidia-smi -q -d ECC`")
    except ArraysMissing:
        raise
    except Exception as error:  # CuPy's own kinds of errors cannot be named without it
        raise ArraysMissing(
            f"{where}and CuPy {cupy.__version__} cannot use GPU {device}: {error}; see what `nvidia-smi` says of the "
            f"driver, take the extra gpu-cuda12 or gpu-cuda13 that fits it, {cpu}"
        ) from error
    return arrays
