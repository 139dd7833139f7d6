"""Mouths to compare with: the simplest one, one that knows the words, and one that says something else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from facestream.contract import CHUNK_SAMPLES
from facestream.parameters import ARKIT

from export.speech.aligner import Phonemes
from export.speech.phonemes import VISEMES
from export.speech.targets import curves, segments
from perf.lip_sync.alignment import Clip
from perf.lip_sync.lips import frame_times
from perf.lip_sync.recordings import Audio

Floats = npt.NDArray[np.float64]


def loudness_faces(audio: Audio) -> Floats:
    """Return the weights of a jaw that follows the loudness of the shown frame and nothing else."""
    frames = len(audio) // CHUNK_SAMPLES
    chunks = audio[: frames * CHUNK_SAMPLES].reshape(frames, CHUNK_SAMPLES).astype(np.float64)
    decibels = 20 * np.log10(np.sqrt((chunks**2).mean(1)) + 1e-6)
    faces = np.zeros((frames, len(ARKIT)))
    names = [parameter.name for parameter in ARKIT]
    faces[:, names.index("jawOpen")] = 0.5 * np.clip((decibels + 50) / 30, 0, 1)
    return faces


def phoneme_faces(clip: Clip) -> Floats:
    """Return the weights float64[n, 52] of a mouth that is told the phonemes: the wanted curves, articulated.

    It is what the networks would show if they heard every sound rightly and in time; the judge's r of it is below 1,
    since the articulation rests where lips nearly meet and opens no further than a mouth does.

    Raises:
        ImportError: torch is not installed (pip install -e '.[export]').
    """
    import torch

    from export.speech.articulation import ArticulationLayer

    times = frame_times(len(clip.audio) // CHUNK_SAMPLES)
    fine = np.arange(0.0, times[-1] + 0.5, 1 / 240)
    shapes, visemes = curves(segments(clip.phonemes, "arpabet"), fine)
    lips = np.stack([np.interp(times, fine, row) for row in shapes], axis=1)
    nearest = np.searchsorted(fine, times)
    said = np.eye(len(VISEMES))[visemes[nearest]]
    with torch.inference_mode():
        faces = ArticulationLayer()(
            torch.from_numpy(lips).float(), torch.from_numpy(said).float(), torch.zeros(len(lips), 1)
        )
    return np.asarray(faces.numpy(), np.float64)


def jittered(clip: Clip, seconds: float, seed: int = 4) -> Clip:
    """Move every boundary between phonemes by a normal deviate of `seconds`, as an aligner's error does."""
    rng = np.random.default_rng(seed)
    bounds = sorted({time for _, start, end in clip.phonemes for time in (start, end)})
    moved = np.sort(np.asarray(bounds) + seconds * rng.standard_normal(len(bounds)))
    new = dict(zip(bounds, moved.tolist(), strict=True))
    phonemes: Phonemes = [(name, new[start], new[end]) for name, start, end in clip.phonemes]
    return clip._replace(phonemes=phonemes)


def exchanged(faces: Sequence[npt.ArrayLike]) -> list[Floats]:
    """Give each clip the faces of the next one, repeated or cut to its length: the floor of every measure."""
    found = []
    for index, own in enumerate(faces):
        other = np.asarray(faces[(index + 1) % len(faces)], np.float64)
        count = len(np.asarray(own))
        found.append(np.tile(other, (count // len(other) + 1, 1))[:count])
    return found
