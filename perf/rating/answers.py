"""The file of answers: one JSON object a line, written as they come, never changed.

A line of kind "session": schema, kind, rater (a random number, no name), study, asked (pairs; checks and
repetitions are not counted), at (date, UTC).
A line of kind "answer":

    schema       1
    kind         "answer"
    rater        as in its session
    trial        place in the rater's order, from 0
    pair         id
    content      who says what
    check        null, "broken" (an attention check) or "repeat" (asked before, sides exchanged)
    better       side that an attentive rater must prefer, null where there is none
    left, right  {"clip": id, "condition": name, "naturalness": 1-5, "realism": 1-5, "expression": 1-5}
    preference   "left", "right" or "none"
    seconds      from the first showing to the answer
    plays        how often the pair was played to its end
    at           date and minute, UTC

Every line stands for itself: analysis needs this file and nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SCHEMA: Final = 1
SCALES: Final = ("naturalness", "realism", "expression")
SIDES: Final = ("left", "right")
PREFERENCES: Final = (*SIDES, "none")
LOWEST: Final = 1
HIGHEST: Final = 5


class BadAnswer(ValueError):
    """An answer that does not keep to the schema; the text names the entry, its value and what was expected."""


@dataclass(frozen=True)
class Answer:
    """One answered trial."""

    rater: str
    trial: int
    pair: str
    content: str
    check: str | None
    better: str | None
    conditions: tuple[str, str]
    """Of the left and the right clip."""
    clips: tuple[str, str]
    """Ids of the same."""
    ratings: tuple[Mapping[str, int], Mapping[str, int]]
    """Of the same, by scale."""
    preference: str
    seconds: float
    plays: int


def checked_answer(said: Any) -> dict[str, Any]:
    """Return what a form may say of a trial, checked: trial, ratings {side: {scale: 1-5}}, preference, seconds, plays.

    Raises:
        BadAnswer: something is missing, too much, or out of its range.
    """
    if not isinstance(said, dict):
        raise BadAnswer(f"the answer is {type(said).__name__}, expected an object")
    _no_others("the answer", said, ("rater", "trial", "ratings", "preference", "seconds", "plays"))
    ratings = said.get("ratings")
    if not isinstance(ratings, dict):
        raise BadAnswer("ratings is missing, expected an object of left and right")
    _no_others("ratings", ratings, SIDES)
    checked: dict[str, dict[str, int]] = {}
    for side in SIDES:
        given = ratings.get(side)
        if not isinstance(given, dict):
            raise BadAnswer(f"ratings has no {side}")
        _no_others(f"ratings.{side}", given, SCALES)
        checked[side] = {
            scale: _whole(f"ratings.{side}.{scale}", given.get(scale), LOWEST, HIGHEST) for scale in SCALES
        }
    preference = said.get("preference")
    if preference not in PREFERENCES:
        raise BadAnswer(f"preference is {_shown(preference)}, expected one of {', '.join(PREFERENCES)}")
    seconds = said.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 86_400:
        raise BadAnswer(f"seconds is {_shown(seconds)}, expected 0 to 86400")
    return {
        "trial": _whole("trial", said.get("trial"), 0, 100_000),
        "ratings": checked,
        "preference": preference,
        "seconds": round(float(seconds), 1),
        "plays": _whole("plays", said.get("plays"), 0, 10_000),
    }


def read_answers(path: Path) -> list[Answer]:
    """Read the answers of a file; sessions without an answer leave no trace.

    Raises:
        BadAnswer: a line is not as the schema says; the text names its number.
        FileNotFoundError: there is no such file.
    """
    answers: dict[tuple[str, int], Answer] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                said = json.loads(line)
                if not isinstance(said, dict):
                    raise BadAnswer(f"is {type(said).__name__}, expected an object")
                if said.get("schema") != SCHEMA:
                    raise BadAnswer(f"schema is {_shown(said.get('schema'))}, expected {SCHEMA}")
                if said.get("kind") == "session":
                    continue
                answer = _answer(said)
            except ValueError as error:
                raise BadAnswer(f"{path}, line {number}: {error}") from error
            if (answer.rater, answer.trial) in answers:
                raise BadAnswer(f"{path}, line {number}: rater {answer.rater} answered trial {answer.trial} before")
            answers[answer.rater, answer.trial] = answer
    return list(answers.values())


def _answer(said: Mapping[str, Any]) -> Answer:
    if said.get("kind") != "answer":
        raise BadAnswer(f"kind is {_shown(said.get('kind'))}, expected 'session' or 'answer'")
    sides = []
    for side in SIDES:
        given = said.get(side)
        if not isinstance(given, dict):
            raise BadAnswer(f"{side} is missing")
        sides.append(given)
    checked = checked_answer(
        {
            "trial": said.get("trial"),
            "ratings": {
                side: {scale: given.get(scale) for scale in SCALES} for side, given in zip(SIDES, sides, strict=True)
            },
            "preference": said.get("preference"),
            "seconds": said.get("seconds"),
            "plays": said.get("plays"),
        }
    )
    check, better = said.get("check"), said.get("better")
    if check not in (None, "broken", "repeat"):
        raise BadAnswer(f"check is {_shown(check)}, expected null, 'broken' or 'repeat'")
    if better not in (None, *SIDES) or (check == "broken") != (better is not None):
        raise BadAnswer(f"better is {_shown(better)}, expected a side for an attention check and null otherwise")
    texts = [said.get("rater"), said.get("pair"), said.get("content")]
    texts += [given.get(key) for given in sides for key in ("condition", "clip")]
    if not all(isinstance(text, str) and text for text in texts):
        raise BadAnswer("rater, pair, content, condition and clip are to be texts, and not empty")
    return Answer(
        rater=said["rater"],
        trial=checked["trial"],
        pair=said["pair"],
        content=said["content"],
        check=check,
        better=better,
        conditions=(sides[0]["condition"], sides[1]["condition"]),
        clips=(sides[0]["clip"], sides[1]["clip"]),
        ratings=(checked["ratings"]["left"], checked["ratings"]["right"]),
        preference=checked["preference"],
        seconds=checked["seconds"],
        plays=checked["plays"],
    )


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadAnswer(f"{name} is {_shown(value)}, expected a whole number from {low} to {high}")
    return value


def _no_others(name: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    others = sorted(set(given) - set(known))
    if others:
        raise BadAnswer(f"{name} has {_shown(others[0])}, expected only {', '.join(known)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
