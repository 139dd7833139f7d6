"""`facestream render`: a sound file in, an MP4 with a talking face out, over a running server."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from facestream.audio import SoundFile
from facestream.cli.film import add_film_options, emotion_of, filming, output_of


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "render",
        help="make an MP4 of a sound file with an avatar",
        description="Send a sound file to a server and write what comes back; then report how fast it was.",
    )
    parser.add_argument("sound", type=Path, help="WAV, FLAC, OGG or MP3, any rate, any number of channels")
    add_film_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Render; returns 0. What goes wrong is a `FacestreamError`."""
    emotion = emotion_of(options)
    output = output_of(options)
    sound = SoundFile(options.sound)
    if not options.quiet:
        for remark in sound.remarks:
            print(remark, file=sys.stderr)
    with filming(options, output, emotion, sound) as film:
        # None: a bar on a terminal only.
        bar = tqdm(total=sound.frames, unit="frame", disable=True if options.quiet else None)
        for frame in film.session.stream(sound.speech_blocks(), realtime=options.realtime):
            film.write(frame)
            bar.update()
        bar.close()
        report = film.report(options.realtime)
    if not options.quiet:
        print(report)
        print(f"\nwrote {options.output}")
    return 0
