"""The server from pip and its stand-in backend, on repositories of a few kilobytes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from facestream.server import ServerError, TritonServer
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from tests.integration.tiny import SHAPE, add_network, add_python

# An accelerator for GPUs may stand in a configuration: it must not disturb here.
OPENVINO = 'optimization { execution_accelerators { gpu_execution_accelerator [ { name: "tensorrt" } ] } }'
ONNX_RUNTIME = 'parameters { key: "cpu_runtime" value { string_value: "onnxruntime" } }'

DRAINING = """
import sibling
import numpy as np
import triton_python_backend_utils as pb_utils
from facestream.server.drain import draining
from facestream.triton_tensor import to_triton

class TritonPythonModel:
    def execute(self, requests):
        answer = np.full((1, 1), sibling.answer(draining()), np.float32)
        return [pb_utils.InferenceResponse([to_triton("OUT", answer)]) for _ in requests]
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    add_network(folder, "plain", ONNX_RUNTIME)
    add_network(folder, "openvino", OPENVINO)
    add_python(folder, "drained", DRAINING)
    (folder / "drained" / "1" / "sibling.py").write_text("def answer(draining):\n    return 7.0 + draining\n")
    return folder


@pytest.fixture(scope="module")
def tiny(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository) as server:
        yield server


@pytest.fixture(scope="module")
def client(tiny: TritonServer) -> InferenceServerClient:
    return InferenceServerClient(tiny.grpc_url)


def tensor(name: str, array: np.ndarray, datatype: str = "FP32") -> InferInput:
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def expected(repository: Path, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(repository / "plain" / "1" / "model.onnx")
    y, z = session.run(["Y", "Z"], {"X": x})
    return y, z


def shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").glob(f"facestream_{os.getpid()}_*")}


def ask_drained(client: InferenceServerClient) -> float:
    return float(client.infer("drained", [tensor("IN", np.zeros((1, 1), np.float32))]).as_numpy("OUT")[0, 0])


@pytest.mark.parametrize("count", [1, 3, 8])
def test_answers_are_onnx_runtimes_own(client: InferenceServerClient, repository: Path, count: int) -> None:
    """A picture here would differ from the one in NVIDIA's container on a CPU."""
    x = np.random.default_rng(count).normal(size=(count, *SHAPE)).astype(np.float32)
    answer = client.infer("plain", [tensor("X", x)])
    y, z = expected(repository, x)
    assert np.array_equal(answer.as_numpy("Y"), y)
    assert np.array_equal(answer.as_numpy("Z"), z)


def test_openvino_agrees(client: InferenceServerClient, repository: Path) -> None:
    """OpenVINO may round otherwise, but not compute in bfloat16, as it does by itself on processors that have it."""
    x = np.random.default_rng(1).normal(size=(4, *SHAPE)).astype(np.float32)
    answer = client.infer("openvino", [tensor("X", x)])
    for name, wanted in zip("YZ", expected(repository, x), strict=True):
        np.testing.assert_allclose(answer.as_numpy(name), wanted, atol=1e-4)


@pytest.mark.parametrize("model", ["plain", "openvino"])
def test_each_request_of_a_batch_gets_its_own_answer(
    client: InferenceServerClient, repository: Path, model: str
) -> None:
    """Sessions that meet in one batch would see each other's faces."""
    rng = np.random.default_rng(2)
    inputs = [rng.normal(size=(1, *SHAPE)).astype(np.float32) for _ in range(32)]
    answers: dict[int, np.ndarray] = {}
    failed: list[str] = []
    done = threading.Semaphore(0)

    def receive(index: int, result: object, error: object) -> None:
        if error is None:
            answers[index] = result.as_numpy("Y")  # type: ignore[attr-defined]
        else:
            failed.append(str(error))
        done.release()

    before = client.get_inference_statistics(model).model_stats[0]
    for index, x in enumerate(inputs):
        client.async_infer(model, [tensor("X", x)], callback=lambda result, error, i=index: receive(i, result, error))
    for _ in inputs:
        assert done.acquire(timeout=30)
    assert failed == []
    for index, x in enumerate(inputs):
        np.testing.assert_allclose(answers[index], expected(repository, x)[0], atol=1e-4)
    deadline = time.monotonic() + 5.0
    after = before  # Triton counts a batch a little after it has sent the answers
    while after.inference_count - before.inference_count < len(inputs) and time.monotonic() < deadline:
        after = client.get_inference_statistics(model).model_stats[0]
    assert after.inference_count - before.inference_count == len(inputs)
    assert after.execution_count - before.execution_count < len(inputs), "nothing was batched: the test shows nothing"


def test_only_what_is_asked_for_comes_back(client: InferenceServerClient) -> None:
    """An ensemble would carry tensors that nobody takes, some of them pictures."""
    x = np.zeros((1, *SHAPE), np.float32)
    answer = client.infer("plain", [tensor("X", x)], outputs=[InferRequestedOutput("Z")])
    assert [output.name for output in answer.get_response().outputs] == ["Z"]


@pytest.mark.parametrize(
    ("name", "array", "datatype", "told"),
    [
        ("X", np.zeros((1, 3, 16, 17), np.float32), "FP32", "X"),
        ("X", np.zeros((1, *SHAPE), np.float16), "FP16", "FP16"),
        ("X", np.zeros((9, *SHAPE), np.float32), "FP32", "8"),
        ("W", np.zeros((1, *SHAPE), np.float32), "FP32", "W"),
    ],
)
def test_a_wrong_input_is_named_and_harms_nobody(
    client: InferenceServerClient, name: str, array: np.ndarray, datatype: str, told: str
) -> None:
    with pytest.raises(InferenceServerException, match=told):
        client.infer("plain", [tensor(name, array, datatype)])
    x = np.zeros((1, *SHAPE), np.float32)
    assert client.infer("plain", [tensor("X", x)]).as_numpy("Y").shape == x.shape


def test_modules_beside_a_stage_are_found(client: InferenceServerClient) -> None:
    """Each Python stage keeps its classes in modules beside model.py, and imports facestream."""
    assert ask_drained(client) == 7.0


def test_stop_leaves_nothing(repository: Path) -> None:
    """What is left behind fills /dev/shm on a machine that serves for weeks."""
    others = shared_memory()
    server = TritonServer(repository, models=["plain"])
    server.start()
    group = server.pid
    assert shared_memory() - others, "the server has no shared memory: the test shows nothing"
    server.stop()
    assert shared_memory() == others
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
    assert not server.ready()


def test_a_part_of_the_repository_can_be_served(repository: Path) -> None:
    with TritonServer(repository, models=["plain"]) as server:
        client = InferenceServerClient(server.grpc_url)
        assert client.is_model_ready("plain")
        assert not client.is_model_ready("openvino")


@pytest.mark.parametrize("config", [ONNX_RUNTIME, OPENVINO], ids=["onnxruntime", "openvino"])
def test_a_broken_network_is_told_by_name(tmp_path: Path, config: str) -> None:
    """'failed to load' alone sends people to read the server's log."""
    add_network(tmp_path, "broken", config).write_bytes(b"no network")
    with pytest.raises(ServerError, match=r"(?s)model 'broken'.*cannot load .*broken/1/model\.onnx"):
        TritonServer(tmp_path).start()


def test_a_network_unlike_its_configuration_is_told_with_both(tmp_path: Path) -> None:
    add_network(tmp_path, "unlike", output_shape=(4, 16, 16))
    with pytest.raises(ServerError, match=r"Y float32 \[-1, 4, 16, 16\], but the network has Y float32 \[-1, 3, 16"):
        TritonServer(tmp_path).start()


def test_a_misspelt_runtime_is_told_with_the_choices(tmp_path: Path) -> None:
    add_network(tmp_path, "odd", ONNX_RUNTIME.replace("onnxruntime", "onxruntime"))
    with pytest.raises(ServerError, match=r"unknown runtime 'onxruntime' .*expected one of onnxruntime, openvino"):
        TritonServer(tmp_path).start()


def test_a_stage_that_fails_to_start_is_told_in_its_own_words(tmp_path: Path) -> None:
    add_python(tmp_path, "stage", "raise RuntimeError('the shelf of avatars is empty')")
    with pytest.raises(ServerError, match=r"'stage'.*the shelf of avatars is empty"):
        TritonServer(tmp_path).start()


def test_a_misspelt_configuration_is_told_with_its_place(tmp_path: Path) -> None:
    add_network(tmp_path, "odd", "no_such_field: 1")
    with pytest.raises(ServerError, match="no_such_field"):
        TritonServer(tmp_path).start()


def test_a_taken_port_is_told_with_its_number(repository: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServerError, match=f"grpc port {port} .* taken"):
            TritonServer(repository, grpc_port=port).start()


def test_a_crashed_stage_is_noticed(repository: Path) -> None:
    """Triton goes on to say that it is ready, and fails every request."""
    with TritonServer(repository, models=["plain", "drained"]) as server:
        assert server.crashed() == []
        stub = next(pid for pid, name in server._stages.items() if name == "drained_0")
        os.kill(stub, signal.SIGKILL)
        deadline = time.monotonic() + 5.0
        while not server.crashed() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.crashed() == ["drained_0"]


def test_draining_waits_for_the_sessions_that_speak(repository: Path) -> None:
    """A deployment that stops a server would cut its users off in mid-sentence."""
    with TritonServer(repository, models=["drained"]) as server:
        client = InferenceServerClient(server.grpc_url)
        assert ask_drained(client) == 7.0
        told: list[float] = []
        stop = threading.Event()

        def speak() -> None:
            while not stop.wait(0.1):
                told.append(ask_drained(client))

        speaker = threading.Thread(target=speak)
        speaker.start()
        try:
            assert not server.drain(5.0), "drained although requests came in"
        finally:
            stop.set()
            speaker.join()
        assert told[-1] == 8.0, "the stages were not told to refuse new sessions"
        assert server.drain(10.0)


def test_draining_bears_a_server_that_crashes(repository: Path) -> None:
    """The last stop of a deployment must not end in a traceback, for its sessions have ended all the same."""
    with TritonServer(repository, models=["plain"]) as server:
        killer = threading.Timer(0.5, os.kill, (server.pid, signal.SIGKILL))
        killer.start()
        began = time.monotonic()
        assert server.drain(20.0)
        assert time.monotonic() - began < 10.0


def test_the_server_ends_with_its_launcher(repository: Path) -> None:
    """A launcher killed for memory would leave a server that holds the ports."""
    code = (
        "import sys, time; from facestream.server import TritonServer\n"
        "server = TritonServer(sys.argv[1], models=['plain']); server.start()\n"
        "print(server.pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(repository)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        pid = int(launcher.stdout.readline())
        launcher.kill()
    deadline = time.monotonic() + 20.0
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()
    with TritonServer(repository, models=["plain"]):  # a start cleans up after launchers that are gone
        assert not list(Path("/dev/shm").glob(f"facestream_{launcher.pid}_*"))


def test_serve_ends_cleanly_on_sigterm_and_keeps_http_to_this_machine(repository: Path) -> None:
    """Docker, systemd and Kubernetes stop a service so. One request of a stranger can crash the wheel's HTTP server."""
    free = TritonServer(repository)
    ports = ["--grpc-port", free.grpc_port, "--http-port", free.http_port, "--metrics-port", free.metrics_port]
    command = [sys.executable, "-m", "facestream.cli.main", "serve", "--repository", repository, *ports]
    command += ["--host", "127.0.0.2"]  # another address of this machine
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as serve:
        assert serve.stdout is not None
        assert serve.stdout.readline().startswith(
            f"ready: gRPC 127.0.0.2:{free.grpc_port}, HTTP 127.0.0.1:{free.http_port}, "
        )
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", free.http_port), timeout=2.0)
        serve.send_signal(signal.SIGTERM)
        assert serve.wait(30) == 0
    assert not list(Path("/dev/shm").glob(f"facestream_{serve.pid}_*"))


def test_the_server_outlives_the_thread_that_started_it(repository: Path) -> None:
    """A web framework starts it in a worker thread: to the kernel that was the launcher, and its end the server's."""
    server = TritonServer(repository, models=["plain"])
    try:
        worker = threading.Thread(target=server.start)
        worker.start()
        worker.join()
        assert server.wait(2.0) is None
        assert server.ready()
    finally:
        server.stop()
