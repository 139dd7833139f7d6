"""Refiner: the learned part of the renderer. It corrects what the layers get wrong and leaves the rest alone.

The layers move the photo and paint an open mouth and lowered lids; what they cannot know is how skin folds, how the
inner lip and the teeth catch the light, how a jaw throws its shadow. The network looks at the composed picture of the
canvas (eyes and mouth), at the geometry behind it, at the face parameters and at the portrait at rest, and answers with
a correction in three parts: a small displacement of the composed picture, a gain on what is shown (which keeps the
detail of skin and teeth) and a colour to add.

Two things are by construction, not by training. Where nothing moves the correction is exactly zero, because all of it
is multiplied by a gate that is computed from the motion: the resting frame stays the photo. And it fades to zero along
the canvas's border, so that no seam can show. An untrained network, whose last layer is zero, is the identity.

A plain U-Net: 3x3 convolutions without normalisation, modulated by scale and shift (FiLM: Perez et al. 2018, "FiLM:
Visual Reasoning with a General Conditioning Layer"). Convolutions of one pixel take the place of matrix products, which
do not build in single precision for compute capability 7.5. The tier for processors sees and corrects the canvas at
half its resolution: most of what geometry gets wrong is light, and on a processor the passes over all pixels cost more
than the convolutions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from facestream.avatar import layers_canvas as canvas
from facestream.parameters import ARKIT, GAZE, INDEX
from torch import Tensor, nn

from export.face.fields import (
    CANVAS,
    Window,
    constant,
    pixel_centres,
    refine,
    refinement_kernel,
    sample,
    sample_at,
    sampling_grid,
    smooth,
)

WEIGHTS: Final = Path(__file__).parent / "weights"


class Tier(NamedTuple):
    """Size of a network."""

    pitch: int
    """Pixels of the canvas to one that the network sees and corrects, across and down."""
    widths: tuple[int, int, int]
    """Channels at a half, a quarter and an eighth of the resolution that it sees."""
    blocks: tuple[int, int, int]
    """Residual convolutions at each resolution."""
    displaces: bool
    """Whether it also displaces what is shown by a few pixels."""
    gflop: float
    """It must not cost more: billions of multiplications and additions for one frame."""


TIERS: Final = {
    "fast": Tier(2, (16, 32, 64), (1, 1, 2), False, 0.15),
    "standard": Tier(1, (32, 48, 96), (1, 1, 2), True, 1.2),
    "high": Tier(1, (32, 64, 128), (2, 2, 4), True, 2.5),
}
"""`fast` is part of the renderer; the others are models of their own that better its answer."""

PHOTO_MARGIN: Final = 48
"""Skin that the canvas shows comes from no further outside of it, px."""
SOURCE = Window(
    canvas.CANVAS_X - PHOTO_MARGIN,
    canvas.CANVAS_Y - PHOTO_MARGIN,
    canvas.CANVAS_WIDTH + 2 * PHOTO_MARGIN,
    canvas.CANVAS_HEIGHT + 2 * PHOTO_MARGIN,
)

BORDER_PX: Final = (4.0, 16.0)
"""Beside the eyes the correction fades out between these distances from the canvas's border; it is zero in the
outermost pixels, which the compositor mixes with what lies around."""
MOUTH_BORDER_PX: Final = (8.0, 40.0)
"""The same beside and below the mouth, where hair, collars and the background lie, of which the network knows little:
with 4 to 16 px its answers to them broke off at the border, by up to 5 levels from one pixel to the next."""
MOUTH_BEGINS: Final = (64.0, 112.0)
"""Rows of the canvas over which the one border passes into the other."""
ROUND_PX: Final = 64.0
"""Radius of the lower corners."""
GATE_PX: Final = 0.5
"""Mean motion of the surroundings (px) at which the gate is fully open."""
OWN_SHARE: Final = 0.7
"""How much of its own look the inside of an open mouth keeps where the network sees it at half resolution. There it is
no better than geometry on people whom it does not know, and would lay a blur over teeth that geometry draws sharply."""
OPEN_COVER: Final = (0.3, 0.8)
"""Cover from which on, and at which wholly, a pixel counts as inside an open mouth: less is the lips' own shade."""
COVER_PX: Final = 4.0
"""Painted colours count for the gate like so many px of motion."""

MAX_SHIFT_PX: Final = 6.0
MAX_COLOUR: Final = 128.0
MAX_GAIN: Final = 1.0
"""Bounds of the correction."""

LEVELS: Final = 1.0 / 64.0
FLOW_SCALE: Final = 1.0 / 8.0
"""Bring inputs to the size of one."""

MOVES: Final = tuple(INDEX[parameter.name] for parameter in (*ARKIT, *GAZE))
APPEARANCE: Final = (("enamel", 1.0), ("flesh", 1.0), ("cavity", 1.0 / 64.0))
"""Entries of AVATAR_CONSTANTS that tell the network of the avatar's mouth, and their scale."""
CODE: Final = len(MOVES) + 3 * len(APPEARANCE)
HIDDEN: Final = 64
DROPPED: Final = 0.1
"""Share of the deeper channels that training leaves out at each step. Without, the network learns the few dozen people
whom it sees by heart: 5 dB over geometry for them, 2 dB for others."""


def border_feather() -> Tensor:
    """Weight [1, 1, 256, 192] of the correction: 0 along the canvas's border, 1 inside."""
    inside = pixel_centres(0, 0, canvas.CANVAS_WIDTH, canvas.CANVAS_HEIGHT)
    across, down = inside[:, :1], inside[:, 1:]
    beside, below = torch.minimum(across, canvas.CANVAS_WIDTH - across), canvas.CANVAS_HEIGHT - down
    corner = torch.hypot((ROUND_PX - beside).clamp(min=0.0), (ROUND_PX - below).clamp(min=0.0))
    around = torch.where(below < ROUND_PX, torch.minimum(beside, ROUND_PX - corner), beside)
    begins, ends = MOUTH_BEGINS
    mouth = smooth((down - begins) / (ends - begins))
    zero, whole = (eyes + (own - eyes) * mouth for eyes, own in zip(BORDER_PX, MOUTH_BORDER_PX, strict=True))
    above = smooth((down - BORDER_PX[0]) / (BORDER_PX[1] - BORDER_PX[0]))
    return torch.minimum(above, smooth((around - zero) / (whole - zero)))


def compose(flow: Tensor, texture: Tensor, source: Tensor) -> Tensor:
    """What the canvas shows, [B, 3, h, w], levels.

    Args:
        flow: [B, 2, h, w], px: h and w are the canvas's 256 and 192, or a fraction of them.
        texture: [B, 4, h, w].
        source: [B, 3, 352, 288]: the photo's part at SOURCE, levels.
    """
    rows, columns = flow.shape[2:]
    pixels = pixel_centres(canvas.CANVAS_X, canvas.CANVAS_Y, columns, rows, canvas.CANVAS_WIDTH // columns)
    moved = sample(source, SOURCE, pixels, flow).flatten(2)
    flat = texture.flatten(2)  # flat, else the inference engine turns the whole chain to channels-last
    shown = moved - moved * flat[:, 3:] + flat[:, :3]
    return shown.reshape(-1, 3, rows, columns)


def source_of(photo: Tensor) -> Tensor:
    """The part [B, 3, 352, 288] of a photo [B, 3, 512, 512] that the canvas is drawn from, float32."""
    rows = slice(int(SOURCE.top), int(SOURCE.top + SOURCE.height))
    columns = slice(int(SOURCE.left), int(SOURCE.left + SOURCE.width))
    return photo.float()[:, :, rows, columns]  # TensorRT takes bytes for nothing but casting


class Modulated(nn.Module):
    """A 3x3 convolution whose rectified, modulated output is added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.convolution = nn.Conv2d(width, width, 3, padding=1)
        self.drop = nn.Dropout2d(DROPPED)

    def forward(self, x: Tensor, film: Tensor) -> Tensor:
        """x [B, C, h, w]; film [B, 2 C, 1, 1]: scale (less one), then shift."""
        scale, shift = film[:, : self.width], film[:, self.width :]
        return x + self.drop(torch.relu(self.convolution(x) * (1.0 + scale) + shift))


class Refiner(nn.Module):
    """The network of one tier, for a batch. Comments call h and w what 256 x 192 are at the tier's pitch."""

    pixels: Tensor
    coarse_grid: Tensor
    fine_grid: Tensor
    bounds: Tensor
    shift_kernel: Tensor
    feather: Tensor
    kept: Tensor
    moves: Tensor

    def __init__(self, tier: str = "fast") -> None:
        """A network of the size TIERS[tier] that corrects nothing yet."""
        super().__init__()
        self.tier = tier
        self.pitch, (w0, w1, w2), (fine, middle, deep), self.displaces, _ = TIERS[tier]
        width, height = canvas.CANVAS_WIDTH // self.pitch, canvas.CANVAS_HEIGHT // self.pitch
        pixels = pixel_centres(canvas.CANVAS_X, canvas.CANVAS_Y, width, height, self.pitch)
        self.register_buffer("pixels", pixels, persistent=False)
        whole = pixel_centres(canvas.CANVAS_X, canvas.CANVAS_Y, canvas.CANVAS_WIDTH, canvas.CANVAS_HEIGHT)
        for name, at in (("coarse_grid", pixels), ("fine_grid", whole)):
            self.register_buffer(name, sampling_grid(CANVAS, at, torch.zeros_like(at)), persistent=False)
        self.register_buffer("feather", F.avg_pool2d(border_feather(), 2 * self.pitch), persistent=False)
        if self.pitch > 1:
            kept = torch.zeros(1, 1, canvas.CANVAS_HEIGHT, 1)
            kept[:, :, canvas.EYES_HEIGHT :] = OWN_SHARE
            self.register_buffer("kept", F.avg_pool2d(kept, (2 * self.pitch, 1)), persistent=False)
        self.register_buffer("shift_kernel", refinement_kernel(4, channels=3), persistent=False)
        self.register_buffer("moves", torch.tensor(MOVES), persistent=False)

        # What the parameters and the avatar's colours say, to scales and shifts of the modulated blocks.
        self.sizes = [2 * w2] * deep + [2 * w1] * middle
        self.code = nn.Conv2d(CODE, HIDDEN, 1)
        self.film = nn.Conv2d(HIDDEN, sum(self.sizes), 1)
        self.adapter = nn.Conv2d(canvas.ADAPTER_SIZE, sum(self.sizes), 1, bias=False)
        nn.init.orthogonal_(self.adapter.weight)

        self.stem = nn.Conv2d(6, w0, 4, stride=2, padding=1)
        self.down1 = nn.Conv2d(w0, w1, 3, stride=2, padding=1)
        self.down2 = nn.Conv2d(w1, w2, 3, stride=2, padding=1)
        self.place = nn.Parameter(torch.zeros(1, w2, height // 8, width // 8))
        self.deep = nn.ModuleList(Modulated(w2) for _ in range(deep))
        self.up1 = nn.Conv2d(w2, 4 * w1, 1)
        self.middle = nn.ModuleList(Modulated(w1) for _ in range(middle))
        self.up0 = nn.Conv2d(w1, 4 * w0, 1)
        self.fine = nn.ModuleList(nn.Conv2d(w0, w0, 3, padding=1) for _ in range(fine))
        self.shift = nn.Conv2d(w1, 2, 3, padding=1) if self.displaces else None
        self.colours = nn.Conv2d(w0, 4 * 4, 3, padding=1)
        bounds = torch.tensor([MAX_COLOUR] * 12 + [MAX_GAIN] * 4).reshape(1, 16, 1, 1)
        self.register_buffer("bounds", bounds, persistent=False)
        for last in (self.film, self.shift, self.colours):
            if last is not None:
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(
        self,
        parameters: Tensor,
        flow: Tensor,
        texture: Tensor,
        photo: Tensor,
        constants: Tensor,
        adapter: Tensor,
    ) -> Tensor:
        """Better a texture. Each argument with a leading batch.

        Args:
            parameters: PARAMETERS [B, 73].
            flow: CANVAS_FLOW [B, 2, 256, 192], px.
            texture: CANVAS_TEXTURE [B, 4, 256, 192]: RGB to add (levels), cover.
            photo: AVATAR_PHOTO [B, 3, 512, 512], levels.
            constants: AVATAR_CONSTANTS [B, 80].
            adapter: AVATAR_ADAPTER [B, 256].

        Returns:
            CANVAS_TEXTURE [B, 4, 256, 192].
        """
        return self.refined(parameters, flow, texture, source_of(photo), constants, adapter)

    def refined(
        self,
        parameters: Tensor,
        flow: Tensor,
        texture: Tensor,
        source: Tensor,
        constants: Tensor,
        adapter: Tensor,
    ) -> Tensor:
        """`forward` of the photo's part [B, 3, 352, 288] at SOURCE instead of the whole."""
        coarse_flow, coarse_texture = self.coarser(flow), self.coarser(texture)
        shown = compose(coarse_flow, coarse_texture, source)
        gate = self.gate(coarse_flow, coarse_texture[:, 3:])
        film = self.modulation(parameters, constants, adapter)
        shift, colours = self.answer(coarse_flow, coarse_texture[:, 3:], shown, film)
        correction = self.correction(shown, coarse_texture[:, :3], gate, shift, colours)
        if self.pitch > 1:
            correction = sample_at(correction, self.fine_grid.expand(correction.shape[0], -1, -1, -1))
        # The cover stays the geometry's, which tells by it how far a mouth is open.
        flat, added = texture[:, :3].flatten(2), correction.flatten(2)
        better = flat + added[:, :3] + added[:, 3:] * flat
        return torch.cat([better.reshape(-1, 3, canvas.CANVAS_HEIGHT, canvas.CANVAS_WIDTH), texture[:, 3:]], 1)

    def coarser(self, field: Tensor) -> Tensor:
        """A field [B, C, 256, 192] at the resolution that the network sees, [B, C, h, w].

        The mean of four pixels is what bilinear sampling between them gives, at a quarter of a pooling's time: OpenVINO
        brings fields of a few channels into blocks of sixteen before it pools.
        """
        return sample_at(field, self.coarse_grid.expand(field.shape[0], -1, -1, -1)) if self.pitch > 1 else field

    def gate(self, flow: Tensor, cover: Tensor) -> Tensor:
        """How far a correction is let through, [B, 1, h / 2, w / 2]: 0 where all around is at rest."""
        motion = torch.cat([flow, cover], 1).abs()
        # Means of 16 px, then of 3 x 3 of them, then finer again.
        means = F.avg_pool2d(motion, 16 // self.pitch)
        motion = (means[:, :1] + means[:, 1:2] + COVER_PX * means[:, 2:]) * (1.0 / GATE_PX)
        around = smooth(F.avg_pool2d(motion, 3, 1, 1, count_include_pad=False))
        finer = 8 // self.pitch
        gate = self.feather * F.interpolate(around, scale_factor=finer, mode="bilinear", align_corners=False)
        if self.pitch == 1:
            return gate
        least, whole = OPEN_COVER
        opened = ((cover[:, :, ::2, ::2] - least) * (1.0 / (whole - least))).clamp(0.0, 1.0)
        return gate * (1.0 - self.kept * opened)

    def modulation(self, parameters: Tensor, constants: Tensor, adapter: Tensor) -> Tensor:
        """Scales and shifts [B, films, 1, 1] of all modulated blocks."""
        code = torch.cat(
            [
                parameters.index_select(1, self.moves),
                *(constant(constants, name) * scale for name, scale in APPEARANCE),
            ],
            1,
        )
        said: Tensor = self.film(torch.relu(self.code(code[:, :, None, None])))
        own: Tensor = self.adapter(adapter[:, :, None, None])
        return said + own

    def answer(self, flow: Tensor, cover: Tensor, shown: Tensor, film: Tensor) -> tuple[Tensor | None, Tensor]:
        """What the network says, unbounded: displacement [B, 2, h/4, w/4], colours and gain [B, 16, h/2, w/2]."""
        seen = torch.cat([shown * LEVELS - 2.0, cover, flow * FLOW_SCALE], 1)  # [B, 6, h, w]
        films = iter(torch.split(film, self.sizes, 1))
        half = torch.relu(self.stem(seen))  # [B, w0, h / 2, w / 2]
        quarter = torch.relu(self.down1(half))  # [B, w1, h / 4, w / 4]
        x = torch.relu(self.down2(quarter) + self.place)  # [B, w2, h / 8, w / 8]
        for block in self.deep:
            x = block(x, next(films))
        x = quarter + F.pixel_shuffle(self.up1(x), 2)
        for block in self.middle:
            x = block(x, next(films))
        shift = None if self.shift is None else self.shift(x).float()
        x = half + F.pixel_shuffle(self.up0(x), 2)
        for convolution in self.fine:
            x = x + torch.relu(convolution(x))
        colours: Tensor = self.colours(x)
        return shift, colours.float()

    def correction(self, shown: Tensor, painted: Tensor, gate: Tensor, shift: Tensor | None, colours: Tensor) -> Tensor:
        """What the network's answer makes of `shown`, as far as the gate lets it, [B, 4, h, w].

        Colours to add to those that the geometry painted (levels), and a gain on these: the gain on the photo is among
        the former, since the photo has no other place in a texture.
        """
        rows, columns = shown.shape[2:]
        flat = shown.flatten(2)
        answer = F.pixel_shuffle((self.bounds * gate) * torch.tanh(colours), 2).flatten(2)  # [B, 4, h * w]
        added = answer[:, :3] + answer[:, 3:] * (flat - painted.flatten(2))
        if shift is not None:
            # Sampling at the pixels themselves is not exact to the last bit: what has no gate is not to be touched.
            gate = F.avg_pool2d(gate, 2)
            field = torch.cat([(MAX_SHIFT_PX * gate) * torch.tanh(shift), (8.0 * gate).clamp(max=1.0)], 1)
            fine = refine(F.pad(field, (1, 1, 1, 1)), self.shift_kernel, 4).flatten(2)  # [B, 3, h * w]
            nudged = sample(shown, CANVAS, self.pixels, fine[:, :2].reshape(-1, 2, rows, columns)).flatten(2)
            added = added + fine[:, 2:] * (nudged - flat)
        return torch.cat([added, answer[:, 3:]], 1).reshape(-1, 4, rows, columns)


def make_refiner(tier: str, weights: Path = WEIGHTS) -> Refiner:
    """The network of a tier with its trained weights; the identity where `weights` holds none of it.

    Raises:
        ValueError: the weights are of another network.
    """
    refiner = Refiner(tier).eval()
    path = weights_path(tier, weights)
    if path.is_file():
        with np.load(path) as saved:
            state = {name: torch.from_numpy(saved[name].astype(np.float32)) for name in saved.files}
        try:
            refiner.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"{path}: not the weights of today's {tier} network ({error}); train it again") from error
    return refiner


def weights_path(tier: str, weights: Path = WEIGHTS) -> Path:
    """Where a tier's weights are kept."""
    return weights / f"refiner_{tier}.npz"


def trained_tiers() -> list[str]:
    """The tiers that have weights, `fast` first."""
    return [tier for tier in TIERS if weights_path(tier).is_file()]


def weights_checksum(tiers: Iterable[str]) -> str:
    """What tells the weights of some tiers apart from those of another training, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for tier in tiers:
        digest.update(weights_path(tier).read_bytes())
    return digest.hexdigest()[:16]


def save_weights(refiner: Refiner, weights: Path = WEIGHTS) -> Path:
    """Keep a network's weights in half precision; what `make_refiner` loads."""
    path = weights_path(refiner.tier, weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().numpy().astype(np.float16) for name, value in refiner.state_dict().items()}
    np.savez_compressed(path, **state)  # type: ignore[arg-type]
    return path
