"""What every stateful Python stage does around its own work: session state, refusals, tensors in and out."""

from __future__ import annotations

import abc
import gc
import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic

import numpy as np

from facestream.admission import Door, session_limit
from facestream.array_namespace import HOST, Array, ArrayNamespace, choose
from facestream.contract import SESSION_LOST, STATE_IDLE_SECONDS
from facestream.resent_tensors import ResentTensors
from facestream.sequence import BadInput, SequenceError, SequenceTable, State
from facestream.triton_tensor import from_triton, to_triton

_START, _END = 1, 2  # TRITONSERVER_REQUEST_FLAG_SEQUENCE_START, _END: bits, both set on a session of one request

STATES_FOR_A_SESSION = 2
"""States that a stage of `large_states` keeps for each session that the server may have: one for it, and one that an
END left behind which was refused at the door."""

Tensors = Mapping[str, Array]
"""Tensors by name, without the leading batch dimension of 1; those that come in are not to be written to.

NumPy's arrays. In a stage on the GPU (`SequenceStage.arrays`) each lies where its maker left it: there or in the host's
memory.
"""


def correlation_id(request: Any) -> int | str:
    """The id of a request's session; '', which is nobody's, where it is a text in no encoding, as HTTP lets through."""
    try:
        found: int | str = request.correlation_id()
    except UnicodeDecodeError:
        return ""
    return found


class SequenceStage(abc.ABC, Generic[State]):
    """Base of the `TritonPythonModel` of a stage that keeps state for each session."""

    is_door: ClassVar[bool] = False
    """Whether sessions are admitted here: by one stage, which all ensembles pass and wait for."""

    large_states: ClassVar[bool] = False
    """Whether a state takes a megabyte or more, in a stage behind the door. Of too many, begun by somebody who calls
    the stage by itself, those idle for longest then go: else it would be the server's memory."""

    for_device: ClassVar[bool] = False
    """Whether the stage can work on a GPU. Where Triton puts its instance on one, `step_together` is called instead of
    `step`, and `arrays` are the GPU's."""

    resends: ClassVar[int] = 0
    """How many arrays a stage that sends the same ones for every frame has at hand at most, see ResentTensors; none of
    them may ever be written to."""

    arrays: ArrayNamespace = HOST
    """Where the stage's own arrays live."""

    def initialize(self, args: dict[str, str]) -> None:
        """Triton's call when the model is loaded."""
        config = json.loads(args["model_config"])
        self._name = config["name"]
        self._inputs = {tensor["name"]: bool(tensor.get("optional")) for tensor in config["input"]}
        if self.for_device:
            self.arrays = choose(args)
        self._sent = ResentTensors(self.resends) if self.resends and not self.arrays.on_device else None
        self._sessions = SequenceTable(
            self.create,
            admit=Door().admit if self.is_door else None,
            most=STATES_FOR_A_SESSION * session_limit() if self.large_states else None,
        )
        self.load(args["model_repository"])
        # What is loaded by now stays: for Python to look through all of it for garbage takes 10 ms and more, in the
        # middle of some frame. What sessions leave behind is looked through in less than one.
        gc.freeze()
        self._closing = threading.Event()
        threading.Thread(target=self._evict, name="evict idle sessions", daemon=True).start()

    def load(self, model_folder: str) -> None:
        """Reads what the stage needs for all sessions; `model_folder` holds the stage's config.pbtxt."""
        return None

    @abc.abstractmethod
    def create(self, correlation_id: int) -> State:
        """The state of a new session."""

    @abc.abstractmethod
    def step(self, state: State, inputs: Tensors) -> Tensors:
        """Answers one request. Raises a SequenceError before it changes `state`."""

    def step_together(self, waiting: Sequence[tuple[State, Tensors]]) -> list[Tensors | Exception]:
        """Answers the requests of one call of a stage on the GPU, each of another session, in their order.

        The answers are computed when this returns: whatever is queued on the GPU has been waited for, once for all.
        A session whose request is refused gets an exception in place of an answer, and its state is as it was. What is
        raised, a lack of memory for instance, is raised before any state has changed: the requests are then tried one
        by one, so that each session answers for itself alone.
        """
        raise NotImplementedError(f"{type(self).__name__} is for_device and has no step_together")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Triton's call with the requests that wait, each of another session."""
        if self.arrays.on_device:
            return self._respond_together(requests)
        return [self._respond(request) for request in requests]

    def finalize(self) -> None:
        """Triton's call when the model is unloaded."""
        self._closing.set()

    def _respond(self, request: Any) -> Any:
        import triton_python_backend_utils as pb_utils  # exists inside of Triton's Python stub only

        flags = request.flags()
        try:
            with self._sessions.request(
                correlation_id(request), start=bool(flags & _START), end=bool(flags & _END)
            ) as state:
                outputs = self.step(state, self._read(request))
                tensors = [self._outgoing(name, array) for name, array in outputs.items()]
        except Exception as error:  # a fault of this stage must not fail the other sessions of the same call
            return self._refusal(error)
        return pb_utils.InferenceResponse(tensors)

    def _outgoing(self, name: str, array: Array) -> Any:
        """The tensor of an output, the same one where the array was sent before and the stage sends again."""
        if self._sent is None:
            return to_triton(name, array[np.newaxis])
        return self._sent.tensor(name, array)

    def _respond_together(self, requests: list[Any]) -> list[Any]:
        """The same for all requests of a call, of which the stage makes one piece of work."""
        answers: list[Any] = [None] * len(requests)
        waiting: dict[int, tuple[State, Tensors]] = {}
        ended: list[int] = []
        for number, request in enumerate(requests):
            flags = request.flags()
            try:
                state = self._sessions.begin(correlation_id(request), start=bool(flags & _START))
                if flags & _END:
                    ended.append(request.correlation_id())
                waiting[number] = (state, self._read(request))
            except Exception as error:
                answers[number] = self._refusal(error)
        outcomes = self._outcomes(list(waiting.values())) if waiting else []
        if any(isinstance(outcome, Exception) and not isinstance(outcome, SequenceError) for outcome in outcomes):
            self._end_if_lost(outcomes)
        for (number, (state, _)), outcome in zip(waiting.items(), outcomes, strict=True):
            answers[number] = self._answer(requests[number].correlation_id(), state, outcome)
        for session in ended:
            self._sessions.forget(session)
        return answers

    def _outcomes(self, waiting: list[tuple[State, Tensors]]) -> list[Tensors | Exception]:
        """What became of each request, whatever happens to the others."""
        try:
            return self.step_together(waiting)
        except Exception as error:
            if len(waiting) == 1:
                return [error]
        return [outcome for alone in waiting for outcome in self._outcomes([alone])]

    def _end_if_lost(self, outcomes: Sequence[Tensors | Exception]) -> None:
        """End this process where the GPU is lost to it: whoever watches the server sees that, and starts it anew.

        Triton itself would call the stage ready, and every frame of every session would fail.
        """
        if self.arrays.lost():
            faults = "; ".join(repr(outcome) for outcome in outcomes if isinstance(outcome, Exception))
            print(f"{self._name}: the GPU is lost to this process, which ends: {faults}", file=sys.stderr, flush=True)
            os._exit(os.EX_SOFTWARE)

    def _answer(self, correlation_id: int, state: State, outcome: Tensors | Exception) -> Any:
        import triton_python_backend_utils as pb_utils

        if isinstance(outcome, Exception):
            return self._refusal(outcome)
        try:
            tensors = [to_triton(name, array[None, ...]) for name, array in outcome.items()]
        except Exception as error:
            return self._refusal(error)
        self._sessions.keep(correlation_id, state)
        return pb_utils.InferenceResponse(tensors)

    def _refusal(self, error: Exception) -> Any:
        """The response that tells a session why it gets no answer."""
        import triton_python_backend_utils as pb_utils

        if isinstance(error, SequenceError):
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        pb_utils.Logger.log_error("".join(traceback.format_exception(error)))
        return pb_utils.InferenceResponse(
            error=pb_utils.TritonError(f"{SESSION_LOST}: fault in stage {self._name}: {error!r}")
        )

    def _read(self, request: Any) -> Tensors:
        import triton_python_backend_utils as pb_utils

        inputs: dict[str, Array] = {}
        for name, optional in self._inputs.items():
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is None:
                if optional:
                    continue
                # Triton itself only counts: an optional one that was sent stands for this one to it.
                raise BadInput(f"{name} is missing, expected in each request")
            array = from_triton(tensor, self.arrays)
            if array.shape[0] != 1:
                raise BadInput(f"{name} holds {array.shape[0]} frames, expected 1 for each request")
            inputs[name] = array[0, ...]
        return inputs

    def _evict(self) -> None:
        while not self._closing.wait(STATE_IDLE_SECONDS / 2):
            self._sessions.evict_idle()
