"""How many sessions at 30 frames a second a running server serves in time: `python -m perf.gpu.sessions`.

Sessions speak at the speed of speech, their beginnings spread over a frame as those of real users; more and more of
them, until the 99th percentile of all frames' latency or the share of frames later than 33.3 ms breaks its limit, or a
session fails; then the greatest number in between that holds is looked for. Latency is that of bench_smoke: from the
sending of the request that completes a frame to the frame, without the first second, in which a server warms.

    docker compose --profile gpu up            # in one terminal, any server will do
    python -m perf.gpu.sessions                # on the same machine, in another

The client's own work is in the figures, and its processes take cores from the server: --url names a server elsewhere,
and then --card the GPU that is in it. --perf-analyzer asks the same of NVIDIA's program at the number that was found.
Writes perf/results/<card>/sessions.json and sessions.md; python -m perf.gpu.roofline reads them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
from facestream.audio import read_sound
from facestream.contract import FRAME_RATE
from facestream.errors import FacestreamError
from facestream.protocol import Output
from facestream.quality import NAMES, QualityName
from facestream.report import DEADLINE_S, Stopwatch, stage_times
from facestream.server import FetchError
from facestream.session import Client

from perf import machine, perf_analyzer
from perf.bench_smoke import SPEECH, first_avatar, rounded, watch_session
from perf.gpu.card import slug, smi

RESULTS: Final = Path(__file__).parents[1] / "results"
P99_LIMIT_MS: Final = 40.0
MISSED_LIMIT: Final = 0.005
SESSIONS_OF_A_PROCESS: Final = 4
"""Of the client: Python runs one thread at a time."""
WARM_FRAMES: Final = FRAME_RATE
START_SECONDS: Final = 3.0
"""For the client's processes to get ready before all begin."""


@dataclass(frozen=True)
class Trial:
    """So many sessions at a time."""

    sessions: int
    frames: int
    p50_ms: float
    p99_ms: float
    missed: float
    """Share of frames later than 33.3 ms."""
    qualities: dict[str, int]
    """Frames by tier."""
    failures: list[str]
    """What ended a session."""

    @property
    def holds(self) -> bool:
        """Whether that many are served in time."""
        in_time = self.p99_ms < P99_LIMIT_MS and self.missed < MISSED_LIMIT
        return in_time and self.frames > 0 and not self.failures

    def entry(self) -> dict[str, Any]:
        """For sessions.json, which holds no infinity."""
        figures = {**asdict(self), "holds": self.holds}
        return figures if self.frames else {**figures, "p50_ms": None, "p99_ms": None, "missed": None}

    def __str__(self) -> str:
        verdict = "in time" if self.holds else "NOT in time"
        failed = f", {len(self.failures)} failed ({self.failures[0]})" if self.failures else ""
        times = f"p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms, {self.missed:.1%} late"
        return f"{self.sessions:3} sessions: {self.frames} frames, {times}{failed}: {verdict}"


@dataclass(frozen=True)
class Question:
    """What is asked of the server."""

    url: str
    avatar: str
    output: Output
    quality: QualityName
    seconds: float


def trial(question: Question, count: int) -> Trial:
    """Run `count` sessions at a time."""
    begin = time.time() + START_SECONDS
    numbers = list(range(count))
    groups = [numbers[first : first + SESSIONS_OF_A_PROCESS] for first in range(0, count, SESSIONS_OF_A_PROCESS)]
    with ProcessPoolExecutor(len(groups), multiprocessing.get_context("spawn")) as processes:
        waiting = [processes.submit(_sessions, question, group, count, begin) for group in groups]
        results = [result for group in waiting for result in group.result()]
    return summary(count, [result for result in results if isinstance(result, Stopwatch)], results)


def summary(count: int, watches: Sequence[Stopwatch], results: Sequence[Stopwatch | str] = ()) -> Trial:
    """The figures of sessions that ended well, and what became of the others."""
    latencies = np.array([latency for watch in watches for latency in watch.latencies_s[WARM_FRAMES:]])
    qualities: Counter[int] = Counter()
    for watch in watches:
        qualities.update(watch.qualities)
    p50, p99 = (float(np.percentile(latencies, share)) if len(latencies) else np.inf for share in (50, 99))
    return Trial(
        count,
        len(latencies),
        p50 * 1e3,
        p99 * 1e3,
        float((latencies > DEADLINE_S).mean()) if len(latencies) else 1.0,
        {NAMES[tier]: frames for tier, frames in sorted(qualities.items())},
        [result for result in results if isinstance(result, str)],
    )


def _sessions(question: Question, numbers: Sequence[int], count: int, begin: float) -> list[Stopwatch | str]:
    """A process of the client: its sessions, each begun at its own moment of a frame."""
    speech = read_sound(SPEECH).speech

    def one(number: int) -> Stopwatch | str:
        time.sleep(max(0.0, begin + number / count / FRAME_RATE - time.time()))
        try:
            with Client(question.url) as client:
                seconds = question.seconds + WARM_FRAMES / FRAME_RATE
                return watch_session(client, question.avatar, question.output, speech, seconds, question.quality)
        except FacestreamError as error:
            return str(error)

    with ThreadPoolExecutor(len(numbers)) as threads:
        return list(threads.map(one, numbers))


def greatest(ask: Callable[[int], Trial], most: int) -> tuple[int, list[Trial]]:
    """The greatest number of sessions that holds, up to `most`, and all trials in their order.

    Doubles until one does not hold, then halves the gap. A number that once held counts, and one that did not is not
    asked again.
    """
    trials: list[Trial] = []
    good, bad, count = 0, most + 1, 1
    while good + 1 < bad:
        trials.append(ask(count))
        if trials[-1].holds:
            good = count
        else:
            bad = count
        count = min(2 * count, most) if bad == most + 1 else (good + bad) // 2
    return good, trials


def markdown(result: dict[str, Any]) -> str:
    """sessions.md."""
    lines = [
        f"# Sessions at 30 FPS on {result['card']}",
        "",
        f"`python -m perf.gpu.sessions`, {result['date']}: output `{result['output']}`, quality `{result['quality']}`,",
        f"{result['seconds']:g} s each; {result['processor']}, {result['cores']} cores, which the client shares.",
        "",
        f"**{result['sessions']}** are served in time: p99 below {P99_LIMIT_MS:g} ms, less than {MISSED_LIMIT:.1%} of",
        "the frames later than 33.3 ms, none failed.",
        "",
        "| sessions | frames | p50 ms | p99 ms | late | tiers | |",
        "|---|---|---|---|---|---|---|",
    ]
    for entry in result["trials"]:
        tiers = ", ".join(f"{name} {frames}" for name, frames in entry["qualities"].items())
        verdict = "in time" if entry["holds"] else f"**not**{': ' + entry['failures'][0] if entry['failures'] else ''}"
        figures = "- | - | -"
        if entry["frames"]:
            figures = f"{entry['p50_ms']:.1f} | {entry['p99_ms']:.1f} | {entry['missed']:.2%}"
        lines.append(f"| {entry['sessions']} | {entry['frames']} | {figures} | {tiers} | {verdict} |")
    lines += ["", "Mean ms of a request in each stage over all trials (in a batch each request counts the whole):", ""]
    lines += ["| stage | requests | in a batch | queue | compute |", "|---|---|---|---|---|"]
    for stage in result["stages"]:
        batch = stage["requests"] / max(1, stage["executions"])
        times = f"{stage['queue_ms']:.2f} | {stage['compute_ms']:.2f}"
        lines.append(f"| {stage['name']} | {stage['requests']} | {batch:.1f} | {times} |")
    if result["perf_analyzer_latency_ms"]:
        figures = ", ".join(f"{name} {ms:.1f} ms" for name, ms in result["perf_analyzer_latency_ms"].items())
        lines += ["", f"perf_analyzer at {result['sessions']} sessions: {figures}."]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Ask, print, write; 0 when at least one session is served in time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="localhost:8001", help="gRPC endpoint of the server (default: %(default)s)")
    parser.add_argument("--card", help="name of the server's GPU (default: what nvidia-smi says here)")
    parser.add_argument("--most", type=int, default=64, help="sessions to try at most (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each trial (default: %(default)g)")
    parser.add_argument("--avatar", default=first_avatar(), metavar="NAME", help="default: %(default)s")
    parser.add_argument("--output", choices=get_args(Output), default="h264", help="default: %(default)s")
    parser.add_argument("--quality", choices=NAMES, default="auto", help="default: %(default)s")
    parser.add_argument("--perf-analyzer", action="store_true", help="ask NVIDIA's program, too")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    options = parser.parse_args(arguments)
    if options.most < 1 or options.seconds <= 0:
        parser.error(f"--most is {options.most} and --seconds {options.seconds:g}: expected 1 or more, and above 0")
    name = options.card or smi().get("name")
    try:
        with Client(options.url) as client:
            client.check_ready(options.output)
            before = client.statistics()
            question = Question(options.url, options.avatar, options.output, options.quality, options.seconds)

            def ask(count: int) -> Trial:
                made = trial(question, count)
                print(made, flush=True)
                return made

            found, trials = greatest(ask, options.most)
            stages = stage_times(before, client.statistics())
    except FacestreamError as error:
        parser.error(str(error))
    print(f"{found} sessions at 30 FPS in time")
    analyzer = None
    if options.perf_analyzer and found:
        try:
            speech = read_sound(SPEECH).speech
            analyzer = perf_analyzer.run(options.url, speech, options.avatar, options.output, found)
        except (perf_analyzer.PerfAnalyzerError, FetchError) as error:
            print(f"perf_analyzer gave no figures: {error}", file=sys.stderr)
    result = rounded(
        {
            "card": name or "no GPU",
            "processor": machine.processor(),
            "cores": machine.cores(),
            "date": datetime.date.today().isoformat(),
            "output": options.output,
            "quality": options.quality,
            "avatar": options.avatar,
            "seconds": options.seconds,
            "sessions": found,
            "limits": {"p99_ms": P99_LIMIT_MS, "missed": MISSED_LIMIT},
            "trials": [made.entry() for made in trials],
            "stages": [stage._asdict() for stage in stages],
            "perf_analyzer_latency_ms": analyzer,
        }
    )
    folder = options.results / (slug(name) if name else machine.slug())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sessions.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "sessions.md").write_text(markdown(result))
    print(f"wrote {folder / 'sessions.md'}")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
