"""Wires the stages into ensembles: `python -m export.ensembles` writes model_repository/avatar*/config.pbtxt.

A tensor has one name in the whole repository, in the stage that makes it and in all that take it. So an ensemble
follows from the outputs that it promises: whoever makes them is a step, and whatever nobody makes is an input.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from facestream.contract import H264_ENSEMBLE, PARAMETERS_ENSEMBLE, RGB_ENSEMBLE
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelEnsembling

REPOSITORY = Path(__file__).parents[1] / "model_repository"


@dataclass(frozen=True)
class Ensemble:
    """What an ensemble promises."""

    name: str
    summary: str
    outputs: tuple[str, ...]
    without: frozenset[str] = frozenset()
    """Stages left out: their outputs must be optional wherever they are taken."""


ENSEMBLES = (
    Ensemble(RGB_ENSEMBLE, "The sound of one frame in, the picture out.", ("FRAME", "QUALITY_USED", "FRAME_INDEX")),
    Ensemble(
        H264_ENSEMBLE,
        "The sound of one frame in, its H.264 access unit out.",
        ("ACCESS_UNIT", "KEYFRAME", "QUALITY_USED", "FRAME_INDEX"),
    ),
    Ensemble(
        PARAMETERS_ENSEMBLE,
        "The sound of one frame in, the face parameters out, for applications with a renderer of their own.",
        ("PARAMETERS", "VISEME", "FRAME_INDEX"),
        without=frozenset({"avatar_store"}),
    ),
)


def read_config(path: Path) -> ModelConfig:
    """The model configuration in a config.pbtxt.

    Raises:
        ValueError: it does not fit Triton's schema; the text names the file, line and field.
    """
    try:
        config: ModelConfig = text_format.Parse(path.read_text(), ModelConfig())
    except text_format.ParseError as error:
        raise ValueError(f"{path}: {error}") from error
    return config


def read_stages(repository: Path) -> dict[str, ModelConfig]:
    """Configurations of all models in the repository that can be steps of an ensemble, by name.

    Ensembles cannot, and decoupled models stand alone: one of them in front of a stateful stage would start and end
    its sequence with each response. What a stage calls by itself (`called_by`) is no step either.
    """
    configs = [read_config(path) for path in sorted(repository.glob("*/config.pbtxt"))]
    return {
        config.name: config
        for config in configs
        if config.platform != "ensemble"
        and not config.model_transaction_policy.decoupled
        and "called_by" not in config.parameters
    }


def wire(ensemble: Ensemble, stages: dict[str, ModelConfig]) -> ModelConfig:
    """The configuration of the ensemble.

    Raises:
        ValueError: two stages make the same tensor, nobody makes a promised output, or makers and takers of a tensor
            differ in its type or shape.
    """
    makers: dict[str, ModelConfig] = {}
    for stage in stages.values():
        for tensor in stage.output:
            if tensor.name in makers:
                raise ValueError(f"{tensor.name} is made by both {makers[tensor.name].name} and {stage.name}")
            makers[tensor.name] = stage

    steps: list[ModelConfig] = []

    def add(stage: ModelConfig) -> None:
        if stage in steps:
            return
        for tensor in stage.input:
            if tensor.name in makers and makers[tensor.name].name not in ensemble.without:
                add(makers[tensor.name])
            elif tensor.name in makers and not tensor.optional:
                raise ValueError(f"{ensemble.name}: {stage.name} needs {tensor.name} of {makers[tensor.name].name}")
        steps.append(stage)

    config = ModelConfig(name=ensemble.name, platform="ensemble", max_batch_size=1)
    for name in ensemble.outputs:
        if name not in makers:
            raise ValueError(f"{ensemble.name}: no stage makes {name}")
        add(makers[name])
        made = next(tensor for tensor in makers[name].output if tensor.name == name)
        config.output.add(name=name, data_type=made.data_type, dims=made.dims)

    taken = {tensor.name for step in steps for tensor in step.input}
    for step in steps:
        entry = config.ensemble_scheduling.step.add(model_name=step.name, model_version=-1)
        for tensor in step.input:
            _connect(entry, step, tensor.name, makers, config, ensemble)
        for tensor in step.output:
            if tensor.name in taken or tensor.name in ensemble.outputs:
                entry.output_map[tensor.name] = tensor.name
    return config


def _connect(
    entry: ModelEnsembling.Step,
    step: ModelConfig,
    name: str,
    makers: dict[str, ModelConfig],
    config: ModelConfig,
    ensemble: Ensemble,
) -> None:
    """Maps one input of a step to its maker's output, or to an input of the ensemble."""
    taken = next(tensor for tensor in step.input if tensor.name == name)
    if name in makers:
        if makers[name].name in ensemble.without:
            return
        source = next(tensor for tensor in makers[name].output if tensor.name == name)
    else:
        source = next((tensor for tensor in config.input if tensor.name == name), None)
        if source is None:
            source = config.input.add(name=name, data_type=taken.data_type, dims=taken.dims, optional=taken.optional)
    if (source.data_type, list(source.dims)) != (taken.data_type, list(taken.dims)):
        raise ValueError(f"{name}: {step.name} takes {list(taken.dims)}, it is made as {list(source.dims)}")
    entry.input_map[name] = name


def render(ensemble: Ensemble, config: ModelConfig) -> str:
    """The text of the ensemble's config.pbtxt."""
    head = f"# {ensemble.summary}\n# Generated from the stages' configurations by `python -m export.ensembles`.\n"
    body: str = text_format.MessageToString(config)
    return head + body


def main() -> None:
    """Writes the ensembles of the repository."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    stages = read_stages(REPOSITORY)
    for ensemble in ENSEMBLES:
        config = wire(ensemble, stages)
        folder = REPOSITORY / ensemble.name
        (folder / "1").mkdir(parents=True, exist_ok=True)
        (folder / "1" / ".gitkeep").touch()  # Triton wants a version folder, git keeps no empty one
        (folder / "config.pbtxt").write_text(render(ensemble, config))
        print(f"{ensemble.name}: {', '.join(step.model_name for step in config.ensemble_scheduling.step)}")


if __name__ == "__main__":
    main()
