"""`facestream serve`: run the Triton server on this machine, without a container."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from facestream.contract import (
    ADMIN_KEY_VARIABLE,
    AVATARS_VARIABLE,
    MAX_QUALITY_VARIABLE,
    MAX_SESSIONS_VARIABLE,
    VOICES_VARIABLE,
)
from facestream.quality import NAMES
from facestream.server import FetchError, ServerError, TritonServer
from facestream.server.program import check_admin_key
from facestream.server.wheel import checkout


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "serve",
        help="run the server on this machine, without a container",
        description="Run a Triton server on the model repository until SIGTERM (sessions may end first) or Ctrl-C.",
    )
    parser.add_argument("--repository", type=Path, metavar="DIR", help="model repository (default: the checkout's)")
    parser.add_argument("--avatars", type=Path, metavar="DIR", help="folder of your own avatars")
    parser.add_argument(
        "--voices", type=Path, metavar="DIR", help="folder of Piper voices, NAME.onnx and NAME.onnx.json"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--grpc-port", type=int, default=8001, metavar="N", help="default: %(default)s")
    parser.add_argument("--http-port", type=int, default=8000, metavar="N", help="default: %(default)s")
    parser.add_argument("--metrics-port", type=int, default=8002, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--max-quality",
        choices=NAMES[1:],
        help="draw no better tier than this, and let sessions with quality auto have it where the load allows "
        "(default: all by name; by itself no more than fast on a machine without a GPU)",
    )
    parser.add_argument("--max-sessions", type=int, metavar="N", help="refuse further sessions than so many")
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=30.0,
        metavar="S",
        help="on SIGTERM, give live sessions so long to end (default: %(default)g)",
    )
    parser.add_argument("--log-file", metavar="FILE", help="keep the server's log; -: pass it on to standard output")
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes (returns 0) or the server or one of its stages ends by itself (returns 1)."""
    repository = arguments.repository or default_repository()
    if repository is None:
        print("facestream serve: no model repository here: name it with --repository DIR", file=sys.stderr)
        return 2
    if arguments.max_sessions is not None and arguments.max_sessions < 1:
        print(f"facestream serve: --max-sessions is {arguments.max_sessions}: expected 1 or more", file=sys.stderr)
        return 2
    environment: dict[str, str] = {}
    for option, variable in (("avatars", AVATARS_VARIABLE), ("voices", VOICES_VARIABLE)):
        folder: Path | None = getattr(arguments, option)
        if folder is None:
            continue
        if not folder.is_dir():
            print(f"facestream serve: --{option} {folder} is not a folder", file=sys.stderr)
            return 2
        environment[variable] = str(folder.resolve())
    if arguments.max_quality is not None:
        environment[MAX_QUALITY_VARIABLE] = arguments.max_quality
    if arguments.max_sessions is not None:
        environment[MAX_SESSIONS_VARIABLE] = str(arguments.max_sessions)

    admin_key = os.environ.get(ADMIN_KEY_VARIABLE) or None
    if admin_key is not None:
        try:
            check_admin_key(admin_key)
        except ValueError as error:
            print(f"facestream serve: {error}", file=sys.stderr)
            return 2

    server = TritonServer(
        repository,
        host=arguments.host,
        grpc_port=arguments.grpc_port,
        http_port=arguments.http_port,
        metrics_port=arguments.metrics_port,
        log_file=arguments.log_file,
        environment=environment,
        admin_key=admin_key,
    )
    return watch(server, arguments.drain_seconds)


def watch(server: TritonServer, drain_seconds: float, start_seconds: float = 120.0) -> int:
    """Run a server until a signal comes (returns 0) or the server or one of its stages ends by itself (returns 1).

    drain_seconds: how long live sessions have to end on SIGTERM. start_seconds: how long the models may load.
    """
    told = threading.Event()
    received: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        received.append(number)
        told.set()
        if not started:  # nothing to drain yet: do not wait for models to load
            raise KeyboardInterrupt

    started = False
    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.start(start_seconds)
        started = True
        print(f"ready: gRPC {server.grpc_url}, HTTP {server.http_url}, metrics {server.metrics_url}", flush=True)
        while not told.wait(1.0):
            crashed = server.crashed()
            if not server.running() or crashed:
                what = f"stage {', '.join(crashed)} crashed" if crashed else "the server ended by itself"
                # Ending lets whoever supervises this process start a whole one: Triton would go on half dead.
                print(f"facestream serve: {what}:\n{os.linesep.join(server.log.splitlines()[-20:])}", file=sys.stderr)
                return 1
        if received[0] == signal.SIGTERM and drain_seconds > 0.0:
            print(f"draining: no new sessions, live ones have {drain_seconds:g} s", flush=True)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a Ctrl-C now: enough waited
            with contextlib.suppress(KeyboardInterrupt):
                server.drain(drain_seconds)
        return 0
    except KeyboardInterrupt:
        return 0
    except (FetchError, ServerError) as error:
        print(f"facestream serve: {error}", file=sys.stderr)
        return 1
    finally:
        server.stop()
        for number, handler in previous.items():
            signal.signal(number, handler)


def default_repository() -> Path | None:
    """The model repository of the checkout that this package runs from, if it does."""
    root = checkout()
    return root / "model_repository" if root is not None else None
