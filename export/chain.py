"""The whole stream in one process: the model repository's Python stages, and networks from ONNX files of choice.

Every request carries the 800 samples of one frame, as on the server: look-ahead, smoothing and the memory of the
stages are the stream's. The networks run in ONNX Runtime on the CPU, which computes half precision in single: typed
files go through export/precision/stored.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from facestream.avatar.adapter import check_adapter
from facestream.avatar.bundle import load_bundle
from facestream.avatar.drawing_stages import STAGES, Graph, draw_stages
from facestream.contract import CHUNK_SAMPLES, LOOKAHEAD_FRAMES
from facestream.parameters import EMOTIONS
from numpy.typing import NDArray

from export.ensembles import REPOSITORY
from export.network_files import network_file

Floats = NDArray[np.float32]
Tensors = dict[str, NDArray[Any]]

SPEECH_NETWORKS: Final = ("speech_encoder", "expression")
FACE_NETWORKS: Final = STAGES
"""Networks of the chain in their order; the stage `motion` stands between the two groups."""


class OnnxGraph:
    """One ONNX file in ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int = 1, model: bytes | None = None) -> None:
        """`model` is loaded in the file's place, where that is not what is to be computed.

        Raises FileNotFoundError where there is no such file, ValueError where ONNX Runtime cannot load it.
        """
        import onnxruntime

        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            given = str(path) if model is None else model
            self._session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions share no public base class
            raise ValueError(f"{path}: ONNX Runtime cannot load it: {error}") from error
        self.inputs: tuple[str, ...] = tuple(port.name for port in self._session.get_inputs())
        self.outputs: tuple[str, ...] = tuple(port.name for port in self._session.get_outputs())

    def __call__(self, tensors: Mapping[str, NDArray[Any]]) -> Tensors:
        """All outputs by name, [b, ...] each, for `tensors` [b, ...], which may hold more than the graph's inputs."""
        feeds = {name: np.ascontiguousarray(tensors[name]) for name in self.inputs}
        return dict(zip(self.outputs, self._session.run(list(self.outputs), feeds), strict=True))


def onnx_files(repository: Path = REPOSITORY) -> dict[str, Path]:
    """The networks of the chain as the repository serves them, by stage."""
    return {stage: network_file(repository, stage) for stage in (*SPEECH_NETWORKS, *FACE_NETWORKS)}


def load_graphs(files: Mapping[str, Path]) -> dict[str, OnnxGraph]:
    """The networks of some ONNX files, by stage; several chains may share them, one after the other.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: ONNX Runtime cannot load one.
    """
    return {stage: OnnxGraph(path) for stage, path in files.items()}


def stage_folder(repository: Path, stage: str) -> None:
    """Let the classes of a Python stage be imported, as Triton does."""
    folder = str(repository / stage / "1")
    if folder not in sys.path:
        sys.path.append(folder)


class SpeechChain:
    """audio_frontend, speech_encoder, expression and motion of one session."""

    def __init__(self, graphs: Mapping[str, Graph], repository: Path = REPOSITORY, seed: int = 1) -> None:
        """`graphs` are the SPEECH_NETWORKS; `seed` is the session's correlation id."""
        for stage in ("audio_frontend", "motion"):
            stage_folder(repository, stage)
        from analysis_window import AnalysisWindow
        from face_motion import FaceMotion

        self._window, self._motion = AnalysisWindow(), FaceMotion(seed)
        self._graphs = [graphs[stage] for stage in SPEECH_NETWORKS]

    def step(self, sound: Floats, emotion: Floats | None = None) -> Tensors:
        """All tensors of the request with `sound` [800], [1, ...] each, FRAME_INDEX among them."""
        window, prosody, index = self._window.push(sound)
        tensors: Tensors = {
            "AUDIO_WINDOW": window[None],
            "PROSODY": np.array([prosody], np.float32),
            "FRAME_INDEX": np.array([[index]], np.int64),
        }
        for graph in self._graphs:
            tensors.update(graph(tensors))
        felt = np.zeros(len(EMOTIONS), np.float32) if emotion is None else emotion
        shown = self._motion.step(tensors["SPEECH_FACE"][0], tensors["PROSODY"][0], felt, index)
        tensors["PARAMETERS"] = shown[None].astype(np.float32)
        return tensors


class FaceChain:
    """face_geometry, renderer, stabilizer (of tier `fast`) and compositor of one session."""

    def __init__(self, graphs: Mapping[str, Graph], avatar: Path, repository: Path = REPOSITORY) -> None:
        """`graphs` are the FACE_NETWORKS; `avatar` is a bundle.

        Raises:
            BundleError: the bundle is broken, or tuned to other networks than the repository's.
        """
        stage_folder(repository, "stabilizer")
        from canvas_stabilizer import CanvasStabilizer

        self._stabilizer = CanvasStabilizer()
        self._graphs = graphs
        bundle = load_bundle(avatar)
        check_adapter(bundle, repository / "avatar_store")
        self.avatar: Tensors = {name: np.array(tensor)[None] for name, tensor in bundle.tensors.items()}
        """The avatar's tensors, [1, ...] each."""

    def step(self, parameters: Floats, frame_index: int) -> Tensors:
        """All tensors of a frame, [1, ...] each, without the avatar's, for PARAMETERS [73]."""
        tensors: Tensors = {"PARAMETERS": parameters[None], "FRAME_INDEX": np.array([[frame_index]], np.int64)}
        drawn = draw_stages(
            self._graphs,
            {**self.avatar, **tensors},
            lambda texture, flow: self._stabilizer.step(texture, flow, frame_index),
        )
        return {name: tensor for name, tensor in drawn.items() if name not in self.avatar}


def chunks(sound: Floats, frames: int) -> Iterable[Floats]:
    """`frames` chunks [800] of `sound` [samples] at 24 kHz, from its start again where it ends, then the silence that
    brings out the frames of the look-ahead.

    Raises:
        ValueError: the sound is shorter than one frame.
    """
    whole = len(sound) // CHUNK_SAMPLES
    if whole < 1:
        raise ValueError(f"the sound has {len(sound)} samples, expected {CHUNK_SAMPLES} or more: one frame at 24 kHz")
    parts = sound[: whole * CHUNK_SAMPLES].reshape(whole, CHUNK_SAMPLES)
    for number in range(frames):
        yield parts[number % whole]
    for _ in range(LOOKAHEAD_FRAMES):
        yield np.zeros(CHUNK_SAMPLES, np.float32)


def session(speech: SpeechChain, face: FaceChain, sound: Iterable[Floats], emotion: Floats | None) -> Iterator[Tensors]:
    """All tensors of every request of one session but the avatar's."""
    for chunk in sound:
        tensors = speech.step(chunk, emotion)
        drawn = face.step(tensors["PARAMETERS"][0], int(tensors["FRAME_INDEX"][0, 0]))
        yield {**tensors, **drawn}
