"""Find which surface point each facial landmark shows: `python -m export.face.calibrate_landmarks FOLDER`.

The landmark network was taught by people who clicked at pictures; nobody knows which point of a skull it means by
landmark 61. So it is asked: it looks at rendered faces of many people, poses and expressions, of which each vertex is
known in the picture, and for each landmark the point of the face model's surface is sought that lies nearest to what
it said, over all pictures. A picture and its mirror image both count, so left and right come out alike.

A FOLDER holds pictures NAME.png and, for each, NAME.npy: float [V, 3], the vertices of the face model in the picture
(x px, y px, depth in any unit), as `python -m export.face.calibration_pictures` makes them. The name's part before the
first underscore tells the person: some people are kept out of the search, and the error is told for them.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from facestream.avatar import landmark_topology as topology
from facestream.avatar.face_model import PATH, FaceModel, load_face_model
from facestream.avatar.fit import similarity
from facestream.avatar.landmarks import LOOKS, detect_faces, find_landmarks
from facestream.avatar.photo import PhotoError, read_photo
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from export.face.face_model import SOURCE_PARTS, polygons_to_triangles
from export.face.face_model_decimate import closest_on_triangles
from export.face.face_model_source import CALIBRATED, FaceSource, add_source_argument, chosen_source

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REACH_CM = 1.6
"""A landmark's new point is sought this far about its old one."""
HUBER_CM = 0.12
"""Errors beyond this count by their size, not by its square: a landmark sometimes jumps."""
ITERATIONS = 6
LOOKS_PER_PICTURE = LOOKS[:: len(LOOKS) // 12]
MIRROR_TOLERANCE_CM = 0.25
HELD_OUT_SHARE = 0.25
MIDDLE = (topology.FOREHEAD, topology.NOSE_TIP, 0, 17, topology.CHIN)
"""Landmarks between left and right."""

REGIONS = {
    "lips": tuple({*topology.LIP_OUTER, *topology.LIP_INNER}),
    "lids": tuple({*topology.RIGHT_EYE, *topology.LEFT_EYE}),
    "brows": (
        *topology.RIGHT_BROW_UPPER,
        *topology.RIGHT_BROW_LOWER,
        *topology.LEFT_BROW_UPPER,
        *topology.LEFT_BROW_LOWER,
    ),
    "oval": topology.FACE_OVAL,
    "all": tuple(range(topology.MESH_POINTS)),
}
"""Landmarks of each region that errors are told for."""


@dataclass(frozen=True)
class Views:
    """Pictures of known faces, each in its own unit: centimetres of a head of mean size."""

    person: tuple[str, ...]
    """[N] who is shown."""
    vertices: Floats
    """[N, V, 2] the face model's vertices."""
    landmarks: Floats
    """[N, 468, 2] what the landmark network said."""
    scale: Floats
    """[N] px per centimetre."""
    pairs: Ints
    """[468] the landmark on the other side."""

    def chosen(self, which: NDArray[np.bool_]) -> Views:
        """The views that a mask [N] chooses."""
        people = tuple(name for name, use in zip(self.person, which, strict=True) if use)
        return Views(people, self.vertices[which], self.landmarks[which], self.scale[which], self.pairs)


def read_views(folder: Path, model: FaceModel) -> Views:
    """Run the landmark network on a folder's pictures.

    Raises:
        ValueError: there are no pictures, or a file beside one does not fit the face model.
    """
    person, vertices, landmarks, scale = [], [], [], []
    for path in sorted(folder.glob("*.png")):
        points = np.load(path.with_suffix(".npy"), allow_pickle=False).astype(np.float64)
        if points.shape != model.neutral.shape or not np.isfinite(points).all():
            raise ValueError(
                f"{path.with_suffix('.npy')}: expected finite float {list(model.neutral.shape)}, got {points.shape}"
            )
        rgb = read_photo(path)
        faces = detect_faces(rgb)
        if not faces:
            print(f"{path.name}: no face was found, left out")
            continue
        seen = find_landmarks(rgb, faces[0], LOOKS_PER_PICTURE)
        if seen.presence < 0.9:
            print(f"{path.name}: certainty {seen.presence:.2f}, left out")
            continue
        size = picture_scale(points[:, :2], model)
        person.append(path.stem.split("_")[0])
        vertices.append(points[:, :2] / size)
        landmarks.append(seen.landmarks[: topology.MESH_POINTS].astype(np.float64) / size)
        scale.append(size)
    if not person:
        raise ValueError(f"{folder}: holds no picture of a face")
    shapes = np.array(landmarks)
    return Views(tuple(person), np.array(vertices), shapes[..., :2], np.array(scale), mirror_pairs(shapes))


def picture_scale(points: Floats, model: FaceModel) -> float:
    """Pixels per centimetre of a mean head whose vertices lie at `points` [V, 2] in the picture."""
    rest = np.c_[model.neutral.astype(np.float64), np.ones(len(points))]
    affine = np.linalg.lstsq(rest, points, rcond=None)[0][:3]  # [3, 2]: a scaled projection
    return float(np.linalg.svd(affine, compute_uv=False).mean())


def mirrored(views: Views, model: FaceModel) -> Views:
    """The same views seen in a mirror; a vertex takes the place of the point opposite to it, on the other side's skin.

    The compact mesh is not symmetric, so the opposite point lies within a triangle. It is found by rest position and
    motion together, since the lips touch at rest.
    """
    flip = np.array([-1.0, 1.0, 1.0])
    used = np.unique(model.part_triangles("face"))
    corners, weights = opposite(model, used[:, None], np.ones((len(used), 1)))
    off = np.linalg.norm((model.neutral[corners] * weights[..., None]).sum(1) - model.neutral[used] * flip, axis=1)
    vertices = np.full_like(views.vertices, np.nan)
    vertices[:, used] = np.einsum("vc,nvcd->nvd", weights, views.vertices[:, corners])
    vertices[:, used[off > MIRROR_TOLERANCE_CM]] = np.nan
    vertices[..., 0] *= -1.0
    landmarks = views.landmarks[:, views.pairs] * flip[:2]
    return replace(views, vertices=vertices, landmarks=landmarks)


def opposite(model: FaceModel, corners: Ints, weights: Floats) -> tuple[Ints, Floats]:
    """For surface points, vertices [N, C] and weights [N, C], those of the opposite points, [N, 3] each."""
    rows = [model.expression_names.index(_other_side(name)) for name in model.expression_names]
    own = np.concatenate([model.neutral[None], 2.0 * model.expression]).astype(np.float64)
    other = np.concatenate([model.neutral[None], 2.0 * model.expression[rows]]) * [-1.0, 1.0, 1.0]
    features, wanted = (shape.transpose(1, 0, 2).reshape(len(model.neutral), -1) for shape in (own, other))
    skin = model.part_triangles("face")
    tree = cKDTree(model.neutral[skin].mean(1))
    found, shares = [], []
    for corner, weight in zip(corners, weights, strict=True):
        point = weight @ wanted[corner]
        near = tree.query(point[:3], k=24)[1]
        distance, barycentric = closest_on_triangles(point, features[skin[near]])
        best = int(distance.argmin())
        found.append(skin[near[best]])
        shares.append(barycentric[best])
    return np.array(found), np.array(shares)


def _other_side(name: str) -> str:
    for side, other in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(side):
            return name.removesuffix(side) + other
    return name


def mirror_pairs(shapes: Floats) -> Ints:
    """[468] the landmark on the other side, of the network's landmarks [N, 468, 3] of many faces.

    Their mean is symmetric enough to pair each point with the one that lies nearest to its mirror image.
    """
    mean = shapes[0] - shapes[0].mean(0)
    for _ in range(3):
        aligned = []
        for shape in shapes:
            scale, rotation, shift = similarity(shape, mean, np.ones(len(mean)))
            aligned.append(scale * shape @ rotation + shift)
        mean = np.mean(aligned, axis=0)
    # Stand it upright and straight, so that its own mirror plane is x = 0.
    across = mean[list(topology.LEFT_EYE)].mean(0) - mean[list(topology.RIGHT_EYE)].mean(0)
    down = mean[topology.CHIN] - mean[topology.FOREHEAD]
    x = across / np.linalg.norm(across)
    y = (down - (down @ x) * x) / np.linalg.norm(down - (down @ x) * x)
    mean = (mean - mean[list(MIDDLE)].mean(0)) @ np.stack([x, y, np.cross(x, y)], axis=1)
    flipped = mean * [-1.0, 1.0, 1.0]
    distance = np.linalg.norm(mean[:, None] - flipped[None], axis=2)
    return np.asarray(linear_sum_assignment(distance**2)[1], dtype=np.int64)


def calibrate(views: Views, model: FaceModel) -> tuple[Ints, Floats]:
    """Seek the surface point of each landmark.

    Returns:
        Vertices [468, 3] and barycentric weights [468, 3] of the compact face.
    """
    skin = model.part_triangles("face")
    usable = np.isfinite(views.vertices[:, skin]).all((0, 2, 3))
    skin = skin[usable]
    tree = cKDTree(model.neutral[skin].mean(1))
    rest = model.landmarks(model.neutral.astype(np.float64))
    vertices, weights, costs = [], [], []
    for number in range(topology.MESH_POINTS):
        near = np.array(tree.query_ball_point(rest[number], REACH_CM), dtype=np.int64)
        corners = views.vertices[:, skin[near]].transpose(1, 0, 2, 3)  # [T, N, 3, 2]
        found, cost = _nearest_point(corners, views.landmarks[:, number])
        best = int(cost.argmin())
        vertices.append(skin[near[best]])
        weights.append(found[best])
        costs.append(float(cost[best]))
    # Both sides have seen the same, mirrored; where skins touch (corners of the lips) a hair decides between them.
    corner, share, cost = np.array(vertices), np.array(weights), np.array(costs)
    partner = views.pairs
    worse = np.flatnonzero(cost > cost[partner])
    corner[worse], share[worse] = opposite(model, corner[partner[worse]], share[partner[worse]])
    return corner, share


def _nearest_point(corners: Floats, seen: Floats) -> tuple[Floats, Floats]:
    """For each triangle, the point of it that is nearest to what was seen, over all pictures.

    Args:
        corners: [T, N, 3, 2].
        seen: [N, 2].

    Returns:
        Barycentric weights [T, 3], robust costs [T].
    """
    origin, u, v = corners[:, :, 0], corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
    w = seen - origin  # [T, N, 2]
    trust = np.ones(corners.shape[:2])
    for _ in range(ITERATIONS):
        t = trust[..., None]
        uu, uv, vv = (t * u * u).sum((1, 2)), (t * u * v).sum((1, 2)), (t * v * v).sum((1, 2))
        wu, wv = (t * w * u).sum((1, 2)), (t * w * v).sum((1, 2))
        det = np.maximum(uu * vv - uv * uv, 1e-12)
        b, c = (vv * wu - uv * wv) / det, (uu * wv - uv * wu) / det
        inside = np.clip(np.stack([1.0 - b - c, b, c], axis=1), 0.0, None)
        inside /= inside.sum(1, keepdims=True)
        error = np.linalg.norm(np.einsum("tk,tnkd->tnd", inside, corners) - seen, axis=2)
        trust = np.minimum(1.0, HUBER_CM / np.maximum(error, 1e-9))
    robust = np.where(error < HUBER_CM, 0.5 * error**2, HUBER_CM * (error - 0.5 * HUBER_CM))
    return inside, robust.mean(1)


def landmark_error(views: Views, vertices: Ints, weights: NDArray[np.floating]) -> Floats:
    """[N, 468] centimetres in the picture from each surface point to the landmark."""
    points = (views.vertices[:, vertices] * weights[..., None]).sum(2)
    distance: Floats = np.linalg.norm(points - views.landmarks, axis=2)
    return distance


def report(label: str, views: Views, error: Floats) -> None:
    """Print the errors by region, in millimetres and, for a face as large as an avatar's picture has it, pixels."""
    print(f"{label}: {len(set(views.person))} people, {len(views.scale)} pictures")
    for name, own in REGIONS.items():
        e = 10.0 * error[:, list(own)]
        print(
            f"  {name:6s} median {np.median(e):5.2f} mm   rms {np.sqrt((e**2).mean()):5.2f} mm"
            f"   95 % below {np.percentile(e, 95):5.2f} mm   (median {np.median(e) * AVATAR_PX_PER_MM:5.2f} px)"
        )


AVATAR_PX_PER_MM = 1.33
"""Of a mean face in an avatar's 512 x 512 picture."""


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="pictures and their vertices")
    parser.add_argument("--write", action="store_true", help="write the new points into the table and the face model")
    add_source_argument(parser)
    options = parser.parse_args()
    model = load_face_model()
    source = chosen_source(parser, options) if options.write else None  # before the search, which takes minutes
    try:
        views = read_views(options.folder, model)
    except (ValueError, FileNotFoundError, PhotoError) as error:
        parser.error(str(error))
    people = sorted(set(views.person))
    kept_out = set(people[:: max(round(1 / HELD_OUT_SHARE), 2)]) if len(people) > 1 else set()
    out = np.array([person in kept_out for person in views.person])
    search, judge = views.chosen(~out), views.chosen(out)
    before = model.landmark_vertices, model.landmark_weights
    vertices, weights = calibrate(_with_mirror(search, model), model)
    if kept_out:
        report("before, people kept out", judge, landmark_error(judge, *before))
        report("after, people kept out", judge, landmark_error(judge, vertices, weights))
    report("before, people searched in", search, landmark_error(search, *before))
    report("after, people searched in", search, landmark_error(search, vertices, weights))
    moved = np.linalg.norm(
        (model.neutral[vertices] * weights[..., None]).sum(1) - model.landmarks(model.neutral), axis=1
    )
    print(f"moved by median {10 * np.median(moved):.2f} mm, at most {10 * moved.max():.2f} mm")
    if source is not None:
        vertices, weights = calibrate(_with_mirror(views, model), model)  # now of all people
        try:
            write(source, model, vertices, weights)
        except ValueError as error:
            parser.error(str(error))
    return 0


def _with_mirror(views: Views, model: FaceModel) -> Views:
    other = mirrored(views, model)
    return Views(
        views.person + other.person,
        np.concatenate([views.vertices, other.vertices]),
        np.concatenate([views.landmarks, other.landmarks]),
        np.concatenate([views.scale, other.scale]),
        views.pairs,
    )


def write(source: FaceSource, model: FaceModel, vertices: Ints, weights: Floats) -> None:
    """Write the table of the source's numbers and put the same points into the face model's file.

    Raises:
        ValueError: the face model was made of another source.
    """
    # Of the skin alone: the source's tear and shadow meshes have vertices at the very places of the lids' own.
    skin = np.unique(polygons_to_triangles(source.polygons[slice(*SOURCE_PARTS["face"])]))
    distance, nearest = cKDTree(source.neutral[skin]).query(model.neutral)
    number = skin[nearest]
    if distance[np.unique(vertices)].max() > 1e-4:
        raise ValueError("the face model's vertices are none of the source's: it was made of another one")
    lines = ["# landmark, three vertices of ICT-FaceKit (from 0), their barycentric weights"]
    for index in range(topology.MESH_POINTS):
        corners = ",".join(str(number[vertex]) for vertex in vertices[index])
        parts = ",".join(f"{weight:.5f}" for weight in weights[index])
        lines.append(f"{index},{corners},{parts}")
    CALIBRATED.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with np.load(PATH, allow_pickle=False) as data:
        arrays = dict(data)
    arrays["landmark_vertices"] = vertices.astype(np.uint16)
    arrays["landmark_weights"] = weights.astype(np.float32)
    np.savez_compressed(PATH, **arrays)
    print(f"wrote {CALIBRATED.name} and {PATH.name}")


if __name__ == "__main__":
    sys.exit(main())
