"""Text to speech to face on the real server: streaming, two users, leaving early, wrong input, other engines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from facestream.cli.main import main
from facestream.contract import CHUNK_SAMPLES, FRAME_RATE, SPEECH_MODEL, TEXT_BYTES, VOICES_VARIABLE
from facestream.errors import BadInput, FacestreamError, SessionRefused
from facestream.parameters import EMOTIONS, INDEX
from facestream.protocol import emotion_vector
from facestream.say import say
from facestream.server import TritonServer
from facestream.session import Client, GrpcStream
from facestream.tts.protocol import (
    SpokenChunk,
    build_speech_request,
    build_stop_request,
    is_final,
    parse_speech_response,
)
from facestream.tts.speech import LAST_WORD_SECONDS
from facestream.tts.text_to_speech import TextToSpeech
from facestream.video import decode
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.piper_voice import add_voice

pytest.importorskip("espeakng_loader", reason="espeak-ng is an extra: pip install -e '.[tts]'")

REPOSITORY = Path(__file__).parents[2] / "model_repository"
SENTENCE = "Peter Piper picked a peck of pickled peppers, and nobody knows why he did so."


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server of `tts` alone, with a folder of Piper voices."""
    folder = tmp_path_factory.mktemp("voices")
    add_voice(folder, "tiny-low")
    add_voice(folder, "many", speakers=3)
    with TritonServer(REPOSITORY, models=[SPEECH_MODEL], environment={VOICES_VARIABLE: str(folder)}) as server:
        yield server


def spoken(url: str, text: str, voice: str = "") -> list[SpokenChunk]:
    return list(TextToSpeech(url).speak(text, voice))


def sound(chunks: list[SpokenChunk]) -> NDArray[np.float32]:
    return np.concatenate([chunk.sound for chunk in chunks])


def test_sound_of_a_text(speaker: TritonServer) -> None:
    chunks = spoken(speaker.grpc_url, f"{SENTENCE} [happy 0.5] [pause 1] Yes.")
    assert all(chunk.sound.shape == (CHUNK_SAMPLES,) for chunk in chunks)
    assert 5 < len(chunks) / FRAME_RATE < 10
    assert 0.1 < np.abs(sound(chunks)).max() <= 1
    feelings = [round(float(chunk.emotion[EMOTIONS.index("happy")]), 3) for chunk in chunks]
    change = feelings.index(0.5)
    assert set(feelings[:change]) == {0.0}
    assert set(feelings[change:]) == {0.5}
    assert not sound(chunks[change : change + FRAME_RATE - 1]).any()


def raw(url: str, *requests: service_pb2.ModelInferRequest) -> Iterator[service_pb2.ModelStreamInferResponse]:
    """All responses to requests on a stream of their own."""
    with grpc.insecure_channel(url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        yield from stub.ModelStreamInfer(iter(requests), timeout=300)


def test_first_sound_comes_before_the_sentence_is_spoken_to_its_end(speaker: TritonServer) -> None:
    """The time to the first lip movement must not grow with the length of the sentence."""
    text = "and one more word " * 100
    spoken(speaker.grpc_url, "Warm up.")
    shares = []
    for _ in range(5):  # a busy machine may hold up any of them; one that waits for the end does so in all
        begin = time.monotonic()
        times = [
            time.monotonic() - begin
            for response in raw(speaker.grpc_url, build_speech_request("0", text, "", 1.0, emotion_vector(None)))
            if parse_speech_response(response) is not None
        ]
        assert len(times) / FRAME_RATE > 60
        shares.append(times[0] / times[-1])
        if shares[-1] < 0.25:
            return
    pytest.fail(f"the first sound came after {min(shares):.0%} of the time that all of it takes")


def test_two_users_hear_their_own_text(speaker: TritonServer) -> None:
    """The engine is one for the whole process."""
    texts = {"en-us": SENTENCE, "de": "Ich wohne in Berlin und heiße Ada.", "es": "Buenos días, amigos míos."}
    alone = {voice: sound(spoken(speaker.grpc_url, text, voice)) for voice, text in texts.items()}
    found: list[tuple[str, NDArray[np.float32]]] = []

    def talk(voice: str) -> None:
        for _ in range(4):
            found.append((voice, sound(spoken(speaker.grpc_url, texts[voice], voice))))

    threads = [threading.Thread(target=talk, args=(voice,)) for voice in texts for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 24
    for voice, heard in found:
        assert abs(len(heard) - len(alone[voice])) <= 2 * CHUNK_SAMPLES
        size = min(len(heard), len(alone[voice])) // CHUNK_SAMPLES
        levels = [part[: size * CHUNK_SAMPLES].reshape(size, -1).std(axis=1) for part in (heard, alone[voice])]
        assert np.corrcoef(levels)[0, 1] > 0.9


def test_film_of_a_text(server: TritonServer, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    words = ["say", "[happy] Mama. [pause 0.3] Papa.", "--url", server.grpc_url, "-o", str(film), "--deadline", "60"]
    assert main(words) == 0
    decoded = decode(film)
    assert len(decoded.pictures) > 30
    assert abs(len(decoded.sound) / decoded.sound_rate - len(decoded.pictures) / FRAME_RATE) < 0.1
    loud = np.abs(decoded.sound).max(axis=1)
    assert loud.max() > 0.1


def test_lips_and_smile_move_with_the_words(server: TritonServer) -> None:
    with Client(server.grpc_url) as client, client.session(output="parameters") as session:
        speech = TextToSpeech(server.grpc_url).speak("Wow, mama. [pause 0.6] [happy] [pause 1.5]")
        frames = list(say(session, speech))
    parameters = np.stack([spoken.frame.parameters for spoken in frames if spoken.frame.parameters is not None])
    loud = np.array([np.abs(spoken.sound).max() > 0.05 for spoken in frames])
    jaw, smile = parameters[:, INDEX["jawOpen"]], parameters[:, INDEX["mouthSmileLeft"]]
    assert jaw[loud].max() > 0.15
    assert jaw[-20:].max() < 0.05
    assert smile[-1] > smile[: np.flatnonzero(loud)[-1]].mean() + 0.1


def test_long_text_takes_no_memory(speaker: TritonServer) -> None:
    """10,000 characters are ten minutes of sound, 60 MB: no more than two sentences of it may be anywhere."""
    text = " ".join(f"This is sentence number {number}, and it says a thing or two." for number in range(180))
    assert len(text) > 10_000
    waiting, count = 0, 0
    first = memory()
    for chunk in TextToSpeech(speaker.grpc_url).speak(text):
        count += 1
        if count % 1000 == 0:
            waiting = max(waiting, memory() - first)
            time.sleep(0.05)  # a reader that is slower than the voice
        assert chunk.sentence
    assert count / FRAME_RATE > 400
    assert waiting < 30 * 2**20


def memory() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_users_who_leave_hold_nobody_up(speaker: TritonServer) -> None:
    """More abandoned texts than the stage has places: the next user must be heard at once."""
    for _ in range(70):
        speech = TextToSpeech(speaker.grpc_url).speak(f"{SENTENCE} " * 50)
        next(speech)
        speech.close()
    begin = time.monotonic()
    assert spoken(speaker.grpc_url, "Hello.")
    assert time.monotonic() - begin < 5


def test_a_stop_for_nothing(speaker: TritonServer) -> None:
    """One that comes too late is no error; one that names no speech is a fault of its client."""
    assert told_after_all(speaker, build_stop_request("0", 12345)) == ""
    assert "bad input: STOP without SPEECH_ID" in told_after_all(speaker, build_stop_request("0", 0))


def answers(speaker: TritonServer, request: service_pb2.ModelInferRequest) -> str:
    """What the server tells of a wrong request."""
    found = "nothing"
    try:
        for response in raw(speaker.grpc_url, request):  # to its end: to leave before it cancels the call
            if found == "nothing":
                found = response.error_message or ("spoken" if is_final(response) else found)
    except grpc.RpcError as error:
        return str(error.details())
    return found


def request_of(text: bytes = b"Hello.", voice: bytes = b"", speed: float = 1.0) -> service_pb2.ModelInferRequest:
    """A request with whatever bytes in it."""
    request = build_speech_request("0", "x", "", 1.0, emotion_vector(None))
    request.raw_input_contents[0] = text.ljust(TEXT_BYTES, b"\0")
    request.raw_input_contents[1] = voice.ljust(64, b"\0")
    request.raw_input_contents[2] = np.array([speed], np.float32).tobytes()
    return request


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (request_of(b""), "bad input: the text is empty"),
        (request_of(b"a\0b"), "bad input: the text holds a control character, U+0000, at line 1, character 2"),
        (request_of(b"ok\nf\xfcr"), "bad input: the text is not UTF-8: byte 0xFC at line 2, character 2"),
        (request_of(b"[hapy] a"), "bad input: the mark '[hapy]' at line 1, character 1: 'hapy' is none"),
        (request_of(b"\x1b[2Jx"), "U+001B"),
        (request_of(voice=b"xx"), "bad input: voice 'xx' is not here; expected one of"),
        (request_of(voice=b"../x"), "bad input: voice '../x' is no name"),
        (request_of(voice=b"\xff\xfe"), "is no name"),
        (request_of(speed=99.0), "bad input: speed is 99"),
        (request_of(speed=float("nan")), "bad input: speed is nan"),
        (request_of(b"[pause 10]" * 40), "bad input: the text takes more than 300 s to speak"),
    ],
)
def test_wrong_requests_are_refused_and_the_server_goes_on(
    speaker: TritonServer, request_: service_pb2.ModelInferRequest, told: str
) -> None:
    """As a stranger might send them, past our client."""
    assert told in told_after_all(speaker, request_)
    assert spoken(speaker.grpc_url, "Hello.")


def test_a_text_that_crashes_the_engine_is_refused_alone(speaker: TritonServer) -> None:
    """espeak-ng 1.52 dies of this letter. In the stage's own process that would end every session of the server."""
    with pytest.raises(BadInput, match="espeak-ng crashed at"):
        spoken(speaker.grpc_url, "\u0ae0", "vi-vn-x-central")
    assert spoken(speaker.grpc_url, "Hello.")
    assert speaker.crashed() == []


def told_after_all(speaker: TritonServer, request: service_pb2.ModelInferRequest) -> str:
    """Like `answers`, for errors that come after sound."""
    found = ""
    for response in raw(speaker.grpc_url, request):
        found = response.error_message or found
    return found


def test_enormous_and_misshapen_tensors_are_refused(server: TritonServer) -> None:
    huge = request_of()
    huge.inputs[0].shape[1] = 10_000_000
    huge.raw_input_contents[0] = b"x" * 10_000_000
    assert "TEXT" in answers(server, huge)
    empty = request_of()
    empty.inputs[0].shape[1] = 0
    empty.raw_input_contents[0] = b""
    assert "TEXT" in answers(server, empty)
    missing = request_of()
    del missing.inputs[0]
    del missing.raw_input_contents[0]
    assert "bad input: TEXT is missing" in answers(server, missing)
    sad = request_of()
    sad.raw_input_contents[3] = np.full(8, 7, np.float32).tobytes()
    assert "EMOTION[neutral] is 7.0" in answers(server, sad)
    with Client(server.grpc_url) as client, client.session(output="parameters") as session:
        assert len(list(session.stream(sound(spoken(server.grpc_url, "Hello."))))) > 10


def test_a_unary_call_is_told_what_to_use(speaker: TritonServer) -> None:
    """Triton's plain ModelInfer has room for one answer only."""
    with grpc.insecure_channel(speaker.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            stub.ModelInfer(request_of(), timeout=20)
    assert "decoupled" in str(error.value.details())


def test_piper_voice(speaker: TritonServer) -> None:
    """A file in a folder is all that a neural voice takes."""
    chunks = spoken(speaker.grpc_url, "Hello there. [happy] Bye.", "tiny-low")
    assert len(chunks) > 5
    assert chunks[-1].emotion[EMOTIONS.index("happy")] == 1
    assert not np.array_equal(
        sound(spoken(speaker.grpc_url, "a.", "many#0")), sound(spoken(speaker.grpc_url, "a.", "many#2"))
    )
    with pytest.raises(BadInput, match="expected one of many, tiny-low, "):
        spoken(speaker.grpc_url, "Hello.", "nobody")
    with pytest.raises(BadInput, match="speaker 'x' is none"):
        spoken(speaker.grpc_url, "Hello.", "many#x")


SLOW_ENGINE = """
import pathlib, time
import numpy as np

class Slow:
    sample_rate = 24000
    def voice(self, name):
        return self if name == "slow" else None
    def names(self):
        return ["slow"]
    def synthesize(self, text, speed):
        try:
            for _ in range(1000):
                time.sleep(0.02)
                yield np.full(800, 0.25, np.float32)
        finally:
            with pathlib.Path(__file__).with_name("ended").open("a") as file:
                file.write("x")
"""


def test_a_voice_of_ones_own_and_users_who_leave_it(tmp_path: Path) -> None:
    """A slow voice whose users have gone must not go on: eight of them would leave no worker to anybody."""
    engine, ended = tmp_path / "slow.py", tmp_path / "ended"
    engine.write_text(SLOW_ENGINE)
    environment = {"FACESTREAM_TTS_ENGINE": f"{engine}:Slow"}
    with TritonServer(REPOSITORY, models=[SPEECH_MODEL], environment=environment) as server:
        for _ in range(10):
            speech = TextToSpeech(server.grpc_url).speak("Hello.", "slow")
            assert next(speech).sound[0] == 0.25
            speech.close()
        assert voices_ended(ended, 10)
        assert spoken(server.grpc_url, "Hello.")


def voices_ended(file: Path, number: int) -> bool:
    """Whether so many of SLOW_ENGINE's texts end within seconds."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and (not file.exists() or file.stat().st_size < number):
        time.sleep(0.1)
    return file.exists() and file.stat().st_size == number


def test_a_stop_ends_all_texts_of_its_speech_and_no_others(tmp_path: Path) -> None:
    """Another user's id, or one guessed wrong, must not silence anybody."""
    engine = tmp_path / "slow.py"
    engine.write_text(SLOW_ENGINE)
    environment = {"FACESTREAM_TTS_ENGINE": f"{engine}:Slow"}
    mine, other = 2**62 + 1, 2**62 + 2
    sounds: Counter[str] = Counter()
    ends: set[str] = set()
    with TritonServer(REPOSITORY, models=[SPEECH_MODEL], environment=environment) as server:
        stream = GrpcStream(server.grpc_url)

        def read_until(done: Callable[[], bool]) -> None:
            for response in stream.responses:
                assert not response.error_message
                if is_final(response):
                    ends.add(response.infer_response.id)
                else:
                    sounds[response.infer_response.id] += 1
                if done():
                    return

        for name, speech_id in (("first", mine), ("second", mine), ("other", other)):
            stream.send(build_speech_request(name, "Hello.", "slow", 1.0, emotion_vector(None), speech_id))
        read_until(lambda: len(sounds) == 3)
        stream.send(build_stop_request("stop", mine))
        read_until(lambda: len(ends) == 3)
        assert ends == {"first", "second", "stop"}
        before = sounds.copy()
        read_until(lambda: sounds["other"] >= before["other"] + 10)
        assert (sounds["first"], sounds["second"]) == (before["first"], before["second"])
        stream.send(build_stop_request("stop the other", other))
        stream.end_requests()
        read_until(lambda: False)
        assert ends == {"first", "second", "stop", "other", "stop the other"}
        assert max(sounds.values()) < 1000, "nothing was stopped"
        stream.close()


def test_a_client_that_vanishes_leaves_no_voice_behind(tmp_path: Path) -> None:
    """A killed process cannot say STOP: its connection breaks, and the stage looks for that."""
    engine, ended = tmp_path / "slow.py", tmp_path / "ended"
    engine.write_text(SLOW_ENGINE)
    program = (
        "import sys, time\n"
        "from facestream.tts.text_to_speech import TextToSpeech\n"
        "speech = TextToSpeech(sys.argv[1]).speak('Hello.', 'slow')\n"
        "next(speech); print('heard', flush=True); time.sleep(60)"
    )
    environment = {"FACESTREAM_TTS_ENGINE": f"{engine}:Slow"}
    with TritonServer(REPOSITORY, models=[SPEECH_MODEL], environment=environment) as server:
        with subprocess.Popen([sys.executable, "-c", program, server.grpc_url], stdout=subprocess.PIPE) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == b"heard\n"
            client.kill()
        assert voices_ended(ended, 1)
        assert spoken(server.grpc_url, "Hello.")


STUCK_ENGINE = SLOW_ENGINE.replace("time.sleep(0.02)", "time.sleep(20.0 if _ else 0.0)")


def test_a_stop_is_answered_while_the_voice_is_stuck(tmp_path: Path) -> None:
    """A voice in the cloud that hangs: who leaves it must not wait for it, nor have to cancel."""
    engine = tmp_path / "stuck.py"
    engine.write_text(STUCK_ENGINE)
    with TritonServer(
        REPOSITORY, models=[SPEECH_MODEL], environment={"FACESTREAM_TTS_ENGINE": f"{engine}:Slow"}
    ) as server:
        speech = TextToSpeech(server.grpc_url).speak("Hello. " * 3, "slow")
        next(speech)
        begin = time.monotonic()
        speech.close()
        assert time.monotonic() - begin < 0.75 * LAST_WORD_SECONDS
        assert spoken(server.grpc_url, "Hello.")


def test_without_the_engine_the_server_starts_and_says_what_is_missing(tmp_path: Path) -> None:
    """espeak-ng is an extra: who leaves it out must still get the avatars."""
    repository = tmp_path / "repository"
    shutil.copytree(REPOSITORY / SPEECH_MODEL, repository / SPEECH_MODEL)
    shutil.copytree(REPOSITORY / "audio_frontend", repository / "audio_frontend")
    program = repository / SPEECH_MODEL / "1" / "espeak_process.py"
    hidden = program.read_text().replace("import espeakng_loader", "raise ModuleNotFoundError")
    program.write_text(hidden.replace('find_library("espeak-ng")', 'find_library("no-such-library")'))
    with TritonServer(repository) as server:
        with pytest.raises(SessionRefused, match=r"espeak-ng is not installed: pip install -e '\.\[tts\]'"):
            spoken(server.grpc_url, "Hello.")
        assert server.ready()
        assert server.crashed() == []


def test_a_server_without_the_stage_says_so(tmp_path: Path) -> None:
    """The stage is free to be left out."""
    shutil.copytree(REPOSITORY / "audio_frontend", tmp_path / "audio_frontend")
    with TritonServer(tmp_path) as server, pytest.raises(FacestreamError, match="tts"):
        spoken(server.grpc_url, "Hello.")


def test_the_command_line_itself(server: TritonServer, tmp_path: Path) -> None:
    """As a user types it, with text from a pipe."""
    table = tmp_path / "face.csv"
    words = [sys.executable, "-m", "facestream.cli.main", "say", "-", "--url", server.grpc_url, "-o", str(table)]
    result = subprocess.run(words, input=b"Hello, world.", capture_output=True, timeout=120, check=True)
    assert b"first frame" in result.stdout
    assert len(table.read_text().splitlines()) > 20
