"""Batches to train on: random passages of the corpus at random speed, augmented, with their targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from export.speech.augment import BACKGROUND_EVERY, STRONG, Augmenter, Strength
from export.speech.corpus.recorded import RECORDED
from export.speech.encoder import LogMel
from export.speech.features import Voice
from export.speech.phonemes import VISEMES
from export.speech.pretrained.sounds import Sound

BATCH: Final = 16
PASSAGE: Final = 384
"""Mel steps of one training passage: 3.2 s."""

HELD_OUT: Final = 0.03
"""The last part of each voice, kept for validation."""

VOICE_GROUPS: Final = {"flite": 0.25, "festival": 0.30, "espeak": 0.15, "world": 0.30}
"""Share of the synthetic passages by synthesiser."""

RECORDED_SHARE: Final = 0.6
"""Share of the passages that people speak, where there are such shards."""

RECORDED_GROUPS: Final = {
    f"{RECORDED}_steel_sky": 0.30,
    f"{RECORDED}_drascula": 0.15,
    f"{RECORDED}_revoiced": 0.35,
    f"{RECORDED}_fillets": 0.20,
}
"""Share of those passages by source: `fillets` has many lines, but the least exact times of p and b."""

NEGATIVES: Final = "negatives"
"""Shards whose name begins so hold sounds that are no speech."""

SILENCE: Final = VISEMES.index("sil")

SPEEDS: Final = (0.75, 1.35)
"""Range of a passage's speed."""


TWINS: Final = 3
"""Passages of each batch that are in it twice, at two levels."""


class Batch(NamedTuple):
    """Passages of n steps at 60 Hz."""

    mel: Tensor
    """Compressed mel [batch, 64, 2n], augmented."""
    lips: Tensor
    """Curves [batch, 4, n]: what the lips do at the end of each step."""
    visemes: Tensor
    """Indices of VISEMES [batch, n]."""
    teacher: Tensor | None = None
    """Features of a teacher [batch, n, size], where one is distilled (pretrained/distil.py)."""
    taught: Tensor | None = None
    """1 where the teacher heard the sound that is in `mel`, 0 where it was replaced, [batch, n]."""
    noise: Tensor | None = None
    """Power of the noise in `mel` against the speech's, [batch]."""
    twins: int = 0
    """The last so many passages are those before them once more, at another level."""


def voice_weights(voices: Sequence[Voice | Sound]) -> Tensor:
    """How often each voice is drawn, by RECORDED_SHARE and the groups; within a group by the square root of length.

    So no voice drowns the others. A group without voices leaves its share to the others of its kind.

    Raises:
        ValueError: there is no voice, or one that no group names, which would never be drawn.
    """
    groups_of_all = (*VOICE_GROUPS, *RECORDED_GROUPS)
    if strange := [voice.name for voice in voices if not voice.name.startswith(groups_of_all)]:
        raise ValueError(f"the voices {', '.join(strange)} are of no group, expected one of {', '.join(groups_of_all)}")
    if not voices:
        raise ValueError(f"there is no voice to train on, expected shards of {', '.join(groups_of_all)}")
    recorded = RECORDED_SHARE if any(voice.name.startswith(RECORDED) for voice in voices) else 0.0
    weights = torch.zeros(len(voices))
    for whole, groups in ((1 - recorded, VOICE_GROUPS), (recorded, RECORDED_GROUPS)):
        members = {group: [i for i, voice in enumerate(voices) if voice.name.startswith(group)] for group in groups}
        present = sum(groups[group] for group in groups if members[group])
        for group, share in groups.items():
            sizes = torch.tensor([math.sqrt(len(voices[i].visemes)) for i in members[group]])
            if len(sizes):
                weights[members[group]] = whole * share / present * sizes / sizes.sum()
    return weights


def drawn_from(steps: int) -> int:
    """Of a voice of so many steps, the first ones that are trained on."""
    return int(steps * (1 - HELD_OUT))


def _steps_needed(speed: float) -> int:
    """Steps of a voice under one passage at `speed`."""
    return int(PASSAGE / 2 * speed) + 3


class Passages:
    """Draws batches from `voices` with one seeded generator; a voice too short for one passage is left out.

    One passage in sixteen is an empty room and one in sixteen a sound that is no speech (music, machines), one in eight
    starts as a session does, from digital zeros. The last TWINS passages are those before them, at another level.
    Sounds that are no speech lie under every fifth passage, one twin of them and its copy too.
    """

    def __init__(self, voices: list[Voice], generator: torch.Generator, strength: Strength = STRONG) -> None:
        enough = [voice for voice in voices if drawn_from(len(voice.visemes)) > _steps_needed(SPEEDS[1])]
        self.negatives = [voice for voice in enough if voice.name.startswith(NEGATIVES)]
        self.voices = [voice for voice in enough if not voice.name.startswith(NEGATIVES)]
        self.generator = generator
        self.augment = Augmenter(generator, strength)
        self.weights = voice_weights(self.voices)

    def _draw(self, voice: Voice) -> Batch:
        """Return one passage of `voice`, without the batch dimension, `mel` as the logarithm of mel power."""
        speed = float(torch.rand(1, generator=self.generator)) * (SPEEDS[1] - SPEEDS[0]) + SPEEDS[0]
        needed = _steps_needed(speed)
        start = int(torch.randint(0, drawn_from(len(voice.visemes)) - needed, (1,), generator=self.generator))
        place = torch.arange(PASSAGE) * speed
        lower = place.long()
        part = (place - lower)[None]
        piece = voice.log_power[:, 2 * start : 2 * (start + needed)].float()
        log_power = piece[:, lower] * (1 - part) + piece[:, lower + 1] * part
        # Target j stands at the end of mel step 2j + 1.
        place = ((torch.arange(PASSAGE // 2) + 0.5) * speed - 0.5).clamp(min=0)
        lower = place.long()
        part = (place - lower)[None]
        shapes = voice.lips[:, start : start + needed].float()
        lips = shapes[:, lower] * (1 - part) + shapes[:, lower + 1] * part
        visemes = voice.visemes[start : start + needed][(place + 0.5).long()]
        teacher = None
        if voice.teacher is not None:
            features = voice.teacher[start : start + needed].float()
            teacher = features[lower] * (1 - part.T) + features[lower + 1] * part.T
        return Batch(log_power, lips, visemes, teacher)

    def _speech(self) -> Batch:
        return self._draw(self.voices[int(torch.multinomial(self.weights, 1, generator=self.generator))])

    def _noises(self, count: int) -> Tensor:
        """Mel power [count, 64, PASSAGE] of sounds that are no speech."""
        drawn = []
        for _ in range(count):
            chosen = int(torch.randint(0, len(self.negatives), (1,), generator=self.generator))
            drawn.append(self._draw(self.negatives[chosen]).mel)
        return torch.exp(torch.stack(drawn))

    def batch(self) -> Batch:
        """Return BATCH passages: compressed mel [16, 64, 384], lips [16, 4, 192] and visemes [16, 192]."""
        drawn = [self._speech() for _ in range(BATCH)]
        power = torch.exp(torch.stack([piece.mel for piece in drawn]))
        lips = torch.stack([piece.lips for piece in drawn])
        visemes = torch.stack([piece.visemes for piece in drawn])
        taught = torch.ones(visemes.shape)
        still = BATCH // 16
        background = None
        if self.negatives:
            power[still : 2 * still] = self._noises(still)
            lips[still : 2 * still] = 0
            visemes[still : 2 * still] = SILENCE
            taught[still : 2 * still] = 0
            background = self._noises(BATCH // BACKGROUND_EVERY)
        power, noise = self.augment(power, background)
        for of_all in (power, lips, visemes, taught, noise):
            of_all[-2 * TWINS : -TWINS] = of_all[-TWINS:]
        power = self.augment.at_any_level(power)
        power[:still] = self.augment.room(still, power.shape[1], PASSAGE)
        lips[:still] = 0
        visemes[:still] = SILENCE
        taught[:still] = 0
        for i in range(2 * still, 2 * still + BATCH // 8):
            begin = 2 * int(torch.randint(0, PASSAGE // 4, (1,), generator=self.generator))
            power[i, :, :begin] = 0
            lips[i, :, : begin // 2] = 0
            visemes[i, : begin // 2] = SILENCE
            taught[i, : begin // 2] = 0
        features = [piece.teacher for piece in drawn if piece.teacher is not None]
        teacher = torch.stack(features) if features else None
        if teacher is not None:
            teacher[-2 * TWINS : -TWINS] = teacher[-TWINS:]
        return Batch(LogMel.compress(power), lips, visemes, teacher, taught, noise, TWINS)
