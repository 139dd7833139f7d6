"""What Triton's Python backend asks of the running Python: its shared library, and a path that it can read."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path


def name() -> str:
    """File name of the library for the running version, such as 'libpython3.11.so.1.0'."""
    return f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"


def find() -> Path | None:
    """The library of the running Python, or None when this Python came without one.

    Debian and Ubuntu keep it in a package of its own; conda, pyenv built with --enable-shared, uv and the official
    Python images have it.
    """
    folders: list[Path] = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith("/" + name()):  # this very process runs on it: no doubt left
            folders.append(Path(line.split(maxsplit=5)[-1]).parent)
            break
    libdir = sysconfig.get_config_var("LIBDIR")
    multiarch = sysconfig.get_config_var("MULTIARCH")
    if libdir:
        folders.append(Path(libdir))
        if multiarch:
            folders.append(Path(libdir) / multiarch)
    folders.append(Path(sys.base_prefix) / "lib")
    if multiarch:
        folders.append(Path("/usr/lib") / multiarch)
    for folder in folders:
        if (folder / name()).is_file():
            return folder / name()
    return None


def unreadable() -> Path | None:
    """The folder of this Python, its environment or this package whose path the stages' Python cannot read; or None.

    That Python is started without a locale, so it knows ASCII alone.
    """
    folders = (Path(sys.prefix), Path(sys.base_prefix), Path(__file__).resolve().parents[2])
    return next((folder for folder in folders if not str(folder).isascii()), None)


def remedy() -> str:
    """What to do where there is none."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"install {name()}: `apt-get install libpython{version}` (Debian, Ubuntu), `dnf install python{version}-libs` "
        f"(Fedora, RHEL), or use a Python that brings it (uv, conda, pyenv with --enable-shared)"
    )
