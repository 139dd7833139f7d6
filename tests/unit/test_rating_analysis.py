"""Figures of human rating: from answers whose truth is known, so that a wrong formula cannot pass for an opinion."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perf.rating import analysis, report
from perf.rating.agreement import alpha
from perf.rating.analysis import analyse
from perf.rating.answers import Answer, BadAnswer, read_answers
from perf.rating.preference import answers_needed, joined, strengths, win_table

STRENGTH = {"truth": 1.0, "fast": 0.0, "geometry": -1.0}
MEAN = {"truth": 4.2, "fast": 3.4, "geometry": 2.2}


def answer(rater: int, trial: int, left: str, right: str, preference: str, **changed: Any) -> Answer:
    values: dict[str, Any] = {
        "rater": f"{rater:016x}",
        "trial": trial,
        "pair": f"{min(left, right)}{max(left, right)}{trial % 4}",
        "content": f"somebody {trial % 4}",
        "check": None,
        "better": None,
        "conditions": (left, right),
        "clips": (f"{left}{trial % 4}", f"{right}{trial % 4}"),
        "ratings": tuple(dict.fromkeys(("naturalness", "realism", "expression"), 3) for _ in range(2)),
        "preference": preference,
        "seconds": 15.0,
        "plays": 1,
    }
    return Answer(**(values | changed))


def made_up_answers(raters: int, trials: int, seed: int = 3) -> list[Answer]:
    """Raters who answer by Bradley and Terry's model with STRENGTH, and rate about MEAN."""
    draw = np.random.default_rng(seed)
    answers = []
    for rater in range(raters):
        taste = draw.normal(0, 0.2)
        for trial in range(trials):
            left, right = draw.permutation(list(STRENGTH))[:2]
            wins = draw.random() < 1 / (1 + math.exp(STRENGTH[right] - STRENGTH[left]))
            ratings = tuple(
                {scale: int(np.clip(round(MEAN[side] + taste + draw.normal(0, 0.4)), 1, 5)) for scale in
                 ("naturalness", "realism", "expression")}
                for side in (left, right)
            )  # fmt: skip
            answers.append(answer(rater, trial, left, right, "left" if wins else "right", ratings=ratings))
    return answers


def test_strengths_and_means_are_found_again_and_lie_in_their_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """95 % of the intervals should hold the truth; of 24, fewer than 20 do by chance in one case of a hundred."""
    monkeypatch.setattr(analysis, "DRAWS", 200)
    held = 0
    for seed in range(8):
        found = analyse(made_up_answers(40, 24, seed))
        assert [row["condition"] for row in found["conditions"]] == ["truth", "fast", "geometry"]
        for row in found["conditions"]:
            low, high = row["strength"]["interval"]
            held += low < STRENGTH[row["condition"]] < high
            assert high - low < 0.5
            assert row["realism"]["value"] == pytest.approx(MEAN[row["condition"]], abs=0.15)
        first = next(pair for pair in found["preferred"] if (pair["preferred"], pair["to"]) == ("truth", "geometry"))
        assert first["share"] == pytest.approx(1 / (1 + math.exp(-2)), abs=0.06)
        assert found["agreement"]["realism"] > 0.5
    assert held >= 20


def test_indifferent_raters_show_no_difference() -> None:
    """An interval that did not hold 0 here would sell noise as a result."""
    draw = np.random.default_rng(1)
    answers = [
        answer(rater, trial, left, right, str(draw.choice(["left", "right", "none"])))
        for rater in range(20)
        for trial in range(12)
        for left, right in (("a", "b"), ("b", "a"))[draw.integers(2) :][:1]
    ]
    found = analyse(answers)
    for row in found["conditions"]:
        assert row["strength"]["interval"][0] < 0 < row["strength"]["interval"][1]
    assert abs(found["agreement"]["preference"]) < 0.15


def test_the_side_of_the_screen_does_not_matter() -> None:
    one = [answer(0, 0, "a", "b", "left"), answer(1, 0, "a", "b", "none")]
    other = [answer(0, 0, "b", "a", "right"), answer(1, 0, "b", "a", "none")]
    assert analyse(one)["preferred"] == analyse(other)["preferred"]
    assert analyse(one)["preferred"][0]["preferred"] == "a"


def test_inattentive_and_hasty_raters_are_left_out_and_named() -> None:
    answers = made_up_answers(4, 6)
    for rater, choice in ((0, "right"), (1, "left")):
        answers += [answer(rater, 6 + n, "fast", "broken", choice, check="broken", better="left") for n in range(2)]
    answers += [answer(9, trial, "truth", "fast", "right", seconds=1.5) for trial in range(6)]
    found = analyse(answers)
    reasons = {rater: figures["excluded"] for rater, figures in found["attention"].items()}
    assert "2 of 2" in reasons[f"{0:016x}"]
    assert reasons[f"{1:016x}"] is None
    assert "1.5 s" in reasons[f"{9:016x}"]
    assert (found["raters"], found["kept"], found["answers"]) == (5, 3, 18)
    assert all(row["condition"] != "broken" for row in found["conditions"])


def test_repeated_pairs_count_once_and_tell_who_agrees_with_himself() -> None:
    answers = [
        answer(0, 0, "a", "b", "left"),
        answer(0, 4, "b", "a", "right", check="repeat"),  # trial % 4 is the same: the same pair and clips
        answer(0, 1, "a", "b", "left"),
        answer(0, 5, "b", "a", "left", check="repeat"),
    ]
    found = analyse(answers)
    assert found["answers"] == 2
    assert found["repeated_alike"] == {"share": 0.5, "pairs": 2}


def test_nothing_left_is_said() -> None:
    with pytest.raises(ValueError, match="no answer counts: 1 raters"):
        analyse([answer(0, 0, "a", "b", "left", seconds=0.5)])


# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C: four observers, twelve units.
EXAMPLE = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)


@pytest.mark.parametrize(("metric", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_that_of_the_published_example(metric: Any, published: float) -> None:
    ratings = [
        (rater, unit, value) for rater, row in enumerate(EXAMPLE) for unit, value in enumerate(row) if value is not None
    ]
    assert alpha(ratings, metric) == pytest.approx(published, abs=0.0015)


def test_alpha_of_a_single_rater_is_unknown() -> None:
    assert alpha([(0, 0, 1.0), (0, 1, 2.0)], "ordinal") is None
    assert alpha([(0, 0, 1.0), (1, 0, 1.0)], "ordinal") is None


def test_a_condition_that_never_lost_has_a_finite_strength() -> None:
    found = strengths(win_table(["a", "b"], [("a", "b", "a")] * 10))
    assert np.isfinite(found).all()
    assert found[0] > 2.0
    assert found.sum() == pytest.approx(0.0, abs=1e-9)


def test_strengths_solve_two_conditions_exactly() -> None:
    found = strengths(win_table(["a", "b"], [("a", "b", "a")] * 3 + [("a", "b", "b")]), prior=0.0)
    assert found[0] - found[1] == pytest.approx(math.log(3), abs=1e-6)


def test_groups_that_nothing_joins_share_no_scale() -> None:
    """A condition far behind its own partner must not lift two that were never compared with either."""
    known = ["a", "b", "c", "d"]
    table = win_table(known, [("a", "b", "a")] * 9 + [("a", "b", "b")] + [("c", "d", "c"), ("c", "d", "d")] * 5)
    assert joined(table) == [[0, 1], [2, 3]]
    found = strengths(table)
    assert found[0] == pytest.approx(-found[1])
    assert found[2:] == pytest.approx([0.0, 0.0], abs=1e-6)
    answers = [answer(rater, 0, "a", "b", "left") for rater in range(3)]
    answers += [answer(rater, 1, "c", "d", "none") for rater in range(3)]
    assert "Nothing joins these groups" in report.markdown(analyse(answers))
    answers += [answer(rater, 2, "b", "c", "none") for rater in range(3)]
    assert "Nothing joins" not in report.markdown(analyse(answers))


@pytest.mark.parametrize(("preference", "answers"), [(0.60, 194), (0.65, 85), (0.70, 47), (0.75, 29)])
def test_the_protocols_sample_sizes_are_the_formulas(preference: float, answers: int) -> None:
    assert answers_needed(preference) == answers
    written = (Path(report.__file__).parent / "README.md").read_text()
    assert f"| {100 * preference:.0f} : {100 - 100 * preference:.0f} | {answers} |" in written


def test_the_protocols_number_of_raters_is_enough() -> None:
    """Eight answers of each rater to one pair of conditions, correlated by 0.1: a rater too few would miss 65 : 35."""
    raters = math.ceil(answers_needed(0.65) * (1 + 7 * 0.1) / 8)
    written = (Path(report.__file__).parent / "README.md").read_text()
    assert f"**{raters} raters**" in written


@pytest.mark.parametrize("preference", [0.5, 1.0, float("nan")])
def test_no_sample_finds_what_is_not_there(preference: float) -> None:
    with pytest.raises(ValueError, match="preference is"):
        answers_needed(preference)


LINE = {
    "schema": 1, "kind": "answer", "rater": "00", "trial": 0, "pair": "p", "content": "c",
    "check": None, "better": None,
    "left": {"clip": "x", "condition": "a", "naturalness": 1, "realism": 2, "expression": 3},
    "right": {"clip": "y", "condition": "b", "naturalness": 1, "realism": 2, "expression": 3},
    "preference": "none", "seconds": 9.5, "plays": 1, "at": "2026-01-01T00:00Z",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"schema": 2}, "line 2: schema is 2, expected 1"),
        ({"preference": "both"}, "preference is 'both'"),
        ({"left": {**LINE["left"], "realism": 6}}, "ratings.left.realism is 6, expected a whole number from 1 to 5"),  # type: ignore[dict-item]
        ({"right": None}, "right is missing"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"check": "broken"}, "better is None"),
        ({"kind": "other"}, "kind is 'other'"),
        ({"trial": True}, "trial is True"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps(LINE | {"trial": 7}) + "\n" + json.dumps(LINE | changed) + "\n")
    with pytest.raises(BadAnswer, match=words):
        read_answers(path)


def test_an_answer_twice_in_the_file_is_an_error_not_a_vote(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text((json.dumps(LINE) + "\n") * 2)
    with pytest.raises(BadAnswer, match="line 2: rater 00 answered trial 0 before"):
        read_answers(path)


def test_the_page_has_every_condition_and_says_who_is_left_out(tmp_path: Path) -> None:
    answers = made_up_answers(5, 6) + [answer(9, trial, "truth", "fast", "right", seconds=1.0) for trial in range(3)]
    found = analyse(answers)
    written = report.write(tmp_path, found)
    page = (tmp_path / "analysis.md").read_text()
    assert json.loads((tmp_path / "analysis.json").read_text()) == found
    assert all(f"| {condition} |" in page for condition in STRENGTH)
    assert "took 1.0 s for half of the pairs" in page
    assert "**A pilot**: fewer than 12 raters count" in page
    assert "A pilot" not in report.markdown(found | {"kept": 12})
    assert all(path.stat().st_size for path in written)
