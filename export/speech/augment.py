"""Augmentation of mel power: what lies between a synthesiser's studio and a person at a microphone.

Everything happens on mel power, where it costs a thousandth of what it would on sound. Noise and reverberation matter
most: without them a network trained on synthetic voices hardly closes the lips for real ones.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from export.speech.draws import Draws

MEL_RATE: Final = 120
"""Mel steps per second."""

LEVELS: Final = (-26.0, 18.0)
"""Decibels by which passages are turned down and up, from their nominal -25 dBFS."""

BACKGROUND_EVERY: Final = 5
"""One passage in so many has a background of sounds that are no speech."""


class Strength(NamedTuple):
    """How far passages are changed."""

    tract: tuple[float, float]
    """Range of the vocal tract's length."""
    formants: float
    """Bands by which formants move against each other."""
    knots: int
    """Of the loudness over a passage: the more, the faster it changes."""
    decibels: float
    """Spread of that loudness."""
    untouched: dict[str, float]
    """Share of the passages that a change leaves alone, by its method's name."""


STRONG: Final = Strength((0.82, 1.22), 1.2, 8, 2.5, {})
"""For a first course: nothing of a synthesiser's own sound is to be relied on."""

GENTLE: Final = Strength(
    (0.88, 1.15),
    0.2,
    16,
    3.0,
    {
        "contrast": 0.7,
        "slur": 0.9,
        "equalise": 0.2,
        "reverberate": 0.4,
        "add_noise": 0.4,
        "code": 0.4,
        "mask_band": 0.8,
    },
)
"""For a second one: it leaves the fine cues whole that tell p from k and m from n.

400 steps of it after 10,000 strong ones took r on the recordings for choices from 0.752 to 0.764, in noise from 0.739
to 0.745.
"""


class Augmented(NamedTuple):
    """A changed batch."""

    power: Tensor
    """Mel power [batch, 64, steps]."""
    noise: Tensor
    """Power of what was put under the speech, its own reverberation included, against the speech's, [batch]."""


class Augmenter(Draws):
    """Random changes of a batch, from one seeded generator."""

    def __init__(self, generator: torch.Generator, strength: Strength = STRONG) -> None:
        super().__init__(generator)
        self.strength = strength

    def __call__(self, power: Tensor, background: Tensor | None = None) -> Augmented:
        """Return a changed copy of mel `power` [batch, 64, steps], at the level that it had, and how noisy it is.

        `background` [batch // BACKGROUND_EVERY, 64, steps] is put under every fifth passage.
        """
        power = self._vocal_tract(power)
        power = self._mostly("contrast", self._contrast(power), power)
        power = self._mostly("slur", self._slur(power), power)
        power = self._mostly("equalise", self._equalise(power), power)
        loudness = self._curve(len(power), power.shape[2], self.strength.knots, self.strength.decibels)
        power = power * self._decibels(loudness)[:, None]
        others = power
        power = self._mostly("reverberate", self._reverberate(power), power)
        power = self._add_babble(power, others)
        power = self._mostly("add_noise", self._add_noise(power), power)
        if background is not None:
            power = self._add_background(power, background)
        noise = (power - others).mean((1, 2)).clamp(min=0) / others.mean((1, 2)).clamp(min=1e-12)
        power = self._telephone(power)
        power = self._mostly("code", self._code(power), power)
        power = self._mostly("mask_band", self._mask_band(power), power)
        return Augmented(power, noise)

    def at_any_level(self, power: Tensor) -> Tensor:
        """Return `power` [batch, 64, steps], each passage turned down or up within LEVELS."""
        return power * self._decibels(self._uniform(*LEVELS, len(power), 1, 1))

    def _mostly(self, name: str, changed: Tensor, power: Tensor) -> Tensor:
        """Return `changed`, but `power` for the share of the passages that the change `name` leaves alone."""
        untouched = self.strength.untouched.get(name, 0.0)
        if not untouched:
            return changed
        kept = self._chance(untouched, len(power), 1, 1)
        return kept * power + (1 - kept) * changed

    @staticmethod
    def _decibels(value: Tensor) -> Tensor:
        return torch.exp(value * (math.log(10) / 10))

    def _vocal_tract(self, power: Tensor) -> Tensor:
        """Stretch the spectrum by a fifth: a longer or shorter vocal tract (Jaitly & Hinton 2013, VTLP).

        A smooth curve over the bands moves the formants against each other, too, as no uniform tube does.
        """
        batch, mels, steps = power.shape
        place = torch.arange(mels)[None] * self._uniform(*self.strength.tract, batch, 1)
        place = place + self._curve(batch, mels, 6, self.strength.formants)
        place = place.clamp(0, mels - 1.001)
        lower = place.long()
        part = (place - lower)[:, :, None]
        index = lower[:, :, None].expand(batch, mels, steps)
        return power.gather(1, index) * (1 - part) + power.gather(1, index + 1) * part

    def _contrast(self, power: Tensor) -> Tensor:
        """Flatten or sharpen the spectrum about its local mean: voices differ in how clear their formants stand out.

        Half of the passages are blurred over neighbouring bands too, which hides the harmonics of a high voice.
        """
        batch = len(power)
        logarithm = torch.log(power + 1e-10)
        blurred = functional.avg_pool1d(
            functional.pad(logarithm.transpose(1, 2), (1, 1), mode="replicate"), 3, stride=1
        ).transpose(1, 2)
        amount = self._uniform(0, 1, batch, 1, 1) * self._chance(0.5, batch, 1, 1)
        logarithm = logarithm + amount * (blurred - logarithm)
        mean = logarithm.mean(1, keepdim=True)
        return torch.exp(mean + (logarithm - mean) * self._uniform(0.75, 1.2, batch, 1, 1))

    def _slur(self, power: Tensor) -> Tensor:
        """Blur half of the passages over 3 or 5 mel steps: people glide where diphones jump."""
        batch, mels, steps = power.shape
        logarithm = torch.log(power + 1e-10)
        kernel = torch.tensor([0.1, 0.2, 0.4, 0.2, 0.1])[None, None]
        flat = functional.pad(logarithm.view(batch, mels, steps), (2, 2), mode="replicate").view(-1, 1, steps + 4)
        blurred = functional.conv1d(flat, kernel).view(batch, mels, steps)
        amount = self._uniform(0, 1, batch, 1, 1) * self._chance(0.5, batch, 1, 1)
        return torch.exp(logarithm + amount * (blurred - logarithm))

    def _telephone(self, power: Tensor) -> Tensor:
        """Send one in ten through a telephone: 300 .. 3400 Hz, with the noise of 8-bit companding (ITU-T G.711)."""
        batch, mels, _ = power.shape
        place = torch.arange(mels)[None]
        low, high = self._uniform(4, 8, batch, 1), self._uniform(42, 47, batch, 1)  # about 300 and 3400 Hz
        band = torch.sigmoid((place - low) / 0.7) * torch.sigmoid((high - place) / 0.5) + 1e-4
        # Companding noise follows the speech's level, about 38 dB below it.
        floor = power.mean(1, keepdim=True) * self._decibels(-self._uniform(25, 40, batch, 1, 1))
        called = (power + floor) * band[:, :, None]
        chosen = self._chance(0.1, batch, 1, 1)
        return chosen * called + (1 - chosen) * power

    def _code(self, power: Tensor) -> Tensor:
        """Send one in six through a codec of few bits: the treble cut, holes between the peaks, noise spread in time.

        Such a codec (MP3 at 16 to 32 kbit/s) drops what lies far below the loudest bands and smears its rounding noise
        over blocks of 25 to 50 ms.
        """
        batch, mels, steps = power.shape
        block = 3 if float(self._uniform(0, 1, 1)) < 0.5 else 6
        spread = functional.avg_pool1d(power, block)
        spread = functional.pad(spread, (0, 1), mode="replicate").repeat_interleave(block, 2)[:, :, :steps]
        grain = -torch.log(torch.rand(batch, mels, steps, generator=self.generator) + 1e-6)
        noisy = power + spread * grain * self._decibels(-self._uniform(8, 25, batch, 1, 1))
        loudest = spread.amax(1, keepdim=True)
        kept = (noisy > loudest * self._decibels(-self._uniform(22, 45, batch, 1, 1))).float()
        treble = torch.sigmoid((self._uniform(46, 70, batch, 1) - torch.arange(mels)[None]) / 0.5)[:, :, None] + 1e-5
        coded = noisy * (kept + 1e-3) * treble
        chosen = self._chance(1 / 6, batch, 1, 1)
        return chosen * coded + (1 - chosen) * power

    def _mask_band(self, power: Tensor) -> Tensor:
        """Take a band of up to 12 mels out of three in ten (Park et al. 2019, SpecAugment)."""
        batch, mels, _ = power.shape
        first = self._uniform(0, mels, batch, 1)
        width = self._uniform(2, 12, batch, 1) * self._chance(0.3, batch, 1)
        place = torch.arange(mels)[None]
        kept = 1 - ((place >= first) & (place < first + width)).float() * 0.999
        return power * kept[:, :, None]

    def _equalise(self, power: Tensor) -> Tensor:
        """Colour by a smooth curve and a tilt; three in ten are band-limited as well."""
        batch, mels, _ = power.shape
        place = torch.arange(mels)[None]
        gain = self._curve(batch, mels, 6, 4.0) + torch.linspace(-1, 1, mels)[None] * self._uniform(-8, 8, batch, 1)
        high_pass = torch.sigmoid((place - self._uniform(-8, 8, batch, 1)) / 1.5) + 1e-3
        low_pass = torch.sigmoid((self._uniform(38, 90, batch, 1) - place) / 1.5) + 1e-4
        limited = self._chance(0.3, batch, 1)
        band = limited * high_pass * low_pass + (1 - limited)
        return power * (self._decibels(gain) * band)[:, :, None]

    def _reverberate(self, power: Tensor) -> Tensor:
        """Add an exponential tail of power to three in ten: reverberation times of 0.12 .. 0.7 s."""
        batch, _, steps = power.shape
        chosen = self._chance(0.3, batch).bool()
        count = int(chosen.sum())
        if not count:
            return power
        length = 48
        time = torch.arange(1, length + 1)[None] / MEL_RATE
        tail = 10 ** (-6 * time / self._uniform(0.12, 0.7, count, 1))
        tail = tail / tail.sum(1, keepdim=True) * self._decibels(-self._uniform(0, 14, count, 1))
        response = torch.cat([torch.ones(count, 1), tail], 1)
        size = steps + length
        dry = torch.fft.rfft(power[chosen], size)
        wet = torch.fft.irfft(dry * torch.fft.rfft(response, size)[:, None], size)[:, :, :steps]
        power = power.clone()
        power[chosen] = wet.clamp(min=0)
        return power

    def _add_noise(self, power: Tensor) -> Tensor:
        """Add noise to six in ten, 0 .. 40 dB below the speech: coloured, or white for one in five."""
        batch, mels, steps = power.shape
        level = power.mean((1, 2), keepdim=True)
        grain = -torch.log(torch.rand(batch, mels, steps, generator=self.generator) + 1e-6)
        grain = (grain + 1.5) / 2.5
        white = self._chance(0.2, batch, 1)
        colour = white + (1 - white) * self._colour(batch, mels)
        flutter = self._decibels(self._curve(batch, steps, 20, 2.0) * (1 - white))[:, None]
        noise = colour[:, :, None] * flutter * grain
        amount = self._decibels(-self._uniform(0, 40, batch, 1, 1)) * self._chance(0.6, batch, 1, 1)
        return power + level * amount * noise

    def _add_babble(self, power: Tensor, others: Tensor) -> Tensor:
        """Put one other voice or three under one in five, 3 .. 25 dB below."""
        batch = len(power)
        voices = others.roll(1, 0) + self._chance(0.5, batch, 1, 1) * (others.roll(2, 0) + others.roll(3, 0))
        level = power.mean((1, 2), keepdim=True) / voices.mean((1, 2), keepdim=True).clamp(min=1e-12)
        amount = self._decibels(-self._uniform(3, 25, batch, 1, 1)) * self._chance(0.2, batch, 1, 1)
        return power + level * amount * voices

    def _add_background(self, power: Tensor, background: Tensor) -> Tensor:
        """Put each `background` [few, 64, steps] under one of every fifth passage, 0 .. 25 dB below it."""
        every = slice(BACKGROUND_EVERY - 1, None, BACKGROUND_EVERY)
        level = power[every].mean((1, 2), keepdim=True) / background.mean((1, 2), keepdim=True).clamp(min=1e-12)
        power = power.clone()
        power[every] += background * level * self._decibels(-self._uniform(0, 25, len(background), 1, 1))
        return power

    def _colour(self, batch: int, mels: int) -> Tensor:
        """Noise spectra [batch, mels] of mean 1, most of them falling towards the treble."""
        slope = torch.linspace(0, 1, mels)[None] * self._uniform(-4, 20, batch, 1)
        spectrum = self._decibels(self._curve(batch, mels, 8, 5.0) - slope)
        return spectrum / spectrum.mean(1, keepdim=True)

    def room(self, batch: int, mels: int, steps: int) -> Tensor:
        """Mel power [batch, mels, steps] of rooms where nobody speaks, -95 .. -45 dBFS."""
        grain = -torch.log(torch.rand(batch, mels, steps, generator=self.generator) + 1e-6)
        flutter = self._decibels(self._curve(batch, steps, 12, 2.5))[:, None]
        level = self._decibels(self._uniform(-95, -45, batch, 1, 1))
        return level * self._colour(batch, mels)[:, :, None] * flutter * grain
