"""video_encoder: one frame in, one H.264 access unit out."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from device_frames import DeviceFrames
from encoder_choice import EncoderChoice
from facestream.array_namespace import Array
from facestream.contract import FRAME_SIZE
from facestream.sequence_stage import SequenceStage, Tensors
from h264_encoder import H264Encoder
from nv12 import to_nv12


class TritonPythonModel(SequenceStage[H264Encoder]):
    """Triton's entry point."""

    for_device = True
    large_states = True  # an encoder of 4 to 8 MB

    def load(self, model_folder: str) -> None:
        if self.arrays.on_device:
            self._encoders = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "encoder")
            self._choice = EncoderChoice(_say, "nv12", device_frames=lambda: DeviceFrames(self.arrays))
            for number in (1, 2):  # CuPy compiles a kernel at its first use: no session is to wait for that
                frames = np.zeros((number, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
                self.arrays.to_host([to_nv12(self.arrays.xp, self.arrays.asarray(frames))])
        else:
            self._choice = EncoderChoice(_say)

    def create(self, correlation_id: int) -> H264Encoder:
        return self._choice.encoder(correlation_id)

    def step(self, state: H264Encoder, inputs: Tensors) -> Tensors:
        return _encode(state, inputs["FRAME"], inputs)

    def step_together(self, waiting: Sequence[tuple[H264Encoder, Tensors]]) -> list[Tensors | Exception]:
        """Luma and chroma of all frames are made together. They stay where they are for an encoder on the GPU, and come
        to the host, half the bytes of the frames, for another one; then each session's own encoder takes its own."""
        frames = self.arrays.xp.stack([self.arrays.asarray(inputs["FRAME"]) for _, inputs in waiting])
        made = to_nv12(self.arrays.xp, frames)
        pictures = [made[i, ...] for i in range(len(waiting))]
        here = [i for i, (state, _) in enumerate(waiting) if state.device_frames is None]
        if len(here) == len(waiting):
            pictures = list(self.arrays.to_host([made])[0])
        else:
            for i, picture in zip(here, self.arrays.to_host([pictures[i] for i in here]), strict=True):
                pictures[i] = picture
        frames_of = zip((state for state, _ in waiting), pictures, (inputs for _, inputs in waiting), strict=True)
        if len(waiting) == 1:
            return [_outcome(*one) for one in frames_of]
        # FFmpeg works without Python's lock: all encoders at a time, on as many cores or on those of the card.
        return list(self._encoders.map(lambda one: _outcome(*one), frames_of))


def _outcome(encoder: H264Encoder, frame: Array, inputs: Tensors) -> Tensors | Exception:
    """The answer, or why there is none: an encoder that has moved must not be asked for the same frame again."""
    try:
        return _encode(encoder, frame, inputs)
    except Exception as error:
        return error


def _encode(encoder: H264Encoder, frame: Array, inputs: Tensors) -> Tensors:
    access_unit, keyframe = encoder.encode(frame, int(inputs["FRAME_INDEX"][0]))
    return {"ACCESS_UNIT": access_unit, "KEYFRAME": np.array([keyframe])}


def _say(message: str) -> None:
    try:
        import triton_python_backend_utils as pb_utils  # exists inside of Triton's Python stub only
    except ImportError:
        logging.getLogger(__name__).info(message)
    else:
        pb_utils.Logger.log_info(f"video_encoder: {message}")
