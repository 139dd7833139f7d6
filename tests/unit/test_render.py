"""The command line: what users type, and what they are told when it is wrong."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from facestream.cli.main import main
from facestream.errors import ServerUnavailable
from facestream.parameters import PARAMETERS
from facestream.report import Report
from facestream.session import Client
from facestream.video import decode
from fake_triton import FakeTriton


@pytest.fixture
def server() -> Iterator[FakeTriton]:
    fake = FakeTriton()
    yield fake
    fake.stop()


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    soundfile.write(path, 0.1 * np.sin(np.arange(16_000) / 5), 16_000)
    return path


def test_film(server: FakeTriton, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One command from a sound file to a film with sound, and the figures of the run."""
    film = tmp_path / "film.mp4"
    words = ["render", str(speech), "--avatar", "ada", "-o", str(film), "--url", server.url, "--pictures"]
    assert main([*words, "--emotion", "happy=0.5", "--quality", "high"]) == 0
    assert len(decode(film).pictures) == 30
    assert abs(len(decode(film).sound) / 16_000 - 1.0) <= 1024 / 16_000
    printed = capsys.readouterr().out
    assert "30 (1.00 s of video)" in printed
    assert "high: 30 frames" in printed
    assert {(seen.emotion[1], seen.quality) for seen in server.seen} == {(0.5, 3)}


def test_table_of_parameters(server: FakeTriton, speech: Path, tmp_path: Path) -> None:
    """Users with their own 3-D face take the parameters, by name."""
    path = tmp_path / "face.csv"
    assert main(["render", str(speech), "-o", str(path), "--url", server.url, "--quiet", "--seed", "7"]) == 0
    assert {seen.correlation_id for seen in server.seen} == {7}
    rows = list(csv.reader(path.open()))
    assert rows[0] == ["frame", "time_s", *(parameter.name for parameter in PARAMETERS)]
    assert len(rows) == 31
    assert all(len(row) == 75 for row in rows)


def test_a_lost_server_is_waited_for_as_long_as_the_user_says(
    server: FakeTriton, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that restarts slowly would cost a long film; by default it is given five seconds."""
    server.break_at = [3]
    words = ["render", str(speech), "-o", str(tmp_path / "face.csv"), "--url", server.url, "--quiet"]
    assert main([*words, "--resume", "0"]) == 1
    assert "lost" in capsys.readouterr().err
    server.break_at = [3]
    assert main([*words, "--resume", "2"]) == 0


def test_no_server_says_how_to_start_one(speech: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The most frequent first error of all."""
    assert main(["render", str(speech), "--avatar", "ada", "--url", "127.0.0.1:9"]) == 1
    message = capsys.readouterr().err
    assert "127.0.0.1:9" in message
    assert "facestream serve" in message


def test_refusal_is_one_line(
    server: FakeTriton, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Users get the server's words, not a traceback."""
    server.refuse_start = ["bad input: avatar 'eva' is not here, expected one of ada"]
    words = ["render", str(speech), "--avatar", "eva", "-o", str(tmp_path / "film.mp4"), "--url", server.url]
    assert main([*words, "--pictures"]) == 1
    assert capsys.readouterr().err.strip().endswith("bad input: avatar 'eva' is not here, expected one of ada")


def test_what_is_wrong_with_the_sound_is_told_once(
    server: FakeTriton, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In words and without a line of Python: a user should know why the mouth is not at its best."""
    path = tmp_path / "phone.wav"
    soundfile.write(path, np.outer(np.sin(np.arange(8_000) / 5), [0.2, 0.1]) + 0.3, 8_000, subtype="FLOAT")
    assert main(["render", str(path), "-o", str(tmp_path / "face.csv"), "--url", server.url]) == 0
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if line.startswith(str(path))] == [
        f"{path} has 2 channels: the mouth follows the mean of them",
        f"{path} has an offset of +0.30 of full scale; the mouth does not follow it",
        f"{path} holds nothing above 4000 Hz, as on a telephone: hissing sounds look less exact",
    ]
    assert not any("Warning" in line for line in told)


def test_broken_sound_opens_no_session(server: FakeTriton, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sample that is none, at the end of a file: told before the first frame, not after an hour of them."""
    path = tmp_path / "broken.wav"
    soundfile.write(path, np.append(np.zeros(100_000), np.nan), 24_000, subtype="FLOAT")
    assert main(["render", str(path), "-o", str(tmp_path / "face.csv"), "--url", server.url]) == 1
    expected = f"facestream render: {path}: sample 100000 (4.167 s) is nan, expected finite numbers in [-1, 1]"
    assert capsys.readouterr().err.strip() == expected
    assert not server.seen
    assert not (tmp_path / "face.csv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--avatar", "ada", "-o", "film.avi"], "film.avi; expected a name that ends in .mp4 or .csv"),
        ([], "--avatar NAME"),
        (["--avatar", "ada", "--emotion", "happy=much"], "NAME=INTENSITY"),
        (["--avatar", "ada", "--url", "localhost"], "url is 'localhost'; expected HOST:PORT"),
    ],
)
def test_wrong_options(speech: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Told before a server is asked or a file is touched."""
    assert main(["render", str(speech), *words]) == 1
    assert message in capsys.readouterr().err


def test_light_install_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the client alone, `avatar` must name the extra, and `render` must not need it."""
    monkeypatch.setitem(sys.modules, "facestream.cli.avatar", None)
    assert main(["avatar", "build", "photo.jpg"]) == 1
    assert "pip install -e '.[server]'" in capsys.readouterr().err


def test_whoever_reads_may_stop_reading() -> None:
    """`facestream parameters | head` must not end in a traceback."""
    command = (
        f"{sys.executable} -m facestream.cli.main parameters --json | head -c 10 >/dev/null; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout in ("0\n", "141\n"), "0 where the pipe took all before it was closed"


@pytest.mark.parametrize(
    ("where", "status", "told"),
    [
        (">&-", "0", ""),
        (">/dev/full", "1", "facestream parameters: standard output cannot be written: No space left on device"),
    ],
)
def test_output_that_nobody_can_take(where: str, status: str, told: str) -> None:
    """Closed, as some supervisors leave it, or on a full disk: both ended in a traceback."""
    command = f"{sys.executable} -m facestream.cli.main parameters {where}; echo $? >&2"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr.split("\n") == [*filter(None, [told]), status, ""]


def test_a_name_that_the_locale_cannot_write(server: FakeTriton, speech: Path, tmp_path: Path) -> None:
    """The film was there, and the line that says so a traceback: names of other systems are not always UTF-8."""
    film = os.fsencode(tmp_path) + b"/f\xfclm.csv"
    words = ["render", str(speech), "-o", film, "--url", server.url]
    done = subprocess.run(
        [sys.executable, "-m", "facestream.cli.main", *words],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.endswith(b"f\\udcfclm.csv\n")
    assert os.path.exists(film)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_film_that_is_ended_can_be_played(server: FakeTriton, tmp_path: Path, end: signal.Signals) -> None:
    """`timeout`, a supervisor and a lost ssh connection left hours of film behind that no player opened."""
    server.seconds = 0.02
    sound, film = tmp_path / "long.wav", tmp_path / "film.mp4"
    soundfile.write(sound, np.zeros(24_000 * 60, np.float32), 24_000)
    words = ["render", str(sound), "--avatar", "ada", "-o", str(film), "--url", server.url, "--pictures", "--quiet"]
    process = subprocess.Popen([sys.executable, "-m", "facestream.cli.main", *words], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30.0
    while len(server.seen) < 30 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(end)
    assert process.wait(20.0) == 128 + end
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert 10 <= len(decode(film).pictures) < 1800


def test_nohup_outlives_its_terminal(server: FakeTriton, speech: Path, tmp_path: Path) -> None:
    """Whoever has SIGHUP ignored means it."""
    server.seconds = 0.02
    words = ["render", str(speech), "-o", str(tmp_path / "face.csv"), "--url", server.url, "--quiet"]
    command = f"trap '' HUP; exec {sys.executable} -m facestream.cli.main {' '.join(words)}"
    process = subprocess.Popen(["bash", "-c", command])
    deadline = time.monotonic() + 30.0
    while not server.seen and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    assert process.wait(20.0) == 0


def test_client_needs_no_heavy_package() -> None:
    """The light install must stay light: nothing of the client may import a package of an extra."""
    program = (
        "import sys; import facestream.aio, facestream.cli.render, facestream.cli.say, facestream.cli.main; "
        "print([name for name in ('torch', 'onnx', 'onnxruntime', 'openvino', 'cv2', 'scipy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["film.mp4", "face.csv"])
def test_a_refused_session_leaves_the_file_as_it_was(
    server: FakeTriton, speech: Path, tmp_path: Path, name: str
) -> None:
    """A misspelt avatar must not cost the film that was made yesterday."""
    server.refuse_start = ["bad input: avatar 'eva' is not here, expected one of ada"] * 2
    words = ["render", str(speech), "--avatar", "eva", "--url", server.url, "--pictures"]
    (tmp_path / name).write_text("yesterday")
    assert main([*words, "-o", str(tmp_path / name)]) == 1
    assert (tmp_path / name).read_text() == "yesterday"
    assert main([*words, "-o", str(tmp_path / f"new-{name}")]) == 1
    assert not (tmp_path / f"new-{name}").exists()


@pytest.mark.parametrize("name", ["film.mp4", "face.csv"])
def test_a_full_disk_is_one_line(
    server: FakeTriton, speech: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).symlink_to("/dev/full")
    words = ["render", str(speech), "--avatar", "ada", "-o", str(tmp_path / name), "--url", server.url, "--pictures"]
    assert main([*words, "--quiet"]) == 1
    told = capsys.readouterr().err.strip()
    assert told == f"facestream render: {tmp_path / name} cannot be written: No space left on device"


def test_a_server_that_is_gone_behind_the_last_frame_costs_nothing(
    server: FakeTriton,
    speech: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The film is complete: only the server's own times are missing from the report."""
    answers = iter([server.statistics])

    def statistics(self: Client, timeout: float = 5.0) -> object:
        for answer in answers:
            return answer
        raise ServerUnavailable("no statistics")

    monkeypatch.setattr(Client, "statistics", statistics)
    assert main(["render", str(speech), "-o", str(tmp_path / "face.csv"), "--url", server.url]) == 0
    assert "wrote" in capsys.readouterr().out


def test_a_server_of_its_own_and_another_one(speech: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The address was ignored in silence, and a server started beside the one that was meant."""
    with pytest.raises(SystemExit):
        main(["render", str(speech), "--avatar", "ada", "--serve", "--url", "gpu:8001"])
    assert "not allowed with argument" in capsys.readouterr().err


def test_ctrl_c_while_a_command_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first half second is imports: who notices a typing error at once gets no traceback."""

    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("facestream.cli.main.importlib.import_module", interrupted)
    assert main(["render", "speech.wav"]) == 130


def test_the_latency_of_a_paced_run_is_that_of_a_conversation(
    server: FakeTriton, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two frames that silence fetches at the end are not the user's."""
    flushed = []
    of = Report.of

    def noted(*words: Any, **more: Any) -> Report:
        flushed.append(more["flushed"])
        return of(*words, **more)

    monkeypatch.setattr(Report, "of", noted)
    words = ["render", str(speech), "-o", str(tmp_path / "face.csv"), "--url", server.url, "--quiet"]
    assert main(words) == main([*words, "--realtime"]) == 0
    assert flushed == [0, 2]
