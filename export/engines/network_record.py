"""What is known of a network's file in an assembled repository, kept beside it: model.plan.json, model.onnx.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from export.engines.target import Target

SCHEMA: Final = 1


class RecordError(ValueError):
    """The file is no record of this version."""


@dataclass(frozen=True)
class Parity:
    """How far one output was from the committed network's on a CPU, over recorded frames."""

    largest: float
    """Largest absolute error of a number, in the output's unit."""
    usual: float
    """99.9th percentile of the absolute errors."""
    psnr: float | None
    """dB of the worst frame against 255 levels; of pictures alone, None for an exact one."""
    allowed_largest: float
    allowed_usual: float
    least_psnr: float | None
    unit: str
    frames: int


@dataclass(frozen=True)
class NetworkRecord:
    """One network as it is served."""

    stage: str
    precision: str
    runtime: str
    file_sha256: str
    """Of the file beside the record."""
    onnx_sha256: str
    """Of the typed ONNX that the file was built of, or is."""
    source_sha256: str
    """Of the committed ONNX, which is the reference."""
    largest_batch: int
    tuned: tuple[int, ...]
    """Sizes of batch that TensorRT's profiles are tuned for; empty without TensorRT."""
    builder: str
    """What built the file: TensorRT's Python module or trtexec, with its version; 'none' for an ONNX file."""
    recipe: str
    """Checksum of our program that had it built (export/engines/build.py, profile.py)."""
    build_seconds: float
    target: Target | None
    """None without a GPU."""
    parity: Mapping[str, Parity] = field(default_factory=dict)
    """By output; empty before the comparison."""
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    """Mean time of computing a batch in Triton, by its size."""
    schema: int = SCHEMA

    def write(self, path: Path) -> None:
        """Write the record beside its network."""
        values = asdict(self)
        values["target"] = None if self.target is None else self.target.as_json()
        path.write_text(json.dumps(values, indent=2) + "\n")


def record_path(network: Path) -> Path:
    """Where the record of a network's file lies."""
    return network.with_name(f"{network.name}.json")


def read(path: Path) -> NetworkRecord:
    """The record in a file.

    Raises:
        RecordError: the file is missing, or is no such record; the text names file and field.
    """
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise RecordError(f"{path} is missing") from error
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is no JSON: {error}") from error
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        found = values.get("schema") if isinstance(values, dict) else type(values).__name__
        raise RecordError(f"schema of {path} is {found!r}, expected {SCHEMA}")
    convert: dict[str, Callable[[Any], Any]] = {
        "stage": str,
        "precision": str,
        "runtime": str,
        "file_sha256": str,
        "onnx_sha256": str,
        "source_sha256": str,
        "largest_batch": int,
        "tuned": lambda sizes: tuple(int(size) for size in sizes),
        "builder": str,
        "recipe": str,
        "build_seconds": float,
        "target": lambda target: None if target is None else Target.from_json(target),
        "parity": lambda outputs: {name: Parity(**parity) for name, parity in outputs.items()},
        "latency_ms": lambda times: {str(size): float(time) for size, time in times.items()},
    }
    made: dict[str, Any] = {}
    for name, of in convert.items():
        try:
            made[name] = of(values[name])
        except KeyError as error:
            raise RecordError(f"{path} has no {name} (or not all of it: {error})") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise RecordError(f"{name} of {path} is {values[name]!r}: {error}") from error
    return NetworkRecord(**made)
