"""Make the typed variants of the networks: `python -m export.precision`.

Each committed ONNX file is folded and linted, and written in every precision that export/networks.py names, with the
precision in the file's own types:

    build/typed/STAGE/PRECISION.onnx
    build/typed/STAGE/PRECISION.json     which ONNX file it was made of, and what is in half precision

Names, shapes and types of inputs and outputs are those of the stage's config.pbtxt in all variants, so that one takes
the place of another. What a precision costs is told by `python -m export.precision.parity`.

Needs the extra `precision`: `pip install -e '.[precision]'`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import onnx

from export.ensembles import REPOSITORY, read_config
from export.networks import FULL, HALF, INT8, NETWORKS, Network, Precision, network
from export.precision.fold import LintError, fold, lint
from export.precision.half import HalfError, to_half
from export.precision.int8 import make_int8
from export.precision.quantise import QuantiseError
from export.precision.region import RegionError, half_nodes
from export.recording import Tensor, inputs_of, network_file, outputs_of, sha256

TYPED: Final = Path("build/typed")


class TypedError(ValueError):
    """A typed variant cannot be made or is not there; the text says why, and what mends it."""


def typed_file(stage: str, precision: Precision, folder: Path = TYPED) -> Path:
    """Where a typed variant is kept."""
    return folder / stage / f"{precision}.onnx"


def current_typed_file(stage: str, precision: Precision, folder: Path = TYPED, repository: Path = REPOSITORY) -> Path:
    """A typed variant that was made of the ONNX file that the stage serves today.

    Raises:
        TypedError: it is missing, or of another file.
    """
    path = typed_file(stage, precision, folder)
    record = path.with_suffix(".json")
    mend = f"make it with `python -m export.precision --stages {stage}`"
    if not path.is_file() or not record.is_file():
        raise TypedError(f"{path} is missing: {mend}")
    known, today = json.loads(record.read_text())["onnx_sha256"], sha256(network_file(repository, stage))
    if known != today:
        raise TypedError(
            f"{path} was made of the ONNX file {known[:12]}, {stage} serves {today[:12] or 'none'}: {mend}"
        )
    return path


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
    """Write all variants of a network that this module makes.

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
            if precision not in MAKERS:
                continue
            graph, told = MAKERS[precision](network, exported, folded)
            check_contract(graph, network.stage, repository)
            path = typed_file(network.stage, precision, folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            # The record goes first and comes last: a file without one is not taken for finished.
            path.with_suffix(".json").unlink(missing_ok=True)
            onnx.save(graph, path)
            record = {
                "onnx_sha256": sha256(source),
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


def main(arguments: list[str] | None = None) -> int:
    """Make the variants, and tell of each how large it is and what the linter says."""
    parser = argparse.ArgumentParser(
        prog="python -m export.precision", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [network.stage for network in NETWORKS]
    parser.add_argument("--stages", nargs="+", choices=names, default=names, metavar="STAGE", help="default: all")
    parser.add_argument("--out", type=Path, default=TYPED, help="folder to write (default: %(default)s)")
    parser.add_argument("--repository", type=Path, default=REPOSITORY, help="model repository")
    parser.add_argument("--no-lint", action="store_true", help="leave out the linter, which takes most of the time")
    options = parser.parse_args(arguments)
    try:
        for stage in options.stages:
            made = make_variants(network(stage), options.out, options.repository, not options.no_lint)
            for path in made.values():
                record = json.loads(path.with_suffix(".json").read_text())
                half = sum(record.get("nodes_in_half_precision", {}).values())
                print(
                    f"{path}: {path.stat().st_size / 1e6:.2f} MB, {record['nodes']} nodes "
                    f"({record['nodes_exported']} exported), {half} in half precision",
                    *(f"  lint: {warning}" for warning in record.get("lint", [])),
                    sep="\n",
                    flush=True,
                )
    except ImportError as error:
        parser.error(f"{error.name} is not installed: pip install -e '.[precision]'")
    except TypedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
