"""The corpus: what is wrong here is learnt by every mouth, and no error says so."""

from __future__ import annotations

import ctypes
import random
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.contract import SAMPLE_RATE

from export.speech.corpus import __main__ as command
from export.speech.corpus.__main__ import main
from export.speech.corpus.espeak import Espeak
from export.speech.corpus.festival import festival
from export.speech.corpus.flite import flite
from export.speech.corpus.native import WORDS, native
from export.speech.corpus.shard import Shard, Speak, Utterance, VoiceMissing, read_shard, save_shard
from export.speech.corpus.talk import RHYMES, rhymes, talk
from export.speech.corpus.voices import shards
from export.speech.corpus.world import Speaker, Studio, invent, put_together, take_apart
from export.speech.phonemes import ARTICULATIONS, classes_of

AS_IT_WAS = Speaker(
    tract=(1.0, 1.0, 1.0),
    pitch=1.0,
    liveliness=1.0,
    breath=0.0,
    tilt=0.0,
    pace=1.0,
    rhythm=0.2,
    creaks=0.0,
    whispers=0.0,
)


def revoice(utterance: Utterance, speaker: Speaker, seed: int) -> Utterance:
    """What `speaker` makes of an utterance in which a voice is heard."""
    take = take_apart(utterance)
    assert take is not None
    return put_together(take, "arpabet", speaker, seed)


def tones(phonemes: list[tuple[str, float, float]]) -> Utterance:
    """A buzzing vowel where the name is a vowel's, silence elsewhere: the borders can be heard."""
    time = np.arange(int(phonemes[-1][2] * SAMPLE_RATE)) / SAMPLE_RATE
    buzz = sum(np.sin(2 * np.pi * 130 * k * time) / k for k in range(1, 20))
    sound = np.zeros(len(time))
    for name, start, end in phonemes:
        if name == "aa":
            inside = (time >= start) & (time < end)
            sound[inside] = 0.2 * np.asarray(buzz)[inside]
    return Utterance(sound.astype(np.float32), phonemes)


PHONEMES = [
    ("pau", 0.0, 0.3),
    ("aa", 0.3, 0.55),
    ("p", 0.55, 0.68),
    ("aa", 0.68, 0.9),
    ("t", 0.9, 1.0),
    ("aa", 1.0, 1.3),
    ("pau", 1.3, 1.5),
]


@pytest.mark.parametrize("seed", range(4))
def test_a_made_up_speaker_keeps_the_phonemes_where_they_are_heard(seed: int) -> None:
    """Times that drift from the sound would teach lips that lag, whoever listens."""
    pytest.importorskip("pyworld")
    made = revoice(tones(PHONEMES), AS_IT_WAS, seed)
    assert [name for name, _, _ in made.phonemes] == [name for name, _, _ in PHONEMES]
    starts, ends = [a for _, a, _ in made.phonemes], [b for _, _, b in made.phonemes]
    assert starts[1:] == pytest.approx(ends[:-1])
    assert abs(ends[-1] - len(made.audio) / SAMPLE_RATE) < 0.02
    changed = [abs((b - a) - (d - c)) for (_, a, b), (_, c, d) in zip(made.phonemes, PHONEMES, strict=True)]
    assert max(changed) > 0.02, "the rhythm stayed the synthesiser's"
    level = np.sqrt(np.convolve(made.audio.astype(np.float64) ** 2, np.ones(240) / 240, "same"))
    loud = level > 0.25 * np.percentile(level, 90)
    for name, start, end in made.phonemes:
        middle = loud[int((start + 0.025) * SAMPLE_RATE) : int((end - 0.025) * SAMPLE_RATE)]
        if len(middle):
            assert middle.mean() > 0.9 if name == "aa" else middle.mean() < 0.1, (name, start, end)


def test_a_made_up_speaker_is_the_same_for_a_seed_and_another_for_another() -> None:
    """Who rebuilds the corpus must get the corpus; who asks for another speaker, another."""
    pytest.importorskip("pyworld")
    first, again = (revoice(tones(PHONEMES), invent(random.Random(3)), 5) for _ in range(2))
    np.testing.assert_array_equal(first.audio, again.audio)
    assert invent(random.Random(3)) != invent(random.Random(4))


def test_a_closure_is_not_hurried_away() -> None:
    """A p of 20 ms has no frame of its own: speakers who hurry would teach open lips."""
    pytest.importorskip("pyworld")
    hasty = AS_IT_WAS._replace(pace=0.4, rhythm=0.3)
    for seed in range(5):
        made = revoice(tones(PHONEMES), hasty, seed)
        assert all(end - start >= 0.0449 for name, start, end in made.phonemes if name == "p")


def test_silence_gives_no_speaker_anything_to_say() -> None:
    """A synthesiser's empty file is left out and stops nothing."""
    pytest.importorskip("pyworld")
    quiet = Utterance(np.zeros(SAMPLE_RATE, np.float32), [("pau", 0.0, 1.0)])
    assert take_apart(quiet) is None
    assert take_apart(Utterance(np.zeros(100, np.float32), [])) is None


def test_speakers_of_one_studio_say_the_same_in_their_own_ways() -> None:
    """Each takes what was said before from the studio: read twice or lost, the shards would not fit their seeds."""
    pytest.importorskip("pyworld")
    spoken = []

    def speak(texts: Iterator[str], rng: random.Random) -> Iterator[Utterance]:
        for text in texts:
            spoken.append(text)
            yield tones(PHONEMES) if text != "Nothing." else Utterance(np.zeros(SAMPLE_RATE, np.float32), PHONEMES)

    studio = Studio(speak, "arpabet", lambda seed: iter(["One.", "Nothing.", "Two.", "Three."]), seed=1)
    first = list(islice(studio.speak(iter(()), random.Random(1)), 2))
    other = list(studio.speak(iter(()), random.Random(2)))
    again = list(studio.speak(iter(()), random.Random(1)))
    assert spoken == ["One.", "Nothing.", "Two.", "Three."]
    assert len(other) == len(again) == 3
    np.testing.assert_array_equal(first[1].audio, again[1].audio)
    assert len(first[0].audio) != len(other[0].audio)


def test_a_missing_voice_is_missing_for_each_of_its_speakers() -> None:
    """The second speaker of a voice that is not installed ended the whole corpus: to him it had nothing to say."""
    pytest.importorskip("pyworld")

    def speak(texts: Iterator[str], rng: random.Random) -> Iterator[Utterance]:
        yield tones(PHONEMES)
        raise VoiceMissing("festival cannot speak with the voice 'x'")

    studio = Studio(speak, "arpabet", lambda seed: iter(()), seed=1)
    for seed in range(3):
        said = studio.speak(iter(()), random.Random(seed))
        assert next(said).phonemes
        with pytest.raises(VoiceMissing, match="with the voice 'x'"):
            next(said)


def nobody(texts: Iterator[str], rng: random.Random) -> Iterator[Utterance]:
    raise VoiceMissing("the program is not on the PATH")
    yield


def mute(texts: Iterator[str], rng: random.Random) -> Iterator[Utterance]:
    return iter(())


def hum(texts: Iterator[str], rng: random.Random) -> Iterator[Utterance]:
    yield tones(PHONEMES)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus of three voices, the first of which is missing and the second has nothing to say."""
    voices: list[tuple[str, Speak]] = [("flite_missing", nobody), ("recorded_mute", mute), ("festival_hum", hum)]
    listed = [Shard(name, "arpabet", 1.0, lambda seed: iter(()), speak) for name, speak in voices]
    monkeypatch.setattr(command, "shards", lambda: listed)
    monkeypatch.setattr(command, "write_negatives", lambda path, seconds, seed: path.touch() or seconds)
    monkeypatch.setattr(command, "write_music", lambda path, work, seconds: path.touch() or seconds)


@pytest.mark.usefixtures("few")
def test_voices_that_say_nothing_are_named_and_the_rest_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One actor of whose lines none fits the sound ended the command, and all that comes behind was never made."""
    assert main(["--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"festival_hum.npz", "negatives.npz", "negatives_music.npz"}
    said = capsys.readouterr().err
    assert "flite_missing: left out: the program is not on the PATH" in said
    assert "recorded_mute: left out: nothing usable was spoken" in said


@pytest.mark.usefixtures("few")
def test_only_is_the_beginning_of_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A slip of the pen made nothing and said so to nobody, or told who had all voices to install them."""
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), "--only", "festivall"])
    assert "--only is 'festivall', expected what a shard's name begins with" in capsys.readouterr().err
    assert main(["--out", str(tmp_path), "--only", "negatives_music"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["negatives_music.npz"]
    assert main(["--out", str(tmp_path), "--only", "flite"]) == 1
    assert "no voice could speak: install" in capsys.readouterr().err


class EmptyEspeak:
    """espeak-ng's library without its data."""

    def espeak_Initialize(self, *arguments: Any) -> int:
        return -1


def test_without_espeak_the_other_voices_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that does not load ended the command before any other voice spoke, and missing data the process."""

    def away(name: str) -> ctypes.CDLL:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", away)
    espeak = [shard for shard in shards() if shard.name.startswith("espeak")]
    assert len(espeak) > 40
    with pytest.raises(VoiceMissing, match=r"does not load: .*cannot open"):
        next(iter(espeak[0].speak(iter(["Hello."]), random.Random(0))))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: EmptyEspeak())
    with pytest.raises(VoiceMissing, match="none of its data"):
        next(Espeak().speak("en", iter(["Hello."]), random.Random(0)))


@pytest.mark.parametrize("speak", [partial(flite, "slt"), partial(festival, "kal_diphone")])
def test_a_synthesiser_that_hangs_is_a_missing_voice(speak: Speak, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine one late sentence ended the corpus of all other voices."""

    def late(command: list[str], **options: Any) -> None:
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "run", late)
    with pytest.raises(VoiceMissing, match=r"took more than \d+ s"):
        next(iter(speak(iter(["Hello."]), random.Random(0))))


def test_talk_is_the_same_for_a_seed_and_hardly_repeats() -> None:
    """A small list would be learnt by heart in place of the sounds."""
    first = list(islice(talk(1), 400))
    assert first == list(islice(talk(1), 400))
    assert first != list(islice(talk(2), 400))
    assert len(set(first)) > 330
    assert all(text[-1] in ".?!" and "|" not in text and "  " not in text for text in first)


def test_rhymes_set_the_lips_sounds_against_n_l_and_r() -> None:
    """Without these contrasts a word that begins with n, l or r after a pause closes the lips."""
    for words in RHYMES:
        assert {word[0].lower() for word in words} & set("pbmw"), words
    rng = random.Random(0)
    heard = " ".join(rhymes(rng) for _ in range(400)).lower().replace(",", "").split()
    for letter in "pbmfvwnlr":
        assert sum(word[0] == letter for word in heard) > 25, letter


def test_every_language_has_words_enough_and_unknown_ones_are_named() -> None:
    """A misspelt language must be found when the corpus is listed, not after an hour of speech."""
    for language in WORDS:
        assert len(set(WORDS[language].split())) > 90, language
        assert next(native(language)(1)) == next(native(language)(1))
    with pytest.raises(KeyError, match="klingon"):
        native("klingon")


@pytest.mark.parametrize(
    ("phoneme", "alphabet", "expected"),
    [
        ("mm", "russian", "bilabial"),
        ("vv", "russian", "labiodental"),
        ("pau", "russian", "silence"),
        ("ay", "russian", "AX"),
        ("tt", "russian", "alveolar"),
        ("s~", "letters", "postalveolar"),
        ("@", "letters", "AE"),
        ("7", "letters", "OW"),
        ("m:", "letters", "bilabial"),
    ],
)
def test_phonemes_of_the_native_voices(phoneme: str, alphabet: str, expected: str) -> None:
    """Russian "ay" is a reduced a, not the English diphthong: the wrong table opens the lips."""
    assert classes_of(phoneme, alphabet) == (expected,)
    assert expected in ARTICULATIONS


def test_a_shard_of_nothing_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    """An empty shard would stop the training hours later."""
    with pytest.raises(ValueError, match=r"nothing usable was spoken for x\.npz"):
        save_shard(tmp_path / "x.npz", [Utterance(np.zeros(10, np.float32), [])], "arpabet", 1.0)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_the_command_writes_what_is_missing_and_only_that(tmp_path: Path) -> None:
    """A corpus that starts again from the beginning cannot be stopped."""
    pytest.importorskip("pyworld")
    arguments = ["--out", str(tmp_path), "--scale", "0.01", "--only", "flite_kal16"]
    assert main(arguments) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"flite_kal16.npz", "flite_kal16-talk.npz"}
    before = (tmp_path / "flite_kal16.npz").stat().st_mtime_ns
    (tmp_path / "flite_kal16-talk.npz").unlink()
    assert main(arguments) == 0
    assert (tmp_path / "flite_kal16.npz").stat().st_mtime_ns == before
    for utterance, alphabet in read_shard(tmp_path / "flite_kal16-talk.npz"):
        assert alphabet == "arpabet"
        assert utterance.phonemes[-1][2] <= len(utterance.audio) / SAMPLE_RATE + 0.4
