"""Streaming is offline, bit for bit: when a request arrives, and beside whom, changes nothing that is shown.

A mouth that depended on the network's or the server's load would be right in every test and wrong in a call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from facestream.avatar_name import encode_avatar_name
from facestream.contract import CHUNK_SAMPLES, LOOKAHEAD_FRAMES
from facestream.parameters import ARKIT
from facestream.protocol import Frame, Output, emotion_vector
from facestream.server import TritonServer
from facestream.session import Client, Session

from tests.integration.breakable import breakable, cut
from tests.integration.offline import OfflineEnsemble
from tests.integration.wire import chunks

ROOT = Path(__file__).parents[2]
SPEECH = next((ROOT / "tests" / "data").glob("speech.*[vc]"))
AVATAR = min(path.stem for path in (ROOT / "model_repository" / "avatar_store" / "avatars").glob("*.avatar"))
EMOTION = {"happy": 0.6}
FRAMES: dict[Output, int] = {"parameters": 120, "rgb": 24, "h264": 24}
SESSION = 2**40 + 7

Play = Callable[[Session, np.ndarray], Iterator[Frame]]


@cache
def ensemble(output: Output) -> OfflineEnsemble:
    return OfflineEnsemble(output)


@cache
def offline(output: Output, first: int = 0) -> list[dict[str, np.ndarray]]:
    """The tensors of each frame, in this process; the speech from chunk `first` on."""
    silence = np.zeros((LOOKAHEAD_FRAMES, CHUNK_SAMPLES), np.float32)
    sound = np.concatenate([chunks(str(SPEECH), first, FRAMES[output]), silence])
    answers = ensemble(output).talk(
        SESSION + first, sound, EMOTION=emotion_vector(EMOTION), AVATAR=encode_avatar_name(AVATAR)
    )
    return answers[LOOKAHEAD_FRAMES:]


def at_once(session: Session, sound: np.ndarray) -> Iterator[Frame]:
    """As fast as the server answers."""
    return session.stream(sound.reshape(-1))


def in_real_time(session: Session, sound: np.ndarray) -> Iterator[Frame]:
    """As a microphone gives it."""
    return session.stream(sound.reshape(-1), realtime=True)


def in_bursts(session: Session, sound: np.ndarray) -> Iterator[Frame]:
    """As a bad network gives it: pieces of any length, some late, one by seconds."""
    random = np.random.default_rng(5)

    def pieces() -> Iterator[np.ndarray]:
        samples = sound.reshape(-1)
        cuts = np.sort(random.integers(0, len(samples), 14))
        for number, piece in enumerate(np.split(samples, cuts)):
            time.sleep(3.0 if number == 7 else float(random.choice([0.0, 0.0, 0.02, 0.3])))
            yield piece

    return session.stream(pieces())


def by_hand(session: Session, sound: np.ndarray) -> Iterator[Frame]:
    """As a caller with a loop of his own gives it, the frames read whenever there are some."""
    for number, chunk in enumerate(sound):
        session.send(chunk)
        if number % 7 == 0:
            yield from session.frames(wait=False)
    session.finish()
    yield from session.frames()


def play(url: str, output: Output, how: Play, first: int = 0, in_flight: int = 4) -> list[Frame]:
    """The frames of a session that says the speech from chunk `first` on."""
    with (
        Client(url) as client,
        client.session(
            AVATAR, output, EMOTION, max_in_flight=in_flight, correlation_id=SESSION + first, deadline=30.0
        ) as session,
    ):
        return list(how(session, chunks(str(SPEECH), first, FRAMES[output])))


def check(frames: list[Frame], output: Output, first: int = 0) -> None:
    """Every payload of every frame against the same of the offline run."""
    wanted = offline(output, first)
    assert [frame.index for frame in frames] == list(range(len(wanted)))
    for frame, tensors in zip(frames, wanted, strict=True):
        if output == "parameters":
            assert frame.parameters is not None
            assert frame.visemes is not None
            differing = np.flatnonzero(frame.parameters != tensors["PARAMETERS"])
            assert not len(differing), f"frame {frame.index} differs in the parameters {differing}"
            assert np.array_equal(frame.visemes, tensors["VISEME"]), f"frame {frame.index} differs in its visemes"
        elif output == "rgb":
            assert frame.picture is not None
            assert np.array_equal(frame.picture, tensors["FRAME"]), f"frame {frame.index} is another picture"
        else:
            assert frame.packet == tensors["ACCESS_UNIT"].tobytes(), f"frame {frame.index} is another packet"
            assert frame.keyframe == bool(tensors["KEYFRAME"][0])


@pytest.mark.parametrize("how", [at_once, in_real_time, in_bursts, by_hand], ids=lambda how: how.__name__)
def test_face_is_that_of_the_file_whatever_the_pace(server: TritonServer, how: Play) -> None:
    check(play(server.grpc_url, "parameters", how), "parameters")


@pytest.mark.parametrize("output", ["rgb", "h264"])
@pytest.mark.parametrize("how", [at_once, in_bursts], ids=lambda how: how.__name__)
def test_picture_is_that_of_the_file_whatever_the_pace(server: TritonServer, output: Output, how: Play) -> None:
    check(play(server.grpc_url, output, how), output)


@pytest.mark.parametrize("in_flight", [1, 16])
def test_face_is_that_of_the_file_however_many_requests_are_on_the_way(server: TritonServer, in_flight: int) -> None:
    check(play(server.grpc_url, "parameters", at_once, in_flight=in_flight), "parameters")


def test_face_is_that_of_the_file_in_any_company(server: TritonServer) -> None:
    """Sessions that meet in one call of a stage, each at a pace of its own, one of them with pictures."""
    paces: list[tuple[Output, Play, int]] = [
        ("parameters", at_once, 0),
        ("parameters", in_bursts, 11),
        ("parameters", by_hand, 23),
        ("parameters", at_once, 37),
        ("rgb", at_once, 41),
    ]
    with Client(server.grpc_url) as client, ThreadPoolExecutor(len(paces)) as pool:
        before = client.statistics()
        gate = threading.Barrier(len(paces))

        def go(output: Output, how: Play, first: int) -> list[Frame]:
            gate.wait()
            return play(server.grpc_url, output, how, first)

        films = list(pool.map(lambda pace: go(*pace), paces))
        after = client.statistics()
    for (output, _, first), film in zip(paces, films, strict=True):
        check(film, output, first)
    batches = [
        (model.execution_count - old.execution_count, model.inference_count - old.inference_count)
        for model, old in zip(after.model_stats, before.model_stats, strict=True)
        if model.name in ("audio_frontend", "motion")  # networks take one frame at a time on a CPU
    ]
    assert any(runs < requests for runs, requests in batches), "no two sessions met in a call: the test shows nothing"


def test_a_pause_of_any_length_below_the_idle_limit_changes_nothing(server: TritonServer) -> None:
    """A listener's pause: the session must neither be lost nor move on by the clock."""

    def with_a_pause(session: Session, sound: np.ndarray) -> Iterator[Frame]:
        def halves() -> Iterator[np.ndarray]:
            yield sound[:50].reshape(-1)
            time.sleep(8.0)
            yield sound[50:].reshape(-1)

        return session.stream(halves())

    check(play(server.grpc_url, "parameters", with_a_pause), "parameters")


def test_the_mouth_after_a_lost_connection_is_that_of_the_file(server: TritonServer) -> None:
    """What the networks say of the sound is bit for bit the same; what `motion` remembers begins anew.

    Its filters hold nothing of the mouth after the replay of 20 frames that a float would tell; blinks, gaze, head and
    the random life of the rest of the face start over under the same seed (facestream.exchange tells it).
    """
    with breakable(server.grpc_url) as (url, connections):

        def cut_at_40(session: Session, sound: np.ndarray) -> Iterator[Frame]:
            for frame in session.stream(sound.reshape(-1), realtime=True):
                if frame.index == 40:
                    cut(connections)
                yield frame

        frames = play(url, "parameters", cut_at_40)
        assert connections, "nothing was cut: the session has not connected again"
    wanted = offline("parameters")
    assert [frame.index for frame in frames] == list(range(len(wanted)))
    same = [
        frame.parameters is not None and np.array_equal(frame.parameters, tensors["PARAMETERS"])
        for frame, tensors in zip(frames, wanted, strict=True)
    ]
    assert all(same[:41])
    assert not all(same[41:]), "nothing was lost: the test shows nothing"
    for frame, tensors in zip(frames, wanted, strict=True):
        assert frame.visemes is not None
        assert np.array_equal(frame.visemes, tensors["VISEME"]), f"frame {frame.index} differs in its visemes"
    mouth = [
        i for i, shape in enumerate(ARKIT) if shape.name in ("jawOpen", "mouthClose", "mouthFunnel", "mouthPucker")
    ]
    shown = np.array([frame.parameters for frame in frames])[:, mouth]
    difference = np.abs(shown - np.array([tensors["PARAMETERS"][mouth] for tensors in wanted]))
    assert difference.max() < 0.01, f"frame {difference.max(axis=1).argmax()} has another mouth"
