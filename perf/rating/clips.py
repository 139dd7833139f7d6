"""Makes the films of a study: every condition of every content, their pairs, and spoilt ones for the checks.

A condition is a way to draw the same PARAMETERS: the rows of the judge (perf.face.ablation), beside them two baselines:
`loudness` moves the jaw by the loudness of the sound and nothing else, `still` shows the photo. For held-back
synthetic people there is `truth`: the path-traced frames themselves.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from facestream.contract import CHUNK_SAMPLES, SAMPLE_RATE
from facestream.protocol import Frame
from facestream.video import VideoWriter
from numpy.typing import NDArray

from perf.rating.study import BROKEN, Clip, Pair, Study

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

MOST_CHECKS: Final = 8
"""Attention checks of a study."""
HELD_FRAMES: Final = 15
"""A spoilt film shows every so manieth frame alone,"""
BLOCK: Final = 16
"""in squares of so many px."""


class Content(NamedTuple):
    """Somebody says something; `ways` are the pictures (n frames [512, 512, 3], RGB) by condition."""

    name: str
    sound: Floats | None
    """[samples], 24 kHz."""
    ways: Mapping[str, Callable[[], Iterable[Image]]]


class _Speech:
    """A sound in memory, read by VideoWriter while the film grows."""

    rate: Final = SAMPLE_RATE
    channels: Final = 1

    def __init__(self, sound: Floats) -> None:
        self._left = sound[:, None]

    def read(self, samples: int) -> Floats:
        taken, self._left = self._left[:samples], self._left[samples:]
        return taken


def write_film(path: Path, pictures: Iterable[Image], sound: Floats | None) -> int:
    """Write an MP4 of pictures at 30 FPS and their sound; return how many pictures it has."""
    count = 0
    with VideoWriter(path, None if sound is None else _Speech(sound)) as writer:
        for count, picture in enumerate(pictures, 1):
            writer.write(Frame(index=count - 1, latency_s=0.0, picture=np.ascontiguousarray(picture)))
    return count


def spoilt(pictures: Iterable[Image]) -> Iterator[Image]:
    """The same film as nobody can find it better: held for half a second at a time, the face in large squares."""
    held: Image | None = None
    for number, picture in enumerate(pictures):
        if held is None or number % HELD_FRAMES == 0:
            height, width = picture.shape[:2]
            small = cv2.resize(picture, (width // BLOCK, height // BLOCK), interpolation=cv2.INTER_AREA)
            held = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
        yield held


def make_study(
    folder: Path,
    title: str,
    contents: Sequence[Content],
    compared: Sequence[tuple[str, str]] | None = None,
    seed: int = 1,
    say: Callable[[str], None] = print,
) -> Study:
    """Draw and write all films, and study.json, into `folder`.

    Args:
        folder: made if need be; has no study yet.
        title: of the study, kept with the answers.
        contents: what is shown.
        compared: pairs of conditions; None for all that a content has.
        seed: draws the files' names, and which contents are spoilt for the checks.
        say: told of each film.

    Raises:
        ValueError: `folder` has a study already, nothing is compared, or a condition that no content has.
    """
    if (folder / "study.json").exists():
        raise ValueError(f"{folder} holds a study already: answers to it refer to its films; expected a new folder")
    _check_compared(contents, compared)  # before hours of drawing
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    used: set[str] = set()

    def new_id() -> str:
        while (made := f"{draw.getrandbits(48):012x}") in used:
            pass
        used.add(made)
        return made

    clips: dict[str, Clip] = {}
    pairs: list[Pair] = []
    checked = set(draw.sample(range(len(contents)), min(MOST_CHECKS, len(contents))))
    for number, content in enumerate(contents):
        of_condition: dict[str, Clip] = {}

        def film(condition: str, pictures: Iterable[Image], content: Content = content) -> Clip:
            clip = Clip(new_id(), condition, content.name)
            count = write_film(folder / clip.file, pictures, content.sound)
            say(f"{content.name}: {condition}, {count} frames")
            clips[clip.id] = clip
            return clip

        for condition, pictures in content.ways.items():
            of_condition[condition] = film(condition, pictures())
        for one, other in combinations(content.ways, 2):
            if compared is None or (one, other) in compared or (other, one) in compared:
                pairs.append(Pair(new_id(), (of_condition[one].id, of_condition[other].id)))
        if number in checked:
            condition, pictures = list(content.ways.items())[-1]
            bad = film(BROKEN, spoilt(pictures()))
            pairs.append(Pair(new_id(), (of_condition[condition].id, bad.id), better=of_condition[condition].id))
    study = Study(title, clips, tuple(pairs))
    study.write(folder)
    return study


def _check_compared(contents: Sequence[Content], compared: Sequence[tuple[str, str]] | None) -> None:
    if compared is None:
        if not any(len(content.ways) > 1 for content in contents):
            raise ValueError("nothing is compared: expected two conditions that one content has")
        return
    for one, other in compared:
        if one == other or not any({one, other} <= content.ways.keys() for content in contents):
            known = ", ".join(dict.fromkeys(way for content in contents for way in content.ways))
            raise ValueError(f"{one} is to be compared with {other}, expected two conditions of one content: {known}")


def parameters_at_rest(count: int) -> Floats:
    """PARAMETERS [count, 73] of a face that does nothing."""
    from facestream.parameters import PARAMETERS

    return np.zeros((count, len(PARAMETERS)), np.float32)


def loudness_parameters(sound: Floats) -> Floats:
    """PARAMETERS [n, 73] of a jaw that follows the loudness of `sound` [samples], the rest at rest."""
    from perf.lip_sync.baselines import loudness_faces

    found = parameters_at_rest(len(sound) // CHUNK_SAMPLES)
    faces = np.asarray(loudness_faces(sound), np.float32)[: len(found)]
    found[: len(faces), : faces.shape[1]] = faces
    return found
