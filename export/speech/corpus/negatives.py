"""Sound that nobody speaks: music, noise, machines, streets, breaths. A mouth must rest through all of it.

    python -m export.speech.corpus.negatives --out build/speech/corpus --minutes 25

writes `negatives.npz`, a shard like those of the corpus whose every utterance is one silence. The training shows it as
passages without speech and mixes it under speech. All of it is made from a seeded generator: no recording is in it.

Plucked strings follow Karplus & Strong (1983, "Digital synthesis of plucked-string and drum timbres"); the voice-like
instruments are an impulse train through formants that never move as a speaker's do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from facestream.contract import SAMPLE_RATE
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from export.speech.corpus.shard import Utterance, save_shard

Floats = npt.NDArray[np.float64]

SHARD: Final = "negatives"
ALPHABET: Final = "arpabet"

_SCALES: Final = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10), (0, 2, 4, 7, 9))
_CHORDS: Final = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 10), (0, 3, 7, 10), (0, 5, 7))
_STILL_VOWELS: Final = ((730, 1090, 2440), (530, 1840, 2480), (300, 870, 2240), (500, 1500, 2500), (400, 2000, 2550))
"""Formants, hertz, of voice-like instruments."""


def _hertz(note: float) -> float:
    """Frequency of a MIDI note."""
    return float(440.0 * 2 ** ((note - 69) / 12))


def _band(sound: Floats, low: float, high: float) -> Floats:
    """Second-order band pass between `low` and `high` hertz."""
    top = min(high, 0.49 * SAMPLE_RATE)
    return np.asarray(sosfilt(butter(2, (max(low, 10.0), top), "bandpass", fs=SAMPLE_RATE, output="sos"), sound))


def _swell(count: int, attack: float, release: float) -> Floats:
    """Envelope of `count` samples that rises for `attack` seconds and falls for `release`."""
    time = np.arange(count) / SAMPLE_RATE
    return np.asarray(np.clip(time / max(attack, 1e-4), 0, 1) * np.clip((time[-1] - time) / max(release, 1e-4), 0, 1))


def _add(sound: Floats, at: float, piece: Floats) -> None:
    """Add `piece` to `sound` from second `at` on, as far as it goes."""
    first = int(at * SAMPLE_RATE)
    count = min(len(piece), len(sound) - first)
    if count > 0:
        sound[first : first + count] += piece[:count]


class Negatives:
    """Endless pieces of sound without speech, from one seeded generator."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._makers: tuple[tuple[Callable[[int], Floats], float], ...] = (
            (self.music, 0.40),
            (self.steady_noise, 0.10),
            (self.modulated_noise, 0.12),
            (self.hum, 0.06),
            (self.clicks, 0.08),
            (self.breaths, 0.08),
            (self.bursts, 0.06),
            (self.street, 0.06),
            (self.beeps, 0.04),
        )

    def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield float32[n] mono at SAMPLE_RATE, 4 to 12 s each, peaks between -30 and -1 dBFS."""
        weights = np.asarray([weight for _, weight in self._makers])
        while True:
            maker = self._makers[self._rng.choice(len(self._makers), p=weights / weights.sum())][0]
            yield self.piece(maker, float(self._rng.uniform(4.0, 12.0)))

    def piece(self, maker: Callable[[int], Floats], seconds: float) -> npt.NDArray[np.float32]:
        """Return `seconds` of what `maker` makes, at times in a room, at a random level; float32[n]."""
        count = int(seconds * SAMPLE_RATE)
        sound = maker(count)
        if self._rng.random() < 0.5:
            sound = self._room(sound)
        sound = sound / max(float(np.abs(sound).max()), 1e-9) * 10 ** (self._rng.uniform(-30, -1) / 20)
        return sound.astype(np.float32)

    def _room(self, sound: Floats) -> Floats:
        seconds = self._rng.uniform(0.1, 0.9)
        time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
        tail = self._rng.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
        tail *= self._rng.uniform(0.1, 0.8) / np.sqrt((tail**2).sum())
        tail[0] += 1.0
        return np.asarray(fftconvolve(sound, tail)[: len(sound)])

    def _curve(self, count: int, every: float, spread: float) -> Floats:
        """Smooth random curve around 0 with a new value about `every` seconds."""
        knots = max(2, int(count / SAMPLE_RATE / every) + 2)
        return np.interp(np.linspace(0, knots - 1, count), np.arange(knots), self._rng.normal(0, spread, knots))

    def _coloured(self, count: int) -> Floats:
        """Noise whose spectrum falls by 0 to 9 dB per octave and has bumps, of unit power."""
        spectrum = np.fft.rfft(self._rng.standard_normal(count))
        hertz = np.maximum(np.fft.rfftfreq(count, 1 / SAMPLE_RATE), 20.0)
        octaves = np.log2(hertz / 20.0)
        knots = self._rng.normal(0, 5, 10)
        decibels = -self._rng.uniform(0, 9) * octaves + np.interp(octaves, np.linspace(0, 10, 10), knots)
        sound = np.fft.irfft(spectrum * 10 ** (decibels / 20), count)
        return np.asarray(sound / np.sqrt((sound**2).mean()))

    # Music

    def _plucked(self, note: float, seconds: float) -> Floats:
        """A plucked string (Karplus & Strong 1983), its loop a filter rather than a walk over samples."""
        count, period = int(seconds * SAMPLE_RATE), max(2, round(SAMPLE_RATE / _hertz(note)))
        excited = np.zeros(count)
        burst = self._rng.uniform(-1, 1, min(period, count))
        excited[: len(burst)] = lfilter([self._rng.uniform(0.3, 1.0)], [1, -self._rng.uniform(0, 0.6)], burst)
        loop = np.zeros(period + 2)
        loop[0], decay = 1.0, 10 ** (-3 / (self._rng.uniform(0.6, 3.0) * _hertz(note)))
        bright = self._rng.uniform(0.5, 0.85)
        loop[period], loop[period + 1] = -decay * bright, -decay * (1 - bright)
        return np.asarray(lfilter([1.0], loop, excited)) * _swell(count, 0.001, 0.05)

    def _tone(self, note: float, seconds: float, partials: Floats, attack: float, vibrato: float) -> Floats:
        """A sustained tone of harmonic `partials`, vibrating by `vibrato` semitones."""
        time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
        bend = vibrato * np.sin(2 * np.pi * self._rng.uniform(4.5, 6.5) * time) * np.clip(time / 0.3, 0, 1)
        phase = 2 * np.pi * np.cumsum(_hertz(note) * 2 ** (bend / 12)) / SAMPLE_RATE
        sound = np.zeros(len(time))
        for k, amount in enumerate(partials, 1):
            if k * _hertz(note) < 0.45 * SAMPLE_RATE:
                sound += amount * np.sin(k * phase)
        return sound * _swell(len(time), attack, min(0.15, seconds / 3))

    def _vowel_like(self, note: float, seconds: float, formants: tuple[int, ...]) -> Floats:
        """A tone through resting formants: a synthesiser's choir, a wah, a cello."""
        k = np.arange(1, 60)
        hertz = k * _hertz(note)
        partials = sum(1 / (1 + ((hertz - f) / (60 + 0.05 * f)) ** 2) * 0.6**i for i, f in enumerate(formants))
        return self._tone(note, seconds, np.asarray(partials) / k**0.4, self._rng.uniform(0.03, 0.25), 0.3)

    def _drum(self, kind: int) -> Floats:
        """A bass drum (0), a snare (1) or a cymbal (2)."""
        time = np.arange(int(0.35 * SAMPLE_RATE)) / SAMPLE_RATE
        noise = self._rng.standard_normal(len(time))
        if kind == 0:
            fall = 50 * time + 90 / 25 * (1 - np.exp(-25 * time))
            return np.asarray(np.sin(2 * np.pi * fall) * np.exp(-time * 12))
        if kind == 1:
            return np.asarray(
                0.5 * noise * np.exp(-time * 22) + 0.5 * np.sin(2 * np.pi * 185 * time) * np.exp(-time * 30)
            )
        return _band(noise, 5000, 11000) * np.exp(-time * self._rng.uniform(15, 70))

    def music(self, count: int) -> Floats:
        """A few bars: one to four of chords, melody, bass, arpeggio and drums, at one tempo in one key."""
        rng = self._rng
        sound = np.zeros(count)
        beat = 60 / rng.uniform(65, 165)
        key, scale = rng.integers(43, 60), _SCALES[rng.integers(len(_SCALES))]
        beats = int(count / SAMPLE_RATE / beat) + 1
        parts = rng.random(5) < (0.6, 0.65, 0.5, 0.35, 0.5)
        if not parts.any():
            parts[rng.integers(5)] = True
        chords, melody, bass, arpeggio, drums = parts

        def degree(step: int) -> float:
            return float(scale[step % len(scale)] + 12 * (step // len(scale)))

        roots = [int(rng.integers(0, len(scale))) for _ in range(beats // 4 + 1)]
        harmonics = 1 / np.arange(1, 13) ** rng.uniform(0.8, 2.5) * rng.uniform(0.2, 1, 12)
        if chords:
            kind = rng.integers(3)
            vowel = _STILL_VOWELS[rng.integers(len(_STILL_VOWELS))]
            for bar, root in enumerate(roots):
                for interval in _CHORDS[rng.integers(len(_CHORDS))]:
                    note = key + degree(root) + interval
                    if kind == 0:
                        piece = self._plucked(note, 4 * beat)
                    elif kind == 1:
                        piece = self._tone(note, 4 * beat, harmonics, rng.uniform(0.05, 0.5), 0.05)
                    else:
                        piece = self._vowel_like(note, 4 * beat, vowel)
                    _add(sound, 4 * bar * beat + rng.uniform(0, 0.03), 0.5 * piece / max(np.abs(piece).max(), 1e-9))
        if melody:
            kind, step, at = rng.integers(4), int(rng.integers(3, 10)), 0.0
            while at < count / SAMPLE_RATE:
                length = beat * rng.choice((0.25, 0.5, 0.5, 1.0, 1.0, 1.5, 2.0))
                step = int(np.clip(step + rng.integers(-3, 4), 0, 16))
                if rng.random() < 0.85:
                    note = key + 12 + degree(step)
                    if kind == 0:
                        piece = self._plucked(note, length + 0.4)
                    elif kind == 1:
                        piece = self._tone(note, length, harmonics, 0.02, 0.25)
                    elif kind == 2:  # each note another still vowel: as near to a singer as an instrument comes
                        piece = self._vowel_like(note - 5, length, _STILL_VOWELS[rng.integers(len(_STILL_VOWELS))])
                    else:
                        piece = self._tone(note, length, np.asarray([1.0, 0, 0.3, 0, 0.12]), 0.03, 0.1)
                    _add(sound, at, piece / max(np.abs(piece).max(), 1e-9))
                at += length
        if bass:
            for b in range(beats):
                piece = self._tone(key - 12 + degree(roots[b // 4]), beat * 0.9, 1 / np.arange(1, 7) ** 1.5, 0.01, 0.0)
                _add(sound, b * beat, 0.7 * piece / max(np.abs(piece).max(), 1e-9))
        if arpeggio:
            for b in range(2 * beats):
                note = key + 12 + degree(roots[min(b // 8, len(roots) - 1)] + (0, 2, 4, 2)[b % 4])
                piece = self._plucked(note, beat)
                _add(sound, b * beat / 2, 0.6 * piece / max(np.abs(piece).max(), 1e-9))
        if drums:
            swing = rng.uniform(0, 0.12)
            for b in range(2 * beats):
                late = swing * beat if b % 2 else 0.0
                if b % 4 == 0 or rng.random() < 0.08:
                    _add(sound, b * beat / 2 + late, 0.9 * self._drum(0))
                if b % 4 == 2:
                    _add(sound, b * beat / 2 + late, 0.7 * self._drum(1))
                _add(sound, b * beat / 2 + late, rng.uniform(0.1, 0.5) * self._drum(2))
        return sound + 1e-4 * rng.standard_normal(count)

    # Noise

    def steady_noise(self, count: int) -> Floats:
        """A fan, an air conditioner, a bad microphone; one in four is white."""
        return self._rng.standard_normal(count) if self._rng.random() < 0.25 else self._coloured(count)

    def modulated_noise(self, count: int) -> Floats:
        """Wind, water, applause: noise whose level moves at up to speech's own 8 Hz, at times within bands."""
        if self._rng.random() < 0.4:
            sound = np.zeros(count)
            for _ in range(int(self._rng.integers(2, 6))):
                low = self._rng.uniform(100, 4000)
                level = 10 ** (self._curve(count, self._rng.uniform(0.06, 0.8), self._rng.uniform(3, 9)) / 20)
                sound += _band(self._rng.standard_normal(count), low, low * self._rng.uniform(1.3, 3.0)) * level
            return sound
        level = 10 ** (self._curve(count, self._rng.uniform(0.06, 1.5), self._rng.uniform(2, 8)) / 20)
        return self._coloured(count) * level

    def hum(self, count: int) -> Floats:
        """Mains hum or an engine, with its harmonics and some noise."""
        base = self._rng.choice((50.0, 60.0, self._rng.uniform(25, 180)))
        drift = 2 ** (self._curve(count, 0.7, 0.25 if base not in (50.0, 60.0) else 0.0005) / 12)
        phase = 2 * np.pi * np.cumsum(base * drift) / SAMPLE_RATE
        sound = np.zeros(count)
        for k in range(1, 30):
            sound += self._rng.uniform(0, 1) / k ** self._rng.uniform(0.7, 1.6) * np.sin(k * phase)
        return sound + self._rng.uniform(0.01, 0.5) * self._coloured(count)

    def clicks(self, count: int) -> Floats:
        """Typing, clicks, dishes: short knocks with ringing of their own, over a little room noise."""
        sound = self._rng.uniform(0.0005, 0.01) * self._coloured(count)
        at, rate = 0.0, self._rng.uniform(1.5, 12)
        ring = self._rng.uniform(300, 5000)
        while at < count / SAMPLE_RATE:
            time = np.arange(int(0.12 * SAMPLE_RATE)) / SAMPLE_RATE
            knock = self._rng.standard_normal(len(time)) * np.exp(-time * self._rng.uniform(60, 600))
            tone = np.sin(2 * np.pi * ring * self._rng.uniform(0.8, 1.25) * time) * np.exp(
                -time * self._rng.uniform(20, 200)
            )
            _add(sound, at, self._rng.uniform(0.15, 1) * (knock + self._rng.uniform(0, 1) * tone))
            at += self._rng.exponential(1 / rate) + 0.03
        return sound

    def breaths(self, count: int) -> Floats:
        """Breathing in and out: soft noise through a resting vocal tract, lips where they were."""
        sound = self._rng.uniform(0.001, 0.02) * self._coloured(count)
        at = self._rng.uniform(0, 1)
        tract = self._rng.uniform(0.85, 1.25)
        while at < count / SAMPLE_RATE:
            for _ in range(2):
                seconds = self._rng.uniform(0.25, 1.3)
                noise = self._rng.standard_normal(int(seconds * SAMPLE_RATE))
                breath = np.zeros(len(noise))
                for formant, amount in zip((500, 1500, 2600, 3800), (0.5, 1.0, 0.8, 0.5), strict=True):
                    middle = formant * tract * self._rng.uniform(0.9, 1.1)
                    breath += amount * _band(noise, 0.8 * middle, 1.25 * middle)
                swell = np.sin(np.pi * np.linspace(0, 1, len(noise)) ** self._rng.uniform(0.5, 2))
                _add(sound, at, self._rng.uniform(0.2, 1) * breath * swell)
                at += seconds + self._rng.uniform(0.05, 0.6)
            at += self._rng.uniform(0.3, 2.0)
        return sound

    def bursts(self, count: int) -> Floats:
        """Knocks, doors, coughs from the next room: noise bursts with a hard start through a random resonance."""
        sound = self._rng.uniform(0.001, 0.02) * self._coloured(count)
        at = self._rng.uniform(0, 0.8)
        while at < count / SAMPLE_RATE:
            for _ in range(int(self._rng.integers(1, 4))):
                time = np.arange(int(self._rng.uniform(0.08, 0.4) * SAMPLE_RATE)) / SAMPLE_RATE
                low = self._rng.uniform(80, 1200)
                burst = _band(self._rng.standard_normal(len(time)), low, low * self._rng.uniform(2, 8))
                _add(sound, at, self._rng.uniform(0.3, 1) * burst * np.exp(-time * self._rng.uniform(8, 40)))
                at += self._rng.uniform(0.15, 0.5)
            at += self._rng.exponential(0.9)
        return sound

    def street(self, count: int) -> Floats:
        """Traffic: rumble that comes and goes, passing cars, a horn at times."""
        sound = _band(self._rng.standard_normal(count), 30, 300) * 10 ** (self._curve(count, 1.5, 4.0) / 20) * 3
        sound += 0.2 * self._coloured(count)
        for _ in range(int(self._rng.integers(1, 4))):
            middle, width = self._rng.uniform(0, count), self._rng.uniform(0.4, 2.0) * SAMPLE_RATE
            passing = np.exp(-(((np.arange(count) - middle) / width) ** 2))
            sound += self._rng.uniform(0.3, 2) * passing * _band(self._rng.standard_normal(count), 200, 3000)
        if self._rng.random() < 0.3:
            seconds = self._rng.uniform(0.2, 1.2)
            horn = self._tone(self._rng.uniform(62, 72), seconds, 1 / np.arange(1, 15) ** 0.7, 0.02, 0.0)
            _add(sound, self._rng.uniform(0, count / SAMPLE_RATE), self._rng.uniform(0.05, 0.5) * horn)
        return sound

    def beeps(self, count: int) -> Floats:
        """Telephone rings, alarms, notification tunes, sweeps."""
        sound = 0.003 * self._coloured(count)
        at, length = 0.0, self._rng.uniform(0.05, 0.5)
        notes = self._rng.uniform(64, 100, 3)
        while at < count / SAMPLE_RATE:
            note = notes[self._rng.integers(3)]
            time = np.arange(int(length * SAMPLE_RATE)) / SAMPLE_RATE
            sweep = self._rng.choice((0.0, 0.0, self._rng.uniform(-12, 12)))
            phase = 2 * np.pi * np.cumsum(_hertz(note) * 2 ** (sweep * time / length / 12)) / SAMPLE_RATE
            beep = np.tanh(self._rng.uniform(0.3, 4) * np.sin(phase))
            _add(sound, at, beep * _swell(len(time), 0.005, 0.02))
            at += length + self._rng.choice((0.05, 0.15, 0.4, 1.0))
        return sound


def write_negatives(path: Path, seconds: float, seed: int) -> float:
    """Write a shard of `seconds` without speech to `path`, each utterance one silence; return the seconds written."""
    pieces = (Utterance(piece, [("pau", 0.0, len(piece) / SAMPLE_RATE)]) for piece in Negatives(seed))
    return save_shard(path, pieces, ALPHABET, seconds)


def main(arguments: list[str] | None = None) -> int:
    """Write the shard if it is missing; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/speech/corpus"), help="folder for the shard")
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.minutes <= 0:
        parser.error(f"--minutes is {options.minutes}, expected more than 0")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{SHARD}.npz"
    if not path.exists():
        print(f"{SHARD}: {write_negatives(path, 60 * options.minutes, options.seed) / 60:.1f} min")
    return 0


if __name__ == "__main__":
    sys.exit(main())
