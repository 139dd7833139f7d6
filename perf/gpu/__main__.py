"""Every network on this machine's GPU: `python -m perf.gpu`.

Measures what the device reaches at best (perf/gpu/ceilings.py), then all networks of export/networks.py at batch 1 to
64 in each precision they are had in, by PyTorch with CUDA graphs, ONNX Runtime's CUDA provider with bound inputs and
outputs, and TensorRT or TensorRT-RTX; an engine that is not installed is left out, with the reason in the table. Every
cell is held against fp32 on the CPU on inputs of a real session. fp16 and int8 on ONNX Runtime and TensorRT need the
typed networks: `python -m export.precision` first.

Writes perf/results/<card>/gpu.json, gpu.md and plots, and takes about 10 minutes at most, with --quick 2; what was not
reached is measured by running it again. --device cpu is a dry run without a GPU, whose figures go to build/gpu only.

Needs PyTorch, onnx and NumPy; nothing is installed or fetched.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from pathlib import Path

from perf.gpu import card, report
from perf.gpu.engine import Unavailable
from perf.gpu.measure import BATCHES, ENGINES, Kept, Plan, engine_maker, measure
from perf.gpu.recorded import RECORDING, frames
from perf.gpu.stages import PRECISIONS, ROOT, STAGES

QUICK_BATCHES = (1, 8, 64)
FRAMES = 8


def main(arguments: list[str] | None = None) -> int:
    """Measure and write; 0 when all cells that were measured keep to their tolerances, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a dry run")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), metavar="STAGE")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--batches", nargs="+", type=int, help=f"default: {' '.join(map(str, BATCHES))}")
    parser.add_argument("--quick", action="store_true", help="batches 1, 8 and 64, a tenth of a second each")
    parser.add_argument("--minutes", type=float, help="stop after so many (default: 10, with --quick 2)")
    parser.add_argument("--again", action="store_true", help="forget what earlier runs have measured")
    parser.add_argument("--recording", type=Path, default=RECORDING, help="of python -m export.recording")
    parser.add_argument("--results", type=Path, help="folder for this card's files (default: perf/results/<card>)")
    options = parser.parse_args(arguments)
    batches = options.batches or (QUICK_BATCHES if options.quick else BATCHES)
    if min(batches) < 1:
        parser.error(f"--batches holds {min(batches)}, expected 1 or more")
    if options.minutes is not None and options.minutes <= 0:
        parser.error(f"--minutes is {options.minutes:g}, expected more than 0")
    try:
        import torch
    except ImportError as error:
        parser.error(f"PyTorch is not installed ({error}): it measures the ceilings and holds TensorRT's buffers")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("this PyTorch sees no GPU; --device cpu is a dry run without one")
    if options.device == "cuda" and not card.runs_on(torch.cuda.get_device_capability(), torch.cuda.get_arch_list()):
        major, minor = torch.cuda.get_device_capability()
        parser.error(
            f"PyTorch {torch.__version__} has no code for {torch.cuda.get_device_name()} (sm_{major}{minor}), only for "
            f"{', '.join(torch.cuda.get_arch_list())}: install a build for another CUDA (a V100: 12.6)"
        )

    from perf.gpu import ceilings

    began = time.monotonic()
    device = card.describe(options.device)
    work = ROOT / "build" / "gpu" / device["slug"]
    folder = options.results or (work if options.device == "cpu" else ROOT / "perf" / "results" / device["slug"])
    cells = work / ("quick_cells.json" if options.quick else "cells.json")
    if options.again:
        cells.unlink(missing_ok=True)
    print(f"{device['name']}: ceilings ...", flush=True)
    try:
        roofs = ceilings.measure(options.device, 0.1 if options.quick or options.device == "cpu" else 0.5)
    except RuntimeError as error:  # PyTorch's: too little memory beside a server on the same card, say
        parser.error(f"{device['name']} cannot be measured: {str(error).splitlines()[0]}")
    print("frames ...", flush=True)
    try:
        given = frames(FRAMES if options.device == "cuda" else 2, options.recording)
    except Unavailable as error:
        parser.error(str(error))
    print(f"inputs: {given.source}", flush=True)
    plan = Plan(
        options.stages,
        options.precisions,
        sorted(set(batches)),
        0.1 if options.quick or options.device == "cpu" else 0.3,
        max(0.1, (options.minutes or (2.0 if options.quick else 10.0)) - (time.monotonic() - began) / 60),
    )
    makers = [
        (name, engine_maker(name, options.device, device["slug"], max(batches), options.quick))
        for name in options.engines
    ]
    found = measure(makers, plan, given, Kept(cells), lambda line: print(line, flush=True))
    result = {
        "card": device,
        "date": datetime.date.today().isoformat(),
        "inputs": given.source,
        "versions": found.versions,
        "ceilings": {name: float(f"{value:.4g}") for name, value in roofs.items()},
        "cells": found.cells,
        "skipped": found.skipped,
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")
    for path in report.write(result, folder):
        print(f"wrote {path}")
    return 0 if found.cells and all(cell["within"] for cell in found.cells) else 1


if __name__ == "__main__":
    sys.exit(main())
