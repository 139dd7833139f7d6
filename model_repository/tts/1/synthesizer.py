"""What a speech engine is to this stage. To add one, write a class like `Engine` into a file and tell the server:

    FACESTREAM_TTS_ENGINE=/where/my_engine.py:MyEngine facestream serve

Its voices then come first. It is made once, without arguments, and lives in the stage's process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class EngineMissing(RuntimeError):
    """The engine's library is not installed, or its voices cannot be read; the text says which, and what mends it."""


class Synthesizer(Protocol):
    """One voice. Used by several threads at a time."""

    @property
    def sample_rate(self) -> int:
        """Hz, of what `synthesize` yields."""

    def synthesize(self, text: str, speed: float) -> Iterator[NDArray[np.float32]]:
        """Speak one sentence, or a part of one.

        Args:
            text: Not empty; no marks, no control characters but white space.
            speed: 0.5 to 2, relative to the voice's own.

        Yields:
            float32 [n], mono in [-1, 1], of any lengths, as soon as they are there. The pause behind a sentence
            belongs to it. An iterator that is closed before its end stops the synthesis.
        """


class Engine(Protocol):
    """A source of voices."""

    def voice(self, name: str) -> Synthesizer | None:
        """The voice of that name, None where this engine has none.

        Raises:
            EngineMissing: it cannot tell, because its library or its voices are not there.
            ValueError: there is one, but it cannot be used; the text says why.
        """

    def names(self) -> Sequence[str]:
        """Names to tell to a user who asked for one that nobody knows."""
