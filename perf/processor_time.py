"""Processor time: how much a frame takes, and how much others took meanwhile, which makes figures worthless."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from facestream.server import process_group

_TICK = os.sysconf("SC_CLK_TCK")


class Snapshot(NamedTuple):
    """Seconds of processor time since the machine or the processes began."""

    all: float
    """Of all cores, whatever they did but wait."""
    server: float
    """Of the living processes of the server's group ..."""
    triton: float
    """... and of its leader alone: Triton without the stages in Python, and without the networks that they run."""
    client: float
    """Of this process."""
    clock: float
    """When it was taken."""


class Share(NamedTuple):
    """Cores in use between two snapshots: 1.0 is one core all the time."""

    server: float
    triton: float
    client: float
    others: float


def snapshot(group: int) -> Snapshot:
    """Now; `group` is the process group of the server."""
    # user nice system idle iowait irq softirq steal
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    used = dict(process_group.of_each(group, lambda folder, words: (int(folder.name), int(words[11]) + int(words[12]))))
    busy = sum(ticks) - ticks[3] - ticks[4]
    server, triton = sum(used.values()), used.get(group, 0)
    return Snapshot(busy / _TICK, server / _TICK, triton / _TICK, time.process_time(), time.monotonic())


def between(before: Snapshot, after: Snapshot) -> Share:
    """What was used in that time."""
    seconds = after.clock - before.clock
    server, client = after.server - before.server, after.client - before.client
    others = max(0.0, after.all - before.all - server - client)
    return Share(server / seconds, (after.triton - before.triton) / seconds, client / seconds, others / seconds)
