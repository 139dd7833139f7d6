"""Read the source of the compact face: ICT-FaceKit's `FaceXModel` folder, or the same packed as one .npz file.

ICT-FaceKit (github.com/ICT-VGL/ICT-FaceKit, MIT) keeps one .obj file for each shape. The order of the vertices has
changed in its history; the numbers of parts and landmarks used here hold for the order of commit
12b242aa4fdd39d040a4b3a750f83b0739194db3. Reading 158 text files takes a while, hence the packed form:

    python -m export.face.face_model_source FaceXModel -o ict_facekit.npz

Which surface point each MediaPipe landmark shows is not part of ICT-FaceKit: `face_model_landmarks_calibrated.csv` says
it, found by running the landmark network on renders of the model.
"""

from __future__ import annotations

import argparse
import os
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LANDMARKS = Path(__file__).with_name("face_model_landmarks.csv")
"""Lines of lips, lids and brows on the source, one point for each landmark: decimation keeps them, people are painted
along them. What the landmark network sees is CALIBRATED."""

CALIBRATED = Path(__file__).with_name("face_model_landmarks_calibrated.csv")
"""The surface point that each landmark of the network shows, of `python -m export.face.calibrate_landmarks`."""

VERTICES, POLYGONS, IDENTITY_MODES = 26719, 26384, 100
FIRST_VERTEX = (0.0, -2.48251, 11.8387)
"""cm; tells the order of the vertices that the numbers of parts and landmarks were made for."""


@dataclass(frozen=True)
class FaceSource:
    """ICT-FaceKit's light model; x to the person's left, y up, z to the viewer, centimetres."""

    neutral: NDArray[np.float64]
    """[26719, 3]."""
    identity: NDArray[np.float64]
    """[100, 26719, 3] displacement per standard deviation of each mode."""
    expression: NDArray[np.float64]
    """[57, 26719, 3] displacement at full strength."""
    expression_names: tuple[str, ...]
    """Its own names: ARKit's with `_L` and `_R`, and some more."""
    polygons: NDArray[np.int64]
    """[26384, 4]; -1 in the last column marks a triangle."""
    landmark_vertices: NDArray[np.int64]
    """[468, 3] of LANDMARKS."""
    landmark_weights: NDArray[np.float64]
    """[468, 3] barycentric."""
    seen_vertices: NDArray[np.int64]
    """[468, 3] of CALIBRATED."""
    seen_weights: NDArray[np.float64]
    """[468, 3] barycentric."""


def read_source(path: Path) -> FaceSource:
    """Read a FaceXModel folder or a packed file.

    Raises:
        ValueError: it is neither, or not the expected version; the message says what was found.
    """
    if path.is_dir():
        neutral, polygons = read_obj(path / "generic_neutral_mesh.obj")
        identity = np.stack([_displacement(path / f"identity{i:03d}.obj", neutral) for i in range(IDENTITY_MODES)])
        known = {"generic_neutral_mesh.obj", *(f"identity{i:03d}.obj" for i in range(IDENTITY_MODES))}
        files = sorted(file for file in path.glob("*.obj") if file.name not in known)
        expression = np.stack([_displacement(file, neutral) for file in files])
        names = tuple(file.stem for file in files)
    elif path.is_file():
        needed = ("neutral", "identity", "expression", "expression_names", "quads")
        try:
            with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as data:  # NumPy reads more than archives
                packed = {name: data[name] for name in needed if name in data.files}
        except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path}: cannot be read as the packed file ({error})") from error
        if missing := [name for name in needed if name not in packed]:
            raise ValueError(f"{path}: array {missing[0]!r} is missing; pack it with export.face.face_model_source")
        neutral, identity, expression = (packed[name].astype(np.float64) for name in needed[:3])
        names = tuple(str(name) for name in packed["expression_names"])
        polygons = packed["quads"].astype(np.int64)
    else:
        raise ValueError(f"{path}: expected ICT-FaceKit's folder FaceXModel, or the file packed of it")
    if neutral.shape != (VERTICES, 3) or polygons.shape != (POLYGONS, 4):
        raise ValueError(
            f"{path}: has {len(neutral)} vertices and {len(polygons)} polygons, expected {VERTICES} and {POLYGONS}"
        )
    if not np.allclose(neutral[0], FIRST_VERTEX, atol=1e-4):
        raise ValueError(
            f"{path}: the first vertex is {neutral[0].round(5).tolist()}, expected {list(FIRST_VERTEX)}:"
            " this is another version of ICT-FaceKit"
        )
    lines, seen = (np.loadtxt(table, delimiter=",", comments="#") for table in (LANDMARKS, CALIBRATED))
    return FaceSource(
        neutral,
        identity,
        expression,
        names,
        polygons,
        lines[:, 1:4].astype(np.int64),
        lines[:, 4:7].copy(),
        seen[:, 1:4].astype(np.int64),
        seen[:, 4:7].copy(),
    )


def read_obj(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices [V, 3] and polygons [P, 4] (numbered from 0, -1 padding triangles) of a Wavefront .obj file."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    vertices: list[list[float]] = []
    polygons: list[list[int]] = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            kind, *words = line.split() or [""]
            try:
                if kind == "v":
                    x, y, z = map(float, words[:3])
                    vertices.append([x, y, z])
                elif kind == "f":
                    corners = [int(word.split("/")[0]) - 1 for word in words]
                    if len(corners) not in (3, 4):
                        raise ValueError(f"a polygon of {len(corners)} corners, expected 3 or 4")
                    polygons.append([*corners, -1][:4])
            except ValueError as error:
                raise ValueError(f"{path}: line {number}: {error}") from error
    return np.array(vertices), np.array(polygons, dtype=np.int64)


def _displacement(path: Path, neutral: NDArray[np.float64]) -> NDArray[np.float64]:
    shape, _ = read_obj(path)
    if shape.shape != neutral.shape:
        raise ValueError(f"{path}: has {len(shape)} vertices, the neutral mesh {len(neutral)}")
    return shape - neutral


def add_source_argument(parser: argparse.ArgumentParser) -> None:
    """Let a command be told where the source lies."""
    parser.add_argument(
        "--ict-facekit",
        type=Path,
        default=os.environ.get("ICT_FACEKIT"),
        metavar="PATH",
        help="ICT-FaceKit's folder FaceXModel, or the packed file; the environment's ICT_FACEKIT if not given",
    )


def chosen_source(parser: argparse.ArgumentParser, options: argparse.Namespace) -> FaceSource:
    """Read the source that a command was told of; ends it with a clear word where there is none to be read."""
    if options.ict_facekit is None:
        parser.error(
            "--ict-facekit PATH (or ICT_FACEKIT) is needed: ICT-FaceKit's folder FaceXModel, or the packed file"
        )
    try:
        return read_source(options.ict_facekit)
    except ValueError as error:
        parser.error(f"--ict-facekit: {error}")


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FaceXModel", help="folder of a checkout of ICT-FaceKit")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="packed file (.npz) to write")
    options = parser.parse_args()
    if options.output.suffix != ".npz":
        parser.error(f"-o {options.output}: the packed file's name ends in .npz")
    try:
        options.output.parent.mkdir(parents=True, exist_ok=True)  # before the minutes of reading, not after them
        source = read_source(options.folder)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    np.savez_compressed(
        options.output,
        neutral=source.neutral.astype(np.float32),
        identity=source.identity.astype(np.float16),
        expression=source.expression.astype(np.float16),
        expression_names=np.array(source.expression_names),
        quads=source.polygons.astype(np.int32),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
