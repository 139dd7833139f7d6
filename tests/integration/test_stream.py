"""The two clients against the whole server: frames, films, and leaving in the middle."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from facestream import aio
from facestream.audio import read_sound
from facestream.cli.main import main
from facestream.contract import CHUNK_SAMPLES, FRAME_RATE, FRAME_SIZE, MAX_SESSIONS, SEQUENCE_IDLE_SECONDS
from facestream.errors import SessionClosed
from facestream.parameters import INDEX
from facestream.protocol import Frame, Output
from facestream.server import TritonServer
from facestream.session import Client
from facestream.video import VideoWriter, decode
from numpy.typing import NDArray

from tests.integration.breakable import breakable, cut

ROOT = Path(__file__).parents[2]
SPEECH = next((ROOT / "tests" / "data").glob("speech.*[vc]"))
AVATARS = sorted(path.stem for path in (ROOT / "model_repository" / "avatar_store" / "avatars").glob("*.avatar"))
AVATAR = AVATARS[0] if AVATARS else "none"


def sound(seconds: float) -> NDArray[np.float32]:
    return read_sound(SPEECH).speech[: round(seconds * FRAME_RATE) * CHUNK_SAMPLES]


def stream(url: str, output: Output, speech: NDArray[np.float32], correlation_id: int) -> list[Frame]:
    with Client(url) as client, client.session(AVATAR, output, correlation_id=correlation_id) as session:
        return list(session.stream(speech))


def parameters(frames: list[Frame]) -> NDArray[np.float32]:
    """[frames, 73]."""
    return np.stack([frame.parameters for frame in frames if frame.parameters is not None])


@pytest.mark.parametrize("output", ["rgb", "h264", "parameters"])
@pytest.mark.parametrize("frames", [1, 45])
def test_as_many_frames_as_chunks_in_order(server: TritonServer, output: Output, frames: int) -> None:
    """Else sound and picture drift apart."""
    found = stream(server.grpc_url, output, sound(frames / FRAME_RATE), 101)
    assert [frame.index for frame in found] == list(range(frames))
    if output == "rgb":
        assert all(frame.picture is not None and frame.picture.shape == (FRAME_SIZE, FRAME_SIZE, 3) for frame in found)
    if output == "h264":
        assert found[0].keyframe
        assert not found[0].prelude
        assert all(frame.packet for frame in found)


@pytest.mark.parametrize("output", ["rgb", "parameters"])
def test_sync_equals_async(server: TritonServer, output: Output) -> None:
    """Both clients are one product: the same sound under the same id is the same film to the last bit."""
    speech = sound(1.0)
    blocking = stream(server.grpc_url, output, speech, 102)

    async def collect() -> list[Frame]:
        async with (
            aio.Client(server.grpc_url) as client,
            client.session(AVATAR, output, correlation_id=102) as session,
        ):
            return [frame async for frame in session.stream(speech)]

    asynchronous = asyncio.run(collect())
    assert len(asynchronous) == len(blocking) == 30
    for one, other in zip(blocking, asynchronous, strict=True):
        assert one.index == other.index
        left, right = (one.picture, other.picture) if output == "rgb" else (one.parameters, other.parameters)
        assert left is not None
        assert right is not None
        np.testing.assert_array_equal(left, right)


def test_in_flight_changes_no_bit(server: TritonServer) -> None:
    """Requests that overlap must not overtake each other anywhere in the server."""
    speech = sound(2.0)
    with Client(server.grpc_url) as client:
        films = []
        for in_flight in (1, 8):
            with client.session(output="parameters", max_in_flight=in_flight, correlation_id=103) as session:
                films.append(parameters(list(session.stream(speech))))
    np.testing.assert_array_equal(films[0], films[1])


@pytest.mark.parametrize("pictures", [False, True])
def test_film(server: TritonServer, tmp_path: Path, pictures: bool) -> None:
    """`facestream render` makes a film with every frame and the sound at its place."""
    film, speech = tmp_path / "film.mp4", tmp_path / "speech.wav"
    recording = read_sound(SPEECH)
    soundfile.write(speech, recording.original[: 2 * recording.original_rate], recording.original_rate)
    words = ["render", str(speech), "--avatar", AVATAR, "--url", server.grpc_url, "-o", str(film), "--quiet"]
    assert main([*words, *(["--pictures"] if pictures else [])]) == 0
    original = read_sound(speech)
    decoded = decode(film)
    frames = -(-len(original.speech) // CHUNK_SAMPLES)
    assert decoded.pictures.shape == (frames, FRAME_SIZE, FRAME_SIZE, 3)
    np.testing.assert_allclose(decoded.times, np.arange(frames) / FRAME_RATE, atol=1e-4)
    assert decoded.sound_rate == original.original_rate
    assert abs(offset(original.original[:, 0], decoded.sound[:, 0])) / decoded.sound_rate < 0.002


def offset(reference: NDArray[np.float32], heard: NDArray[np.float32]) -> int:
    """Samples by which `heard` comes too late, by the peak of their cross-correlation."""
    size = 2 * max(len(reference), len(heard))
    correlation = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(reference, size)), size)
    peak = int(np.argmax(correlation))
    return peak if peak < size // 2 else peak - size


def test_leaving_early_frees_the_place(server: TritonServer) -> None:
    """More sessions than there are places, each left after one frame: the next user must still get in."""
    speech = sound(2.0)
    with Client(server.grpc_url) as client:
        for _ in range(MAX_SESSIONS + 6):
            with client.session(output="parameters") as session:
                assert next(session.stream(speech)).index == 0
    assert len(stream(server.grpc_url, "parameters", speech, 104)) == 60


def test_cancel_frees_the_place(server: TritonServer) -> None:
    """The same for sessions that are cancelled with requests in flight, and for pictures."""
    speech = sound(2.0)
    with Client(server.grpc_url) as client:
        for number in range(6):
            with client.session(AVATAR, "rgb") as session:
                frames = session.stream(speech)
                list(itertools.islice(frames, number % 3))
                session.cancel()
                with pytest.raises(SessionClosed):
                    list(frames)
    assert len(stream(server.grpc_url, "rgb", speech, 105)) == 60


@pytest.mark.parametrize("output", ["parameters", "h264"])
def test_lost_connection_goes_on(server: TritonServer, tmp_path: Path, output: Output) -> None:
    """A user who changes from one network to another must see the same mouth go on, without a frame too few or many."""
    speech = sound(3.0)
    whole = stream(server.grpc_url, output, speech, 106)
    with (
        breakable(server.grpc_url) as (url, connections),
        Client(url) as client,
        client.session(AVATAR, output, correlation_id=106) as session,
    ):
        found = []
        for frame in session.stream(speech, realtime=True):
            found.append(frame)
            if frame.index == 40:
                cut(connections)
        assert connections, "nothing was cut: the session has not connected again"
    assert [frame.index for frame in found] == list(range(90))
    if output == "parameters":
        jaw = INDEX["jawOpen"]
        difference = np.abs(parameters(found)[:, jaw] - parameters(whole)[:, jaw])
        assert difference.max() < 0.02, f"the mouth differs at frame {difference.argmax()}"
    else:
        with VideoWriter(tmp_path / "film.mp4") as writer:
            for frame in found:
                writer.write(frame)
        film = decode(tmp_path / "film.mp4")
        shown = film.pictures[np.diff(film.times, append=3.0) > 1e-3]
        assert len(shown) == 90


def test_idle_session_goes_on(server: TritonServer) -> None:
    """A speaker who pauses for longer than the server waits must be able to go on talking."""
    speech = sound(2.0).reshape(-1, CHUNK_SAMPLES)
    with Client(server.grpc_url) as client, client.session(output="parameters") as session:
        for chunk in speech[:30]:
            session.send(chunk)
        time.sleep(SEQUENCE_IDLE_SECONDS + 3.0)
        for chunk in speech[30:]:
            session.send(chunk)
        session.finish()
        assert [frame.index for frame in session.frames()] == list(range(60))
