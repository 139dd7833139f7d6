"""Which voices there are: the user's Piper voices before espeak-ng's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from espeak_voices import EspeakEngine, library
from facestream.contract import VOICES_VARIABLE
from facestream.errors import BadInput
from piper_voices import PiperEngine
from synthesizer import Engine, EngineMissing, Synthesizer


def engines() -> list[Engine]:
    """All engines, in the order in which they are asked for a voice. Nothing is loaded yet."""
    folder = os.environ.get(VOICES_VARIABLE)
    piper = [PiperEngine(Path(folder), lambda text, voice: library().phonemes(text, voice))] if folder else []
    return [*piper, EspeakEngine()]


class Voices:
    """Finds a voice by its name."""

    def __init__(self, default: str, engines: Sequence[Engine]) -> None:
        """`default` is the voice of those who name none."""
        self._default = default
        self._engines = engines

    def find(self, name: str) -> Synthesizer:
        """The voice; '' is the default one.

        Raises:
            BadInput: no engine has it, or it cannot be used; the text names it and says what there is.
            EngineMissing: an engine that might have it is not installed.
        """
        wanted = name or self._default
        missing: EngineMissing | None = None
        for engine in self._engines:
            try:
                voice = engine.voice(wanted)
            except EngineMissing as error:
                missing = error
                continue
            except ValueError as error:
                raise BadInput(f"voice '{wanted}': {error}") from error
            if voice is not None:
                return voice
        if missing is not None:
            raise missing
        known = [known for engine in self._engines for known in engine.names()]
        raise BadInput(f"voice '{wanted}' is not here; expected one of {', '.join(known)}")
