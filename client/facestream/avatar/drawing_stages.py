"""The three networks that draw a face, one after the other without a server; what runs each of them is the caller's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from numpy.typing import NDArray

Graph = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""A network: its outputs by name, [b, ...] each, for tensors [b, ...] among which are its inputs."""

Stabilizer = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
"""From CANVAS_TEXTURE [4, h, w] and CANVAS_FLOW [2, h, w] of one frame to its STABLE_TEXTURE [4, h, w]."""

STAGES: Final = ("face_geometry", "renderer", "compositor")
"""In their order; the stage `stabilizer` stands before the last."""


def draw_stages(
    graphs: Mapping[str, Graph], given: Mapping[str, NDArray[Any]], steady: Stabilizer | None = None
) -> dict[str, NDArray[Any]]:
    """All tensors of one frame by name, [1, ...] each, those that were given among them.

    Args:
        graphs: each of STAGES.
        given: PARAMETERS [1, 73] and the avatar's tensors [1, ...].
        steady: stands for the stabilizer; None: the texture stays as it is drawn.
    """
    tensors = dict(given)
    for stage in STAGES:
        if stage == "compositor":
            texture, flow = tensors["CANVAS_TEXTURE"], tensors["CANVAS_FLOW"]
            tensors["STABLE_TEXTURE"] = texture if steady is None else steady(texture[0], flow[0])[None]
        tensors.update(graphs[stage](tensors))
    return tensors
