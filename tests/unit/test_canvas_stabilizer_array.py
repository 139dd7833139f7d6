"""The stabiliser on arrays of any namespace: the processor's picture, for several sessions at once."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest
from canvas_stabilizer import CanvasStabilizer
from canvas_stabilizer_array import Past, steady_together

HEIGHT, WIDTH = 64, 48
NEAR = 1e-3
"""Levels by which the two may differ. On x86-64 they do not at all; another processor may round a sum in one step."""


def film(seed: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Textures [frames, 4, h, w] and flows [frames, 2, h, w] like a mouth's: skin that moves and rests, teeth that
    appear, flicker."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    wave = np.cumsum(random.normal(0, 0.7, frames))
    wave[frames // 3 : frames // 2] = wave[frames // 3]  # a pause: nothing moves
    textures, flows = [], []
    for number in range(frames):
        flow = wave[number] * np.stack([np.sin(rows / 9.0), np.cos(columns / 7.0)])
        texture = 40 * np.sin((columns + flow[0]) / 3.0) * np.cos((rows + flow[1]) / 4.0)
        texture = np.stack([texture, 0.8 * texture, 0.6 * texture, 0.5 + texture / 400])
        if number % 7 > 3:
            texture[:, 20:30, 10:38] = np.array([190, 185, 170, 1.0])[:, None, None]
        texture += random.normal(0, 1.0, texture.shape) * np.array([1, 1, 1, 0.004])[:, None, None]
        textures.append(texture)
        flows.append(flow)
    return np.array(textures, np.float32), np.array(flows, np.float32)


def steadied_in_company(xp: Any, films: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Each film's textures, steadied with the others': the second begins 5 frames later, and so on."""
    shown: list[list[np.ndarray]] = [[] for _ in films]
    pasts: list[Past | None] = [None for _ in films]
    for step in range(max(len(textures) + 5 * i for i, (textures, _) in enumerate(films))):
        here = [i for i, (textures, _) in enumerate(films) if 0 <= step - 5 * i < len(textures)]
        textures = xp.asarray(np.array([films[i][0][step - 5 * i] for i in here]))
        flows = xp.asarray(np.array([films[i][1][step - 5 * i] for i in here]))
        steadied = steady_together(xp, [pasts[i] for i in here], textures, flows)
        assert steadied.textures.dtype == xp.float32
        for place, i in enumerate(here):
            pasts[i] = steadied.past(place, flows)
            shown[i].append(np.asarray(steadied.textures[place, ...]))
    return [np.array(frames) for frames in shown]


@pytest.mark.parametrize("xp", [np, array_api_strict], ids=["numpy", "strict"])
def test_sessions_together_get_the_pictures_of_a_processor(xp: Any) -> None:
    """Who moves from a server without a GPU to one with it must see the same face. The strict namespace has nothing but
    the standard's functions, all of which CuPy has."""
    films = [film(seed, 24 + 5 * seed) for seed in range(3)]
    changed = 0
    for (textures, flows), shown in zip(films, steadied_in_company(xp, films), strict=True):
        alone = CanvasStabilizer()
        for number, (texture, flow) in enumerate(zip(textures, flows, strict=True)):
            expected = alone.step(texture, flow, number - 2)
            np.testing.assert_allclose(shown[number], expected, rtol=0, atol=NEAR)
            changed += not np.array_equal(expected, texture)
    assert changed > 50  # otherwise nothing was steadied, and the test says nothing


def test_whole_canvas_at_its_own_size_agrees() -> None:
    """The plane's offset is added to the pixel's: at 256 x 192 and 8 sessions it must not run out of its integer."""
    random = np.random.default_rng(1)
    textures = random.normal(0, 30, (2, 8, 4, 256, 192)).astype(np.float32)
    textures[1] = textures[0] + random.normal(0, 2, textures[0].shape).astype(np.float32)
    flows = np.cumsum(random.normal(0, 1.5, (2, 8, 2, 256, 192)), axis=0).astype(np.float32)
    first = steady_together(np, [None] * 8, textures[0], flows[0])
    second = steady_together(np, [first.past(i, flows[0]) for i in range(8)], textures[1], flows[1])
    for i in range(8):
        alone = CanvasStabilizer()
        alone.step(textures[0, i], flows[0, i], -2)
        np.testing.assert_allclose(second.textures[i], alone.step(textures[1, i], flows[1, i], -1), rtol=0, atol=NEAR)


def test_broken_texture_is_told_of_its_own_session_alone() -> None:
    textures = np.zeros((3, 4, 8, 8), np.float32)
    textures[1, 2, 3, 4] = np.nan
    past = Past(np.zeros((4, 8, 8), np.float32), np.zeros((2, 8, 8), np.float32))
    steadied = steady_together(np, [past] * 3, textures, np.zeros((3, 2, 8, 8), np.float32))
    assert steadied.finite.tolist() == [True, False, True]
    assert np.isfinite(steadied.textures[[0, 2]]).all()


def test_all_that_is_asked_of_the_namespace_is_in_cupy() -> None:
    """CuPy imports without a GPU, so this much of it can be seen anywhere it is installed."""
    cupy = pytest.importorskip("cupy", reason="CuPy comes with the extras gpu-cuda12 and gpu-cuda13")
    asked: set[str] = set()

    class Listening:
        def __getattr__(self, name: str) -> Any:
            asked.add(name)
            return getattr(np, name)

    steadied_in_company(Listening(), [film(0, 8), film(1, 6)])
    from nv12 import to_nv12

    to_nv12(Listening(), np.zeros((1, 4, 4, 3), np.uint8))
    assert asked
    assert not [name for name in asked if not hasattr(cupy, name)]
