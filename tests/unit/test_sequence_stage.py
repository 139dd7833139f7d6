"""What every stateful Python stage does around its own work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import array_api_strict
import numpy as np
import pytest
from facestream.array_namespace import HOST, ArrayNamespace
from facestream.contract import MAX_SESSIONS_VARIABLE
from facestream.sequence_stage import SequenceStage, Tensors

from tests.unit.triton_stub import END, START, DeviceNamespace, StubRequest, start_stage


class NoText(StubRequest):
    """A request whose correlation id is text in no encoding, as Triton's HTTP server lets through."""

    def correlation_id(self) -> int:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


class Stage(SequenceStage[list[int]]):
    """Counts frames; for session 2 it makes what no tensor can hold."""

    def create(self, correlation_id: int) -> list[int]:
        return [correlation_id]

    def step(self, state: list[int], inputs: Tensors) -> Tensors:
        return {"OUT": np.array([{}]) if state[0] == 2 else np.array([float(len(state))], np.float32)}

    def step_together(self, waiting: Sequence[tuple[list[int], Tensors]]) -> list[Tensors | Exception]:
        return [self.step(state, inputs) for state, inputs in waiting]


def test_an_output_that_cannot_be_handed_over_fails_its_own_session_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised out of `execute`, the fault would take the frames of all sessions of the call along."""
    stage = Stage()
    start_stage(stage, tmp_path / "counter", ["IN"], None, monkeypatch)
    frame = {"IN": np.zeros((1, 1), np.float32)}
    one, two, three = stage.execute([StubRequest(session, frame, START) for session in (1, 2, 3)])
    assert one.tensors["OUT"] == three.tensors["OUT"] == 1.0
    assert two.error.text.startswith("session lost: fault in stage counter: ")
    (two,) = stage.execute([StubRequest(2, frame)])
    assert "session 2 is not live" in two.error.text


def test_an_input_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton only counts inputs: with an optional one in its place a request gets here without the one that counts."""
    stage = Stage()
    start_stage(stage, tmp_path / "counter", ["IN", "WISH"], None, monkeypatch, optional=["WISH"])
    given = {"IN": np.zeros((1, 1), np.float32), "WISH": np.zeros((1, 1), np.float32)}
    for left_out, told in (("WISH", None), ("IN", "bad input: IN is missing, expected in each request")):
        frame = {name: array for name, array in given.items() if name != left_out}
        (answer,) = stage.execute([StubRequest(1, frame, START)])
        assert (answer.error.text if answer.error else None) == told


@pytest.mark.parametrize("arrays", [HOST, DeviceNamespace(array_api_strict)], ids=["host", "device"])
def test_a_correlation_id_in_no_encoding_fails_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrays: ArrayNamespace
) -> None:
    """On a GPU one such END, by HTTP, failed the frames of all sessions of its call."""
    monkeypatch.setattr(Stage, "for_device", arrays.on_device)
    stage = Stage()
    triton = start_stage(stage, tmp_path / "counter", ["IN"], arrays, monkeypatch)
    frame = {"IN": np.zeros((1, 1), np.float32)}
    well, odd = stage.execute([StubRequest(1, frame, START), NoText(0, frame, START | END)])
    assert well.tensors["OUT"] == 1.0
    assert odd.error.text.startswith("bad input: correlation id ''")
    assert not triton.log


def test_large_states_are_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Called by itself a stage hears of no door, and 1,000 encoders are 4 GB."""
    monkeypatch.setenv(MAX_SESSIONS_VARIABLE, "3")
    monkeypatch.setattr(Stage, "large_states", True)
    stage = Stage()
    start_stage(stage, tmp_path / "counter", ["IN"], None, monkeypatch)
    frame = {"IN": np.zeros((1, 1), np.float32)}
    for session in range(10, 100):
        (answer,) = stage.execute([StubRequest(session, frame, START)])
        assert answer.error is None
    assert len(stage._sessions) == 6
