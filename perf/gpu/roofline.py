"""What the counted work says of cards that nobody here has: `python -m perf.gpu.roofline`. A PROJECTION.

For each card the time of every network follows from its counted work (perf/gpu/cost.py), the card's peaks as its vendor
gives them (perf/gpu/cards.json) and the stated shares of those peaks that are thought to be reached; the time of the
Python stages is taken from a measurement on a CPU (`make bench-smoke`). Where perf/results has a measured card
(`python -m perf.gpu`), its measured times take the place of the projected ones.

    time of a kernel = overhead of its launch + the longest of
        matrix operations / (peak x share), other operations / (peak x share), bytes / (peak x share)

Two ways of running, so that the truth may lie between:

- cautious: ONNX Runtime in fp32, each operator a kernel, launched one by one;
- hopeful: TensorRT in fp16 where export.networks has it, every elementwise operator fused to what comes before it
  (TensorRT does not manage all of them), the whole a CUDA graph.

Kernels of one frame are small: they do not fill a card, and that is what the low shares stand for. Intermediate tensors
that stay in a card's cache would make it faster; half-precision tensors are counted with the bytes of fp32 ones.

Writes perf/results/projection/roofline.json, .md and .png.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from export.engines.profile import LARGEST
from export.engines.repository import ENCODER, encoders_for
from export.ensembles import read_stages
from export.networks import Precision, network, stage_precision
from perf.gpu.cards import TABLE, Card, cards
from perf.gpu.cost import Kernel, count
from perf.gpu.stages import FAST, REPOSITORY, ROOT, STAGES, digest, network_file

RESULTS: Final = ROOT / "perf" / "results"
FRAME_MS: Final = 1000.0 / 30.0
BUSY: Final = 0.8
"""Share of the time that a card or a core may be busy and still serve all in time."""
TRANSFER_SHARE: Final = 0.75
"""Of PCI Express, for pinned memory."""
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)
SATURATED: Final = 0.9
"""A batch that gives so much of the frames per second of the greatest batch saturates the card."""

PARTS: Final[Mapping[str, tuple[float, tuple[str, ...]]]] = {
    "audio": (4.0, ("audio_frontend", "speech_encoder")),
    "expression": (6.0, ("expression", "motion")),
    "rendering": (18.0, ("avatar_store", "face_geometry", "renderer", "compositor")),
    "stabilising and encoding": (6.0, ("stabilizer", "video_encoder")),
}
"""Budget of a frame in ms, and the stages that share it."""
HOST_STAGES: Final = ("audio_frontend", "motion", "avatar_store", "stabilizer", "video_encoder")


@dataclass(frozen=True)
class Way:
    """How the networks are run, and what share of a card's peaks that reaches. All of it is assumed."""

    name: str
    precision: Precision
    fused: bool
    kernel_us: float
    """Overhead of every kernel."""
    fp32_share: float
    """Of fp32_tflops, by convolutions and matrix products."""
    tensor_share: float
    """Of fp16_tensor_tflops."""
    other_share: float
    """Of fp32_tflops, by all other operations: they come one at a time, not as products with sums."""
    memory_share: float


WAYS: Final = (
    Way("cautious: ONNX Runtime, fp32", "fp32", False, 5.0, 0.4, 0.2, 0.2, 0.6),
    Way("hopeful: TensorRT, fp16", "fp16", True, 1.5, 0.4, 0.2, 0.2, 0.6),
)

StageMs = Callable[[str, int], float | None]
"""Milliseconds of a stage at a batch; None where it is not known."""


@lru_cache(maxsize=512)
def kernels(stage: str, batch: int, way: Way) -> tuple[Kernel, ...]:
    """What is launched for a stage. Counted at batch 1 and 2: work is so much for a frame, and so much for a run."""
    half = network(stage).half
    wanted = half.weights if half is not None and stage_precision(stage, way.precision) != "fp32" else None
    one, two = (count(network_file(stage), size, wanted) for size in (1, 2))
    pairs = zip(*((cost.kernels if way.fused else cost.operators) for cost in (one, two)), strict=True)
    return tuple(first.at_batch(second, batch) for first, second in pairs)


def kernel_ms(kernel: Kernel, card: Card, way: Way) -> float:
    """Time of one kernel."""
    single = kernel.matrix_ops - kernel.half_ops
    matrix = single / (card.fp32_tflops * way.fp32_share) + kernel.half_ops / (
        card.fp16_tensor_tflops * way.tensor_share
    )
    other = kernel.other_ops / (card.fp32_tflops * way.other_share)
    moved = kernel.bytes / (card.memory_gb_s * way.memory_share)
    return way.kernel_us / 1e3 + max(matrix / 1e9, other / 1e9, moved / 1e6)


def projected(card: Card, way: Way) -> StageMs:
    """The projection of a card."""
    return lambda stage, batch: sum(kernel_ms(kernel, card, way) for kernel in kernels(stage, batch, way))


def measured(result: Mapping[str, Any], engine: str) -> StageMs:
    """What an engine took on a measured card: in fp16 where the stage is had in it and keeps its tolerance, in fp32
    otherwise; between measured batches in proportion.
    """

    def stage_ms(stage: str, batch: int) -> float | None:
        for precision in (stage_precision(stage, "fp16"), "fp32"):
            points = sorted(
                (cell["batch"], cell["p50_ms"])
                for cell in result["cells"]
                if (cell["engine"], cell["stage"], cell["precision"]) == (engine, stage, precision) and cell["within"]
            )
            if points and points[0][0] <= batch <= points[-1][0]:
                batches, times = zip(*points, strict=True)
                return float(np.interp(batch, batches, times))
        return None

    return stage_ms


def on_device(config: ModelConfig) -> bool:
    """Whether a stage takes tensors that lie on the GPU: all networks, and Python stages that say so."""
    if config.backend != "python":
        return True
    return config.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value == "no"


def transfers(stages: Mapping[str, ModelConfig], encodes: bool) -> tuple[int, int]:
    """Bytes of a frame that go up to the GPU and come down from it, by the stages' configurations.

    `encodes`: whether the card encodes the video, so that the picture need not leave it.
    """
    makers = {tensor.name: config for config in stages.values() for tensor in config.output}
    up: dict[str, int] = {}
    down: dict[str, int] = {}
    for config in stages.values():
        for tensor in config.input:
            maker = makers.get(tensor.name)
            takes = on_device(config) and (config.name != "video_encoder" or encodes)
            size = math.prod(tensor.dims) * _width(tensor.data_type)
            if maker is None:
                continue
            if takes and not on_device(maker):
                up[tensor.name] = size
            elif not takes and on_device(maker):
                down[tensor.name] = size
    return sum(up.values()), sum(down.values())


def _width(kind: int) -> int:
    name = DataType.Name(kind).removeprefix("TYPE_")
    return {"BOOL": 1, "UINT8": 1, "INT8": 1, "FP16": 2, "INT32": 4, "FP32": 4, "INT64": 8}[name]


@dataclass(frozen=True)
class Host:
    """The Python stages and the rest of the server, as measured on a CPU."""

    machine: str
    date: str
    file: str
    stage_ms: Mapping[str, float]
    """Compute of a frame, passing of tensors between processes included."""
    other_ms: float
    """Processor time of a frame in Triton itself: gRPC, scheduling, copies."""

    @property
    def frame_ms(self) -> float:
        """Processor time of one frame."""
        return sum(self.stage_ms.values()) + self.other_ms


def host(file: Path) -> Host:
    """Read a smoke.json; raises ValueError where it is none."""
    try:
        result = json.loads(file.read_text())
        stages = {stage["name"]: stage["compute_ms"] for stage in result["paced_session"]["stages"]}
        triton = 1e3 * result["cores_in_use"]["triton"] / result["paced_session"]["fps"]
        return Host(
            result["machine"]["processor"],
            result["date"],
            str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file),
            {name: stages[name] for name in HOST_STAGES},
            triton,
        )
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} holds no figures of make bench-smoke: {error!r}") from error


def newest_host(results: Path = RESULTS) -> Path:
    """The latest smoke.json; raises ValueError where there is none."""
    files = sorted(results.glob("*/smoke.json"), key=lambda path: json.loads(path.read_text())["date"])
    if not files:
        raise ValueError(f"no {results}/*/smoke.json: run make bench-smoke")
    return files[-1]


def chain_ms(stage_ms: StageMs, batch: int, tier: str = "fast") -> float | None:
    """All networks that a picture of a tier passes."""
    stages = [*FAST, *([] if tier == "fast" else [f"refiner_{tier}"])]
    times = [stage_ms(stage, batch) for stage in stages]
    return None if any(time is None for time in times) else sum(time for time in times if time is not None)


def gpu_sessions(stage_ms: StageMs, moved_ms: float, max_batch: int, tier: str = "fast") -> int | None:
    """Sessions at 30 FPS whose frames a card computes in time, in batches of `max_batch` at most."""
    full = chain_ms(stage_ms, max_batch, tier)
    if full is None or chain_ms(stage_ms, 1, tier) is None:
        return None
    room = BUSY * FRAME_MS
    batches = int(room // (full + max_batch * moved_ms))
    room -= batches * (full + max_batch * moved_ms)
    rest = 0
    for size in range(1, max_batch):
        time = chain_ms(stage_ms, size, tier)
        if time is not None and time + size * moved_ms <= room:
            rest = size
    return batches * max_batch + rest


def host_sessions(at_host: Host, vcpus: int) -> tuple[int, int, str]:
    """Sessions by the cores, sessions by the busiest Python stage, and that stage's name.

    An instance of a Python stage is one process, which takes one frame after the other. The repository is one that
    export.engines assembled on this host.
    """
    by_cores = int(BUSY * vcpus * FRAME_MS / at_host.frame_ms)
    each = {
        name: ms / (encoders_for(LARGEST, vcpus) if name == ENCODER else 1) for name, ms in at_host.stage_ms.items()
    }
    busiest = max(each, key=lambda name: each[name])
    return by_cores, int(BUSY * FRAME_MS / each[busiest]), busiest


def row(
    card: Card, way: str, source: str, stage_ms: StageMs, at_host: Host, stages: Mapping[str, ModelConfig]
) -> dict[str, Any]:
    """All figures of one card, run in one way."""
    up, down = transfers(stages, card.nvenc)
    moved_ms = (up + down) / (card.pcie_gb_s * TRANSFER_SHARE) / 1e6
    max_batch = min(config.max_batch_size for name, config in stages.items() if name in STAGES)
    networks: dict[str, Any] = {}
    for stage in STAGES:
        times = {batch: time for batch in BATCHES if (time := stage_ms(stage, batch)) is not None}
        if not times:
            continue
        best = max(batch / time for batch, time in times.items())
        full = next(batch for batch, time in times.items() if batch / time >= SATURATED * best)
        networks[stage] = {
            "ms": {str(batch): round(time, 4) for batch, time in times.items()},
            "saturating_batch": full,
            "frames_per_s_there": round(1e3 * full / times[full]),
        }
    parts: dict[str, Any] = {}
    for part, (budget, names) in PARTS.items():
        times_of = [stage_ms(name, 1) for name in names if name in STAGES]
        gpu = None if None in times_of else sum(time for time in times_of if time is not None)
        cpu = sum(at_host.stage_ms[name] for name in names if name in at_host.stage_ms)
        parts[part] = {
            "budget_ms": budget,
            "gpu_ms": _r(gpu),
            "host_ms": _r(cpu),
            "ms": _r(None if gpu is None else gpu + cpu),
        }
    picture = chain_ms(stage_ms, 1)
    latency = None if picture is None else picture + moved_ms + sum(at_host.stage_ms.values()) + at_host.other_ms
    by_gpu = {tier: gpu_sessions(stage_ms, moved_ms, max_batch, tier) for tier in ("fast", "standard", "high")}
    by_cores, by_stage, slowest = host_sessions(at_host, card.vcpus)
    sessions = None if by_gpu["fast"] is None else min(by_gpu["fast"], by_cores, by_stage)
    return {
        "card": card.name,
        "way": way,
        "source": source,
        "networks": networks,
        "parts": parts,
        "gpu_ms": _r(picture),
        "transfer_ms": _r(moved_ms),
        "transfer_bytes": {"up": up, "down": down},
        "latency_ms": _r(latency),
        "frames_per_s_alone": None if latency is None else round(1e3 / latency, 1),
        "frames_per_s_in_parallel": None
        if picture is None
        else round(min(1e3 / (picture + moved_ms), 1e3 / max(at_host.stage_ms.values())), 1),
        "sessions": {
            **{f"gpu_{tier}": value for tier, value in by_gpu.items()},
            "host_cores": by_cores,
            "host_busiest_stage": by_stage,
            "busiest_stage": slowest,
            "served": sessions,
        },
        "cost_per_minute": None
        if card.price_per_hour is None or not sessions
        else round(card.price_per_hour / 60 / sessions, 5),
        "cost_per_minute_by_gpu_alone": None
        if card.price_per_hour is None or not by_gpu["fast"]
        else round(card.price_per_hour / 60 / by_gpu["fast"], 5),
    }


def _r(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def measured_results(results: Path) -> dict[str, Mapping[str, Any]]:
    """gpu.json of every card that was measured, by its own name."""
    found = (json.loads(path.read_text()) for path in sorted(results.glob("*/gpu.json")))
    return {result["card"]["name"]: result for result in found}


def served_sessions(results: Path) -> dict[str, Mapping[str, Any]]:
    """sessions.json of every card whose server was asked, by the card's own name."""
    found = (json.loads(path.read_text()) for path in sorted(results.glob("*/sessions.json")))
    return {result["card"]: result for result in found}


def rows(known: Sequence[Card], at_host: Host, results: Path = RESULTS) -> list[dict[str, Any]]:
    """Measured rows of the cards whose networks all were, projected ones of all others."""
    stages = read_stages(REPOSITORY)
    made = []
    found, served = measured_results(results), served_sessions(results)
    for card in known:
        own = [
            row(card, engine, f"measured, {result['date']}", stage_ms, at_host, stages)
            for name, result in found.items()
            if card.is_named(name)
            for engine in result["versions"]
            if chain_ms(stage_ms := measured(result, engine), 1) is not None
        ]
        # A measurement of some networks alone says nothing of a picture.
        made += own or [row(card, way.name, "projected", projected(card, way), at_host, stages) for way in WAYS]
        for name, result in served.items():
            if card.is_named(name):
                for one in (one for one in made if one["card"] == card.name):
                    _serve(one, card, result)
    return made


def _serve(one: dict[str, Any], card: Card, result: Mapping[str, Any]) -> None:
    """Put the sessions that a running server was measured with in place of the computed ones."""
    count = result["sessions"]
    one["sessions"] |= {"served": count, "served_source": f"measured, {result['date']}"}
    priced = card.price_per_hour is not None and count
    one["cost_per_minute"] = round(card.price_per_hour / 60 / count, 5) if priced and card.price_per_hour else None


def main(arguments: list[str] | None = None) -> int:
    """Write the projection."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cards", type=Path, default=TABLE, help="table of cards and prices (default: %(default)s)")
    parser.add_argument("--host", type=Path, help="smoke.json of the host's CPU (default: the latest in perf/results)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where measured cards are looked for")
    parser.add_argument("--out", type=Path, default=RESULTS / "projection", help="default: %(default)s")
    options = parser.parse_args(arguments)
    from perf.gpu import roofline_report

    try:
        at_host = host(options.host or newest_host(options.results))
        known = cards(options.cards)
    except ValueError as error:
        parser.error(str(error))
    table = json.loads(options.cards.read_text())
    result = {
        "projection": True,
        "date": datetime.date.today().isoformat(),
        "host": {**asdict(at_host), "frame_ms": round(at_host.frame_ms, 3)},
        "networks": {stage: digest(network_file(stage))[:12] for stage in STAGES},
        "ways": [asdict(way) for way in WAYS],
        "assumed": {"busy": BUSY, "transfer_share": TRANSFER_SHARE},
        "cards": {
            "as_of": table["as_of"],
            "prices": table["prices"],
            "peaks": table["peaks"],
            "cards": [asdict(card) for card in known],
        },
        "rows": rows(known, at_host, options.results),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "roofline.json").write_text(json.dumps(result, indent=1) + "\n")
    for path in roofline_report.write(result, options.out):
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
