"""What a feeling does beside the mouth: two at a time, and one that ends, must not leave a face of their own."""

from __future__ import annotations

import numpy as np
import pytest
from emotion import STYLES, Emotion, Mood
from facestream.contract import FRAME_RATE
from facestream.parameters import EMOTIONS


def felt(emotion: Emotion, seconds: float = 5.0, **intensities: float) -> Mood:
    """The mood after so many seconds of wanting these."""
    wanted = np.array([intensities.get(name, 0.0) for name in EMOTIONS], np.float32)
    return [emotion(wanted) for _ in range(round(seconds * FRAME_RATE))][-1]


def factors(mood: Mood) -> list[float]:
    return [mood.liveliness, mood.blinks, mood.aversion, mood.opening, *mood.averted, *mood.carriage]


def of_style(name: str) -> list[float]:
    style = STYLES[name]
    return [style.liveliness, style.blinks, style.aversion, style.opening, *style.averted, *style.carriage]


@pytest.mark.parametrize("name", EMOTIONS)
def test_a_whole_one_is_its_style_and_half_of_it_half_the_way(name: str) -> None:
    assert factors(felt(Emotion(), **{name: 1.0})) == pytest.approx(of_style(name), abs=1e-3)
    between = np.mean([of_style(name), of_style("neutral")], axis=0).tolist()
    assert factors(felt(Emotion(), **{name: 0.5})) == pytest.approx(between, abs=1e-3)


def test_two_whole_ones_are_half_of_each() -> None:
    """Fear and sorrow together would blink and look away twice over, with the head drawn into the shoulders."""
    both = np.mean([of_style("fearful"), of_style("sad")], axis=0).tolist()
    mood = felt(Emotion(), fearful=1.0, sad=1.0)
    assert factors(mood) == pytest.approx(both, abs=1e-3)
    assert mood.shapes.max() <= 1.0


def test_one_that_ends_leaves_nothing() -> None:
    emotion = Emotion()
    felt(emotion, angry=1.0)
    mood = felt(emotion)
    assert factors(mood) == pytest.approx(of_style("neutral"), abs=1e-3)
    assert mood.shapes.max() < 1e-3
