"""Augmentation of sound, for encoders that take sound: the kinds of change that augment.py makes on mel power."""

from __future__ import annotations

import math
from typing import Final

import torch
from facestream.contract import SAMPLE_RATE
from torch import Tensor

from export.speech.draws import Draws

NARROWEST_HZ: Final = 2500.0
"""Lowest upper end of a band-limited passage."""


class SoundAugmenter(Draws):
    """Random changes of a batch, from one seeded generator."""

    @staticmethod
    def _decibels(value: Tensor) -> Tensor:
        """Return the factor of amplitude."""
        return torch.exp(value * (math.log(10) / 20))

    @staticmethod
    def _level(audio: Tensor) -> Tensor:
        return audio.square().mean(1, keepdim=True).sqrt()

    def __call__(self, audio: Tensor, background: Tensor | None = None) -> Tensor:
        """Return a changed copy of `audio` [batch, n] at SAMPLE_RATE, within [-1, 1].

        `background` [batch, n] is sound that is no speech; it lies under a fifth of the batch, 0 .. 25 dB below.
        """
        audio = self._equalise(audio)
        audio = audio * self._decibels(self._curve(len(audio), audio.shape[1], 5, 2.5))  # dynamics
        others = audio
        audio = self._reverberate(audio)
        audio = self._mix(audio, others.roll(1, 0), 0.2, 3, 25)
        audio = self._mix(audio, self._noise(audio), 0.6, 0, 40)
        if background is not None:
            audio = self._mix(audio, background, 0.2, 0, 25)
        audio = audio * self._decibels(self._uniform(-22, 14, len(audio), 1))
        return audio.clamp(-1, 1)

    def _hertz(self, length: int) -> Tensor:
        return torch.linspace(0, SAMPLE_RATE / 2, length // 2 + 1)[None]

    def _equalise(self, audio: Tensor) -> Tensor:
        """Colour by a curve and a tilt over octaves; three in ten are band-limited, one in ten as a telephone."""
        batch, length = audio.shape
        hertz = self._hertz(length)
        octave = torch.log2(hertz.clamp(min=60) / 60) / math.log2(SAMPLE_RATE / 2 / 60)  # 0 .. 1
        curve = self._curve(batch, 64, 6, 4.0) + torch.linspace(-1, 1, 64)[None] * self._uniform(-8, 8, batch, 1)
        place = (octave * 62.999).expand(batch, -1)
        lower = place.long()
        gain = curve.gather(1, lower) * (1 - place + lower) + curve.gather(1, lower + 1) * (place - lower)
        telephone = self._chance(0.1, batch, 1)
        limited = torch.maximum(self._chance(0.3, batch, 1), telephone)
        low = telephone * 300 + (1 - telephone) * self._uniform(20, 400, batch, 1)
        high = telephone * 3400 + (1 - telephone) * self._uniform(NARROWEST_HZ, 11_000, batch, 1)
        band = torch.sigmoid((hertz - low) / 40) * torch.sigmoid((high - hertz) / 150) + 1e-3
        response = self._decibels(gain) * (limited * band + 1 - limited)
        coloured: Tensor = torch.fft.irfft(torch.fft.rfft(audio) * response, length)
        return coloured

    def _reverberate(self, audio: Tensor) -> Tensor:
        """Add a decaying tail to three in ten: reverberation times of 0.12 .. 0.7 s, 0 .. 14 dB below the speech."""
        chosen = self._chance(0.3, len(audio)).bool()
        count = int(chosen.sum())
        if not count:
            return audio
        length = int(0.5 * SAMPLE_RATE)
        time = torch.arange(length)[None] / SAMPLE_RATE
        tail = torch.randn(count, length, generator=self.generator) * 10 ** (
            -3 * time / self._uniform(0.12, 0.7, count, 1)
        )
        tail[:, : int(0.003 * SAMPLE_RATE)] = 0  # the nearest wall
        tail = tail / tail.square().sum(1, keepdim=True).sqrt() * self._decibels(-self._uniform(0, 14, count, 1))
        dry = audio[chosen]
        size = dry.shape[1] + length
        wet = torch.fft.irfft(torch.fft.rfft(dry, size) * torch.fft.rfft(tail, size), size)[:, : dry.shape[1]]
        audio = audio.clone()
        audio[chosen] = dry + wet
        return audio

    def _noise(self, audio: Tensor) -> Tensor:
        """Noise [batch, n] of random colour, most of it falling towards the treble, one in five white."""
        batch, length = audio.shape
        slope = self._uniform(-0.3, 1.2, batch, 1) * (1 - self._chance(0.2, batch, 1))
        spectrum = (self._hertz(length).clamp(min=60) / 1000) ** -slope
        white = torch.randn(batch, length, generator=self.generator)
        coloured: Tensor = torch.fft.irfft(torch.fft.rfft(white) * spectrum, length)
        return coloured

    def _mix(self, audio: Tensor, other: Tensor, probability: float, nearest: float, farthest: float) -> Tensor:
        """Put `other` under some of the batch, `nearest` to `farthest` dB below."""
        batch = len(audio)
        amount = self._decibels(-self._uniform(nearest, farthest, batch, 1)) * self._chance(probability, batch, 1)
        return audio + other * (amount * self._level(audio) / self._level(other).clamp(min=1e-6))

    def room(self, batch: int, length: int) -> Tensor:
        """Sound [batch, length] of rooms where nobody speaks, -95 .. -45 dBFS."""
        noise = self._noise(torch.zeros(batch, length))
        return noise / self._level(noise) * self._decibels(self._uniform(-95, -45, batch, 1))
