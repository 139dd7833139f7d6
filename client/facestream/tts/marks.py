"""Text to be spoken, and the marks in it: `[pause 0.5]`, `[happy]`, `[sad 0.4, surprised 0.2]`, `[neutral]`.

    [surprised 0.8] Is that for me? [pause 0.4] [happy] Thank you!

A pause is given in seconds. An emotion holds from its place on until the next one; without a number its intensity is 1.
All others end with it. A bracket that is meant to be spoken is written with a backslash before it: `\\[`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from facestream.errors import BadInput
from facestream.parameters import EMOTIONS, check_emotion

MAX_PAUSE_S: Final = 10.0
"""A longer one would outlast what a server keeps of a silent session."""

PAUSE: Final = "pause"

_PIECE = re.compile(r"\\[\[\]\\]|\[[^\[\]]*\]|[^\[\\]+|.", re.DOTALL)
_SEEN_WHOLE = 40  # characters of a wrong mark that its refusal repeats


class Passage(NamedTuple):
    """Words of one emotion, or a pause."""

    text: str
    """Without marks. Empty for a pause."""
    pause_s: float
    emotion: NDArray[np.float32]
    """EMOTION, float32 [8]."""


def check_text(text: str) -> None:
    """Raise `BadInput`, which says where, unless `text` has something in it and no control characters.

    Tabs and line ends are let through.
    """
    if not text.strip():
        raise BadInput("the text is empty")
    for place, character in enumerate(text):
        kind = unicodedata.category(character)
        if kind in ("Cc", "Cs") and character not in "\t\n\r":
            name = "a control character" if kind == "Cc" else "half of a surrogate pair"
            raise BadInput(f"the text holds {name}, U+{ord(character):04X}, at {where(text, place)}")


def decode_text(data: bytes) -> str:
    """The text in UTF-8 bytes; `BadInput` with the place of the first byte that is none."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        raise BadInput(
            f"the text is not UTF-8: byte 0x{data[error.start]:02X} at {where(before, len(before))} ({error.reason})"
        ) from error


def parse(text: str, emotion: NDArray[np.float32] | None = None) -> Iterator[Passage]:
    """Take a text apart at its marks, in order; words between two marks are one passage.

    Args:
        text: With marks.
        emotion: float32 [8], in force until the first mark of an emotion; None: none.

    Raises `BadInput`, which names the mark and its place, for one that is unknown or not closed.
    """
    now = np.zeros(len(EMOTIONS), np.float32) if emotion is None else emotion
    words: list[str] = []
    for match in _PIECE.finditer(text):
        piece = match[0]
        if piece == "[":
            shown = text[match.start() : match.start() + _SEEN_WHOLE]
            raise BadInput(f"the mark {shown!r} at {where(text, match.start())} has no closing ']'; {_HINT}")
        if not piece.startswith("["):
            words.append(piece[1] if re.fullmatch(r"\\[\[\]\\]", piece) else piece)
            continue
        if "".join(words).strip():
            yield Passage("".join(words).strip(), 0.0, now)
        words.clear()
        try:
            wanted = _read(piece[1:-1])
        except BadInput as error:
            shown = piece if len(piece) <= _SEEN_WHOLE else piece[:_SEEN_WHOLE] + "..."
            raise BadInput(f"the mark {shown!r} at {where(text, match.start())}: {error}") from None
        if isinstance(wanted, float):
            yield Passage("", wanted, now)
        else:
            now = wanted
            # Says that the emotion changes even where no words follow in this text.
            yield Passage("", 0.0, now)
    if "".join(words).strip():
        yield Passage("".join(words).strip(), 0.0, now)


def escape(text: str) -> str:
    """`text` so that `parse` takes no part of it for a mark: for text of strangers."""
    return re.sub(r"[\[\]\\]", lambda match: "\\" + match[0], text)


def where(text: str, place: int) -> str:
    """A place in a text in a reader's words: line and character, both from 1."""
    line = text.count("\n", 0, place) + 1
    return f"line {line}, character {place - text.rfind(chr(10), 0, place)}"


_HINT: Final = f"write \\[ for a bracket; marks are [{PAUSE} SECONDS] and the emotions {', '.join(EMOTIONS)}"


def _read(mark: str) -> float | NDArray[np.float32]:
    """What the inside of a mark asks for: seconds of silence, or EMOTION."""
    emotion: dict[str, float] = {}
    for part in mark.split(","):
        name, *numbers = part.split()[:3] or [""]
        if name != PAUSE and name not in EMOTIONS:
            raise BadInput(f"'{name}' is none; {_HINT}")
        if len(numbers) > 1 or (name == PAUSE and (not numbers or "," in mark)):
            raise BadInput(f"expected [{PAUSE} SECONDS], or emotions as in [happy 0.7] or [sad 0.4, surprised 0.2]")
        try:
            number = float(numbers[0]) if numbers else 1.0
        except ValueError:
            raise BadInput(f"'{numbers[0][:_SEEN_WHOLE]}' is no number") from None
        if name == PAUSE:
            if not 0.0 <= number <= MAX_PAUSE_S:
                raise BadInput(f"a pause of {number:g} s; expected 0 to {MAX_PAUSE_S:g} s")
            return number
        if name in emotion:
            raise BadInput(f"'{name}' stands in it twice")
        emotion[name] = number
    intensities = [emotion.get(name, 0.0) for name in EMOTIONS]
    try:
        check_emotion(intensities)
    except ValueError as error:
        raise BadInput(str(error)) from None
    return np.array(intensities, np.float32)
