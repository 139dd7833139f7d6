"""Write the trained networks into the model repository, and hold ONNX Runtime against torch.

    python -m export.speech.export --checkpoint build/speech/tcn.pt

writes model_repository/{speech_encoder,expression}/1/model.onnx: opset 18, fp32, one dynamic leading dimension named
"batch", all else static, weights inside. It fails where an output differs from torch by more than TOLERANCE, and leaves
the repository as it was.

    python -m export.speech.export --encoder FOLDER --layer 6

takes a wav2vec 2.0 or HuBERT checkpoint (pretrained/) in place of the small encoder, with the expression stage that
`python -m export.speech.train --encoder FOLDER --layer 6` has trained on it, and writes both, and their configurations,
into build/model_repository, a copy of the repository: `facestream serve --repository build/model_repository`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import soundfile
import torch
from facestream.contract import CHUNK_SAMPLES, EMBEDDING_SIZE, EMBEDDING_STEPS, SAMPLE_RATE, WINDOW_SAMPLES
from torch import nn

from export.speech.configuration import STAGES, fit_configurations
from export.speech.expression import Expression
from export.speech.train import trained

Floats = npt.NDArray[np.float32]

OPSET: Final = 18
MAX_BATCH: Final = 8  # max_batch_size of both config.pbtxt
TOLERANCE: Final = {"EMBEDDING": 5e-4, "SPEECH_FACE": 1e-4, "VISEME": 1e-4}
"""Largest absolute difference between torch and ONNX Runtime, for embeddings of up to USUAL_EMBEDDING."""

USUAL_EMBEDDING: Final = 4.0
LARGEST_FILE: Final = 2**31 - 2**20
"""Bytes: an ONNX file is one protobuf message, which ends at 2 GiB."""

REPOSITORY: Final = Path("model_repository")
COPIED_REPOSITORY: Final = Path("build/model_repository")

SPEECH: Final = Path("tests/data/speech.wav")


def write_onnx(network: nn.Module, example: torch.Tensor, inputs: list[str], outputs: list[str], path: Path) -> None:
    """Export `network` to `path`; its first dimension stays open under the name "batch"."""
    path.parent.mkdir(parents=True, exist_ok=True)
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        input_names=inputs,
        output_names=outputs,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=MAX_BATCH)},),
        opset_version=OPSET,
        verbose=False,
    )
    if program is None:
        raise RuntimeError(f"torch gave no ONNX program for {path}")
    model = program.model_proto
    # The exporter notes its Python stack on every node: files of the machine that no user needs.
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for item in [*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output]:
        del item.metadata_props[:]
        item.ClearField("doc_string")
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def windows(audio: Floats) -> Floats:
    """Cut `audio` float32[n] into the windows float32[n // 800, 16400] that the server sees, one for each request."""
    padded = np.concatenate([np.zeros(WINDOW_SAMPLES - CHUNK_SAMPLES, np.float32), audio])
    steps = len(audio) // CHUNK_SAMPLES
    return np.stack([padded[i * CHUNK_SAMPLES :][:WINDOW_SAMPLES] for i in range(steps)])


def largest_difference(path: Path, network: nn.Module, feed: Floats, batch: int) -> dict[str, float]:
    """Run `feed` through the file and through torch in batches; return the largest difference for each output."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = dict.fromkeys(names, 0.0)
    for start in range(0, len(feed), batch):
        part = feed[start : start + batch]
        with torch.inference_mode():
            wanted = network(torch.from_numpy(part))
        for name, got, want in zip(
            names,
            session.run(None, {session.get_inputs()[0].name: part}),
            wanted if isinstance(wanted, tuple) else (wanted,),
            strict=True,
        ):
            # np.maximum keeps NaN, the built-in max would lose it
            found[name] = float(np.maximum(found[name], np.abs(got - want.numpy()).max()))
    return found


def check_places(repository: Path) -> None:
    """Tell before hours of training what `export_stages` would lack after them.

    Raises:
        FileNotFoundError: `repository` lacks one of the stages, or SPEECH is not there.
    """
    for path in (*(repository / stage / "config.pbtxt" for stage in STAGES), SPEECH):
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing, expected {repository} to be a model repository and the working folder the clone's"
            )


def check_size(encoder: nn.Module, layer: int) -> None:
    """Raise ValueError where `encoder`, cut at `layer`, has more weights than one ONNX file holds."""
    size = sum(parameter.numel() for parameter in encoder.parameters()) * 4
    if size >= LARGEST_FILE:
        raise ValueError(
            f"--layer is {layer}, which makes a file of {size / 1e9:.1f} GB, expected less than "
            f"{LARGEST_FILE / 1e9:.1f} GB, the most that one ONNX file holds: choose a lower layer"
        )


def copied_repository(named: Path | None) -> Path:
    """Return the repository for a pretrained encoder: the one that is `named`, or COPIED_REPOSITORY.

    Raises:
        FileNotFoundError: it lacks one of the stages, or there is nothing to make it from.
        ValueError: it is REPOSITORY, which keeps the small encoder.
    """
    repository = named or COPIED_REPOSITORY
    if repository.resolve() == REPOSITORY.resolve():
        raise ValueError(f"--repository is {repository}, which keeps the small encoder: name another folder")
    check_places(repository if repository.exists() else REPOSITORY)
    return repository


def copy_repository(repository: Path) -> None:
    """Make `repository` a copy of REPOSITORY, whole or not at all; one that is there stays as it is."""
    if repository.exists():
        print(f"{repository} is there already: stages other than {' and '.join(STAGES)} stay as they are", flush=True)
        return
    unfinished = repository.with_name(f"{repository.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(REPOSITORY, unfinished, ignore=shutil.ignore_patterns("__pycache__"))
    unfinished.rename(repository)


def export_stages(encoder: nn.Module, expression: Expression, size: int, repository: Path, title: str) -> bool:
    """Write both stages with embeddings of `size` into `repository`; return whether the files do as torch does.

    Where they do not, and where anything fails on the way, `repository` keeps what it had. `title` says in the
    configurations which encoder it is.

    Raises:
        FileNotFoundError: `repository` lacks one of the stages, or SPEECH is not there.
        ValueError: SPEECH is of another rate, or the configurations cannot be made to fit.
    """
    check_places(repository)
    audio, rate = soundfile.read(SPEECH, dtype="float32")
    if rate != SAMPLE_RATE:
        raise ValueError(f"{SPEECH} has a rate of {rate} Hz, expected {SAMPLE_RATE}")
    sound = windows(audio)
    served = [repository / stage / "1" / "model.onnx" for stage in STAGES]
    unchecked = [path.with_name("model.unchecked.onnx") for path in served]
    encoder_path, expression_path = unchecked
    try:
        write_onnx(encoder, torch.zeros(2, WINDOW_SAMPLES), ["AUDIO_WINDOW"], ["EMBEDDING"], encoder_path)
        write_onnx(
            expression, torch.zeros(2, EMBEDDING_STEPS, size), ["EMBEDDING"], ["SPEECH_FACE", "VISEME"], expression_path
        )
        with torch.inference_mode():
            embeddings = np.concatenate([encoder(torch.from_numpy(sound[i : i + 8])) for i in range(0, len(sound), 8)])
        tolerance = dict(TOLERANCE)
        tolerance["EMBEDDING"] *= max(1.0, float(np.abs(embeddings).max()) / USUAL_EMBEDDING)
        differences = largest_difference(encoder_path, encoder, sound, 8)
        differences |= largest_difference(expression_path, expression, embeddings, 8)
        same = True
        for name, difference in differences.items():
            same &= difference <= tolerance[name]
            print(f"{name}: torch and ONNX Runtime differ by {difference:.1e} at most, tolerance {tolerance[name]:.0e}")
        if not same:
            print(f"{repository} keeps the networks that it had", flush=True)
            return False
        fit_configurations(repository, size, title)
        for path, checked in zip(served, unchecked, strict=True):
            checked.replace(path)
            print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    finally:
        for path in unchecked:
            path.unlink(missing_ok=True)
    return True


def main(arguments: list[str] | None = None) -> int:
    """Export both networks and check them on recorded speech; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--checkpoint", type=Path, help="default: build/speech/tcn.pt, or NAME-layerN.pt with --encoder"
    )
    parser.add_argument(
        "--repository", type=Path, help=f"default: {REPOSITORY}, or its copy {COPIED_REPOSITORY} with --encoder"
    )
    parser.add_argument("--encoder", type=Path, metavar="FOLDER", help="wav2vec 2.0 or HuBERT checkpoint to serve")
    parser.add_argument("--layer", type=int, metavar="N", help="transformer layer at which that checkpoint is cut")
    options = parser.parse_args(arguments)
    if (options.encoder is None) != (options.layer is None):
        parser.error("--encoder and --layer go together: the checkpoint's folder, and the layer at which it is cut")
    if options.encoder is None:
        repository = options.repository or REPOSITORY
        try:
            check_places(repository)
            networks = trained(options.checkpoint or Path("build/speech/tcn.pt"))
        except (FileNotFoundError, ValueError) as error:
            parser.error(str(error))
        same = export_stages(networks.encoder, networks.expression, EMBEDDING_SIZE, repository, "the small encoder")
        return int(not same)

    from export.speech.pretrained.frozen import default_checkpoint, trained_on_encoder

    checkpoint = options.checkpoint or default_checkpoint(options.encoder, options.layer)
    try:
        repository = copied_repository(options.repository)
        encoder, expression = trained_on_encoder(checkpoint, options.encoder, options.layer)
        check_size(encoder, options.layer)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    copy_repository(repository)
    title = f"{options.encoder.resolve().name}, cut at layer {options.layer}"
    return int(not export_stages(encoder, expression, encoder.size, repository, title))


if __name__ == "__main__":
    sys.exit(main())
