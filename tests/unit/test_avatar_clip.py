"""Clips tell how long they are and how many pictures they hold, or it is found out; faults are named by their file."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from facestream.avatar.build import _sha256
from facestream.avatar.clip import read_clip
from facestream.avatar.photo import PhotoError

from tests.unit.test_avatar_views import clip

FRAMES = [np.full((64, 64, 3), 90, np.uint8)] * 30


@pytest.mark.parametrize(
    ("file", "options"), [("a.mp4", {}), ("a.mov", {}), ("a.avi", {}), ("a.mkv", {}), ("live.mkv", {"live": "1"})]
)
def test_length_and_number_of_pictures_are_known_of_every_clip(
    file: str, options: dict[str, str], tmp_path: Path
) -> None:
    """By them pictures are spread over the whole: without them those of its beginning alone would be looked at."""
    found = read_clip(clip(tmp_path / file, FRAMES, options=options))
    assert found.count == len(list(found.frames())) == 30
    assert found.seconds == pytest.approx(3.0, abs=0.11)  # packets tell when the last picture begins


def test_what_goes_wrong_with_the_pictures_is_not_laid_on_the_clip(tmp_path: Path) -> None:
    """An equation without a solution was told as a file that cannot be read."""

    def solve() -> None:
        for _ in read_clip(clip(tmp_path / "a.mp4", FRAMES)).frames():
            np.linalg.inv(np.zeros((2, 2)))

    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        solve()


def test_a_clip_that_breaks_off_is_named(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", FRAMES)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(PhotoError, match=r"a\.mp4: is not a clip that can be read"):
        read_clip(path)


def test_the_checksum_of_a_long_clip_takes_no_memory(tmp_path: Path) -> None:
    """A minute of 4K is half a gigabyte: it was read as a whole to sum it up."""
    content = bytes(range(256)) * (16 << 12)  # 16 MiB
    (tmp_path / "long.mp4").write_bytes(content)
    tracemalloc.start()
    try:
        assert _sha256(tmp_path / "long.mp4") == hashlib.sha256(content).hexdigest()
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
