"""compositor: the frame. All fields are composed first, so the photo is sampled once, at full sharpness.

    output pixel --head flow--> canonical pixel --face flow, or mouth/eye window--> photo pixel

Coarsely (mesh grid) over the whole picture, finely inside of one window that holds the canvas of eyes and mouth and some
room for the head to move. Only where the mouth or an eyeball is seen a colour of its own is laid over the photo.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.face.face_geometry import node_centres, sample
from export.face.renderer import canvas_grid, layer_score, pixel_centres, refine, smooth
from facestream.avatar import layers_canvas as canvas
from facestream.contract import FRAME_SIZE

MARGIN_X, MARGIN_TOP, MARGIN_BOTTOM = 40, 36, 28
"""Room around the canvas for the head to move, px."""
FEATHER_PX = 8.0
"""The fine fields fade into the coarse ones over so many pixels at the canvas's border."""
GAZE_PX = 1.5
"""An eyeball turned by this much is shown from its own picture; at rest it is the photo's."""
LID_MOVES_PX = (2.0, 7.0)
"""An upper lid that comes down turns from the photo's into the painted closed one between these distances."""

ROI_X, ROI_Y = canvas.CANVAS_X - MARGIN_X, canvas.CANVAS_Y - MARGIN_TOP
ROI_WIDTH = canvas.CANVAS_WIDTH + 2 * MARGIN_X
ROI_HEIGHT = canvas.CANVAS_HEIGHT + MARGIN_TOP + MARGIN_BOTTOM


def roi(picture: Tensor) -> Tensor:
    """The window [B, C, ROI_HEIGHT, ROI_WIDTH] of a picture [B, C, 512, 512]."""
    return picture[:, :, ROI_Y : ROI_Y + ROI_HEIGHT, ROI_X : ROI_X + ROI_WIDTH]


def paste(picture: Tensor, inside: Tensor) -> Tensor:
    """`picture` with its window replaced."""
    bottom, right = ROI_Y + ROI_HEIGHT, ROI_X + ROI_WIDTH
    middle = picture[:, :, ROI_Y:bottom]
    middle = torch.cat([middle[..., :ROI_X], inside, middle[..., right:]], 3)
    return torch.cat([picture[:, :, :ROI_Y], middle, picture[:, :, bottom:]], 2)


class Compositor(nn.Module):
    """The frame for a batch."""

    nodes: Tensor
    pixels: Tensor
    eyes_window: Tensor
    feather: Tensor
    left_half: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("nodes", node_centres(canvas.MESH_GRID, canvas.MESH_PITCH))
        self.register_buffer("pixels", pixel_centres(0, 0, FRAME_SIZE, FRAME_SIZE))
        eyes = pixel_centres(canvas.CANVAS_X, canvas.CANVAS_Y, canvas.CANVAS_WIDTH, canvas.EYES_HEIGHT)
        self.register_buffer("eyes_window", eyes)
        inside = pixel_centres(0, 0, canvas.CANVAS_WIDTH, canvas.CANVAS_HEIGHT)
        far = torch.tensor([canvas.CANVAS_WIDTH, canvas.CANVAS_HEIGHT], dtype=torch.float32).reshape(1, 2, 1, 1)
        border = torch.minimum(inside, far - inside).amin(1, keepdim=True)
        self.register_buffer("feather", (border / FEATHER_PX).clamp(0.0, 1.0))  # [1, 1, 256, 192]
        self.register_buffer("left_half", (eyes[:, :1] >= FRAME_SIZE / 2).float())  # the person's left eye

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
        # Coarse: output pixel -> photo pixel on the mesh grid, then to all pixels.
        head = F.interpolate(head_flow, scale_factor=2.0, mode="bilinear", align_corners=False)  # [B, 2, 128, 128]
        both = head + sample(face_flow, head, self.nodes)
        coarse = F.interpolate(both, scale_factor=float(canvas.MESH_PITCH), mode="bilinear", align_corners=False)

        photo = photo.float()
        eye_rows = slice(canvas.CANVAS_Y, canvas.CANVAS_Y + canvas.EYES_HEIGHT)
        eye_photo = photo[:, :, eye_rows, canvas.CANVAS_X : canvas.CANVAS_X + canvas.CANVAS_WIDTH]

        # Fine: the canvas in canonical space, then seen through the head's pose.
        eye_flow, eye_texture = self.eyes(
            face_flow, seam_flow, affines, scores, eyeballs.float(), lids.float() - 128.0, eye_photo
        )
        flows = torch.cat([eye_flow, mouth_flow.float()], 2)  # [B, 2, 256, 192]
        textures = torch.cat([eye_texture, texture.float()], 2)  # [B, 5, 256, 192]
        fine = torch.cat([self.feather * flows, self.feather + 0.0 * flows[:, :1], textures], 1)
        first_row, first_column = ROI_Y // canvas.MESH_PITCH - 1, ROI_X // canvas.MESH_PITCH - 1
        turned = refine(
            head[
                :,
                :,
                first_row : first_row + ROI_HEIGHT // canvas.MESH_PITCH + 2,
                first_column : first_column + ROI_WIDTH // canvas.MESH_PITCH + 2,
            ]
        )
        seen = F.grid_sample(
            fine, canvas_grid(roi(self.pixels) + turned), padding_mode="zeros", align_corners=False
        )  # [B, 8, ROI_HEIGHT, ROI_WIDTH]
        weight = seen[:, 2:3]
        around = roi(coarse)
        motion = paste(coarse, around + weight * (turned - around) + seen[:, :2])

        picture = sample(photo, motion, self.pixels)  # [B, 3, 512, 512]
        picture = paste(picture, roi(picture) * (1.0 - seen[:, 6:7] + seen[:, 7:8]) + seen[:, 3:6])
        return (picture.clamp(0.0, 255.0) + 0.5).permute(0, 2, 3, 1).to(torch.uint8)

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
        """Flow [B, 2, 64, 192] of the skin about the eyes and texture [B, 5, 64, 192] of eyeballs and lowered lids.

        `photo` is the eyes' window of the photo, as are `eyeballs` and `lids` of their pictures: [B, 3, 64, 192].
        """
        rows = slice(canvas.SEAM_ROW, canvas.SEAM_ROW + canvas.SEAM_EYE_ROWS + 1)
        columns = slice(canvas.SEAM_COLUMN, canvas.SEAM_COLUMN + canvas.SEAM_COLUMNS)
        below = refine(face_flow[:, :, rows, columns])  # the lower lid's layer
        above = refine(seam_flow[:, :, : canvas.SEAM_EYE_ROWS + 1])
        scores = scores.float()
        a = layer_score(scores, 0, self.eyes_window + below) + canvas.LOWER_LID_RIM
        b = layer_score(scores, 1, self.eyes_window + above) + canvas.UPPER_LID_RIM
        belongs = ((a - b) * 0.5 + 0.5).clamp(0.0, 1.0)
        flow = above + belongs * (below - above)
        alpha = (0.5 - torch.maximum(a, b)).clamp(0.0, 1.0)

        m = affines[:, 3:5, :, :, None, None]  # [B, eye, 2, 3, 1, 1]
        shift = m[:, 0, :, 2] + self.left_half * (m[:, 1, :, 2] - m[:, 0, :, 2])  # [B, 2, 64, 192]
        ball = F.grid_sample(eyeballs, eyes_grid(self.eyes_window + shift), padding_mode="border", align_corners=False)
        ball = ball * (0.70 + 0.30 * smooth(-b * 0.2))  # the upper lid's shadow
        turned = smooth(shift.abs().amax(1, keepdim=True) * (1.0 / GAZE_PX))
        ball = photo + turned * (ball - photo)

        begins, ends = LID_MOVES_PX
        lowered = smooth((-above[:, 1:] - begins) * (1.0 / (ends - begins))) * (1.0 - belongs)
        lid = F.grid_sample(lids, eyes_grid(self.eyes_window + flow), padding_mode="zeros", align_corners=False)
        colour = alpha * ball + (1.0 - alpha) * lowered * lid
        return flow, torch.cat([colour, alpha, 0.0 * alpha], 1)


def eyes_grid(positions: Tensor) -> Tensor:
    """Sampling grid [B, H, W, 2] into a picture of the eyes' window, from pixel positions [B, 2, H, W]."""
    x = (positions[:, :1] - canvas.CANVAS_X) * (2.0 / canvas.CANVAS_WIDTH) - 1.0
    y = (positions[:, 1:] - canvas.CANVAS_Y) * (2.0 / canvas.EYES_HEIGHT) - 1.0
    return torch.cat([x, y], 1).permute(0, 2, 3, 1)
