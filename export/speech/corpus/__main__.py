"""Write every shard of the corpus that is missing: see the package."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Final

from export.speech import corpus
from export.speech.corpus.music import SHARD as MUSIC
from export.speech.corpus.music import write_music
from export.speech.corpus.negatives import SHARD as NEGATIVES
from export.speech.corpus.negatives import write_negatives
from export.speech.corpus.recorded import SOURCES
from export.speech.corpus.revoiced import REVOICED, revoiced_shards
from export.speech.corpus.shard import NothingSpoken, Shard, VoiceMissing, write_shard
from export.speech.corpus.voices import DEBIAN_PACKAGES, shards

REVOICED_SEEDS: Final = 500
"""Behind those of all other shards."""


def _write(listed: list[Shard], options: argparse.Namespace, seeds: int) -> int:
    """Write the shards of `listed` that are missing, with seeds counted from `seeds`; return how many there are."""
    left = [
        s.minutes for s in listed if s.name.startswith(options.only) and not (options.out / f"{s.name}.npz").exists()
    ]
    ahead, began, done = sum(left) * options.scale, time.monotonic(), 0.0
    present = 0
    for i, shard in enumerate(listed, seeds):
        path = options.out / f"{shard.name}.npz"
        if path.exists():
            present += 1
            continue
        if not shard.name.startswith(options.only):
            continue
        try:
            minutes = write_shard(path, shard, 60 * shard.minutes * options.scale, options.seed * 1000 + i) / 60
        except (VoiceMissing, NothingSpoken) as missing:
            print(f"{shard.name}: left out: {missing}", file=sys.stderr, flush=True)
            ahead -= shard.minutes * options.scale
            continue
        present += 1
        done += minutes
        spent = (time.monotonic() - began) / 60
        eta = spent / done * max(ahead - done, 0.0)
        print(f"{shard.name}: {minutes:.1f} min; {done:.0f} of {ahead:.0f} min, {eta:.0f} min to go", flush=True)
    return present


def main(arguments: list[str] | None = None) -> int:
    """Write every shard that is missing; return the exit status."""
    parser = argparse.ArgumentParser(description=corpus.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/speech/corpus"), help="folder for the shards")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all lengths; 1 makes 14 hours")
    parser.add_argument("--only", default="", metavar="PREFIX", help="write only the shards whose names begin so")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.scale <= 0:
        parser.error(f"--scale is {options.scale}, expected more than 0")
    listed = shards()
    # Which shards are revoiced is known only when those are there that they are made of.
    voices = (*(shard.name for shard in listed), REVOICED)
    spoken = options.only.startswith(REVOICED) or any(name.startswith(options.only) for name in voices)
    if not spoken and not any(name.startswith(options.only) for name in (NEGATIVES, MUSIC)):
        parser.error(f"--only is {options.only!r}, expected what a shard's name begins with, such as {listed[0].name}")
    options.out.mkdir(parents=True, exist_ok=True)
    present = _write(listed, options, 0)
    present += _write(revoiced_shards(options.out), options, REVOICED_SEEDS)
    path = options.out / f"{NEGATIVES}.npz"
    if not path.exists() and NEGATIVES.startswith(options.only):
        print(f"{NEGATIVES}: {write_negatives(path, 60 * 25 * options.scale, options.seed) / 60:.1f} min", flush=True)
    path = options.out / f"{MUSIC}.npz"
    if not path.exists() and MUSIC.startswith(options.only):
        try:
            print(f"{MUSIC}: {write_music(path, SOURCES, 60 * 27 * options.scale) / 60:.1f} min", flush=True)
        except NothingSpoken as error:
            print(f"{MUSIC}: left out: {error}", file=sys.stderr, flush=True)
    if spoken and not present:
        print(f"no voice could speak: install {' '.join(DEBIAN_PACKAGES)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
