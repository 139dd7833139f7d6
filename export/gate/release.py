"""The releases of TensorRT-RTX that the gate builds with, and where they are.

Two releases cannot live in one environment. The current one is that of the extra `gate`; it may as well lie in a folder
of its own, as the older one always does: `python -m export.gate --install` puts there what is missing.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path("build/gate")


@dataclass(frozen=True)
class Release:
    """One release of TensorRT-RTX."""

    version: str
    why: str
    """Why the gate builds with it."""
    convolves_int8: bool
    """Whether it has INT8 convolutions. TensorRT has had them since version 4; TensorRT-RTX has them since 1.7, and a
    release without them says nothing of a graph that has one."""

    @property
    def requirements(self) -> tuple[str, str]:
        """What pip installs: the libraries and their Python bindings, both under NVIDIA's own licence."""
        return (f"tensorrt-rtx-cu13-libs=={self.version}", f"tensorrt-rtx-cu13-bindings=={self.version}")

    @property
    def folder(self) -> Path:
        """Where `install` puts it."""
        return FOLDER / f"tensorrt-rtx-{self.version}"


CURRENT: Final = Release("1.7.1.116", "the newest, as of the extra `gate`", True)
OLDER: Final = Release("1.4.0.76", "the oldest that pip has: what a newer one alone can do is noticed", False)
RELEASES: Final = (CURRENT, OLDER)


class ReleaseMissing(Exception):
    """A release is not on this machine; the text has the command that installs it."""


def _in_environment(release: Release) -> bool:
    try:
        return all(
            importlib.metadata.version(requirement.split("==")[0]) == release.version
            for requirement in release.requirements
        )
    except importlib.metadata.PackageNotFoundError:
        return False


def environment(release: Release) -> Mapping[str, str]:
    """Environment variables for a Python process that shall import this release and no other.

    Raises:
        ReleaseMissing: it is neither in its folder nor in the environment of this process.
    """
    variables = dict(os.environ)
    if (release.folder / "tensorrt_rtx_bindings").is_dir():
        variables["PYTHONPATH"] = str(release.folder.resolve())
    elif _in_environment(release):
        variables.pop("PYTHONPATH", None)
    else:
        raise ReleaseMissing(
            f"TensorRT-RTX {release.version} is neither in {release.folder} nor in this environment: "
            "python -m export.gate --install downloads it (about 90 MB, under NVIDIA's own licence)"
        )
    return variables


def install(release: Release) -> None:
    """Have pip put the release into its folder, and say so; nothing is done where it is on this machine already.

    Raises:
        ReleaseMissing: pip could not; the text has its last words.
    """
    try:
        environment(release)
    except ReleaseMissing:
        pass
    else:
        return
    print(
        f"downloading TensorRT-RTX {release.version} (about 90 MB, NVIDIA's licence) into {release.folder}", flush=True
    )
    # Into a folder beside it, renamed when complete: a download broken off must not look like an installed release.
    unfinished = release.folder.with_name(f"{release.folder.name}.unfinished-{os.getpid()}")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    ran = subprocess.run(
        [*command, "--target", str(unfinished), *release.requirements], capture_output=True, text=True, check=False
    )
    if ran.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        said = (ran.stderr or ran.stdout).strip().splitlines()
        raise ReleaseMissing(f"pip cannot install TensorRT-RTX {release.version}: {said[-1] if said else 'no reason'}")
    unfinished.rename(release.folder)
