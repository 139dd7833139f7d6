"""Tensors in and out of a Triton Python model, through DLPack.

The Python backend's own `as_numpy` and `Tensor(name, array)` are compiled against NumPy 1's array descriptor: under
NumPy 2 they take every item to be zero bytes wide, which yields wrong inputs and empty outputs without an error.
DLPack (https://dmlc.github.io/dlpack) carries sizes of its own and is right under both, and it copies nothing. Tensors
on a GPU go the same way, as CuPy's arrays: nothing of them passes through the host.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from facestream.array_namespace import HOST, Array, ArrayNamespace

_set_capsule_name = ctypes.pythonapi.PyCapsule_SetName
_set_capsule_name.argtypes = [ctypes.py_object, ctypes.c_char_p]
_set_capsule_name.restype = ctypes.c_int
_CONSUMED = b"used_dltensor"  # PyCapsule keeps the pointer: the bytes object must live as long as the process


def from_triton(tensor: Any, arrays: ArrayNamespace = HOST) -> Array:
    """The input tensor as a read-only view, valid until the response is sent: copy what outlives the request.

    A tensor in the host's memory becomes NumPy's array, one on the GPU an array of `arrays`.

    Raises:
        ValueError: it lies on a GPU that `arrays` does not live on.
    """
    if not arrays.on_device:
        try:
            return np.from_dlpack(tensor)
        except (RuntimeError, BufferError) as error:  # NumPy's, for memory that is not the host's
            raise ValueError(_elsewhere(tensor, "on the processor")) from error
    if tensor.is_cpu():
        return np.from_dlpack(tensor)
    if int(tensor.__dlpack_device__()[1]) != arrays.device:
        raise ValueError(_elsewhere(tensor, f"on GPU {arrays.device}"))
    return arrays.xp.from_dlpack(tensor)


def _elsewhere(tensor: Any, here: str) -> str:
    return (
        f"{tensor.name()} lies on GPU {tensor.__dlpack_device__()[1]}, this stage works {here}: give the networks and "
        "this stage the same kind of instance_group, and run one server for each GPU (CUDA_VISIBLE_DEVICES)"
    )


def to_triton(name: str, array: Array) -> Any:
    """An output tensor that shares the array's memory; the array must not change until the response is sent.

    An array on the GPU must be contiguous and fully computed.
    """
    import triton_python_backend_utils as pb_utils  # exists inside of Triton's Python stub only

    if isinstance(array, np.ndarray):
        array = np.ascontiguousarray(array)
        if not array.flags.writeable:  # DLPack before 1.0 cannot say "read-only", so NumPy refuses to export it
            array = array.copy()
    capsule = array.__dlpack__()
    tensor = pb_utils.Tensor.from_dlpack(name, capsule)
    # The backend takes the capsule over but renames it to "used_dlpack", which NumPy's destructor does not know:
    # it would print an unraisable error for every tensor.
    _set_capsule_name(capsule, _CONSUMED)
    return tensor
