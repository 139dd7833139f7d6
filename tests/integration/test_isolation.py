"""Sessions side by side: nobody gets a single bit of another one's face, voice or movement."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from facestream.parameters import ARKIT, INDEX
from facestream.protocol import Output
from facestream.server.launch import TritonServer

from tests.integration.wire import Wire, chunks, connect

ROOT = Path(__file__).parents[2]
SPEECH = next((ROOT / "tests" / "data").glob("speech.*[vc]"))
AVATARS = sorted(path.stem for path in (ROOT / "model_repository" / "avatar_store" / "avatars").glob("*.avatar"))
MOUTH = [i for i, shape in enumerate(ARKIT) if shape.name.startswith(("jaw", "mouth", "cheekPuff", "tongue"))]


def talk(url: str, correlation_id: int, output: Output = "rgb", frames: int = 24) -> dict[str, np.ndarray]:
    """All answers of a session that speaks its own part of the speech with its own avatar, by tensor."""
    with connect(url) as stub:
        wire = Wire(stub, correlation_id, AVATARS[correlation_id % len(AVATARS)], output)
        answers = wire.talk(chunks(str(SPEECH), 15 * correlation_id, frames))
    return {name: np.array([answer[name] for answer in answers]) for name in answers[0] if name != "ACCESS_UNIT"} | {
        "UNITS": np.array([answer.get("ACCESS_UNIT", np.zeros(0, np.uint8)).tobytes() for answer in answers], object)
    }


def test_four_sessions_at_once_are_bit_equal_to_each_alone(server: TritonServer) -> None:
    ids = [1, 2, 3, 4]
    alone = [talk(server.grpc_url, i) for i in ids]
    with ThreadPoolExecutor(len(ids)) as pool:
        together = list(pool.map(lambda i: talk(server.grpc_url, i), ids))
    for i, one, other in zip(ids, alone, together, strict=True):
        assert np.array_equal(one["FRAME_INDEX"][:, 0], np.arange(-2, 22))
        assert np.array_equal(one["FRAME"], other["FRAME"]), f"session {i} shows other pictures in company"
    assert not np.array_equal(alone[0]["FRAME"][-1], alone[1]["FRAME"][-1])


def test_video_streams_at_once_are_bit_equal_to_each_alone(server: TritonServer) -> None:
    ids = [5, 6]
    alone = [talk(server.grpc_url, i, "h264") for i in ids]
    with ThreadPoolExecutor(len(ids)) as pool:
        together = list(pool.map(lambda i: talk(server.grpc_url, i, "h264"), ids))
    for one, other in zip(alone, together, strict=True):
        assert list(one["UNITS"]) == list(other["UNITS"])


def test_silence_gives_a_still_mouth_and_speech_a_moving_one(server: TritonServer) -> None:
    """The mouth that moves in silence is among the first complaints about systems of this kind."""
    with connect(server.grpc_url) as stub:
        silent = Wire(stub, 31, AVATARS[0], "parameters").talk(np.zeros((60, 800), np.float32))
        spoken = Wire(stub, 31, AVATARS[0], "parameters").talk(chunks(str(SPEECH), 0, 90))
    still = np.array([answer["PARAMETERS"] for answer in silent])[:, MOUTH]
    moving = np.array([answer["PARAMETERS"] for answer in spoken])
    assert np.diff(still, axis=0).var() < 0.02 * np.diff(moving[:, MOUTH], axis=0).var()
    assert np.abs(still).max() < 0.05
    assert moving[:, INDEX["jawOpen"]].max() > 0.15


def test_silent_mouth_is_still_in_the_picture(server: TritonServer) -> None:
    """Not only the numbers: the mouth's pixels, against the photo's own frame."""
    with connect(server.grpc_url) as stub:
        answers = Wire(stub, 32, AVATARS[0]).talk(np.zeros((12, 800), np.float32))
    mouths = np.array([answer["FRAME"] for answer in answers])[:, 280:350, 200:312].astype(int)
    assert np.abs(mouths - mouths[0]).mean(axis=(1, 2, 3)).max() < 4.0  # head sway alone moves a few levels
