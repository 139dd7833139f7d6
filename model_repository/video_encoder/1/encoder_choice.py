"""Which encoder a session gets: the GPU's where the card has one that works, x264 on the processor elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
from facestream.contract import FRAME_SIZE, LOOKAHEAD_FRAMES, NETWORKS_VARIABLE, VIDEO_ENCODER_VARIABLE
from facestream.sequence import SequenceError
from h264_codec import NVENC, X264, H264Codec
from h264_encoder import H264Encoder, PixelFormat, create_context

CHOICES: Mapping[str, H264Codec | None] = {"auto": None, "x264": X264, "nvenc": NVENC}
"""By their names in the environment variable."""


class EncoderMissing(RuntimeError):
    """The operator asked for an encoder that does not work here; the text says why and what mends it."""


class EncoderChoice:
    """The encoder of this server's sessions, chosen once by encoding with it."""

    def __init__(
        self,
        log: Callable[[str], None],
        pixel_format: PixelFormat = "yuv420p",
        create: Callable[[str], Any] = create_context,
        gpus: Callable[[], bool] | None = None,
    ) -> None:
        """`log` is told what was chosen and why, `create` makes FFmpeg's codec contexts, `gpus` tells of a GPU.

        `pixel_format` is what x264 is given.

        Raises:
            EncoderMissing: the environment asks for an encoder that there is not, or that fails.
        """
        self._log = log
        self._pixel_format = pixel_format
        self._create = create
        wanted = os.environ.get(VIDEO_ENCODER_VARIABLE, "auto")
        if wanted not in CHOICES:
            raise EncoderMissing(f"{VIDEO_ENCODER_VARIABLE} is '{wanted}'; expected one of {', '.join(CHOICES)}")
        self.codec, reason = self._choose(CHOICES[wanted], gpus or _gpus)
        log(f"H.264 is encoded by {self.codec.name}: {reason}")

    def encoder(self, correlation_id: int) -> H264Encoder:
        """The encoder of a new session. A card that has no encoder left for it leaves it to the processor."""
        if self.codec.in_hardware:
            try:
                return self._open(self.codec)
            except (av.FFmpegError, OSError) as error:
                self._log(
                    f"session {correlation_id} is encoded by {X264.name}: {self.codec.name} takes no further session "
                    f"({error}); cards for consumers have a limit"
                )
        return self._open(X264)

    def _open(self, codec: H264Codec) -> H264Encoder:
        return H264Encoder(codec, "nv12" if codec.in_hardware else self._pixel_format, self._create)

    def _choose(self, wanted: H264Codec | None, gpus: Callable[[], bool]) -> tuple[H264Codec, str]:
        if wanted is X264:
            return X264, f"{VIDEO_ENCODER_VARIABLE} asks for it"
        if wanted is None and os.environ.get(NETWORKS_VARIABLE) == "cpu":
            return X264, "this server works on the processor alone"
        if wanted is None and not gpus():
            return X264, "this machine has no NVIDIA GPU"
        fault = self._fault(NVENC)
        if fault is None:
            return NVENC, f"{VIDEO_ENCODER_VARIABLE} asks for it" if wanted else "this GPU has an encoder"
        if wanted is None:
            return X264, f"{NVENC.name} does not work here ({fault}); A100, H100 and H200 have no encoder"
        raise EncoderMissing(
            f"{VIDEO_ENCODER_VARIABLE} asks for {NVENC.name}, which does not work here: {fault}. A100, H100 and H200 "
            "have no encoder; in a container NVIDIA_DRIVER_CAPABILITIES must hold 'video'; "
            f"{VIDEO_ENCODER_VARIABLE}=auto takes the processor where the card cannot"
        )

    def _fault(self, codec: H264Codec) -> str | None:
        """Why a session would not get the stream it needs; None where it would.

        A session's first frames are encoded: each must come out at once, and frame 0 as a keyframe.
        """
        frame = np.full((FRAME_SIZE, FRAME_SIZE, 3), 128, np.uint8)
        try:
            encoder = self._open(codec)
            shown = [encoder.encode(frame, index) for index in range(-LOOKAHEAD_FRAMES, 2)]
        except (av.FFmpegError, OSError, ValueError, SequenceError) as error:
            return str(error)
        keyframes = [index for index, (_, keyframe) in enumerate(shown, -LOOKAHEAD_FRAMES) if keyframe]
        if keyframes != [-LOOKAHEAD_FRAMES, 0]:
            return f"its keyframes are the frames {keyframes}, expected {[-LOOKAHEAD_FRAMES, 0]}"
        return None


def _gpus() -> bool:
    """Whether the machine has an NVIDIA GPU."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()  # the second is Windows' own, in WSL
