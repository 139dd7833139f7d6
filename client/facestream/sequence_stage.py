"""What every stateful Python stage does around its own work: session state, refusals, tensors in and out."""

from __future__ import annotations

import abc
import json
import threading
import traceback
from collections.abc import Mapping
from typing import Any, ClassVar, Generic

import numpy as np
from numpy.typing import NDArray

from facestream.admission import Door
from facestream.contract import SESSION_LOST, STATE_IDLE_SECONDS
from facestream.sequence import BadInput, SequenceError, SequenceTable, State
from facestream.triton_tensor import from_triton, to_triton

_START, _END = 1, 2  # TRITONSERVER_REQUEST_FLAG_SEQUENCE_START, _END: bits, both set on a session of one request

Tensors = Mapping[str, NDArray[Any]]
"""Input tensors by name, without the leading batch dimension of 1: read-only views."""


class SequenceStage(abc.ABC, Generic[State]):
    """Base of the `TritonPythonModel` of a stage that keeps state for each session."""

    is_door: ClassVar[bool] = False
    """Whether sessions are admitted here: by one stage, which all ensembles pass and wait for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Triton's call when the model is loaded."""
        config = json.loads(args["model_config"])
        self._name = config["name"]
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._sessions = SequenceTable(self.create, admit=Door().admit if self.is_door else None)
        self.load(args["model_repository"])
        self._closing = threading.Event()
        threading.Thread(target=self._evict, name="evict idle sessions", daemon=True).start()

    def load(self, model_folder: str) -> None:
        """Reads what the stage needs for all sessions; `model_folder` holds the stage's config.pbtxt."""
        return None

    @abc.abstractmethod
    def create(self, correlation_id: int) -> State:
        """The state of a new session."""

    @abc.abstractmethod
    def step(self, state: State, inputs: Tensors) -> Mapping[str, NDArray[Any]]:
        """Answers one request. Raises a SequenceError before it changes `state`."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """Triton's call with the requests that wait, each of another session."""
        return [self._respond(request) for request in requests]

    def finalize(self) -> None:
        """Triton's call when the model is unloaded."""
        self._closing.set()

    def _respond(self, request: Any) -> Any:
        import triton_python_backend_utils as pb_utils  # exists inside of Triton's Python stub only

        flags = request.flags()
        try:
            with self._sessions.request(
                request.correlation_id(), start=bool(flags & _START), end=bool(flags & _END)
            ) as state:
                outputs = self.step(state, self._read(request))
        except SequenceError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        except Exception as error:  # a fault of this stage must not fail the other sessions of the same call
            pb_utils.Logger.log_error(traceback.format_exc())
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(f"{SESSION_LOST}: fault in stage {self._name}: {error!r}")
            )
        return pb_utils.InferenceResponse([to_triton(name, array[np.newaxis]) for name, array in outputs.items()])

    def _read(self, request: Any) -> Tensors:
        import triton_python_backend_utils as pb_utils

        inputs: dict[str, NDArray[Any]] = {}
        for name in self._inputs:
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is None:  # an optional input that was not sent
                continue
            array = from_triton(tensor)
            if array.shape[0] != 1:
                raise BadInput(f"{name} holds {array.shape[0]} frames, expected 1 for each request")
            inputs[name] = array[0]
        return inputs

    def _evict(self) -> None:
        while not self._closing.wait(STATE_IDLE_SECONDS / 2):
            self._sessions.evict_idle()
