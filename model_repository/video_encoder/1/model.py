"""video_encoder: one frame in, one H.264 access unit out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from facestream.sequence_stage import SequenceStage, Tensors
from h264_encoder import H264Encoder
from numpy.typing import NDArray


class TritonPythonModel(SequenceStage[H264Encoder]):
    """Triton's entry point."""

    def create(self, correlation_id: int) -> H264Encoder:
        return H264Encoder()

    def step(self, state: H264Encoder, inputs: Tensors) -> Mapping[str, NDArray[Any]]:
        access_unit, keyframe = state.encode(inputs["FRAME"], int(inputs["FRAME_INDEX"][0]))
        return {"ACCESS_UNIT": access_unit, "KEYFRAME": np.array([keyframe])}
