"""A study: the clips that are compared and their pairs, as study.json in the folder of the clips.

A clip's file has a random name, so that neither its address nor its order tells how it was made. study.json itself is
never sent to a rater: the form gets file names and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

FILE: Final = "study.json"
VERSION: Final = 1
BROKEN: Final = "broken"
"""Condition of the clips that are spoilt on purpose, for the attention checks."""

_IDENTIFIER: Final = re.compile(r"[a-z0-9]{4,32}")


class BadStudy(ValueError):
    """A folder of clips that no study can be made of."""


@dataclass(frozen=True)
class Clip:
    """One film."""

    id: str
    """Random letters and digits; the file is ID.mp4."""
    condition: str
    """How the film was made: a row of the judge's table, 'truth', or BROKEN."""
    content: str
    """Who says what. Clips that are compared have the same."""

    @property
    def file(self) -> str:
        return f"{self.id}.mp4"


@dataclass(frozen=True)
class Pair:
    """Two clips of one content, in no order: which side each is shown on is drawn for each rater."""

    id: str
    clips: tuple[str, str]
    """Ids."""
    better: str | None = None
    """Of an attention check: id of the clip that anybody who looks must prefer."""


@dataclass(frozen=True)
class Study:
    """What is compared."""

    title: str
    clips: Mapping[str, Clip]
    """By id."""
    pairs: tuple[Pair, ...]

    @property
    def tests(self) -> list[Pair]:
        """Pairs that are asked about."""
        return [pair for pair in self.pairs if pair.better is None]

    @property
    def checks(self) -> list[Pair]:
        """Pairs that only test whether somebody looks."""
        return [pair for pair in self.pairs if pair.better is not None]

    def write(self, folder: Path) -> None:
        """Write study.json into `folder`."""
        kept = {
            "version": VERSION,
            "title": self.title,
            "clips": [asdict(clip) for clip in self.clips.values()],
            "pairs": [asdict(pair) for pair in self.pairs],
        }
        (folder / FILE).write_text(json.dumps(kept, indent=1) + "\n")


def load_study(folder: Path) -> Study:
    """Read and check the study of a folder of clips.

    Raises:
        BadStudy: there is none, or it or a clip is not as it should be; the text says what.
    """
    path = folder / FILE
    try:
        kept = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise BadStudy(f"{folder} has no {FILE}: expected a folder that `python -m perf.rating clips` wrote") from None
    except ValueError as error:
        raise BadStudy(f"{path} is no JSON: {error}") from error
    try:
        if kept["version"] != VERSION:
            raise BadStudy(f"{path}: version is {kept['version']!r}, expected {VERSION}")
        clips = [Clip(entry["id"], entry["condition"], entry["content"]) for entry in kept["clips"]]
        pairs = [_pair(entry) for entry in kept["pairs"]]
        study = Study(str(kept["title"]), {clip.id: clip for clip in clips}, tuple(pairs))
    except (KeyError, TypeError) as error:
        raise BadStudy(f"{path} lacks an entry or has one of another kind: {error!r}") from error
    _check(study, folder)
    return study


def _pair(entry: Mapping[str, Any]) -> Pair:
    first, second = entry["clips"]
    return Pair(entry["id"], (first, second), entry.get("better"))


def _check(study: Study, folder: Path) -> None:
    for clip in study.clips.values():
        if not _IDENTIFIER.fullmatch(clip.id):
            raise BadStudy(f"a clip's id is {clip.id!r}, expected 4 to 32 letters a-z and digits")
        if not (folder / clip.file).is_file():
            raise BadStudy(f"{folder / clip.file} is missing; {FILE} lists it")
    if len({pair.id for pair in study.pairs}) < len(study.pairs):
        raise BadStudy("two pairs have the same id")
    for pair in study.pairs:
        unknown = [clip for clip in (*pair.clips, pair.better or pair.clips[0]) if clip not in study.clips]
        if unknown:
            raise BadStudy(f"pair {pair.id} has the clip {unknown[0]!r}, which is not listed")
        first, second = (study.clips[clip] for clip in pair.clips)
        if first.content != second.content:
            raise BadStudy(f"pair {pair.id} compares {first.content!r} with {second.content!r}, expected one content")
        if pair.better is not None and pair.better not in pair.clips:
            raise BadStudy(f"pair {pair.id}: the better clip {pair.better!r} is not one of the two")
    if not study.tests:
        raise BadStudy("the study has no pair to ask about")
