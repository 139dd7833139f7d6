"""Bake the teeth, the gums and the tongue: `python -m export.face.mouth_interior --ict-facekit PATH`.

One picture serves all avatars: the renderer tints and lights it. It is drawn from the full-resolution teeth of
ICT-FaceKit (the input that `export.face.face_model` describes) and kept as `mouth_interior.png`, premultiplied RGBA
with three layers of LAYER_HEIGHT rows below each other: upper teeth, lower teeth, tongue. Layers are orthographic
views in the face model's centimetres (`LAYER_TOP` says where each begins); the lower jaw is drawn half open, because
that is when it is seen, and then put back by its incisors' way. The tongue is a painted dome: of the model's tongue
little more than the tip could be seen, and its rim is not modelled.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from export.face.face_model import (
    MOVING_TEETH_CM,
    SOURCE_PARTS,
    polygons_to_triangles,
    tongue_mask,
    vertex_normals,
)
from export.face.face_model_source import FaceSource, add_source_argument, chosen_source

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PICTURE = Path(__file__).with_name("mouth_interior.png")
PIXELS_PER_CM = 18.0
LAYER_WIDTH, LAYER_HEIGHT = 128, 48
LAYER_LEFT = -LAYER_WIDTH / 2 / PIXELS_PER_CM
"""Model x (cm) of the left edge of each layer."""
LAYER_TOP = (-1.15, -2.60, -1.75)
"""Model y (cm, upwards) of the upper edge of each layer; the lower two with the jaw closed."""
SUPERSAMPLING = 6
SEEN_AT_JAW_OPEN = 0.45
"""Strength of jawOpen at which the lower layers are drawn."""

ENAMEL = np.array([0.93, 0.875, 0.825])
GUM = np.array([0.66, 0.36, 0.34])
TONGUE = np.array([0.68, 0.34, 0.31])
TEETH_APART_CM = 0.14
"""Narrower gaps between two teeth are filled."""
CREVICE = 0.72
"""Light in the line where two teeth touch, beside that on their faces."""
LIGHT = np.array([-0.20, 0.35, 0.92])
"""Direction of the key light; the fill comes from the viewer."""


def draw(points: Floats, triangles: Ints, attributes: Floats, top: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Rasterise with a depth buffer, orthographically along z.

    Args:
        points: [V, 3] cm.
        triangles: [T, 3].
        attributes: [V, K], interpolated over the triangles.
        top: model y of the upper edge of the picture.

    Returns:
        [H, W, K] attributes at SUPERSAMPLING times the resolution, and the mask of covered pixels [H, W].
    """
    scale = PIXELS_PER_CM * SUPERSAMPLING
    height, width = LAYER_HEIGHT * SUPERSAMPLING, LAYER_WIDTH * SUPERSAMPLING
    x = (points[:, 0] - LAYER_LEFT) * scale - 0.5
    y = (top - points[:, 1]) * scale - 0.5
    depth = np.full((height, width), -np.inf)
    out = np.zeros((height, width, attributes.shape[1]))
    for corners in triangles:
        px, py = x[corners], y[corners]
        x0, x1 = max(int(np.ceil(px.min())), 0), min(int(px.max()), width - 1)
        y0, y1 = max(int(np.ceil(py.min())), 0), min(int(py.max()), height - 1)
        area = (px[1] - px[0]) * (py[2] - py[0]) - (px[2] - px[0]) * (py[1] - py[0])
        if x1 < x0 or y1 < y0 or abs(area) < 1e-9:
            continue
        gx, gy = np.meshgrid(np.arange(x0, x1 + 1), np.arange(y0, y1 + 1))
        v = ((gx - px[0]) * (py[2] - py[0]) - (px[2] - px[0]) * (gy - py[0])) / area
        w = ((px[1] - px[0]) * (gy - py[0]) - (gx - px[0]) * (py[1] - py[0])) / area
        weights = np.stack([1 - v - w, v, w], -1)
        z = weights @ points[corners, 2]
        here = (weights >= -1e-6).all(-1) & (z > depth[gy, gx])
        depth[gy[here], gx[here]] = z[here]
        out[gy[here], gx[here]] = weights[here] @ attributes[corners]
    return out, np.isfinite(depth)


def shade(albedo: Floats, normal: Floats, depth_cm: Floats, gloss: float, occlusion: float) -> Floats:
    """Light [H, W, 3] of a moist surface: soft key and fill light, a highlight, and darkness with depth."""
    normal = normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    normal[..., 2] = np.abs(normal[..., 2])
    light = LIGHT / np.linalg.norm(LIGHT)
    half = light + np.array([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half)
    wrapped = np.clip((normal @ light + 0.35) / 1.35, 0, 1)
    diffuse = 0.30 + 0.45 * wrapped + 0.25 * normal[..., 2] ** 1.5
    highlight = gloss * np.clip(normal @ half, 0, 1) ** 48
    dark = np.exp(-occlusion * np.maximum(depth_cm, 0.0))
    lit: Floats = (albedo * diffuse[..., None] + highlight[..., None]) * dark[..., None]
    return lit


def between_teeth(row: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where the gaps of a row of teeth are, of masks [H, W] in the resolution of `draw`.

    ICT-FaceKit's teeth stand apart like tiles; most people's touch. Their rounded corners stay free.
    """
    reach = round(TEETH_APART_CM * PIXELS_PER_CM * SUPERSAMPLING)
    across = np.ones((1, reach), np.uint8)
    margin = cv2.copyMakeBorder(row.astype(np.uint8), 0, 0, reach, reach, cv2.BORDER_CONSTANT, value=0)
    closed = cv2.morphologyEx(margin, cv2.MORPH_CLOSE, across)[:, reach:-reach]
    gaps: NDArray[np.bool_] = (closed > 0) & ~row
    return gaps


def _carried(colour: Floats, row: NDArray[np.bool_]) -> Floats:
    """The teeth's colours [H, W, 3] carried on sideways, where none is the mean of those near by."""
    across = TEETH_APART_CM * PIXELS_PER_CM * SUPERSAMPLING
    weight = cv2.GaussianBlur(row.astype(np.float64), (0, 0), sigmaX=across, sigmaY=1.0)
    total = cv2.GaussianBlur(colour * row[..., None], (0, 0), sigmaX=across, sigmaY=1.0)
    carried: Floats = total / np.maximum(weight, 1e-6)[..., None]
    return carried


def layer(points: Floats, groups: list[tuple[Ints, str]], top: float) -> NDArray[np.uint8]:
    """One layer, premultiplied RGBA uint8 [LAYER_HEIGHT, LAYER_WIDTH, 4]; groups are (triangles, material)."""
    normals = np.zeros_like(points)
    material = np.zeros(len(points))
    names = [name for _, name in groups]
    for number, (triangles, _) in enumerate(groups):
        used = np.unique(triangles)
        normals[used] = vertex_normals(points, triangles)[used]
        material[used] = number
    triangles = np.vstack([t for t, _ in groups])
    drawn, covered = draw(points, triangles, np.c_[normals, points, material], top)
    which = np.round(drawn[..., 6]).astype(int)
    front = points[np.unique(triangles), 2].max()
    depth = front - drawn[..., 5]
    colour = np.zeros((*covered.shape, 3))
    for number, name in enumerate(names):
        albedo, gloss, occlusion = {
            "teeth": (ENAMEL, 0.08, 0.30),
            "gum": (GUM, 0.10, 0.34),
        }[name]
        lit = shade(np.broadcast_to(albedo, colour.shape), drawn[..., :3], depth, gloss, occlusion)
        colour[which == number] = lit[which == number]
    row = covered & (which == names.index("teeth"))
    touching = between_teeth(row)
    colour[touching] = CREVICE * _carried(colour, row)[touching]
    covered = covered | touching
    rgba = np.dstack([np.clip(colour, 0, 1) * covered[..., None], covered])
    small = cv2.resize(rgba, (LAYER_WIDTH, LAYER_HEIGHT), interpolation=cv2.INTER_AREA)
    return np.round(small * 255).astype(np.uint8)


def tongue() -> NDArray[np.uint8]:
    """The tongue's layer: a broad dome, bright and pink in front, ever darker and redder towards the throat.

    How bright it is at which height, and how fast that falls to the sides, was read off path-traced mouths that are
    wide open.
    """
    height, width = LAYER_HEIGHT * SUPERSAMPLING, LAYER_WIDTH * SUPERSAMPLING
    scale = PIXELS_PER_CM * SUPERSAMPLING
    x, y = np.meshgrid((np.arange(width) + 0.5) / scale + LAYER_LEFT, LAYER_TOP[2] - (np.arange(height) + 0.5) / scale)
    near = np.clip((-1.85 - y) / 1.65, 0.0, 1.0)[..., None]
    colour = TONGUE * near ** np.array([0.9, 1.2, 1.3]) / (1.0 + np.abs(x / 1.45) ** 4)[..., None]
    groove = 1.0 - 0.10 * np.exp(-((x / 0.15) ** 2)) * near[..., 0] * (1.0 - near[..., 0]) * 4.0
    noise = cv2.GaussianBlur(np.random.default_rng(1).normal(size=x.shape), (0, 0), 0.5 * SUPERSAMPLING)
    moist = 0.05 * np.exp(-(((y + 3.25 - 0.10 * x * x) / 0.16) ** 2) - (x / 0.75) ** 2)
    lit = np.clip(colour * (groove * (1.0 + 0.03 * noise / noise.std()))[..., None] + moist[..., None], 0.0, 1.0)
    u, v = np.abs(x) / 2.1, np.maximum(-3.6 - y, 0.0) / 1.05
    alpha = np.clip((1.0 - (u**2.4 + v**2.4) ** (1.0 / 2.4)) / 0.15, 0.0, 1.0) * np.clip((-1.80 - y) / 0.5, 0.0, 1.0)
    small = cv2.resize(
        np.dstack([lit * alpha[..., None], alpha]), (LAYER_WIDTH, LAYER_HEIGHT), interpolation=cv2.INTER_AREA
    )
    return np.round(small * 255).astype(np.uint8)


def bake(source: FaceSource) -> NDArray[np.uint8]:
    """The whole picture, uint8 [3 * LAYER_HEIGHT, LAYER_WIDTH, 4]."""
    neutral = source.neutral
    jaw = source.expression[source.expression_names.index("jawOpen")]
    teeth = polygons_to_triangles(source.polygons[slice(*SOURCE_PARTS["teeth"])])
    gums = polygons_to_triangles(source.polygons[slice(*SOURCE_PARTS["gums"])])
    moving = -jaw[:, 1] > MOVING_TEETH_CM
    lower_teeth = np.unique(teeth)[moving[np.unique(teeth)]]

    def front(triangles: Ints, reach: float) -> Ints:
        """Drop what lies deep in the throat."""
        kept: Ints = triangles[neutral[triangles, 2].min(1) > 10.6 - reach]
        return kept

    upper = [(front(teeth[~moving[teeth].any(1)], 4.2), "teeth"), (front(gums[~moving[gums].any(1)], 2.4), "gum")]
    incisors = lower_teeth[(np.abs(neutral[lower_teeth, 0]) < 0.8) & (neutral[lower_teeth, 2] > 9.6)]
    opened = neutral + SEEN_AT_JAW_OPEN * (jaw - jaw[incisors].mean(0))
    low_gums = gums[moving[gums].all(1) & ~tongue_mask(neutral, gums, moving, lower_teeth)[gums].any(1)]
    lower = [
        (front(teeth[moving[teeth].all(1)], 4.2), "teeth"),
        (front(low_gums, 2.2), "gum"),
    ]
    return np.vstack([layer(neutral, upper, LAYER_TOP[0]), layer(opened, lower, LAYER_TOP[1]), tongue()])


def main() -> int:
    """Bake and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_source_argument(parser)
    parser.add_argument("-o", "--output", type=Path, default=PICTURE, help="file to write")
    options = parser.parse_args()
    picture = bake(chosen_source(parser, options))
    if not cv2.imwrite(str(options.output), cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA)):
        parser.error(f"--output {options.output}: cannot be written")
    print(f"{options.output}: {options.output.stat().st_size / 1e3:.0f} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
