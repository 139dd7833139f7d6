"""stabilizer: the canvas's texture, drawn in the session's tier of quality and steadied against its previous output."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from canvas_stabilizer import NOT_FINITE, CanvasStabilizer
from canvas_stabilizer_array import ArrayCanvasStabilizer, steady_together, warm_up
from facestream.array_namespace import Array
from facestream.avatar.layers_canvas import CANVAS_HEIGHT, CANVAS_WIDTH
from facestream.quality import REFINER_INPUTS, Quality, Tiers, automatic_limit
from facestream.sequence import SessionLost
from facestream.sequence_stage import SequenceStage, Tensors, correlation_id
from facestream.triton_tensor import from_triton
from governor import Governor
from refiners import Refined, Refiners
from tier_fade import TierFade, Weights, main_tier, mix, models

_START = 1  # TRITONSERVER_REQUEST_FLAG_SEQUENCE_START


class _Portrayal:
    """State of one session."""

    def __init__(self, correlation_id: int) -> None:
        self.correlation_id = correlation_id
        self.fade = TierFade()
        self.stabilizer = CanvasStabilizer()  # on the processor
        self.array_stabilizer = ArrayCanvasStabilizer()  # on a GPU


class _Plan(NamedTuple):
    """What is drawn for one frame beside the texture that came."""

    weights: Weights
    textures: Mapping[Quality, Array]


class TritonPythonModel(SequenceStage[_Portrayal]):
    """Triton's entry point.

    `execute` first has the refiners draw the frames of all its requests together. Then it steps through them on a
    processor, or steadies them together on a GPU, where nothing but a flag for each frame comes back to the host.
    """

    for_device = True
    large_states = True  # 1.2 MB

    def load(self, model_folder: str) -> None:
        cv2.setNumThreads(1)  # stages share the cores
        self._refiners = Refiners(_warn, arrays=self.arrays)
        self._tiers = Tiers(lambda name: True)  # which of them are ready is asked where it matters
        self._governor = Governor(automatic_limit())
        self._plans: dict[int, _Plan] = {}
        if self.arrays.on_device:
            warm_up(self.arrays, CANVAS_HEIGHT, CANVAS_WIDTH)

    def create(self, correlation_id: int) -> _Portrayal:
        return _Portrayal(correlation_id)

    def execute(self, requests: list[Any]) -> list[Any]:
        began = time.perf_counter()
        try:
            self._plans = self._draw(requests)
        except Exception:  # without plans the frames are those of `fast`
            _warn(traceback.format_exc())
            self._plans = {}
        responses = super().execute(requests)
        self._governor.worked(time.perf_counter() - began)
        return responses

    def step(self, state: _Portrayal, inputs: Tensors) -> Tensors:
        plan = self._plans.pop(state.correlation_id, None) or _Plan(state.fade.next(Quality.FAST), {})
        texture, weights = mix(inputs["CANVAS_TEXTURE"], plan.weights, plan.textures)
        steady = state.stabilizer.step(texture, inputs["CANVAS_FLOW"], int(inputs["FRAME_INDEX"][0]))
        state.fade.advance(weights)
        return {"STABLE_TEXTURE": steady, "QUALITY_USED": np.array([main_tier(weights)], np.uint8)}

    def step_together(self, waiting: Sequence[tuple[_Portrayal, Tensors]]) -> list[Tensors | Exception]:
        outcomes: list[Tensors | Exception] = []
        drawn: list[tuple[int, _Portrayal, Weights]] = []  # number of the request, its session, what is in its texture
        mixed: list[Array] = []
        moved: list[Array] = []
        for state, inputs in waiting:
            try:
                state.array_stabilizer.check(int(inputs["FRAME_INDEX"][0]))
            except SessionLost as error:
                outcomes.append(error)
                continue
            plan = self._plans.get(state.correlation_id) or _Plan(state.fade.next(Quality.FAST), {})
            texture, weights = mix(self.arrays.asarray(inputs["CANVAS_TEXTURE"]), plan.weights, plan.textures)
            drawn.append((len(outcomes), state, weights))
            mixed.append(texture)
            moved.append(self.arrays.asarray(inputs["CANVAS_FLOW"]))
            outcomes.append(SessionLost(NOT_FINITE))
        if not drawn:
            return outcomes
        xp = self.arrays.xp
        flows = xp.stack(moved)
        steadied = steady_together(xp, [state.array_stabilizer.past for _, state, _ in drawn], xp.stack(mixed), flows)
        (finite,) = self.arrays.to_host([steadied.finite])
        for i, (number, state, weights) in enumerate(drawn):
            if not finite[i]:
                continue
            past = steadied.past(i, flows)
            state.array_stabilizer.advance(past)
            state.fade.advance(weights)
            outcomes[number] = {
                "STABLE_TEXTURE": past.texture,
                "QUALITY_USED": np.array([main_tier(weights)], np.uint8),
            }
        return outcomes

    def _draw(self, requests: Sequence[Any]) -> dict[int, _Plan]:
        """The plans of these requests by correlation id; each is of another session."""
        import triton_python_backend_utils as pb_utils  # exists inside of Triton's Python stub only

        weights: dict[int, Weights] = {}
        wanted: dict[Quality, list[Any]] = {}
        drawn_for: dict[Quality, list[int]] = {}
        for request in requests:
            session = correlation_id(request)
            if not isinstance(session, int) or not _is_whole(request):
                continue  # will be refused, and is not to take the others' plans along
            state = None if request.flags() & _START else self._sessions.peek(session)
            tensor = pb_utils.get_input_tensor_by_name(request, "QUALITY")
            asked = Quality.AUTO if tensor is None else _tier(int(from_triton(tensor, self.arrays)[0, 0]))
            fade = TierFade() if state is None else state.fade
            weights[session] = fade.next(self._target(session, asked))
            for tier in models(weights[session]):
                if self._refiners.rests(tier, session):
                    continue
                wanted.setdefault(tier, []).append(request)
                drawn_for.setdefault(tier, []).append(session)
        refined: dict[Quality, Refined] = self._refiners.draw(wanted) if wanted else {}
        textures: dict[int, dict[Quality, Array]] = {session: {} for session in weights}
        for tier, answer in refined.items():
            self._governor.refined(tier, answer.textures.shape[0], answer.seconds)
            for i, session in enumerate(drawn_for[tier]):
                if answer.finite[i]:
                    textures[session][tier] = answer.textures[i, ...]
        return {session: _Plan(weights[session], textures[session]) for session in weights}

    def _target(self, session: int, asked: Quality) -> Quality:
        """The tier that a session's frames are to have from now on."""
        if asked is not Quality.AUTO:
            self._governor.end(session)
            return asked if asked is Quality.FAST or self._refiners.ready(asked) else Quality.FAST
        if self._governor.limit is Quality.FAST:
            return Quality.FAST
        offered = [tier for tier in self._tiers.offered() if tier is Quality.FAST or self._refiners.ready(tier)]
        return self._governor.frame(session, offered)


def _is_whole(request: Any) -> bool:
    """Whether all is there that a refiner is given: one that came around the door may lack it."""
    import triton_python_backend_utils as pb_utils

    return all(pb_utils.get_input_tensor_by_name(request, name) is not None for name in REFINER_INPUTS)


def _tier(value: int) -> Quality:
    """The tier of a byte that `avatar_store` has seen; one that came around it must not fail the others' frames."""
    try:
        return Quality(value)
    except ValueError:
        return Quality.AUTO


def _warn(message: str) -> None:
    import triton_python_backend_utils as pb_utils

    pb_utils.Logger.log_warn(message)
