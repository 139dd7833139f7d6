"""Inputs that a real session gave the networks, and the answers that measured ones are held against.

`python -m export.recording` records a session on a real server. Without one the stages draw some frames of the same
sound here, in this process, on the CPU: the same tensors but for the server between. Random numbers come in only
where neither can be had, and the report says which of the three it was; a face of random numbers tears itself apart,
and tells nothing of an error's size.
"""

from __future__ import annotations

import json
import sys
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perf.gpu.engine import Ready, Tensors, Unavailable
from perf.gpu.stages import REPOSITORY, ROOT, STAGES, Port, network_file, ports

RECORDING: Final = ROOT / "build" / "recording"
SPEECH: Final = ROOT / "tests" / "data" / "speech.wav"
AVATARS: Final = ("ada", "otto")
"""Their frames take turns in a batch, as those of two sessions."""
FIRST_FRAME: Final = 30
"""The first second of the sound is silence and a breath."""


@dataclass(frozen=True)
class Frames:
    """Inputs of every network for some frames, and its outputs in fp32 on the CPU."""

    source: str
    """What they are: 'recorded', 'drawn here' or 'random'."""
    inputs: dict[str, Tensors]
    """By stage, each tensor [n, ...]."""
    answers: dict[str, Tensors]

    def batch(self, stage: str, size: int) -> Tensors:
        """Inputs of a stage for a batch: the frames, repeated as often as it takes."""
        return {name: np.resize(array, (size, *array.shape[1:])) for name, array in self.inputs[stage].items()}


def frames(count: int = 8, recording: Path = RECORDING) -> Frames:
    """`count` frames, of the best source at hand.

    Raises:
        Unavailable: nothing here can compute the answers.
    """
    reference = Reference()
    why: list[str] = []
    for source in ("recorded", "drawn here"):
        try:
            inputs = _recorded(recording, count) if source == "recorded" else _drawn(reference, count)
        except (OSError, ImportError, KeyError, ValueError) as error:
            why.append(f"not {source}: {error}")
            continue
        return Frames(source, inputs, {stage: reference.run(stage, inputs[stage]) for stage in inputs})
    print(f"random inputs: {'; '.join(why)}", file=sys.stderr)
    inputs = {stage: _random(stage, count) for stage in STAGES}
    return Frames("random", inputs, {stage: reference.run(stage, inputs[stage]) for stage in inputs})


class Reference:
    """The committed networks in fp32 on the CPU, frame by frame: by ONNX Runtime, without it by PyTorch."""

    def __init__(self) -> None:
        """Raises Unavailable where neither is installed."""
        try:
            from perf.gpu.engine_onnxruntime import OnnxRuntimeEngine

            engine: Any = OnnxRuntimeEngine("cpu")
        except ImportError:
            try:
                from perf.gpu.engine_torch import TorchEngine
            except ImportError as error:
                raise Unavailable("neither ONNX Runtime nor PyTorch is installed") from error
            engine = TorchEngine("cpu")
        self._load = lru_cache(maxsize=None)(lambda stage: engine.load(stage, "fp32"))

    def run(self, stage: str, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        """Outputs [n, ...] for inputs [n, ...]."""
        ready: Ready = self._load(stage)
        count = len(next(iter(feeds.values())))
        made = []
        for index in range(count):
            bound = ready.bind({name: array[index : index + 1] for name, array in feeds.items()})
            bound.run()
            made.append(bound.outputs())
        return {name: np.concatenate([one[name] for one in made]) for name in made[0]}


def _recorded(folder: Path, count: int) -> dict[str, Tensors]:
    """Frames of the recorded sessions by turns, as they would meet in a batch."""
    avatars = json.loads((folder / "session.json").read_text())["avatars"]
    each = -(-count // len(avatars))
    inputs: dict[str, Tensors] = {}
    for stage in STAGES:
        sessions: list[Tensors] = []
        for avatar in avatars:
            with np.load(folder / avatar / f"{stage}.npz") as saved:
                sessions.append(
                    {port.name: _some(saved[port.name], port, each) for port in ports(network_file(stage))[0]}
                )
        inputs[stage] = {
            name: np.stack([one[name] for one in sessions], 1).reshape(-1, *sessions[0][name].shape[1:])[:count]
            for name in sessions[0]
        }
    return inputs


def _some(array: NDArray[Any], port: Port, count: int) -> NDArray[Any]:
    """`count` frames [n, ...] of a recorded tensor. An avatar's is there once; large ones are in half precision."""
    if array.shape[1:] != port.shape:
        raise ValueError(f"{port.name} was recorded for another network than today's: record again")
    first = min(FIRST_FRAME, max(0, len(array) - count))
    return np.resize(array[first : first + count], (count, *port.shape)).astype(port.dtype)


def _samples() -> NDArray[np.float32]:
    with wave.open(str(SPEECH)) as sound:
        return np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.float32) / 32768.0


def _drawn(reference: Reference, count: int) -> dict[str, Tensors]:
    """The stages' own classes, chained by the tensors' names; needs NumPy and OpenCV beside the networks."""
    for folder in (ROOT / "client", *(REPOSITORY / stage / "1" for stage in ("audio_frontend", "motion"))):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    from analysis_window import AnalysisWindow
    from face_motion import FaceMotion
    from facestream.avatar.bundle import load_bundle
    from facestream.contract import CHUNK_SAMPLES
    from facestream.parameters import EMOTIONS

    bundles = [load_bundle(REPOSITORY / "avatar_store" / "avatars" / f"{name}.avatar") for name in AVATARS]
    window, motion = AnalysisWindow(), FaceMotion(1)
    sound, calm = _samples(), np.zeros(len(EMOTIONS), np.float32)
    known: dict[str, list[NDArray[Any]]] = {}

    def note(**tensors: NDArray[Any]) -> None:
        for name, value in tensors.items():
            known.setdefault(name, []).append(value)

    for frame in range(FIRST_FRAME + count):
        samples, prosody, index = window.push(sound[frame * CHUNK_SAMPLES : (frame + 1) * CHUNK_SAMPLES])
        embedding = reference.run("speech_encoder", {"AUDIO_WINDOW": samples[None]})["EMBEDDING"]
        face = reference.run("expression", {"EMBEDDING": embedding})["SPEECH_FACE"]
        parameters = motion.step(face[0], np.array(prosody, np.float32), calm, index)
        if frame >= FIRST_FRAME:
            avatar = bundles[frame % len(bundles)].tensors
            note(AUDIO_WINDOW=samples, EMBEDDING=embedding[0], PARAMETERS=parameters, **avatar)
    tensors = {name: np.stack(values) for name, values in known.items()}
    inputs: dict[str, Tensors] = {}
    for stage in STAGES:
        inputs[stage] = {port.name: tensors[port.name] for port in ports(network_file(stage))[0]}
        if stage in ("face_geometry", "renderer"):
            tensors |= reference.run(stage, inputs[stage])
        if stage == "renderer":
            tensors["STABLE_TEXTURE"] = tensors["CANVAS_TEXTURE"]  # each frame is the first of its session
    return inputs


def _random(stage: str, count: int) -> Tensors:
    """Small numbers, and indices that every mesh has."""
    made: Tensors = {}
    generator = np.random.default_rng(0)
    for port in ports(network_file(stage))[0]:
        shape = (count, *port.shape)
        if port.dtype.kind in "iu":
            top = 256 if port.dtype == np.uint8 else 1000
            made[port.name] = generator.integers(0, top, shape).astype(port.dtype)
        else:
            made[port.name] = (0.1 * generator.standard_normal(shape)).astype(port.dtype)
    return made
