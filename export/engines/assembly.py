"""From networks to a folder that may be served: build, assemble, compare, and only then call it finished.

All happens in a temporary folder beside the final one, which is renamed into place with its marker written: whatever
breaks the build off leaves what was served before as it was.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from facestream.contract import RGB_ENSEMBLE

from export.engines import finished, network_record
from export.engines.build import EngineBuilder
from export.engines.compare import Network, Outcome, RecordedSession, Served, Tensors, compare, compare_session
from export.engines.network_record import NetworkRecord, Parity
from export.engines.profile import BatchProfile
from export.engines.refusal import BUILD, Refusal
from export.engines.repository import NetworkFile, Runtime, assemble, engine_cache, input_shapes
from export.engines.target import Target
from export.ensembles import read_config
from export.network_files import digest, network_file, sha256
from export.networks import CHAIN, FULL, HALF, Precision, network

TIMING_CACHE: Final = "timing.cache"
"""Beside the builds of a GPU and a TensorRT: kernels' times, so that a second build is a fraction of the first."""

CACHE: Final = "cache"
"""Folder beside the builds, of ONNX Runtime's TensorRT provider."""

Serve = Callable[[Path, Sequence[str]], AbstractContextManager[Served]]
"""Starts a server on a repository with only some models loaded."""


@dataclass(frozen=True)
class Plan:
    """What is to be built."""

    models: Path
    """The committed repository."""
    engines: Path
    """Folder of the builds."""
    runtime: Runtime
    target: Target | None
    profile: BatchProfile
    precisions: Mapping[str, Precision]
    """Of each stage."""
    typed: Mapping[str, Path]
    """The ONNX file of each stage in its precision."""
    instances: int = 1
    """Of each network."""
    encoders: int = 1
    """Processes that encode video."""

    @property
    def folder(self) -> Path:
        """Where the build will lie."""
        return self.engines / finished.folder_name(self.runtime, self.target)


def make(
    plan: Plan,
    builder: EngineBuilder | None,
    serve: Serve,
    reference: Callable[[Path], Network],
    inputs: Callable[[str], list[Tensors]],
    sessions: Sequence[RecordedSession],
    tell: Callable[[str], None] = print,
) -> Path:
    """Build, compare and put in place.

    builder: None for the runtimes without TensorRT engines.
    serve: Starts the server that is compared.
    reference: The committed network of an ONNX file.
    inputs: The recorded inputs of a stage, [n, ...] of each session.
    sessions: What is said and shown through the whole repository.

    Returns:
        The folder of the build.

    Raises:
        Refusal: a network cannot be built or loaded, or exceeds its tolerance.
    """
    plan.engines.mkdir(parents=True, exist_ok=True)
    sources = finished.source_digests(plan.models)
    with _aside(plan.folder) as folder:
        records: dict[str, NetworkRecord] = {}
        files: dict[str, NetworkFile] = {}
        for stage, onnx in plan.typed.items():
            files[stage], records[stage] = _network(plan, stage, onnx, builder, folder / "networks", tell)
        repository = folder / finished.REPOSITORY
        cache = (plan.engines / CACHE / plan.folder.name).resolve()
        caches = []
        if plan.runtime == "onnxruntime-tensorrt":
            caches = [engine_cache(cache, stage, file.path) for stage, file in files.items()]
        for kept in caches:
            kept.mkdir(parents=True, exist_ok=True)
        assemble(plan.models, repository, plan.runtime, files, plan.profile, plan.instances, plan.encoders, cache)
        shutil.rmtree(folder / "networks", ignore_errors=True)
        tell(f"comparing {len(files)} networks with the committed ones, in the server ...")
        problems: dict[str, list[str]] = {}
        shown: dict[str, Parity] = {}
        with serve(repository, [*files, RGB_ENSEMBLE]) as served:
            for stage in files:
                outcome = compare(
                    stage,
                    served,
                    reference(network_file(plan.models, stage)),
                    inputs(stage),
                    network(stage).tolerances[plan.precisions[stage]],
                    plan.profile,
                )
                tell(_told(stage, plan.precisions[stage], outcome))
                records[stage] = replace(records[stage], parity=outcome.parity, latency_ms=outcome.latency_ms)
                if outcome.problems:
                    problems[stage] = outcome.problems
            for session in () if problems else sessions:
                shown[session.avatar], wrong = compare_session(served, session, CHAIN[HALF]["FRAME"])
                tell(f"a session with {session.avatar}: {_picture(shown[session.avatar])}")
                if wrong:
                    raise Refusal(
                        f"what is shown differs, nothing is put in place: {'; '.join(wrong)}",
                        f"{BUILD} --precision {FULL}; if that shows the same, a stage in Python is at fault: report it",
                    )
        if problems:
            raise _exceeded(problems, plan.precisions)
        made = {}
        for stage, file in files.items():
            path = repository / stage / "1" / file.name
            records[stage].write(network_record.record_path(path))
            made[str(path.relative_to(repository))] = records[stage].file_sha256
        if finished.source_digests(plan.models) != sources:
            raise Refusal(f"{plan.models} changed while this was built of it", BUILD)
        finished.Finished(plan.runtime, plan.target, plan.profile.largest, sources, made, shown).write(folder)
    for kept in caches:
        for old in kept.parent.iterdir():
            if old != kept:
                shutil.rmtree(old, ignore_errors=True)
    return plan.folder


@contextlib.contextmanager
def _aside(final: Path) -> Iterator[Path]:
    """A new folder that takes the place of `final` when all went well, and is gone otherwise."""
    for left in final.parent.glob(f".{final.name}-*"):  # by a build that was killed
        shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    made.chmod(0o755)  # mkdtemp's is for its owner alone; the server may be another user
    try:
        yield made
        if final.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
            final.rename(old / "replaced")
            made.rename(final)
            shutil.rmtree(old, ignore_errors=True)
        else:
            made.rename(final)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _network(
    plan: Plan, stage: str, onnx: Path, builder: EngineBuilder | None, folder: Path, tell: Callable[[str], None]
) -> tuple[NetworkFile, NetworkRecord]:
    """A stage's network as it will be served, built anew or taken over from the last build."""
    record = NetworkRecord(
        stage=stage,
        precision=plan.precisions[stage],
        runtime=plan.runtime,
        file_sha256=sha256(onnx),
        onnx_sha256=sha256(onnx),
        source_sha256=sha256(network_file(plan.models, stage)),
        largest_batch=plan.profile.largest,
        tuned=(),
        builder="none",
        recipe=digest(Path(__file__).with_name(name) for name in ("build.py", "profile.py")),
        build_seconds=0.0,
        target=plan.target,
    )
    if builder is None:
        return NetworkFile(onnx), record
    record = replace(record, tuned=plan.profile.tuned, builder=builder.name)
    kept = _kept(plan, record)
    if kept is not None:
        path, old = kept
        tell(f"{stage} {record.precision}: the last build's engine is of the same network and is kept")
        return NetworkFile(path, record.tuned), old
    tell(f"{stage} {record.precision}: building ...")
    began = time.monotonic()
    timing = plan.engines / f".{plan.folder.name}.{TIMING_CACHE}"
    engine = builder.build(onnx, input_shapes(read_config(plan.models / stage / "config.pbtxt")), plan.profile, timing)
    folder.mkdir(exist_ok=True)
    path = folder / f"{stage}.plan"
    path.write_bytes(engine)
    seconds = round(time.monotonic() - began, 1)
    tell(f"{stage} {record.precision}: built in {seconds:g} s, {len(engine) / 2**20:.1f} MiB")
    return NetworkFile(path, record.tuned), replace(record, file_sha256=sha256(path), build_seconds=seconds)


def _kept(plan: Plan, wanted: NetworkRecord) -> tuple[Path, NetworkRecord] | None:
    """The engine of the last build and its record, if it is just what would be built now."""
    path = plan.folder / finished.REPOSITORY / wanted.stage / "1" / "model.plan"
    try:
        finished.read(plan.folder)
        old = network_record.read(network_record.record_path(path))
    except (finished.NotFinished, network_record.RecordError):
        return None
    same = replace(
        old, file_sha256=wanted.file_sha256, build_seconds=wanted.build_seconds, parity={}, latency_ms={}
    ) == replace(wanted, parity={}, latency_ms={})
    return (path, old) if same and path.is_file() and sha256(path) == old.file_sha256 else None


def _told(stage: str, precision: str, outcome: Outcome) -> str:
    """One line on a stage that was compared."""
    errors = ", ".join(f"{name} off by {parity.largest:.2g} {parity.unit}" for name, parity in outcome.parity.items())
    times = ", ".join(f"{size}: {time:.3g}" for size, time in outcome.latency_ms.items())
    return f"{stage} {precision}: {errors or 'nothing compared'}; ms by size of batch: {times}"


def _picture(parity: Parity) -> str:
    return "the same pictures" if parity.psnr is None else f"pictures of {parity.psnr:.1f} dB or better"


def _exceeded(problems: Mapping[str, Sequence[str]], precisions: Mapping[str, Precision]) -> Refusal:
    reason = "tolerance exceeded, nothing is put in place: " + "; ".join(
        problem for found in problems.values() for problem in found
    )
    lesser = [stage for stage in problems if precisions[stage] != FULL]
    if lesser:
        return Refusal(reason, f"{BUILD} --precision {' '.join(f'{stage}={FULL}' for stage in lesser)}")
    return Refusal(
        reason,
        f"{BUILD} --runtime onnxruntime-cuda serves the committed networks without engines; in fp32 this is a fault of "
        "the runtime or the driver: report it with the version of both",
    )
