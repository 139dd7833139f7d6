"""Teeth, gums and tongue: colour by person, film of saliva, and a tongue that lifts a little as the jaw opens."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from facestream.parameters import INDEX
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from export.face.face_model import polygons_to_triangles, tongue_mask, tongue_out
from export.face.face_model_source import FaceSource
from export.face.people.head import Head
from export.face.people.person import Person
from export.face.people.subdivision import FinerMesh, subdivide
from export.face.people.surface_field import plane_wave_noise, smoothstep

Floats = NDArray[np.float64]

JAW_CM: Final = 0.3
"""What jawOpen lowers by more than this belongs to the lower jaw."""

ROOT_Z: Final = 5.0
TIP_Z: Final = 9.7


def gum_mesh(head: Head) -> FinerMesh:
    """Gums and tongue, subdivided once."""
    return subdivide(head.polygons("gums"), len(head.mean), 1)


def tooth_mesh(head: Head) -> FinerMesh:
    """All teeth, subdivided once."""
    return subdivide(head.polygons("teeth"), len(head.mean), 1)


def _lower(source: FaceSource) -> NDArray[np.bool_]:
    down: NDArray[np.bool_] = -source.expression[source.expression_names.index("jawOpen"), :, 1] > JAW_CM
    return down


def tongue(head: Head) -> NDArray[np.bool_]:
    """[26719] which vertices are the tongue."""
    lower = _lower(head.source)
    teeth = np.unique(head.polygons("teeth")[head.polygons("teeth") >= 0])
    return tongue_mask(head.mean, polygons_to_triangles(head.polygons("gums")), lower, teeth[lower[teeth]])


def tongue_motion(person: Person) -> Any:
    """Function (vertices [26719, 3], PARAMETERS) -> vertices with the tongue lifted and slid as the jaw asks.

    ICT-FaceKit's tongue only rides on the jaw. A real one keeps nearer to the palate as the jaw drops: here its body
    rises by up to a quarter of the drop, soonest at the beginning, and tongueOut slides it over the lip.
    """
    head = person.head
    mask = tongue(head)
    where = np.flatnonzero(mask)
    out = tongue_out(head.mean, mask)[where]
    reach = np.clip((head.mean[where, 2] - ROOT_Z) / (TIP_Z - ROOT_Z), 0.0, 1.0)
    lift = np.zeros((len(where), 3))
    lift[:, 1] = 0.42 * smoothstep(0.0, 0.6, reach) * person.generator("tongue").uniform(0.6, 1.2)
    lift[:, 2] = 0.10 * reach

    def move(vertices: Floats, parameters: NDArray[np.floating]) -> Floats:
        open_ = float(np.clip(parameters[INDEX["jawOpen"]], 0.0, 1.0))
        slid = float(np.clip(parameters[INDEX["tongueOut"]], 0.0, 1.0))
        moved = vertices.copy()
        moved[where] += np.sqrt(open_) * lift + slid * out
        return moved

    return move


def paint_gums(person: Person, mesh: FinerMesh) -> dict[str, Floats]:
    """Attributes "albedo" [W, 4] and "tongue" [W]."""
    head = person.head
    g = person.generator("gums")
    points = mesh(head.mean)
    is_tongue = np.clip(mesh(tongue(head).astype(float)), 0.0, 1.0)
    pigment = 1.0 - 0.5 * person.traits.skin * np.array([0.7, 0.75, 0.7])
    gum = np.array([0.50, 0.17, 0.15]) * g.uniform(0.75, 1.15) * pigment
    flesh = np.array([0.52, 0.20, 0.18]) * g.uniform(0.8, 1.15) * (0.4 + 0.6 * pigment)
    mottle = 0.10 * plane_wave_noise(points, g, 0.5) + 0.08 * plane_wave_noise(points, g, 0.15)
    coating = smoothstep(7.0, 9.0, points[:, 2]) * smoothstep(0.0, 1.0, is_tongue) * g.uniform(0.0, 0.25)
    albedo = gum + (flesh - gum) * is_tongue[:, None]
    albedo = albedo * np.exp(mottle)[:, None] + coating[:, None] * np.array([0.10, 0.12, 0.10])
    # the back of the mouth sees no light in life either; ICT-FaceKit's has no throat
    albedo *= (0.35 + 0.65 * smoothstep(4.0, 7.5, points[:, 2]))[:, None]
    return {"albedo": np.c_[albedo, np.ones(len(albedo))], "tongue": is_tongue}


def paint_teeth(person: Person, mesh: FinerMesh) -> dict[str, Floats]:
    """Attribute "albedo" [W, 4]: shade by person, yellower at the neck, clearer at the edge, each tooth its own."""
    head, shade = person.head, person.traits.teeth_shade
    g = person.generator("teeth")
    points = mesh(head.mean)
    lower = mesh(_lower(head.source).astype(float)) > 0.5
    bright, stained = np.array([0.62, 0.585, 0.51]), np.array([0.52, 0.43, 0.29])
    base = bright + (stained - bright) * shade
    # teeth are separate pieces: every piece has its own shade
    piece = _pieces(mesh)
    own = g.normal(0.0, 0.035, piece.max() + 1)
    albedo = base * np.exp(own[piece])[:, None]
    for rows, edge_sign in ((~lower, -1.0), (lower, 1.0)):
        if not rows.any():
            continue
        y = points[rows, 1] * edge_sign
        low, high = np.percentile(y, (2.0, 98.0))
        along = (y - low) / max(high - low, 1e-6)  # 0 at the neck, 1 at the edge
        neck = smoothstep(0.55, 0.05, along)
        tip = smoothstep(0.82, 1.0, along)
        albedo[rows] *= 1.0 - neck[:, None] * np.array([0.06, 0.14, 0.26])
        albedo[rows] *= 1.0 - tip[:, None] * np.array([0.14, 0.10, 0.03])
    depth = smoothstep(5.0, 9.5, points[:, 2])
    albedo *= (0.55 + 0.45 * depth)[:, None]
    albedo *= np.exp(0.03 * plane_wave_noise(points, g, 0.25))[:, None]
    return {"albedo": np.c_[np.clip(albedo, 0.02, 0.9), np.ones(len(albedo))]}


def _pieces(mesh: FinerMesh) -> NDArray[np.int64]:
    """[W] number of the connected piece that each vertex belongs to."""
    count = mesh.matrix.shape[0]
    a, b = mesh.polygons[:, :3].ravel(), mesh.polygons[:, 1:].ravel()
    graph = sparse.coo_matrix((np.ones(len(a)), (a, b)), shape=(count, count))
    labels: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def tooth_material() -> Any:
    """Blender material: enamel lets light in and shines wet."""
    from export.face.people.shader import Shader

    shader = Shader("teeth")
    return shader.principled(
        Base_Color=shader.attribute("albedo", "Color"),
        Roughness=0.32,
        Specular_IOR_Level=0.5,
        Subsurface_Weight=0.55,
        Subsurface_Radius=(1.0, 0.8, 0.6),
        Subsurface_Scale=0.0016,
        Coat_Weight=0.7,
        Coat_Roughness=0.06,
        Coat_IOR=1.36,
    )


def gum_material() -> Any:
    """Blender material of gums and tongue: wet flesh; the tongue is rough under its film."""
    from export.face.people.shader import Shader

    shader = Shader("gums")
    is_tongue = shader.attribute("tongue")
    position = shader.node("TexCoord", {}, "Object")
    papillae = shader.noise(position, 900.0, 2.0, 0.6)
    normal = shader.relief(papillae, shader.math("MULTIPLY_ADD", is_tongue, 0.4, 0.12), 0.0006)
    return shader.principled(
        Base_Color=shader.attribute("albedo", "Color"),
        Roughness=shader.math("MULTIPLY_ADD", is_tongue, 0.12, 0.30),
        Normal=normal,
        Subsurface_Weight=0.7,
        Subsurface_Radius=(1.0, 0.35, 0.25),
        Subsurface_Scale=0.003,
        Coat_Weight=0.8,
        Coat_Roughness=0.08,
        Coat_IOR=1.36,
    )
