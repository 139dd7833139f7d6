"""ArticulationLayer: how the predicted lips move the 52 ARKit weights."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from facestream.parameters import ARKIT
from torch import Tensor, nn
from torch.nn import functional

from export.speech.phonemes import VISEMES

LEAST: Final = 1e-8
"""Product of probabilities below which a root's slope would be endless."""


class Gates(NamedTuple):
    """What stands above the regressed lips, each [batch, 1, ...] in [0, 1]."""

    awake: Tensor
    """0 in silence, where the mouth is at rest."""
    parted: Tensor
    """0 where the lips meet."""
    bitten: Tensor
    """1 where the lower lip is at the upper teeth."""


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
        # the same where they are not rounded: more by the lips and less by the jaw, so that the teeth show
        "bared": {
            "jawOpen": -0.07,
            "mouthLowerDownLeft": 0.10,
            "mouthLowerDownRight": 0.10,
            "mouthUpperUpLeft": 0.30,
            "mouthUpperUpRight": 0.30,
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
            "jawOpen": -0.02,
            "mouthLowerDownLeft": 0.12,
            "mouthLowerDownRight": 0.12,
            "mouthUpperUpLeft": 0.12,
            "mouthUpperUpRight": 0.12,
        },
        # th, l
        "tongue": {"tongueOut": 0.20},
    }

    REST_GAP: Final = 0.08  # below this the lips stay shut: the regression is too flat to reach 0 on p, b and m
    SURE: Final = (0.40, 0.65)  # from which probability of closed lips on they move together, and meet
    DOUBTFUL: Final = (0.0028, 0.0055)  # the same for a probability that a wide gap contradicts, times (1 - gap) ** 3
    NOISY: Final = 2.7  # DOUBTFUL is so much higher in noise, where p, t and k sound alike: lips would stammer
    NOISE: Final = (0.45, 0.65)  # from which probability of noise on it rises, and is so high
    RIVAL: Final = (0.89, 0.97)  # from which share of a bitten lip in both on there is less doubt, and none
    BITTEN: Final = (0.08, 0.35)  # from which probability of a bitten lip on it rises to the teeth, and is there
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
        # [52, 9, 1]. Nothing of it is learnt: it comes from this table, never out of a checkpoint or a stage's file.
        self.register_buffer("effects", effects, persistent=False)

    @classmethod
    def gates(cls, lips: Tensor, visemes: Tensor, noise: Tensor) -> Gates:
        """Return how far the mouth is awake, its lips parted and bitten, each [batch, 1, ...] in [0, 1].

        `lips` [batch, 4, ...], `visemes` [batch, 15, ...] and `noise` [batch, 1, ...] are those of `forward`.
        """
        gap, _, closed, labiodental = torch.split(lips, 1, dim=1)
        # Two heads speak of closures: both have to. What the gap's regression takes for wide is hardly one, unless they
        # are sure: so more of p, b and m meet at the price of fewer t, d and k than with one limit for all.
        agreed = (closed * _viseme(visemes, "PP")).clamp(min=LEAST).sqrt()
        narrow = 1 - gap.clamp(0, 1)
        doubtful = agreed * narrow * narrow * narrow / (1 + (cls.NOISY - 1) * _above(noise, cls.NOISE))
        # Nor are lips in doubt where the lower one is by far likelier at the teeth: f and v would be shown as p.
        rival = (labiodental * _viseme(visemes, "FF")).clamp(min=LEAST).sqrt()
        doubtful = doubtful * (1 - _above(rival / (rival + agreed), cls.RIVAL))
        parted = (1 - _above(agreed, cls.SURE)) * (1 - _above(doubtful, cls.DOUBTFUL))
        awake = ((cls.SILENCE[1] - _viseme(visemes, "sil")) / (cls.SILENCE[1] - cls.SILENCE[0])).clamp(0, 1)
        parted = parted * awake
        bitten = _above(labiodental, cls.BITTEN) * parted
        return Gates(awake, parted, bitten)

    @classmethod
    def opening(cls, lips: Tensor, gates: Gates) -> Tensor:
        """Return how far the lips are shown apart, [batch, 1, ...] in [0, 1]: the cause `open`."""
        return ((lips[:, :1] - cls.REST_GAP) * cls.GAIN * gates.parted * (1 - 0.8 * gates.bitten)).clamp(0, 1)

    def forward(self, lips: Tensor, visemes: Tensor, noise: Tensor) -> Tensor:
        """Return the ARKit weights [batch, 52].

        `lips` [batch, 4] holds gap, width and the probabilities of closed and of labiodental lips,
        `visemes` [batch, 15] probabilities, `noise` [batch, 1] the probability that noise lies over the speech.
        """
        _, width, closed, _ = torch.split(lips, 1, dim=1)  # each [batch, 1]
        gates = self.gates(lips, visemes, noise)
        awake, parted, bitten = gates
        opening = self.opening(lips, gates)
        rounded = (-width * self.GAIN).clamp(0, 1) * awake
        causes = torch.cat(
            [
                opening,
                opening * (1 - rounded),
                ((closed - 0.3) / 0.5).clamp(0, 1) * awake,
                bitten,
                # Much pucker parts the lips by itself: less of it where they are to meet.
                rounded * (1 - 0.4 * opening) * (0.35 + 0.65 * parted),
                (rounded * opening + _viseme(visemes, "CH")).clamp(0, 1) * parted,
                (width * self.GAIN).clamp(0, 1) * awake,
                _viseme(visemes, "SS") * parted,
                (_viseme(visemes, "TH") + 0.25 * _viseme(visemes, "nn")) * parted,
            ],
            dim=1,
        )  # [batch, 9]
        return functional.conv1d(causes[:, :, None], self.effects)[:, :, 0].clamp(0, 1)  # [batch, 52]


def _viseme(visemes: Tensor, name: str) -> Tensor:
    index = VISEMES.index(name)
    return visemes[:, index : index + 1]


def _above(value: Tensor, limits: tuple[float, float]) -> Tensor:
    return ((value - limits[0]) / (limits[1] - limits[0])).clamp(0, 1)
