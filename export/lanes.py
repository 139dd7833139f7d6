"""Where the model repository is served: which container for which GPU. `python -m export.lanes` prints the table.

NVIDIA drops a family of GPUs from TensorRT now and then, and an engine is read by no other version of TensorRT than the
one that built it. So no single container serves all GPUs. TensorRT 10.4 is the last that knows Volta (V100), and Triton
24.09 the container that carries it; newer ones ask for compute capability 7.5. Among these, 26.08 is the first since
25.08 whose dynamic batcher keeps the order of a session's frames again ("Restored preserve_ordering semantics").

Sources: the compatibility table and the release notes of Triton, the release notes of TensorRT 10.5 (Volta removed),
NVIDIA's table of data center drivers (580 is the last branch with Volta).
"""

from __future__ import annotations

import argparse
from typing import Final, NamedTuple

Capability = tuple[int, int]
"""Major and minor number of CUDA's compute capability: (8, 0) is an A100."""


class Lane(NamedTuple):
    """One container, and the GPUs that it serves."""

    name: str
    """Compose's profile."""
    image: str
    """Name and tag of the container's image."""
    tensorrt: tuple[int, ...] | None
    """Version of the TensorRT in it; None without GPUs."""
    python: tuple[int, int]
    least_compute_capability: Capability | None
    """Oldest GPU; None for a lane without GPUs."""
    most_compute_capability: Capability | None
    """Newest GPU that is meant to be served here; None where nothing is known to be too new."""
    least_driver: int | None
    """Oldest branch of the driver."""
    most_driver: int | None
    """Newest branch of the driver that knows the lane's GPUs; None where none is known to have dropped them."""
    gpus: str
    """Examples."""

    def serves(self, capability: Capability) -> bool:
        """Whether GPUs of this compute capability are meant to run in the lane."""
        least, most = self.least_compute_capability, self.most_compute_capability
        return least is not None and least <= capability and (most is None or capability <= most)


TRITON: Final = "nvcr.io/nvidia/tritonserver"

LANES: Final = {
    lane.name: lane
    for lane in (
        Lane("cpu", "python:3.11-slim-bookworm", None, (3, 11), None, None, None, None, "none"),
        Lane(
            "gpu", f"{TRITON}:26.08-py3", (11, 2, 1), (3, 12), (7, 5), None, 580, None, "T4, A100, L4, L40S, H100, H200"
        ),
        Lane("v100", f"{TRITON}:24.09-py3", (10, 4, 0), (3, 10), (7, 0), (7, 2), 525, 580, "V100"),
    )
}
"""By name."""


def lane_of(capability: Capability) -> Lane:
    """The lane for a GPU.

    Raises:
        ValueError: no lane serves it; the text names the oldest that is served.
    """
    for lane in LANES.values():
        if lane.serves(capability):
            return lane
    raise ValueError(f"compute capability is {capability[0]}.{capability[1]}, expected 7.0 (V100) or more")


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(arguments)
    for lane in LANES.values():
        least, tensorrt = lane.least_compute_capability, lane.tensorrt
        print(
            f"{lane.name:<5} {lane.image:<42} TensorRT {'.'.join(map(str, tensorrt)) if tensorrt else '-':<7} "
            f"compute capability from {f'{least[0]}.{least[1]}' if least else '-':<4} {lane.gpus}"
        )


if __name__ == "__main__":
    main()
