"""Read arrays out of a foreign pickle without running what it says.

A pickle is a program: loaded plainly, a file from anywhere may do anything. Here only the few names that arrays are
made of are known, all as stand-ins of our own that hold data and can do nothing; every other name ends the reading.
NumPy's own classes are none of them: told to by a pickle, they make arrays of objects out of any bytes, and whatever
looks into such an array crashes or worse. The numbers are read from the bytes once the file has had its say.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 1 << 30
"""No face model is larger; a pickle's lengths are not to fill the memory."""


class Inert:
    """Stands in for an object of a class that is not to be run; keeps what the pickle sets in it."""

    state: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        """An object without state: not all pickles call the class, and not all set a state."""
        made = super().__new__(cls)
        made.state = {}
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what the class is called with, and forget it."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 2:  # the form of classes with slots
            state = {**(state[0] or {}), **(state[1] or {})}
        self.state = dict(state) if isinstance(state, dict) else {}


class NumberKind(Inert):
    """numpy.dtype."""

    def __init__(self, name: Any = "", *args: Any) -> None:
        self.state = {"name": name, "order": "="}

    def __setstate__(self, state: Any) -> None:
        self.state["order"] = state[1]  # of version, order of the bytes, and what only records have

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """NumPy's, if it is one of plain numbers."""
        name, order = self.state.get("name"), self.state.get("order")
        plain = isinstance(name, str) and re.fullmatch(r"[biuf]\d{1,2}", name)
        return np.dtype(order + name) if plain and order in ("<", ">", "=", "|") else None


class PlainArray(Inert):
    """numpy.ndarray: its shape, the kind of its numbers, and their bytes."""

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, by_columns, data = state
        self.state = {"shape": shape, "kind": kind, "order": "F" if by_columns else "C", "data": data}


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


def _array_to_be(subtype: type, shape: Any, kind: Any) -> PlainArray:
    """What numpy's _reconstruct does, for plain arrays alone: an empty one, filled by its state."""
    if subtype is not PlainArray:
        raise NotAllowedError(f"the file makes a {subtype!r}, expected a plain array")
    return PlainArray()


def _array_of_buffer(data: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> PlainArray:
    """What numpy's _frombuffer does, which pickles of protocol 5 call."""
    made = PlainArray()
    made.state = {"shape": shape, "kind": kind, "order": order, "data": data, "axes": axes}
    return made


def _scalar(kind: Any, data: Any = b"") -> Any:
    return _array_of_buffer(data, kind, (), "C")


def _text_to_bytes(text: str, encoding: str = "latin1") -> bytes:
    """What _codecs.encode does in pickles of protocol 2."""
    if encoding not in ("latin1", "latin-1"):
        raise NotAllowedError(f"the file encodes by {encoding!r}, expected 'latin1'")
    return text.encode("latin1")


_SPARSE = ("csc", "csr", "coo")
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): PlainArray,
    ("numpy", "dtype"): NumberKind,
    ("copy_reg", "_reconstructor"): Function(_blank),
    ("copyreg", "_reconstructor"): Function(_blank),
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    # chumpy's arrays keep a set of what has changed in them
    ("__builtin__", "set"): Inert,
    ("builtins", "set"): Inert,
    ("_codecs", "encode"): Function(_text_to_bytes),
    ("chumpy.ch", "Ch"): ChumpyArray,
    ("chumpy", "Ch"): ChumpyArray,
    ("chumpy.reordering", "Select"): ChumpySelection,
    **{
        (f"{core}.{module}", name): Function(function)
        for core in ("numpy.core", "numpy._core")
        for module, name, function in (
            ("multiarray", "_reconstruct", _array_to_be),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _array_of_buffer),
        )
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
    """The dictionary of a pickle: arrays of numbers plain, chumpy's as plain arrays, whatever else as it came.

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
    arrays = {}
    for key, value in found.items():
        try:
            arrays[str(key)] = as_array(value)
        except Exception as error:  # as above: what the numbers are said to be, they need not be
            raise ValueError(f"{path}: {key}: is not a readable array ({type(error).__name__}: {error})") from error
    return arrays


def as_array(value: Any) -> Any:
    """The numbers of an array or a chumpy array as a plain array; anything else unchanged.

    Raises:
        KeyError, TypeError, ValueError and more: the array's parts are missing, or do not fit each other.
    """
    if isinstance(value, PlainArray):
        return _numbers(value)
    if isinstance(value, ChumpyArray):
        return np.asarray(as_array(value.state["x"]))
    if isinstance(value, ChumpySelection):
        whole, chosen = (np.asarray(as_array(value.state[name])) for name in ("a", "idxs"))
        shape = value.state.get("preferred_shape")
        part = whole.ravel()[chosen.astype(np.int64).ravel()]
        return part.reshape(tuple(int(as_array(n)) for n in shape)) if shape is not None else part.reshape(chosen.shape)
    return value


def _numbers(array: PlainArray) -> PlainArray | NDArray[Any]:
    """The numbers of an array; the stand-in itself where it holds no plain numbers (text, objects, records)."""
    kind = array.state["kind"]
    dtype = kind.dtype if isinstance(kind, NumberKind) else None
    if dtype is None:
        return array
    shape, order, data = (array.state[name] for name in ("shape", "order", "data"))
    flat: NDArray[Any] = np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, dtype)
    if order == "K":  # its axes as they lie in memory, neither by rows nor by columns
        return flat.reshape(shape).transpose(array.state["axes"])
    return flat.reshape(shape, order=order)
