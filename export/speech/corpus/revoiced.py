"""Recorded people with other people's voices: what they did with lips and tongue, from another throat.

Most recorded people are men. Each finished shard `recorded_NAME.npz` becomes some shards `recorded_revoiced_NAME-N`, in
which a made-up person, more often a woman than a man, says part of its lines: WORLD moves pitch and formants (see
world.py), while what is said, how, and nearly how fast stay those of the recording.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from facestream.contract import SAMPLE_RATE

from export.speech.corpus.recorded import RECORDED, no_texts
from export.speech.corpus.shard import Shard, Utterance, VoiceMissing, read_shard
from export.speech.corpus.world import Speaker, Take, put_together, take_apart

REVOICED: Final = f"{RECORDED}_revoiced"
"""The names of all these shards begin so: they are drawn along with the recorded ones."""

INEXACT: Final = (f"{RECORDED}_fillets",)
"""Shards that nobody is made of: one p or b in seven that can be seen to close does so 35 ms and more off its time."""

MINUTES: Final = 2.5
"""Of one person."""
SOURCE_MINUTES: Final = 10.0
"""Of a recorded shard, for each person made of it."""

HELD_OUT: Final = 0.05
"""The last lines of a recorded shard that nobody says again: the networks are validated on them."""

LOW_PITCH, HIGH_PITCH = 115.0, 205.0
"""Hertz: an average man's and an average woman's."""
BETWEEN: Final = 160.0
"""A line whose median pitch is higher is taken for a woman's."""
HIGH_TRACT: Final = 1.17
"""A woman's formants over a man's, on average (Peterson & Barney 1952)."""
WOMEN: Final = 0.7
"""Share of women among the made-up people."""
SMALLEST, LARGEST = 0.82, 1.25
"""No formant is moved further."""


class Person(NamedTuple):
    """Somebody made up."""

    pitch: float
    """Median, Hz."""
    tract: tuple[float, float, float]
    """Formants over an average man's, about 500, 1,800 and 4,000 Hz."""
    breath: float
    tilt: float
    liveliness: float


def invent(rng: random.Random) -> Person:
    """Make up a person; who has a shorter vocal tract has a higher voice."""
    woman = rng.random() < WOMEN
    size = rng.lognormvariate(0, 0.05)
    tract = size * (HIGH_TRACT if woman else 1.0)
    return Person(
        pitch=(HIGH_PITCH if woman else LOW_PITCH) * size**1.5 * rng.lognormvariate(0, 0.12),
        tract=(
            tract * rng.lognormvariate(0, 0.03),
            tract * rng.lognormvariate(0, 0.04),
            tract * rng.lognormvariate(0, 0.03),
        ),
        breath=rng.choice((0.0, rng.uniform(0.0, 0.3), rng.uniform(0.1, 0.5))),
        tilt=rng.uniform(-2.5, 1.5),
        liveliness=rng.uniform(0.8, 1.4),
    )


def speaker_for(take: Take, person: Person) -> Speaker:
    """Return how `take` has to change to be said by `person`."""
    high = float(np.median(take.pitch[take.pitch > 0])) > BETWEEN
    own = HIGH_TRACT if high else 1.0
    low, middle, upper = (min(LARGEST, max(SMALLEST, factor / own)) for factor in person.tract)
    return Speaker(
        tract=(low, middle, upper),
        pitch=person.pitch / (HIGH_PITCH if high else LOW_PITCH),
        liveliness=person.liveliness,
        breath=person.breath,
        tilt=person.tilt,
        pace=1.0,
        rhythm=0.05,
        creaks=0.05,
        whispers=0.01,
    )


def revoiced(path: Path, _texts: Iterator[str], rng: random.Random) -> Iterator[Utterance]:
    """Yield the lines of the recorded shard at `path` in random order, said by one made-up person.

    What is said is settled already: `_texts` is not read.

    Raises:
        VoiceMissing: pyworld does not load.
    """
    try:
        import pyworld  # noqa: F401
    except ImportError as error:
        raise VoiceMissing(f"pyworld does not load: {error}") from error
    person = invent(rng)
    said = list(read_shard(path))
    said = said[: max(1, int(len(said) * (1 - HELD_OUT)))]
    rng.shuffle(said)
    for utterance, alphabet in said:
        take = take_apart(utterance)
        if take is not None:
            yield put_together(take, alphabet, speaker_for(take, person), rng.randrange(2**31))


def revoiced_shards(folder: Path) -> list[Shard]:
    """List the shards to be made from the recorded ones in `folder`, the first person of each before the second."""
    listed: list[tuple[int, Shard]] = []
    for path in sorted(folder.glob(f"{RECORDED}_*.npz")):
        if path.stem.startswith((REVOICED, *INEXACT)) or path.name.endswith(".tmp.npz"):
            continue
        with np.load(path) as data:
            minutes, alphabet = len(data["audio"]) / SAMPLE_RATE / 60, str(data["alphabet"])
        for number in range(max(1, round(minutes / SOURCE_MINUTES))):
            name = f"{REVOICED}_{path.stem.removeprefix(f'{RECORDED}_')}-{number}"
            listed.append((number, Shard(name, alphabet, MINUTES, no_texts, partial(revoiced, path))))
    return [shard for _, shard in sorted(listed, key=lambda pair: pair[0])]
