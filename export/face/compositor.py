"""compositor: the frame. All fields are composed first, so the photo is sampled once, at full sharpness.

    output pixel --head flow--> canonical pixel --face flow, or mouth/eye window--> photo pixel

Coarsely (mesh grid) over the whole picture, finely inside of one window that holds the canvas of eyes and mouth and
some room for the head to move. Only where the mouth, an eyeball or a lowered lid is seen a colour of its own is laid
over the photo.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from facestream.avatar import layers_canvas as canvas
from facestream.contract import FRAME_SIZE
from torch import Tensor, nn

from export.face.fields import (
    CANVAS,
    EYES,
    PICTURE,
    layer_score,
    pixel_centres,
    refine,
    refinement_kernel,
    sample,
    smooth,
)

MARGIN_X, MARGIN_TOP, MARGIN_BOTTOM = 40, 36, 28
"""Room around the canvas for the head to move, px."""
FEATHER_PX = 8.0
"""The fine fields fade into the coarse ones over so many pixels at the canvas's border."""
GAZE_PX = 1.5
"""An eyeball turned by this much is shown from its own picture; at rest it is the photo's."""
LASH_PX = 1.5
"""A lowered lid's lashes reach so much further down, over the wet rim of the lower lid."""
LID_MOVES_PX = (2.0, 7.0)
"""An upper lid that comes down turns from the photo's into the painted closed one between these distances."""

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
    """The mesh nodes of a field [B, 2, 128, 128] around the window, with a margin of one node."""
    row, column = ROI_Y // canvas.MESH_PITCH - 1, ROI_X // canvas.MESH_PITCH - 1
    rows = slice(row, row + ROI_HEIGHT // canvas.MESH_PITCH + 2)
    return field[:, :, rows, column : column + ROI_WIDTH // canvas.MESH_PITCH + 2]


def finish(picture: Tensor) -> Tensor:
    """Colours [B, 3, H, W] in the frame's order, [B, H, W, 3]."""
    return picture.permute(0, 2, 3, 1)


class Compositor(nn.Module):
    """The frame for a batch."""

    nodes: Tensor
    pixels: Tensor
    eyes_window: Tensor
    feather: Tensor
    left_half: Tensor
    kernel: Tensor
    head_kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        pitch = canvas.MESH_PITCH
        self.register_buffer("nodes", pixel_centres(0, 0, canvas.MESH_GRID, canvas.MESH_GRID, pitch))
        self.register_buffer("pixels", pixel_centres(ROI_X, ROI_Y, ROI_WIDTH, ROI_HEIGHT))
        for name, (left, top, width, height) in REGIONS.items():
            self.register_buffer(name, pixel_centres(left, top, width, height))
        eyes = pixel_centres(canvas.CANVAS_X, canvas.CANVAS_Y, canvas.CANVAS_WIDTH, canvas.EYES_HEIGHT)
        self.register_buffer("eyes_window", eyes)
        inside = pixel_centres(0, 0, canvas.CANVAS_WIDTH, canvas.CANVAS_HEIGHT)
        far = torch.tensor([canvas.CANVAS_WIDTH, canvas.CANVAS_HEIGHT], dtype=torch.float32).reshape(1, 2, 1, 1)
        border = torch.minimum(inside, far - inside).amin(1, keepdim=True)
        self.register_buffer("feather", (border / FEATHER_PX).clamp(0.0, 1.0))  # [1, 1, 256, 192]
        self.register_buffer("left_half", (eyes[:, :1] >= FRAME_SIZE / 2).float())  # the person's left eye
        self.register_buffer("kernel", refinement_kernel(pitch))
        self.register_buffer("head_kernel", refinement_kernel(canvas.HEAD_PITCH // pitch))

    def forward(
        self,
        face_flow: Tensor,
        seam_flow: Tensor,
        head_flow: Tensor,
        affines: Tensor,
        mouth_flow: Tensor,
        texture: Tensor,
        photo: Tensor,
        scores: Tensor,
        eyeballs: Tensor,
        lids: Tensor,
    ) -> Tensor:
        """Inputs as in the contract, each with a leading batch.

        Returns:
            FRAME [B, 512, 512, 3] uint8, RGB.
        """
        photo = photo.float() + 0.5  # to round where bytes are made
        # Coarse: output pixel -> photo pixel on the mesh grid, then to all pixels. The picture's border stands
        # still, so padding with zeros continues both fields.
        factor = canvas.HEAD_PITCH // canvas.MESH_PITCH
        head = refine(F.pad(head_flow, (1, 1, 1, 1)), self.head_kernel, factor)  # [B, 2, 128, 128]
        both = head + sample(face_flow, PICTURE, self.nodes, head)
        middle = self.middle(
            both, head, face_flow, seam_flow, affines, mouth_flow, texture, photo, scores, eyeballs, lids
        )
        both = F.pad(both, (1, 1, 1, 1))
        top, left, right, bottom = (self.shown(photo, both, name) for name in REGIONS)
        # Bytes only at the very end: TensorRT takes them for nothing but inputs and outputs.
        return torch.cat([top, torch.cat([left, middle, right], 2), bottom], 1).to(torch.uint8)

    def shown(self, photo: Tensor, both: Tensor, name: str) -> Tensor:
        """One coarse region as bytes [B, height, width, 3]; `both` [B, 2, 130, 130] has a margin of one node."""
        left, top, width, height = (size // canvas.MESH_PITCH for size in REGIONS[name])
        nodes = both[:, :, top : top + height + 2, left : left + width + 2]
        moved = refine(nodes, self.kernel, canvas.MESH_PITCH)
        return finish(sample(photo, PICTURE, getattr(self, name), moved))

    def middle(
        self,
        both: Tensor,
        head: Tensor,
        face_flow: Tensor,
        seam_flow: Tensor,
        affines: Tensor,
        mouth_flow: Tensor,
        texture: Tensor,
        photo: Tensor,
        scores: Tensor,
        eyeballs: Tensor,
        lids: Tensor,
    ) -> Tensor:
        """The window of fine fields, [B, ROI_HEIGHT, ROI_WIDTH, 3] uint8."""
        # The canvas in canonical space ...
        rows = slice(canvas.CANVAS_Y, canvas.CANVAS_Y + canvas.EYES_HEIGHT)
        columns = slice(canvas.CANVAS_X, canvas.CANVAS_X + canvas.CANVAS_WIDTH)
        eye_flow, eye_texture = self.eyes(
            face_flow, seam_flow, affines, scores, eyeballs.float(), lids.float() - 128.0, photo[:, :, rows, columns]
        )
        flows = torch.cat([eye_flow, mouth_flow], 2)  # [B, 2, 256, 192]
        covering = torch.cat([texture[:, :3], texture[:, 3:4] - texture[:, 4:5]], 1)  # RGB, how much it takes away
        textures = torch.cat([eye_texture, covering], 2)  # [B, 4, 256, 192]
        fine = torch.cat([flows, self.feather + 0.0 * flows[:, :1], textures], 1)
        # ... seen through the head's pose.
        turned, around = (
            refine(roi_nodes(head), self.kernel, canvas.MESH_PITCH).flatten(2),
            refine(roi_nodes(both), self.kernel, canvas.MESH_PITCH).flatten(2),
        )  # [B, 2, N]
        seen = sample(fine, CANVAS, self.pixels, turned, "zeros").flatten(2)  # [B, 7, N]
        motion = around + seen[:, 2:3] * (turned + seen[:, :2] - around)
        picture = sample(photo, PICTURE, self.pixels, motion).flatten(2)  # [B, 3, N]
        picture = picture - picture * seen[:, 6:7] + seen[:, 3:6]
        return finish(picture.clamp(0.0, 255.0).reshape(-1, 3, ROI_HEIGHT, ROI_WIDTH))

    def eyes(
        self,
        face_flow: Tensor,
        seam_flow: Tensor,
        affines: Tensor,
        scores: Tensor,
        eyeballs: Tensor,
        lids: Tensor,
        photo: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Flow [B, 2, 64, 192] of the skin about the eyes and texture [B, 4, 64, 192] of eyeballs and lowered lids.

        `photo` is the eyes' window of the photo, as are `eyeballs` and `lids` of their pictures: [B, 3, 64, 192].
        """
        rows = slice(canvas.SEAM_ROW, canvas.SEAM_ROW + canvas.SEAM_EYE_ROWS + 1)
        columns = slice(canvas.SEAM_COLUMN, canvas.SEAM_COLUMN + canvas.SEAM_COLUMNS)
        below = refine(face_flow[:, :, rows, columns], self.kernel, canvas.MESH_PITCH)  # the lower lid's layer
        above = refine(seam_flow[:, :, : canvas.SEAM_EYE_ROWS + 1], self.kernel, canvas.MESH_PITCH)
        scores = scores.float()
        a = layer_score(scores, 0, self.eyes_window, below) + canvas.LOWER_LID_RIM
        begins, ends = LID_MOVES_PX
        lowered = smooth((-above[:, 1:] - begins) * (1.0 / (ends - begins)))
        b = layer_score(scores, 1, self.eyes_window, above) + canvas.UPPER_LID_RIM + LASH_PX * lowered
        overlap = torch.relu(a + b)  # the upper lid lies over the lower one, lashes and all
        overlap = overlap * (overlap < canvas.SCORE_LIMIT).float()
        belongs = ((a - b - overlap - overlap.clamp(max=1.0)) * 0.5 + 0.5).clamp(0.0, 1.0)
        flat = above.flatten(2) + belongs.flatten(2) * (below.flatten(2) - above.flatten(2))
        flow = flat.reshape(-1, 2, canvas.EYES_HEIGHT, canvas.CANVAS_WIDTH)
        alpha = (0.5 - torch.maximum(a, b)).clamp(0.0, 1.0)

        m = affines[:, 3:5, :, :, None, None]  # [B, eye, 2, 3, 1, 1]
        shift = m[:, 0, :, 2] + self.left_half * (m[:, 1, :, 2] - m[:, 0, :, 2])  # [B, 2, 64, 192]
        ball = sample(eyeballs, EYES, self.eyes_window, shift)
        ball = ball * (0.70 + 0.30 * smooth(-b * 0.2)) * (0.85 + 0.15 * smooth(-a * 0.3))  # the lids' shadow
        turned = smooth(shift.abs().amax(1, keepdim=True) * (1.0 / GAZE_PX))
        ball = photo + turned * (ball - photo)

        lid_shows = lowered + belongs * (turned - lowered)  # the upper lid comes down, or the iris leaves the lower one
        lid = sample(lids, EYES, self.eyes_window, flow, "zeros")
        colour = alpha * ball + (1.0 - alpha) * lid_shows * lid
        return flow, torch.cat([colour, alpha], 1)
