"""From timed phonemes to the curves that the networks learn: coarticulated lips, closures and visemes.

Lip gap and width are dominance-weighted means of the neighbouring sounds' shapes (Cohen & Massaro 1993, "Modeling
coarticulation in synthetic visual speech"), each dominance falling off exponentially in time. Closures are not left to
that mean: p, b and m close the lips fully, f and v bring the lower lip to the teeth, each along its own ramp.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from export.speech.phonemes import ARTICULATIONS, VISEMES, classes_of

Floats = npt.NDArray[np.float64]

TARGET_RATE: Final = 60
"""Curve samples per second: the embeddings' rate."""

CURVES: Final = ("gap", "width", "closed", "labiodental")
"""Rows of the curves; gap 0..1, width -1 (rounded) .. 1 (spread), closed and labiodental 0..1."""

GAP_FALL_SECONDS: Final = 0.035
WIDTH_FALL_SECONDS: Final = 0.070  # lip rounding spreads further than opening
SMOOTHING_SECONDS: Final = 0.022
SHORT_SILENCE_SECONDS: Final = 0.06  # shorter ones are stop gaps: the lips need not rest


def segments(phonemes: list[tuple[str, float, float]], alphabet: str) -> list[tuple[str, float, float]]:
    """Turn timed phonemes into timed ARTICULATIONS keys; neighbouring silences become one."""
    found: list[tuple[str, float, float]] = []
    for phoneme, start, end in phonemes:
        names = classes_of(phoneme, alphabet)
        for i, name in enumerate(names):
            begin = start + (end - start) * i / len(names)
            finish = start + (end - start) * (i + 1) / len(names)
            if name == "silence" and found and found[-1][0] == "silence":
                begin = found.pop()[1]
            found.append((name, begin, finish))
    return found


def _plateau(times: Floats, start: float, end: float, ramp: float) -> Floats:
    """Return 1 within [start, end], a raised-cosine slope of `ramp` seconds to 0 on both sides."""

    def rise(x: Floats) -> Floats:
        return 0.5 - 0.5 * np.cos(np.pi * np.clip(x, 0, 1))

    return np.asarray(rise((times - (start - ramp)) / ramp) * rise(((end + ramp) - times) / ramp))


def curves(
    listed: list[tuple[str, float, float]], times: Floats
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the lip curves float32[4, n] (rows: CURVES) and the visemes int64[n] at `times` (seconds, evenly spaced).

    `listed` is what `segments` returns. Times outside of every segment belong to silence.
    """
    n = len(times)
    gap, width = np.zeros(n), np.zeros(n)
    gap_weight, width_weight = np.full(n, 1e-6), np.full(n, 1e-6)
    closed, labiodental = np.zeros(n), np.zeros(n)
    viseme = np.zeros(n, np.int64)
    for name, start, end in listed:
        shape = ARTICULATIONS[name]
        first, last = np.searchsorted(times, (start - 0.3, end + 0.3))
        near = times[first:last]
        if not len(near):
            continue
        inside = (near >= start) & (near < end)
        distance = np.maximum(np.maximum(start - near, near - end), 0)
        emphasis = np.where(inside, 1.0, 0.8)
        dominance = shape.gap_dominance
        if name == "silence" and end - start < SHORT_SILENCE_SECONDS:
            dominance = 0.1
        pull = dominance * emphasis * np.exp(-distance / GAP_FALL_SECONDS)
        gap[first:last] += pull * shape.gap
        gap_weight[first:last] += pull
        pull = shape.width_dominance * emphasis * np.exp(-distance / WIDTH_FALL_SECONDS)
        width[first:last] += pull * shape.width
        width_weight[first:last] += pull
        viseme[first:last] = np.where(inside, VISEMES.index(shape.viseme), viseme[first:last])
        # The lips part before the sound of a stop ends: the plateau leaves early.
        if name == "bilabial":
            held = _plateau(near, start + 0.005, max(end - 0.015, start + 0.02), 0.05)
            closed[first:last] = np.maximum(closed[first:last], held)
        elif name == "labiodental":
            held = _plateau(near, start + 0.010, max(end - 0.020, start + 0.02), 0.045)
            labiodental[first:last] = np.maximum(labiodental[first:last], held)
    gap, width = gap / gap_weight, width / width_weight
    step = times[1] - times[0] if n > 1 else 1.0
    reach = int(3 * SMOOTHING_SECONDS / step) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / SMOOTHING_SECONDS) ** 2)
    kernel /= kernel.sum()
    gap = np.convolve(np.pad(gap, reach, "edge"), kernel, "valid")
    width = np.convolve(np.pad(width, reach, "edge"), kernel, "valid")
    gap = np.minimum(gap, 1 - 0.88 * labiodental) * (1 - closed)
    return np.stack([gap, width, closed, labiodental]).astype(np.float32), viseme
