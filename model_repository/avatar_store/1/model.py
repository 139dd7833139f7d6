"""avatar_store: the tensors of a session's avatar, and the first look at what it was asked for.

Where Triton puts it on a GPU, the tensors lie there: 1.5 MB a frame that do not travel.

The tier of quality is looked at here, too, though `stabilizer` draws it: what is refused here has moved no other stage.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from avatar_shelf import AvatarChoice, AvatarShelf
from facestream.avatar.layers_canvas import AVATAR_TENSORS
from facestream.avatar_name import decode_avatar_name
from facestream.contract import AVATARS_VARIABLE
from facestream.loaded_models import model_ready
from facestream.quality import Quality, Tiers, check_quality
from facestream.sequence import BadInput
from facestream.sequence_stage import SequenceStage, Tensors

_ADMITTED = np.array([True])


class _Choice:
    """State of one session."""

    def __init__(self) -> None:
        self.avatar = AvatarChoice()
        self.quality = Quality.AUTO  # the tier that was looked at last


class TritonPythonModel(SequenceStage[_Choice]):
    """Triton's entry point."""

    for_device = True
    resends = 16 * (len(AVATAR_TENSORS) + 1)  # of so many avatars at a time: 24 MB of shared memory

    def load(self, model_folder: str) -> None:
        store = Path(model_folder)
        folders = [store / "avatars"]
        own = os.environ.get(AVATARS_VARIABLE)
        self._shelf = AvatarShelf([Path(own), *folders] if own else folders, store, self.arrays)
        self._tiers = Tiers(model_ready)

    def create(self, correlation_id: int) -> _Choice:
        return _Choice()

    def step(self, state: _Choice, inputs: Tensors) -> Tensors:
        try:
            name = decode_avatar_name(inputs["AVATAR"])
            quality = check_quality(int(inputs["QUALITY"][0])) if "QUALITY" in inputs else Quality.AUTO
            if quality is not state.quality:  # one that fails later on falls back, and QUALITY_USED says so
                self._tiers.check(quality)
        except ValueError as error:
            raise BadInput(str(error)) from error
        tensors = state.avatar.tensors(name, self._shelf)
        state.quality = quality
        return {"ADMITTED": _ADMITTED, **tensors}

    def step_together(self, waiting: Sequence[tuple[_Choice, Tensors]]) -> list[Tensors | Exception]:
        """There is nothing to compute: the arrays lie on the GPU already."""
        outcomes: list[Tensors | Exception] = []
        for state, inputs in waiting:
            try:
                outcomes.append(self.step(state, inputs))
            except Exception as error:
                outcomes.append(error)
        return outcomes
