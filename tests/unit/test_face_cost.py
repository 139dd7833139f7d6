"""What drawing costs: a sum that forgot a stage would tell of a budget that is kept while frames come late."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from perf import face_cost


def chain(factor: float = 1.0) -> Any:
    """Figures of a chain of 12 frames; its compositor takes 5 ms, each other stage 1 ms, the tiers 100 ms."""
    times = {stage: [factor * 1.0] * 12 for stage in face_cost.CHAIN} | {"compositor": [factor * 5.0] * 12}
    times |= {stage: [factor * 100.0] * 12 for stage in face_cost.BESIDE}
    return SimpleNamespace(milliseconds=times, processor={stage: list(used) for stage, used in times.items()})


def test_the_sum_is_of_the_chain_alone() -> None:
    """The networks of the other tiers run for some sessions only: they are shown beside the budget, not in it."""
    rows = face_cost.rows_of(chain(), None)
    assert rows[face_cost.SUM]["median"] == pytest.approx(8.0)
    assert rows["refiner_high"]["median"] == pytest.approx(100.0)
    assert "ratio" not in rows["compositor"]


def test_two_repositories_are_compared_frame_by_frame() -> None:
    """On a busy machine only the ratio of what ran at the same time means anything."""
    rows = face_cost.rows_of(chain(0.5), chain())
    assert rows["compositor"]["ratio"] == pytest.approx(0.5)
    assert rows[face_cost.SUM]["ratio"] == pytest.approx(0.5)


def test_too_few_frames_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        face_cost.main(["--frames", "3"])
    assert "--frames is 3, expected more than" in capsys.readouterr().err


def test_each_repository_is_measured_with_its_own_stabiliser(tmp_path: Path) -> None:
    """Two modules of one name are one to Python: the change that --before was asked about showed a ratio of 1."""
    repositories = [tmp_path / name for name in ("now", "then")]
    for repository in repositories:
        stage = repository / "stabilizer" / "1"
        stage.mkdir(parents=True)
        (stage / "canvas_stabilizer.py").write_text(f"class CanvasStabilizer:\n    of = {repository.name!r}\n")
    assert [face_cost.stabilizer_class(repository).of for repository in repositories] == ["now", "then"]
    with pytest.raises(FileNotFoundError, match=r"canvas_stabilizer\.py: this stage .* is missing"):
        face_cost.stabilizer_class(tmp_path)
