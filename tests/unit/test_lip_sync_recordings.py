"""Whose voice the judge hears and what it takes for said: a wrong transcript would be blamed on the mouth."""

from __future__ import annotations

import io
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from facestream.contract import SAMPLE_RATE

from export.speech.aligner import fault_of
from export.speech.pronunciation import arpabet, pronounce
from perf.lip_sync import folder_set, recordings
from perf.lip_sync.__main__ import main
from perf.lip_sync.alignment import Alignments
from perf.lip_sync.recordings import SPEAKERS, SPLITS, Speaker, every, fetch, game, spaced


def test_every_voice_is_in_one_split_and_both_sexes_are_in_each_that_decides() -> None:
    assert len({speaker.name for speaker in SPEAKERS}) == len(SPEAKERS)
    assert {speaker.split for speaker in SPEAKERS} == set(SPLITS)
    for split in ("dev", "test"):
        assert {speaker.sex for speaker in SPEAKERS if speaker.split == split} == {"f", "m"}
    for speaker in SPEAKERS:
        assert f"| {speaker.split} | {speaker.name} | {speaker.sex} |" in (recordings.__doc__ or "")


def test_digits_are_read_one_by_one() -> None:
    assert spaced("Press 1 or 20.").split() == ["Press", "one", "or", "two", "zero", "."]


def test_a_choice_is_spread_over_all_and_repeats_no_wording() -> None:
    items = [(f"{index:02d}", f"words {index // 2}") for index in range(20)]
    chosen = every(items, 4)
    assert len(chosen) == len({words for _, words in chosen}) == 4
    assert chosen == sorted(chosen)
    assert every(items, 50) == [(f"{2 * index:02d}", f"words {index}") for index in range(10)]


def dialogue(key: int, texts: list[tuple[int, str]]) -> bytes:
    body = struct.pack(">8h", 1, 1, key, 1, 1, 0, 0, 0)
    for number, text in texts:
        body += b"\0" * 2 + struct.pack(">HB", number, len(text)) + text.encode()
    return b"AmBk" + b"\0" * 16 + body + b"\0"


def test_a_line_of_the_game_is_found_with_its_sound_and_its_speaker(tmp_path: Path) -> None:
    """The words of the answer must not be taken for Joe's, nor the second sentence's for the first's."""
    sound = io.BytesIO()
    soundfile.write(sound, np.zeros(11025, np.float32), 11025, format="WAV")
    question, answer = (
        "How far is the river from this old camp?*03",
        "Far away, my dear friend, very far.*02I have been there twice before.*03",
    )
    files = {"BOB1.DOG": dialogue(6, [(8, question), (8, answer)])}
    files |= {name: sound.getvalue() for name in ("060008J1.SB", "060008P1.SB", "060008P2.SB")}
    header, offset = b"QTBLCEM10\0\0\0\1" + struct.pack(">H", len(files)), 15 + 21 * len(files)
    table, data = b"", b""
    for name, content in files.items():
        table += name.encode().ljust(12, b"\0") + b"\1" + struct.pack(">II", offset + len(data), len(content))
        data += content
    folder = tmp_path / "flight-of-the-amazon-queen-deb/usr/share/scummvm/flight-of-the-amazon-queen"
    folder.mkdir(parents=True)
    (folder / "queen.1c").write_bytes(header + table + data)

    joe = list(game("J", ("",), 9)(tmp_path))
    assert [(name, words) for name, _, words in joe] == [("060008J1", "How far is the river from this old camp?")]
    assert len(joe[0][1]) == SAMPLE_RATE
    bob = list(game("P", ("BOB",), 9)(tmp_path))
    assert [name for name, _, _ in bob] == ["060008P1", "060008P2"]
    assert bob[1][2] == "I have been there twice before."


def test_a_source_that_is_not_to_be_had_is_left_out_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def good(_: Path) -> recordings.Recordings:
        yield "one", np.full(SAMPLE_RATE, 2.0, np.float32), "one"

    def missing(_: Path) -> recordings.Recordings:
        yield "one", np.zeros(SAMPLE_RATE, np.float32), "one"
        raise FileNotFoundError("npm is not on this machine")

    speakers = (Speaker("here", "dev", "f", "en-us", good), Speaker("away", "test", "m", "en-us", missing))
    monkeypatch.setattr(recordings, "SPEAKERS", speakers)
    assert [speaker.name for speaker in fetch(tmp_path)] == ["here"]
    assert "away: left out: npm is not on this machine" in capsys.readouterr().err
    assert not (tmp_path / "voices/test/away").exists()
    assert (tmp_path / "voices/dev/here/one.txt").read_text() == "one\n"
    assert fetch(tmp_path)[0].name == "here"  # a second time it is there


def test_sounds_of_other_languages_keep_what_the_lips_do() -> None:
    assert arpabet("bˈueno") == ["B", "UW", "EY", "N", "OW"]
    assert arpabet("pʁezɑ̃tmˈɑ̃") == ["P", "HH", "EY", "Z", "AA", "N", "T", "M", "AA", "N"]
    assert arpabet("dʒˈɛnte") == ["JH", "EH", "N", "T", "EY"]
    assert arpabet("hˈɒbɪts") == ["HH", "AO", "B", "IH", "T", "S"]
    assert arpabet("ˈaβe") == ["AA", "W", "EY"]


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng: apt-get install espeak-ng")
def test_each_word_is_pronounced_as_if_it_stood_alone() -> None:
    """Words that ran into each other would move every phoneme behind them to another word's sound."""
    for language, words in {"fr": ["les", "amis", "un", "homme"], "cs": ["se", "s", "ním", "přece"]}.items():
        assert pronounce(words, language) == [pronounce([word], language)[0] for word in words]
    assert pronounce([], "fr") == []
    with pytest.raises(ValueError, match="says nothing for"):
        pronounce(["amis", "..."], "fr")
    with pytest.raises(ValueError, match="'qqq'"):
        pronounce(["amis"], "qqq")


def test_a_folder_is_taken_whatever_wrote_its_endings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recorders write REC1.WAV: the judge heard none of them, and said nothing of those without words."""
    for name in ("REC1.WAV", "REC2.WAV", "c.flac", "alone.wav"):
        soundfile.write(tmp_path / name, np.zeros(100, np.float32), 8000, format=name.rpartition(".")[2].upper())
    for name in ("REC1.txt", "REC2.TXT", "c.txt", "notes.txt"):
        (tmp_path / name).write_text(f"{name} says")
    found = {path.name: words for path, words in folder_set(tmp_path)}
    assert found == {"REC1.WAV": "REC1.txt says", "REC2.WAV": "REC2.TXT says", "c.flac": "c.txt says"}
    assert "alone.wav: left out: there is no alone.txt" in capsys.readouterr().err
    (tmp_path / "c.txt").write_bytes("grün".encode("latin-1"))
    with pytest.raises(ValueError, match=r"c\.txt is no text in UTF-8"):
        folder_set(tmp_path)


def test_recordings_that_cannot_be_judged_are_named_and_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One broken file ended the judgement of a hundred; a number in figures lent its sound to the words beside it."""
    said: list[tuple[str, float, float]] = [("AA", 0.0, 1.0)]
    monkeypatch.setattr(Alignments, "_align", lambda self, audio, text, language: said)
    sound = np.full(SAMPLE_RATE, 0.1, np.float32)
    soundfile.write(tmp_path / "good.wav", sound, SAMPLE_RATE)
    soundfile.write(tmp_path / "number.wav", sound, SAMPLE_RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "nan.wav", np.where(np.arange(len(sound)) == 9, np.nan, sound), SAMPLE_RATE, "FLOAT")
    entries = [(tmp_path / f"{name}.wav", "ah") for name in ("broken", "nan", "good")]
    alignments = Alignments(tmp_path / "alignments.json")
    assert [clip.name for clip in alignments.clips([*entries, (tmp_path / "number.wav", "ah 20")])] == ["good"]
    told = capsys.readouterr().err
    assert "broken.wav: left out: Error opening" in told
    assert "nan.wav: left out: it has samples that are no numbers" in told
    assert "number.wav: left out: its words have the number 20, expected numbers to be written as words" in told


def test_a_folder_that_is_none_is_told_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(SystemExit):
            main(["--clips", str(folder), "--work", str(tmp_path / "work")])
        assert f"{folder}" in capsys.readouterr().err.splitlines()[-1]
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    (tmp_path / "broken.txt").write_text("nothing is left")
    with pytest.raises(SystemExit):
        main(["--clips", str(tmp_path), "--work", str(tmp_path / "work")])
    assert "no recording of 'clips' could be fetched and aligned: see above" in capsys.readouterr().err


def test_a_transcript_that_leaves_words_out_is_not_believed() -> None:
    rng = np.random.default_rng(0)
    audio = (0.1 * rng.standard_normal(2 * SAMPLE_RATE)).astype(np.float32)
    assert fault_of(audio, [("AA", 0.0, 2.0)]) is None
    assert "outside of the words" in str(fault_of(audio, [("AA", 0.0, 1.0), ("SIL", 1.0, 2.0)]))
    assert fault_of(audio, [("AA", 0.0, 1.4), ("T", 1.4, 2.0)]) == "T would last 0.60 s"
