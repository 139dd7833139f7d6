"""Whether this machine has an NVIDIA GPU, asked of the kernel: no library of NVIDIA's need be there."""

from __future__ import annotations

from pathlib import Path


def has_gpu() -> bool:
    """Whether a process here could reach one."""
    # The second is Windows' own, in WSL.
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()
