"""How far the starts of p and b in the recorded shards are from where the sound itself closes.

    python -m export.speech.corpus.closures [--corpus build/speech/corpus] [--lines 100]

Nobody reports the phonemes of recorded people, an aligner guesses them. Between two vowels a p or b can be seen: the
band from 500 to 4,000 Hz falls within milliseconds when the lips meet. A row for each recorded shard says how much
later (or earlier, if less than 0) it falls than the aligned start, and how many are more than a frame off.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from facestream.contract import SAMPLE_RATE
from scipy import signal

from export.speech.corpus.recorded import RECORDED
from export.speech.corpus.shard import Utterance, read_shard, shard_paths
from export.speech.phonemes import classes_of

REACH_SECONDS: Final = 0.06
"""The fall is looked for so far on both sides of the phoneme."""
FAR_SECONDS: Final = 0.035
"""A closure so far off its stated time is none that anybody would put there: more than a frame."""
LEAST_FALL: Final = 10.0
"""Decibels: a smaller one is no closure that can be seen."""

_BAND: Final = signal.butter(4, (500, 4000), "band", fs=SAMPLE_RATE, output="sos")


def levels(audio: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Return the level of the band at each sample, decibels, smoothed over 8 ms."""
    window = np.hanning(int(0.008 * SAMPLE_RATE))
    heard = signal.sosfiltfilt(_BAND, audio.astype(np.float64))
    return np.asarray(10 * np.log10(np.convolve(heard**2, window / window.sum(), "same") + 1e-7))


def delays(utterance: Utterance) -> Iterator[float]:
    """Yield the seconds from the stated start to the fall of each p and b between vowels that clearly falls."""
    level = levels(utterance.audio)
    kinds = [classes_of(name, "arpabet") for name, _, _ in utterance.phonemes]
    for i in range(1, len(kinds) - 1):
        name, start, end = utterance.phonemes[i]
        if name.lower() not in ("p", "b") or not all(kinds[j][-1].isupper() for j in (i - 1, i + 1)):
            continue
        first, last = (int(time * SAMPLE_RATE) for time in (start - REACH_SECONDS, end + REACH_SECONDS))
        near = level[max(first, 0) : last]
        if first < 0 or last > len(level):
            continue
        loud, lowest = float(np.percentile(near, 90)), int(near.argmin())
        if loud - near[lowest] < LEAST_FALL:
            continue
        above = np.flatnonzero(near[: lowest + 1] > (loud + near[lowest]) / 2)
        if len(above):
            yield (first + above[-1]) / SAMPLE_RATE - start


def main(arguments: list[str] | None = None) -> int:
    """Print a row for each recorded shard; return 1 where there is none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("build/speech/corpus"))
    parser.add_argument("--lines", type=int, default=100, help="of each shard at most, evenly over its length")
    options = parser.parse_args(arguments)
    if options.lines < 1:
        parser.error(f"--lines is {options.lines}, expected at least 1")
    everywhere: list[float] = []
    for path in shard_paths(options.corpus):
        if path.stem.startswith(RECORDED):
            with np.load(path) as data:
                step = -(-len(data["starts"]) // options.lines)
            some = islice(read_shard(path), None, None, step)
            found = [1000 * delay for utterance, _ in some for delay in delays(utterance)]
            everywhere += found
            if found:
                print(_row(path.stem, found), flush=True)
    if not everywhere:
        print(f"{options.corpus} holds no shard {RECORDED}_*: run python -m export.speech.corpus", file=sys.stderr)
        return 1
    print(_row("all", everywhere))
    return 0


def _row(name: str, found: list[float]) -> str:
    early, middle, late = np.percentile(found, (10, 50, 90))
    far = 100 * np.mean(np.abs(found) > 1000 * FAR_SECONDS)
    return (
        f"{name:32s} {len(found):5d} p and b  median {middle:+3.0f} ms  80 % from {early:+3.0f} to {late:+3.0f} ms  "
        f"{far:2.0f} % more than {1000 * FAR_SECONDS:.0f} ms off"
    )


if __name__ == "__main__":
    sys.exit(main())
