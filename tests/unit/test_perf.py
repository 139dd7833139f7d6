"""The figures in perf/results are compared between machines and commits: what they rest on is held here."""

from __future__ import annotations

import base64
import os
import platform
import re

import numpy as np
from facestream.contract import CHUNK_SAMPLES

from perf import machine, perf_analyzer, process_memory, processor_time


def test_the_machines_name_is_a_folder_and_tells_nobodys_host() -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*-\d+-cores?", machine.slug())
    assert platform.node() not in str(machine.describe())


def test_perf_analyzer_sends_the_sound_unchanged() -> None:
    """Its figures would be those of silence, which costs another time."""
    sound = np.linspace(-1, 1, 2 * CHUNK_SAMPLES + 7, dtype=np.float32)
    (steps,) = perf_analyzer.input_data(sound, "ada", "h264")["data"]
    assert [sorted(step) for step in steps] == [["AUDIO", "AVATAR", "EMOTION", "QUALITY"]] * 2
    second = base64.b64decode(steps[1]["AUDIO"]["content"]["b64"])
    np.testing.assert_array_equal(np.frombuffer(second, "<f4"), sound[CHUNK_SAMPLES : 2 * CHUNK_SAMPLES])
    assert base64.b64decode(steps[0]["AVATAR"]["content"]["b64"]).rstrip(b"\0") == b"ada"


def test_memory_is_that_of_the_whole_group() -> None:
    """In MiB, and shared pages once: an interpreter with numpy takes tens of them."""
    memory = process_memory.of_group(os.getpgid(0))
    assert memory.rss >= memory.pss > 10


def test_processor_time_of_others_is_told_apart() -> None:
    """Figures from a busy machine would pass for those of the server."""
    before = processor_time.Snapshot(all=100.0, server=10.0, triton=3.0, client=1.0, clock=0.0)
    after = processor_time.Snapshot(all=118.0, server=19.0, triton=4.0, client=2.0, clock=10.0)
    share = processor_time.between(before, after)
    assert (share.server, share.triton, share.client, share.others) == (0.9, 0.1, 0.1, 0.8)


def test_the_own_processor_time_is_seen() -> None:
    group = os.getpgid(0)
    before = processor_time.snapshot(group)
    while processor_time.snapshot(group).client < before.client + 0.1:
        pass
    after = processor_time.snapshot(group)
    assert after.all > before.all
    assert after.server > before.server
