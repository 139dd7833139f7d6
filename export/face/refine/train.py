"""Train a tier's network: `python -m export.face.refine.train --tier fast`.

Started again, it goes on from its checkpoint in build/face, which knows the sources that its rough canvases came from.
`standard` and `high` learn to better the answer of `fast` as it is kept in export/face/weights. The learned weights are
averaged over the course. The same seed, steps and people give the same course up to the order of sums.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Iterator, Sequence
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


def batches(folk: Folk, size: int, chance: np.random.Generator) -> Iterator[Batch]:
    """Endless batches: all pictures in an order of chance, each varied."""
    queue: list[tuple[RoughCanvas, int]] = []
    for step in itertools.count():
        if step % REFRESH == REFRESH - 1:
            folk.refresh()
        while len(queue) < size:
            pictures = [(person, number) for person in folk.people for number in range(len(person.parameters))]
            queue += [pictures[index] for index in chance.permutation(len(pictures))]
        chosen, queue = queue[:size], queue[size:]
        yield stacked([augmented(example(person, number), chance) for person, number in chosen])


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
    draws: Iterator[Batch],
    checkpoint: Path,
    *,
    steps: int,
    rate: float = RATE,
    first: Refiner | None = None,
    save_every: int = 100,
    stop_at: float = math.inf,
) -> Refiner:
    """Bring a network down the loss with a cosine rate; return the averaged one.

    Where `checkpoint` exists the course goes on from there. At the time `stop_at` (s, as time.time gives it) the course
    is cut short: the rate falls to its end within a tenth of the steps done.
    """
    averaged = AveragedModel(network, multi_avg_fn=_running_mean)
    steppers = optimisers(network, rate)
    highest = [[group["lr"] for group in stepper.param_groups] for stepper in steppers]
    at = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        network.load_state_dict(saved["network"])
        averaged.load_state_dict(saved["averaged"])
        for stepper, state in zip(steppers, saved["optimisers"], strict=True):
            stepper.load_state_dict(state)
        at = int(saved["step"])
        print(f"{checkpoint}: going on from step {at}", flush=True)
    begun, seen = time.time(), 0.0
    began_at = at
    while at < steps:
        if time.time() > stop_at and steps > at + at // 10 + 1:
            steps = at + at // 10 + 1
            print(f"time is up: ending at step {steps}", flush=True)
        left = (steps - at) / steps
        share = min(1.0, (at + 1) / WARM_UP) * min(1.0, 0.02 + (0.5 - 0.5 * math.cos(math.pi * left)))
        for stepper, rates in zip(steppers, highest, strict=True):
            for group, top in zip(stepper.param_groups, rates, strict=True):
                group["lr"] = top * share
        batch = next(draws)
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
    """Train a tier on people; `start` is a checkpoint whose averaged weights it begins with."""
    torch.manual_seed(seed)
    network = Refiner(tier)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start is not None:
        network.load_state_dict(averaged_weights(start))
    first = None if tier == "fast" else make_refiner("fast")
    draws = batches(folk, batch, np.random.default_rng(seed))
    return fit(network, draws, checkpoint, steps=steps, rate=rate, first=first, stop_at=stop_at)


def averaged_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The averaged weights of a checkpoint."""
    averaged = torch.load(checkpoint)["averaged"]
    return {name.removeprefix("module."): value for name, value in averaged.items() if name.startswith("module.")}


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
    torch.set_num_threads(options.threads)
    stop_at = time.time() + 60.0 * options.minutes
    folk = Folk("train", options.people, options.without)
    if not folk.people:
        parser.error(f"{options.people}/train holds nobody; make them with: python -m export.face.people")
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
    if options.keep:
        print(f"kept {save_weights(network)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
