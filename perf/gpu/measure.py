"""The plan of a measurement: every engine, network, precision and batch, one cell each, kept as it goes.

A cell that was measured stays in build/gpu/<card>/cells.json with the network's hash and the engine's version, so a
run that was cut short, or one with another engine installed, goes on where the last one ended.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from export.networks import Precision, network
from perf.gpu.accuracy import judge
from perf.gpu.engine import Bound, Engine, Unavailable, milliseconds
from perf.gpu.recorded import Frames
from perf.gpu.stages import NoNetwork, digest, network_file

BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)
ENGINES: Final = ("torch", "onnxruntime", "tensorrt")

OUT_OF_TIME: Final = "not reached in the time given: run again to go on"

Cell = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What to measure, and how long."""

    stages: Sequence[str]
    precisions: Sequence[Precision]
    batches: Sequence[int]
    seconds: float
    """Of every cell."""
    minutes: float
    """Of the whole run; what is left by then is named as such."""


@dataclass
class Found:
    """What came of it."""

    cells: list[Cell] = field(default_factory=list)
    skipped: list[Cell] = field(default_factory=list)
    """Engine, perhaps stage, precision and batch, and the reason."""
    versions: dict[str, str] = field(default_factory=dict)


class Kept:
    """Cells of earlier runs."""

    def __init__(self, file: Path) -> None:
        """Read `file`, if it is there; one that cannot be read is begun anew."""
        self._file = file
        self._cells: list[Cell] = []
        if file.is_file():
            try:
                self._cells = json.loads(file.read_text())
            except json.JSONDecodeError:
                print(f"{file} cannot be read; measuring anew", file=sys.stderr)

    def find(self, **key: Any) -> Cell | None:
        """The cell with these entries, or None."""
        return next((cell for cell in self._cells if all(cell.get(name) == value for name, value in key.items())), None)

    def add(self, cell: Cell) -> None:
        """Keep a cell, in the file too."""
        self._cells.append(cell)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partly = self._file.with_suffix(".part")
        partly.write_text(json.dumps(self._cells))
        partly.replace(self._file)


def engine_maker(name: str, device: str, card: str, max_batch: int, quick: bool) -> Callable[[], Engine]:
    """How to make an engine; making it raises Unavailable, or ImportError where its package is missing."""

    def make() -> Engine:
        if name == "torch":
            from perf.gpu.engine_torch import TorchEngine

            return TorchEngine(device)
        if name == "onnxruntime":
            from perf.gpu.engine_onnxruntime import OnnxRuntimeEngine

            return OnnxRuntimeEngine(device, quick)
        from perf.gpu.engine_tensorrt import TensorRTEngine

        return TensorRTEngine(device, max_batch, card)

    return make


def measure(
    makers: Iterable[tuple[str, Callable[[], Engine]]],
    plan: Plan,
    frames: Frames,
    kept: Kept,
    say: Callable[[str], None] = print,
) -> Found:
    """Measure all that can be; what cannot is in `skipped`, with its reason."""
    found = Found()
    end = time.monotonic() + 60 * plan.minutes
    for name, make in makers:
        try:
            engine = make()
        except (Unavailable, ImportError) as error:
            found.skipped.append({"engine": name, "reason": str(error)})
            say(f"{name}: not measured: {error}")
            continue
        found.versions[name] = engine.version
        for stage in plan.stages:
            for precision in plan.precisions:
                _network(engine, stage, precision, plan, frames, kept, found, end, say)
    return found


def _network(
    engine: Engine,
    stage: str,
    precision: Precision,
    plan: Plan,
    frames: Frames,
    kept: Kept,
    found: Found,
    end: float,
    say: Callable[[str], None],
) -> None:
    """One network on one engine, batch by batch."""
    where = {"engine": engine.name, "stage": stage, "precision": precision}
    if precision not in network(stage).precisions:
        return  # nobody has it: see export.networks
    try:
        file = network_file(stage, "fp32" if engine.name == "torch" else precision)
        key = {**where, "version": engine.version, "network": digest(file), "inputs": frames.source}
        missing = [batch for batch in plan.batches if not kept.find(**key, batch=batch)]
        if missing and time.monotonic() > end:
            raise Unavailable(OUT_OF_TIME)
        ready = engine.load(stage, precision) if missing else None
    except (Unavailable, NoNetwork, RuntimeError) as error:
        found.skipped.append({**where, "reason": _first_line(error)})
        say(f"{engine.name} {stage} {precision}: not measured: {_first_line(error)}")
        return
    for batch in plan.batches:
        cell = kept.find(**key, batch=batch)
        if cell is None:
            assert ready is not None
            try:
                if time.monotonic() > end:
                    raise Unavailable(OUT_OF_TIME)
                bound = ready.bind(frames.batch(stage, batch))
                cell = {**key, "batch": batch, **_cell(bound, stage, precision, batch, plan.seconds, frames)}
                del bound
            except (Unavailable, RuntimeError) as error:  # out of memory, say
                found.skipped.append({**where, "batch": batch, "reason": _first_line(error)})
                say(f"{engine.name} {stage} {precision} batch {batch}: not measured: {_first_line(error)}")
                continue
            kept.add(cell)
        found.cells.append(cell)
        verdict = "" if cell["within"] else "  NOT WITHIN ITS TOLERANCE"
        say(f"{engine.name:12} {stage:17} {precision} {batch:4}  {cell['p50_ms']:9.3f} ms{verdict}")


def _cell(bound: Bound, stage: str, precision: Precision, batch: int, seconds: float, frames: Frames) -> Cell:
    times = milliseconds(bound.run, seconds)
    made = bound.outputs()
    compared = min(batch, len(next(iter(frames.inputs[stage].values()))))
    off = judge(
        stage,
        precision,
        {name: array[:compared] for name, array in made.items()},
        {name: array[:compared] for name, array in frames.answers[stage].items()},
    )
    return {
        "p50_ms": round(median(times), 4),
        "p99_ms": round(float(np.percentile(times, 99)), 4),
        "least_ms": round(min(times), 4),
        "runs": len(times),
        "frames_per_s": round(1e3 * batch / median(times), 1),
        "errors": off,
        "within": not any(entry["exceeded"] for entry in off.values()),
    }


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
