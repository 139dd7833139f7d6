"""Train a tier's network: `python -m export.face.refine.train --tier fast`.

Started again, it goes on from its checkpoint in build/face with the examples that were to come next; rough canvases are
drawn anew where their sources have changed. `standard` and `high` learn to better the answer of `fast` as it is kept in
export/face/weights. The learned weights are averaged over the course. The same seed, steps and people give the same
course up to the order of sums, broken off or not.
"""

from __future__ import annotations

import argparse
import itertools
import math
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from facestream.avatar.layers_canvas import ADAPTER_SIZE
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from export.face.refine.augmentation import Batch, augmented, example, stacked
from export.face.refine.loss import refiner_loss, with_own_detail
from export.face.refine.rough_canvas import PEOPLE, RoughCanvas, people, rough_canvas
from export.face.refiner import TIERS, Refiner, compose, make_refiner, save_weights
from export.speech.muon import Muon

CHECKPOINTS: Final = Path("build/face")
STEPS: Final = {"fast": 6000, "standard": 1500, "high": 1000}
RATE: Final = 4e-3
"""Highest rate of Muon; all that is no hidden kernel learns with AdamW at a third of it."""
WARM_UP: Final = 50
BATCH: Final = 8
AVERAGING: Final = 0.998


class Folk:
    """The people of a set. Rendering takes hours: who comes while training runs is taken in."""

    def __init__(self, chosen: str, root: Path = PEOPLE, without: Sequence[str] = ()) -> None:
        self._chosen, self._root, self._without = chosen, root, frozenset(without)
        self._found: dict[str, RoughCanvas] = {}
        self._said: dict[str, int] = {}
        self.refresh()

    @property
    def people(self) -> list[RoughCanvas]:
        """Everybody, by name."""
        return [self._found[name] for name in sorted(self._found)]

    def refresh(self) -> None:
        """Look for more people and pictures; whose folder does not do is said once and left out."""
        for path in people(self._chosen, self._root):
            count = sum(1 for _ in path.rglob("frame_*.png"))
            if path.name in self._without or self._said.get(path.name) == count:
                continue
            self._said[path.name] = count
            try:
                self._found[path.name] = rough_canvas(path)
            except ValueError as error:
                print(f"left out: {error}", flush=True)
        count = sum(len(person.parameters) for person in self._found.values())
        print(f"{self._chosen}: {len(self._found)} people, {count} pictures", flush=True)


REFRESH: Final = 300
"""Steps after which more people are looked for."""


def batches(folk: Folk, size: int, seed: int, first: int = 0) -> Iterator[Batch]:
    """Endless batches from step `first` on: round by round all pictures in an order of chance, each varied.

    Chance is of the seed and the step alone: a course that was broken off does not see its first batches again.
    """
    for step in itertools.count(first):
        if step % REFRESH == REFRESH - 1:
            folk.refresh()
        pictures = [(person, number) for person in folk.people for number in range(len(person.parameters))]
        chance = np.random.default_rng([seed, step])
        examples = []
        for turn in range(step * size, (step + 1) * size):
            round_, place = divmod(turn, len(pictures))
            order = np.random.default_rng([seed, round_, 1]).permutation(len(pictures))
            examples.append(augmented(example(*pictures[order[place]]), chance))
        yield stacked(examples)


def optimisers(network: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the kernels between stem and heads, AdamW for all else."""
    hidden: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if name.startswith("adapter"):
            continue  # no person has numbers of its own here: it stays orthogonal
        within = name.startswith(("down", "up", "deep", "middle", "fine")) and parameter.ndim == 4
        (hidden if within else others).append(parameter)
    return [Muon(hidden, rate), torch.optim.AdamW(others, rate / 3, weight_decay=1e-2)]


def refined(network: Refiner, batch: Batch, first: Refiner | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Texture of the network, what it shows, and what was shown before it; `first` betters the texture before."""
    adapter = torch.zeros(len(batch.flow), ADAPTER_SIZE)
    parameters, flow, texture, source, constants = batch[:5]
    if first is not None:
        with torch.no_grad():
            texture = first.refined(parameters, flow, texture, source, constants, adapter)
    better = network.refined(parameters, flow, texture, source, constants, adapter)
    return better, compose(flow, better, source), compose(flow, texture, source)


@torch.no_grad()
def _running_mean(mean: Any, now: Any, count: Tensor | int) -> None:
    kept = min(AVERAGING, (1 + int(count)) / (10 + int(count)))
    if mean[0].is_floating_point():
        torch._foreach_lerp_(mean, now, 1 - kept)
    else:
        torch._foreach_copy_(mean, now)


def fit(
    network: Refiner,
    draws: Callable[[int], Iterator[Batch]],
    checkpoint: Path,
    *,
    steps: int,
    seed: int = 1,
    rate: float = RATE,
    first: Refiner | None = None,
    save_every: int = 100,
    stop_at: float = math.inf,
) -> Refiner:
    """Bring a network down the loss with a cosine rate; return the averaged one.

    `draws` gives the batches from a step on. Where `checkpoint` exists the course goes on from there. At the time
    `stop_at` (s, as time.time gives it) the course is cut short: the rate falls to its end within a tenth of the steps
    done.

    Raises:
        ValueError: the checkpoint cannot be read, or is of another network.
    """
    averaged = AveragedModel(network, multi_avg_fn=_running_mean)
    steppers = optimisers(network, rate)
    highest = [[group["lr"] for group in stepper.param_groups] for stepper in steppers]
    at = 0
    if checkpoint.exists():
        saved = read_checkpoint(checkpoint)
        try:
            network.load_state_dict(saved["network"])
            averaged.load_state_dict(saved["averaged"])
            for stepper, state in zip(steppers, saved["optimisers"], strict=True):
                stepper.load_state_dict(state)
        except (RuntimeError, ValueError) as error:
            raise _of_another(checkpoint, network.tier, error) from error
        at = int(saved["step"])
        done = f"has done its {at} steps, {steps} are asked for: remove it to train anew"
        print(f"{checkpoint}: {f'going on from step {at}' if at < steps else done}", flush=True)
    begun, seen = time.time(), 0.0
    began_at, batch_from = at, draws(at)
    while at < steps:
        if time.time() > stop_at and steps > at + at // 10 + 1:
            steps = at + at // 10 + 1
            print(f"time is up: ending at step {steps}", flush=True)
        left = (steps - at) / steps
        share = min(1.0, (at + 1) / WARM_UP) * min(1.0, 0.02 + (0.5 - 0.5 * math.cos(math.pi * left)))
        for stepper, rates in zip(steppers, highest, strict=True):
            for group, top in zip(stepper.param_groups, rates, strict=True):
                group["lr"] = top * share
        batch = next(batch_from)
        torch.manual_seed(seed + at)  # of the channels left out: as it would be, had the course not been broken off
        with torch.autocast("cpu", torch.bfloat16):
            _, shown, before = refined(network, batch, first)
        shown, before = shown.float(), before.float()
        loss = refiner_loss(shown, before, with_own_detail(before, batch.truth, batch.texture[:, 3:]))
        for stepper in steppers:
            stepper.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        for stepper in steppers:
            stepper.step()
        averaged.update_parameters(network)
        at += 1
        now = loss.item()
        seen = 0.98 * seen + 0.02 * now if at > began_at + 1 else now
        if at % 50 == 0 or at == steps:
            speed = (time.time() - begun) / (at - began_at)
            print(f"step {at} of {steps}: loss {seen:.4f} (last {now:.4f}), {speed:.2f} s a step", flush=True)
        if at % save_every == 0 or at == steps:
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            state = {
                "network": network.state_dict(),
                "averaged": averaged.state_dict(),
                "optimisers": [stepper.state_dict() for stepper in steppers],
                "step": at,
            }
            partial = checkpoint.with_suffix(".partial")
            torch.save(state, partial)
            partial.rename(checkpoint)
    network.load_state_dict(averaged.module.state_dict())
    return network.eval()


def train(
    tier: str,
    folk: Folk,
    checkpoint: Path,
    *,
    steps: int,
    seed: int = 1,
    start: Path | None = None,
    rate: float = RATE,
    batch: int = BATCH,
    stop_at: float = math.inf,
) -> Refiner:
    """Train a tier on people; `start` is a checkpoint whose averaged weights it begins with.

    Raises:
        ValueError: a checkpoint cannot be read, or is of another network.
    """
    torch.manual_seed(seed)
    network = Refiner(tier)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start is not None:
        load_averaged(network, start)
    first = None if tier == "fast" else make_refiner("fast")

    def draws(step: int) -> Iterator[Batch]:
        return batches(folk, batch, seed, step)

    return fit(network, draws, checkpoint, steps=steps, seed=seed, rate=rate, first=first, stop_at=stop_at)


def read_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """What `fit` has kept of a course.

    Raises:
        ValueError: there is no such file, or it is no checkpoint.
    """
    try:
        saved = torch.load(checkpoint)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{checkpoint}: is no readable checkpoint ({reason}): remove it, or name another") from error
    if not isinstance(saved, dict) or not {"network", "averaged", "optimisers", "step"} <= set(saved):
        raise ValueError(f"{checkpoint}: is no checkpoint of the refiner: name another file")
    return saved


def load_averaged(network: Refiner, checkpoint: Path) -> None:
    """Give a network the averaged weights of a checkpoint.

    Raises:
        ValueError: the checkpoint cannot be read, or is of another network.
    """
    averaged = read_checkpoint(checkpoint)["averaged"]
    own = {name.removeprefix("module."): value for name, value in averaged.items() if name.startswith("module.")}
    try:
        network.load_state_dict(own)
    except RuntimeError as error:
        raise _of_another(checkpoint, network.tier, error) from error


def _of_another(checkpoint: Path, tier: str, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())[:200]
    return ValueError(f"{checkpoint}: is not of today's {tier} network: remove it, or name another ({reason} ...)")


def check_numbers(parser: argparse.ArgumentParser, options: argparse.Namespace, *names: str) -> None:
    """Refuse a command's numbers below 1: a course of no steps would keep an untrained network's weights."""
    for name in names:
        if (value := getattr(options, name)) is not None and value < 1:
            parser.error(f"--{name} is {value}, expected at least 1")


def main(arguments: list[str] | None = None) -> int:
    """Train one tier and keep its weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tier", choices=list(TIERS), default="fast")
    parser.add_argument("--people", type=Path, default=PEOPLE, help="folder with the sets of synthetic people")
    parser.add_argument("--without", nargs="*", default=[], help="people of the set to leave out")
    parser.add_argument("--checkpoint", type=Path, help="default: build/face/refiner_TIER.pt")
    parser.add_argument("--start", type=Path, help="checkpoint whose weights to begin with")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--batch", type=int, default=BATCH, help="pictures in a step")
    parser.add_argument("--minutes", type=float, default=math.inf, help="cut the course short after so long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the weights in export/face/weights")
    options = parser.parse_args(arguments)
    check_numbers(parser, options, "steps", "batch", "threads")
    if not options.rate > 0.0:
        parser.error(f"--rate is {options.rate}, expected more than 0")
    for name in options.without:
        if not (options.people / "train" / name).is_dir():
            parser.error(f"--without {name}: {options.people}/train holds nobody of that name")
    torch.set_num_threads(options.threads)
    stop_at = time.time() + 60.0 * options.minutes
    folk = Folk("train", options.people, options.without)
    if not folk.people:
        parser.error(f"{options.people}/train holds nobody; make them with: python -m export.face.people")
    try:
        network = train(
            options.tier,
            folk,
            options.checkpoint or CHECKPOINTS / f"refiner_{options.tier}.pt",
            steps=options.steps or STEPS[options.tier],
            seed=options.seed,
            start=options.start,
            rate=options.rate,
            batch=options.batch,
            stop_at=stop_at,
        )
    except ValueError as error:
        parser.error(str(error))
    if options.keep:
        print(f"kept {save_weights(network)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
