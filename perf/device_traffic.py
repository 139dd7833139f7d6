"""What a frame moves between host and GPU: `python -m perf.device_traffic`, counted from the stages' configurations.

The networks run on the GPU. A tensor crosses the bus for each stage that takes it on the other side from where it was
made, since Triton copies it for each. Stages in Python stand on the host, or on the GPU where their configuration lets
them (`FORCE_CPU_ONLY_INPUT_TENSORS` is "no"): the first is what every Python stage does if nothing is said.

It counts bytes and measures no time: it needs no GPU.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from facestream.contract import FRAME_RATE
from facestream.protocol import ENSEMBLES, Output
from facestream.server.program import CUDA_POOL_BYTES
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from export.ensembles import REPOSITORY, read_config

Side = Literal["host", "GPU"]

_BYTES: Final = {
    DataType.TYPE_BOOL: 1,
    DataType.TYPE_UINT8: 1,
    DataType.TYPE_FP16: 2,
    DataType.TYPE_FP32: 4,
    DataType.TYPE_INT32: 4,
    DataType.TYPE_INT64: 8,
}

ANSWERED_FROM_THE_HOST: Final = frozenset({"ADMITTED", "QUALITY_USED", "ACCESS_UNIT", "KEYFRAME"})
"""What stages on the GPU give out in the host's memory: flags, and what an encoder has written."""

LEFT_WHERE_THEY_LIE: Final = frozenset({"stabilizer", "avatar_store", "video_encoder"})
"""Stages in Python that take a tensor of the host's without bringing it to the GPU: they read single numbers of it, or
hand it on to a refiner."""

NV12_SHARE: Final = 0.5
"""Of an RGB frame's bytes: a byte of luma for each pixel, two of chroma for each four."""


@dataclass(frozen=True)
class Crossing:
    """One tensor on its way to one stage."""

    tensor: str
    taker: str
    towards: Side
    size: int
    """Bytes."""


def crossings(output: Output, resident: bool, repository: Path = REPOSITORY) -> list[Crossing]:
    """All that crosses the bus for a frame of tier `fast` of a session with this output.

    resident: Stages in Python that can work on the GPU do; otherwise all are on the host.
    """
    ensemble = read_config(repository / ENSEMBLES[output].model / "config.pbtxt")
    stages = [read_config(repository / step.model_name / "config.pbtxt") for step in ensemble.ensemble_scheduling.step]
    sides = {stage.name: _side(stage, resident) for stage in stages}
    made: dict[str, Side] = {tensor.name: "host" for tensor in ensemble.input}
    for stage in stages:
        for tensor in stage.output:
            made[tensor.name] = "host" if tensor.name in ANSWERED_FROM_THE_HOST else sides[stage.name]
    found = []
    for stage, step in zip(stages, ensemble.ensemble_scheduling.step, strict=True):
        for tensor in stage.input:
            if tensor.name not in step.input_map:
                continue
            size = _size(tensor.data_type, tensor.dims)
            if stage.name == "video_encoder" and tensor.name == "FRAME" and sides[stage.name] == "GPU":
                found.append(Crossing(f"{tensor.name} as NV12", stage.name, "host", round(size * NV12_SHARE)))
            elif made[tensor.name] == sides[stage.name]:
                continue
            elif sides[stage.name] == "host" or stage.name not in LEFT_WHERE_THEY_LIE:
                found.append(Crossing(tensor.name, stage.name, sides[stage.name], size))
    for tensor in ensemble.output:
        if made[tensor.name] == "GPU":
            found.append(Crossing(tensor.name, "client", "host", _size(tensor.data_type, tensor.dims)))
    return found


def table(output: Output, resident: bool, repository: Path = REPOSITORY) -> str:
    """The crossings as Markdown, the largest first, with their sums."""
    found = sorted(crossings(output, resident, repository), key=lambda crossing: -crossing.size)
    rows = [f"| {c.tensor} | {c.taker} | {c.towards} | {c.size:,} |" for c in found]
    sums = total(found)
    each = ", ".join(f"{size / 1e6:.2f} MB to the {side}" for side, size in sums.items())
    rate = sum(sums.values()) * FRAME_RATE / 1e6
    return "\n".join(
        [
            "| tensor | taken by | to | bytes a frame |",
            "|---|---|---|---|",
            *rows,
            "",
            f"{each}: {rate:.0f} MB/s for a session at {FRAME_RATE} frames a second",
        ]
    )


def total(found: Sequence[Crossing]) -> Mapping[Side, int]:
    """Bytes by direction."""
    sides: tuple[Side, Side] = ("GPU", "host")
    return {side: sum(crossing.size for crossing in found if crossing.towards == side) for side in sides}


def held(output: Output, repository: Path = REPOSITORY) -> tuple[int, int]:
    """Bytes of the GPU's memory that Triton takes from its pool for one frame on its way, with all stages there.

    The first number is of the tensors themselves, which live until the frame is answered. The second is with a copy of
    each stage's inputs, which Triton makes to lay those of several requests side by side, and gives back after the
    stage: no frame holds more, and few hold as much.
    """
    stages = [
        read_config(repository / step.model_name / "config.pbtxt")
        for step in read_config(repository / ENSEMBLES[output].model / "config.pbtxt").ensemble_scheduling.step
    ]
    there = [stage for stage in stages if _side(stage, True) == "GPU"]
    made = {
        tensor.name: _size(tensor.data_type, tensor.dims)
        for stage in there
        for tensor in stage.output
        if tensor.name not in ANSWERED_FROM_THE_HOST
    }
    largest = max(
        sum(_size(tensor.data_type, tensor.dims) for tensor in stage.input if tensor.name in made) for stage in there
    )
    return sum(made.values()), sum(made.values()) + largest


def _side(stage: ModelConfig, resident: bool) -> Side:
    if stage.backend != "python":
        return "GPU"
    free = stage.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value == "no"
    return "GPU" if resident and free else "host"


def _size(data_type: int, dims: Sequence[int]) -> int:
    """Bytes of a tensor; 0 for one of no fixed size."""
    return _BYTES[data_type] * math.prod(dims) if all(dim > 0 for dim in dims) else 0


def main() -> None:
    """Prints what a frame moves, with the stages on the host and on the GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", choices=["rgb", "h264"], default="h264", help="what the session asks for")
    output: Output = parser.parse_args().output
    for resident, title in ((False, "All stages in Python on the host"), (True, "As configured, on a GPU")):
        print(f"## {title}, output {output}\n\n{table(output, resident)}\n")
    lasting, most = held(output)
    print(
        f"A frame on its way holds {lasting / 2**20:.1f} MiB of Triton's pool on the GPU, {most / 2**20:.1f} MiB at "
        f"most: {CUDA_POOL_BYTES // 2**20} MiB are {CUDA_POOL_BYTES // most} frames at a time"
    )


if __name__ == "__main__":
    main()
