"""NVIDIA's perf_analyzer on an ensemble: the same question as our own client's, asked by somebody else's."""

from __future__ import annotations

import base64
import csv
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from facestream.avatar_name import encode_avatar_name
from facestream.contract import CHUNK_SAMPLES, FRAME_RATE
from facestream.protocol import ENSEMBLES, Output, Sound, emotion_vector
from facestream.quality import Quality
from facestream.server import wheel
from numpy.typing import NDArray

LONGEST_SECONDS = 300.0
"""A server that keeps up is measured within a minute."""


class PerfAnalyzerError(RuntimeError):
    """perf_analyzer could not be run, or found no stable figure; the message holds its own words."""


def input_data(sound: Sound, avatar: str, output: Output) -> dict[str, Any]:
    """perf_analyzer's input: one sequence, whose steps are the chunks of `sound` (float32 [n], 24 kHz).

    Tensors go as base64 of their bytes, little-endian.
    """
    same: dict[str, NDArray[Any]] = {"EMOTION": emotion_vector(None), "QUALITY": np.array([Quality.AUTO], np.uint8)}
    if "AVATAR" in ENSEMBLES[output].inputs:
        same["AVATAR"] = encode_avatar_name(avatar)
    steps = []
    for begin in range(0, len(sound) - CHUNK_SAMPLES + 1, CHUNK_SAMPLES):
        tensors = {**same, "AUDIO": np.ascontiguousarray(sound[begin : begin + CHUNK_SAMPLES], "<f4")}
        steps.append({name: _content(tensors[name]) for name in ENSEMBLES[output].inputs})
    return {"data": [steps]}


def _content(array: NDArray[Any]) -> dict[str, Any]:
    return {"content": {"b64": base64.b64encode(array.tobytes()).decode()}, "shape": list(array.shape)}


def run(url: str, sound: Sound, avatar: str, output: Output, sessions: int = 1) -> dict[str, float]:
    """Latencies in ms, by name (p50, p90, p95, p99), of `sessions` at 30 requests a second each.

    Raises PerfAnalyzerError, or FetchError when the program cannot be downloaded.
    """
    folder = wheel.fetch(wheel.PERF_ANALYZER)
    program = next(folder.rglob("perf_analyzer"))
    libraries = wheel.Server.fetched().libraries
    with tempfile.TemporaryDirectory() as scratch:
        # It asks for libraries by the names that Ubuntu's packages give them; the server's wheel has them under others.
        for name in ("libb64.so.0d", "libcudart.so.12"):
            stem = name.split(".so")[0]
            (Path(scratch) / name).symlink_to(next(libraries.glob(f"{stem}-*")))
        steps, report = Path(scratch) / "input.json", Path(scratch) / "report.csv"
        steps.write_text(json.dumps(input_data(sound, avatar, output)))
        command = [str(program), "-m", ENSEMBLES[output].model, "-u", url, "-i", "grpc", "--streaming", "--async"]
        command += ["--input-data", str(steps), "--request-rate-range", str(sessions * FRAME_RATE)]
        command += ["--num-of-sequences", str(sessions), "--serial-sequences"]
        command += ["--measurement-mode", "count_windows", "--measurement-request-count", "300"]
        command += ["--percentile", "99", "--stability-percentage", "80", "--max-trials", "5"]
        command += ["-f", str(report), "--verbose-csv"]
        variables = dict(os.environ, LD_LIBRARY_PATH=f"{scratch}{os.pathsep}{libraries}")
        try:
            done = subprocess.run(
                command, env=variables, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise PerfAnalyzerError(f"it was not done after {LONGEST_SECONDS:g} s") from error
        if done.returncode != 0 or not report.is_file():
            raise PerfAnalyzerError("\n".join((done.stdout + done.stderr).splitlines()[-15:]))
        with report.open(newline="") as rows:
            row = next(csv.DictReader(rows))
    return {f"p{share}": float(row[f"p{share} latency"]) / 1e3 for share in (50, 90, 95, 99)}
