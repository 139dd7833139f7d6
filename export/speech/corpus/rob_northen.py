"""Rob Northen compression, method 1, in which many games of the early nineties keep their files.

A file is `RNC`, the byte 1, the unpacked and the packed length (big endian, 32 bits), two checksums, a byte of no use
here and the number of blocks; then the blocks. A block begins with three Huffman tables (for lengths of literals,
distances and lengths of repetitions) and the number of its commands. Bits come from little-endian words of 16, the
lowest first, each fetched only when a bit of it is needed, and literals lie between these words.
"""

from __future__ import annotations

import struct

HEADER = 18
SIGNATURE = b"RNC\x01"


class _Table:
    """A Huffman code by lengths, stated for the symbols 0, 1, ...: looked up by as many bits as its longest code."""

    def __init__(self, lengths: list[int]) -> None:
        self.bits = max(lengths, default=0)
        self.rows = [(0, 0)] * (1 << self.bits)
        code = 0
        for length in range(1, self.bits + 1):
            for symbol, own in enumerate(lengths):
                if own == length:
                    mirrored = int(f"{code:0{length}b}"[::-1], 2)
                    for row in range(mirrored, len(self.rows), 1 << length):
                        self.rows[row] = (length, symbol)
                    code += 1
            code <<= 1


class _Stream:
    """Bits and literals from one place of the packed bytes."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed + bytes(4)  # the last code is looked up by more bits than it may have
        self._place = self._held = self._count = 0

    def bits(self, count: int) -> int:
        if self._count < count:
            self._held |= self._word() << self._count
            self._place += 2
            self._count += 16
        found = self._held & ((1 << count) - 1)
        self._held >>= count
        self._count -= count
        return found

    def literals(self, count: int) -> bytes:
        found = self._packed[self._place : self._place + count]
        self._place += count
        return found

    def table(self) -> _Table:
        return _Table([self.bits(4) for _ in range(self.bits(5))])

    def number(self, table: _Table) -> int:
        """Read a code whose symbol says how many bits the number has: the highest is 1, the others follow."""
        ahead = self._held if self._count >= table.bits else self._held | self._word() << self._count
        length, symbol = table.rows[ahead & (len(table.rows) - 1)]
        if not length:
            raise ValueError("a code that is in no table")
        self.bits(length)
        return symbol if symbol < 2 else 1 << (symbol - 1) | self.bits(symbol - 1)

    def _word(self) -> int:
        word = self._packed[self._place : self._place + 2]
        if len(word) < 2:
            raise ValueError("the packed bytes end too early")
        return int.from_bytes(word, "little")


def unpack(data: bytes) -> bytes:
    """Return what `data`, which begins with SIGNATURE, was packed from.

    Raises:
        ValueError: it does not begin so, or breaks off, or unpacks to another length than it states.
    """
    if data[: len(SIGNATURE)] != SIGNATURE or len(data) < HEADER:
        raise ValueError(f"the data begins with {data[:4]!r}, expected {SIGNATURE!r}: not packed by Rob Northen's way")
    whole, packed = struct.unpack(">II", data[4:12])
    stream = _Stream(data[HEADER : HEADER + packed])
    stream.bits(2)
    made = bytearray()
    for _ in range(data[17]):
        literals, distances, lengths = stream.table(), stream.table(), stream.table()
        for left in reversed(range(stream.bits(16))):
            count = stream.number(literals)
            if count:
                made += stream.literals(count)
            if left:
                distance, length = stream.number(distances) + 1, stream.number(lengths) + 2
                if distance > len(made):
                    raise ValueError(f"a repetition from {distance} bytes back, {len(made)} bytes from the start")
                repeated = bytes(made[len(made) - distance :])
                made += (repeated * (length // distance + 1))[:length]
    if len(made) != whole:
        raise ValueError(f"{len(made)} bytes were unpacked, {whole} are stated")
    return bytes(made)
