"""H.264 for one live session: one frame in, one access unit out, none held back."""

from __future__ import annotations

import fractions

import av
import numpy as np
from facestream.contract import FRAME_RATE, FRAME_SIZE, LOOKAHEAD_FRAMES
from facestream.sequence import FrameOrder, SessionLost
from numpy.typing import NDArray

_KEYFRAME_SECONDS = 2
_QUALITY = "21"  # x264's constant rate factor: no difference to the eye at 512 x 512


class H264Encoder:
    """Encoder of one session: ITU-T H.264, Annex B byte stream, SPS and PPS before every keyframe."""

    def __init__(self) -> None:
        self._order = FrameOrder(-LOOKAHEAD_FRAMES)
        self._codec = av.CodecContext.create("libx264", "w")
        self._codec.width = self._codec.height = FRAME_SIZE
        self._codec.pix_fmt = "yuv420p"
        self._codec.time_base = fractions.Fraction(1, FRAME_RATE)
        self._codec.framerate = fractions.Fraction(FRAME_RATE)
        self._codec.thread_count = 1  # sessions run side by side: threads within one would only fight
        # Said in the stream as well (ITU-T H.273): players that are not told guess BT.601, and the skin turns greyer.
        self._codec.color_range = 1  # limited
        self._codec.colorspace = self._codec.color_primaries = self._codec.color_trc = 1  # BT.709
        self._codec.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "crf": _QUALITY,
            "g": str(_KEYFRAME_SECONDS * FRAME_RATE),
            "x264-params": "repeat-headers=1:annexb=1:scenecut=0",
        }

    def encode(self, frame: NDArray[np.uint8], frame_index: int) -> tuple[NDArray[np.uint8], bool]:
        """The access unit (n,) of the next frame and whether it is a keyframe.

        Frame 0 is always a keyframe: clients drop the frames before it.

        Args:
            frame: (FRAME_SIZE, FRAME_SIZE, 3) RGB.
            frame_index: of the shown frame.

        Raises:
            SessionLost: `frame_index` is not the next one.
        """
        self._order.check(frame_index)
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        picture.pts = frame_index + LOOKAHEAD_FRAMES
        if frame_index == 0:
            picture.pict_type = av.video.frame.PictureType.I
        packets = self._codec.encode(picture)
        if len(packets) != 1:
            raise SessionLost(f"the encoder gave {len(packets)} packets for frame {frame_index}, expected 1")
        self._order.advance()
        return np.frombuffer(bytes(packets[0]), np.uint8), bool(packets[0].is_keyframe)
