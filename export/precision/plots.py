"""What the parity report shows: errors against their limits, frames over time, and the worst frames themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from export.precision.drift import Drift

if TYPE_CHECKING:
    from export.precision.parity import Compared

ENLARGED: Final = 16
"""Factor of the differences on a sheet."""


def plot(compared: list[Compared], drifts: list[Drift], path: Path) -> None:
    """Errors of each output as a share of its limit, and PSNR and parameters of the chain over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    height = max(5.0, 0.2 * len(compared))
    figure, axes = pyplot.subplots(1, 3 if drifts else 1, figsize=(17 if drifts else 7, height), squeeze=False)
    labels = [f"{one.stage} {one.precision} {one.output}" for one in compared]
    places = np.arange(len(compared))
    bars = axes[0, 0]
    for offset, name, values in (
        (-0.2, "largest", [one.errors.largest / one.tolerance.largest for one in compared]),
        (0.2, "99.9 %", [one.errors.usual / one.tolerance.usual for one in compared]),
    ):
        bars.barh(places + offset, np.maximum(values, 1e-5), 0.4, label=name)
    bars.set_yticks(places, labels, fontsize=6)
    bars.set_xscale("log")
    bars.axvline(1.0, color="black", linewidth=0.8)
    bars.invert_yaxis()
    bars.set_xlabel("error, as a share of its limit")
    for column, (unit, series) in enumerate(
        (
            ("PSNR of FRAME against fp32, dB", [drift.psnr for drift in drifts]),
            ("largest difference of PARAMETERS", [drift.parameters for drift in drifts]),
        ),
        start=1,
    ):
        if drifts:
            for drift, values in zip(drifts, series, strict=True):
                axes[0, column].plot(values, linewidth=0.7, label=drift.precision)
            axes[0, column].set(xlabel="frame of the session", ylabel=unit)
            axes[0, column].legend(fontsize=7)
    bars.legend(fontsize=7, loc="upper right")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def write_sheet(drift: Drift, path: Path) -> None:
    """The worst frame of a precision: in fp32, typed, and their difference enlarged."""
    import cv2

    if drift.worst is None:
        return
    index, wanted, made = drift.worst
    difference = (made.astype(np.int16) - wanted) * ENLARGED + 128
    sheet = np.hstack([wanted, made, np.clip(difference, 0, 255).astype(np.uint8)])
    label = f"frame {index}: fp32, {drift.precision}, {ENLARGED} x difference"
    cv2.putText(sheet, label, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), sheet[:, :, ::-1])
