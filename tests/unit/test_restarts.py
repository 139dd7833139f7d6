"""How often and how soon a server that died is started again."""

from __future__ import annotations

from pathlib import Path

from facestream.server.log import Log
from facestream.server.restarts import LONGEST_DELAY_SECONDS, WINDOW_SECONDS, Restarts


def test_the_first_restart_is_at_once_and_the_next_ones_wait_longer() -> None:
    """A session can be had back within 5 s; a server that dies at once again must not keep the machine busy."""
    restarts = Restarts(limit=9)
    assert [restarts.after_death(float(now)) for now in range(9)] == [0, 1, 2, 4, 8, 16, 30, 30, 30]
    assert LONGEST_DELAY_SECONDS == 30
    assert restarts.after_death(9.0) is None


def test_deaths_of_long_ago_do_not_count() -> None:
    """A server that crashes once a day is started again for ever."""
    restarts = Restarts(limit=2)
    for day in range(10):
        assert restarts.after_death(day * 86_400.0) == 0
    assert restarts.after_death(9 * 86_400.0 + WINDOW_SECONDS - 1) == 1
    assert restarts.after_death(9 * 86_400.0 + WINDOW_SECONDS - 1) is None
    assert restarts.after_death(9 * 86_400.0 + WINDOW_SECONDS) is not None


def test_two_failed_starts_in_a_row_are_the_end() -> None:
    """A repository that was broken meanwhile stays broken."""
    restarts = Restarts()
    assert restarts.after_death(0.0) == 0
    assert restarts.after_failed_start(1.0) == 1
    restarts.started()
    assert restarts.after_failed_start(2.0) == 2
    assert restarts.after_failed_start(3.0) is None


def test_the_log_goes_on_and_tells_each_process_apart(tmp_path: Path) -> None:
    """The trace of a crash is what a bug report needs; the reasons of a failed start are this start's alone."""
    file = tmp_path / "log"
    file.write_text("of yesterday\n")
    for number, go_on in ((1, False), (2, True)):
        log = Log(file, go_on)
        log.sink.write(b"server %d\n" % number)
        log.begin()
        assert log.text() == f"server {number}\n"
        log.close()
    assert file.read_text() == "server 1\nserver 2\n"
