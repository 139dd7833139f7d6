"""What the refiner starts from: the canvas as geometry draws it, for each picture of a synthetic person.

A person of build/people is made an avatar by the project's own pipeline, from its photo alone, and its parameters are
drawn by geometry alone. That is kept in build/face/rough, under a key of everything that it depends on, because
training asks for it some hundred times.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from facestream.avatar import layers_canvas as canvas
from facestream.avatar.face_model import load_face_model
from facestream.avatar.fit import fit_face
from facestream.avatar.layers import build_layers
from facestream.avatar.lip_closing import with_closed_lips
from facestream.avatar.photo import EYES, MOUTH, PhotoError, eye_point, mouth_point, prepare_portrait, read_photo
from facestream.parameters import PARAMETERS
from numpy.typing import NDArray
from torch import Tensor, nn

from export.face.export import INPUTS, OUTPUTS, make_stage
from export.face.refine.canvas_sources import canvas_sources
from export.face.renderer import Renderer

PEOPLE: Final = Path("build/people")
ROUGH: Final = Path("build/face/rough")

FRAME_LEFT: Final = 148
FRAME_TOP: Final = 160
"""Where the pictures of an expression lie in the photo, px (export.face.people)."""

MAX_OFFSET_PX: Final = 8.0
"""Eyes and mouth of a synthetic photo lie no further from where an avatar has them: its camera was placed so. The photo
is therefore taken as it is: aligning it would blur it, and what it is compared with."""

FACE_LEFT, FACE_RIGHT = 100, 412
"""Columns between which a face lies that is where an avatar has it, px."""

BATCH: Final = 16


class PersonError(ValueError):
    """A folder is not a synthetic person that can be trained on."""


@dataclass(frozen=True)
class RoughCanvas:
    """One person's pictures. N of them."""

    name: str
    photo: Tensor
    """[3, 512, 512] uint8, RGB."""
    constants: Tensor
    """[80] float32: AVATAR_CONSTANTS."""
    parameters: Tensor
    """[N, 73] float32."""
    flow: Tensor
    """[N, 2, 256, 192] float16: CANVAS_FLOW."""
    texture: Tensor
    """[N, 4, 256, 192] float16: CANVAS_TEXTURE without a network."""
    truth: Tensor
    """[N, 3, 256, 192] uint8: the path-traced picture at the canvas."""
    sequence: tuple[str, ...]
    """For each picture the film that it is part of; "" for stills."""


def people(chosen: str, root: Path = PEOPLE) -> Iterator[Path]:
    """Folders of the people of a set ("train", "heldout") that have a photo and parameters, by name."""
    folder = root / chosen
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if (path / "photo.png").is_file() and any(path.rglob("parameters.npy")):
                yield path


def rough_canvas(person: Path, folder: Path = ROUGH) -> RoughCanvas:
    """All pictures of one person that are rendered, with what geometry makes of them.

    Raises:
        PersonError: the folder is not complete, or its photo does not do.
    """
    films = sorted(path.parent for path in person.rglob("parameters.npy"))
    parts: dict[str, list[Any]] = {"parameters": [], "flow": [], "texture": [], "truth": []}
    sequence: list[str] = []
    avatar: dict[str, NDArray[Any]] = {}
    for film in films:
        try:
            parameters = np.load(film / "parameters.npy").astype(np.float32)
        except (ValueError, EOFError, OSError) as error:
            raise PersonError(f"{film}/parameters.npy cannot be read ({error})") from error
        if parameters.ndim != 2 or parameters.shape[1] != len(PARAMETERS) or not np.isfinite(parameters).all():
            raise PersonError(f"{film}/parameters.npy is {parameters.shape}, expected finite [N, {len(PARAMETERS)}]")
        found = {number: truth for number in range(len(parameters)) if (truth := _truth(film, number)) is not None}
        if not found:
            continue
        name = "" if film == person else film.name
        made = _drawn(person, parameters, folder / person.parent.name / f"{person.name}{name and '-'}{name}.npz")
        avatar = {key: made[key] for key in ("photo", "constants")}
        chosen = list(found)
        parts["parameters"].append(parameters[chosen])
        for key in ("flow", "texture"):
            parts[key].append(made[key][chosen])
        parts["truth"].append(np.stack(list(found.values())))
        sequence += [name] * len(chosen)
    if not sequence:
        raise PersonError(f"{person} has no frame_0000.png yet")
    tensors = {key: torch.from_numpy(np.concatenate(value)) for key, value in parts.items()}
    single = {key: torch.from_numpy(value) for key, value in avatar.items()}
    return RoughCanvas(f"{person.parent.name}/{person.name}", **single, **tensors, sequence=tuple(sequence))


def _truth(film: Path, number: int) -> NDArray[np.uint8] | None:
    """The canvas [3, 256, 192] of one rendered picture, if it is there."""
    path = film / f"frame_{number:04d}.png"
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if picture is None:
        return None
    top, left = canvas.CANVAS_Y - FRAME_TOP, canvas.CANVAS_X - FRAME_LEFT
    part = picture[top : top + canvas.CANVAS_HEIGHT, left : left + canvas.CANVAS_WIDTH, ::-1]
    if part.shape != (canvas.CANVAS_HEIGHT, canvas.CANVAS_WIDTH, 3):
        raise PersonError(f"{path} is {picture.shape[1]} x {picture.shape[0]} px, too small to hold the canvas")
    return np.ascontiguousarray(part.transpose(2, 0, 1))


def _drawn(person: Path, parameters: NDArray[np.float32], kept: Path) -> dict[str, NDArray[Any]]:
    """What geometry draws for a person, from `kept` where that was made of the same."""
    digest = hashlib.sha256(_sources())
    digest.update((person / "photo.png").read_bytes() + parameters.tobytes())
    key = digest.hexdigest()
    if kept.is_file():
        try:
            with np.load(kept) as saved:
                if str(saved["key"]) == key:
                    return dict(saved)
        except (zipfile.BadZipFile, OSError, EOFError, KeyError, ValueError):
            pass  # cut short while it was written: made again
    made = draw(make_avatar(person / "photo.png"), parameters)
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(".partial.npz")
    np.savez(partial, key=np.array(key), **made)  # type: ignore[arg-type]
    partial.rename(kept)
    return made


@cache
def _sources() -> bytes:
    return b"".join(path.read_bytes() for path in canvas_sources())


def make_avatar(photo: Path) -> dict[str, NDArray[Any]]:
    """The tensors of an avatar of a synthetic person's photo, which is aligned already.

    Raises:
        PersonError: no avatar can be made of it, or the face is not where an avatar's is.
    """
    model = load_face_model()
    image = read_photo(photo)
    # A detector that sees a second face in the dusk behind is to be told where to look.
    alone = image.copy()
    alone[:, :FACE_LEFT] = alone[:, FACE_RIGHT:] = 128
    try:
        portrait = replace(prepare_portrait(alone, model, aligned=True), image=image)
        portrait = with_closed_lips(portrait, model)
    except PhotoError as error:
        raise PersonError(f"{photo}: {error}") from error
    off = max(
        float(np.linalg.norm(eye_point(portrait.landmarks) - np.array(EYES))),
        float(np.linalg.norm(mouth_point(portrait.landmarks) - np.array(MOUTH))),
    )
    if off > MAX_OFFSET_PX:
        raise PersonError(f"{photo}: eyes or mouth lie {off:.1f} px from where an avatar has them")
    return build_layers(fit_face(portrait.image, portrait.landmarks, model), model)


@cache
def _stages() -> tuple[nn.Module, nn.Module]:
    return make_stage("face_geometry"), Renderer().eval()


@torch.no_grad()
def draw(avatar: dict[str, NDArray[Any]], parameters: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Photo, constants, and flow and texture of parameters [N, 73]: names and types as in RoughCanvas."""
    geometry, renderer = _stages()
    flows, textures = [], []
    for first in range(0, len(parameters), BATCH):
        part = torch.from_numpy(parameters[first : first + BATCH])
        known: dict[str, Tensor] = {"PARAMETERS": part}
        for name, value in avatar.items():
            whole = torch.from_numpy(np.ascontiguousarray(value))
            known[name] = whole[None].expand(len(part), *whole.shape).contiguous()
        made = geometry(*(known[name] for name in INPUTS["face_geometry"]))
        known.update(zip(OUTPUTS["face_geometry"], made, strict=True))
        flow, texture = renderer(*(known[name] for name in INPUTS["renderer"]))
        flows.append(flow.half().numpy())
        textures.append(texture.half().numpy())
    return {
        "photo": avatar["AVATAR_PHOTO"],
        "constants": avatar["AVATAR_CONSTANTS"],
        "flow": np.concatenate(flows),
        "texture": np.concatenate(textures),
    }
