"""Judge the refiner on people whom it was not trained on: `python -m export.face.refine.evaluate`.

The canvas before and after each tier is held against the path-traced truth. PSNR is of the mean squared error of all
pictures together; SSIM is Wang et al. 2004, on luma, with Gaussian windows; `sharpness` is the mean gradient's ratio to
the truth's; `worse` counts pictures whose error grew. With --strips it lays pictures side by side: before, after each
tier, truth.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.face.refine.augmentation import Batch, example
from export.face.refine.loss import EYES, MOUTH
from export.face.refine.rough_canvas import PEOPLE, RoughCanvas
from export.face.refine.train import Folk, load_averaged, refined
from export.face.refiner import TIERS, Refiner, make_refiner

Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]

REGIONS: Final[Mapping[str, Box]] = {"canvas": (0, 0, 192, 256), "mouth": MOUTH, "eyes": EYES}
BEFORE: Final = "geometry"


def psnr(error: float) -> float:
    """Decibels of a mean squared error of levels."""
    return float(10.0 * np.log10(255.0**2 / max(error, 1e-9)))


def similarity(a: Tensor, b: Tensor) -> float:
    """SSIM of two pictures [3, H, W], levels, on luma."""
    weights = np.array([0.299, 0.587, 0.114])
    first, second = (np.tensordot(weights, picture.numpy().astype(np.float64), 1) for picture in (a, b))

    def mean(picture: NDArray[np.float64]) -> NDArray[np.float64]:
        return cv2.GaussianBlur(picture, (11, 11), 1.5).astype(np.float64)

    c1, c2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2
    m1, m2 = mean(first), mean(second)
    v1, v2, both = mean(first * first) - m1 * m1, mean(second * second) - m2 * m2, mean(first * second) - m1 * m2
    quotient = ((2 * m1 * m2 + c1) * (2 * both + c2)) / ((m1 * m1 + m2 * m2 + c1) * (v1 + v2 + c2))
    return float(quotient.mean())


def steepness(picture: Tensor) -> float:
    """Mean gradient of a picture [3, H, W]."""
    return float(picture.diff(dim=1).abs().mean() + picture.diff(dim=2).abs().mean())


@torch.no_grad()
def shown_by(tiers: Mapping[str, Refiner], given: Batch) -> dict[str, Tensor]:
    """The pictures [3, 256, 192] that geometry and each tier show of one example; `fast` comes before all others."""
    pictures: dict[str, Tensor] = {}
    for name, network in tiers.items():
        _, after, before = refined(network, given, None if name == "fast" else tiers["fast"])
        pictures.setdefault(BEFORE, before[0].clamp(0, 255))
        pictures[name] = after[0].clamp(0, 255)
    return pictures


def judge(folk: Sequence[RoughCanvas], tiers: Mapping[str, Refiner]) -> list[dict[str, Any]]:
    """Rows of {stage, region, psnr_db, ssim, sharpness, worse} over all pictures of all people."""
    errors: dict[tuple[str, str], list[float]] = {}
    ssim: dict[tuple[str, str], list[float]] = {}
    steep: dict[tuple[str, str], list[float]] = {}
    for person in folk:
        for number in range(len(person.parameters)):
            given = example(person, number)
            truth = given.truth[0]
            for stage, picture in shown_by(tiers, given).items():
                for region, (left, top, right, bottom) in REGIONS.items():
                    a, b = picture[:, top:bottom, left:right], truth[:, top:bottom, left:right]
                    errors.setdefault((stage, region), []).append(float(((a - b) ** 2).mean()))
                    ssim.setdefault((stage, region), []).append(similarity(a, b))
                    steep.setdefault((stage, region), []).append(steepness(a) / steepness(b))
    rows = []
    for (stage, region), own in errors.items():
        was = errors[BEFORE, region]
        rows.append(
            {
                "stage": stage,
                "region": region,
                "psnr_db": round(psnr(float(np.mean(own))), 2),
                "psnr_mean_db": round(float(np.mean([psnr(error) for error in own])), 2),
                "ssim": round(float(np.mean(ssim[stage, region])), 4),
                "sharpness": round(float(np.mean(steep[stage, region])), 3),
                "worse": round(float(np.mean([a > b * 1.0001 for a, b in zip(own, was, strict=True)])), 3),
                "pictures": len(own),
            }
        )
    return rows


def strip(person: RoughCanvas, tiers: Mapping[str, Refiner], numbers: Sequence[int], box: Box, zoom: int = 2) -> Image:
    """One column for each picture: before, each tier, truth, of a region of the canvas, enlarged."""
    left, top, right, bottom = box
    columns = []
    for number in numbers:
        given = example(person, number)
        pictures = [*shown_by(tiers, given).values(), given.truth[0]]
        cells = [picture[:, top:bottom, left:right].round().to(torch.uint8).permute(1, 2, 0) for picture in pictures]
        columns.append(np.vstack([cell.numpy() for cell in cells]))
    sheet = np.hstack(columns)
    return cv2.resize(sheet, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def main(arguments: list[str] | None = None) -> int:
    """Print and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=Path, default=PEOPLE)
    parser.add_argument("--set", default="heldout")
    parser.add_argument("--only", nargs="*", default=[], help="people of the set (default: all)")
    parser.add_argument("--checkpoint", type=Path, help="judge this checkpoint of `fast` in place of the kept weights")
    parser.add_argument("--tiers", nargs="+", choices=list(TIERS), default=["fast"], help="beside fast")
    parser.add_argument("--strips", type=Path, help="folder for pictures")
    parser.add_argument("--out", type=Path, default=Path("build/face/refine.json"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    folk = [person for person in Folk(options.set, options.people).people if named(person, options.only)]
    absent = [name for name in options.only if not any(named(person, [name]) for person in folk)]
    if absent or not folk:
        whom = f"no {', '.join(absent)}" if absent else "nobody"
        parser.error(f"{options.people}/{options.set} holds {whom}; make them with export.face.people")
    try:
        # The others better the answer of `fast`, and what geometry shows is what is there before it.
        tiers = {tier: make_refiner(tier) for tier in TIERS if tier == "fast" or tier in options.tiers}
        if options.checkpoint:
            load_averaged(tiers["fast"], options.checkpoint)
    except ValueError as error:
        parser.error(str(error))
    rows = judge(folk, tiers)
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"people": [person.name for person in folk], "rows": rows}, indent=1) + "\n")
    if options.strips:
        options.strips.mkdir(parents=True, exist_ok=True)
        for person in folk:
            count = len(person.parameters)
            numbers = [round(k * (count - 1) / 7) for k in range(8)] if count > 8 else list(range(count))
            for region in ("mouth", "eyes"):
                sheet = strip(person, tiers, numbers, REGIONS[region])
                path = options.strips / f"{person.name.replace('/', '-')}-{region}.png"
                cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
                print(path)
    return 0


def named(person: RoughCanvas, names: Sequence[str]) -> bool:
    """Whether a person is among the names, or there are none."""
    return not names or person.name.split("/")[-1] in names


if __name__ == "__main__":
    sys.exit(main())
