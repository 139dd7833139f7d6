"""One ONNX network on the CPU, run by ONNX Runtime or by OpenVINO."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

RUNTIMES = ("onnxruntime", "openvino")

# Names of ONNX Runtime's types -> numpy's.
_DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(bool)": np.dtype(np.bool_),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(uint16)": np.dtype(np.uint16),
    "tensor(int16)": np.dtype(np.int16),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
}


class NetworkError(ValueError):
    """The file is no network that can be run, or not the one that the configuration describes."""


class TensorSpec(NamedTuple):
    """Name, type and shape of an input or output; -1 stands for a dimension of any size."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {list(self.shape)}"


class Network(Protocol):
    """A loaded network. Shapes include the batch dimension when the network has one."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]

    def run(self, feeds: Mapping[str, Array], wanted: Sequence[str], *, lent: bool = False) -> list[Array]:
        """The `wanted` outputs; the caller owns the arrays, or with `lent` may read them until the next run."""


class OnnxRuntimeNetwork:
    """ONNX Runtime's CPU provider: NVIDIA's backend without a GPU gives the same numbers."""

    def __init__(self, file: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Stages share the cores: a thread that spins while it waits takes the time of the stage that it waits for.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions share no public base class
            raise NetworkError(f"ONNX Runtime cannot load {file}: {error}") from error
        self.inputs = {spec.name: spec for spec in map(_spec, self._session.get_inputs())}
        self.outputs = {spec.name: spec for spec in map(_spec, self._session.get_outputs())}

    def run(self, feeds: Mapping[str, Array], wanted: Sequence[str], *, lent: bool = False) -> list[Array]:
        return list(self._session.run(list(wanted), dict(feeds)))


class OpenVinoNetwork:
    """OpenVINO's CPU device at batch size 1, where its kernels are chosen for one static shape."""

    def __init__(self, file: Path, threads: int, batched: bool) -> None:
        import openvino

        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads),
            # Left alone, OpenVINO computes in bfloat16 on processors that have it.
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": "NO",
            # Numbers next to 0 are 0: on others the processor is slow, and face_geometry took 1.07 times as long.
            "CPU_DENORMALS_OPTIMIZATION": "YES",
        }
        core = openvino.Core()
        try:
            model = core.read_model(str(file))
            # The public face keeps the free batch dimension; only what is compiled is fixed to 1.
            self.inputs = {port.any_name: _port_spec(port) for port in model.inputs}
            self.outputs = {port.any_name: _port_spec(port) for port in model.outputs}
            if batched:
                model.reshape({port.any_name: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
            self._request = core.compile_model(model, "CPU", settings).create_infer_request()
            self._numbers = {name: number for number, name in enumerate(self.inputs)}
            self._tensor = openvino.Tensor
        except RuntimeError as error:
            raise NetworkError(f"OpenVINO cannot load {file}: {error}") from error

    def run(self, feeds: Mapping[str, Array], wanted: Sequence[str], *, lent: bool = False) -> list[Array]:
        missing = self.inputs.keys() - feeds.keys()
        if missing:  # else what lay there at the last run would be read, memory of another request
            raise NetworkError(f"input {', '.join(sorted(missing))} is missing")
        # Set one by one: given to `infer`, read-only arrays are copied, and Triton hands over no others; each array
        # passes several layers of OpenVINO's Python besides. Of a frame's five networks that was 0.6 to 0.7 ms.
        for name, array in feeds.items():
            tensor = self._tensor(_for_reading(array), shared_memory=True)
            self._request.set_input_tensor(self._numbers[name], tensor)
        # The outputs lie in the request's own memory, which the next run overwrites.
        self._request.infer(share_outputs=True)
        made = [self._request.get_tensor(name).data for name in wanted]
        return made if lent else [array.copy() for array in made]


def _for_reading(array: Array) -> Array:
    """A contiguous array in the same memory that says it may be written to, as OpenVINO wants even of what it reads."""
    array = np.ascontiguousarray(array)
    if array.flags.writeable:
        return array
    memory: Any = (ctypes.c_byte * array.nbytes).from_address(array.__array_interface__["data"][0])
    return np.frombuffer(memory, array.dtype).reshape(array.shape)


def load(file: Path, runtime: str, threads: int, batched: bool) -> Network:
    """Load the network of an ONNX file.

    runtime: 'onnxruntime' or 'openvino'.
    threads: threads that one inference may use.
    batched: whether the first dimension of each input and output is the batch.

    Raises NetworkError, which names the file and the reason.
    """
    if runtime not in RUNTIMES:
        raise NetworkError(f"unknown runtime {runtime!r} for {file}: expected one of {', '.join(RUNTIMES)}")
    if threads < 1:
        raise NetworkError(f"threads of {file} is {threads}: expected 1 or more")
    if not file.is_file():
        raise NetworkError(f"no network at {file}")
    if runtime == "openvino":
        return OpenVinoNetwork(file, threads, batched)
    return OnnxRuntimeNetwork(file, threads)


def check(network: Network, inputs: Iterable[TensorSpec], outputs: Iterable[TensorSpec], batched: bool) -> None:
    """Hold a network against its configuration, whose shapes leave the batch dimension out.

    Raises NetworkError, which lists everything that differs.
    """
    wrong: list[str] = []
    for kind, wanted, have in (("input", inputs, network.inputs), ("output", outputs, network.outputs)):
        names = set()
        for spec in wanted:
            names.add(spec.name)
            full = spec._replace(shape=((-1, *spec.shape) if batched else spec.shape))
            if spec.name not in have:
                wrong.append(f"{kind} {spec.name} is configured, but the network has only {', '.join(have)}")
            elif not _fits(have[spec.name], full):
                wrong.append(f"{kind} is configured as {full}, but the network has {have[spec.name]}")
        if kind == "input":
            wrong += [f"input {have[name]} of the network is not configured" for name in have if name not in names]
    if wrong:
        raise NetworkError("; ".join(wrong))


def run_batch(
    network: Network, feeds: Mapping[str, Array], wanted: Sequence[str], *, lent: bool = False
) -> list[Array]:
    """Run a batch of items one after the other, and stack what comes out.

    feeds: one array [n, ...] for each input. Returns one array [n, ...] for each wanted output; with `lent` they need
    not last longer than until the next run.

    One by one, because on a few cores a batch of convolutions takes as long as its items in turn (measured: no gain at
    batch 4), and because a session's picture then cannot depend, not even in the last bit, on who shares its batch.
    """
    count = next(iter(feeds.values())).shape[0]
    if count == 1:
        return network.run(feeds, wanted, lent=lent)
    items = [network.run({name: array[i : i + 1] for name, array in feeds.items()}, wanted) for i in range(count)]
    return [np.concatenate([item[k] for item in items]) for k in range(len(wanted))]


def _fits(have: TensorSpec, wanted: TensorSpec) -> bool:
    return (
        have.dtype == wanted.dtype
        and len(have.shape) == len(wanted.shape)
        and all(a == b or -1 in (a, b) for a, b in zip(have.shape, wanted.shape, strict=True))
    )


def _spec(node: Any) -> TensorSpec:
    if node.type not in _DTYPES:
        raise NetworkError(f"tensor {node.name} has the type {node.type}: expected one of {', '.join(_DTYPES)}")
    return TensorSpec(node.name, _DTYPES[node.type], tuple(d if isinstance(d, int) else -1 for d in node.shape))


def _port_spec(port: Any) -> TensorSpec:
    shape = tuple(d.get_length() if d.is_static else -1 for d in port.partial_shape)
    return TensorSpec(port.any_name, np.dtype(port.element_type.to_dtype()), shape)
