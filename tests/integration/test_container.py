"""What NVIDIA's image runs, with the server of pip's wheel in the place of the image's own `tritonserver`."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from facestream.server import libpython, wheel
from facestream.server.program import ADMIN_HEADER
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from tests.integration.tiny import add_python

KEY = "0123456789abcdef"

ECHO = """
import numpy as np
import triton_python_backend_utils as pb_utils
from facestream.triton_tensor import to_triton

class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([to_triton("OUT", np.zeros((1, 1), np.float32))]) for _ in requests]
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the front of PATH: `tritonserver` in it is the wheel's, with its Python backend."""
    server = wheel.Server.fetched()
    library = libpython.find()
    assert library is not None
    folder = tmp_path_factory.mktemp("image")
    (folder / "backends").mkdir()
    (folder / "backends" / "python").symlink_to(server.python_backend)
    (folder / "python3").symlink_to(sys.executable)
    program = folder / "tritonserver"
    program.write_text(
        f"#!/bin/sh\nexport LD_LIBRARY_PATH={server.libraries}:{library.parent}\n"
        f'export PATH={Path(sys.executable).parent}:"$PATH"\n'
        f'exec {server.program} --backend-directory={folder}/backends --pinned-memory-pool-byte-size=0 "$@"\n'
    )
    program.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    add_python(folder, "first", ECHO)
    add_python(folder, "second", ECHO)
    return folder


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@contextmanager
def container(
    programs: Path, models: Path, log: Path, *words: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The running process and its HTTP port; ended by SIGKILL where a test has not ended it."""
    ports = free_ports(3)
    command = [sys.executable, "-m", "facestream.server.container", "--models", str(models), *words]
    command += ["--ports", *map(str, ports)]
    variables = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", **environment}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=variables)
        try:
            deadline = time.monotonic() + 60.0
            while "\nready: " not in log.read_text() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            assert "\nready: " in log.read_text(), log.read_text()
            yield process, ports[0]
        finally:
            process.kill()
            process.wait()


def post(port: int, path: str, **headers: str) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=b"", headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30.0) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def ready(port: int, model: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/{model}/ready", timeout=5.0) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False


def test_the_log_is_seen_and_sigterm_ends_it_in_order(programs: Path, models: Path, tmp_path: Path) -> None:
    """`docker compose logs` shows what the server says, and `docker compose stop` cuts no session off."""
    with container(programs, models, tmp_path / "log", "--drain-seconds", "20") as (process, port):
        assert post(port, "/v2/repository/models/first/unload") != 200, "nobody was given the key"
        process.send_signal(signal.SIGTERM)
        assert process.wait(40.0) == 0
    log = (tmp_path / "log").read_text()
    assert "facestream: serving" in log
    assert re.search(r"successfully loaded 'first'", log), "the server's own log"
    assert "draining" in log


def test_a_dead_stage_ends_the_container(programs: Path, models: Path, tmp_path: Path) -> None:
    """Triton never starts a dead stage again and goes on to say ready: only a restart mends it."""
    with container(programs, models, tmp_path / "log") as (process, _):
        stubs = subprocess.run(
            ["pgrep", "-f", f"triton_python_backend_stub {models}/first/"], capture_output=True, text=True, check=True
        ).stdout.split()
        os.kill(int(stubs[0]), signal.SIGKILL)
        assert process.wait(30.0) == 1
    assert "stage first" in (tmp_path / "log").read_text()


def test_the_key_alone_lets_models_be_loaded(programs: Path, models: Path, tmp_path: Path) -> None:
    """Whoever may load a model may send one, which runs as the server: without the key that must be refused."""
    with container(programs, models, tmp_path / "log", FACESTREAM_ADMIN_KEY=KEY) as (_, port):
        assert ready(port, "first")
        assert ready(port, "second")
        with InferenceServerClient(f"127.0.0.1:{port_of_grpc(tmp_path / 'log')}") as client:
            with pytest.raises(InferenceServerException, match="restricted"):
                client.unload_model("first")
            client.unload_model("first", headers={f"triton-grpc-protocol-{ADMIN_HEADER}": KEY})
        unload = "/v2/repository/models/second/unload"
        assert post(port, unload) != 200
        assert post(port, unload, **{ADMIN_HEADER: "x" * 16}) != 200
        assert ready(port, "second")
        assert post(port, unload, **{ADMIN_HEADER: KEY}) == 200
        deadline = time.monotonic() + 20.0
        while ready(port, "second") and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not ready(port, "second")
        assert post(port, "/v2/repository/models/second/load", **{ADMIN_HEADER: KEY}) == 200
        assert ready(port, "second")


@pytest.mark.parametrize("word", ["--old-release", "--from-wheel"])
def test_http_can_be_kept_inside(programs: Path, models: Path, tmp_path: Path, word: str) -> None:
    """Triton 24.09 and 24.10 have known holes in their HTTP server: a mistaken `ports:` must not open them."""
    with container(programs, models, tmp_path / "log", word) as (_, port):
        assert ready(port, "first")
        # 127.0.0.2 is this machine by another address: who listens on all of them answers there, too.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=2.0)
        socket.create_connection(("127.0.0.2", port_of_grpc(tmp_path / "log")), timeout=2.0).close()


def port_of_grpc(log: Path) -> int:
    match = re.search(r"^ready: gRPC [\d.]+:(\d+)", log.read_text(), flags=re.MULTILINE)
    assert match is not None
    return int(match[1])
