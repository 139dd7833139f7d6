"""Random numbers for augmentation, all from one seeded generator."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


class Draws:
    """Base of what changes a batch at random: the same generator state, the same changes."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator) * (high - low) + low

    def _chance(self, probability: float, *shape: int) -> Tensor:
        return (torch.rand(*shape, generator=self.generator) < probability).float()

    def _curve(self, batch: int, length: int, knots: int, spread: float) -> Tensor:
        """Smooth random curves [batch, length] of standard deviation `spread`."""
        drawn = torch.randn(batch, 1, knots, generator=self.generator) * spread
        return functional.interpolate(drawn, length, mode="linear", align_corners=True)[:, 0]
