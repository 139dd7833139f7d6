"""`python3 -m facestream.server.container`: what the containers run, in place of a bare `tritonserver`.

It chooses the model repository (engines built for this very GPU, or the repository as it was committed), refuses a
wrong setting by its name, passes the server's log on, and watches the server: a stage that crashes ends the container,
so that its restart policy brings a whole one, and a SIGTERM lets live sessions end first. `docker-compose.yml` is where
its environment is documented.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from facestream.admission import session_limit
from facestream.contract import ADMIN_KEY_VARIABLE, MAX_QUALITY_VARIABLE
from facestream.quality import limit_from_environment
from facestream.server import TritonServer
from facestream.server.log import STANDARD_OUTPUT
from facestream.server.program import ImageProgram, WheelProgram, check_admin_key
from facestream.server.watch import watch
from facestream.server.wheel import HTTP_HOST

RUNTIME_VARIABLE = "FACESTREAM_RUNTIME"
"""Environment variable: what the container serves by, one of RUNTIMES."""
LANE_VARIABLE = "FACESTREAM_LANE"
"""Environment variable: the lane that the container is of, a profile of docker-compose.yml."""
AS_COMMITTED = "onnxruntime"
RUNTIMES = {
    "tensorrt": "TensorRT engines built for this GPU",
    "onnxruntime-cuda": "a repository assembled for this GPU, its networks run by ONNX Runtime's CUDA provider",
    "onnxruntime-tensorrt": "a repository assembled for this GPU, its networks run by ONNX Runtime's TensorRT provider",
    AS_COMMITTED: "the repository as it was committed, its networks run by ONNX Runtime",
}

START_SECONDS = 900.0
"""ONNX Runtime's TensorRT provider builds its engines while the models load; engines built before load in seconds."""


class SettingError(ValueError):
    """A setting that the container was started with cannot be; the message says what it should be."""


def repository(environment: Mapping[str, str], models: Path, engines: Path) -> Path:
    """The model repository to serve: what FACESTREAM_RUNTIME names.

    models: the repository as it was committed. engines: the folder of what was built for one GPU. Raises SettingError
    when the runtime is unknown, or when what was built is missing, of another GPU, stale or half done.
    """
    runtime = environment.get(RUNTIME_VARIABLE) or AS_COMMITTED
    if runtime not in RUNTIMES:
        raise SettingError(f"{RUNTIME_VARIABLE} is {runtime!r}: expected one of {', '.join(RUNTIMES)}")
    if runtime == AS_COMMITTED:
        return models
    command = [sys.executable, "-m", "export.engines.check", str(engines), "--models", str(models)]
    done = subprocess.run(
        [*command, "--runtime", runtime], stdout=subprocess.PIPE, text=True, env=dict(environment), check=False
    )
    lines = done.stdout.split("\n")
    if done.returncode != 0 or not lines[0]:
        service = build_service(environment.get(LANE_VARIABLE, "gpu"))
        raise SettingError(
            f"{RUNTIME_VARIABLE}={runtime} asks for {RUNTIMES[runtime]}, and {engines} has none that can be served "
            f"(the reason is above). Build: docker compose run --rm {service}. Or serve slower, with nothing built: "
            f"{RUNTIME_VARIABLE}={AS_COMMITTED}"
        )
    return Path(lines[0])


def build_service(lane: str) -> str:
    """The service of docker-compose.yml that builds a lane's engines."""
    return "build-engines" if lane == "gpu" else f"build-engines-{lane}"


def forget_empty_settings() -> None:
    """Take empty variables out of the environment: so Compose hands on what is not set."""
    for name in [name for name, value in os.environ.items() if name.startswith("FACESTREAM_") and not value]:
        del os.environ[name]


def check_settings(environment: Mapping[str, str]) -> None:
    """Raise SettingError for a variable that a stage would refuse, before any is started."""
    try:
        session_limit(environment)
        limit_from_environment(environment)
        if key := environment.get(ADMIN_KEY_VARIABLE):
            check_admin_key(key)
    except ValueError as error:
        raise SettingError(str(error)) from None


def options() -> argparse.ArgumentParser:
    """What the command line takes."""
    parser = argparse.ArgumentParser(prog="facestream.server.container", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("/models"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--engines", type=Path, default=Path("/engines"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--drain-seconds", type=float, default=30.0, metavar="S", help="default: %(default)g")
    parser.add_argument(
        "--from-wheel",
        action="store_true",
        help="run the server of pip's wheel, not the image's own; it answers HTTP inside the container only",
    )
    parser.add_argument(
        "--old-release",
        action="store_true",
        help="the image's server has known holes: answer HTTP inside the container only, and let nobody load models",
    )
    parser.add_argument("--ports", type=int, nargs=3, default=[8000, 8001, 8002], metavar="N", help="HTTP gRPC metrics")
    return parser


def main(words: list[str] | None = None) -> int:
    """Serve until a signal comes; returns the exit status, 2 for a wrong setting."""
    arguments = options().parse_args(words)
    forget_empty_settings()
    try:
        check_settings(os.environ)
        if arguments.old_release and ADMIN_KEY_VARIABLE in os.environ:
            raise SettingError(
                f"{ADMIN_KEY_VARIABLE} is set: expected none, for the keys of this old release can be passed by "
                "(CVE-2026-24207); choose the models by the repository, and the tiers by " + MAX_QUALITY_VARIABLE
            )
        served = repository(os.environ, arguments.models, arguments.engines)
    except SettingError as error:
        print(f"facestream: {error}", file=sys.stderr)
        return 2
    print(f"facestream: serving {served}: {RUNTIMES[os.environ.get(RUNTIME_VARIABLE, AS_COMMITTED)]}", flush=True)
    http, grpc, metrics = arguments.ports
    server = TritonServer(
        served,
        host="0.0.0.0",
        http_host=HTTP_HOST if arguments.old_release or arguments.from_wheel else None,
        http_port=http,
        grpc_port=grpc,
        metrics_port=metrics,
        log_file=STANDARD_OUTPUT,
        program=WheelProgram() if arguments.from_wheel else ImageProgram(),
        admin_key=os.environ.get(ADMIN_KEY_VARIABLE),
    )
    # No restarts: the container's policy is the one supervisor.
    return watch(server, arguments.drain_seconds, START_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
