"""The judge's report: face.json for programs, face.md and sheets for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from facestream.avatar.layers_canvas import CANVAS_X, CANVAS_Y
from facestream.avatar.preview import lay_out
from numpy.typing import NDArray

from perf.face.against_truth import TRUTH
from perf.face.people import EYES, FRAME_LEFT, FRAME_TOP, MOUTH
from perf.face.picture_measures import squared_error

Image = NDArray[np.uint8]
Row = Mapping[str, Any]

PICTURE_COLUMNS: Final = (
    *(
        (f"{region} {short}", f"{key}_{region}", form)
        for region in ("mouth", "eyes", "face")
        for short, key, form in (("dB", "psnr", "{:.2f}"), ("SSIM", "ssim", "{:.3f}"), ("GMSD", "gmsd", "{:.3f}"))
    ),
    ("mouth sharpness", "sharpness_mouth", "{:.2f}"),
)
TIME_COLUMNS: Final = (
    ("warping", "warping", "{:.2f}"),
    ("tOF px", "tof", "{:.3f}"),
    ("flicker", "flicker", "{:.2f}"),
    ("off truth", "flicker_off_truth", "{:.2f}"),
    ("change var", "change_variance", "{:.3f}"),
)
Columns = Sequence[tuple[str, str, str]]


def _cell(row: Row, key: str, form: str) -> str:
    value = row.get(key)
    return "-" if value is None or (isinstance(value, float) and math.isnan(value)) else form.format(value)


def _table(rows: Sequence[Row], columns: Columns, name: str = "row") -> list[str]:
    lines = [f"| | {' | '.join(heading for heading, _, _ in columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {row[name]} | {' | '.join(_cell(row, key, form) for _, key, form in columns)} |" for row in rows]
    return lines


def line(row: Row) -> str:
    """A row for a terminal."""
    cells = [f"{heading} {_cell(row, key, form)}" for heading, key, form in (*PICTURE_COLUMNS, *TIME_COLUMNS)]
    return f"{row['row']:9s} " + "  ".join(cell for cell in cells if not cell.endswith(" -"))


def rounded(value: Any) -> Any:
    """Figures as the JSON keeps them: four digits behind the point, NaN as null."""
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 4)
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def markdown(report: Mapping[str, Any]) -> str:
    """Return the report as a page."""
    machine = report["machine"]
    lines = [
        "# The face, judged",
        "",
        f"`python -m perf.face`, {report['date']}, {machine['processor']}, {machine['cores']} cores. What rows and "
        "columns mean, and where the measures come from, is said in [`perf/face`](../../face/__init__.py).",
        "",
        "| target | value | limit | | |",
        "|---|---|---|---|---|",
    ]
    for entry in report["targets"]:
        value = "not measured" if entry["value"] is None else f"{entry['value']:g}"
        verdict = "met" if entry["met"] else "**missed**"
        lines.append(f"| {entry['name']} | {value} | {entry['target']:g} | {verdict} | {entry['meaning']} |")
    if report.get("left_out"):
        lines += ["", "Left out:", "", *(f"- {words}" for words in report["left_out"])]
    if report.get("rows"):
        lines += ["", "## Against path-traced truth", "", f"{report['judged_on']}. No network saw any of them.", ""]
        lines += _table(report["rows"], PICTURE_COLUMNS)
        if any("flicker" in row for row in report["rows"]):
            lines += ["", "Over time, in the films among them:", "", *_table(report["rows"], TIME_COLUMNS)]
        worse = report["made_worse"]
        lines += [
            "",
            f"The network made the mouth worse in {worse['share']:.0%} of {worse['frames']:.0f} frames, by "
            f"{worse['greatest_loss_db']:.2f} dB at most.",
            "",
            *_by_person(report["people"]),
        ]
    if report.get("read_back"):
        lines += ["", "### Lips and lids read back from the frames", ""]
        lines += _table(
            [{"row": name.replace("_", ", "), **row} for name, row in report["read_back"].items() if name != "frames"],
            (
                ("r with what was asked", "r_asked", "{:.3f}"),
                ("r with the truth's", "r_truth", "{:.3f}"),
                ("slope", "slope_truth", "{:.2f}"),
                ("off", "off_truth", "{:.3f}"),
            ),
        )
    if report.get("stabiliser"):
        lines += ["", "## Stabiliser", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {value:.4g} |" for name, value in report["stabiliser"].items()]
    for title, key in (("Ready avatars", "avatars"), ("Portraits of real people", "portraits")):
        if report.get(key):
            lines += ["", f"## {title}", "", *_answers(report[key])]
    if report.get("drift"):
        found = report["drift"]
        lines += [
            "",
            f"Drift over {found['frames']:.0f} frames: {found['levels']:g} levels in any pixel, "
            f"{found['geometry']:.4f} in any landmark measure, {found['colour']:.4f} levels of mean colour, "
            f"{100 * found['detail']:.3f} % of detail.",
        ]
    if report.get("cost"):
        lines += ["", "## Cost", "", "Median milliseconds of a frame (`python -m perf.face_cost`).", ""]
        lines += _table(report["cost"], (("threads", "threads", "{}"), ("ms", "median", "{:.2f}")), "stage")
    for picture, words in report.get("pictures", {}).items():
        lines += ["", f"![{words}]({picture})", "", f"*{words}*"]
    return "\n".join(lines) + "\n"


def _by_person(people: Sequence[Row]) -> list[str]:
    rows = [key.removeprefix("mouth_") for key in people[0] if key.startswith("mouth_")]
    columns = [(f"{region} {row}", f"{region}_{row}", "{:.2f}") for region in ("mouth", "eyes") for row in rows]
    return ["dB by person:", "", *_table(people, columns, "person")]


def _answers(rows: Sequence[Row]) -> list[str]:
    columns = (
        ("rest dB", "rest_db", "{:.1f}"),
        ("posed dB", "posed_db", "{:.1f}"),
        ("inner lips at rest", "rest_gap", "{:.3f}"),
        ("lips monotone", "gap_monotone", "{}"),
        ("by pixels", "opening_monotone", "{}"),
        ("gap at jawOpen 0.8", "gap_at_highest", "{:.3f}"),
        ("lids monotone", "eyes_monotone", "{}"),
        ("lids at blink 1", "eyes_at_highest", "{:.2f}"),
        ("p, b, m closed", "closed", "{:.0%}"),
        ("widest px", "widest_px", "{:.1f}"),
        ("seam", "seam_levels", "{:.1f}"),
    )
    lines = _table(rows, columns, "name")
    said = [f"- {row['name']}: {words}" for row in rows for words in row.get("said", ())]
    return [*lines, "", *said] if said else lines


def write(folder: Path, report: Mapping[str, Any]) -> None:
    """Write face.json and face.md into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = rounded(report)
    (folder / "face.json").write_text(json.dumps(kept, indent=1) + "\n")
    (folder / "face.md").write_text(markdown(report))


def save(path: Path, picture: Image) -> None:
    """Write an RGB picture as JPEG or PNG, by the path's ending; OSError where it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, 85] if path.suffix == ".jpg" else []
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options):
        raise OSError(f"{path} cannot be written")


def worst_first(
    examples: Sequence[tuple[str, Mapping[str, Image]]], what: str
) -> list[tuple[str, Mapping[str, Image]]]:
    """The examples by how far their mouth or eyes, as served, are from the truth's."""

    def error(example: tuple[str, Mapping[str, Image]]) -> float:
        _, parts = example
        return float(squared_error(parts["fast"], parts[TRUTH])[_box(what)].mean())

    return sorted(examples, key=error, reverse=True)


def _box(what: str) -> tuple[slice, slice]:
    """Rows and columns of mouth or eyes in the frames."""
    left, top, right, bottom = {"mouth": MOUTH, "eyes": EYES}[what]
    # From the canvas to the frame.
    across, down = CANVAS_X - FRAME_LEFT, CANVAS_Y - FRAME_TOP
    return slice(top + down, bottom + down), slice(left + across, right + across)


def strips(examples: Sequence[tuple[str, Mapping[str, Image]]], what: str, most: int = 12, zoom: float = 1.5) -> Image:
    """Mouths or eyes of the examples, one line each: every row of the table and the truth, enlarged."""
    cells = []
    columns = 0
    for _, parts in examples[:most]:
        columns = len(parts)
        for row, frame in parts.items():
            part = cv2.resize(frame[_box(what)], None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
            cells.append((row, np.asarray(part, np.uint8)))
    return lay_out(cells, columns)


def draw_rows(path: Path, rows: Sequence[Row]) -> None:
    """Draw PSNR of mouth and eyes, and flicker, of each row; ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, all_axes = pyplot.subplots(1, 3, figsize=(11, 0.8 + 0.3 * len(rows)), dpi=90, sharey=True)
    names = [row["row"] for row in rows][::-1]
    for axes, key, title in zip(
        all_axes,
        ("psnr_mouth", "psnr_eyes", "flicker"),
        ("mouth, dB against path tracing", "eyes, dB", "flicker, levels"),
        strict=True,
    ):
        values = [row.get(key) for row in rows][::-1]
        for place, value in enumerate(values):
            if value is not None and not math.isnan(value):
                axes.barh(
                    place, value, color="#b0b0b0" if names[place] in ("still", "truth") else "#1f4e79", height=0.7
                )
                axes.text(value, place, f" {value:.2f}", va="center", fontsize=8)
        known = [value for value in values if value is not None and not math.isnan(value)]
        if key.startswith("psnr") and known:
            axes.set_xlim(min(known) - 3, max(known) + 2)
        axes.set_title(title, fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[0].set_yticks(range(len(names)), names, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
    pyplot.close(figure)
