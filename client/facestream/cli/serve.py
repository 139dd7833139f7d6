"""`facestream serve`: run the Triton server on this machine, without a container."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from facestream.contract import (
    ADMIN_KEY_VARIABLE,
    AVATARS_VARIABLE,
    MAX_QUALITY_VARIABLE,
    MAX_SESSIONS_VARIABLE,
    VOICES_VARIABLE,
)
from facestream.quality import NAMES
from facestream.server import TritonServer
from facestream.server.program import check_admin_key
from facestream.server.restarts import MAX_RESTARTS, WINDOW_SECONDS, Restarts
from facestream.server.watch import watch
from facestream.server.wheel import HTTP_HOST, checkout


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
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help=f"address to listen on with gRPC and metrics (default: %(default)s); HTTP stays on {HTTP_HOST}",
    )
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
    parser.add_argument(
        "--restarts",
        type=int,
        default=MAX_RESTARTS,
        metavar="N",
        help=f"start a server that crashed again, at most so often in {WINDOW_SECONDS / 60:g} minutes; 0: end instead, "
        "for a supervisor of your own (default: %(default)s)",
    )
    parser.add_argument("--log-file", metavar="FILE", help="keep the server's log; -: pass it on to standard output")
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes (returns 0) or the server has ended and is not started again (returns 1)."""
    repository = arguments.repository or default_repository()
    if repository is None:
        print("facestream serve: no model repository here: name it with --repository DIR", file=sys.stderr)
        return 2
    if repository.is_dir() and next(repository.glob("*/config.pbtxt"), None) is None:
        print(
            f"facestream serve: {repository} holds no model: expected folders with a config.pbtxt, as in the clone's "
            "model_repository",
            file=sys.stderr,
        )
        return 2
    if arguments.max_sessions is not None and arguments.max_sessions < 1:
        print(f"facestream serve: --max-sessions is {arguments.max_sessions}: expected 1 or more", file=sys.stderr)
        return 2
    if arguments.restarts < 0:
        print(f"facestream serve: --restarts is {arguments.restarts}: expected 0 or more", file=sys.stderr)
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
        http_host=HTTP_HOST,
        metrics_port=arguments.metrics_port,
        log_file=arguments.log_file,
        environment=environment,
        admin_key=admin_key,
    )
    restarts = Restarts(arguments.restarts) if arguments.restarts else None
    return watch(server, arguments.drain_seconds, restarts=restarts)


def default_repository() -> Path | None:
    """The model repository of the checkout that this package runs from, if it does."""
    root = checkout()
    return root / "model_repository" if root is not None else None
