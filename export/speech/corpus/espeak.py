"""Speech from espeak-ng: many vocal tracts and languages, all of them made of formants."""

from __future__ import annotations

import ctypes
import itertools
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr
from facestream.contract import SAMPLE_RATE

from export.speech.corpus.shard import Utterance, VoiceMissing


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

    _RETURN_IF_NO_DATA = 0x8000  # espeak-ng ends the process otherwise

    def __init__(self) -> None:
        """Load nothing yet: a machine without espeak-ng can still list its voices."""
        self._library: Any = None
        self._rate = 0
        self._pieces: list[npt.NDArray[np.int16]] = []
        self._events: list[tuple[int, str]] = []
        callback_type = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
        )
        self._callback = callback_type(self._collect)  # espeak keeps the pointer only: hold the object here

    def _load(self) -> None:
        try:
            library = ctypes.CDLL("libespeak-ng.so.1")
        except OSError as error:
            raise VoiceMissing(f"libespeak-ng.so.1 does not load: {error}") from error
        options = self._PHONEME_EVENTS | self._IPA_NAMES | self._RETURN_IF_NO_DATA
        self._rate = library.espeak_Initialize(self._SYNCHRONOUS, 500, None, options)
        if self._rate <= 0:
            raise VoiceMissing("espeak-ng finds none of its data: apt-get install espeak-ng-data")
        library.espeak_SetSynthCallback(self._callback)
        self._library = library

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
        """Speak `texts` with `voice`, such as "en-us+f2", at changing speed, pitch and liveliness.

        Raises:
            VoiceMissing: espeak-ng or this voice of it is not installed.
        """
        if self._library is None:
            self._load()
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
