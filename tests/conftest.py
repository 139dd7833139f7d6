"""What all tests share."""

from __future__ import annotations

import signal
import sys


def pytest_configure() -> None:
    """Give programs under test the signals of a terminal.

    A run under nohup, or in the background of a script, is started with some of them ignored, and so would be each
    program that a test starts and ends by them. A handler is not inherited, so here they still do nothing.
    """
    names = ("SIGINT", "SIGHUP") if sys.platform != "win32" else ()
    for number in (getattr(signal, name) for name in names):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
