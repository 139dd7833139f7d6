"""A projection is believed by its arithmetic: it is held to sums by hand, and to say what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from export.ensembles import REPOSITORY, read_stages
from export.networks import network
from perf.gpu import roofline, roofline_report
from perf.gpu.cards import TABLE, Card, CardsError, cards
from perf.gpu.cost import Kernel
from perf.gpu.roofline import Host, Way
from perf.gpu.stages import FAST, STAGES

CARD = Card("X1", ("X1",), "9.9", 8, 10.0, 100.0, 500.0, 10.0, False, "made up", 6.0, "x1.large", 8, 30, 0.01)
WAY = Way("a way", "fp16", True, 2.0, 0.5, 0.1, 0.25, 0.5)
HOST = Host("a processor", "2026-01-01", "a file", dict.fromkeys(roofline.HOST_STAGES, 2.0), 1.0)


def test_the_longest_of_three_roofs_counts() -> None:
    """Arithmetic and traffic run at the same time; the launch comes on top."""
    moved = Kernel("x", matrix_ops=10**9, half_ops=10**9, other_ops=0, reads={"x": 250_000_000}, writes={})
    assert roofline.kernel_ms(moved, CARD, WAY) == pytest.approx(0.002 + 1.0)  # 250 MB at 250 GB/s; 1 GFLOP in 0.1 ms
    tensor = Kernel("x", matrix_ops=10**10, half_ops=10**10)
    assert roofline.kernel_ms(tensor, CARD, WAY) == pytest.approx(0.002 + 1.0)  # at 10 TFLOPS
    single = Kernel("x", matrix_ops=10**10)
    assert roofline.kernel_ms(single, CARD, WAY) == pytest.approx(0.002 + 2.0)  # at 5 TFLOPS
    others = Kernel("x", other_ops=25 * 10**8)
    assert roofline.kernel_ms(others, CARD, WAY) == pytest.approx(0.002 + 1.0)  # at 2.5 TFLOPS


def test_sessions_of_a_card_fill_batches() -> None:
    """A batch of 8 takes 10 ms here, a smaller one 2 ms and 1 ms for each frame: 26.7 ms hold two and one of 4."""

    def stage_ms(stage: str, batch: int) -> float:
        return (2.0 + batch) / len(FAST)

    assert roofline.gpu_sessions(stage_ms, 0.0, 8) == 8 + 8 + 4
    assert roofline.gpu_sessions(lambda stage, batch: 100.0, 0.0, 8) == 0
    assert roofline.gpu_sessions(lambda stage, batch: None, 0.0, 8) is None


def test_sessions_of_a_host_are_those_of_its_busiest_process() -> None:
    """More cores help the encoder, which gets more processes, but no stage that is one."""
    by_cores, _, _ = roofline.host_sessions(HOST, 100)
    assert by_cores == int(0.8 * 100 * (1000 / 30) / 11.0)
    for vcpus, processes in ((4, 1), (8, 2), (100, 8)):
        each = {name: ms / (processes if name == "video_encoder" else 1) for name, ms in HOST.stage_ms.items()}
        _, by_stage, busiest = roofline.host_sessions(HOST, vcpus)
        assert each[busiest] == max(each.values())
        assert by_stage == int(0.8 * (1000 / 30) / max(each.values()))


def test_what_crosses_pci_express_follows_from_the_configurations() -> None:
    """An avatar that travelled to the card with each frame would be 1.5 MB of it."""
    stages = read_stages(REPOSITORY)
    picture = 512 * 512 * 3
    up, down = roofline.transfers(stages, encodes=False)
    assert up < 100_000
    assert picture <= down < picture + 1000
    assert roofline.transfers(stages, encodes=True)[1] == down - picture


def test_every_stage_of_a_picture_has_its_place_in_the_budget() -> None:
    placed = [name for _, names in roofline.PARTS.values() for name in names]
    assert sorted(placed) == sorted((*FAST, *roofline.HOST_STAGES))
    assert sum(budget for budget, _ in roofline.PARTS.values()) == 34.0


def test_the_table_of_cards_can_be_read_and_names_match() -> None:
    known = {card.name: card for card in cards()}
    assert {"T4", "V100", "A100"} <= set(known)
    assert known["A100"].is_named("NVIDIA A100-SXM4-40GB")
    assert known["T4"].is_named("Tesla T4")
    assert not known["L4"].is_named("NVIDIA L40S")
    assert all(card.peaks_source for card in known.values())


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("price_per_hour", -1, "T4: price_per_hour is -1, expected dollars above 0"),
        ("memory_gb_s", 0, "T4: memory_gb_s is 0"),
        ("colour", "green", "T4: colour"),
        ("match", "T4", "T4: match is 'T4', expected a list"),  # by letters it would name other cards
    ],
)
def test_a_wrong_entry_of_the_table_is_named(tmp_path: Path, key: str, value: Any, said: str) -> None:
    """Readers are asked to change it."""
    table = json.loads(TABLE.read_text())
    table["cards"][0][key] = value
    changed = tmp_path / "cards.json"
    changed.write_text(json.dumps(table))
    with pytest.raises(CardsError, match=said):
        cards(changed)


def measured_card(name: str, within: bool = True) -> dict[str, Any]:
    """gpu.json of a card on which every network takes 0.1 ms and 0.01 ms more for each frame."""
    cells = [
        {
            "engine": "tensorrt",
            "stage": stage,
            "precision": precision,
            "batch": batch,
            "p50_ms": 0.1 + 0.01 * batch,
            "within": within or precision == "fp32",
        }
        for stage in STAGES
        for precision in network(stage).precisions
        for batch in (1, 4, 8)
    ]
    return {"card": {"name": name}, "date": "2026-12-01", "versions": {"tensorrt": "11"}, "cells": cells}


def test_a_measured_card_takes_the_place_of_its_projection(tmp_path: Path) -> None:
    """What somebody measured must not stand beside what was guessed of it."""
    folder = tmp_path / "nvidia-x1"
    folder.mkdir()
    (folder / "gpu.json").write_text(json.dumps(measured_card("NVIDIA X1-PCIE")))
    (row,) = roofline.rows([CARD], HOST, tmp_path)
    assert (row["source"], row["way"]) == ("measured, 2026-12-01", "tensorrt")
    assert row["gpu_ms"] == pytest.approx(len(FAST) * 0.11)
    assert row["networks"]["renderer"]["ms"]["2"] == pytest.approx(0.12)  # between batches, in proportion
    assert set(row["networks"]["renderer"]["ms"]) == {"1", "2", "4", "8"}
    assert row["cost_per_minute"] == pytest.approx(6.0 / 60 / row["sessions"]["served"], abs=1e-5)


def test_a_card_that_was_measured_in_part_stays_projected(tmp_path: Path) -> None:
    """`python -m perf.gpu --stages compositor` once took the whole card out of the table."""
    folder = tmp_path / "nvidia-x1"
    folder.mkdir()
    result = measured_card("NVIDIA X1-PCIE")
    result["cells"] = [cell for cell in result["cells"] if cell["stage"] == "compositor"]
    (folder / "gpu.json").write_text(json.dumps(result))
    assert {row["source"] for row in roofline.rows([CARD], HOST, tmp_path)} == {"projected"}


def test_measured_sessions_take_the_place_of_computed_ones(tmp_path: Path) -> None:
    folder = tmp_path / "nvidia-x1"
    folder.mkdir()
    (folder / "sessions.json").write_text(json.dumps({"card": "NVIDIA X1", "date": "2026-12-02", "sessions": 5}))
    for row in roofline.rows([CARD], HOST, tmp_path):
        assert row["source"] == "projected"
        assert row["sessions"]["served"] == 5
        assert row["sessions"]["served_source"] == "measured, 2026-12-02"
        assert row["cost_per_minute"] == pytest.approx(0.02)


def test_what_is_not_within_tolerance_is_not_counted_as_speed() -> None:
    result = measured_card("X", within=False)
    for cell in result["cells"]:
        cell["p50_ms"] *= 10 if cell["precision"] == "fp32" else 1
    assert roofline.measured(result, "tensorrt")("renderer", 1) == pytest.approx(1.1)


def test_the_page_says_that_it_is_a_projection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the project's own networks and the committed measurement of the host, for one card."""
    monkeypatch.setattr(roofline_report, "plot", lambda result, path: path)
    table = json.loads(TABLE.read_text())
    table["cards"] = table["cards"][:1]
    few = tmp_path / "cards.json"
    few.write_text(json.dumps(table))
    assert roofline.main(["--cards", str(few), "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "roofline.md").read_text()
    assert page.startswith("# Cards: a PROJECTION\n")
    assert "T4, hopeful: TensorRT, fp16" in page
    assert "nan" not in page
    result = json.loads((tmp_path / "out" / "roofline.json").read_text())
    cautious, hopeful = result["rows"]
    assert cautious["gpu_ms"] > hopeful["gpu_ms"] > 0
    assert result["projection"] is True


def test_the_plots_are_drawn(tmp_path: Path) -> None:
    """Beside a projected card a measured one, as on the day when somebody has run it."""
    pytest.importorskip("matplotlib", reason="needs the extra judge")
    from PIL import Image

    known = [card for card in cards() if card.name == "T4"]
    rows = [*roofline.rows(known, HOST, tmp_path)]
    (tmp_path / "nvidia-x1").mkdir()
    (tmp_path / "nvidia-x1" / "gpu.json").write_text(json.dumps(measured_card("NVIDIA X1")))
    rows += roofline.rows([CARD], HOST, tmp_path)
    drawn = roofline_report.plot({"rows": rows}, tmp_path / "roofline.png")
    with Image.open(drawn) as picture:
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 20
