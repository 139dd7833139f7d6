"""Export the face graphs to the model repository: `python -m export.face.export`.

Nothing is trained here: the graphs are written down, and the face model's basis and the picture of the teeth are baked
in.

By torch's older exporter, which traces. The newer one (dynamo, as in export/speech/export.py) was tried with torch
2.13: its graphs of face_geometry, renderer and compositor gave the same numbers to the last bit, and the first two took
1.02 and 1.04 of the processor time with OpenVINO; face_geometry took 16 s of it to export instead of 0.8; and the
refiners failed: it cannot take a module with a part called `code`, a name that torch.fx keeps for itself. What decides
is that this one names each node by the module that it comes from, and an operator that TensorRT refuses, or a parity
that fails, is looked for by that name.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from facestream import quality
from facestream.avatar.adapter import SERVED
from facestream.avatar.face_model import load_face_model
from facestream.avatar.layers_canvas import AVATAR_TENSORS
from facestream.parameters import PARAMETERS
from facestream.quality import NAMES, REFINER_INPUTS, REFINER_OUTPUT
from torch import Tensor, nn

from export.face.compositor import Compositor
from export.face.face_geometry import FaceGeometry
from export.face.refiner import make_refiner, trained_tiers, weights_checksum, weights_path
from export.face.renderer import Renderer

OPSET = 18

REFINERS = {model: NAMES[tier] for tier, model in quality.REFINERS.items()}
"""Models beside the chain that better the renderer's texture, and their tiers."""

INPUTS = {
    "face_geometry": (
        "PARAMETERS",
        "AVATAR_MESH_INDEX",
        "AVATAR_MESH_WEIGHT",
        "AVATAR_SEAM_INDEX",
        "AVATAR_SEAM_WEIGHT",
        "AVATAR_SEAM_BLEND",
        "AVATAR_HEAD",
        "AVATAR_CONSTANTS",
    ),
    "renderer": (
        "PARAMETERS",
        "FACE_FLOW",
        "SEAM_FLOW",
        "AFFINES",
        "AVATAR_PHOTO",
        "AVATAR_SCORES",
        "AVATAR_LIPS",
        "AVATAR_EYES",
        "AVATAR_LIDS",
        "AVATAR_CONSTANTS",
        "AVATAR_ADAPTER",
    ),
    **dict.fromkeys(REFINERS, REFINER_INPUTS),
    "compositor": ("FACE_FLOW", "HEAD_FLOW", "CANVAS_FLOW", "STABLE_TEXTURE", "AVATAR_PHOTO", "AVATAR_BACKDROP"),
}
OUTPUTS = {
    "face_geometry": ("FACE_FLOW", "SEAM_FLOW", "HEAD_FLOW", "AFFINES"),
    "renderer": ("CANVAS_FLOW", "CANVAS_TEXTURE"),
    **dict.fromkeys(REFINERS, (REFINER_OUTPUT,)),
    "compositor": ("FRAME",),
}
"""Tensors of each stage, in the order of its module's arguments and results."""


def make_stage(stage: str) -> nn.Module:
    """The module of one stage, ready to run."""
    makers: dict[str, Callable[[], nn.Module]] = {
        "face_geometry": lambda: FaceGeometry(load_face_model()),
        # Until it is trained the network is not part of the graph.
        "renderer": lambda: Renderer(make_refiner("fast") if weights_path("fast").is_file() else None),
        **{stage: partial(make_refiner, tier) for stage, tier in REFINERS.items()},
        "compositor": Compositor,
    }
    module = makers[stage]()
    return module.eval()


def run(stage: nn.Module, names: Iterable[str], tensors: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """Run a stage on named tensors."""
    with torch.no_grad():
        made = stage(*(tensors[name] for name in names))
    return made if isinstance(made, tuple) else (made,)


def example(batch: int) -> dict[str, Tensor]:
    """Blank inputs with a leading batch: their shapes are what the export needs."""
    tensors = {"PARAMETERS": torch.zeros(batch, len(PARAMETERS))}
    for name, (dtype, shape) in AVATAR_TENSORS.items():
        tensors[name] = torch.from_numpy(np.ones((batch, *shape), dtype))
    return tensors


def export_stage(stage: str, module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Write one stage; `tensors` gives its example inputs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = INPUTS[stage]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(tensors[name] for name in names),
            str(path),
            input_names=list(names),
            output_names=list(OUTPUTS[stage]),
            dynamic_axes={name: {0: "batch"} for name in (*names, *OUTPUTS[stage])},
            opset_version=OPSET,
            dynamo=False,
        )
    graph = onnx.load(path)
    onnx.checker.check_model(graph, full_check=True)
    for output, made in zip(graph.graph.output, OUTPUTS[stage], strict=True):
        for axis, size in enumerate(tensors[made].shape[1:], start=1):
            output.type.tensor_type.shape.dim[axis].dim_value = int(size)
    declare_inputs(graph.graph, names, tensors)
    graph.producer_name, graph.producer_version, graph.doc_string = "facestream", "", ""
    onnx.save(graph, path)


def declare_inputs(graph: onnx.GraphProto, names: Iterable[str], tensors: dict[str, Tensor]) -> None:
    """Have the graph take all of its contract's inputs, in their order: the export leaves out what it does not read."""
    declared = {value.name: value for value in graph.input}
    del graph.input[:]
    for name in names:
        if name not in declared:
            kind = onnx.helper.np_dtype_to_tensor_dtype(tensors[name].numpy().dtype)
            declared[name] = onnx.helper.make_tensor_value_info(name, kind, ["batch", *tensors[name].shape[1:]])
        graph.input.append(declared[name])


def main(arguments: list[str] | None = None) -> int:
    """Write the graphs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repository", type=Path, default=Path("model_repository"), help="model repository to write into"
    )
    options = parser.parse_args(arguments)
    tensors = example(2)
    for stage in INPUTS:
        module = make_stage(stage)
        tensors.update(zip(OUTPUTS[stage], run(module, INPUTS[stage], tensors), strict=True))
        if stage == "renderer":
            tensors["STABLE_TEXTURE"] = tensors["CANVAS_TEXTURE"]
        path = options.repository / stage / "1" / "model.onnx"
        export_stage(stage, module, tensors, path)
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {len(onnx.load(path).graph.node)} nodes")
    served = options.repository / "avatar_store" / SERVED
    served.parent.mkdir(parents=True, exist_ok=True)
    served.write_text(f"{weights_checksum(trained_tiers())}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
