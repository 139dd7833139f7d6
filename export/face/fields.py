"""What the face graphs share: fields of motion, how to sample them and how to make them finer.

A field is [B, 2, h, w], x and y in pixels. Two habits keep these graphs fast on a CPU, where copying costs more than
arithmetic: positions are brought into the order of a sampling grid through a flat tensor (else the inference engine
turns whole chains of operations to channels-last, which is slow for two channels), and a field is refined by one small
convolution, the phases of bilinear interpolation being its channels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from facestream.avatar import layers_canvas as canvas
from facestream.contract import FRAME_SIZE
from facestream.parameters import INDEX
from torch import Tensor


def constant(constants: Tensor, name: str) -> Tensor:
    """One entry [B, n] of AVATAR_CONSTANTS [B, CONSTANTS_SIZE]."""
    first, count = canvas.CONSTANTS[name]
    return constants[:, first : first + count]


def parameter(parameters: Tensor, name: str) -> Tensor:
    """One face parameter [B, 1] of PARAMETERS [B, 73]."""
    return parameters[:, INDEX[name] : INDEX[name] + 1]


def pixel_centres(left: int, top: int, width: int, height: int, pitch: int = 1) -> Tensor:
    """Positions [1, 2, height, width] (x, y) of the pixels of a window, or of nodes that are `pitch` pixels apart."""
    x = (torch.arange(width, dtype=torch.float32) + 0.5) * pitch + left
    y = (torch.arange(height, dtype=torch.float32) + 0.5) * pitch + top
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([grid_x, grid_y])[None]


class Window(NamedTuple):
    """A rectangle of the picture, px, that a tensor covers."""

    left: float
    top: float
    width: float
    height: float


PICTURE = Window(0.0, 0.0, FRAME_SIZE, FRAME_SIZE)
CANVAS = Window(canvas.CANVAS_X, canvas.CANVAS_Y, canvas.CANVAS_WIDTH, canvas.CANVAS_HEIGHT)
EYES = Window(canvas.CANVAS_X, canvas.CANVAS_Y, canvas.CANVAS_WIDTH, canvas.EYES_HEIGHT)
LIPS = Window(canvas.LIPS_X, canvas.LIPS_Y, canvas.LIPS_WIDTH, canvas.LIPS_HEIGHT)


def sampling_grid(window: Window, at: Tensor, moved: Tensor) -> Tensor:
    """Grid [B, h, w, 2] for sampling a tensor that covers `window`.

    Args:
        window: what -1..1 spans.
        at: [1, 2, h, w] pixel positions, constant.
        moved: [B, 2, h, w] px to add.
    """
    rows, columns = at.shape[2:]
    scale = torch.tensor([2.0 / window.width, 2.0 / window.height]).reshape(1, 2, 1)
    shift = torch.tensor([-2.0 * window.left / window.width - 1.0, -2.0 * window.top / window.height - 1.0])
    start = at.flatten(2) * scale + shift.reshape(1, 2, 1)
    flat = start + moved.reshape(-1, 2, rows * columns) * scale
    return flat.transpose(1, 2).reshape(-1, rows, columns, 2)


def sample(field: Tensor, window: Window, at: Tensor, moved: Tensor, padding: str = "border") -> Tensor:
    """Sample a tensor [B, C, ...] that covers `window` at the pixels `at` + `moved` (see sampling_grid)."""
    return F.grid_sample(field, sampling_grid(window, at, moved), padding_mode=padding, align_corners=False)


def refinement_kernel(factor: int) -> Tensor:
    """Weights [2 * factor**2, 2, 3, 3] of the convolution that `refine` needs: bilinear interpolation, by phases."""
    phase = (np.arange(factor) + 0.5) / factor - 0.5
    line = np.stack([np.clip(-phase, 0, None), 1.0 - np.abs(phase), np.clip(phase, 0, None)], 1)  # [factor, 3]
    block = np.einsum("ai,bj->abij", line, line).reshape(factor * factor, 3, 3)
    kernel = np.zeros((2, factor * factor, 2, 3, 3), np.float32)
    kernel[0, :, 0] = kernel[1, :, 1] = block
    return torch.from_numpy(kernel.reshape(-1, 2, 3, 3))


def refine(field: Tensor, kernel: Tensor, factor: int) -> Tensor:
    """Bilinear interpolation of a field [B, 2, n + 2, m + 2], whose margin of one node is used up, by `factor`.

    Returns:
        [B, 2, factor * n, factor * m].
    """
    return F.pixel_shuffle(F.conv2d(field, kernel), factor)


def smooth(value: Tensor) -> Tensor:
    """Ease 0..1 in and out."""
    t = value.clamp(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def layer_score(scores: Tensor, layer: int, at: Tensor, moved: Tensor) -> Tensor:
    """Signed distance [B, 1, H, W] (px) to the seam of one layer at the pixels `at` + `moved`."""
    return sample(scores[:, layer : layer + 1], CANVAS, at, moved)
