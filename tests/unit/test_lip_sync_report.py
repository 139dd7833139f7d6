"""What the judge writes: a missed target that reads as met would be worse than no judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from perf.lip_sync import report
from perf.lip_sync.targets import TARGETS, verdicts

ROW: dict[str, Any] = {
    "group": "Blind voices",
    "case": "clean",
    "lip_gap_r": 0.91,
    "pbm_closed": 0.5,
    "open_vowels_closed": None,
    "lag_ms": -5.0,
    "bilabials": 12.0,
    "seconds": 60.0,
    "intervals": {"lip_gap_r": [0.87, 0.93]},
}


def test_a_target_without_a_value_is_missed_and_one_without_a_row_is_not_told() -> None:
    found = {entry["name"]: entry for entry in verdicts({"clean": {"lip_gap_r": 0.9, "pbm_closed": None}})}
    assert found["lip_gap_r"] == {"name": "lip_gap_r", "value": 0.9, "target": 0.88, "met": True}
    assert found["pbm_closed"] == {"name": "pbm_closed", "value": None, "target": 0.95, "met": False}
    assert "lip_gap_r_10_db" not in found


def test_limits_are_kept_on_the_right_side() -> None:
    by_name = {target.name: target for target in TARGETS}
    assert by_name["lip_gap_r"].met(0.88)
    assert not by_name["lip_gap_r"].met(0.8799)
    assert by_name["abs_lag_ms"].met(33.0)
    assert not by_name["abs_lag_ms"].met(34.0)


def test_the_page_says_what_was_missed_how_sure_it_is_and_what_was_not_seen(tmp_path: Path) -> None:
    whole = {
        "machine": {"processor": "some CPU", "cores": 2},
        "date": "2026-01-01",
        "judged_on": "blind voices (a, b)",
        "targets": verdicts({"clean": ROW}),
        "still": {"music": 1.234},
        "cost": {"openvino": {"mean_ms": 1.0, "p50_ms": 0.9, "p99_ms": 2.0}},
        "rows": [ROW],
        "liveliness": {"blinks_per_minute_speaking": 17.0, "blinks_per_minute_silent": None},
        "pictures": [],
    }
    report.write(tmp_path, whole)
    page = (tmp_path / "sync.md").read_text()
    assert "| pbm_closed | 0.5 | 0.95 | **missed** |" in page
    assert "| lip_gap_r | 0.91 | 0.88 | met |" in page
    assert "r (0.870–0.930)" in page
    assert "| clean | 0.910 | 50% | - |" in page
    assert "| music | 1.23 |" in page
    assert json.loads((tmp_path / "sync.json").read_text())["rows"][0]["lip_gap_r"] == 0.91
    assert "no network was trained on any of these voices" in page
    assert "no network was trained" not in report.markdown(whole | {"own": True})  # of recordings that somebody brought
