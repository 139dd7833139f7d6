"""Sounds that nobody speaks: the mouth must rest through them, whatever the ear would take for speech.

Digital silence and quiet rooms; steady and beating noise; real music out of two games' Debian packages (fetched, not
shipped). None of them is what the training made its own negatives of.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np
import soxr
from facestream.contract import SAMPLE_RATE

from export.speech.packages import debian_package
from export.speech.sound_file import read_audio
from perf.lip_sync.recordings import Audio

MUSIC: Final = {
    "pathological": ("usr/share/games/pathological/music", ("intro.ogg", "background.ogg")),
    "asc-music": ("usr/share/games/asc/music", ("frontiers.mp3", "time_to_strike.mp3", "machine_wars.mp3")),
}
"""Debian package: folder and files."""
EXCERPT_SECONDS: Final = 8
LEVEL: Final = 0.1
"""RMS of music and noise, -20 dBFS: as loud as speech."""


def rooms() -> list[Audio]:
    """Four seconds each of digital silence and of three rooms at -70, -60 and -50 dBFS, float32 at SAMPLE_RATE."""
    rng = np.random.default_rng(0)
    found = []
    for decibels in (-200.0, -70.0, -60.0, -50.0):
        noise = (
            np.cumsum(rng.standard_normal(4 * SAMPLE_RATE)) if decibels > -55 else rng.standard_normal(4 * SAMPLE_RATE)
        )
        noise = noise - soxr.resample(soxr.resample(noise, SAMPLE_RATE, 100), 100, SAMPLE_RATE)[: len(noise)]
        noise *= 10 ** (decibels / 20) / np.sqrt((noise**2).mean())
        found.append(noise.astype(np.float32))
    return found


def noises() -> list[Audio]:
    """Eight seconds each of white, pink and brown noise, of mains hum and of a fan, as loud as speech."""
    rng = np.random.default_rng(2)
    count = EXCERPT_SECONDS * SAMPLE_RATE
    times = np.arange(count) / SAMPLE_RATE
    found = [coloured(rng, count, power) for power in (0.0, 0.5, 1.0)]
    found.append(np.sign(np.sin(2 * np.pi * 50 * times)) + 0.1 * rng.standard_normal(count))
    found.append(coloured(rng, count, 0.7) * (1 + 0.5 * np.sin(2 * np.pi * 5.5 * times)))
    return [(LEVEL * sound / np.sqrt((sound**2).mean())).astype(np.float32) for sound in found]


def coloured(rng: np.random.Generator, count: int, power: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Noise float64[count] whose spectrum falls with the frequency to `power`: 0 white, 0.5 pink, 1 brown; RMS 1."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequencies = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    spectrum *= np.maximum(frequencies, 20.0) ** -power
    sound = np.fft.irfft(spectrum, count)
    return np.asarray(sound / np.sqrt((sound**2).mean()))


def music(work: Path) -> list[Audio]:
    """Excerpts of real music, as loud as speech; fewer, with a line on stderr, where a package cannot be had."""
    found = []
    for package, (folder, names) in MUSIC.items():
        try:
            place = debian_package(work, package) / folder
            for name in names:
                audio = read_audio(place / name)
                middle = len(audio) // 2
                excerpt = audio[middle : middle + EXCERPT_SECONDS * SAMPLE_RATE]
                found.append((LEVEL * excerpt / np.sqrt((excerpt**2).mean())).astype(np.float32))
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            print(f"music of {package}: left out: {error}", file=sys.stderr)
    return found
