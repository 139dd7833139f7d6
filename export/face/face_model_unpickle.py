"""Read arrays out of a foreign pickle without running what it says.

A pickle is a program: loaded plainly, a file from anywhere may do anything. Here only the few names that arrays are
made of are known (NumPy's, SciPy's sparse matrices and chumpy's arrays, the last two as stand-ins of our own that hold
data and can do nothing); every other name ends the reading.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 1 << 30
"""No face model is larger; a pickle's lengths are not to fill the memory."""


class Inert:
    """Stands in for an object of a class that is not to be run; keeps what the pickle sets in it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 2:  # the form of classes with slots
            state = {**(state[0] or {}), **(state[1] or {})}
        self.state = dict(state) if isinstance(state, dict) else {}


class ChumpyArray(Inert):
    """chumpy.ch.Ch: the numbers are in `x`."""


class ChumpySelection(Inert):
    """chumpy.reordering.Select: the elements `idxs` of the array `a`, in the shape `preferred_shape`."""


class SparseMatrix(Inert):
    """A matrix of scipy.sparse."""


class NotAllowedError(pickle.UnpicklingError):
    """The pickle asks for something that no array needs."""


class Function:
    """A function that a pickle may call and cannot alter (it could set a plain function's defaults)."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: Any) -> None:
        raise NotAllowedError("the file alters a function")


def _blank(cls: type, base: type, state: Any) -> object:
    """What copyreg._reconstructor does, for stand-ins alone."""
    if not (isinstance(cls, type) and issubclass(cls, Inert) and base is object):
        raise NotAllowedError(f"the file makes a {cls!r}, which no face model needs")
    return cls.__new__(cls)


def _array_to_be(subtype: type, shape: tuple[int, ...], kind: bytes | str) -> NDArray[Any]:
    """What numpy's _reconstruct does, for plain arrays alone: an empty one, filled by its state."""
    if subtype is not np.ndarray:
        raise NotAllowedError(f"the file makes a {subtype!r}, expected a plain array")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _text_to_bytes(text: str, encoding: str = "latin1") -> bytes:
    """What _codecs.encode does in pickles of protocol 2."""
    if encoding not in ("latin1", "latin-1"):
        raise NotAllowedError(f"the file encodes by {encoding!r}, expected 'latin1'")
    return text.encode("latin1")


def _scalar(dtype: np.dtype[Any], data: bytes | str = b"") -> Any:
    raw = data.encode("latin1") if isinstance(data, str) else data
    if dtype.hasobject:
        raise NotAllowedError("the file holds a scalar of objects")
    return np.frombuffer(raw, dtype=dtype, count=1)[0]


_SPARSE = ("csc", "csr", "coo")
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("copy_reg", "_reconstructor"): Function(_blank),
    ("copyreg", "_reconstructor"): Function(_blank),
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("_codecs", "encode"): Function(_text_to_bytes),
    ("chumpy.ch", "Ch"): ChumpyArray,
    ("chumpy", "Ch"): ChumpyArray,
    ("chumpy.reordering", "Select"): ChumpySelection,
    **{
        (f"{core}.multiarray", name): Function(function)
        for core in ("numpy.core", "numpy._core")
        for name, function in (("_reconstruct", _array_to_be), ("scalar", _scalar))
    },
    **{(f"scipy.sparse.{form}", f"{kind}_matrix"): SparseMatrix for kind in _SPARSE for form in (kind, f"_{kind}")},
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise NotAllowedError(f"the file asks for {module}.{name}, which no face model needs") from None

    def persistent_load(self, pid: Any) -> Any:
        raise NotAllowedError("the file refers to objects outside of it")


def read_pickled_arrays(path: Path) -> dict[str, Any]:
    """The dictionary of a pickle: arrays plain, chumpy's as plain arrays, whatever else as it came.

    Raises:
        ValueError: not a pickle of a dictionary, too large, broken, or asking for a class that arrays do not need.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path}: has {size} bytes, expected a face model of at most {MAX_BYTES}")
    try:
        # latin1: files of Python 2 keep their arrays' bytes as text
        found = _Reader(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except NotAllowedError as error:
        raise ValueError(f"{path}: refused: {error}") from error
    except Exception as error:  # a broken pickle raises nearly anything
        raise ValueError(f"{path}: is not a readable pickle ({type(error).__name__}: {error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: holds a {type(found).__name__}, expected a dictionary")
    return {str(key): as_array(value) for key, value in found.items()}


def as_array(value: Any) -> Any:
    """The numbers of a chumpy array as a plain array; anything else unchanged.

    Raises:
        ValueError: a chumpy expression of another kind.
    """
    if isinstance(value, ChumpyArray):
        if "x" not in value.state:
            raise ValueError("a chumpy array without its numbers ('x')")
        return np.asarray(as_array(value.state["x"]))
    if isinstance(value, ChumpySelection):
        try:
            whole, chosen = np.asarray(as_array(value.state["a"])), np.asarray(value.state["idxs"])
        except KeyError as error:
            raise ValueError(f"a chumpy selection without {error}") from None
        shape = value.state.get("preferred_shape")
        part = whole.ravel()[chosen.astype(np.int64).ravel()]
        return part.reshape(tuple(int(n) for n in shape)) if shape is not None else part.reshape(chosen.shape)
    return value
