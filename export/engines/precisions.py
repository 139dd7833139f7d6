"""In which precision each stage is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from export.engines.refusal import Refusal
from export.engines.repository import Runtime, on_gpu
from export.networks import FULL, HALF, INT8, NETWORKS, Precision, network, stage_precision


def default_precision(runtime: Runtime, tensorrt: str | None = None) -> Precision:
    """Of all stages that have it: half on a GPU, whose memory and tensor cores carry twice as much; single on a CPU."""
    return HALF if on_gpu(runtime) and not _without_types(runtime, tensorrt) else FULL


def _without_types(runtime: Runtime, tensorrt: str | None) -> bool:
    """Whether half precision can be had for whole networks only, coordinates and all.

    So ONNX Runtime's provider does with TensorRT 10, whose networks it does not have strongly typed: it refuses an ONNX
    with half precision in it unless half precision is allowed everywhere. TensorRT 11 goes by the ONNX's types.
    """
    return runtime == "onnxruntime-tensorrt" and tensorrt is not None and int(tensorrt.split(".")[0]) < 11


def _nearest(stage: str, wanted: Precision) -> Precision:
    """What a stage is built in where `wanted` is asked of all."""
    has = network(stage).precisions
    return HALF if wanted == INT8 and INT8 not in has and HALF in has else stage_precision(stage, wanted)


def choose(wanted: Sequence[str], runtime: Runtime, tensorrt: str | None = None) -> dict[str, Precision]:
    """The precision of each stage.

    wanted: 'fp16' for all stages, or 'renderer=fp32' for one; later ones count. A stage that cannot be had in what is
        asked of all is built in the next that it has: int8, fp16, fp32.
    tensorrt: Version of the TensorRT that serves, '10.4.0'; None where there is none.

    Raises:
        Refusal: no such stage or precision, or not by this runtime.
    """
    chosen = {one.stage: stage_precision(one.stage, default_precision(runtime, tensorrt)) for one in NETWORKS}
    known: dict[str, Precision] = {name: name for name in get_args(Precision)}
    for word in wanted:
        stage, equals, given = word.rpartition("=")
        if given not in known:
            raise Refusal(
                f"--precision is {word!r}, expected {', '.join(known)} or STAGE=PRECISION", "name one of them"
            )
        name = known[given]
        if name != FULL and _without_types(runtime, tensorrt):
            raise Refusal(
                f"--precision is {word!r}: with TensorRT {tensorrt}, {runtime} keeps coordinates in single precision "
                f"only where all is {FULL}",
                f"--precision {FULL}, or --runtime tensorrt",
            )
        if not equals:
            chosen = {one.stage: _nearest(one.stage, name) for one in NETWORKS}
            continue
        if stage not in chosen:
            raise Refusal(f"--precision names {stage!r}, expected one of {', '.join(chosen)}", "name a stage")
        if name not in network(stage).precisions:
            has = ", ".join(network(stage).precisions)
            raise Refusal(f"--precision is {word!r}: {stage} can be had in {has}", f"--precision {stage}={FULL}")
        chosen[stage] = name
    return chosen
