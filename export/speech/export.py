"""Write the trained networks into the model repository, and hold ONNX Runtime against torch.

    python -m export.speech.export --checkpoint build/speech/tcn.pt

writes model_repository/{speech_encoder,expression}/1/model.onnx: opset 18, fp32, one dynamic leading dimension named
"batch", all else static, weights inside. It fails where an output differs from torch by more than TOLERANCE.
"""

from __future__ import annotations

import argparse
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

from export.speech.train import trained

Floats = npt.NDArray[np.float32]

OPSET: Final = 18
MAX_BATCH: Final = 8  # max_batch_size of both config.pbtxt
TOLERANCE: Final = {"EMBEDDING": 5e-4, "SPEECH_FACE": 1e-4, "VISEME": 1e-4}
"""Largest absolute difference between torch and ONNX Runtime; embeddings reach about 4."""

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


def main(arguments: list[str] | None = None) -> int:
    """Export both networks and check them on recorded speech; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("build/speech/tcn.pt"))
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    options = parser.parse_args(arguments)
    networks = trained(options.checkpoint)
    encoder, expression = networks.encoder, networks.expression
    encoder_path = options.repository / "speech_encoder" / "1" / "model.onnx"
    expression_path = options.repository / "expression" / "1" / "model.onnx"
    write_onnx(encoder, torch.zeros(2, WINDOW_SAMPLES), ["AUDIO_WINDOW"], ["EMBEDDING"], encoder_path)
    write_onnx(
        expression,
        torch.zeros(2, EMBEDDING_STEPS, EMBEDDING_SIZE),
        ["EMBEDDING"],
        ["SPEECH_FACE", "VISEME"],
        expression_path,
    )
    audio, rate = soundfile.read(SPEECH, dtype="float32")
    if rate != SAMPLE_RATE:
        raise ValueError(f"{SPEECH} has a rate of {rate} Hz, expected {SAMPLE_RATE}")
    sound = windows(audio)
    with torch.inference_mode():
        embeddings = encoder(torch.from_numpy(sound)).numpy()
    differences = largest_difference(encoder_path, encoder, sound, 8)
    differences |= largest_difference(expression_path, expression, embeddings, 8)
    for path in (encoder_path, expression_path):
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    failed = False
    for name, difference in differences.items():
        failed |= not difference <= TOLERANCE[name]
        print(f"{name}: torch and ONNX Runtime differ by {difference:.1e} at most, tolerance {TOLERANCE[name]:.0e}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
