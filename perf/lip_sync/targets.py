"""What the judged mouth has to keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple


class Target(NamedTuple):
    """A limit: `row` and `figure` say which figure of the report it is for."""

    name: str
    row: str
    figure: str
    limit: float
    at_least: bool

    def met(self, value: float | None) -> bool:
        if value is None:
            return False
        return value >= self.limit if self.at_least else value <= self.limit


TARGETS: Final = (
    Target("lip_gap_r", "clean", "lip_gap_r", 0.88, True),
    Target("lip_gap_r_10_db", "white noise 10 dB below", "lip_gap_r", 0.78, True),
    Target("pbm_closed", "clean", "pbm_closed", 0.95, True),
    Target("pbm_closed_10_db", "white noise 10 dB below", "pbm_closed", 0.75, True),
    Target("open_vowels_closed", "clean", "open_vowels_closed", 0.05, False),
    Target("abs_lag_ms", "clean", "abs_lag_ms", 33.0, False),
    Target("silence_motion_percent", "clean", "silence_motion_percent", 1.0, False),
    Target("noise_motion_percent", "still", "noise", 2.0, False),
    Target("music_motion_percent", "still", "music", 2.0, False),
    Target("gain_spread_percent", "gain", "spread_percent", 3.0, False),
    Target("speech_to_parameters_ms", "cost", "p50_ms", 2.0, False),
)
"""`row` names a condition of the judged voices, or one of the report's other parts."""


def verdicts(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return {name, value, target, met} of every target whose row there is."""
    found = []
    for target in TARGETS:
        if target.row in rows:
            value = rows[target.row].get(target.figure)
            found.append(
                {
                    "name": target.name,
                    "value": None if value is None else round(float(value), 4),
                    "target": target.limit,
                    "met": target.met(value),
                }
            )
    return found
