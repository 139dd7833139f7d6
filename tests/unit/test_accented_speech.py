"""Labels that move to another voice's sound: one phoneme off, and the network learns accents where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from export.motion.accented_speech import AccentedUtterance, Syllable, texts, transfer

OWN = AccentedUtterance(
    "a banana",
    np.zeros(0, np.float32),
    [("pau", 0.0, 0.2), ("ax", 0.2, 0.3), ("b", 0.3, 0.4), ("ae", 0.4, 0.6), ("n", 0.6, 0.7), ("ax", 0.7, 0.8)],
    [
        Syllable(1, 2, 0.2, 0.3, False, False),
        Syllable(2, 4, 0.3, 0.6, True, False),
        Syllable(4, 6, 0.6, 0.8, False, True),
    ],
)


def test_syllables_take_the_times_of_the_other_voice() -> None:
    other = [
        ("AH", 0.0, 0.1),
        ("B", 0.1, 0.15),
        ("AE", 0.15, 0.4),
        ("N", 0.4, 0.5),
        ("AH", 0.5, 0.9),
        ("SIL", 0.9, 1.2),
    ]
    moved = transfer(OWN, other)
    assert [(s.start, s.end) for s in moved] == [(0.0, 0.1), (0.1, 0.4), (0.4, 0.9)]
    assert [s.accented for s in moved] == [False, True, False]


def test_syllable_that_was_said_otherwise_is_left_out() -> None:
    other = [("AH", 0.0, 0.1), ("B", 0.1, 0.15), ("AA", 0.15, 0.4), ("N", 0.4, 0.5), ("AH", 0.5, 0.9)]
    assert [s.start for s in transfer(OWN, other)] == [0.0, 0.4]


def test_texts_are_endless_and_the_same_for_a_seed() -> None:
    first, again = ([next(lines) for _ in range(50)] for lines in (texts(3), texts(3)))
    assert first == again
    assert any(line.endswith("?") for line in first)


def test_scores_that_are_alike_tell_nothing() -> None:
    """Pitch is 0 in every unvoiced syllable: counted as wrong, those made pitch alone look worse than guessing."""
    pytest.importorskip("torch")
    from export.motion.prosody_network import area_under_curve

    accented = np.array([True, False, True, False, False])
    assert area_under_curve(np.zeros(5), accented) == 0.5
    assert area_under_curve(np.array([2.0, 1.0, 3.0, 0.0, 1.0]), accented) == 1.0
    draw = np.random.default_rng(0)
    scores, truth = draw.integers(0, 4, 60).astype(float), draw.random(60) < 0.4
    above = scores[truth][:, None] - scores[~truth][None]
    assert area_under_curve(scores, truth) == pytest.approx((above > 0).mean() + 0.5 * (above == 0).mean())
