"""Stands before the server: `python -m export.engines.check build/engines`.

Finds what was built for this machine and prints the folder that the server may load, or says on standard error why
there is none, with the command that mends it, and exits with 1. Refused are: another GPU or TensorRT than the build
was for, a build of networks, code or configurations that have changed since, a build broken off, a network that is
missing, changed, or has no record, and a machine without a driver. What is not whole is never served.

Needs neither TensorRT's Python module nor ONNX, and takes a fraction of a second.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from export.engines import finished, network_record
from export.engines.refusal import BUILD, Refusal, refused_by_system
from export.engines.repository import RUNTIMES, Runtime, on_gpu
from export.engines.target import Target, detect
from export.ensembles import REPOSITORY
from export.network_files import sha256
from export.networks import NETWORKS

SHOWN = 3
"""Of many files that have changed, so many are named."""


def servable(
    engines: Path, models: Path, runtime: Runtime = "tensorrt", machine: Callable[[], Target] = detect
) -> Path:
    """The model repository that was built for this machine.

    engines: Folder of the builds.
    models: The repository that they were made of, as it is now.

    Raises:
        Refusal: there is none that may be served.
    """
    target = machine() if on_gpu(runtime) else None
    if target is not None and runtime == "tensorrt" and target.tensorrt is None:
        raise Refusal(
            "there is no TensorRT here: libnvinfer is not found", "start the server in the container of its lane"
        )
    folder = engines / finished.folder_name(runtime, target)
    if not folder.is_dir():
        raise _nothing_for(engines, folder, runtime, target)
    try:
        marker = finished.read(folder)
    except finished.NotFinished as error:
        raise Refusal(f"what lies in {folder} is not whole: {error}", _build(runtime)) from error
    if marker.runtime != runtime:
        raise Refusal(f"{folder} was built for --runtime {marker.runtime}, expected {runtime}", _build(runtime))
    _same_machine(folder, marker.target, target, runtime)
    _same_source(folder, marker, models)
    _whole(folder, marker)
    return folder / finished.REPOSITORY


def _nothing_for(engines: Path, folder: Path, runtime: Runtime, target: Target | None) -> Refusal:
    others = sorted(path.parent.name for path in engines.glob(f"*/{finished.MARKER}"))
    here = "" if target is None else f"; this machine is {_machine(target, runtime)}"
    there = f"it holds {', '.join(others)}" if others else "it holds no build at all"
    return Refusal(f"{engines} has no {folder.name}: {there}{here}", _build(runtime))


def _same_machine(folder: Path, built: Target | None, here: Target | None, runtime: Runtime) -> None:
    if built is None or here is None:
        if built is not here:
            raise Refusal(f"{folder} was built {'without' if built is None else 'for'} a GPU", _build(runtime))
        return
    differing = [
        f"{what} is {now}, the build is for {then}"
        for what, now, then in (
            ("the GPU", here.gpu, built.gpu),
            ("its compute capability", here.capability, built.capability),
            ("the number of its multiprocessors", here.processors, built.processors),
            *([("TensorRT", here.tensorrt, built.tensorrt)] if runtime == "tensorrt" else []),
        )
        if now != then
    ]
    if differing:
        raise Refusal(f"{folder} is for another machine: {'; '.join(differing)}", _build(runtime))


def _same_source(folder: Path, marker: finished.Finished, models: Path) -> None:
    if not models.is_dir():
        raise Refusal(f"{models} is not a folder: what was built cannot be held against its source", "name --models")
    now = finished.source_digests(models)
    changed = [name for name in sorted(now.keys() | marker.sources.keys()) if now.get(name) != marker.sources.get(name)]
    if changed:
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise Refusal(
            f"{folder} is stale: {', '.join(changed[:SHOWN])}{more} of {models} changed since the build",
            f"{_build(marker.runtime)} (engines whose network is the same are kept)",
        )


def _whole(folder: Path, marker: finished.Finished) -> None:
    repository = folder / finished.REPOSITORY
    mend = _build(marker.runtime)
    for stage in (network.stage for network in NETWORKS):
        names = [name for name in marker.made if Path(name).parts[0] == stage]
        if len(names) != 1:
            raise Refusal(f"{folder} names {len(names)} networks of {stage}, expected 1", mend)
        path = repository / names[0]
        if not path.is_file():
            raise Refusal(f"{path} is missing", mend)
        found = sha256(path)
        if found != marker.made[names[0]]:
            raise Refusal(
                f"{path} was changed after the build: {found[:12]}, expected {marker.made[names[0]][:12]}", mend
            )
        try:
            record = network_record.read(network_record.record_path(path))
        except network_record.RecordError as error:
            raise Refusal(f"nothing is known of {path}: {error}", mend) from error
        if record.file_sha256 != found or record.stage != stage:
            raise Refusal(f"the record of {path} is of another file ({record.stage} {record.file_sha256[:12]})", mend)
        if record.source_sha256 != marker.sources.get(f"{stage}/1/model.onnx"):
            raise Refusal(f"{path} was built of another network than {stage}'s", mend)
        if not record.parity:
            raise Refusal(f"{path} was never compared with the network that it was built of", mend)


def _machine(target: Target, runtime: Runtime) -> str:
    trt = f", TensorRT {target.tensorrt}" if runtime == "tensorrt" else ""
    return f"{target.gpu} (compute capability {target.capability[0]}.{target.capability[1]}){trt}"


def _build(runtime: Runtime) -> str:
    return BUILD if runtime == "tensorrt" else f"{BUILD} --runtime {runtime}"


def _readable(engines: Path, models: Path, runtime: Runtime) -> Path:
    try:
        return servable(engines, models, runtime)
    except OSError as error:
        raise refused_by_system(error) from error


def main(arguments: list[str] | None = None) -> int:
    """Print the folder to serve, or the refusal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", type=Path, help="folder of the builds")
    parser.add_argument("--models", type=Path, default=REPOSITORY, help="source repository (default: %(default)s)")
    parser.add_argument("--runtime", choices=list(RUNTIMES), default="tensorrt", help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        print(_readable(options.engines, options.models, options.runtime))
    except Refusal as refusal:
        print(f"refused: {refusal}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
