"""Which faces a synthetic person shows: frames of recorded speech, mixtures of shapes, blinks, glances, smiles.

All are PARAMETERS [73] in the order of facestream.parameters with the head at rest.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from facestream.parameters import ARKIT, HEAD, INDEX, PARAMETERS
from numpy.typing import NDArray

Floats32 = NDArray[np.float32]

MOUTH: Final = tuple(INDEX[p.name] for p in ARKIT if p.name.startswith(("jaw", "mouth")))
"""Parameters by which frames of speech are told apart."""


def named(**weights: float) -> Floats32:
    """PARAMETERS [73] of named weights; a name without Left or Right sets both sides.

    Raises:
        KeyError: there is no such parameter.
    """
    parameters = np.zeros(len(PARAMETERS), dtype=np.float32)
    for name, value in weights.items():
        found = [INDEX[full] for full in (name, name + "Left", name + "Right") if full in INDEX]
        if not found:
            raise KeyError(f"no parameter {name!r}")
        parameters[found] = value
    return parameters


def still_head(parameters: Floats32) -> Floats32:
    """PARAMETERS [..., 73] with the head at rest, everything within its range and the tongue in the mouth."""
    still = np.clip(parameters, [p.low for p in PARAMETERS], [p.high for p in PARAMETERS]).astype(np.float32)
    still[..., [INDEX[p.name] for p in HEAD]] = 0.0
    still[..., INDEX["tongueOut"]] = 0.0
    return still


def most_different(candidates: Floats32, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Indices [count] of rows [N, D] far from each other: each next one is the farthest from those taken.

    Raises:
        ValueError: there are fewer rows than asked for.
    """
    if len(candidates) < count:
        raise ValueError(f"candidates: {len(candidates)} rows, at least {count} are needed")
    chosen = [int(generator.integers(len(candidates)))]
    distance = np.linalg.norm(candidates - candidates[chosen[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(candidates - candidates[chosen[-1]], axis=1))
    return np.array(chosen)


def glance(generator: np.random.Generator, spread: float = 1.0) -> Floats32:
    """PARAMETERS [73] of a small motion of gaze, both eyes alike, lids following."""
    yaw, pitch = generator.normal(0.0, 0.13) * spread, generator.normal(0.0, 0.08) * spread
    yaw, pitch = float(np.clip(yaw, -0.45, 0.45)), float(np.clip(pitch, -0.3, 0.3))
    parameters = named(gazeYaw=yaw, gazePitch=pitch)
    look = 1.0 / 0.6  # ARKit's eyeLook weights are 1 at about 35 degrees
    for name, value in (
        ("eyeLookDownLeft", pitch),
        ("eyeLookDownRight", pitch),
        ("eyeLookUpLeft", -pitch),
        ("eyeLookUpRight", -pitch),
        ("eyeLookOutLeft", yaw),
        ("eyeLookInRight", yaw),
        ("eyeLookInLeft", -yaw),
        ("eyeLookOutRight", -yaw),
    ):
        parameters[INDEX[name]] = max(0.0, value * look)
    return parameters


def mixture(generator: np.random.Generator) -> Floats32:
    """PARAMETERS [73] of some shapes at random weights: what speech alone does not show."""
    parameters = np.zeros(len(PARAMETERS), dtype=np.float32)
    mouth = np.array(MOUTH)
    chosen = generator.choice(mouth, generator.integers(3, 7), replace=False)
    parameters[chosen] = generator.beta(1.3, 2.2, len(chosen))
    parameters[INDEX["jawOpen"]] = generator.beta(1.2, 2.5) * (generator.random() < 0.7)
    parameters[INDEX["mouthClose"]] = min(parameters[INDEX["mouthClose"]], parameters[INDEX["jawOpen"]])
    for name in ("mouthSmile", "mouthStretch", "mouthLowerDown", "mouthUpperUp", "mouthFrown", "mouthPress"):
        left, right = INDEX[name + "Left"], INDEX[name + "Right"]  # both sides of a face move nearly alike
        both = max(parameters[left], parameters[right])
        parameters[left] = both * generator.uniform(0.7, 1.0)
        parameters[right] = both * generator.uniform(0.7, 1.0)
    for name in ("browInnerUp", "browDown", "browOuterUp", "eyeSquint", "eyeWide", "cheekSquint", "noseSneer"):
        if generator.random() < 0.25:
            parameters += named(**{name: float(generator.beta(1.5, 3.0))})
    parameters[[INDEX["jawLeft"], INDEX["jawRight"], INDEX["mouthLeft"], INDEX["mouthRight"]]] *= 0.4
    return parameters + glance(generator)


def draw_expressions(generator: np.random.Generator, speech: Floats32 | None, frames: int) -> Floats32:
    """PARAMETERS [frames, 73] for one person's stills.

    Half of them are frames of speech, as different from each other as can be found in a random part of it; the rest
    are blinks, glances, smiles, a wide mouth and mixtures.

    Args:
        generator: source of chance.
        speech: [N, 73] recorded parameters, or None: then mixtures stand in for them.
        frames: at least 1.
    """
    spoken = frames // 2 if speech is not None else 0
    rows: list[Floats32] = []
    if speech is not None and spoken:
        some = speech[generator.choice(len(speech), min(len(speech), 60 * spoken), replace=False)]
        rows += list(some[most_different(some[:, MOUTH], spoken, generator)])
    blink = float(generator.uniform(0.3, 0.8))
    rows.append(named(eyeBlink=1.0) + mixture(generator) * (generator.random() < 0.5))
    rows.append(named(eyeBlink=blink, jawOpen=float(generator.uniform(0.0, 0.3))) + glance(generator))
    smile, ajar = float(generator.uniform(0.4, 0.9)), float(generator.uniform(0.0, 0.3))
    grin = named(mouthSmile=smile, cheekSquint=0.6 * smile, mouthUpperUp=0.4 * smile, jawOpen=ajar)
    rows.append(grin + glance(generator, 1.5))
    rows.append(named(jawOpen=float(generator.uniform(0.5, 0.9)), mouthStretch=0.2) + glance(generator))
    while len(rows) < frames:
        rows.append(mixture(generator))
    order = generator.permutation(len(rows))[:frames]
    return still_head(np.asarray(rows, dtype=np.float32)[order])
