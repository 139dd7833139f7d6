"""What each speech encoder costs a frame on this machine's processor.

    python -m perf.encoder_cost [--layers 0 2 6 12] [--threads 1 2] [--out FILE.json]

The small encoder is the one of the model repository. wav2vec 2.0 is built at its base size (95 M parameters, 12 layers)
with random weights, which take as long as trained ones, and cut as `python -m export.speech.export --encoder` cuts a
checkpoint; HuBERT base has the same layers, and DistilHuBERT is two of them. Needs the extras `server` and `export`.

Milliseconds are medians of one window after the other: by the clock, and of processor time, which other work on the
machine moves less.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import torch
from facestream.contract import FRAME_RATE, WINDOW_SAMPLES
from facestream.server.onnxruntime_backend import network

from perf import machine

SMALL: Final = Path("model_repository/speech_encoder/1/model.onnx")
BUDGET_MS: Final = 2.0
"""For encoder, expression and motion together, on two threads."""

BUSY: Final = 1.3
"""Clock to processor time beyond which other work had the cores."""

FRAME_MS: Final = 1000 / FRAME_RATE


def cost(file: Path, runtime: str, threads: int, seconds: float) -> tuple[float, float]:
    """Return the median milliseconds of one window through `file`, by the clock and of processor time."""
    loaded = network.load(file, runtime, threads, batched=True)
    rng = np.random.default_rng(0)
    feeds = {"AUDIO_WINDOW": (rng.standard_normal((1, WINDOW_SAMPLES)) * 0.05).astype(np.float32)}
    for _ in range(5):
        loaded.run(feeds, ["EMBEDDING"])
    clock: list[float] = []
    processor: list[float] = []
    began = time.perf_counter()
    while len(clock) < 10 or time.perf_counter() - began < seconds:
        at, used = time.perf_counter(), time.process_time()
        loaded.run(feeds, ["EMBEDDING"])
        clock.append(1000 * (time.perf_counter() - at))
        processor.append(1000 * (time.process_time() - used))
    return median(clock), median(processor)


def write_base_size(folder: Path, layers: list[int]) -> dict[int, Path]:
    """Write wav2vec 2.0 of base size with random weights, cut at each of `layers`, as ONNX files."""
    from importlib import import_module

    from export.speech.export import write_onnx
    from export.speech.pretrained.encoder import PretrainedEncoder, read_checkpoint

    transformers = import_module("transformers")
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config()).save_pretrained(folder)
    checkpoint = read_checkpoint(folder)
    files = {}
    for layer in layers:
        files[layer] = folder / f"layer{layer}.onnx"
        encoder = PretrainedEncoder(checkpoint, layer).eval()
        write_onnx(encoder, torch.zeros(2, WINDOW_SAMPLES), ["AUDIO_WINDOW"], ["EMBEDDING"], files[layer])
    return files


def verdict(clock: float, processor: float) -> str:
    """Say whether an encoder that takes so many milliseconds can be served in real time on a processor.

    Processor time counts where it is less: then other work has held the encoder up.
    """
    milliseconds = min(clock, processor)
    if milliseconds < BUDGET_MS:
        return "within the budget"
    if milliseconds < FRAME_MS:
        return f"over the budget of {BUDGET_MS:g} ms"
    return f"slower than the stream: a frame lasts {FRAME_MS:.1f} ms"


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, write it where --out says; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 2, 6, 12], help="cuts of the base model, 0 to 12")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each is measured")
    parser.add_argument("--out", type=Path, help="file for the figures, such as perf/results/MACHINE/encoders.json")
    options = parser.parse_args(arguments)
    if not SMALL.is_file():
        parser.error(f"no {SMALL} here: run this in the project's folder")
    if not all(0 <= layer <= 12 for layer in options.layers):
        parser.error(f"--layers is {options.layers}, expected numbers from 0 to 12")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = {"small encoder": SMALL}
        for layer, file in write_base_size(Path(folder), options.layers).items():
            files[f"wav2vec 2.0 base, layer {layer}"] = file
        print(f"{'encoder':28} {'runtime':12} {'threads':>7} {'MB':>6} {'ms':>7} {'cpu ms':>7}")
        for name, file in files.items():
            for runtime in network.RUNTIMES:
                for threads in options.threads:
                    clock, processor = cost(file, runtime, threads, options.seconds)
                    row = {
                        "encoder": name,
                        "runtime": runtime,
                        "threads": threads,
                        "megabytes": round(file.stat().st_size / 1e6, 1),
                        "milliseconds": round(clock, 2),
                        "processor_milliseconds": round(processor, 2),
                        "verdict": verdict(clock, processor),
                    }
                    rows.append(row)
                    print(
                        f"{name:28} {runtime:12} {threads:7} {row['megabytes']:6} {clock:7.2f} {processor:7.2f}  "
                        f"{row['verdict']}",
                        flush=True,
                    )
    if any(row["milliseconds"] > BUSY * row["processor_milliseconds"] for row in rows):
        print("other work held these up: run again on a quiet machine before you quote them", file=sys.stderr)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"machine": machine.describe(), "encoders": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
