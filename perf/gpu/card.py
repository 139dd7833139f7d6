"""Which GPU it is, and what it says of itself: by nvidia-smi and PyTorch, whichever is there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from typing import Any, Final

QUESTIONS: Final = (
    "name",
    "driver_version",
    "memory.total",
    "power.draw",
    "power.limit",
    "clocks.sm",
    "clocks.max.sm",
    "clocks.mem",
    "temperature.gpu",
)


def slug(name: str) -> str:
    """Folder name of a card: 'NVIDIA A100-SXM4-40GB' is 'nvidia-a100-sxm4-40gb'."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def smi() -> dict[str, str]:
    """Answers of nvidia-smi for the first GPU, by question; empty where there is no GPU, or no nvidia-smi."""
    command = ["nvidia-smi", f"--query-gpu={','.join(QUESTIONS)}", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    answers = [answer.strip() for answer in done.stdout.splitlines()[0].split(",")] if done.stdout else []
    return dict(zip(QUESTIONS, answers, strict=False)) if len(answers) == len(QUESTIONS) else {}


def runs_on(capability: tuple[int, int], architectures: Sequence[str]) -> bool:
    """Whether a program holds code for a GPU: `architectures` as PyTorch tells its own, 'sm_75', 'compute_120'."""
    for name in architectures:
        kind, _, number = name.partition("_")
        digits = re.match(r"\d+", number)  # sm_90a
        if digits is None:
            continue
        known = divmod(int(digits[0]), 10)
        # Machine code runs on later GPUs of its own generation, what is still to be compiled on all later ones.
        if known <= capability and (kind == "compute" or known[0] == capability[0]):
            return True
    return False


def describe(device: str) -> dict[str, Any]:
    """The card of a run: its name, compute capability, memory, driver, and clocks and power as they are now."""
    if device == "cpu":
        return {"name": "CPU (dry run)", "slug": "cpu-dry-run"}
    import torch

    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "slug": slug(properties.name),
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
        "nvidia_smi": smi(),
    }
