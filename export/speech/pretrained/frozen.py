"""Train the expression stage on a frozen encoder: wav2vec 2.0 or HuBERT, cut at a layer (encoder.py).

    python -m export.speech.train --encoder FOLDER --layer 6       # build/speech/NAME-layer6.pt

Such an encoder looks both ways and normalises over all that it hears. So an answer comes from a window as the server
sends it, and only the last one of a window is asked for; windows one step apart teach how the lips move.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from facestream.contract import EMBEDDING_STEPS, LOOKAHEAD_FRAMES, WINDOW_SAMPLES
from torch import Tensor, nn

from export.speech.expression import LOOKAHEADS, SHUTTER, Expression
from export.speech.loss import led, lips_loss
from export.speech.passages import NEGATIVES, SILENCE, drawn_from, voice_weights
from export.speech.pretrained.augment_sound import SoundAugmenter
from export.speech.pretrained.encoder import PretrainedEncoder, read_checkpoint
from export.speech.pretrained.sounds import STEP, Sound, load_sounds
from export.speech.targets import TARGET_RATE
from export.speech.train import averaged_weights, fit

PASSAGES: Final = 8
WINDOWS: Final = 5
"""Windows of one passage, a step apart."""

STEPS: Final = WINDOW_SAMPLES // STEP + WINDOWS - 1
"""Steps of one passage: 45, 0.75 s."""

SLOWEST: Final = 0.85
FASTEST: Final = 1.2
"""Speed and pitch of the voices, changed together."""

VALIDATED_WINDOWS: Final = 600
"""Windows of the held-out speech that are scored at each checkpoint: 20 s of frames."""


class SoundBatch(NamedTuple):
    """Passages of n steps at 60 Hz."""

    audio: Tensor
    """Sound [batch, 400 * n] at 24 kHz, augmented; step j ends with sample 400 * (j + 1)."""
    lips: Tensor
    """Curves [batch, 4, n]."""
    visemes: Tensor
    """Indices of VISEMES [batch, n]."""


def _steps_needed(speed: float) -> int:
    """Steps of a sound under one passage at `speed`."""
    return int(STEPS * speed) + 3


class SoundPassages:
    """Draws passages from `sounds` with one seeded generator; one too short for a passage is left out.

    One in sixteen is an empty room, one in sixteen a sound that is no speech where there are such, and one in eight
    starts as a session does, from digital zeros.
    """

    def __init__(self, sounds: list[Sound], generator: torch.Generator) -> None:
        enough = [sound for sound in sounds if drawn_from(len(sound.visemes)) > _steps_needed(FASTEST)]
        self.negatives = [sound for sound in enough if sound.name.startswith(NEGATIVES)]
        self.sounds = [sound for sound in enough if not sound.name.startswith(NEGATIVES)]
        self.weights = voice_weights(self.sounds)
        self.generator = generator
        self.augment = SoundAugmenter(generator)

    def _chance(self, probability: float) -> bool:
        return float(torch.rand(1, generator=self.generator)) < probability

    def _draw(self, sound: Sound) -> SoundBatch:
        """Return one passage of `sound` without the batch dimension."""
        speed = float(torch.rand(1, generator=self.generator)) * (FASTEST - SLOWEST) + SLOWEST
        needed = _steps_needed(speed)
        start = int(torch.randint(0, drawn_from(len(sound.visemes)) - needed, (1,), generator=self.generator))
        piece = torch.from_numpy(sound.audio[STEP * start : STEP * (start + needed)].astype("float32") / 32767.0)
        place = (torch.arange(STEP * STEPS) + 1.0) * speed - 1.0
        lower = place.clamp(min=0).long()
        part = place.clamp(min=0) - lower
        audio = piece[lower] * (1 - part) + piece[lower + 1] * part
        place = ((torch.arange(STEPS) + 1.0) * speed - 1.0).clamp(min=0)
        lower = place.long()
        part = (place - lower)[None]
        shapes = sound.lips[:, start : start + needed].float()
        lips = shapes[:, lower] * (1 - part) + shapes[:, lower + 1] * part
        return SoundBatch(audio, lips, sound.visemes[start : start + needed][(place + 0.5).long()])

    def _noise(self) -> Tensor:
        chosen = int(torch.randint(0, len(self.negatives), (1,), generator=self.generator))
        return self._draw(self.negatives[chosen]).audio

    def batch(self) -> SoundBatch:
        """Return PASSAGES passages."""
        drawn = [
            self._draw(self.sounds[int(torch.multinomial(self.weights, 1, generator=self.generator))])
            for _ in range(PASSAGES)
        ]
        audio = torch.stack([piece.audio for piece in drawn])
        lips = torch.stack([piece.lips for piece in drawn])
        visemes = torch.stack([piece.visemes for piece in drawn])
        background = None
        if self.negatives:
            background = torch.stack([self._noise() for _ in range(PASSAGES)])
            for i in range(PASSAGES):
                if self._chance(1 / 16):
                    audio[i], lips[i], visemes[i] = self._noise(), 0, SILENCE
        audio = self.augment(audio, background)
        room = self.augment.room(PASSAGES, audio.shape[1])
        for i in range(PASSAGES):
            if self._chance(1 / 16):
                audio[i], lips[i], visemes[i] = room[i], 0, SILENCE
            if self._chance(1 / 8):
                begin = int(torch.randint(0, STEPS, (1,), generator=self.generator))
                audio[i, : STEP * begin] = 0
                lips[i, :, :begin] = 0
                visemes[i, :begin] = SILENCE
        return SoundBatch(audio, lips, visemes)


def answers(expression: Expression, encoder: nn.Module, windows: Tensor) -> list[Tensor]:
    """Windows [n, 16400] to the logits [n, 3, 20] of their last step, one for each of LOOKAHEADS."""
    with torch.no_grad():
        embedding = encoder(windows)[:, EMBEDDING_STEPS - 1 - expression.reach :]
    return [logits[..., 0] for logits in expression.logits(embedding)]


def loss_of(expression: Expression, encoder: nn.Module, batch: SoundBatch) -> Tensor:
    """Return the mean loss over the last step of each window of each passage."""
    windows = batch.audio.unfold(1, WINDOW_SAMPLES, STEP)  # [passages, WINDOWS, 16400]
    count = windows.shape[1]
    logits = [
        output.view(-1, count, *output.shape[1:]).permute(0, 2, 3, 1)
        for output in answers(expression, encoder, windows.reshape(-1, WINDOW_SAMPLES))
    ]
    return lips_loss(logits, batch.lips, batch.visemes, batch.lips.shape[2] - count)


def validate(expression: Expression, encoder: nn.Module, sounds: list[Sound]) -> float:
    """Correlation of the predicted lip gap with its target over frames of the held-out ends of the voices."""
    expression.eval()
    lookahead = LOOKAHEADS[LOOKAHEAD_FRAMES]
    spoken = [sound for sound in sounds if not sound.name.startswith(NEGATIVES)]
    each = max(2, VALIDATED_WINDOWS // len(spoken))
    predicted, wanted = [], []
    for sound in spoken:
        n = len(sound.visemes)
        first = max(drawn_from(n), WINDOW_SAMPLES // STEP)
        if first >= n:
            continue
        steps = list(range(first, n, 2))[:each]  # two steps to a frame
        windows = [
            torch.from_numpy(sound.audio[STEP * (step + 1) - WINDOW_SAMPLES : STEP * (step + 1)].astype("float32"))
            for step in steps
        ]
        for i in range(0, len(steps), 32):
            with torch.inference_mode():
                output = answers(expression, encoder, torch.stack(windows[i : i + 32]) / 32767.0)[LOOKAHEAD_FRAMES]
            predicted.append(output[:, len(SHUTTER) // 2, 0])
        wanted.append(led(sound.lips[0].float(), lookahead, first)[::2][:each])
    expression.train()
    return float(torch.corrcoef(torch.stack([torch.cat(predicted), torch.cat(wanted)]))[0, 1])


def default_checkpoint(folder: Path, layer: int) -> Path:
    """Where the expression stage on this encoder is kept unless another file is named."""
    return Path("build/speech") / f"{folder.resolve().name}-layer{layer}.pt"


def train_on_encoder(
    corpus: Path,
    checkpoint: Path,
    folder: Path,
    layer: int,
    *,
    temporal: str,
    steps: int,
    rate: float,
    seed: int,
    save_every: int = 200,
) -> nn.Module:
    """Train a `temporal` model on the embeddings of `folder` at `layer`, or go on; return the averaged expression.

    Raises:
        CheckpointError: `folder` is no checkpoint that can be an encoder, or `layer` is out of its range.
        ValueError: `checkpoint` was made for something else.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    source = read_checkpoint(folder)
    encoder = PretrainedEncoder(source, layer).eval()
    sounds = load_sounds(corpus)
    expression = Expression(encoder.size, temporal)
    minutes = sum(len(sound.visemes) for sound in sounds) / TARGET_RATE / 60
    frozen = sum(parameter.numel() for parameter in encoder.parameters())
    count = sum(parameter.numel() for parameter in expression.parameters())
    print(
        f"{len(sounds)} voices, {minutes:.0f} minutes; {temporal}, {count / 1e6:.2f} M parameters on "
        f"{source.model_type} cut at layer {layer}, {frozen / 1e6:.1f} M parameters",
        flush=True,
    )
    passages = SoundPassages(sounds, generator)

    def score(averaged: nn.Module) -> str:
        module = averaged.module
        assert isinstance(module, Expression)
        return f"{validate(module, encoder, sounds):.3f}"

    return fit(
        expression,
        lambda: loss_of(expression, encoder, passages.batch()),
        score,
        generator,
        checkpoint,
        steps=steps,
        rate=rate,
        save_every=save_every,
        about={"temporal": temporal, "steps": steps, "seed": seed, "encoder": source.identity(layer)},
    )


def trained_on_encoder(checkpoint: Path, folder: Path, layer: int) -> tuple[PretrainedEncoder, Expression]:
    """Return the encoder and the expression stage that was trained on it, ready to run.

    Raises:
        CheckpointError: `folder` is no checkpoint that can be an encoder, or `layer` is out of its range.
        FileNotFoundError: there is no such `checkpoint`.
        ValueError: it was trained on another encoder.
    """
    source = read_checkpoint(folder)
    source.check(layer)
    if not checkpoint.exists():
        raise FileNotFoundError(
            f"checkpoint is {checkpoint}, expected the file that python -m export.speech.train --encoder {folder} "
            f"--layer {layer} writes"
        )
    encoder = PretrainedEncoder(source, layer).eval()
    saved: dict[str, Any] = torch.load(checkpoint)
    known, identity = saved["about"].get("encoder"), source.identity(layer)
    if known != identity:
        on = f"{known['model_type']} at layer {known['layer']}, weights {known['weights'][:8]}" if known else "its own"
        raise ValueError(
            f"{checkpoint} was trained on {on}, expected {source.model_type} at layer {layer}, "
            f"weights {identity['weights'][:8]}"
        )
    expression = Expression(encoder.size, saved["about"]["temporal"])
    expression.load_state_dict(averaged_weights(saved))
    expression.eval()
    return encoder, expression
