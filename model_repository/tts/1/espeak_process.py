"""espeak-ng in a process of its own, started by `espeak_voices.py`: requests on stdin, sound on stdout.

Apart for two reasons. A text can crash the library (words in several alphabets of India do, in version 1.52), and then
only this process ends. And the library is under the GPL: no other part of facestream is in one program with it.

A request is a line of JSON: {"text", "voice", "rate" (words per minute), "pause" (behind the text)} to speak, or
{"text", "voice"} for phonemes. An answer is frames, each a kind (1 byte), a length (uint32, little-endian) and so many
bytes:

    V  once, at the start: JSON with the sample rate, the languages and the variants
    S  sound, int16, native byte order
    P  phonemes, UTF-8
    X  what went wrong, UTF-8; M: the library is not installed
    E  the end of the answer, empty

Source of the interface: espeak-ng's speak_lib.h, version 1.52. Nothing but the standard library is imported.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BUFFER_MS = 30  # of sound for one call of the callback

# speak_lib.h
_SYNCHRONOUS, _DONT_EXIT, _UTF8, _END_PAUSE, _IPA, _RATE = 2, 0x8000, 1, 0x1000, 2, 1
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class _Voice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),  # pairs of a priority byte and a name
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


class Missing(Exception):
    """The library is not installed."""


class Library:
    """The loaded library. One engine for the whole process: voice, rate and callback are global."""

    def __init__(self) -> None:
        """Load it; raises Missing where it is not installed."""
        path, data = _find()
        self._library = ctypes.CDLL(path)
        self._library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self.sample_rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, data, _DONT_EXIT))
        if self.sample_rate <= 0:
            raise Missing(f"espeak-ng at {path} finds no data of its own")
        self._callback = _Callback(_emit)  # kept: the library holds only its address
        self._library.espeak_SetSynthCallback(self._callback)
        self.languages = self._list_languages()
        self.variants = self._list_variants()

    def speak(self, text: str, voice: str, rate: int, pause: bool) -> None:
        """Write the sound of a text as it comes."""
        self._choose(voice)
        self._library.espeak_SetParameter(_RATE, rate, 0)
        data = text.encode()
        flags = _UTF8 | (_END_PAUSE if pause else 0)
        status = self._library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, flags, None, None)
        if status != 0:
            raise RuntimeError(f"espeak-ng fails with status {status}")

    def phonemes(self, text: str, voice: str) -> str:
        """The text in the International Phonetic Alphabet, clauses joined by spaces."""
        self._choose(voice)
        rest = ctypes.c_char_p(text.encode())
        clauses = []
        while rest.value is not None:  # a clause for each call
            clauses.append(self._library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA) or b"")
        return " ".join(clause.decode() for clause in clauses if clause)

    def _choose(self, voice: str) -> None:
        language, plus, variant = voice.partition("+")
        # By the voice's file: espeak-ng knows a voice by the first of its languages only.
        name = f"{self.languages.get(language, language)}{plus}{variant}"
        if self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice '{voice}'")

    def _list_languages(self) -> dict[str, str]:
        """Name of each language, and the voice file that speaks it: of several the one that espeak-ng prefers."""
        found: dict[str, tuple[int, str]] = {}
        for voice in _follow(self._library.espeak_ListVoices(None)):
            identifier = (voice.identifier or b"").decode(errors="replace")
            if identifier.startswith("mb/"):  # MBROLA's voices are not in the package
                continue
            for priority, name in _languages(voice):
                found[name] = min(found.get(name, (priority, identifier)), (priority, identifier))
        return {name: identifier for name, (_, identifier) in sorted(found.items())}

    def _list_variants(self) -> list[str]:
        wanted = _Voice(languages=b"variant")
        voices = _follow(self._library.espeak_ListVoices(ctypes.byref(wanted)))
        return sorted((voice.identifier or b"").decode(errors="replace").rpartition("/")[2] for voice in voices)


def _find() -> tuple[str, bytes | None]:
    """Library and the folder of its data: of the Python package, else of the system."""
    try:
        import espeakng_loader
    except ModuleNotFoundError:
        system = ctypes.util.find_library("espeak-ng")
        if system is None:
            raise Missing("espeak-ng is not installed") from None
        return system, None
    path = Path(espeakng_loader.get_library_path())
    return str(path), str(path.parent).encode()


def _follow(array: Any) -> Iterator[Any]:
    """What the pointers of an array that ends in NULL point to."""
    index = 0
    while array[index]:
        yield array[index].contents
        index += 1


def _languages(voice: Any) -> Iterator[tuple[int, str]]:
    """Priority, low is preferred, and name of each language of a voice."""
    # The bytes go on behind the first zero, which c_char_p does not show.
    address = ctypes.c_void_p.from_buffer(voice, _Voice.languages.offset).value
    while address and (priority := ctypes.string_at(address, 1)[0]):
        name = ctypes.string_at(address + 1)
        yield priority, name.decode(errors="replace")
        address += len(name) + 2


def _emit(samples: Any, count: int, events: Any) -> int:
    """espeak's callback: 0 goes on."""
    if samples and count > 0:
        _write(b"S", ctypes.string_at(samples, 2 * count))
    return 0


def _write(kind: bytes, data: bytes = b"") -> None:
    frame = struct.pack("<cI", kind, len(data)) + data
    try:
        while frame:
            frame = frame[os.write(_OUTPUT, frame) :]
    except OSError:  # nobody listens any more: who started us has ended
        os._exit(0)


_OUTPUT = 1


def main() -> None:
    """Answer until standard input ends."""
    global _OUTPUT
    _OUTPUT = os.dup(1)
    os.dup2(2, 1)  # whatever the library prints must not come between the frames
    try:
        library = Library()
    except Missing as error:
        _write(b"M", str(error).encode())
        return
    hello = {"sample_rate": library.sample_rate, "languages": list(library.languages), "variants": library.variants}
    _write(b"V", json.dumps(hello).encode())
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            if "rate" in request:
                library.speak(**request)
            else:
                _write(b"P", library.phonemes(**request).encode())
        except Exception as error:  # belongs to whoever asked
            _write(b"X", str(error).encode())
        _write(b"E")


if __name__ == "__main__":
    main()
