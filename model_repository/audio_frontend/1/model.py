"""audio_frontend: the sound of one frame in, the analysis window of the recent past out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from analysis_window import AnalysisWindow
from facestream.parameters import check_emotion
from facestream.sequence import BadInput
from facestream.sequence_stage import SequenceStage, Tensors
from numpy.typing import NDArray


class TritonPythonModel(SequenceStage[AnalysisWindow]):
    """Triton's entry point."""

    is_door = True  # the one stage that the ensembles with and without a picture share

    def create(self, correlation_id: int) -> AnalysisWindow:
        return AnalysisWindow()

    def step(self, state: AnalysisWindow, inputs: Tensors) -> Mapping[str, NDArray[Any]]:
        # All that the client sends is checked here, before any stage has moved: a refusal must change nothing.
        if "EMOTION" in inputs:
            try:
                check_emotion(inputs["EMOTION"].tolist())
            except ValueError as error:
                raise BadInput(str(error)) from error
        window, prosody, frame_index = state.push(inputs["AUDIO"])
        return {
            "AUDIO_WINDOW": window,
            "PROSODY": np.array(prosody, np.float32),
            "FRAME_INDEX": np.array([frame_index], np.int64),
        }
