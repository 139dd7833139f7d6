"""What happens to speech on its way: noise, other talkers, rooms, telephones, codecs, levels.

Each condition turns the clean clip into the one that is heard; the phonemes and so the wanted mouth stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import soxr
from facestream.contract import SAMPLE_RATE

from export.speech.lossy import coded
from export.speech.phonemes import classes_of
from perf.lip_sync.alignment import Clip
from perf.lip_sync.recordings import Audio
from perf.lip_sync.still import coloured

Floats = npt.NDArray[np.float64]
Condition = Callable[[Clip], Clip]


def with_gain(decibels: float) -> Condition:
    """Return what makes a clip louder or quieter."""
    return lambda clip: clip._replace(audio=(clip.audio * 10 ** (decibels / 20)).astype(np.float32))


def _spoken_level(clip: Clip) -> float:
    """RMS from the first sound to the last: the silence around must not make the speech softer than it is.

    The aligner tells silence as a phoneme, too.
    """
    said = [phoneme for phoneme in clip.phonemes if classes_of(phoneme[0], "arpabet") != ("silence",)]
    start, end = (int(second * SAMPLE_RATE) for second in (said[0][1], said[-1][2])) if said else (0, 0)
    spoken = clip.audio[start:end] if end > start else clip.audio
    return float(np.sqrt((spoken.astype(np.float64) ** 2).mean()))


def _mixed(clip: Clip, noise: Floats, below: float) -> Clip:
    noise = noise / np.sqrt((noise**2).mean()) * _spoken_level(clip) * 10 ** (-below / 20)
    return clip._replace(audio=(clip.audio + noise).astype(np.float32))


def with_noise(below: float, power: float = 0.0) -> Condition:
    """Return what adds noise `below` decibels under the speech: `power` 0 is white, 0.5 pink."""

    def add(clip: Clip) -> Clip:
        return _mixed(clip, coloured(np.random.default_rng(1), len(clip.audio), power), below)

    return add


def with_babble(below: float, talkers: Sequence[Clip]) -> Condition:
    """Return what adds six of `talkers` at once, none of them the clip itself, `below` decibels under the speech."""

    def add(clip: Clip) -> Clip:
        rng = np.random.default_rng(len(clip.audio))
        others = [talker for talker in talkers if talker.audio is not clip.audio]
        babble = np.zeros(len(clip.audio))
        for index in rng.choice(len(others), min(6, len(others)), replace=False):
            voice = others[index].audio.astype(np.float64) / _spoken_level(others[index])
            voice = np.tile(voice, len(babble) // len(voice) + 2)
            begin = int(rng.integers(len(others[index].audio)))
            babble += voice[begin : begin + len(babble)]
        return _mixed(clip, babble, below)

    return add


def telephone(clip: Clip) -> Clip:
    """300 to 3,400 Hz at 8 kHz in 8-bit mu-law (G.711)."""
    narrow = np.asarray(soxr.resample(clip.audio.astype(np.float64), SAMPLE_RATE, 8000))
    spectrum = np.fft.rfft(narrow)
    frequencies = np.fft.rfftfreq(len(narrow), 1 / 8000)
    # Fourth-order slopes on both sides, without a shift in time.
    spectrum /= np.sqrt(1 + (300 / np.maximum(frequencies, 1)) ** 8) * np.sqrt(1 + (frequencies / 3400) ** 16)
    narrow = np.clip(np.fft.irfft(spectrum, len(narrow)), -1, 1)
    companded = np.round(127 * np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)) / 127
    expanded = np.sign(companded) * (256 ** np.abs(companded) - 1) / 255
    wide = np.asarray(soxr.resample(expanded, 8000, SAMPLE_RATE))
    return clip._replace(audio=_fitted(wide, len(clip.audio)))


def _fitted(audio: npt.NDArray[np.floating], count: int) -> Audio:
    """Cut or fill up with zeros to `count` samples."""
    return np.asarray(np.pad(audio[:count], (0, max(count - len(audio), 0))), np.float32)


def with_reverberation(seconds: float) -> Condition:
    """Return what puts a clip into a room whose sound falls by 60 dB in `seconds`.

    The room is exponentially falling noise (Polack 1988), high frequencies faster, its direct sound 3 dB above all that
    follows: a talker at arm's length. The direct sound comes without delay.
    """

    def place(clip: Clip) -> Clip:
        rng = np.random.default_rng(3)
        count = int(1.2 * seconds * SAMPLE_RATE)
        times = np.arange(count) / SAMPLE_RATE
        tail = coloured(rng, count, 0.3) * 10 ** (-3 * times / seconds)
        tail[: int(0.003 * SAMPLE_RATE)] = 0.0  # the first wall is a metre away
        room = tail * np.sqrt(0.5 / (tail**2).sum())
        room[0] = 1.0
        size = len(clip.audio) + count
        wet = np.fft.irfft(np.fft.rfft(clip.audio, size) * np.fft.rfft(room, size), size)[: len(clip.audio)]
        return clip._replace(audio=wet.astype(np.float32))

    return place


def through_codec(name: str, container: str, bits_per_second: int, rate: int) -> Condition:
    """Return what sends a clip through a lossy codec of FFmpeg's, its delay taken out as a player does."""

    def code(clip: Clip) -> Clip:
        back = coded(clip.audio, name, container, rate, bits_per_second)
        return clip._replace(audio=_fitted(_aligned(back, clip.audio), len(clip.audio)))

    return code


def _aligned(sound: npt.NDArray[np.floating], reference: Audio) -> npt.NDArray[np.floating]:
    """Shift `sound` to where it fits `reference` best, within a tenth of a second."""
    size = len(sound) + len(reference)
    fit = np.fft.irfft(np.fft.rfft(sound, size) * np.conj(np.fft.rfft(reference, size)), size)
    reach = SAMPLE_RATE // 10
    shift = int(np.argmax(np.concatenate([fit[-reach:], fit[:reach]]))) - reach
    return sound[shift:] if shift >= 0 else np.pad(sound, (-shift, 0))
