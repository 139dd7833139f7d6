"""Real music, to which the mouth must rest: pieces out of games' Debian packages, fetched by name, not shipped.

They become one shard, `negatives_music`, like that of `negatives`: every excerpt is one silence. Of synthetic music the
networks learnt that much, but a band's drums and brass went on moving the mouth. None of the pieces is the judge's
(perf.lip_sync.still).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import soxr
from facestream.contract import SAMPLE_RATE

from export.speech.corpus.negatives import ALPHABET
from export.speech.corpus.shard import Audio, Utterance, save_shard
from export.speech.packages import debian_package

SHARD: Final = "negatives_music"

PACKAGES: Final = {
    "drascula-music": "usr/share/scummvm/drascula/audio",
    "xmoto-data": "usr/share/games/xmoto/Textures/Musics",
}
"""Debian package: folder with its pieces (.ogg)."""

SPOKEN: Final = frozenset({"track2", "track29", "track31"})
"""Of drascula-music: somebody speaks or sings in them."""

EXCERPT_SECONDS: Final = 12.0
"""Of one utterance: less than shard.LONGEST_SECONDS."""

EXCERPTS: Final = 4
"""Out of one piece of music, evenly over its length."""


def excerpts(path: Path) -> Iterator[Audio]:
    """Yield EXCERPTS of a sound file, float32[n] mono at SAMPLE_RATE; fewer of one that is too short for them."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = audio.mean(1)
    length = int(EXCERPT_SECONDS * rate)
    count = min(EXCERPTS, max(len(mono) // length, 1))
    for first in np.linspace(0, max(len(mono) - length, 0), count).astype(int):
        yield np.asarray(soxr.resample(mono[first : first + length], rate, SAMPLE_RATE), np.float32)


def pieces(work: Path) -> Iterator[Utterance]:
    """Yield the music that can be had, each excerpt one silence; a package that cannot be fetched is left out."""
    for package, folder in PACKAGES.items():
        try:
            paths = sorted((debian_package(work, package) / folder).glob("*.ogg"))
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"music of {package}: left out: {error}", file=sys.stderr, flush=True)
            continue
        for path in paths:
            if path.stem not in SPOKEN:
                for audio in excerpts(path):
                    yield Utterance(audio, [("pau", 0.0, len(audio) / SAMPLE_RATE)])


def write_music(path: Path, work: Path, seconds: float) -> float:
    """Write a shard of at most about `seconds` of music to `path`; return the seconds written.

    Packages are fetched into `work`.

    Raises:
        NothingSpoken: no package could be fetched; nothing is written.
    """
    return save_shard(path, pieces(work), ALPHABET, seconds)
