"""Calls the models of the better tiers from within the stage: business logic scripting (BLS) of Triton.

All frames of one call of the stage that a tier draws go in one request, and the tiers run side by side. What a refiner
takes has the names of the stage's own inputs, so a frame's tensors are handed on where they lie. What it gives comes
to where the stage works: the host's memory, or the GPU.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from facestream.array_namespace import HOST, Array, ArrayNamespace
from facestream.loaded_models import model_ready
from facestream.quality import REFINER_INPUTS, REFINER_OUTPUT, REFINERS, Quality
from facestream.triton_tensor import from_triton, to_triton

REST_SECONDS: Final = 5.0
"""A refiner that failed is not asked again for so long: for anybody where it gave no answer, for one session where what
it made of that one's frame cannot be shown. That may be the frame's fault, and is not to cost the others their tier."""


class Refined(NamedTuple):
    """What one refiner gave for a batch of frames."""

    textures: Array
    """(n, 4, h, w) float32, in the order of the requests."""
    finite: Sequence[bool]
    """Which of them can be shown: those whose frames came with finite values."""
    seconds: float


class Refiners:
    """The refiner models of this server."""

    def __init__(
        self,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        arrays: ArrayNamespace = HOST,
    ) -> None:
        """`warn` is told of a failure in words for the server's log; `arrays` says where the stage works."""
        self._warn = warn
        self._arrays = arrays
        self._clock = clock
        self._resting: dict[Quality, float] = {}  # until when
        self._resting_for: dict[tuple[Quality, int], float] = {}
        self._told: dict[Quality, float] = {}  # when a failure was last told
        self._answered: dict[Quality, bool] = {}  # what the server was last told of each
        self._loop: asyncio.AbstractEventLoop | None = None

    def ready(self, tier: Quality) -> bool:
        """Whether the tier's model is there and has not failed of late. The log tells each change once."""
        if self._clock() < self._resting.get(tier, float("-inf")):
            return False
        ready = model_ready(REFINERS[tier])
        if ready is not self._answered.get(tier, True):
            state = "is back" if ready else "is not ready: sessions of its tier get the one below"
            self._warn(f"{REFINERS[tier]} {state}")
        self._answered[tier] = ready
        return ready

    def rests(self, tier: Quality, session: int) -> bool:
        """Whether the tier is not asked for frames of this session just now, because it could not draw one of late."""
        return self._clock() < self._resting_for.get((tier, session), float("-inf"))

    def draw(self, wanted: Mapping[Quality, Sequence[Any]]) -> dict[Quality, Refined]:
        """Have each tier draw the frames of these Triton requests; a tier that fails is missing in what comes back."""
        calls = {tier: requests for tier, requests in wanted.items() if requests and self.ready(tier)}
        if not calls:
            return {}
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        answers = self._loop.run_until_complete(self._draw_all(calls))
        return {tier: answer for tier, answer in zip(calls, answers, strict=True) if answer is not None}

    async def _draw_all(self, calls: Mapping[Quality, Sequence[Any]]) -> list[Refined | None]:
        return await asyncio.gather(*(self._draw(tier, requests) for tier, requests in calls.items()))

    async def _draw(self, tier: Quality, requests: Sequence[Any]) -> Refined | None:
        import triton_python_backend_utils as pb_utils  # exists inside of Triton's Python stub only

        began = time.perf_counter()
        memory = pb_utils.TRITONSERVER_MEMORY_GPU if self._arrays.on_device else pb_utils.TRITONSERVER_MEMORY_CPU
        request = pb_utils.InferenceRequest(
            model_name=REFINERS[tier],
            requested_output_names=[REFINER_OUTPUT],
            inputs=[self._batch(name, requests) for name in REFINER_INPUTS],
            preferred_memory=pb_utils.PreferredMemory(memory, self._arrays.device),
        )
        response = await request.async_exec()
        if response.has_error():
            self._resting[tier] = self._clock() + REST_SECONDS
            self._tell(tier, response.error().message())
            return None
        output = pb_utils.get_output_tensor_by_name(response, REFINER_OUTPUT)
        textures = self._arrays.copy(from_triton(output, self._arrays))
        finite = self._finite(textures, len(requests))
        pairs = zip(finite, requests, strict=True)
        if failed := [request for drawn, request in pairs if not (drawn or self._given_worse(request))]:
            self._rest_for(tier, [request.correlation_id() for request in failed])
            self._tell(tier, f"{REFINER_OUTPUT} holds a value that is not finite")
        return Refined(textures, finite, time.perf_counter() - began)

    def _finite(self, values: Array, frames: int) -> Sequence[bool]:
        """Which of these `frames` hold finite values alone."""
        xp = self._arrays.xp
        finite = xp.isfinite(values)
        if bool(xp.all(finite)):
            return [True] * frames
        return [bool(xp.all(finite[i, ...])) for i in range(frames)]

    def _given_worse(self, request: Any) -> bool:
        """Whether a frame came with values that are not finite: then it is not the tier that failed."""
        import triton_python_backend_utils as pb_utils

        given = (from_triton(pb_utils.get_input_tensor_by_name(request, name), self._arrays) for name in REFINER_INPUTS)
        return not all(self._finite(self._arrays.asarray(values), 1)[0] for values in given)

    def _batch(self, name: str, requests: Sequence[Any]) -> Any:
        """One input of all requests together; that of a single one as it lies."""
        import triton_python_backend_utils as pb_utils

        tensors = [pb_utils.get_input_tensor_by_name(request, name) for request in requests]
        if len(tensors) == 1:
            return tensors[0]
        parts = [from_triton(tensor, self._arrays) for tensor in tensors]
        if all(isinstance(part, np.ndarray) for part in parts):
            return to_triton(name, np.concatenate(parts))
        batch = self._arrays.xp.concat([self._arrays.asarray(part) for part in parts])
        self._arrays.synchronize()  # what is handed over must be computed
        return to_triton(name, batch)

    def _rest_for(self, tier: Quality, sessions: Sequence[int]) -> None:
        now = self._clock()
        self._resting_for = {key: until for key, until in self._resting_for.items() if now < until}
        self._resting_for.update({(tier, session): now + REST_SECONDS for session in sessions})

    def _tell(self, tier: Quality, reason: str) -> None:
        """Once in REST_SECONDS: who sends such frames for one session after the other does not fill the log."""
        now = self._clock()
        if now < self._told.get(tier, float("-inf")) + REST_SECONDS:
            return
        self._told[tier] = now
        self._warn(f"{REFINERS[tier]} failed and rests for {REST_SECONDS:g} s, frames fall back to 'fast': {reason}")
