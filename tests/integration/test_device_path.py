"""The stages' code for a GPU on the real server, with NumPy's arrays in place of the GPU's.

What Triton does around it is real: batches, BLS, tensors through shared memory, responses of a whole call. So is the
answer: the frames of the committed repository, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from facestream.protocol import Frame, Output
from facestream.quality import QualityName, quality_of
from facestream.server import TritonServer
from facestream.session import Client

from export.ensembles import REPOSITORY
from tests.integration.test_quality_tiers import stand_in
from tests.integration.wire import chunks

SPEECH = str(next((Path(__file__).parents[1] / "data").glob("speech.*[vc]")))
AVATARS = sorted(path.stem for path in (REPOSITORY / "avatar_store" / "avatars").glob("*.avatar"))
STAGES = ("avatar_store", "stabilizer", "video_encoder")
FRAMES = 24

ON_DEVICE = """
import importlib.util
import sys

import numpy
import triton_python_backend_utils as pb_utils
from facestream import array_namespace, sequence_stage

sequence_stage.choose = lambda args: array_namespace.ArrayNamespace(numpy, on_device=True)
sys.path.insert(0, {folder!r})
spec = importlib.util.spec_from_file_location("stage_on_device", {folder!r} + "/model.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)


class TritonPythonModel(module.TritonPythonModel):
    def initialize(self, args):
        pb_utils.TRITONSERVER_MEMORY_GPU = pb_utils.TRITONSERVER_MEMORY_CPU  # where a refiner is to leave its answer
        super().initialize(args)

    def step(self, state, inputs):
        if self._name != "avatar_store":  # which takes the same step on either side
            raise AssertionError("the processor's step was taken")
        return super().step(state, inputs)
"""


@contextmanager
def serve(folder: Path, on_device: bool) -> Iterator[TritonServer]:
    """The committed repository with a quick refiner; with `on_device` three stages believe that they work on a GPU."""
    repository = folder / "models"
    repository.mkdir()
    for model in REPOSITORY.iterdir():
        if model.name == "refiner_standard":
            stand_in(model.name, repository / model.name / "1" / "model.onnx")
            (repository / model.name / "config.pbtxt").symlink_to(model / "config.pbtxt")
        elif model.name in STAGES and on_device:
            (repository / model.name / "1").mkdir(parents=True)
            (repository / model.name / "1" / "model.py").write_text(ON_DEVICE.format(folder=str(model / "1")))
            for part in model.iterdir():
                if part.name != "1":
                    (repository / model.name / part.name).symlink_to(part)
        else:
            (repository / model.name).symlink_to(model)
    models = ["avatar", "avatar_h264", "refiner_standard"]
    with TritonServer(repository, models=models, log_file=folder / "log") as server:
        yield server


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with serve(tmp_path_factory.mktemp("processor"), False) as server:
        yield server


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with serve(tmp_path_factory.mktemp("device"), True) as server:
        yield server


def talk(server: TritonServer, session_id: int, quality: QualityName, output: Output = "rgb") -> list[Frame]:
    """The frames of a session that speaks its own part of the speech with its own avatar."""
    sounds = chunks(SPEECH, 20 * session_id, FRAMES)
    avatar = AVATARS[session_id % len(AVATARS)]
    with (
        Client(server.grpc_url) as client,
        client.session(avatar, correlation_id=session_id, quality=quality, output=output, deadline=60.0) as session,
    ):
        return list(session.stream(sounds.ravel()))


@pytest.mark.parametrize("quality", ["fast", "standard"])
def test_sessions_side_by_side_show_the_processors_frames(
    processor: TritonServer, device: TritonServer, quality: QualityName
) -> None:
    sessions = (1, 2)
    with ThreadPoolExecutor(len(sessions)) as pool:
        there = list(pool.map(lambda session: talk(device, session, quality), sessions))
    for session, shown in zip(sessions, there, strict=True):
        expected = talk(processor, session, quality)
        assert len(shown) == len(expected) == FRAMES
        assert all(frame.quality == quality_of(quality) for frame in shown)
        for one, other in zip(shown, expected, strict=True):
            assert one.picture is not None
            assert other.picture is not None
            assert np.array_equal(one.picture, other.picture), f"session {session}, frame {one.index}"


def test_stream_of_luma_and_chroma_is_as_true_as_the_processors(processor: TritonServer, device: TritonServer) -> None:
    """The stage converts the colours itself there; what decodes is the same picture but for their rounding."""
    truth = np.array([frame.picture for frame in talk(processor, 4, "fast")], float)
    error = {}
    for where in (processor, device):
        decoder = av.CodecContext.create("h264", "r")
        pictures = []
        for frame in talk(where, 4, "fast", "h264"):
            pictures += decoder.decode(av.Packet(frame.packet or b""))
        pictures += decoder.decode(None)
        shown = np.array([one.to_ndarray(format="rgb24", src_colorspace="ITU709") for one in pictures], float)
        error[where] = float(np.abs(shown - truth).mean())
    assert error[device] < error[processor] + 0.1 < 4.0, list(error.values())
