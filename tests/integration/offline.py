"""The ensembles without a server: every stage of the repository called in this process, one request after the other.

Nothing of Triton is in it: no batching, no queues, no shared memory, no stubs. What the server sends must be this to
the last bit.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np
from facestream.protocol import ENSEMBLES, Output
from facestream.sequence_stage import SequenceStage
from facestream.server.onnxruntime_backend import network
from tritonclient.grpc.model_config_pb2 import ModelConfig

from export.ensembles import REPOSITORY, read_config

Tensors = dict[str, np.ndarray]


class _NetworkStage:
    """A network, as `backend: "onnxruntime"` runs it on this machine."""

    def __init__(self, config: ModelConfig) -> None:
        threads = config.parameters["intra_op_thread_count"].string_value or min(2, len(os.sched_getaffinity(0)))
        runtime = config.parameters["cpu_runtime"].string_value or "openvino"
        self._network = network.load(REPOSITORY / config.name / "1" / "model.onnx", runtime, int(threads), True)

    def create(self, correlation_id: int) -> None:
        return None

    def step(self, state: None, inputs: Tensors) -> Tensors:
        names = list(self._network.outputs)
        outputs = self._network.run({name: array[np.newaxis] for name, array in inputs.items()}, names)
        return {name: array[0] for name, array in zip(names, outputs, strict=True)}


def _python_stage(config: ModelConfig) -> SequenceStage[Any]:
    """The stage's own class, from its model.py; the modules beside it are found by pyproject's `pythonpath`."""
    folder = REPOSITORY / config.name
    spec = importlib.util.spec_from_file_location(f"{config.name}_model", folder / "1" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stage: SequenceStage[Any] = module.TritonPythonModel()
    stage.load(str(folder))
    return stage


class OfflineEnsemble:
    """One ensemble; its stages are loaded once and serve one session at a time."""

    def __init__(self, output: Output) -> None:
        steps = read_config(REPOSITORY / ENSEMBLES[output].model / "config.pbtxt").ensemble_scheduling.step
        configs = [read_config(REPOSITORY / step.model_name / "config.pbtxt") for step in steps]
        self._stages = [
            (
                [tensor.name for tensor in config.input],
                _NetworkStage(config) if config.backend == "onnxruntime" else _python_stage(config),
            )
            for config in configs
        ]

    def talk(self, correlation_id: int, sounds: np.ndarray, **constant: np.ndarray) -> list[Tensors]:
        """All tensors of each request of a session: sounds (n, CHUNK_SAMPLES), and inputs that stay the same."""
        states = [stage.create(correlation_id) for _, stage in self._stages]
        answers = []
        for sound in sounds:
            tensors: Tensors = {"AUDIO": sound, **constant}
            for (inputs, stage), state in zip(self._stages, states, strict=True):
                made = stage.step(state, {name: tensors[name] for name in inputs if name in tensors})
                tensors.update({name: np.array(array) for name, array in made.items()})  # a stage may reuse its memory
            answers.append(tensors)
        return answers
