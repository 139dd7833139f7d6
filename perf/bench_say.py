"""From text to lips on this machine: `python -m perf.bench_say`.

What is measured, on a server that is started for it, with the voice that the server gives by default, the session at
the speed of speech, several sentences of growing length, each several times after one that is not counted:

- first sound: from handing over the text to the first chunk of sound, a new connection included.
- first frame: to the first frame. The 2 frames of look-ahead are in it.
- lips move: to the frame in which the jaw is first open by more than a twentieth of its range. The sentence's own start
  is in it: the frames before it show how a mouth gets ready for the first vowel.
- times real time: seconds of sound for each second that `tts` takes for all of it, when nobody shows it.

The figures go to perf/results/<machine>/say.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any, get_args

from facestream.contract import FRAME_RATE
from facestream.parameters import INDEX
from facestream.protocol import Output
from facestream.say import say
from facestream.server import TritonServer
from facestream.session import Client
from facestream.tts.text_to_speech import TextToSpeech

from perf import machine, processor_time
from perf.bench_smoke import MAX_OTHERS, REPOSITORY, ROOT, first_avatar, rounded

TEXTS = {
    "one word": "Amazing.",
    "a sentence": "All of this was said by a machine, and shown by another one.",
    "a long sentence": "All of this was said by a machine, and shown by another one, which hears what the first one"
    " says, a thirtieth of a second at a time, and draws lips, teeth and tongue for it, while the first one is still"
    " busy with the words that come after, so that nobody waits.",
}
LIPS_APART = 0.05
"""jawOpen from which on a viewer sees the mouth open."""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatar", default=first_avatar(), metavar="NAME", help="default: %(default)s")
    parser.add_argument("--output", choices=get_args(Output), default="h264", help="default: %(default)s")
    parser.add_argument("--voice", default="", metavar="NAME", help="default: the server's")
    parser.add_argument("--trials", type=int, default=7, metavar="N", help="of each sentence (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=ROOT / "perf" / "results", metavar="DIR")
    options = parser.parse_args(arguments)
    if options.trials < 1:
        parser.error(f"--trials is {options.trials}, expected 1 or more")

    figures: dict[str, dict[str, Any]] = {}
    with TritonServer(REPOSITORY) as server, Client(server.grpc_url) as client:
        before = processor_time.snapshot(server.pid)
        for name, text in TEXTS.items():
            speech = TextToSpeech(server.grpc_url)
            opens = lips_open_at(client, speech, text, options.voice)
            trials = [
                timed(client, speech, text, options.voice, options.avatar, options.output, opens)
                for _ in range(options.trials + 1)
            ][1:]
            figures[name] = {
                "characters": len(text),
                **{what: spread([trial[what] for trial in trials]) for what in trials[0]},
                "lips_move_in_frame": opens,
                "times_real_time": times_real_time(speech, text, options.voice),
            }
            print(
                f"{name:<16} {len(text):>4} characters: "
                + ", ".join(
                    f"{what.removesuffix('_ms').replace('_', ' ')} {figures[name][what]['p50']:.0f} ms"
                    for what in trials[0]
                )
                + f" (frame {opens}); {figures[name]['times_real_time']:.0f} times real time",
                flush=True,
            )
        used = processor_time.between(before, processor_time.snapshot(server.pid))
    if used.others > MAX_OTHERS:
        print("the machine was not quiet: the figures say little", file=sys.stderr)
    result = {
        "machine": machine.describe(),
        "date": datetime.date.today().isoformat(),
        "output": options.output,
        "avatar": options.avatar,
        "voice": options.voice or "the server's default",
        "trials": options.trials,
        "texts": rounded(figures),
        "cores_in_use": rounded(used._asdict()),
    }
    file = options.results / machine.slug() / "say.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\nwrote {file}")
    return 0


def lips_open_at(client: Client, speech: TextToSpeech, text: str, voice: str) -> int:
    """Number of the first frame whose lips are apart."""
    with client.session(output="parameters") as session:
        for spoken in say(session, speech.speak(text, voice)):
            assert spoken.frame.parameters is not None
            if spoken.frame.parameters[INDEX["jawOpen"]] > LIPS_APART:
                return spoken.frame.index
    raise ValueError(f"the lips never open at {text!r}")


def timed(
    client: Client, speech: TextToSpeech, text: str, voice: str, avatar: str, output: Output, opens: int
) -> dict[str, float]:
    """Milliseconds of one trial, from handing over the text."""
    begin = time.monotonic()
    first_sound: list[float] = []

    def heard() -> Any:
        for chunk in speech.speak(text, voice):
            if not first_sound:
                first_sound.append(time.monotonic() - begin)
            yield chunk

    first_frame = 0.0
    with client.session(avatar, output) as session:
        for spoken in say(session, heard(), realtime=True):
            now = time.monotonic() - begin
            first_frame = first_frame or now
            if spoken.frame.index >= opens:
                return {
                    "first_sound_ms": first_sound[0] * 1e3,
                    "first_frame_ms": first_frame * 1e3,
                    "lips_move_ms": now * 1e3,
                }
    raise ValueError(f"frame {opens} of {text!r} did not come")


def times_real_time(speech: TextToSpeech, text: str, voice: str) -> float:
    """Seconds of sound for each second of synthesis and transport."""
    begin = time.monotonic()
    chunks = sum(1 for _ in speech.speak(text, voice))
    return chunks / FRAME_RATE / (time.monotonic() - begin)


def spread(values: list[float]) -> dict[str, float]:
    """Median and the worst of a few."""
    return {"p50": statistics.median(values), "max": max(values)}


if __name__ == "__main__":
    sys.exit(main())
