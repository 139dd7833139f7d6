"""Judge checkpoints on recorded speech: every look-ahead of each, by the judge of perf.lip_sync.

    python -m export.speech.evaluate build/speech/tcn.pt build/speech/transformer.pt [--clips FOLDER] [--out FILE.json]

It runs a network over whole recordings, which gives the faces that the server gives window by window, some hundred
times faster. The recordings are those of perf.lip_sync that choices may be made by, or the folder's; nothing is learnt
from them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from facestream.contract import CHUNK_SAMPLES, FRAME_RATE, WINDOW_SAMPLES

from export.speech.expression import LOOKAHEADS
from export.speech.networks import Networks
from export.speech.train import trained


def faces_of(networks: Networks, lookahead: int) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]]:
    """Return what turns sound float32[n] at 24 kHz into the faces float64[n // 800, 52] shown with `lookahead` frames.

    Frame f is what the request `lookahead` frames later shows; silence flushes the last ones, as the client does.
    """

    def faces(audio: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        frames = len(audio) // CHUNK_SAMPLES
        sound = np.zeros(WINDOW_SAMPLES + (frames + lookahead - 1) * CHUNK_SAMPLES, np.float32)
        heard = audio[: (frames + lookahead) * CHUNK_SAMPLES]
        start = WINDOW_SAMPLES - CHUNK_SAMPLES
        sound[start : start + len(heard)] = heard
        with torch.inference_mode():
            embedding = networks.encoder(torch.from_numpy(sound)[None])
            logits = networks.expression.logits(embedding)[lookahead][0].permute(2, 0, 1)  # [steps, 3, 20], 60 Hz
            # A request brings two steps; the last request's answer is the last step.
            shown = logits[len(logits) - 1 - 2 * (frames - 1) :: 2]
            return np.asarray(networks.expression.shown(shown)[0].numpy(), np.float64)

    return faces


def evaluate(checkpoints: list[Path], clips: list[Any]) -> list[dict[str, Any]]:
    """Judge every look-ahead of every checkpoint on `clips` (perf.lip_sync's), as they are and in noise 10 dB below.

    Returns one row for each, printing it.

    Raises:
        FileNotFoundError: a checkpoint is missing; nothing is judged yet.
        ValueError: one is of an expression stage for another encoder.
    """
    from perf import lip_sync

    networks_of = {checkpoint: trained(checkpoint) for checkpoint in checkpoints}
    conditions = {"clean": clips, "white noise 10 dB below": [lip_sync.with_noise(10)(clip) for clip in clips]}
    rows: list[dict[str, Any]] = []
    for checkpoint, networks in networks_of.items():
        for lookahead in range(len(LOOKAHEADS)):
            for condition, heard in conditions.items():
                judged = lip_sync.judge(heard, faces_of(networks, lookahead))
                row = {"checkpoint": checkpoint.stem, "lookahead_frames": lookahead, "condition": condition, **judged}
                rows.append(row)
                print(
                    f"{checkpoint.stem:12s} look-ahead {lookahead} ({1000 * (lookahead + 0.5) / FRAME_RATE:.0f} ms)  "
                    f"{condition:24s} r {row['lip_gap_r']:.3f}  p/b/m closed {row['pbm_closed']:.3f}  "
                    f"open vowels closed {row['open_vowels_closed']:.3f}  lag {row['lag_ms']:+.0f} ms",
                    flush=True,
                )
    return rows


def merit(rows: list[dict[str, Any]], checkpoint: str, lookahead: int) -> float:
    """One number to choose by: r + share of closures - share of vowels wrongly closed, mean of clean and noise."""
    chosen = [row for row in rows if row["checkpoint"] == checkpoint and row["lookahead_frames"] == lookahead]
    return float(np.mean([row["lip_gap_r"] + row["pbm_closed"] - row["open_vowels_closed"] for row in chosen]))


def write_rows(rows: list[dict[str, Any]], path: Path) -> None:
    """Write what `evaluate` returned to `path` as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")


def recordings(clips: Path | None, work: Path) -> list[Any]:
    """Return the aligned clips of a folder, or of the judge's own recordings that choices may be made by.

    Raises:
        FileNotFoundError: the folder is none, or holds no clips.
        ImportError: pocketsphinx, which aligns them, is not installed.
        ValueError: there is no recording whose words fit its sound.
    """
    from perf import lip_sync

    alignments = lip_sync.Alignments(work / "alignments.json")
    sets = {"clips": lip_sync.folder_set(clips)} if clips else lip_sync.default_sets(work)
    found = [clip for entries in sets.values() for clip in alignments.clips(entries)]
    if not found:
        raise ValueError(f"none of the recordings in {clips or work} can be judged by, expected at least one")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Judge the checkpoints named, print a table and write it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="CHECKPOINT")
    parser.add_argument("--clips", type=Path, help="folder of NAME.wav beside NAME.txt; default: the judge's own")
    parser.add_argument("--work", type=Path, default=Path("build/perf"), help="folder for fetched recordings")
    parser.add_argument("--out", type=Path, help="write the rows here as JSON")
    options = parser.parse_args(arguments)
    if missing := [str(checkpoint) for checkpoint in options.checkpoints if not checkpoint.is_file()]:
        parser.error(f"CHECKPOINT {', '.join(missing)} is no file, expected what export.speech.train writes")
    torch.set_num_threads(1)
    rows = evaluate(options.checkpoints, recordings(options.clips, options.work))
    if options.out:
        write_rows(rows, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
