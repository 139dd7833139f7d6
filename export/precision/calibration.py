"""Finds the scales of quantised tensors on what recorded sessions really pass through a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from export.precision.quantise import LARGEST, convolutions

Tensors = Mapping[str, NDArray[Any]]

KEPT: Final = 1 << 17
"""Values looked at for each tensor, drawn from all frames alike."""
CLIPS: Final = np.linspace(0.25, 1.0, 31)
"""Where the range may end, as a part of the largest value."""
SEED: Final = 1


def best_scale(values: NDArray[np.float32], largest: float) -> float:
    """The step with which rounding and clipping together lose least, by mean square.

    Args:
        values: A sample of the tensor.
        largest: Of its absolute values.
    """
    if largest <= 0:
        return 1.0  # all zero: any step will do
    sample = np.abs(values.astype(np.float64))

    def loss(step: float) -> float:
        return float(np.mean((np.minimum(np.rint(sample / step), LARGEST) * step - sample) ** 2))

    return float(min((clip * largest / LARGEST for clip in CLIPS), key=loss))


def calibrate(full: onnx.ModelProto, frames: Iterable[Tensors], names: Iterable[str]) -> dict[str, float]:
    """The scale of what each convolution reads, by the convolution's name.

    Args:
        full: The graph in single precision.
        frames: The inputs of the network [1, ...], frame by frame.
        names: Of the convolutions.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)  # what its optimiser leaves as it is, is no news
    nodes = convolutions(full)
    reads = {name: nodes[name].input[0] for name in names}
    model = onnx.ModelProto.FromString(full.SerializeToString())
    wanted = sorted(set(reads.values()) - {value.name for value in model.graph.input})
    made = {value.name for value in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in wanted if name not in made
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    taken = {port.name for port in session.get_inputs()}
    draw = np.random.default_rng(SEED)
    samples: dict[str, list[NDArray[np.float32]]] = {name: [] for name in set(reads.values())}
    largest = dict.fromkeys(samples, 0.0)
    for frame in frames:
        feeds = {name: np.ascontiguousarray(array) for name, array in frame.items() if name in taken}
        found = {**feeds, **dict(zip(wanted, session.run(wanted, feeds), strict=True))}
        for name, parts in samples.items():
            values = np.asarray(found[name], np.float32).ravel()
            largest[name] = max(largest[name], float(np.abs(values).max(initial=0.0)))
            parts.append(values if len(values) <= KEPT // 16 else draw.choice(values, KEPT // 16))
    scales = {}
    for name, parts in samples.items():
        values = np.concatenate(parts)
        scales[name] = best_scale(values if len(values) <= KEPT else draw.choice(values, KEPT), largest[name])
    return {name: scales[read] for name, read in reads.items()}
