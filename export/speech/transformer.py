"""A light causal transformer with attention of bounded reach (Vaswani et al. 2017; Beltagy et al. 2020, "Longformer").

Each layer attends from a step to itself and the few steps before it. What each distance adds to a score is learnt,
beginning with what ALiBi gives it (Press et al. 2022: the further, the less, with a slope of its own for each head).
With the reach bounded per layer the whole past of an answer fits into the window that the server sends, so training
over passages and serving over windows agree, and the served graph computes the few steps that the last one needs.

Training attends by masked matrix products over a passage. The served graph has no products of two computed matrices
and no masks: TensorRT-RTX builds no fp32 GEMM for Turing. There every projection is a convolution of width 1, and each
query lies beside the keys that it sees, multiplied and summed over the channels.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS: Final = 4
REACHES: Final = (11, 11)
"""Steps before its own that each layer sees: 183 ms."""

EXPANSION: Final = 4
DROPPED: Final = 0.05
"""Share of the features that training drops."""
OUTSIDE: Final = -1e4
"""Score of a step that may not be seen; its softmax is 0 in fp16, too."""


class LocalAttention(nn.Module):
    """Pre-norm transformer layer of bounded reach; takes no padding, so the output is `reach` steps shorter."""

    def __init__(self, width: int, reach: int, heads: int = HEADS) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width is {width}, expected a multiple of the {heads} attention heads")
        self.reach = reach
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.mix = nn.Linear(width, width)
        slopes = 2.0 ** (-4 * (torch.arange(heads) + 1.0) / heads)
        self.distances = nn.Parameter(-slopes[None, :, None, None] * torch.arange(reach, -1, -1))
        """[1, heads, 1, reach + 1]: what is added to the score of the step so far back, the furthest first."""
        self.forward_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, EXPANSION * width)
        self.narrow = nn.Linear(EXPANSION * width, width)
        self.dropout = nn.Dropout(DROPPED)

    def bias(self, steps: int) -> Tensor:
        """Return what is added to the scores: [heads, steps - reach, steps], query i standing at step i + reach."""
        place = torch.arange(steps)[None] - torch.arange(steps - self.reach)[:, None]  # among the steps that it sees
        seen = (place >= 0) & (place <= self.reach)
        added = self.distances[0, :, 0, place.clamp(0, self.reach)]
        return torch.where(seen, added, torch.full_like(added, OUTSIDE))

    def _masked(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend by matrix products: query [batch, heads, steps - reach, size], key and value [..., steps, size]."""
        scores = query @ key.transpose(2, 3) + self.bias(key.shape[2])
        return torch.softmax(scores, dim=-1) @ value

    def _gathered(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The same without a matrix product: each query beside copies of the keys and values that it sees."""
        count = query.shape[2]
        seen = (torch.arange(count)[:, None] + torch.arange(self.reach + 1)).flatten()
        shape = (*key.shape[:2], count, self.reach + 1, key.shape[3])
        keys, values = (x.index_select(2, seen).reshape(shape) for x in (key, value))
        scores = (query[:, :, :, None] * keys).sum(4) + self.distances  # [batch, heads, steps - reach, reach + 1]
        return (torch.softmax(scores, dim=3)[..., None] * values).sum(3)

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
        attended = (self._masked if self.training else self._gathered)(query, key, value)
        attended = attended.transpose(1, 2).reshape(batch, steps - self.reach, width)
        x = x[:, self.reach :] + self.dropout(self._project(self.mix, attended))
        wide = functional.gelu(self._project(self.widen, self.forward_norm(x)))
        y: Tensor = x + self.dropout(self._project(self.narrow, wide))
        return y


class TemporalTransformer(nn.Module):
    """Features [batch, width, n] to [batch, width, n - reach], each of its own step and the `reach` before it."""

    def __init__(self, width: int, reaches: tuple[int, ...] = REACHES) -> None:
        super().__init__()
        self.layers = nn.ModuleList(LocalAttention(width, reach) for reach in reaches)
        self.norm = nn.LayerNorm(width)
        self.reach = sum(reaches)  # 22 steps

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x).transpose(1, 2)
        return x
