"""What the gate found of one network, one release and one GPU, and the memory of what it found before."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from export.gate.release import FOLDER
from export.network_files import sha256

MEMORY: Final = FOLDER / "verdicts"


@dataclass(frozen=True)
class Verdict:
    """One network on one GPU."""

    release: str
    """Version of TensorRT-RTX, or what else judged."""
    gpu: str
    """Compute capability: SM75."""
    built: bool
    step: str = "build"
    """What was tried last: "parse" or "build"."""
    message: str = ""
    """What the compiler said against it."""
    nodes: tuple[tuple[str, str], ...] = ()
    """Operator and name of the nodes that failed."""
    inputs: tuple[dict[str, Any], ...] = ()
    outputs: tuple[dict[str, Any], ...] = ()
    """Tensors as the compiler sees them: name, Triton's type, dims without the batch."""
    bound: tuple[str, ...] = ()
    """Names of those that the engine binds."""
    engine_bytes: int = 0
    seconds: float = 0.0
    remembered: bool = field(default=False, compare=False)
    """Not built in this run, but in an earlier one of the same file."""

    @staticmethod
    def of(fields: dict[str, Any]) -> Verdict:
        """From JSON."""
        given: dict[str, Any] = dict(fields)
        for name in ("inputs", "outputs", "bound"):
            given[name] = tuple(fields.get(name, ()))
        given["nodes"] = tuple((operator, name) for operator, name in fields.get("nodes", ()))
        return Verdict(**given)


def _place(network: Path, release: str, gpu: str, largest_batch: int) -> Path:
    # How engines are built is part of what was found: with another program, find it anew.
    program = sha256(Path(__file__).with_name("engine_build.py"))
    return MEMORY / sha256(network) / f"{release}-{gpu}-batch{largest_batch}-{program[:12]}.json"


def recall(network: Path, release: str, gpu: str, largest_batch: int) -> Verdict | None:
    """What was found of this very file before, or None."""
    place = _place(network, release, gpu, largest_batch)
    try:
        return replace(Verdict.of(json.loads(place.read_text())), remembered=True)
    except (OSError, ValueError, TypeError):
        return None  # never found, or by another version of this program


def remember(network: Path, verdict: Verdict, largest_batch: int) -> None:
    """Keep a verdict for later runs. A file replaced in one step: two runs at a time spoil nothing."""
    place = _place(network, verdict.release, verdict.gpu, largest_batch)
    place.parent.mkdir(parents=True, exist_ok=True)
    fields = asdict(verdict)
    del fields["remembered"]
    unfinished = place.with_name(f"{place.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(fields))
    unfinished.rename(place)
