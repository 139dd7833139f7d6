"""Make the speech networks from nothing: corpus, training of both temporal models, judgement, export.

    python -m export.speech                   # some hours on two cores; started again, it goes on where it stopped

1. build/speech/corpus           synthetic speech with timed phonemes            (python -m export.speech.corpus)
2. build/speech/tcn.pt, transformer.pt    encoder and temporal model, for the same steps     (export.speech.train)
3. build/speech/evaluation.json  both, at each look-ahead, on recorded speech           (export.speech.evaluate)
4. build/speech/longer.pt        the better of the two goes on                          (export.speech.train --start)
5. model_repository/{speech_encoder,expression}   what came out, held against torch     (export.speech.export)

The better is the one with the higher `evaluate.merit` at the served look-ahead.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from facestream.contract import EMBEDDING_SIZE, LOOKAHEAD_FRAMES

from export.speech.corpus import __main__ as corpus
from export.speech.evaluate import evaluate, merit, recordings, write_rows
from export.speech.export import export_stages
from export.speech.expression import TEMPORAL
from export.speech.train import LONGER_RATE, LONGER_STEPS, RATE, STEPS, train, trained


def main(arguments: list[str] | None = None) -> int:
    """Do what is not done yet; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/speech"), help="folder for corpus and checkpoints")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--clips", type=Path, help="judge by this folder of NAME.wav beside NAME.txt")
    parser.add_argument("--recordings", type=Path, default=Path("build/perf"), help="folder for fetched recordings")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of the corpus's length")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)

    print("1 of 5: corpus", flush=True)
    shards = options.work / "corpus"
    if status := corpus.main(["--out", str(shards), "--scale", str(options.scale), "--seed", str(options.seed)]):
        return status
    checkpoints = []
    for temporal in TEMPORAL:
        print(f"2 of 5: training, {temporal}", flush=True)
        checkpoints.append(options.work / f"{temporal}.pt")
        train(shards, checkpoints[-1], temporal=temporal, steps=options.steps, rate=RATE, seed=options.seed)
    print("3 of 5: judging on recorded speech", flush=True)
    rows = evaluate(checkpoints, recordings(options.clips, options.recordings))
    write_rows(rows, options.work / "evaluation.json")
    best = max(checkpoints, key=lambda checkpoint: merit(rows, checkpoint.stem, LOOKAHEAD_FRAMES))
    print(f"4 of 5: {best.stem} goes on", flush=True)
    longer = options.work / "longer.pt"
    steps = round(options.steps * LONGER_STEPS / STEPS)
    train(shards, longer, temporal=best.stem, steps=steps, rate=LONGER_RATE, seed=options.seed + 1, start=best)
    print("5 of 5: exporting", flush=True)
    networks = trained(longer)
    title = f"the small encoder; temporal model: {best.stem}"
    return int(not export_stages(networks.encoder, networks.expression, EMBEDDING_SIZE, options.repository, title))


if __name__ == "__main__":
    sys.exit(main())
