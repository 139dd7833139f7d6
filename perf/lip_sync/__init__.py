"""Judge the mouth on recorded speech that no network was trained on.

    python -m perf.lip_sync                               # fetches the recordings into build/perf; about five minutes
    python -m perf.lip_sync --quick                       # the voices for choices alone, clean and at 10 dB
    python -m perf.lip_sync --clips FOLDER                # your own: NAME.wav beside NAME.txt with its words, UTF-8

pocketsphinx aligns the words with the sound; sound goes through the stages as the server runs them (requests of 800
samples, a 0.67 s window, two frames of look-ahead, `motion` with its filters), and the 73 parameters shown are held
against the phonemes. What the columns mean:

    r                  correlation of the lip gap with the coarticulated curve of the aligned phonemes
    p/b/m closed       share of them whose lips meet: gap below 15 % of a usual open vowel's
    vowels closed      share of open vowels of 60 ms or more whose lips stay below that
    tongue closed      share of t, d, n, l, k, g amid the speech whose lips meet, which they should not
    f/v contact        share of f, v with the lower lip at the teeth; how often other sounds do the same
    open/close         how often an open vowel's lips are wider than a close vowel's (ROC area: 0.5 is chance)
    rounding           how often i, e are wider than u, o, w (ROC area)
    lag                shift of the shown gap that fits best, milliseconds, positive when the mouth is late
    pauses             mouth motion in the clips' own pauses of 0.3 s or more, percent of that in speech
    still              the same of those pauses and of 16 s of quiet rooms together; music and noise have rows
    jitter             size of the gap's bends from frame to frame over its spread, beside the wanted curve's own

Two caveats. The curve comes from the same table of lip heights that made the training targets, so r says how well
the phonemes were heard and timed, not how these speakers' lips moved; closures and lag do not depend on that table's
heights. And the phoneme times are a machine's: what an error of 10 ms costs has a row.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from export.speech.aligner import Aligner, Phonemes
from export.speech.sound_file import read_audio
from perf.lip_sync.alignment import Alignments, Clip
from perf.lip_sync.baselines import loudness_faces
from perf.lip_sync.conditions import with_gain, with_noise
from perf.lip_sync.lips import frame_times, lip_gap
from perf.lip_sync.measures import judge, measure, silences, wanted_gap
from perf.lip_sync.recordings import Audio, fetch
from perf.lip_sync.shown import Floats, SpeechNetworks

__all__ = [
    "Aligner",
    "Alignments",
    "Audio",
    "Clip",
    "Floats",
    "Phonemes",
    "SpeechNetworks",
    "default_sets",
    "folder_set",
    "frame_times",
    "judge",
    "lip_gap",
    "loudness_faces",
    "measure",
    "read_audio",
    "silences",
    "wanted_gap",
    "with_gain",
    "with_noise",
]

WORK: Final = Path("build/perf")
SUFFIXES: Final = (".wav", ".flac", ".ogg")
"""Files of a folder that end so are recordings."""


def default_sets(work: Path) -> dict[str, list[tuple[Path, str]]]:
    """Return the recordings that choices may be made by, and their words, by speaker."""
    return {
        speaker.name: folder_set(work / "voices" / speaker.split / speaker.name)
        for speaker in fetch(work)
        if speaker.split == "dev"
    }


def folder_set(folder: Path) -> list[tuple[Path, str]]:
    """Return the recordings of `folder` that have a .txt of the same name, and their words.

    Endings may be in capitals. A recording without words is left out, with a line on stderr.

    Raises:
        FileNotFoundError: there is none.
        ValueError: words are not in UTF-8; the text names the file.
    """
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES:
            continue
        words = next((text for text in (path.with_suffix(".txt"), path.with_suffix(".TXT")) if text.exists()), None)
        if words is None:
            print(f"{folder.name}/{path.name}: left out: there is no {path.stem}.txt with its words", file=sys.stderr)
            continue
        try:
            found.append((path, words.read_text("utf-8")))
        except UnicodeDecodeError as error:
            raise ValueError(f"{words} is no text in UTF-8: {error}") from error
    if not found:
        raise FileNotFoundError(f"clips is {folder}, expected a folder with NAME.wav beside NAME.txt")
    return found
