"""ONNX Runtime: the CUDA provider with inputs and outputs bound to the device, or the CPU provider. TF32 is off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from export.networks import Precision
from perf.gpu.engine import Tensors, Unavailable
from perf.gpu.stages import NoNetwork, network_file

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


class OnnxRuntimeEngine:
    """ONNX Runtime on a device, 'cuda' or 'cpu'."""

    name = "onnxruntime"

    def __init__(self, device: str, quick: bool = False) -> None:
        """`quick` takes cuDNN's first choice of algorithm where otherwise all are tried, for each shape anew.

        Raises Unavailable where this ONNX Runtime was built without the provider.
        """
        self.device = device
        self.version = str(onnxruntime.__version__)
        provider = PROVIDERS[device]
        if provider not in onnxruntime.get_available_providers():
            raise Unavailable(f"this ONNX Runtime has no {provider}: pip install onnxruntime-gpu in its place")
        if device == "cuda" and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # CUDA's libraries, where they came as Python packages
        options: dict[str, str] = {}
        if device == "cuda":
            options = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC" if quick else "EXHAUSTIVE"}
        self._providers = [(provider, options)]

    def load(self, stage: str, precision: Precision) -> OnnxRuntimeReady:
        """A session on the stage's file."""
        try:
            path = network_file(stage, precision)
        except NoNetwork as error:
            raise Unavailable(str(error)) from error
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(str(path), settings, providers=self._providers)
        except Exception as error:  # ONNX Runtime's own exceptions share no public base class
            raise Unavailable(f"ONNX Runtime cannot load {path.name}: {error}") from error
        if session.get_providers()[0] != self._providers[0][0]:
            raise Unavailable(f"ONNX Runtime fell back to {session.get_providers()[0]}: CUDA or cuDNN is missing")
        return OnnxRuntimeReady(session, self.device)


class OnnxRuntimeReady:
    """A session."""

    def __init__(self, session: onnxruntime.InferenceSession, device: str) -> None:
        self._session, self._device = session, device

    def bind(self, feeds: Mapping[str, NDArray[Any]]) -> OnnxRuntimeBound:
        """Inputs copied to the device, outputs left there."""
        try:
            return OnnxRuntimeBound(self._session, self._device, feeds)
        except Exception as error:  # too little memory on the device, say
            raise Unavailable(f"ONNX Runtime cannot lay the inputs there: {error}") from error


class OnnxRuntimeBound:
    """One batch."""

    def __init__(self, session: onnxruntime.InferenceSession, device: str, feeds: Mapping[str, NDArray[Any]]) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._names = [output.name for output in session.get_outputs()]
        for value in session.get_inputs():
            array = np.ascontiguousarray(feeds[value.name])
            self._binding.bind_ortvalue_input(value.name, onnxruntime.OrtValue.ortvalue_from_numpy(array, device, 0))
        for name in self._names:
            self._binding.bind_output(name, device, 0)

    def run(self) -> None:
        """Run; the provider waits for the device."""
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise Unavailable(f"ONNX Runtime: {error}") from error
        self._binding.synchronize_outputs()

    def outputs(self) -> Tensors:
        """Copies in the host's memory."""
        return dict(zip(self._names, self._binding.copy_outputs_to_cpu(), strict=True))
