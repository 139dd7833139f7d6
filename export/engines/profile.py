"""Which sizes of batch a network is built for.

Triton makes a batch of what waits, so with N sessions any size from 1 to N comes. TensorRT tunes its kernels for one
size of a profile: one profile is tuned for a single session, one for the full house, and Triton takes the nearer one
for each batch. CUDA graphs hold for one size each.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

LARGEST: Final = 64
"""More sessions than this come in several batches: at this size a GPU is busy, and a longer batch only waits longer."""

EACH_UP_TO: Final = 8
"""Every size of batch has its own CUDA graph up to this one."""

BEYOND: Final = (12, 16, 24, 32, 48, 64)
"""Sizes of CUDA graphs for larger batches, which also serve the smaller ones down to the size before. The networks keep
nothing from frame to frame, and no picture of a batch enters another: what fills the batch up is computed for nothing,
and read by nobody. That costs less than the launch of some hundred kernels one by one."""


@dataclass(frozen=True)
class GraphSize:
    """Batches that one CUDA graph serves."""

    smallest: int
    largest: int


@dataclass(frozen=True)
class BatchProfile:
    """Sizes of batch from 1 to `largest`."""

    largest: int

    def __post_init__(self) -> None:
        if self.largest not in sizes():
            raise ValueError(f"largest batch is {self.largest}, expected one of {', '.join(map(str, sizes()))}")

    @classmethod
    def of(cls, max_sessions: int) -> BatchProfile:
        """The smallest that takes a frame of each of so many sessions at once, or LARGEST.

        Raises:
            ValueError: not even one session.
        """
        if max_sessions < 1:
            raise ValueError(f"--max-sessions is {max_sessions}: expected 1 or more")
        return cls(next((size for size in sizes() if size >= max_sessions), LARGEST))

    @property
    def tuned(self) -> tuple[int, ...]:
        """The size that the kernels of each of TensorRT's profiles are tuned for; each profile takes all sizes."""
        return (1,) if self.largest == 1 else (1, self.largest)

    @property
    def graphs(self) -> tuple[GraphSize, ...]:
        """The CUDA graphs; between them they serve every size."""
        each = [GraphSize(size, size) for size in range(1, min(self.largest, EACH_UP_TO) + 1)]
        bounds = [EACH_UP_TO, *(size for size in BEYOND if size <= self.largest)]
        return (*each, *(GraphSize(below + 1, size) for below, size in itertools.pairwise(bounds)))

    @property
    def compared(self) -> tuple[int, ...]:
        """The sizes that are held against the reference: what fills a CUDA graph, and what leaves most of it unused."""
        return tuple(sorted({size for graph in self.graphs for size in (graph.smallest, graph.largest)}))

    @property
    def measured(self) -> tuple[int, ...]:
        """The sizes that are timed."""
        return tuple(size for size in sizes() if size <= self.largest)


def sizes() -> tuple[int, ...]:
    """What `largest` can be: powers of two."""
    return tuple(1 << power for power in range(LARGEST.bit_length()))
