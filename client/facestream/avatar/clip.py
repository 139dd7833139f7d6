"""Open a clip for reading its pictures: with a limit to their size, and upright.

The size that a clip declares is read without a decoder. Its pictures may be larger than it says, so FFmpeg is told the
limit as well: to find out what is in a file it decodes some, before anybody has asked for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from facestream.avatar.photo import PhotoError

MAX_CLIP_PIXELS = 40_000_000
"""Of one picture of a clip: 8K has 33 million, and a decoder keeps several."""


@contextmanager
def open_clip(path: Path) -> Iterator[tuple[Any, Any]]:
    """PyAV's container and its first video stream; whatever goes wrong while they are read is a PhotoError.

    Raises:
        PhotoError: no such file, no clip, no pictures in it, or pictures of more than MAX_CLIP_PIXELS.
    """
    if not path.is_file():
        raise PhotoError(f"{path}: there is no such file")
    most = f"{MAX_CLIP_PIXELS / 1e6:.0f} million"
    limit = {"max_pixels": str(MAX_CLIP_PIXELS)}
    try:
        with av.open(str(path), options={"codec_whitelist": "none"}) as declared:
            if not declared.streams.video:
                raise PhotoError(f"{path}: holds no pictures")
            context: Any = declared.streams.video[0].codec_context
            if context is None:
                raise PhotoError(
                    f"{path}: its pictures are in a format that cannot be decoded; save it as MP4 with H.264"
                )
            if context.width * context.height > MAX_CLIP_PIXELS:
                raise PhotoError(
                    f"{path}: its pictures have {context.width} x {context.height} px"
                    f" ({context.width * context.height / 1e6:.0f} million), expected at most {most}; save it smaller"
                )
        with av.open(str(path), options=limit) as container:
            stream = container.streams.video[0]
            stream.codec_context.options = limit
            yield container, stream
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, PhotoError):
            raise
        raise PhotoError(
            f"{path}: is not a clip that can be read, or has pictures of more than {most} pixels ({error})"
        ) from error


def upright(frame: Any) -> NDArray[np.uint8]:
    """A decoded frame as RGB [H, W, 3]. Phones film lying down and say so; the angle is counter-clockwise."""
    turned = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    return np.ascontiguousarray(turned, np.uint8)
