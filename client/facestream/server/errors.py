"""What can go wrong with a server of this machine."""

from __future__ import annotations


class ServerError(RuntimeError):
    """The server did not start or did not stay up; the message holds what the server itself said."""


class ServerCrashed(ServerError):
    """The server was killed by a signal before it was ready: another start may succeed."""
