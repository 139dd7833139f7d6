"""Builds a TensorRT engine of an ONNX file, for the GPU of this machine.

Types are those of the ONNX: a strongly typed network is asked for, which TensorRT 11 has no other kind of, and single
precision is single precision: TF32, which TensorRT takes for it unasked, has the 11 bits of half precision, and what
these networks leave in single precision is coordinates. Two programs can do it, with the same result: TensorRT's Python
module, and trtexec, which NVIDIA's images have even where they lack the module.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from export.engines.profile import BatchProfile
from export.engines.refusal import BUILD, Refusal

MODULES: Final = ("tensorrt", "tensorrt_bindings")
"""Names of TensorRT's Python module: of the whole package, and of the bindings alone, for the image's own library."""

TRTEXEC: Final = "/usr/src/tensorrt/bin/trtexec"
"""Where NVIDIA's images have it, outside PATH."""

_MEMORY: Final = re.compile(r"out ?of ?memory|could not be allocated|insufficient memory", re.IGNORECASE)
"""What TensorRT says where the card's memory does not suffice."""

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of each input by name, without the leading batch."""


class EngineBuilder(Protocol):
    """What builds engines."""

    @property
    def name(self) -> str:
        """Program and version, for records."""

    def build(self, onnx: Path, inputs: Shapes, profile: BatchProfile, timing_cache: Path | None) -> bytes:
        """The engine.

        onnx: typed, its batch open, all other dimensions as in `inputs`.
        timing_cache: measured times of kernels, read where the file is there, and written.

        Raises:
            Refusal: the ONNX has other inputs, or no engine can be built of it; the text names operator and node.
        """


class ModuleBuilder:
    """TensorRT's Python module. TensorRT-RTX has the same interface, and builds for GPUs that are not there."""

    def __init__(self, module: Any, capability: str | None = None) -> None:
        """`capability` ('SM80') is TensorRT-RTX's alone: the GPU to build for, where it is not the machine's own."""
        self._trt = module
        self._capability = capability

    @property
    def name(self) -> str:
        """See EngineBuilder."""
        return f"{self._trt.__name__} {self._trt.__version__}"

    def build(self, onnx: Path, inputs: Shapes, profile: BatchProfile, timing_cache: Path | None) -> bytes:
        """See EngineBuilder."""
        trt = self._trt
        log = _error_log(trt)
        try:
            builder = trt.Builder(log)
        except TypeError as error:  # pybind11's, where TensorRT gives no builder; why, it has told the log
            raise Refusal(
                f"TensorRT does not start on this GPU: {'; '.join(log.errors or log.warnings[-3:]) or error}",
                "see that nvidia-smi answers in the container, and that the host's driver is as new as the image wants "
                "(facestream doctor --gpu on the host)",
            ) from error
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, log)
        if not parser.parse_from_file(str(onnx)):
            errors = [parser.get_error(index) for index in range(parser.num_errors)]
            told = [f"{error.node_operator()} {error.node_name()}: {error.desc()}" for error in errors]
            raise _cannot(onnx, "parse", "; ".join(told) or "; ".join(log.errors))
        found = {
            tensor.name: tuple(tensor.shape)
            for tensor in (network.get_input(index) for index in range(network.num_inputs))
        }
        expected = {name: (-1, *shape) for name, shape in inputs.items()}
        if found != expected:
            raise _other_inputs(onnx, found, expected)
        config = builder.create_builder_config()
        if hasattr(trt.BuilderFlag, "TF32"):
            config.clear_flag(trt.BuilderFlag.TF32)
        if self._capability is not None:
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(trt.ComputeCapability, self._capability), 0)
        for tuned in profile.tuned:
            shapes = builder.create_optimization_profile()
            for name, shape in inputs.items():
                shapes.set_shape(name, *((size, *shape) for size in (1, tuned, profile.largest)))
            config.add_optimization_profile(shapes)
        cache = None
        if timing_cache is not None:
            known = timing_cache.read_bytes() if timing_cache.is_file() else b""
            cache = config.create_timing_cache(known)
            # Another GPU's or another TensorRT's: begun anew, never mixed. The file's name keeps them apart, too.
            if cache is None or not config.set_timing_cache(cache, False):
                cache = config.create_timing_cache(b"")
                config.set_timing_cache(cache, False)
        engine = builder.build_serialized_network(network, config)
        if engine is None:
            raise _cannot(onnx, "build", "; ".join(log.errors))
        if cache is not None and timing_cache is not None:
            timing_cache.parent.mkdir(parents=True, exist_ok=True)
            written = timing_cache.with_name(f"{timing_cache.name}.part")
            written.write_bytes(bytes(memoryview(config.get_timing_cache().serialize())))
            written.replace(timing_cache)  # broken off half-way, the last one stays whole
        return bytes(memoryview(engine))


class TrtexecBuilder:
    """NVIDIA's trtexec."""

    def __init__(self, program: Path, tensorrt: str) -> None:
        """`tensorrt` is the version of the library that the program runs on: '10.4.0'."""
        self._program = program
        self._tensorrt = tensorrt

    @property
    def name(self) -> str:
        """See EngineBuilder."""
        return f"trtexec {self._tensorrt}"

    def build(self, onnx: Path, inputs: Shapes, profile: BatchProfile, timing_cache: Path | None) -> bytes:
        """See EngineBuilder."""
        command = [str(self._program), f"--onnx={onnx}", "--skipInference"]
        if self._tensorrt.startswith("10."):  # TensorRT 11 has no other kind of network
            command += ["--stronglyTyped", "--noTF32"]
        if timing_cache is not None:
            timing_cache.parent.mkdir(parents=True, exist_ok=True)
            command.append(f"--timingCacheFile={timing_cache}")
        for number, tuned in enumerate(profile.tuned):
            command.append(f"--profile={number}")
            for option, size in (("min", 1), ("opt", tuned), ("max", profile.largest)):
                command.append(f"--{option}Shapes={self._shapes(inputs, size)}")
        with tempfile.TemporaryDirectory() as folder:
            plan = Path(folder) / "model.plan"
            environment = {**os.environ, "NVIDIA_TF32_OVERRIDE": "0"}  # which every release heeds
            done = subprocess.run(
                [*command, f"--saveEngine={plan}"], capture_output=True, text=True, env=environment, check=False
            )
            if done.returncode != 0 or not plan.is_file():
                raise _cannot(onnx, "build", _errors(done.stdout + done.stderr))
            return plan.read_bytes()

    @staticmethod
    def _shapes(inputs: Shapes, batch: int) -> str:
        return ",".join(f"{name}:{'x'.join(map(str, (batch, *shape)))}" for name, shape in inputs.items())


def find_builder(tensorrt: str | None) -> EngineBuilder:
    """What can build here, for the TensorRT library of version `tensorrt` that serves.

    Raises:
        Refusal: there is no TensorRT, or nothing that builds for it: a Python module of another version does not.
    """
    if tensorrt is None:
        raise Refusal(
            "there is no TensorRT here: libnvinfer is not found",
            "run this in the serving container (docker compose run --rm build-engines), or serve by "
            f"ONNX Runtime, which needs none: {BUILD} --runtime onnxruntime-cuda",
        )
    unfit: Refusal | None = None
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError):  # OSError: the module's library is not there
            continue
        version = str(module.__version__)
        if version.split(".")[:3] == tensorrt.split("."):
            return ModuleBuilder(module)
        unfit = unfit or Refusal(
            f"the Python module {name} is TensorRT {version}, the server's library is {tensorrt}: engines of the one "
            "are not read by the other, and there is no trtexec, which would do as well",
            f"pip install the bindings of {tensorrt}, or none at all, and trtexec",
        )
    program = shutil.which("trtexec") or TRTEXEC
    if Path(program).is_file():
        return TrtexecBuilder(Path(program), tensorrt)
    raise unfit or Refusal(
        f"nothing here builds engines: there is neither TensorRT's Python module ({', '.join(MODULES)}) nor trtexec",
        f"pip install --no-deps 'tensorrt-cu13-bindings=={tensorrt}.*' (with CUDA 12: tensorrt-cu12-bindings)",
    )


def _error_log(trt: Any) -> Any:
    """A logger of TensorRT's that keeps what goes wrong in `errors`, and what may in `warnings`."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)
            elif severity == trt.ILogger.WARNING:
                self.warnings.append(message)

    return Log()


def _errors(output: str) -> str:
    """What trtexec says of a failure, without its help and its settings."""
    told = re.findall(r"\[E\] (.*)", output)
    return "; ".join(told) or "; ".join(output.strip().splitlines()[-3:])


def _cannot(onnx: Path, step: str, why: str) -> Refusal:
    reason = f"TensorRT cannot {step} {onnx}: {why or 'it gives no reason'}"
    if _MEMORY.search(why):
        return Refusal(
            reason,
            "nvidia-smi names the programs that hold the card's memory: stop them while this builds; or build for "
            f"fewer sessions: {BUILD} --max-sessions N",
        )
    return Refusal(
        reason,
        "prove the graph without a GPU first: python -m export.gate; or serve this runtime without engines: "
        f"{BUILD} --runtime onnxruntime-cuda",
    )


def _other_inputs(onnx: Path, found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> Refusal:
    names = sorted(found.keys() | expected.keys())
    differing = [
        f"{name} is {found.get(name, 'missing')}, expected {expected.get(name, 'none of that name')}"
        for name in names
        if found.get(name) != expected.get(name)
    ]
    return Refusal(
        f"{onnx} does not fit the stage's config.pbtxt: {'; '.join(differing)}", "python -m export.precision"
    )
