"""A Triton server as a child process: started, watched, drained and stopped, with nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import IO

from facestream.server import drain, process_group
from facestream.server.errors import ServerCrashed, ServerError
from facestream.server.log import Log
from facestream.server.program import Program, WheelProgram, closed_to_clients, model_control

SHARED_MEMORY = Path("/dev/shm")
"""Where Triton's Python backend passes tensors between the server and its stubs."""

EXIT_SECONDS = 10
"""The server may finish the inferences in flight for so long after a stop."""

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks the server itself: the proxy of the environment (http_proxy) is asked for 127.0.0.1, too, unless told not to."""

_STUB = "triton_python_backend_stub"
"""Triton's program for a stage in Python."""

TOLD_TO_STOP = (signal.SIGTERM, signal.SIGINT)
"""Signals that end a server in order; whatever else kills one is a crash."""

# Said on every machine without a GPU, or said once more where the reason is told in full.
_REDUNDANT = re.compile(
    r"unable to create stream|CudaDriverHelper|CUDA memory pool"
    r"|ERROR: Failed to create instance|ensemble '.*' depends on '.*' which has no loaded version. Model"
)

# Each frame goes through tens of MB, in tensors of up to 1 MB that live for a moment. Left alone, malloc asks the
# kernel for each of them anew and pays in page faults; here it keeps them, in huge pages where the kernel has them on.
# A frame's latency fell from 28 to 25 ms, its processor time from 41 to 36 ms (AMD EPYC, 2 cores).
_MALLOC = ":".join(
    f"glibc.malloc.{name}"
    for name in (
        "hugetlb=1",
        f"mmap_threshold={32 * 2**20}",
        f"trim_threshold={128 * 2**20}",
        f"top_pad={16 * 2**20}",
    )
)

# The kernel ends the server when the launcher dies, even by SIGKILL: prctl(PR_SET_PDEATHSIG, SIGTERM), then exec.
_DIE_WITH_PARENT = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])"


_PLAIN = re.compile(r"[A-Za-z0-9_./,=+@%:-]+")
"""Paths of models that Triton's Python backend can take: it puts them into a shell's command as they are, and then has
a Python read them that knows ASCII alone. Another one is reached through a link."""


class TritonServer:
    """One Triton server on a model repository; a context manager that starts and stops it.

    repository: folder with one folder per model.
    models: load only these, and what ensembles among them need; None loads all, which is how it is deployed.
    host: address to listen on; http_host: another one for HTTP. Ports left out are chosen among the free ones.
    log_file: the server's own log; left out, it lives as long as the server. "-": standard output, as in a container.
        Written anew by the first start, gone on with by later ones.
    environment: variables for the server and its Python stages, over those of this process.
    program: which Triton server; left out, the one of pip's wheel.
    admin_key: lets requests that carry it load and unload models; see :func:`facestream.server.program.model_control`.
    """

    def __init__(
        self,
        repository: Path | str,
        *,
        models: Sequence[str] | None = None,
        host: str = "127.0.0.1",
        grpc_port: int | None = None,
        http_port: int | None = None,
        metrics_port: int | None = None,
        log_file: Path | str | None = None,
        environment: Mapping[str, str] | None = None,
        program: Program | None = None,
        admin_key: str | None = None,
        http_host: str | None = None,
    ) -> None:
        self.repository = Path(repository).resolve()
        self.models = models
        self.host = host
        self.http_host = http_host or host
        self.grpc_port, self.http_port, self.metrics_port = _ports(host, grpc_port, http_port, metrics_port)
        self._log_file = log_file
        self._environment = dict(environment or {})
        self._program = program or WheelProgram()
        self._admin_key = admin_key
        self._served = self.repository
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = threading.Event()
        self._folder: Path | None = None
        self._log: Log | None = None
        self._stages: dict[int, str] = {}

    # --- addresses --------------------------------------------------------------------------------------------

    @property
    def grpc_url(self) -> str:
        """host:port, as gRPC clients take it."""
        return f"{_in_url(_reached_at(self.host))}:{self.grpc_port}"

    @property
    def http_url(self) -> str:
        """host:port, as Triton's HTTP clients take it."""
        return f"{_in_url(_reached_at(self.http_host))}:{self.http_port}"

    @property
    def metrics_url(self) -> str:
        """Address of the Prometheus metrics."""
        return f"http://{_in_url(_reached_at(self.host))}:{self.metrics_port}/metrics"

    @property
    def pid(self) -> int:
        """Process id of the server; raises ServerError when it does not run."""
        if self._process is None:
            raise ServerError("the server is not running")
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server has logged so far; of a log on standard output, the last lines."""
        return self._log.text() if self._log is not None else ""

    # --- life -------------------------------------------------------------------------------------------------

    def start(self, timeout: float = 120.0) -> None:
        """Start the server and wait until every model is ready.

        Raises ServerError when a model fails to load (with that model's own error), a port is taken, or the server is
        not ready after `timeout` seconds; FetchError when the server cannot be downloaded.
        """
        if self._process is not None:
            raise ServerError("the server is running already")
        if not self.repository.is_dir():
            raise ServerError(f"model repository {self.repository} is not a folder")
        self._folder = Path(tempfile.mkdtemp(prefix="facestream-"))
        try:
            if not _PLAIN.fullmatch(str(self.repository)):
                self._served = self._folder / "models"
                self._served.symlink_to(self.repository)
            program, variables = self._program.prepare(self._folder)
            self._check_ports()
            end_stale_stages()
            remove_stale_shared_memory()
            path = self._log_file if self._log_file is not None else self._folder / "server.log"
            try:
                self._log = Log(path, go_on=self._log is not None)
            except OSError as error:
                raise ServerError(f"log file {path} cannot be written: {error.strerror}") from error
            self._process = self._spawn([*program, *self._options()], self._variables(variables), self._log.sink)
            self._log.begin()
            self._wait_ready(timeout)
        except BaseException:
            self.stop()
            raise
        self._stages = _stubs(self._process.pid)

    def ready(self) -> bool:
        """Whether the server answers and all its models are loaded."""
        if self._process is None or self._process.poll() is not None:
            return False
        try:
            with _DIRECT.open(f"http://{self.http_url}/v2/health/ready", timeout=2.0) as answer:
                return bool(answer.status == 200)
        except (OSError, http.client.HTTPException):
            return False

    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def wait(self, seconds: float | None = None) -> int | None:
        """Exit status of the server once it ends, or None after `seconds` of waiting."""
        if self._process is None:
            raise ServerError("the server is not running")
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def crashed(self) -> list[str]:
        """Names of the Python stages, instance number included, whose process has ended while the server runs.

        Triton does not start them again, and its health endpoint goes on to say ready.
        """
        alive = _stubs(self._process.pid) if self._process is not None else {}
        return sorted(name for pid, name in self._stages.items() if pid not in alive)

    def drain(self, seconds: float) -> bool:
        """Refuse new sessions and wait until the live ones have ended; False when some are left after `seconds`.

        Live means that requests still arrive: a session that is silent for 2 s does not hold the server up. One that
        ends meanwhile has none any more.
        """
        if self._folder is None:
            raise ServerError("the server is not running")
        (self._folder / drain.FILE_NAME).touch()
        deadline = time.monotonic() + seconds
        before = self._requests()
        while time.monotonic() < deadline and self.running():
            time.sleep(min(drain.QUIET_SECONDS, max(0.0, deadline - time.monotonic())))
            now = self._requests()
            if now is not None and now == before:
                return True
            before = now
        return not self.running()

    def stop(self) -> None:
        """Stop the server; safe to call twice."""
        process, folder = self._process, self._folder
        if process is not None:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(EXIT_SECONDS + 10.0)
            # The whole group: stubs outlive a server that crashed or was killed.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            _wait_gone(process.pid)
            for region in SHARED_MEMORY.glob(f"{_prefix(os.getpid(), self.grpc_port)}*"):
                region.unlink(missing_ok=True)
        self._stopped.set()
        if self._log is not None:
            self._log.close()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        self._process = self._folder = None

    def __enter__(self) -> TritonServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- parts ------------------------------------------------------------------------------------------------

    def _spawn(self, words: Sequence[str], variables: Mapping[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the process in a thread that outlives it.

        The parent whose death ends the server is, to the kernel, the thread that started it: of a caller's worker that
        would be the end of its work.
        """

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [sys.executable, "-c", _DIE_WITH_PARENT, *words],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is for the launcher, which drains first
            )

        if threading.current_thread() is threading.main_thread():
            return start()
        started: Future[subprocess.Popen[bytes]] = Future()
        stopped = self._stopped = threading.Event()

        def keep() -> None:
            try:
                started.set_result(start())
            except BaseException as error:
                started.set_exception(error)
            else:
                stopped.wait()

        threading.Thread(target=keep, name="facestream-server", daemon=True).start()
        return started.result()

    def _options(self) -> list[str]:
        return [
            f"--model-repository={self._served}",
            f"--http-address={_for_libevhtp(self.http_host)}",
            f"--http-port={self.http_port}",
            f"--grpc-address={_in_url(self.host)}",
            f"--grpc-port={self.grpc_port}",
            f"--metrics-address={_for_libevhtp(self.host)}",
            f"--metrics-port={self.metrics_port}",
            "--metrics-config=summary_latencies=true",
            # Completing a configuration starts each Python stage one more time, only to ask it.
            "--disable-auto-complete-config",
            f"--exit-timeout-secs={EXIT_SECONDS}",
            f"--backend-config=python,shm-region-prefix-name={_prefix(os.getpid(), self.grpc_port)}",
            "--backend-config=python,stub-timeout-seconds=120",
            *model_control(self.models, self._admin_key),
            *closed_to_clients(self._admin_key),
        ]

    def _variables(self, of_program: Mapping[str, str]) -> dict[str, str]:
        variables = dict(os.environ)
        # Each stage is one process on one or two cores: pools of threads under numpy only get in each other's way.
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            variables.setdefault(name, "1")
        variables.setdefault("GLIBC_TUNABLES", _MALLOC)
        variables.update(self._environment)
        variables.update(of_program)
        assert self._folder is not None
        variables[drain.VARIABLE] = str(self._folder / drain.FILE_NAME)
        return variables

    def _check_ports(self) -> None:
        taken: dict[str, str] = {}
        for name, host in (("grpc", self.host), ("http", self.http_host), ("metrics", self.host)):
            port = getattr(self, f"{name}_port")
            remedy = f"choose another with {'--host, ' if host == self.host else ''}--{name}-port"
            if (fault := port_fault(host, port)) is not None:
                raise ServerError(f"{name} port {port} of {host} is {fault}: {remedy}")
            for other, address in taken.items():
                if port == getattr(self, f"{other}_port") and (host == address or {host, address} & {"0.0.0.0", "::"}):
                    raise ServerError(f"{name} port {port} of {host} is the {other} port, too: {remedy}")
            taken[name] = host

    def _wait_ready(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not self.ready():
            if not self.running():
                status = self.wait(0.0)
                if status is not None and status < 0 and -status not in TOLD_TO_STOP:
                    raise ServerCrashed(f"killed by {signal_name(-status)} as it started:\n{failures(self.log)}")
                raise ServerError(f"the server did not start:\n{failures(self.log)}")
            if time.monotonic() > deadline:
                raise ServerError(f"the server is not ready after {timeout:g} s:\n{failures(self.log)}")
            time.sleep(0.05)

    def _requests(self) -> float | None:
        """Inferences that the server has begun or refused since its start, over all models; None: it does not say."""
        try:
            with _DIRECT.open(self.metrics_url, timeout=5.0) as answer:
                text = answer.read().decode()
        except (OSError, http.client.HTTPException):  # it crashed, or is too busy to answer in time
            return None
        counters = (
            "nv_inference_request_success",
            "nv_inference_request_failure",
            "nv_inference_pending_request_count",
        )
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(counters))


def failures(log: str) -> str:
    """The part of a server's log that says why models did not load; its last lines where nothing does."""
    found: list[str] = []
    # glog: a severity letter and the time start an entry, which may go on for lines (a Python traceback).
    for entry in re.split(r"^(?=[IWEF]\d{4} \d\d:\d\d:\d\d|\[libprotobuf )", log, flags=re.MULTILINE):
        match = re.match(r"(?:E\S+ \S+ \d+ [\w.]+:\d+|\[libprotobuf ERROR [^\]]*)\] (.*)", entry, flags=re.DOTALL)
        if match is None or _REDUNDANT.search(match[1]):
            continue
        text = match[1].strip().strip('"').replace("\\n", "\n").replace('\\"', '"')
        found.append(re.sub(r"\n\s*\n+", "\n", text).strip())
    return "\n".join(dict.fromkeys(found)) if found else "\n".join(log.splitlines()[-20:])


def signal_name(number: int) -> str:
    """Its name such as SIGSEGV, for users."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has none
        return f"signal {number}"


def port_fault(host: str, port: int) -> str | None:
    """Why no server can listen on this port of this address, to be read behind "is"; None where one can."""
    if not 0 < port < 2**16:
        return "out of range, expected 1 to 65535"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return "taken" if error.errno == errno.EADDRINUSE else f"not to be had ({error.strerror})"
    return None


def remove_stale_shared_memory() -> int:
    """Delete the shared memory that launchers no longer alive left behind; returns how many regions."""
    removed = 0
    for region in SHARED_MEMORY.glob("facestream_*"):
        match = re.match(r"facestream_(\d+)_", region.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            try:
                region.unlink(missing_ok=True)
            except PermissionError:  # another user's, who cleans up himself
                continue
            removed += 1
    return removed


def end_stale_stages() -> int:
    """End the stages whose server is gone; returns how many.

    A stage whose server dies while it starts, with its launcher killed by SIGKILL, waits for it for ever and keeps its
    memory. It is known by its name, by the region of shared memory that it was told, and by its parent: no server.
    """

    def end(folder: Path, status: list[str]) -> bool:
        words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        if not words[0].endswith(f"/{_STUB}") or not any(re.match(r"facestream_\d+_\d+_", word) for word in words):
            return False
        if (Path("/proc") / status[1] / "comm").read_text().strip() == "tritonserver":
            return False
        os.kill(int(folder.name), signal.SIGKILL)
        return True

    return sum(process_group.of_each(None, end))  # another user's cannot be ended: he cleans up himself


def _wait_gone(group: int, seconds: float = 2.0) -> None:
    """Wait until the killed processes of a group are gone: those that Triton started have its ports open, too."""
    deadline = time.monotonic() + seconds
    while any(process_group.of_each(group, lambda folder, words: True)) and time.monotonic() < deadline:
        time.sleep(0.01)


def _stubs(group: int) -> dict[int, str]:
    """Process id -> 'stage_instance' of the living stubs of a server, which share its process group."""

    def command(folder: Path, _: list[str]) -> tuple[int, list[str]]:
        return int(folder.name), (folder / "cmdline").read_bytes().decode().split("\0")

    commands = process_group.of_each(group, command)
    return {pid: words[8] for pid, words in commands if words[0].endswith(_STUB)}


def _reached_at(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _for_libevhtp(host: str) -> str:
    """As Triton's HTTP library wants it: without the word it takes an address of IPv6 for 255.255.255.255."""
    return f"ipv6:{host}" if ":" in host else host


def _prefix(pid: int, port: int) -> str:
    """Names of the shared memory of one server begin so: its launcher's process and its port."""
    return f"facestream_{pid}_{port}_"


def _ports(host: str, *wanted: int | None) -> tuple[int, ...]:
    """The wanted ports, with free ones in place of None."""
    with contextlib.ExitStack() as stack:  # held open together, so that no two are the same
        ports: list[int] = []
        for port in wanted:
            if port is None:
                probe = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
                probe.bind((host, 0))
                port = int(probe.getsockname()[1])
            ports.append(port)
    return tuple(ports)
