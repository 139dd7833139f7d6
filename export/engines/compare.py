"""Compares the networks of an assembled repository with the committed ones, as the server runs them.

The server that will serve is asked, with its own backend, configuration, batches and CUDA graphs, and given what real
sessions gave these networks. The reference is the committed ONNX in ONNX Runtime on the CPU, frame by frame.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from facestream.contract import CHUNK_SAMPLES
from numpy.typing import NDArray

from export.engines.network_record import Parity
from export.engines.profile import BatchProfile
from export.networks import Tolerance
from export.precision.errors import Errors

Tensors = Mapping[str, NDArray[Any]]

REPEATS: Final = 20
"""Batches of each size that are timed."""


class Served(Protocol):
    """The server, asked for one network."""

    def infer(self, stage: str, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """All outputs [n, ...] for inputs [n, ...]."""

    def mean_ms(self, stage: str, tensors: Tensors, repeats: int) -> float:
        """Mean milliseconds in which the server computed this batch, queue and transport left out."""

    def pictures(self, session: RecordedSession) -> Iterator[NDArray[np.uint8]]:
        """The frames [height, width, 3] of a session that says the same."""


class Network(Protocol):
    """The committed network."""

    def __call__(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """All outputs [1, ...] for inputs [1, ...]."""


class Outcome(NamedTuple):
    """Of one stage."""

    parity: dict[str, Parity]
    latency_ms: dict[str, float]
    problems: list[str]
    """What exceeds its tolerance, in words; empty when all is well."""


def compare(
    stage: str,
    served: Served,
    reference: Network,
    sessions: list[Tensors],
    tolerances: Mapping[str, Tolerance],
    profile: BatchProfile,
) -> Outcome:
    """One stage.

    sessions: The recorded inputs [n, ...] of each session.
    tolerances: By output.
    """
    outputs = {name: _Output(name, tolerance) for name, tolerance in tolerances.items()}
    for session in sessions:
        frames = len(next(iter(session.values())))
        known = [reference({name: array[i : i + 1] for name, array in session.items()}) for i in range(frames)]
        for chosen in batches(frames, profile):
            made = served.infer(stage, {name: np.ascontiguousarray(array[chosen]) for name, array in session.items()})
            for name, output in outputs.items():
                output.add(made.get(name), np.concatenate([known[frame][name] for frame in chosen]))
    latency = {}
    first = sessions[0]
    for size in profile.measured:
        again = np.resize(np.arange(len(next(iter(first.values())))), size)
        batch = {name: np.ascontiguousarray(array[again]) for name, array in first.items()}
        latency[str(size)] = round(served.mean_ms(stage, batch, REPEATS), 4)
    parities = {name: output.parity() for name, output in outputs.items()}
    problems = [f"{stage} {problem}" for output in outputs.values() for problem in output.problems()]
    return Outcome({name: parity for name, parity in parities.items() if parity is not None}, latency, problems)


def batches(frames: int, profile: BatchProfile) -> Iterator[NDArray[np.intp]]:
    """Numbers of the frames of each batch: every frame is in one, and every size that is to be compared comes up.

    Sizes change from batch to batch, as they do in a server; where the frames end, the first ones come again.
    """
    position = 0
    for turn, size in enumerate(itertools.cycle(profile.compared)):
        if position >= frames and turn >= len(profile.compared):
            return
        yield np.arange(position, position + size) % frames
        position += size


class _Output:
    """One output of a network, over all batches."""

    def __init__(self, name: str, tolerance: Tolerance) -> None:
        self._name, self._tolerance = name, tolerance
        self._errors = Errors()
        self._wrong: list[str] = []

    def add(self, made: NDArray[Any] | None, known: NDArray[Any]) -> None:
        """A batch [n, ...] of the server's, None where it has no such output, and of the reference."""
        if made is None:
            self._wrong.append("is not put out")
        elif (made.shape, made.dtype) != (known.shape, known.dtype):
            self._wrong.append(f"is {made.dtype} {list(made.shape)}, expected {known.dtype} {list(known.shape)}")
        else:
            self._errors.add(made, known)

    def parity(self) -> Parity | None:
        """None where there was nothing to compare."""
        return parity_of(self._errors, self._tolerance) if self._errors.frames else None

    def problems(self) -> list[str]:
        """What is wrong with the output, in words."""
        told = [*dict.fromkeys(self._wrong)][:1] or self._errors.exceeded(self._tolerance)
        return [f"{self._name}: {text}" for text in told]


def parity_of(errors: Errors, tolerance: Tolerance) -> Parity:
    """What a record keeps of errors."""
    return Parity(
        largest=errors.largest,
        usual=errors.usual,
        psnr=errors.least_psnr if tolerance.least_psnr is not None and math.isfinite(errors.least_psnr) else None,
        allowed_largest=tolerance.largest,
        allowed_usual=tolerance.usual,
        least_psnr=tolerance.least_psnr,
        unit=tolerance.unit,
        frames=errors.frames,
    )


class RecordedSession(NamedTuple):
    """What a session of the committed repository said and showed."""

    avatar: str
    emotion: Mapping[str, float]
    correlation_id: int
    """It seeds blinks and head movements."""
    sound: NDArray[np.float32]
    """Samples at 24 kHz, whole frames."""
    pictures: NDArray[np.uint8]
    """[n, height, width, 3], from the first frame of the sound on; the sound may go on for longer."""


def compare_session(served: Served, session: RecordedSession, tolerance: Tolerance) -> tuple[Parity, list[str]]:
    """One session through all stages of the server, in Python and on the GPU, against the recorded pictures.

    Returns:
        The errors, and what exceeds the tolerance, in words.
    """
    errors, shown = Errors(), 0
    for picture in served.pictures(session):
        if shown < len(session.pictures):
            errors.add(picture[None], session.pictures[shown][None])
        shown += 1
    problems = errors.exceeded(tolerance)
    expected = len(session.sound) // CHUNK_SAMPLES
    if shown != expected:
        problems.append(f"{shown} frames are shown, expected {expected}")
    return parity_of(errors, tolerance), [f"session with {session.avatar}: {text}" for text in problems]


def onnx_reference(path: Path) -> Network:
    """The committed ONNX file of a stage, on the CPU.

    Raises:
        FileNotFoundError or ValueError: it is missing or cannot be loaded.
    """
    from export.chain import OnnxGraph

    return OnnxGraph(path)
