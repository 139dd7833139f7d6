"""Where the networks' ONNX files lie: those that the stages serve, and the typed ones made of them.

    MODEL_REPOSITORY/STAGE/1/model.onnx     committed, in single precision
    build/typed/STAGE/PRECISION.onnx        by `python -m export.precision`
    build/typed/STAGE/PRECISION.json        its record: which committed file it was made of, and by which program

Nothing but Python is needed to find them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from export.networks import Precision

TYPED: Final = Path("build/typed")

TYPING: Final = (
    "networks.py",
    *(f"precision/{name}.py" for name in ("fold", "half", "int8", "quantise", "region", "variants")),
    "precision/int8_scales.json",
)
"""What decides, beside the committed file, what is in a typed one: files of export/."""


class TypedError(ValueError):
    """A typed file cannot be made or is not there; the text says why, and what mends it."""


def sha256(path: Path) -> str:
    """Checksum of a file in hexadecimal digits, '' where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def digest(files: Iterable[Path]) -> str:
    """One checksum of several files, in their order."""
    return hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()


def typing_digest() -> str:
    """Checksum of the program that makes typed files, with its tables."""
    return digest(Path(__file__).parent / name for name in TYPING)


def network_file(repository: Path, stage: str) -> Path:
    """The ONNX file that a stage of a model repository serves."""
    return repository / stage / "1" / "model.onnx"


def typed_file(stage: str, precision: Precision, folder: Path = TYPED) -> Path:
    """Where a typed file is kept."""
    return folder / stage / f"{precision}.onnx"


def made_of(typed: Path) -> str:
    """Checksum of the ONNX file that a typed one was made of, '' where there is none or nothing says so."""
    return _recorded(typed, "onnx_sha256")


def is_current(typed: Path, source: Path) -> bool:
    """Whether a typed file was made of `source` as it is today, by the program as it is today."""
    known = made_of(typed)
    return bool(known) and known == sha256(source) and _recorded(typed, "typing_sha256") == typing_digest()


def _recorded(typed: Path, name: str) -> str:
    try:
        known = json.loads(typed.with_suffix(".json").read_text())[name]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return str(known) if typed.is_file() else ""


def current_typed_file(stage: str, precision: Precision, folder: Path, repository: Path) -> Path:
    """A typed file that was made of the ONNX file that the stage serves today.

    Raises:
        TypedError: it is missing, of another file, or made by another state of the program.
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
    if not is_current(path, network_file(repository, stage)):
        raise TypedError(f"{path} was made by another state of export/precision or export/networks.py: {mend}")
    return path
