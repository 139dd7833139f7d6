"""The networks that are measured, where their files are, and what goes in and out of them.

Precisions and tolerances are those of export.networks.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import onnx

from export import network_files
from export.networks import FULL, NETWORKS, Precision, network

ROOT: Final = Path(__file__).parents[2]
if find_spec("facestream") is None:  # a plain checkout on a rented GPU, nothing installed
    sys.path.append(str(ROOT / "client"))
REPOSITORY: Final = ROOT / "model_repository"
TYPED: Final = ROOT / network_files.TYPED
"""Where `python -m export.precision` puts the networks in other precisions."""

STAGES: Final = tuple(one.stage for one in NETWORKS)
"""In the order of the stream."""
FAST: Final = tuple(stage for stage in STAGES if not stage.startswith("refiner_"))
"""What every picture passes; a session of a better tier passes one refiner more."""
PRECISIONS: Final[tuple[Precision, ...]] = ("fp32", "fp16", "int8")


class NoNetwork(FileNotFoundError):
    """A network is not there in that precision; the text says which command makes it."""


class Port(NamedTuple):
    """An input or output of a network, without its batch dimension."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]


def network_file(stage: str, precision: Precision = FULL, repository: Path = REPOSITORY, typed: Path = TYPED) -> Path:
    """The ONNX file of a stage.

    Raises:
        NoNetwork: there is none, or it was made of another network than today's.
    """
    if precision == FULL:
        path = network_files.network_file(repository, stage)
        if not path.is_file():
            raise NoNetwork(f"{path} is missing: this checkout of the model repository is not whole")
        return path
    if precision not in network(stage).precisions:
        raise NoNetwork(f"{stage} is not had in {precision}: see export/networks.py")
    try:
        return network_files.current_typed_file(stage, precision, typed, repository)
    except network_files.TypedError as error:
        raise NoNetwork(str(error)) from error


@lru_cache(maxsize=64)
def ports(path: Path) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Inputs and outputs of a network, in the order of its graph."""
    graph = onnx.load(path).graph
    weights = {tensor.name for tensor in graph.initializer}

    def port(value: onnx.ValueInfoProto) -> Port:
        tensor = value.type.tensor_type
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        return Port(value.name, dtype, tuple(dimension.dim_value for dimension in tensor.shape.dim[1:]))

    inputs = tuple(port(value) for value in graph.input if value.name not in weights)
    return inputs, tuple(port(value) for value in graph.output)


@lru_cache(maxsize=64)
def _digest(path: Path, _changed: int) -> str:
    return network_files.sha256(path)


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal: figures belong to one network, not to its name."""
    return _digest(path, path.stat().st_mtime_ns)
