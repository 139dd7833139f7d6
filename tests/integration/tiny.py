"""Model repositories of a few kilobytes, to try the server itself on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

SHAPE = (3, 16, 16)
"""Of the input X and the outputs Y and Z, without the batch."""


def add_network(repository: Path, name: str, config: str = "", output_shape: tuple[int, ...] = SHAPE) -> Path:
    """Y = tanh(conv(X)) and Z = conv(X); returns the ONNX file. `config` is added to the configuration."""
    rng = np.random.default_rng(7)
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [3, 3, 3, 3], rng.normal(size=81).astype(np.float32))
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["X", "weight"], ["Z"], pads=[1, 1, 1, 1]),
            helper.make_node("Tanh", ["Z"], ["Y"]),
        ],
        name,
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["batch", *SHAPE])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", *SHAPE]) for output in "YZ"],
        [weight],
    )
    file = repository / name / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)
    (repository / name / "config.pbtxt").write_text(
        f"""
name: "{name}"
backend: "onnxruntime"
max_batch_size: 8
input [ {{ name: "X" data_type: TYPE_FP32 dims: {list(SHAPE)} }} ]
output [
  {{ name: "Y" data_type: TYPE_FP32 dims: {list(output_shape)} }},
  {{ name: "Z" data_type: TYPE_FP32 dims: {list(SHAPE)} }}
]
# The delay lets a batch form on a busy machine too.
dynamic_batching {{ preserve_ordering: true max_queue_delay_microseconds: 100000 }}
instance_group [ {{ count: 1 }} ]
{config}
"""
    )
    return file


def add_python(repository: Path, name: str, body: str) -> None:
    """A Python stage from IN fp32[1] to OUT fp32[1]; `body` is what its module holds."""
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(body)
    (repository / name / "config.pbtxt").write_text(
        f"""
name: "{name}"
backend: "python"
max_batch_size: 8
input [ {{ name: "IN" data_type: TYPE_FP32 dims: [ 1 ] }} ]
output [ {{ name: "OUT" data_type: TYPE_FP32 dims: [ 1 ] }} ]
"""
    )
