"""gpu.md and the plots of one card, from its gpu.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from export.networks import network
from perf.gpu.cost import count
from perf.gpu.stages import FAST, STAGES, network_file

Result = Mapping[str, Any]
Cell = Mapping[str, Any]


def write(result: Result, folder: Path) -> list[Path]:
    """Write gpu.md, and the plots where matplotlib is installed; return the files."""
    written = []
    try:
        written += [
            latency_plot(result, folder / "gpu_latency.png"),
            roofline_plot(result, folder / "gpu_roofline.png"),
        ]
    except ImportError:
        print("no plots: matplotlib is not installed (pip install 'matplotlib>=3.10,<4')")
    page = folder / "gpu.md"
    page.write_text(markdown(result, [path.name for path in written]))
    return [page, *written]


def series(result: Result) -> dict[tuple[str, str, str], list[Cell]]:
    """Cells by engine, precision and stage, the batches in order."""
    found: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in sorted(result["cells"], key=lambda cell: cell["batch"]):
        found.setdefault((cell["engine"], cell["precision"], cell["stage"]), []).append(cell)
    return found


def achieved(cell: Cell) -> tuple[float, float, float]:
    """Operations per second, bytes per second, and operations for each byte, of a measured cell.

    By the counted work: bytes are those that cross between kernels with elementwise operators fused (perf/gpu/cost.py).
    """
    half = network(cell["stage"]).half
    cost = count(network_file(cell["stage"]), cell["batch"], half.weights if half else None)
    moved = sum(kernel.bytes for kernel in cost.kernels)
    seconds = cell["p50_ms"] / 1e3
    return cost.ops / seconds, moved / seconds, cost.ops / moved


def _row(cells: Iterable[Any]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def markdown(result: Result, plots: Sequence[str] = ()) -> str:
    """The page."""
    card, roofs = result["card"], result["ceilings"]
    smi = card.get("nvidia_smi") or {}
    lines = [
        f"# {card['name']}",
        "",
        f"`python -m perf.gpu`, {result['date']}, in {result['minutes']:g} minutes. Inputs: {result['inputs']}. "
        + ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        + (f"; driver {smi['driver_version']}" if smi.get("driver_version") else "")
        + (f"; compute capability {card['compute_capability']}" if card.get("compute_capability") else "")
        + ".",
        "",
        "Milliseconds are medians by the clock of runs that are each waited for, inputs and outputs on the device.",
        "",
        "## Ceilings",
        "",
        "What the device reached at its best: large matrix products and copies (perf/gpu/ceilings.py).",
        "",
        "| | |",
        "|---|---|",
    ]
    units = {"flops": (1e12, "TFLOP/s"), "bytes": (1e9, "GB/s"), "us": (1.0, "µs"), "graph": (1.0, "µs")}
    for name, value in roofs.items():
        scale, unit = units[name.rsplit("_")[-1]]
        lines.append(f"| {name} | {value / scale:.4g} {unit} |")
    found = series(result)
    batches = sorted({cell["batch"] for cell in result["cells"]})
    for engine in result["versions"]:
        for precision in sorted({key[1] for key in found if key[0] == engine}, reverse=True):
            rows = {stage: found[engine, precision, stage] for stage in STAGES if (engine, precision, stage) in found}
            lines += ["", f"## {engine}, {precision}", "", "Milliseconds by batch; greatest frames per second.", ""]
            lines += [_row(["stage", *batches, "frames/s"]), "|---" * (len(batches) + 2) + "|"]
            for stage, cells in rows.items():
                times = {cell["batch"]: f"{cell['p50_ms']:.3f}" for cell in cells}
                best = max(cell["frames_per_s"] for cell in cells)
                lines.append(_row([stage, *(times.get(batch, "-") for batch in batches), f"{best:,.0f}"]))
            lines += _chain(engine, precision, found, batches)
    lines += [
        "",
        "## Against fp32 on the CPU",
        "",
        "The worst of all batches; tolerances are those of export/networks.py.",
        "",
    ]
    lines += ["| engine | precision | output | largest error | 99.9 % of errors below | |", "|---" * 6 + "|"]
    for (engine, precision, stage), cells in found.items():
        for output in cells[0]["errors"]:
            worst = [_worst(cells, output, kind) for kind in ("largest", "usual")]
            told = [words for cell in cells for words in cell["errors"][output]["exceeded"]]
            verdict = f"**not within**: {told[0]}" if told else "within"
            lines.append(_row([engine, precision, f"{stage} {output}", *worst, verdict]))
    lines += [
        "",
        "## Of the ceilings",
        "",
        "Counted work of a frame, by the time that it took, at the fastest batch.",
        "",
    ]
    lines += ["| engine | precision | stage | batch | GFLOP/s | GB/s | operations per byte |", "|---" * 7 + "|"]
    for (engine, precision, stage), cells in found.items():
        cell = max(cells, key=lambda cell: cell["frames_per_s"])
        ops, moved, intensity = achieved(cell)
        share = f"{ops / 1e9:,.0f} ({ops / roofs['fp32_flops']:.1%} of fp32)"
        memory = f"{moved / 1e9:,.0f} ({moved / roofs['copy_bytes']:.0%})"
        lines.append(_row([engine, precision, stage, cell["batch"], share, memory, f"{intensity:.1f}"]))
    if result["skipped"]:
        lines += ["", "## Not measured", "", "| engine | stage | precision | batch | reason |", "|---" * 5 + "|"]
        for entry in result["skipped"]:
            lines.append(
                _row([*(entry.get(key, "all") for key in ("engine", "stage", "precision", "batch")), entry["reason"]])
            )
    for plot in plots:
        lines += ["", f"![{Path(plot).stem.replace('_', ' ')}]({plot})"]
    return "\n".join(lines) + "\n"


def chain(
    engine: str, precision: str, found: Mapping[tuple[str, str, str], Sequence[Cell]], batch: int
) -> float | None:
    """Milliseconds of all networks that a picture of the tier fast passes; a stage that is not had in `precision` runs
    in fp32. None where one was not measured.
    """
    total = 0.0
    for stage in FAST:
        own = precision if precision in network(stage).precisions else "fp32"
        cell = next((cell for cell in found.get((engine, own, stage), ()) if cell["batch"] == batch), None)
        if cell is None:
            return None
        total += cell["p50_ms"]
    return total


def _chain(
    engine: str, precision: str, found: Mapping[tuple[str, str, str], Sequence[Cell]], batches: Sequence[int]
) -> list[str]:
    sums = {batch: chain(engine, precision, found, batch) for batch in batches}
    whole = {batch: total for batch, total in sums.items() if total is not None}
    if not whole:
        return []
    cells = [f"**{whole[batch]:.3f}**" if batch in whole else "-" for batch in batches]
    best = max(1e3 * batch / total for batch, total in whole.items())
    return [_row(["**a picture, tier fast**", *cells, f"**{best:,.0f}**"])]


def _worst(cells: Sequence[Cell], output: str, kind: str) -> str:
    values = [cell["errors"][output][kind] for cell in cells]
    return "not finite" if any(value is None for value in values) else f"{max(values):.3g}"


def latency_plot(result: Result, path: Path) -> Path:
    """Latency and frames per second against batch, a panel for each stage."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = series(result)
    stages = [stage for stage in STAGES if any(key[2] == stage for key in found)]
    figure, axes = pyplot.subplots(2, len(stages), figsize=(3.1 * len(stages), 6.2), sharex=True, squeeze=False)
    for column, stage in enumerate(stages):
        for (engine, precision, _), cells in ((key, cells) for key, cells in found.items() if key[2] == stage):
            batches = [cell["batch"] for cell in cells]
            style = {"fp32": "-", "fp16": "--", "int8": ":"}[precision]
            colour = {"torch": "tab:red", "onnxruntime": "tab:blue", "tensorrt": "tab:green"}[engine]
            label = f"{engine} {precision}"
            axes[0, column].loglog(batches, [cell["p50_ms"] for cell in cells], style, color=colour, label=label)
            axes[1, column].loglog(batches, [cell["frames_per_s"] for cell in cells], style, color=colour)
        axes[0, column].set_title(stage, fontsize=9)
        axes[1, column].set_xlabel("batch")
        axes[1, column].set_xticks(sorted({cell["batch"] for cell in result["cells"]}))
        axes[1, column].xaxis.set_major_formatter("{x:g}")
        axes[1, column].xaxis.set_minor_formatter("")
    axes[0, 0].set_ylabel("ms")
    axes[1, 0].set_ylabel("frames/s")
    handles = {
        label: handle for axis in axes[0] for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncol=6, fontsize=8)
    figure.suptitle(result["card"]["name"])
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
    return path


def roofline_plot(result: Result, path: Path) -> Path:
    """Achieved operations per second against operations per byte, below the measured ceilings."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    roofs = result["ceilings"]
    figure, axis = pyplot.subplots(figsize=(8, 5.5))
    span = [0.05 * 2**step for step in range(18)]
    for name, style in (("fp32", "-"), ("fp16", "--")):
        roof = [min(roofs["copy_bytes"] * x, roofs[f"{name}_flops"]) / 1e9 for x in span]
        axis.loglog(span, roof, style, color="black", linewidth=1, label=f"measured ceiling, {name}")
    markers = dict(zip(STAGES, "osD^vPX", strict=False))
    for cell in result["cells"]:
        ops, _, intensity = achieved(cell)
        colour = {"torch": "tab:red", "onnxruntime": "tab:blue", "tensorrt": "tab:green"}[cell["engine"]]
        filled = colour if cell["precision"] == "fp32" else "none"
        axis.plot(intensity, ops / 1e9, markers[cell["stage"]], color=colour, markerfacecolor=filled, markersize=5)
    for stage, marker in markers.items():
        axis.plot([], [], marker, color="grey", label=stage)
    axis.set_xlabel("operations per byte that crosses between kernels (counted)")
    axis.set_ylabel("GFLOP/s reached (counted work by measured time)")
    axis.set_title(f"{result['card']['name']}: filled fp32, hollow fp16; every batch a mark")
    axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
    return path
