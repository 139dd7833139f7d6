"""Constant folding and lint of an exported graph, by Polygraphy."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import onnx

FAILING = ("exception", "error")
"""Levels of Polygraphy's linter at which a graph is refused; warnings are told."""


class LintError(ValueError):
    """The linter refuses a graph; the text names file, node and reason."""


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with all computed that depends on no input; names of nodes, inputs and outputs stay.

    Raises:
        onnx.checker.ValidationError: the folded graph is broken, or lacks an output.
    """
    import onnx_graphsurgeon as graphsurgeon
    from polygraphy.backend.onnx import fold_constants
    from polygraphy.logger import G_LOGGER

    with G_LOGGER.verbosity(G_LOGGER.ERROR):
        folded = fold_constants(onnx.ModelProto.FromString(model.SerializeToString()), error_ok=False)
    # cleanup() drops what no output needs, and with it inputs that nothing reads: these belong to the contract.
    graph = graphsurgeon.import_onnx(folded)
    graph.cleanup().toposort()
    cleaned: onnx.ModelProto = graphsurgeon.export_onnx(graph)
    del cleaned.graph.input[:], cleaned.graph.output[:]
    cleaned.graph.input.extend(model.graph.input)
    cleaned.graph.output.extend(model.graph.output)
    del cleaned.opset_import[:]
    cleaned.opset_import.extend(model.opset_import)
    cleaned.ir_version = model.ir_version
    cleaned.producer_name, cleaned.producer_version = model.producer_name, model.producer_version
    onnx.checker.check_model(cleaned, full_check=True)
    return cleaned


def lint(path: Path) -> list[str]:
    """The linter's warnings on an ONNX file, which it also runs once on made-up inputs with ONNX Runtime.

    Raises:
        LintError: the graph is broken, or ONNX Runtime cannot run it.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "lint.json"
        command = [sys.executable, "-c", "from polygraphy.tools import main; raise SystemExit(main())"]
        done = subprocess.run(
            [*command, "check", "lint", str(path), "-o", str(report), "--quiet"], capture_output=True, text=True
        )
        if not report.is_file():
            raise LintError(f"{path}: Polygraphy's linter gave no report: {done.stderr.strip() or done.stdout.strip()}")
        found = json.loads(report.read_text())
    entries = [(entry["level"], _told(entry)) for entry in found.get("lint_entries", [])]
    failing = [text for level, text in entries if level in FAILING]
    if failing or done.returncode:
        raise LintError(f"{path}: {'; '.join(failing) or done.stderr.strip()}")
    return [text for _, text in entries]


def _told(entry: dict[str, Any]) -> str:
    nodes = ", ".join(entry.get("nodes") or ())
    return f"{nodes}: {entry['message']}" if nodes else str(entry["message"])
