"""Make the speech networks from nothing: corpus, training of both temporal models, judgement, export.

    python -m export.speech                   # some hours on two cores; started again, it goes on where it stopped

1. build/speech/corpus                    timed phonemes of machines and people        (python -m export.speech.corpus)
2. build/speech/{tcn,transformer}.pt      encoder and temporal model, synthetic speech       (export.speech.train)
   build/speech/{...}-gentle.pt           a second course, augmented more gently        (export.speech.train --start)
   build/speech/{...}-mean.pt             the mean of both courses' weights
3. build/speech/models.json               all at each look-ahead, on recorded speech         (export.speech.evaluate)
4. build/speech/MODEL-recorded.pt         the better one, with people's recorded speech from here on
   build/speech/MODEL-recorded-{gentle,mean}.pt, evaluation.json    as above
5. model_repository/{speech_encoder,expression}   its mean, held against torch               (export.speech.export)

The better is the one with the higher `evaluate.merit` at the served look-ahead, by the means of both courses. Where no
recorded speech can be fetched, it is exported as it is after 3. The recordings to judge by are fetched and aligned
before all else, and all that the last stage will need is looked for: what is missing is told before the hours.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from facestream.contract import EMBEDDING_SIZE, LOOKAHEAD_FRAMES

from export.speech.corpus import __main__ as corpus
from export.speech.corpus.recorded import RECORDED
from export.speech.corpus.shard import shard_paths
from export.speech.evaluate import evaluate, merit, recordings, write_rows
from export.speech.export import REPOSITORY, check_places, check_size, copied_repository, export_stages
from export.speech.export import main as export_main
from export.speech.expression import TEMPORAL
from export.speech.pretrained.encoder import PretrainedEncoder, read_checkpoint
from export.speech.pretrained.frozen import default_checkpoint
from export.speech.train import (
    GENTLE_RATE,
    GENTLE_STEPS,
    RATE,
    RECORDED_GENTLE_RATE,
    RECORDED_GENTLE_STEPS,
    RECORDED_RATE,
    RECORDED_STEPS,
    STEPS,
    mean_of,
    train,
    trained,
)
from export.speech.train import main as train_main


class Plan(NamedTuple):
    """A strongly and a gently augmented course, one after the other."""

    suffix: str
    """Of the checkpoints' names, behind the temporal model's."""
    recorded: bool
    """Whether people's recorded speech is in it."""
    steps: tuple[int, int]
    rates: tuple[float, float]
    seed: int
    """Of the first course, counted from the command's."""


SYNTHETIC: Final = Plan("", False, (STEPS, GENTLE_STEPS), (RATE, GENTLE_RATE), 0)
WITH_RECORDED: Final = Plan(
    "-recorded", True, (RECORDED_STEPS, RECORDED_GENTLE_STEPS), (RECORDED_RATE, RECORDED_GENTLE_RATE), 2
)


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
    if options.clips is not None and options.encoder is not None:
        parser.error("--clips goes with our own encoder, not with --encoder: nothing is chosen by judging there")
    least = 1 if options.encoder is not None else STEPS // (2 * min(SYNTHETIC.steps + WITH_RECORDED.steps)) + 1
    if options.steps < least:
        parser.error(f"--steps is {options.steps}, expected at least {least}, or a course would have none")
    clips: list[Any] = []
    try:
        if options.encoder is not None:
            copied_repository(options.repository)
            check_size(PretrainedEncoder(read_checkpoint(options.encoder), options.layer), options.layer)
        else:
            check_places(options.repository or REPOSITORY)
            clips = recordings(options.clips, options.recordings)
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    if options.encoder is not None:
        return _on_encoder(options)

    print("1 of 5: corpus", flush=True)
    shards = options.work / "corpus"
    if status := corpus.main(["--out", str(shards), "--scale", str(options.scale), "--seed", str(options.seed)]):
        return status
    made: dict[str, list[Path]] = {}
    for temporal in TEMPORAL:
        print(f"2 of 5: training, {temporal}", flush=True)
        made[temporal] = _two_courses(options, shards, temporal, SYNTHETIC, None)
    print("3 of 5: judging on recorded speech", flush=True)
    rows = evaluate([checkpoint for courses in made.values() for checkpoint in courses], clips)
    write_rows(rows, options.work / "models.json")
    temporal = max(TEMPORAL, key=lambda name: merit(rows, made[name][-1].stem, LOOKAHEAD_FRAMES))
    best = made[temporal][-1]
    if any(path.stem.startswith(RECORDED) for path in shard_paths(shards)):
        print(f"4 of 5: training with people's speech, {temporal}", flush=True)
        courses = _two_courses(options, shards, temporal, WITH_RECORDED, best)
        write_rows(evaluate(courses, clips), options.work / "evaluation.json")
        best = courses[-1]
    else:
        print(f"4 of 5: left out, no shard {RECORDED}_* in {shards}", flush=True)
    print(f"5 of 5: exporting {best.stem}", flush=True)
    networks = trained(best)
    title = f"the small encoder; temporal model: {temporal}"
    return int(
        not export_stages(
            networks.encoder, networks.expression, EMBEDDING_SIZE, options.repository or REPOSITORY, title
        )
    )


def _two_courses(
    options: argparse.Namespace, shards: Path, temporal: str, plan: Plan, start: Path | None
) -> list[Path]:
    """Train a course, a gentle one after it, and take the mean of their weights; return the three checkpoints."""
    first, gentle, mean = (options.work / f"{temporal}{plan.suffix}{end}.pt" for end in ("", "-gentle", "-mean"))
    about: dict[str, Any] = {"temporal": temporal, "recorded": plan.recorded}
    steps = [round(options.steps * steps / STEPS) for steps in plan.steps]
    seed = options.seed + plan.seed
    train(shards, first, steps=steps[0], rate=plan.rates[0], seed=seed, start=start, **about)
    train(shards, gentle, steps=steps[1], rate=plan.rates[1], seed=seed + 1, start=first, gentle=True, **about)
    mean_of(first, gentle, mean)
    return [first, gentle, mean]


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
