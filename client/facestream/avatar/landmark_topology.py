"""Names for the points of the MediaPipe Face Mesh (468 points, and 10 more on the irises).

"Right" and "left" are the person's own, so the right eye stands at the left of the picture. Every polyline runs from
the left of the picture to its right; a contour that is the upper and then the reversed lower line is a closed polygon.
Numbers: mediapipe/python/solutions/face_mesh_connections.py (Apache-2.0).
"""

from __future__ import annotations

from typing import Final

MESH_POINTS: Final = 468
ALL_POINTS: Final = 478

LIP_UPPER_INNER: Final = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LIP_LOWER_INNER: Final = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LIP_UPPER_OUTER: Final = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LIP_LOWER_OUTER: Final = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
LIP_INNER: Final = LIP_UPPER_INNER + LIP_LOWER_INNER[-2:0:-1]
LIP_OUTER: Final = LIP_UPPER_OUTER + LIP_LOWER_OUTER[-2:0:-1]

RIGHT_EYE_UPPER: Final = (33, 246, 161, 160, 159, 158, 157, 173, 133)
RIGHT_EYE_LOWER: Final = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LEFT_EYE_UPPER: Final = (362, 398, 384, 385, 386, 387, 388, 466, 263)
LEFT_EYE_LOWER: Final = (362, 382, 381, 380, 374, 373, 390, 249, 263)
RIGHT_EYE: Final = RIGHT_EYE_UPPER + RIGHT_EYE_LOWER[-2:0:-1]
LEFT_EYE: Final = LEFT_EYE_UPPER + LEFT_EYE_LOWER[-2:0:-1]

RIGHT_IRIS: Final = (468, 469, 470, 471, 472)
"""Centre, then the rim's points: right of the picture, top, left, bottom."""
LEFT_IRIS: Final = (473, 474, 475, 476, 477)

FACE_OVAL: Final = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""Closed, clockwise in the picture, from the middle of the forehead."""

RIGHT_BROW_UPPER: Final = (70, 63, 105, 66, 107)
RIGHT_BROW_LOWER: Final = (46, 53, 52, 65, 55)
LEFT_BROW_UPPER: Final = (336, 296, 334, 293, 300)
LEFT_BROW_LOWER: Final = (285, 295, 282, 283, 276)

FOREHEAD: Final = 10
CHIN: Final = 152
NOSE_TIP: Final = 1
CHEEKS: Final = (50, 280)
"""In the middle of the right and of the left cheek: plain skin."""

LIPS_REFINED: Final = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409, 78, 95, 88, 178,
    87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415, 76, 77, 90, 180, 85, 16, 315, 404,
    320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408, 62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183,
    42, 41, 38, 12, 268, 271, 272, 407,
)  # fmt: skip
"""The points that Attention Mesh's lip head gives, in its order: four rings, each its lower and then its upper half."""
RIGHT_EYE_REFINED: Final = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 130, 25, 110, 24, 23, 22, 26,
    112, 243, 247, 30, 29, 27, 28, 56, 190, 226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222,
    221, 189, 35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55,
    193,
)  # fmt: skip
"""The points of its eye heads: lids, three rings about them, brow."""
LEFT_EYE_REFINED: Final = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 359, 255, 339, 254, 253, 252,
    256, 341, 463, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444,
    443, 442, 441, 413, 265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293,
    334, 296, 336, 285, 417,
)  # fmt: skip
