"""Tensors that a Python stage answers with again and again: an avatar's, which travel with every frame.

Triton's Python backend copies an output into memory that it shares with the server when the tensor is first sent, and
leaves it there as long as the tensor lives. A tensor that is made anew for each answer is copied each time: 1.5 MB a
frame. One that is sent again costs nothing but its name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from facestream.triton_tensor import to_triton


class ResentTensors:
    """Triton's tensors of arrays that never change."""

    def __init__(self, held: int) -> None:
        """`held` tensors at most are kept, in shared memory; the one sent longest ago goes first."""
        self._held = held
        self._tensors: dict[tuple[str, int], tuple[NDArray[Any], Any]] = {}

    def tensor(self, name: str, array: NDArray[Any]) -> Any:
        """The tensor `name` of an array, with the leading batch dimension of 1 that the array lacks."""
        # The array is kept too: while it lives, no other has its id.
        sent = self._tensors.pop((name, id(array)), None) or (array, to_triton(name, array[np.newaxis]))
        self._tensors[name, id(array)] = sent  # the last one in the order of the dictionary
        while len(self._tensors) > self._held:
            del self._tensors[next(iter(self._tensors))]
        return sent[1]
