"""espeak-ng: small, fast, more than a hundred languages; sounds like a machine.

The library is one engine for the whole process: voice, rate and the callback that takes the sound are global. So one
thread owns it and speaks one sentence after the other, whoever asks: two users' texts cannot mix, and none waits for
more than the sentences before its own. It is some 400 times faster than speech.

It says the same text a little differently each time, by some milliseconds: its phases go on from text to text, and
neither its seed nor a new start of it puts them back.

Source of the interface: espeak-ng's speak_lib.h, version 1.52.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from facestream.tts_sentences import ENDS
from numpy.typing import NDArray
from synthesizer import EngineMissing

MISSING = "espeak-ng is not installed: pip install 'facestream[tts]'"

_WORDS_PER_MINUTE = 175  # espeak's own rate
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


class Library:
    """The loaded library and the one thread that calls it."""

    def __init__(self) -> None:
        """Load it; raises EngineMissing where it is not installed."""
        path, data = _find()
        self._library = ctypes.CDLL(path)
        self._library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self.sample_rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, data, _DONT_EXIT))
        if self.sample_rate <= 0:
            raise EngineMissing(f"espeak-ng at {path} finds no data of its own: pip install 'facestream[tts]'")
        self._callback = _Callback(self._take)  # kept: the library holds only its address
        self._library.espeak_SetSynthCallback(self._callback)
        self._emit: Callable[[NDArray[np.float32]], bool] | None = None
        self.languages = self._list_languages()
        self.variants = self._list_variants()
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="espeak-ng", daemon=True).start()

    def speak(self, text: str, voice: str, words_per_minute: int) -> Iterator[NDArray[np.float32]]:
        """Sound of a text as it comes, float32 [n]. Closing the iterator stops the synthesis."""
        sound: queue.SimpleQueue[NDArray[np.float32] | Exception | None] = queue.SimpleQueue()
        stopped = threading.Event()
        self._jobs.put(lambda: self._speak(text, voice, words_per_minute, sound, stopped))
        try:
            while (item := sound.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            stopped.set()

    def phonemes(self, text: str, voice: str) -> str:
        """The text in the International Phonetic Alphabet as espeak-ng says it, clauses joined by spaces."""
        answer: queue.SimpleQueue[str | Exception] = queue.SimpleQueue()
        self._jobs.put(lambda: self._phonemes(text, voice, answer))
        found = answer.get()
        if isinstance(found, Exception):
            raise found
        return found

    # --- in the library's own thread ----------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            self._jobs.get()()

    def _speak(
        self,
        text: str,
        voice: str,
        words_per_minute: int,
        sound: queue.SimpleQueue[NDArray[np.float32] | Exception | None],
        stopped: threading.Event,
    ) -> None:
        def emit(samples: NDArray[np.float32]) -> bool:
            if len(samples):
                sound.put(samples)
            return not stopped.is_set()

        try:
            if stopped.is_set():
                return
            self._choose(voice)
            self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
            self._emit = emit
            data = text.encode()
            ends = text.rstrip("\"'”’»)]}」』 ").endswith(tuple(ENDS))
            flags = _UTF8 | (_END_PAUSE if ends else 0)
            status = self._library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, flags, None, None)
            if status != 0:
                raise RuntimeError(f"espeak-ng fails with status {status}")
        except Exception as error:  # belongs to whoever asked; the thread goes on for the others
            sound.put(error)
        finally:
            self._emit = None
            sound.put(None)

    def _phonemes(self, text: str, voice: str, answer: queue.SimpleQueue[str | Exception]) -> None:
        try:
            self._choose(voice)
            rest = ctypes.c_char_p(text.encode())
            clauses = []
            while rest.value is not None:  # a clause for each call
                clauses.append(self._library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA) or b"")
            answer.put(" ".join(clause.decode() for clause in clauses if clause))
        except Exception as error:
            answer.put(error)

    def _choose(self, voice: str) -> None:
        language, plus, variant = voice.partition("+")
        identifier = self.languages.get(language)
        if identifier is None or self._library.espeak_SetVoiceByName(f"{identifier}{plus}{variant}".encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice '{voice}'")

    def _take(self, samples: Any, count: int, events: Any) -> int:
        """espeak's callback: 0 goes on, 1 stops."""
        if self._emit is None or not samples:
            return 0
        pcm = np.ctypeslib.as_array(samples, (count,)) if count > 0 else np.zeros(0, np.int16)
        return 0 if self._emit(pcm.astype(np.float32) / np.float32(32768)) else 1

    def _list_languages(self) -> dict[str, str]:
        """Name of each language, and the voice file that speaks it: of several the one that espeak-ng prefers."""
        found: dict[str, tuple[int, str]] = {}
        for voice in _follow(self._library.espeak_ListVoices(None)):
            identifier = (voice.identifier or b"").decode(errors="replace")
            if identifier.startswith("mb/"):  # MBROLA's voices are not in the package
                continue
            for priority, name in _languages(voice):
                found[name] = min(found.get(name, (priority, identifier)), (priority, identifier))
        return {name: identifier for name, (_, identifier) in found.items()}

    def _list_variants(self) -> frozenset[str]:
        wanted = _Voice(languages=b"variant")
        voices = _follow(self._library.espeak_ListVoices(ctypes.byref(wanted)))
        return frozenset((voice.identifier or b"").decode(errors="replace").rpartition("/")[2] for voice in voices)


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


@cache
def library() -> Library:
    """The process's one Library; raises EngineMissing where it is not installed."""
    return Library()


class EspeakVoice:
    """A language, with or without a variant."""

    def __init__(self, library: Library, name: str) -> None:
        self._library = library
        self._name = name
        self.sample_rate = library.sample_rate

    def synthesize(self, text: str, speed: float) -> Iterator[NDArray[np.float32]]:
        """See `synthesizer.Synthesizer`."""
        return self._library.speak(text, self._name, round(_WORDS_PER_MINUTE * speed))


class EspeakEngine:
    """Voices by espeak-ng's names: a language such as 'en-us', and a variant such as '+f3' if wanted."""

    def voice(self, name: str) -> EspeakVoice | None:
        """See `synthesizer.Engine`."""
        found = library()
        language, plus, variant = name.partition("+")
        if language not in found.languages or (plus and variant not in found.variants):
            return None
        return EspeakVoice(found, name)

    def names(self) -> Sequence[str]:
        """Its languages, sorted."""
        return sorted(library().languages)


def _find() -> tuple[str, bytes | None]:
    """Library and data folder: of the Python package, else of the system."""
    try:
        import espeakng_loader
    except ModuleNotFoundError:
        system = ctypes.util.find_library("espeak-ng")
        if system is None:
            raise EngineMissing(MISSING) from None
        return system, None
    path = Path(espeakng_loader.get_library_path())
    return str(path), str(path.parent).encode()
