"""Triton's `backend: "onnxruntime"` for a server that has none: a Python-based backend of that name.

The same model repository then runs on a machine with nothing but Python and in NVIDIA's container, whose own C++
backend takes over there. Read from `config.pbtxt`:

- `default_model_filename` (model.onnx)
- `parameters { key: "intra_op_thread_count" }` (2, or 1 on a single core; NVIDIA's default is all cores)
- `parameters { key: "cpu_runtime" }` (openvino): openvino or onnxruntime. NVIDIA's backend ignores it, whereas its own
  way to name OpenVINO, `cpu_execution_accelerator`, applies on GPUs too.

Why OpenVINO, and 2 threads: it is the faster of the two on the machines that were tried, and the second thread pays.
`python -m perf.face_cost` and `python -m perf.encoder_cost` measure both runtimes, on 1 and 2 threads, on yours.

Everything about GPUs is ignored.
"""

from __future__ import annotations

import gc
import json
import os
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
        runtime = _parameter(config, "cpu_runtime", "openvino")
        threads = _parameter(config, "intra_op_thread_count", str(min(2, len(os.sched_getaffinity(0)))))
        try:
            self.network = network.load(file, runtime, int(threads), self.batched)
            network.check(self.network, _specs(config["input"]), _specs(config["output"]), self.batched)
            self._warm_up()
        except (network.NetworkError, ValueError) as error:
            raise pb_utils.TritonModelException(f"model '{name}': {error}") from error
        # What is loaded by now stays: to look through all of it for garbage would take 20 ms, in the middle of a frame.
        gc.freeze()

    def execute(self, requests: list[Any]) -> list[Any]:
        # The backend copies what an answer holds when all of them are there: only a single one may lie in the network's
        # own memory, of up to 1.2 MB.
        return [self._answer(request, lent=len(requests) == 1) for request in requests]

    def _answer(self, request: Any, lent: bool) -> Any:
        try:
            feeds = {tensor.name(): from_triton(tensor) for tensor in request.inputs()}
            missing = [name for name in self.network.inputs if name not in feeds]
            if missing:
                raise network.NetworkError(f"input {', '.join(missing)} is missing")
            wanted = list(request.requested_output_names())
            if self.batched:
                results = network.run_batch(self.network, feeds, wanted, lent=lent)
            else:
                results = self.network.run(feeds, wanted, lent=lent)
            tensors = [to_triton(name, array) for name, array in zip(wanted, results, strict=True)]
        except Exception as error:  # one bad request must not take the others of its batch along
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        return pb_utils.InferenceResponse(tensors)

    def _warm_up(self) -> None:
        """Run once on zeros: memory is allocated and kernels are chosen before the first user waits for them."""
        specs = self.network.inputs.values()
        if any(-1 in (spec.shape[1:] if self.batched else spec.shape) for spec in specs):
            return
        feeds = {
            spec.name: np.zeros((1, *spec.shape[1:]) if self.batched else spec.shape, spec.dtype) for spec in specs
        }
        self.network.run(feeds, list(self.network.outputs))


def _parameter(config: dict[str, Any], key: str, default: str) -> str:
    return str(config.get("parameters", {}).get(key, {}).get("string_value", default))


def _specs(tensors: list[dict[str, Any]]) -> list[network.TensorSpec]:
    return [
        network.TensorSpec(
            tensor["name"],
            np.dtype(pb_utils.triton_string_to_numpy(tensor["data_type"])),
            tuple(int(size) for size in tensor["dims"]),
        )
        for tensor in tensors
    ]
