"""Synthetic speech with the exact time of every phoneme: the only data that the speech networks are trained on.

    python -m export.speech.corpus --out build/speech/corpus [--hours 3]

writes one shard for each voice (`flite_slt.npz`, `espeak_de+f2.npz`, ...), skips the shards that are there already and
so can be stopped and started at will. It needs the programs flite, festival and espeak-ng on the PATH with the voices
of the Debian packages in DEBIAN_PACKAGES; a voice that is not installed is named and left out.

A shard holds `audio` int16[n] mono at SAMPLE_RATE, all utterances end to end, `starts` int64[u] the first sample of
each utterance, and `phonemes`, a JSON list with [name, start, end] in seconds for each utterance, and `alphabet`.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr
from facestream.contract import SAMPLE_RATE

from export.speech.sentences import sentences

Audio = npt.NDArray[np.float32]
Phonemes = list[tuple[str, float, float]]


def _names(text: str) -> list[str]:
    return text.split()


DEBIAN_PACKAGES: Final = _names(
    """flite festival espeak-ng libespeak-ng1 festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts festvox-italp16k
    festvox-itapc16k festvox-suopuhe-lj festvox-suopuhe-mv festvox-ca-ona-hts festvox-czech-ph festvox-czech-dita
    festvox-czech-machac festvox-czech-krb"""
)

FLITE_VOICES: Final = ("slt", "rms", "awb", "kal16")
FESTIVAL_ENGLISH: Final = ("cmu_us_slt_arctic_hts", "kal_diphone", "ked_diphone")
FESTIVAL_LETTERS: Final = (
    "upc_ca_ona_hts",
    "czech_dita",
    "czech_krb",
    "czech_machac",
    "czech_ph",
    "hy_fi_mv_diphone",
    "suo_fi_lj_diphone",
    "lp_diphone",
    "pc_diphone",
)
ESPEAK_VARIANTS: Final = _names(
    """m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 klatt klatt2 klatt3 klatt4 adam Alex belinda john linda max michael paul
    rob steph steph2 Andy Annie Diogo Gene Lee Mario Storm victor whisper aunty grandpa quincy"""
)
ESPEAK_LANGUAGES: Final = _names("""de fr es it pt-br nl pl cmn hi tr ru sv ja ko""")

LONGEST_SECONDS: Final = 14.0


class Utterance(NamedTuple):
    """`audio` float32[n] mono at SAMPLE_RATE; `phonemes` (name, start, end) in seconds, in order."""

    audio: Audio
    phonemes: Phonemes


class VoiceMissing(RuntimeError):
    """The synthesiser or this voice of it is not installed."""


class Shard(NamedTuple):
    """One voice and how to have it speak."""

    name: str
    alphabet: str
    share: float
    """Part of the whole corpus, before all shares are brought to a sum of 1."""
    invented: float
    """Share of invented words in its texts."""
    speak: Callable[[Iterator[str], random.Random], Iterator[Utterance]]


def _read_wave(path: Path) -> Audio:
    with wave.open(str(path)) as file:
        rate = file.getframerate()
        audio = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768.0
    return np.asarray(soxr.resample(audio, rate, SAMPLE_RATE), np.float32)


def _require(program: str) -> None:
    if shutil.which(program) is None:
        raise VoiceMissing(f"the program {program} is not on the PATH")


def flite(voice: str, texts: Iterator[str], rng: random.Random) -> Iterator[Utterance]:
    """Speak `texts` with a flite voice at changing speed and pitch; flite prints the end of each phoneme."""
    _require("flite")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        for text in texts:
            command = ["flite", "-voice", voice, "--setf", f"duration_stretch={rng.uniform(0.75, 1.3):.2f}"]
            if rng.random() < 0.5:
                command += ["--setf", f"int_f0_target_mean={rng.uniform(85, 230):.0f}"]
            done = subprocess.run(
                [*command, "-psdur", "-t", text, "-o", str(path)], capture_output=True, text=True, timeout=60
            )
            if done.returncode or not path.exists():
                raise VoiceMissing(f"flite cannot speak with the voice {voice!r}: {done.stderr.strip()[:200]}")
            phonemes: Phonemes = []
            start = 0.0
            for word in done.stdout.split():
                name, _, end = word.rpartition(":")
                phonemes.append((name, start, float(end)))
                start = float(end)
            audio = _read_wave(path)
            # A text of two sentences restarts flite's clock: leave it out rather than guess.
            if all(a < b for _, a, b in phonemes) and abs(start - len(audio) / SAMPLE_RATE) < 0.4:
                yield Utterance(audio, phonemes)


def festival(voice: str, texts: Iterator[str], rng: random.Random) -> Iterator[Utterance]:
    """Speak `texts` with a festival voice at changing speed; festival saves the phoneme ends as `.segs`."""
    _require("festival")
    batch = 40
    with tempfile.TemporaryDirectory() as folder:
        while True:
            lines = [f"(voice_{voice})"]
            for i, text in enumerate(itertools.islice(texts, batch)):
                quoted = text.replace('"', "")
                lines += [
                    f"(Parameter.set 'Duration_Stretch {rng.uniform(0.8, 1.25):.2f})",
                    f'(set! u (utt.synth (Utterance Text "{quoted}")))',
                    f'(utt.save.wave u "{folder}/{i}.wav" \'riff)',
                    f'(utt.save.segs u "{folder}/{i}.segs")',
                ]
            script = Path(folder) / "speak.scm"
            script.write_text("\n".join(lines) + "\n", encoding="utf-8")
            done = subprocess.run(["festival", "-b", str(script)], capture_output=True, text=True, timeout=600)
            found = 0
            for i in range(batch):
                sound, segments = Path(folder) / f"{i}.wav", Path(folder) / f"{i}.segs"
                if not (sound.exists() and segments.exists()):
                    continue
                phonemes: Phonemes = []
                start = 0.0
                for line in segments.read_text(encoding="latin-1").splitlines():
                    fields = line.split()
                    if len(fields) == 3:
                        phonemes.append((fields[2], start, float(fields[0])))
                        start = float(fields[0])
                yield Utterance(_read_wave(sound), phonemes)
                found += 1
                sound.unlink()
                segments.unlink()
            if not found:
                raise VoiceMissing(f"festival cannot speak with the voice {voice!r}: {done.stderr.strip()[:200]}")


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    """`espeak_EVENT` of espeak-ng's speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


class Espeak:
    """espeak-ng through its C library, the only way to its phoneme events (speak_lib.h)."""

    _SYNCHRONOUS, _PHONEME_EVENTS, _IPA_NAMES = 2, 1, 2
    _LIST_TERMINATED, _PHONEME = 0, 7
    _RATE, _PITCH, _RANGE = 1, 3, 4

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL("libespeak-ng.so.1")
        except OSError as error:
            raise VoiceMissing(f"libespeak-ng.so.1 does not load: {error}") from error
        self._pieces: list[npt.NDArray[np.int16]] = []
        self._events: list[tuple[int, str]] = []
        callback_type = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
        )
        self._callback = callback_type(self._collect)  # espeak keeps the pointer only: hold the object here
        self._rate = self._library.espeak_Initialize(
            self._SYNCHRONOUS, 500, None, self._PHONEME_EVENTS | self._IPA_NAMES
        )
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        for i in itertools.count():
            if events[i].type == self._LIST_TERMINATED:
                return 0
            if events[i].type == self._PHONEME:
                name = bytes(events[i].id.string).split(b"\0")[0].decode("utf-8", "ignore")
                self._events.append((events[i].sample, name))
        return 0

    def speak(self, voice: str, texts: Iterator[str], rng: random.Random) -> Iterator[Utterance]:
        """Speak `texts` with `voice`, such as "en-us+f2", at changing speed, pitch and liveliness."""
        for text in texts:
            if self._library.espeak_SetVoiceByName(voice.encode()):
                raise VoiceMissing(f"espeak-ng has no voice {voice!r}")
            self._library.espeak_SetParameter(self._RATE, rng.randint(120, 210), 0)
            self._library.espeak_SetParameter(self._PITCH, rng.randint(25, 75), 0)
            self._library.espeak_SetParameter(self._RANGE, rng.randint(20, 80), 0)
            self._pieces.clear()
            self._events.clear()
            encoded = text.encode()
            self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, 1, None, None)
            audio = np.concatenate(self._pieces).astype(np.float32) / 32768.0
            ends = [at for at, _ in self._events[1:]] + [len(audio)]
            phonemes = [
                (name, at / self._rate, end / self._rate)
                for (at, name), end in zip(self._events, ends, strict=True)
                if end > at
            ]
            yield Utterance(np.asarray(soxr.resample(audio, self._rate, SAMPLE_RATE), np.float32), phonemes)


def shards() -> list[Shard]:
    """List every voice of the corpus.

    Recorded voices (flite, festival) take most of it, for they carry what robots lack;
    espeak-ng adds many vocal tracts and the sounds of other languages.
    """
    listed = [
        Shard(f"flite_{voice}", "arpabet", 8.0, 0.15, lambda t, r, v=voice: flite(v, t, r))  # type: ignore[misc]
        for voice in FLITE_VOICES
    ]
    listed += [
        Shard(f"festival_{voice}", "arpabet", 6.0, 0.15, lambda t, r, v=voice: festival(v, t, r))  # type: ignore[misc]
        for voice in FESTIVAL_ENGLISH
    ]
    listed += [
        Shard(f"festival_{voice}", "letters", 3.0, 1.0, lambda t, r, v=voice: festival(v, t, r))  # type: ignore[misc]
        for voice in FESTIVAL_LETTERS
    ]
    espeak = Espeak()
    for i, variant in enumerate(ESPEAK_VARIANTS):
        language = ("en-us", "en-us", "en", "en-gb-scotland", "en-us", "en-gb-x-rp")[i % 6]
        voice = f"{language}+{variant}"
        listed.append(Shard(f"espeak_{voice}", "ipa", 0.7, 0.1, lambda t, r, v=voice: espeak.speak(v, t, r)))  # type: ignore[misc]
    for i, language in enumerate(ESPEAK_LANGUAGES):
        voice = f"{language}+{ESPEAK_VARIANTS[(7 * i) % len(ESPEAK_VARIANTS)]}"
        listed.append(Shard(f"espeak_{voice}", "ipa", 0.7, 0.4, lambda t, r, v=voice: espeak.speak(v, t, r)))  # type: ignore[misc]
    return listed


def write_shard(path: Path, shard: Shard, seconds: float, seed: int) -> float:
    """Speak `seconds` of speech with one voice and write it to `path`; return the seconds written.

    Raises:
        VoiceMissing: the voice is not installed; nothing is written.
    """
    audio: list[npt.NDArray[np.int16]] = []
    phonemes: list[Phonemes] = []
    total = 0
    for utterance in shard.speak(sentences(seed, shard.invented), random.Random(seed)):
        if not utterance.phonemes or not 1.0 < len(utterance.audio) / SAMPLE_RATE < LONGEST_SECONDS:
            continue
        audio.append((np.clip(utterance.audio, -1, 1) * 32767).astype(np.int16))
        phonemes.append(utterance.phonemes)
        total += len(utterance.audio)
        if total >= seconds * SAMPLE_RATE:
            break
    starts = np.cumsum([0, *(len(piece) for piece in audio[:-1])])
    unfinished = path.with_suffix(".tmp.npz")
    np.savez(
        unfinished, audio=np.concatenate(audio), starts=starts, phonemes=json.dumps(phonemes), alphabet=shard.alphabet
    )
    unfinished.replace(path)  # whole or not at all
    return total / SAMPLE_RATE


def read_shard(path: Path) -> Iterable[tuple[Utterance, str]]:
    """Yield the utterances of one shard, each with the alphabet of its phonemes."""
    with np.load(path) as data:
        audio, alphabet = data["audio"], str(data["alphabet"])
        pieces = np.split(audio, data["starts"][1:])
        for piece, phonemes in zip(pieces, json.loads(str(data["phonemes"])), strict=True):
            yield Utterance(piece.astype(np.float32) / 32767.0, [(n, a, b) for n, a, b in phonemes]), alphabet


def main(arguments: list[str] | None = None) -> int:
    """Write every shard that is missing; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/speech/corpus"), help="folder for the shards")
    parser.add_argument("--hours", type=float, default=3.0, help="length of the whole corpus")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    listed = shards()
    whole = sum(shard.share for shard in listed)
    written = 0
    for i, shard in enumerate(listed):
        path = options.out / f"{shard.name}.npz"
        if not path.exists():
            try:
                seconds = write_shard(path, shard, options.hours * 3600 * shard.share / whole, options.seed * 1000 + i)
            except VoiceMissing as missing:
                print(f"{shard.name}: left out: {missing}", file=sys.stderr)
                continue
            print(f"{shard.name}: {seconds / 60:.1f} min", flush=True)
        written += 1
    if not written:
        print(f"no voice could speak: install {' '.join(DEBIAN_PACKAGES)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
