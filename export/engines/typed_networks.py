"""The typed ONNX files that engines are built of: those of `python -m export.precision`, made here where missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from export.engines.refusal import Refusal
from export.network_files import TypedError, is_current, network_file, typed_file
from export.networks import FULL, Precision

Maker = Callable[[str, Path, Path], None]
"""Writes all typed files of a stage: its name, the folder of the typed files, the model repository."""


def make_typed(stage: str, typed: Path, models: Path) -> None:
    """Write the typed files of a stage.

    Raises:
        Refusal: they cannot be made, or not on this machine.
    """
    try:
        import onnxruntime

        from export.networks import network
        from export.precision.variants import make_variants
    except ImportError as error:
        raise Refusal(
            f"typed files of {stage} in {typed} are missing or older than its network; {error.name} is not installed",
            "pip install -e '.[precision]', or make them on another machine (python -m export.precision) and name the "
            "folder with --typed",
        ) from error
    onnxruntime.set_default_logger_severity(3)  # what it cannot simplify while folding is of no use to anybody
    try:
        make_variants(network(stage), typed, models, linted=False)
    except TypedError as error:
        raise Refusal(str(error), f"python -m export.precision --stages {stage}") from error


def typed_networks(
    typed: Path, models: Path, precisions: Mapping[str, Precision], make: Maker = make_typed
) -> dict[str, Path]:
    """The ONNX file of each stage in its precision, made today's way of today's network.

    In single precision that is the committed file itself: what folding takes out of it, runtimes take out, too.

    Raises:
        Refusal: a typed file is missing or old, and cannot be made here.
    """
    files = {}
    for stage, precision in precisions.items():
        source = network_file(models, stage)
        if not source.is_file():
            raise Refusal(f"{source} is missing", "git checkout -- model_repository")
        if precision == FULL:
            files[stage] = source
            continue
        file = typed_file(stage, precision, typed)
        if not is_current(file, source):
            make(stage, typed, models)
            if not is_current(file, source):
                raise Refusal(f"{file} was not made", f"python -m export.precision --stages {stage}")
        files[stage] = file
    return files
