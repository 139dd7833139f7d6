"""Which pairs a rater sees, in which order, on which side: drawn from the rater's number, so that it can be drawn
again.

A rater who comes back, or a server that starts anew, finds the same trials.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from typing import Final, Literal

from perf.rating.study import Pair, Study

PER_CHECK: Final = 8
"""One attention check for so many pairs."""
REPEATS: Final = 2
"""Pairs that come a second time, sides exchanged: how far a rater agrees with himself."""
APART: Final = 5
"""A pair comes again no sooner than after so many others."""

Check = Literal["broken", "repeat"]


@dataclass(frozen=True)
class Trial:
    """What is shown at once."""

    pair: Pair
    left: str
    """Clip id."""
    right: str
    check: Check | None = None


def trials_of(study: Study, rater: str, count: int) -> list[Trial]:
    """Draw the trials of a rater.

    Args:
        study: the pairs.
        rater: its number seeds the draw.
        count: pairs to ask about, without checks and repetitions; fewer where the study has fewer.

    Returns:
        The trials in their order: `count` pairs, as evenly over the compared conditions as that goes, checks and
        repetitions among them, none of them first, no content twice in a row where that can be avoided.
    """
    draw = random.Random(rater)
    trials = [_sided(pair, draw) for pair in _without_neighbours(_some_of(study, count, draw), study, draw)]
    asked = list(trials)
    if len(asked) > APART:
        for trial in draw.sample(asked[: len(asked) - APART], min(REPEATS, len(asked) - APART)):
            places = range(trials.index(trial) + APART + 1, len(trials) + 1)
            _insert(Trial(trial.pair, trial.right, trial.left, "repeat"), trials, places, study, draw)
    checks = study.checks
    draw.shuffle(checks)
    wanted = min(max(len(asked) // PER_CHECK, 1), len(checks))
    for number, pair in enumerate(checks[:wanted]):
        part = len(trials) / wanted
        places = range(max(int(number * part), 1), max(int((number + 1) * part), 1) + 1)
        _insert(_sided(pair, draw, "broken"), trials, places, study, draw)
    return trials


def _sided(pair: Pair, draw: random.Random, check: Check | None = None) -> Trial:
    left, right = draw.sample(pair.clips, 2)
    return Trial(pair, left, right, check)


def _insert(trial: Trial, trials: list[Trial], places: range, study: Study, draw: random.Random) -> None:
    """Put `trial` at one of `places`, beside no other of its content where that can be avoided."""
    said = [study.clips[other.left].content for other in trials]
    own = study.clips[trial.left].content
    apart = [place for place in places if own not in said[place - 1 : place + 1]]
    trials.insert(draw.choice(apart or places), trial)


def _some_of(study: Study, count: int, draw: random.Random) -> list[Pair]:
    """Take pairs in turn from the groups that compare the same two conditions."""
    groups: dict[frozenset[str], list[Pair]] = defaultdict(list)
    for pair in study.tests:
        groups[frozenset(study.clips[clip].condition for clip in pair.clips)].append(pair)
    lists = list(groups.values())
    draw.shuffle(lists)
    for group in lists:
        draw.shuffle(group)
    taken: list[Pair] = []
    while len(taken) < count and any(lists):
        for group in lists:
            if group and len(taken) < count:
                taken.append(group.pop())
    return taken


def _without_neighbours(pairs: list[Pair], study: Study, draw: random.Random) -> list[Pair]:
    """Shuffle so that the same content does not follow upon itself, as far as that goes."""
    waiting: dict[str, list[Pair]] = defaultdict(list)
    for pair in draw.sample(pairs, len(pairs)):
        waiting[study.clips[pair.clips[0]].content].append(pair)
    ordered: list[Pair] = []
    last = ""
    while len(ordered) < len(pairs):
        others = [content for content, left in waiting.items() if left and content != last] or [last]
        most = max(len(waiting[content]) for content in others)
        last = draw.choice([content for content in others if len(waiting[content]) == most])
        ordered.append(waiting[last].pop())
    return ordered
