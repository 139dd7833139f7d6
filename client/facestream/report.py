"""What a run was like: frames per second, latency, missed deadlines, and where the server spent its time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from tritonclient.grpc import service_pb2

from facestream.contract import FRAME_RATE, LOOKAHEAD_FRAMES
from facestream.protocol import Frame
from facestream.quality import NAMES, Quality

DEADLINE_S = 1.0 / FRAME_RATE


class StageTime(NamedTuple):
    """What one model of the server did between two snapshots of its statistics."""

    name: str
    requests: int
    """Answered requests, of all sessions in that time."""
    executions: int
    """Times the model ran; fewer than requests where it batched."""
    queue_ms: float
    """Mean time that a request waited."""
    compute_ms: float
    """Mean time of a request in the model, with the copies in and out. In a batch each request counts the whole."""
    failures: int


def stage_times(
    before: service_pb2.ModelStatisticsResponse, after: service_pb2.ModelStatisticsResponse
) -> list[StageTime]:
    """Difference of two snapshots of Triton's `ModelStatistics`, models without requests left out, in Triton's order.

    An ensemble is listed like a model; its compute time is that of its stages together. A server that was started again
    in between has counted from 0: all that it did since then is told.
    """
    earlier = {(model.name, model.version): model for model in before.model_stats}

    def at_first(model: service_pb2.ModelStatistics) -> service_pb2.ModelStatistics:
        return earlier.get((model.name, model.version), service_pb2.ModelStatistics())

    def answered(model: service_pb2.ModelStatistics) -> int:
        return int(model.inference_stats.success.count)

    if any(answered(model) < answered(at_first(model)) for model in after.model_stats):
        earlier.clear()
    times = []
    for model in after.model_stats:
        old = at_first(model).inference_stats
        new = model.inference_stats
        requests = new.success.count - old.success.count
        failures = new.fail.count - old.fail.count
        if requests <= 0 and failures <= 0:
            continue
        phases = ("compute_input", "compute_infer", "compute_output")
        compute_ns = sum(getattr(new, phase).ns - getattr(old, phase).ns for phase in phases)
        executions = model.execution_count - at_first(model).execution_count
        divisor = max(requests, 1)
        times.append(
            StageTime(
                name=model.name,
                requests=requests,
                executions=executions,
                queue_ms=(new.queue.ns - old.queue.ns) / divisor / 1e6,
                compute_ms=compute_ns / divisor / 1e6,
                failures=failures,
            )
        )
    return times


@dataclass
class Stopwatch:
    """Takes note of each frame as it comes. Begins when it is made."""

    began: float = field(default_factory=time.monotonic)
    latencies_s: list[float] = field(default_factory=list)
    first_frame_s: float | None = None
    total_s: float = 0.0
    qualities: Counter[Quality] = field(default_factory=Counter)

    def note(self, frame: Frame) -> None:
        """Call for each frame, before anything is done with it."""
        self.total_s = time.monotonic() - self.began
        if self.first_frame_s is None:
            self.first_frame_s = self.total_s
        self.latencies_s.append(frame.latency_s)
        if frame.quality is not None:
            self.qualities[frame.quality] += 1


@dataclass(frozen=True)
class Report:
    """The figures of one run. Latency is the time from sending a request to its answer, without the look-ahead."""

    frames: int
    seconds: float
    fps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    missed: int
    """Frames whose latency was above 1/30 s: in real time, frames that came too late to keep up."""
    first_frame_ms: float
    realtime: bool
    stages: tuple[StageTime, ...] = ()
    qualities: Mapping[str, int] = field(default_factory=dict)
    """Frames by the name of the tier that they were drawn in; empty where there were no pictures."""

    @classmethod
    def of(cls, watch: Stopwatch, realtime: bool, stages: list[StageTime], flushed: int = 0) -> Report:
        """Summarise a run; all figures are 0 without frames.

        Args:
            watch: Of the whole run.
            realtime: Whether the sound came at the speed of speech.
            stages: What the server did in that time.
            flushed: Frames at the end that silence fetched, all at once: they wait for each other, and their latency,
                which is not that of a conversation, is left out.
        """
        conversation = watch.latencies_s[: len(watch.latencies_s) - flushed]
        latencies = np.array(conversation or watch.latencies_s or [0.0])
        p50, p95, p99 = (float(np.percentile(latencies, share)) * 1e3 for share in (50, 95, 99))
        frames = len(watch.latencies_s)
        return cls(
            frames=frames,
            seconds=watch.total_s,
            fps=frames / watch.total_s if watch.total_s > 0 else 0.0,
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            missed=int((latencies > DEADLINE_S).sum()),
            first_frame_ms=(watch.first_frame_s or 0.0) * 1e3,
            realtime=realtime,
            stages=tuple(stages),
            qualities={NAMES[tier]: count for tier, count in sorted(watch.qualities.items())},
        )

    def __str__(self) -> str:
        rows: dict[str, str] = {
            "frames": f"{self.frames} ({self.frames / FRAME_RATE:.2f} s of video)",
            "time": f"{self.seconds:.2f} s, {self.fps:.1f} frames/s" + (", paced to 30" if self.realtime else ""),
            "latency": f"p50 {self.p50_ms:.1f} ms, p95 {self.p95_ms:.1f} ms, p99 {self.p99_ms:.1f} ms",
            f"over {DEADLINE_S * 1e3:.1f} ms": f"{self.missed} frames"
            + ("" if self.realtime else " (not paced: requests wait for each other; use --realtime to measure)"),
            "first frame": f"{self.first_frame_ms:.1f} ms after the session began",
            "look-ahead": f"{LOOKAHEAD_FRAMES} frames, {LOOKAHEAD_FRAMES * DEADLINE_S * 1e3:.1f} ms beside the latency",
        }
        if self.qualities:
            rows["quality"] = ", ".join(f"{name}: {count} frames" for name, count in self.qualities.items())
        width = max(map(len, rows))
        lines = [f"{name:<{width}}  {value}" for name, value in rows.items()]
        if self.stages:
            lines += ["", f"{'stage':<20} {'requests':>9} {'runs':>7} {'queue ms':>9} {'compute ms':>11} {'failed':>7}"]
            lines += [
                f"{stage.name:<20} {stage.requests:>9} {stage.executions:>7} {stage.queue_ms:>9.2f} "
                f"{stage.compute_ms:>11.2f} {stage.failures:>7}"
                for stage in self.stages
            ]
        return "\n".join(lines)
