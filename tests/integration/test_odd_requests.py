"""Hundreds of requests that are wrong by chance: each is answered or refused with a reason, and nobody else notices."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from facestream.protocol import Output, build_request, emotion_vector
from facestream.server.launch import TritonServer
from tritonclient.grpc.service_pb2 import ModelInferRequest

from tests.integration.wire import Wire, chunks, connect

SPEECH = next((Path(__file__).parents[2] / "tests" / "data").glob("speech.*[vc]"))
REQUESTS = 150
FRAMES = 10
FIRST_STAGES = {"avatar_store": ("AVATAR", "QUALITY"), "audio_frontend": ("AUDIO", "EMOTION")}

Oddity = Callable[[random.Random, ModelInferRequest, int], None]
"""Spoils a request; the number is that of one of its inputs."""


def datatype(chance: random.Random, request: ModelInferRequest, number: int) -> None:
    request.inputs[number].datatype = chance.choice(["FP64", "BYTES", "FP16", "", "fp32", "\0", "UINT64"])


def shape(chance: random.Random, request: ModelInferRequest, number: int) -> None:
    size = request.inputs[number].shape[-1]
    shapes: list[list[int]] = [[], [size], [0, size], [2, size], [1, size, 1], [1, 0], [1, -1], [1, 2**40], [2**62] * 2]
    del request.inputs[number].shape[:]
    request.inputs[number].shape.extend(chance.choice(shapes))


def batch(chance: random.Random, request: ModelInferRequest, number: int) -> None:
    count = chance.choice([0, 2, 9])
    for i, tensor in enumerate(request.inputs):
        tensor.shape[0] = count
        request.raw_input_contents[i] *= count


def missing(chance: random.Random, request: ModelInferRequest, number: int) -> None:
    del request.inputs[number]
    del request.raw_input_contents[number]


def doubled(chance: random.Random, request: ModelInferRequest, number: int) -> None:
    request.inputs.append(request.inputs[number])
    request.raw_input_contents.append(request.raw_input_contents[number])


def length(chance: random.Random, request: ModelInferRequest, number: int) -> None:
    data = request.raw_input_contents[number]
    request.raw_input_contents[number] = chance.choice([b"", data[:-1], data + b"\0", data * 2, bytes(10**6)])


def noise(chance: random.Random, request: ModelInferRequest, number: int) -> None:
    request.raw_input_contents[number] = chance.randbytes(len(request.raw_input_contents[number]))


def numbers(chance: random.Random, request: ModelInferRequest, number: int) -> None:
    value = chance.choice([np.nan, np.inf, -np.inf, 1e38, 32767.0])
    count = len(request.raw_input_contents[number]) // 4
    request.raw_input_contents[number] = np.full(count, value, np.float32).tobytes()


def session(chance: random.Random, request: ModelInferRequest, number: int) -> None:
    name: Any = chance.choice([0, -1, 2**63 - 1, -(2**63), "alice", "", "x" * 300, "\0"])
    if isinstance(name, str):
        request.parameters["sequence_id"].string_param = name
    else:
        request.parameters["sequence_id"].int64_param = name


def flags(chance: random.Random, request: ModelInferRequest, number: int) -> None:
    for flag in ("sequence_start", "sequence_end"):
        request.parameters[flag].bool_param = chance.random() < 0.5


def parameters(chance: random.Random, request: ModelInferRequest, number: int) -> None:
    name = chance.choice(["sequence_id", "sequence_start", "priority", "timeout", "shared_memory_region"])
    request.parameters[name].string_param = chance.choice(["true", "", "9" * 40])


ODDITIES: list[Oddity] = [
    datatype, shape, batch, missing, doubled, length, noise, numbers, session, flags, parameters,
]  # fmt: skip


def odd_request(chance: random.Random, speech: np.ndarray) -> ModelInferRequest:
    """One with one to three faults, of one of three sessions that many of them share."""
    output: Output = chance.choice(["rgb", "rgb", "h264", "parameters"])
    sound, avatar = speech[chance.randrange(FRAMES)], chance.choice(["ada", "nia", "nobody"])
    start, end = chance.random() < 0.5, chance.random() < 0.3
    request = build_request(
        output, "0", 2**41 + chance.randrange(3), sound, avatar, emotion_vector(None), start=start, end=end
    )
    if chance.random() < 0.4:  # past the ensembles, at the stages that see a request first
        request.model_name, taken = chance.choice(list(FIRST_STAGES.items()))
        del request.outputs[:]
        for i in reversed(range(len(request.inputs))):
            if request.inputs[i].name not in taken:
                missing(chance, request, i)
    for oddity in chance.sample(ODDITIES, chance.choice([1, 1, 2, 3])):
        if request.inputs:
            oddity(chance, request, chance.randrange(len(request.inputs)))
    return request


@pytest.mark.parametrize("seed", [1, 2])
def test_odd_requests_are_answered_or_refused_and_nobody_else_notices(server: TritonServer, seed: int) -> None:
    chance = random.Random(seed)
    speech = chunks(str(SPEECH), 20, FRAMES)
    with connect(server.grpc_url) as stub:
        alone = Wire(stub, 4343, "ada").talk(speech)
        beside, refusals = Wire(stub, 4343, "ada"), []
        shown: list[dict[str, np.ndarray]] = []
        for number in range(REQUESTS):
            if number % (REQUESTS // FRAMES) == 0:
                shown.append(beside.send(speech[len(shown)], end=len(shown) == FRAMES - 1))
            try:
                stub.ModelInfer(odd_request(chance, speech), timeout=20)
            except grpc.RpcError as error:
                refusals.append((error.code(), error.details()))
    assert len(refusals) > REQUESTS // 2
    for code, told in refusals:
        assert code is not grpc.StatusCode.DEADLINE_EXCEEDED, "no answer"
        assert len(told) > 10, f"no reason for {code}"
        assert "fault in stage" not in told, "a stage has met what it does not know to refuse"
    assert all(np.array_equal(a["FRAME"], b["FRAME"]) for a, b in zip(shown, alone, strict=True))
    assert server.running()
    assert server.crashed() == []
