"""Letting sessions end before a server stops.

Triton cuts live sequences on SIGTERM. So the launcher first puts a file where the stages can see it; the stage that
admits sessions refuses new ones while it is there, and the launcher stops the server once no more requests arrive.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "FACESTREAM_DRAIN_FILE"
"""Environment variable of the stages: path of the file whose presence refuses new sessions."""

FILE_NAME = "drain"

QUIET_SECONDS = 2.0
"""A server that was sent nothing for so long has no live session."""


def draining() -> bool:
    """Whether this server is about to stop and takes no new session. Cheap: one stat(2)."""
    file = os.environ.get(VARIABLE)
    return file is not None and Path(file).exists()
