"""The frames of a stream without a server: sound to parameters to pictures, by the model repository's own stages.

Both chains of export.chain, kept ready for one sound or face after the other: the speech networks in ONNX Runtime,
those that draw in OpenVINO, which takes half the time of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from facestream.avatar.preview import Image, OpenVinoGraph
from facestream.contract import CHUNK_SAMPLES, LOOKAHEAD_FRAMES
from numpy.typing import NDArray

from export.chain import FACE_NETWORKS, SPEECH_NETWORKS, FaceChain, SpeechChain, chunks, load_graphs, onnx_files

Floats = NDArray[np.float32]

REPOSITORY: Final = Path("model_repository")
AVATARS: Final = Path("model_repository/avatar_store/avatars")


class SpokenFace:
    """audio_frontend, speech_encoder, expression and motion: from the sound of a clip to the parameters shown."""

    def __init__(self, repository: Path = REPOSITORY, seed: int = 1) -> None:
        """`seed` is the session's: another one blinks and sways at other times."""
        files = onnx_files(repository)
        self._graphs = load_graphs({stage: files[stage] for stage in SPEECH_NETWORKS})
        self._repository = repository
        self._seed = seed

    def __call__(self, audio: Floats) -> Floats:
        """PARAMETERS [n, 73] of the n whole frames of `audio` [samples], 24 kHz: preroll dropped, end flushed.

        Raises:
            ValueError: the sound is shorter than one frame.
        """
        chain = SpeechChain(self._graphs, self._repository, self._seed)
        shown = [chain.step(chunk)["PARAMETERS"][0] for chunk in chunks(audio, len(audio) // CHUNK_SAMPLES)]
        return np.array(shown[LOOKAHEAD_FRAMES:], np.float32)


class DrawnAvatar:
    """face_geometry, renderer, stabilizer and compositor: from parameters to pictures of one avatar."""

    def __init__(self, avatar: str | Path, repository: Path = REPOSITORY) -> None:
        """`avatar` is the name of a ready one or the path of a bundle.

        Raises:
            FileNotFoundError: there is no such avatar, or a stage is missing.
        """
        path = Path(avatar) if str(avatar).endswith(".avatar") else AVATARS / f"{avatar}.avatar"
        if not path.is_file():
            raise FileNotFoundError(
                f"avatar is {str(avatar)!r}, expected the name of a bundle in {AVATARS} or its path"
            )
        self.path = path
        files = onnx_files(repository)
        self._graphs = {stage: OpenVinoGraph(files[stage]) for stage in FACE_NETWORKS}
        self._repository = repository

    def tensors(self, parameters: Iterable[Floats]) -> Iterator[dict[str, NDArray[Any]]]:
        """All tensors of the frames of one session, whose PARAMETERS [73] come one after the other."""
        chain = FaceChain(self._graphs, self.path, self._repository)
        for number, vector in enumerate(parameters):
            yield {**chain.avatar, **chain.step(vector, number - LOOKAHEAD_FRAMES)}

    def frames(self, parameters: Iterable[Floats]) -> Iterator[Image]:
        """The pictures [512, 512, 3], RGB, of one session."""
        for tensors in self.tensors(parameters):
            yield tensors["FRAME"][0]
