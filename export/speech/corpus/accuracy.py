"""How far the corpus's phoneme times are from what an independent aligner hears in it.

    python -m export.speech.corpus.accuracy [--sentences 20]

Each English voice says some sentences, once as the synthesiser speaks and once as speakers made up from it.
pocketsphinx aligns the words with the sound, and each end that it finds is held against the nearest end stated by the
corpus. Needs flite and festival, pyworld (the extra `corpus`) and pocketsphinx (the extra `judge`). Aligners err too:
what counts is that no row stands out, and that made-up speakers are no worse than the voices they come from.
"""

from __future__ import annotations

import argparse
import random
import sys
from itertools import islice

import numpy as np

from export.speech.aligner import Aligner
from export.speech.corpus.sentences import sentence
from export.speech.corpus.shard import Utterance, VoiceMissing
from export.speech.corpus.voices import english_voices
from export.speech.corpus.world import invent, put_together, take_apart
from export.speech.phonemes import classes_of


def differences(aligner: Aligner, utterance: Utterance, text: str) -> list[float]:
    """Return heard minus stated end of each sound, milliseconds; nothing where the aligner finds no path."""
    try:
        heard = aligner.align(utterance.audio, text)
    except ValueError:
        return []
    stated = np.asarray([end for _, _, end in utterance.phonemes])
    ends = [end for name, _, end in heard if classes_of(name, "arpabet") != ("silence",)]
    return [1000 * float(end - stated[np.abs(stated - end).argmin()]) for end in ends]


def _row(name: str, found: list[float], said: int) -> str:
    if not found:
        return f"{name:40s} nothing could be aligned"
    far = np.abs(found)
    return (
        f"{name:40s} {len(found):5d} ends in {said} sentences  median {np.median(far):3.0f} ms  "
        f"90 % within {np.percentile(far, 90):3.0f} ms  shift {np.median(found):+3.0f} ms"
    )


def main(arguments: list[str] | None = None) -> int:
    """Print two rows for each English voice; return 1 where none is installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=20)
    options = parser.parse_args(arguments)
    if options.sentences < 1:
        parser.error(f"--sentences is {options.sentences}, expected at least 1")
    aligner = Aligner()
    rows = 0
    for name, speak in english_voices():
        rng = random.Random(11)
        plain: list[float] = []
        made: list[float] = []
        try:
            for i in range(options.sentences):
                text = sentence(rng)
                for utterance in islice(speak(iter([text]), rng), 1):
                    plain += differences(aligner, utterance, text)
                    take = take_apart(utterance)
                    if take is not None:
                        speaker = invent(rng)._replace(whispers=0.0)
                        made += differences(aligner, put_together(take, "arpabet", speaker, i), text)
        except VoiceMissing as missing:
            print(f"{name}: left out: {missing}", file=sys.stderr)
            continue
        print(_row(name, plain, options.sentences), flush=True)
        print(_row("  speakers made up from it", made, options.sentences), flush=True)
        rows += 1
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
