"""What the judged face has to keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple


class Target(NamedTuple):
    """A limit for one of the report's `headlines`."""

    name: str
    limit: float
    at_least: bool
    meaning: str

    def met(self, value: float | None) -> bool:
        if value is None or value != value:
            return False
        return value >= self.limit if self.at_least else value <= self.limit


TARGETS: Final = (
    Target("mouth_gain_db", 3.0, True, "the mouth of held-back people, row fast over row geometry"),
    Target("flicker_removed_percent", 50.0, True, "by the stabiliser, of flicker laid over recorded speech"),
    Target("network_flicker_removed_percent", 50.0, True, "of what the network lays over the mouth where it is still"),
    Target("lip_lag_ms", 5.0, False, "that the stabiliser adds to lips and lids, either way"),
    Target("seam_levels", 2.0, False, "worst step along the canvas's border beyond the portrait's own"),
    Target("fast_frame_ms", 12.0, False, "geometry, renderer, stabilizer and compositor on two threads"),
    Target("re_render_rest_db", 37.0, True, "worst real portrait's face, all parameters 0"),
    Target("re_render_posed_db", 37.0, True, "the same, turned by 3 degrees and moved back"),
    Target("lips_monotone_percent", 100.0, True, "avatars whose lip gap never falls while jawOpen rises"),
    Target("lids_monotone_percent", 100.0, True, "avatars whose lids never open while eyeBlink rises"),
    Target(
        "pbm_closed_percent", 100.0, True, "p, b, m that the parameters close and the worst avatar's frames show closed"
    ),
    Target("drift_levels", 0.0, False, "largest change of a frame over 30 minutes"),
)


def verdicts(headlines: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """Return {name, value, target, met, meaning} of every target; what was not measured is not met."""
    found = []
    for target in TARGETS:
        value = headlines.get(target.name)
        known = value is not None and value == value
        found.append(
            {
                "name": target.name,
                "value": round(float(value), 4) if known and value is not None else None,
                "target": target.limit,
                "met": target.met(value),
                "meaning": target.meaning,
            }
        )
    return found
