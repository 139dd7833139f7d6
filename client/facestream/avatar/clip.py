"""Read the pictures of a clip: how many and how long, with a limit to their size, one at a time, and upright.

The size that a clip declares is read without a decoder. Its pictures may be larger than it says, so FFmpeg is told the
limit as well: to find out what is in a file it decodes some, before anybody has asked for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from facestream.avatar.photo import PhotoError, check_file, check_pixels

MAX_CLIP_PIXELS = 40_000_000
"""Of one picture of a clip: 8K has 33 million, and a decoder keeps several."""

NO_DECODER = {"codec_whitelist": "none"}
LIMITED = {"max_pixels": str(MAX_CLIP_PIXELS)}


@dataclass(frozen=True)
class Clip:
    """A clip whose pictures are small enough to be decoded."""

    path: Path
    seconds: float
    """How long it lasts."""
    count: int
    """How many pictures it has."""

    def frames(self) -> Iterator[Any]:
        """PyAV's decoded frames, in order.

        Raises:
            PhotoError: it cannot be decoded, or has pictures of more than MAX_CLIP_PIXELS.
        """
        with _named(self.path), av.open(str(self.path), options=LIMITED) as container:
            stream: Any = container.streams.video[0]
            stream.codec_context.options = LIMITED
            yield from container.decode(stream)


def read_clip(path: Path) -> Clip:
    """Look into a clip, without decoding anything.

    Raises:
        PhotoError: no such file, no clip, no pictures in it, or pictures that are said to have more than
            MAX_CLIP_PIXELS.
    """
    check_file(path)
    with _named(path), av.open(str(path), options=NO_DECODER) as container:
        if not container.streams.video:
            raise PhotoError(f"{path}: holds no pictures")
        stream: Any = container.streams.video[0]
        context = stream.codec_context
        if context is None:
            raise PhotoError(f"{path}: its pictures are in a format that cannot be decoded; save it as MP4 with H.264")
        check_pixels(path, "its pictures have", context.width, context.height, MAX_CLIP_PIXELS)
        return Clip(path, *_extent(container, stream))


def _extent(container: Any, stream: Any) -> tuple[float, int]:
    """Seconds and number of pictures."""
    seconds = float((stream.duration or 0) * (stream.time_base or 0))
    # Matroska and WebM tell the length of the whole alone, and do not count.
    seconds = seconds or (container.duration or 0) / av.time_base
    count = stream.frames or round(seconds * float(stream.average_rate or 0))
    if seconds and count:
        return seconds, count
    # Browsers record WebM that tells neither: its packets are gone through.
    times = [float(packet.pts * packet.time_base) for packet in container.demux(stream) if packet.pts is not None]
    return seconds or max(times, default=0.0) - min(times, default=0.0), count or len(times)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Whatever goes wrong while a clip is read is a PhotoError that names it."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, PhotoError):
            raise
        raise PhotoError(
            f"{path}: is not a clip that can be read, or has pictures of more than"
            f" {MAX_CLIP_PIXELS / 1e6:.0f} million pixels ({error})"
        ) from error


def upright(frame: Any) -> NDArray[np.uint8]:
    """A decoded frame as RGB [H, W, 3]. Phones film lying down and say so; the angle is counter-clockwise."""
    turned = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    return np.ascontiguousarray(turned, np.uint8)
