"""Parameters of real speech for synthetic people: the project's own speech networks over sound files.

    python -m export.face.people.recorded_speech SOUND [SOUND ...] -o build/people/speech.npz

A command of its own, since its networks' libraries and Blender's do not go together in one process.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", type=Path, nargs="+", metavar="SOUND", help="sound files with speech")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=".npz to write")
    options = parser.parse_args()

    from facestream.audio import read_sound

    from perf.drawn_frames import SpokenFace

    clips = {}
    for number, sound in enumerate(options.sounds):
        try:
            audio = read_sound(sound).speech
        except (OSError, ValueError) as error:
            parser.error(f"{sound}: {error}")
        parameters = SpokenFace(seed=1 + number)(audio)
        clips[f"{number:03d}_{sound.stem}"] = parameters
        print(f"{sound}: {len(parameters)} frames", flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.output, **clips)  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(main())
