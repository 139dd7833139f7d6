"""What a machine has and lacks for the containers that serve on a GPU: card, driver, NVIDIA's toolkit, Docker."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from facestream.cli.finding import Finding

Numbers = tuple[int, ...]


class GpuLane(NamedTuple):
    """A profile of docker-compose.yml, and the machines that it is for."""

    profile: str
    builder: str
    """The service that builds its engines."""
    least_capability: Numbers
    most_capability: Numbers | None
    least_driver: int
    """Branch of the driver: 580 of 580.95.05."""
    most_driver: int | None
    """The last branch that knows these cards."""


# `export` is not at hand where only the client is installed: a test holds these numbers to export/lanes.py.
LANES: Final = (
    GpuLane("gpu", "build-engines", (7, 5), None, 580, None),
    GpuLane("v100", "build-engines-v100", (7, 0), (7, 2), 525, 580),
)

FORWARD_COMPATIBLE_DRIVER: Final = 535
"""From this branch on, libraries in the image may stand in for a newer driver's: on data centre cards only."""

MIN_COMPOSE: Final = (2, 17, 0)
"""The first Docker Compose that knows `dockerfile_inline`."""

# Drivers before R515 do not tell the compute capability.
_CAPABILITIES: Final = {
    r"K80|K40": (3, 7),
    r"M60|M40": (5, 2),
    r"P100": (6, 0),
    r"P40|P4\b": (6, 1),
    r"V100": (7, 0),
    r"T4\b": (7, 5),
    r"A100|A30\b": (8, 0),
    r"A10\b|A40\b|A16\b": (8, 6),
}

_DRIVER_REMEDY: Final = "sudo apt-get install nvidia-driver-580-server (Ubuntu), then restart the machine"
_TOOLKIT_REMEDY: Final = (
    "add NVIDIA's package source (docs.nvidia.com/datacenter/cloud-native/container-toolkit), then: "
    "sudo apt-get install nvidia-container-toolkit && sudo nvidia-ctk runtime configure --runtime=docker && "
    "sudo systemctl restart docker"
)
_DOCKER_REMEDY: Final = "install Docker Engine with its compose plugin: docs.docker.com/engine/install"

PCI: Final = Path("/sys/bus/pci/devices")
_NVIDIA: Final = "0x10de"
_DISPLAY: Final = "0x03"


def gpu_findings(wanted: bool) -> Iterator[Finding]:
    """All findings about the GPU lanes.

    wanted: whether somebody means to serve on a GPU here: then what is lacking counts as missing, and is a note else,
    since everything runs without a GPU, too.
    """
    lacking = "missing" if wanted else "note"
    lines, failure = _nvidia_smi()
    if failure:
        yield _without_driver(failure, lacking)
        yield _compose("note")
        return
    lanes = {}
    for line in lines:
        finding, lane = _card(line, lacking)
        yield finding
        if lane is not None:
            lanes[lane.profile] = lane
    if lanes:
        yield _toolkit(lacking)
    yield _compose(lacking if lanes else "note")
    for lane in lanes.values():
        yield Finding(
            "note",
            f"lane {lane.profile}",
            "engines are built once on this machine, then served",
            f"docker compose run --rm {lane.builder} && docker compose --profile {lane.profile} up -d",
        )


def _run(*command: str) -> tuple[int, str]:
    """Exit status and output of a program, 127 where it is not installed or hangs."""
    if shutil.which(command[0]) is None:
        return 127, "not installed"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20.0, check=False)
    except subprocess.TimeoutExpired:
        return 127, "gives no answer"
    return done.returncode, (done.stdout.strip() or done.stderr.strip())


def _nvidia_smi() -> tuple[list[str], str]:
    """A line "index, name, driver, capability" for each card, or why there is none."""
    fields = "index,name,driver_version,compute_cap"
    status, output = _run("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader")
    if status != 0 and "compute_cap" in output:
        status, output = _run("nvidia-smi", "--query-gpu=index,name,driver_version", "--format=csv,noheader")
    if status != 0 or "No devices were found" in output:
        return [], output.splitlines()[0] if output else f"exit status {status}"
    return output.splitlines(), ""


def _without_driver(failure: str, lacking: str) -> Finding:
    cards = plugged_in()
    if failure == "not installed" and not cards:
        # Whoever asked for a GPU lane is told that it cannot be here; nobody else has to care.
        remedy = "docker compose --profile cpu up -d, or facestream serve" if lacking == "missing" else ""
        return Finding(lacking, "GPU", "no NVIDIA card and no driver: everything runs on the processor", remedy)
    what = f"NVIDIA cards on the bus: {', '.join(cards) or 'none seen'}"
    hint = "branches of the driver after 580 know no V100, nor anything older"
    return Finding(lacking, "GPU", f"{what}; nvidia-smi: {failure.rstrip('.')}; {hint}", _DRIVER_REMEDY)


def plugged_in() -> list[str]:
    """PCI addresses of NVIDIA's display and 3D controllers, driver or not."""
    found = []
    for device in sorted(PCI.glob("*")) if PCI.is_dir() else []:
        try:
            vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text().strip()
        except OSError:
            continue
        if vendor == _NVIDIA and kind.startswith(_DISPLAY):
            found.append(device.name)
    return found


def _card(line: str, lacking: str) -> tuple[Finding, GpuLane | None]:
    """What is to be said of one card, and its lane where it has one."""
    fields = [field.strip() for field in line.split(",")]
    if len(fields) < 3 or not re.match(r"\d+\.", fields[2]):
        return Finding(lacking, "GPU", f"nvidia-smi says {line!r}: expected index, name, driver, capability"), None
    index, name, driver = fields[:3]
    capability = _capability(name, fields[3] if len(fields) > 3 else "")
    subject = f"GPU {index}"
    if capability is None:
        known = "its compute capability is unknown: look it up at developer.nvidia.com/cuda-gpus"
        return Finding(lacking, subject, f"{name}, driver {driver}: {known}", _DRIVER_REMEDY), None
    told = f"{name}, compute capability {'.'.join(map(str, capability))}, driver {driver}"
    lane = next((lane for lane in LANES if _in(capability, lane)), None)
    if lane is None:
        remedy = "docker compose --profile cpu up -d, or facestream serve: on the processor"
        return Finding(lacking, subject, f"{told}: older than the oldest that is served, 7.0 (V100)", remedy), None
    branch = int(driver.split(".")[0])
    if lane.most_driver is not None and branch > lane.most_driver:
        text = f"{told}: {lane.most_driver} is the last branch that knows this card"
        return Finding(lacking, subject, text, _DRIVER_REMEDY), lane
    if branch >= lane.least_driver:
        return Finding("ok", subject, f"{told}: profile {lane.profile} of docker compose"), lane
    text = f"{told}: profile {lane.profile} asks for driver {lane.least_driver} or later"
    if lane.most_driver is None and branch >= FORWARD_COMPATIBLE_DRIVER:
        text += "; with this one it may work by NVIDIA's compatibility package, on data centre cards only"
        return Finding("note", subject, text, _DRIVER_REMEDY), lane
    return Finding(lacking, subject, text, _DRIVER_REMEDY), lane


def _capability(name: str, told: str) -> Numbers | None:
    match = re.fullmatch(r"(\d+)\.(\d+)", told)
    if match:
        return int(match[1]), int(match[2])
    return next((numbers for pattern, numbers in _CAPABILITIES.items() if re.search(pattern, name)), None)


def _in(capability: Numbers, lane: GpuLane) -> bool:
    return lane.least_capability <= capability and (lane.most_capability is None or capability <= lane.most_capability)


def _toolkit(lacking: str) -> Finding:
    programs = ("nvidia-container-runtime-hook", "nvidia-ctk", "nvidia-container-runtime")
    found = next((path for path in map(shutil.which, programs) if path), None)
    if found:
        return Finding("ok", "container toolkit", found)
    text = "not installed: without it no container sees the GPU"
    return Finding(lacking, "container toolkit", text, _TOOLKIT_REMEDY)


def _compose(lacking: str) -> Finding:
    status, output = _run("docker", "compose", "version", "--short")
    version = re.search(r"(\d+)\.(\d+)\.(\d+)", output)
    if status != 0 or version is None:
        # Docker without the plugin complains of whatever follows the word `compose`: of --short here.
        text = f"`docker compose version` fails: {_first_line(output)}"
        return Finding(lacking, "docker compose", text, _DOCKER_REMEDY)
    numbers = tuple(int(part) for part in version.groups())
    if numbers < MIN_COMPOSE:
        wanted = ".".join(map(str, MIN_COMPOSE))
        text = f"{version[0]}, and docker-compose.yml needs {wanted}"
        return Finding(lacking, "docker compose", text, _DOCKER_REMEDY)
    status, output = _run("docker", "info", "--format", "{{.ServerVersion}}")
    if status != 0:
        remedy = "sudo systemctl start docker; sudo usermod -aG docker $USER, then log in again"
        return Finding(lacking, "docker compose", f"the engine does not answer: {_first_line(output)}", remedy)
    return Finding("ok", "docker compose", f"{version[0]}, engine {_first_line(output)}")


def _first_line(output: str) -> str:
    return output.splitlines()[0] if output else "it says nothing"
