"""Triton's `backend: "onnxruntime"` for a server that has none: a Python-based backend of that name.

The same model repository then runs on a machine with nothing but Python and in NVIDIA's container, whose own C++
backend takes over there. Read from `config.pbtxt`, with NVIDIA's meaning:

- `default_model_filename` (model.onnx)
- `parameters { key: "intra_op_thread_count" }` (1, where NVIDIA's default is all cores: here stages share few)
- `optimization.execution_accelerators.cpu_execution_accelerator { name: "openvino" }`: run it by OpenVINO

Everything about GPUs is ignored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from facestream.server.onnxruntime_backend import network
from facestream.triton_tensor import from_triton, to_triton


class TritonPythonModel:
    """One instance of one model."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        name = config["name"]
        self.batched = config["max_batch_size"] > 0
        file = Path(args["model_repository"]) / args["model_version"]
        file /= config.get("default_model_filename") or "model.onnx"
        threads = config.get("parameters", {}).get("intra_op_thread_count", {}).get("string_value", "1")
        try:
            self.network = network.load(file, _runtime(config), int(threads), self.batched)
            network.check(self.network, _specs(config["input"]), _specs(config["output"]), self.batched)
            self._warm_up()
        except (network.NetworkError, ValueError) as error:
            raise pb_utils.TritonModelException(f"model '{name}': {error}") from error

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            feeds = {tensor.name(): from_triton(tensor) for tensor in request.inputs()}
            missing = [name for name in self.network.inputs if name not in feeds]
            if missing:
                raise network.NetworkError(f"input {', '.join(missing)} is missing")
            wanted = list(request.requested_output_names())
            if self.batched:
                results = network.run_batch(self.network, feeds, wanted)
            else:
                results = self.network.run(feeds, wanted)
        except Exception as error:  # one bad request must not take the others of its batch along
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        return pb_utils.InferenceResponse([to_triton(name, array) for name, array in zip(wanted, results, strict=True)])

    def _warm_up(self) -> None:
        """Run once on zeros: memory is allocated and kernels are chosen before the first user waits for them."""
        specs = self.network.inputs.values()
        if any(-1 in (spec.shape[1:] if self.batched else spec.shape) for spec in specs):
            return
        feeds = {
            spec.name: np.zeros((1, *spec.shape[1:]) if self.batched else spec.shape, spec.dtype) for spec in specs
        }
        self.network.run(feeds, list(self.network.outputs))


def _runtime(config: dict[str, Any]) -> str:
    accelerators = config.get("optimization", {}).get("execution_accelerators", {}).get("cpu_execution_accelerator", [])
    return "openvino" if any(accelerator["name"] == "openvino" for accelerator in accelerators) else "onnxruntime"


def _specs(tensors: list[dict[str, Any]]) -> list[network.TensorSpec]:
    return [
        network.TensorSpec(
            tensor["name"],
            np.dtype(pb_utils.triton_string_to_numpy(tensor["data_type"])),
            tuple(int(size) for size in tensor["dims"]),
        )
        for tensor in tensors
    ]
