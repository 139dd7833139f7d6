"""Writes the typed variants of a network: its ONNX file folded and linted, and the precision in its own types."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import onnx

from export.ensembles import REPOSITORY, read_config
from export.network_files import TYPED, TypedError, network_file, sha256, typed_file, typing_digest
from export.networks import FULL, HALF, INT8, Network, Precision
from export.precision.fold import LintError, fold, lint
from export.precision.half import HalfError, to_half
from export.precision.int8 import make_int8
from export.precision.quantise import QuantiseError
from export.precision.region import RegionError, half_nodes
from export.recording import Tensor, inputs_of, outputs_of


def make_full(
    network: Network, exported: onnx.ModelProto, folded: onnx.ModelProto
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The folded graph as it is."""
    return folded, {}


def make_half(
    network: Network, exported: onnx.ModelProto, folded: onnx.ModelProto
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The learned part in half precision, and how many nodes of which kind that is."""
    if network.half is None:
        raise TypedError(f"{network.stage} has {HALF} tolerances, but nothing says what of it is computed in {HALF}")
    nodes = half_nodes(exported, folded, network.half)
    kinds = Counter(node.op_type for node in folded.graph.node if node.name in nodes)
    return to_half(folded, nodes), {"nodes_in_half_precision": dict(kinds.most_common())}


Maker = Callable[[Network, onnx.ModelProto, onnx.ModelProto], tuple[onnx.ModelProto, dict[str, Any]]]

MAKERS: Final[dict[Precision, Maker]] = {FULL: make_full, HALF: make_half, INT8: make_int8}
"""From the exported and the folded graph to the typed one, and what its record tells of it."""


def make_variants(
    network: Network, folder: Path = TYPED, repository: Path = REPOSITORY, linted: bool = True
) -> dict[Precision, Path]:
    """Write all typed variants of a network.

    Raises:
        TypedError: the ONNX file is missing or does not fit its configuration, or a graph cannot be typed.
    """
    source = network_file(repository, network.stage)
    if not source.is_file():
        raise TypedError(f"{source} is missing: write it with `python -m export.face.export` or export.speech.export")
    try:
        exported = onnx.load(source)
        check_contract(exported, network.stage, repository)
        folded = fold(exported)
        made = {}
        for precision in network.precisions:
            graph, told = MAKERS[precision](network, exported, folded)
            check_contract(graph, network.stage, repository)
            path = typed_file(network.stage, precision, folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            # The record goes first and comes last: a file without one is not taken for finished.
            path.with_suffix(".json").unlink(missing_ok=True)
            onnx.save(graph, path)
            record = {
                "onnx_sha256": sha256(source),
                "typing_sha256": typing_digest(),
                "nodes_exported": len(exported.graph.node),
                "nodes": len(graph.graph.node),
                **told,
                **({"lint": lint(path)} if linted else {}),
            }
            path.with_suffix(".json").write_text(json.dumps(record, indent=1))
            made[precision] = path
        return made
    except (LintError, HalfError, QuantiseError, RegionError, onnx.checker.ValidationError) as error:
        raise TypedError(f"{network.stage}: {error}") from error


def check_contract(model: onnx.ModelProto, stage: str, repository: Path = REPOSITORY) -> None:
    """Hold a graph's inputs and outputs against the stage's config.pbtxt.

    Raises:
        TypedError: which lists what differs.
    """
    config = read_config(repository / stage / "config.pbtxt")
    wrong = []
    for kind, wanted, values in (
        ("input", inputs_of(config), model.graph.input),
        ("output", outputs_of(config), model.graph.output),
    ):
        have = [_port(value) for value in values]
        if sorted(have) != sorted(wanted):
            wrong.append(f"{kind}s are {sorted(have)}, expected {sorted(wanted)}")
    if wrong:
        raise TypedError(f"{stage}: the graph does not fit {stage}/config.pbtxt: {'; '.join(wrong)}")


def _port(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type
    return Tensor(
        value.name,
        onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type),
        tuple(dim.dim_value for dim in kind.shape.dim[1:]),
    )
