"""A film as a sheet of frames, to be looked at: `python -m perf.film_strip build/demo.mp4 -o strip.jpg`."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from facestream.avatar.preview import lay_out
from facestream.contract import FRAME_RATE
from facestream.video import decode
from numpy.typing import NDArray


def film_strip(
    pictures: NDArray[np.uint8], numbers: list[int], columns: int, window: tuple[int, int, int, int], zoom: float
) -> NDArray[np.uint8]:
    """The numbered frames side by side, row by row, each marked with its time; BGR.

    Args:
        pictures: all frames, RGB (n, h, w, 3).
        numbers: which of them.
        columns: frames in a row.
        window: left, top, right, bottom of what is shown of each, px.
        zoom: size of the shown part.
    """
    left, top, right, bottom = window
    way = cv2.INTER_CUBIC if zoom > 1 else cv2.INTER_AREA
    tiles = []
    for number in numbers:
        part = np.ascontiguousarray(pictures[number][top:bottom, left:right, ::-1])
        part = cv2.resize(part, None, fx=zoom, fy=zoom, interpolation=way).astype(np.uint8)
        tiles.append((f"{number / FRAME_RATE:.2f} s", part))
    return lay_out(tiles, columns)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--frames", help="numbers, as in 3,17,40 (default: --count of them, evenly)")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--window", default="0,0,512,512", help="left,top,right,bottom, px (default: %(default)s)")
    parser.add_argument("--zoom", type=float, default=0.5)
    options = parser.parse_args()
    pictures = decode(options.film).pictures
    if options.frames:
        numbers = [int(number) for number in options.frames.split(",")]
    else:
        numbers = np.linspace(0, len(pictures) - 1, options.count).round().astype(int).tolist()
    left, top, right, bottom = (int(side) for side in options.window.split(","))
    sheet = film_strip(pictures, numbers, options.columns, (left, top, right, bottom), options.zoom)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(options.output), sheet)


if __name__ == "__main__":
    main()
