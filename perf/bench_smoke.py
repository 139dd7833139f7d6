"""A few minutes on this machine against the targets: `make bench-smoke`, or `python -m perf.bench_smoke`.

What is measured, in this order, on a server that is started for it:

- server ready: from its start until every model is loaded.
- warm first frame: from the first chunk of a new session to its first frame, the sound coming at the speed of speech.
  The 2 frames of look-ahead are in it. Median of several sessions, after one that is not counted.
- latency: one session at 30 frames per second; from the sending of the request that completes a frame to the frame.
- missed deadlines: share of those frames that took longer than a frame lasts, 33.3 ms.
- memory per session: growth of the server and all its stages from 1 to 4 live sessions, by proportional set size.
- perf_analyzer: latency of the same ensemble at the same rate, by NVIDIA's program.

The figures go to perf/results/<machine>/smoke.json.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import statistics
import sys
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from facestream.audio import read_sound
from facestream.contract import CHUNK_SAMPLES, LOOKAHEAD_FRAMES, SAMPLE_RATE
from facestream.protocol import Output, Sound
from facestream.quality import QualityName
from facestream.report import DEADLINE_S, Report, Stopwatch, stage_times
from facestream.server import FetchError, TritonServer
from facestream.session import Client

from perf import machine, perf_analyzer, process_memory, processor_time

ROOT = Path(__file__).parents[1]
SPEECH = ROOT / "tests" / "data" / "speech.wav"
REPOSITORY = ROOT / "model_repository"
MEASURED_SESSIONS = (1, 2, 4)
FIRST_FRAME_TRIALS = 7
LEAST_SECONDS = 1.0
MAX_OTHERS = 0.05
"""Cores that other processes may use while we measure."""


class Target(NamedTuple):
    """One promise: the figure stays below the target."""

    name: str
    value: float
    target: float
    unit: str

    @property
    def met(self) -> bool:
        return self.value < self.target


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; returns 0, whether the targets are met or not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatar", default=first_avatar(), metavar="NAME", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the paced session (default: %(default)g)")
    parser.add_argument("--output", choices=get_args(Output), default="h264", help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=ROOT / "perf" / "results", metavar="DIR")
    parser.add_argument("--no-perf-analyzer", action="store_true", help="leave NVIDIA's program out")
    options = parser.parse_args(arguments)
    if not options.seconds >= LEAST_SECONDS:  # a latency of no frame at all would meet its target
        parser.error(f"--seconds is {options.seconds:g}, expected {LEAST_SECONDS:g} or more")
    speech = read_sound(SPEECH).speech

    server = TritonServer(REPOSITORY)
    begin = time.monotonic()
    server.start()
    ready_s = time.monotonic() - begin
    try:
        print(f"server ready after {ready_s:.1f} s", flush=True)
        with Client(server.grpc_url) as client:
            first_frame_ms = warm_first_frame_ms(client, options.avatar, options.output, speech)
            print(f"first frame of a warm server after {first_frame_ms:.0f} ms", flush=True)
            memory = memory_by_sessions(server, client, options.avatar, options.output, speech)
            print("memory: " + ", ".join(f"{n} sessions {m.pss:.0f} MiB" for n, m in memory.items()), flush=True)
            print(f"one session at the speed of speech for {options.seconds:g} s ...", flush=True)
            before = processor_time.snapshot(server.pid)
            report = paced_session(client, options.avatar, options.output, speech, options.seconds)
            used = processor_time.between(before, processor_time.snapshot(server.pid))
        print(report, flush=True)
        print(f"cores in use: server {used.server:.2f}, client {used.client:.2f}, others {used.others:.2f}")
        if used.others > MAX_OTHERS:
            print("the machine was not quiet: the figures say little", file=sys.stderr)
        analyzer = None
        if not options.no_perf_analyzer:
            print("perf_analyzer ...", flush=True)
            try:
                analyzer = perf_analyzer.run(server.grpc_url, speech, options.avatar, options.output)
                print("perf_analyzer: " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in analyzer.items()))
            except (perf_analyzer.PerfAnalyzerError, FetchError) as error:
                print(f"perf_analyzer gave no figures: {error}", file=sys.stderr)
    finally:
        server.stop()

    few, many = min(MEASURED_SESSIONS), max(MEASURED_SESSIONS)
    targets = [
        Target("latency p99", report.p99_ms, 40.0, "ms"),
        Target("missed deadlines", 100.0 * report.missed / max(report.frames, 1), 0.5, "%"),
        Target("warm first frame", first_frame_ms, 200.0, "ms"),
        Target("server ready", ready_s, 10.0, "s"),
        Target("memory per session", (memory[many].pss - memory[few].pss) / (many - few), 30.0, "MiB"),
    ]
    print()
    for target in targets:
        verdict = "met" if target.met else "NOT MET"
        print(f"{target.name:<20} {target.value:8.2f} {target.unit:<4} target < {target.target:g}  {verdict}")

    result = {
        "machine": machine.describe(),
        "date": datetime.date.today().isoformat(),
        "output": options.output,
        "avatar": options.avatar,
        "targets": [{**rounded(target._asdict()), "met": target.met} for target in targets],
        "paced_session": {
            "deadline_ms": round(DEADLINE_S * 1e3, 1),
            **rounded({**asdict(report), "stages": [stage._asdict() for stage in report.stages]}),
        },
        "cores_in_use": rounded(used._asdict()),
        "memory_mib_by_sessions": {str(count): rounded(m._asdict()) for count, m in memory.items()},
        "perf_analyzer_latency_ms": rounded(analyzer) if analyzer is not None else None,
    }
    file = options.results / machine.slug() / "smoke.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\nwrote {file}")
    return 0


def first_avatar() -> str:
    """Name of the first ready avatar, or '' where there is none."""
    return min((path.stem for path in (REPOSITORY / "avatar_store" / "avatars").glob("*.avatar")), default="")


def warm_first_frame_ms(client: Client, avatar: str, output: Output, speech: Sound) -> float:
    """Median milliseconds from a session's first chunk to its first frame."""
    sound = speech[: (LOOKAHEAD_FRAMES + 4) * CHUNK_SAMPLES]
    times = []
    for _ in range(FIRST_FRAME_TRIALS + 1):
        watch = Stopwatch()
        with client.session(avatar, output) as session:
            for frame in session.stream(sound, realtime=True):
                watch.note(frame)
        assert watch.first_frame_s is not None
        times.append(watch.first_frame_s * 1e3)
    return statistics.median(times[1:])


def memory_by_sessions(
    server: TritonServer, client: Client, avatar: str, output: Output, speech: Sound
) -> dict[int, process_memory.Memory]:
    """Memory of the whole server with 0 and more live sessions, each of which has spoken for a second."""
    memory = {0: process_memory.of_group(server.pid)}
    chunks = [speech[begin : begin + CHUNK_SAMPLES] for begin in range(0, SAMPLE_RATE, CHUNK_SAMPLES)]
    with contextlib.ExitStack() as stack:
        for before, count in pairwise((0, *MEASURED_SESSIONS)):
            for _ in range(count - before):
                session = stack.enter_context(client.session(avatar, output))
                for chunk in chunks:
                    session.send(chunk)
                    list(session.frames(wait=False))
            memory[count] = process_memory.of_group(server.pid)
    return memory


def paced_session(client: Client, avatar: str, output: Output, speech: Sound, seconds: float) -> Report:
    """One session at 30 frames per second, the sentence repeated."""
    before = client.statistics()
    watch = watch_session(client, avatar, output, speech, seconds)
    return Report.of(watch, realtime=True, stages=stage_times(before, client.statistics()))


def watch_session(
    client: Client, avatar: str, output: Output, speech: Sound, seconds: float, quality: QualityName = "auto"
) -> Stopwatch:
    """The times of one session at 30 frames per second, the sentence repeated."""
    sound = np.tile(speech, int(np.ceil(seconds * SAMPLE_RATE / len(speech))))[: int(seconds * SAMPLE_RATE)]
    # The silence that fetches the last frames is sent all at once: their latency is not that of a conversation.
    paced = len(sound) // CHUNK_SAMPLES - LOOKAHEAD_FRAMES
    watch = Stopwatch()
    with client.session(avatar, output, quality=quality) as session:
        for frame in session.stream(sound, realtime=True):
            if frame.index < paced:
                watch.note(frame)
    return watch


def rounded(values: Any) -> Any:
    """The same with floats of 3 decimals, which is more than is reproducible."""
    if isinstance(values, dict):
        return {name: rounded(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [rounded(value) for value in values]
    return round(values, 3) if isinstance(values, float) else values


if __name__ == "__main__":
    sys.exit(main())
