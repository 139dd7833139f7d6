"""The client's side of speech: sentence after sentence, one ahead, and the right sound and emotion with each frame."""

from __future__ import annotations

import asyncio
import gc
import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from facestream import aio
from facestream.cli.main import main
from facestream.contract import CHUNK_SAMPLES, FRAME_RATE
from facestream.errors import (
    BadInput,
    FrameTimeout,
    OutOfOrder,
    ServerUnavailable,
    SessionError,
    SessionLost,
    SessionRefused,
)
from facestream.parameters import EMOTIONS
from facestream.protocol import emotion_vector
from facestream.say import SpokenFrame, SpokenSound, say, say_async
from facestream.session import Client
from facestream.tts.exchange import SpeechExchange
from facestream.tts.protocol import SpokenChunk, parse_speech_response
from facestream.tts.speech import AHEAD
from facestream.tts.text_to_speech import TextToSpeech
from facestream.video import decode
from fake_triton import FakeTriton, speech_response

HAPPY = EMOTIONS.index("happy")


@pytest.fixture
def server() -> Iterator[FakeTriton]:
    fake = FakeTriton()
    yield fake
    fake.stop()


def lengths(chunks: list[SpokenChunk]) -> list[int]:
    """The words' lengths: the fake server writes them into the sound."""
    return [round(float(chunk.sound[0]) * 100) for chunk in chunks]


def test_a_text_is_spoken_sentence_by_sentence(server: FakeTriton) -> None:
    chunks = list(TextToSpeech(server.url).speak("I am. You were here! [happy] We go", emotion={"sad": 0.5}))
    assert server.texts == ["I am.", "You were here!", "[happy] We go"]
    assert lengths(chunks) == [1, 3, 3, 4, 5, 2, 2]
    assert [chunk.emotion[HAPPY] for chunk in chunks] == [0] * 5 + [1] * 2
    assert chunks[0].emotion[EMOTIONS.index("sad")] == 0.5
    assert chunks[3].sentence == "You were here!"


def test_an_emotion_holds_across_sentences(server: FakeTriton) -> None:
    """Each sentence is a request of its own, and the server remembers none."""
    chunks = list(TextToSpeech(server.url).speak("[happy 0.6] One. Two. [sad] Three. Four."))
    assert [round(float(chunk.emotion[HAPPY]), 3) for chunk in chunks] == [0.6, 0.6, 0, 0]


def test_no_more_than_two_sentences_are_on_their_way(server: FakeTriton) -> None:
    """Synthesis is faster than speech: without a limit an hour of sound would wait in memory."""
    speech = TextToSpeech(server.url).speak("One. " * 50)
    next(speech)
    time.sleep(0.3)
    assert len(server.texts) <= AHEAD
    assert len(list(speech)) == 49
    assert len(server.texts) == 50


def test_text_may_come_while_it_is_spoken(server: FakeTriton) -> None:
    """A language model's first sentence must be heard before its last one is written."""
    heard = threading.Event()

    def tokens() -> Iterator[str]:
        yield "First one. Sec"
        assert heard.wait(10)
        yield "ond."

    speech = TextToSpeech(server.url).speak(tokens())
    assert lengths([next(speech), next(speech)]) == [5, 4]
    heard.set()
    assert lengths(list(speech)) == [7]


def test_faults_of_the_text_source_reach_the_caller_after_what_was_said(server: FakeTriton) -> None:
    def tokens() -> Iterator[str]:
        yield "One. Two. "
        raise ValueError("the model has stopped")

    heard: list[SpokenChunk] = []
    with pytest.raises(ValueError, match="the model has stopped"):
        heard.extend(TextToSpeech(server.url).speak(tokens()))
    with pytest.raises(BadInput, match="hapy"):
        heard.extend(TextToSpeech(server.url).speak(iter(["Three. Four. ", "[hapy] Five."])))
    assert lengths(heard) == [4, 6, 5]
    with pytest.raises(BadInput, match=r"control character, U\+0000, at line 1, character 2"):
        heard.extend(TextToSpeech(server.url).speak(iter(["Six. ", "S\0ven."])))
    assert not any("\0" in text for text in server.texts)  # to the server it would be the text's end


def test_wrong_texts_are_refused_before_a_server_is_asked() -> None:
    speech = TextToSpeech("127.0.0.1:9")
    for text in ("", "One. [hapy] Two.", "a\0b"):
        with pytest.raises(BadInput):
            speech.speak(text)
    with pytest.raises(BadInput, match="speed is 3"):
        speech.speak("One.", speed=3)
    with pytest.raises(BadInput, match="is no name"):
        speech.speak("One.", voice="../x")
    for deadline in (0.0, math.inf, math.nan):
        with pytest.raises(BadInput, match=f"deadline is {deadline}; expected a positive number of seconds"):
            TextToSpeech("127.0.0.1:9", deadline=deadline)


def test_the_servers_words_reach_the_caller(server: FakeTriton) -> None:
    """An engine that is not installed must not look like a lost connection."""
    server.refuse_text = {
        "One.": "session refused: espeak-ng is not installed: pip install -e '.[tts]' in facestream's clone",
        "Two.": "bad input: voice 'x' is not here; expected one of de, en",
    }
    with pytest.raises(SessionRefused, match="pip install"):
        list(TextToSpeech(server.url).speak("One."))
    with pytest.raises(BadInput, match="expected one of de, en"):
        list(TextToSpeech(server.url).speak("Two.", voice="x"))
    with pytest.raises(ServerUnavailable, match=r"no speech from 127\.0\.0\.1:9"):
        list(TextToSpeech("127.0.0.1:9").speak("One."))


def test_who_leaves_in_mid_text_says_so_and_waits_for_the_end(server: FakeTriton) -> None:
    """A call that is cancelled while its answers are written can crash Triton, and with it everybody's session."""
    server.seconds_for_word = 0.02
    for number in range(1, 4):
        speech = TextToSpeech(server.url).speak("word " * 50 + ". " + "Word " * 50)
        next(speech)
        speech.close()
        assert len(set(server.stops)) == number, "each speech has an id of its own"
        with pytest.raises(StopIteration):
            next(speech)
    assert server.cancelled == 0
    heard = TextToSpeech(server.url).speak("A bb.")
    assert lengths(list(heard)) == [1, 3]
    heard.close()
    assert len(server.stops) == 3, "a text that was heard to its end needs no stop"


def test_a_dropped_speech_says_so_too(server: FakeTriton) -> None:
    """Users write `for chunk in tts.speak(text): break`, and never hear of close."""
    for _ in TextToSpeech(server.url).speak("One two three. " * 20):
        break
    gc.collect()
    assert len(server.stops) == 1
    assert server.cancelled == 0


def test_a_refused_sentence_ends_the_speech_politely(server: FakeTriton) -> None:
    server.refuse_text = {"Two.": "bad input: no"}
    with pytest.raises(BadInput, match="no"):
        list(TextToSpeech(server.url).speak("One. Two. Three. Four."))
    assert server.cancelled == 0


def test_a_server_that_hangs_is_given_up(server: FakeTriton, monkeypatch: pytest.MonkeyPatch) -> None:
    """To cancel is the last resort: a caller must not wait for a server that does not even stop."""
    monkeypatch.setattr("facestream.tts.speech.LAST_WORD_SECONDS", 1.0)
    server.gate.clear()
    speech = TextToSpeech(server.url, deadline=0.2).speak("One.")
    begin = time.monotonic()
    with pytest.raises(FrameTimeout, match=r"within 0\.2 s"):
        next(speech)
    assert 1.1 < time.monotonic() - begin < 5
    deadline = time.monotonic() + 5
    while not server.cancelled and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.cancelled == 1


def test_ctrl_c_ends_the_speech_politely(server: FakeTriton, tmp_path: Path) -> None:
    """The most usual way to leave `facestream say`; the process must not be gone before the server's last word."""
    server.seconds_for_word = 0.03
    command = [sys.executable, "-m", "facestream.cli.main", "say", "word word word. " * 200, "--realtime", "--quiet"]
    # A run in the background ignores Ctrl-C, and what it starts would, too.
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen([*command, "--url", server.url, "-o", str(tmp_path / "face.csv")])
    signal.signal(signal.SIGINT, ignored)
    with process:
        deadline = time.monotonic() + 30
        while len(server.seen) < 10 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    assert len(server.stops) == 1
    assert server.cancelled == 0


def test_asyncio_ends_the_speech_politely(server: FakeTriton) -> None:
    server.seconds_for_word = 0.03

    async def leave() -> None:
        async with aio.Client(server.url) as client, client.session(output="parameters") as session:
            speech = TextToSpeech(server.url).speak("word word word. " * 200)
            frames = cast("AsyncGenerator[SpokenFrame, None]", say_async(session, speech))
            async with aclosing(frames):
                async for _ in frames:
                    break

    asyncio.run(leave())
    assert len(server.stops) == 1
    assert server.cancelled == 0


def test_closed_from_another_thread_while_one_waits_for_text(server: FakeTriton) -> None:
    """Somebody talks to an avatar whose language model still thinks: it must fall silent at once."""
    thinking = threading.Event()

    def tokens() -> Iterator[str]:
        yield "First one. Sec"
        thinking.wait(10)

    speech = TextToSpeech(server.url).speak(tokens())
    threading.Timer(0.3, speech.close).start()
    begin = time.monotonic()
    assert lengths(list(speech)) == [5, 4]
    assert time.monotonic() - begin < 5
    assert server.cancelled == 0
    thinking.set()


def test_a_server_that_goes_away_in_mid_text_is_named(server: FakeTriton) -> None:
    server.seconds_for_word = 0.05
    speech = TextToSpeech(server.url).speak("One two three four. " * 20)
    next(speech)
    threading.Thread(target=server.stop).start()
    with pytest.raises(SessionLost, match=rf"the server at {server.url} was lost in mid-text \(\w+: "):
        list(speech)


def test_answers_to_two_sentences_do_not_mix() -> None:
    """The server works on both at a time."""
    exchange = SpeechExchange("", 1.0, emotion_vector(None))
    exchange.request("One."), exchange.request("Two.")
    sounds = {value: np.full(CHUNK_SAMPLES, value, np.float32) for value in (1, 2, 3, 4)}
    order = [("0", 1), ("1", 3), ("1", 4), ("1", None), ("0", 2), ("0", None)]
    found: list[float | None] = []
    for request_id, value in order:
        for chunk in exchange.receive(speech_response(request_id, None if value is None else sounds[value])):
            found.append(None if chunk is None else float(chunk.sound[0]))
    assert found == [1, 2, None, 3, 4, None]
    assert not exchange.waiting
    with pytest.raises(OutOfOrder):
        list(exchange.receive(speech_response("7")))


def test_an_answer_of_another_server_s_shape_is_named() -> None:
    """A server of another version: an error in the caller's own arithmetic would say nothing."""
    short = speech_response("0", np.zeros(CHUNK_SAMPLES // 2, np.float32))
    with pytest.raises(SessionError, match=r"AUDIO of the model 'tts' is \[400\]; expected \[800\]"):
        parse_speech_response(short)
    without = speech_response("0", np.zeros(CHUNK_SAMPLES, np.float32))
    del without.infer_response.outputs[1], without.infer_response.raw_output_contents[1]
    with pytest.raises(SessionError, match=r"EMOTION of the model 'tts' is missing; expected \[8\]"):
        parse_speech_response(without)


def test_each_frame_has_its_sound_and_emotion(server: FakeTriton) -> None:
    """A lip that moves to another word's sound, or a smile at the wrong word, is what users would see."""
    with Client(server.url) as client, client.session(output="parameters") as session:
        spoken = list(say(session, TextToSpeech(server.url).speak("A bb. [happy 0.5] Ccc dddd.")))
    assert [frame.frame.index for frame in spoken] == [0, 1, 2, 3]
    assert [round(float(frame.sound[0]) * 100) for frame in spoken] == [1, 3, 3, 5]
    sent = [(round(float(seen.sound[0]) * 100), round(float(seen.emotion[HAPPY]), 3)) for seen in server.seen]
    assert sent == [(1, 0), (3, 0), (3, 0.5), (5, 0.5), (0, 0.5), (0, 0.5)]  # and the two frames of look-ahead


def test_asyncio_says_the_same(server: FakeTriton) -> None:
    async def collect() -> list[int]:
        async with aio.Client(server.url) as client, client.session(output="parameters") as session:
            speech = TextToSpeech(server.url).speak("A bb. [happy] Ccc dddd.")
            return [round(float(spoken.sound[0]) * 100) async for spoken in say_async(session, speech)]

    assert asyncio.run(collect()) == [1, 3, 3, 5]
    assert [float(seen.emotion[HAPPY]) for seen in server.seen] == [0, 0, 1, 1, 1, 1]


def test_a_slow_voice_leaves_no_hole_in_a_live_session(server: FakeTriton) -> None:
    """Ten silent seconds would end the session on the server; before that the face would freeze."""

    def slow() -> Iterator[SpokenChunk]:
        for number in range(2):
            yield SpokenChunk(np.full(CHUNK_SAMPLES, 0.5, np.float32), emotion_vector(None), f"{number}")
            time.sleep(0.3)

    with Client(server.url) as client, client.session(output="parameters") as session:
        spoken = list(say(session, slow(), realtime=True))
    sounds = [float(frame.sound[0]) for frame in spoken]
    assert sounds[0] == 0.5
    assert sounds.count(0.5) == 2
    assert sounds.index(0.5, 1) >= 5
    with Client(server.url) as client, client.session(output="parameters") as session:
        assert len(list(say(session, slow()))) == 2  # nobody waits: nothing to fill


def test_a_slow_voice_holds_up_nothing_else_of_an_asyncio_program(server: FakeTriton) -> None:
    """A service speaks with many: while one waits for its voice, the others' frames must go on."""

    def slow() -> Iterator[SpokenChunk]:
        for _ in range(3):
            yield SpokenChunk(np.full(CHUNK_SAMPLES, 0.5, np.float32), emotion_vector(None))
            time.sleep(0.6)

    moments: list[float] = []

    async def run() -> None:
        async def go_on() -> None:
            while True:
                moments.append(time.monotonic())
                await asyncio.sleep(0.01)

        other = asyncio.create_task(go_on())
        async with aio.Client(server.url) as client, client.session(output="parameters") as session:
            assert len([spoken async for spoken in say_async(session, slow())]) == 3
        other.cancel()

    asyncio.run(run())
    assert max(np.diff(moments)) < 0.4


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_faults_of_a_voice_of_ones_own_reach_the_caller(server: FakeTriton, twin: str) -> None:
    """As they are: what says 'quota exceeded' must not become an error of ours."""

    def voice() -> Iterator[SpokenChunk]:
        yield SpokenChunk(np.zeros(CHUNK_SAMPLES, np.float32), emotion_vector(None))
        raise ValueError("quota exceeded")

    async def say_in_loop() -> None:
        async with aio.Client(server.url) as client, client.session(output="parameters") as session:
            async for _ in say_async(session, voice()):
                pass

    def say_all() -> None:
        with Client(server.url) as client, client.session(output="parameters") as session:
            list(say(session, voice()))

    with pytest.raises(ValueError, match="quota exceeded"):
        asyncio.run(say_in_loop()) if twin == "async" else say_all()


@pytest.mark.parametrize("twin", ["sync", "async"])
def test_speech_is_read_two_seconds_ahead_and_to_its_end(server: FakeTriton, twin: str) -> None:
    """A voice quicker than its listener would fill the memory with a book; one that is not let on falls silent."""
    length = 5 * FRAME_RATE
    read: list[int] = []

    def voice() -> Iterator[SpokenChunk]:
        for number in range(length):
            read.append(number)
            yield SpokenChunk(np.full(CHUNK_SAMPLES, number / length, np.float32), emotion_vector(None))

    heard: list[float] = []
    most_ahead: list[int] = []

    def hear(spoken: SpokenFrame) -> None:
        if not heard:
            time.sleep(0.5)  # in which the voice could be read to its end
        most_ahead.append(len(read) - len(heard))
        heard.append(float(spoken.sound[0]))

    async def say_in_loop() -> None:
        async with aio.Client(server.url) as client, client.session(output="parameters") as session:
            async for spoken in say_async(session, voice()):
                hear(spoken)

    def say_all() -> None:
        if twin == "async":
            asyncio.run(say_in_loop())
            return
        with Client(server.url) as client, client.session(output="parameters") as session:
            for spoken in say(session, voice()):
                hear(spoken)

    listener = threading.Thread(target=say_all, daemon=True)
    listener.start()
    listener.join(20.0)
    assert heard == pytest.approx([number / length for number in range(length)])
    assert 2 * FRAME_RATE <= most_ahead[0] <= max(most_ahead) <= 2 * FRAME_RATE + 10  # and some in the session


def test_leaving_early_ends_everything(server: FakeTriton) -> None:
    """Threads and connections of abandoned speech would pile up in a service."""
    before = threading.active_count()
    for _ in range(5):
        with Client(server.url) as client, client.session(output="parameters") as session:
            next(say(session, TextToSpeech(server.url).speak("Word. " * 1000)))
    deadline = time.monotonic() + 10
    while threading.active_count() > before + 3 and time.monotonic() < deadline:  # gRPC keeps some of its own
        time.sleep(0.05)
    assert threading.active_count() <= before + 3
    assert len(server.texts) < 5 * 50
    assert server.cancelled == 0


def test_a_voice_of_ones_own_is_closed_when_its_listener_leaves(server: FakeTriton) -> None:
    """It may hold a connection to somebody else's service, which is paid for by the second."""
    closed = threading.Event()

    def voice() -> Iterator[SpokenChunk]:
        try:
            while True:
                yield SpokenChunk(np.zeros(CHUNK_SAMPLES, np.float32), emotion_vector(None))
        finally:
            closed.set()

    speech = voice()  # kept, so that no garbage collection closes it
    with Client(server.url) as client, client.session(output="parameters") as session:
        next(say(session, speech))
    assert closed.wait(5.0)
    assert next(speech, None) is None


def test_nothing_to_speak_is_an_error(server: FakeTriton) -> None:
    with (
        Client(server.url) as client,
        client.session(output="parameters") as session,
        pytest.raises(BadInput, match="nothing that the voice can speak"),
    ):
        list(say(session, iter([])))


def test_the_sound_of_a_film_grows_with_it() -> None:
    sound = SpokenSound()
    assert sound.read(1024).shape == (0, 1)
    for value in (1, 2):
        sound.push(np.full(800, value, np.float32))
    blocks = [sound.read(500) for _ in range(5)]
    np.testing.assert_array_equal(np.concatenate(blocks)[:, 0], np.repeat([1, 2], 800).astype(np.float32))


def test_film(server: FakeTriton, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One command from a text to a film with sound."""
    film, text = tmp_path / "film.mp4", tmp_path / "text.txt"
    text.write_text("One two three. [happy] Four five.")
    assert main(["say", "-f", str(text), "-o", str(film), "--url", server.url, "--pictures"]) == 0
    decoded = decode(film)
    assert len(decoded.pictures) == 5
    assert decoded.sound_rate == 24_000
    assert abs(len(decoded.sound) - 5 * CHUNK_SAMPLES) <= 1024
    assert {seen.avatar for seen in server.seen} == {"ada"}
    assert "first frame" in capsys.readouterr().out


def test_text_from_standard_input(
    server: FakeTriton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"One two.")))
    table = tmp_path / "face.csv"
    assert main(["say", "-", "-o", str(table), "--url", server.url, "--quiet"]) == 0
    assert len(table.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["[hapy] Hi"], "the mark '[hapy]' at line 1, character 1"),
        ([""], "the text is empty"),
        (["Hi", "--speed", "9"], "speed is 9"),
        (["Hi", "--voice", "../x"], "is no name"),
        (["-f", "/no/such/file"], "/no/such/file cannot be read"),
        (["-f", "LATIN"], "latin.txt: the text is not UTF-8: byte 0xFC"),
        (["Hi", "-o", "film.avi"], "film.avi; expected a name"),
        (["Hi", "--url", "127.0.0.1:9"], "start a server with `facestream serve`"),
    ],
)
def test_wrong_input_is_told_before_a_file_is_touched(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin.txt").write_bytes("für".encode("latin-1"))
    assert main(["say", *(str(tmp_path / "latin.txt") if word == "LATIN" else word for word in words)]) == 1
    assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["latin.txt"]


def test_chunks_of_another_length_are_refused(server: FakeTriton) -> None:
    """A synthesiser of one's own: sound and frames would part in silence, and the end be an IndexError."""
    chunk = SpokenChunk(np.zeros(2 * CHUNK_SAMPLES, np.float32), emotion_vector(None))
    with (
        Client(server.url) as client,
        client.session(output="parameters") as session,
        pytest.raises(BadInput, match=r"shape \[1600\]; expected \[800\]"),
    ):
        list(say(session, iter([chunk])))


def test_speech_that_does_not_get_closed_ends_all_the_same(server: FakeTriton) -> None:
    """The last sound is there: a voice that hangs or fails in its `close` must not keep the viewer waiting for ever."""

    class Voice:
        def __iter__(self) -> Iterator[SpokenChunk]:
            yield SpokenChunk(np.zeros(CHUNK_SAMPLES, np.float32), emotion_vector(None))
            time.sleep(0.2)

        def close(self) -> None:
            closing.wait(5)

    closing = threading.Event()
    with Client(server.url) as client, client.session(output="parameters") as session:
        begin = time.monotonic()
        assert len(list(say(session, Voice()))) == 1
        assert time.monotonic() - begin < 3
    closing.set()


def test_a_table_holds_no_sound(server: FakeTriton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour of text for a .csv would gather 350 MB of sound that nobody reads."""
    pushed: list[int] = []
    monkeypatch.setattr(SpokenSound, "push", lambda self, sound: pushed.append(len(sound)))
    assert main(["say", "One two.", "-o", str(tmp_path / "face.csv"), "--url", server.url, "--quiet"]) == 0
    assert not pushed


def test_a_server_that_stops_behind_the_last_word_is_no_loss(
    server: FakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All was heard: to have it spoken again would be wrong."""
    speech_of = server.speech

    def broken(request: Any, stopped: threading.Event) -> Iterator[Any]:
        yield from speech_of(request, stopped)
        time.sleep(0.1)  # what was said is on its way
        raise OSError("the server is gone")

    monkeypatch.setattr(server, "speech", broken)
    assert len(list(TextToSpeech(server.url).speak("One two."))) == 2
