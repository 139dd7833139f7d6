"""Memory of the server and its stages together."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from facestream.server import process_group


class Memory(NamedTuple):
    """Of one or more processes, MiB."""

    rss: float
    """Resident pages; what several processes share counts for each of them."""
    pss: float
    """Resident pages, shared ones divided among their users: the sum is what the machine really gives."""


def of_group(group: int) -> Memory:
    """All processes of a process group. Ended ones are left out."""
    each = list(process_group.of_each(group, lambda folder, _: of_process(folder)))
    return Memory(sum(memory.rss for memory in each), sum(memory.pss for memory in each))


def of_process(folder: Path) -> Memory:
    """One process, by its folder in /proc."""
    sizes = dict(line.split(":") for line in (folder / "smaps_rollup").read_text().splitlines()[1:])
    return Memory(*(int(sizes[name].split()[0]) / 1024 for name in ("Rss", "Pss")))
