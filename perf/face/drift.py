"""Whether a face that speaks for half an hour is still the same: geometry, colour and detail against its beginning.

A recorded sentence is said over and over. Of the drawing only the stabiliser remembers anything, so by default the
stages without memory are run for the first round alone (and again at its end, to see that they answer alike); `--long`
runs all stages for all 54,000 frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from facestream.contract import FRAME_RATE, LOOKAHEAD_FRAMES
from numpy.typing import NDArray

from perf.face.ablation import Ablation
from perf.face.picture_measures import gradient
from perf.face.portraits import face_mask, photo_of
from perf.lip_sync.rendered import FrameMeasure

Image = NDArray[np.uint8]

MINUTES: Final = 30.0
LOOKED_AT: Final = 6
"""Frames of a round whose pictures are compared."""
ROUNDS_LOOKED_AT: Final = 6


def drift(
    ablation: Ablation,
    avatar: Mapping[str, NDArray[Any]],
    parameters: NDArray[np.float32],
    minutes: float = MINUTES,
    all_stages: bool = False,
) -> dict[str, float]:
    """Draw PARAMETERS [n, 73] round after round for so many minutes.

    Returns:
        frames: how many. levels: the largest difference of any frame that was looked at from the same frame of the
        second round. geometry: the largest change of lips, lids, width and turn as landmarks see them. colour: of the
        face's mean colour, levels. detail: of its mean gradient, in terms of what it was.
    """
    from canvas_stabilizer import CanvasStabilizer

    mask, _ = face_mask(photo_of(avatar))
    look = FrameMeasure(photo_of(avatar))
    rounds = max(3, round(minutes * 60 * FRAME_RATE / len(parameters)))
    places = sorted({round(x) for x in np.linspace(0, len(parameters) - 1, LOOKED_AT)})
    looked_at = {1, *(round(x) for x in np.linspace(2, rounds - 1, ROUNDS_LOOKED_AT))}
    found: dict[int, list[tuple[Image, dict[str, float]]]] = {}

    def keep(round_: int, place: int, frame: Image) -> None:
        if round_ in looked_at and place in places:
            found.setdefault(round_, []).append((frame, look(frame)))

    if all_stages:
        course = (vector for _ in range(rounds) for vector in parameters)
        for number, one in enumerate(ablation.draw(avatar, course, ["fast"])):
            keep(*divmod(number, len(parameters)), one["fast"].frame)
    else:
        first = [
            (one["network"].texture, one["network"].flow) for one in ablation.draw(avatar, parameters, ["network"])
        ]
        stabilizer, number = CanvasStabilizer(), 0
        for round_ in range(rounds):
            for place, (texture, flow) in enumerate(first):
                steady = stabilizer.step(texture, flow, number - LOOKAHEAD_FRAMES)
                number += 1
                if round_ in looked_at and place in places:
                    keep(round_, place, ablation.composed(avatar, parameters[place], steady))
        again = list(ablation.draw(avatar, parameters[:LOOKED_AT], ["network"]))
        if any(
            not np.array_equal(one["network"].texture, before) for one, (before, _) in zip(again, first, strict=False)
        ):
            raise AssertionError("the stages without memory do not answer alike twice: run with --long")

    reference = found[1]
    worst = dict.fromkeys(("levels", "geometry", "colour", "detail"), 0.0)
    for round_, frames in found.items():
        if round_ == 1:
            continue
        for (frame, seen), (before, was) in zip(frames, reference, strict=True):
            apart = np.abs(frame.astype(np.int16) - before)
            keys = ("gap", "width", "eyes", "yaw", "pitch", "roll")
            worst["levels"] = max(worst["levels"], float(apart.max()))
            worst["geometry"] = max(worst["geometry"], *(abs(seen[key] - was[key]) for key in keys))
            colour = frame[mask].mean(0) - before[mask].mean(0)
            worst["colour"] = max(worst["colour"], float(np.abs(colour).max()))
            detail = gradient(frame)[mask].mean() / gradient(before)[mask].mean() - 1.0
            worst["detail"] = max(worst["detail"], float(abs(detail)))
    return {"frames": float(rounds * len(parameters)), **worst}
