"""The gRPC connection under a session: its options, what its failures mean and when to try again.

Every session has a channel of its own. Sessions that share a gRPC stream block each other: Triton answers a stream in
the order of its requests, so a fast session waits for a slow one.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

import grpc

from facestream.errors import BadInput, FacestreamError, ServerUnavailable, SessionLost, SessionRefused

_CHANNEL_OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),  # without it, channels to one address share a connection
    ("grpc.max_receive_message_length", 16 << 20),
    # A ping every 20 s finds a peer that vanished without closing. Triton's own limit on pings without data is one in
    # 300 s; gRPC sends at most two without data between them, which the server still tolerates.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)

DRAIN_SECONDS: Final = 2.0
"""How long a session that ends early waits for the answer to its END before it cancels the stream."""

LONGEST_DEADLINE: Final = 1e6
"""Seconds. What waits, Python's own, takes no infinity."""

_FIRST_DELAY, _LONGEST_DELAY = 0.05, 1.0

_ADDRESS: Final = re.compile(r"(?:[^\s:/\[\]]+|\[[0-9A-Fa-f:.]+(?:%\w+)?\]):(\d{1,5})")
_SCHEME: Final = re.compile(r"(?:dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):", re.IGNORECASE)
"""gRPC's own ways to name a server, for those who have one that no host and port tell."""


def channel_options(url: str) -> tuple[tuple[str, Any], ...]:
    """gRPC's options for a channel to `url`, host:port; `BadInput` where it is none.

    A server of this machine is never reached through the proxy of the environment (http_proxy, https_proxy), which gRPC
    would ask for 127.0.0.1, too.
    """
    check_url(url)
    return (*_CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0)) if _is_this_machine(url) else _CHANNEL_OPTIONS


def check_url(url: str) -> str:
    """The address itself; `BadInput` unless it is host:port, or begins with one of gRPC's own schemes.

    gRPC would ask port 443 where none is named, and another one in place of one that is out of range.
    """
    match = _ADDRESS.fullmatch(url)
    if not (match and 0 < int(match[1]) < 2**16) and not _SCHEME.match(url):
        raise BadInput(f"url is {url!r}; expected HOST:PORT of the server's gRPC, such as localhost:8001")
    return url


def _is_this_machine(url: str) -> bool:
    host = url.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def check_deadline(seconds: float) -> float:
    """The deadline itself; `BadInput` where nobody can wait for so long: one without an end is no deadline."""
    if not 0.0 < seconds <= LONGEST_DEADLINE:
        raise BadInput(f"deadline is {seconds}; expected a positive number of seconds, at most {LONGEST_DEADLINE:g}")
    return seconds


def describe(error: grpc.RpcError) -> str:
    """Put the code and the words of a gRPC failure in one line."""
    code = getattr(error, "code", lambda: None)()
    details = getattr(error, "details", lambda: None)()
    return f"{getattr(code, 'name', 'UNKNOWN')}: {details or error}"


class Recovery:
    """Decides after each loss whether and when to connect again.

    A session that was never open is not tried again, for then the fault is the address or the server. One that was is
    tried with growing pauses until it has not come back for `limit_s` seconds. A replay alone does not bring it back:
    sound that crashes the server would be replayed for ever.
    """

    def __init__(self, url: str, limit_s: float) -> None:
        if not limit_s >= 0.0:
            raise BadInput(f"resume_seconds is {limit_s}; expected 0 or more")
        self._url = url
        self._limit_s = limit_s
        self._opened = False
        self._lost_at: float | None = None
        self._delay = _FIRST_DELAY

    def answered(self, progress: bool) -> None:
        """Note an answer; `progress` says that it brought a new frame, or the last answer that the server owed."""
        self._opened = True
        if progress:
            self._lost_at = None
            self._delay = _FIRST_DELAY

    def may_help(self, error: FacestreamError) -> bool:
        """Whether connecting again may mend the error: of a session that was open, all but a wrong answer."""
        return self._opened and isinstance(error, (ServerUnavailable, SessionRefused, SessionLost))

    def next_attempt(self, reason: FacestreamError | grpc.RpcError, now: float) -> float:
        """Seconds to wait before the next attempt.

        Raises `ServerUnavailable` if the session was never open, `SessionLost` if it stays lost.
        """
        words = describe(reason) if isinstance(reason, grpc.RpcError) else str(reason)
        if not self._opened:
            raise ServerUnavailable(f"no answer from {self._url} ({words})")
        if self._lost_at is None:
            self._lost_at = now
        delay = self._delay
        if now + delay - self._lost_at > self._limit_s:
            raise SessionLost(
                f"the session at {self._url} was lost and did not come back in {self._limit_s} s ({words})"
            )
        self._delay = min(2 * delay, _LONGEST_DELAY)
        return delay
