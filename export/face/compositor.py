"""compositor: the frame. All fields are composed first, so the photo is sampled once, at full sharpness.

    output pixel --head flow--> canonical pixel --face flow, or the canvas's flow--> photo pixel

Coarsely (mesh grid) over the whole picture, finely inside of one window that holds the canvas of eyes and mouth and
some room for the head to move. Only there a texture of its own is laid over the photo.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from facestream.avatar import layers_canvas as canvas
from facestream.contract import FRAME_SIZE
from torch import Tensor, nn

from export.face.fields import CANVAS, PICTURE, pixel_centres, refine, refinement_kernel, sample

MARGIN_X, MARGIN_TOP, MARGIN_BOTTOM = 40, 36, 28
"""Room around the canvas for the head to move, px."""
FEATHER_PX = 8.0
"""The fine fields fade into the coarse ones over so many pixels at the canvas's border."""
STILL = 0.05
"""By so much for each level of the matte, of 0..255, the photo itself gives way to the composed picture."""

ROI_X, ROI_Y = canvas.CANVAS_X - MARGIN_X, canvas.CANVAS_Y - MARGIN_TOP
ROI_WIDTH = canvas.CANVAS_WIDTH + 2 * MARGIN_X
ROI_HEIGHT = canvas.CANVAS_HEIGHT + MARGIN_TOP + MARGIN_BOTTOM


REGIONS = {
    "top": (0, 0, FRAME_SIZE, ROI_Y),
    "left": (0, ROI_Y, ROI_X, ROI_HEIGHT),
    "right": (ROI_X + ROI_WIDTH, ROI_Y, FRAME_SIZE - ROI_X - ROI_WIDTH, ROI_HEIGHT),
    "bottom": (0, ROI_Y + ROI_HEIGHT, FRAME_SIZE, FRAME_SIZE - ROI_Y - ROI_HEIGHT),
}
"""Left, top, width and height (px) of what lies around the window of fine fields."""


def roi_nodes(field: Tensor) -> Tensor:
    """The mesh nodes of a field with margin [B, 2, 130, 130] around the window, with a margin of one node."""
    row, column = ROI_Y // canvas.MESH_PITCH, ROI_X // canvas.MESH_PITCH
    rows = slice(row, row + ROI_HEIGHT // canvas.MESH_PITCH + 2)
    return field[:, :, rows, column : column + ROI_WIDTH // canvas.MESH_PITCH + 2]


def margin(field: Tensor) -> Tensor:
    """A field with one more node around, as `refine` needs it."""
    return F.pad(field, (1, 1, 1, 1), mode="replicate")


class Compositor(nn.Module):
    """The frame for a batch."""

    nodes: Tensor
    pixels: Tensor
    feather: Tensor
    backdrop_nodes: Tensor
    backdrop_kernel: Tensor
    kernel: Tensor
    head_kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        pitch = canvas.MESH_PITCH
        self.register_buffer("nodes", pixel_centres(0, 0, canvas.MESH_GRID, canvas.MESH_GRID, pitch))
        self.register_buffer("pixels", pixel_centres(ROI_X, ROI_Y, ROI_WIDTH, ROI_HEIGHT))
        for name, (left, top, width, height) in REGIONS.items():
            self.register_buffer(name, pixel_centres(left, top, width, height))
        inside = pixel_centres(0, 0, canvas.CANVAS_WIDTH, canvas.CANVAS_HEIGHT)
        far = torch.tensor([canvas.CANVAS_WIDTH, canvas.CANVAS_HEIGHT], dtype=torch.float32).reshape(1, 2, 1, 1)
        border = torch.minimum(inside, far - inside).amin(1, keepdim=True)
        self.register_buffer("feather", (border / FEATHER_PX).clamp(0.0, 1.0))  # [1, 1, 256, 192]
        size = FRAME_SIZE // canvas.BACKDROP_PITCH
        self.register_buffer("backdrop_nodes", pixel_centres(0, 0, size, size, canvas.BACKDROP_PITCH))
        self.register_buffer("backdrop_kernel", refinement_kernel(pitch // canvas.BACKDROP_PITCH))
        self.register_buffer("kernel", refinement_kernel(pitch))
        self.register_buffer("head_kernel", refinement_kernel(canvas.HEAD_PITCH // pitch))

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
        photo = photo.float() + 0.5  # to round where bytes are made
        # Coarse: output pixel -> photo pixel on the mesh grid, then to all pixels.
        factor = canvas.HEAD_PITCH // canvas.MESH_PITCH
        head = refine(margin(head_flow), self.head_kernel, factor)  # [B, 2, 128, 128]
        both = margin(head + sample(face_flow, PICTURE, self.nodes, head))  # [B, 2, 130, 130]
        behind, still = self.behind(both, backdrop.float())
        parts = {"middle": self.middle(both, margin(head), canvas_flow, texture, photo)}
        parts |= {name: self.shown(photo, both, name) for name in REGIONS}
        top, bottom = parts["top"], parts["bottom"]
        picture = torch.cat([top, torch.cat([parts["left"], parts["middle"], parts["right"]], 3), bottom], 2)
        picture = picture + behind
        picture = picture + still * (photo - picture)
        # Bytes only at the very end: TensorRT takes them for nothing but inputs and outputs.
        return picture.clamp(0.0, 255.0).permute(0, 2, 3, 1).to(torch.uint8)

    def behind(self, both: Tensor, backdrop: Tensor) -> tuple[Tensor, Tensor]:
        """What the background that stands still adds to a picture in which all moves, and where it is all there is.

        Returns:
            [B, 3, 512, 512] levels: where the photo's pixel shows background, by the difference from there to here.
            [B, 1, 512, 512]: 1 where neither the person is seen nor was, and the photo itself is right.
        """
        moved = refine(both, self.backdrop_kernel, canvas.MESH_PITCH // canvas.BACKDROP_PITCH)
        seen = sample(backdrop, PICTURE, self.backdrop_nodes, moved)  # [B, 4, 256, 256]
        free = 1.0 - seen[:, 3:] * (1.0 / 255.0)
        added = free * (backdrop[:, :3] - seen[:, :3])
        still = (1.0 - STILL * (seen[:, 3:] + backdrop[:, 3:])).clamp(0.0, 1.0)
        fine = F.interpolate(
            torch.cat([added, still], 1), scale_factor=canvas.BACKDROP_PITCH, mode="bilinear", align_corners=False
        )
        return fine[:, :3], fine[:, 3:]

    def shown(self, photo: Tensor, both: Tensor, name: str) -> Tensor:
        """One coarse region [B, 3, height, width]; `both` [B, 2, 130, 130] has a margin of one node."""
        left, top, width, height = (size // canvas.MESH_PITCH for size in REGIONS[name])
        nodes = both[:, :, top : top + height + 2, left : left + width + 2]
        moved = refine(nodes, self.kernel, canvas.MESH_PITCH)
        return sample(photo, PICTURE, getattr(self, name), moved)

    def middle(self, both: Tensor, head: Tensor, flow: Tensor, texture: Tensor, photo: Tensor) -> Tensor:
        """The window of fine fields, [B, 3, ROI_HEIGHT, ROI_WIDTH], 0..255."""
        cover = texture[:, 3:]
        # The canvas in canonical space; the photo's half level for rounding is not to be covered ...
        fine = torch.cat([flow, self.feather + 0.0 * cover, texture[:, :3] + 0.5 * cover, cover], 1)
        # ... seen through the head's pose.
        turned, around = (
            refine(roi_nodes(field), self.kernel, canvas.MESH_PITCH).flatten(2) for field in (head, both)
        )  # [B, 2, N]
        seen = sample(fine, CANVAS, self.pixels, turned, "zeros").flatten(2)  # [B, 7, N]
        motion = around + seen[:, 2:3] * (turned + seen[:, :2] - around)
        picture = sample(photo, PICTURE, self.pixels, motion).flatten(2)  # [B, 3, N]
        picture = picture - picture * seen[:, 6:7] + seen[:, 3:6]
        return picture.reshape(-1, 3, ROI_HEIGHT, ROI_WIDTH)
