"""New speakers from old ones: speech taken apart and put together again by the WORLD vocoder, times kept exactly.

A dozen voices are few. WORLD (Morise, Yokomori & Ozawa 2016, "WORLD: a vocoder-based high-quality speech synthesis
system for real-time applications") splits speech into pitch, spectral envelope and aperiodicity, 200 times a second.
Here all of them are changed as people differ: length and shape of the vocal tract, pitch and liveliness, breath,
creak and whisper, tilt of the voice, and the time each sound takes, which no longer follows the synthesiser's rules.
The phonemes' times go through the same map as the sound.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr
from facestream.contract import SAMPLE_RATE

from export.speech.corpus.shard import Phonemes, Speak, Texts, Utterance, VoiceMissing
from export.speech.phonemes import classes_of

Floats = npt.NDArray[np.float64]

RATE: Final = 16000  # the synthesisers' own, and more than the networks hear
FRAME_SECONDS: Final = 0.005
LOWEST_PITCH, HIGHEST_PITCH = 60.0, 420.0

VOWELS: Final = frozenset(["AA", "AE", "AH", "AX", "AO", "OW", "UH", "UW", "ER", "EH", "EY", "IH", "IY"])
SHORTEST: Final = {"bilabial": 0.045, "labiodental": 0.05, "sibilant": 0.05, "postalveolar": 0.05}
"""No sound is made shorter than this, seconds (nor than OTHERS_SHORTEST); one that was shorter stays as it was."""
OTHERS_SHORTEST: Final = 0.03


class Take(NamedTuple):
    """Speech taken apart, 200 frames a second."""

    pitch: Floats
    """Hertz [frames]; 0 where nothing is voiced."""
    envelope: npt.NDArray[np.float16]
    """Logarithm of the spectral envelope's power [frames, bins], 0 .. RATE / 2."""
    phonemes: Phonemes


class Speaker(NamedTuple):
    """How one made-up person differs from the synthesiser's voice."""

    tract: tuple[float, float, float]
    """Factors of the formants about 500, 1,800 and 4,000 Hz."""
    pitch: float
    """Factor of the mean pitch."""
    liveliness: float
    """Factor of the pitch's range."""
    breath: float
    """0 as it was .. 1 all breath above 2 kHz."""
    tilt: float
    """Decibels per octave from 500 Hz on; a soft voice has less than 0."""
    pace: float
    """Factor of all durations."""
    rhythm: float
    """Spread of the single sounds' durations, standard deviation of the logarithm."""
    creaks: float
    """Share of utterances that end in creak."""
    whispers: float
    """Share of utterances that are whispered."""


def invent(rng: random.Random) -> Speaker:
    """Make up a speaker; the pitch follows the length of the vocal tract as it does in people."""
    size = min(1.26, max(0.84, rng.lognormvariate(0, 0.10)))
    return Speaker(
        tract=(
            size * rng.lognormvariate(0, 0.05),
            size * rng.lognormvariate(0, 0.05),
            size * rng.lognormvariate(0, 0.04),
        ),
        pitch=size ** rng.uniform(2.0, 3.5) * rng.lognormvariate(0, 0.12),
        liveliness=rng.uniform(0.6, 1.9),
        breath=rng.choice((0.0, rng.uniform(0.05, 0.5), rng.uniform(0.3, 0.8))),
        tilt=rng.uniform(-4.0, 2.5),
        pace=rng.lognormvariate(-0.05, 0.14),
        rhythm=rng.uniform(0.12, 0.32),
        creaks=rng.choice((0.05, 0.3, 0.6)),
        whispers=rng.choice((0.0, 0.0, 0.03, 0.12)),
    )


def _drift(rng: np.random.Generator, count: int, every: float, spread: float) -> Floats:
    """Smooth random curve of `count` frames around 0, with a new value about `every` seconds."""
    knots = max(2, int(count * FRAME_SECONDS / every) + 2)
    return np.interp(np.linspace(0, knots - 1, count), np.arange(knots), rng.normal(0, spread, knots))


def _durations(phonemes: Phonemes, alphabet: str, speaker: Speaker, rng: np.random.Generator) -> Floats:
    """New durations, seconds, of the phonemes."""
    pace = speaker.pace * np.exp(rng.normal(0, 0.08))
    last = phonemes[-1][2]
    flow = _drift(rng, int(last / FRAME_SECONDS) + 2, 0.6, 0.16)  # phrases hurry and dwell as a whole
    made = []
    for name, start, end in phonemes:
        classes = classes_of(name, alphabet)
        old = end - start
        factor = pace * np.exp(flow[int((start + end) / 2 / FRAME_SECONDS)] + rng.normal(0, speaker.rhythm))
        if classes == ("silence",):
            made.append(old * float(rng.uniform(0.5, 1.6)))
            continue
        if set(classes) <= VOWELS and rng.random() < 0.12:
            factor *= 0.6  # reduced, as people do with words that matter little
        least = max(SHORTEST.get(name, OTHERS_SHORTEST) for name in classes)
        made.append(max(old * min(2.0, max(0.45, float(factor))), min(old, least)))
    return np.asarray(made)


def _warp(envelope: Floats, tract: tuple[float, float, float]) -> Floats:
    """Move the formants of log `envelope` [frames, bins] by the three factors, smooth in between."""
    bins = envelope.shape[1]
    hertz = np.linspace(0, RATE / 2, bins)
    factor = np.interp(hertz, (500.0, 1800.0, 4000.0), tract)
    place = np.clip(hertz / factor / (RATE / 2) * (bins - 1), 0, bins - 1.001)
    lower = place.astype(int)
    part = place - lower
    return np.asarray(envelope[:, lower] * (1 - part) + envelope[:, lower + 1] * part)


def _aperiodicity(envelope: Floats, voiced: npt.NDArray[np.bool_], hertz: Floats) -> Floats:
    """Return the share of noise [frames, bins] for log power `envelope`: the higher and the brighter, the more.

    WORLD's own estimate takes as long as all the rest. Synthesisers know less of breath than this rule: vowels are
    noise above 5 kHz, voiced fricatives, whose treble is strong, from 1.5 kHz on.
    """
    low = envelope[:, (hertz > 200) & (hertz < 1500)].mean(1)
    high = envelope[:, hertz > 3500].mean(1)
    border = 1500.0 + 3500.0 * np.clip((low - high) / 5.0, 0, 1)
    noise = 0.02 + 0.93 / (1 + np.exp((border[:, None] - hertz) / 500.0))
    noise[~voiced] = 1.0
    return np.asarray(noise)


def take_apart(utterance: Utterance) -> Take | None:
    """Return what WORLD finds in `utterance`, None where no voice is heard or no phoneme known.

    The phonemes must follow each other without gaps, as all synthesisers of this corpus report them.
    """
    import pyworld

    if not utterance.phonemes:
        return None
    heard = np.asarray(soxr.resample(utterance.audio.astype(np.float64), SAMPLE_RATE, RATE))
    pitch, times = pyworld.dio(heard, RATE, LOWEST_PITCH, HIGHEST_PITCH, frame_period=1000 * FRAME_SECONDS)
    pitch = pyworld.stonemask(heard, pitch, times, RATE)
    if not (pitch > 0).any():
        return None
    envelope = np.log(pyworld.cheaptrick(heard, pitch, times, RATE) + 1e-16)
    return Take(pitch, envelope.astype(np.float16), utterance.phonemes)


def put_together(take: Take, alphabet: str, speaker: Speaker, seed: int) -> Utterance:
    """Return `take` as `speaker` would say it; a seed fixes what is random."""
    import pyworld

    rng = np.random.default_rng(seed)
    pitch, envelope, phonemes = take.pitch, take.envelope.astype(np.float64), take.phonemes
    # The map of times: exact at every phoneme's border, straight in between.
    borders = np.asarray([phonemes[0][1], *(end for _, _, end in phonemes)])
    made = np.concatenate([[0.0], np.cumsum(_durations(phonemes, alphabet, speaker, rng))])
    count = int(made[-1] / FRAME_SECONDS)
    source = np.interp((np.arange(count) + 0.5) * FRAME_SECONDS, made, borders) / FRAME_SECONDS
    source = np.clip(source, 0, len(pitch) - 1.001)
    lower, nearest = source.astype(int), np.rint(source).astype(int)
    part = (source - lower)[:, None]
    envelope = envelope[lower] * (1 - part) + envelope[lower + 1] * part
    pitch = pitch[nearest]
    voiced = pitch > 0
    middle = float(np.median(np.log(pitch[voiced])))
    tone = middle + np.log(speaker.pitch) + speaker.liveliness * (np.log(np.where(voiced, pitch, 1.0)) - middle)
    tone += _drift(rng, count, 0.35, 0.05) + rng.normal(0, 0.008, count)
    if rng.random() < speaker.creaks:
        tone[-int(rng.uniform(0.15, 0.5) / FRAME_SECONDS) :] += np.log(rng.uniform(0.45, 0.7))
    pitch = np.where(voiced, np.clip(np.exp(tone), 50.0, 480.0), 0.0)

    tract, tilt = speaker.tract, speaker.tilt + rng.normal(0, 0.7)
    hertz = np.linspace(0, RATE / 2, envelope.shape[1])
    breath = speaker.breath * np.clip((hertz - 700) / 2500, 0, 1)
    noise = _aperiodicity(envelope, voiced, hertz)
    noise = noise + (1 - noise) * breath
    if rng.random() < speaker.whispers:
        pitch = np.zeros(count)
        tract = (tract[0] * 1.15, tract[1] * 1.03, tract[2])  # a whisper's first formant is higher
        tilt += 4.0
        noise = np.ones_like(noise)
    envelope = _warp(envelope, tract)
    octaves = np.log2(np.maximum(hertz, 300.0) / 500.0)
    envelope += tilt * octaves * (np.log(10) / 10) + _drift(rng, count, 0.4, 0.35)[:, None]
    audio = pyworld.synthesize(
        pitch,
        np.ascontiguousarray(np.exp(envelope)),
        np.ascontiguousarray(np.clip(noise, 0.001, 1.0)),
        RATE,
        1000 * FRAME_SECONDS,
    )
    audio = soxr.resample(audio, RATE, SAMPLE_RATE)
    audio = audio * (0.6 / max(float(np.abs(audio).max()), 1e-6))
    moved = [(name, float(a), float(b)) for (name, _, _), a, b in zip(phonemes, made[:-1], made[1:], strict=True)]
    return Utterance(np.asarray(audio, np.float32), moved)


class Studio:
    """One voice whose takes are kept: taking apart costs more than putting together, so all its speakers share them."""

    def __init__(self, speak: Speak, alphabet: str, texts: Texts, seed: int) -> None:
        """Have `speak` read what `texts` gives for `seed`, as much as the speakers turn out to need."""
        self._alphabet = alphabet
        self._kept: list[Take] = []
        self._missing: VoiceMissing | None = None
        self._coming = self._record(speak, texts, seed)

    @staticmethod
    def _record(speak: Speak, texts: Texts, seed: int) -> Iterator[Take]:
        for utterance in speak(texts(seed), random.Random(seed)):
            take = take_apart(utterance)
            if take is not None:
                yield take

    def _takes(self) -> Iterator[Take]:
        for i in itertools.count():
            if i == len(self._kept):
                # A generator that has failed looks as if it were at its end to whoever asks next.
                if self._missing is not None:
                    raise VoiceMissing(str(self._missing))
                try:
                    take = next(self._coming, None)
                except VoiceMissing as missing:
                    self._missing = missing
                    raise
                if take is None:
                    return
                self._kept.append(take)
            yield self._kept[i]

    def speak(self, texts: Iterator[str], rng: random.Random) -> Iterator[Utterance]:
        """Make up a speaker who says all takes; `texts` is not read, for the takes are said already.

        Raises:
            VoiceMissing: pyworld does not load, or the voice cannot speak, whichever of its speakers asks.
        """
        try:
            import pyworld  # noqa: F401
        except ImportError as error:
            raise VoiceMissing(f"pyworld does not load: {error}") from error
        speaker = invent(rng)
        for take in self._takes():
            yield put_together(take, self._alphabet, speaker, rng.randrange(2**31))
