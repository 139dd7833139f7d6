"""The gate as a command: builds all networks for GPUs that are not there. Exit status 1 if any fails."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
from tritonclient.grpc.model_config_pb2 import ModelConfig

from export.ensembles import REPOSITORY, read_config
from export.gate import bindings, culprit, tensorrt_10_4
from export.gate.release import FOLDER, RELEASES, Release, ReleaseMissing, environment, install
from export.gate.verdict import Verdict, recall, remember
from export.network_files import TYPED, TypedError, current_typed_file, network_file, typed_file
from export.networks import NETWORKS, Precision

GPUS: Final = {"SM75": "T4", "SM80": "A100", "SM86": "A10", "SM89": "L4"}
LARGEST_BATCH: Final = 8
"""Of a file that belongs to no stage."""
LIMIT_S: Final = 900
"""A build that takes longer has failed."""
AT_A_TIME: Final = 2


@dataclass(frozen=True)
class Subject:
    """A file that the gate judges."""

    name: str
    path: Path
    config: ModelConfig | None = None
    """Of the stage that it is made for."""
    precision: Precision | None = None
    """Of a typed variant of that stage."""

    @property
    def largest_batch(self) -> int:
        """What its engine must take."""
        return int(self.config.max_batch_size) if self.config is not None else LARGEST_BATCH


def committed(repository: Path) -> list[Subject]:
    """The graphs of the model repository, as they are served on a CPU."""
    return [
        Subject(f"{network.stage} as committed", network_file(repository, network.stage),
                read_config(repository / network.stage / "config.pbtxt"))
        for network in NETWORKS
    ]  # fmt: skip


def typed(repository: Path, folder: Path) -> list[Subject]:
    """The typed variants that the table of networks promises."""
    return [
        Subject(f"{network.stage} {precision}", typed_file(network.stage, precision, folder),
                read_config(repository / network.stage / "config.pbtxt"), precision)
        for network in NETWORKS
        for precision in network.precisions
    ]  # fmt: skip


def unfit(subject: Subject) -> str | None:
    """Why there is nothing to judge: the file is missing, or a typed variant of another network than today's."""
    if subject.config is not None and subject.precision is not None:
        try:
            current_typed_file(subject.config.name, subject.precision, subject.path.parents[1], REPOSITORY)
        except TypedError as error:
            return str(error)
    return None if subject.path.is_file() else f"{subject.path} is missing"


def convolves_int8(path: Path) -> bool:
    """Whether a graph has convolutions of quantised numbers."""
    graph = onnx.load(str(path)).graph
    restored = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    return any(node.op_type == "Conv" and node.input[0] in restored for node in graph.node)


def build(subject: Subject, release: Release, gpus: Sequence[str]) -> list[Verdict]:
    """Build for the GPUs, in a process of its own, or remember what came of it before.

    Raises:
        ReleaseMissing: the release is not on this machine.
    """
    found = {gpu: recall(subject.path, release.version, gpu, subject.largest_batch) for gpu in gpus}
    for gpu in [gpu for gpu, verdict in found.items() if verdict is None]:
        verdict = _build_anew(subject.path, release, gpu, subject.largest_batch)
        if verdict.step != "process":  # a killed process says nothing of the network
            remember(subject.path, verdict, subject.largest_batch)
        found[gpu] = verdict
    return [verdict for verdict in found.values() if verdict is not None]


def _build_anew(path: Path, release: Release, gpu: str, largest_batch: int) -> Verdict:
    variables = environment(release)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="building-") as folder:
        request, answer = Path(folder) / "request.json", Path(folder) / "answer.json"
        request.write_text(json.dumps({"network": str(path.resolve()), "gpus": [gpu], "largest_batch": largest_batch}))
        program = str(Path(__file__).with_name("engine_build.py"))
        command = [sys.executable, program, str(request.resolve()), str(answer.resolve())]
        try:
            ran = subprocess.run(
                command, env=variables, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return Verdict(release.version, gpu, False, "process", f"no engine within {LIMIT_S} s")
        if ran.returncode != 0 or not answer.exists():
            last = (ran.stderr.strip() or "no message").splitlines()[-1]
            return Verdict(
                release.version, gpu, False, "process", f"the compiler's process ended with {ran.returncode}: {last}"
            )
        verdict = Verdict.of(json.loads(answer.read_text())[0])
        if verdict.release != release.version:
            raise ReleaseMissing(
                f"TensorRT-RTX {release.version} was wanted, but {verdict.release} was imported: remove "
                f"{release.folder} and run python -m export.gate --install"
            )
        return verdict


def explain(subject: Subject, verdict: Verdict, release: Release | None = None) -> str:
    """Why no engine was built: the node or nodes, with the types and shapes of their tensors.

    A compiler that names none is asked for parts of the graph, if `release` says which.
    """
    model = culprit.infer(onnx.load(str(subject.path)))
    known = culprit.tensors(model)
    nodes = culprit.named(model, verdict.message, [name for _, name in verdict.nodes])
    if not nodes and release is not None and verdict.step == "build":
        with tempfile.TemporaryDirectory(dir=FOLDER, prefix="part-") as folder:

            def fails(part: onnx.ModelProto) -> bool:
                path = Path(folder) / "part.onnx"
                onnx.save(part, str(path))
                return not _build_anew(path, release, verdict.gpu, subject.largest_batch).built

            node = culprit.first_that_fails(model, fails)
            nodes = [node] if node is not None else []
    at = "; ".join(culprit.describe_node(node, known) for node in nodes)
    if not at:
        at = "; ".join(f"{operator} {name!r}" for operator, name in verdict.nodes) or "no node found that fails alone"
    return f"{at}: {verdict.message}"


def _table(subjects: Sequence[Subject], columns: Sequence[str], cells: dict[tuple[str, str], str]) -> str:
    heads = ["network", *columns]
    rows = [
        [subject.name, *(cells.get((subject.name, column), "no INT8") for column in columns)] for subject in subjects
    ]
    widths = [max(len(row[index]) for row in [heads, *rows]) for index in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [heads, *rows]
    )


def judge(subjects: Sequence[Subject], releases: Sequence[Release], gpus: Sequence[str]) -> tuple[str, list[str]]:
    """Judge all files by all releases for all GPUs, and by the table of TensorRT 10.4.

    Returns:
        A table of what came of each, and the failures in full: network, judge and GPU, node, reason.
    """
    cells: dict[tuple[str, str], str] = {}
    failures: list[str] = []
    v100 = f"{tensorrt_10_4.RELEASE} V100"
    columns = [f"{release.version} {GPUS[gpu]}" for release in releases for gpu in gpus] + [v100]

    def job(subject: Subject, release: Release) -> tuple[Subject, Release, list[Verdict]]:
        return subject, release, build(subject, release, gpus)

    FOLDER.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        int8 = {subject.name for subject in subjects if convolves_int8(subject.path)}
        waiting = [
            pool.submit(job, subject, release)
            for subject in subjects
            for release in releases
            if release.convolves_int8 or subject.name not in int8
        ]
        for one in waiting:
            subject, release, verdicts = one.result()
            for verdict in verdicts:
                place = f"{subject.name}, TensorRT-RTX {release.version}, {GPUS[verdict.gpu]} ({verdict.gpu})"
                outcome = "ok" if verdict.built else "FAILED"
                if not verdict.built:
                    failures.append(f"{place}: {explain(subject, verdict, release)}")
                elif subject.config is not None:
                    for difference in bindings.differences(verdict, subject.config):
                        outcome = "FAILED"
                        failures.append(f"{place}: {difference}")
                cells[subject.name, f"{release.version} {GPUS[verdict.gpu]}"] = (
                    outcome if verdict.remembered else f"{outcome} {verdict.seconds:.1f} s"
                )
    for subject in subjects:
        found = tensorrt_10_4.problems(onnx.load(str(subject.path)))
        cells[subject.name, v100] = "FAILED" if found else "none found"
        failures += [f"{subject.name}, {tensorrt_10_4.RELEASE}, V100 ({tensorrt_10_4.GPU}): {why}" for why in found]
    return _table(subjects, columns, cells), failures


def main() -> int:
    """Judge what is asked for; exit status."""
    parser = argparse.ArgumentParser(prog="python -m export.gate", description=__doc__)
    parser.add_argument("networks", nargs="*", type=Path, help="ONNX files (default: all typed variants)")
    parser.add_argument(
        "--committed",
        action="store_true",
        help="the graphs of the model repository instead, as a CPU serves them",
    )
    parser.add_argument("--gpus", nargs="+", choices=list(GPUS), default=list(GPUS), help="compute capabilities")
    parser.add_argument(
        "--releases", nargs="+", choices=[release.version for release in RELEASES],
        default=[release.version for release in RELEASES], help="of TensorRT-RTX",
    )  # fmt: skip
    parser.add_argument("--install", action="store_true", help="download the releases that are missing, then go on")
    options = parser.parse_args()
    releases = [release for release in RELEASES if release.version in options.releases]
    subjects = [Subject(str(path), path) for path in options.networks]
    if not subjects:
        subjects = committed(REPOSITORY) if options.committed else typed(REPOSITORY, TYPED)
    try:
        for release in releases:
            if options.install:
                install(release)
            environment(release)
    except ReleaseMissing as error:
        parser.exit(2, f"{error}\n")
    reasons = {subject.name: why for subject in subjects if (why := unfit(subject)) is not None}
    table, failures = judge([one for one in subjects if one.name not in reasons], releases, options.gpus)
    failures += [f"{name}: {why}" for name, why in reasons.items()]
    print(table)
    print(
        f'"s" is the time of a build; without it, one of an earlier run of the same file. {tensorrt_10_4.RELEASE} on a'
    )
    print("V100 is judged by what is known to be beyond it; no engine was built for it.")
    if failures:
        print(f"\n{len(failures)} FAILED:", *failures, sep="\n  ", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
