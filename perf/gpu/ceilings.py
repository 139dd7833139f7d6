"""What the device really reaches at best: the roofs that networks are held against.

- `fp16_flops`, `fp32_flops`: a large square matrix product; fp32 without TF32.
- `copy_bytes`: a large copy within the device, bytes read and written.
- `upload_bytes`, `download_bytes`: between pinned memory of the host and the device.
- `kernel_us`, `kernel_in_graph_us`: what one more tiny kernel costs when it is launched, and as part of a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch

from perf.gpu.engine import milliseconds

SIDE: Final = {"cuda": {"fp16": 8192, "fp32": 6144}, "cpu": {"fp16": 128, "fp32": 256}}
COPIED: Final = {"cuda": 1 << 30, "cpu": 1 << 20}
TINY_KERNELS: Final = 200


def measure(device: str, seconds: float = 0.5) -> dict[str, float]:
    """Operations, bytes per second and µs, by name."""
    on = torch.device(device)
    found: dict[str, float] = {}
    torch.backends.cuda.matmul.allow_tf32 = False

    def least(run: Callable[[], object]) -> float:
        """Seconds of the fastest run."""

        def whole() -> None:
            run()
            if device == "cuda":
                torch.cuda.synchronize()

        return min(milliseconds(whole, seconds, warm=3, least=5)) / 1e3

    for name, dtype in (("fp16", torch.float16), ("fp32", torch.float32)):
        side = SIDE[device][name]
        # Random numbers: with zeros the chip stays cooler and clocks higher than any network lets it.
        left, right = (torch.randn(side, side, device=on, dtype=dtype) for _ in range(2))
        made = torch.empty_like(left)

        def product(left: torch.Tensor = left, right: torch.Tensor = right, made: torch.Tensor = made) -> None:
            torch.mm(left, right, out=made)

        found[f"{name}_flops"] = 2 * side**3 / least(product)
    source = torch.ones(COPIED[device] // 4, device=on)
    target = torch.empty_like(source)
    found["copy_bytes"] = 2 * COPIED[device] / least(lambda: target.copy_(source))
    if device == "cuda":
        part = 1 << 26
        host = torch.empty(part // 4).pin_memory()
        there = target[: part // 4]
        found["upload_bytes"] = part / least(lambda: there.copy_(host, non_blocking=True))
        found["download_bytes"] = part / least(lambda: host.copy_(there, non_blocking=True))
        del source, target, there
        small = torch.zeros(32, device=on)

        def tiny() -> None:
            for _ in range(TINY_KERNELS):
                small.add_(1.0)

        found["kernel_us"] = least(tiny) / TINY_KERNELS * 1e6
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            tiny()
        found["kernel_in_graph_us"] = least(graph.replay) / TINY_KERNELS * 1e6
    return found
