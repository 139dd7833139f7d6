"""Builds one network for some GPUs with TensorRT-RTX. A program of its own: `python engine_build.py REQUEST ANSWER`.

Apart for three reasons: each release needs a process that has imported no other, a compiler that crashes must not take
the gate along, and it must not need any package but TensorRT-RTX.

REQUEST and ANSWER are JSON files. Request: {"network": path, "gpus": ["SM75", ...], "largest_batch": 8}. Answer: a list
with one object for each GPU, in order; its fields are those of `export.gate.verdict.Verdict`.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

# TensorRT's names of types, in those of Triton's configurations.
TRITON_TYPE = {
    "FLOAT": "TYPE_FP32",
    "HALF": "TYPE_FP16",
    "INT8": "TYPE_INT8",
    "UINT8": "TYPE_UINT8",
    "INT32": "TYPE_INT32",
    "INT64": "TYPE_INT64",
    "BOOL": "TYPE_BOOL",
}


def describe(tensor: Any) -> dict[str, Any]:
    """Name, Triton's type and shape (without the batch) of a tensor at the network's edge."""
    dtype = str(tensor.dtype).split(".")[-1].split(":")[0].strip()
    return {
        "name": tensor.name,
        "type": TRITON_TYPE.get(dtype, dtype),
        "dims": [int(size) for size in tensor.shape][1:],
    }


def build(trt: Any, path: str, gpu: str, largest_batch: int) -> dict[str, Any]:
    """Parse and build for one GPU, as the fields of a verdict."""
    said: list[str] = []

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                said.append(message)

    begun = time.perf_counter()
    verdict: dict[str, Any] = {"gpu": gpu, "built": False, "step": "parse", "nodes": [], "message": ""}

    def answer(**more: Any) -> dict[str, Any]:
        return {**verdict, **more, "seconds": round(time.perf_counter() - begun, 2)}

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(path):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        return answer(
            nodes=[[error.node_operator(), error.node_name()] for error in errors],
            # An operator that the parser does not know at all says no more than "false".
            message="; ".join(
                "this release does not know the operator" if error.desc() == "false" else error.desc()
                for error in errors
            )
            or " ".join(said),
        )
    verdict["inputs"] = [describe(network.get_input(index)) for index in range(network.num_inputs)]
    verdict["outputs"] = [describe(network.get_output(index)) for index in range(network.num_outputs)]
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(tensor.shape)
        if any(size < 0 for size in shape[1:]):
            return answer(message=f"input {tensor.name} has shape {shape}, expected no open dimension but the batch")
        profile.set_shape(
            tensor.name, *((batch if shape[0] < 0 else shape[0], *shape[1:]) for batch in (1, 1, largest_batch))
        )
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, gpu), 0)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        return answer(step="build", message=" ".join(said) or "no engine, and TensorRT-RTX gives no reason")
    # Whether a tensor that no operation reads is still bound can be asked of an engine on a GPU only. Its plan names
    # all that are bound, though, and no other tensors.
    raw = bytes(plan)
    bound = [
        tensor["name"]
        for tensor in verdict["inputs"] + verdict["outputs"]
        if re.search(rb"(?<![A-Z_])" + re.escape(tensor["name"].encode()) + rb"(?![A-Z_])", raw)
    ]
    return answer(built=True, step="build", bound=bound, engine_bytes=len(raw))


def main() -> None:
    """Answer one request."""
    import tensorrt_rtx_bindings as trt

    request = json.loads(Path(sys.argv[1]).read_text())
    answers = [
        build(trt, request["network"], gpu, request["largest_batch"]) | {"release": str(trt.__version__)}
        for gpu in request["gpus"]
    ]
    Path(sys.argv[2]).write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
