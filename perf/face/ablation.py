"""The same PARAMETERS drawn in several ways: with and without the learned network, the stabiliser, the better tiers.

All ways share one run of the geometry. They are the model repository's own graphs; without its network the renderer is
the same graph with the network's last weights set to zero, which makes it the identity (export.face.refiner).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from facestream.avatar import layers_canvas as canvas
from facestream.contract import FRAME_SIZE, LOOKAHEAD_FRAMES
from numpy.typing import NDArray

from export.chain import stage_folder
from perf.drawn_frames import REPOSITORY

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Tensors = dict[str, NDArray[Any]]


class Row(NamedTuple):
    """A way to draw."""

    network: str | None
    """Tier of the learned network; None for geometry alone."""
    steadied: bool
    meaning: str


ROWS: Final[Mapping[str, Row]] = {
    "geometry": Row(None, False, "motion and painted layers alone"),
    "steadied": Row(None, True, "the same with the stabiliser"),
    "network": Row("fast", False, "with the renderer's learned network"),
    "fast": Row("fast", True, "with the stabiliser, too: as served"),
    "standard": Row("standard", True, "as served"),
    "high": Row("high", True, "as served"),
}
LAST_LAYERS: Final = ("refiner.colours.", "refiner.shift.")
"""Where these weights are zero the network answers with nothing."""


class Drawn(NamedTuple):
    """One frame in one way."""

    frame: Image
    """[512, 512, 3], RGB."""
    texture: Floats
    """STABLE_TEXTURE [4, 256, 192]."""
    flow: Floats
    """CANVAS_FLOW [2, 256, 192], the same in all ways."""


class Ablation:
    """The drawing stages of a model repository, in this process."""

    def __init__(self, repository: Path = REPOSITORY, threads: int = 2) -> None:
        """Compile the graphs; FileNotFoundError names a missing stage that no drawing does without."""
        import onnx
        import openvino

        stage_folder(repository, "stabilizer")
        self._core = openvino.Core()
        self._options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        self._stages = {}
        for stage in ("face_geometry", "renderer", "compositor", "refiner_standard", "refiner_high"):
            path = repository / stage / "1" / "model.onnx"
            if path.is_file():
                self._stages[stage] = self._core.compile_model(path, "CPU", self._options)
            elif not stage.startswith("refiner"):
                raise FileNotFoundError(f"{path}: this stage of the model repository is missing")
        self.learned = {}
        """Whether there is a network that corrects anything, by tier."""
        for tier, stage in (("fast", "renderer"), ("standard", "refiner_standard"), ("high", "refiner_high")):
            if stage in self._stages:
                self.learned[tier] = self._split(onnx.load(repository / stage / "1" / "model.onnx"), tier)

    def _split(self, graph: Any, tier: str) -> bool:
        """Whether a graph's network does something; makes the renderer without its network."""
        from onnx import numpy_helper

        prefix = LAST_LAYERS if tier == "fast" else tuple(layer.removeprefix("refiner.") for layer in LAST_LAYERS)
        something = False
        for tensor in graph.graph.initializer:
            if tensor.name.startswith(prefix):
                values = numpy_helper.to_array(tensor)
                something |= bool(np.any(values))
                tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(values), tensor.name))
        if tier == "fast":
            self._stages["geometry"] = (
                self._core.compile_model(self._core.read_model(graph.SerializeToString()), "CPU", self._options)
                if something
                else self._stages["renderer"]
            )
        return something

    def rows(self, wanted: Sequence[str] = tuple(ROWS)) -> list[str]:
        """The wanted rows whose networks are there and do something; `fast` is always served.

        Raises:
            ValueError: there is no such row.
        """
        unknown = [row for row in wanted if row not in ROWS]
        if unknown:
            raise ValueError(f"row is {unknown[0]!r}, expected one of {', '.join(ROWS)}")
        return [
            row
            for row in wanted
            if row in ("geometry", "steadied", "fast") or self.learned.get(ROWS[row].network or "", False)
        ]

    def draw(
        self, avatar: Mapping[str, NDArray[Any]], parameters: Iterable[Floats], rows: Sequence[str]
    ) -> Iterator[dict[str, Drawn]]:
        """Draw PARAMETERS [73], frame by frame, as one session of an avatar: the drawn frame of each row."""
        from canvas_stabilizer import CanvasStabilizer

        stabilizers = {row: CanvasStabilizer() for row in rows if ROWS[row].steadied}
        batched = {name: np.array(tensor)[None] for name, tensor in avatar.items()}
        networks = {ROWS[row].network for row in rows}
        for number, vector in enumerate(parameters):
            tensors: Tensors = {**batched, "PARAMETERS": np.asarray(vector, np.float32)[None]}
            self._run("face_geometry", tensors)
            textures: dict[str | None, Floats] = {}
            if networks - {None}:
                self._run("renderer", tensors)
                textures["fast"] = tensors["CANVAS_TEXTURE"].copy()
                for tier in ("standard", "high"):
                    if tier in networks:
                        textures[tier] = self._run(f"refiner_{tier}", tensors)["REFINED_TEXTURE"].copy()
            if None in networks:
                textures[None] = self._run("geometry", tensors)["CANVAS_TEXTURE"].copy()
            flow = tensors["CANVAS_FLOW"][0].copy()
            found = {}
            for row in rows:
                texture = textures[ROWS[row].network][0]
                if row in stabilizers:
                    texture = stabilizers[row].step(texture, flow, number - LOOKAHEAD_FRAMES).copy()
                tensors["STABLE_TEXTURE"] = texture[None]
                found[row] = Drawn(self._run("compositor", tensors)["FRAME"][0].copy(), texture, flow)
            yield found

    def composed(self, avatar: Mapping[str, NDArray[Any]], vector: Floats, texture: Floats) -> Image:
        """The frame [512, 512, 3] of PARAMETERS [73] with a texture [4, 256, 192] that was made elsewhere."""
        tensors: Tensors = {name: np.array(tensor)[None] for name, tensor in avatar.items()}
        tensors["PARAMETERS"] = np.asarray(vector, np.float32)[None]
        for stage in ("face_geometry", "renderer"):
            self._run(stage, tensors)
        tensors["STABLE_TEXTURE"] = texture[None]
        frame: Image = self._run("compositor", tensors)["FRAME"][0].copy()
        return frame

    def without_canvas(self, avatar: Mapping[str, NDArray[Any]], vector: Floats) -> Image:
        """The frame [512, 512, 3] of PARAMETERS [73] with the mesh's motion alone: no layers, no texture, no border."""
        tensors: Tensors = {name: np.array(tensor)[None] for name, tensor in avatar.items()}
        tensors["PARAMETERS"] = np.asarray(vector, np.float32)[None]
        self._run("face_geometry", tensors)
        # Nodes are the centres of squares, as pixels are: to resize is to interpolate between them.
        size = (FRAME_SIZE, FRAME_SIZE)
        fine = np.stack([cv2.resize(axis, size, interpolation=cv2.INTER_LINEAR) for axis in tensors["FACE_FLOW"][0]])
        rows = slice(canvas.CANVAS_Y, canvas.CANVAS_Y + canvas.CANVAS_HEIGHT)
        columns = slice(canvas.CANVAS_X, canvas.CANVAS_X + canvas.CANVAS_WIDTH)
        tensors["CANVAS_FLOW"] = np.ascontiguousarray(fine[None, :, rows, columns])
        tensors["STABLE_TEXTURE"] = np.zeros((1, 4, canvas.CANVAS_HEIGHT, canvas.CANVAS_WIDTH), np.float32)
        frame: Image = self._run("compositor", tensors)["FRAME"][0].copy()
        return frame

    def _run(self, stage: str, tensors: Tensors) -> Tensors:
        """Run a stage on the tensors that it takes; add its outputs to them."""
        compiled = self._stages[stage]
        made = compiled([next(tensors[name] for name in port.names if name in tensors) for port in compiled.inputs])
        outputs = {name: made[port] for port in compiled.outputs for name in port.names}
        tensors.update(outputs)
        return outputs
