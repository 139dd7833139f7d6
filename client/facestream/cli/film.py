"""From a session with a server to a file: what `render` and `say` share.

The file is an MP4 with sound, or a CSV with the 73 face parameters of each frame.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tritonclient.grpc import service_pb2

from facestream.audio import SoundFile
from facestream.contract import LOOKAHEAD_FRAMES
from facestream.errors import BadInput, ServerUnavailable
from facestream.parameters import EMOTIONS, PARAMETERS
from facestream.protocol import Frame, Output
from facestream.quality import NAMES
from facestream.report import Report, Stopwatch, stage_times
from facestream.session import Client, Session
from facestream.video import Soundtrack, VideoWriter, check_writable, writing


def add_film_options(parser: argparse.ArgumentParser, avatar: str = "") -> None:
    """Add the options about server, session and file; `avatar` is the one taken where none is named."""
    parser.add_argument(
        "--avatar",
        default=avatar,
        metavar="NAME",
        help="one of the server's avatars"
        + (f" (default: {avatar})" if avatar else ", such as ada; needed for an .mp4"),
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("out.mp4"),
        metavar="FILE",
        help="an .mp4, or a .csv with the 73 face parameters of each frame (default: %(default)s)",
    )
    server = parser.add_mutually_exclusive_group()
    server.add_argument("--url", default="localhost:8001", metavar="HOST:PORT", help="gRPC (default: %(default)s)")
    server.add_argument("--serve", action="store_true", help="start a server for this one run")
    parser.add_argument("--realtime", action="store_true", help="send the sound at the speed of speech")
    parser.add_argument(
        "--emotion",
        action="append",
        default=[],
        metavar="NAME=INTENSITY",
        help=f"0 to 1; may be given several times; names: {', '.join(EMOTIONS)}",
    )
    parser.add_argument(
        "--quality",
        choices=NAMES,
        default="auto",
        help="how much work goes into the face; auto: the best that the server's load allows (default: %(default)s)",
    )
    parser.add_argument(
        "--pictures", action="store_true", help="take pictures from the server and encode them here, instead of H.264"
    )
    parser.add_argument(
        "--in-flight", type=int, default=4, metavar="N", help="frames asked for at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--deadline", type=float, default=10.0, metavar="S", help="seconds to wait for a frame (default: %(default)g)"
    )
    parser.add_argument(
        "--resume",
        type=float,
        default=5.0,
        metavar="S",
        help="seconds for which a server that has gone is waited for, to go on where it left (default: %(default)g)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="the session's number: blinks and head movement follow from it, so that"
        " a film can be made again as it was (default: random)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, no report")


def output_of(options: argparse.Namespace) -> Output:
    """What to ask the server for, by the file that is wanted. Raises `BadInput` where that is none of ours."""
    suffix = options.output.suffix.lower()
    if suffix not in (".mp4", ".csv"):
        raise BadInput(f"output is {options.output}; expected a name that ends in .mp4 or .csv")
    if suffix == ".csv":
        return "parameters"
    if not options.avatar:
        raise BadInput("no avatar is named; expected --avatar NAME, such as ada, who comes with the repository")
    return "rgb" if options.pictures else "h264"


def emotion_of(options: argparse.Namespace) -> dict[str, float]:
    """Intensities by name, as --emotion gives them. Raises `BadInput` for what is no number."""
    return dict(_emotion(word) for word in options.emotion)


@dataclass
class Film:
    """A session with a server and the file that its frames go to."""

    client: Client
    session: Session
    watch: Stopwatch
    """Begins as the session is ready to be used."""
    _writer: VideoWriter | _Table
    _before: service_pb2.ModelStatisticsResponse

    def write(self, frame: Frame) -> None:
        """Append the next frame."""
        self.watch.note(frame)
        self._writer.write(frame)

    def report(self, realtime: bool) -> Report:
        """What the run was like so far; without the server's own times where it has gone meanwhile."""
        try:
            stages = stage_times(self._before, self.client.statistics())
        except ServerUnavailable:
            stages = []
        return Report.of(self.watch, realtime, stages, flushed=LOOKAHEAD_FRAMES if realtime else 0)


@contextlib.contextmanager
def filming(
    options: argparse.Namespace, output: Output, emotion: Mapping[str, float], sound: SoundFile | Soundtrack
) -> Iterator[Film]:
    """Open server, session and file as the options say; all are closed at the end of the `with` block."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(_served()) if options.serve else options.url
        client = stack.enter_context(Client(url))
        try:
            client.check_ready(output)
        except ServerUnavailable as error:
            raise ServerUnavailable(f"{error}\nstart a server with `facestream serve`, or add --serve here") from error
        before = client.statistics()
        session = stack.enter_context(
            client.session(
                options.avatar,
                output,
                emotion,
                options.quality,
                max_in_flight=options.in_flight,
                deadline=options.deadline,
                correlation_id=options.seed,
                resume_seconds=options.resume,
            )
        )
        writer: VideoWriter | _Table
        writer = _Table(options.output) if output == "parameters" else VideoWriter(options.output, sound)
        stack.push(writer)
        yield Film(client, session, Stopwatch(), writer, before)


class _Table:
    """Face parameters as CSV: one row for each frame, one column for each of the 73."""

    def __init__(self, path: Path) -> None:
        check_writable(path)
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> _Table:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with writing(self._path):
                self._file.close()

    def write(self, frame: Frame) -> None:
        assert frame.parameters is not None
        with writing(self._path):
            if self._file is None:  # not before: a session that is refused leaves the file as it was
                self._file = self._path.open("w", newline="")
                self._rows = csv.writer(self._file)
                self._rows.writerow(["frame", "time_s", *(parameter.name for parameter in PARAMETERS)])
            values = (f"{value:.5g}" for value in frame.parameters)
            self._rows.writerow([frame.index, f"{frame.time_s:.4f}", *values])


def _emotion(word: str) -> tuple[str, float]:
    name, separator, intensity = word.partition("=")
    try:
        return name, float(intensity) if separator else 1.0
    except ValueError as error:
        raise BadInput(f"--emotion is '{word}'; expected NAME=INTENSITY, as in happy=0.5") from error


@contextlib.contextmanager
def _served() -> Iterator[str]:
    """Serve this checkout's models for the time of a `with` block, which gets the address."""
    from facestream.cli.serve import default_repository
    from facestream.server import FetchError, ServerError, TritonServer

    repository = default_repository()
    if repository is None:
        raise ServerUnavailable("no model repository here: run this from a checkout, or start `facestream serve`")
    server = TritonServer(repository)
    print("starting a server ...", file=sys.stderr)
    try:
        server.start()
    except (FetchError, ServerError) as error:
        raise ServerUnavailable(str(error)) from error
    try:
        yield server.grpc_url
    finally:
        server.stop()
