"""What a user reads when the server does not start: out of the server's log, or of the operating system."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from facestream.server import ServerError, TritonServer, launch
from facestream.server.launch import failures
from facestream.server.log import STANDARD_OUTPUT, Log

HEAD = "1120 23:27:05.916726 19476 "


def test_a_traceback_stays_in_one_piece() -> None:
    log = (
        f'I{HEAD}model_lifecycle.cc:472] "loading: stage:1"\n'
        f'E{HEAD}model_lifecycle.cc:642] "failed to load \'stage\' version 1: Internal: ValueError: no \\"x\\"\\n\\n'
        'At:\\n  model.py(3): initialize\\n"\n'
        f'I{HEAD}server.cc:604] "bye"\n'
    )
    assert failures(log) == (
        "failed to load 'stage' version 1: Internal: ValueError: no \"x\"\nAt:\n  model.py(3): initialize"
    )


def test_the_place_of_a_syntax_error_is_kept() -> None:
    """The schema's parser speaks in another form than the server's own log."""
    log = (
        "[libprotobuf ERROR text_format.cc:337] Error parsing text-format inference.ModelConfig: 1:7: Expected string\n"
        f"E{HEAD}model_repository_manager.cc:1460] \"Poll failed for model directory 'a': failed to read text proto\"\n"
    )
    assert failures(log).splitlines() == [
        "Error parsing text-format inference.ModelConfig: 1:7: Expected string",
        "Poll failed for model directory 'a': failed to read text proto",
    ]


def test_complaints_of_every_machine_without_a_gpu_are_left_out() -> None:
    log = f'E{HEAD}server.cc:241] "CudaDriverHelper has not been initialized."\nE{HEAD}x.cc:1] "true reason"\n'
    assert failures(log) == "true reason"


def test_without_an_error_the_end_of_the_log_is_shown() -> None:
    """A server killed for memory leaves no word: its last lines are all that there is."""
    assert failures("".join(f"line {i}\n" for i in range(100))) == "\n".join(f"line {i}" for i in range(80, 100))


def test_the_last_words_are_kept_when_nobody_reads_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that was started anew: the reason of a later crash must still be told, and no thread die loudly."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as broken:
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=broken))
        log = Log(STANDARD_OUTPUT)
        log.sink.write(b"one\ntwo\n")
        log.begin()
        log.close()
    assert log.text() == "one\ntwo\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"grpc_port": 70_000}, "grpc port 70000 of 127.0.0.1 is out of range, expected 1 to 65535"),
        ({"http_port": 0}, "http port 0 of 127.0.0.1 is out of range, expected 1 to 65535"),
        (
            {"host": "192.0.2.1", "grpc_port": 8001, "http_port": 8000, "metrics_port": 8002},
            "grpc port 8001 of 192.0.2.1 is not to be had (Cannot assign requested address)",
        ),
        (
            {"grpc_port": 8001, "http_port": 8001},
            "http port 8001 of 127.0.0.1 is the grpc port, too: choose another with --host, --http-port",
        ),
        (
            {"host": "0.0.0.0", "http_host": "127.0.0.1", "grpc_port": 8001, "http_port": 8001},
            "http port 8001 of 127.0.0.1 is the grpc port, too: choose another with --http-port",
        ),
        ({"log_file": "/dev/null/folder/log"}, "log file /dev/null/folder/log cannot be written: Not a directory"),
    ],
)
def test_what_the_operating_system_refuses_is_told(tmp_path: Path, words: dict[str, Any], told: str) -> None:
    """It was a traceback, or a port that was called taken."""

    class NoProgram:
        def prepare(self, folder: Path) -> tuple[list[str], dict[str, str]]:
            return [], {}

    with pytest.raises(ServerError) as refused:
        TritonServer(tmp_path, program=NoProgram(), **words).start()
    assert told in str(refused.value)


def test_shared_memory_of_another_user_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody else's server left behind is not ours to remove, and no reason not to start."""
    monkeypatch.setattr(launch, "SHARED_MEMORY", tmp_path)
    for name in ("facestream_999999999_8001_a", "facestream_999999999_8001_b"):
        (tmp_path / name).touch()
    unlink = Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self.name.endswith("_a"):
            raise PermissionError
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert launch.remove_stale_shared_memory() == 1
    assert [region.name for region in tmp_path.iterdir()] == ["facestream_999999999_8001_a"]


def test_stages_without_a_server_are_ended(tmp_path: Path) -> None:
    """A launcher killed while the server starts left them behind for ever, 150 MB each; those of a live one stay."""
    words = ["/there/triton_python_backend_stub", "-c", "input()", "facestream_7_8001_region"]
    stage = f"subprocess.Popen({words!r}, executable=sys.executable, stdin=sys.stdin)"
    live = (
        "import ctypes, subprocess, sys; ctypes.CDLL(None).prctl(15, b'tritonserver')\n"  # PR_SET_NAME
        f"stage = {stage}; print(stage.pid, flush=True); stage.wait()"
    )
    with (
        subprocess.Popen(words, executable=sys.executable, stdin=subprocess.PIPE) as left,
        subprocess.Popen([sys.executable, "-c", live], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server,
    ):
        assert server.stdout is not None
        kept = int(server.stdout.readline())
        command = Path(f"/proc/{kept}/cmdline")
        deadline = time.monotonic() + 10.0
        while not command.read_bytes().startswith(b"/there/") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert launch.end_stale_stages() >= 1
        assert left.wait(10.0) == -signal.SIGKILL
        assert server.poll() is None
        assert command.read_bytes().startswith(b"/there/")


class _Web(BaseHTTPRequestHandler):
    """Answers that it is ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_a_proxy_is_not_asked_whether_the_server_is_ready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a company's proxy in the environment the server was up, and `serve` waited for it in vain."""
    monkeypatch.setattr(urllib.request, "_opener", None)  # made for the environment that there was
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Web) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        server = TritonServer(tmp_path, http_port=web.server_port)
        monkeypatch.setattr(server, "_process", SimpleNamespace(poll=lambda: None))
        assert server.ready()
        web.shutdown()


@pytest.mark.parametrize(("host", "reached"), [("::1", "[::1]"), ("::", "[::1]"), ("0.0.0.0", "127.0.0.1")])
def test_addresses_of_ipv6_are_written_as_each_part_of_triton_reads_them(
    tmp_path: Path, host: str, reached: str
) -> None:
    """`serve --host ::1` ended with "already in use"; with brackets alone its metrics were at 255.255.255.255."""
    server = TritonServer(tmp_path, host=host, http_host="127.0.0.1", grpc_port=8001, http_port=8000, metrics_port=8002)
    options = dict(word.partition("=")[::2] for word in server._options())
    assert options["--grpc-address"] == (f"[{host}]" if ":" in host else host)
    assert options["--metrics-address"] == (f"ipv6:{host}" if ":" in host else host)
    assert options["--http-address"] == "127.0.0.1"
    assert server.grpc_url == f"{reached}:8001"
    assert server.metrics_url == f"http://{reached}:8002/metrics"
