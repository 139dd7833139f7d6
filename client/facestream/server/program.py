"""Which Triton server a launcher runs: the one from pip's wheel, or the one that NVIDIA's container image holds."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from facestream.contract import ADMIN_KEY_VARIABLE, NETWORKS_VARIABLE
from facestream.server import libpython, wheel
from facestream.server.errors import ServerError

CUDA_POOL_BYTES = 512 * 2**20
"""Bytes on the GPU that Triton keeps for tensors on their way from stage to stage: what all stages put out for a frame
of each of MAX_SESSIONS sessions, 394 MB. Triton's own 64 MiB hold ten; where they end, it passes tensors through the
processor's memory instead, and says so in the log only."""


class Program(Protocol):
    """A Triton server that is on this machine, or can be fetched."""

    def prepare(self, folder: Path) -> tuple[list[str], dict[str, str]]:
        """The program with the options that only it has, and the environment variables that it needs.

        folder: an empty one of the launcher's, which lives as long as the server. Raises ServerError where something is
        missing on this machine, FetchError when the server cannot be downloaded.
        """
        ...


class WheelProgram:
    """The server of pip's wheel (:mod:`facestream.server.wheel`): no GPU, and an ONNX Runtime backend of ours."""

    def prepare(self, folder: Path) -> tuple[list[str], dict[str, str]]:
        """Fetch the server where it is not there yet; see :class:`Program`."""
        if (unreadable := libpython.unreadable()) is not None:
            raise ServerError(
                f"{unreadable}: Triton's Python backend reads no path with letters beyond ASCII: move the clone and "
                "its environment to one without"
            )
        server = wheel.Server.fetched()
        library = libpython.find()
        if library is None:
            raise ServerError(
                f"{libpython.name()} not found, and Triton's Python backend needs it: {libpython.remedy()}"
            )
        python = Path(sys.executable)
        # The stub runs on the first python3 of PATH: it must be this very environment.
        if not (python.parent / "python3").exists():
            raise ServerError(
                f"{python.parent} has no python3 beside {python.name}, which Triton's Python backend needs"
            )
        backends = folder / "backends"
        backends.mkdir()
        (backends / "python").symlink_to(server.python_backend)
        (backends / "onnxruntime").symlink_to(Path(__file__).parent / "onnxruntime_backend")
        libraries = [str(server.libraries), str(library.parent), os.environ.get("LD_LIBRARY_PATH", "")]
        variables = {
            "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "LD_LIBRARY_PATH": os.pathsep.join(entry for entry in libraries if entry),
            NETWORKS_VARIABLE: "cpu",  # by the backend of ours that stands in for NVIDIA's
        }
        options = [
            f"--backend-directory={backends}",
            "--allow-gpu-metrics=false",
            "--pinned-memory-pool-byte-size=0",
        ]
        return [str(server.program), *options], variables


class ImageProgram:
    """The `tritonserver` on the PATH of NVIDIA's image, with that image's own backends."""

    def prepare(self, folder: Path) -> tuple[list[str], dict[str, str]]:
        """See :class:`Program`."""
        program = shutil.which("tritonserver", path=os.environ.get("PATH", os.defpath))
        if program is None:
            raise ServerError("no tritonserver on PATH: this is meant for NVIDIA's image; elsewhere: facestream serve")
        # In TF32, which cuDNN and cuBLAS take for single precision unasked, a coordinate has the 11 bits of half
        # precision: the edges of the picture would move.
        variables = {"NVIDIA_TF32_OVERRIDE": "0"}
        # One server takes one GPU: the first, and only one, that the container sees.
        return [program, f"--cuda-memory-pool-byte-size=0:{CUDA_POOL_BYTES}"], variables


ADMIN_HEADER = "facestream-admin-key"
"""HTTP header of the key; in gRPC's metadata it is `triton-grpc-protocol-facestream-admin-key`."""


def check_admin_key(key: str) -> None:
    """Raise ValueError, without the key in it, unless Triton takes it and nobody guesses it."""
    if len(key) < 16 or not key.isascii() or not key.isalnum():
        raise ValueError(
            f"{ADMIN_KEY_VARIABLE} has {len(key)} characters: expected 16 or more letters and digits, such as those of "
            "`openssl rand -hex 16`: whoever has it can run any program as the server"
        )


def model_control(models: Sequence[str] | None, admin_key: str | None) -> list[str]:
    """Options of Triton that say who may load and unload models while it runs.

    models: load only these; None loads all. admin_key: what a request must carry to load or unload a model; where it is
    None and `models` is, too, nobody can. Whoever may load models can send one of his own, and so run any program as
    the server: that is why there is no way to allow it to everybody who reaches the ports of a whole repository.
    """
    if models is None and admin_key is None:
        return ["--model-control-mode=none"]
    loaded = [f"--load-model={name}" for name in (("*",) if models is None else models)]
    words = ["--model-control-mode=explicit", *loaded]
    if admin_key is not None:
        words += [
            f"--grpc-restricted-protocol=model-repository:{ADMIN_HEADER}={admin_key}",
            f"--http-restricted-api=model-repository:{ADMIN_HEADER}={admin_key}",
        ]
    return words


def closed_to_clients(admin_key: str | None) -> list[str]:
    """Options of Triton that close what no session needs, and what anybody who reaches the ports could use otherwise.

    Shared memory: a client could have the server read and write any region of the machine by its name, among them those
    through which the stages hand on everybody's pictures. Log and trace: he could silence the one, and fill the disk by
    either. They take `admin_key`; where it is None, a key that nobody is told.
    """
    closed = f"shared-memory,trace,logging:{ADMIN_HEADER}={admin_key or secrets.token_hex(16)}"
    return [f"--grpc-restricted-protocol={closed}", f"--http-restricted-api={closed}"]
