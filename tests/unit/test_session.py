"""The sessions of both clients against a real gRPC server that is scripted to misbehave."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
from facestream import aio, session
from facestream.contract import CHUNK_SAMPLES, WINDOW_SAMPLES
from facestream.errors import (
    BadInput,
    FrameTimeout,
    OutOfOrder,
    Overrun,
    RequestRefused,
    ServerUnavailable,
    SessionClosed,
    SessionLost,
    SessionRefused,
)
from facestream.protocol import Frame
from facestream.tts.text_to_speech import TextToSpeech
from fake_triton import FakeTriton, expected_sums


@pytest.fixture
def server() -> Iterator[FakeTriton]:
    fake = FakeTriton()
    yield fake
    fake.stop()


def speech(chunks: int) -> Any:
    return np.random.default_rng(7).uniform(-1, 1, chunks * CHUNK_SAMPLES).astype(np.float32)


def stream(url: str, sound: Any, twin: str, *, frames: int | None = None, **options: Any) -> list[Frame]:
    """Collect the frames of one session of either client; with `frames`, leave the loop after so many."""
    options = {"avatar": "ada", "output": "parameters"} | options
    if twin == "sync":
        with session.Client(url) as client, client.session(**options) as blocking:
            return list(itertools.islice(blocking.stream(sound), frames))

    async def collect() -> list[Frame]:
        found: list[Frame] = []
        async with aio.Client(url) as client, client.session(**options) as asynchronous:
            async for frame in asynchronous.stream(sound):
                found.append(frame)
                if len(found) == frames:
                    break
        return found

    return asyncio.run(collect())


def wait_until(condition: Any, seconds: float = 3.0) -> bool:
    """Wait for what another thread is to do."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return bool(condition())


both = pytest.mark.parametrize("twin", ["sync", "async"])


@both
def test_as_many_frames_as_chunks_in_order(server: FakeTriton, twin: str) -> None:
    """Else sound and picture drift apart: preroll shown, or the last two frames lost."""
    sound = speech(30)
    frames = stream(server.url, sound, twin)
    assert [frame.index for frame in frames] == list(range(30))
    assert frames[15].time_s == 0.5
    sums = [float(frame.parameters[0]) for frame in frames if frame.parameters is not None]
    np.testing.assert_allclose(sums, expected_sums(sound), atol=1e-2)
    assert [(seen.start, seen.end) for seen in server.seen] == [(True, False), *[(False, False)] * 30, (False, True)]
    assert all(seen.correlation_id == server.seen[0].correlation_id != 0 for seen in server.seen)
    assert not server.sequences


@both
def test_a_session_that_is_over_does_not_connect_again(server: FakeTriton, twin: str) -> None:
    """Who reads the last frame and lets the session lie would have it said once more on the server, to nobody."""

    async def say() -> None:
        async with aio.Client(server.url) as client:
            session = client.session(output="parameters")
            for chunk in np.split(speech(5), 5):
                await session.send(chunk)
            await session.finish()
            assert len([frame async for frame in session.frames()]) == 5
            await asyncio.sleep(1.0)

    if twin == "async":
        asyncio.run(say())
    else:
        with session.Client(server.url) as client:
            blocking = client.session(output="parameters")
            for chunk in np.split(speech(5), 5):
                blocking.send(chunk)
            blocking.finish()
            assert len(list(blocking.frames())) == 5
            time.sleep(1.0)
    assert server.connections == 1
    assert len(server.seen) == 7


@both
def test_one_chunk_of_sound(server: FakeTriton, twin: str) -> None:
    """The shortest session must have START, END and its one frame."""
    assert [frame.index for frame in stream(server.url, speech(1), twin)] == [0]
    assert not server.sequences


@both
def test_no_sound_no_frames(server: FakeTriton, twin: str) -> None:
    """An empty reply of a speech synthesiser must not open a session or hang."""
    assert stream(server.url, np.zeros(0, dtype=np.float32), twin) == []
    assert not server.seen


@both
def test_pieces_of_any_length_are_one_sound(server: FakeTriton, twin: str) -> None:
    """A synthesiser's pieces do not end at frame borders: no sample may be lost or repeated between them."""
    sound = speech(5)[:3700]
    frames = stream(server.url, iter(np.split(sound, [1, 1000, 1001, 2500])), twin)
    assert len(frames) == 5
    heard = np.concatenate([seen.sound for seen in server.seen])
    np.testing.assert_array_equal(heard[:3700], sound)
    assert not heard[3700:].any()


@both
@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_in_flight_than_allowed(server: FakeTriton, twin: str, limit: int) -> None:
    """A client without a bound would queue a whole file on the server and starve the other sessions."""
    server.gate.clear()
    threading.Timer(0.3, server.gate.set).start()
    assert len(stream(server.url, speech(12), twin, max_in_flight=limit)) == 12
    assert server.most_waiting == limit


@both
def test_requests_overlap(server: FakeTriton, twin: str) -> None:
    """A lock-step client leaves all stages of the server but one idle."""
    server.seconds = 0.005
    stream(server.url, speech(12), twin, max_in_flight=4)
    assert server.most_waiting == 4


def test_unread_frames_hold_the_sound_back(server: FakeTriton) -> None:
    """A slow reader must slow the sending down, or the pictures fill its memory."""
    with session.Client(server.url) as client, client.session("ada", "parameters") as blocking:
        frames = blocking.stream(speech(60))
        next(frames)
        time.sleep(0.3)
        assert len(server.seen) <= 10
        assert len(list(frames)) == 59


@both
def test_leaving_early_sends_end(server: FakeTriton, twin: str) -> None:
    """Without END the server holds the session's place until it times out."""
    assert len(stream(server.url, speech(300), twin, frames=3)) == 3
    assert wait_until(lambda: server.seen[-1].end)
    assert not server.sequences
    assert len(server.seen) < 20


@both
def test_error_in_the_loop_sends_end(server: FakeTriton, twin: str) -> None:
    """A fault of the caller's own code must not cost the server a place."""

    async def fail_async() -> None:
        async with aio.Client(server.url) as client, client.session("ada", "parameters") as asynchronous:
            async for _ in asynchronous.stream(speech(100)):
                raise KeyError("mine")

    def fail() -> None:
        with session.Client(server.url) as client, client.session("ada", "parameters") as blocking:
            for _ in blocking.stream(speech(100)):
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail() if twin == "sync" else asyncio.run(fail_async())
    assert wait_until(lambda: server.seen[-1].end)


@both
@pytest.mark.parametrize(
    "error",
    [
        OSError("unplugged"),
        # Sound that is made of another session's frames: its end was swallowed, and the loop waited for ever.
        SessionClosed("the other session was closed"),
    ],
    ids=["broken", "closed"],
)
def test_error_of_the_source_reaches_the_loop(server: FakeTriton, twin: str, error: Exception) -> None:
    """A broken microphone must not look like the end of the speech."""

    def microphone() -> Iterator[Any]:
        yield speech(5)
        raise error

    with pytest.raises(type(error), match=str(error)):
        stream(server.url, microphone(), twin)
    assert wait_until(lambda: server.seen[-1].end)


@both
def test_nan_is_refused_before_it_is_sent(server: FakeTriton, twin: str) -> None:
    """One NaN would stay in the server's state for the rest of the session."""
    sound = speech(3)
    sound[1000] = np.nan
    with pytest.raises(BadInput, match=r"sample 1000 \(0\.042 s\) is nan"):
        stream(server.url, sound, twin)


@both
def test_refused_start_says_why(server: FakeTriton, twin: str) -> None:
    """The caller decides by the class and the words whether to wait for a place or to mend a name."""
    message = "in ensemble 'avatar', session refused: 64 sessions are live"
    server.refuse_start = [message]
    with pytest.raises(SessionRefused, match=r"^session refused: 64 sessions are live$"):
        stream(server.url, speech(20), twin)
    assert server.connections == 1
    assert wait_until(lambda: server.seen[-1].end), "Triton's own slot of the sequence stays taken"


@both
def test_unknown_avatar_is_bad_input(server: FakeTriton, twin: str) -> None:
    """A misspelt avatar is the caller's to mend, and must not be tried again for ever."""
    server.refuse_start = ["bad input: avatar 'eva' is not here, expected one of ada"]
    with pytest.raises(BadInput, match="eva"):
        stream(server.url, speech(20), twin, avatar="eva")


@both
def test_model_that_is_not_served(server: FakeTriton, twin: str) -> None:
    """Another server at the address is not a refused session."""
    server.refuse_start = ["Request for unknown model: 'avatar_parameters' is not found"]
    with pytest.raises(ServerUnavailable, match="avatar_parameters"):
        stream(server.url, speech(3), twin)


@both
def test_nobody_at_the_address(twin: str) -> None:
    """A wrong address must be told at once, not after the deadline."""
    begin = time.monotonic()
    with pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1:9"):
        stream("127.0.0.1:9", speech(3), twin)
    assert time.monotonic() - begin < 3


@both
@pytest.mark.parametrize("broken", [[1], [3], [5], [40], [40, 45, 66]])
def test_lost_connection_is_resumed(server: FakeTriton, twin: str, broken: list[int]) -> None:
    """After a lost connection no frame may be missing or doubled, and the mouth must see the same sound."""
    server.break_at = broken
    sound = speech(60)
    frames = stream(server.url, sound, twin)
    assert [frame.index for frame in frames] == list(range(60))
    sums = [float(frame.parameters[0]) for frame in frames if frame.parameters is not None]
    np.testing.assert_allclose(sums, expected_sums(sound), atol=1e-2)
    assert server.connections == 1 + len(broken)
    assert sum(seen.start for seen in server.seen) == 1 + len(broken)
    assert len({seen.correlation_id for seen in server.seen}) == 1


def test_replay_is_no_longer_than_the_window(server: FakeTriton) -> None:
    """Each replayed chunk is work for a server that has just lost its sessions."""
    server.break_at = [50]
    stream(server.url, speech(60), "sync", max_in_flight=1)
    replayed = len(server.seen) - 1 - 62
    assert replayed == -(-WINDOW_SAMPLES // CHUNK_SAMPLES) - 1


@both
def test_forgotten_session_is_resumed(server: FakeTriton, twin: str) -> None:
    """After a pause of the speaker the server has dropped the session: the next word must still have a face."""
    server.forget_at = [25]
    sound = speech(40)
    frames = stream(server.url, sound, twin)
    assert [frame.index for frame in frames] == list(range(40))
    sums = [float(frame.parameters[0]) for frame in frames if frame.parameters is not None]
    np.testing.assert_allclose(sums, expected_sums(sound), atol=1e-2)


@both
def test_resumed_h264_can_be_decoded(server: FakeTriton, twin: str) -> None:
    """The keyframe of the new stream lies in the replay: a decoder that does not get it shows grey."""
    server.break_at = [50]
    frames = stream(server.url, speech(60), twin, output="h264", max_in_flight=1)
    assert frames[0].prelude, "preroll packets come before the first frame's packet, if that is no keyframe"
    resumed = [frame for frame in frames[1:] if frame.prelude]
    assert [frame.index for frame in resumed] == [48]
    packets = [*resumed[0].prelude, resumed[0].packet or b""]
    assert packets[0][4] == 0x65
    assert [packet[5] for packet in packets] == list(range(1, 22)), "every packet since the keyframe, in order"


@both
def test_session_that_stays_lost(server: FakeTriton, twin: str) -> None:
    """A dead server must end the session with an error in the time that was asked for."""
    server.break_at = list(range(20, 2000))
    begin = time.monotonic()
    with pytest.raises(SessionLost, match="network is gone"):
        stream(server.url, speech(40), twin, resume_seconds=0.5)
    assert time.monotonic() - begin < 2


@both
def test_no_resume_when_it_is_not_wanted(server: FakeTriton, twin: str) -> None:
    """With 0 seconds the first loss is the end: some callers have their own plan."""
    server.break_at = [20]
    with pytest.raises(SessionLost):
        stream(server.url, speech(40), twin, resume_seconds=0)
    assert server.connections == 1


@both
def test_deadline(server: FakeTriton, twin: str) -> None:
    """A server that hangs must not hang its callers."""
    server.gate.clear()
    begin = time.monotonic()
    with pytest.raises(FrameTimeout, match=r"0\.3 s"):
        stream(server.url, speech(40), twin, deadline=0.3)
    assert time.monotonic() - begin < 2


@both
def test_wrong_frame_is_an_error(server: FakeTriton, twin: str) -> None:
    """A picture of another moment must never be shown as the next one."""
    server.skip_index_at = 10
    with pytest.raises(OutOfOrder, match="FRAME_INDEX 9; expected 8"):
        stream(server.url, speech(40), twin)
    assert wait_until(lambda: server.seen[-1].end)


def test_refused_chunk_can_be_replaced(server: FakeTriton) -> None:
    """A refused request changes nothing: a live session goes on without the chunk."""
    server.refuse = {5: "bad input: AUDIO is too loud"}
    with session.Client(server.url) as client, client.session("ada", "parameters") as live:
        for chunk in speech(10).reshape(-1, CHUNK_SAMPLES):
            live.send(chunk)
        live.finish()
        frames = live.frames()
        found = [next(frames).index for _ in range(3)]
        with pytest.raises(BadInput, match="too loud"):
            next(frames)
        found += [frame.index for frame in live.frames()]
    assert found == list(range(9)), "10 chunks, one refused"
    assert not server.sequences


def test_fault_of_the_server_is_no_bad_input(server: FakeTriton) -> None:
    """Who sees `BadInput` looks for the fault in their own sound."""
    server.refuse = {5: "Stub process 'motion_0_0' is not healthy."}
    with pytest.raises(RequestRefused, match="Stub"):
        stream(server.url, speech(20), "sync")


def test_live_source_in_one_thread(server: FakeTriton) -> None:
    """Send what the microphone gave, show what is here: neither call may wait for the other."""
    with session.Client(server.url) as client, client.session("ada", "parameters") as live:
        found: list[int] = []
        for chunk in speech(20).reshape(-1, CHUNK_SAMPLES):
            live.send(chunk)
            found += [frame.index for frame in live.frames(wait=False)]
        live.finish()
        found += [frame.index for frame in live.frames()]
    assert found == list(range(20))


async def test_live_source_async(server: FakeTriton) -> None:
    """The same for asyncio."""
    async with aio.Client(server.url) as client, client.session("ada", "parameters") as live:
        for chunk in speech(20).reshape(-1, CHUNK_SAMPLES):
            await live.send(chunk)
        await live.finish()
        assert [frame.index async for frame in live.frames()] == list(range(20))


async def test_async_source_and_concurrent_sessions(server: FakeTriton) -> None:
    """Sessions in one event loop must neither wait for each other nor mix."""

    async def synthesiser(sound: Any) -> AsyncIterator[Any]:
        for piece in np.array_split(sound, 7):
            await asyncio.sleep(0.01)
            yield piece

    async def one(seed: int) -> None:
        sound = np.roll(speech(12), seed)
        async with aio.Client(server.url) as client, client.session("ada", "parameters") as asynchronous:
            sums = [frame.parameters[0] async for frame in asynchronous.stream(synthesiser(sound))]  # type: ignore[index]
        np.testing.assert_allclose(sums, expected_sums(sound), atol=1e-2)

    await asyncio.gather(*(one(seed) for seed in range(5)))


def test_unread_frames_of_a_live_source_are_an_error(server: FakeTriton) -> None:
    """Pictures that nobody reads must not fill the memory in silence."""
    with session.Client(server.url) as client, client.session("ada", "parameters") as live:

        def send_all() -> None:
            for chunk in speech(200).reshape(-1, CHUNK_SAMPLES):
                live.send(chunk)

        with pytest.raises(Overrun, match="frames"):
            send_all()


def test_cancel_from_another_thread(server: FakeTriton) -> None:
    """A user who hangs up must free the thread that waits for a frame, and the server's place."""
    server.gate.clear()
    with session.Client(server.url) as client, client.session("ada", "parameters") as blocking:
        threading.Timer(0.2, blocking.cancel).start()
        begin = time.monotonic()
        with pytest.raises(SessionClosed):
            list(blocking.stream(speech(20)))
        assert time.monotonic() - begin < 1
        server.gate.set()
    assert wait_until(lambda: bool(server.seen) and server.seen[-1].end)


async def test_cancelled_task_sends_end(server: FakeTriton) -> None:
    """asyncio cancels the tasks of a client that hung up: the server must be told."""

    async def endless() -> None:
        async with aio.Client(server.url) as client, client.session("ada", "parameters") as asynchronous:
            async for _ in asynchronous.stream(speech(2000), realtime=True):
                pass

    task = asyncio.create_task(endless())
    while len(server.seen) < 5:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while not server.seen[-1].end:
        await asyncio.sleep(0.01)
    assert not server.sequences


def test_emotion_changes_within_a_session(server: FakeTriton) -> None:
    """The emotion belongs to the sound that is sent after it, in a replay too."""
    server.break_at = [12]
    with session.Client(server.url) as client, client.session("ada", "parameters", {"happy": 0.5}) as live:
        for number, chunk in enumerate(speech(20).reshape(-1, CHUNK_SAMPLES)):
            if number == 10:
                live.set_emotion({"sad": 1.0})
            live.send(chunk)
        live.finish()
        assert len(list(live.frames())) == 20
    by_sound = {seen.sound.tobytes(): seen.emotion for seen in server.seen}
    emotions = [by_sound[chunk.tobytes()] for chunk in speech(20).reshape(-1, CHUNK_SAMPLES)]
    assert [emotion[1] for emotion in emotions] == [0.5] * 10 + [0.0] * 10
    assert [emotion[2] for emotion in emotions] == [0.0] * 10 + [1.0] * 10


def test_quality_changes_within_a_session(server: FakeTriton) -> None:
    """The tier belongs to the sound that is sent after it, in a replay too; the frames say what was drawn."""
    server.break_at = [12]
    with session.Client(server.url) as client, client.session("ada", "rgb", quality="fast") as live:
        for number, chunk in enumerate(speech(20).reshape(-1, CHUNK_SAMPLES)):
            if number == 10:
                live.set_quality("high")
            live.send(chunk)
        live.finish()
        frames = list(live.frames())
        with pytest.raises(BadInput, match="quality is 'best'; expected one of auto"):
            live.set_quality("best")  # type: ignore[arg-type]
    by_sound = {seen.sound.tobytes(): seen.quality for seen in server.seen}
    assert [by_sound[chunk.tobytes()] for chunk in speech(20).reshape(-1, CHUNK_SAMPLES)] == [1] * 10 + [3] * 10
    assert [frame.quality for frame in frames] == [1] * 8 + [3] * 12  # a chunk completes the frame two before it


@both
@pytest.mark.parametrize("seconds", ["inf", "nan", "-1"])
def test_times_that_nobody_can_wait_for(server: FakeTriton, twin: str, seconds: str) -> None:
    """Infinity for "no limit" would end in an OverflowError of Python's own, in mid-sentence."""
    with pytest.raises(BadInput, match=f"deadline is {float(seconds)}; expected a positive number of seconds"):
        stream(server.url, speech(2), twin, deadline=float(seconds))
    if seconds != "inf":
        with pytest.raises(BadInput, match=f"resume_seconds is {float(seconds)}; expected 0 or more"):
            stream(server.url, speech(2), twin, resume_seconds=float(seconds))


@both
def test_quality_of_a_session(server: FakeTriton, twin: str) -> None:
    """A wrong name is told before the server hears of it; the parameters have no tier."""
    with pytest.raises(BadInput, match="'best'"):
        stream(server.url, speech(2), twin, quality="best")
    assert not server.seen
    assert {frame.quality for frame in stream(server.url, speech(3), twin, output="rgb", quality="standard")} == {2}
    assert {seen.quality for seen in server.seen} == {2}
    assert {frame.quality for frame in stream(server.url, speech(3), twin, quality="standard")} == {None}


def test_realtime_keeps_the_pace_of_speech(server: FakeTriton) -> None:
    """A latency measured with sound from the future is not the user's latency."""
    begin = time.monotonic()
    with session.Client(server.url) as client, client.session("ada", "parameters") as blocking:
        frames = list(blocking.stream(speech(15), realtime=True))
    assert 14 / 30 <= time.monotonic() - begin < 1.5
    assert len(frames) == 15


def test_one_stream_for_each_session(server: FakeTriton) -> None:
    """A second stream in the same session would continue the frame numbers of the first."""
    with session.Client(server.url) as client, client.session("ada", "parameters") as blocking:
        list(blocking.stream(speech(2)))
        with pytest.raises(SessionClosed, match="another session"):
            list(blocking.stream(speech(2)))


@both
def test_ready(server: FakeTriton, twin: str) -> None:
    """A server without the model, and none at all, are told apart before any sound is sent."""

    async def check(url: str, output: Any) -> None:
        async with aio.Client(url) as client:
            await client.check_ready(output)

    def ready(url: str, output: Any) -> None:
        if twin == "sync":
            with session.Client(url) as client:
                client.check_ready(output)
        else:
            asyncio.run(check(url, output))

    ready(server.url, "rgb")
    with pytest.raises(ServerUnavailable, match="avatar_h264"):
        ready(server.url, "h264")
    with pytest.raises(ServerUnavailable, match="no answer"):
        ready("127.0.0.1:9", "rgb")


def test_pictures(server: FakeTriton) -> None:
    """The picture is what the caller shows: its shape, type and the avatar's name must arrive."""
    frames = stream(server.url, speech(3), "sync", output="rgb")
    assert [frame.picture is not None and int(frame.picture[0, 0, 0]) for frame in frames] == [3, 4, 5]
    assert {seen.avatar for seen in server.seen} == {"ada"}


@both
def test_losses_in_a_pause_of_the_speaker_do_not_add_up(server: FakeTriton, twin: str) -> None:
    """Who listens while the server is started again, and again a minute later, must still get the next word's face."""
    sound = speech(60).reshape(2, -1, CHUNK_SAMPLES)
    options: Any = {"avatar": "ada", "output": "parameters", "resume_seconds": 0.5}

    def lose_twice() -> None:
        for _ in range(2):
            time.sleep(0.7)
            server.drop_connections.set()
            assert wait_until(lambda: not server.drop_connections.is_set())
        time.sleep(0.2)

    async def asynchronous() -> list[int]:
        async with aio.Client(server.url) as client, client.session(**options) as live:
            found: list[int] = []
            for words in sound:
                for chunk in words:
                    await live.send(chunk)
                    found += [frame.index async for frame in live.frames(wait=False)]
                await asyncio.to_thread(lose_twice)
            await live.finish()
            return found + [frame.index async for frame in live.frames()]

    def blocking() -> list[int]:
        with session.Client(server.url) as client, client.session(**options) as live:
            found: list[int] = []
            for words in sound:
                for chunk in words:
                    live.send(chunk)
                    found += [frame.index for frame in live.frames(wait=False)]
                lose_twice()
            live.finish()
            return found + [frame.index for frame in live.frames()]

    assert (blocking() if twin == "sync" else asyncio.run(asynchronous())) == list(range(60))


def test_sound_that_crashes_the_server_is_not_replayed_for_ever(server: FakeTriton) -> None:
    """One client could keep a server, and all others on it, from ever coming back."""
    poison = speech(40)[30 * CHUNK_SAMPLES : 31 * CHUNK_SAMPLES]
    server.break_at_sound = poison.tobytes()
    with pytest.raises(SessionLost, match="did not come back"):
        stream(server.url, speech(40), "sync", resume_seconds=0.5)


async def test_a_source_that_was_cancelled_ends_the_stream(server: FakeTriton) -> None:
    """A service that cancels the task of its microphone must not leave the viewer's loop waiting for ever."""

    async def microphone() -> AsyncIterator[Any]:
        yield speech(5)
        recording = asyncio.create_task(asyncio.sleep(60))
        asyncio.get_running_loop().call_later(0.05, recording.cancel)
        await recording

    async def watch() -> None:
        async with aio.Client(server.url) as client, client.session("ada", "parameters") as asynchronous:
            async for _ in asynchronous.stream(microphone()):
                pass

    with pytest.raises(SessionClosed, match="source of the sound was cancelled"):
        await asyncio.wait_for(watch(), 5)
    assert wait_until(lambda: server.seen[-1].end)


@both
def test_the_pace_begins_with_the_first_sound(server: FakeTriton, twin: str) -> None:
    """A voice that thinks for a moment would be caught up with in one burst, whose latency is that of a queue."""

    def slow() -> Iterator[Any]:
        time.sleep(0.4)
        yield speech(10)

    async def collect() -> float:
        async with aio.Client(server.url) as client, client.session("ada", "parameters") as asynchronous:
            times = [time.monotonic() async for _ in asynchronous.stream(slow(), realtime=True)]
        return times[-3] - times[0]

    if twin == "sync":
        with session.Client(server.url) as client, client.session("ada", "parameters") as blocking:
            times = [time.monotonic() for _ in blocking.stream(slow(), realtime=True)]
        lasted = times[-3] - times[0]
    else:
        lasted = asyncio.run(collect())
    assert lasted > 6 / 30


@both
@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy"])
def test_a_proxy_is_not_asked_for_this_machine(
    server: FakeTriton, twin: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a company's network the environment names a proxy, which knows no server at 127.0.0.1."""
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert len(stream(server.url, speech(3), twin)) == 3
    assert len(stream(server.url.replace("127.0.0.1", "localhost"), speech(3), twin)) == 3


@both
def test_ready_for_what_there_is_not(twin: str) -> None:
    """The words that there are, and no KeyError."""

    async def check() -> None:
        async with aio.Client("127.0.0.1:9") as client:
            await client.check_ready("mp4")  # type: ignore[arg-type]

    def ready() -> None:
        if twin == "async":
            return asyncio.run(check())
        with session.Client("127.0.0.1:9") as client:
            client.check_ready("mp4")  # type: ignore[arg-type]

    with pytest.raises(BadInput, match="output is 'mp4'; expected one of rgb, h264, parameters"):
        ready()


@pytest.mark.parametrize(
    "url",
    [
        "localhost",
        "http://localhost:8001",
        "localhost:8001/",
        "localhost:99999",
        "localhost:0",
        ":8001",
        "::1:8001",
        "",
    ],
)
def test_an_address_without_a_port_is_told(url: str) -> None:
    """gRPC asked port 443, or 34463 in place of 99999, and said that nobody answers there."""
    for client in (session.Client, aio.Client):
        with pytest.raises(BadInput) as refused:
            client(url)
        assert str(refused.value) == f"url is {url!r}; expected HOST:PORT of the server's gRPC, such as localhost:8001"
    with pytest.raises(BadInput, match="expected HOST:PORT"):
        list(TextToSpeech(url).speak("One."))


@pytest.mark.parametrize("url", ["gpu-7.example.org:8001", "[::1]:8001", "dns:///gpu:8001", "unix:/run/triton.sock"])
def test_addresses_of_all_kinds_are_taken(url: str) -> None:
    """Of IPv6, and what gRPC knows beside host and port."""
    session.Client(url).close()
    aio.Client(url)


@both
def test_a_connection_that_cannot_be_made_anew_is_told(
    server: FakeTriton, twin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container at its limit of threads: the loop over the frames waited for ever."""
    server.break_at = [20]
    module, name = (session, "GrpcStream") if twin == "sync" else (aio, "_Stream")
    made, real = [], getattr(module, name)

    def limited(url: str) -> Any:
        made.append(url)
        if len(made) > 1:
            raise RuntimeError("can't start new thread")
        return real(url)

    monkeypatch.setattr(module, name, limited)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        stream(server.url, speech(40), twin)
