"""Strips of frames to look at: a caption beside the wrong frame would show a fault where there is none."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from facestream.contract import FRAME_SIZE
from facestream.video import Decoded

import perf.film_strip as module
from perf.film_strip import SCENES, film_strip, frame_numbers, in_ascii, phoneme_captions, window


def test_captions_name_the_sound_of_the_frames_middle() -> None:
    """Frame 3 lies from 0.1 to 0.133 s: what is heard at 0.117 s stands under it."""
    phonemes = [("SIL", 0.0, 0.07), ("M", 0.07, 0.118), ("AA", 0.118, 0.2)]
    assert phoneme_captions(phonemes, 7) == ["0 -", "1 -", "2 M", "3 M", "4 AA", "5 AA", "6 -"]
    assert phoneme_captions([], 2) == ["0", "1"]


def test_every_phoneme_can_be_drawn() -> None:
    """OpenCV draws ASCII alone: a question mark instead of an open o helps nobody."""
    assert in_ascii("ɔː") == "O:"
    assert in_ascii("ʃ") == "S"
    assert in_ascii("\u0251\u0303") == "A~"  # French "an"
    assert in_ascii("\u0250\u032f") == "6"  # German "-er"
    assert in_ascii("_:") == "-"
    assert in_ascii("ʘ") == "?"


def test_frames_lie_in_rows() -> None:
    """Left to right, top to bottom, colours as cv2.imwrite takes them."""
    pictures = [np.full((20, 30, 3), (value, 0, 0), np.uint8) for value in (50, 100, 150)]
    sheet = film_strip(pictures, ["", "", ""], 2, (0, 0, 30, 20), 1.0)
    assert sheet.shape == (40, 60, 3)
    assert sheet[5, 5].tolist() == [0, 0, 50]
    assert sheet[5, 35].tolist() == [0, 0, 100]
    assert sheet[25, 5].tolist() == [0, 0, 150]


def test_scenes_have_what_the_judge_needs() -> None:
    """Two languages beyond English, and what is no speech at all."""
    assert {"german", "french", "spanish", "silence", "noise", "music"} <= set(SCENES)


def test_frames_and_window_are_read_or_refused_by_name() -> None:
    """Whoever mistypes a range wants to hear how one is written, not see a traceback."""
    assert frame_numbers("3,17,40") == [3, 17, 40]
    assert frame_numbers("10-12") == [10, 11, 12]
    assert window("0,10,20,30") == (0, 10, 20, 30)
    for wrong in ("20:60", "", "9-3", "-4", "1,,2"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected numbers as in"):
            frame_numbers(wrong)
    for wrong in ("mouth", "0,0,10", "30,0,20,10", "0,0,600,600"):
        with pytest.raises(argparse.ArgumentTypeError, match=r"expected left,top,right,bottom"):
            window(wrong)


def test_a_film_is_captioned_by_its_own_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a film at 25 frames a second, as players and editors make them, second 2 was captioned 1.67 s."""
    film = tmp_path / "film.mp4"
    film.touch()
    pictures = np.zeros((3, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
    shown = Decoded(pictures, np.array([0.0, 0.04, 2.0]), np.zeros((0, 1), np.float32), 0)
    captions: list[str] = []

    def strip(pictures: object, under: list[str], *rest: object) -> np.ndarray:
        captions.extend(under)
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(module, "decode", lambda path: shown)
    monkeypatch.setattr(module, "film_strip", strip)
    monkeypatch.setattr("sys.argv", ["film_strip", str(film), "-o", str(tmp_path / "strip.png")])
    assert module.main() == 0
    assert captions == ["0.00 s", "0.04 s", "2.00 s"]
    (tmp_path / "folder.png").mkdir()
    for output, told in (("strip.foo", "expected a picture's name"), ("folder.png", "folder.png cannot be written")):
        monkeypatch.setattr("sys.argv", ["film_strip", str(film), "-o", str(tmp_path / output)])
        with pytest.raises(SystemExit):
            module.main()
        assert told in capsys.readouterr().err
