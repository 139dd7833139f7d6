"""`facestream doctor` is what a newcomer runs when nothing works: each finding has to name its cure."""

from __future__ import annotations

import argparse
import platform
import socket
import sys
from pathlib import Path

import pytest
from facestream.cli import doctor, serve
from facestream.cli.finding import Finding
from facestream.server import ServerError, libpython, wheel
from facestream.server.program import WheelProgram


def report(repository: Path | None, ports: list[int]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in doctor.examine(repository, "127.0.0.1", ports)}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """With one network, which is absent, and no avatars."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "config.pbtxt").write_text('name: "net"\nbackend: "onnxruntime"\n')
    return tmp_path


def test_whatever_is_missing_comes_with_a_remedy(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.31"))
    monkeypatch.setattr(libpython, "find", lambda: None)
    missing = {name: one for name, one in report(repository, []).items() if one.level == "missing"}
    assert {"machine", "C library", "libpython", "models", "avatars"} <= set(missing)
    assert all(one.remedy for one in missing.values())
    assert "2.35" in missing["C library"].text
    assert "net" in missing["models"].text


@pytest.mark.parametrize("version", ["2.35", "2.36", "3.0"])
def test_newer_c_libraries_are_fine(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", version))
    assert report(None, [])["C library"].level == "ok"


def test_musl_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alpine: pip would say only that no distribution matches."""
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert report(None, [])["C library"].level == "missing"


def test_a_missing_voice_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """espeak-ng is an extra under the GPL: who does without it must not be told that something is broken."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    found = report(None, [])["speech"]
    assert found.level == "note"
    assert found.remedy == f"pip install -e '{wheel.checkout()}[tts]'", "no index has the package"


def test_a_complete_repository_is_fine(repository: Path) -> None:
    (repository / "net" / "1").mkdir()
    (repository / "net" / "1" / "model.onnx").touch()
    shelf = repository / "avatar_store" / "avatars"
    shelf.mkdir(parents=True)
    (shelf / "ada.avatar").touch()
    found = report(repository, [])
    assert (found["models"].level, found["avatars"].level, found["avatars"].text) == ("ok", "ok", "ada")


def test_a_taken_port_is_noted() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert report(None, [port])[f"port {port}"].level == "note"


def test_a_server_not_fetched_yet_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first start fetches it; exit status 1 would stop a set-up script for nothing."""
    monkeypatch.setenv("FACESTREAM_HOME", str(tmp_path))
    assert report(None, [])["server"].level == "note"
    (tmp_path / wheel.SERVER.folder).mkdir()
    assert report(None, [])["server"].level == "ok"


def test_for_the_containers_the_client_alone_is_enough(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the README has it: `pip install .`, then the doctor, in the clone; it asked for packages of the image."""
    (repository / "net").rename(repository / "model_repository")
    monkeypatch.chdir(repository)
    monkeypatch.setattr(doctor, "default_repository", lambda: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    monkeypatch.setattr(libpython, "find", lambda: None)
    arguments = argparse.Namespace(repository=None, host="127.0.0.1", ports=[], gpu=True)
    doctor.run(arguments)
    lines = capsys.readouterr().out.splitlines()
    missing = {line.split(maxsplit=2)[1] for line in lines if line.startswith("missing")}
    assert not missing & {"packages", "libpython", "server"}
    assert any(line.startswith("note     packages") for line in lines)
    assert not any("none here" in line for line in lines)


def test_a_clone_whose_path_the_stages_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone in ~/Téléchargements: all stages were "not healthy", without a reason."""
    monkeypatch.setattr(sys, "prefix", "/home/eva/Téléchargements/.venv")
    found = report(None, [])["Python"]
    assert found.level == "missing"
    assert "/home/eva/Téléchargements/.venv" in found.text
    with pytest.raises(ServerError, match=r"/home/eva/Téléchargements/\.venv: .* letters beyond ASCII: move the clone"):
        WheelProgram().prepare(tmp_path)


def test_the_exit_status_tells_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = argparse.Namespace(repository=Path("/no/such/folder"), host="127.0.0.1", ports=[], gpu=False)
    assert doctor.run(arguments) == 1
    assert "/no/such/folder is not a folder" in capsys.readouterr().out


def test_serve_refuses_a_key_that_is_guessed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACESTREAM_ADMIN_KEY", "secret")
    parser = argparse.ArgumentParser()
    serve.add_parser(parser.add_subparsers())
    options = parser.parse_args(["serve"])
    assert options.func(options) == 2
    told = capsys.readouterr().err
    assert "FACESTREAM_ADMIN_KEY has 6 characters" in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--max-sessions", "0"], "--max-sessions is 0: expected 1 or more"),
        (["--avatars", "/no/such/folder"], "--avatars /no/such/folder is not a folder"),
        (["--voices", "/no/such/folder"], "--voices /no/such/folder is not a folder"),
        (["--repository", str(Path(__file__).parent)], f"{Path(__file__).parent} holds no model: expected folders"),
        (["--repository", "/no/such/folder"], "model repository /no/such/folder is not a folder"),
    ],
)
def test_serve_refuses_wrong_options_before_it_starts(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    serve.add_parser(parser.add_subparsers())
    options = parser.parse_args(["serve", *words])
    assert options.func(options) in (1, 2)
    assert told in capsys.readouterr().err
