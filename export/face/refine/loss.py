"""What the refiner is trained for: pictures as sharp as the truth, and never worse than what it was given.

No network judges here, since one that knows pictures would have to be had from elsewhere. Differences are taken over a
Laplacian pyramid, so that detail weighs as much as brightness, and in absolute value, so that the truth's edge that
lies a pixel aside is not answered with a blur between both places.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from facestream.avatar import layers_canvas as canvas
from torch import Tensor

LEVELS: Final = 4
LEVEL_WEIGHTS: Final = (1.0, 1.0, 0.8, 1.2, 1.2)
"""Of the bands of the Laplacian pyramid, finest first, and of what remains."""
SOFTNESS: Final = (1e-3, 1e-3, 1e-3, 0.25, 0.25)
"""Squared size below which an error of each band counts by its square. In the coarse ones that is all but the largest:
where a photo does not tell the light, their mean is the best guess, and it cannot blur an edge."""
SCALE: Final = 1.0 / 16.0
WORSE: Final = 1.0
"""Weight of an error that was not there before."""
OWN_DETAIL: Final = (1.0, 0.5)
"""Of the finest bands: how far skin and hair are to keep the detail that the photo gives them. The truth's is no
example there: path tracing leaves noise, and what takes the noise away takes pores and stubble with it."""
EFFORT: Final = 0.01
"""Weight of the correction itself: where it gains nothing, there is to be none."""

MOUTH: Final = (30, 100, 162, 212)
EYES: Final = (8, 4, 184, 62)
"""Left, top, right and bottom (px of the canvas) of what an observer looks at."""
MOUTH_WEIGHT: Final = 2.0
EYES_WEIGHT: Final = 1.5


def region_weights() -> Tensor:
    """Weight [1, 1, 256, 192] of each pixel: mouth and eyes more, with soft borders, mean 1."""
    weights = torch.ones(1, 1, canvas.CANVAS_HEIGHT, canvas.CANVAS_WIDTH)
    for (left, top, right, bottom), more in ((MOUTH, MOUTH_WEIGHT), (EYES, EYES_WEIGHT)):
        weights[:, :, top:bottom, left:right] += more
    weights = F.avg_pool2d(F.pad(weights, (8, 8, 8, 8), mode="replicate"), 17, 1)
    return weights / weights.mean()


def pyramid(picture: Tensor, levels: int = LEVELS) -> list[Tensor]:
    """Bands [B, C, h, w] of a Laplacian pyramid, finest first, then what remains."""
    bands = []
    for _ in range(levels):
        small = F.avg_pool2d(picture, 2)
        bands.append(picture - F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False))
        picture = small
    return [*bands, picture]


def weight_pyramid() -> list[Tensor]:
    """region_weights at the resolution of each band."""
    weights = [region_weights()]
    for _ in range(LEVELS - 1):
        weights.append(F.avg_pool2d(weights[-1], 2))
    return [*weights, F.avg_pool2d(weights[-1], 2)]


_PYRAMID: Final = weight_pyramid()


def with_own_detail(before: Tensor, truth: Tensor, cover: Tensor) -> Tensor:
    """Path-traced `truth` with the detail of `before` [B, 3, 256, 192] where geometry shows the photo, not its paint.

    `cover` [B, 1, 256, 192] says how much of each pixel is paint.
    """
    *bands, _ = pyramid(before - truth, len(OWN_DETAIL))
    for band, share in zip(bands, OWN_DETAIL, strict=True):
        finer = F.interpolate(band, size=truth.shape[2:], mode="bilinear", align_corners=False)
        truth = truth + share * (1.0 - cover) * finer
    return truth


def refiner_loss(shown: Tensor, before: Tensor, truth: Tensor) -> Tensor:
    """Mean loss of refined pictures `shown`, made from `before`; [B, 3, 256, 192] levels each."""
    now, was = pyramid((shown - truth) * SCALE), pyramid((before - truth) * SCALE)
    total = shown.new_zeros(())
    for weight, softness, band, old, region in zip(LEVEL_WEIGHTS, SOFTNESS, now, was, _PYRAMID, strict=True):
        wrong = robust(band, softness).mean(1, keepdim=True)
        # Neighbourhoods, not pixels: a pixel may get worse where those around it get better.
        worse = torch.relu(local_mean(wrong) - local_mean(robust(old, softness).mean(1, keepdim=True)))
        total = total + weight * (region * (wrong + WORSE * worse)).mean()
    return total + EFFORT * ((shown - before).abs() * SCALE).mean()


def robust(error: Tensor, softness: float) -> Tensor:
    """Absolute value with a round bottom."""
    return torch.sqrt(error * error + softness)


def local_mean(error: Tensor) -> Tensor:
    """Mean of 5 x 5 pixels."""
    return F.avg_pool2d(error, 5, 1, 2, count_include_pad=False)
