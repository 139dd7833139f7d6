"""Train what `motion` hears in the prosody: accents and ends of phrases.

    python -m export.motion.prosody_network                  # minutes on one core

speaks sentences with six voices of festival and flite, whose intonation is known (export/motion/accented_speech.py),
lets audio_frontend's own code hear them, with noise and at other levels and speeds, trains once without each voice and
judges on that one, then trains on all and writes model_repository/motion/1/prosody_network.npz and, beside this file,
prosody_network.json with the figures. With `--clips FOLDER` (NAME.wav beside NAME.txt with its words, English) and
pocketsphinx the network is also judged on recorded speech, against the accents that festival's front end expects for
the words: an expectation, not what the reader did.

Head motion itself is not learned: no recording of heads and voices is at hand whose licence lets the result be shipped.
What is learned is to find the events; what head, brows, lids and gaze do with them follows published figures.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr
import torch
from facestream.contract import CHUNK_SAMPLES, FRAME_RATE, SAMPLE_RATE
from scipy.stats import rankdata
from torch import nn

from export.ensembles import REPOSITORY
from export.motion.accented_speech import (
    FESTIVAL_VOICES,
    FLITE_VOICES,
    Syllable,
    festival_says,
    flite_says,
    labels_of,
    texts,
)
from export.speech.corpus.shard import Audio, VoiceMissing
from export.speech.sound_file import read_audio

# Training runs the stages' own code: what is heard must not depend on who asks.
sys.path[:0] = [str(REPOSITORY / stage / "1") for stage in ("audio_frontend", "motion")]

from analysis_window import AnalysisWindow  # noqa: E402
from prosody_events import CHANNELS, CONTEXT_FRAMES, DELAY_FRAMES, WEIGHTS, ProsodyFeatures  # noqa: E402

FIGURES: Final = Path(__file__).with_name("prosody_network.json")
HIDDEN: Final = (40, 20)
EVENTS: Final = ("accent", "final")
_BATCH: Final = 512
_PASSES: Final = 14

Floats = npt.NDArray[np.float32]


class Heard(NamedTuple):
    """One voice's speech as the network sees it."""

    features: Floats
    """[frames, CONTEXT_FRAMES * CHANNELS]."""
    targets: Floats
    """[frames, 2] of the frame DELAY_FRAMES behind."""
    syllables: list[tuple[int, int, Syllable]]
    """First frame of its outputs, the one behind the last, and the syllable."""


def say(voice: str, seconds: float, seed: int) -> Iterator[tuple[Audio, list[Syllable]]]:
    """Sentences of one voice with pauses before them, at other speeds, levels and in noise; times in seconds."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    lines = texts(seed)
    says = flite_says(voice, lines, rng) if voice in FLITE_VOICES else festival_says(voice, lines, rng)
    spoken = 0.0
    for utterance in says:
        rate = rng.uniform(0.82, 1.22)  # a smaller or larger speaker: pitch, formants and pace together
        audio = np.asarray(soxr.resample(utterance.audio, SAMPLE_RATE * rate, SAMPLE_RATE), np.float32)
        pause = rng.uniform(0.0, 0.9)
        syllables = [s._replace(start=pause + s.start / rate, end=pause + s.end / rate) for s in utterance.syllables]
        audio = np.concatenate([np.zeros(int(pause * SAMPLE_RATE), np.float32), audio])
        level = float(np.sqrt((audio**2).mean())) + 1e-9
        if rng.random() < 0.6:
            added = noise.standard_normal(len(audio)) * level * 10 ** (-rng.uniform(10, 40) / 20)
            audio = audio + added.astype(np.float32)
        audio = audio * np.float32(0.1 / level * 10 ** (rng.uniform(-14, 8) / 20))
        yield audio[: len(audio) // CHUNK_SAMPLES * CHUNK_SAMPLES], syllables
        spoken += len(audio) / SAMPLE_RATE
        if spoken > seconds:
            return


def hear(utterances: Iterator[tuple[Audio, list[Syllable]]]) -> Heard:
    """Run the front end's code over utterances, end to end as one session, and lay the targets beside."""
    window, relative = AnalysisWindow(), ProsodyFeatures()
    features: list[Floats] = []
    targets: list[Floats] = []
    heard: list[tuple[int, int, Syllable]] = []
    for audio, syllables in utterances:
        begin = len(features)
        wanted = np.zeros((len(audio) // CHUNK_SAMPLES, len(EVENTS)), np.float32)
        for chunk in audio.reshape(-1, CHUNK_SAMPLES):
            features.append(relative(window.push(chunk)[1]).reshape(-1).astype(np.float32))
        for s in syllables:
            first, stop = round(s.start * FRAME_RATE), max(round(s.end * FRAME_RATE), round(s.start * FRAME_RATE) + 1)
            wanted[first:stop] = (s.accented, s.final)
            if stop <= len(wanted):
                heard.append((begin + first + DELAY_FRAMES, begin + stop + DELAY_FRAMES, s))
        targets += list(wanted)
    shifted = np.zeros((len(targets), len(EVENTS)), np.float32)
    shifted[DELAY_FRAMES:] = np.asarray(targets)[: len(targets) - DELAY_FRAMES]
    return Heard(np.asarray(features), shifted, [item for item in heard if item[1] <= len(features)])


def train(voices: list[Heard], seed: int) -> nn.Sequential:
    """A network trained on some voices."""
    torch.manual_seed(seed)
    x = torch.from_numpy(np.concatenate([voice.features for voice in voices]))
    y = torch.from_numpy(np.concatenate([voice.targets for voice in voices]))
    first, second = HIDDEN
    network = nn.Sequential(
        nn.Linear(CONTEXT_FRAMES * CHANNELS, first),
        nn.Tanh(),
        nn.Linear(first, second),
        nn.Tanh(),
        nn.Linear(second, len(EVENTS)),
    )
    steps = _PASSES * (len(x) // _BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    loss_of = nn.BCEWithLogitsLoss()
    for _ in range(_PASSES):
        order = torch.randperm(len(x))
        for k in range(len(x) // _BATCH):
            rows = order[k * _BATCH : (k + 1) * _BATCH]
            inputs = x[rows] + 0.03 * torch.randn(len(rows), x.shape[1])
            loss = loss_of(network(inputs), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def area_under_curve(scores: npt.NDArray[Any], truth: npt.NDArray[Any]) -> float:
    """Chance that a true one scores above a false one, alike counted by half (Mann and Whitney); 0.5 is guessing."""
    ranks = rankdata(np.concatenate([scores[truth], scores[~truth]]))
    true, false = int(truth.sum()), int((~truth).sum())
    return float((ranks[:true].sum() - true * (true + 1) / 2) / (true * false))


def best_f1(scores: npt.NDArray[Any], truth: npt.NDArray[Any]) -> float:
    """F1 at the threshold that serves it best."""
    descending = truth[np.argsort(-scores)]
    hits = np.cumsum(descending)
    return float(np.max(2 * hits / (np.arange(1, len(hits) + 1) + truth.sum())))


def judge(network: nn.Sequential, heard: Heard) -> dict[str, float]:
    """Figures for each syllable: the mean output over its frames against its label."""
    with torch.no_grad():
        outputs = torch.sigmoid(network(torch.from_numpy(heard.features))).numpy()
    scores = np.array([outputs[first:stop].mean(0) for first, stop, _ in heard.syllables])
    accented = np.array([s.accented for _, _, s in heard.syllables])
    final = np.array([s.final for _, _, s in heard.syllables])
    figures = {
        "syllables": float(len(scores)),
        "accent_auc": area_under_curve(scores[:, 0], accented),
        "accent_f1": best_f1(scores[:, 0], accented),
        "accent_f1_of_guessing": 2 * float(accented.mean()) / (1 + float(accented.mean())),
        "final_auc": area_under_curve(scores[:, 1], final),
        "final_f1": best_f1(scores[:, 1], final),
    }
    # What one number can do: by its loudness alone is how the head was moved before there was a network.
    loudness = heard.features.reshape(len(heard.features), CONTEXT_FRAMES, CHANNELS)[:, -1 - DELAY_FRAMES, 2]
    pitch = heard.features.reshape(len(heard.features), CONTEXT_FRAMES, CHANNELS)[:, -1 - DELAY_FRAMES, 0]
    for name, channel in (("loudness", loudness), ("pitch", pitch)):
        alone = np.array([channel[first:stop].max() for first, stop, _ in heard.syllables])
        figures[f"accent_auc_of_{name}_alone"] = area_under_curve(alone, accented)
    return {name: round(value, 3) for name, value in figures.items()}


def read_clips(folder: Path) -> Iterator[tuple[Audio, list[Syllable]]]:
    """Recorded speech with the syllables that festival expects, for each NAME.wav with NAME.txt; times in seconds."""
    from export.speech.aligner import Aligner  # pocketsphinx comes with the extra `judge`

    aligner = Aligner()
    for path in sorted(folder.glob("*.wav")):
        if not path.with_suffix(".txt").exists():
            continue
        audio = read_audio(path)
        text = " ".join(path.with_suffix(".txt").read_text().split())
        try:
            phonemes = aligner.align(audio, text)
        except ValueError as error:
            print(f"{path.name}: left out: {error}", file=sys.stderr)
            continue
        yield audio[: len(audio) // CHUNK_SAMPLES * CHUNK_SAMPLES], labels_of(text, phonemes)


def save(network: nn.Sequential, path: Path) -> None:
    """Write the weights as float32."""
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    arrays: dict[str, Any] = {}
    for i, layer in enumerate(layers):
        arrays[f"weight{i}"] = layer.weight.detach().numpy().astype(np.float32)
        arrays[f"bias{i}"] = layer.bias.detach().numpy().astype(np.float32)
    np.savez(path, **arrays)


def main(arguments: list[str] | None = None) -> int:
    """Train, judge, write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="speech of each voice")
    parser.add_argument("--clips", type=Path, help="folder of recorded speech, NAME.wav beside NAME.txt")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    began = time.monotonic()
    voices: dict[str, Heard] = {}
    for i, voice in enumerate((*FESTIVAL_VOICES, *FLITE_VOICES)):
        name = f"{'flite' if voice in FLITE_VOICES else 'festival'}_{voice}"
        try:
            voices[name] = hear(say(voice, 60 * options.minutes, 100 * options.seed + i))
        except VoiceMissing as missing:
            print(f"{name}: left out: {missing}", file=sys.stderr)
            continue
        print(f"{name}: {len(voices[name].features) / FRAME_RATE / 60:.1f} min heard", flush=True)
    if len(voices) < 2:
        print("fewer than two voices: install flite, festival, festvox-kallpc16k, festvox-kdlpc16k", file=sys.stderr)
        return 1
    judged: dict[str, dict[str, float]] = {}
    for name, heard in voices.items():
        judged[name] = judge(train([other for key, other in voices.items() if key != name], options.seed), heard)
        print(f"never heard {name}: {judged[name]}", flush=True)
    network = train(list(voices.values()), options.seed)
    figures: dict[str, Any] = {
        "minutes_of_each_voice": options.minutes,
        "delay_frames": DELAY_FRAMES,
        "voices_never_heard": judged,
    }
    if options.clips:
        figures["recorded_speech"] = judge(network, hear(read_clips(options.clips)))
        print(f"recorded speech: {figures['recorded_speech']}")
    save(network, WEIGHTS)
    figures["minutes_of_training"] = round((time.monotonic() - began) / 60, 1)
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"{WEIGHTS}\n{FIGURES}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
