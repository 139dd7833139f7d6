"""Compares the networks of an assembled repository with the committed ones, as the server runs them.

The server that will serve is asked, with its own backend, configuration, batches and CUDA graphs, and given what real
sessions gave these networks. The reference is the committed ONNX in ONNX Runtime on the CPU, frame by frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from export.engines.network_record import Parity
from export.engines.profile import BatchProfile
from export.networks import Tolerance

Tensors = Mapping[str, NDArray[Any]]

REPEATS: Final = 20
"""Batches of each size that are timed."""

PEAK: Final = 255.0
"""Of pictures, for the signal-to-noise ratio."""


class Served(Protocol):
    """The server, asked for one network."""

    def infer(self, stage: str, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """All outputs [n, ...] for inputs [n, ...]."""

    def mean_ms(self, stage: str, tensors: Tensors, repeats: int) -> float:
        """Mean milliseconds in which the server computed this batch, queue and transport left out."""


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
    errors = {name: _Errors(name, tolerance) for name, tolerance in tolerances.items()}
    for session in sessions:
        frames = len(next(iter(session.values())))
        known = [reference({name: array[i : i + 1] for name, array in session.items()}) for i in range(frames)]
        for chosen in batches(frames, profile):
            made = served.infer(stage, {name: np.ascontiguousarray(array[chosen]) for name, array in session.items()})
            for name, error in errors.items():
                if name not in made:
                    error.missing = True
                    continue
                error.add(made[name], np.concatenate([known[frame][name] for frame in chosen]))
    outcomes = {name: error.outcome() for name, error in errors.items()}
    latency = {}
    first = sessions[0]
    for size in profile.measured:
        again = np.resize(np.arange(len(next(iter(first.values())))), size)
        batch = {name: np.ascontiguousarray(array[again]) for name, array in first.items()}
        latency[str(size)] = round(served.mean_ms(stage, batch, REPEATS), 4)
    problems = [f"{stage}: {problem}" for error in errors.values() for problem in error.problems()]
    return Outcome({name: parity for name, parity in outcomes.items() if parity is not None}, latency, problems)


def batches(frames: int, profile: BatchProfile) -> Iterator[NDArray[np.intp]]:
    """Numbers of the frames of each batch: every frame is in one, and every measured size comes up.

    Sizes change from batch to batch, as they do in a server; where the frames end, the first ones come again.
    """
    position = 0
    for turn, size in enumerate(itertools.cycle(profile.measured)):
        if position >= frames and turn >= len(profile.measured):
            return
        yield np.arange(position, position + size) % frames
        position += size


class _Errors:
    """Differences of one output, over all batches."""

    def __init__(self, name: str, tolerance: Tolerance) -> None:
        self.missing = False
        self._name, self._tolerance = name, tolerance
        self._absolute: list[NDArray[np.float32]] = []
        self._worst_square = 0.0
        self._frames = 0
        self._wrong: list[str] = []

    def add(self, made: NDArray[Any], known: NDArray[Any]) -> None:
        """Outputs [n, ...] of the server and of the reference."""
        self._frames += len(known)
        if (made.shape, made.dtype) != (known.shape, known.dtype):
            self._wrong.append(
                f"{self._name} is {made.dtype} {list(made.shape)}, expected {known.dtype} {list(known.shape)}"
            )
            return
        difference = np.abs(made.astype(np.float32) - known.astype(np.float32))
        if not np.isfinite(difference).all():
            count = int((~np.isfinite(difference)).sum())
            self._wrong.append(f"{self._name} has {count} numbers that are not finite in a batch of {len(known)}")
            return
        self._absolute.append(difference.ravel())
        squares = np.square(difference, dtype=np.float64).reshape(len(known), -1).mean(axis=1)
        self._worst_square = max(self._worst_square, float(squares.max()))

    def outcome(self) -> Parity | None:
        """None where there is nothing to compare."""
        if not self._absolute:
            return None
        absolute = np.concatenate(self._absolute)
        picture = self._tolerance.least_psnr is not None
        exact = self._worst_square == 0.0
        return Parity(
            largest=float(absolute.max()),
            usual=float(np.percentile(absolute, 99.9)),
            psnr=float(10.0 * np.log10(PEAK**2 / self._worst_square)) if picture and not exact else None,
            allowed_largest=self._tolerance.largest,
            allowed_usual=self._tolerance.usual,
            least_psnr=self._tolerance.least_psnr,
            unit=self._tolerance.unit,
            frames=self._frames,
        )

    def problems(self) -> list[str]:
        """What is wrong with the output, in words."""
        if self.missing:
            return [f"{self._name} is not put out"]
        parity = self.outcome()
        if self._wrong or parity is None:
            return [*dict.fromkeys(self._wrong)][:3] or [f"{self._name} was not compared"]
        found = []
        if parity.largest > parity.allowed_largest:
            found.append(f"{parity.largest:.4g} at most, allowed {parity.allowed_largest:g}")
        if parity.usual > parity.allowed_usual:
            found.append(f"{parity.usual:.4g} in 99.9 of 100 numbers, allowed {parity.allowed_usual:g}")
        if parity.psnr is not None and parity.least_psnr is not None and parity.psnr < parity.least_psnr:
            found.append(f"{parity.psnr:.1f} dB in the worst frame, expected {parity.least_psnr:g} dB or more")
        return [f"{self._name} is off by {'; '.join(found)} ({parity.unit})"] if found else []


def onnx_reference(path: Path) -> Network:
    """The committed ONNX file of a stage, on the CPU.

    Raises:
        FileNotFoundError or ValueError: it is missing or cannot be loaded.
    """
    from export.chain import OnnxGraph

    return OnnxGraph(path)
