"""Does the face live as people do? Blinks, gaze, head and brows over minutes of speech, beside published figures.

    python -m perf.liveliness FOLDER...                     # sound files; several sessions hear all of them
    python -m perf.liveliness FOLDER --json build/liveliness.json

`statistics` takes any stream of face parameters, so that the same figures can be had of what a server sent.

The figures of Bentivoglio 1997 and Doughty 2001 were read in the papers' abstracts; the others are given as they are
commonly quoted, and were not looked up in the papers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from facestream.audio import read_sound
from facestream.contract import CHUNK_SAMPLES, FRAME_RATE, LOOKAHEAD_FRAMES, SAMPLE_RATE
from facestream.errors import BadInput
from facestream.parameters import ARKIT, EMOTIONS, INDEX
from tqdm import tqdm

from export.chain import stage_folder

Floats = npt.NDArray[np.floating[Any]]

STAGES: Final = Path(__file__).parents[1] / "model_repository"
SUFFIXES: Final = (".wav", ".flac", ".ogg")
"""Files of a folder that end so are listened to."""
AT_VIEWER_RAD: Final = np.deg2rad(2.6)
"""Looks within this angle meet the viewer: half of the angle of a face at arm's length and more."""
SACCADE_RAD: Final = np.deg2rad(1.5)
MOVES_DEGREES: Final = 1.0
"""A head that turns faster than this each second is seen to move."""


class Figure(NamedTuple):
    """What people do."""

    low: float
    high: float
    source: str


PEOPLE: Final = {
    "blinks_per_minute_speaking": Figure(10.5, 32.5, "26 on average, Bentivoglio 1997; 95 % interval of Doughty 2001"),
    "blinks_per_minute_silent": Figure(8.0, 21.0, "17 on average, Bentivoglio 1997; 95 % interval of Doughty 2001"),
    "blink_half_closed_ms": Figure(100.0, 200.0, "VanderWerf 2003: closing 75 to 100 ms, opening about twice as long"),
    "at_viewer_speaking": Figure(0.41, 0.85, "41 % Argyle and Ingham 1972; 77 % Lee 2002, of pairs in conversation"),
    "at_viewer_silent": Figure(0.75, 0.98, "75 % Argyle and Ingham 1972; 95 % Lee 2002"),
    "head_moves_speaking": Figure(0.60, 1.0, "90 % of the time of speech, Hadar 1983"),
}
"""Ranges of human figures, where there are any; the sources stand in model_repository/motion/1."""


def _runs(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First index and the one behind the last of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _half_closed_seconds(lids: Floats, first: int, stop: int) -> float:
    """Time above half closure, the crossings put between the frames."""

    def crossing(outside: float, inside: float) -> float:
        return (inside - 0.5) / max(inside - outside, 1e-6)

    before = crossing(lids[first - 1], lids[first]) if first > 0 else 0.5
    after = crossing(lids[stop], lids[stop - 1]) if stop < len(lids) else 0.5
    return float(stop - 1 - first + before + after) / FRAME_RATE


def _share(mask: npt.NDArray[np.bool_], of: npt.NDArray[np.bool_]) -> float | None:
    return float(mask[of].mean()) if of.any() else None


def statistics(parameters: Floats, pitch_hz: Floats | None = None) -> dict[str, float | None]:
    """Figures of the life in a stream of face parameters [n, 73] at 30 frames a second.

    `pitch_hz` [n], 0 where unvoiced, is the voice's of the same frames: with it the correlation of head and pitch is
    told, as Munhall et al. 2004 did: how much of the pitch a linear combination of the head's pose explains. A figure
    for which the stream holds nothing, such as of silence where all is speech, is None.
    """
    shown = np.asarray(parameters, np.float64)
    speaks = shown[:, INDEX["voiceActivity"]] >= 0.5
    minutes = len(shown) / FRAME_RATE / 60.0
    figures: dict[str, float | None] = {"minutes": minutes, "speaking": float(speaks.mean())}

    lids = 0.5 * (shown[:, INDEX["eyeBlinkLeft"]] + shown[:, INDEX["eyeBlinkRight"]])
    blinks = _runs(lids >= 0.5)
    starts = np.array([first for first, _ in blinks], int)
    for name, of in (("speaking", speaks), ("silent", ~speaks)):
        spent = of.sum() / FRAME_RATE / 60.0
        figures[f"blinks_per_minute_{name}"] = float(of[starts].sum() / spent) if spent > 0.05 else None
    figures["blink_half_closed_ms"] = (
        1000.0 * float(np.median([_half_closed_seconds(lids, *run) for run in blinks])) if blinks else None
    )
    intervals = np.diff(starts) / FRAME_RATE
    figures["blink_interval_median_s"] = float(np.median(intervals)) if len(intervals) else None
    figures["blink_interval_log_deviation"] = float(np.log(intervals).std()) if len(intervals) > 2 else None

    turn = np.rad2deg(shown[:, [INDEX["headYaw"], INDEX["headPitch"], INDEX["headRoll"]]])
    speed = np.abs(np.diff(turn, axis=0, prepend=turn[:1])) * FRAME_RATE
    for i, axis in enumerate(("yaw", "pitch", "roll")):
        figures[f"head_{axis}_deviation_degrees"] = float(turn[:, i].std())
        figures[f"head_{axis}_p99_degrees"] = float(np.percentile(np.abs(turn[:, i] - np.median(turn[:, i])), 99))
        figures[f"head_{axis}_speed_degrees_per_s"] = float(speed[:, i].mean())
    jerk = np.abs(np.diff(turn, 3, axis=0)).max(initial=0.0) * FRAME_RATE**3
    figures["head_greatest_jerk_degrees_per_s3"] = float(jerk)
    moves = np.sqrt((speed**2).sum(1)) >= MOVES_DEGREES
    figures["head_moves_speaking"] = _share(moves, speaks)
    figures["head_moves_silent"] = _share(moves, ~speaks)

    eyes = shown[:, [INDEX["gazeYawLeft"], INDEX["gazePitchLeft"]]]
    look = eyes + shown[:, [INDEX["headYaw"], INDEX["headPitch"]]]
    away = np.hypot(*look.T)
    figures["at_viewer_speaking"] = _share(away < AT_VIEWER_RAD, speaks)
    figures["at_viewer_silent"] = _share(away < AT_VIEWER_RAD, ~speaks)
    leaps = np.hypot(*np.diff(look, axis=0).T) >= SACCADE_RAD
    figures["saccades_per_minute"] = len(_runs(leaps)) / minutes

    brows = shown[:, INDEX["browInnerUp"]]
    figures["brow_raises_per_minute"] = len(_runs(brows >= np.median(brows) + 0.08)) / minutes

    if pitch_hz is not None and (voiced := (np.asarray(pitch_hz) > 0.0) & speaks).sum() > 10 * len(_POSE):
        pose = shown[voiced][:, _POSE]
        design = np.column_stack([pose - pose.mean(0), np.ones(len(pose))])
        wanted = np.log2(np.asarray(pitch_hz, np.float64)[voiced])
        fitted = design @ np.linalg.lstsq(design, wanted, rcond=None)[0]
        figures["pitch_explained_by_head"] = float(1.0 - (wanted - fitted).var() / wanted.var())
    return figures


_POSE: Final = [INDEX[name] for name in ("headYaw", "headPitch", "headRoll", "headX", "headY", "headZ")]


def listen(audio: npt.NDArray[np.float32], seed: int, emotion: str = "neutral") -> tuple[Floats, Floats]:
    """What a session's face does to `audio` float32[n] at SAMPLE_RATE, its mouth left out: nothing here needs it.

    Returns:
        Parameters [n // 800, 73] and pitch [n // 800], Hz, 0 where unvoiced.
    """
    for stage in ("audio_frontend", "motion"):
        stage_folder(STAGES, stage)
    from analysis_window import AnalysisWindow
    from face_motion import FaceMotion

    window, motion = AnalysisWindow(), FaceMotion(seed)
    mouth = np.zeros(len(ARKIT), np.float32)
    wanted = np.zeros(len(EMOTIONS), np.float32)
    wanted[EMOTIONS.index(emotion)] = 1.0
    end = np.zeros(LOOKAHEAD_FRAMES * CHUNK_SAMPLES, np.float32)
    chunks = np.concatenate([audio[: len(audio) // CHUNK_SAMPLES * CHUNK_SAMPLES], end]).reshape(-1, CHUNK_SAMPLES)
    shown, pitch = [], []
    for chunk in chunks:
        _, prosody, frame_index = window.push(chunk)
        shown.append(motion.step(mouth, np.array(prosody, np.float32), wanted, frame_index))
        pitch.append(prosody.pitch_hz if prosody.voicing >= 0.5 and prosody.voice >= 0.5 else 0.0)
    return np.array(shown[LOOKAHEAD_FRAMES:]), np.array(pitch[: len(pitch) - LOOKAHEAD_FRAMES])


def read_speech(folders: Sequence[Path], pause_seconds: float = 0.7) -> npt.NDArray[np.float32]:
    """All sound files below the folders as one stream at SAMPLE_RATE, each brought to -23 dBFS, pauses between them.

    Args:
        folders: folders of SUFFIXES, or files of any kind that facestream.audio reads.
        pause_seconds: length of a pause.

    Raises:
        BadInput: there is none, or one cannot be read.
    """
    pause = np.zeros(int(pause_seconds * SAMPLE_RATE), np.float32)
    pieces: list[npt.NDArray[np.float32]] = []
    for folder in folders:
        below = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES)
        for path in below if folder.is_dir() else [folder]:
            mono = read_sound(path).speech
            pieces += [mono * np.float32(0.07 / (np.sqrt((mono**2).mean()) + 1e-9)), pause]
    if not pieces:
        raise BadInput(f"no {', '.join(SUFFIXES)} in {', '.join(map(str, folders))}")
    return np.concatenate(pieces)


def report(audio: npt.NDArray[np.float32], sessions: int = 4, emotion: str = "neutral") -> dict[str, Any]:
    """Figures of several sessions that hear the same speech, and as much silence: the means, and people's beside."""
    silence = np.zeros_like(audio)
    figures: dict[str, list[float]] = {}
    for seed in tqdm(range(1, sessions + 1), desc="sessions", unit="session", disable=not sys.stderr.isatty()):
        spoken, pitch = listen(audio, seed, emotion)
        own = statistics(spoken, pitch)
        quiet = statistics(listen(silence, 1000 + seed, emotion)[0])
        own |= {name: value for name, value in quiet.items() if name.endswith("_silent")}
        for name, value in own.items():
            if value is not None:
                figures.setdefault(name, []).append(value)
    means = {name: round(float(np.mean(values)), 3) for name, values in figures.items()}
    people = {
        name: {"low": figure.low, "high": figure.high, "within": figure.low <= means[name] <= figure.high}
        | {"source": figure.source}
        for name, figure in PEOPLE.items()
        if name in means
    }
    return {"sessions": sessions, "emotion": emotion, "figures": means, "people": people}


def as_markdown(told: dict[str, Any]) -> str:
    """The report as a table."""
    lines = ["| figure | shown | people | source |", "|---|---:|---:|---|"]
    for name, value in told["figures"].items():
        person = told["people"].get(name)
        span = f"{person['low']:g} to {person['high']:g}" if person else ""
        lines.append(f"| {name} | {value:g} | {span} | {person['source'] if person else ''} |")
    return "\n".join(lines)


def main() -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path, nargs="+", help="folders of sound files, or sound files")
    parser.add_argument("--sessions", type=int, default=4, help="sessions that hear it, each another person")
    parser.add_argument("--emotion", choices=EMOTIONS, default="neutral")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    if options.sessions < 1:
        parser.error(f"--sessions is {options.sessions}, expected 1 or more")
    try:
        speech = read_speech(options.speech)
    except BadInput as error:
        parser.error(str(error))
    told = report(speech, options.sessions, options.emotion)
    print(as_markdown(told))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(told, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
