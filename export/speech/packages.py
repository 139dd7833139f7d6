"""Recorded speech comes by name from pip, npm or the Debian archive: packages fetched once, without installing them.

A machine that cannot reach one (no `npm`, no `apt-get`, no network) raises; whoever asks leaves that source out.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path


def source_distribution(work: Path, requirement: str, sha256: str, *, isolated: bool = True) -> Path:
    """Have pip fetch the source distribution of `requirement` (NAME==VERSION) once; return its unpacked folder.

    pip asks each package of what kind it is, in an empty environment; where `isolated` is false, in this one: for those
    that want NumPy before they answer.

    Raises:
        subprocess.CalledProcessError: pip cannot fetch it.
        ValueError: it is another file than the one of this `sha256`.
    """
    folder = work / requirement.replace("==", "-")
    if not folder.exists():
        work.mkdir(parents=True, exist_ok=True)
        archive = work / f"{folder.name}.tar.gz"
        if not archive.exists():
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
            if not isolated:
                command.append("--no-build-isolation")
            subprocess.run([*command, requirement, "--dest", str(work)], check=True)
        _check(archive, sha256)
        with tarfile.open(archive) as file:
            file.extractall(work, filter="data")
    return folder


def npm_package(work: Path, name: str, version: str, sha256: str) -> Path:
    """Have npm fetch a package once; return its unpacked folder.

    Raises:
        FileNotFoundError: there is no npm.
        subprocess.CalledProcessError: npm cannot fetch it.
        ValueError: it is another file than the one of this `sha256`.
    """
    folder = work / f"{name}-{version}"
    if not folder.exists():
        work.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [_program("npm"), "pack", "--silent", f"{name}@{version}"], cwd=work, check=True, stdout=subprocess.DEVNULL
        )
        _check(work / f"{folder.name}.tgz", sha256)
        with tarfile.open(work / f"{folder.name}.tgz") as file:
            file.extractall(folder, filter="data")
    return folder / "package"


def debian_package(work: Path, name: str) -> Path:
    """Have apt-get fetch a Debian package once; return its unpacked folder.

    Raises:
        FileNotFoundError: there is no apt-get.
        subprocess.CalledProcessError: apt-get cannot fetch it.
    """
    folder = work / f"{name}-deb"
    if not folder.exists():
        work.mkdir(parents=True, exist_ok=True)
        subprocess.run([_program("apt-get"), "download", "-qq", name], cwd=work, check=True, stderr=subprocess.DEVNULL)
        (archive,) = work.glob(f"{name}_*.deb")
        subprocess.run([_program("dpkg-deb"), "-x", archive.name, folder.name], cwd=work, check=True)
        archive.unlink()
    return folder


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not on this machine")
    return found


def _check(path: Path, sha256: str) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        path.unlink()
        raise ValueError(f"{path.name} has the checksum {found}, expected {sha256}")
