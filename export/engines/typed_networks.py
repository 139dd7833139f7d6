"""The typed ONNX files that engines are built of: found, or made by `python -m export.precision`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from export.engines.refusal import Refusal
from export.networks import FULL, Precision

TYPED: Final = Path("build/typed")


def typed_networks(typed: Path, models: Path, precisions: Mapping[str, Precision]) -> dict[str, Path]:
    """The ONNX file of each stage in its precision.

    In single precision that is the committed file itself: what folding takes out of it, runtimes take out, too.

    Raises:
        Refusal: a typed file is missing and cannot be made here.
    """
    files = {}
    for stage, precision in precisions.items():
        files[stage] = models / stage / "1" / "model.onnx" if precision == FULL else typed / stage / f"{precision}.onnx"
        if not files[stage].is_file():
            raise Refusal(f"{files[stage]} is missing", "python -m export.precision")
    return files
