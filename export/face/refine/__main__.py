"""Make the refiner from synthetic people: rough canvases, training of all tiers, judgement, export.

    python -m export.face.people --set train ...         # once: build/people/train, and with --set heldout the judges
    python -m export.face.refine                         # an hour on two cores; goes on where it stopped

1. build/face/rough                       what geometry alone draws of each person  (export.face.refine.rough_canvas)
2. build/face/refiner_TIER.pt             training, `fast` first                    (export.face.refine.train)
   export/face/weights/refiner_TIER.npz   the averaged weights, kept with the project
3. build/face/refine.json                 before and after, on people held back     (export.face.refine.evaluate)
4. model_repository/{renderer,refiner_standard,refiner_high}                        (export.face.export)
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that wait for their turn take it from nobody

import torch

from export.face import export
from export.face.refine import evaluate
from export.face.refine.rough_canvas import PEOPLE, people
from export.face.refine.train import CHECKPOINTS, STEPS, Folk, check_numbers, train
from export.face.refiner import TIERS, save_weights


def main(arguments: list[str] | None = None) -> int:
    """Do what is not done yet; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tier", nargs="+", choices=list(TIERS), default=list(TIERS), help="default: all")
    parser.add_argument("--people", type=Path, default=PEOPLE, help="folder with the sets of synthetic people")
    parser.add_argument("--steps", type=int, help="default: as each tier wants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    check_numbers(parser, options, "steps", "threads")
    if not any(people("heldout", options.people)):  # said before the hour of training, not after it
        nobody = f"{options.people}/heldout holds nobody to judge by"
        parser.error(f"{nobody}; make them with: python -m export.face.people --set heldout")
    torch.set_num_threads(options.threads)
    print("1 of 4: rough canvases", flush=True)
    folk = Folk("train", options.people)
    if not folk.people:
        parser.error(f"{options.people}/train holds nobody; make them with: python -m export.face.people")
    for tier in (tier for tier in TIERS if tier in options.tier):  # the others better the answer of `fast`
        print(f"2 of 4: training, {tier}", flush=True)
        checkpoint = CHECKPOINTS / f"refiner_{tier}.pt"
        try:
            network = train(tier, folk, checkpoint, steps=options.steps or STEPS[tier], seed=options.seed)
        except ValueError as error:
            parser.error(str(error))
        print(f"kept {save_weights(network)}", flush=True)
    del folk
    print("3 of 4: judging on people held back", flush=True)
    if status := evaluate.main(["--people", str(options.people), "--tiers", *options.tier]):
        return status
    print("4 of 4: exporting", flush=True)
    return export.main([])


if __name__ == "__main__":
    sys.exit(main())
