"""`facestream serve` and a Triton that crashes: it comes back on the same ports, but not for ever.

The servers are killed by the signal of the fault that is known: SIGSEGV.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from facestream.contract import CHUNK_SAMPLES, PARAMETERS_ENSEMBLE, SPEECH_MODEL
from facestream.errors import SessionLost
from facestream.server import TritonServer
from facestream.session import Client
from facestream.tts.text_to_speech import TextToSpeech

from export.ensembles import read_config
from tests.integration.tiny import add_python

REPOSITORY = Path(__file__).parents[2] / "model_repository"
SILENCE = np.zeros(CHUNK_SAMPLES, np.float32)

ECHO = """
import numpy as np
import triton_python_backend_utils as pb_utils
from facestream.triton_tensor import to_triton

class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([to_triton("OUT", np.zeros((1, 1), np.float32))]) for _ in requests]
"""


class Served:
    """A running `facestream serve`."""

    def __init__(self, process: subprocess.Popen[bytes], http_port: int, grpc_url: str, log: Path) -> None:
        self.process = process
        self.http_port = http_port
        self.grpc_url = grpc_url
        self._log = log

    @property
    def said(self) -> str:
        """All that it has printed."""
        return self._log.read_text()

    @property
    def triton(self) -> int:
        """Process id of its server, which must be there: a signal to 0 would be one to these tests themselves."""
        words = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        assert words, f"there is no server\n{self.said}"
        return int(words[0])

    def ready(self) -> bool:
        """What a health check sees."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/v2/health/ready", timeout=2.0) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def crash(self) -> None:
        """Kill the server, and see that the health check tells."""
        os.kill(self.triton, signal.SIGSEGV)
        self.until(lambda: not self.ready(), 5.0, "a dead server says ready")

    def until_ready(self, times: int) -> None:
        """Wait until it has said so often that it is ready."""
        self.until(lambda: self.said.count("ready: gRPC") >= times, 60.0, "the server did not come back")

    def until(self, happened: object, seconds: float, otherwise: str) -> None:
        deadline = time.monotonic() + seconds
        while not happened():  # type: ignore[operator]
            assert time.monotonic() < deadline, f"{otherwise}\n{self.said}"
            time.sleep(0.02)


@contextmanager
def serve(repository: Path, folder: Path, *words: str) -> Iterator[Served]:
    """Run the command; whatever is left of it is killed at the end."""
    free = TritonServer(repository)
    ports = ["--grpc-port", free.grpc_port, "--http-port", free.http_port, "--metrics-port", free.metrics_port]
    command = [sys.executable, "-m", "facestream.cli.main", "serve", "--repository", repository, *ports, *words]
    log = folder / "said"
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))  # inherited: no core files of hundreds of MB
    try:
        with log.open("wb") as out:
            process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=subprocess.STDOUT)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    served = Served(process, free.http_port, free.grpc_url, log)
    try:
        served.until_ready(1)
        yield served
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    add_python(tmp_path / "models", "stage", ECHO)
    return tmp_path / "models"


def test_a_crashed_server_comes_back_and_not_for_ever(tiny: Path, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with serve(tiny, tmp_path, "--restarts", "2", "--log-file", str(log)) as served:
        first = served.triton
        for times in (2, 3):
            served.crash()
            served.until_ready(times)
            assert served.ready()
        assert served.triton != first
        assert not Path(f"/proc/{first}").exists()
        served.crash()
        assert served.process.wait(30.0) == 1
        said = served.said
    assert len(re.findall(r"^facestream serve: the server was killed by SIGSEGV after \d+ s:$", said, re.M)) == 3
    assert "sessions are lost; starting it again at once (restart 1 of at most 2 in 10 minutes)" in said
    assert "starting it again in 1 s (restart 2 of at most 2 in 10 minutes)" in said
    assert "given up after 2 restarts" in said
    assert log.read_text().count("Started GRPCInferenceService") == 3, "the log of the crash was written over"
    assert not list(Path("/dev/shm").glob(f"facestream_{served.process.pid}_*"))


def test_a_crashed_stage_brings_the_server_back_whole(tiny: Path, tmp_path: Path) -> None:
    """Triton goes on without it, says ready and fails each request."""
    with serve(tiny, tmp_path) as served:
        children = Path(f"/proc/{served.triton}/task").glob("*/children")
        stubs = [int(pid) for file in children for pid in file.read_text().split()]
        os.kill(stubs[0], signal.SIGSEGV)
        served.until_ready(2)
        assert "stage stage_0 crashed" in served.said


def test_it_is_stopped_while_the_server_is_down(tiny: Path, tmp_path: Path) -> None:
    """A deployment that stops a service which is just waiting must not wait with it."""
    with serve(tiny, tmp_path) as served:
        for times in (2, 3):
            served.crash()
            served.until_ready(times)
        served.crash()
        served.until(lambda: "in 2 s" in served.said, 10.0, "no pause")
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(5.0) == 0
        assert served.said.count("ready: gRPC") == 3


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
def test_a_server_whose_reader_is_gone_serves_on_and_ends_in_order(tiny: Path, end: signal.Signals) -> None:
    """`facestream serve | head`, a closed terminal: the next line that it had to say ended it, and all sessions."""
    free = TritonServer(tiny)
    ports = ["--grpc-port", free.grpc_port, "--http-port", free.http_port, "--metrics-port", free.metrics_port]
    command = [sys.executable, "-m", "facestream.cli.main", "serve", "--repository", tiny, *ports]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert process.stdout is not None
        assert b"ready: gRPC" in process.stdout.readline()
        process.stdout.close()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        first = int(children.read_text())
        os.kill(first, signal.SIGSEGV)
        served = Served(process, free.http_port, free.grpc_url, Path(os.devnull))
        served.until(lambda: children.read_text().strip() not in ("", str(first)), 30.0, "it was not started again")
        served.until(served.ready, 60.0, "it was not started again")
        time.sleep(1.0)
        began = time.monotonic()
        process.send_signal(end)
        assert process.wait(30.0) == 0
        assert time.monotonic() > began + 2.0, "it did not look whether sessions are live"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", ["models of mine", "modèles", "a & b; $(c) 'd'"])
def test_models_in_a_folder_of_any_name(tiny: Path, tmp_path: Path, name: str) -> None:
    """Triton hands the path to a shell, and to a Python that knows ASCII alone: the stages did not start."""
    tiny.rename(tmp_path / name)
    with serve(tmp_path / name, tmp_path) as served:
        assert served.ready()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
def test_ended_while_it_starts_it_leaves_nothing_behind(tiny: Path, tmp_path: Path, end: signal.Signals) -> None:
    """A closed terminal left stages that waited for their server for ever."""
    program = tiny / "stage" / "1" / "model.py"
    program.write_text(f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)")
    command = [sys.executable, "-m", "facestream.cli.main", "serve", "--repository", str(tiny)]
    free = TritonServer(tiny)
    ports = ["--grpc-port", free.grpc_port, "--http-port", free.http_port, "--metrics-port", free.metrics_port]
    folder = tmp_path / "temporary"
    folder.mkdir()
    process = subprocess.Popen([*command, *map(str, ports)], env={**os.environ, "TMPDIR": str(folder)})
    try:
        deadline = time.monotonic() + 30.0
        while not (tmp_path / "pid").is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        process.send_signal(end)
        assert process.wait(30.0) == 0
        stage = Path("/proc", (tmp_path / "pid").read_text(), "stat")
        assert not stage.exists() or " Z " in stage.read_text()
        assert not list(folder.iterdir())
        assert not list(Path("/dev/shm").glob(f"facestream_{process.pid}_*"))
    finally:
        process.kill()
        process.wait()


def test_a_server_that_was_told_to_stop_stays_down(tiny: Path, tmp_path: Path) -> None:
    """Whoever ends Triton in order, such as an operator, means it."""
    with serve(tiny, tmp_path) as served:
        os.kill(served.triton, signal.SIGTERM)
        assert served.process.wait(30.0) == 1
        assert "the server ended by itself" in served.said
        assert "starting it again" not in served.said


def test_a_server_that_does_not_start_twice_is_given_up(tiny: Path, tmp_path: Path) -> None:
    with serve(tiny, tmp_path) as served:
        (tiny / "stage" / "1" / "model.py").write_text("raise RuntimeError('the shelf is empty')")
        served.crash()
        assert served.process.wait(60.0) == 1
        assert served.said.count("it does not start: the server did not start:\n") == 2
        assert "the shelf is empty" in served.said


def test_a_crash_of_the_first_start_is_tried_once_more(tiny: Path, tmp_path: Path) -> None:
    """Triton's Python backend can die of a lock as it starts on a machine that is out of breath."""
    program = tiny / "stage" / "1" / "model.py"
    crash = f"os.kill(os.getppid(), signal.SIGSEGV) if not os.path.exists({str(tmp_path / 'once')!r}) else None"
    program.write_text(f"import os, signal\n{crash}\nopen({str(tmp_path / 'once')!r}, 'w').close()\n{ECHO}")
    with serve(tiny, tmp_path) as served:
        assert "it does not start: killed by SIGSEGV as it started:" in served.said
        assert served.ready()


def test_somebody_elses_supervisor(tiny: Path, tmp_path: Path) -> None:
    """systemd and the like want to see the end."""
    with serve(tiny, tmp_path, "--restarts", "0") as served:
        served.crash()
        assert served.process.wait(30.0) == 1
        assert "killed by SIGSEGV" in served.said


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part of the repository that makes face parameters and speech."""
    folder = tmp_path_factory.mktemp("small")
    steps = read_config(REPOSITORY / PARAMETERS_ENSEMBLE / "config.pbtxt").ensemble_scheduling.step
    for name in [PARAMETERS_ENSEMBLE, SPEECH_MODEL, *(step.model_name for step in steps)]:
        shutil.copytree(REPOSITORY / name, folder / name)
    return folder


def test_what_clients_see_of_a_crash(small: Path, tmp_path: Path) -> None:
    """A session that may wait goes on where it was; one that may not, and a text, end with an error that names it."""
    pytest.importorskip("espeakng_loader", reason="espeak-ng is an extra: pip install -e '.[tts]'")
    with serve(small, tmp_path) as served, Client(served.grpc_url) as client:
        patient = client.session(output="parameters", resume_seconds=60.0, deadline=60.0)
        hasty = client.session(output="parameters", resume_seconds=0.0)
        speech = TextToSpeech(served.grpc_url).speak("This is said for as long as anybody wants to hear it. " * 1000)
        with patient, hasty:
            for session in (patient, hasty):
                for _ in range(10):
                    session.send(SILENCE)
            frames = [next(patient.frames()).index for _ in range(8)]
            next(hasty.frames())
            next(speech)
            served.crash()
            with pytest.raises(SessionLost, match=rf"the server at {served.grpc_url} was lost in mid-text \(UNAV"):
                list(speech)
            with pytest.raises(SessionLost, match=rf"the session at {served.grpc_url} was lost"):
                list(hasty.frames())

            def send() -> None:
                for _ in range(20):
                    patient.send(SILENCE)
                patient.finish()

            sender = threading.Thread(target=send)
            sender.start()
            frames += [frame.index for frame in patient.frames()]
            sender.join()
        assert frames == list(range(30))
        served.until_ready(2)
        assert list(TextToSpeech(served.grpc_url).speak("Hello."))
