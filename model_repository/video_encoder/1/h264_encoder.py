"""H.264 for one live session: one frame in, one access unit out, none held back."""

from __future__ import annotations

import fractions
from collections.abc import Callable
from typing import Any, Literal

import av
import numpy as np
from device_frames import DeviceFrames
from facestream.array_namespace import Array
from facestream.contract import FRAME_RATE, FRAME_SIZE, LOOKAHEAD_FRAMES
from facestream.sequence import FrameOrder, SessionLost
from h264_codec import X264, H264Codec
from i420 import to_i420
from numpy.typing import NDArray

PixelFormat = Literal["yuv420p", "nv12"]


def create_context(name: str) -> Any:
    """FFmpeg's context of an encoder, not opened yet."""
    return av.CodecContext.create(name, "w")


class H264Encoder:
    """Encoder of one session: ITU-T H.264, Annex B byte stream, SPS and PPS before every keyframe."""

    def __init__(
        self,
        codec: H264Codec = X264,
        pixel_format: PixelFormat = "yuv420p",
        create: Callable[[str], Any] = create_context,
        device_frames: DeviceFrames | None = None,
    ) -> None:
        """`pixel_format` is what the codec is given. `create` makes FFmpeg's codec context.

        With `device_frames` frames are taken where they lie on the GPU, and `pixel_format` does not count.

        Raises:
            av.FFmpegError: a codec in hardware cannot be opened; one on the processor is opened by its first frame.
        """
        self.codec = codec
        self.device_frames = device_frames
        self._order = FrameOrder(-LOOKAHEAD_FRAMES)
        self._pixel_format = pixel_format
        self._context = create(codec.name)
        self._context.width = self._context.height = FRAME_SIZE
        self._context.pix_fmt = pixel_format if device_frames is None else device_frames.pixel_format
        self._context.time_base = fractions.Fraction(1, FRAME_RATE)
        self._context.framerate = fractions.Fraction(FRAME_RATE)
        self._context.thread_count = 1  # sessions run side by side: threads within one would only fight
        # Said in the stream as well (ITU-T H.273): players that are not told guess BT.601, and the skin turns greyer.
        self._context.color_range = 1  # limited
        self._context.colorspace = self._context.color_primaries = self._context.color_trc = 1  # BT.709
        self._context.options = dict(codec.options)
        # A card that is out of encoders says so here, before the session has begun.
        if device_frames is not None:
            # Where frames lie is known by the first of them alone. This one is not sent.
            blank = device_frames.blank()
            blank.pts = -1
            self._context.encode(blank)
        elif codec.in_hardware:
            self._context.open()

    def encode(self, frame: Array, frame_index: int) -> tuple[NDArray[np.uint8], bool]:
        """The access unit (n,) of the next frame and whether it is a keyframe.

        Frame 0 is always a keyframe: clients drop the frames before it.

        Args:
            frame: uint8, (FRAME_SIZE, FRAME_SIZE, 3) RGB, or (FRAME_SIZE * 3 / 2, FRAME_SIZE) NV12 in BT.709; on the
                GPU, and then NV12, where the encoder has `device_frames`.
            frame_index: of the shown frame.

        Raises:
            SessionLost: `frame_index` is not the next one, or the encoder failed.
        """
        self._order.check(frame_index)
        if self.device_frames is not None:
            picture = self.device_frames.frame(frame)
        elif frame.ndim == 3:
            picture = to_i420(frame)
            if self._pixel_format != "yuv420p":
                picture = picture.reformat(format=self._pixel_format)
        else:
            picture = av.VideoFrame.from_ndarray(frame, format="nv12")
        picture.pts = frame_index + LOOKAHEAD_FRAMES
        if frame_index == 0 or (self.device_frames is not None and frame_index == -LOOKAHEAD_FRAMES):
            picture.pict_type = av.video.frame.PictureType.I
        try:
            packets = self._context.encode(picture)
        except av.FFmpegError as error:
            raise SessionLost(f"the encoder failed at frame {frame_index}: {error}; begin anew with START") from error
        if len(packets) != 1:
            raise SessionLost(f"the encoder gave {len(packets)} packets for frame {frame_index}, expected 1")
        self._order.advance()
        return np.frombuffer(bytes(packets[0]), np.uint8), bool(packets[0].is_keyframe)
