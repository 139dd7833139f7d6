"""What stops a build or a start: the reason, and the command that mends it."""

from __future__ import annotations

import errno
import os
from typing import Final

from facestream.server.container import LANE_VARIABLE, build_service

from export.lanes import LANES


def _build_command() -> str:
    """As a user types it on the machine that serves: outside the container, where this runs in one."""
    lane = os.environ.get(LANE_VARIABLE)
    if lane is None or lane not in LANES:
        return "python3 -m export.engines"
    return f"docker compose run --rm {build_service(lane)}"


BUILD: Final = _build_command()
"""Builds anew on the machine that serves."""


class Refusal(Exception):
    """Nothing is built or served.

    reason: what was found, and what was expected.
    remedy: a command, or what to do before it.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}\n  -> {remedy}")
        self.reason = reason
        self.remedy = remedy


def refused_by_system(error: OSError) -> Refusal:
    """What the file system refused, as a refusal of ours."""
    remedies = {
        errno.ENOSPC: "df names what is full; docker system df what Docker holds of it. Then the same command again",
        errno.EDQUOT: "make room within the quota, then the same command again",
        errno.EACCES: "the container is user 1000: chmod -R a+rX . in the clone, and let it write FACESTREAM_ENGINES",
        errno.EROFS: "name a folder that can be written: --out, --typed, --recording",
    }
    return Refusal(str(error), remedies.get(error.errno or 0, "look at that file, and at the disk that it lies on"))
