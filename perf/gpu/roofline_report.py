"""roofline.md and roofline.png, from roofline.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from export.networks import network
from perf.gpu.cost import count
from perf.gpu.stages import FAST, STAGES, network_file

Result = Mapping[str, Any]


def write(result: Result, folder: Path) -> list[Path]:
    """Write the page, and the plot where matplotlib is installed; return the files."""
    written = [folder / "roofline.md"]
    try:
        written.append(plot(result, folder / "roofline.png"))
    except ImportError:
        print("no plot: matplotlib is not installed (pip install 'matplotlib>=3.10,<4')")
    written[0].write_text(markdown(result, len(written) > 1))
    return written


def _row(cells: Iterable[Any]) -> str:
    return "| " + " | ".join("-" if cell is None else str(cell) for cell in cells) + " |"


def _head(*cells: str) -> list[str]:
    return [_row(cells), "|---" * len(cells) + "|"]


def _name(row: Mapping[str, Any]) -> str:
    mark = "" if row["source"] == "projected" else f" ({row['source']})"
    return f"{row['card']}, {row['way']}{mark}"


def _verdict(row: Mapping[str, Any], met: bool) -> str:
    """A projection keeps no target: it would."""
    if row["source"] == "projected":
        return "would be met" if met else "would be **missed**"
    return "met" if met else "**missed**"


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def markdown(result: Result, plotted: bool) -> str:
    """The page."""
    rows, host = result["rows"], result["host"]
    known = {card["name"]: card for card in result["cards"]["cards"]}
    guessed = any(row["source"] == "projected" for row in rows)
    lines = ["# Cards: a PROJECTION" if guessed else "# Cards, measured", ""]
    if guessed:
        lines += [
            "**A row that does not say measured is a projection: computed from counted work, vendors' peaks and",
            "assumed shares of them. No GPU ran for it.**",
            "",
        ]
    lines += [
        f"`python -m perf.gpu.roofline`, {result['date']}; the rules are told in [roofline.py](../../gpu/roofline.py).",
        "A row is measured once `python -m perf.gpu` has run on such a card.",
        "",
        "## What is assumed",
        "",
        *_head("way", "kernels", "overhead of each", "of fp32 peak", "of tensor peak", "other operations", "of memory"),
    ]
    for way in result["ways"]:
        shares = (f"{way[key]:.0%}" for key in ("fp32_share", "tensor_share", "other_share", "memory_share"))
        fused = "elementwise fused" if way["fused"] else "one for each operator"
        lines.append(_row([way["name"], fused, f"{way['kernel_us']:g} µs", *shares]))
    assumed = result["assumed"]
    lines += [
        "",
        f"Card and cores are filled to {assumed['busy']:.0%}; PCI Express gives {assumed['transfer_share']:.0%}",
        "of its peak; batches are no larger than the networks' configurations let them be. One vCPU is taken for one",
        "core of the measured host.",
        "",
        "## Work of a frame, counted",
        "",
        "`python -m perf.gpu.cost`, batch 1; what is counted how is told in [cost.py](../../gpu/cost.py).",
        "",
        *_head(
            "network",
            "MFLOP in products",
            "of it in fp16",
            "other MFLOP",
            "MB, unfused",
            "MB between kernels",
            "MB in and out",
            "operators",
            "kernels",
        ),
    ]
    for stage in STAGES:
        half = network(stage).half
        cost = count(network_file(stage), 1, half.weights if half else None)
        between = sum(kernel.bytes for kernel in cost.kernels)
        share = f"{cost.half_ops / cost.matrix_ops:.0%}"
        sizes = (f"{size / 1e6:.1f}" for size in (cost.unfused_bytes, between, cost.fused_bytes))
        work = (f"{cost.matrix_ops / 1e6:.1f}", share, f"{cost.other_ops / 1e6:.1f}")
        lines.append(_row([stage, *work, *sizes, len(cost.operators), len(cost.kernels)]))
    lines += ["", "## Networks, ms at batch 1, and frames per second at the batch that fills the card", ""]
    lines += _head("", *STAGES, "**picture, fast**")
    for row in rows:
        cells = []
        for stage in STAGES:
            entry = row["networks"].get(stage)
            cells.append(
                entry
                and f"{_ms(entry['ms'].get('1'))}; {entry['frames_per_s_there']:,}/s at {entry['saturating_batch']}"
            )
        lines.append(_row([_name(row), *cells, f"**{_ms(row['gpu_ms'])}**"]))
    lines += [
        "",
        "## The Python stages, measured on a CPU",
        "",
        f"`make bench-smoke`, {host['file']}, {host['machine']}, {host['date']}, networks on the same cores. On a GPU",
        "`avatar_store` and `stabilizer` leave most of theirs to the card, and a card with an encoder most of",
        "`video_encoder`'s: how much was not measured, so these figures stay, as too high ones.",
        "",
        *_head(*host["stage_ms"], "Triton itself", "**a frame**", "sessions per core at 30 FPS"),
        _row(
            [
                *(f"{ms:.2f} ms" for ms in host["stage_ms"].values()),
                f"{host['other_ms']:.2f} ms",
                f"**{host['frame_ms']:.2f} ms**",
                f"{assumed['busy'] * 1000 / 30 / host['frame_ms']:.1f}",
            ]
        ),
        "",
        "## One session, beside the budget of a frame",
        "",
        "ms: network on the GPU + Python on the host. The whole holds transfers and Triton itself, too.",
        "",
    ]
    parts = rows[0]["parts"]
    lines += _head(
        "",
        *(f"{part} (of {entry['budget_ms']:g})" for part, entry in parts.items()),
        f"whole (of {sum(entry['budget_ms'] for entry in parts.values()):g})",
        "FPS, frame after frame",
        "FPS, stages in parallel",
        "target",
    )
    for row in rows:
        cells = [
            f"{_ms(entry['gpu_ms'])} + {_ms(entry['host_ms'])}"
            + ("" if entry["ms"] is None or entry["ms"] <= entry["budget_ms"] else " **over**")
            for entry in row["parts"].values()
        ]
        target = known[row["card"]]["frames_per_s_target"]
        reached = row["frames_per_s_alone"]
        verdict = None if target is None or reached is None else f"{target}: {_verdict(row, reached >= target)}"
        lines.append(
            _row([_name(row), *cells, _ms(row["latency_ms"]), reached, row["frames_per_s_in_parallel"], verdict])
        )
    lines += [
        "",
        "## Sessions at 30 FPS, and what a minute of video costs",
        "",
        "The card's own limit by tier; the host's, by its cores and by its busiest Python stage. The smallest counts.",
        result["cards"]["prices"],
        "",
    ]
    lines += _head(
        "",
        "card: fast",
        "standard",
        "high",
        "cores (vCPUs)",
        "busiest stage",
        "**served**",
        "$ an hour",
        "$ a minute",
        "$ a minute by the card alone",
        "target $",
    )
    for row in rows:
        card, sessions = known[row["card"]], row["sessions"]
        target = card["cost_per_minute_target"]
        cost = row["cost_per_minute"]
        verdict = (
            None if target is None else f"{target:g}" + ("" if cost is None else f": {_verdict(row, cost <= target)}")
        )
        lines.append(
            _row(
                [
                    _name(row),
                    *(sessions[f"gpu_{tier}"] for tier in ("fast", "standard", "high")),
                    f"{sessions['host_cores']} ({card['vcpus']})",
                    f"{sessions['host_busiest_stage']} ({sessions['busiest_stage']})",
                    f"**{sessions['served']}**"
                    + (f" ({sessions['served_source']})" if "served_source" in sessions else ""),
                    card["price_per_hour"] and f"{card['price_per_hour']:g} ({card['price_of']})",
                    cost and f"{cost:.4f}",
                    row["cost_per_minute_by_gpu_alone"] and f"{row['cost_per_minute_by_gpu_alone']:.4f}",
                    verdict,
                ]
            )
        )
    lines += [
        "",
        "## Peaks",
        "",
        *_head("card", "fp32 TFLOPS", "fp16 tensor TFLOPS", "GB/s", "PCIe GB/s", "encodes video", "source"),
    ]
    for card in known.values():
        peaks = (card[key] for key in ("fp32_tflops", "fp16_tensor_tflops", "memory_gb_s", "pcie_gb_s"))
        lines.append(_row([card["name"], *peaks, "yes" if card["nvenc"] else "no", card["peaks_source"]]))
    if plotted:
        lines += ["", "![ms of a picture's networks by card](roofline.png)"]
    return "\n".join(lines) + "\n"


def plot(result: Result, path: Path) -> Path:
    """Where the time of a picture goes, by card, and how it grows with the batch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = result["rows"]
    figure, (bars, lines) = pyplot.subplots(1, 2, figsize=(13, 6))
    left = [0.0] * len(rows)
    names = [_name(row) for row in rows]
    for stage in FAST:
        widths = [row["networks"].get(stage, {"ms": {}})["ms"].get("1", 0.0) for row in rows]
        bars.barh(names, widths, left=left, label=stage)
        left = [begin + width for begin, width in zip(left, widths, strict=True)]
    bars.invert_yaxis()
    bars.set_xlabel("ms of one picture's networks, batch 1")
    bars.legend(fontsize=8, loc="lower right")
    bars.set_xlim(right=1.25 * max(left, default=1.0))
    colours = {name: f"C{index}" for index, name in enumerate(dict.fromkeys(row["card"] for row in rows))}
    for row in rows:
        sums = {
            int(batch): sum(row["networks"][stage]["ms"][batch] for stage in FAST)
            for batch in row["networks"].get(FAST[0], {"ms": {}})["ms"]
            if all(batch in row["networks"].get(stage, {"ms": {}})["ms"] for stage in FAST)
        }
        style = "-" if row["source"] != "projected" else "--" if row["way"].startswith("hopeful") else ":"
        pictures = [1e3 * batch / ms for batch, ms in sums.items()]
        lines.loglog(list(sums), pictures, style, marker=".", color=colours[row["card"]])
    for card, colour in colours.items():
        lines.plot([], [], color=colour, label=card)
    for style, words in ((":", "cautious"), ("--", "hopeful"), ("-", "measured")):
        lines.plot([], [], style, color="black", label=words)
    lines.set_xlabel("batch")
    lines.set_xscale("log", base=2)
    lines.xaxis.set_major_formatter("{x:g}")
    lines.set_ylabel("pictures per second, networks alone")
    lines.legend(fontsize=8, loc="upper left")
    projected = any(row["source"] == "projected" for row in rows)
    figure.suptitle("PROJECTION from counted work, but for rows that say measured" if projected else "Measured cards")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
    return path
