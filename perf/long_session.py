"""One session of an hour: whether client or server grow with it. `python -m perf.long_session [--seconds 3600]`.

The test sentence is repeated into a stereo WAV file at 48 kHz (659 MB for an hour), and streamed from there as
`facestream render` does, as fast as the server answers. The memory of this process and of the server with all its
stages is noted every half minute of video. Growth is the slope of a line through them, per hour of video, the first
tenth left out, in which caches fill.

The figures go to perf/results/<machine>/long.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import soundfile
from facestream.audio import SoundFile
from facestream.contract import FRAME_RATE, SAMPLE_RATE
from facestream.protocol import Output
from facestream.server import TritonServer
from facestream.session import Client

from perf import machine, process_memory, processor_time

ROOT = Path(__file__).parents[1]
SPEECH = ROOT / "tests" / "data" / "speech.wav"
RATE = 48_000
NOTE_EVERY = 30 * FRAME_RATE


class Note(NamedTuple):
    """Memory at one moment of the session, MiB."""

    video_s: float
    client: float
    server: float


def main(arguments: list[str] | None = None) -> int:
    """Stream, print, write; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600.0, help="of sound (default: %(default)g)")
    parser.add_argument("--output", choices=get_args(Output), default="parameters", help="default: %(default)s")
    parser.add_argument("--avatar", default="ada", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=ROOT / "perf" / "results", metavar="DIR")
    options = parser.parse_args(arguments)
    if not 1.0 <= options.seconds < float("inf"):
        parser.error(f"--seconds is {options.seconds:g}, expected 1 or more")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        write(path, options.seconds)
        begin = time.monotonic()
        sound = SoundFile(path)
        opened_s = time.monotonic() - begin
        notes: list[Note] = []
        with (
            TritonServer(ROOT / "model_repository") as server,
            Client(server.grpc_url) as client,
            client.session(options.avatar, options.output, correlation_id=1, deadline=60.0) as session,
        ):
            before = processor_time.snapshot(server.pid)
            begin = time.monotonic()
            count = 0
            for count, _ in enumerate(session.stream(sound.speech_blocks()), 1):
                if count % NOTE_EVERY == 0:
                    notes.append(note(count / FRAME_RATE, server))
                    print(
                        f"{count / FRAME_RATE:6.0f} s of video after {time.monotonic() - begin:6.0f} s, "
                        f"client {notes[-1].client:.1f} MiB, server {notes[-1].server:.1f} MiB",
                        flush=True,
                    )
            elapsed = time.monotonic() - begin
            used = processor_time.between(before, processor_time.snapshot(server.pid))
    assert count == sound.frames, f"{count} frames came of {sound.frames}"
    result = {
        "machine": machine.describe(),
        "date": datetime.date.today().isoformat(),
        "output": options.output,
        "sound_s": sound.seconds,
        "file_mib": round(sound.samples * 4 / 2**20, 1),
        "looked_through_s": round(opened_s, 1),
        "frames": count,
        "streamed_s": round(elapsed, 1),
        "cores_in_use": {name: round(value, 2) for name, value in used._asdict().items()},
        "client_mib": span([entry.client for entry in notes]),
        "server_mib": span([entry.server for entry in notes]),
        "client_growth_mib_per_hour": growth(notes, [entry.client for entry in notes]),
        "server_growth_mib_per_hour": growth(notes, [entry.server for entry in notes]),
    }
    print(json.dumps(result, indent=2))
    file = options.results / machine.slug() / "long.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=2) + "\n")
    print(f"wrote {file}")
    return 0


def write(path: Path, seconds: float) -> None:
    """The test sentence over and over, stereo, its second channel softer."""
    sentence = np.repeat(SoundFile(SPEECH).speech, RATE // SAMPLE_RATE)
    pair = np.outer(sentence, [1.0, 0.8]).astype(np.float32)
    left = round(seconds * RATE)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        while left:
            file.write(pair[:left])
            left -= min(left, len(pair))


def note(video_s: float, server: TritonServer) -> Note:
    """Memory now: proportional set sizes."""
    return Note(
        video_s, process_memory.of_process(Path(f"/proc/{os.getpid()}")).pss, process_memory.of_group(server.pid).pss
    )


def span(values: list[float]) -> list[float]:
    """First and last, MiB."""
    return [round(values[0], 1), round(values[-1], 1)] if values else []


def growth(notes: list[Note], values: list[float]) -> float | None:
    """Slope over the time of the video, MiB per hour; None of fewer than 5 notes."""
    first = len(notes) // 10
    if len(notes) - first < 5:
        return None
    slope = np.polyfit([entry.video_s / 3600 for entry in notes[first:]], values[first:], 1)[0]
    return round(float(slope), 2)


if __name__ == "__main__":
    sys.exit(main())
