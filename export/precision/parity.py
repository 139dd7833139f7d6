"""What each precision costs, on recorded sessions: `python -m export.precision.parity`.

1. Every network alone, fed with the tensors that real sessions gave it (export/recording.py, made anew when the
   networks have changed): the typed variants against the committed ONNX.
2. The whole chain, with the memory of its stages, over 1,000 consecutive frames: the frames and the parameters shown.

    perf/results/MACHINE/parity.md, .json, .png     tables, figures, frames over time
    build/parity/PRECISION.png                      the worst frames, to look at: fp32, typed, difference times 16

Exits with 1 where a tolerance of export/networks.py is exceeded, and names stage, output, value and limit.

What a typed graph keeps in half precision is rounded to it (export/precision/stored.py), and added up in single
precision between: the numbers are those of storage, and close to tensor cores, which add up in single precision too,
but not bit by bit those of a GPU, which stores less where it fuses. What a GPU does is measured on it, on the same
recordings, when its engines are built.

Needs the extra `precision`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from export.chain import OnnxGraph
from export.ensembles import REPOSITORY
from export.network_files import TYPED, TypedError, current_typed_file, network_file
from export.networks import CHAIN, NETWORKS, Precision, Tolerance, network
from export.precision.drift import FRAMES, Drift, chain_files, measure_drift
from export.precision.errors import Errors
from export.precision.stored import typed_graph
from export.precision.variants import make_variants
from export.recording import RECORDING, Recording, RecordingError, current_recording, load_recording

SHEETS: Final = Path("build/parity")
COMPARED_FRAMES: Final = 215
"""Of each recorded session."""


@dataclass(frozen=True)
class Compared:
    """One output of one network in one precision."""

    stage: str
    precision: Precision
    output: str
    errors: Errors
    tolerance: Tolerance

    def failures(self) -> list[str]:
        """What exceeds its tolerance, in words."""
        return [
            f"{self.stage} in {self.precision}, {self.output}: {text}" for text in self.errors.exceeded(self.tolerance)
        ]


def compare_stage(
    stage: str,
    recording: Recording,
    typed: Path = TYPED,
    repository: Path = REPOSITORY,
    count: int | None = None,
    threads: int = 1,
) -> list[Compared]:
    """All typed variants of a stage against its committed ONNX, on `count` frames of each recorded session.

    Raises:
        TypedError: a variant is missing or of another ONNX file.
        RecordingError: the recording lacks what the stage takes.
    """
    declared = network(stage)
    reference = OnnxGraph(network_file(repository, stage), threads)
    graphs = {
        precision: typed_graph(current_typed_file(stage, precision, typed, repository), threads)
        for precision in declared.precisions
    }
    errors = {
        (precision, output): Errors() for precision in declared.precisions for output in declared.tolerances[precision]
    }
    for avatar in recording.avatars:
        tensors = recording.frames_for(stage, avatar, count)
        for frame in range(len(next(iter(tensors.values())))):
            fed = {name: array[frame : frame + 1] for name, array in tensors.items()}
            wanted = reference(fed)
            for precision, graph in graphs.items():
                made = graph(fed)
                for output in declared.tolerances[precision]:
                    errors[precision, output].add(made[output], wanted[output])
    return [
        Compared(stage, precision, output, found, declared.tolerances[precision][output])
        for (precision, output), found in errors.items()
    ]


def compare_chain(drift: Drift) -> list[Compared]:
    """The outputs of the whole chain in one precision."""
    return [
        Compared("the whole chain", drift.precision, output, drift.outputs[output], tolerance)
        for output, tolerance in CHAIN[drift.precision].items()
    ]


def ensure_typed(stages: list[str], typed: Path, repository: Path) -> None:
    """Make the typed variants that are missing or of another ONNX file."""
    for stage in stages:
        try:
            for precision in network(stage).precisions:
                current_typed_file(stage, precision, typed, repository)
        except TypedError as error:
            print(error, "- making it", flush=True)
            make_variants(network(stage), typed, repository, linted=False)  # lint takes most of the time


def _stage(stage: str, recorded: Path, typed: Path, repository: Path, count: int | None) -> list[Compared]:
    return compare_stage(stage, load_recording(recorded, repository), typed, repository, count)


def _chain(precision: Precision, typed: Path, repository: Path, frames: int) -> Drift:
    files = chain_files(
        precision, lambda stage, wanted: current_typed_file(stage, wanted, typed, repository), repository
    )
    return measure_drift(precision, files, repository, frames)


def compare_all(
    stages: list[str], recorded: Path, typed: Path, repository: Path, count: int | None, drift_frames: int
) -> tuple[list[Compared], list[Drift]]:
    """Compare the stages, and the chain in every precision but fp32, on all cores."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        chains = [
            pool.submit(_chain, precision, typed, repository, drift_frames) for precision in CHAIN if drift_frames
        ]
        each = [pool.submit(_stage, stage, recorded, typed, repository, count) for stage in stages]
        compared = [one for done in each for one in _told(done.result())]
        drifts = [done.result() for done in chains]
    return compared, drifts


def _told(compared: list[Compared]) -> Iterator[Compared]:
    for one in compared:
        print(
            f"{one.stage} {one.precision} {one.output}: largest {one.errors.largest:.3g} {one.tolerance.unit}, "
            f"p99.9 {one.errors.usual:.3g}, mean {one.errors.mean:.2g}",
            flush=True,
        )
        yield one


def main(arguments: list[str] | None = None) -> int:
    """Compare, write tables, plots and sheets, and tell what exceeds its tolerance."""
    parser = argparse.ArgumentParser(
        prog="python -m export.precision.parity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [one.stage for one in NETWORKS]
    parser.add_argument("--stages", nargs="+", choices=names, default=names, metavar="STAGE", help="default: all")
    parser.add_argument("--recording", type=Path, default=RECORDING, help="default: %(default)s")
    parser.add_argument("--typed", type=Path, default=TYPED, help="folder of the typed variants: %(default)s")
    parser.add_argument("--repository", type=Path, default=REPOSITORY, help="model repository")
    parser.add_argument("--frames", type=int, default=COMPARED_FRAMES, help="of each session (default: %(default)s)")
    parser.add_argument("--drift", type=int, default=FRAMES, help="frames of the whole chain, 0: none (%(default)s)")
    parser.add_argument("--out", type=Path, help="folder of the results (default: perf/results/MACHINE)")
    parser.add_argument(
        "--in-process", action="store_true", default=None, help="record without a server where a recording is due"
    )
    options = parser.parse_args(arguments)
    for name, least in (("frames", 1), ("drift", 0)):
        if getattr(options, name) < least:
            parser.error(f"--{name} is {getattr(options, name)}, expected {least} or more")
    try:
        from export.precision.plots import plot, write_sheet
        from export.precision.report import write_report

        current_recording(options.recording, options.repository, in_process=options.in_process)
        ensure_typed(
            [*dict.fromkeys([*options.stages, *(names if options.drift else [])])], options.typed, options.repository
        )
    except ImportError as error:
        parser.error(f"{error.name} is not installed: pip install -e '.[precision]'")
    except (RecordingError, TypedError) as error:
        print(error, file=sys.stderr)
        return 1
    compared, drifts = compare_all(
        options.stages, options.recording, options.typed, options.repository, options.frames, options.drift
    )
    compared += [one for drift in drifts for one in compare_chain(drift)]
    for drift in drifts:
        write_sheet(drift, SHEETS / f"{drift.precision}.png")
    folder = write_report(compared, drifts, options.out)
    plot(compared, drifts, folder / "parity.png")
    print(f"{folder}/parity.md")
    failures = [text for one in compared for text in one.failures()]
    print(*failures, sep="\n", file=sys.stderr, end="\n" if failures else "")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
