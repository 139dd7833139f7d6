"""A connection to the server that a test can cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def breakable(url: str) -> Iterator[tuple[str, list[socket.socket]]]:
    """A TCP proxy in front of the server: its address, and the connections that a test may cut."""
    host, port = url.split(":")
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            pass
        sink.close()

    def accept() -> None:
        try:
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((host, int(port)))
                connections.extend([client, server])
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=copy, args=ends, daemon=True).start()
        except OSError:
            pass

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", connections
    finally:
        listener.close()
        for connection in connections:
            connection.close()


def cut(connections: list[socket.socket]) -> None:
    for connection in connections:
        with suppress(OSError):  # closed as its other end was cut
            connection.shutdown(socket.SHUT_RDWR)
    connections.clear()
