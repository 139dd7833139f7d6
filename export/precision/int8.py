"""INT8 where it pays: `python -m export.precision.int8` calibrates, and keeps the scales in int8_scales.json.

On the recorded sessions (export/recording.py) of all people but the last, who is kept apart for the judgement
(`python -m perf.int8`). Quantised are convolutions that are in half precision otherwise; the rest of the network stays
as it is in fp16. Left out are

* those with fewer than 16 input channels: INT8 kernels take 32 at a time, and would compute mostly zeros;
* those with less than half a percent of the network's products: they take no time to speak of;
* those that lose most, one after the other, until the network as a whole keeps its tolerance on the calibration frames.

The scales are committed, so that `python -m export.precision` makes the same file everywhere, without a recording.
Weights that were trained on a little keep them good enough, or the tolerance of export/networks.py is exceeded
(`python -m export.precision.parity`), and this is to be run again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from export.ensembles import REPOSITORY
from export.network_files import network_file, sha256
from export.networks import INT8, NETWORKS, Network, network
from export.precision.calibration import calibrate
from export.precision.errors import Errors
from export.precision.fold import fold
from export.precision.half import to_half
from export.precision.quantise import QuantiseError, convolutions, to_int8
from export.precision.region import half_nodes
from export.precision.stored import typed_graph
from export.recording import RECORDING, Recording, RecordingError, load_recording, record

SCALES: Final = Path(__file__).with_name("int8_scales.json")
CANDIDATES: Final = ("refiner_high", "refiner_standard", "renderer", "speech_encoder")
"""Networks whose convolutions are looked at: the others have next to none."""
LEAST_CHANNELS: Final = 16
LEAST_SHARE: Final = 0.005
EVERY: Final = 16
"""Calibration looks at one of so many recorded frames."""
PROBED: Final = 3
"""Frames on which each convolution is quantised alone."""
FIRST: Final = 4
"""Frame of a session with which calibration begins: the look-ahead has passed."""

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Layer:
    """One convolution of the learned part."""

    name: str
    operations: int
    """A multiplication and an addition are two; of one frame."""
    share: float
    """Of the products of the network's learned part."""
    channels: int
    """That it reads."""
    alone_db: float | None = None
    """PSNR of the network's worst output, against 255 levels, with this convolution alone in INT8."""
    left_out: str = ""
    """Why it stays in half precision; empty where it does not."""


@dataclass(frozen=True)
class Graphs:
    """One network in the precisions that INT8 is made of."""

    stage: str
    full: onnx.ModelProto
    half: onnx.ModelProto

    @staticmethod
    def of(network: Network, exported: onnx.ModelProto, folded: onnx.ModelProto) -> Graphs:
        """From the graph as exported, and folded.

        Raises:
            QuantiseError: nothing of the network is declared to be learned.
        """
        if network.half is None:
            raise QuantiseError(f"{network.stage} has no learned part (`half` in export/networks.py), expected one")
        return Graphs(network.stage, folded, to_half(folded, half_nodes(exported, folded, network.half)))

    @staticmethod
    def load(stage: str, repository: Path = REPOSITORY) -> Graphs:
        """From the ONNX file that the stage serves."""
        exported = onnx.load(str(network_file(repository, stage)))
        return Graphs.of(network(stage), exported, fold(exported))


@dataclass(frozen=True)
class Calibration:
    """What was found for one network."""

    stage: str
    layers: tuple[Layer, ...]
    scales: Mapping[str, float]
    """Of what the quantised convolutions read, by their names."""

    @property
    def share(self) -> float:
        """Part of the learned part's products that is computed in INT8."""
        return sum(layer.share for layer in self.layers if layer.name in self.scales)


def layers(graphs: Graphs) -> list[Layer]:
    """The convolutions of the learned part, in the graph's order."""
    inferred = onnx.shape_inference.infer_shapes(graphs.half, strict_mode=True, data_prop=True)
    values = [*inferred.graph.value_info, *inferred.graph.output]
    sizes = {one.name: [size.dim_value for size in one.type.tensor_type.shape.dim][1:] for one in values}
    weights = {one.name: one for one in inferred.graph.initializer}
    learned = {
        name: node
        for name, node in convolutions(inferred).items()
        if weights[node.input[1]].data_type == onnx.TensorProto.FLOAT16
    }
    operations = {
        name: 2 * prod(sizes[node.output[0]]) * prod(weights[node.input[1]].dims[1:]) for name, node in learned.items()
    }
    whole = sum(operations.values())
    found = []
    for name, node in learned.items():
        channels, share = weights[node.input[1]].dims[1], operations[name] / whole
        why = ""
        if share < LEAST_SHARE:
            why = f"{100 * share:.2f} % of the products"
        elif channels < LEAST_CHANNELS:
            why = f"reads {channels} channels"
        found.append(Layer(name, operations[name], share, channels, None, why))
    return found


def any_recording(folder: Path = RECORDING, in_process: bool = False) -> Recording:
    """The recording in `folder`, made where there is none.

    One made with older networks serves as well: its inputs alone are used, and all else is computed anew.
    """
    try:
        return load_recording(folder)
    except RecordingError as error:
        print(error, flush=True)
        return record(folder, in_process=in_process)


def frames(recording: Recording, stage: str, avatars: Sequence[str], wanted: Iterable[int]) -> list[Tensors]:
    """Inputs [1, ...] of a network in some recorded frames of some people."""
    numbers = list(wanted)
    found: list[Tensors] = []
    for avatar in avatars:
        tensors = recording.frames_for(stage, avatar)
        found += [{name: array[number : number + 1] for name, array in tensors.items()} for number in numbers]
    return found


def run(model: onnx.ModelProto, given: Sequence[Tensors]) -> list[dict[str, NDArray[Any]]]:
    """What a graph makes of some frames, with all rounded that it stores in half precision."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, str(path))
        graph = typed_graph(path)
    return [graph(frame) for frame in given]


def errors(made: Sequence[Tensors], wanted: Sequence[Tensors]) -> dict[str, Errors]:
    """Errors of each output over frames, by name."""
    found: dict[str, Errors] = {}
    for one, other in zip(made, wanted, strict=True):
        for name in other:
            found.setdefault(name, Errors()).add(one[name], other[name])
    return found


def exceeded(stage: str, found: Mapping[str, Errors]) -> list[str]:
    """What is beyond the stage's tolerance in INT8, in words; nothing where it has none."""
    tolerances = network(stage).tolerances.get(INT8, {})
    return [f"{name}: {text}" for name, limit in tolerances.items() for text in found[name].exceeded(limit)]


def calibrate_network(graphs: Graphs, given: Sequence[Tensors]) -> Calibration:
    """Find scales, and which convolutions are better left in half precision.

    Args:
        graphs: The network.
        given: Its inputs [1, ...] in the calibration frames.
    """
    found = layers(graphs)
    scales = calibrate(graphs.full, given, [layer.name for layer in found if not layer.left_out])
    probed = given[:: max(1, len(given) // PROBED)][:PROBED]
    wanted = run(graphs.full, probed)

    def lost(chosen: Mapping[str, float]) -> dict[str, Errors]:
        return errors(run(to_int8(graphs.half, graphs.full, chosen), probed), wanted)

    alone = {name: min(one.least_psnr for one in lost({name: scale}).values()) for name, scale in scales.items()}
    chosen = dict(scales)
    dropped: dict[str, str] = {}
    while chosen:
        beyond = exceeded(graphs.stage, lost(chosen))
        if not beyond:
            break
        worst = min(chosen, key=alone.__getitem__)
        dropped[worst] = f"loses most: {beyond[0]}"
        del chosen[worst]
    judged = [
        Layer(
            one.name, one.operations, one.share, one.channels, alone.get(one.name), dropped.get(one.name, one.left_out)
        )
        for one in found
    ]
    return Calibration(graphs.stage, tuple(judged), chosen)


def calibrated(stage: str, recording: Recording, repository: Path = REPOSITORY) -> tuple[Graphs, Calibration]:
    """Calibrate a network on the recorded sessions of all people but the last."""
    graphs = Graphs.load(stage, repository)
    given = frames(recording, stage, recording.avatars[:-1], range(FIRST, recording.frames, EVERY))
    return graphs, calibrate_network(graphs, given)


def make_int8(
    network: Network, exported: onnx.ModelProto, folded: onnx.ModelProto
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The graph in half precision with convolutions in INT8, as the committed scales say.

    Raises:
        QuantiseError: there are no scales for the network, or they are of one with other convolutions.
    """
    mend = f"calibrate with `python -m export.precision.int8 --stages {network.stage}`"
    kept = json.loads(SCALES.read_text()).get(network.stage) if SCALES.is_file() else None
    if kept is None:
        raise QuantiseError(f"{SCALES.name} has no scales for {network.stage}: {mend}")
    graphs = Graphs.of(network, exported, folded)
    try:
        made = to_int8(graphs.half, graphs.full, kept["scales"])
    except QuantiseError as error:
        raise QuantiseError(f"{SCALES.name} is of another network: {error}; {mend}") from error
    return made, {"convolutions_in_int8": list(kept["scales"]), "calibrated_for": kept["onnx_sha256"]}


def main(arguments: list[str] | None = None) -> int:
    """Calibrate, and keep the scales."""
    parser = argparse.ArgumentParser(
        prog="python -m export.precision.int8",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [one.stage for one in NETWORKS if INT8 in one.precisions]
    parser.add_argument("--stages", nargs="+", choices=names, default=names, metavar="STAGE", help="default: all")
    parser.add_argument("--recording", type=Path, default=RECORDING, help="default: %(default)s")
    parser.add_argument("--in-process", action="store_true", help="record without a server where there is no recording")
    options = parser.parse_args(arguments)
    try:
        recording = any_recording(options.recording, options.in_process)
        kept = json.loads(SCALES.read_text()) if SCALES.is_file() else {}
        kept = {stage: scales for stage, scales in kept.items() if stage in names}
        for stage in options.stages:
            _, found = calibrated(stage, recording)
            kept[stage] = {
                "onnx_sha256": sha256(network_file(REPOSITORY, stage)),
                "scales": {name: float(np.float16(scale)) for name, scale in found.scales.items()},
            }
            print(
                f"{stage}: {len(found.scales)} of {len(found.layers)} convolutions in INT8, "
                f"{found.share:.0%} of the products"
            )
    except QuantiseError as error:
        print(error, file=sys.stderr)
        return 1
    SCALES.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
