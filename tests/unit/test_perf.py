"""The figures in perf/results are compared between machines and commits: what they rest on is held here."""

from __future__ import annotations

import base64
import os
import platform
import re
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from facestream.contract import CHUNK_SAMPLES
from facestream.errors import ServerUnavailable, SessionRefused
from facestream.server import wheel

from perf import (
    bench_say,
    bench_smoke,
    leave_in_mid_text,
    machine,
    perf_analyzer,
    process_memory,
    processor_time,
)


def test_the_machines_name_is_a_folder_and_tells_nobodys_host() -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*-\d+-cores?", machine.slug())
    assert platform.node() not in str(machine.describe())


def test_perf_analyzer_sends_the_sound_unchanged() -> None:
    """Its figures would be those of silence, which costs another time."""
    sound = np.linspace(-1, 1, 2 * CHUNK_SAMPLES + 7, dtype=np.float32)
    (steps,) = perf_analyzer.input_data(sound, "ada", "h264")["data"]
    assert [sorted(step) for step in steps] == [["AUDIO", "AVATAR", "EMOTION", "QUALITY"]] * 2
    second = base64.b64decode(steps[1]["AUDIO"]["content"]["b64"])
    np.testing.assert_array_equal(np.frombuffer(second, "<f4"), sound[CHUNK_SAMPLES : 2 * CHUNK_SAMPLES])
    assert base64.b64decode(steps[0]["AVATAR"]["content"]["b64"]).rstrip(b"\0") == b"ada"


def test_memory_is_that_of_the_whole_group() -> None:
    """In MiB, and shared pages once: an interpreter with numpy takes tens of them."""
    memory = process_memory.of_group(os.getpgid(0))
    assert memory.rss >= memory.pss > 10


def test_processor_time_of_others_is_told_apart() -> None:
    """Figures from a busy machine would pass for those of the server."""
    before = processor_time.Snapshot(all=100.0, server=10.0, triton=3.0, client=1.0, clock=0.0)
    after = processor_time.Snapshot(all=118.0, server=19.0, triton=4.0, client=2.0, clock=10.0)
    share = processor_time.between(before, after)
    assert (share.server, share.triton, share.client, share.others) == (0.9, 0.1, 0.1, 0.8)


def test_the_own_processor_time_is_seen() -> None:
    group = os.getpgid(0)
    before = processor_time.snapshot(group)
    while processor_time.snapshot(group).client < before.client + 0.1:
        pass
    after = processor_time.snapshot(group)
    assert after.all > before.all
    assert after.server > before.server


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What runs in the place of NVIDIA's perf_analyzer; a test writes it."""
    for library in ("libb64-1.so", "libcudart-2.so"):
        (tmp_path / library).touch()
    (tmp_path / "perf_analyzer").touch(0o755)
    monkeypatch.setattr(wheel, "fetch", lambda _: tmp_path)
    server = wheel.Server(tmp_path, tmp_path, tmp_path)
    monkeypatch.setattr(wheel.Server, "fetched", classmethod(lambda cls: server))
    return tmp_path / "perf_analyzer"


def analyzed() -> dict[str, float]:
    return perf_analyzer.run("localhost:8001", np.zeros(CHUNK_SAMPLES, np.float32), "ada", "h264")


def test_perf_analyzers_microseconds_are_told_in_milliseconds(program: Path) -> None:
    """Each by its own share of the frames, beside our client's figures."""
    program.write_text(
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do [ $1 = -f ] && file=$2; shift; done\n"
        'printf "Rate,p50 latency,p90 latency,p95 latency,p99 latency\\n30,28100,31000,33500,38900\\n" > $file\n'
    )
    assert analyzed() == {"p50": 28.1, "p90": 31.0, "p95": 33.5, "p99": 38.9}


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("echo 'no stable figure'; exit 1", "no stable figure"),
        ("exit 0", "^$"),
        ("exec sleep 60", "not done after 0.2 s"),
    ],
)
def test_a_perf_analyzer_without_figures_is_told(
    program: Path, monkeypatch: pytest.MonkeyPatch, does: str, told: str
) -> None:
    """bench_smoke catches this error alone: by another one, all that it had measured before would be lost."""
    monkeypatch.setattr(perf_analyzer, "LONGEST_SECONDS", 0.2 if "sleep" in does else 60.0)
    program.write_text(f"#!/bin/sh\n{does}\n")
    with pytest.raises(perf_analyzer.PerfAnalyzerError, match=told):
        analyzed()


@pytest.mark.parametrize(
    ("command", "words", "told"),
    [
        (bench_smoke, ["--seconds", "0"], "--seconds is 0, expected 1 or more"),
        (bench_smoke, ["--seconds", "nan"], "--seconds is nan, expected 1 or more"),
        (bench_say, ["--trials", "0"], "--trials is 0, expected 1 or more"),
        (leave_in_mid_text, ["--leaves", "0"], "--leaves is 0, expected 1 or more"),
        (leave_in_mid_text, ["--clients", "-1"], "--clients is -1, expected 1 or more"),
    ],
)
def test_nothing_to_measure_is_refused(
    command: Any, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The latency of no frame is 0 ms and meets its target; no client never ends."""
    with pytest.raises(SystemExit):
        command.main(words)
    assert told in capsys.readouterr().err


class Server:
    """Stands for a server of `tts`, which runs until a client crashes it."""

    grpc_url = "here"

    def __init__(self, *_: object, **__: object) -> None:
        self.status: int | None = None

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def running(self) -> bool:
        return self.status is None

    def wait(self, seconds: float) -> int | None:
        return self.status


def test_leaving_that_fails_on_a_running_server_ends_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without espeak-ng each text fails: no crash, and clients that try again never come to an end."""

    def refused(url: str, chunks: int) -> float:
        raise SessionRefused("espeak-ng is not installed")

    monkeypatch.setattr(leave_in_mid_text, "TritonServer", Server)
    monkeypatch.setitem(leave_in_mid_text.WAYS, "stop", refused)
    with pytest.raises(SessionRefused, match="espeak-ng is not installed"):
        leave_in_mid_text.leave("stop", 3, 2)


def test_crashes_are_counted_with_what_clients_saw_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two crashes in ten leaves are 200 in a thousand; Garwood's interval for two is 0.242 to 7.225."""
    servers: list[Server] = []
    left: list[int] = []

    def start(*words: object, **options: object) -> Server:
        servers.append(Server())
        return servers[-1]

    def leave(url: str, chunks: int) -> float:
        if len(left) in (4, 7) and len(servers) <= (4, 7).index(len(left)) + 1:
            servers[-1].status = -signal.SIGSEGV
            raise ServerUnavailable("connection reset")
        left.append(chunks)
        return 0.002

    monkeypatch.setattr(leave_in_mid_text, "TritonServer", start)
    monkeypatch.setitem(leave_in_mid_text.WAYS, "cancel", leave)
    monkeypatch.setattr(leave_in_mid_text, "TextToSpeech", lambda url: SimpleNamespace(speak=lambda text: ["Hello."]))
    found = leave_in_mid_text.leave("cancel", 10, 1)
    assert (found["leaves"], found["crashes"], found["by"]) == (10, 2, {"SIGSEGV": 2})
    assert found["other_errors_seen_by_clients"] == {"ServerUnavailable": 2}
    assert found["crashes_in_1000_leaves"] == pytest.approx({"rate": 200.0, "low": 24.2, "high": 722.5}, abs=0.1)
    assert found["leaving_ms"] == {"p50": 2.0, "max": 2.0}
