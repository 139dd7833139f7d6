"""renderer: the canvas of eyes and mouth. Which skin is shown where, and what is seen that the portrait hides.

Of the skin only the motion is put out, and of the colours only what differs from the moved photo, so that the
compositor samples the photo once and the picture stays sharp:

    shown = photo(x + CANVAS_FLOW) * (1 - cover) + RGB,    CANVAS_TEXTURE = RGB, cover

Eyes and mouth are drawn by geometry first (`Renderer.rough`); a learned network then refines their texture. A face at
rest has neither motion nor texture.
"""

from __future__ import annotations

import torch
from facestream.avatar import layers_canvas as canvas
from torch import Tensor, nn

from export.face.canvas_layers import EYES, MOUTH, CanvasLayers
from export.face.eyes_window import EyesWindow
from export.face.mouth_window import MouthWindow


class Renderer(nn.Module):
    """The canvas for a batch."""

    def __init__(self, refiner: nn.Module | None = None) -> None:
        """`refiner` maps (PARAMETERS, CANVAS_FLOW, CANVAS_TEXTURE, AVATAR_PHOTO, AVATAR_CONSTANTS, AVATAR_ADAPTER) to a
        better CANVAS_TEXTURE; without one the texture stays that of the geometry.
        """
        super().__init__()
        self.layers = CanvasLayers()
        self.eyes = EyesWindow()
        self.mouth = MouthWindow()
        self.refiner = refiner

    def forward(
        self,
        parameters: Tensor,
        face_flow: Tensor,
        seam_flow: Tensor,
        affines: Tensor,
        photo: Tensor,
        scores: Tensor,
        lips: Tensor,
        eyeballs: Tensor,
        lids: Tensor,
        constants: Tensor,
        adapter: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Inputs as in the contract, each with a leading batch.

        Returns:
            CANVAS_FLOW [B, 2, 256, 192]: displacement (backward, px) from each pixel of the canvas to the photo's pixel
            that it shows.
            CANVAS_TEXTURE [B, 4, 256, 192]: RGB to add (levels, premultiplied) and cover, how much of the photo it
            takes away (0..1).
        """
        photo = photo.float()
        flow, texture = self.rough(
            parameters, face_flow, seam_flow, affines, photo, scores, lips, eyeballs, lids, constants
        )
        if self.refiner is not None:
            texture = self.refiner(parameters, flow, texture, photo, constants, adapter)
        return flow, texture

    def rough(
        self,
        parameters: Tensor,
        face_flow: Tensor,
        seam_flow: Tensor,
        affines: Tensor,
        photo: Tensor,
        scores: Tensor,
        lips: Tensor,
        eyeballs: Tensor,
        lids: Tensor,
        constants: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """CANVAS_FLOW and CANVAS_TEXTURE by geometry alone, before any network; `photo` is float."""
        layers = self.layers(face_flow, seam_flow, scores)
        eyes_flow, eyes_texture = self.eyes(layers.rows(EYES), face_flow, seam_flow, affines, photo, eyeballs, lids)
        mouth_flow, mouth_texture = self.mouth(
            layers.rows(MOUTH), parameters, face_flow, seam_flow, affines, photo, lips, constants
        )
        return torch.cat([eyes_flow, mouth_flow], 2), torch.cat([eyes_texture, mouth_texture], 2)


assert canvas.EYES_HEIGHT + canvas.MOUTH_SIZE == canvas.CANVAS_HEIGHT
