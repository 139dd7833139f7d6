"""Prove that TensorRT can build the networks, on a machine without a GPU: `python -m export.gate`.

TensorRT-RTX builds engines ahead of time for GPUs that are not there. That proves operators, types, shapes and
compilation for Turing (T4), Ampere (A100, A10) and Ada (L4); it proves neither numbers nor speed, and says nothing on
Hopper, which TensorRT-RTX does not support. Parsing alone proves little: an operator may parse and then fail to build.

Needs the extra `gate` (NVIDIA's own licence): `pip install -e '.[gate]'`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

GPUS = {"SM75": "T4", "SM80": "A100", "SM86": "A10", "SM89": "L4"}
MAX_BATCH = 8


def build(trt: Any, path: Path, capability: str) -> str | None:
    """Build one network for one GPU; None when that works, else what failed."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        return "; ".join(f"{error.node_operator()} {error.node_name()}: {error.desc()}" for error in errors)
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shapes = [tuple(batch if size < 0 else size for size in tensor.shape) for batch in (1, 1, MAX_BATCH)]
        profile.set_shape(tensor.name, *shapes)
    config.add_optimization_profile(profile)
    if builder.build_serialized_network(network, config) is None:
        return "the network parses, but no engine can be built of it (see the message above)"
    return None


def main() -> int:
    """Build every network of the model repository for every GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", type=Path, help="ONNX files (default: all of the model repository)")
    parser.add_argument("--gpus", nargs="+", choices=list(GPUS), default=list(GPUS), help="compute capabilities")
    options = parser.parse_args()
    try:
        import tensorrt_rtx_bindings as tensorrt_rtx
    except ImportError as error:
        parser.error(f"TensorRT-RTX is not installed ({error}): pip install -e '.[gate]'")
    networks = options.networks or sorted(Path("model_repository").glob("*/1/model.onnx"))
    if not networks:
        parser.error("no model_repository/*/1/model.onnx here; run this in the project's folder")
    failed = 0
    for path in networks:
        for capability in options.gpus:
            begun = time.perf_counter()
            problem = build(tensorrt_rtx, path, capability)
            failed += problem is not None
            outcome = "ok" if problem is None else f"FAILED: {problem}"
            seconds = time.perf_counter() - begun
            print(f"{path} {capability} ({GPUS[capability]}): {outcome} ({seconds:.1f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
