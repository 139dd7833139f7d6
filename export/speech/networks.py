"""Encoder and expression together: as they are trained, and as they lie in a model repository."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import torch
from facestream.contract import LOOKAHEAD_FRAMES
from onnx import numpy_helper
from torch import Tensor, nn

from export.network_files import network_file
from export.speech.encoder import SpeechEncoder
from export.speech.expression import LOOKAHEADS, TEMPORAL, Expression
from export.speech.loss import lips_loss
from export.speech.passages import Batch

STAGES = {"encoder": "speech_encoder", "expression": "expression"}
"""The stage that serves each part of the networks."""


class Networks(nn.Module):
    """Encoder and expression as they are trained: mel passages to logits for all look-aheads."""

    def __init__(self, temporal: str = "tcn") -> None:
        super().__init__()
        self.encoder = SpeechEncoder()
        self.expression = Expression(temporal=temporal)
        self.past = self.encoder.reach + self.expression.reach
        """Steps before its own that an answer depends on."""

    def forward(self, mel: Tensor) -> list[Tensor]:
        """Compressed mel [batch, 64, 2n] to logits [batch, 3, 20, n - reach], one for each of LOOKAHEADS."""
        return self.expression.logits(self.encoder.encode(mel).transpose(1, 2))

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean loss of one batch."""
        with torch.autocast("cpu", torch.bfloat16):
            logits = self(batch.mel)
        return lips_loss(logits, batch.lips, batch.visemes, self.past, batch.noise, batch.twins)


def served(repository: Path) -> Networks:
    """Return the networks of a model repository's stages, ready to run.

    A file holds the served look-ahead's head alone: the others are copies of it. The batch norms are part of the
    weights before them there, and do nothing here (see `norms_of`).

    Raises:
        FileNotFoundError: a stage has no file.
        ValueError: the files hold networks of another shape.
    """
    found: dict[str, Tensor] = {}
    for part, stage in STAGES.items():
        file = network_file(repository, stage)
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing, expected the network of the stage {stage}")
        for weight in onnx.load(file).graph.initializer:
            found[f"{part}.{weight.name}"] = torch.tensor(numpy_helper.to_array(weight))
    for frames in range(len(LOOKAHEADS)):
        for kind in ("weight", "bias"):
            head = found.get(f"expression.heads.{LOOKAHEAD_FRAMES}.{kind}")
            if head is not None:
                found[f"expression.heads.{frames}.{kind}"] = head
    for temporal in TEMPORAL:
        networks = Networks(temporal)
        shapes = {name: own.shape for name, own in networks.state_dict().items()}
        folded = {f"{norm}.{name}" for norm, module in norms_of(networks) for name in module.state_dict()}
        if all(name in folded or (name in found and found[name].shape == shapes[name]) for name in shapes):
            networks.load_state_dict({name: found[name] for name in shapes.keys() - folded}, strict=False)
            for _, norm in norms_of(networks):
                nn.init.constant_(norm.weight, math.sqrt(1 + norm.eps))
            networks.eval()
            return networks
    raise ValueError(
        f"the networks of {repository} have another shape than today's {' and '.join(TEMPORAL)}: "
        "go on from a checkpoint"
    )


def norms_of(networks: nn.Module) -> list[tuple[str, nn.BatchNorm1d]]:
    """The batch norms of networks, by their names."""
    return [(name, module) for name, module in networks.named_modules() if isinstance(module, nn.BatchNorm1d)]


@torch.inference_mode()
def fit_norms(networks: Networks, mel: Tensor) -> None:
    """Have batch norms that do nothing expect what passages `mel` [batch, 64, 2n] give them, and still do nothing.

    Only then can training go on: there they work with each batch's own mean and spread.
    """
    for _, norm in norms_of(networks):

        def measure(module: nn.BatchNorm1d, inputs: tuple[Tensor, ...]) -> None:
            spread, mean = torch.var_mean(inputs[0], dim=(0, 2), correction=0)
            module.running_mean, module.running_var = mean, spread
            module.bias.copy_(mean)
            module.weight.copy_((spread + module.eps).sqrt())

        hook = norm.register_forward_pre_hook(measure)
        networks.eval()(mel)
        hook.remove()
