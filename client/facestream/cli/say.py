"""`facestream say`: text in, an MP4 of an avatar that says it out, over a running server."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tqdm import tqdm

from facestream.cli.film import add_film_options, emotion_of, filming, output_of
from facestream.contract import FASTEST_SPEECH, FRAME_RATE, SLOWEST_SPEECH
from facestream.errors import BadInput
from facestream.say import SpokenSound, say
from facestream.tts.exchange import MAX_CHARACTERS, check_whole_text
from facestream.tts.marks import decode_text
from facestream.tts.tensors import check_speed, check_voice
from facestream.tts.text_to_speech import TextToSpeech

READY_AVATAR = "ada"
"""One of those that come with the model repository."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "say",
        help="make an MP4 of an avatar that says a text",
        description="Have a text spoken and shown by a server and write what comes back; then report how fast it was."
        " Marks in the text: [pause 0.5], and emotions as in [happy], [sad 0.4], [angry 0.2, surprised 0.6],"
        " [neutral]; each holds until the next one. \\[ is a bracket that is spoken.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("text", nargs="?", help="the text, or '-' to read it from standard input")
    source.add_argument("-f", "--file", type=Path, metavar="FILE", help="read the text from a file (UTF-8)")
    parser.add_argument(
        "--voice",
        default="",
        metavar="NAME",
        help="a language of espeak-ng, such as en-us, de or fr+f3, or a Piper voice of the server's folder"
        " (default: the server's choice)",
    )
    parser.add_argument(
        "--speed",
        type=float,
        default=1.0,
        metavar="X",
        help=f"{SLOWEST_SPEECH:g} to {FASTEST_SPEECH:g} times the voice's own (default: %(default)g)",
    )
    add_film_options(parser, avatar=READY_AVATAR)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Say it; returns 0. What goes wrong is a `FacestreamError`."""
    text = read_text(options)
    emotion = emotion_of(options)
    output = output_of(options)
    check_voice(options.voice)
    check_speed(options.speed)
    check_whole_text(text)
    sound = SpokenSound()
    with filming(options, output, emotion, sound) as film:
        speech = TextToSpeech(film.client.url).speak(text, options.voice, options.speed, emotion)
        began, first_s, sentence = time.monotonic(), 0.0, ""
        # None: a bar on a terminal only. Nobody knows the number of frames, but everybody that of characters.
        bar = tqdm(total=len(text), unit="character", disable=True if options.quiet else None)
        for spoken in say(film.session, speech, options.realtime):
            first_s = first_s or time.monotonic() - began
            if output != "parameters":  # a table has no sound: nobody would take it
                sound.push(spoken.sound)
            film.write(spoken.frame)
            if spoken.sentence and spoken.sentence is not sentence:
                sentence = spoken.sentence
                bar.update(min(len(sentence) + 1, len(text) - bar.n))
            bar.set_postfix_str(f"{spoken.frame.index / FRAME_RATE:.0f} s of video", refresh=False)
        bar.close()
        report = film.report(options.realtime)
    if not options.quiet:
        print(report)
        print(f"\nfirst frame {first_s * 1e3:.0f} ms after the text was sent\nwrote {options.output}")
    return 0


def read_text(options: argparse.Namespace) -> str:
    """The text, wherever it comes from. Raises `BadInput`, which names the file, where there is none."""
    limit = 4 * MAX_CHARACTERS  # bytes: whatever is longer is refused, and need not be read
    if options.file is not None:
        try:
            with options.file.open("rb") as file:
                data = file.read(limit + 1)
        except OSError as error:
            raise BadInput(f"{options.file} cannot be read: {error.strerror}") from error
        name = str(options.file)
    elif options.text == "-":
        data, name = sys.stdin.buffer.read(limit + 1), "standard input"
    else:
        # The shell's bytes that are no UTF-8 come as lone surrogates.
        data, name = options.text.encode("utf-8", "surrogateescape"), "TEXT"
    if len(data) > limit:
        raise BadInput(f"{name}: more than {limit:,} bytes; expected at most {MAX_CHARACTERS:,} characters")
    try:
        return decode_text(data)
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from error
