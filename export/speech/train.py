"""Train both speech networks on the corpus, synthetic and recorded.

    python -m export.speech.corpus                       # once: build/speech/corpus
    python -m export.speech.train                        # build/speech/tcn.pt
    python -m export.speech.export                       # model_repository/{speech_encoder,expression}/1/model.onnx

With `--temporal transformer --start model_repository --gentle` it goes on from the networks that are served.

Started again, it goes on from its checkpoint. The same seed, steps and corpus give the same course, up to the order of
floating-point sums of the machine's threads.

The loss is taken over whole passages at 60 Hz. That is the same as training on the 0.67 s windows which the server
sends, since the last step's past (37 embedding steps) fits into one window; passages that begin with digital zeros
stand for the start of a session.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from facestream.contract import LOOKAHEAD_FRAMES
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from export.speech.augment import GENTLE, STRONG
from export.speech.corpus.recorded import RECORDED
from export.speech.encoder import LogMel
from export.speech.expression import LOOKAHEADS, SHUTTER, TEMPORAL
from export.speech.features import Voice, load_corpus
from export.speech.loss import led
from export.speech.muon import optimisers
from export.speech.networks import Networks, fit_norms, served
from export.speech.passages import NEGATIVES, Passages, drawn_from
from export.speech.targets import TARGET_RATE

STEPS: Final = 10000
RATE: Final = 6e-3
"""Highest learning rate."""

GENTLE_STEPS: Final = 3600
GENTLE_RATE: Final = 4e-3
"""Of the second course, whose augmentation is gentle."""

RECORDED_STEPS: Final = 2800
RECORDED_RATE: Final = 5e-3
"""Of the third course, begun with the mean of the first two and with people's recorded speech."""

RECORDED_GENTLE_STEPS: Final = 13000
RECORDED_GENTLE_RATE: Final = 5e-3
"""Of the fourth, which is long: people's speech was still heard better with each thousand steps."""

SHORTEST_END: Final = 40
"""Steps of a voice's held-out end below which it is not asked for: it would be past alone."""

Tensors = tuple[Tensor, ...] | list[Tensor]

WARM_UP_STEPS: Final = 60
AVERAGING: Final = 0.998
"""Share that the running mean of the weights keeps at each step."""


@torch.no_grad()
def _running_mean(mean: Tensors, now: Tensors, count: Tensor | int) -> None:
    """Move `mean` towards `now`; over few steps at first, lest the random start weigh for a thousand."""
    kept = min(AVERAGING, (1 + int(count)) / (10 + int(count)))
    if mean[0].is_floating_point():
        torch._foreach_lerp_(mean, now, 1 - kept)
    else:
        torch._foreach_copy_(mean, now)


def validate(networks: nn.Module, voices: list[Voice]) -> str:
    """Say the correlation of the predicted lip gap with its target, over the held-out ends of all voices of a kind."""
    spoken = [voice for voice in voices if not voice.name.startswith(NEGATIVES)]
    people = [voice for voice in spoken if voice.name.startswith(RECORDED)]
    machines = [voice for voice in spoken if not voice.name.startswith(RECORDED)]
    kinds = {"synthetic": machines, "recorded": people}
    return ", ".join(f"{kind} {gap_correlation(networks, held):.3f}" for kind, held in kinds.items() if held)


def gap_correlation(networks: nn.Module, voices: list[Voice]) -> float:
    """Correlation of the predicted lip gap with its target over the held-out ends of `voices`."""
    networks.eval()
    lookahead = LOOKAHEADS[LOOKAHEAD_FRAMES]
    predicted, wanted = [], []
    for voice in voices:
        first = drawn_from(len(voice.visemes))
        if len(voice.visemes) - first < SHORTEST_END:
            continue
        mel = LogMel.compress(torch.exp(voice.log_power[:, 2 * first :].float()))[None]
        with torch.inference_mode():
            gap = networks(mel)[LOOKAHEAD_FRAMES][0, len(SHUTTER) // 2, 0]
        target = voice.lips[0, first:].float()
        predicted.append(gap)
        wanted.append(led(target, lookahead, len(target) - len(gap)))
    networks.train()
    return float(torch.corrcoef(torch.stack([torch.cat(predicted), torch.cat(wanted)]))[0, 1])


def fit(
    networks: nn.Module,
    loss: Callable[[], Tensor],
    score: Callable[[nn.Module], str],
    generator: torch.Generator,
    checkpoint: Path,
    *,
    steps: int,
    rate: float = RATE,
    save_every: int = 400,
    about: dict[str, Any] | None = None,
) -> nn.Module:
    """Bring `networks` down a loss by Muon, a cosine rate and averaged weights; return the averaged networks.

    `loss` draws a batch (with `generator`, whose state is saved beside torch's own) and returns its loss; `score`
    judges the averaged networks at each checkpoint and says how they do. Where `checkpoint` exists the course goes on
    from there. `about` is kept in it.

    Raises:
        ValueError: the checkpoint was made for something else than `about`.
    """
    about = about or {}
    averaged = AveragedModel(networks, multi_avg_fn=_running_mean, use_buffers=True)
    trained = [parameter for parameter in networks.parameters() if parameter.requires_grad]
    steppers = optimisers(networks, rate)
    highest = [[group["lr"] for group in stepper.param_groups] for stepper in steppers]
    first = 0
    if checkpoint.exists():
        saved: dict[str, Any] = torch.load(checkpoint)
        if saved["about"] != about:
            raise ValueError(f"checkpoint {checkpoint} is of {saved['about']}, expected {about}: name another file")
        networks.load_state_dict(saved["networks"])
        averaged.load_state_dict(saved["averaged"])
        for stepper, state in zip(steppers, saved["optimisers"], strict=True):
            stepper.load_state_dict(state)
        generator.set_state(saved["generator"])
        torch.set_rng_state(saved["dropout"])
        first = saved["step"]
        print(f"goes on at step {first}", flush=True)
    losses: list[float] = []
    began = time.monotonic()
    for step in range(first, steps):
        warm = min(1.0, (step + 1) / WARM_UP_STEPS)
        part = warm * (0.5 + 0.5 * math.cos(math.pi * step / steps)) + 5e-3
        for stepper, rates in zip(steppers, highest, strict=True):
            for group, top in zip(stepper.param_groups, rates, strict=True):
                group["lr"] = top * part
        value = loss()
        networks.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained, 1.0)
        for stepper in steppers:
            stepper.step()
        averaged.update_parameters(networks)
        losses.append(value.item())
        done = step + 1
        if done % save_every == 0 or done == steps:
            pace = (time.monotonic() - began) / (done - first)
            print(
                f"step {done}/{steps} loss {np.mean(losses[-save_every:]):.4f} held-out gap r {score(averaged)}, "
                f"{pace:.2f} s a step, {pace * (steps - done) / 60:.0f} min to go",
                flush=True,
            )
            unfinished = checkpoint.with_suffix(".tmp")
            torch.save(
                {
                    "about": about,
                    "networks": networks.state_dict(),
                    "averaged": averaged.state_dict(),
                    "optimisers": [stepper.state_dict() for stepper in steppers],
                    "generator": generator.get_state(),
                    "dropout": torch.get_rng_state(),
                    "step": done,
                },
                unfinished,
            )
            os.replace(unfinished, checkpoint)
    averaged.eval()
    module: nn.Module = averaged.module
    return module


def averaged_weights(saved: dict[str, Any]) -> dict[str, Tensor]:
    """Return the averaged weights of a loaded checkpoint under the names that the networks give them."""
    prefix = "module."
    return {name.removeprefix(prefix): value for name, value in saved["averaged"].items() if name.startswith(prefix)}


def trained(checkpoint: Path, temporal: str | None = None) -> Networks:
    """Return the networks with the averaged weights of `checkpoint`, ready to run.

    `temporal` is the model that it has to be of, where that matters.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: it is of an expression stage for another encoder, or not of `temporal`.
    """
    if not checkpoint.exists():
        raise FileNotFoundError(
            f"checkpoint is {checkpoint}, expected the file that python -m export.speech.train writes"
        )
    saved = torch.load(checkpoint)
    if "encoder" in saved["about"]:
        raise ValueError(f"{checkpoint} was trained on a checkpoint folder: name it with --encoder and --layer")
    if temporal not in (None, saved["about"]["temporal"]):
        raise ValueError(f"{checkpoint} is of a {saved['about']['temporal']}, expected a {temporal}")
    networks = Networks(saved["about"]["temporal"])
    own = networks.state_dict().keys()
    # The head that learnt from a teacher has done its work.
    networks.load_state_dict({name: value for name, value in averaged_weights(saved).items() if name in own})
    networks.eval()
    return networks


def mean_of(first: Path, second: Path, mean: Path) -> None:
    """Write a checkpoint with the mean of the averaged weights of two courses, the second begun with the first's.

    Wortsman et al. 2022, "Model soups": the mean keeps the one's robustness and the other's finer hearing.

    Raises:
        FileNotFoundError: one of them is not there.
        ValueError: they are of different temporal models.
    """
    for checkpoint in (first, second):
        if not checkpoint.exists():
            raise FileNotFoundError(f"checkpoint is {checkpoint}, expected a file that export.speech.train writes")
    one, other = torch.load(first), torch.load(second)
    if one["about"]["temporal"] != other["about"]["temporal"]:
        raise ValueError(
            f"{first} is of a {one['about']['temporal']}, {second} of a {other['about']['temporal']}: "
            "expected two courses of one model"
        )
    averaged = {
        name: (value + other["averaged"][name]) / 2 if value.is_floating_point() else other["averaged"][name]
        for name, value in one["averaged"].items()
    }
    about = {"temporal": one["about"]["temporal"], "mean of": [one["about"], other["about"]]}
    unfinished = mean.with_suffix(".tmp")
    torch.save({"about": about, "averaged": averaged}, unfinished)
    os.replace(unfinished, mean)


def train(
    corpus: Path,
    checkpoint: Path,
    *,
    temporal: str,
    steps: int,
    rate: float,
    seed: int,
    save_every: int = 400,
    teacher: tuple[Path, int] | None = None,
    start: Path | None = None,
    gentle: bool = False,
    recorded: bool = True,
) -> nn.Module:
    """Train a `temporal` model and its encoder on `corpus`, or go on from `checkpoint`; return the average.

    `start` is the checkpoint of another course whose averaged weights this one begins with, or a model repository whose
    networks it goes on from. `gentle` augments by GENTLE in place of STRONG, without `recorded` the shards of people's
    speech are left out.
    `teacher` is the folder of a wav2vec 2.0 or HuBERT checkpoint and a layer, to distil into the encoder.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    voices = [voice for voice in load_corpus(corpus) if recorded or not voice.name.startswith(RECORDED)]
    about: dict[str, Any] = {"temporal": temporal, "steps": steps, "seed": seed}
    if teacher is None:
        networks = Networks(temporal)
    else:
        from export.speech.pretrained.distil import Distilled, teach

        source = teach(voices, corpus, *teacher)
        networks = Distilled(temporal, source.size)
        about["teacher"] = source.identity(teacher[1])
    strength = GENTLE if gentle else STRONG
    if start is not None:
        if start.is_dir():
            begun = served(start)
            fit_norms(begun, Passages(voices, torch.Generator().manual_seed(seed), strength).batch().mel)
        else:
            begun = trained(start, temporal)
        networks.load_state_dict(begun.state_dict(), strict=False)
        about["start"] = start.stem
    if gentle:
        about["augmentation"] = "gentle"
    if not recorded:
        about["speech"] = "synthetic"
    minutes = sum(len(voice.visemes) for voice in voices) / TARGET_RATE / 60
    count = sum(parameter.numel() for parameter in networks.parameters())
    print(f"{len(voices)} voices, {minutes:.0f} minutes; {temporal}, {count / 1e6:.2f} M parameters", flush=True)
    passages = Passages(voices, generator, strength)
    return fit(
        networks,
        lambda: networks.loss(passages.batch()),
        lambda averaged: validate(averaged, voices),
        generator,
        checkpoint,
        steps=steps,
        rate=rate,
        save_every=save_every,
        about=about,
    )


def main(arguments: list[str] | None = None) -> int:
    """Train to the end of `--steps`, or go on from the checkpoint; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("build/speech/corpus"))
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="default: build/speech/TEMPORAL.pt; NAME-layerN.pt with --encoder; TEMPORAL-of-NAME-layerN.pt if taught",
    )
    parser.add_argument("--encoder", type=Path, metavar="FOLDER", help="train the expression stage on this checkpoint")
    parser.add_argument("--teacher", type=Path, metavar="FOLDER", help="distil this checkpoint into our encoder")
    parser.add_argument("--layer", type=int, metavar="N", help="transformer layer at which that checkpoint is cut")
    parser.add_argument("--temporal", choices=tuple(TEMPORAL), default="tcn")
    parser.add_argument(
        "--start", type=Path, help="begin with this checkpoint's averaged weights, or with a model repository"
    )
    parser.add_argument("--gentle", action="store_true", help="augment gently, for a second course")
    parser.add_argument("--synthetic", action="store_true", help="leave people's recorded speech out")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--rate", type=float, default=RATE, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=400, metavar="STEPS")
    options = parser.parse_args(arguments)
    if options.encoder and options.teacher:
        parser.error("--encoder and --teacher exclude each other")
    if (options.encoder or options.teacher) is not None and options.layer is None:
        parser.error("--layer is missing: the transformer layer at which the checkpoint is cut, 0 for none")
    if options.layer is not None and not (options.encoder or options.teacher):
        parser.error("--layer goes with --encoder or --teacher")
    if options.encoder and (options.start or options.gentle or options.synthetic):
        parser.error("--start, --gentle and --synthetic go with our own encoder, not with --encoder")
    torch.set_num_threads(options.threads)
    course = {
        "temporal": options.temporal,
        "steps": options.steps,
        "rate": options.rate,
        "seed": options.seed,
        "save_every": options.save_every,
    }
    if options.encoder or options.teacher:
        from export.speech.pretrained.encoder import CheckpointError, read_checkpoint

        try:
            read_checkpoint(options.encoder or options.teacher).check(options.layer)
        except CheckpointError as error:
            parser.error(str(error))
    if options.encoder:
        from export.speech.pretrained.frozen import default_checkpoint, train_on_encoder

        checkpoint = options.checkpoint or default_checkpoint(options.encoder, options.layer)
        train_on_encoder(options.corpus, checkpoint, options.encoder, options.layer, **course)
        return 0
    name = options.temporal
    teacher = None
    if options.teacher:
        name += f"-of-{options.teacher.resolve().name}-layer{options.layer}"
        teacher = (options.teacher, options.layer)
    train(
        options.corpus,
        options.checkpoint or Path("build/speech") / f"{name}.pt",
        **course,
        teacher=teacher,
        start=options.start,
        gentle=options.gentle,
        recorded=not options.synthetic,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
