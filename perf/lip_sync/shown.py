"""The faces that the server would show for a sound, and what they cost."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from facestream.contract import CHUNK_SAMPLES, LOOKAHEAD_FRAMES
from facestream.parameters import EMOTIONS
from facestream.server.onnxruntime_backend import network

from export.chain import SPEECH_NETWORKS, OnnxGraph, onnx_files, stage_folder
from perf.lip_sync.recordings import Audio

Floats = npt.NDArray[np.float64]


class SpeechNetworks:
    """Both ONNX files in ONNX Runtime, fed by `audio_frontend`'s own class as the server feeds them."""

    def __init__(self, repository: Path) -> None:
        stage_folder(repository, "audio_frontend")
        from analysis_window import AnalysisWindow

        self.create_window = AnalysisWindow
        files = onnx_files(repository)
        self.encoder, self.expression = (OnnxGraph(files[stage]) for stage in SPEECH_NETWORKS)

    def faces(self, audio: Audio) -> Floats:
        """Return the 52 weights float64[n // 800, 52] of each shown frame, preroll dropped, end flushed by silence.

        They are SPEECH_FACE: what `motion` gets, not yet what it shows.
        """
        frames = len(audio) // CHUNK_SAMPLES
        stream = np.concatenate([audio, np.zeros((LOOKAHEAD_FRAMES + 1) * CHUNK_SAMPLES, np.float32)])
        window, shown = self.create_window(), []
        for request in range(frames + LOOKAHEAD_FRAMES):
            samples, _, _ = window.push(stream[request * CHUNK_SAMPLES : (request + 1) * CHUNK_SAMPLES])
            shown.append(self.expression(self.encoder({"AUDIO_WINDOW": samples[None]}))["SPEECH_FACE"][0])
        return np.asarray(shown[LOOKAHEAD_FRAMES:], np.float64)


def cost(repository: Path, audio: Audio, threads: int = 2) -> dict[str, dict[str, float]]:
    """Milliseconds a frame of encoder, expression and motion together, in this process, for each runtime.

    Args:
        repository: the model repository.
        audio: speech, ten seconds or more.
        threads: of the runtime; `motion` uses one.
    """
    for stage in ("audio_frontend", "motion"):
        stage_folder(repository, stage)
    from analysis_window import AnalysisWindow
    from face_motion import FaceMotion

    files = onnx_files(repository)
    found = {}
    for runtime in network.RUNTIMES:
        # As the server runs them, to the precision: OpenVINO left alone computes in bfloat16 on some processors.
        encoder, expression = (network.load(files[stage], runtime, threads, batched=True) for stage in SPEECH_NETWORKS)
        window, motion = AnalysisWindow(), FaceMotion(1)
        neutral = np.zeros(len(EMOTIONS), np.float32)
        taken = []
        for start in range(0, len(audio) - CHUNK_SAMPLES, CHUNK_SAMPLES):
            samples, prosody, frame_index = window.push(audio[start : start + CHUNK_SAMPLES])
            heard = np.array(prosody, np.float32)
            began = time.perf_counter()
            embedding = encoder.run({"AUDIO_WINDOW": samples[None]}, ["EMBEDDING"], lent=True)[0]
            face = expression.run({"EMBEDDING": embedding}, ["SPEECH_FACE"], lent=True)[0][0]
            motion.step(face, heard, neutral, frame_index)
            taken.append(1000 * (time.perf_counter() - began))
        settled = np.asarray(taken[20:])
        found[runtime] = {
            "mean_ms": float(settled.mean()),
            "p50_ms": float(np.median(settled)),
            "p99_ms": float(np.percentile(settled, 99)),
        }
    return found
