"""Running a server until it is told to stop: signals, draining, and what is done when it dies.

A server that was killed by a signal, such as by its own SIGSEGV, or one of whose stages was, is started again where the
caller says so: `facestream serve` does. In a container it ends, for the container has a supervisor already, and two
would count each other's restarts wrongly. While it is down its ports are closed, so a health check fails by itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import NamedTuple, TextIO

from facestream.server.errors import ServerCrashed, ServerError
from facestream.server.launch import EXIT_SECONDS, TOLD_TO_STOP, TritonServer, signal_name
from facestream.server.restarts import WINDOW_SECONDS, Restarts
from facestream.server.wheel import FetchError

LOOK_SECONDS = 0.2
"""From one look at whether the server lives to the next."""

LOOKS_FOR_STAGES = 5
"""At every so many of them it is also looked whether its stages live, which is a walk through /proc."""


class Fault(NamedTuple):
    """Why a server is no longer whole."""

    what: str
    """In a user's words."""
    crash: bool
    """It was killed by a signal, or a stage was. Otherwise it was told to end, or refuses to go on and would again."""


def watch(
    server: TritonServer, drain_seconds: float, start_seconds: float = 120.0, restarts: Restarts | None = None
) -> int:
    """Run a server until a signal comes (returns 0), or until it has died and is not to be started again (returns 1).

    drain_seconds: how long live sessions have to end on SIGTERM, and where the terminal is closed. start_seconds: how
    long the models may load. restarts: how often a server that crashed is started again; None: never.
    """
    with _Signals() as signals:
        try:
            try:
                _start(server, start_seconds, signals)
            except ServerCrashed as error:
                if restarts is None:
                    raise
                _tell(f"facestream serve: it does not start: {error}", sys.stderr)
                delay = restarts.after_failed_start(time.monotonic())
                if not _start_again(server, start_seconds, signals, restarts, delay):
                    return 1
            while (fault := _fault(server, signals.told)) is not None:
                _tell(f"facestream serve: {fault.what}:\n{_last_words(server)}", sys.stderr)
                if restarts is None or not fault.crash:
                    return 1
                delay = restarts.after_death(time.monotonic())
                if not _start_again(server, start_seconds, signals, restarts, delay):
                    return 1
            if signals.received[0] != signal.SIGINT and drain_seconds > 0.0:
                _tell(f"draining: no new sessions, live ones have {drain_seconds:g} s", sys.stdout)
                signal.signal(signal.SIGINT, signal.default_int_handler)  # a Ctrl-C now: enough waited
                with contextlib.suppress(KeyboardInterrupt):
                    server.drain(drain_seconds)
            return 0
        except KeyboardInterrupt:
            return 0
        except (FetchError, ServerError) as error:
            _tell(f"facestream serve: {error}", sys.stderr)
            return 1
        finally:
            signals.interrupting = False
            server.stop()


class _Signals:
    """SIGTERM, SIGINT, and SIGHUP unless it is ignored, as by nohup: they are noted, and interrupt what is being done
    where that has nothing to be drained."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.told = threading.Event()
        self.interrupting = True

    def __enter__(self) -> _Signals:
        wanted = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            wanted.append(signal.SIGHUP)
        self._previous = {number: signal.signal(number, self._note) for number in wanted}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        self.told.set()
        if self.interrupting:
            raise KeyboardInterrupt


def _start(server: TritonServer, seconds: float, signals: _Signals) -> None:
    server.start(seconds)
    signals.interrupting = False
    _tell(f"ready: gRPC {server.grpc_url}, HTTP {server.http_url}, metrics {server.metrics_url}", sys.stdout)


def _start_again(
    server: TritonServer, seconds: float, signals: _Signals, restarts: Restarts, delay: float | None
) -> bool:
    """Start a server that crashed; False where it is given up. A signal meanwhile is a KeyboardInterrupt."""
    signals.interrupting = True
    if signals.told.is_set():
        raise KeyboardInterrupt
    server.stop()  # its stages and its shared memory outlive it
    while delay is not None:
        _tell(
            f"facestream serve: sessions are lost; starting it again {f'in {delay:g} s' if delay else 'at once'} "
            f"(restart {restarts.count} of at most {restarts.limit} in {WINDOW_SECONDS / 60:g} minutes)",
            sys.stderr,
        )
        time.sleep(delay)
        try:
            _start(server, seconds, signals)
        except ServerError as error:
            _tell(f"facestream serve: it does not start: {error}", sys.stderr)
            delay = restarts.after_failed_start(time.monotonic())
        else:
            restarts.started()
            return True
    _tell(f"facestream serve: given up after {restarts.count} restarts", sys.stderr)
    return False


def _tell(text: str, stream: TextIO) -> None:
    """Print. A reader that is gone (`| head`, a closed terminal) keeps no server from serving, nor from draining."""
    try:
        print(text, file=stream, flush=True)
    except OSError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


def _fault(server: TritonServer, told: threading.Event) -> Fault | None:
    """Wait for a fault of the server; None: a signal came."""
    began = time.monotonic()
    missed: float | None = None  # when a stage was first found gone
    look = 0
    while not told.wait(LOOK_SECONDS):
        look += 1
        lived = f"after {time.monotonic() - began:.0f} s"
        status = server.wait(0.0)
        if status is not None and status < 0:
            return Fault(f"the server was killed by {signal_name(-status)} {lived}", crash=-status not in TOLD_TO_STOP)
        if status is not None:
            return Fault(f"the server ended by itself {lived}, with exit status {status}", crash=False)
        if look % LOOKS_FOR_STAGES == 0 and (stages := server.crashed()):
            missed = missed or time.monotonic()
            # Triton does not start them again, and goes on to say ready. One that does not is ending, stages first.
            if server.ready() or time.monotonic() > missed + EXIT_SECONDS + 5.0:
                return Fault(f"stage {', '.join(stages)} crashed {lived}", crash=True)
    return None


def _last_words(server: TritonServer) -> str:
    return os.linesep.join(server.log.splitlines()[-20:])
