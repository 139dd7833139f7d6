"""compositor: the frame. All fields are composed first, so the photo is sampled once, at full sharpness.

    output pixel --head flow--> canonical pixel --face flow, or the canvas's flow--> photo pixel

Coarsely (mesh grid) over the whole picture, finely inside of one window that holds the canvas of eyes and mouth and
some room for the head to move. Only there a texture of its own is laid over the photo.

Where the photo's pixel shows background instead of the person, that background is exchanged for the one of the output
pixel, so that it stands still behind a head that moves; away from the person nothing moves at all.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from facestream.avatar import layers_canvas as canvas
from facestream.contract import FRAME_SIZE
from torch import Tensor, nn

from export.face.fields import (
    CANVAS,
    PICTURE,
    FineGrid,
    from_blocks,
    from_grid,
    pixel_centres,
    refine,
    refinement_kernel,
    sample_at,
    sample_inside,
)

MARGIN_X, MARGIN_TOP, MARGIN_BOTTOM = 28, 24, 16
"""Room around the canvas for the head to move, px. It moves a little further, but along the canvas's border nothing is
to be seen that the coarse fields do not show."""
FEATHER_PX = 8.0
"""The fine fields fade into the coarse ones over so many pixels at the canvas's border."""
AROUND_NODES = 2
"""The background moves along up to so many mesh nodes from the person, to where no edge can be torn ..."""
FADE_NODES = 4
"""... and from there less and less over twice so many."""
PERSON = 0.1
"""From this much of the matte on, a node is the person's."""

ROI_X, ROI_Y = canvas.CANVAS_X - MARGIN_X, canvas.CANVAS_Y - MARGIN_TOP
ROI_WIDTH = canvas.CANVAS_WIDTH + 2 * MARGIN_X
ROI_HEIGHT = canvas.CANVAS_HEIGHT + MARGIN_TOP + MARGIN_BOTTOM


REGIONS = {
    "top": (0, 0, FRAME_SIZE, ROI_Y),
    "left": (0, ROI_Y, ROI_X, ROI_HEIGHT),
    "middle": (ROI_X, ROI_Y, ROI_WIDTH, ROI_HEIGHT),
    "right": (ROI_X + ROI_WIDTH, ROI_Y, FRAME_SIZE - ROI_X - ROI_WIDTH, ROI_HEIGHT),
    "bottom": (0, ROI_Y + ROI_HEIGHT, FRAME_SIZE, FRAME_SIZE - ROI_Y - ROI_HEIGHT),
}
"""Left, top, width and height (px) of the window of fine fields, and of what lies around it."""


def region(field: Tensor, name: str) -> Tensor:
    """The mesh nodes of a field with margin [B, C, 130, 130] that lie in a region, with a margin of one node."""
    left, top, width, height = (size // canvas.MESH_PITCH for size in REGIONS[name])
    return field[:, :, top : top + height + 2, left : left + width + 2]


def margin(field: Tensor) -> Tensor:
    """A field with one more node around, as refinement needs it."""
    return F.pad(field, (1, 1, 1, 1), mode="replicate")


def block_kernel(factor: int, coarse: int) -> Tensor:
    """Weights [factor**2, 1, n, n] of a convolution with stride factor / coarse that refines by `coarse`, in blocks.

    The phases of bilinear interpolation of all `coarse` x `coarse` refinements in a block of `factor` x `factor` px.
    """
    nodes = factor // coarse  # of the field to be refined, in a block and direction
    phases = refinement_kernel(coarse)[: coarse * coarse, 0].reshape(coarse, coarse, 3, 3)
    kernel = torch.zeros(nodes, coarse, nodes, coarse, nodes + 2, nodes + 2)
    for row in range(nodes):
        for column in range(nodes):
            kernel[row, :, column, :, row : row + 3, column : column + 3] = phases
    return kernel.reshape(factor * factor, 1, nodes + 2, nodes + 2)


class Compositor(nn.Module):
    """The frame for a batch."""

    feather: Tensor
    head_kernel: Tensor
    colour_kernel: Tensor
    half_level: Tensor
    to_canvas: Tensor
    canvas_begins: Tensor

    def __init__(self) -> None:
        super().__init__()
        pitch, coarser = canvas.MESH_PITCH, canvas.BACKDROP_PITCH
        self.grids = nn.ModuleDict(
            {name: FineGrid(PICTURE, *place, pitch, blocks=True) for name, place in REGIONS.items()}
        )
        scale, shift = from_grid(PICTURE, CANVAS)
        self.register_buffer("to_canvas", scale)
        self.register_buffer("canvas_begins", shift)
        whole = (0, 0, canvas.MESH_GRID, canvas.MESH_GRID)
        self.head_grid = FineGrid(PICTURE, *whole, canvas.HEAD_PITCH // pitch, pitch)
        self.node_grid = FineGrid(PICTURE, *whole, 1, pitch)
        size = FRAME_SIZE // coarser
        self.backdrop_grid = FineGrid(PICTURE, 0, 0, size, size, pitch // coarser, coarser)
        inside = pixel_centres(0, 0, canvas.CANVAS_WIDTH, canvas.CANVAS_HEIGHT)
        far = torch.tensor([canvas.CANVAS_WIDTH, canvas.CANVAS_HEIGHT], dtype=torch.float32).reshape(1, 2, 1, 1)
        border = torch.minimum(inside, far - inside).amin(1, keepdim=True)
        self.register_buffer("feather", (border / FEATHER_PX).clamp(0.0, 1.0))  # [1, 1, 256, 192]
        self.register_buffer("head_kernel", refinement_kernel(canvas.HEAD_PITCH // pitch))
        self.register_buffer("colour_kernel", block_kernel(pitch, coarser))
        self.register_buffer("half_level", torch.full((pitch * pitch,), 0.5))

    def forward(
        self,
        face_flow: Tensor,
        head_flow: Tensor,
        canvas_flow: Tensor,
        texture: Tensor,
        photo: Tensor,
        backdrop: Tensor,
    ) -> Tensor:
        """Inputs as in the contract, each with a leading batch.

        Returns:
            FRAME [B, 512, 512, 3] uint8, RGB.
        """
        photo, backdrop = photo.float(), backdrop.float()
        # Coarse: output pixel -> photo pixel on the mesh grid, then to all pixels.
        head_nodes = margin(head_flow)
        head = refine(head_nodes, self.head_kernel, canvas.HEAD_PITCH // canvas.MESH_PITCH)  # [B, 2, 128, 128]
        both = head + sample_inside(face_flow, self.head_grid(head_nodes))
        both = margin(both * self.moving(both, backdrop[:, 3:]))  # [B, 2, 130, 130]
        # All pixels lie block by block from here on, one block for each node of the mesh.
        parts = {
            name: sample_inside(photo, self.grids[name](region(both, name))) for name in REGIONS if name != "middle"
        }
        parts["middle"] = self.middle(both, margin(head), canvas_flow, texture, photo)
        band = torch.cat([parts["left"], parts["middle"], parts["right"]], 3)
        picture = torch.cat([parts["top"], band, parts["bottom"]], 2) + self.behind(both, backdrop)
        # Bytes only at the very end: TensorRT takes them for nothing but inputs and outputs.
        return from_blocks(picture.clamp(0.0, 255.0), canvas.MESH_PITCH).to(torch.uint8)

    def moving(self, both: Tensor, matte: Tensor) -> Tensor:
        """[B, 1, 128, 128] 1 near the person, where she is or where she was, 0 where the background stands still."""
        # Lines take the place of channels: engines pool many channels at once, but a single one pixel by pixel.
        grid, coarse = canvas.MESH_GRID, canvas.MESH_PITCH // canvas.BACKDROP_PITCH
        person = F.max_pool2d(matte.reshape(-1, grid, coarse, coarse * grid), coarse)  # [B, rows, 1, columns]
        person = (person * (1.0 / (255.0 * PERSON))).clamp(0.0, 1.0)
        # Wider, then with a soft edge: a field that broke off would tear the background.
        widest, edge = AROUND_NODES + FADE_NODES, FADE_NODES
        person = F.max_pool2d(person, (1, 2 * widest + 1), 1, (0, widest)).transpose(1, 3)  # [B, columns, 1, rows]
        person = F.max_pool2d(person, (1, 2 * widest + 1), 1, (0, widest))
        person = F.avg_pool2d(person, (1, 2 * edge + 1), 1, (0, edge)).transpose(1, 3)
        person = F.avg_pool2d(person, (1, 2 * edge + 1), 1, (0, edge)).transpose(1, 2)  # [B, 1, rows, columns]
        return torch.maximum(person, sample_inside(person, self.node_grid(both)))

    def behind(self, both: Tensor, backdrop: Tensor) -> Tensor:
        """What the background that stands still adds to a picture in which all moves, [B, 3, 128, 128 * 16] levels.

        With half a level more, to round where bytes are made.
        """
        seen = sample_inside(backdrop, self.backdrop_grid(both))  # [B, 4, 256, 256]
        free = 1.0 - seen[:, 3:] * (1.0 / 255.0)
        added = margin(free * (backdrop[:, :3] - seen[:, :3]))
        planes = added.reshape(-1, 1, *added.shape[2:])  # each colour on its own
        stride = canvas.MESH_PITCH // canvas.BACKDROP_PITCH
        fine = F.conv2d(planes, self.colour_kernel, self.half_level, stride)  # [B * 3, 16, 128, 128]
        return fine.permute(0, 2, 3, 1).reshape(-1, 3, canvas.MESH_GRID, canvas.MESH_GRID * canvas.MESH_PITCH**2)

    def middle(self, both: Tensor, head: Tensor, flow: Tensor, texture: Tensor, photo: Tensor) -> Tensor:
        """The window of fine fields, [B, 3, ROI_HEIGHT / 4, ROI_WIDTH * 4] in blocks, levels."""
        # The canvas in canonical space ...
        fine = torch.cat([flow, self.feather + 0.0 * flow[:, :1], texture], 1)
        # ... seen through the head's pose, [B, 7, ROI_HEIGHT / 4, ROI_WIDTH * 4].
        around = self.grids["middle"](region(both, "middle"))
        turned = self.grids["middle"](region(head, "middle"))
        seen = sample_at(fine, turned * self.to_canvas + self.canvas_begins, "zeros")
        share = seen[:, 2:3].permute(0, 2, 3, 1)
        grid = around + share * (turned - around + (2.0 / FRAME_SIZE) * seen[:, :2].permute(0, 2, 3, 1))
        picture = sample_inside(photo, grid)
        return picture - picture * seen[:, 6:7] + seen[:, 3:6]
