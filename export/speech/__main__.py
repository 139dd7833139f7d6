"""Make the speech networks from nothing: corpus, training of both temporal models, judgement, export.

    python -m export.speech                   # some hours on two cores; started again, it goes on where it stopped

1. build/speech/corpus                    synthetic speech with timed phonemes   (python -m export.speech.corpus)
2. build/speech/{tcn,transformer}.pt      encoder and temporal model, for the same steps  (export.speech.train)
   build/speech/{...}-gentle.pt           a second course, augmented more gently          (export.speech.train --start)
   build/speech/{...}-mean.pt             the mean of both courses' weights
3. build/speech/evaluation.json           all at each look-ahead, on recorded speech      (export.speech.evaluate)
4. model_repository/{speech_encoder,expression}   the better model, held against torch    (export.speech.export)

The better is the one with the higher `evaluate.merit` at the served look-ahead, by the means of both courses.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from facestream.contract import EMBEDDING_SIZE, LOOKAHEAD_FRAMES

from export.speech.corpus import __main__ as corpus
from export.speech.evaluate import evaluate, merit, recordings, write_rows
from export.speech.export import REPOSITORY, export_stages
from export.speech.export import main as export_main
from export.speech.expression import TEMPORAL
from export.speech.pretrained.frozen import default_checkpoint
from export.speech.train import GENTLE_RATE, GENTLE_STEPS, RATE, STEPS, mean_of, train, trained
from export.speech.train import main as train_main


def main(arguments: list[str] | None = None) -> int:
    """Do what is not done yet; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/speech"), help="folder for corpus and checkpoints")
    parser.add_argument("--repository", type=Path, help="default: model_repository, or its copy with --encoder")
    parser.add_argument("--encoder", type=Path, metavar="FOLDER", help="wav2vec 2.0 or HuBERT checkpoint to build on")
    parser.add_argument("--layer", type=int, metavar="N", help="transformer layer at which that checkpoint is cut")
    parser.add_argument("--clips", type=Path, help="judge by this folder of NAME.wav beside NAME.txt")
    parser.add_argument("--recordings", type=Path, default=Path("build/perf"), help="folder for fetched recordings")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of the corpus's length")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if (options.encoder is None) != (options.layer is None):
        parser.error("--encoder and --layer go together: the checkpoint's folder, and the layer at which it is cut")
    if options.encoder is not None:
        return _on_encoder(options)

    print("1 of 4: corpus", flush=True)
    shards = options.work / "corpus"
    if status := corpus.main(["--out", str(shards), "--scale", str(options.scale), "--seed", str(options.seed)]):
        return status
    first: list[Path] = []
    second: list[Path] = []
    means: list[Path] = []
    for temporal in TEMPORAL:
        print(f"2 of 4: training, {temporal}", flush=True)
        first.append(options.work / f"{temporal}.pt")
        train(shards, first[-1], temporal=temporal, steps=options.steps, rate=RATE, seed=options.seed)
        second.append(options.work / f"{temporal}-gentle.pt")
        train(
            shards,
            second[-1],
            temporal=temporal,
            steps=round(options.steps * GENTLE_STEPS / STEPS),
            rate=GENTLE_RATE,
            seed=options.seed + 1,
            start=first[-1],
        )
        means.append(options.work / f"{temporal}-mean.pt")
        mean_of(first[-1], second[-1], means[-1])
    print("3 of 4: judging on recorded speech", flush=True)
    rows = evaluate([*first, *second, *means], recordings(options.clips, options.recordings))
    write_rows(rows, options.work / "evaluation.json")
    best = max(means, key=lambda checkpoint: merit(rows, checkpoint.stem, LOOKAHEAD_FRAMES))
    print(f"4 of 4: exporting {best.stem}", flush=True)
    networks = trained(best)
    title = f"the small encoder; temporal model: {best.stem.removesuffix('-mean')}"
    return int(
        not export_stages(
            networks.encoder, networks.expression, EMBEDDING_SIZE, options.repository or REPOSITORY, title
        )
    )


def _on_encoder(options: argparse.Namespace) -> int:
    """Do what is not done yet for a pretrained encoder; return the exit status."""
    chosen = ["--encoder", str(options.encoder), "--layer", str(options.layer)]
    checkpoint = options.work / default_checkpoint(options.encoder, options.layer).name
    course = ["--checkpoint", str(checkpoint), "--steps", str(options.steps), "--seed", str(options.seed)]
    shards = options.work / "corpus"
    print("1 of 3: corpus", flush=True)
    if status := corpus.main(["--out", str(shards), "--scale", str(options.scale), "--seed", str(options.seed)]):
        return status
    print("2 of 3: training on the encoder", flush=True)
    train_main([*chosen, *course, "--corpus", str(shards), "--threads", str(options.threads)])
    print("3 of 3: exporting", flush=True)
    where = ["--repository", str(options.repository)] if options.repository else []
    return export_main([*chosen, "--checkpoint", str(checkpoint), *where])


if __name__ == "__main__":
    sys.exit(main())
