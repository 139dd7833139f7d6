"""Which encoder a session gets: the GPU's where the card has one that works, x264 on the processor elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

import av
import numpy as np
from device_frames import DeviceFrames
from facestream.contract import FRAME_SIZE, LOOKAHEAD_FRAMES, NETWORKS_VARIABLE, VIDEO_ENCODER_VARIABLE
from facestream.gpu import has_gpu
from facestream.sequence import SequenceError
from h264_codec import NVENC, X264, H264Codec
from h264_encoder import H264Encoder, PixelFormat, create_context
from numpy.typing import NDArray

CHOICES: Mapping[str, H264Codec | None] = {"auto": None, "x264": X264, "nvenc": NVENC}
"""By their names in the environment variable."""


MOST_ERROR: Final = 4.0
"""Levels by which a trial's smooth picture may be off, on average. Confused colours are off by ten times as much."""

_FAULTS = (av.FFmpegError, OSError, ValueError, AttributeError, TypeError, NotImplementedError, SequenceError)
"""What FFmpeg, PyAV or an older PyAV raise where something is not there."""


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
        device_frames: Callable[[], DeviceFrames] | None = None,
    ) -> None:
        """`log` is told what was chosen and why, `create` makes FFmpeg's codec contexts, `gpus` tells of a GPU.

        `pixel_format` is what x264 is given. `device_frames` makes what takes frames where they lie on the GPU, for a
        stage whose frames lie there.

        Raises:
            EncoderMissing: the environment asks for an encoder that there is not, or that fails.
        """
        self._log = log
        self._device_frames: DeviceFrames | None = None
        self._pixel_format = pixel_format
        self._create = create
        wanted = os.environ.get(VIDEO_ENCODER_VARIABLE) or "auto"  # Compose hands on what is not set as empty
        if wanted not in CHOICES:
            raise EncoderMissing(f"{VIDEO_ENCODER_VARIABLE} is '{wanted}'; expected one of {', '.join(CHOICES)}")
        self.codec, reason = self._choose(CHOICES[wanted], gpus or has_gpu)
        if self.codec.in_hardware and device_frames is not None:
            reason += self._take_from_gpu(device_frames)
        log(f"H.264 is encoded by {self.codec.name}: {reason}")

    def encoder(self, correlation_id: int) -> H264Encoder:
        """The encoder of a new session. A card that has no encoder left for it leaves it to the processor."""
        if self.codec.in_hardware:
            try:
                return self._open(self.codec, self._device_frames)
            except _FAULTS as error:
                self._log(
                    f"session {correlation_id} is encoded by {X264.name}: {self.codec.name} takes no further session "
                    f"({error}); cards for consumers have a limit"
                )
        return self._open(X264)

    def _open(self, codec: H264Codec, device_frames: DeviceFrames | None = None) -> H264Encoder:
        pixel_format: PixelFormat = "nv12" if codec.in_hardware else self._pixel_format
        return H264Encoder(codec, pixel_format, self._create, device_frames)

    def _take_from_gpu(self, device_frames: Callable[[], DeviceFrames]) -> str:
        """Have the frames taken where they lie, if that works; says whether it does."""
        try:
            frames = device_frames()
        except _FAULTS as error:
            fault: str | None = str(error)
        else:
            fault = self._fault(self.codec, frames)
        if fault is not None:
            return f"; frames come to it by way of the host, as it cannot take them on the GPU ({fault})"
        self._device_frames = frames
        return "; frames stay on the GPU"

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

    def _fault(self, codec: H264Codec, device_frames: DeviceFrames | None = None) -> str | None:
        """Why a session would not get the stream it needs; None where it would.

        A session's first frames are encoded: each must come out at once, frame 0 as a keyframe, and what decodes must
        be the picture that went in.
        """
        frame = _picture()
        given = frame if device_frames is None else device_frames.from_rgb(frame)
        try:
            encoder = self._open(codec, device_frames)
            units = [encoder.encode(given, index) for index in range(-LOOKAHEAD_FRAMES, 2)]
            shown = _decoded([unit.tobytes() for unit, _ in units])
        except _FAULTS as error:
            return str(error)
        keyframes = [index for index, (_, keyframe) in enumerate(units, -LOOKAHEAD_FRAMES) if keyframe]
        if keyframes != [-LOOKAHEAD_FRAMES, 0]:
            return f"its keyframes are the frames {keyframes}, expected {[-LOOKAHEAD_FRAMES, 0]}"
        levels = float(np.abs(shown - frame).mean())
        if levels > MOST_ERROR:
            return f"what decodes is another picture, {levels:.1f} levels off, expected {MOST_ERROR:g} at most"
        return None


def _picture() -> NDArray[np.uint8]:
    """(FRAME_SIZE, FRAME_SIZE, 3): smooth, in all colours, and the same neither mirrored nor turned."""
    across, down = np.meshgrid(np.linspace(0.0, 1.0, FRAME_SIZE), np.linspace(0.0, 1.0, FRAME_SIZE))
    return np.stack([40 + 180 * across, 60 + 120 * down, 200 - 150 * across * down], axis=-1).astype(np.uint8)


def _decoded(units: list[bytes]) -> NDArray[np.float64]:
    """The last picture of a stream, RGB."""
    decoder = av.CodecContext.create("h264", "r")
    frames = [frame for unit in units for frame in decoder.decode(av.Packet(unit))]
    frames += decoder.decode(None)
    if len(frames) != len(units):
        raise ValueError(f"{len(frames)} of {len(units)} frames decode")
    return frames[-1].to_ndarray(format="rgb24", src_colorspace="ITU709").astype(np.float64)
