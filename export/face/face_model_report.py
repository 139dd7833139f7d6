"""How far the compact face is from its source, in millimetres: `python -m export.face.face_model --report`.

Each vertex of the source is followed on the compact surface: it is attached once, to a triangle, and its place there is
compared with its own place in every shape. That judges mesh, 8-bit shapes and left-out identity modes together, as
texture and neighbours move, which is harder than the distance of two surfaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from facestream.avatar import landmark_topology as topology
from facestream.avatar.face_model import FaceModel
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from export.face.face_model import (
    EYE_CENTRES,
    MOUTH_CENTRE,
    MOVING_TEETH_CM,
    SOURCE_PARTS,
    arkit_name,
    attach_landmarks,
    moving_features,
    polygons_to_triangles,
    tongue_mask,
)
from export.face.face_model_source import FaceSource

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RANDOM_FACES, RANDOM_PEOPLE = 200, 200
SHARE_OF_SHAPES = 0.15
"""A random face has so many of the shapes, each at a random strength."""

MARKS = "<!-- accuracy: begin -->", "<!-- accuracy: end -->"
"""Lines of a Markdown file that the report stands between."""


@dataclass(frozen=True)
class Accuracy:
    """Errors of one region, millimetres."""

    region: str
    vertices: int
    """Of the source."""
    rest: float
    """Root mean square at rest, mean face."""
    shapes: float
    """Root mean square over all single shapes at full strength."""
    worst_shape: tuple[float, str]
    """Largest error of a vertex in a single shape, and the shape's name."""
    faces: float
    """Root mean square over random mixtures of shapes."""
    faces_worst: float
    people: float
    """Root mean square over random people of all the source's modes, at rest."""
    people_99: float
    """99th percentile of the same."""
    people_worst: float


def regions(source: FaceSource) -> dict[str, Ints]:
    """Vertices of the source in each region, by part and place at rest."""
    rest = source.neutral
    part = {name: np.unique(polygons_to_triangles(source.polygons[a:b])) for name, (a, b) in SOURCE_PARTS.items()}
    triangles = polygons_to_triangles(source.polygons[slice(*SOURCE_PARTS["gums"])])
    jaw = -source.expression[source.expression_names.index("jawOpen")][:, 1]
    lower = jaw > MOVING_TEETH_CM
    teeth = part["teeth"]
    on_tongue = tongue_mask(rest, triangles, lower, teeth[lower[teeth]])
    skin = part["face"]
    x, y, z = rest[skin].T
    marks = (source.neutral[source.landmark_vertices] * source.landmark_weights[..., None]).sum(1)
    brows = marks[
        [
            *topology.RIGHT_BROW_UPPER,
            *topology.RIGHT_BROW_LOWER,
            *topology.LEFT_BROW_UPPER,
            *topology.LEFT_BROW_LOWER,
        ]
    ]
    near_brow = cKDTree(brows).query(rest[skin])[0] < 0.6
    lips = np.linalg.norm((rest[skin] - MOUTH_CENTRE) / [2.6, 1.2, 1.5], axis=1) < 1.0
    lids = np.min([np.linalg.norm((rest[skin] - c) / [1.7, 0.9, 1.5], axis=1) for c in EYE_CENTRES], axis=0) < 1.0
    cheeks = (np.abs(x) > 2.6) & (np.abs(x) < 7.0) & (y < 2.4) & (y > -4.5) & (z > 2.0) & ~lips & ~lids
    jawline = (y < -5.0) & (y > -10.0) & (z > 0.0)
    nose = (np.abs(x) < 2.0) & (y > -1.8) & (y < 3.0) & (z > 8.5)
    head = part["head"]
    return {
        "lips": skin[lips],
        "lids": skin[lids],
        "brows": skin[near_brow & ~lids],
        "cheeks": skin[cheeks],
        "nose": skin[nose],
        "jaw and chin": skin[jawline],
        "whole skin of the face": skin,
        "neck": head[(rest[head, 1] < -9.0)],
        "head and ears": np.setdiff1d(head[(rest[head, 1] >= -9.0)], skin),
        "mouth socket": part["mouth_socket"],
        "upper teeth": teeth[~lower[teeth]],
        "lower teeth": teeth[lower[teeth]],
        "tongue": part["gums"][on_tongue[part["gums"]]],
    }


def measure(source: FaceSource, model: FaceModel) -> list[Accuracy]:
    """Measure every region."""
    names = [(i, arkit_name(name)) for i, name in enumerate(source.expression_names)]
    rows = [(i, model.row(new)) for i, new in names if new is not None]
    expression = source.expression[[i for i, _ in rows]]
    own_expression = model.expression[[row for _, row in rows]].astype(np.float64)
    shape_names = [model.expression_names[row] for _, row in rows]
    number = cKDTree(source.neutral).query(model.neutral)[1]  # the source's number of each compact vertex

    features = moving_features(source.neutral, expression)

    rng = np.random.default_rng(0)
    faces = (rng.random((RANDOM_FACES, len(rows))) < SHARE_OF_SHAPES) * rng.random((RANDOM_FACES, len(rows)))
    people = rng.normal(size=(RANDOM_PEOPLE, len(source.identity)))
    surface = {
        "skin": model.part_triangles("face", "head", "mouth_socket"),
        "gums": model.part_triangles("gums_upper", "gums_lower", "tongue"),
        "teeth": model.part_triangles("teeth_upper", "teeth_lower"),
    }
    results = []
    for region, vertices in regions(source).items():
        kind = "teeth" if "teeth" in region else "gums" if region == "tongue" else "skin"
        triangles = surface[kind]
        corner, weight, _ = attach_landmarks(
            features[vertices], triangles, features[number], model.neutral[triangles].mean(1).astype(np.float64)
        )

        def carried(shapes: NDArray[np.floating], corner: Ints = corner, weight: Floats = weight) -> Floats:
            """[..., n, 3] what the compact surface does at the region's vertices."""
            at: Floats = (shapes[..., corner, :].astype(np.float64) * weight[..., None]).sum(-2)
            return at

        rest_error = carried(model.neutral) - source.neutral[vertices]  # [n, 3]
        shape_error = carried(own_expression) - expression[:, vertices]  # [E, n, 3]
        mode_error = -source.identity[:, vertices]
        mode_error[: len(model.identity)] += carried(model.identity)
        single = 10.0 * np.linalg.norm(shape_error + rest_error, axis=2)
        mixed = 10.0 * np.linalg.norm(np.tensordot(faces, shape_error, 1) + rest_error, axis=2)
        person = 10.0 * np.linalg.norm(np.tensordot(people, mode_error, 1) + rest_error, axis=2)
        at = int(single.max(1).argmax())
        results.append(
            Accuracy(
                region,
                len(vertices),
                _rms(10.0 * np.linalg.norm(rest_error, axis=1)),
                _rms(single),
                (float(single.max()), shape_names[at]),
                _rms(mixed),
                float(mixed.max()),
                _rms(person),
                float(np.percentile(person, 99)),
                float(person.max()),
            )
        )
    return results


def _rms(values: Floats) -> float:
    return float(np.sqrt((values**2).mean()))


def table(results: list[Accuracy]) -> str:
    """A Markdown table of the errors, millimetres."""
    lines = [
        "| region | vertices | rest, rms | single shapes, rms | worst vertex (shape) | mixtures, rms | worst "
        "| people, rms | 99 % | worst |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for a in results:
        lines.append(
            f"| {a.region} | {a.vertices} | {a.rest:.3f} | {a.shapes:.3f} | {a.worst_shape[0]:.2f} ({a.worst_shape[1]})"
            f" | {a.faces:.3f} | {a.faces_worst:.2f} | {a.people:.2f} | {a.people_99:.2f} | {a.people_worst:.2f} |"
        )
    return "\n".join(lines)


def closures(model: FaceModel) -> str:
    """What is left of the openings that must close, as lines of text."""
    marks = model.landmarks(model.neutral.astype(np.float64))
    lines = []
    for side, upper, lower in (
        ("Left", topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER),
        ("Right", topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER),
    ):
        shut = marks + model.landmarks(model.expression[model.row(f"eyeBlink{side}")].astype(np.float64))
        open_gap, gap = (10.0 * (m[list(upper[1:-1]), 1] - m[list(lower[1:-1]), 1]) for m in (marks, shut))
        lines.append(
            f"- {side.lower()} lids: {open_gap.max():.1f} mm apart at rest, {gap.max():.1f} mm at eyeBlink{side} 1"
            " (largest, along the lid)"
        )
    gap = 10.0 * (marks[list(topology.LIP_UPPER_INNER), 1] - marks[list(topology.LIP_LOWER_INNER), 1])
    lines.append(f"- inner lips at rest: {gap.max():.1f} mm apart (largest)")
    return "\n".join(lines)


def parts(model: FaceModel) -> str:
    """What the model consists of, as lines of text."""
    return "\n".join(
        f"- {name}: {len(model.part_vertices(name))} vertices, {len(model.part_triangles(name))} triangles"
        for name in model.part_names
    )


def write(source: FaceSource, model: FaceModel, output: Path | None) -> None:
    """Print the report and, if a file is given, put it between that file's marks MARKS."""
    text = "\n\n".join(
        (
            f"{len(model.neutral)} vertices, {len(model.triangles)} triangles, {len(model.expression)} shapes,"
            f" {len(model.identity)} of {len(source.identity)} identity modes.",
            parts(model),
            "Millimetres between where a vertex of the source is and where the compact surface carries it:",
            table(measure(source, model)),
            "Openings that must close (between landmark points, lids in the middle of a lid):",
            closures(model),
        )
    )
    print(text)
    if output is None:
        return
    before, found, rest = output.read_text(encoding="utf-8").partition(MARKS[0])
    _, ended, after = rest.partition(MARKS[1])
    if not (found and ended):
        raise ValueError(f"{output}: has no lines {MARKS[0]} and {MARKS[1]} to write between")
    output.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}", encoding="utf-8")
