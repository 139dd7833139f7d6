"""motion: what the speech does to the face, and everything that lives besides: the 73 parameters of the frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from face_motion import FaceMotion
from facestream.parameters import EMOTIONS
from facestream.sequence_stage import SequenceStage, Tensors
from numpy.typing import NDArray
from prosody_events import load_network

_NEUTRAL = np.zeros(len(EMOTIONS), np.float32)


class TritonPythonModel(SequenceStage[FaceMotion]):
    """Triton's entry point."""

    def load(self, model_folder: str) -> None:
        load_network()  # a missing file is told now, not to the first session

    def create(self, correlation_id: int) -> FaceMotion:
        return FaceMotion(correlation_id)

    def step(self, state: FaceMotion, inputs: Tensors) -> Mapping[str, NDArray[Any]]:
        emotion = inputs.get("EMOTION", _NEUTRAL)
        return {
            "PARAMETERS": state.step(inputs["SPEECH_FACE"], inputs["PROSODY"], emotion, int(inputs["FRAME_INDEX"][0]))
        }
