"""What is preferred to what: Bradley and Terry's strengths of conditions that were compared in pairs.

Bradley and Terry, "Rank Analysis of Incomplete Block Designs" (Biometrika 39, 1952), fitted by the algorithm of Hunter,
"MM algorithms for generalized Bradley-Terry models" (Annals of Statistics 32, 2004). A comparison without a winner
counts as half a win of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRIOR: Final = 0.1
"""Wins that each condition is given over each other it met, so that one that never lost has a finite strength."""


def win_table(conditions: Sequence[str], comparisons: Iterable[tuple[str, str, str | None]]) -> Floats:
    """Wins [n, n] of the row's condition over the column's, of (first, second, winner or None)."""
    place = {condition: index for index, condition in enumerate(conditions)}
    wins = np.zeros((len(conditions), len(conditions)))
    for first, second, winner in comparisons:
        if first == second:
            continue
        for one, other in ((first, second), (second, first)):
            wins[place[one], place[other]] += 0.5 if winner is None else float(winner == one)
    return wins


def strengths(wins: Floats, prior: float = PRIOR) -> Floats:
    """Natural logarithms of the strengths [n] of wins [n, n]; NaN for what was compared with nothing.

    Condition i is preferred to j with probability 1 / (1 + exp(s[j] - s[i])). The mean of each group of `joined` is 0:
    the answers tell nothing of one group beside another.
    """
    met = (wins + wins.T) > 0
    wins = wins + prior * met
    games = wins + wins.T
    known = games.sum(1) > 0
    groups = [group for group in joined(wins) if known[group[0]]]
    power = np.ones(len(wins))
    for _ in range(2000):
        together = power[:, None] + power[None]
        renewed = np.where(known, wins.sum(1) / np.maximum((games / together).sum(1), 1e-300), 1.0)
        for group in groups:
            renewed[group] /= np.exp(np.log(renewed[group]).mean())
        settled = np.abs(np.log(renewed / power))[known].max(initial=0.0) < 1e-7
        power = renewed
        if settled:
            break
    return np.asarray(np.where(known, np.log(power), np.nan))


def joined(wins: Floats) -> list[list[int]]:
    """Conditions in groups: those of one were all compared, if not with each other then by way of others."""
    met = (wins + wins.T) > 0
    groups: list[list[int]] = []
    left = set(range(len(wins)))
    while left:
        group, new = set[int](), {min(left)}
        while new:
            group |= new
            new = {other for one in new for other in np.flatnonzero(met[one]).tolist()} - group
        groups.append(sorted(group))
        left -= group
    return groups


def answers_needed(preference: float, power: float = 0.8, level: float = 0.05) -> int:
    """Independent answers to find that a share of `preference` prefers one of two, against no preference at all.

    Raises:
        ValueError: `preference` is not above 0.5 and below 1.
    """
    if not 0.5 < preference < 1.0:
        raise ValueError(f"preference is {preference}, expected above 0.5 and below 1")
    normal = NormalDist()
    reach = normal.inv_cdf(1 - level / 2) * 0.5 + normal.inv_cdf(power) * math.sqrt(preference * (1 - preference))
    return math.ceil((reach / (preference - 0.5)) ** 2)
