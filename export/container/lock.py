"""Pins what the containers install: exact versions, and the digest of each wheel.

    python -m export.container.lock            # all lanes; needs pip and an index
    python -m export.container.lock --lane gpu

A lane's image has a Python of its own, and pip on this machine resolves for that one. What is wanted stands in
`pyproject.toml`; a lock beside this file holds what pip made of it, and a test holds the two together. espeak-ng is
under the GPL and has a lock of its own, so that an image can do without it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

from export.lanes import LANES

FOLDER: Final = Path(__file__).parent
PROJECT: Final = FOLDER.parents[1] / "pyproject.toml"

GPL: Final = "espeakng-loader"
"""The one package that is apart."""

GPL_LOCK: Final = "tts"

PLATFORMS: Final = (
    *(f"manylinux_2_{minor}_x86_64" for minor in (35, 34, 31, 28, 27, 24, 17)),
    "manylinux2014_x86_64",
)
"""What glibc 2.35 (Ubuntu 22.04, the oldest of the images) runs; pip takes these words literally, one by one."""


class Wanted(NamedTuple):
    """What a lane's image needs beside the client's own dependencies."""

    extras: tuple[str, ...]
    """Of pyproject.toml, whole."""
    single: tuple[tuple[str, str], ...] = ()
    """(extra, package): of that extra this package alone."""
    further: tuple[str, ...] = ()
    """Requirements that are the lane's own."""


def _tensorrt(lane: str, cuda: int, patch: str = "") -> str:
    """The Python side of the TensorRT that the image has: 1 MB; it loads the image's own libraries."""
    version = LANES[lane].tensorrt
    assert version is not None
    return f"tensorrt-cu{cuda}-bindings=={'.'.join(map(str, version))}{patch}"


# The networks run in the image's own backends, so that of the extra `server` only OpenCV is needed, by `stabilizer`.
_STAGES: Final = (("server", "opencv-python-headless"),)

WANTED: Final = {
    "cpu": Wanted(("server", "tts")),
    "gpu": Wanted(("tts", "engines", "gpu-cuda13"), _STAGES, (_tensorrt("gpu", 13, ".2"),)),
    "v100": Wanted(("tts", "engines", "gpu-cuda12"), _STAGES, (_tensorrt("v100", 12),)),
}


class Pin(NamedTuple):
    """One wheel."""

    name: str
    version: str
    sha256: str


def requirements(lane: str) -> list[str]:
    """What pip is asked for, the GPL package included."""
    import tomllib

    project: dict[str, Any] = tomllib.loads(PROJECT.read_text())["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    wanted = WANTED[lane]
    found = list(project["dependencies"])
    for extra in wanted.extras:
        found += extras[extra]
    for extra, package in wanted.single:
        found += [line for line in extras[extra] if package_of(line) == package]
    return [*dict.fromkeys(found), *wanted.further]


def package_of(requirement: str) -> str:
    """The name in a requirement, as indexes normalise it."""
    match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    if match is None:
        raise ValueError(f"not a requirement: {requirement!r}")
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def resolve(lane: str) -> list[Pin]:
    """All wheels of a lane, by name. Raises RuntimeError with pip's own words where it finds none that fit."""
    major, minor = LANES[lane].python
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--only-binary=:all:", "--target", str(Path(folder) / "target"), "--report", str(report)]
        command += ["--implementation", "cp", "--python-version", f"{major}.{minor}"]
        for platform in PLATFORMS:
            command += ["--platform", platform]
        # The public index alone: a wheel of this machine's own would have a digest that nobody else can get.
        variables = {name: value for name, value in os.environ.items() if not re.match(r"PIP_(FIND|EXTRA|INDEX)", name)}
        variables["PIP_CONFIG_FILE"] = os.devnull
        done = subprocess.run(
            [*command, *requirements(lane)], env=variables, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"pip finds no packages for lane {lane} (Python {major}.{minor}):\n{done.stderr}")
        entries = json.loads(report.read_text())["install"]
    pins = [
        Pin(
            package_of(entry["metadata"]["name"]),
            entry["metadata"]["version"],
            entry["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for entry in entries
    ]
    return sorted(pins)


def text(pins: list[Pin], title: str) -> str:
    """A lock as pip reads it."""
    lines = [f"# {title}. Made by `python -m export.container.lock`: do not edit."]
    lines += [f"{pin.name}=={pin.version} --hash=sha256:{pin.sha256}" for pin in pins]
    return "\n".join(lines) + "\n"


def read(name: str) -> list[Pin]:
    """The lock of a lane, or of the GPL package. Raises ValueError for a line that pins nothing."""
    pins = []
    for number, line in enumerate((FOLDER / f"{name}.lock").read_text().splitlines(), 1):
        if line.startswith("#"):
            continue
        match = re.fullmatch(r"([a-z0-9-]+)==(\S+) --hash=sha256:([0-9a-f]{64})", line)
        if match is None:
            raise ValueError(f"{name}.lock, line {number}: expected NAME==VERSION --hash=sha256:DIGEST, got {line!r}")
        pins.append(Pin(*match.groups()))
    return pins


def main() -> None:
    """Write the locks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lane", choices=WANTED, action="append", help="only this one; may be given again")
    apart: set[Pin] = set()
    for lane in parser.parse_args().lane or WANTED:
        pins = resolve(lane)
        apart |= {pin for pin in pins if pin.name == GPL}
        kept = [pin for pin in pins if pin.name != GPL]
        major, minor = LANES[lane].python
        title = f"What the image of lane {lane} installs: {LANES[lane].image}, Python {major}.{minor}"
        (FOLDER / f"{lane}.lock").write_text(text(kept, title))
        print(f"{lane}.lock: {len(kept)} wheels")
    if len(apart) != 1:
        raise SystemExit(f"the lanes disagree on {GPL}: {sorted(apart)}")
    (FOLDER / f"{GPL_LOCK}.lock").write_text(text(sorted(apart), "espeak-ng, under the GPL, for all lanes"))


if __name__ == "__main__":
    main()
