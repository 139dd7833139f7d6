"""Known cards: what their vendor says they can do, and what they cost; the table is cards.json, yours to change."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

TABLE: Final = Path(__file__).with_name("cards.json")


class CardsError(ValueError):
    """The table cannot be used; the text names the file, the card and the entry."""


@dataclass(frozen=True)
class Card:
    """One card."""

    name: str
    match: tuple[str, ...]
    """Words of the name that the driver gives it."""
    compute_capability: str
    memory_gib: float
    fp32_tflops: float
    """Ordinary cores, a product and a sum counted as two."""
    fp16_tensor_tflops: float
    """Dense."""
    memory_gb_s: float
    pcie_gb_s: float
    """One way."""
    nvenc: bool
    """Whether it encodes video."""
    peaks_source: str
    price_per_hour: float | None
    """Dollars, of the instance's share that one card takes."""
    price_of: str | None
    vcpus: int
    """Of that share."""
    frames_per_s_target: float | None
    cost_per_minute_target: float | None

    def is_named(self, name: str) -> bool:
        """Whether the driver's name of a GPU is this card's: 'NVIDIA A100-SXM4-40GB' is an A100, an A10 is none."""
        words = re.split(r"[^A-Za-z0-9]+", name)
        return any(word in words for word in self.match)


def cards(table: Path = TABLE) -> Sequence[Card]:
    """The cards of a table; raises CardsError."""
    try:
        whole = json.loads(table.read_text())
        entries: list[dict[str, Any]] = whole["cards"]
        for key in ("as_of", "prices", "peaks"):
            if not isinstance(whole[key], str):
                raise CardsError(f"{table}: {key} is {whole[key]!r}, expected words")
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise CardsError(f"{table} is no table of cards: {error!r}") from error
    made = []
    for entry in entries:
        name = entry.get("name", "a card without a name")
        if wrong := {one.name for one in fields(Card)} ^ set(entry):
            raise CardsError(f"{table}, {name}: {', '.join(sorted(wrong))}: missing, or not known")
        for key in ("fp32_tflops", "fp16_tensor_tflops", "memory_gb_s", "pcie_gb_s", "vcpus"):
            if not isinstance(entry[key], int | float) or entry[key] <= 0:
                raise CardsError(f"{table}, {name}: {key} is {entry[key]!r}, expected a number above 0")
        if not isinstance(entry["match"], list):
            raise CardsError(f"{table}, {name}: match is {entry['match']!r}, expected a list of words")
        price = entry["price_per_hour"]
        if price is not None and (not isinstance(price, int | float) or price <= 0):
            raise CardsError(f"{table}, {name}: price_per_hour is {price!r}, expected dollars above 0, or null")
        made.append(Card(**{**entry, "match": tuple(entry["match"])}))
    return made
