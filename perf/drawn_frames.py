"""The frames of a stream without a server: sound to parameters to pictures, by the model repository's own stages.

The networks run in this process, the Python stages' classes are taken from their folders, and every request carries
800 samples as on the server: the look-ahead, the smoothing of `motion` and the memory of `stabilizer` are the stream's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from facestream.avatar.bundle import load_bundle
from facestream.avatar.preview import FacePreview, Image
from facestream.contract import CHUNK_SAMPLES, LOOKAHEAD_FRAMES
from facestream.parameters import EMOTIONS
from numpy.typing import NDArray

from export.chain import stage_folder

Floats = NDArray[np.float32]

REPOSITORY: Final = Path("model_repository")
AVATARS: Final = Path("model_repository/avatar_store/avatars")


class SpokenFace:
    """audio_frontend, speech_encoder, expression and motion: from the sound of a clip to the parameters shown."""

    def __init__(self, repository: Path = REPOSITORY, seed: int = 1) -> None:
        """`seed` is the session's: another one blinks and sways at other times."""
        import onnxruntime

        stage_folder(repository, "audio_frontend")
        stage_folder(repository, "motion")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._encoder, self._expression = (
            onnxruntime.InferenceSession(
                str(repository / stage / "1" / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
            for stage in ("speech_encoder", "expression")
        )
        self._seed = seed

    def __call__(self, audio: Floats) -> Floats:
        """PARAMETERS [n, 73] of the n whole frames of `audio` [samples], 24 kHz: preroll dropped, end flushed."""
        from analysis_window import AnalysisWindow
        from face_motion import FaceMotion

        window, motion = AnalysisWindow(), FaceMotion(self._seed)
        frames = len(audio) // CHUNK_SAMPLES
        chunks = np.zeros((frames + LOOKAHEAD_FRAMES, CHUNK_SAMPLES), np.float32)
        chunks[:frames] = audio[: frames * CHUNK_SAMPLES].reshape(frames, CHUNK_SAMPLES)
        emotion = np.zeros(len(EMOTIONS), np.float32)
        shown = []
        for chunk in chunks:
            samples, prosody, frame_index = window.push(chunk)
            (embedding,) = self._encoder.run(["EMBEDDING"], {"AUDIO_WINDOW": samples[None]})
            (face,) = self._expression.run(["SPEECH_FACE"], {"EMBEDDING": embedding})
            shown.append(motion.step(face[0], np.array(prosody, np.float32), emotion, frame_index))
        return np.asarray(shown[LOOKAHEAD_FRAMES:], np.float32)


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
        stage_folder(repository, "stabilizer")
        self.path = path
        self._preview = FacePreview(repository, load_bundle(path))

    def tensors(self, parameters: Iterable[Floats]) -> Iterator[dict[str, NDArray[Any]]]:
        """All tensors of the frames of one session, whose PARAMETERS [73] come one after the other."""
        from canvas_stabilizer import CanvasStabilizer

        stabilizer = CanvasStabilizer()
        for number, vector in enumerate(parameters):
            index = number - LOOKAHEAD_FRAMES
            yield self._preview.tensors(vector, lambda texture, flow, at=index: stabilizer.step(texture, flow, at))  # type: ignore[misc]

    def frames(self, parameters: Iterable[Floats]) -> Iterator[Image]:
        """The pictures [512, 512, 3], RGB, of one session."""
        for tensors in self.tensors(parameters):
            yield tensors["FRAME"][0]
