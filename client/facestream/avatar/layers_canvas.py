"""The canonical picture: where the fixed windows lie, and how an avatar's small numbers are packed.

The canonical picture is the aligned portrait itself, 512x512 px, pixel centres at +0.5. The eyes and the mouth lie in
the same place for all avatars, because the portrait is aligned by them; so what is drawn finely has one fixed window:

    canvas 192x256 px = eyes (192x64) above mouth (192x192)

Sampling grids have their nodes in the centres of squares of MESH_PITCH (or HEAD_PITCH) pixels.
"""

from __future__ import annotations

from typing import Final

from facestream.contract import FRAME_SIZE
from facestream.parameters import ARKIT

MESH_GRID: Final = 128
MESH_PITCH: Final = FRAME_SIZE // MESH_GRID
HEAD_GRID: Final = 64
HEAD_PITCH: Final = FRAME_SIZE // HEAD_GRID

CANVAS_X: Final = 160
CANVAS_Y: Final = 172
CANVAS_WIDTH: Final = 192
CANVAS_HEIGHT: Final = 256
EYES_HEIGHT: Final = 64
"""Rows of the canvas that belong to the eyes; the mouth window is the rest."""
MOUTH_Y: Final = CANVAS_Y + EYES_HEIGHT
MOUTH_SIZE: Final = CANVAS_HEIGHT - EYES_HEIGHT

BACKDROP_PITCH: Final = 2
"""The backdrop is kept at this many px per pixel."""
ADAPTER_SIZE: Final = 256

# Mesh nodes that cover the canvas, with one node of margin on each side for the interpolation.
SEAM_COLUMN: Final = CANVAS_X // MESH_PITCH - 1
SEAM_ROW: Final = CANVAS_Y // MESH_PITCH - 1
SEAM_COLUMNS: Final = CANVAS_WIDTH // MESH_PITCH + 2
SEAM_ROWS: Final = CANVAS_HEIGHT // MESH_PITCH + 2
SEAM_EYE_ROWS: Final = EYES_HEIGHT // MESH_PITCH + 1

SEAMS: Final = ("upper_lip", "lower_lip", "lower_lid", "upper_lid")
"""Order of the seams: the upper lip and the lower lid ride on layer 0, the lower lip and the upper lid on layer 1."""

LOWER_LID_RIM: Final = 1.0
UPPER_LID_RIM: Final = 1.5
"""Each lid takes this much of the photo (px) beyond its edge along: wet rim, lashes and their shadow."""

SCORE_PITCH: Final = 2
SCORE_LIMIT: Final = 16.0
"""Signed distances to a seam are clipped to this, px."""

LIPS_X: Final = 192
LIPS_Y: Final = 276
LIPS_WIDTH: Final = 128
LIPS_HEIGHT: Final = 56

CONSTANTS: Final = {
    "gain": (0, len(ARKIT)),  # factor on each ARKit weight: the photo already shows some of it, lids differ in height
    "projection": (52, 6),  # px (x, y) per cm of the model's x, y, z; [2, 3]
    "pivot": (58, 3),  # px: the point about which the head turns
    "scale": (61, 1),  # px per cm
    "teeth": (62, 4),  # model cm = (px - [0:2]) * [2:4], for x and y
    "mouth": (66, 4),  # px: left corner, right corner, height of the seam at the middle, width of the lip's inner rim
    "enamel": (70, 3),  # tint of the teeth, RGB factors
    "flesh": (73, 3),  # tint of gums and tongue, RGB factors
    "cavity": (76, 3),  # colour of the open mouth behind all, RGB 0..255
    "eye_radius": (79, 1),  # px
}
"""Where each number of AVATAR_CONSTANTS lies: first index and count."""
CONSTANTS_SIZE: Final = 80

AVATAR_TENSORS: Final[dict[str, tuple[str, tuple[int, ...]]]] = {
    "AVATAR_PHOTO": ("uint8", (3, FRAME_SIZE, FRAME_SIZE)),
    "AVATAR_MESH_INDEX": ("int32", (3, MESH_GRID, MESH_GRID)),
    "AVATAR_MESH_WEIGHT": ("float16", (3, MESH_GRID, MESH_GRID)),
    "AVATAR_SEAM_INDEX": ("int32", (len(SEAMS), 6, SEAM_COLUMNS)),
    "AVATAR_SEAM_WEIGHT": ("float16", (len(SEAMS), 6, SEAM_COLUMNS)),
    "AVATAR_SEAM_BLEND": ("float16", (2, SEAM_ROWS, SEAM_COLUMNS)),
    "AVATAR_HEAD": ("float16", (2, HEAD_GRID, HEAD_GRID)),
    "AVATAR_SCORES": ("float16", (2, CANVAS_HEIGHT // SCORE_PITCH, CANVAS_WIDTH // SCORE_PITCH)),
    "AVATAR_LIPS": ("uint8", (6, LIPS_HEIGHT, LIPS_WIDTH)),
    "AVATAR_EYES": ("uint8", (3, EYES_HEIGHT, CANVAS_WIDTH)),
    "AVATAR_LIDS": ("uint8", (3, EYES_HEIGHT, CANVAS_WIDTH)),
    "AVATAR_CONSTANTS": ("float32", (CONSTANTS_SIZE,)),
    "AVATAR_BACKDROP": ("uint8", (4, FRAME_SIZE // BACKDROP_PITCH, FRAME_SIZE // BACKDROP_PITCH)),
    "AVATAR_ADAPTER": ("float32", (ADAPTER_SIZE,)),
}
"""Name, dtype and shape of every tensor of an avatar. Their meaning:

AVATAR_PHOTO: the portrait, RGB.
AVATAR_MESH_INDEX, _WEIGHT: for each mesh node the three vertices that it follows, and how much.
AVATAR_SEAM_INDEX, _WEIGHT: the same, with six vertices, for points on each of SEAMS, one per column of seam nodes.
AVATAR_SEAM_BLEND: how far each layer follows its seam instead of the mesh (a layer is extended across its seam).
AVATAR_HEAD: depth (px, towards the viewer, relative to the pivot) and how much a node follows the head's pose (0..1).
AVATAR_SCORES: signed distance (px) to the seam of each layer; positive where the layer's own skin is.
AVATAR_LIPS: what the inner lips add to the photo, RGB + 128, of layer 0 then 1; shown as the mouth opens.
AVATAR_EYES: the eyeballs without lids and shadows, RGB, in the eyes' window; shown as they turn.
AVATAR_LIDS: what closed upper lids add to the photo, RGB + 128, in the eyes' window; shown as they come down. The lower
    lids' rims in it are shown as the eyes turn.
AVATAR_CONSTANTS: see CONSTANTS.
AVATAR_BACKDROP: the background without the person, RGB, and the person's matte (255 where nothing else is seen).
AVATAR_ADAPTER: how the learned renderer is tuned to this person; zeros for a person that it was not.
"""
