"""The marker of an assembled repository, written last: for which machine, by which runtime, of which source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from export.engines.network_record import Parity
from export.engines.repository import RUNTIMES, Runtime
from export.engines.target import Target
from export.network_files import sha256

SCHEMA: Final = 1
MARKER: Final = "finished.json"
REPOSITORY: Final = "model_repository"


class NotFinished(ValueError):
    """There is no marker, or none of this version."""


@dataclass(frozen=True)
class Finished:
    """What a folder of engines holds."""

    runtime: Runtime
    target: Target | None
    """None without a GPU."""
    largest_batch: int
    sources: Mapping[str, str]
    """SHA-256 of each file of the source repository, by its path there."""
    made: Mapping[str, str]
    """SHA-256 of each network as it is served, by its path in the assembled repository."""
    sessions: Mapping[str, Parity] = field(default_factory=dict)
    """How far the pictures of whole sessions were from those of the committed repository, by avatar."""
    schema: int = SCHEMA

    def write(self, folder: Path) -> None:
        """Write the marker."""
        values = asdict(self)
        values["target"] = None if self.target is None else self.target.as_json()
        (folder / MARKER).write_text(json.dumps(values, indent=2) + "\n")


def read(folder: Path) -> Finished:
    """The marker of a folder.

    Raises:
        NotFinished: the build was broken off, or is another version's; the text says which.
    """
    path = folder / MARKER
    try:
        values: Any = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise NotFinished(f"{path} is missing: the build was broken off") from error
    except (OSError, ValueError) as error:
        raise NotFinished(f"{path} is no JSON: {error}") from error
    try:
        if values["schema"] != SCHEMA:
            raise NotFinished(f"schema of {path} is {values['schema']!r}, expected {SCHEMA}")
        if values["runtime"] not in RUNTIMES:
            raise NotFinished(f"runtime of {path} is {values['runtime']!r}, expected one of {', '.join(RUNTIMES)}")
        target = None if values["target"] is None else Target.from_json(values["target"])
        sources = {str(name): str(digest) for name, digest in values["sources"].items()}
        made = {str(name): str(digest) for name, digest in values["made"].items()}
        sessions = {str(avatar): Parity(**parity) for avatar, parity in values["sessions"].items()}
        return Finished(values["runtime"], target, int(values["largest_batch"]), sources, made, sessions)
    except (KeyError, TypeError, AttributeError) as error:
        raise NotFinished(f"{path} is no marker of this version: {error!r}") from error


def source_digests(source: Path) -> dict[str, str]:
    """SHA-256 of what a repository is assembled of, by path; avatars left out, which may come and go."""
    digests = {}
    for path in sorted(source.glob("*/**/*")):
        relative = path.relative_to(source)
        if path.is_file() and "__pycache__" not in relative.parts and "avatars" not in relative.parts:
            digests[str(relative)] = sha256(path)
    return digests


def folder_name(runtime: Runtime, target: Target | None) -> str:
    """Name of the folder for a target: a TensorRT engine is for one kind of GPU and one version of TensorRT."""
    if target is None:
        return runtime
    suffix = f"trt{target.tensorrt}" if runtime == "tensorrt" else runtime
    return f"{target.slug}-{suffix}"
