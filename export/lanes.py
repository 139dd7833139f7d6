"""Where the model repository is served: which container for which GPU. `python -m export.lanes` prints the table.

NVIDIA drops a family of GPUs from TensorRT now and then, and an engine is read by no other version of TensorRT than the
one that built it. So no single container serves all GPUs: TensorRT 10.4 is the last that knows Volta (V100), and Triton
24.09 the container that carries it; what is newer asks for compute capability 7.5 or more.

Sources: NVIDIA's release notes of Triton 24.09 and of later releases ("supports CUDA compute capability ..."), the
release notes of TensorRT 10.5 (Volta removed).
"""

from __future__ import annotations

from typing import Final, NamedTuple

Capability = tuple[int, int]
"""Major and minor number of CUDA's compute capability: (8, 0) is an A100."""

IMAGE: Final = "nvcr.io/nvidia/tritonserver"


class Lane(NamedTuple):
    """One container, and the GPUs that it serves."""

    name: str
    """Compose's profile."""
    triton: str
    """Tag of NVIDIA's container."""
    tensorrt: tuple[int, ...]
    """Leading numbers of the TensorRT in it; the exact version is asked of the container itself."""
    least: Capability | None
    """Oldest GPU; None for a lane without GPUs."""
    most: Capability | None
    """Newest GPU that this TensorRT knows; None where nothing is known to be too new."""
    gpus: str
    """Examples."""

    @property
    def image(self) -> str:
        """Name and tag of the container's image."""
        return f"{IMAGE}:{self.triton}"

    def serves(self, capability: Capability) -> bool:
        """Whether GPUs of this compute capability run in the lane."""
        return self.least is not None and self.least <= capability and (self.most is None or capability <= self.most)


LANES: Final = {
    lane.name: lane
    for lane in (
        Lane("cpu", "25.12-py3", (10,), None, None, "none"),
        Lane("gpu", "25.12-py3", (10,), (7, 5), None, "T4, A100, A10, L4, L40S, H100, H200"),
        Lane("v100", "24.09-py3", (10, 4), (7, 0), (9, 0), "V100"),
    )
}
"""By name; of two lanes that serve a GPU, the first is meant for it."""


def lane_of(capability: Capability) -> Lane:
    """The lane for a GPU.

    Raises:
        ValueError: no lane serves it; the text names the oldest that is served.
    """
    for lane in LANES.values():
        if lane.serves(capability):
            return lane
    oldest = min(lane.least for lane in LANES.values() if lane.least is not None)
    raise ValueError(
        f"compute capability is {capability[0]}.{capability[1]}, expected {oldest[0]}.{oldest[1]} (V100) or more"
    )


def main() -> None:
    """Print the table."""
    for lane in LANES.values():
        least = "-" if lane.least is None else f"{lane.least[0]}.{lane.least[1]}"
        tensorrt = "-" if lane.least is None else ".".join(map(str, lane.tensorrt))
        print(f"{lane.name:<5} {lane.image:<42} TensorRT {tensorrt:<5} compute capability from {least:<4} {lane.gpus}")


if __name__ == "__main__":
    main()
