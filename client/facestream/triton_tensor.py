"""Tensors in and out of a Triton Python model, through DLPack.

The Python backend's own `as_numpy` and `Tensor(name, array)` are compiled against NumPy 1's array descriptor: under
NumPy 2 they take every item to be zero bytes wide, which yields wrong inputs and empty outputs without an error.
DLPack (https://dmlc.github.io/dlpack) carries sizes of its own and is right under both, and it copies nothing.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

_set_capsule_name = ctypes.pythonapi.PyCapsule_SetName
_set_capsule_name.argtypes = [ctypes.py_object, ctypes.c_char_p]
_set_capsule_name.restype = ctypes.c_int
_CONSUMED = b"used_dltensor"  # PyCapsule keeps the pointer: the bytes object must live as long as the process


def from_triton(tensor: Any) -> NDArray[Any]:
    """The input tensor as a read-only view, valid until the response is sent: copy what outlives the request."""
    return np.from_dlpack(tensor)


def to_triton(name: str, array: NDArray[Any]) -> Any:
    """An output tensor that shares the array's memory; the array must not change until the response is sent."""
    import triton_python_backend_utils as pb_utils  # exists inside of Triton's Python stub only

    array = np.ascontiguousarray(array)
    if not array.flags.writeable:  # DLPack before 1.0 cannot say "read-only", so NumPy refuses to export it
        array = array.copy()
    capsule = array.__dlpack__()
    tensor = pb_utils.Tensor.from_dlpack(name, capsule)
    # The backend takes the capsule over but renames it to "used_dlpack", which NumPy's destructor does not know:
    # it would print an unraisable error for every tensor.
    _set_capsule_name(capsule, _CONSUMED)
    return tensor
