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
from torch import Tensor, nn


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


def refinement_kernel(factor: int, channels: int = 2) -> Tensor:
    """Weights of the convolution that `refine` needs, [channels * factor**2, channels, 3, 3]: the phases of bilinear
    interpolation.
    """
    phase = (np.arange(factor) + 0.5) / factor - 0.5
    line = np.stack([np.clip(-phase, 0, None), 1.0 - np.abs(phase), np.clip(phase, 0, None)], 1)  # [factor, 3]
    block = np.einsum("ai,bj->abij", line, line).reshape(factor * factor, 3, 3)
    kernel = np.zeros((channels, factor * factor, channels, 3, 3), np.float32)
    for channel in range(channels):
        kernel[channel, :, channel] = block
    return torch.from_numpy(kernel.reshape(-1, channels, 3, 3))


def refine(field: Tensor, kernel: Tensor, factor: int) -> Tensor:
    """Bilinear interpolation of a field [B, 2, n + 2, m + 2], whose margin of one node is used up, by `factor`.

    Returns:
        [B, 2, factor * n, factor * m].
    """
    return F.pixel_shuffle(F.conv2d(field, kernel), factor)


class FineGrid(nn.Module):
    """Refines a coarse field and brings it into the form of a sampling grid, in one pass over the pixels.

    The result is that of `sampling_grid` after `refine`, at a quarter of its cost on a CPU: the convolution makes x and
    y of the pixels of a row lie side by side as a grid has them, so that blocks are moved instead of single numbers.
    """

    kernel: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(
        self,
        window: Window,
        left: int,
        top: int,
        width: int,
        height: int,
        factor: int,
        pitch: int = 1,
        blocks: bool = False,
    ):
        """
        Args:
            window: what -1..1 spans: the rectangle that the tensor to be sampled covers.
            left, top: of the rectangle of pixels that sample, px.
            width, height: number of these pixels.
            factor: by which the field is refined; 1 takes a field without margin as it is.
            pitch: px from one sampling pixel to the next.
            blocks: leave the pixels in the order in which the convolution makes them, see `from_blocks`.
        """
        super().__init__()
        self.factor, self.blocks = factor, blocks
        scale = torch.tensor([2.0 / window.width, 2.0 / window.height])
        phases = refinement_kernel(factor).reshape(2, factor, factor, 2, 3, 3).permute(1, 2, 0, 3, 4, 5)
        kernel = phases.reshape(-1, 2, 3, 3) * scale.repeat(factor * factor)[:, None, None, None]
        if factor == 1:
            kernel = kernel[:, :, 1:2, 1:2]  # a node is its pixel: nothing of the margin is needed
        self.register_buffer("kernel", kernel.contiguous())  # [factor * factor * 2, 2, 3, 3]
        start = pixel_centres(left, top, width, height, pitch)[0].permute(1, 2, 0)
        start = (start - torch.tensor([window.left, window.top])) * scale - 1.0
        if blocks:
            start = start.reshape(height // factor, factor, width // factor, factor, 2).transpose(1, 2)
            start = start.reshape(height // factor, width * factor, 2)
            # y of a pixel is that of its block, and its own within: of the first row of blocks.
            rows, columns = torch.zeros(1, height // factor, 1, 2), start[None, :1].clone()
            rows[0, :, 0, 1] = start[:, 0, 1] - start[0, 0, 1]
        else:
            rows, columns = torch.zeros(1, height, 1, 2), torch.zeros(1, 1, width, 2)
            rows[0, :, 0, 1], columns[0, 0, :, 0] = start[:, 0, 1], start[0, :, 0]
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)

    def forward(self, field: Tensor) -> Tensor:
        """Grid of a field [B, 2, n + 2, m + 2], px, whose margin is used up (one of `factor` 1 has none).

        Returns:
            [B, factor * n, factor * m, 2], or in blocks [B, n, m * factor * factor, 2].
        """
        fine = F.conv2d(field, self.kernel)
        n, m, factor = fine.shape[2], fine.shape[3], self.factor
        pixels = fine.permute(0, 2, 3, 1)
        if self.blocks:
            return pixels.reshape(-1, n, m * factor * factor, 2) + self.rows + self.columns
        if factor == 1:
            return pixels + self.rows + self.columns
        lines = pixels.reshape(-1, n, m, factor, 2 * factor).permute(0, 1, 3, 2, 4)
        return lines.reshape(-1, factor * n, factor * m, 2) + self.rows + self.columns


def from_blocks(picture: Tensor, factor: int) -> Tensor:
    """A picture [B, C, n, m * factor * factor] whose pixels lie block by block, as [B, factor * n, factor * m, C].

    One block's pixels follow each other, row by row, as the convolution of a refined field makes them. Sampling does
    not ask for the order of its positions; so what is to be rearranged anyway at the end need not be before.
    """
    channels, n = picture.shape[1], picture.shape[2]
    m = picture.shape[3] // (factor * factor)
    pixels = picture.reshape(-1, channels, n, m, factor, factor).permute(0, 2, 4, 3, 5, 1)
    return pixels.reshape(-1, factor * n, factor * m, channels)


def from_grid(window: Window, other: Window) -> tuple[Tensor, Tensor]:
    """Scale and shift [1, 1, 1, 2] that turn a sampling grid for a tensor that covers `window` into one for `other`."""
    sizes, others = torch.tensor(window[2:]), torch.tensor(other[2:])
    scale = sizes / others
    shift = (torch.tensor(window[:2]) + 0.5 * sizes - torch.tensor(other[:2])) * 2.0 / others - 1.0
    return scale.reshape(1, 1, 1, 2), shift.reshape(1, 1, 1, 2)


def sample_at(field: Tensor, grid: Tensor, padding: str = "border") -> Tensor:
    """Sample a tensor [B, C, ...] at a grid [B, h, w, 2]."""
    return F.grid_sample(field, grid, padding_mode=padding, align_corners=False)


def sample_inside(field: Tensor, grid: Tensor) -> Tensor:
    """Sample a tensor [B, C, n, m] at a grid [B, h, w, 2]; what lies outside continues its border.

    Positions in a square one are held inside first: ONNX Runtime takes twice as long for a padding with the border.
    """
    rows, columns = field.shape[2:]
    if rows != columns:  # each axis has an edge of its own
        return sample_at(field, grid)
    edge = 1.0 - 1.0 / columns
    return sample_at(field, grid.clamp(-edge, edge), "zeros")


def smooth(value: Tensor) -> Tensor:
    """Ease 0..1 in and out."""
    t = value.clamp(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
