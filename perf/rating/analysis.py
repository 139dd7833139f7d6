"""From answers to figures: means, preferences, agreement, and whose answers do not count.

The rules of exclusion are fixed here, before anybody has answered: a rater who fails more than MOST_FAILED of the
attention checks, or has taken less time than FEWEST_SECONDS over half of the pairs, is left out with all answers.
Intervals are 95 %, by bootstrap over raters: answers of one rater do not count as independent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perf.rating.agreement import alpha
from perf.rating.answers import SCALES, SIDES, Answer
from perf.rating.preference import joined, strengths, win_table

Floats = NDArray[np.float64]

MOST_FAILED: Final = 0.25
"""Share of a rater's attention checks that may fail."""
FEWEST_SECONDS: Final = 4.0
"""For one pair: nobody watches two films and gives seven answers in less."""
DRAWS: Final = 2000


def analyse(answers: Sequence[Answer], seed: int = 1) -> dict[str, Any]:
    """Return all figures of a study.

    Raises:
        ValueError: no answer is left that counts.
    """
    raters = {rater: _of_rater(mine) for rater, mine in _by_rater(answers).items()}
    kept = {rater for rater, figures in raters.items() if figures["excluded"] is None}
    asked = [answer for answer in answers if answer.check is None and answer.rater in kept]
    if not asked:
        raise ValueError(f"no answer counts: {len(raters)} raters, of whom {len(raters) - len(kept)} are left out")
    conditions = sorted({condition for answer in asked for condition in answer.conditions})
    by_rater = list(_by_rater(asked).values())
    draw = np.random.default_rng(seed)
    again = [draw.integers(0, len(by_rater), len(by_rater)) for _ in range(DRAWS)] if len(by_rater) > 1 else []

    means = {}
    for scale in SCALES:
        sums = np.array([_sums(mine, conditions, scale) for mine in by_rater])
        means[scale] = _with_intervals(sums, again, lambda total: total[0] / np.where(total[1], total[1], np.nan))
    tables = np.array([win_table(conditions, map(_comparison, mine)) for mine in by_rater])
    strength = _with_intervals(tables, again, strengths)
    wins = tables.sum(0)

    rows: list[dict[str, Any]] = [
        {
            "condition": condition,
            "shown": int(sum(condition in answer.conditions for answer in asked)),
            **{scale: _figure(means[scale], index) for scale in SCALES},
            "strength": _figure(strength, index),
        }
        for index, condition in enumerate(conditions)
    ]
    rows.sort(key=lambda row: -float(row["strength"]["value"] or 0.0))
    return {
        "raters": len(raters),
        "kept": len(kept),
        "answers": len(asked),
        "undecided": float(np.mean([answer.preference == "none" for answer in asked])),
        "conditions": rows,
        "joined": [[conditions[index] for index in group] for group in joined(wins)],
        "preferred": _pairs(conditions, wins, tables, again),
        "agreement": _agreement(asked),
        "attention": dict(sorted(raters.items())),
        "repeated_alike": _repeated(answers, kept),
    }


def _by_rater(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        found[answer.rater].append(answer)
    return dict(found)


def _of_rater(mine: Sequence[Answer]) -> dict[str, Any]:
    checks = [answer for answer in mine if answer.check == "broken"]
    failed = sum(answer.preference != answer.better for answer in checks)
    seconds = float(np.median([answer.seconds for answer in mine]))
    reason = None
    if checks and failed > MOST_FAILED * len(checks):
        reason = f"failed {failed} of {len(checks)} attention checks"
    elif seconds < FEWEST_SECONDS:
        reason = f"took {seconds:.1f} s for half of the pairs"
    return {
        "answers": len(mine),
        "checks": len(checks),
        "failed": failed,
        "median_seconds": seconds,
        "excluded": reason,
    }


def _sums(mine: Sequence[Answer], conditions: Sequence[str], scale: str) -> Floats:
    """Sum and count [2, conditions] of a rater's values."""
    sums = np.zeros((2, len(conditions)))
    for answer in mine:
        for condition, ratings in zip(answer.conditions, answer.ratings, strict=True):
            sums[:, conditions.index(condition)] += (ratings[scale], 1)
    return sums


def _comparison(answer: Answer) -> tuple[str, str, str | None]:
    left, right = answer.conditions
    return left, right, {"left": left, "right": right}.get(answer.preference)


def _with_intervals(
    by_rater: Floats, again: Sequence[NDArray[np.integer]], figure: Callable[[Floats], Floats]
) -> tuple[Floats, Floats | None]:
    """A figure of the sum over raters, and its 2.5 and 97.5 percentiles over the draws; None for a single rater."""
    value = figure(by_rater.sum(0))
    if not again:
        return value, None
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = np.array([figure(by_rater[index].sum(0)) for index in again])
    edges = np.full((2, *value.shape), np.nan)
    some = ~np.isnan(drawn).all(0)
    edges[:, some] = np.nanpercentile(drawn[:, some], (2.5, 97.5), axis=0)
    return value, edges


def _figure(found: tuple[Floats, Floats | None], index: int) -> dict[str, Any]:
    value, edges = found
    return {
        "value": _number(value[index]),
        "interval": None if edges is None else [_number(edges[0, index]), _number(edges[1, index])],
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def _pairs(
    conditions: Sequence[str], wins: Floats, tables: Floats, again: Sequence[NDArray[np.integer]]
) -> list[dict[str, Any]]:
    """How often one condition was preferred to another, each pair once, the preferred one first."""
    games = wins + wins.T

    def share(table: Floats) -> Floats:
        played = table + table.T
        return np.asarray(np.divide(table, played, out=np.full_like(table, np.nan), where=played > 0))

    _, edges = _with_intervals(tables, again, share)
    found = []
    for one in range(len(conditions)):
        for other in range(len(conditions)):
            if games[one, other] and (wins[one, other], -one) > (wins[other, one], -other):
                found.append(
                    {
                        "preferred": conditions[one],
                        "to": conditions[other],
                        "share": _number(wins[one, other] / games[one, other]),
                        "interval": None
                        if edges is None
                        else [_number(edges[0, one, other]), _number(edges[1, one, other])],
                        "answers": int(games[one, other]),
                    }
                )
    return found


def _agreement(asked: Sequence[Answer]) -> dict[str, float | None]:
    """Alpha of each scale, by rank, and of the preference: one side of a pair as first, whatever side it was on."""
    found: dict[str, float | None] = {}
    for scale in SCALES:
        values = [
            (answer.rater, (answer.pair, clip), float(ratings[scale]))
            for answer in asked
            for clip, ratings in zip(answer.clips, answer.ratings, strict=True)
        ]
        found[scale] = alpha(values, "ordinal")
    preferred = []
    for answer in asked:
        swapped = answer.clips[0] > answer.clips[1]
        side = {"left": -1.0, "none": 0.0, "right": 1.0}[answer.preference]
        preferred.append((answer.rater, answer.pair, -side if swapped else side))
    found["preference"] = alpha(preferred, "ordinal")
    return {scale: None if value is None else round(value, 4) for scale, value in found.items()}


def _repeated(answers: Sequence[Answer], kept: set[str]) -> dict[str, float | int | None]:
    """Share of the pairs asked twice whose preference was the same clip both times."""
    first: Mapping[tuple[str, str], Answer] = {
        (answer.rater, answer.pair): answer for answer in answers if answer.check is None
    }
    same = []
    for answer in answers:
        before = first.get((answer.rater, answer.pair))
        if answer.check == "repeat" and before is not None and answer.rater in kept:
            same.append(_chosen(before) == _chosen(answer))
    return {"share": round(float(np.mean(same)), 4) if same else None, "pairs": len(same)}


def _chosen(answer: Answer) -> str | None:
    return dict(zip(SIDES, answer.clips, strict=True)).get(answer.preference)
