"""The real server, started once for all integration tests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from facestream.server import TritonServer

REPOSITORY = Path(__file__).parents[2] / "model_repository"


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """The whole model repository as it is served; its log is kept under pytest's temporary folder."""
    log = tmp_path_factory.mktemp("server") / "server.log"
    server = TritonServer(REPOSITORY, log_file=log)
    begin = time.monotonic()
    server.start()
    reporter = pytestconfig.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"server ready after {time.monotonic() - begin:.1f} s, log {log}")
    yield server
    server.stop()
