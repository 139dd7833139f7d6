"""What every engine offers: a network made ready once, then bound to a batch and run as often as it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from export.networks import Precision

Tensors = dict[str, NDArray[Any]]


class Unavailable(RuntimeError):
    """An engine, or a network on it, cannot be measured here; the text says why."""


class Bound(Protocol):
    """A network with its inputs where it reads them, at one batch."""

    def run(self) -> None:
        """Run once; the outputs are complete when this returns."""

    def outputs(self) -> Tensors:
        """What the last run made, in the host's memory."""


class Ready(Protocol):
    """A loaded network."""

    def bind(self, feeds: Mapping[str, NDArray[Any]]) -> Bound:
        """Lay inputs [batch, ...] where the network reads them; raises Unavailable where that batch cannot be run."""


class Engine(Protocol):
    """A runtime on a device."""

    name: str
    version: str

    def load(self, stage: str, precision: Precision) -> Ready:
        """Make a network ready; raises Unavailable with the reason."""


def milliseconds(run: Callable[[], None], seconds: float, warm: int = 5, least: int = 10) -> list[float]:
    """Time of every run for about so many seconds, `least` runs at least, after `warm` ones that do not count.

    By the clock, each run waited for: what a request would wait, with launching and with the waiting itself (some µs).
    """
    for _ in range(warm):
        run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        began = time.perf_counter()
        run()
        times.append((time.perf_counter() - began) * 1e3)
    return times
