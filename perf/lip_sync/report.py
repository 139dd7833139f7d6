"""The judge's report: sync.json for programs, sync.md and two pictures for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from perf.lip_sync.alignment import Clip
from perf.lip_sync.lips import Lips, frame_times
from perf.lip_sync.measures import wanted_gap

Row = Mapping[str, Any]

COLUMNS: Final = (
    ("r", "lip_gap_r", "{:.3f}"),
    ("p/b/m closed", "pbm_closed", "{:.0%}"),
    ("vowels closed", "open_vowels_closed", "{:.0%}"),
    ("tongue closed", "tongue_closed", "{:.0%}"),
    ("f/v contact", "fv_contact", "{:.0%}"),
    ("others'", "other_contact", "{:.0%}"),
    ("open/close", "open_vowels_auc", "{:.2f}"),
    ("rounding", "rounding_auc", "{:.2f}"),
    ("lag ms", "lag_ms", "{:+.0f}"),
    ("pauses %", "pause_motion_percent", "{:.1f}"),
    ("still %", "silence_motion_percent", "{:.2f}"),
    ("jitter", "jitter", "{:.2f}"),
    ("p, b, m", "bilabials", "{:.0f}"),
    ("s", "seconds", "{:.0f}"),
)
"""Heading, figure and form."""

FETCHED: Final = (
    "Who speaks is said in [`recordings.py`](../../lip_sync/recordings.py); "
    "no network was trained on any of these voices."
)
OWN: Final = "The recordings were given by `--clips`: whether a network was trained on them, the judge cannot know."


def cells(row: Row) -> list[str]:
    """Return a row's figures as the table writes them, '-' where there is none."""
    return ["-" if row.get(key) is None else form.format(row[key]) for _, key, form in COLUMNS]


def line(row: Row) -> str:
    """Return a row for a terminal."""
    named = zip(COLUMNS, cells(row), strict=True)
    return f"{row['case']:38s} " + "  ".join(f"{heading} {cell}" for (heading, _, _), cell in named)


def rounded(value: Any) -> Any:
    """A report's numbers, in lists and mappings, with four digits behind the point."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def _interval(row: Row, key: str, scale: float = 1.0, form: str = "{:.3f}") -> str:
    edges = row.get("intervals", {}).get(key)
    return f" ({form.format(scale * edges[0])}–{form.format(scale * edges[1])})" if edges else ""


def markdown(report: Mapping[str, Any]) -> str:
    """Return the report as a page."""
    lines = ["# The mouth, judged on recorded speech", ""]
    machine = report["machine"]
    lines += [
        f"`python -m perf.lip_sync`, {report['date']}, {machine['processor']}, {machine['cores']} cores. What the "
        "columns mean is said in [`perf/lip_sync`](../../lip_sync/__init__.py). "
        + (OWN if report.get("own") else FETCHED),
        "",
        f"The targets are judged on: {report['judged_on']}.",
        "",
        "| target | value | limit | |",
        "|---|---|---|---|",
    ]
    for entry in report["targets"]:
        value = "-" if entry["value"] is None else f"{entry['value']:g}"
        lines.append(f"| {entry['name']} | {value} | {entry['target']:g} | {'met' if entry['met'] else '**missed**'} |")
    groups: dict[str, list[Row]] = {}
    for row in report["rows"]:
        groups.setdefault(row["group"], []).append(row)
    for group, rows in groups.items():
        lines += ["", f"## {group}", "", f"| | {' | '.join(heading for heading, _, _ in COLUMNS)} |"]
        lines.append("|---" * (len(COLUMNS) + 1) + "|")
        lines += [f"| {row['case']} | {' | '.join(cells(row))} |" for row in rows]
        sure = [row for row in rows if "intervals" in row]
        if sure:
            lines += ["", "95 % intervals, by bootstrap over the clips:", ""]
            lines += [
                f"- {row['case']}: r{_interval(row, 'lip_gap_r')}, p/b/m closed %"
                f"{_interval(row, 'pbm_closed', 100, '{:.0f}')}, vowels closed %"
                f"{_interval(row, 'open_vowels_closed', 100, '{:.0f}')}, lag ms{_interval(row, 'lag_ms', 1, '{:+.0f}')}"
                for row in sure
            ]
    if report.get("still"):
        lines += ["", "## Sound that nobody speaks", "", "Mouth motion in percent of that in speech.", ""]
        lines += ["| | % |", "|---|---|", *(f"| {name} | {value:.2f} |" for name, value in report["still"].items())]
    if report.get("cost"):
        lines += [
            "",
            "## Cost",
            "",
            "Encoder, expression and motion of one frame together, two threads, in this process. OpenVINO is what our "
            "own server takes.",
            "",
            "| runtime | mean ms | p50 | p99 |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {taken['mean_ms']:.2f} | {taken['p50_ms']:.2f} | {taken['p99_ms']:.2f} |"
            for name, taken in report["cost"].items()
        ]
    if report.get("liveliness"):
        lines += ["", "## Head, eyes and blinks", "", "| | |", "|---|---|"]
        lines += [
            f"| {name.replace('_', ' ')} | {'-' if value is None else f'{value:.3g}'} |"
            for name, value in report["liveliness"].items()
            if value is None or isinstance(value, int | float)
        ]
    for picture, words in (("sync_curve.png", "wanted and shown lips"), ("sync_conditions.png", "by condition")):
        if picture in report.get("pictures", []):
            lines += ["", f"![{words}]({picture})"]
    return "\n".join(lines) + "\n"


def write(folder: Path, report: Mapping[str, Any]) -> None:
    """Write sync.json and sync.md into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sync.json").write_text(json.dumps(rounded(report), indent=1) + "\n")
    (folder / "sync.md").write_text(markdown(report))


def draw_curve(path: Path, clip: Clip, lips: Lips, seconds: float = 5.0) -> None:
    """Draw the wanted and the shown gap of the beginning of a clip, its phonemes along the axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    times = frame_times(len(lips.gap))
    shown = times < seconds
    times, gap, want = times[shown], lips.gap[shown], wanted_gap(clip.phonemes, frame_times(len(lips.gap)))[shown]
    scale = float(np.percentile(want, 98)) / max(float(np.percentile(gap, 98)), 1e-6)
    figure, axes = pyplot.subplots(figsize=(11, 2.8), dpi=90)
    for name, start, end in clip.phonemes:
        if start < seconds and name in ("P", "B", "M", "F", "V"):
            axes.axvspan(start, end, color="#d9e6f2" if name in "PBM" else "#f3e3cf", linewidth=0)
        if start < seconds and name[0].isalpha() and name != "SIL":
            axes.text((start + end) / 2, -0.07, name.lower(), ha="center", va="top", fontsize=7)
    axes.plot(times, want, color="#999999", label="wanted by the phonemes")
    axes.plot(times, scale * gap, color="#1f4e79", label=f"shown, × {scale:.2f}")
    axes.set(xlim=(0, min(seconds, float(times[-1]))), ylim=(-0.16, None), xlabel="s", ylabel="lip gap")
    axes.set_title("blue: p, b, m   orange: f, v", fontsize=8, loc="left")
    axes.legend(loc="upper right", fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
    pyplot.close(figure)


def draw_conditions(path: Path, rows: Sequence[Row]) -> None:
    """Draw r and closures of `rows` as bars, with their 95 % intervals where there are some."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, both = pyplot.subplots(1, 2, figsize=(11, 0.5 + 0.24 * len(rows)), dpi=90, sharey=True)
    places = np.arange(len(rows))[::-1]
    for axes, key, title in (
        (both[0], "lip_gap_r", "correlation of the lip gap"),
        (both[1], "pbm_closed", "p, b, m with closed lips"),
    ):
        for place, row in zip(places, rows, strict=True):
            value = row.get(key)
            if value is None:
                continue
            colour = "#b0b0b0" if row["group"] == "Baselines" else "#1f4e79"
            axes.barh(place, value, color=colour, height=0.7)
            edges = row.get("intervals", {}).get(key)
            if edges:
                axes.plot(edges, [place, place], color="#e07b39", linewidth=1.5)
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xlim(0, 1)
        axes.spines[["top", "right"]].set_visible(False)
    both[0].set_yticks(places, [row["case"] for row in rows], fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
    pyplot.close(figure)
