"""renderer: the mouth window. Which skin is shown where, what lies between the lips, and how it is lit.

The lips are two layers of the photo, each with a signed distance to its own edge that rides on the layer's motion. A
pixel belongs to the layer whose distance is greater; where both are negative the mouth is open. There the teeth and the
tongue are drawn from one shared picture (export.face.mouth_interior) that the avatar tints.

Of the skin only the motion is put out, and of the colours only what differs from the moved photo, so that the compositor
samples the photo once and the picture stays sharp. A closed mouth adds nothing at all.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.face.face_geometry import AFFINES, constant, parameter
from export.face.mouth_interior import LAYER_HEIGHT, LAYER_LEFT, LAYER_TOP, LAYER_WIDTH, PICTURE, PIXELS_PER_CM
from facestream.avatar import layers_canvas as canvas

INTERIOR_X, INTERIOR_Y = 32, 44
INTERIOR_WIDTH, INTERIOR_HEIGHT = 128, 120
"""The part of the mouth window that an open mouth can reach, px."""

OPEN_PX = 5.0
"""The inner lips are fully turned out when the lips are so far apart."""
JUST_OPEN_PX = 0.4
"""Lips nearer than this are closed."""
LOWER_TEETH_LIGHT = 0.88
LIP_SHADE = 0.25
"""How much the lips darken towards their inner edge."""


def canvas_grid(positions: Tensor) -> Tensor:
    """Sampling grid [B, H, W, 2] into a tensor that covers the canvas, from pixel positions [B, 2, H, W]."""
    x = (positions[:, :1] - canvas.CANVAS_X) * (2.0 / canvas.CANVAS_WIDTH) - 1.0
    y = (positions[:, 1:] - canvas.CANVAS_Y) * (2.0 / canvas.CANVAS_HEIGHT) - 1.0
    return torch.cat([x, y], 1).permute(0, 2, 3, 1)


def pixel_centres(left: int, top: int, width: int, height: int) -> Tensor:
    """Positions [1, 2, height, width] (x, y) of the pixels of a window."""
    x = torch.arange(width, dtype=torch.float32) + left + 0.5
    y = torch.arange(height, dtype=torch.float32) + top + 0.5
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([grid_x, grid_y])[None]


def refine(flow: Tensor) -> Tensor:
    """Flow at mesh nodes [B, 2, n, m] with a margin of one node, to pixels [B, 2, 4 (n - 2), 4 (m - 2)]."""
    pitch = canvas.MESH_PITCH
    fine = F.interpolate(flow, scale_factor=float(pitch), mode="bilinear", align_corners=False)
    return fine[:, :, pitch:-pitch, pitch:-pitch]


def layer_score(scores: Tensor, layer: int, positions: Tensor) -> Tensor:
    """Signed distance [B, 1, H, W] (px) to the seam of one layer at pixel positions [B, 2, H, W]."""
    grid = canvas_grid(positions)
    return F.grid_sample(scores[:, layer : layer + 1], grid, padding_mode="border", align_corners=False)


def interior(window: Tensor) -> Tensor:
    """Crop of the mouth window [B, C, 192, 192] that an open mouth can reach."""
    return window[:, :, INTERIOR_Y : INTERIOR_Y + INTERIOR_HEIGHT, INTERIOR_X : INTERIOR_X + INTERIOR_WIDTH]


def smooth(value: Tensor) -> Tensor:
    """Ease 0..1 in and out."""
    t = value.clamp(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


class Renderer(nn.Module):
    """The mouth window for a batch."""

    picture: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        rgba = cv2.cvtColor(cv2.imread(str(PICTURE), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
        layers = rgba.reshape(3, LAYER_HEIGHT, LAYER_WIDTH, 4).transpose(0, 3, 1, 2).astype(np.float32) / 255.0
        self.register_buffer("picture", torch.from_numpy(layers))  # [3, 4, 48, 128]: upper teeth, lower teeth, tongue
        size = canvas.MOUTH_SIZE
        self.register_buffer("window", pixel_centres(canvas.CANVAS_X, canvas.MOUTH_Y, size, size))

    def forward(
        self,
        parameters: Tensor,
        face_flow: Tensor,
        seam_flow: Tensor,
        affines: Tensor,
        scores: Tensor,
        lips: Tensor,
        constants: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Inputs as in the contract, each with a leading batch.

        Returns:
            MOUTH_FLOW [B, 2, 192, 192]: canonical px displacement (backward) of the mouth window.
            MOUTH_TEXTURE [B, 5, 192, 192]: RGB to add (0..255, premultiplied), alpha of the open mouth, shade of the lips
            (a factor below zero). The picture is photo * (1 - alpha + shade) + RGB.
        """
        top = canvas.MOUTH_Y // canvas.MESH_PITCH - 1
        rows = slice(top, top + canvas.MOUTH_SIZE // canvas.MESH_PITCH + 2)
        columns = slice(canvas.SEAM_COLUMN, canvas.SEAM_COLUMN + canvas.SEAM_COLUMNS)
        upper = refine(face_flow[:, :, rows, columns])  # [B, 2, 192, 192]
        lower = refine(seam_flow[:, :, canvas.SEAM_EYE_ROWS - 1 :])
        scores = scores.float()
        a = layer_score(scores, 0, self.window + upper)  # [B, 1, 192, 192]
        b = layer_score(scores, 1, self.window + lower)
        # 1 where the upper lip's layer is shown. Pressed lips overlap: there the upper lip keeps its edge, and the line.
        overlap = torch.relu(a + b)
        overlap = overlap * (overlap < canvas.SCORE_LIMIT).float()
        belongs = ((a - b + overlap + overlap.clamp(max=1.0)) * 0.5 + 0.5).clamp(0.0, 1.0)
        flow = lower + belongs * (upper - lower)

        a, b, belongs = interior(a), interior(b), interior(belongs)
        position = interior(self.window) + interior(flow)
        gap = torch.relu(-(a + b))  # px between the lips
        opened = smooth(gap * (1.0 / OPEN_PX))
        rim = opened * self.rim_width(position, constants)
        a, b = a + rim, b + rim  # the inner lips turn out and narrow the opening
        alpha = (0.5 - torch.maximum(a, b)).clamp(0.0, 1.0) * (gap - JUST_OPEN_PX).clamp(0.0, 1.0)
        inside = self.open_mouth(parameters, affines, constants, a, b, gap)
        skin = opened * self.inner_lips(lips, position, belongs)
        edge = (1.0 - torch.maximum(a, b) * 0.3).clamp(0.0, 1.0)
        shade = -LIP_SHADE * opened * edge * (1.0 - alpha)
        colour = alpha * inside + (1.0 - alpha) * skin
        texture = torch.cat([colour, alpha, shade], 1)
        right = canvas.MOUTH_SIZE - INTERIOR_X - INTERIOR_WIDTH
        bottom = canvas.MOUTH_SIZE - INTERIOR_Y - INTERIOR_HEIGHT
        return flow, F.pad(texture, (INTERIOR_X, right, INTERIOR_Y, bottom))

    def rim_width(self, position: Tensor, constants: Tensor) -> Tensor:
        """Width [B, 1, H, W] (px) of the inner lip that an opening mouth shows; nothing at the corners."""
        mouth = constant(constants, "mouth")[:, :, None, None]
        left, right, width = mouth[:, 0:1], mouth[:, 1:2], mouth[:, 3:4]
        across = (position[:, :1] - 0.5 * (left + right)) * 2.0 / (right - left)
        return width * (1.0 - across * across).clamp(min=0.0)

    def inner_lips(self, lips: Tensor, position: Tensor, belongs: Tensor) -> Tensor:
        """What the painted inner lips add to the photo, [B, 3, H, W]."""
        x = (position[:, :1] - canvas.LIPS_X) * (2.0 / canvas.LIPS_WIDTH) - 1.0
        y = (position[:, 1:] - canvas.LIPS_Y) * (2.0 / canvas.LIPS_HEIGHT) - 1.0
        grid = torch.cat([x, y], 1).permute(0, 2, 3, 1)
        both = F.grid_sample(lips.float() - 128.0, grid, padding_mode="zeros", align_corners=False)
        return both[:, 3:] + belongs * (both[:, :3] - both[:, 3:])

    def open_mouth(
        self, parameters: Tensor, affines: Tensor, constants: Tensor, a: Tensor, b: Tensor, gap: Tensor
    ) -> Tensor:
        """Colour [B, 3, H, W] of what lies between the lips; `a` and `b` are the distances to the lips, px."""
        enamel = constant(constants, "enamel")[:, :, None, None]
        flesh = constant(constants, "flesh")[:, :, None, None]
        upper = self.draw(0, affines, enamel)
        lower = self.draw(1, affines, LOWER_TEETH_LIGHT * enamel)
        tongue = self.draw(2, affines, flesh)
        out = parameter(parameters, "tongueOut")[:, :, None, None].clamp(0.0, 1.0)
        colour = constant(constants, "cavity")[:, :, None, None] + 0.0 * a
        colour = over(tongue, colour, 1.0)
        colour = over(lower, colour, 1.0)
        colour = over(tongue, colour, out)
        colour = over(upper, colour, 1.0)
        # Less light gets in under the upper lip, behind the lower lip and through a narrow opening.
        light = 0.48 + 0.52 * smooth(-a * 0.16)
        light = light * (0.72 + 0.28 * smooth(-b * 0.16)) * (0.72 + 0.28 * (gap * 0.08).clamp(0.0, 1.0))
        return colour * light

    def draw(self, layer: int, affines: Tensor, tint: Tensor) -> Tensor:
        """One layer of the shared picture, tinted, [B, 4, H, W] with colours 0..255, premultiplied."""
        m = affines[:, layer, :, :, None, None]  # [B, 2, 3, 1, 1]
        position = interior(self.window)
        x = m[:, 0, 0:1] * position[:, :1] + m[:, 0, 1:2] * position[:, 1:] + m[:, 0, 2:3]  # cm
        y = m[:, 1, 0:1] * position[:, :1] + m[:, 1, 1:2] * position[:, 1:] + m[:, 1, 2:3]
        u = (x - LAYER_LEFT) * (2.0 * PIXELS_PER_CM / LAYER_WIDTH) - 1.0
        v = (LAYER_TOP[layer] - y) * (2.0 * PIXELS_PER_CM / LAYER_HEIGHT) - 1.0
        grid = torch.cat([u, v], 1).permute(0, 2, 3, 1)
        tinted = torch.cat([255.0 * tint, 0.0 * tint[:, :1] + 1.0], 1) * self.picture[layer : layer + 1]
        return F.grid_sample(tinted, grid, padding_mode="zeros", align_corners=False)


def over(front: Tensor, back: Tensor, strength: Tensor | float) -> Tensor:
    """Premultiplied front [B, 4, H, W] over an opaque back [B, 3, H, W]."""
    return front[:, :3] * strength + back * (1.0 - front[:, 3:] * strength)


assert AFFINES[:3] == ("upper_teeth", "lower_teeth", "tongue")
