"""The wiring: an ensemble follows from what its stages take and make."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from export.ensembles import ENSEMBLES, REPOSITORY, Ensemble, read_config, read_stages, render, wire


def stage(text: str) -> ModelConfig:
    return text_format.Parse(text, ModelConfig())


FRONT = (
    'name: "front" input { name: "A" data_type: TYPE_FP32 dims: 3 } output { name: "B" data_type: TYPE_FP32 dims: 2 }'
)
BACK = 'name: "back" input { name: "B" data_type: TYPE_FP32 dims: 2 } output { name: "C" data_type: TYPE_FP32 dims: 1 }'


def test_steps_follow_the_tensors() -> None:
    config = wire(Ensemble("e", "", ("C",)), {"back": stage(BACK), "front": stage(FRONT)})
    assert [step.model_name for step in config.ensemble_scheduling.step] == ["front", "back"]
    assert [tensor.name for tensor in config.input] == ["A"]
    assert [tensor.name for tensor in config.output] == ["C"]


@pytest.mark.parametrize(
    ("stages", "output", "message"),
    [
        ([FRONT, BACK.replace("dims: 2", "dims: 9")], "C", "back takes"),
        ([FRONT, FRONT.replace('"front"', '"twin"')], "B", "B is made by both front and twin"),
        ([FRONT], "C", "no stage makes C"),
    ],
)
def test_wrong_wiring_is_named(stages: list[str], output: str, message: str) -> None:
    """An ensemble that is wired wrong fails in Triton with a text that names neither side."""
    with pytest.raises(ValueError, match=message):
        wire(Ensemble("e", "", (output,)), {str(i): stage(text) for i, text in enumerate(stages)})


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=lambda ensemble: ensemble.name)
def test_committed_ensembles_are_what_the_stages_say(ensemble: Ensemble) -> None:
    """After a change to a stage: `python -m export.ensembles`."""
    committed = (REPOSITORY / ensemble.name / "config.pbtxt").read_text()
    assert committed == render(ensemble, wire(ensemble, read_stages(REPOSITORY)))


def test_config_error_names_file_and_field(tmp_path: Path) -> None:
    path = tmp_path / "config.pbtxt"
    path.write_text('name: "x" max_bach_size: 3')
    with pytest.raises(ValueError, match=r"config\.pbtxt.*max_bach_size"):
        read_config(path)
