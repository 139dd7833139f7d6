"""The mouth window of the canvas: which skin is shown where, what lies between the lips, and how it is lit.

The lips are two layers of the photo, each with a signed distance to its own edge that rides on the layer's motion. A
pixel belongs to the layer whose distance is greater; where both are negative the mouth is open. There the teeth and the
tongue are drawn from one shared picture (export.face.mouth_interior) that the avatar tints.

Of the skin only the motion is put out, and of the colours only what differs from the moved photo, so that the
compositor samples the photo once and the picture stays sharp. A closed mouth adds nothing at all.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from facestream.avatar import layers_canvas as canvas
from torch import Tensor, nn

from export.face.canvas_layers import Layers
from export.face.face_geometry import AFFINES
from export.face.fields import LIPS, FineGrid, constant, parameter, pixel_centres, sample_at, smooth
from export.face.mouth_interior import LAYER_HEIGHT, LAYER_LEFT, LAYER_TOP, LAYER_WIDTH, PICTURE, PIXELS_PER_CM

INTERIOR_X, INTERIOR_Y = 32, 44
INTERIOR_WIDTH, INTERIOR_HEIGHT = 128, 120
"""The part of the mouth window that an open mouth can reach, px."""

OPEN_PX = 10.0
"""The upper lip's inner side is fully turned out when the lips are so far apart. At half of it it would turn out faster
than the lips part, and the opening would narrow while the jaw goes down."""
JUST_OPEN_PX = 0.4
"""Lips nearer than this are closed."""
CORNER_BEGINS = 0.75
CORNER_SHARE = 0.5
"""The corners are rounded from this share of half the mouth's width; at the very end the lips meet (0.5 of the gap)."""
LOWER_TEETH_LIGHT = 0.88
FULL_LIGHT_PX = 10.0
"""Lips so far apart let all light in to the teeth; through closed ones comes half."""
WARM_PX = 9.0
WARMTH = (0.37, -0.09, -0.28)
"""Between lips nearer than this teeth are lit by lips and gums more than from outside: RGB gains on them as the lips
touch. Read off path-traced mouths, as the light is: gaps of 2 px, 4 px, 6.5 px showed 0.8, 0.5 and 0.3 of it."""
SMILE_LIGHT = 0.25
"""A full smile draws the lips off the teeth and lets so much more light on them."""
TONGUE_LIGHT = (0.25, 0.035)
"""Light on the tongue between closed lips, and how much more for each px that they part."""
LIP_SHADE = 0.25
"""How much the lips darken towards their inner edge."""


def interior(window: Tensor) -> Tensor:
    """Crop of the mouth window [B, C, 192, 192] that an open mouth can reach."""
    return window[:, :, INTERIOR_Y : INTERIOR_Y + INTERIOR_HEIGHT, INTERIOR_X : INTERIOR_X + INTERIOR_WIDTH]


class MouthWindow(nn.Module):
    """The mouth window for a batch."""

    picture: Tensor
    window: Tensor
    columns: Tensor
    rows: Tensor

    def __init__(self) -> None:
        super().__init__()
        encoded = cv2.imread(str(PICTURE), cv2.IMREAD_UNCHANGED)
        if encoded is None:
            raise FileNotFoundError(f"{PICTURE} is missing; make it with: python -m export.face.mouth_interior")
        rgba = cv2.cvtColor(encoded, cv2.COLOR_BGRA2RGBA)
        layers = rgba.reshape(3, LAYER_HEIGHT, LAYER_WIDTH, 4).transpose(0, 3, 1, 2).astype(np.float32) / 255.0
        self.register_buffer("picture", torch.from_numpy(layers))  # [3, 4, 48, 128]: upper teeth, lower teeth, tongue
        size = canvas.MOUTH_SIZE
        window = pixel_centres(canvas.CANVAS_X, canvas.MOUTH_Y, size, size)
        self.register_buffer("window", window)
        place = (canvas.CANVAS_X + INTERIOR_X, canvas.MOUTH_Y + INTERIOR_Y, INTERIOR_WIDTH, INTERIOR_HEIGHT)
        self.grid = FineGrid(LIPS, *place, canvas.MESH_PITCH)
        self.register_buffer("columns", interior(window)[:, 0, :1, :, None])  # [1, 1, W, 1] px
        self.register_buffer("rows", interior(window)[:, 1, :, :1, None])  # [1, H, 1, 1] px

    def forward(
        self,
        layers: Layers,
        parameters: Tensor,
        face_flow: Tensor,
        seam_flow: Tensor,
        affines: Tensor,
        photo: Tensor,
        lips: Tensor,
        constants: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The mouth's rows of the canvas's layers, and inputs as in the contract; `photo` is [B, 3, 512, 512] float.

        Returns:
            Flow [B, 2, 192, 192]: displacement (backward, px) to the photo's pixel that each pixel shows.
            Texture [B, 4, 192, 192]: RGB to add (0..255, premultiplied) and cover: 1 in the open mouth, less where the
            lips are in shade.
        """
        upper, lower = layers.flow0, layers.flow1
        a, b = layers.score0, layers.score1
        # 1 where the upper lip's layer is shown. Where pressed lips overlap, the upper one keeps its edge.
        overlap = torch.relu(a + b)
        overlap = overlap * (overlap < canvas.SCORE_LIMIT).float()
        belongs = ((a - b + overlap + overlap.clamp(max=1.0)) * 0.5 + 0.5).clamp(0.0, 1.0)
        # One layer's motion or the other's: their mean would show the lips' dark line in steps.
        chosen = (belongs > 0.5).float()
        flat = lower.flatten(2) + chosen.flatten(2) * (upper.flatten(2) - lower.flatten(2))
        flow = flat.reshape(-1, 2, *self.window.shape[2:])

        a, b, belongs, chosen = interior(a), interior(b), interior(belongs), interior(chosen)
        moved = interior(flow)
        gap = torch.relu(-(a + b))  # px between the lips
        opened = smooth(gap * (1.0 / OPEN_PX))
        turned, rounded = self.narrowed(moved, constants, gap)
        a, b = a + opened * turned + rounded, b + rounded
        alpha = (0.5 - torch.maximum(a, b)).clamp(0.0, 1.0) * (gap - JUST_OPEN_PX).clamp(0.0, 1.0)
        inside = self.open_mouth(parameters, affines, constants, a, b, gap)
        skin = self.lips(face_flow, seam_flow, photo, lips, belongs, chosen, opened)
        edge = (1.0 - torch.maximum(a, b) * 0.3).clamp(0.0, 1.0)
        shade = LIP_SHADE * opened * edge * (1.0 - alpha)
        colour = alpha * inside + (1.0 - alpha) * skin
        texture = torch.cat([colour, alpha + shade], 1)
        right = canvas.MOUTH_SIZE - INTERIOR_X - INTERIOR_WIDTH
        bottom = canvas.MOUTH_SIZE - INTERIOR_Y - INTERIOR_HEIGHT
        return flow, F.pad(texture, (INTERIOR_X, right, INTERIOR_Y, bottom))

    def narrowed(self, moved: Tensor, constants: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
        """What narrows a wide opening, each [B, 1, H, W], px.

        Returns:
            Width of the inner side that the upper lip turns out. The lower lip is drawn over its teeth and shows none:
            with as much of it, path-traced mouths were open 2 px further down (0.5 dB about the mouth).
            How far each lip reaches in at the corners, where the skin between the lips makes the opening round.
        """
        mouth = constant(constants, "mouth")[:, :, None, None]
        left, right, width = mouth[:, 0:1], mouth[:, 1:2], mouth[:, 3:4]
        across = (interior(self.window)[:, :1] + moved[:, :1] - 0.5 * (left + right)) * 2.0 / (right - left)
        middle = (1.0 - across * across).clamp(min=0.0)
        corner = ((across.abs() - CORNER_BEGINS) * (1.0 / (1.0 - CORNER_BEGINS))).clamp(0.0, 1.2)
        return width * middle, CORNER_SHARE * gap * corner * corner

    def lips(
        self,
        face_flow: Tensor,
        seam_flow: Tensor,
        photo: Tensor,
        lips: Tensor,
        belongs: Tensor,
        chosen: Tensor,
        opened: Tensor,
    ) -> Tensor:
        """What is added to the photo of the lips, [B, 3, H, W]: their painted inner side, the more they are `opened`.

        And along their edge the rest of the other lip's colour, which smooths the step from layer to layer.
        """
        rows = slice(canvas.LIPS_Y, canvas.LIPS_Y + canvas.LIPS_HEIGHT)
        photo = photo[:, :, rows, canvas.LIPS_X : canvas.LIPS_X + canvas.LIPS_WIDTH]
        lips = lips.float() - 128.0
        of_upper = sample_at(torch.cat([photo, lips[:, :3]], 1), self.grid(self.nodes(face_flow, 0, 0)), "zeros")
        nodes = self.nodes(seam_flow, canvas.SEAM_ROW, canvas.SEAM_COLUMN)
        of_lower = sample_at(torch.cat([photo, lips[:, 3:]], 1), self.grid(nodes), "zeros")
        inner = of_lower[:, 3:] + belongs * (of_upper[:, 3:] - of_lower[:, 3:])
        return opened * inner + (belongs - chosen) * (of_upper[:, :3] - of_lower[:, :3])

    @staticmethod
    def nodes(field: Tensor, first_row: int, first_column: int) -> Tensor:
        """The mesh nodes about the opening, with a margin of one, of a field that begins at the given node."""
        top = (canvas.MOUTH_Y + INTERIOR_Y) // canvas.MESH_PITCH - 1 - first_row
        left = (canvas.CANVAS_X + INTERIOR_X) // canvas.MESH_PITCH - 1 - first_column
        rows, columns = INTERIOR_HEIGHT // canvas.MESH_PITCH + 2, INTERIOR_WIDTH // canvas.MESH_PITCH + 2
        return field[:, :, top : top + rows, left : left + columns]

    def open_mouth(
        self, parameters: Tensor, affines: Tensor, constants: Tensor, a: Tensor, b: Tensor, gap: Tensor
    ) -> Tensor:
        """Colour [B, 3, H, W] of what lies between the lips; `a` and `b` are the distances to the lips, px."""
        enamel = constant(constants, "enamel")[:, :, None, None]
        flesh = constant(constants, "flesh")[:, :, None, None]
        upper = self.draw(0, affines, enamel)
        lower = self.draw(1, affines, LOWER_TEETH_LIGHT * enamel)
        out = parameter(parameters, "tongueOut")[:, :, None, None].clamp(0.0, 1.0)
        tongue = self.draw(2, affines, flesh * (1.0 + 0.4 * out))  # further out there is more light
        dark, parted = TONGUE_LIGHT
        shaded = torch.maximum((dark + parted * gap).clamp(max=1.0), out)
        tongue = torch.cat([tongue[:, :3] * shaded, tongue[:, 3:]], 1)
        colour = constant(constants, "cavity")[:, :, None, None] + 0.0 * a
        colour = over(tongue, colour, 1.0)
        colour = over(lower, colour, 1.0)
        colour = over(tongue, colour, out)
        colour = over(upper, colour, 1.0)
        # Less light gets in under the upper lip, behind the lower lip and through a narrow opening.
        light = (0.72 + 0.16 * smooth(-a * 0.20)) * (0.88 + 0.12 * smooth(-b * 0.16))
        light = light * (0.5 + 0.5 * (gap * (1.0 / FULL_LIGHT_PX)).clamp(0.0, 1.0))
        smile = (parameter(parameters, "mouthSmileLeft") + parameter(parameters, "mouthSmileRight")).clamp(0.0, 2.0)
        light = light * (1.0 + 0.5 * SMILE_LIGHT * smile[:, :, None, None])
        near = (1.0 - gap * (1.0 / WARM_PX)).clamp(0.0, 1.0)
        warm = torch.cat([light + (gain * near) * light for gain in WARMTH], 1)
        return colour * warm

    def draw(self, layer: int, affines: Tensor, tint: Tensor) -> Tensor:
        """One layer of the shared picture, tinted, [B, 4, H, W] with colours 0..255, premultiplied."""
        m = affines[:, layer, None, None]  # [B, 1, 1, 2, 3]
        place = m[..., 0] * self.columns + m[..., 1] * self.rows + m[..., 2]  # [B, H, W, 2] cm
        size = torch.tensor([LAYER_WIDTH / PIXELS_PER_CM, -LAYER_HEIGHT / PIXELS_PER_CM])
        corner = torch.tensor([LAYER_LEFT, LAYER_TOP[layer]])
        grid = (place - corner) * (2.0 / size) - 1.0
        tinted = torch.cat([255.0 * tint, 0.0 * tint[:, :1] + 1.0], 1) * self.picture[layer : layer + 1]
        return sample_at(tinted, grid, "zeros")


def over(front: Tensor, back: Tensor, strength: Tensor | float) -> Tensor:
    """Premultiplied front [B, 4, H, W] over an opaque back [B, 3, H, W]."""
    return front[:, :3] * strength + back * (1.0 - front[:, 3:] * strength)


assert AFFINES[:3] == ("upper_teeth", "lower_teeth", "tongue")
