"""Expression: embeddings to the mouth of one frame.

It reads the last embedding's past alone and answers for the centre of a frame that lies some frames before the end of
the window: the more look-ahead, the more of what the lips prepare for is heard, and the later the picture. Heads for
0 to 3 frames are learnt together; the one for LOOKAHEAD_FRAMES is served.
"""

from __future__ import annotations

from typing import Final

import torch
from facestream.contract import EMBEDDING_SIZE, EMBEDDING_STEPS, FRAME_RATE, LOOKAHEAD_FRAMES
from torch import Tensor, nn

from export.speech.articulation import ArticulationLayer
from export.speech.phonemes import VISEMES
from export.speech.targets import CURVES, TARGET_RATE
from export.speech.tcn import TemporalConvolution
from export.speech.transformer import TemporalTransformer

WIDTH: Final = EMBEDDING_SIZE
"""Channels of the temporal model."""

TEMPORAL: Final[dict[str, type[TemporalConvolution | TemporalTransformer]]] = {
    "tcn": TemporalConvolution,
    "transformer": TemporalTransformer,
}
"""Temporal models by name; each takes its width and says its `reach`, the embedding steps of past that it needs."""

SHUTTER: Final = (0.25, 0.5, 0.25)
"""A shown frame is this mean of instants a step apart, the middle one in its middle, as a camera's open shutter gives
it. Each is answered for from all that is heard.

The lips are reckoned at 60 Hz and shown at 30: taken one by one, a gate that opens within a step is a twitch. Without
it the shown opening shakes 1.4 times as much as the wanted one."""

LOGITS: Final = len(CURVES) + len(VISEMES) + 1
"""Of one instant: the curves, the visemes, and whether noise lies over the speech."""

LOOKAHEADS: Final = tuple(round((frames + 0.5) / FRAME_RATE * TARGET_RATE) for frames in range(4))
"""Embedding steps from the centre of the shown frame to the end of the window, for 0, 1, 2 and 3 frames of
look-ahead: 1, 3, 5, 7 (17, 50, 83, 117 ms)."""


def over_shutter(instants: Tensor) -> Tensor:
    """Mean [batch, ...] of what is at each of the shutter's instants, [batch * 3, ...]."""
    each = instants.reshape(-1, len(SHUTTER), *instants.shape[1:])
    total = SHUTTER[0] * each[:, 0]
    for number in range(1, len(SHUTTER)):
        total = total + SHUTTER[number] * each[:, number]
    return total


class Expression(nn.Module):
    """EMBEDDING float32[batch, 40, embedding_size] to SPEECH_FACE float32[batch, 52] and VISEME float32[batch, 15].

    SPEECH_FACE holds the ARKit weights in [0, 1] that speech causes, VISEME probabilities that sum to 1, in the order
    of VISEMES. Both are for the frame `lookahead` frames before the last one of the window.
    """

    def __init__(
        self, embedding_size: int = EMBEDDING_SIZE, temporal: str = "tcn", lookahead: int = LOOKAHEAD_FRAMES
    ) -> None:
        super().__init__()
        if temporal not in TEMPORAL:
            raise ValueError(f"temporal is {temporal!r}, expected one of {tuple(TEMPORAL)}")
        if not 0 <= lookahead < len(LOOKAHEADS):
            raise ValueError(f"lookahead is {lookahead} frames, expected 0 to {len(LOOKAHEADS) - 1}")
        self.lookahead = lookahead
        self.entry: nn.Module = nn.Identity()
        if embedding_size != WIDTH:  # another encoder's embeddings
            self.entry = nn.Sequential(nn.LayerNorm(embedding_size), nn.Linear(embedding_size, WIDTH))
        self.temporal = TEMPORAL[temporal](WIDTH)
        self.reach = self.temporal.reach
        self.heads = nn.ModuleList(nn.Conv1d(WIDTH, len(SHUTTER) * LOGITS, 1) for _ in LOOKAHEADS)
        self.articulation = ArticulationLayer()

    def features(self, embedding: Tensor) -> Tensor:
        """Embeddings [batch, n, embedding_size] to features [batch, WIDTH, n - reach]."""
        x: Tensor = self.temporal(self.entry(embedding).transpose(1, 2))
        return x

    def logits(self, embedding: Tensor) -> list[Tensor]:
        """Embeddings [batch, n, embedding_size] to logits [batch, 3, 20, n - reach], one for each of LOOKAHEADS.

        The three are for the instants of the shutter, the earliest first.
        """
        features = self.features(embedding)
        return [head(features).reshape(-1, len(SHUTTER), LOGITS, features.shape[2]) for head in self.heads]

    def face(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of single instants [n, 20] to ARKit weights [n, 52] and visemes [n, 15]."""
        curves, chances, noise = torch.split(logits, [len(CURVES), len(VISEMES), 1], dim=1)
        lips = torch.cat([curves[:, :2], torch.sigmoid(curves[:, 2:])], dim=1)  # [n, 4]
        visemes = torch.softmax(chances, dim=1)  # [n, 15]
        return self.articulation(lips, visemes, torch.sigmoid(noise)), visemes

    def shown(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [batch, 3, 20] to SPEECH_FACE [batch, 52] and VISEME [batch, 15]: the mean over the shutter."""
        face, visemes = self.face(logits.reshape(-1, LOGITS))  # [batch * 3, ...]
        return over_shutter(face), over_shutter(visemes)

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(embedding[:, EMBEDDING_STEPS - 1 - self.reach :])  # [batch, WIDTH, 1]
        return self.shown(self.heads[self.lookahead](features).reshape(-1, len(SHUTTER), LOGITS))
