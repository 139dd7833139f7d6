"""A study's figures as a page, a JSON file and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perf.rating.answers import SCALES

FEWEST_RATERS = 12
"""Figures of fewer are a pilot."""


def markdown(found: Mapping[str, Any]) -> str:
    """Return the figures as a page."""
    lines = [
        "# How people rate the faces",
        "",
        f"{found['kept']} of {found['raters']} raters count, {found['answers']} answers. In brackets 95 % intervals, "
        "by bootstrap over raters. Scales from 1 (bad) to 5 (excellent); strength is the natural logarithm of Bradley "
        "and Terry's, 0 on average: a difference of 1.1 is a preference of 3 to 1.",
        "",
        *(
            [f"**A pilot**: fewer than {FEWEST_RATERS} raters count. Nothing is to be concluded from it.", ""]
            if found["kept"] < FEWEST_RATERS
            else []
        ),
        f"| | {' | '.join(SCALES)} | strength | shown |",
        "|---" * (len(SCALES) + 3) + "|",
    ]
    for row in found["conditions"]:
        cells = [_cell(row[key]) for key in (*SCALES, "strength")]
        lines.append(f"| {row['condition']} | {' | '.join(cells)} | {row['shown']} |")
    if len(found["joined"]) > 1:
        groups = "; ".join(", ".join(group) for group in found["joined"])
        lines += ["", f"Nothing joins these groups of conditions, each of whose strengths are 0 on average: {groups}."]
    lines += ["", "## Preferences", "", "| preferred | to | share | answers |", "|---|---|---|---|"]
    for pair in found["preferred"]:
        share = {"value": pair["share"], "interval": pair["interval"]}
        lines.append(f"| {pair['preferred']} | {pair['to']} | {_cell(share)} | {pair['answers']} |")
    lines += ["", f"No difference was seen in {found['undecided']:.0%} of the answers (half a win for each).", ""]
    lines += ["## Can it be believed?", "", "Krippendorff's alpha, by rank:", "", "| | alpha |", "|---|---|"]
    lines += [f"| {name} | {_plain(value)} |" for name, value in found["agreement"].items()]
    repeated = found["repeated_alike"]
    if repeated["pairs"]:
        lines += ["", f"Of {repeated['pairs']} pairs that came twice, {repeated['share']:.0%} were answered alike."]
    lines += [
        "",
        "| rater | answers | attention checks failed | median s | left out because |",
        "|---|---|---|---|---|",
    ]
    for rater, figures in found["attention"].items():
        lines.append(
            f"| {rater} | {figures['answers']} | {figures['failed']} of {figures['checks']} | "
            f"{figures['median_seconds']:.1f} | {figures['excluded'] or ''} |"
        )
    return "\n".join(lines) + "\n"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _cell(figure: Mapping[str, Any]) -> str:
    edges = figure["interval"]
    if edges is None or None in edges:
        return _plain(figure["value"])
    return f"{_plain(figure['value'])} ({_plain(edges[0])}–{_plain(edges[1])})"


def write(folder: Path, found: Mapping[str, Any]) -> list[Path]:
    """Write analysis.json and analysis.md, and analysis.png where matplotlib is installed; return what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "analysis.json", folder / "analysis.md"]
    written[0].write_text(json.dumps(found, indent=1) + "\n")
    written[1].write_text(markdown(found))
    try:
        draw(folder / "analysis.png", found)
        written.append(folder / "analysis.png")
    except ImportError:
        pass
    return written


def draw(path: Path, found: Mapping[str, Any]) -> None:
    """Draw means and strengths with their intervals; ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = found["conditions"][::-1]
    names = [row["condition"] for row in rows]
    keys = (*SCALES, "strength")
    figure, all_axes = pyplot.subplots(1, len(keys), figsize=(13, 1.2 + 0.32 * len(rows)), dpi=90, sharey=True)
    for axes, key in zip(all_axes, keys, strict=True):
        for place, row in enumerate(rows):
            value, edges = row[key]["value"], row[key]["interval"]
            if value is None:
                continue
            if edges is not None and None not in edges:
                axes.plot(edges, [place, place], color="#e07b39", linewidth=2)
            axes.plot(value, place, "o", color="#1f4e79", markersize=6)
        axes.set_title(key, fontsize=9, loc="left")
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right", "left"]].set_visible(False)
        if key != "strength":
            axes.set_xlim(1, 5)
    all_axes[0].set_yticks(range(len(rows)), names, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
    pyplot.close(figure)
