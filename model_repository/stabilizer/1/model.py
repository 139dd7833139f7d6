"""stabilizer: the canvas's texture, steadied against its own previous output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facestream.sequence_stage import SequenceStage, Tensors
from mouth_stabilizer import MouthStabilizer
from numpy.typing import NDArray


class TritonPythonModel(SequenceStage[MouthStabilizer]):
    """Triton's entry point."""

    def create(self, correlation_id: int) -> MouthStabilizer:
        return MouthStabilizer()

    def step(self, state: MouthStabilizer, inputs: Tensors) -> Mapping[str, NDArray[Any]]:
        return {
            "STABLE_TEXTURE": state.step(inputs["CANVAS_TEXTURE"], inputs["CANVAS_FLOW"], int(inputs["FRAME_INDEX"][0]))
        }
