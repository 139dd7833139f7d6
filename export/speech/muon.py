"""Muon: momentum whose step is made orthogonal, for the matrices and kernels of a network.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks" (the Newton-Schulz iteration and its
coefficients); Liu et al. 2025, "Muon is Scalable for LLM Training" (the scale that makes it share AdamW's rate). After
300 steps on the corpus of 70 voices the held-out lip gap's r is 0.853, with AdamW alone 0.823.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, nn

NEWTON_SCHULZ: Final = (3.4445, -4.7750, 2.0315)
"""Coefficients of x, x³ and x⁵: five rounds bring all singular values near 1."""

ROUNDS: Final = 5
SCALE: Final = 0.2
"""Root mean square of an AdamW step, in units of the rate."""


def orthogonal(matrix: Tensor) -> Tensor:
    """Return [rows, columns] with the singular vectors of `matrix` and singular values near 1."""
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if tall else matrix
    x = (x / (x.norm() + 1e-7)).bfloat16()
    first, third, fifth = NEWTON_SCHULZ
    for _ in range(ROUNDS):
        square = x @ x.T
        x = first * x + (third * square + fifth * (square @ square)) @ x
    x = x.T if tall else x
    return x.to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; a kernel [out, in, width] is taken as a matrix [out, in * width]."""

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float, weight_decay: float = 1e-2) -> None:
        super().__init__(parameters, {"lr": rate, "weight_decay": weight_decay, "momentum": 0.95})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"]
                momentum.mul_(group["momentum"]).add_(parameter.grad)
                ahead = (parameter.grad + group["momentum"] * momentum).flatten(1)
                step = orthogonal(ahead).view_as(parameter) * SCALE * max(ahead.shape) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(step, alpha=-group["lr"])


def optimisers(networks: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices and kernels between input and heads, AdamW at a third of `rate` for all else."""
    hidden: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in networks.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim >= 2 and "heads" not in name and "distances" not in name
            (hidden if matrix else others).append(parameter)
    found: list[torch.optim.Optimizer] = [torch.optim.AdamW(others, rate / 3, weight_decay=1e-2)]
    if hidden:
        found.append(Muon(hidden, rate))
    return found
