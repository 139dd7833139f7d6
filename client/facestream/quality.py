"""How much work goes into the face of a session: the tiers, their names and the models that draw them.

QUALITY travels with every frame as one byte. `AUTO` leaves the choice to the server, which takes the best that its load
allows. A session may change it in mid-sentence; the server fades from one tier to the next.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final, Literal, get_args

from facestream.contract import MAX_QUALITY_VARIABLE, NETWORKS_VARIABLE
from facestream.gpu import has_gpu


class Quality(IntEnum):
    """A tier, by its value in QUALITY and QUALITY_USED."""

    AUTO = 0
    """The best that the server's load allows. Never in QUALITY_USED."""
    FAST = 1
    """The network within `renderer`: every server has it."""
    STANDARD = 2
    HIGH = 3


QualityName = Literal["auto", "fast", "standard", "high"]

NAMES: Final[tuple[str, ...]] = get_args(QualityName)
"""Names by value, as callers write them."""

REFINERS: Final[Mapping[Quality, str]] = {Quality.STANDARD: "refiner_standard", Quality.HIGH: "refiner_high"}
"""The models that `stabilizer` calls for the tiers above FAST."""

REFINER_INPUTS: Final = (
    "PARAMETERS",
    "CANVAS_FLOW",
    "CANVAS_TEXTURE",
    "AVATAR_PHOTO",
    "AVATAR_CONSTANTS",
    "AVATAR_ADAPTER",
)
"""Everything that each of them is given, in the order of its graph."""
REFINER_OUTPUT: Final = "REFINED_TEXTURE"


def quality_of(name: str) -> Quality:
    """The tier of a name; ValueError tells the names that there are."""
    if name not in NAMES:
        raise ValueError(f"quality is '{name}'; expected one of {', '.join(NAMES)}")
    return Quality(NAMES.index(name))


def check_quality(value: int) -> Quality:
    """The tier of a byte of QUALITY; ValueError for a byte that is none."""
    if not 0 <= value < len(NAMES):
        told = ", ".join(f"{number} ({name})" for number, name in enumerate(NAMES))
        raise ValueError(f"QUALITY is {value}; expected one of {told}")
    return Quality(value)


class Tiers:
    """The tiers that a server offers just now: those whose models are ready, up to its own limit."""

    def __init__(self, ready: Callable[[str], bool], limit: Quality | None = None) -> None:
        """`ready` tells whether a model answers; `limit` is the environment's FACESTREAM_MAX_QUALITY if left out.

        Raises ValueError where the environment names no tier.
        """
        self._ready = ready
        self.limit = (limit_from_environment() or Quality.HIGH) if limit is None else limit

    def offered(self) -> list[Quality]:
        """From FAST upward."""
        return [
            Quality.FAST,
            *(tier for tier, model in REFINERS.items() if tier <= self.limit and self._ready(model)),
        ]

    def check(self, wanted: Quality) -> None:
        """ValueError unless a session may ask for this tier by name."""
        if wanted <= Quality.FAST:
            return
        if wanted > self.limit:
            reason = f"its limit is {NAMES[self.limit]}"
        elif not self._ready(REFINERS[wanted]):
            reason = f"its model '{REFINERS[wanted]}' is not ready"
        else:
            return
        here = ", ".join(f"{tier.value} ({NAMES[tier]})" for tier in self.offered())
        raise ValueError(
            f"QUALITY is {wanted.value} ({NAMES[wanted]}), which this server lacks: {reason}; it has {here}"
        )


def limit_from_environment(environment: Mapping[str, str] = os.environ) -> Quality | None:
    """The best tier that the operator allows, by name in FACESTREAM_MAX_QUALITY; None where nothing is said.

    An empty word says nothing: so Compose hands on a variable that is not set. Raises ValueError for another one.
    """
    name = environment.get(MAX_QUALITY_VARIABLE)
    if not name:
        return None
    if name not in NAMES[1:]:
        raise ValueError(f"{MAX_QUALITY_VARIABLE} is '{name}'; expected one of {', '.join(NAMES[1:])}")
    return quality_of(name)


def automatic_limit() -> Quality:
    """The best tier that the server may choose by itself: the operator's limit if there is one, else by the device.

    Two cores cannot draw a better tier in time, and to find out costs late frames: without a GPU it is FAST.
    """
    limit = limit_from_environment()
    if limit is not None:
        return limit
    if os.environ.get(NETWORKS_VARIABLE) == "cpu":
        return Quality.FAST
    return Quality.HIGH if has_gpu() else Quality.FAST
