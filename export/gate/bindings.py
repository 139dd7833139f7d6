"""Holds the tensors of a network against those that its stage declares to Triton."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from export.gate.verdict import Verdict


def differences(verdict: Verdict, config: ModelConfig) -> list[str]:
    """What keeps Triton from binding the engine to the stage's config.pbtxt; empty where all fits.

    A tensor that the config has and the engine lacks is refused when the model is loaded. That can happen to an input
    which no operation reads: an exporter or compiler may drop it.
    """
    found = []
    for kind, declared, there in (
        ("input", config.input, verdict.inputs),
        ("output", config.output, verdict.outputs),
    ):
        wanted = {tensor.name: (DataType.Name(tensor.data_type), list(tensor.dims)) for tensor in declared}
        found += _compare(kind, wanted, there, config.name)
        found += [
            f"{kind} {name} of {config.name} is in the graph, but the engine does not bind it"
            for name in wanted
            if verdict.built and name not in verdict.bound and any(tensor["name"] == name for tensor in there)
        ]
    return found


def _compare(
    kind: str, wanted: Mapping[str, tuple[str, list[int]]], there: Iterable[Mapping[str, Any]], stage: str
) -> list[str]:
    has = {tensor["name"]: (tensor["type"], list(tensor["dims"])) for tensor in there}
    found = [f"{kind} {name} of {stage}'s config.pbtxt is not in the network" for name in wanted if name not in has]
    found += [f"{kind} {name} of the network is not in {stage}'s config.pbtxt" for name in has if name not in wanted]
    found += [
        f"{kind} {name} is {has[name][0]} {has[name][1]}, expected {kind_type} {dims} as in {stage}'s config.pbtxt"
        for name, (kind_type, dims) in wanted.items()
        if name in has and has[name] != (kind_type, dims)
    ]
    return found
