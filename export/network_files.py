"""Where the networks' ONNX files lie: those that the stages serve, and the typed ones made of them.

    MODEL_REPOSITORY/STAGE/1/model.onnx     committed, in single precision
    build/typed/STAGE/PRECISION.onnx        by `python -m export.precision`
    build/typed/STAGE/PRECISION.json        its record: which committed file it was made of

Nothing but Python is needed to find them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

from export.networks import Precision

TYPED: Final = Path("build/typed")


class TypedError(ValueError):
    """A typed file cannot be made or is not there; the text says why, and what mends it."""


def sha256(path: Path) -> str:
    """Checksum of a file in hexadecimal digits, '' where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def network_file(repository: Path, stage: str) -> Path:
    """The ONNX file that a stage of a model repository serves."""
    return repository / stage / "1" / "model.onnx"


def typed_file(stage: str, precision: Precision, folder: Path = TYPED) -> Path:
    """Where a typed file is kept."""
    return folder / stage / f"{precision}.onnx"


def made_of(typed: Path) -> str:
    """Checksum of the ONNX file that a typed one was made of, '' where there is none or nothing says so."""
    try:
        known = json.loads(typed.with_suffix(".json").read_text())["onnx_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return str(known) if typed.is_file() else ""


def current_typed_file(stage: str, precision: Precision, folder: Path, repository: Path) -> Path:
    """A typed file that was made of the ONNX file that the stage serves today.

    Raises:
        TypedError: it is missing, or of another file.
    """
    path = typed_file(stage, precision, folder)
    mend = f"make it with `python -m export.precision --stages {stage}`"
    known, today = made_of(path), sha256(network_file(repository, stage))
    if not known:
        raise TypedError(f"{path} is missing: {mend}")
    if known != today:
        raise TypedError(
            f"{path} was made of the ONNX file {known[:12]}, {stage} serves {today[:12] or 'none'}: {mend}"
        )
    return path
