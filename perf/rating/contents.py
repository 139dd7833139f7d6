"""Who says what in a study, drawn by the judge's rows (perf.face.ablation) and the baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from facestream.audio import read_sound
from facestream.avatar.bundle import load_bundle
from facestream.contract import FRAME_RATE, SAMPLE_RATE
from numpy.typing import NDArray

from perf.drawn_frames import AVATARS, SpokenFace
from perf.face.ablation import ROWS, Ablation
from perf.rating.clips import Content, loudness_parameters, parameters_at_rest

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Avatar = Mapping[str, NDArray[Any]]

LOUDNESS: Final = "loudness"
STILL: Final = "still"
TRUTH: Final = "truth"
SPEECH: Final = Path("tests/data/speech.wav")
FEWEST_FRAMES: Final = 30


def contents_of(
    avatars: Sequence[str], rows: Sequence[str], seconds: float, count: int, people: Path | None, work: Path
) -> list[Content]:
    """All contents of a study.

    Args:
        avatars: names of ready avatars, or paths of bundles.
        rows: conditions.
        seconds: of each film.
        count: recordings for each avatar.
        people: folder of held-back synthetic people, whose path-traced films join as `truth`; None for none.
        work: folder of fetched recordings.

    Raises:
        ValueError: there is no such condition, or its network is not there.
        FileNotFoundError: an avatar is not there.
    """
    known = (*ROWS, LOUDNESS, STILL)
    for row in rows:
        if row not in known:
            raise ValueError(f"rows has {row!r}, expected some of {', '.join(known)}")
    ablation = Ablation()
    drawn = [row for row in rows if row not in (LOUDNESS, STILL)]
    missing = set(drawn) - set(ablation.rows(drawn))
    if missing:
        raise ValueError(f"rows has {sorted(missing)[0]!r}, whose network corrects nothing yet; expected a trained one")
    found = []
    speak = SpokenFace()
    sounds = _sounds(seconds, count, work)
    for name in avatars:
        path = Path(name) if name.endswith(".avatar") else AVATARS / f"{name}.avatar"
        if not path.is_file():
            raise FileNotFoundError(f"avatar is {name!r}, expected the name of a bundle in {AVATARS} or its path")
        avatar = dict(load_bundle(path).tensors)
        for title, sound in sounds:
            ways = _ways(ablation, avatar, speak(sound), rows)
            if LOUDNESS in rows:
                served = "fast" if "fast" in rows or not drawn else drawn[0]
                ways[LOUDNESS] = _drawing(ablation, avatar, loudness_parameters(sound), served)
            found.append(Content(f"{path.stem}: {title}", sound, ways))
    if people is not None:
        found += list(_films_of_people(ablation, people, rows, seconds))
    return found


def _sounds(seconds: float, count: int, work: Path) -> list[tuple[str, Floats]]:
    """Recordings that choices may be made by; the one of the tests where none was fetched."""
    samples = round(seconds * SAMPLE_RATE)
    files = sorted((work / "voices" / "dev").glob("*/*.wav"))
    long = [path for path in files if path.stat().st_size > 2 * samples]
    chosen = [long[index * len(long) // count] for index in range(min(count, len(long)))] or [SPEECH]
    return [(f"{path.parent.name} {path.stem}", read_sound(path).speech[:samples]) for path in chosen]


def _ways(
    ablation: Ablation, avatar: Avatar, parameters: Floats, rows: Sequence[str]
) -> dict[str, Callable[[], Iterable[Image]]]:
    ways = {row: _drawing(ablation, avatar, parameters, row) for row in rows if row in ROWS}
    if STILL in rows:
        ways[STILL] = _drawing(ablation, avatar, parameters_at_rest(len(parameters)), "geometry")
    return ways


def _drawing(ablation: Ablation, avatar: Avatar, parameters: Floats, row: str) -> Callable[[], Iterable[Image]]:
    return lambda: (one[row].frame for one in ablation.draw(avatar, parameters, [row]))


def _films_of_people(ablation: Ablation, people: Path, rows: Sequence[str], seconds: float) -> Iterator[Content]:
    """Films of held-back people, without sound: what they say was never recorded."""
    from perf.face.people import held_back

    for person in held_back(people):
        for film in person.films:
            count = min(len(film.frames), round(seconds * FRAME_RATE))
            if not film.name or count < FEWEST_FRAMES:
                continue
            ways = _ways(ablation, person.avatar, film.parameters[:count], rows)
            frames = film.frames[:count]
            ways[TRUTH] = lambda whole=person.whole, frames=frames: map(whole, frames)  # type: ignore[misc]
            yield Content(f"{person.name}: {film.name}", None, ways)
