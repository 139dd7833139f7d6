"""The two layers of skin on the canvas: where each comes from, and on which side of its seam each pixel lies.

Layer 0 carries the upper lip and the lower lid, layer 1 the lower lip and the upper lid (see face_geometry). The signed
distances to the seams ride on the layers' motion.
"""

from __future__ import annotations

from typing import NamedTuple

from facestream.avatar import layers_canvas as canvas
from torch import Tensor, nn

from export.face.fields import CANVAS, FineGrid, refine, refinement_kernel, sample_at

EYES = slice(0, canvas.EYES_HEIGHT)
"""Rows of the canvas that belong to the eyes ..."""
MOUTH = slice(canvas.EYES_HEIGHT, canvas.CANVAS_HEIGHT)
"""... and to the mouth."""


class Layers(NamedTuple):
    """Both layers on the canvas, or on some of its rows, h."""

    flow0: Tensor
    """[B, 2, h, 192]: backward motion, px, of layer 0."""
    flow1: Tensor
    """The same of layer 1."""
    score0: Tensor
    """[B, 1, h, 192]: signed distance to the seam of layer 0, px; positive on its own skin."""
    score1: Tensor
    """The same of layer 1."""

    def rows(self, rows: slice) -> Layers:
        """Some rows of the canvas."""
        return Layers(*(tensor[:, :, rows] for tensor in self))


class CanvasLayers(nn.Module):
    """Both layers for a batch."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", refinement_kernel(canvas.MESH_PITCH))
        place = (canvas.CANVAS_X, canvas.CANVAS_Y, canvas.CANVAS_WIDTH, canvas.CANVAS_HEIGHT)
        self.grid = FineGrid(CANVAS, *place, canvas.MESH_PITCH)

    def forward(self, face_flow: Tensor, seam_flow: Tensor, scores: Tensor) -> Layers:
        """FACE_FLOW, SEAM_FLOW and AVATAR_SCORES of a batch."""
        rows = slice(canvas.SEAM_ROW, canvas.SEAM_ROW + canvas.SEAM_ROWS)
        columns = slice(canvas.SEAM_COLUMN, canvas.SEAM_COLUMN + canvas.SEAM_COLUMNS)
        scores = scores.float()
        flows, distances = [], []
        for layer, nodes in enumerate((face_flow[:, :, rows, columns], seam_flow)):
            flows.append(refine(nodes, self.kernel, canvas.MESH_PITCH))
            distances.append(sample_at(scores[:, layer : layer + 1], self.grid(nodes)))
        return Layers(*flows, *distances)
