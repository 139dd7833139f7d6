"""The actors of "Drascula: The Vampire Strikes Back" (Alcachofa Soft 1996), in English, and what they say.

Debian's package `drascula` holds the sound of each line in a file of its own, `VB17.ALS`: whose line it is, by letters,
then its number; 8-bit unsigned at 11,025 Hz between 32 bytes of other use at both ends. The words are in drascula.dat,
which ends with fifteen tables of texts, big endian throughout: the count of languages (16 bits), and for each table the
count of its texts, then for each language, English first, the size of what follows. Each text of it is closed by a zero
and preceded by the distance (16 bits) from its first letter to the next text's; the first is empty.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from export.speech.aligner import Audio
from export.speech.corpus.eight_bit import decode

MARGIN: Final = 32
TABLES: Final = 15
SPEAKERS: Final = {
    "hacker": ("", 0),
    "drascula": ("D", 1),
    "drunk": ("B", 2),
    "billie_jean": ("BJ", 3),
    "undead": ("E", 4),
    "igor": ("I", 5),
    "werewolf": ("L", 6),
    "pianist": ("P", 7),
    "bartender": ("T", 8),
    "von_braun": ("VB", 9),
}
"""Letters of each speaker's files, and the table with the words."""


def _tables(data: bytes) -> list[list[str]] | None:
    """Return the English texts of each table in `data`, None where it is not just that many tables."""
    (languages,) = struct.unpack_from(">H", data)
    place = 2
    found = []
    for _ in range(TABLES):
        if place + 2 > len(data):
            return None
        (count,) = struct.unpack_from(">H", data, place)
        place += 2
        for language in range(languages):
            if place + 2 > len(data):
                return None
            (size,) = struct.unpack_from(">H", data, place)
            if language == 0:
                found.append((count, data[place + 2 : place + 2 + size]))
            place += 2 + size
    return [_texts(*table) for table in found] if place == len(data) else None


def _texts(count: int, block: bytes) -> list[str]:
    texts, place = [""], 4
    for _ in range(1, count):
        place += struct.unpack_from(">H", block, place - 2)[0]
        texts.append(block[place : block.index(b"\0", place)].decode("latin-1"))
    return texts


def texts(data: bytes) -> list[list[str]]:
    """Return the English texts of each table of drascula.dat, whose bytes are `data`.

    Raises:
        ValueError: it does not end with such tables.
    """
    for place in range(len(data) - 2):
        if data[place] == 0 and 0 < data[place + 1] < 16:
            try:
                found = _tables(data[place:])
            except (struct.error, ValueError):
                continue
            if found is not None:
                return found
    raise ValueError(f"drascula.dat of {len(data)} bytes does not end with {TABLES} tables of texts")


def lines(folder: Path, speaker: str) -> Iterator[tuple[Audio, str]]:
    """Yield what `speaker`, one of SPEAKERS, says: float32[n] mono at SAMPLE_RATE, and the words.

    Raises:
        FileNotFoundError: `folder` holds no drascula.dat.
        ValueError: it is none.
    """
    letters, table = SPEAKERS[speaker]
    words = texts((folder / "drascula.dat").read_bytes())[table]
    for number, text in enumerate(words):
        path = folder / f"{letters}{number}.ALS"
        if text and path.exists():
            yield decode(path.read_bytes()[MARGIN:-MARGIN]), re.sub(r"\.\.+", " ", text)
