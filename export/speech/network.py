"""Both speech networks: SpeechEncoder (sound to embeddings) and Expression (embeddings to the mouth of one frame).

A causal temporal convolution network (Bai et al. 2018, "An Empirical Evaluation of Generic Convolutional and Recurrent
Networks for Sequence Modeling") over a log-mel spectrogram. The spectrogram is part of the graph, made of convolutions,
so that a client sends sound and no feature code exists twice.

Time: window sample 16,400 is "now". Mel step k of 80 sees the 600 samples that end with hop k; embedding j of 40 sees
mel steps 2j-2 .. 2j+1 and, through the blocks, what came before; nothing sees what lies behind its own end. Expression
reads the last embedding's past alone and answers for the instant LOOKAHEAD_STEPS before the end: the centre of the
shown frame.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from facestream.contract import EMBEDDING_SIZE, EMBEDDING_STEPS, FRAME_RATE, LOOKAHEAD_FRAMES, SAMPLE_RATE
from facestream.parameters import ARKIT
from torch import Tensor, nn
from torch.nn import functional

from export.speech.phonemes import VISEMES
from export.speech.targets import CURVES, TARGET_RATE

HOP: Final = 200
"""Samples from one mel step to the next: 120 Hz."""

SPAN: Final = 600
"""Samples under one mel step: 25 ms."""

MELS: Final = 64
LOWEST_HZ: Final = 60.0
HIGHEST_HZ: Final = 7600.0  # the sounds' shapes lie below, and telephone and 16 kHz sources end there

LOOKAHEAD_STEPS: Final = round((LOOKAHEAD_FRAMES + 0.5) / FRAME_RATE * TARGET_RATE)
"""Embedding steps from the centre of the shown frame to the end of the window: 5 (83 ms)."""

AUXILIARY_STEPS: Final = (2, 8)
"""Other look-aheads that Expression learns beside its own; they teach the trunk and are not exported."""

ENCODER_DILATIONS: Final = (1, 2, 4)
EXPRESSION_DILATIONS: Final = (8, 1, 2)


class LogMel(nn.Module):
    """Log-mel spectrogram by convolutions with fixed weights: Hann window, DFT every 40 Hz, triangular mel bands."""

    cosines_and_sines: Tensor
    bands: Tensor

    def __init__(self) -> None:
        super().__init__()
        spacing = SAMPLE_RATE / SPAN  # 40 Hz
        bins = torch.arange(1, int(HIGHEST_HZ / spacing) + 1, dtype=torch.float64)  # 190 of them
        phase = 2 * math.pi * bins[:, None] * torch.arange(SPAN, dtype=torch.float64)[None] / SPAN
        window = torch.hann_window(SPAN, periodic=True, dtype=torch.float64)
        waves = torch.cat([torch.cos(phase), torch.sin(phase)]) * window / window.square().sum().sqrt()
        # A step is three hops long, so the DFT is a kernel of 3 over hops laid out as 200 channels.
        kernel = waves.view(2 * len(bins), SPAN // HOP, HOP).transpose(1, 2).contiguous()  # [380, 200, 3]
        self.register_buffer("cosines_and_sines", kernel.float())

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
        self.register_buffer("bands", bands.float()[:, :, None])  # [64, 190, 1]

    def power(self, audio: Tensor) -> Tensor:
        """Return the mel power [batch, 64, hops - 2] of `audio` [batch, 200 * hops]."""
        hops = audio.view(-1, audio.shape[1] // HOP, HOP).transpose(1, 2)  # [batch, 200, 82]
        spectrum = functional.conv1d(hops, self.cosines_and_sines)  # [batch, 380, 80]
        half = spectrum.shape[1] // 2
        real, imaginary = spectrum[:, :half], spectrum[:, half:]
        power = real * real + imaginary * imaginary  # [batch, 190, 80]
        return functional.conv1d(power, self.bands)  # [batch, 64, 80]

    @staticmethod
    def compress(power: Tensor) -> Tensor:
        """Return `power` in units of 20 dB about -60 dB; the floor of -90 dB is -1.5."""
        # log(1e9 p + 1), not log(p + 1e-9): onnxscript's optimiser takes 1e-9 for 0 and drops it.
        return torch.log(power * 1e9 + 1.0) * (0.5 / math.log(10)) - 1.5

    def forward(self, audio: Tensor) -> Tensor:
        return self.compress(self.power(audio))


class CausalBlock(nn.Module):
    """Residual block of a dilated convolution; takes no padding, so the output is `reach` steps shorter."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.reach = 2 * dilation
        self.dilated = nn.Conv1d(channels, channels, 3, dilation=dilation)
        self.norm = nn.BatchNorm1d(channels)
        self.mix = nn.Conv1d(channels, channels, 1)
        self.dropout = nn.Dropout1d(0.2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mix(functional.gelu(self.norm(self.dilated(x))))
        y = x[:, :, self.reach :] + self.dropout(y)
        return y


class SpeechEncoder(nn.Module):
    """AUDIO_WINDOW float32[batch, 16400] at 24 kHz to EMBEDDING float32[batch, 40, 192], oldest first, 60 Hz."""

    def __init__(self) -> None:
        super().__init__()
        self.log_mel = LogMel()
        self.stem = nn.Conv1d(MELS, EMBEDDING_SIZE, 4, stride=2)
        self.blocks = nn.ModuleList(CausalBlock(EMBEDDING_SIZE, dilation) for dilation in ENCODER_DILATIONS)

    def encode(self, mel: Tensor) -> Tensor:
        """Compressed mel steps [batch, 64, 2n] to embeddings [batch, 192, n], each with its own past alone."""
        x = functional.gelu(self.stem(functional.pad(mel, (2, 0))))  # [batch, 192, 40]
        for block in self.blocks:
            assert isinstance(block, CausalBlock)
            x = block(functional.pad(x, (block.reach, 0)))  # [batch, 192, 40]
        return functional.gelu(x)

    def forward(self, audio_window: Tensor) -> Tensor:
        return self.encode(self.log_mel(audio_window)).transpose(1, 2)  # [batch, 40, 192]


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
            "mouthPressLeft": 0.30,
            "mouthPressRight": 0.30,
            "mouthRollLower": 0.20,
            "mouthRollUpper": 0.20,
        },
        # lower lip at the upper teeth for f, v
        "labiodental": {
            "mouthRollLower": 0.45,
            "mouthUpperUpLeft": 0.15,
            "mouthUpperUpRight": 0.15,
        },
        # rounded lips, nearly shut (oo, w) and open (oh, sh)
        "pucker": {"mouthPucker": 0.75},
        "funnel": {"mouthFunnel": 0.55},
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
            "mouthLowerDownLeft": 0.18,
            "mouthLowerDownRight": 0.18,
            "mouthUpperUpLeft": 0.08,
            "mouthUpperUpRight": 0.08,
        },
        # th, l
        "tongue": {"tongueOut": 0.20},
    }

    REST_GAP: Final = 0.03  # below this the lips stay shut: the regression's noise must not part them
    GAIN: Final = 1.25  # the mean of several likely shapes is flatter than each of them: restores their spread

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

        parted = 1 - ((closed - 0.25) / 0.35).clamp(0, 1)
        awake = ((0.95 - viseme("sil")) / 0.35).clamp(0, 1)
        parted = parted * awake
        opening = ((gap - self.REST_GAP) * self.GAIN * parted).clamp(0, 1)
        rounded = (-width * self.GAIN).clamp(0, 1) * awake
        causes = torch.cat(
            [
                opening,
                ((closed - 0.3) / 0.5).clamp(0, 1) * awake,
                ((labiodental - 0.2) / 0.6).clamp(0, 1) * parted,
                rounded * (1 - opening),
                (rounded * opening + 0.5 * viseme("CH")).clamp(0, 1) * parted,
                (width * self.GAIN).clamp(0, 1) * awake,
                viseme("SS") * parted,
                (viseme("TH") + 0.25 * viseme("nn")) * parted,
            ],
            dim=1,
        )  # [batch, 8]
        return functional.conv1d(causes[:, :, None], self.effects)[:, :, 0].clamp(0, 1)  # [batch, 52]


class Expression(nn.Module):
    """EMBEDDING float32[batch, 40, 192] to SPEECH_FACE float32[batch, 52] and VISEME float32[batch, 15].

    Both are for the instant LOOKAHEAD_STEPS before the end of the window. SPEECH_FACE holds the ARKit weights in [0, 1]
    that speech causes, VISEME probabilities that sum to 1, in the order of VISEMES.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(CausalBlock(EMBEDDING_SIZE, dilation) for dilation in EXPRESSION_DILATIONS)
        self.reach = sum(2 * dilation for dilation in EXPRESSION_DILATIONS)  # 22 steps
        self.head = nn.Conv1d(EMBEDDING_SIZE, len(CURVES) + len(VISEMES), 1)
        self.auxiliary = nn.ModuleList(
            nn.Conv1d(EMBEDDING_SIZE, len(CURVES) + len(VISEMES), 1) for _ in AUXILIARY_STEPS
        )
        self.articulation = ArticulationLayer()

    def trunk(self, embedding: Tensor) -> Tensor:
        """Embeddings [batch, 192, n] to features [batch, 192, n - reach]."""
        for block in self.blocks:
            embedding = block(embedding)
        return functional.gelu(embedding)

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        x = embedding[:, EMBEDDING_STEPS - 1 - self.reach :].transpose(1, 2)  # [batch, 192, 23]
        x = self.head(self.trunk(x))[:, :, 0]  # [batch, 19]
        lips = torch.cat([x[:, :2], torch.sigmoid(x[:, 2:4])], dim=1)  # [batch, 4]
        visemes = torch.softmax(x[:, 4:], dim=1)  # [batch, 15]
        return self.articulation(lips, visemes), visemes
