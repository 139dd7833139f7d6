"""Draw batches of examples, each time a little different: other cameras, other light, the mirror's other side.

What is done to the photo is done to the truth, so that the network learns to leave it alone: it is to correct the
geometry's faults, not the photo's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from facestream.avatar import layers_canvas as canvas
from facestream.parameters import INDEX, PARAMETERS
from torch import Tensor

from export.face.fields import pixel_centres, sample
from export.face.refine.rough_canvas import RoughCanvas
from export.face.refiner import APPEARANCE, SOURCE, source_of

MIRROR: Final = 0.5
TONES: Final = 0.9
BLURRED: Final = 0.25
NOISY: Final = 0.3
COMPRESSED: Final = 0.2
"""How often each is done."""


class Batch(NamedTuple):
    """Examples, float32, with a leading batch; as Refiner.refined takes them."""

    parameters: Tensor
    flow: Tensor
    texture: Tensor
    source: Tensor
    """[B, 3, 352, 288]: the photo's part that the canvas is drawn from, levels."""
    constants: Tensor
    truth: Tensor
    """[B, 3, 256, 192], levels."""


def mirrored_parameters() -> tuple[Tensor, Tensor]:
    """Index [73] and factor [73]: parameters of the mirrored face are parameters[index] * factor."""
    index = torch.arange(len(PARAMETERS))
    factor = torch.ones(len(PARAMETERS))
    for name, at in INDEX.items():
        for side, other in (("Left", "Right"), ("Right", "Left")):
            if name.endswith(side):
                index[at] = INDEX[name.removesuffix(side) + other]
        if name.startswith("gazeYaw") or name in ("headYaw", "headRoll", "headX"):
            factor[at] = -1.0
    return index, factor


_MIRROR = mirrored_parameters()
_PIXELS = pixel_centres(canvas.CANVAS_X, canvas.CANVAS_Y, canvas.CANVAS_WIDTH, canvas.CANVAS_HEIGHT)


def example(person: RoughCanvas, number: int) -> Batch:
    """One example as it is, a batch of one."""
    return Batch(
        person.parameters[number : number + 1],
        person.flow[number : number + 1].float(),
        person.texture[number : number + 1].float(),
        source_of(person.photo[None]),
        person.constants[None],
        person.truth[number : number + 1].float(),
    )


def stacked(examples: Sequence[Batch]) -> Batch:
    """Examples as one batch."""
    return Batch(*(torch.cat(parts) for parts in zip(*examples, strict=True)))


def moved_source(source: Tensor, flow: Tensor) -> Tensor:
    """The photo's part [1, 3, 352, 288] as the canvas shows it without texture, [1, 3, 256, 192]."""
    return sample(source, SOURCE, _PIXELS, flow)


def augmented(given: Batch, chance: np.random.Generator) -> Batch:
    """A variation of one example."""
    if chance.random() < MIRROR:
        given = mirrored(given)
    if chance.random() < TONES:
        given = toned(given, chance)
    if chance.random() < BLURRED:
        given = blurred(given, float(chance.uniform(0.4, 1.0)))
    noisy, compressed = chance.random() < NOISY, chance.random() < COMPRESSED
    if noisy or compressed:
        photo = given.source
        if noisy:
            grain = torch.from_numpy(chance.normal(size=photo.shape).astype(np.float32))
            photo = photo + float(chance.uniform(1.0, 6.0)) * grain
        if compressed:
            photo = jpeg(photo, int(chance.integers(45, 90)))
        given = on_photo(given, photo)
    return given


def mirrored(given: Batch) -> Batch:
    """The face in the mirror; the canvas lies in the middle of the picture."""
    index, factor = _MIRROR
    return Batch(
        given.parameters[:, index] * factor,
        given.flow.flip(3) * torch.tensor([-1.0, 1.0]).reshape(1, 2, 1, 1),
        given.texture.flip(3),
        given.source.flip(3),
        given.constants,
        given.truth.flip(3),
    )


def toned(given: Batch, chance: np.random.Generator) -> Batch:
    """Another exposure, contrast, white balance and saturation, the same for photo, texture and truth."""
    gain = float(np.exp(chance.normal() * 0.25)) * np.exp(chance.normal(size=3) * 0.10)
    gamma = float(np.exp(chance.normal() * 0.20))
    saturation = float(np.exp(chance.normal() * 0.25))
    mix = saturation * torch.eye(3) + (1.0 - saturation) * torch.tensor([0.299, 0.587, 0.114]).expand(3, 3)
    mix = (torch.tensor(gain, dtype=torch.float32)[:, None] * mix)[:, :, None, None]

    def tone(picture: Tensor) -> Tensor:
        curved = (picture * (1.0 / 255.0)).clamp(min=0.0) ** gamma * 255.0
        return F.conv2d(curved, mix).clamp(0.0, 255.0)

    moved = moved_source(given.source, given.flow)
    cover = given.texture[:, 3:]
    painted = (given.texture != 0.0).any(1, keepdim=True).float()
    photo = tone(given.source)
    shown = tone(moved * (1.0 - cover) + given.texture[:, :3])
    colour = painted * (shown - moved_source(photo, given.flow) * (1.0 - cover))
    constants = given.constants.clone()
    for name, _ in APPEARANCE:
        first, count = canvas.CONSTANTS[name]
        scale = 255.0 if name != "cavity" else 1.0
        own = given.constants[:, first : first + count, None, None] * scale
        constants[:, first : first + count] = tone(own)[:, :, 0, 0] / scale
    return given._replace(
        texture=torch.cat([colour, cover], 1), source=photo, truth=tone(given.truth), constants=constants
    )


def blurred(given: Batch, sigma: float) -> Batch:
    """A softer lens for both photo and truth; the texture stays as sharp as the geometry draws it."""
    offsets = torch.arange(-3, 4, dtype=torch.float32)
    line = torch.exp(-0.5 * (offsets / sigma) ** 2)
    line = (line / line.sum()).expand(3, 1, 7)

    def soft(picture: Tensor) -> Tensor:
        picture = F.pad(picture, (3, 3, 3, 3), mode="replicate")
        return F.conv2d(F.conv2d(picture, line[:, :, None], groups=3), line[:, :, :, None], groups=3)

    return given._replace(source=soft(given.source), truth=soft(given.truth))


def on_photo(given: Batch, photo: Tensor) -> Batch:
    """Another photo, whose flaws move with the skin and belong to the truth, too."""
    photo = photo.clamp(0.0, 255.0)
    flaw = moved_source(photo - given.source, given.flow) * (1.0 - given.texture[:, 3:])
    return given._replace(source=photo, truth=given.truth + flaw)


def jpeg(photo: Tensor, quality: int) -> Tensor:
    """The photo [1, 3, H, W] as a JPEG file of a quality (0..100) gives it back."""
    picture = photo[0].clamp(0.0, 255.0).round().to(torch.uint8).permute(1, 2, 0).numpy()
    _, encoded = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    return torch.from_numpy(np.ascontiguousarray(decoded[..., ::-1].transpose(2, 0, 1)))[None].float()
