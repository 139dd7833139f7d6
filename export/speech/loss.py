"""What the speech networks are trained for."""

from __future__ import annotations

import math
from typing import Final

import torch
from facestream.contract import LOOKAHEAD_FRAMES
from torch import Tensor
from torch.nn import functional

from export.speech.articulation import ArticulationLayer
from export.speech.expression import LOOKAHEADS, SHUTTER, over_shutter
from export.speech.passages import SILENCE
from export.speech.phonemes import VISEMES
from export.speech.targets import CURVES

LEAD_STEPS: Final = 0.75
"""By how much an answer is ahead of its frame, 12.5 ms: so late come the lips out of the smoothing of `motion`."""

MISSED: Final = (24.0, 2.5)
"""Weight of a missed closure in clean speech and in noise: lips left open on p, b, m are seen, extra closures hardly.

In noise p, t and k sound alike, and lips that met for all of them would stammer."""

NOISE_DB: Final = (-25.0, -10.0)
"""Level of the noise against the speech up to which it counts as clean, and from which on as noisy."""

CORRELATION_WEIGHT: Final = 0.3
"""Of 1 - r of a passage's gap: what the judge looks at first, and what no error of scale hides."""

LEAST_VARIANCE: Final = 1e-3
"""Of a wanted gap: below it nobody speaks, and there is nothing to correlate."""

SHOWN_WEIGHT: Final = 1.0
"""Of the opening that the articulation layer shows for the answer: what its gates cost is learnt with them."""

REST_WEIGHT: Final = 1.0
"""Of an opening shown in silence."""

LEVEL_WEIGHT: Final = 600.0
"""Of the difference between two answers to one passage at two levels."""

OTHERS_WEIGHT: Final = 0.03
"""Weight of each look-ahead that is not served; the served one has what is left to 1."""

NOISE_WEIGHT: Final = 0.1
"""Of the answer whether noise lies over the speech."""


def uncorrelated(gap: Tensor, wanted: Tensor) -> Tensor:
    """Return 1 - r of `gap` with `wanted` [batch, n], mean over the passages in which the lips are to move."""
    gap, wanted = gap - gap.mean(1, keepdim=True), wanted - wanted.mean(1, keepdim=True)
    variance = wanted.square().mean(1)
    speaks = (variance > LEAST_VARIANCE).float()
    r = (gap * wanted).mean(1) / (gap.square().mean(1) * variance + 1e-6).sqrt()
    return ((1 - r) * speaks).sum() / speaks.sum().clamp(min=1)


def led(curves: Tensor, lookahead: int, past: int) -> Tensor:
    """Return what answers with `lookahead` are held to: `curves` [..., n] at their instants, [..., n - past].

    The last answer stands at the last of n steps and is for `lookahead` - LEAD_STEPS steps before. What comes after the
    n steps, which a short look-ahead is asked for, is as the last one is.
    """
    whole = math.floor(LEAD_STEPS)
    part = LEAD_STEPS - whole
    before, behind = (_later(curves, more - lookahead, past) for more in (whole, whole + 1))
    return (1 - part) * before + part * behind


def _later(steps: Tensor, count: int, past: int) -> Tensor:
    """Return `steps` [..., n] taken `count` steps later (before, where negative), but for the first `past` of them."""
    n = steps.shape[-1]
    return steps[..., (torch.arange(past, n) + count).clamp(max=n - 1)]


def noisiness(noise: Tensor) -> Tensor:
    """How much `noise`, its power against the speech's, is in the way: 0 .. 1."""
    decibels = 10 * torch.log10(noise + 1e-6)
    return ((decibels - NOISE_DB[0]) / (NOISE_DB[1] - NOISE_DB[0])).clamp(0, 1)


def missed_weights(noise: Tensor) -> Tensor:
    """Weights [batch, 2, 1] of a missed closure and of a missed f or v where `noise` [batch] is under the speech."""
    closures = MISSED[0] + (MISSED[1] - MISSED[0]) * noisiness(noise)
    return torch.stack([closures, torch.ones_like(closures)], 1)[:, :, None]


def shown_loss(output: Tensor, gap: Tensor, classes: Tensor) -> Tensor:
    """Mean loss of the opening that is shown for `output` [batch, 3, 20, n]: wanted are `gap`, `classes` [batch, n]."""
    curves, chances, noise = torch.split(output, [len(CURVES), len(VISEMES), 1], dim=2)
    shapes = torch.cat([curves[:, :, :2], torch.sigmoid(curves[:, :, 2:])], 2).flatten(0, 1)
    # The gates learn to live with the noise that is heard; they do not say what is noise.
    gates = ArticulationLayer.gates(
        shapes, torch.softmax(chances, 2).flatten(0, 1), torch.sigmoid(noise.detach()).flatten(0, 1)
    )
    shown = over_shutter(ArticulationLayer.opening(shapes, gates))[:, 0]
    wanted = ((gap - ArticulationLayer.REST_GAP) * ArticulationLayer.GAIN).clamp(0, 1)
    silent = ((classes == SILENCE) & (wanted <= 0)).float()
    return (
        2 * functional.mse_loss(shown, wanted)
        + CORRELATION_WEIGHT * uncorrelated(shown, gap)
        + REST_WEIGHT * (shown * silent).mean()
    )


def instant_loss(output: Tensor, shapes: Tensor, classes: Tensor, missed: Tensor) -> Tensor:
    """Mean loss of the answers `output` [batch, 20, n] for one instant each.

    Wanted are the curves `shapes` [batch, 4, n] and the visemes `classes` [batch, n]; `missed` [batch, 2, 1] weighs
    closures and bitten lips that were not heard.
    """
    chances = output[:, len(CURVES) : len(CURVES) + len(VISEMES)]
    return (
        4 * functional.mse_loss(output[:, 0], shapes[:, 0])
        + CORRELATION_WEIGHT * uncorrelated(output[:, 0], shapes[:, 0])
        + 20 * functional.mse_loss(output[:, 0].diff(dim=1), shapes[:, 0].diff(dim=1))
        + functional.mse_loss(output[:, 1], shapes[:, 1])
        + 0.5 * functional.binary_cross_entropy_with_logits(output[:, 2:4], shapes[:, 2:4], pos_weight=missed)
        + 0.15 * functional.cross_entropy(chances, classes)
    )


def weight_of(frames: int) -> float:
    """Weight of the look-ahead of so many frames; those of LOOKAHEADS sum to 1."""
    return 1 - OTHERS_WEIGHT * (len(LOOKAHEADS) - 1) if frames == LOOKAHEAD_FRAMES else OTHERS_WEIGHT


def noise_loss(heard: Tensor, noise: Tensor, visemes: Tensor) -> Tensor:
    """Mean loss of the answers `heard` [batch, ...] whether noise lies over the speech, where anybody speaks."""
    shape = (-1, *[1] * (heard.dim() - 1))
    speaks = (visemes != SILENCE).any(1).float().reshape(shape).expand_as(heard)
    return functional.binary_cross_entropy_with_logits(heard, noisiness(noise).reshape(shape).expand_as(heard), speaks)


def lips_loss(
    logits: list[Tensor], lips: Tensor, visemes: Tensor, past: int, noise: Tensor | None = None, twins: int = 0
) -> Tensor:
    """Mean loss over the look-aheads.

    `logits` holds [batch, 3, 20, m] for each of LOOKAHEADS, the last of m standing at the last step of `lips`
    [batch, 4, n] and `visemes` [batch, n], and answers for LOOKAHEADS less LEAD_STEPS before, the first and the last of
    the shutter's three a step earlier and later. `past` says how many of the n steps come first that an answer may
    depend on but is not asked for. `noise` [batch] is its power against the speech's, as loud as that where not given;
    the last `twins` passages are those before them at another level.
    """
    missed = missed_weights(torch.ones(len(lips)) if noise is None else noise)
    total = torch.zeros(())
    steps = lips.shape[2]
    for frames, (lookahead, output) in enumerate(zip(LOOKAHEADS, logits, strict=True)):
        weight = weight_of(frames)
        output = output[..., past - steps :].float()
        for instant in range(len(SHUTTER)):
            ago = lookahead - (instant - len(SHUTTER) // 2)
            shapes = led(lips, ago, past)
            classes = _later(visemes, round(LEAD_STEPS) - ago, past)
            total = total + weight / len(SHUTTER) * instant_loss(output[:, instant], shapes, classes, missed)
            if frames == LOOKAHEAD_FRAMES and ago == lookahead:
                total = total + SHOWN_WEIGHT * shown_loss(output, shapes[:, 0], classes)
        if noise is not None:
            total = total + weight * NOISE_WEIGHT * noise_loss(output[:, :, -1], noise, visemes)
        if twins:
            apart = output[-2 * twins : -twins, :, 0] - output[-twins:, :, 0]
            total = total + weight * LEVEL_WEIGHT * twins / len(output) * apart.square().mean()
    return total
