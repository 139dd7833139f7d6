"""A light causal transformer with attention of bounded reach (Vaswani et al. 2017; Beltagy et al. 2020, "Longformer").

Each layer attends from a step to itself and the few steps before it, as ALiBi weighs them (Press et al. 2022: the
further, the less, with a slope of its own for each head) plus a learned bias for each distance. With the reach bounded
per layer the whole past of an answer fits into the window that the server sends, so training over passages and serving
over windows agree, and the served graph computes the few steps that the last one needs.

Training attends by masked matrix products over a passage. The served graph has no products of two computed matrices
and no masks: TensorRT-RTX builds no fp32 GEMM for Turing. There every projection is a convolution of width 1, and a
score is a product with the key so many steps before, summed over the channels.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYERS: Final = 2
HEADS: Final = 4
REACH: Final = 11
"""Steps before its own that one layer sees: 183 ms."""

EXPANSION: Final = 4
DROPPED: Final = 0.05
"""Share of the features that training drops."""
OUTSIDE: Final = -1e4
"""Score of a step that may not be seen; its softmax is 0 in fp16, too."""


class LocalAttention(nn.Module):
    """Pre-norm transformer layer of bounded reach; takes no padding, so the output is `reach` steps shorter."""

    slopes: Tensor

    def __init__(self, width: int, heads: int = HEADS, reach: int = REACH) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width is {width}, expected a multiple of the {heads} attention heads")
        self.reach = reach
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.mix = nn.Linear(width, width)
        self.near = nn.Parameter(torch.zeros(heads, reach + 1))
        """Learned bias for each distance, 0 .. reach steps back."""
        slopes = torch.tensor([2.0 ** (-4 * (head + 1) / heads) for head in range(heads)])
        self.register_buffer("slopes", slopes, persistent=False)
        self.forward_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, EXPANSION * width)
        self.narrow = nn.Linear(EXPANSION * width, width)
        self.dropout = nn.Dropout(DROPPED)

    def bias(self, steps: int) -> Tensor:
        """Return what is added to the scores: [heads, steps - reach, steps], query i standing at step i + reach."""
        back = torch.arange(self.reach, steps)[:, None] - torch.arange(steps)[None]  # how far before the query
        seen = (back >= 0) & (back <= self.reach)
        nearest = back.clamp(0, self.reach)
        weighed = self.near[:, nearest] - self.slopes[:, None, None] * nearest
        return torch.where(seen[None], weighed, torch.full_like(weighed, OUTSIDE))

    def _masked(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend by matrix products: query [batch, heads, steps - reach, size], key and value [..., steps, size]."""
        scores = query @ key.transpose(2, 3) + self.bias(key.shape[2])
        return torch.softmax(scores, dim=-1) @ value

    def _sliced(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The same, one distance after the other, without a matrix product."""
        count = query.shape[2]
        scores = [
            (query * key[:, :, first : first + count]).sum(3, keepdim=True)
            + (self.near[:, self.reach - first] - self.slopes * (self.reach - first))[None, :, None, None]
            for first in range(self.reach + 1)
        ]  # each [batch, heads, steps - reach, 1]
        weights = torch.softmax(torch.cat(scores, dim=3), dim=3)
        attended = weights[..., :1] * value[:, :, :count]
        for first in range(1, self.reach + 1):
            attended = attended + weights[..., first : first + 1] * value[:, :, first : first + count]
        return attended

    def _project(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """Apply `layer` to x [batch, steps, width]."""
        if self.training:
            projected: Tensor = layer(x)
            return projected
        return functional.conv1d(x.transpose(1, 2), layer.weight[:, :, None], layer.bias).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        batch, steps, width = x.shape
        normed = self.norm(x)
        shape = (batch, -1, self.heads, width // self.heads)
        query = self._project(self.query, normed[:, self.reach :]).reshape(shape).transpose(1, 2)
        query = query * (width // self.heads) ** -0.5  # [batch, heads, steps - reach, 48]
        key, value = self._project(self.key_value, normed).chunk(2, dim=2)
        key, value = key.reshape(shape).transpose(1, 2), value.reshape(shape).transpose(1, 2)
        attended = (self._masked if self.training else self._sliced)(query, key, value)
        attended = attended.transpose(1, 2).reshape(batch, steps - self.reach, width)
        x = x[:, self.reach :] + self.dropout(self._project(self.mix, attended))
        wide = functional.gelu(self._project(self.widen, self.forward_norm(x)))
        y: Tensor = x + self.dropout(self._project(self.narrow, wide))
        return y


class TemporalTransformer(nn.Module):
    """Features [batch, width, n] to [batch, width, n - reach], each of its own step and the `reach` before it."""

    def __init__(self, width: int, layers: int = LAYERS) -> None:
        super().__init__()
        self.layers = nn.ModuleList(LocalAttention(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.reach = layers * REACH  # 22 steps

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x).transpose(1, 2)
        return x
