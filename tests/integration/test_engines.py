"""A repository assembled for a target, on the real server: `python -m export.engines`, its guard, and a session.

No test machine has a GPU, so the target is this machine's processor; all but the networks' own files and a few fields
of their configurations is what a GPU's repository has, too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from facestream.audio import read_sound
from facestream.contract import CHUNK_SAMPLES
from facestream.server import ServerError, TritonServer
from facestream.server.program import WheelProgram
from facestream.session import Client
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelInstanceGroup

from export.engines import check, finished
from export.engines.__main__ import main
from export.engines.profile import BatchProfile
from export.engines.repository import NetworkFile, Runtime, assemble
from export.ensembles import REPOSITORY, read_config
from export.networks import NETWORKS
from export.recording import Speaker, record

RUNTIME: Runtime = "onnxruntime-cpu"
FRAMES = 16
SOUND = Path(__file__).parents[1] / "data" / "speech.wav"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed repository, which somebody may be at work on meanwhile."""
    folder = tmp_path_factory.mktemp("source") / "models"
    shutil.copytree(REPOSITORY, folder)
    return folder


@pytest.fixture(scope="module")
def engines(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command builds, compared in a server with a few recorded frames, with the variables of a container."""
    folder = tmp_path_factory.mktemp("engines")
    record(folder / "recording", models, frames=6, in_process=True, speakers=(Speaker("nia", {}),))
    words = ["--models", str(models), "--max-sessions", "2", "--frames", "3", "--encoders", "2"]
    words += ["--log", str(folder / "server.log")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACESTREAM_RUNTIME", RUNTIME)
        patch.setenv("FACESTREAM_MAX_SESSIONS", "")  # as compose hands on what is not set
        assert main([*words, "--out", str(folder / "out"), "--recording", str(folder / "recording")]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def assembled(engines: Path, models: Path) -> Iterator[TritonServer]:
    with TritonServer(check.servable(engines, models, RUNTIME)) as server:
        yield server


@pytest.fixture(scope="module")
def committed(models: Path) -> Iterator[TritonServer]:
    with TritonServer(models, models=["avatar"]) as server:
        yield server


def pictures(server: TritonServer, session_id: int) -> list[np.ndarray]:
    """The frames of some words: the id seeds blinks and head movements, so the same id shows the same frames."""
    with (
        Client(server.grpc_url) as client,
        client.session("nia", correlation_id=session_id, quality="fast", deadline=60.0) as session,
    ):
        frames = list(session.stream(read_sound(SOUND).speech[: FRAMES * CHUNK_SAMPLES]))
    assert all(frame.picture is not None for frame in frames)
    return [np.asarray(frame.picture) for frame in frames]


def test_every_network_was_compared_and_timed_in_the_server(engines: Path) -> None:
    repository = engines / RUNTIME / "model_repository"
    for network in NETWORKS:
        found = json.loads((repository / network.stage / "1" / "model.onnx.json").read_text())
        assert found["parity"].keys() == network.tolerances["fp32"].keys()
        assert all(parity["frames"] >= 3 for parity in found["parity"].values())
        assert found["latency_ms"].keys() == {"1", "2"}
        assert all(time > 0.0 for time in found["latency_ms"].values())


def test_whole_sessions_were_compared_with_the_recorded_ones(engines: Path) -> None:
    """By the command itself: on a GPU that is what finds a stage in Python that goes wrong there."""
    shown = finished.read(engines / RUNTIME).sessions["nia"]
    assert (shown.frames, shown.least_psnr) == (3, 45.0)
    assert shown.psnr is None or shown.psnr > 55.0


def test_several_processes_encode_without_mixing_sessions_up(assembled: TritonServer) -> None:
    """A frame that went to another process than the session's others would lose the session, or show another's face."""

    def packets(session_id: int) -> list[bytes | None]:
        with (
            Client(assembled.grpc_url) as client,
            client.session("nia", "h264", correlation_id=session_id, quality="fast", deadline=60.0) as session,
        ):
            return [frame.packet for frame in session.stream(read_sound(SOUND).speech[: FRAMES * CHUNK_SAMPLES])]

    sessions = (21, 22, 23)
    alone = [packets(session) for session in sessions]
    with ThreadPoolExecutor(len(sessions)) as pool:
        together = list(pool.map(packets, sessions))
    assert together == alone
    assert all(len(stream) == FRAMES and all(stream) for stream in alone)


def test_sessions_on_what_was_assembled_show_the_frames_of_the_committed_repository(
    assembled: TritonServer, committed: TritonServer
) -> None:
    """Bit for bit, side by side: the same networks on the same processor, whatever else the assembly changed."""
    sessions = (11, 12)
    with ThreadPoolExecutor(len(sessions)) as pool:
        shown = list(pool.map(lambda session: pictures(assembled, session), sessions))
    for session, frames in zip(sessions, shown, strict=True):
        expected = pictures(committed, session)
        assert len(frames) == len(expected) == FRAMES
        assert all(np.array_equal(one, other) for one, other in zip(frames, expected, strict=True))
    assert not np.array_equal(shown[0][-1], shown[0][0])


def test_the_guard_refuses_a_half_built_one(engines: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marker = engines / RUNTIME / "finished.json"
    words = [str(engines), "--models", str(models), "--runtime", RUNTIME]
    assert check.main(words) == 0
    assert capsys.readouterr().out == f"{engines / RUNTIME / 'model_repository'}\n"
    marker.rename(marker.with_name("moved"))
    try:
        assert check.main(words) == 1
        assert "broken off" in capsys.readouterr().err
    finally:
        marker.with_name("moved").rename(marker)


# --- repositories of a GPU, as far as Triton itself can be asked without one -----------------------------------------


class WithTensorRt(WheelProgram):
    """A server that has a backend of the name `tensorrt`, too: the one that stands in for ONNX Runtime's."""

    def prepare(self, folder: Path) -> tuple[list[str], dict[str, str]]:
        command, variables = super().prepare(folder)
        backends = folder / "backends"
        (backends / "tensorrt").symlink_to((backends / "onnxruntime").resolve())
        return command, variables


@pytest.mark.parametrize("runtime", ["tensorrt", "onnxruntime-tensorrt", "onnxruntime-cuda"])
def test_triton_takes_the_configurations_of_a_gpu_s_repository(
    runtime: Runtime, models: Path, committed: TritonServer, tmp_path: Path
) -> None:
    """Its core reads, checks and warms up by them; only where the networks run is changed, as there is no GPU here.

    Graphs, accelerators and warm-ups that it refuses would stop every GPU server, and no test on one would tell.
    """
    stages = [network.stage for network in NETWORKS]
    profile = BatchProfile(16 if runtime == "tensorrt" else 2)  # with graphs that serve several sizes of batch
    tuned = profile.tuned if runtime == "tensorrt" else ()
    files = {stage: NetworkFile(models / stage / "1" / "model.onnx", tuned) for stage in stages}
    assemble(models, tmp_path / "m", runtime, files, profile)
    for stage in stages:
        path = tmp_path / "m" / stage / "config.pbtxt"
        config = read_config(path)
        del config.instance_group[0].profile[:]  # of TensorRT's on a GPU alone
        config.instance_group[0].kind = ModelInstanceGroup.KIND_CPU
        config.parameters["cpu_runtime"].string_value = "onnxruntime"
        path.write_text(text_format.MessageToString(config))
    with TritonServer(tmp_path / "m", models=["avatar", "refiner_standard"], program=WithTensorRt()) as server:
        frames = np.array(pictures(server, 13)[:8], float)
    errors = np.square(frames - np.array(pictures(committed, 13)[:8], float)).mean(axis=(1, 2, 3))
    assert 10.0 * np.log10(255.0**2 / max(errors.max(), 1e-9)) > 50.0


def test_triton_itself_refuses_a_gpu_s_repository_without_one(models: Path, tmp_path: Path) -> None:
    """Nothing falls back to the processor in silence, should the guard ever be passed by."""
    files = {network.stage: NetworkFile(models / network.stage / "1" / "model.onnx") for network in NETWORKS}
    assemble(models, tmp_path / "m", "onnxruntime-cuda", files, BatchProfile(2))
    with pytest.raises(ServerError, match="KIND_GPU"):
        TritonServer(tmp_path / "m", models=["expression"]).start()
