"""Tune an avatar to its person by their own video: `python -m export.face.personalise AVATAR --video FILE -o OUTPUT`.

The learned renderer knows people in general. 256 numbers, AVATAR_ADAPTER, tell it of one person: they are added to the
modulation of its layers, and are zero for whoever was not filmed. Here the person's face is followed through the video
(export.face.personal_video), the canvas is drawn of the same parameters, and the numbers go down the gradient of the
renderer's own loss against what the video shows. All tiers share the numbers, so all trained ones learn them together;
the networks stay as they are. Numbers are for the weights that they were found with: the bundle's manifest names these
(a checksum), and after the networks are trained again the server refuses the avatar until it is tuned again.

A video in blocks of a second: every fourth is kept out and judges, every eighth says when to stop. The bundle is
written only if the blocks kept out gain; the gain is said, whatever it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from facestream.avatar.bundle import BUNDLE_SUFFIX, BundleError, load_bundle, save_bundle
from facestream.avatar.face_model import load_face_model
from facestream.avatar.layers_canvas import ADAPTER_SIZE
from facestream.avatar.photo import PhotoError
from numpy.typing import NDArray
from torch import Tensor

from export.face.personal_video import FEWEST, Tracked, Tracker, track
from export.face.refine.loss import EYES, MOUTH, refiner_loss
from export.face.refine.rough_canvas import draw
from export.face.refiner import (
    Refiner,
    compose,
    make_refiner,
    source_of,
    trained_tiers,
    weights_checksum,
    weights_path,
)

FRAMES: Final = 240
"""Frames of a video that are looked at, at most."""
BLOCK_SECONDS: Final = 1.0
STEPS: Final = 240
BATCH: Final = 4
RATE: Final = 0.03
CHECK_EVERY: Final = 20
DECAY: Final = 1e-3
"""Pull of the numbers towards zero, which is everybody."""
MIN_GAIN_DB: Final = 0.05
"""Blocks kept out must gain so much about the mouth, and lose nothing on the whole canvas."""

REGIONS: Final = {"canvas": (0, 0, 192, 256), "mouth": MOUTH, "eyes": EYES}


Networks = Mapping[str, Refiner]
"""Trained networks by tier, `fast` first."""


@dataclass(frozen=True)
class Course:
    """What came out."""

    adapter: NDArray[np.float32]
    """[256] AVATAR_ADAPTER; zeros if nothing was gained."""
    before: dict[str, dict[str, float]]
    """PSNR of the frames kept out by tier and region, dB, without the adapter."""
    after: dict[str, dict[str, float]]
    """With it."""
    frames: tuple[int, int, int]
    """Frames that were learned from, that said when to stop, and that were kept out."""

    @property
    def gains(self) -> bool:
        """Whether the adapter is worth keeping."""
        return all(
            self.after[tier]["mouth"] >= before["mouth"] + MIN_GAIN_DB
            and self.after[tier]["canvas"] >= before["canvas"]
            for tier, before in self.before.items()
        )


@dataclass(frozen=True)
class Shots:
    """The video's frames as the network takes them; N of them."""

    parameters: Tensor
    flow: Tensor
    texture: Tensor
    source: Tensor
    """[1, 3, 352, 288]."""
    constants: Tensor
    """[1, 80]."""
    truth: Tensor
    """[N, 3, 256, 192] levels, in the portrait's light."""

    def shown(self, networks: Networks, which: NDArray[np.int64], adapter: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """For each tier, what is shown [n, 3, 256, 192] of some frames before it and after it."""
        chosen = torch.from_numpy(which)
        count = len(which)
        parameters, flow = self.parameters[chosen], self.flow[chosen].float()
        source, constants = self.source.expand(count, -1, -1, -1), self.constants.expand(count, -1)
        own = adapter.expand(count, -1)
        texture = self.texture[chosen].float()
        pictures = {}
        for tier, network in networks.items():  # `fast` comes first, and the others better its answer
            better = network.refined(parameters, flow, texture, source, constants, own)
            pictures[tier] = compose(flow, texture, source), compose(flow, better, source)
            if tier == "fast":
                texture = better
        return pictures


def split(seconds: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Frames to learn from, to stop by and to keep out, in blocks of time: neighbours are too alike to judge by.

    Raises:
        ValueError: the video is shorter than eight blocks.
    """
    # A video of many minutes is sampled thinly; short ones have at least eight blocks, also where the face is away.
    steps = np.diff(seconds)
    seen = np.r_[0.0, np.cumsum(np.minimum(steps, np.median(steps)))]
    length = max(float(seen[-1]), 1e-6)
    block = np.floor(seen / min(BLOCK_SECONDS, length / 8.0 + 1e-6) + 1e-9).astype(np.int64)
    if len(np.unique(block)) < 8:
        raise ValueError(f"the video's frames fill {len(np.unique(block))} blocks of time, at least 8 are needed")
    order = np.searchsorted(np.unique(block), block)
    judge, stop = order % 4 == 3, order % 8 == 1
    return tuple(np.flatnonzero(which) for which in (~judge & ~stop, stop, judge))  # type: ignore[return-value]


def matched_light(truth: Tensor, shown: Tensor, still: Tensor) -> Tensor:
    """Frames [N, 3, H, W] brought to the portrait's exposure and white balance: a factor on each channel of each frame.

    Args:
        truth: what the video shows, levels.
        shown: what the avatar shows.
        still: [N, 1, H, W] weight of the pixels that little is painted over.
    """
    over = (still * truth * shown).sum((2, 3), keepdim=True)
    under = (still * truth * truth).sum((2, 3), keepdim=True).clamp(min=1.0)
    return truth * (over / under).clamp(0.5, 2.0)


def prepare(tensors: Mapping[str, NDArray[Any]], tracked: Tracked) -> Shots:
    """Draw the avatar's rough canvas of the video's parameters, and bring the video into its light."""
    plain = {**tensors, "AVATAR_ADAPTER": np.zeros(ADAPTER_SIZE, dtype=np.float32)}
    made = draw({name: value.copy() for name, value in plain.items()}, tracked.parameters)
    flow, texture = (torch.from_numpy(made[name]) for name in ("flow", "texture"))
    source = source_of(torch.from_numpy(np.array(tensors["AVATAR_PHOTO"]))[None])
    truth = torch.from_numpy(tracked.canvas).float()
    with torch.no_grad():
        lit = []
        for first in range(0, len(truth), 16):
            part = slice(first, first + 16)
            count = len(flow[part])
            given = flow[part].float(), texture[part].float(), source.expand(count, -1, -1, -1)
            shown = compose(*given)
            cover = texture[part, 3:].float().abs()
            lit.append(matched_light(truth[part], shown, (1.0 - 4.0 * cover).clamp(min=0.0)))
    constants = torch.from_numpy(np.array(tensors["AVATAR_CONSTANTS"], dtype=np.float32))[None]
    return Shots(torch.from_numpy(tracked.parameters), flow, texture, source, constants, torch.cat(lit))


def quality(networks: Networks, shots: Shots, which: NDArray[np.int64], adapter: Tensor) -> dict[str, dict[str, float]]:
    """PSNR (dB) by tier and region of what the networks show of some frames."""
    total = {tier: dict.fromkeys(REGIONS, 0.0) for tier in networks}
    with torch.no_grad():
        for first in range(0, len(which), BATCH):
            chosen = which[first : first + BATCH]
            for tier, (_, shown) in shots.shown(networks, chosen, adapter).items():
                error = (shown.clamp(0.0, 255.0) - shots.truth[torch.from_numpy(chosen)]) ** 2
                for name, (left, top, right, bottom) in REGIONS.items():
                    total[tier][name] += float(error[:, :, top:bottom, left:right].mean((1, 2, 3)).sum())
    return {
        tier: {name: float(10.0 * np.log10(255.0**2 / max(value / len(which), 1e-9))) for name, value in own.items()}
        for tier, own in total.items()
    }


def tune(networks: Networks, shots: Shots, seconds: NDArray[np.float64], steps: int, seed: int = 0) -> Course:
    """Find the adapter of one person.

    Raises:
        ValueError: the video is too short to be split.
    """
    learn, stop, judge = split(seconds)
    chance = np.random.default_rng(seed)
    for network in networks.values():
        network.requires_grad_(False)
    adapter = torch.zeros(1, ADAPTER_SIZE, requires_grad=True)
    stepper = torch.optim.Adam([adapter], lr=RATE)
    nobody = torch.zeros(1, ADAPTER_SIZE)
    before = quality(networks, shots, judge, nobody)
    best, best_score = nobody, _score(quality(networks, shots, stop, nobody))
    print(f"{len(learn)} frames to learn from; frames to stop by at {best_score:.2f} dB", flush=True)
    for step in range(1, steps + 1):
        chosen = np.sort(chance.choice(learn, min(BATCH, len(learn)), replace=False))
        truth = shots.truth[torch.from_numpy(chosen)]
        losses = [
            refiner_loss(shown, was.detach(), truth) for was, shown in shots.shown(networks, chosen, adapter).values()
        ]
        loss = torch.stack(losses).mean() + DECAY * (adapter**2).mean()
        stepper.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        stepper.step()
        if step % CHECK_EVERY == 0 or step == steps:
            now = _score(quality(networks, shots, stop, adapter.detach()))
            print(f"step {step} of {steps}: loss {loss.item():.4f}, frames to stop by at {now:.2f} dB", flush=True)
            if now > best_score:
                best, best_score = adapter.detach().clone(), now
    after = quality(networks, shots, judge, best)
    return Course(best[0].numpy().astype(np.float32), before, after, (len(learn), len(stop), len(judge)))


def _score(decibels: Mapping[str, Mapping[str, float]]) -> float:
    return float(np.mean([0.5 * (own["mouth"] + own["canvas"]) for own in decibels.values()]))


def trained_networks() -> dict[str, Refiner]:
    """All tiers that have weights.

    Raises:
        ValueError: `fast` has none.
    """
    if not weights_path("fast").is_file():
        raise ValueError(f"{weights_path('fast')} is missing: an untrained network has nothing to tune")
    return {tier: make_refiner(tier) for tier in trained_tiers()}


def personalised(
    manifest: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], course: Course, video: Path
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Manifest and tensors of the tuned avatar."""
    gained = {
        tier: {name: round(course.after[tier][name] - before[name], 3) for name in REGIONS}
        for tier, before in course.before.items()
    }
    told = {
        "personalised": {
            "video": video.name,
            "frames": list(course.frames),
            "gain_db": gained,
            "weights": weights_checksum(course.before),
        }
    }
    label = {key: value for key, value in manifest.items() if key != "tensors"}
    return {**label, "quality": {**manifest.get("quality", {}), **told}}, {**tensors, "AVATAR_ADAPTER": course.adapter}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code: 0 if a bundle was written, 1 if there was nothing to gain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("avatar", type=Path, metavar="AVATAR", help="the person's bundle")
    parser.add_argument("--video", type=Path, required=True, metavar="FILE", help="the same person, speaking")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="bundle to write")
    parser.add_argument("--frames", type=int, default=FRAMES, metavar="N", help="of the video, at most")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N")
    options = parser.parse_args(arguments)
    for name, least in (("frames", FEWEST), ("steps", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name} is {getattr(options, name)}, expected at least {least}")
    if options.output.suffix != BUNDLE_SUFFIX:
        parser.error(f"--output {options.output}: a bundle's name ends in {BUNDLE_SUFFIX}")
    try:
        networks = trained_networks()
        bundle = load_bundle(options.avatar)
        tracked = track(options.video, Tracker(bundle.tensors, load_face_model()), options.frames)
        print(
            f"{options.video}: {len(tracked.parameters)} frames followed, {tracked.left_out} left out;"
            f" landmarks {tracked.error_px:.2f} px off (median)",
            flush=True,
        )
        shots = prepare(bundle.tensors, tracked)
        course = tune(networks, shots, tracked.seconds, options.steps)
    except (BundleError, PhotoError, ValueError) as error:
        parser.error(str(error))
    learned, stopped, judged = course.frames
    print(f"learned from {learned} frames, stopped by {stopped}; {judged} frames kept out:")
    for tier, before in course.before.items():
        for name in REGIONS:
            after = course.after[tier][name]
            print(f"  {tier:8s} {name:6s} {before[name]:.2f} dB -> {after:.2f} dB ({after - before[name]:+.2f})")
    if not course.gains:
        print(f"nothing written: less than {MIN_GAIN_DB} dB gained about the mouth, or the canvas lost")
        return 1
    manifest, tensors = personalised(bundle.manifest, bundle.tensors, course, options.video)
    try:
        save_bundle(options.output, tensors, manifest)
    except OSError as error:
        parser.error(f"--output {options.output}: cannot be written ({error.strerror})")
    print(f"wrote {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
