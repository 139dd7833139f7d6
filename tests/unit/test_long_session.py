"""The hour-long session: growth that is read wrongly hides a leak, and a length that is none measures nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from perf.long_session import RATE, Note, growth, main, write


@pytest.mark.parametrize("seconds", ["0", "-5", "nan", "inf"])
def test_a_length_that_is_none_is_refused(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    """-5 streamed what is left of a sentence without its last five seconds, and wrote that down as the hour."""
    with pytest.raises(SystemExit):
        main(["--seconds", seconds])
    assert f"--seconds is {seconds}, expected 1 or more" in capsys.readouterr().err


def test_growth_is_the_slope_without_the_beginning() -> None:
    notes = [Note(30.0 * number, 0.0, 0.0) for number in range(1, 121)]
    values = [40.0 + 6.0 * note.video_s / 3600 for note in notes]
    assert growth(notes, values) == pytest.approx(6.0)
    assert growth(notes, [0.0] * 12 + values[12:]) == pytest.approx(6.0)  # caches fill
    assert growth(notes[:4], values[:4]) is None


def test_the_sound_is_as_long_as_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "long.wav", 9.5)
    sound, rate = soundfile.read(tmp_path / "long.wav")
    assert (rate, sound.shape) == (RATE, (round(9.5 * RATE), 2))
    assert np.abs(sound[:, 1] - 0.8 * sound[:, 0]).max() < 1e-4
