"""Whether this server takes one more session. Asked once for each, at the one stage that every ensemble passes.

No other stage counts. The stages forget a lost session at slightly different times, and one behind the door never hears
of an END that was refused before it: a limit there would refuse a session that the door has let in, after the stages
before it have moved.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from facestream.contract import MAX_SESSIONS, MAX_SESSIONS_VARIABLE
from facestream.sequence import SessionRefused
from facestream.server.drain import draining


def session_limit(environment: Mapping[str, str] = os.environ) -> int:
    """Sessions at a time: those of FACESTREAM_MAX_SESSIONS, the contract's where it says nothing.

    An empty word says nothing: so Compose hands on a variable that is not set. Raises ValueError for one that is none.
    """
    text = environment.get(MAX_SESSIONS_VARIABLE) or str(MAX_SESSIONS)
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ValueError(f"{MAX_SESSIONS_VARIABLE} is {text!r}: expected a whole number of 1 or more")
    return int(text)


class Door:
    """Lets sessions in while there is room and the server is not about to stop."""

    def __init__(self) -> None:
        """Reads the limit from the environment, see `session_limit`."""
        self.limit = session_limit()

    def admit(self, live: int) -> None:
        """A session wants to begin beside `live` others. Raises SessionRefused, which says why it may not."""
        if draining():
            raise SessionRefused("this server is about to stop; connect to another one, or again in a minute")
        if live >= self.limit:
            raise SessionRefused(f"{live} sessions are live, the limit of this server is {self.limit}; try again later")
