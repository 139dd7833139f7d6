"""SpeechEncoder: sound to embeddings, by a log-mel spectrogram in the graph and a causal convolution network over it.

The spectrogram is part of the graph, made of convolutions, so that a client sends sound and no feature code exists
twice.

Time: window sample 16,400 is "now". Mel step k of 80 sees the 600 samples that end with hop k; embedding j of 40 sees
mel steps 2j-2 .. 2j+1 and, through the blocks, what came before; nothing sees what lies behind its own end.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from facestream.contract import EMBEDDING_SIZE, SAMPLE_RATE
from torch import Tensor, nn
from torch.nn import functional

from export.speech.tcn import CausalBlock, ChannelBlock

HOP: Final = 200
"""Samples from one mel step to the next: 120 Hz."""

SPAN: Final = 600
"""Samples under one mel step: 25 ms."""

MIDDLE: Final = SPAN // 2

MELS: Final = 64
LOWEST_HZ: Final = 60.0
HIGHEST_HZ: Final = 7600.0  # the sounds' shapes lie below, and telephone and 16 kHz sources end there

ENCODER_DILATIONS: Final = (1, 2, 4)


class LogMel(nn.Module):
    """Log-mel spectrogram by convolutions with fixed weights: Hann window, DFT every 40 Hz, triangular mel bands.

    Cosines are the same forwards and backwards from a span's middle, sines the same but for their sign: each span is
    folded there, which halves the sums.
    """

    cosines: Tensor
    sines: Tensor
    bands: Tensor

    def __init__(self) -> None:
        super().__init__()
        spacing = SAMPLE_RATE / SPAN  # 40 Hz
        bins = torch.arange(1, int(HIGHEST_HZ / spacing) + 1, dtype=torch.float64)  # 190 of them
        # The window is 0 at sample 0; samples 1 .. 299 have a counterpart behind sample 300.
        phase = 2 * math.pi * bins[:, None] * torch.arange(1, MIDDLE + 1, dtype=torch.float64)[None] / SPAN
        window = torch.hann_window(SPAN, periodic=True, dtype=torch.float64)
        window = window[1 : MIDDLE + 1] / window.square().sum().sqrt()
        self.register_buffer(
            "cosines", (torch.cos(phase) * window).float()[:, :, None], persistent=False
        )  # [190, 300, 1]
        sines = (torch.sin(phase) * window)[:, :-1]  # the middle's own is 0
        self.register_buffer("sines", sines.float()[:, :, None], persistent=False)  # [190, 299, 1]

        def mel(hertz: float) -> float:
            return 2595 * math.log10(1 + hertz / 700)

        centres = torch.linspace(mel(LOWEST_HZ), mel(HIGHEST_HZ), MELS + 2, dtype=torch.float64)
        edges = 700 * (10 ** (centres / 2595) - 1)
        middle = edges[1:-1, None]
        below = (middle - edges[:-2, None]).clamp(min=spacing)  # at least one bin wide, or low bands would be empty
        above = (edges[2:, None] - middle).clamp(min=spacing)
        hertz = (bins * spacing)[None]
        bands = torch.minimum((hertz - middle + below) / below, (middle + above - hertz) / above).clamp(min=0)
        bands = bands / bands.sum(1, keepdim=True)
        self.register_buffer("bands", bands.float()[:, :, None], persistent=False)  # [64, 190, 1]

    def power(self, audio: Tensor) -> Tensor:
        """Return the mel power [batch, 64, hops - 2] of `audio` [batch, 200 * hops]."""
        hops = audio.view(-1, audio.shape[1] // HOP, HOP).transpose(1, 2)  # [batch, 200, 82]
        steps = hops.shape[2] - SPAN // HOP + 1
        spans = torch.cat([hops[:, :, hop : hop + steps] for hop in range(SPAN // HOP)], 1)  # [batch, 600, 80]
        early, late = spans[:, 1:MIDDLE], spans[:, MIDDLE + 1 :].flip(1)  # [batch, 299, 80]
        alike = torch.cat([early + late, spans[:, MIDDLE : MIDDLE + 1]], 1)  # [batch, 300, 80]
        real = functional.conv1d(alike, self.cosines)
        imaginary = functional.conv1d(early - late, self.sines)
        power = real * real + imaginary * imaginary  # [batch, 190, 80]
        return functional.conv1d(power, self.bands)  # [batch, 64, 80]

    @staticmethod
    def compress(power: Tensor) -> Tensor:
        """Return `power` in units of 20 dB about -60 dB; the floor of -90 dB is -1.5."""
        # log(1e9 p + 1), not log(p + 1e-9): onnxscript's optimiser takes 1e-9 for 0 and drops it.
        return torch.log(power * 1e9 + 1.0) * (0.5 / math.log(10)) - 1.5

    def forward(self, audio: Tensor) -> Tensor:
        return self.compress(self.power(audio))


class SpeechEncoder(nn.Module):
    """AUDIO_WINDOW float32[batch, 16400] at 24 kHz to EMBEDDING float32[batch, 40, 192], oldest first, 60 Hz."""

    def __init__(self) -> None:
        super().__init__()
        self.log_mel = LogMel()
        self.stem = nn.Conv1d(MELS, EMBEDDING_SIZE, 4, stride=2)
        self.blocks = nn.ModuleList(CausalBlock(EMBEDDING_SIZE, dilation) for dilation in ENCODER_DILATIONS)
        self.mixes = nn.ModuleList(ChannelBlock(EMBEDDING_SIZE) for _ in ENCODER_DILATIONS)
        self.reach = 1 + sum(2 * dilation for dilation in ENCODER_DILATIONS)
        """Steps before its own that an embedding depends on: 15, one of them through the stem."""

    def encode(self, mel: Tensor) -> Tensor:
        """Compressed mel steps [batch, 64, 2n] to embeddings [batch, 192, n], each with its own past alone."""
        x = functional.gelu(self.stem(functional.pad(mel, (2, 0))))  # [batch, 192, 40]
        for block, mix in zip(self.blocks, self.mixes, strict=True):
            assert isinstance(block, CausalBlock)
            x = mix(block(functional.pad(x, (block.reach, 0))))  # [batch, 192, 40]
        return functional.gelu(x)

    def forward(self, audio_window: Tensor) -> Tensor:
        return self.encode(self.log_mel(audio_window)).transpose(1, 2)  # [batch, 40, 192]
