"""Piper voices of a kilobyte, in the layout of the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

SYMBOLS = ["_", "^", "$", " ", ".", ",", "?", *"abcdefghijklmnopqrstuvwxyzəʊˈ"]


def add_voice(folder: Path, name: str, speakers: int = 1, **changes: Any) -> Path:
    """A voice in Piper's layout whose network gives scales[1] * 100 samples for each id, of the height id / 100.

    With several speakers, the height is that of the speaker's number / 10 more.
    """
    folder.mkdir(exist_ok=True)
    nodes = [
        helper.make_node("Cast", ["input"], ["ids"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["ids", "hundredth"], ["scaled"]),
        helper.make_node("Unsqueeze", ["scaled", "last"], ["column"]),
        helper.make_node("Slice", ["scales", "one", "two"], ["length"]),
        helper.make_node("Mul", ["length", "hundred"], ["samples"]),
        helper.make_node("Cast", ["samples"], ["count"], to=TensorProto.INT64),
        helper.make_node("Concat", ["ones", "count"], ["repeats"], axis=0),
        helper.make_node("Tile", ["column", "repeats"], ["grid"]),
        helper.make_node("Reshape", ["grid", "flat"], ["sound"]),
    ]
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, ["batch", "phonemes"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, ["batch"]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    if speakers > 1:
        inputs.append(helper.make_tensor_value_info("sid", TensorProto.INT64, ["batch"]))
        nodes += [
            helper.make_node("Cast", ["sid"], ["speaker"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["speaker", "ten"], ["shift"]),
            helper.make_node("Add", ["sound", "shift"], ["output"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["sound"], ["output"]))
    constants = {
        "hundredth": np.array(0.01, np.float32),
        "hundred": np.array(100, np.float32),
        "ten": np.array(10, np.float32),
        "last": np.array([2]),
        "one": np.array([1]),
        "two": np.array([2]),
        "ones": np.array([1, 1]),
        "flat": np.array([1, 1, 1, -1]),
    }
    graph = helper.make_graph(
        nodes,
        "voice",
        inputs,
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 1, 1, "samples"])],
        [onnx.numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    file = folder / f"{name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)
    config = {
        "audio": {"sample_rate": 22_050, "quality": "medium"},
        "espeak": {"voice": "en-us"},
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "phoneme_type": "espeak",
        "phoneme_map": {},
        "phoneme_id_map": {symbol: [number] for number, symbol in enumerate(SYMBOLS)},
        "num_symbols": 256,
        "num_speakers": speakers,
        "speaker_id_map": {f"person{number}": number for number in range(speakers)} if speakers > 1 else {},
        "piper_version": "1.0.0",
    } | changes
    file.with_suffix(".onnx.json").write_text(json.dumps(config))
    return file
