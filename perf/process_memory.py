"""Memory of the server and its stages together."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Memory(NamedTuple):
    """Of one or more processes, MiB."""

    rss: float
    """Resident pages; what several processes share counts for each of them."""
    pss: float
    """Resident pages, shared ones divided among their users: the sum is what the machine really gives."""


def of_group(group: int) -> Memory:
    """All processes of a process group. Ended ones are left out."""
    rss = pss = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # After the command name in brackets: state, parent, process group.
            if int((folder / "stat").read_text().rpartition(")")[2].split()[2]) != group:
                continue
            for line in (folder / "smaps_rollup").read_text().splitlines():
                if line.startswith("Rss:"):
                    rss += int(line.split()[1])
                elif line.startswith("Pss:"):
                    pss += int(line.split()[1])
        except (OSError, ValueError):
            continue  # it ended while we looked
    return Memory(rss / 1024, pss / 1024)
