"""What clients that leave in mid-text do to Triton: `python -m perf.leave_in_mid_text`.

Triton can crash when a gRPC call ends while it writes the answers of a decoupled model, such as `tts`: a second write
is begun on a stream that has one under way (2.51, the release of pip's wheel). So this leaves a text again and again,
with several clients at a time, each after 1 to 60 chunks of sound, on a server of `tts` alone that is started anew
after each crash, in each of these ways:

- stop: what `facestream.tts.speech.Speech` does: have the stage stop, read on to the end, then close.
- cancel: cancel the gRPC call, as a client does that knows no better.
- vanish: the connection is reset, as when the client's process is killed. No client can mend that.

For each way: leaves, crashes with their signals, crashes in a thousand leaves with their 95 % confidence interval
(Garwood's, for counts), and how long leaving took. The figures go to perf/results/<machine>/leave_in_mid_text.json.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import datetime
import json
import random
import signal
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from facestream.contract import SPEECH_MODEL
from facestream.errors import FacestreamError
from facestream.protocol import emotion_vector
from facestream.server import TritonServer
from facestream.session import GrpcStream
from facestream.tts.exchange import SpeechExchange
from facestream.tts.speech import AHEAD
from facestream.tts.text_to_speech import TextToSpeech
from scipy.stats import chi2

from perf import machine
from perf.bench_smoke import REPOSITORY, ROOT, rounded

SENTENCE = "Peter Piper picked a peck of pickled peppers, and nobody knows why he did so."

MOST_CHUNKS = 60
"""A client leaves after any number of chunks up to this: 2 s of a text of minutes."""

CRASH_SECONDS = 5.0
"""A server that crashed has ended so long after its clients met an error, its core file written."""


class Relay:
    """A TCP relay of one connection to a server, which can be cut as the kernel does for a process that was killed."""

    def __init__(self, url: str) -> None:
        """url: host:port of the server."""
        host, port = url.rsplit(":", 1)
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset the connection on both sides."""
        self._listener.close()
        for end in self._ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RD)  # wakes the thread that reads, which closing does not
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            server = socket.create_connection(self._target)
            self._ends = [client, server]
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
            self._pass_on(server, client)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)


def leave_by_stop(url: str, chunks: int) -> float:
    """Hear so many chunks, then close; returns the seconds that leaving took."""
    speech = TextToSpeech(url).speak(f"{SENTENCE} " * 50)
    for _ in range(chunks):
        next(speech)
    begin = time.monotonic()
    speech.close()
    return time.monotonic() - begin


def leave_by_cancel(url: str, chunks: int) -> float:
    """Hear so many chunks, then cancel the call with all that is on its way."""
    exchange = SpeechExchange("", 1.0, emotion_vector(None))
    stream = GrpcStream(url)
    heard = threading.Semaphore(0)

    def receive() -> None:
        try:
            for _ in stream.responses:  # all the time: a client that does not read holds the server's writing up
                heard.release()
        except grpc.RpcError:
            pass
        finally:
            heard.release(chunks)

    receiver = threading.Thread(target=receive)
    receiver.start()
    for _ in range(AHEAD):
        stream.send(exchange.request(SENTENCE))
    for _ in range(chunks):
        heard.acquire()
    begin = time.monotonic()
    stream.close()
    seconds = time.monotonic() - begin
    receiver.join()
    return seconds


def leave_by_vanishing(url: str, chunks: int) -> float:
    """Hear so many chunks, then be gone."""
    relay = Relay(url)
    speech = TextToSpeech(relay.url).speak(f"{SENTENCE} " * 50)
    for _ in range(chunks):
        next(speech)
    begin = time.monotonic()
    relay.cut()
    gone = time.monotonic() - begin
    speech.close()
    return gone


WAYS: dict[str, Callable[[str, int], float]] = {
    "stop": leave_by_stop,
    "cancel": leave_by_cancel,
    "vanish": leave_by_vanishing,
}


def leave(way: str, leaves: int, clients: int) -> dict[str, Any]:
    """Leave so many texts in one way; the figures.

    What a client meets while the server runs on is no crash and would never end: it is raised.
    """
    seconds: list[float] = []
    faults: list[Exception] = []
    failed: collections.Counter[str] = collections.Counter()
    deaths: collections.Counter[str] = collections.Counter()
    begin = time.monotonic()
    while len(seconds) < leaves:
        with TritonServer(REPOSITORY, models=[SPEECH_MODEL]) as server:

            def client(number: int, server: TritonServer = server) -> None:
                rng = random.Random(1000 * sum(deaths.values()) + number)
                while len(seconds) < leaves and not faults and server.running():
                    try:
                        seconds.append(WAYS[way](server.grpc_url, rng.randint(1, MOST_CHUNKS)))
                    except (FacestreamError, grpc.RpcError, OSError, StopIteration) as error:
                        if server.wait(CRASH_SECONDS) is None:
                            faults.append(error)
                        failed[type(error).__name__] += 1

            threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if faults:
                raise faults[0]
            status = server.wait(1.0)
            if status is not None:
                deaths[signal.Signals(-status).name if status < 0 else f"exit status {status}"] += 1
            else:
                assert list(TextToSpeech(server.grpc_url).speak("Hello.")), "the next user must be heard"
        if deaths:
            print(f"{way}: {len(seconds)} leaves, {sum(deaths.values())} crashes", flush=True)
    crashes, count = sum(deaths.values()), len(seconds)
    low = chi2.ppf(0.025, 2 * crashes) / 2 if crashes else 0.0
    high = chi2.ppf(0.975, 2 * crashes + 2) / 2
    return {
        "leaves": count,
        "crashes": crashes,
        "by": dict(deaths),
        "crashes_in_1000_leaves": {"rate": crashes / count * 1e3, "low": low / count * 1e3, "high": high / count * 1e3},
        "other_errors_seen_by_clients": dict(failed),
        "leaving_ms": {"p50": statistics.median(seconds) * 1e3, "max": max(seconds) * 1e3},
        "seconds": time.monotonic() - begin,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; returns 1 where the polite way met a crash."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), help="default: all")
    parser.add_argument("--leaves", type=int, default=3000, metavar="N", help="in each way (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=4, metavar="N", help="at a time (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=ROOT / "perf" / "results", metavar="DIR")
    options = parser.parse_args(arguments)
    for name in ("leaves", "clients"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}, expected 1 or more")

    file = options.results / machine.slug() / "leave_in_mid_text.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    figures: dict[str, dict[str, Any]] = {}
    for way in options.ways:
        found = figures[way] = leave(way, options.leaves, options.clients)
        rate = found["crashes_in_1000_leaves"]
        print(
            f"{way:<7} {found['leaves']} leaves, {found['crashes']} crashes: {rate['rate']:.2f} in a thousand "
            f"({rate['low']:.2f} to {rate['high']:.2f}); leaving took {found['leaving_ms']['p50']:.1f} ms, "
            f"at most {found['leaving_ms']['max']:.0f}",
            flush=True,
        )
        result = {
            "machine": machine.describe(),
            "date": datetime.date.today().isoformat(),
            "clients": options.clients,
            "ways": rounded(figures),
        }
        file.write_text(json.dumps(result, indent=2) + "\n")  # after each: one that crashes often takes long
    print(f"\nwrote {file}")
    return 1 if figures.get("stop", {}).get("crashes") else 0


if __name__ == "__main__":
    sys.exit(main())
