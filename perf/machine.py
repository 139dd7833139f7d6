"""The machine that a figure was measured on: results without it say nothing. No host names."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any


def processor() -> str:
    """Model name of the processor, as it calls itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def slug() -> str:
    """Name of this machine's folder of results, such as 'amd-epyc-9r14-2-cores'."""
    words = re.sub(r"\((r|tm)\)|\bprocessor\b|\bcpu\b|@.*|\d+-core\b", " ", processor().lower())
    return re.sub(r"[^a-z0-9]+", "-", f"{words} {cores()} core{'s' if cores() > 1 else ''}").strip("-")


def describe() -> dict[str, Any]:
    """What decides about speed: processor, cores this process may use, memory, system, versions."""
    import numpy
    import onnxruntime
    import openvino

    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_gib": round(pages / 1024**3, 1),
        "system": f"{platform.system()} {platform.release()}, {'-'.join(platform.libc_ver())}",
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "onnxruntime": onnxruntime.__version__,
        "openvino": openvino.__version__,
        "gpu": None,
    }
