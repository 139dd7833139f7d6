"""Where INT8 pays, and where not: `python -m perf.int8`.

Each candidate is calibrated on recorded sessions of all people but the last, and judged on consecutive frames of the
last, whom the calibration has not seen: its outputs against those of the committed ONNX in fp32, and the FRAME that
they lead to. What INT8 would save is a PROJECTION, by the rules of perf/gpu/roofline.py (no GPU runs for it): matrix
operations at twice the rate of fp16, and half of the bytes that quantised convolutions read.

INT8 pays where it makes the network at least a tenth faster on a T4 at batch 8, and keeps its tolerance.

Writes perf/results/MACHINE/int8.md and .json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from facestream.audio import read_sound
from facestream.contract import LOOKAHEAD_FRAMES
from numpy.typing import NDArray

from export.chain import FaceChain, OnnxGraph, SpeechChain, chunks, load_graphs, onnx_files
from export.ensembles import REPOSITORY
from export.network_files import network_file
from export.networks import FULL, INT8, network
from export.precision.errors import Errors
from export.precision.int8 import CANDIDATES, Calibration, any_recording, calibrated, errors, exceeded, frames, run
from export.precision.quantise import to_int8
from export.recording import RECORDING, SPEECH, Recording
from perf.gpu.cards import cards
from perf.gpu.roofline import WAYS, kernel_ms, kernels
from perf.machine import processor, slug

CARDS: Final = ("T4", "A100", "L4")
"""Their tensor cores compute INT8 at twice the rate of fp16. A V100's know no INT8 at all: there fp16 is faster."""
BATCH: Final = 8
LEAST_GAIN: Final = 0.10
DECIDES: Final = "T4"
FIRST: Final = 40
FRAMES: Final = 24
AVATARS: Final = REPOSITORY / "avatar_store" / "avatars"

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Judged:
    """One network in INT8."""

    calibration: Calibration
    half: Mapping[str, Errors]
    """Errors of the outputs in fp16, for comparison."""
    quantised: Mapping[str, Errors]
    """The same with the convolutions in INT8."""
    frame: Errors
    """Of the FRAME that comes of it, in levels."""
    flicker: float
    """Levels: root mean square change of the error in FRAME from one frame to the next."""
    of_tier: float | None
    """Error in INT8, as part of what the tier changes at all (root mean squares). Refiners only."""
    gain: Mapping[str, float]
    """Time that is saved, as part of the time in fp16, by card. Projected."""
    beyond: tuple[str, ...]
    """What exceeds the tolerance."""

    @property
    def pays(self) -> bool:
        """Whether the table of networks should have it."""
        return not self.beyond and self.gain[DECIDES] >= LEAST_GAIN and bool(self.calibration.scales)


def projected_gain(calibration: Calibration, card: str) -> float:
    """Part of a network's time in fp16 that INT8 saves on a card at batch 8."""
    way = WAYS[-1]
    known = next(one for one in cards() if one.name == card)
    half_ms = int8_ms = 0.0
    for kernel in kernels(calibration.stage, BATCH, way):
        quantised = any(f"Conv {name}" == kernel.name for name in calibration.scales)
        # The counted bytes are those of fp32; a kernel of the learned part moves half of them.
        halved = _moving(kernel, 0.5, 0.5) if kernel.half_ops else kernel
        half_ms += kernel_ms(halved, known, way)
        if quantised:
            saved = kernel.half_ops // 2
            halved = dataclasses.replace(
                _moving(kernel, 0.25, 0.5), matrix_ops=kernel.matrix_ops - saved, half_ops=kernel.half_ops - saved
            )
        int8_ms += kernel_ms(halved, known, way)
    return 1 - int8_ms / half_ms


def _moving(kernel: Any, read: float, written: float) -> Any:
    return dataclasses.replace(
        kernel,
        reads={name: int(size * read) for name, size in kernel.reads.items()},
        writes={name: int(size * written) for name, size in kernel.writes.items()},
    )


def _pictures(recording: Recording, who: str, numbers: range, textures: Sequence[NDArray[Any]]) -> list[Tensors]:
    """FRAMEs of the compositor with other textures of the canvas."""
    compositor = OnnxGraph(network_file(REPOSITORY, "compositor"))
    given = frames(recording, "compositor", [who], numbers)
    return [compositor({**one, "STABLE_TEXTURE": texture}) for one, texture in zip(given, textures, strict=True)]


def _spoken(speech_encoder: Path, who: str, count: int) -> list[Tensors]:
    """FRAMEs of the whole chain with another speech encoder."""
    graphs = load_graphs({**onnx_files(), "speech_encoder": speech_encoder})
    speech, face = SpeechChain(graphs), FaceChain(graphs, AVATARS / f"{who}.avatar")
    heard = [speech.step(sound) for sound in chunks(read_sound(SPEECH).speech, FIRST + count)]
    # The face's stages begin with the first of the frames that are judged, and count from there.
    return [
        face.step(one["PARAMETERS"][0], number) for number, one in enumerate(heard[-count:], start=-LOOKAHEAD_FRAMES)
    ]


def _flicker(made: Sequence[Tensors], wanted: Sequence[Tensors]) -> float:
    gaps = [
        one["FRAME"].astype(np.float32) - other["FRAME"].astype(np.float32)
        for one, other in zip(made, wanted, strict=True)
    ]
    steps = [float(np.mean((after - before) ** 2)) for before, after in pairwise(gaps)]
    return math.sqrt(sum(steps) / len(steps))


def judge(stage: str, recording: Recording, count: int = FRAMES) -> Judged:
    """Calibrate one network, and judge it on `count` consecutive frames of the person kept apart."""
    graphs, calibration = calibrated(stage, recording)
    who = recording.avatars[-1]
    numbers = range(FIRST, FIRST + count)
    given = frames(recording, stage, [who], numbers)
    int8 = to_int8(graphs.half, graphs.full, calibration.scales)
    wanted, halved, made = (run(graph, given) for graph in (graphs.full, graphs.half, int8))
    of_tier = None
    if stage == "speech_encoder":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            onnx.save(int8, str(path))
            shown = _spoken(path, who, count)
        truth = _spoken(network_file(REPOSITORY, stage), who, count)
    else:
        output = "CANVAS_TEXTURE" if stage == "renderer" else "REFINED_TEXTURE"
        truth = _pictures(recording, who, numbers, [one[output] for one in wanted])
        shown = _pictures(recording, who, numbers, [one[output] for one in made])
        if stage != "renderer":
            error = np.mean([(one[output] - other[output]) ** 2 for one, other in zip(made, wanted, strict=True)])
            change = np.mean(
                [(one[output] - frame["CANVAS_TEXTURE"]) ** 2 for one, frame in zip(wanted, given, strict=True)]
            )
            of_tier = float(np.sqrt(error / change))
    quantised = errors(made, wanted)
    pictures = errors([{"FRAME": one["FRAME"]} for one in shown], [{"FRAME": one["FRAME"]} for one in truth])
    return Judged(
        calibration,
        errors(halved, wanted),
        quantised,
        pictures["FRAME"],
        _flicker(shown, truth),
        of_tier,
        {card: projected_gain(calibration, card) for card in CARDS},
        tuple(exceeded(stage, quantised)),
    )


def _db(value: float) -> str:
    return "exact" if math.isinf(value) else f"{value:.1f}"


def as_markdown(found: Sequence[Judged], who: str, count: int) -> str:
    """The table, and each convolution."""
    gains = ", ".join(CARDS)
    lines = [
        "# INT8: where it pays",
        "",
        f"`python -m perf.int8`: {count} consecutive frames of `{who}`, whom the calibration has not seen; ONNX",
        f"Runtime on {processor()}. Errors are against the committed ONNX in fp32; dB against 255 levels, of the worst",
        f"frame. **What is saved is a projection** for batch {BATCH} against fp16: no GPU ran. A V100 has no INT8 in",
        "its tensor cores.",
        "",
        "| network | in INT8, of its learned products | output, unit of its errors | dB, fp16 | dB, INT8 | largest "
        f"| p99.9 | FRAME, dB | FRAME, largest | flicker, levels | of the tier's change | saved: {gains} | worth it |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        calibration = one.calibration
        if one.pays:
            verdict = (
                "**yes**" if INT8 in network(calibration.stage).precisions else "yes, but not in export/networks.py"
            )
        elif one.beyond:
            verdict = f"no: {'; '.join(one.beyond)}"
        else:
            verdict = f"no: saves {one.gain[DECIDES]:.0%} on a {DECIDES}, expected {LEAST_GAIN:.0%}"
        for name, error in one.quantised.items():
            unit = network(calibration.stage).tolerances[FULL][name].unit
            cells = (
                calibration.stage,
                f"{calibration.share:.0%}: {len(calibration.scales)} of {len(calibration.layers)} convolutions",
                f"{name}, {unit}",
                _db(one.half[name].least_psnr) if unit.startswith("level") else "-",
                _db(error.least_psnr) if unit.startswith("level") else "-",
                f"{error.largest:.2g}",
                f"{error.usual:.2g}",
                _db(one.frame.least_psnr),
                f"{one.frame.largest:.0f}",
                f"{one.flicker:.3f}",
                "-" if one.of_tier is None else f"{one.of_tier:.1%}",
                ", ".join(f"{one.gain[card]:.0%}" for card in CARDS),
                verdict,
            )
            lines.append(f"| {' | '.join(cells)} |")
    for one in found:
        lines += [
            "",
            f"## {one.calibration.stage}",
            "",
            "| convolution | MFLOP | of all | reads | dB, alone in INT8 | |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {layer.name} | {layer.operations / 1e6:.1f} | {layer.share:.1%} | {layer.channels} channels "
            f"| {'-' if layer.alone_db is None else _db(layer.alone_db)} "
            f"| {'fp16: ' + layer.left_out if layer.left_out else 'INT8'} |"
            for layer in one.calibration.layers
        ]
    return "\n".join(lines) + "\n"


def as_json(found: Sequence[Judged], who: str, count: int) -> dict[str, Any]:
    """All figures."""
    return {
        "processor": processor(),
        "runtime": "ONNX Runtime on the CPU",
        "person": who,
        "frames": count,
        "networks": [
            {
                "stage": one.calibration.stage,
                "share": round(one.calibration.share, 4),
                "outputs": {
                    name: {"fp16": one.half[name].summary(), "int8": error.summary()}
                    for name, error in one.quantised.items()
                },
                "frame": one.frame.summary(),
                "flicker_levels": round(one.flicker, 4),
                "error_of_the_tiers_change": one.of_tier,
                "saved_projected": {card: round(gain, 4) for card, gain in one.gain.items()},
                "beyond_tolerance": list(one.beyond),
                "pays": one.pays,
                "convolutions": [dataclasses.asdict(layer) for layer in one.calibration.layers],
            }
            for one in found
        ],
    }


def main(arguments: list[str] | None = None) -> int:
    """Judge, and write the tables; 1 where a network of the table exceeds its tolerance."""
    parser = argparse.ArgumentParser(
        prog="python -m perf.int8", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", nargs="+", choices=CANDIDATES, default=list(CANDIDATES), metavar="STAGE")
    parser.add_argument("--recording", type=Path, default=RECORDING, help="default: %(default)s")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of the person kept apart (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="folder of the results (default: perf/results/MACHINE)")
    parser.add_argument("--in-process", action="store_true", help="record without a server where there is no recording")
    options = parser.parse_args(arguments)
    if options.frames < 2:
        parser.error(f"--frames is {options.frames}, expected 2 or more: flicker is from one to the next")
    recording = any_recording(options.recording, options.in_process)
    if FIRST + options.frames > recording.frames:
        parser.error(
            f"--frames is {options.frames}, expected at most {max(recording.frames - FIRST, 0)}: {recording.folder} "
            f"holds {recording.frames}, and the first {FIRST} are left out"
        )
    found = []
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for one in pool.map(partial(judge, recording=recording, count=options.frames), options.stages):
            found.append(one)
            print(f"{one.calibration.stage}: {'pays' if one.pays else 'does not pay'}", flush=True)
    folder = options.out or Path("perf/results") / slug()
    folder.mkdir(parents=True, exist_ok=True)
    who = recording.avatars[-1]
    (folder / "int8.json").write_text(json.dumps(as_json(found, who, options.frames), indent=1) + "\n")
    (folder / "int8.md").write_text(as_markdown(found, who, options.frames))
    print(f"{folder}/int8.md")
    broken = [one for one in found if one.beyond and INT8 in network(one.calibration.stage).precisions]
    for one in broken:
        print(f"{one.calibration.stage} in INT8: {'; '.join(one.beyond)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
