"""Train both speech networks on the synthetic corpus.

    python -m export.speech.corpus                       # once: build/speech/corpus
    python -m export.speech.train --steps 8000           # build/speech/checkpoint.pt
    python -m export.speech.export                       # model_repository/{speech_encoder,expression}/1/model.onnx

Started again, it goes on from its checkpoint. The same seed, steps and corpus give the same course, up to the order of
floating-point sums of the machine's threads.

The loss is taken over whole passages at 60 Hz. That is the same as training on the 0.67 s windows which the server
sends, since the last step's past (37 embedding steps) fits into one window; passages that begin with digital zeros
stand for the start of a session.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from facestream.contract import SAMPLE_RATE
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from export.speech.augment import Augmenter
from export.speech.corpus import read_shard
from export.speech.network import (
    AUXILIARY_STEPS,
    ENCODER_DILATIONS,
    EXPRESSION_DILATIONS,
    HOP,
    LOOKAHEAD_STEPS,
    SPAN,
    Expression,
    LogMel,
    SpeechEncoder,
)
from export.speech.phonemes import VISEMES
from export.speech.targets import CURVES, TARGET_RATE, curves, segments

BATCH: Final = 32
PASSAGE: Final = 384
"""Mel steps of one training passage: 3.2 s."""

NOMINAL_DBFS: Final = -25.0
"""Level of the loud part of each utterance before augmentation."""

MISSED: Final = torch.tensor([[2.0], [1.0]])
"""Weight of a missed closure and of a missed f or v: lips left open on p, b, m are seen, extra closures hardly."""

HELD_OUT: Final = 0.03
"""The last part of each voice, kept for validation."""

VOICE_GROUPS: Final = {"flite": 0.40, "festival": 0.35, "espeak": 0.25}
"""Share of the passages by synthesiser."""


class Networks(nn.Module):
    """Encoder and expression as they are trained: mel passages to logits for all look-aheads."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = SpeechEncoder()
        self.expression = Expression()

    def forward(self, mel: Tensor) -> list[Tensor]:
        """Compressed mel [batch, 64, 2n] to logits [batch, 19, n - reach], one for each of `lookaheads`."""
        features = self.expression.trunk(self.encoder.encode(mel))
        heads = [self.expression.head, *self.expression.auxiliary]
        return [head(features) for head in heads]


LOOKAHEADS: Final = (LOOKAHEAD_STEPS, *AUXILIARY_STEPS)

PAST_STEPS: Final = sum(2 * dilation for dilation in ENCODER_DILATIONS + EXPRESSION_DILATIONS)
"""Embedding steps before its own that an output depends on: 36."""


class Voice:
    """One voice as a stream: log mel power float16[64, 2n] at 120 Hz; at 60 curves float16[4, n], visemes int64[n]."""

    def __init__(self, name: str, log_power: Tensor, lips: Tensor, visemes: Tensor) -> None:
        self.name = name
        self.log_power = log_power
        self.lips = lips
        self.visemes = visemes


def load_voice(path: Path, log_mel: LogMel) -> Voice:
    """Read one shard, level its utterances, put pauses between them and compute features and targets."""
    rng = np.random.default_rng(0)
    powers, lips, visemes = [], [], []
    for utterance, alphabet in read_shard(path):
        audio: npt.NDArray[np.floating[Any]] = utterance.audio
        loud = np.abs(audio) > np.percentile(np.abs(audio), 60)
        audio = audio * (10 ** (NOMINAL_DBFS / 20) / max(0.7 * float(np.sqrt(np.mean(audio[loud] ** 2))), 1e-5))
        before, after = rng.uniform(0.1, 0.7), rng.uniform(0.2, 0.8)
        audio = np.pad(audio, (int(before * SAMPLE_RATE), int(after * SAMPLE_RATE)))
        steps = len(audio) // (2 * HOP)
        audio = audio[: steps * 2 * HOP] + rng.normal(0, 1e-5, steps * 2 * HOP)
        # Step k ends with hop k, so a whole span less one hop comes before the first.
        audio = np.concatenate([np.zeros(SPAN - HOP), audio]).astype(np.float32)
        with torch.inference_mode():
            power = log_mel.power(torch.from_numpy(audio)[None])[0]
        times = (np.arange(steps) + 1.0) * 2 * HOP / SAMPLE_RATE
        timed = [(name, start + before, end + before) for name, start, end in segments(utterance.phonemes, alphabet)]
        timed = [("silence", 0.0, before), *timed, ("silence", timed[-1][2], times[-1] + 1.0)]
        shapes, classes = curves(timed, times)
        powers.append(torch.log(power + 1e-10).half())
        lips.append(torch.from_numpy(shapes).half())
        visemes.append(torch.from_numpy(classes))
    return Voice(path.stem, torch.cat(powers, 1), torch.cat(lips, 1), torch.cat(visemes))


def load_corpus(folder: Path) -> list[Voice]:
    """Load every shard of `folder`; features are kept beside it and read back while they fit the shards."""
    shards = sorted(path for path in folder.glob("*.npz") if not path.name.endswith(".tmp.npz"))
    if not shards:
        raise FileNotFoundError(
            f"corpus is {folder}, expected a folder of .npz shards: run python -m export.speech.corpus"
        )
    cache = folder.with_suffix(".features.pt")
    newest = max(path.stat().st_mtime for path in shards)
    if cache.exists() and cache.stat().st_mtime > newest:
        kept = [Voice(*fields) for fields in torch.load(cache)]
        if [voice.name for voice in kept] == [path.stem for path in shards]:
            return kept
    log_mel = LogMel()
    voices = [load_voice(path, log_mel) for path in shards]
    torch.save([(v.name, v.log_power, v.lips, v.visemes) for v in voices], cache)
    return voices


class Passages:
    """Draws batches: random passages at random speed, augmented, with their targets."""

    def __init__(self, voices: list[Voice], generator: torch.Generator) -> None:
        self.voices = voices
        self.generator = generator
        self.augment = Augmenter(generator)
        weights = torch.zeros(len(voices))
        for group, share in VOICE_GROUPS.items():
            members = [i for i, voice in enumerate(voices) if voice.name.startswith(group)]
            # Within a group by the square root of the length: no voice drowns the others.
            sizes = torch.tensor([math.sqrt(len(voices[i].visemes)) for i in members])
            if len(members):
                weights[members] = share * sizes / sizes.sum()
        self.weights = weights

    def _draw(self) -> tuple[Tensor, Tensor, Tensor]:
        voice = self.voices[int(torch.multinomial(self.weights, 1, generator=self.generator))]
        speed = float(torch.rand(1, generator=self.generator)) * 0.6 + 0.75
        available = int(len(voice.visemes) * (1 - HELD_OUT))
        needed = int(PASSAGE / 2 * speed) + 3
        start = int(torch.randint(0, available - needed, (1,), generator=self.generator))
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
        return log_power, lips, visemes

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return compressed mel [32, 64, 384], lips [32, 4, 192] and visemes [32, 192]."""
        drawn = [self._draw() for _ in range(BATCH)]
        power = self.augment(torch.exp(torch.stack([piece for piece, _, _ in drawn])))
        lips = torch.stack([piece for _, piece, _ in drawn])
        visemes = torch.stack([piece for _, _, piece in drawn])
        # One passage in sixteen is an empty room; one in eight starts as a session does, from digital zeros.
        rooms = BATCH // 16
        power[:rooms] = self.augment.room(rooms, power.shape[1], PASSAGE)
        lips[:rooms] = 0
        visemes[:rooms] = VISEMES.index("sil")
        for i in range(1, 1 + BATCH // 8):
            begin = 2 * int(torch.randint(0, PASSAGE // 4, (1,), generator=self.generator))
            power[i, :, :begin] = 0
            lips[i, :, : begin // 2] = 0
            visemes[i, : begin // 2] = VISEMES.index("sil")
        return LogMel.compress(power), lips, visemes


def loss_of(logits: list[Tensor], lips: Tensor, visemes: Tensor) -> Tensor:
    """Mean loss over the look-aheads; step j of each answers for target j - lookahead."""
    total = torch.zeros(())
    steps = lips.shape[2]
    for lookahead, weight, output in zip(LOOKAHEADS, (0.6, 0.2, 0.2), logits, strict=True):
        first = PAST_STEPS
        output = output[:, :, first - steps :]
        shapes = lips[:, :, first - lookahead : steps - lookahead]
        classes = visemes[:, first - lookahead : steps - lookahead]
        output = output.float()
        total = total + weight * (
            4 * functional.mse_loss(output[:, 0], shapes[:, 0])
            + 20 * functional.mse_loss(output[:, 0].diff(dim=1), shapes[:, 0].diff(dim=1))
            + functional.mse_loss(output[:, 1], shapes[:, 1])
            + 0.5 * functional.binary_cross_entropy_with_logits(output[:, 2:4], shapes[:, 2:4], pos_weight=MISSED)
            + 0.15 * functional.cross_entropy(output[:, len(CURVES) :], classes)
        )
    return total


def validate(networks: nn.Module, voices: list[Voice]) -> float:
    """Correlation of the predicted lip gap with its target over the held-out ends of all voices."""
    networks.eval()
    predicted, wanted = [], []
    for voice in voices:
        first = int(len(voice.visemes) * (1 - HELD_OUT))
        with torch.inference_mode():
            gap = networks(LogMel.compress(torch.exp(voice.log_power[:, 2 * first :].float()))[None])[0][0, 0]
        target = voice.lips[0, first:].float()
        skipped = len(target) - len(gap)
        predicted.append(gap)
        wanted.append(target[skipped - LOOKAHEAD_STEPS : len(target) - LOOKAHEAD_STEPS])
    networks.train()
    return float(torch.corrcoef(torch.stack([torch.cat(predicted), torch.cat(wanted)]))[0, 1])


def main(arguments: list[str] | None = None) -> int:
    """Train to the end of `--steps`, or go on from the checkpoint; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("build/speech/corpus"))
    parser.add_argument("--checkpoint", type=Path, default=Path("build/speech/checkpoint.pt"))
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=200, metavar="STEPS")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)

    voices = load_corpus(options.corpus)
    minutes = sum(len(voice.visemes) for voice in voices) / TARGET_RATE / 60
    networks = Networks()
    count = sum(parameter.numel() for parameter in networks.parameters())
    print(f"{len(voices)} voices, {minutes:.0f} minutes, {count / 1e6:.2f} M parameters", flush=True)
    mean = get_ema_multi_avg_fn(0.998)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(networks, multi_avg_fn=mean, use_buffers=True)
    optimiser = torch.optim.AdamW(networks.parameters(), options.rate, weight_decay=1e-2)
    first = 0
    if options.checkpoint.exists():
        saved: dict[str, Any] = torch.load(options.checkpoint)
        networks.load_state_dict(saved["networks"])
        averaged.load_state_dict(saved["averaged"])
        optimiser.load_state_dict(saved["optimiser"])
        generator.set_state(saved["generator"])
        first = saved["step"]
        print(f"goes on at step {first}", flush=True)

    passages = Passages(voices, generator)
    losses: list[float] = []
    began = time.monotonic()
    for step in range(first, options.steps):
        rate = options.rate * min(1.0, (step + 1) / 60) * (0.5 + 0.5 * math.cos(math.pi * step / options.steps)) + 1e-5
        for group in optimiser.param_groups:
            group["lr"] = rate
        mel, lips, visemes = passages.batch()
        with torch.autocast("cpu", torch.bfloat16):
            logits = networks(mel)
        loss = loss_of(logits, lips, visemes)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
        optimiser.step()
        averaged.update_parameters(networks)
        losses.append(loss.item())
        done = step + 1
        if done % options.save_every == 0 or done == options.steps:
            pace = (time.monotonic() - began) / (done - first)
            score = validate(averaged, voices)
            print(
                f"step {done}/{options.steps} loss {np.mean(losses[-options.save_every :]):.4f} "
                f"held-out gap r {score:.3f}, {pace:.2f} s a step",
                flush=True,
            )
            unfinished = options.checkpoint.with_suffix(".tmp")
            torch.save(
                {
                    "networks": networks.state_dict(),
                    "averaged": averaged.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "generator": generator.get_state(),
                    "step": done,
                },
                unfinished,
            )
            os.replace(unfinished, options.checkpoint)
    return 0


if __name__ == "__main__":
    sys.exit(main())
