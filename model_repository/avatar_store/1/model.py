"""avatar_store: the tensors of a session's avatar, and the first look at what it was asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from avatar_shelf import AvatarChoice, AvatarShelf
from facestream.avatar_name import decode_avatar_name
from facestream.contract import AVATARS_VARIABLE
from facestream.sequence import BadInput
from facestream.sequence_stage import SequenceStage, Tensors
from numpy.typing import NDArray

_ADMITTED = np.array([True])


class TritonPythonModel(SequenceStage[AvatarChoice]):
    """Triton's entry point."""

    def load(self, model_folder: str) -> None:
        folders = [Path(model_folder) / "avatars"]
        own = os.environ.get(AVATARS_VARIABLE)
        self._shelf = AvatarShelf([Path(own), *folders] if own else folders)

    def create(self, correlation_id: int) -> AvatarChoice:
        return AvatarChoice()

    def step(self, state: AvatarChoice, inputs: Tensors) -> Mapping[str, NDArray[Any]]:
        try:
            name = decode_avatar_name(inputs["AVATAR"])
        except ValueError as error:
            raise BadInput(str(error)) from error
        return {"ADMITTED": _ADMITTED, **state.tensors(name, self._shelf)}
