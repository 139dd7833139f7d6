"""The lanes: a GPU in the wrong container finds a TensorRT that does not know it, after minutes of building."""

from __future__ import annotations

import pytest

from export import lanes


@pytest.mark.parametrize(
    ("capability", "lane"),
    [((7, 0), "v100"), ((7, 5), "gpu"), ((8, 0), "gpu"), ((8, 9), "gpu"), ((9, 0), "gpu"), ((12, 0), "gpu")],
)
def test_each_gpu_has_its_lane(capability: tuple[int, int], lane: str) -> None:
    assert lanes.lane_of(capability).name == lane


def test_what_is_older_than_volta_is_refused_with_its_number() -> None:
    with pytest.raises(ValueError, match=r"compute capability is 6\.1, expected 7\.0"):
        lanes.lane_of((6, 1))


def test_volta_has_the_last_tensorrt_that_knows_it() -> None:
    assert lanes.LANES["v100"].tensorrt == (10, 4, 0)
    assert not lanes.LANES["gpu"].serves((7, 0))
    assert not lanes.LANES["cpu"].serves((8, 0))


def test_images_are_pinned(capsys: pytest.CaptureFixture[str]) -> None:
    """A tag that moves brings another TensorRT over night, and refuses every engine that was built."""
    assert all(":" in lane.image and not lane.image.endswith("latest") for lane in lanes.LANES.values())
    lanes.main([])
    assert len(capsys.readouterr().out.splitlines()) == len(lanes.LANES)


def test_what_the_command_does_not_know_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Who asks for one lane, or for help, would take the whole table for the answer."""
    with pytest.raises(SystemExit):
        lanes.main(["v100"])
    assert "unrecognized arguments: v100" in capsys.readouterr().err
