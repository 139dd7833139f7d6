"""The whole stream in a precision beside the one in fp32, over many consecutive frames.

A single network's error tells nothing of what smoothing, gating and the stabilizer's memory make of it: these may damp
it or pile it up. So two sessions hear the same recorded speech, one with the committed networks and one with the typed
ones, each with a state of its own, and their frames are compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from facestream.audio import read_sound
from facestream.contract import LOOKAHEAD_FRAMES
from numpy.typing import NDArray

from export.chain import FaceChain, SpeechChain, chunks, load_graphs, onnx_files, session
from export.ensembles import REPOSITORY
from export.networks import Precision, stage_precision
from export.precision.errors import LEVELS, Errors
from export.precision.stored import typed_graph
from export.recording import SEED, SPEAKERS, SPEECH

FRAMES: Final = 1000
EQUAL_DB: Final = 99.0
"""Told as the PSNR of equal frames, which have none."""

Files = Callable[[str, Precision], Path]
"""From a stage and a precision to its typed ONNX file."""


@dataclass
class Drift:
    """What a precision does to the frames of a long session."""

    precision: Precision
    psnr: list[float] = field(default_factory=list)
    """dB of each frame against the one in fp32."""
    parameters: list[float] = field(default_factory=list)
    """Largest difference of each frame's 73 parameters, in their own units."""
    outputs: dict[str, Errors] = field(default_factory=lambda: {"FRAME": Errors(), "PARAMETERS": Errors()})
    worst: tuple[int, NDArray[np.uint8], NDArray[np.uint8]] | None = None
    """The frame with the least PSNR: its index, in fp32, in this precision."""

    def trend(self, span: int = 100) -> tuple[float, float]:
        """Mean PSNR of the first and of the last `span` frames, dB."""
        return float(np.mean(self.psnr[:span])), float(np.mean(self.psnr[-span:]))


def chain_files(precision: Precision, typed: Files, repository: Path = REPOSITORY) -> dict[str, Path]:
    """The ONNX file of each network of the chain: typed where the stage can be had so, else in fp32."""
    return {stage: typed(stage, stage_precision(stage, precision)) for stage in onnx_files(repository)}


def measure_drift(
    precision: Precision,
    files: Mapping[str, Path],
    repository: Path = REPOSITORY,
    frames: int = FRAMES,
    progress: Callable[[int], Any] = lambda number: None,
) -> Drift:
    """Compare `frames` consecutive frames of a session with `files` to those with the repository's networks."""
    speaker = SPEAKERS[-1]
    bundle = repository / "avatar_store" / "avatars" / f"{speaker.avatar}.avatar"
    sound = list(chunks(read_sound(SPEECH).speech, frames))
    sessions = [
        session(SpeechChain(graphs, repository, SEED), FaceChain(graphs, bundle, repository), sound, None)
        for graphs in (load_graphs(onnx_files(repository)), {stage: typed_graph(file) for stage, file in files.items()})
    ]
    drift = Drift(precision)
    least = math.inf
    for number, (wanted, made) in enumerate(zip(*sessions, strict=True)):
        if number < LOOKAHEAD_FRAMES:
            continue  # before the session's first frame
        for name, errors in drift.outputs.items():
            errors.add(made[name], wanted[name])
        psnr = frame_psnr(made["FRAME"], wanted["FRAME"])
        drift.psnr.append(psnr)
        drift.parameters.append(float(np.abs(made["PARAMETERS"] - wanted["PARAMETERS"]).max()))
        if psnr < least:
            least = psnr
            drift.worst = (number - LOOKAHEAD_FRAMES, wanted["FRAME"][0], made["FRAME"][0])
        progress(number)
    return drift


def frame_psnr(made: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> float:
    """dB between two pictures, at most EQUAL_DB."""
    square = float(np.mean(np.square(made.astype(np.float32) - wanted.astype(np.float32))))
    return min(EQUAL_DB, 10.0 * math.log10(LEVELS**2 / square)) if square > 0.0 else EQUAL_DB
