"""Whether this server takes one more session. Asked once for each, at the one stage that every ensemble passes.

No other stage counts. The stages forget a lost session at slightly different times, and one behind the door never hears
of an END that was refused before it: a limit there would refuse a session that the door has let in, after the stages
before it have moved.
"""

from __future__ import annotations

import os

from facestream.contract import MAX_SESSIONS, MAX_SESSIONS_VARIABLE
from facestream.sequence import SessionRefused
from facestream.server.drain import draining


class Door:
    """Lets sessions in while there is room and the server is not about to stop."""

    def __init__(self) -> None:
        """Reads the limit from the environment, or takes the contract's; raises ValueError where it is no limit."""
        text = os.environ.get(MAX_SESSIONS_VARIABLE, str(MAX_SESSIONS))
        if not text.isdigit() or int(text) < 1:
            raise ValueError(f"{MAX_SESSIONS_VARIABLE}={text!r}, expected a whole number above 0")
        self.limit = int(text)

    def admit(self, live: int) -> None:
        """A session wants to begin beside `live` others. Raises SessionRefused, which says why it may not."""
        if draining():
            raise SessionRefused("this server is about to stop; connect to another one, or again in a minute")
        if live >= self.limit:
            raise SessionRefused(f"{live} sessions are live, the limit of this server is {self.limit}; try again later")
