"""The eyes' window of the canvas: lids that close over eyeballs that turn.

Upper and lower lid are two layers of the photo, as the lips are (see mouth_window). Between them lies the eyeball, from
a picture of its own; over them the skin of the lid that the portrait hides. Both come in only as far as something has
moved, so that eyes at rest are the photo's own and their texture is zero.
"""

from __future__ import annotations

import torch
from facestream.avatar import layers_canvas as canvas
from facestream.contract import FRAME_SIZE
from torch import Tensor, nn

from export.face.canvas_layers import Layers
from export.face.fields import EYES, FineGrid, pixel_centres, sample, sample_at, smooth

GAZE_PX = 1.5
"""An eyeball turned by this much is shown from its own picture; at rest it is the photo's."""
LASH_PX = 0.5
"""A lowered lid's lashes reach so much further down, over the wet rim of the lower lid."""
RIM_HIDDEN_PX = 2.0
"""A lowered upper lid covers so much of the lower lid's wet rim, with the rest of the iris that the photo has there."""
NARROW_PX = 6.0
"""Between lids nearer than this the eyeball lies in the shadow of the lashes."""
NARROW_LIGHT = 0.35
LID_MOVES_PX = (2.0, 7.0)
"""An upper lid that comes down turns from the photo's into the painted closed one between these distances ..."""
LID_EDGE_PX = 2.0
"""... of its edge where that comes down most, which lies no further from the seam: the corners hardly move, and would
keep the open eye's lashes."""
STIRRED_PX = 0.5
"""The eyeball is held in its place, while the lids' motion passes over it, from this much of motion on."""


class EyesWindow(nn.Module):
    """The eyes' window for a batch."""

    window: Tensor
    left_half: Tensor

    def __init__(self) -> None:
        super().__init__()
        place = (canvas.CANVAS_X, canvas.CANVAS_Y, canvas.CANVAS_WIDTH, canvas.EYES_HEIGHT)
        window = pixel_centres(*place)
        self.register_buffer("window", window)
        self.register_buffer("left_half", (window[:, :1] >= FRAME_SIZE / 2).float())  # the person's left eye
        self.grid = FineGrid(EYES, *place, canvas.MESH_PITCH)

    def forward(
        self,
        layers: Layers,
        face_flow: Tensor,
        seam_flow: Tensor,
        affines: Tensor,
        photo: Tensor,
        eyeballs: Tensor,
        lids: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The eyes' rows of the canvas's layers, and inputs as in the contract; `photo` is [B, 3, 512, 512] float.

        Returns:
            Flow [B, 2, 64, 192]: displacement (backward, px) of the skin about the eyes.
            Texture [B, 4, 64, 192]: RGB to add (0..255, premultiplied) and cover, of eyeballs and lowered lids.
        """
        rows = slice(canvas.CANVAS_Y, canvas.CANVAS_Y + canvas.EYES_HEIGHT)
        columns = slice(canvas.CANVAS_X, canvas.CANVAS_X + canvas.CANVAS_WIDTH)
        photo = photo[:, :, rows, columns]
        below, above = layers.flow0, layers.flow1
        begins, ends = LID_MOVES_PX
        lowered = smooth((-above[:, 1:] - begins) * (1.0 / (ends - begins)))
        edge = -above[:, 1:] * (LID_EDGE_PX - layers.score1.abs()).clamp(0.0, 1.0)
        half = canvas.CANVAS_WIDTH // 2
        right, left = (part.amax((2, 3), keepdim=True) for part in (edge[..., :half], edge[..., half:]))
        shut = smooth((right + self.left_half * (left - right) - begins) * (1.0 / (ends - begins)))
        a = layers.score0 + canvas.LOWER_LID_RIM - RIM_HIDDEN_PX * lowered
        b = layers.score1 + canvas.UPPER_LID_RIM + LASH_PX * lowered
        overlap = torch.relu(a + b)  # the upper lid lies over the lower one, lashes and all
        overlap = overlap * (overlap < canvas.SCORE_LIMIT).float()
        belongs = ((a - b - overlap - overlap.clamp(max=1.0)) * 0.5 + 0.5).clamp(0.0, 1.0)
        # One layer's motion or the other's: their mean would lead into the eye, and show specks of it in the lashes.
        chosen = (belongs > 0.5).float()
        flat = above.flatten(2) + chosen.flatten(2) * (below.flatten(2) - above.flatten(2))
        flow = flat.reshape(-1, 2, canvas.EYES_HEIGHT, canvas.CANVAS_WIDTH)
        opening = (0.5 - torch.maximum(a, b)).clamp(0.0, 1.0)

        m = affines[:, 3:5, :, :, None, None]  # [B, eye, 2, 3, 1, 1]
        shift = m[:, 0, :, 2] + self.left_half * (m[:, 1, :, 2] - m[:, 0, :, 2])  # [B, 2, 64, 192]
        ball = sample(eyeballs.float(), EYES, self.window, shift)
        ball = ball * (0.70 + 0.30 * smooth(-b * 0.2)) * (0.85 + 0.15 * smooth(-a * 0.3))  # the lids' shadow
        gaze = shift.abs().amax(1, keepdim=True)
        turned = smooth(gaze * (1.0 / GAZE_PX))
        ball = photo + turned * (ball - photo)
        narrow = smooth(-(a + b) * (1.0 / NARROW_PX))
        ball = ball * (1.0 - (1.0 - NARROW_LIGHT) * lowered * (1.0 - narrow))
        motion = torch.maximum(gaze, flow.abs().amax(1, keepdim=True))
        alpha = opening * smooth(motion * (1.0 / STIRRED_PX))

        both = torch.cat([photo, lids.float() - 128.0], 1)
        rows = slice(canvas.SEAM_ROW, canvas.SEAM_ROW + canvas.SEAM_EYE_ROWS + 1)
        columns = slice(canvas.SEAM_COLUMN, canvas.SEAM_COLUMN + canvas.SEAM_COLUMNS)
        of_below = sample_at(both, self.grid(face_flow[:, :, rows, columns]))
        of_above = sample_at(both, self.grid(seam_flow[:, :, : canvas.SEAM_EYE_ROWS + 1]))
        # The upper lid's skin comes down with it; the lower lid's rim loses the iris that turns away.
        lid_below, lid_above = turned * of_below[:, 3:], shut * of_above[:, 3:]
        lid = lid_above + belongs * (lid_below - lid_above)
        seam = (belongs - chosen) * (of_below[:, :3] - of_above[:, :3])  # smooths the step from layer to layer
        colour = alpha * ball + (1.0 - opening) * (lid + seam)
        return flow, torch.cat([colour, alpha], 1)
