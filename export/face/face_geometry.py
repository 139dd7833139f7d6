"""face_geometry: from the 73 face parameters to the fields that say where each pixel of a layer comes from.

Expression and head pose are kept apart. The expression moves the canonical picture (the portrait's own view):
vertices move by the shared linear basis, mesh nodes follow their vertices, and the forward motion is inverted by
Newton's method, since a picture is drawn by asking each pixel where it comes from. The mouth and the eyes open along
seams, so there are two layers, each extended smoothly across its seam: layer 0 carries the upper lip and the lower lid,
layer 1 the lower lip and the upper lid. The head pose then moves the picture as a relief, by a depth map.

All displacements are in pixels, never absolute coordinates: these would not survive half precision.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from facestream.avatar import layers_canvas as canvas
from facestream.avatar.face_model import FaceModel
from facestream.contract import FRAME_SIZE
from facestream.parameters import ARKIT
from torch import Tensor, nn

from export.face.fields import (
    PICTURE,
    FineGrid,
    Window,
    constant,
    parameter,
    pixel_centres,
    sample_inside,
)

NEWTON_STEPS = 3
HEAD_STEPS = 6
SMOOTHING = 0.4
"""Share of the 3x3 mean in the forward motion: the seams of the mesh are finer than the grid."""
MINIMUM_DETERMINANT = 0.15
"""Keeps Newton's method stable where the skin folds."""
REACH_NODES = 16
"""So far around the canvas's nodes, 64 px, the motion of layer 1 is known: a chin moves by less."""
TEETH_BEHIND_LIPS_CM = 0.9
TONGUE_FOLLOWS_JAW = 0.8
TONGUE_LIFT_CM = 0.45

AFFINES = ("upper_teeth", "lower_teeth", "tongue", "right_eye", "left_eye")
"""Rows of AFFINES. The first three map canonical px to the model's cm (y upwards), the eyes map px to px."""

SURROUNDINGS = Window(
    (canvas.SEAM_COLUMN - REACH_NODES) * canvas.MESH_PITCH,
    (canvas.SEAM_ROW - REACH_NODES) * canvas.MESH_PITCH,
    (canvas.SEAM_COLUMNS + 2 * REACH_NODES) * canvas.MESH_PITCH,
    (canvas.SEAM_ROWS + 2 * REACH_NODES) * canvas.MESH_PITCH,
)
"""The part of the picture in which the motion of layer 1 is known."""


def motion_kernel() -> Tensor:
    """Weights [6, 2, 5, 5]: the smoothed motion (x, y), then its slopes dx/dx, dx/dy, dy/dx, dy/dy per pixel."""
    smoothing = SMOOTHING / 9.0 * np.ones((3, 3))
    smoothing[1, 1] += 1.0 - SMOOTHING
    slope = np.array([-1.0, 0.0, 1.0]) / (2.0 * canvas.MESH_PITCH)
    kernel = np.zeros((6, 2, 5, 5))
    for axis in (0, 1):
        kernel[axis, axis, 1:4, 1:4] = smoothing
        for k in range(3):
            kernel[2 + 2 * axis, axis, 1:4, k : k + 3] += slope[k] * smoothing
            kernel[3 + 2 * axis, axis, k : k + 3, 1:4] += slope[k] * smoothing
    return torch.from_numpy(kernel).float()


class FaceGeometry(nn.Module):
    """Fields of the face for a batch of parameters and avatars."""

    basis: Tensor
    kernel: Tensor
    head_nodes: Tensor

    def __init__(self, model: FaceModel) -> None:
        super().__init__()
        shapes = np.einsum("pe,evk->pvk", model.arkit_matrix(), model.expression)  # [52, V, 3]
        teeth = model.part_vertices("teeth_lower")
        incisors = teeth[(np.abs(model.neutral[teeth, 0]) < 0.8) & (model.neutral[teeth, 2] > 9.6)]
        jaw = shapes[:, incisors].mean(1, keepdims=True)  # [52, 1, 3], rides behind the vertices
        rows = np.concatenate([shapes, jaw], 1)
        self.vertices = rows.shape[1]
        # A convolution of one pixel: a single-precision matrix product does not build for compute capability 7.5.
        weight = torch.from_numpy(rows.transpose(2, 1, 0).reshape(-1, len(ARKIT)).copy()).float()
        self.register_buffer("basis", weight[:, :, None, None])  # [3 * (V + 1), 52, 1, 1]
        self.register_buffer("kernel", motion_kernel())
        pitch = canvas.MESH_PITCH
        self.grid = FineGrid(PICTURE, 0, 0, canvas.MESH_GRID, canvas.MESH_GRID, 1, pitch)
        left, top = canvas.SEAM_COLUMN * pitch, canvas.SEAM_ROW * pitch
        self.canvas_grid = FineGrid(SURROUNDINGS, left, top, canvas.SEAM_COLUMNS, canvas.SEAM_ROWS, 1, pitch)
        self.head_grid = FineGrid(PICTURE, 0, 0, canvas.HEAD_GRID, canvas.HEAD_GRID, 1, canvas.HEAD_PITCH)
        self.register_buffer("head_nodes", pixel_centres(0, 0, canvas.HEAD_GRID, canvas.HEAD_GRID, canvas.HEAD_PITCH))

    def forward(
        self,
        parameters: Tensor,
        mesh_index: Tensor,
        mesh_weight: Tensor,
        seam_index: Tensor,
        seam_weight: Tensor,
        seam_blend: Tensor,
        head: Tensor,
        constants: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Inputs as in the contract, each with a leading batch.

        Returns:
            FACE_FLOW [B, 2, 128, 128]: backward motion (px) of layer 0 on the mesh grid.
            SEAM_FLOW [B, 2, 66, 50]: the same of layer 1 on the nodes around the canvas.
            HEAD_FLOW [B, 2, 64, 64]: backward motion (px) of the head pose.
            AFFINES [B, 5, 2, 3]: see the constant AFFINES.
        """
        moved = self.vertex_motion(parameters, constants)  # [B, 2, V + 1] px
        field = follow(moved, mesh_index.flatten(2), mesh_weight.flatten(2))  # [B, 2, 128 * 128]
        field = field.reshape(-1, 2, canvas.MESH_GRID, canvas.MESH_GRID)
        columns = follow(moved, seam_index.transpose(1, 2).flatten(2), seam_weight.transpose(1, 2).flatten(2))
        columns = columns.reshape(-1, 2, len(canvas.SEAMS), 1, canvas.SEAM_COLUMNS)
        upper, lower = self.extend(field, columns, seam_blend.float())
        # Motion is zero along the picture's border, so zeros continue it.
        face_flow = self.invert(F.pad(upper, (2, 2, 2, 2)), self.grid)
        seam_flow = self.invert(lower, self.canvas_grid)
        head_flow = self.head_flow(parameters, head.float(), constants)
        return face_flow, seam_flow, head_flow, self.affines(parameters, moved[:, :, -1], constants)

    def vertex_motion(self, parameters: Tensor, constants: Tensor) -> Tensor:
        """Motion [B, 2, V + 1] (px) of each vertex and of the lower incisors."""
        weights = parameters[:, : len(ARKIT)].clamp(0.0, 1.0) * constant(constants, "gain")
        moved = F.conv2d(weights[:, :, None, None], self.basis).reshape(-1, 3, self.vertices)  # cm
        projection = constant(constants, "projection")[:, :, None]
        rows = [sum(projection[:, 3 * k + i : 3 * k + i + 1] * moved[:, i : i + 1] for i in range(3)) for k in (0, 1)]
        return torch.cat(rows, 1)  # type: ignore[arg-type]

    def extend(self, field: Tensor, columns: Tensor, blend: Tensor) -> tuple[Tensor, Tensor]:
        """Both layers: `field`, but following its own seams inside of the canvas.

        The first on the whole mesh [B, 2, 128, 128], the second around the canvas, with a margin of two nodes for the
        kernel [B, 2, 102, 86].
        """
        here = window(field)  # [B, 2, 66, 50]
        eye_rows = canvas.SEAM_EYE_ROWS
        followed = []
        for layer, (lip, lid) in enumerate(((0, 2), (1, 3))):
            eyes = blend[:, layer : layer + 1, :eye_rows] * (columns[:, :, lid] - here[:, :, :eye_rows])
            mouth = blend[:, layer : layer + 1, eye_rows:] * (columns[:, :, lip] - here[:, :, eye_rows:])
            followed.append(torch.cat([eyes, mouth], 2))
        around = REACH_NODES + 2
        near = window(field, around) + F.pad(followed[1], (around, around, around, around))
        return field + at_window(followed[0]), near

    def invert(self, motion: Tensor, grid: FineGrid) -> Tensor:
        """Backward motion (px) [B, 2, n, m] at a grid's nodes; it samples what lies inside of `motion`'s margin.

        That is: for each node find u with u + motion(node + u) = 0.

        Args:
            motion: [B, 2, N + 4, M + 4].
            grid: of n rows and m columns in the middle of the N rows and M columns.
        """
        both = F.conv2d(motion, self.kernel)  # [B, 6, N, M]
        rows, columns = both.shape[2:]
        flat = both.flatten(2)
        motion, a, b, c, d = flat[:, :2], flat[:, 2:3] + 1.0, flat[:, 3:4], flat[:, 4:5], flat[:, 5:6] + 1.0
        inverse = 1.0 / (a * d - b * c).clamp(min=MINIMUM_DETERMINANT)
        packed = torch.cat([motion, d * inverse, -b * inverse, -c * inverse, a * inverse], 1)
        packed = packed.reshape(-1, 6, rows, columns)
        n, m = grid.rows.shape[1], grid.columns.shape[2]
        top, left = (rows - n) // 2, (columns - m) // 2
        found = -packed[:, :2, top : top + n, left : left + m]
        for _ in range(NEWTON_STEPS):
            t = sample_inside(packed, grid(found)).flatten(2)
            rest = found.flatten(2) + t[:, :2]
            step = t[:, 2:5:2] * rest[:, :1] + t[:, 3:6:2] * rest[:, 1:]
            found = (found.flatten(2) - step).reshape(-1, 2, n, m)
        return found

    def head_flow(self, parameters: Tensor, head: Tensor, constants: Tensor) -> Tensor:
        """Backward motion [B, 2, 64, 64] (px) of the relief `head` turned and moved by the head parameters."""

        def wide(value: Tensor) -> Tensor:
            return value[:, :, None, None]

        depth, follows = head[:, :1], head[:, 1:]
        pivot = constant(constants, "pivot")
        yaw, pitch, roll = (wide(parameter(parameters, f"head{axis}")) for axis in ("Yaw", "Pitch", "Roll"))
        x = self.head_nodes[:, :1] - wide(pivot[:, 0:1])
        y = self.head_nodes[:, 1:] - wide(pivot[:, 1:2])
        turned_x = torch.cos(yaw) * x + torch.sin(yaw) * depth  # the nose goes to the right of the picture
        turned_z = torch.cos(yaw) * depth - torch.sin(yaw) * x
        turned_y = torch.cos(pitch) * y + torch.sin(pitch) * turned_z
        near = 1.0 + wide(parameter(parameters, "headZ"))
        new_x = near * (torch.cos(roll) * turned_x - torch.sin(roll) * turned_y)
        new_y = near * (torch.sin(roll) * turned_x + torch.cos(roll) * turned_y)
        moved_x = new_x - x + FRAME_SIZE * wide(parameter(parameters, "headX"))
        moved_y = new_y - y + FRAME_SIZE * wide(parameter(parameters, "headY"))
        motion = follows * torch.cat([moved_x, moved_y], 1)
        found = -motion
        for _ in range(HEAD_STEPS):
            found = -sample_inside(motion, self.head_grid(found))
        return found

    def affines(self, parameters: Tensor, jaw: Tensor, constants: Tensor) -> Tensor:
        """AFFINES [B, 5, 2, 3]; `jaw` [B, 2] is the motion of the lower incisors, px."""
        teeth = constant(constants, "teeth")
        origin, scale = teeth[:, 0:2], teeth[:, 2:4]
        px_per_cm = constant(constants, "scale")
        turn = torch.cat([parameter(parameters, "headYaw"), parameter(parameters, "headPitch")], 1)
        # The teeth lie behind the lips, so a turning head leaves them behind.
        behind = -TEETH_BEHIND_LIPS_CM * px_per_cm * turn
        # A tongue put out is raised from the floor of the mouth first.
        lifted = torch.cat([0.0 * px_per_cm, -TONGUE_LIFT_CM * px_per_cm * parameter(parameters, "tongueOut")], 1)
        rows = []
        for own in (0.0 * jaw, jaw, TONGUE_FOLLOWS_JAW * jaw + lifted):
            shifted = origin + behind + own
            rows.append(axis_aligned(scale, -scale * shifted))
        radius = constant(constants, "eye_radius")
        for side in ("Right", "Left"):
            gaze = torch.cat([parameter(parameters, f"gaze{axis}{side}") for axis in ("Yaw", "Pitch")], 1)
            rows.append(axis_aligned(torch.ones_like(gaze), -radius * torch.sin(gaze)))
        return torch.stack(rows, 1)


def follow(moved: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Motion of points that hang on K vertices each.

    Args:
        moved: [B, 2, V].
        index: [B, K, N] vertices of each point.
        weight: [B, K, N].

    Returns:
        [B, 2, N].
    """
    batch = torch.arange(moved.shape[0], dtype=torch.int32, device=moved.device)[:, None]
    rows = (index.flatten(1) + batch * moved.shape[2]).reshape(-1)  # rows of the batch's avatars, one after the other
    weight = weight.float()
    axes = []
    for axis in (0, 1):
        taken = moved[:, axis].reshape(-1).index_select(0, rows).reshape(-1, weight.shape[1], weight.shape[2])
        # Added one by one: a sum over an axis adds up in another order in a batch, and a session's picture with it.
        parts = torch.split(taken * weight, 1, 1)
        axes.append(sum(parts[1:], parts[0]))
    return torch.cat(axes, 1)


def axis_aligned(scale: Tensor, shift: Tensor) -> Tensor:
    """[B, 2, 3] rows of x' = scale * x + shift for both axes; scale and shift [B, 2]."""
    zero = torch.zeros_like(scale[:, :1])
    x = torch.cat([scale[:, :1], zero, shift[:, :1]], 1)
    y = torch.cat([zero, scale[:, 1:], shift[:, 1:]], 1)
    return torch.stack([x, y], 1)


def window(field: Tensor, around: int = 0) -> Tensor:
    """The nodes [..., 66, 50] of a field [..., 128, 128] that lie around the canvas, or some more around these."""
    rows = slice(canvas.SEAM_ROW - around, canvas.SEAM_ROW + canvas.SEAM_ROWS + around)
    return field[..., rows, canvas.SEAM_COLUMN - around : canvas.SEAM_COLUMN + canvas.SEAM_COLUMNS + around]


def at_window(field: Tensor) -> Tensor:
    """The reverse of `window`: [B, C, 66, 50] in a field of zeros [B, C, 128, 128]."""
    left, top = canvas.SEAM_COLUMN, canvas.SEAM_ROW
    right = canvas.MESH_GRID - left - canvas.SEAM_COLUMNS
    return F.pad(field, (left, right, top, canvas.MESH_GRID - top - canvas.SEAM_ROWS))
