"""Real music in the corpus: what the mouth learns to rest through, beside what a synthesiser makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from facestream.contract import SAMPLE_RATE

from export.speech.corpus import music
from export.speech.corpus.shard import LONGEST_SECONDS, read_shard


def piece(path: Path, seconds: float, rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    soundfile.write(path, np.stack([tone, tone], 1), rate, format="OGG")


def test_the_shard_is_nothing_but_silences_of_music(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A word taught as silence would hold the mouth shut while somebody speaks: spoken tracks stay out."""
    for package, folder in music.PACKAGES.items():
        piece(tmp_path / package / folder / "track1.ogg", 40.0, 44100)
        piece(tmp_path / package / folder / "track29.ogg", 20.0, 44100)
        piece(tmp_path / package / folder / "short.ogg", 3.0, 22050)
    monkeypatch.setattr(music, "debian_package", lambda work, name: work / name)
    seconds = music.write_music(tmp_path / "negatives_music.npz", tmp_path, 1e9)
    read = [utterance for utterance, _ in read_shard(tmp_path / "negatives_music.npz")]
    assert len(read) == len(music.PACKAGES) * (3 + 1)  # three whole excerpts fit into 40 s
    assert seconds == pytest.approx(len(music.PACKAGES) * (3 * music.EXCERPT_SECONDS + 3.0), abs=0.1)
    assert music.EXCERPT_SECONDS < LONGEST_SECONDS
    for utterance in read:
        ((name, start, end),) = utterance.phonemes
        assert (name, start) == ("pau", 0.0)
        assert end == pytest.approx(len(utterance.audio) / SAMPLE_RATE)
        assert 0.08 < np.abs(utterance.audio).max() < 0.12


def test_without_packages_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a machine without Debian's archive the corpus goes on without music, and says so."""

    def unreachable(work: Path, name: str) -> Path:
        raise subprocess.CalledProcessError(100, ["apt-get", "download", name])

    monkeypatch.setattr(music, "debian_package", unreachable)
    with pytest.raises(ValueError, match=r"negatives_music\.npz"):
        music.write_music(tmp_path / "negatives_music.npz", tmp_path, 60.0)
    assert not (tmp_path / "negatives_music.npz").exists()
    assert "drascula-music: left out" in capsys.readouterr().err
