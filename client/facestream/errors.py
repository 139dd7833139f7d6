"""What can go wrong between a client and the server, one class for each thing that a caller can do about it."""

from __future__ import annotations


class FacestreamError(Exception):
    """Base of all of them."""


class BadInput(FacestreamError, ValueError):
    """The sound, the avatar's name or an emotion is not what the server takes. Correct it and send again."""


class ServerUnavailable(FacestreamError, ConnectionError):
    """Nobody answers at the address, or the server there does not serve the model. Start it, or ask another one."""


class SessionError(FacestreamError):
    """Base of the errors of one session."""


class SessionRefused(SessionError):
    """The server did not open the session: no place is free, or it does not know the avatar. Its message says which."""


class RequestRefused(SessionError):
    """The server refused one request of an open session for a reason other than its input; its state is unchanged."""


class SessionLost(SessionError):
    """The connection or the server's state is gone and could not be had back in time. Open a new session."""


class FrameTimeout(SessionError, TimeoutError):
    """A frame did not come within the session's deadline. The session is closed."""


class OutOfOrder(SessionError):
    """The server answered with another frame than the next one. It is closed: its pictures cannot be trusted."""


class Overrun(SessionError, BufferError):
    """Sound is sent, but nobody reads the frames. Read them with `frames()`."""


class SessionClosed(SessionError):
    """The session was closed or cancelled before this call."""
