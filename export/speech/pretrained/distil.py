"""Distil wav2vec 2.0 or HuBERT into the small encoder: it learns to foretell the teacher's features beside the lips.

    python -m export.speech.train --teacher FOLDER --layer 6       # build/speech/TEMPORAL-of-NAME-layer6.pt

A linear head on the embeddings predicts the teacher's hidden states at the layer; its loss is DistilHuBERT's, the mean
absolute difference and the cosine (Chang, Yang & Lee 2022, "DistilHuBERT"). The head is dropped at the end: the network
that is exported is the small one, as fast as without a teacher.

The teacher hears each utterance whole and clean, once; what it said is kept beside the corpus. The small encoder hears
it augmented, and may take DELAY steps more before it answers, for the teacher looks both ways.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from facestream.contract import EMBEDDING_SIZE
from torch import Tensor, nn
from torch.nn import functional

from export.speech.feature_cache import cache_folder, fits, whole
from export.speech.features import STRETCHES, Voice, stretches
from export.speech.loss import lips_loss
from export.speech.networks import Networks
from export.speech.passages import NEGATIVES, Batch
from export.speech.pretrained.encoder import Checkpoint, PretrainedEncoder, read_checkpoint

DELAY: Final = 2
"""Steps that the small encoder has heard beyond the teacher's step: 33 ms."""

WEIGHT: Final = 0.5
"""Weight of the teacher's loss beside that of the lips."""


def distillation_loss(guess: Tensor, teacher: Tensor, taught: Tensor) -> Tensor:
    """Mean absolute difference less the log-sigmoid of the cosine, over the steps with `taught` 1.

    `guess` and `teacher` are [batch, n, size], `taught` is [batch, n].
    """
    difference = (guess - teacher).abs().mean(2)
    alike = functional.logsigmoid(functional.cosine_similarity(guess, teacher, dim=2))
    return ((difference - alike) * taught).sum() / taught.sum().clamp(min=1)


class Distilled(Networks):
    """The small networks with a head that foretells a teacher's features of `size`; it is not exported."""

    def __init__(self, temporal: str, size: int) -> None:
        super().__init__(temporal)
        self.teacher_head = nn.Linear(EMBEDDING_SIZE, size)

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean loss of one batch: lips and teacher."""
        if batch.teacher is None or batch.taught is None:
            raise ValueError("the batch has no teacher's features, expected voices with them")
        with torch.autocast("cpu", torch.bfloat16):
            embedding = self.encoder.encode(batch.mel).transpose(1, 2)  # [batch, n, 192]
            logits = self.expression.logits(embedding)
            guess = self.teacher_head(embedding[:, DELAY:]).float()
        lips = lips_loss(logits, batch.lips, batch.visemes, self.past, batch.noise, batch.twins)
        return lips + WEIGHT * distillation_loss(guess, batch.teacher[:, :-DELAY], batch.taught[:, :-DELAY])


def teach(voices: list[Voice], corpus: Path, folder: Path, layer: int) -> Checkpoint:
    """Give every voice of speech its `teacher` features; they are kept on the disk and read back while they fit.

    Features are brought to mean 0 and variance 1 over the channels of each step: models differ in scale, and some have
    a few channels that would drown all others.

    Raises:
        CheckpointError: `folder` is no checkpoint that can be a teacher, or `layer` is out of its range.
    """
    source = read_checkpoint(folder)
    encoder: PretrainedEncoder | None = None
    identity = source.identity(layer)
    cache = cache_folder(corpus, "teacher", *STRETCHES)
    cache /= f"{identity['model_type']}-{identity['weights'][:12]}-layer{layer}"
    cache.mkdir(exist_ok=True)
    spoken = [voice for voice in voices if not voice.name.startswith(NEGATIVES)]
    for i, voice in enumerate(spoken):
        shard, kept = corpus / f"{voice.name}.npz", cache / f"{voice.name}.npy"
        if not fits(kept, shard):
            if encoder is None:
                encoder = PretrainedEncoder(source, layer).eval()
            print(f"teacher hears {voice.name}, {i + 1} of {len(spoken)}", flush=True)
            features = [_features(encoder, stretch.audio) for stretch in stretches(shard)]
            with whole(kept) as unfinished:
                np.save(unfinished, np.concatenate(features))
        # Copy on write: torch wants memory that it might write to, and the file stays as it is.
        voice.teacher = torch.from_numpy(np.load(kept, mmap_mode="c"))
    return source


def _features(encoder: PretrainedEncoder, audio: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Features float16[n, size] of sound float32[400 * (n + 1)]."""
    with torch.inference_mode():
        features = encoder(torch.from_numpy(audio)[None])[0]
        normed: npt.NDArray[np.float16] = functional.layer_norm(features, features.shape[-1:]).half().numpy()
    return normed
