"""A corpus of two voices that hum, in the format of export.speech.corpus: enough to take a few steps on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from facestream.contract import SAMPLE_RATE


def write_voice(path: Path, seed: int) -> None:
    """A voice that hums vowels and closes its lips between them: 12 utterances of 3 s."""
    rng = np.random.default_rng(seed)
    pieces, phonemes = [], []
    for _ in range(12):
        time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
        spoken: list[tuple[str, float, float]] = []
        audio, start = np.zeros_like(time), 0.0
        while start < 2.7:
            name = ("aa", "m", "iy", "s")[len(spoken) % 4]
            end = min(start + rng.uniform(0.1, 0.25), 3.0)
            pitch, formant, loud = {
                "aa": (120, 700, 0.5),
                "m": (110, 250, 0.1),
                "iy": (130, 2300, 0.3),
                "s": (0, 5000, 0),
            }[name]
            here = (time >= start) & (time < end)
            audio[here] = (
                loud * np.sin(2 * np.pi * formant * time[here]) * (0.6 + 0.4 * np.sin(2 * np.pi * pitch * time[here]))
            )
            if name == "s":
                audio[here] = 0.1 * rng.standard_normal(here.sum())
            spoken.append((name, start, end))
            start = end
        pieces.append((audio * 32767).astype(np.int16))
        phonemes.append(spoken)
    starts = np.cumsum([0, *(len(piece) for piece in pieces[:-1])])
    np.savez(path, audio=np.concatenate(pieces), starts=starts, phonemes=json.dumps(phonemes), alphabet="arpabet")


def write_corpus(folder: Path) -> Path:
    """Write a corpus folder; return it."""
    folder.mkdir()
    write_voice(folder / "flite_one.npz", 1)
    write_voice(folder / "espeak_two.npz", 2)
    return folder
