"""The actors of "Beneath a Steel Sky" (Revolution Software 1994; the talkie, version 0.0372) and what they say.

Debian's package `beneath-a-steel-sky` holds `sky.dsk`, all files end to end, and `sky.dnr`, where each of them is: a
count (32 bits), then 8 bytes for each, little endian throughout: its number (16 bits), its offset (24 bits; with the
highest set, the others count units of 16 bytes) and its size (24 bits, of which 22 count; the highest is set where it
is stored plainly, the next where an unpacked file comes without a header). A packed file begins with a header of 22
bytes, whose first word has bit 7 set, followed by Rob Northen's.

The files from 60600 on hold the English lines of seven sections of the game: two words, where a table of lengths and
where the text begins, the length of each 32 lines but the last, then the length of each line (one byte, its 7 low bits
times 8 where the highest is set). Lengths count pairs of bits. The text is Huffman-coded, highest bits first. The sound
of a line is a file of its own, 8-bit unsigned at 11,025 Hz behind a header of 22 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from export.speech.aligner import Audio
from export.speech.corpus.eight_bit import decode
from export.speech.corpus.rob_northen import SIGNATURE, unpack

HEADER: Final = 22
FIRST_TEXT, FIRST_SPEECH = 60600, 50000
SECTIONS: Final = (0, 600, 1100, 2430, 3380, 4530, 5080)
"""The place of each section's first line among the files of speech."""

_CHARACTERS: Final = (
    " eaostn.ir\0EumAlIdRNSTOhcDgLCpU!yMPvH?b'f,GBVkFqwK-WJ*zYj+Q\x85)Z\x8b<\x95~\x8a\x87:\x7f]#xX\x91\x88`20\x831/(="
    '\x86^39\x984}8\\"\x90&\x8d56\x92\x8f\x8e\x93\x8c7\x80\x81\x99$@[\x9a_>\x96\x82%\t\x9c\x97{\x94!'
)
_LENGTHS: Final = (
    "3445555554665556666665776667777776887778877799888998889999aa9aa9bbaaabbabbaccbccbccbbbccccddcccd"
    "dddddddeedeeeeffeeeffefffgg"
)
"""Code lengths of _CHARACTERS, digits to base 17; the codes count up in this order."""


def codes() -> dict[str, str]:
    """Return the character of each code, the codes as digits 0 and 1."""
    found = {}
    code, before = 0, 0
    for character, digit in zip(_CHARACTERS, _LENGTHS, strict=True):
        length = int(digit, 17)
        code = code << (length - before) if length > before else code >> (before - length)
        found[f"{code:0{length}b}"] = character
        code, before = code + 1, length
    return found


class SteelSky:
    """The files of the game: `folder` holds sky.dnr and sky.dsk.

    Raises:
        FileNotFoundError: one of them is not there.
    """

    def __init__(self, folder: Path) -> None:
        index = (folder / "sky.dnr").read_bytes()
        self._disk = (folder / "sky.dsk").read_bytes()
        (count,) = struct.unpack("<I", index[:4])
        self._rows = {}
        for row in range(4, 4 + 8 * count, 8):
            number, place, size = (
                int.from_bytes(index[row + a : row + b], "little") for a, b in ((0, 2), (2, 5), (5, 8))
            )
            self._rows[number] = ((place & 0x7FFFFF) << 4 if place >> 23 else place, size)
        self._codes = codes()

    def read(self, number: int) -> bytes:
        """Return one file, unpacked.

        Raises:
            KeyError: the disk has no file of this `number`.
            ValueError: it cannot be unpacked.
        """
        place, size = self._rows[number]
        data = self._disk[place : place + (size & 0x3FFFFF)]
        plain, bare = size >> 23 & 1, size >> 22 & 1
        if plain or not data[0] & 0x80 or data[HEADER : HEADER + 4] != SIGNATURE:
            return data
        return (b"" if bare else data[:HEADER]) + unpack(data[HEADER:])

    def text(self, section: int, line: int) -> str:
        """Return a line of one section.

        Raises:
            KeyError: the disk has no such section.
            IndexError: the section has no such line.
        """
        data = self.read(FIRST_TEXT + section)
        lengths, begin = struct.unpack_from("<HH", data)
        pairs = sum(struct.unpack_from(f"<{line >> 5}H", data, 4))
        for length in data[lengths + (line & ~31) : lengths + line]:
            pairs += (length & 0x7F) << 3 if length & 0x80 else length
        place = 8 * begin + 2 * pairs
        found, code = "", ""
        while True:
            code += str(data[place >> 3] >> (7 - place % 8) & 1)
            place += 1
            if code in self._codes:
                if self._codes[code] == "\0":
                    return found
                found += self._codes[code]
                code = ""

    def lines(self, section: int) -> Iterator[tuple[Audio, str]]:
        """Yield the lines of a section that are spoken: float32[n] mono at SAMPLE_RATE, and the words."""
        first = FIRST_SPEECH + SECTIONS[section]
        behind = FIRST_SPEECH + SECTIONS[section + 1] if section + 1 < len(SECTIONS) else first + 0x1000
        for number in sorted(self._rows):
            if first <= number < behind:
                try:
                    words = self.text(section, number - first)
                except (IndexError, struct.error):
                    continue  # sounds behind the last line
                if sound := self.read(number)[HEADER:]:
                    yield decode(sound), words
