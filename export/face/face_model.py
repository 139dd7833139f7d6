"""Make the compact parametric face: `python -m export.face.face_model --ict-facekit PATH`.

The source is ICT-FaceKit (Li et al., "Learning Formation of Physically-Based Face Attributes", CVPR 2020; MIT licence),
see export.face.face_model_source.

What is made of it: fewer than 4,000 vertices instead of 26,719, dense at lips and lids; 60 identity modes; ARKit's
shapes under ARKit's names; a `tongueOut` that the source lacks; all as 8-bit integers with a scale per shape.
`--report` says what that costs in millimetres (FACE_MODEL.md). `--flame` and `--bfm` make one of the people of other
groups' models (see export.face.face_model_adapt).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from facestream.avatar.face_model import load_face_model
from facestream.avatar.landmark_topology import LEFT_EYE, LIP_INNER, LIP_OUTER, RIGHT_EYE
from facestream.parameters import ARKIT
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from export.face.face_model_decimate import closest_on_triangles, decimate
from export.face.face_model_source import FaceSource, add_source_argument, chosen_source

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

IDENTITY_MODES = 60

SHIPPED = Path("client/facestream/avatar/face_model.npz")

# Ranges of polygons in the source, in its own order of parts.
SOURCE_PARTS = {
    "face": (0, 9230),
    "head": (9230, 11144),
    "mouth_socket": (11144, 13226),
    "gums": (14034, 17006),
    "teeth": (17006, 21496),
    "eye_left": (21496, 22296),
    "eye_right": (23094, 23894),
}

PARTS = (
    "face",
    "head",
    "mouth_socket",
    "gums_upper",
    "gums_lower",
    "tongue",
    "teeth_upper",
    "teeth_lower",
    "eye_left",
    "eye_right",
)
"""Names of the parts of the compact face, in the order of the numbers in `part`."""

BUDGETS = {
    "face": 2420,
    "head": 160,
    "mouth_socket": 200,
    "gums": 420,
    "teeth": 640,
    "eye_left": 60,
    "eye_right": 60,
}
"""Vertices to keep in each part of the source."""

MOUTH_CENTRE = np.array([0.0, -3.4, 11.0])
EYE_CENTRES = np.array([[3.2, 3.5, 9.2], [-3.2, 3.5, 9.2]])
TONGUE_TIP = np.array([0.0, -3.7, 9.7])
TONGUE_ROOT_Z = 5.0

MOVING_TEETH_CM = 0.3
"""A tooth or gum vertex that jawOpen lowers by more belongs to the lower jaw."""


def arkit_name(name: str) -> str | None:
    """ARKit's name of a shape of the source, or None where ARKit has no such shape.

    browInnerUp and cheekPuff are split into sides here, so `browInnerUp_L` becomes `browInnerUpLeft`.
    """
    stem, _, side = name.partition("_")
    full = stem + {"": "", "L": "Left", "R": "Right"}[side]
    known = {parameter.name for parameter in ARKIT}
    return full if full in known or stem in known else None


def polygons_to_triangles(polygons: Ints) -> Ints:
    """Split quads [Q, 4], where -1 in the last column marks a triangle, into triangles [T, 3]."""
    four = polygons[:, 3] >= 0
    return np.vstack([polygons[:, [0, 1, 2]], polygons[four][:, [0, 2, 3]]])


def density(neutral: Floats, blink: Floats) -> Floats:
    """Factor [V] on the error of merging a vertex: high where the viewer looks and where skin meets skin."""
    mouth = np.linalg.norm((neutral - MOUTH_CENTRE) / np.array([2.8, 1.3, 1.6]), axis=1)
    eyes = np.min([np.linalg.norm((neutral - c) / np.array([1.9, 1.2, 1.5]), axis=1) for c in EYE_CENTRES], axis=0)
    front = np.clip((neutral[:, 2] - 2.0) / 6.0, 0.25, 1.0)
    rim = np.clip(np.linalg.norm(blink, axis=1) / 0.3, 0.0, 1.0)
    weights: Floats = front * (1.0 + 4.0 * np.exp(-(mouth**2)) + 4.0 * np.exp(-(eyes**2)) + 1.0 * rim)
    return weights


def moving_features(neutral: Floats, expression: Floats) -> Floats:
    """Rest position beside the 24 strongest directions of all motion, [V, 3 + 24] cm: what tells vertices apart."""
    flat = expression.transpose(1, 0, 2).reshape(len(neutral), -1)
    values, vectors = np.linalg.eigh(flat.T @ flat)
    return np.hstack([neutral, flat @ vectors[:, np.argsort(-values)[:24]]])


def vertex_normals(positions: Floats, triangles: Ints) -> Floats:
    """Unit normals [V, 3], weighted by the triangles' areas; zero where no triangle is."""
    a, b, c = (positions[triangles[:, i]] for i in range(3))
    facets = np.cross(b - a, c - a)
    normals = np.zeros_like(positions)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], facets)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return normals


def tongue_mask(neutral: Floats, triangles: Ints, lower: NDArray[np.bool_], lower_teeth: Ints) -> NDArray[np.bool_]:
    """Which vertices of the gums' mesh are the tongue: inside the lower arch, and not facing its axis as gums do."""
    normal = vertex_normals(neutral, triangles)
    gap = cKDTree(neutral[lower_teeth]).query(neutral)[0]
    x, y, z = neutral.T
    outward = normal[:, 0] * np.sign(x)
    inside = (np.abs(x) < 1.9) & (y > -4.2) & (z < 9.85) & (gap > 0.12)
    mask: NDArray[np.bool_] = lower & inside & ((outward > -0.25) | (np.abs(x) < 0.6)) & (normal[:, 1] > -0.6)
    return mask


def tongue_out(neutral: Floats, tongue: NDArray[np.bool_]) -> Floats:
    """Displacement [V, 3] of ARKit's `tongueOut`: the tongue slides forward over the lower lip and drops its tip.

    The source has no such shape. The motion grows with the square of the way from the root to the tip, so the root
    stays fixed; full strength brings the tip 2.6 cm forward, about 1.4 cm beyond the lips.
    """
    reach = np.clip((neutral[:, 2] - TONGUE_ROOT_Z) / (TONGUE_TIP[2] - TONGUE_ROOT_Z), 0.0, 1.0) ** 2
    moved = np.zeros_like(neutral)
    moved[:, 2] = 2.6 * reach
    moved[:, 1] = 0.15 * reach - 0.35 * reach**3
    moved[:, 0] = -0.15 * neutral[:, 0] * reach
    moved[~tongue] = 0.0
    return moved


def quantise(shapes: Floats) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """8-bit form of shapes [S, V, 3]: int8 values and one scale [S] for each shape (centimetres per step)."""
    scale = np.maximum(np.abs(shapes).max(axis=(1, 2)) / 127.0, 1e-12).astype(np.float32)
    return np.round(shapes / scale[:, None, None]).astype(np.int8), scale


def attach_landmarks(points: Floats, triangles: Ints, features: Floats, centre: Floats) -> tuple[Ints, Floats, Floats]:
    """Find the compact surface's point for each landmark.

    Done in feature space (position beside displacements): upper and lower lip touch at rest, but move apart.

    Args:
        points: [L, D] features of the source's landmark points.
        triangles: [T, 3].
        features: [V, D].
        centre: [T, 3] rest position of the triangles' centres.

    Returns:
        Vertices [L, 3], barycentric weights [L, 3], distances [L] (centimetres of feature space).
    """
    tree = cKDTree(centre)
    vertices, weights, distances = [], [], []
    for point in points:
        near = tree.query(point[:3], k=60)[1]
        distance, barycentric = closest_on_triangles(point, features[triangles[near]])
        k = int(distance.argmin())
        vertices.append(triangles[near[k]])
        weights.append(barycentric[k])
        distances.append(distance[k])
    return np.array(vertices), np.array(weights), np.array(distances)


def fit_sphere(points: Floats) -> tuple[Floats, float]:
    """Least-squares centre [3] and radius of points [N, 3]."""
    a = np.c_[2.0 * points, np.ones(len(points))]
    solution = np.linalg.lstsq(a, (points**2).sum(1), rcond=None)[0]
    return solution[:3], float(np.sqrt(solution[3] + (solution[:3] ** 2).sum()))


def make(source: FaceSource) -> dict[str, NDArray[np.generic]]:
    """Make the arrays of face_model.npz (see facestream.avatar.face_model) and print the report."""
    begun = time.time()
    neutral = source.neutral
    kept = [(i, new) for i, name in enumerate(source.expression_names) if (new := arkit_name(name)) is not None]
    expression = source.expression[[i for i, _ in kept]]
    names = [new for _, new in kept]
    identity = source.identity[:IDENTITY_MODES]
    polygons = source.polygons
    parts = {name: polygons_to_triangles(polygons[a:b]) for name, (a, b) in SOURCE_PARTS.items()}

    features = moving_features(neutral, expression)  # what the merge error is measured in
    jaw = -expression[names.index("jawOpen")][:, 1]
    blink = expression[names.index("eyeBlinkLeft")] + expression[names.index("eyeBlinkRight")]
    weight = density(neutral, blink)

    landmark_corners, landmark_weights = source.landmark_vertices, source.landmark_weights
    keep = np.zeros(len(neutral), dtype=bool)
    keep[landmark_corners[landmark_weights > 0.5]] = True
    fine = sorted({*LIP_INNER, *LIP_OUTER, *RIGHT_EYE, *LEFT_EYE})
    keep[np.unique(landmark_corners[fine][landmark_weights[fine] > 0.15])] = True

    groups: tuple[tuple[str, ...], ...] = (
        ("face", "head", "mouth_socket"),
        ("gums",),
        ("teeth",),
        ("eye_left",),
        ("eye_right",),
    )
    triangles: list[Ints] = []
    part: list[Ints] = []
    teeth = np.unique(parts["teeth"])
    lower = jaw > MOVING_TEETH_CM
    tongue = tongue_mask(neutral, parts["gums"], lower, teeth[lower[teeth]])
    for group in groups:
        joined = np.vstack([parts[name] for name in group])
        region = np.zeros(len(neutral), dtype=np.int64)
        for number, name in reversed(list(enumerate(group))):
            region[np.unique(parts[name])] = number
        if group[0].startswith("eye"):  # only the front of the ball is ever seen
            front = np.median(neutral[np.unique(joined), 2])
            joined = joined[(neutral[joined, 2] > front).all(1)]
        budgets = {number: BUDGETS[name] for number, name in enumerate(group)}
        fewer = decimate(joined, neutral, features, region, budgets, weight, keep)
        triangles.append(fewer)
        if group[0] in ("gums", "teeth"):
            low = lower[fewer].sum(1) >= 2
            tip = tongue[fewer].sum(1) >= 2
            upper_name, lower_name = f"{group[0]}_upper", f"{group[0]}_lower"
            labels = np.where(low, PARTS.index(lower_name), PARTS.index(upper_name))
            part.append(np.where(tip, PARTS.index("tongue"), labels) if group[0] == "gums" else labels)
        else:
            last = region[fewer].max(1)  # a seam's vertices count to the skin, its triangles to what lies behind
            part.append(np.array([PARTS.index(name) for name in group])[last])
        print(f"{'+'.join(group):24s} {len(np.unique(joined)):6d} -> {len(np.unique(fewer)):5d} vertices", flush=True)

    old, numbers = np.unique(np.vstack(triangles), return_inverse=True)
    mesh = numbers.reshape(-1, 3).astype(np.int64)
    part_of = np.concatenate(part)
    rest, moves, modes = neutral[old], expression[:, old], identity[:, old]
    visible = np.isin(np.arange(len(old)), mesh[part_of == PARTS.index("tongue")])
    moves = np.concatenate([moves, tongue_out(rest, visible)[None]])
    names.append("tongueOut")
    expression_q, expression_scale = quantise(moves)
    identity_q, identity_scale = quantise(modes)

    points = (features[source.seen_vertices] * source.seen_weights[..., None]).sum(1)
    skin = mesh[part_of == PARTS.index("face")]
    vertices, barycentric, distance = attach_landmarks(points, skin, features[old], rest[skin].mean(1))

    eyes = [fit_sphere(neutral[np.unique(parts[name])]) for name in ("eye_left", "eye_right")]
    rng = np.random.default_rng(0)
    faces = (rng.random((200, len(names))) < 0.15) * rng.random((200, len(names)))
    people = rng.normal(size=(200, len(modes)))
    print("8-bit shapes, at the kept vertices:")
    error = expression_q * expression_scale[:, None, None] - moves
    report_line("15 % of all shapes at random strength", np.linalg.norm(np.tensordot(faces, error, 1), axis=2))
    error = identity_q * identity_scale[:, None, None] - modes
    report_line(f"{len(modes)} identity modes, normal weights", np.linalg.norm(np.tensordot(people, error, 1), axis=2))
    report_line("468 landmarks, position and motion", distance)
    print(f"{len(old)} vertices, {len(mesh)} triangles, {len(names)} shapes, {time.time() - begun:.0f} s")
    return {
        "neutral": rest.astype(np.float32),
        "triangles": mesh.astype(np.uint16),
        "part": part_of.astype(np.uint8),
        "part_names": np.array(PARTS),
        "expression": expression_q,
        "expression_scale": expression_scale,
        "expression_names": np.array(names),
        "identity": identity_q,
        "identity_scale": identity_scale,
        "landmark_vertices": vertices.astype(np.uint16),
        "landmark_weights": barycentric.astype(np.float32),
        "jaw_weight": np.clip(jaw[old] / jaw.max(), 0.0, 1.0).astype(np.float32),
        "eye_centre": np.array([centre for centre, _ in eyes], dtype=np.float32),
        "eye_radius": np.array([radius for _, radius in eyes], dtype=np.float32),
    }


def report_line(label: str, centimetres: Floats) -> None:
    """Print the statistics of some distances."""
    e = 10.0 * centimetres
    print(
        f"  {label:52s} rms {np.sqrt((e**2).mean()):6.3f}  p99 {np.percentile(e, 99):6.3f}  max {e.max():6.3f} mm",
        flush=True,
    )


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_source_argument(parser)
    parser.add_argument("--flame", type=Path, metavar="FILE", help="your own FLAME (.pkl or .npz): use its people")
    parser.add_argument("--bfm", type=Path, metavar="FILE", help="your own Basel Face Model (.h5 or .mat), likewise")
    parser.add_argument("--report", action="store_true", help="make nothing; tell how accurate the present model is")
    parser.add_argument(
        "-o", "--output", type=Path, help=f"file to write; the project's own ({SHIPPED}) if made of ICT-FaceKit"
    )
    options = parser.parse_args()
    # These three need this module themselves.
    from export.face import face_model_adapt, face_model_foreign, face_model_report

    if options.report:
        try:
            face_model_report.write(chosen_source(parser, options), load_face_model(), options.output)
        except (ValueError, OSError) as error:
            parser.error(str(error))
        return 0
    if options.flame is not None and options.bfm is not None:
        parser.error("--flame and --bfm: expected one of them")
    if options.output is not None and options.output.suffix != ".npz":
        parser.error(f"-o {options.output}: a face model's name ends in .npz")
    if options.output is not None:
        try:
            options.output.parent.mkdir(parents=True, exist_ok=True)  # before the minutes of work, not after them
        except OSError as error:
            parser.error(f"-o {options.output}: cannot be written ({error.strerror})")
    foreign = options.flame or options.bfm
    if foreign is None:
        output = options.output or SHIPPED
        arrays = make(chosen_source(parser, options))
    else:
        if options.output is None:
            parser.error("-o FILE is needed: what is made of another group's model never replaces the project's own")
        output = options.output
        try:
            if options.flame is not None:
                other = face_model_foreign.read_flame(foreign, IDENTITY_MODES)
            else:
                other = face_model_foreign.read_bfm(foreign, IDENTITY_MODES)
            print(f"LICENCE: {other.licence}", file=sys.stderr)
            arrays = face_model_adapt.adapt(other, load_face_model())
        except ValueError as error:
            parser.error(str(error))
    np.savez_compressed(output, **arrays)  # type: ignore[arg-type]
    print(f"{output}: {output.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
