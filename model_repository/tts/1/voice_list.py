"""Which voices there are: those of the user's own engine, then the user's Piper voices, then espeak-ng's."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from espeak_voices import EspeakEngine, espeak
from facestream.contract import VOICES_VARIABLE
from facestream.errors import BadInput
from piper_voices import PiperEngine
from synthesizer import Engine, EngineMissing, Synthesizer

ENGINE_VARIABLE = "FACESTREAM_TTS_ENGINE"
"""Environment variable: FILE.py:CLASS, an engine of the user's own; CLASS() is a `synthesizer.Engine`."""


def engines() -> list[Engine]:
    """All engines, in the order in which they are asked for a voice. Those of this stage have loaded nothing yet.

    Raises ValueError, which names the variable, where the user's own engine cannot be loaded.
    """
    own = os.environ.get(ENGINE_VARIABLE)
    folder = os.environ.get(VOICES_VARIABLE)
    found: list[Engine] = [load_engine(own)] if own else []
    if folder:
        found.append(PiperEngine(Path(folder), lambda text, voice: espeak().phonemes(text, voice)))
    return [*found, EspeakEngine()]


def load_engine(place: str) -> Engine:
    """The engine at FILE.py:CLASS."""
    file, _, name = place.rpartition(":")
    try:
        specification = importlib.util.spec_from_file_location("facestream_tts_engine", file)
        if specification is None or specification.loader is None:
            raise ImportError("expected FILE.py:CLASS")
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        engine: Engine = getattr(module, name)()
    except Exception as error:  # of whatever the user's code does
        raise ValueError(f"{ENGINE_VARIABLE}={place}: {error!r}") from error
    return engine


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
