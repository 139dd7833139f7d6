"""What the stabiliser does: python -m perf.stabilizer [--avatar NAME] [--minutes 30].

The renderer's textures of recorded speech, with and without flicker laid over them, go through the stage's own class:

- flicker: second differences in time, along the known motion, of what was laid over the speech, which is the shaky film
  less the calm one, each behind the stabiliser or both without (in speech the jaw opens within two frames, which is no
  flicker and must stay). Laid over are white noise, and detail that swims on the skin at half the resolution, as the
  output of a network does. And, where torch is installed, what the learned renderer lays over the layers that it
  betters, in each tier, where these hardly change: elsewhere it rightly changes with the mouth.
- lag: a blink and a mouth that opens, stops and shuts, drawn with and without it; delay by the best match, depth of
  the closed lids, and what of the motion is still missing a frame later.
- drift: the same seconds of speech over and over. Every round must end in the very same bits as the second.
- time for a frame, on one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from facestream.audio import read_sound
from facestream.avatar import layers_canvas as canvas
from facestream.avatar.bundle import Bundle, load_bundle
from facestream.avatar.preview import FacePreview, OpenVinoGraph
from facestream.contract import FRAME_RATE, LOOKAHEAD_FRAMES, SAMPLE_RATE
from facestream.parameters import INDEX, PARAMETERS
from numpy.typing import NDArray

from perf.drawn_frames import AVATARS, REPOSITORY, SpokenFace

sys.path.append(str(REPOSITORY / "stabilizer" / "1"))

from canvas_stabilizer import KEEP, CanvasStabilizer

Floats = NDArray[np.float32]

SPEECH = Path("tests/data/speech.wav")
MOUTH_ROW = canvas.MOUTH_Y - canvas.CANVAS_Y
"""The canvas shows the eyes above this row and the mouth below it."""
LEVELS = 3.0
"""Standard deviation of the laid-over flicker."""

BLINK = [0.0] * 6 + [0.35, 0.85, 1.0, 1.0, 0.8, 0.5, 0.25, 0.1, 0.03] + [0.0] * 8
JAW = [0.0] * 6 + [0.1, 0.3, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.2, 0.05] + [0.0] * 6

TIERS: dict[str, str | None] = {"fast": None, "standard": "refiner_standard", "high": "refiner_high"}
"""The models that draw them beyond the renderer."""
LEAST = 0.01
"""Flicker below this is none, levels."""

STILL = 1.0
"""Second differences of what hardly changes are smaller, levels: nine tenths of a speaking mouth's canvas."""

STEPS = 100
"""The delay is searched in so many parts of a frame."""


class Canvas(NamedTuple):
    """What the renderer says of n frames."""

    textures: Floats
    """[n, 4, 256, 192]"""
    flows: Floats
    """[n, 2, 256, 192]"""


class Film(NamedTuple):
    """What the canvas shows of one avatar."""

    photo: Floats
    """[512, 512, 3]"""
    across: Floats
    down: Floats

    @classmethod
    def of(cls, photo: NDArray[np.uint8]) -> Film:
        """From AVATAR_PHOTO [3, 512, 512]."""
        down, across = np.mgrid[0 : canvas.CANVAS_HEIGHT, 0 : canvas.CANVAS_WIDTH].astype(np.float32)
        return cls(photo.transpose(1, 2, 0).astype(np.float32), across, down)

    def picture(self, texture: Floats, flow: Floats) -> Floats:
        """[256, 192, 3], levels."""
        photo = self.warp(self.photo, flow[0] + canvas.CANVAS_X, flow[1] + canvas.CANVAS_Y)
        return np.asarray(photo * (1.0 - texture[3][..., None]) + texture[:3].transpose(1, 2, 0), np.float32)

    def warp(self, picture: Floats, across: Floats, down: Floats) -> Floats:
        """A picture at the pixels moved by so much."""
        moved = cv2.remap(
            picture, self.across + across, self.down + down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(moved, np.float32)

    def pictures(self, frames: Canvas) -> Floats:
        """[n, 256, 192, 3], levels."""
        return np.array([self.picture(*frame) for frame in zip(*frames, strict=True)])

    def second_differences(self, pictures: Floats, flows: Floats) -> Floats:
        """[n - 2, 256, 192]: how far each picture is from the mean of its neighbours, moved to where they are in it."""
        found = []
        for t in range(1, len(pictures) - 1):
            around = [self.warp(pictures[s], *(flows[t] - flows[s])) for s in (t - 1, t + 1)]
            found.append(np.abs(2.0 * pictures[t] - around[0] - around[1]).mean(axis=2))
        return np.array(found)

    def flicker_of(
        self, layers: Iterable[Floats], plain: Floats, flows: Floats, where: slice | NDArray[np.bool_], most: float
    ) -> list[float]:
        """How much each of `layers` [n, 256, 192, 3], laid over the pictures `plain` that move by `flows`, flickers.

        Each is measured by itself: where the speech changes by more than it does, it hardly adds to the size of the
        sum.

        Args:
            layers: levels.
            plain: [n, 256, 192, 3], levels.
            flows: [n, 2, 256, 192], px.
            where: rows or pixels that count.
            most: only where and when the second differences of `plain` are smaller, levels.
        """
        counts = self.second_differences(plain, flows)[:, where] < most
        return [float(self.second_differences(layer, flows)[:, where][counts].mean()) for layer in layers]


def render(preview: FacePreview, parameters: Floats) -> Canvas:
    """The canvas of PARAMETERS [n, 73], as the renderer makes it."""
    textures, flows = [], []
    for vector in parameters:
        tensors = preview.tensors(vector)
        textures.append(tensors["CANVAS_TEXTURE"][0].copy())
        flows.append(tensors["CANVAS_FLOW"][0].copy())
    return Canvas(np.array(textures), np.array(flows))


def layers_alone(preview: FacePreview, parameters: Floats) -> Canvas | None:
    """The canvas of PARAMETERS [n, 73] without the learned renderer; None where torch is not installed."""
    try:
        import torch

        from export.face.export import INPUTS, run
        from export.face.renderer import Renderer
    except ImportError:
        return None
    renderer, textures, flows = Renderer(None).eval(), [], []
    for vector in parameters:
        tensors = preview.tensors(vector)
        inputs = {name: torch.from_numpy(np.array(tensors[name])) for name in INPUTS["renderer"]}
        flow, texture = run(renderer, INPUTS["renderer"], inputs)
        textures.append(texture[0].numpy())
        flows.append(flow[0].numpy())
    return Canvas(np.array(textures), np.array(flows))


def refined(bundle: Bundle, frames: Canvas, parameters: Floats, model: str | None) -> Canvas:
    """The canvas as a refiner of the model repository betters it; None: as the renderer has made it."""
    if model is None:
        return frames
    network = OpenVinoGraph(REPOSITORY / model / "1" / "model.onnx")
    same = {name: np.array(tensor)[None] for name, tensor in bundle.tensors.items()}
    textures = []
    for texture, flow, vector in zip(*frames, parameters, strict=True):
        tensors = {**same, "PARAMETERS": vector[None], "CANVAS_FLOW": flow[None], "CANVAS_TEXTURE": texture[None]}
        textures.append(np.array(network(tensors)["REFINED_TEXTURE"][0]))
    return Canvas(np.array(textures), frames.flows)


def steadied(frames: Canvas, keep: float = KEEP) -> tuple[Canvas, float]:
    """The same frames behind the stabiliser, and the milliseconds that it took for one of them (median)."""
    stabilizer, out, times = CanvasStabilizer(keep), [], []
    for number, (texture, flow) in enumerate(zip(*frames, strict=True)):
        began = time.perf_counter()
        out.append(stabilizer.step(texture, flow, number - LOOKAHEAD_FRAMES).copy())
        times.append(time.perf_counter() - began)
    return Canvas(np.array(out), frames.flows), float(np.median(times)) * 1e3


def white(frames: Canvas, random: np.random.Generator) -> Floats:
    """Noise of its own in each pixel of each frame, [n, 3, 256, 192]."""
    return random.normal(0.0, LEVELS, (len(frames.flows), 3, *frames.flows.shape[2:])).astype(np.float32)


def swimming(frames: Canvas, random: np.random.Generator) -> Floats:
    """Detail that belongs to the skin, drawn at half the resolution: it is wrong anew wherever the skin moves to."""
    detail = cv2.GaussianBlur(random.normal(0.0, 1.0, (512, 512, 3)).astype(np.float32), (0, 0), 1.0)
    detail *= LEVELS / detail.std()
    down, across = np.mgrid[0 : canvas.CANVAS_HEIGHT : 2, 0 : canvas.CANVAS_WIDTH : 2].astype(np.float32)
    drawn = []
    for flow in frames.flows:
        half = cv2.remap(
            detail,
            across + canvas.CANVAS_X + flow[0, ::2, ::2],
            down + canvas.CANVAS_Y + flow[1, ::2, ::2],
            cv2.INTER_LINEAR,
        )
        drawn.append(cv2.resize(half, (canvas.CANVAS_WIDTH, canvas.CANVAS_HEIGHT)).transpose(2, 0, 1))
    return np.array(drawn, np.float32)


FLICKER: dict[str, Callable[[Canvas, np.random.Generator], Floats]] = {
    "white noise": white,
    "swimming detail": swimming,
}


def laid_over(frames: Canvas, noise: Floats) -> Canvas:
    """The frames with noise [n, 3, 256, 192] around the mouth."""
    down, across = np.mgrid[0 : canvas.CANVAS_HEIGHT, 0 : canvas.CANVAS_WIDTH].astype(np.float32)
    middle_x, middle_y = canvas.CANVAS_WIDTH / 2, (canvas.CANVAS_HEIGHT + MOUTH_ROW) / 2
    far = np.hypot((across - middle_x) / 70.0, (down - middle_y) / 70.0)
    around_mouth = np.clip(4.0 * (1.0 - far), 0.0, 1.0)
    textures = frames.textures.copy()
    textures[:, :3] += noise * around_mouth
    return Canvas(textures, frames.flows)


def flicker(film: Film, frames: Canvas, shaky: Canvas, most: float = np.inf) -> tuple[float, float]:
    """How much flickers what was laid over frames, without and with the stabiliser for both: levels, over the mouth.

    Args:
        film: of the avatar.
        frames: of speech.
        shaky: the same frames with something laid over them.
        most: only where and when the frames' own second differences are smaller, levels.
    """
    plain = film.pictures(frames)
    layers = (
        film.pictures(shaky) - plain,
        film.pictures(steadied(shaky)[0]) - film.pictures(steadied(frames)[0]),
    )
    before, after = film.flicker_of(layers, plain, frames.flows, slice(MOUTH_ROW, None), most)
    return before, after


class Lag(NamedTuple):
    """How one movement comes out, beside the same without the stabiliser."""

    milliseconds: float
    depth: float
    """Share of the full movement that is reached."""
    missing: float
    """Share of the full movement that is missing in the worst frame."""


def lag(preview: FacePreview, film: Film, names: Sequence[str], course: Sequence[float]) -> Lag:
    """Measured along the change from the first frame of the course to its extreme."""
    parameters = np.zeros((len(course), len(PARAMETERS)), np.float32)
    for name in names:
        parameters[:, INDEX[name]] = course
    frames = render(preview, parameters)
    without, behind = (
        np.array([film.picture(*frame) for frame in zip(*steadied(frames, keep)[0], strict=True)])
        for keep in (0.0, KEEP)
    )
    way = without[int(np.argmax(course))] - without[0]
    plain, steady = (
        ((shown - without[0]) * way).sum(axis=(1, 2, 3)) / (way * way).sum() for shown in (without, behind)
    )
    at = np.arange(1.0, len(course) - 2.0, 1.0 / STEPS)
    frame = np.arange(len(course))
    reference = np.interp(at, frame, plain)
    delays = np.arange(-STEPS, STEPS + 1) / STEPS
    misfit = [float(np.square(np.interp(at + delay, frame, steady) - reference).sum()) for delay in delays]
    return Lag(
        float(delays[int(np.argmin(misfit))]) * 1e3 / FRAME_RATE,
        float(steady.max() / plain.max()),
        float(np.abs(steady - plain).max()),
    )


def drift(frames: Canvas, minutes: float) -> tuple[int, float]:
    """Say the same frames over and over: how many frames, and the largest difference to the second round, levels."""
    stabilizer, reference, worst, count = CanvasStabilizer(), None, 0.0, 0
    rounds = max(3, round(minutes * 60.0 * FRAME_RATE / len(frames.textures)))
    for number in range(rounds):
        shown = np.empty_like(frames.textures) if number == 1 else None
        for place, (texture, flow) in enumerate(zip(*frames, strict=True)):
            steady = stabilizer.step(texture, flow, count - LOOKAHEAD_FRAMES)
            count += 1
            if shown is not None:
                shown[place] = steady
            elif reference is not None:
                worst = max(worst, float(np.abs(steady - reference[place]).max()))
        if shown is not None:
            reference = shown
    return count, worst


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatar", default="ada", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=6.0, metavar="S", help="of speech (default: %(default)g)")
    parser.add_argument("--minutes", type=float, default=1.0, metavar="M", help="of drift (default: %(default)g)")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    bundle = load_bundle(AVATARS / f"{options.avatar}.avatar")
    preview, film = FacePreview(REPOSITORY, bundle), Film.of(np.asarray(bundle.tensors["AVATAR_PHOTO"]))
    parameters = SpokenFace()(read_sound(SPEECH).speech[: round(options.seconds * SAMPLE_RATE)])
    frames = render(preview, parameters)

    rows: list[tuple[str, Any]] = []
    flickers: dict[str, tuple[float, float]] = {}
    layers = layers_alone(preview, parameters)
    if layers is not None:
        for tier, model in TIERS.items():
            flickers[tier] = flicker(film, layers, refined(bundle, frames, parameters, model), STILL)
    for name, make in FLICKER.items():
        flickers[name] = flicker(film, frames, laid_over(frames, make(frames, np.random.default_rng(1))))
    for name, (before, after) in flickers.items():
        change = f" ({100 * (1 - after / before):.0f} % less)" if before > LEAST else ": nothing to speak of"
        rows.append((f"flicker, {name}", f"{before:.3f} -> {after:.3f} levels{change}"))
    for what, names, course in (
        ("blink", ("eyeBlinkLeft", "eyeBlinkRight"), BLINK),
        ("jaw", ("jawOpen",), JAW),
    ):
        found = lag(preview, film, names, course)
        told = (
            f"{found.milliseconds:.1f} ms, depth {100 * found.depth:.1f} %, worst frame {100 * found.missing:.2f} % off"
        )
        rows.append((f"lag, {what}", told))
    count, worst = drift(frames, options.minutes)
    rows.append((f"drift, {count} frames", f"{worst:g} levels"))
    rows.append(("time", f"{steadied(frames)[1]:.2f} ms a frame"))
    for row in rows:
        print(f"{row[0]:<28}{row[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
