"""ArticulationLayer: how the predicted lips move the 52 ARKit weights."""

from __future__ import annotations

from typing import Final

import torch
from facestream.parameters import ARKIT
from torch import Tensor, nn
from torch.nn import functional

from export.speech.phonemes import VISEMES


class ArticulationLayer(nn.Module):
    """Predicted lips to the 52 ARKit weights: a few causes, each with a fixed effect on some of the weights.

    Closing wins over opening: where the lips are held closed, every weight that would part them is 0, so that they meet
    as they do in the avatar's own closed picture. In silence everything is 0: the face at rest.
    """

    CAUSES: Final[dict[str, dict[str, float]]] = {
        # how far the lips are apart, 0..1
        "open": {
            "jawOpen": 0.55,
            "mouthLowerDownLeft": 0.20,
            "mouthLowerDownRight": 0.20,
            "mouthUpperUpLeft": 0.10,
            "mouthUpperUpRight": 0.10,
        },
        # lips held together for p, b, m
        "closed": {
            "mouthPressLeft": 0.22,
            "mouthPressRight": 0.22,
            "mouthRollLower": 0.06,
            "mouthRollUpper": 0.06,
        },
        # lower lip at the upper teeth for f, v: the teeth's edge shows over the lip
        "labiodental": {
            "mouthRollLower": 0.60,
            "mouthUpperUpLeft": 0.40,
            "mouthUpperUpRight": 0.40,
            "jawOpen": 0.05,
        },
        # rounded lips, nearly shut (oo, w) and open (oh, sh)
        "pucker": {"mouthPucker": 0.95},
        "funnel": {"mouthFunnel": 0.25},
        "spread": {
            "mouthStretchLeft": 0.30,
            "mouthStretchRight": 0.30,
            "mouthSmileLeft": 0.12,
            "mouthSmileRight": 0.12,
            "mouthDimpleLeft": 0.10,
            "mouthDimpleRight": 0.10,
        },
        # s, z: the teeth show while the jaw stays up
        "teeth": {
            "mouthLowerDownLeft": 0.09,
            "mouthLowerDownRight": 0.09,
            "mouthUpperUpLeft": 0.04,
            "mouthUpperUpRight": 0.04,
        },
        # th, l
        "tongue": {"tongueOut": 0.20},
    }

    REST_GAP: Final = 0.08  # below this the lips stay shut: the regression is too flat to reach 0 on p, b and m
    SURE: Final = (0.40, 0.65)  # from which probability of closed lips on they move together, and meet
    DOUBTFUL: Final = (0.02, 0.08)  # the same for a probability that a wide gap contradicts, times (1 - gap) ** 4
    SILENCE: Final = (0.15, 0.35)  # from which probability of silence on the mouth goes to rest, and is at rest
    GAIN: Final = 1.4  # the mean of several likely shapes is flatter than each of them: restores their spread

    effects: Tensor

    def __init__(self) -> None:
        super().__init__()
        names = [parameter.name for parameter in ARKIT]
        effects = torch.zeros(len(names), len(self.CAUSES), 1)
        for column, cause in enumerate(self.CAUSES.values()):
            for name, weight in cause.items():
                effects[names.index(name), column, 0] = weight
        self.register_buffer("effects", effects)  # [52, 8, 1]

    def forward(self, lips: Tensor, visemes: Tensor) -> Tensor:
        """Return the ARKit weights [batch, 52].

        `lips` [batch, 4] holds gap, width and the probabilities of closed and of labiodental lips,
        `visemes` [batch, 15] probabilities.
        """
        gap, width, closed, labiodental = torch.split(lips, 1, dim=1)  # each [batch, 1]

        def viseme(name: str) -> Tensor:
            index = VISEMES.index(name)
            return visemes[:, index : index + 1]

        def above(value: Tensor, limits: tuple[float, float]) -> Tensor:
            return ((value - limits[0]) / (limits[1] - limits[0])).clamp(0, 1)

        # What the gap's regression takes for wide is hardly a closure, unless the other head is sure: so more of p, b
        # and m meet at the price of fewer t, d and k than with one limit for all.
        narrow = 1 - gap.clamp(0, 1)
        doubtful = closed * narrow * narrow * narrow * narrow
        parted = (1 - above(closed, self.SURE)) * (1 - above(doubtful, self.DOUBTFUL))
        awake = ((self.SILENCE[1] - viseme("sil")) / (self.SILENCE[1] - self.SILENCE[0])).clamp(0, 1)
        parted = parted * awake
        bitten = ((labiodental - 0.2) / 0.6).clamp(0, 1) * parted
        opening = ((gap - self.REST_GAP) * self.GAIN * parted * (1 - 0.8 * bitten)).clamp(0, 1)
        rounded = (-width * self.GAIN).clamp(0, 1) * awake
        causes = torch.cat(
            [
                opening,
                ((closed - 0.3) / 0.5).clamp(0, 1) * awake,
                bitten,
                # Much pucker parts the lips by itself: less of it where they are to meet.
                rounded * (1 - 0.4 * opening) * (0.35 + 0.65 * parted),
                (rounded * opening + viseme("CH")).clamp(0, 1) * parted,
                (width * self.GAIN).clamp(0, 1) * awake,
                viseme("SS") * parted,
                (viseme("TH") + 0.25 * viseme("nn")) * parted,
            ],
            dim=1,
        )  # [batch, 8]
        return functional.conv1d(causes[:, :, None], self.effects)[:, :, 0].clamp(0, 1)  # [batch, 52]
