"""Causal temporal convolutions (Bai, Kolter & Koltun 2018, "An Empirical Evaluation of Generic Convolutional and
Recurrent Networks for Sequence Modeling").
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn
from torch.nn import functional

DILATIONS: Final = (8, 1, 2)
DROPPED: Final = 0.05
"""Share of the channels that training drops: little, for the lines that are trained on fit no better than others."""


class CausalBlock(nn.Module):
    """Residual block of a dilated convolution; takes no padding, so the output is `reach` steps shorter."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.reach = 2 * dilation
        self.dilated = nn.Conv1d(channels, channels, 3, dilation=dilation)
        self.norm = nn.BatchNorm1d(channels)
        self.mix = nn.Conv1d(channels, channels, 1)
        self.dropout = nn.Dropout1d(DROPPED)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mix(functional.gelu(self.norm(self.dilated(x))))
        y = x[:, :, self.reach :] + self.dropout(y)
        return y


class ChannelBlock(nn.Module):
    """Residual block that mixes the channels of each step by itself, through twice as many."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.widen = nn.Conv1d(channels, 2 * channels, 1)
        self.norm = nn.BatchNorm1d(2 * channels)
        self.narrow = nn.Conv1d(2 * channels, channels, 1)
        self.dropout = nn.Dropout1d(DROPPED)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.dropout(self.narrow(functional.gelu(self.norm(self.widen(x)))))
        return y


class TemporalConvolution(nn.Module):
    """Features [batch, width, n] to [batch, width, n - reach], each of its own step and the `reach` before it."""

    def __init__(self, width: int, dilations: tuple[int, ...] = DILATIONS) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(CausalBlock(width, dilation) for dilation in dilations)
        self.reach = sum(2 * dilation for dilation in dilations)  # 22 steps

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return functional.gelu(x)
