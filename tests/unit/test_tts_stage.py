"""The model tts without Triton: voices, engines, and sound with emotions out of text."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import piper_voices
import pytest
from facestream.contract import CHUNK_SAMPLES, SAMPLE_RATE
from facestream.errors import BadInput
from facestream.parameters import EMOTIONS
from numpy.typing import NDArray
from piper_voices import PiperEngine, parts
from speeches import Answer, Speeches
from spoken_text import MAX_SECONDS, speak
from synthesizer import EngineMissing
from turns import InTurn, Turns
from voice_list import ENGINE_VARIABLE, Voices, engines, load_engine

from export.ensembles import REPOSITORY
from tests.piper_voice import SYMBOLS, add_voice
from tests.unit.triton_stub import StubRequest, StubTriton

NONE = np.zeros(len(EMOTIONS), np.float32)
HAPPY = np.eye(len(EMOTIONS), dtype=np.float32)[EMOTIONS.index("happy")]


class Tone:
    """A voice that gives 1000 samples for each character, in blocks, and counts what it was asked for."""

    def __init__(self, sample_rate: int = SAMPLE_RATE, level: float = 0.5) -> None:
        self.sample_rate = sample_rate
        self.level = level
        self.texts: list[str] = []
        self.blocks = 0

    def synthesize(self, text: str, speed: float) -> Iterator[NDArray[np.float32]]:
        self.texts.append(text)
        for _ in text:
            self.blocks += 1
            yield np.full(round(1000 / speed), self.level, np.float32)


def test_chunks_are_of_one_frame_and_none_is_lost() -> None:
    voice = Tone()
    chunks = list(speak("abc. Def", voice, 1.0, NONE))
    assert all(sound.shape == (CHUNK_SAMPLES,) and sound.dtype == np.float32 for sound, _ in chunks)
    sound = np.concatenate([sound for sound, _ in chunks])
    assert voice.texts == ["abc.", "Def"]
    assert len(chunks) == -(-7000 // CHUNK_SAMPLES)
    np.testing.assert_allclose(sound[:7000], 0.5)
    np.testing.assert_array_equal(sound[7000:], 0)


@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000])
def test_other_rates_become_24_khz(rate: int) -> None:
    """A voice at the wrong rate speaks like a mouse."""
    sound = np.concatenate([sound for sound, _ in speak("abcdefgh", Tone(rate), 1.0, NONE)])
    assert abs(np.count_nonzero(np.abs(sound) > 0.25) - 8000 * SAMPLE_RATE / rate) < 20


def test_first_chunk_leaves_before_the_sentence_is_done() -> None:
    voice = Tone()
    next(speak("x" * 100, voice, 1.0, NONE))
    assert voice.blocks <= 2


def test_an_emotion_begins_with_the_first_chunk_of_its_words() -> None:
    chunks = list(speak("abcd [happy] efgh", Tone(), 1.0, NONE))
    change = next(index for index, (_, emotion) in enumerate(chunks) if emotion.any())
    assert change == 4000 // CHUNK_SAMPLES
    np.testing.assert_array_equal(chunks[0][1], NONE)
    np.testing.assert_array_equal(chunks[-1][1], HAPPY)
    np.testing.assert_array_equal(next(speak("[happy] a", Tone(), 1.0, NONE))[1], HAPPY)
    assert list(speak("[happy]", Tone(), 1.0, NONE)) == []


def test_pauses_are_as_long_as_they_say() -> None:
    sound = np.concatenate([sound for sound, _ in speak("a [pause 0.25] [pause 1.5] b", Tone(), 1.0, NONE)])
    np.testing.assert_array_equal(sound[1000 : 1000 + round(1.75 * SAMPLE_RATE)], 0)
    assert sound[1000 + round(1.75 * SAMPLE_RATE)] == 0.5


def test_nobody_gets_hours_out_of_one_request() -> None:
    """A client that does not read makes the server hold it all."""
    found: list[object] = []
    with pytest.raises(BadInput, match="more than 300 s to speak"):
        found.extend(speak("[pause 10]" * 40, Tone(), 1.0, NONE))
    assert len(found) <= MAX_SECONDS * SAMPLE_RATE / CHUNK_SAMPLES


def test_a_wrong_mark_is_told_before_any_sound() -> None:
    voice = Tone()
    with pytest.raises(BadInput, match="hapy"):
        next(speak("Hello. [hapy] You.", voice, 1.0, NONE))
    assert voice.texts == []


# --- the end of an answer -------------------------------------------------------------------------------------------


class Sender:
    """Records what a request was answered with; the final flag as "end"."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.gone = False

    def send(self, response: Any = None, flags: int = 0) -> None:
        self.sent += [part for part in (response, "end" if flags else None) if part is not None]

    def is_cancelled(self) -> bool:
        return self.gone


@pytest.fixture
def senders(monkeypatch: pytest.MonkeyPatch) -> list[Sender]:
    module = types.SimpleNamespace(TRITONSERVER_RESPONSE_COMPLETE_FINAL=1)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", module)
    return [Sender() for _ in range(3)]


def test_nothing_is_sent_behind_the_end_of_an_answer(senders: list[Sender]) -> None:
    """Triton's stub dies of it."""
    answer = Answer(senders[0])
    assert answer.send("sound")
    assert not answer.abandoned()
    answer.end()
    assert answer.abandoned()
    assert not answer.send("late")
    answer.end("error")
    assert senders[0].sent == ["sound", "end"]
    refused = Answer(senders[1])
    refused.end("error")
    assert senders[1].sent == ["error", "end"]
    senders[2].gone = True
    assert Answer(senders[2]).abandoned()


def test_a_stop_frees_the_place_of_a_text_that_waits(senders: list[Sender]) -> None:
    """All workers may be busy with voices that hang: a text that waits behind them must not keep its place."""
    speeches, places = Speeches(), threading.BoundedSemaphore(3)
    hang, begun = threading.Event(), threading.Event()

    def stuck() -> None:
        begun.set()
        hang.wait(10)

    with ThreadPoolExecutor(1) as workers:
        answers = [Answer(sender) for sender in senders]
        for number, answer in enumerate(answers):
            places.acquire()
            job = workers.submit(stuck)
            job.add_done_callback(lambda _: places.release())
            speeches.add(7 if number < 2 else 8, answer, job)
        assert begun.wait(10)
        speeches.stop(7)
        speeches.stop(7)
        speeches.stop(9)
        assert [sender.sent for sender in senders] == [["end"], ["end"], []]
        assert places.acquire(blocking=False), "the waiting text's place"
        assert not places.acquire(blocking=False), "the one that is spoken still has its worker"
        hang.set()
    assert not speeches._live, "numbers of speeches that are over would pile up"


# --- texts at a time ------------------------------------------------------------------------------------------------


def test_turns_are_taken_in_the_order_of_asking() -> None:
    """Who has just had one would come before those who wait, and a long text before all others."""
    turns, order = Turns(1), list[int]()
    first = threading.Event()

    def take(number: int) -> None:
        with turns.turn():
            order.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(5)]
    with turns.turn():
        for number, thread in enumerate(threads):
            thread.start()
            while len(turns._waiting) <= number:
                first.wait(0.001)
    take(5)
    for thread in threads:
        thread.join(10)
    assert order == [0, 1, 2, 3, 4, 5]
    take(6)
    assert turns._free == 1


def test_a_voice_that_fails_gives_its_turn_back() -> None:
    class Broken(Tone):
        def synthesize(self, text: str, speed: float) -> Iterator[NDArray[np.float32]]:
            yield np.zeros(800, np.float32)
            raise BadInput("espeak-ng crashed")

    turns = Turns(1)
    for _ in range(3):
        with pytest.raises(BadInput):
            list(InTurn(Broken(), turns).synthesize("a", 1.0))
    assert len(list(InTurn(Tone(), turns).synthesize("abc", 1.0))) == 3


class TextRequest(StubRequest):
    """A request of the model tts."""

    def __init__(self, text: str) -> None:
        super().__init__(0, {"TEXT": np.frombuffer(text.encode().ljust(64, b"\0"), np.uint8)[None]})
        self.sender = Sender()

    def get_response_sender(self) -> Sender:
        return self.sender


def test_a_short_text_does_not_wait_for_long_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 60 long texts a client kept everybody else waiting for 40 s, and after 20 s they give up."""
    triton = StubTriton().module()
    triton.__dict__["TRITONSERVER_RESPONSE_COMPLETE_FINAL"] = 1
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", triton)
    spec = importlib.util.spec_from_file_location("tts_stage", REPOSITORY / "tts" / "1" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    at_work = threading.BoundedSemaphore(module.AT_A_TIME)

    class Slow(Tone):
        def synthesize(self, text: str, speed: float) -> Iterator[NDArray[np.float32]]:
            for _ in range(5000 if text == "long" else 1):
                assert at_work.acquire(blocking=False), "more voices speak at a time than an engine is asked to bear"
                time.sleep(0.002)
                at_work.release()
                yield np.zeros(800, np.float32)

    class Engine:
        def voice(self, name: str) -> Slow:
            return Slow()

        def names(self) -> list[str]:
            return ["slow"]

    monkeypatch.setattr(module, "engines", lambda: [Engine()])
    stage = module.TritonPythonModel()
    stage.initialize({"model_config": json.dumps({"parameters": {"DEFAULT_VOICE": {"string_value": "slow"}}})})
    try:
        long, short = [TextRequest("long") for _ in range(60)], TextRequest("short")
        stage.execute(long)
        stage.execute([short])
        deadline = time.monotonic() + 10.0
        while "end" not in short.sender.sent and time.monotonic() < deadline:
            time.sleep(0.01)
        assert short.sender.sent[-1:] == ["end"]
        assert not any("end" in request.sender.sent for request in long)
    finally:
        stage.finalize()


# --- voices -----------------------------------------------------------------------------------------------------


class Shelf:
    """An engine with the voices it is given."""

    def __init__(self, *names: str, missing: bool = False) -> None:
        self._names = names
        self._missing = missing

    def voice(self, name: str) -> Tone | None:
        if self._missing:
            raise EngineMissing("shelf is not installed: pip install shelf")
        if name == "broken":
            raise ValueError("broken.onnx cannot be loaded")
        return Tone() if name in self._names else None

    def names(self) -> list[str]:
        return list(self._names)


def test_voices_by_name() -> None:
    voices = Voices("b", [Shelf("a"), Shelf("b")])
    assert voices.find("a")
    assert voices.find("")
    with pytest.raises(BadInput, match="voice 'c' is not here; expected one of a, b"):
        voices.find("c")
    with pytest.raises(BadInput, match=r"voice 'broken': broken\.onnx cannot be loaded"):
        voices.find("broken")


def test_an_engine_that_is_not_installed_stops_only_its_own_voices() -> None:
    voices = Voices("b", [Shelf("a"), Shelf(missing=True)])
    assert voices.find("a")
    with pytest.raises(EngineMissing, match="pip install shelf"):
        voices.find("")


def test_an_engine_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cloud voice, or a bigger network: one file, and nothing of the repository is touched."""
    file = tmp_path / "mine.py"
    file.write_text(
        "class Mine:\n"
        "    sample_rate = 24000\n"
        "    def voice(self, name): return self if name == 'mine' else None\n"
        "    def names(self): return ['mine']\n"
        "    def synthesize(self, text, speed): yield from ()\n"
    )
    monkeypatch.setenv(ENGINE_VARIABLE, f"{file}:Mine")
    assert type(Voices("", engines()).find("mine")).__name__ == "Mine"
    for wrong in (f"{file}:Other", f"{tmp_path}/none.py:Mine", "Mine", ""):
        with pytest.raises(ValueError, match=ENGINE_VARIABLE):
            load_engine(wrong)


# --- espeak-ng --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def espeak() -> Any:
    """The module `espeak_voices`, where the library is installed."""
    pytest.importorskip("espeakng_loader", reason="espeak-ng is an extra: pip install -e '.[tts]'")
    import espeak_voices

    return espeak_voices


def said(espeak: Any, text: str, voice: str = "en-us", speed: float = 1.0) -> NDArray[np.float32]:
    found = espeak.EspeakEngine().voice(voice)
    return np.concatenate([np.zeros(0, np.float32), *found.synthesize(text, speed)])


def test_espeak_speaks(espeak: Any) -> None:
    sound = said(espeak, "Hello world, how are you today?")
    assert 1.5 < len(sound) / 22_050 < 3.5
    assert 0.2 < np.abs(sound).max() <= 1.0
    assert len(said(espeak, "Hello world, how are you today?", speed=2.0)) < 0.7 * len(sound)


def test_espeak_pauses_behind_a_sentence_only(espeak: Any) -> None:
    """Sentence by sentence, the pauses between them would be lost; at a cut in mid-sentence there must be none."""
    assert not said(espeak, "Hello there.")[-4000:].any()
    assert said(espeak, "Hello there,")[-1000:].any()


def test_espeak_knows_its_voices(espeak: Any) -> None:
    engine = espeak.EspeakEngine()
    assert {"en-us", "en-gb", "de", "fr-fr", "es", "zh"} <= set(engine.names())
    for name in engine.names():
        assert len(said(espeak, "1.", name)), name
    assert engine.voice("en-us+f3") is not None
    for name in ("xx", "en-us+nobody", "mb-de1", "../../etc/passwd", ""):
        assert engine.voice(name) is None


def test_espeak_gives_sound_before_the_end(espeak: Any) -> None:
    sound = espeak.EspeakEngine().voice("en-us").synthesize("A long sentence goes on and on. " * 9, 1.0)
    assert len(next(sound)) < 22_050 / 10
    sound.close()
    assert len(said(espeak, "Hi.")) < 22_050  # the engine is free again


def test_texts_of_two_users_do_not_mix(espeak: Any) -> None:
    """The library is one engine for the process: voice, rate and callback are global."""
    wanted = {"en-us": "My name is Ada, and I like numbers.", "de": "Ich wohne in Berlin.", "fr-fr": "Bonjour, ça va?"}
    alone = {voice: said(espeak, text, voice) for voice, text in wanted.items()}
    found: list[tuple[str, NDArray[np.float32]]] = []

    def talk(voice: str) -> None:
        for _ in range(6):
            found.append((voice, said(espeak, wanted[voice], voice)))

    threads = [threading.Thread(target=talk, args=(voice,)) for voice in wanted for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 36
    for voice, sound in found:
        # It never says a text twice alike to the sample, but to a hundredth of its length and loudness.
        assert abs(len(sound) - len(alone[voice])) < 0.02 * len(alone[voice])
        assert np.corrcoef(loudness(sound), loudness(alone[voice]))[0, 1] > 0.95


def loudness(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """[60], over the length of the sound."""
    return np.array([np.sqrt(np.mean(part**2)) for part in np.array_split(sound, 60)], np.float32)


def test_espeak_survives_any_text(espeak: Any) -> None:
    """A crash of the engine is a crash of the stage, for all users."""
    rng = np.random.default_rng(3)
    for _ in range(60):
        points = rng.choice([0x20, 0x41, 0x7F, 0x300, 0x4E00, 0x600, 0x1F600, 0x10FFFD, 0x200D, 0x5B], 40)
        text = "".join(chr(int(point) + int(rng.integers(0, 60))) for point in points if point < 0x10FF00)
        assert len(said(espeak, text)) < 22_050 * 120
    assert len(said(espeak, "<voice name='de'><mark name=''/>&amp; \\ %s %n {} [[h@l'oU]]")) < 22_050 * 30


def test_a_text_that_crashes_espeak_is_refused_and_the_next_is_spoken(espeak: Any) -> None:
    """Version 1.52 dies of words in several alphabets of India; the stage, and all sessions with it, must not."""
    process = espeak.EspeakProcess()
    list(process.speak("Hello.", "en-us", 175))
    process._process.kill()  # in place of the crash itself, which no version promises
    process._process.wait()
    assert list(process.speak("Hello.", "en-us", 175))
    sound = process.speak("Hello, who is there? " * 100, "en-us", 80)
    next(sound)
    process._process.kill()
    with pytest.raises(BadInput, match="espeak-ng crashed at 'Hello"):
        list(sound)
    assert list(process.speak("Hello.", "en-us", 175))


def test_a_text_that_takes_for_ever_is_given_up(tmp_path: Path) -> None:
    from espeak_voices import EspeakProcess

    program = tmp_path / "stuck.py"
    hello = {"sample_rate": 22_050, "languages": ["en"], "variants": []}
    program.write_text(
        "import json, struct, sys, time\n"
        f"hello = json.dumps({hello}).encode()\n"
        "sys.stdout.buffer.write(struct.pack('<cI', b'V', len(hello)) + hello)\n"
        "sys.stdout.flush()\n"
        "time.sleep(60)\n"
    )
    process = EspeakProcess(program, seconds=2.0)
    with pytest.raises(BadInput, match="espeak-ng did not come to its end at 'Hello'"):
        list(process.speak("Hello", "en", 175))


def test_without_espeak_the_remedy_is_told(tmp_path: Path) -> None:
    import espeak_process
    from espeak_voices import EspeakProcess

    program = tmp_path / "hidden.py"
    text = Path(espeak_process.__file__).read_text()
    program.write_text(
        text.replace("import espeakng_loader", "raise ModuleNotFoundError").replace(
            'find_library("espeak-ng")', 'find_library("no-such-library")'
        )
    )
    with pytest.raises(EngineMissing, match=r"not installed: pip install -e '\.\[tts\]'"):
        EspeakProcess(program).hello()
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(1)")
    with pytest.raises(EngineMissing, match="does not start"):
        EspeakProcess(broken).hello()


# --- Piper ------------------------------------------------------------------------------------------------------


def spell(text: str, voice: str) -> str:
    """In place of espeak-ng: the letters themselves."""
    assert voice == "en-us"
    return text.lower()


@pytest.fixture
def piper(tmp_path: Path) -> PiperEngine:
    pytest.importorskip("onnxruntime")
    add_voice(tmp_path, "en_US-tiny-low")
    return PiperEngine(tmp_path, spell)


def test_piper_is_given_padded_phonemes_and_punctuation(piper: PiperEngine) -> None:
    """VITS voices are trained on exactly this layout; another one is babble."""
    voice = piper.voice("en_US-tiny-low")
    assert voice is not None
    ids = [SYMBOLS[number] for number in voice.phoneme_ids("Ab, c 3.5? Ü")]  # no digits here
    assert "".join(ids[::2]) == "^ab, c .?u$"
    assert set(ids[1::2]) == {"_"}
    (sound,) = list(voice.synthesize("ab", 1.0))
    np.testing.assert_allclose(np.unique(sound), [SYMBOLS.index(s) / 100 for s in "_^$ab"], atol=1e-6)
    assert len(sound) == 7 * 100  # ^ _ a _ b _ $


def test_piper_is_not_stopped_within_a_sentence(tmp_path: Path) -> None:
    """'Doctor. Smith' it said, with a pause, and 'drei. Mai'; and it ran on behind a quotation's end."""
    pytest.importorskip("onnxruntime")
    add_voice(tmp_path, "tiny")
    asked: list[str] = []

    def spell_alone(text: str, voice: str) -> str:
        asked.append(text)
        return "ab"

    voice = PiperEngine(tmp_path, spell_alone).voice("tiny")
    assert voice is not None
    ids = voice.phoneme_ids('On May 3. Mr. J. Ba said, "Yes," and "No."')
    assert asked == ["On May 3. Mr. J. Ba said", '"Yes', 'and "No']
    assert "".join(SYMBOLS[number] for number in ids[::2]) == "^ab, ab, ab.$"
    *_, pause = list(voice.synthesize('He said "ab."', 1.0))
    assert not pause.any()


def test_piper_speed_and_pause(piper: PiperEngine) -> None:
    voice = piper.voice("en_US-tiny-low")
    assert voice is not None
    assert [len(part) for part in voice.synthesize("ab", 2.0)] == [7 * 50]
    *_, pause = list(voice.synthesize("ab.", 1.0))
    assert not pause.any()
    assert len(pause) == round(0.25 * voice.sample_rate)


def test_piper_speaks_a_long_sentences_first_clause_by_itself(piper: PiperEngine) -> None:
    """It gives no sound before it has all of it: the first clause must not wait for the last."""
    text = "Well then, let us see what comes of it, and whether anybody minds it at all"
    assert parts(text) == ["Well then, let us see what comes of it,", "and whether anybody minds it at all"]
    assert parts("Short, it is.") == ["Short, it is."]
    assert parts("x" * 200) == ["x" * 200]


def test_piper_voices_with_several_speakers(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    add_voice(tmp_path, "many", speakers=3)
    engine = PiperEngine(tmp_path, spell)
    heights = []
    for name in ("many", "many#1", "many#person2"):
        voice = engine.voice(name)
        assert voice is not None
        heights.append(float(next(voice.synthesize("a", 1.0))[0]))
    np.testing.assert_allclose(heights, [0.01, 0.11, 0.21], atol=1e-6)
    with pytest.raises(ValueError, match="speaker '7' is none; expected 0 to 2 or a name such as person0"):
        engine.voice("many#7")


def test_a_voice_in_letters_needs_no_espeak(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    add_voice(tmp_path, "letters", phoneme_type="text", espeak={})
    voice = PiperEngine(tmp_path, lambda text, voice: pytest.fail("asked espeak-ng")).voice("letters")
    assert voice is not None
    assert len(next(voice.synthesize("ab", 1.0))) == 700


def test_a_new_voice_is_found_while_the_server_runs(piper: PiperEngine, tmp_path: Path) -> None:
    assert piper.voice("new") is None
    add_voice(tmp_path, "new")
    assert piper.voice("new") is not None
    assert list(piper.names()) == ["en_US-tiny-low", "new"]


def test_broken_voices_are_told(tmp_path: Path) -> None:
    """The user has put these files there; the message must say which one is wrong and how."""
    pytest.importorskip("onnxruntime")
    engine = PiperEngine(tmp_path, spell)
    add_voice(tmp_path, "alone").with_suffix(".onnx.json").unlink()
    add_voice(tmp_path, "text").with_suffix(".onnx.json").write_text("no json")
    add_voice(tmp_path, "empty").with_suffix(".onnx.json").write_text("{}")
    add_voice(tmp_path, "thai", phoneme_type="thai")
    add_voice(tmp_path, "cut").write_bytes(b"no onnx")
    add_voice(tmp_path, "speakers", num_speakers=2)
    add_voice(tmp_path, "rate", audio={"sample_rate": 0})
    add_voice(tmp_path, "one")
    for name, told in {
        "alone": "no alone.onnx.json beside it",
        "text": "text.onnx.json is no JSON",
        "empty": "empty.onnx.json is no configuration of a Piper voice: it lacks 'audio'",
        "thai": "phoneme_type is 'thai'; expected 'espeak' or 'text'",
        "cut": "cut.onnx cannot be loaded",
        "speakers": "takes input, input_lengths, scales; expected input, input_lengths, scales, sid",
        "rate": "audio.sample_rate is 0",
        "one#2": "has one speaker",
    }.items():
        with pytest.raises(ValueError, match=re.escape(told)):
            engine.voice(name)


def test_piper_with_espeaks_phonemes(espeak: Any, tmp_path: Path) -> None:
    """The two engines together: text to IPA to sound."""
    pytest.importorskip("onnxruntime")
    add_voice(tmp_path, "tiny")
    voice = PiperEngine(tmp_path, espeak.espeak().phonemes).voice("tiny")
    assert voice is not None
    symbols = [SYMBOLS[number] for number in voice.phoneme_ids("Hello, no.")][::2]
    assert "".join(symbols) == "^həlˈoʊ, nˈoʊ.$"
    chunks = list(speak("Hello, no. [happy] So.", voice, 1.0, NONE))
    assert len(chunks) > 10
    np.testing.assert_array_equal(chunks[-1][1], HAPPY)


def test_a_voice_is_utf8_whatever_the_servers_language(tmp_path: Path) -> None:
    """Without LANG, as under systemd, every voice whose symbols are IPA was called no JSON."""
    (tmp_path / "voice.onnx.json").write_text(
        '{"audio": {"sample_rate": 16000}, "espeak": {"voice": "en"},'
        ' "phoneme_id_map": {"^": [1], "$": [2], "_": [0], "ə": [3]}}',
        "utf-8",
    )
    program = (
        "import sys; from pathlib import Path; from piper_voices import read_config; "
        "print(len(read_config(Path(sys.argv[1]))['phoneme_id_map']))"
    )
    stage = str(Path(piper_voices.__file__).parent)
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": stage}
    command = [sys.executable, "-c", program, str(tmp_path / "voice.onnx.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "4\n", done.stderr


def test_voices_that_the_server_may_not_read_cost_nobody_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's user and a folder of mode 700: no text was spoken, by whatever voice."""

    def refuse(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)
    voices = Voices("robot", [PiperEngine(tmp_path, spell), Shelf("robot")])
    assert voices.find("") is not None
    with pytest.raises(EngineMissing, match=f"{tmp_path}, the folder of voices, cannot be read: Permission denied"):
        voices.find("anna")
