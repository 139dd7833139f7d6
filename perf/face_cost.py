"""What drawing a frame costs this machine's processor, stage by stage.

    python -m perf.face_cost [--avatar NAME] [--threads 1 2] [--repository FOLDER] [--before FOLDER] [--out FILE.json]

The parameters are those of the sound in tests/data/speech.wav; the networks run as on the server (see
facestream.server.onnxruntime_backend), one frame after the other, from parameters to picture: face_geometry, renderer
(with the learned network of the tier `fast`), stabilizer and compositor; beside the sum, the networks of the other
tiers. --before measures another model repository with the same tensors by turns in this same process, and tells the
ratio: the only comparison that means anything while other work has the cores. Needs the extra `server`.

Milliseconds are medians by the clock, with the fastest of all frames beside them, and medians of processor time, which
other work on the machine moves less; they are more than the clock's where two threads work at once.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from facestream.audio import read_sound
from facestream.avatar.bundle import load_bundle
from facestream.contract import LOOKAHEAD_FRAMES
from facestream.server.onnxruntime_backend import network
from numpy.typing import NDArray

from perf import machine
from perf.drawn_frames import AVATARS, REPOSITORY, SpokenFace

SPEECH: Final = Path("tests/data/speech.wav")
CHAIN: Final = ("face_geometry", "renderer", "stabilizer", "compositor")
BESIDE: Final = ("refiner_standard", "refiner_high")
BUSY: Final = 1.3
"""Clock to processor time on one thread beyond which other work had the cores."""
BUDGET_MS: Final = 12.0
"""For the stages of CHAIN together, per frame, on two threads."""
WARM_FRAMES: Final = 5
SUM: Final = "sum of the chain"

Tensors = dict[str, NDArray[Any]]


def stabilizer_class(repository: Path) -> Any:
    """CanvasStabilizer of this model repository, beside which another one's may be at work in the same process.

    Raises:
        FileNotFoundError: the repository has no such stage.
    """
    path = repository / "stabilizer" / "1" / "canvas_stabilizer.py"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: this stage of the model repository is missing")
    spec = importlib.util.spec_from_file_location("canvas_stabilizer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CanvasStabilizer


class Chain:
    """The stages of one model repository that draw, on one engine."""

    def __init__(self, repository: Path, runtime: str, threads: int) -> None:
        """Load the networks and the stabiliser; FileNotFoundError names a missing one."""
        self._stabilizer = stabilizer_class(repository)()
        self._frame = -LOOKAHEAD_FRAMES
        self._networks: dict[str, network.Network] = {}
        for stage in (*CHAIN, *BESIDE):
            path = repository / stage / "1" / "model.onnx"
            if path.is_file():
                self._networks[stage] = network.load(path, runtime, threads, batched=True)
            elif stage in CHAIN and stage != "stabilizer":
                raise FileNotFoundError(f"{path}: this stage of the model repository is missing")
        stages = [stage for stage in (*CHAIN, *BESIDE) if stage == "stabilizer" or stage in self._networks]
        self.milliseconds: dict[str, list[float]] = {stage: [] for stage in stages}
        self.processor: dict[str, list[float]] = {stage: [] for stage in stages}

    def draw(self, avatar: Tensors, parameters: NDArray[np.float32]) -> None:
        """Draw one frame and note what each stage took."""
        tensors = {**avatar, "PARAMETERS": parameters[None]}
        for stage in self.milliseconds:
            began, used = time.perf_counter(), time.process_time()
            if stage == "stabilizer":
                texture, flow = tensors["CANVAS_TEXTURE"][0], tensors["CANVAS_FLOW"][0]
                tensors["STABLE_TEXTURE"] = self._stabilizer.step(texture, flow, self._frame)[None]
                self._frame += 1
            else:
                stage_network = self._networks[stage]
                wanted = list(stage_network.outputs)
                # Lent, as on the server: nothing of a frame is needed once the next one is drawn.
                made = stage_network.run({name: tensors[name] for name in stage_network.inputs}, wanted, lent=True)
                tensors.update(zip(wanted, made, strict=True))
            self.milliseconds[stage].append(1000 * (time.perf_counter() - began))
            self.processor[stage].append(1000 * (time.process_time() - used))


def with_sum(stages: dict[str, list[float]]) -> dict[str, list[float]]:
    """With what the stages of CHAIN took together, frame by frame."""
    frames = zip(*(stages[stage] for stage in CHAIN), strict=True)
    return {**stages, SUM: [sum(frame) for frame in frames]}


def rows_of(chain: Chain, before: Chain | None) -> dict[str, dict[str, float]]:
    """Milliseconds of each stage and of the chain; ratio of processor time to that of `before`, frame by frame."""
    mine, used = with_sum(chain.milliseconds), with_sum(chain.processor)
    rows = {
        name: {
            "median": median(times[WARM_FRAMES:]),
            "least": min(times),
            "processor": median(used[name][WARM_FRAMES:]),
        }
        for name, times in mine.items()
    }
    if before is not None:
        theirs = with_sum(before.processor)
        for name in rows.keys() & theirs.keys():
            pairs = list(zip(used[name], theirs[name], strict=True))[WARM_FRAMES:]
            rows[name]["ratio"] = median(now / then for now, then in pairs)
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, write it where --out says; 1 where the budget is missed on two threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatar", default="ada", help="name of a ready avatar")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--repository", type=Path, default=REPOSITORY, help="whose stages draw (default: %(default)s)")
    parser.add_argument("--before", type=Path, help="another model repository to compare with")
    parser.add_argument("--out", type=Path, help="file for the figures, such as perf/results/MACHINE/face_cost.json")
    options = parser.parse_args(arguments)
    if not SPEECH.is_file():
        parser.error(f"no {SPEECH} here: run this in the project's folder")
    if options.frames <= 2 * WARM_FRAMES or min(options.threads) < 1:
        parser.error(f"--frames is {options.frames}, expected more than {2 * WARM_FRAMES}; --threads 1 or more")
    avatar = {
        name: np.array(tensor)[None]
        for name, tensor in load_bundle(AVATARS / f"{options.avatar}.avatar").tensors.items()
    }
    course = SpokenFace(options.repository)(read_sound(SPEECH).speech)
    course = np.resize(course, (options.frames, course.shape[1]))
    results: list[dict[str, Any]] = []
    print(
        f"{'runtime':12} {'threads':>7}  {'stage':18} {'median':>7} {'least':>7} {'cpu':>7} {'ratio':>6}   ms per frame"
    )
    for runtime in network.RUNTIMES:
        for threads in options.threads:
            chain = Chain(options.repository, runtime, threads)
            before = Chain(options.before, runtime, threads) if options.before else None
            for parameters in course:
                chain.draw(avatar, parameters)
                if before is not None:
                    before.draw(avatar, parameters)
            for stage, row in rows_of(chain, before).items():
                results.append(
                    {"runtime": runtime, "threads": threads, "stage": stage} | {k: round(v, 3) for k, v in row.items()}
                )
                ratio = f"{row['ratio']:6.2f}" if "ratio" in row else ""
                times = " ".join(f"{row[column]:7.2f}" for column in ("median", "least", "processor"))
                print(f"{runtime:12} {threads:7}  {stage:18} {times} {ratio}", flush=True)
    judged = [row for row in results if row["stage"] == SUM and row["threads"] == 2]
    if any(row["median"] > BUSY * row["processor"] for row in results if row["threads"] == 1):
        print("other work held these up: run again on a quiet machine before you quote them", file=sys.stderr)
    best = min((row["median"] for row in judged), default=None)
    if best is not None:
        print(f"on two threads {best:.2f} ms of at most {BUDGET_MS:g} ms: {'met' if best <= BUDGET_MS else 'missed'}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"machine": machine.describe(), "face_cost": results}, indent=1) + "\n")
    return 0 if best is None or best <= BUDGET_MS else 1


if __name__ == "__main__":
    sys.exit(main())
