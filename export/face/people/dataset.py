"""The folders of synthetic people, and filling them: resumable person by person and frame by frame.

    <out>/<set>/<person>/photo.png            512 x 512 RGB, the person at PARAMETERS = 0
                         person.json          traits, light, camera, window
                         parameters.npy       f32 [N, 73], head at rest
                         frame_0000.png ...   the window x 148..364, y 160..440 of the same camera, RGB
                         vertices.npy         f32 [N, V, 3] px x, px y, depth px of the face model's vertices
                         rest_vertices.npy    f32 [V, 3] the same at rest
    <out>/heldout/<person>/speaking/          the same files but photo and rest, consecutive frames at 30 FPS
    <out>/<set>/source_vertices.npy           int32 [V]: which vertex of ICT-FaceKit each of the V is

A frame counts as done when its picture is there; parameters and vertices are written before the first picture, and
stay: pictures of a first run and of a later one show the same list.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from facestream.avatar.face_model import FaceModel
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from export.face.people.expressions import draw_expressions, still_head
from export.face.people.head import Head

if TYPE_CHECKING:
    from export.face.people.portrait import Portrait

Floats32 = NDArray[np.float32]
Split = Literal["train", "heldout"]

SEEDS: Final = {"train": 1000, "heldout": 9000}
"""First seed of each set: nobody is in both."""

PHOTO, PERSON, PARAMETERS, VERTICES = "photo.png", "person.json", "parameters.npy", "vertices.npy"


@dataclass(frozen=True)
class Folder:
    """One folder of frames: a person's stills or speech."""

    path: Path
    frames: int

    def frame(self, number: int) -> Path:
        """Where a frame's picture lies."""
        return self.path / f"frame_{number:04d}.png"

    def missing(self) -> list[int]:
        """Numbers of the frames that are not rendered yet."""
        return [number for number in range(self.frames) if not self.frame(number).is_file()]


def person_folder(out: Path, split: Split, number: int) -> Path:
    """Folder of the person of that number (from 0)."""
    return out / split / f"person_{SEEDS[split] + number:05d}"


def unfinished(out: Path, split: Split, people: int, frames: int, speaking: int = 0) -> Iterator[int]:
    """Numbers of the people who lack a photo or a frame."""
    for number in range(people):
        path = person_folder(out, split, number)
        folders = [Folder(path, frames)] + ([Folder(path / "speaking", speaking)] if speaking else [])
        if not (path / PHOTO).is_file() or any(folder.missing() for folder in folders):
            yield number


def source_vertices(head: Head, model: FaceModel) -> NDArray[np.int32]:
    """[V] vertices of ICT-FaceKit that the compact face model kept.

    Raises:
        ValueError: the model was made of another source.
    """
    row = head.source.expression_names.index("jawOpen")
    jaw = head.source.expression[row]
    own = model.expression[model.row("jawOpen")]
    distance, found = cKDTree(np.hstack([head.mean, 0.1 * jaw])).query(np.hstack([model.neutral, 0.1 * own]))
    if float(distance.max()) > 0.02:
        raise ValueError(f"face model: a vertex lies {distance.max():.3f} cm from all of the source's, expected < 0.02")
    numbers: NDArray[np.int32] = found.astype(np.int32)
    return numbers


def choose_speech(clips: dict[str, Floats32], frames: int, generator: np.random.Generator) -> tuple[str, int]:
    """A clip and the first frame of a stretch of it with much speech in it.

    Raises:
        ValueError: no clip is that long.
    """
    long = sorted(name for name, clip in clips.items() if len(clip) >= frames)
    if not long:
        raise ValueError(f"speech: no clip has {frames} frames")
    name = str(generator.choice(long))
    motion = np.abs(np.diff(clips[name][:, :52], axis=0, prepend=clips[name][:1, :52])).sum(1)
    total = np.convolve(motion, np.ones(frames), mode="valid")
    return name, int(total.argmax())


def kept_parameters(folder: Path, frames: int, draw: Callable[[], Floats32]) -> Floats32:
    """PARAMETERS [frames, 73] of a folder's pictures: those that it was begun with, or else drawn now and kept.

    Raises:
        ValueError: it was begun with fewer.
    """
    path = folder / PARAMETERS
    if not path.is_file():
        _save(path, draw())
    parameters: Floats32 = np.load(path)
    if len(parameters) < frames:
        raise ValueError(
            f"{path}: begun with {len(parameters)} frames, {frames} are asked for: ask for {len(parameters)}, or remove"
            f" {folder}"
        )
    return parameters[:frames]


def render_stills(
    portrait: Portrait, path: Path, sources: NDArray[np.int32], speech: Floats32 | None, frames: int
) -> None:
    """Photo, then frames of one person, as far as they are missing.

    Raises:
        ValueError: the person was begun with fewer frames.
    """
    path.mkdir(parents=True, exist_ok=True)
    person, camera = portrait.person, portrait.camera
    chance = person.generator("expressions")
    parameters = kept_parameters(path, frames, lambda: draw_expressions(chance, speech, frames))
    rest = portrait.show(np.zeros(73, dtype=np.float32))
    _save(path / "rest_vertices.npy", camera.project(rest[sources]).astype(np.float32))
    if not (path / PHOTO).is_file():
        portrait.photo(path / PHOTO)
    write_description(portrait, path / PERSON)
    _render(portrait, Folder(path, len(parameters)), parameters, sources)


def render_speaking(
    portrait: Portrait, path: Path, sources: NDArray[np.int32], clips: dict[str, Floats32], frames: int
) -> None:
    """Consecutive frames of a heldout person speaking, as far as they are missing.

    Raises:
        ValueError: they were begun with fewer frames, or no clip is that long.
    """
    path.mkdir(parents=True, exist_ok=True)

    def draw() -> Floats32:
        name, begin = choose_speech(clips, frames, portrait.person.generator("speech"))
        (path / "speech.json").write_text(json.dumps({"clip": name, "first_frame": begin, "frames": frames}) + "\n")
        return still_head(clips[name][begin : begin + frames])

    parameters = kept_parameters(path, frames, draw)
    _render(portrait, Folder(path, len(parameters)), parameters, sources)


def _render(portrait: Portrait, folder: Folder, parameters: Floats32, sources: NDArray[np.int32]) -> None:
    if not (folder.path / VERTICES).is_file():
        points = [portrait.camera.project(portrait.show(row)[sources]) for row in parameters]
        _save(folder.path / VERTICES, np.asarray(points, dtype=np.float32))
    for number in folder.missing():
        portrait.show(parameters[number])
        portrait.window(folder.frame(number))


def write_description(portrait: Portrait, path: Path) -> None:
    """Write person.json."""
    from export.face.people.portrait import WINDOW

    description: dict[str, Any] = {
        **portrait.person.description(),
        "blink": portrait.person.blink,
        "camera": portrait.camera.description(),
        "light": portrait.light.description(),
        "window": WINDOW,
    }
    path.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def _save(path: Path, values: NDArray[Any]) -> None:
    part = path.with_name(f".{path.name}")
    np.save(part, values)
    part.replace(path)
