"""Judge the mouth on recorded speech that no network was trained on.

    python -m perf.lip_sync                               # fetches the recordings into build/perf
    python -m perf.lip_sync --clips FOLDER                # your own: NAME.wav beside NAME.txt with its words (English)

pocketsphinx aligns the words with the sound, the two speech networks see the sound as the server shows it to them
(requests of 800 samples, a 0.67 s window, two frames of look-ahead), and the shown mouth is held against the phonemes:

    lip-gap r          correlation of the lip gap with the coarticulated curve of the aligned phonemes
    p/b/m closed       share of them whose lips meet: gap below 15 % of a usual open vowel's
    vowels closed      share of open vowels of 60 ms or more whose lips stay below that
    lag                shift of the shown gap that fits best, milliseconds, positive when the mouth is late
    silence motion     mean change of the 52 weights per frame in silence and room noise, in percent of that in speech

The recordings: five LibriVox sentences (one reader, public domain) and five card-game phrases, both of
pocketsphinx's source distribution, and the voice of alsa-utils' channel test where it is installed. The loudness-driven
jaw, the simplest thing that moves with speech, is judged beside for comparison.

Two caveats. The curve comes from the same table of lip heights that made the training targets, so r says how well
the phonemes were heard and timed, not how this reader's lips moved; closures and lag do not depend on that table's
heights. And five sentences of one reader are few: a figure may move by some hundredths on others.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from facestream.contract import CHUNK_SAMPLES, FRAME_RATE, LOOKAHEAD_FRAMES, SAMPLE_RATE, WINDOW_SAMPLES
from facestream.parameters import ARKIT

from export.speech.aligner import Aligner
from export.speech.phonemes import OPEN_VOWELS, classes_of
from export.speech.targets import curves, segments
from perf import machine

Floats = npt.NDArray[np.float64]
Audio = npt.NDArray[np.float32]
Phonemes = list[tuple[str, float, float]]

SPHINX: Final = "pocketsphinx==5.1.1"
CHANNEL_TEST: Final = Path("/usr/share/sounds/alsa")
CLOSED_SHARE: Final = 0.15
"""A gap below this part of a usual open vowel's peak counts as closed."""

# What each weight adds to the distance of the lips, in units of jawOpen's: rough proportions, not measured.
GAP_WEIGHTS: Final = {
    "jawOpen": 1.0,
    "mouthClose": -1.0,
    "mouthLowerDownLeft": 0.12,
    "mouthLowerDownRight": 0.12,
    "mouthUpperUpLeft": 0.09,
    "mouthUpperUpRight": 0.09,
}


class Clip(NamedTuple):
    """One recording: `audio` float32[n] mono at SAMPLE_RATE; `phonemes` (ARPAbet name, start, end) in seconds."""

    name: str
    audio: Audio
    phonemes: Phonemes


class Target(NamedTuple):
    """A limit that the judged mouth has to keep."""

    name: str
    limit: float
    at_least: bool

    def met(self, value: float | None) -> bool:
        if value is None:
            return False
        return value >= self.limit if self.at_least else value <= self.limit


TARGETS: Final = (
    Target("lip_gap_r", 0.80, True),
    Target("pbm_closed", 0.85, True),
    Target("open_vowels_closed", 0.12, False),
    Target("abs_lag_ms", 33.0, False),
    Target("silence_motion_percent", 2.0, False),
)


def read_audio(path: Path) -> Audio:
    """Read a sound file as float32[n], mono at SAMPLE_RATE."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(audio.mean(1), rate, SAMPLE_RATE), np.float32)


def fetch_recordings(folder: Path) -> Path:
    """Have pip fetch pocketsphinx's source distribution into `folder` once; return its folder of test data."""
    data = folder / "pocketsphinx-5.1.1" / "test" / "data"
    if not data.exists():
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / "pocketsphinx-5.1.1.tar.gz"
        if not archive.exists():
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", SPHINX]
            subprocess.run([*command, "--dest", str(folder)], check=True)
        with tarfile.open(archive) as file:
            file.extractall(folder, members=[m for m in file.getmembers() if "/test/data/" in m.name], filter="data")
    return data


def default_sets(folder: Path) -> dict[str, list[tuple[Path, str]]]:
    """Return the default recordings and their words, by set."""
    data = fetch_recordings(folder)
    sets = {"librivox": [(path, path.with_suffix(".txt").read_text()) for path in sorted(data.glob("librivox/*.wav"))]}
    cards = {
        match.group(2): match.group(1)
        for match in re.finditer(r"<s>\s*(.*?)\s*</s>\s*\((\w+)\)", (data / "cards/cards.transcription").read_text())
    }
    sets["cards"] = [(path, cards[path.stem]) for path in sorted(data.glob("cards/*.wav")) if path.stem in cards]
    spoken = [path for path in sorted(CHANNEL_TEST.glob("*.wav")) if path.stem != "Noise"]
    if spoken:
        sets["channel_test"] = [(path, path.stem.replace("_", " ")) for path in spoken]
    return sets


def folder_set(folder: Path) -> list[tuple[Path, str]]:
    """Return the recordings of `folder` that have a .txt of the same name.

    Raises:
        FileNotFoundError: there is none.
    """
    found = [
        (path, path.with_suffix(".txt").read_text())
        for path in sorted(folder.iterdir())
        if path.suffix in (".wav", ".flac", ".ogg") and path.with_suffix(".txt").exists()
    ]
    if not found:
        raise FileNotFoundError(f"clips is {folder}, expected a folder with NAME.wav beside NAME.txt")
    return found


class SpeechNetworks:
    """Both ONNX files in ONNX Runtime, fed as the server feeds them."""

    def __init__(self, repository: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.encoder, self.expression = (
            onnxruntime.InferenceSession(
                str(repository / stage / "1" / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
            for stage in ("speech_encoder", "expression")
        )
        self.seconds: list[float] = []
        """What each frame has cost so far."""

    def faces(self, audio: Audio) -> Floats:
        """Return the 52 weights float64[n // 800, 52] of each shown frame, preroll dropped, end flushed by silence."""
        frames = len(audio) // CHUNK_SAMPLES
        silence = np.zeros((LOOKAHEAD_FRAMES + 1) * CHUNK_SAMPLES, np.float32)
        stream = np.concatenate([np.zeros(WINDOW_SAMPLES - CHUNK_SAMPLES, np.float32), audio, silence])
        shown = []
        for request in range(frames + LOOKAHEAD_FRAMES):
            window = stream[request * CHUNK_SAMPLES :][None, :WINDOW_SAMPLES]
            began = time.perf_counter()
            (embedding,) = self.encoder.run(["EMBEDDING"], {"AUDIO_WINDOW": window})
            (face,) = self.expression.run(["SPEECH_FACE"], {"EMBEDDING": embedding})
            self.seconds.append(time.perf_counter() - began)
            shown.append(face[0])
        return np.asarray(shown[LOOKAHEAD_FRAMES:], np.float64)


def loudness_faces(audio: Audio) -> Floats:
    """Return the weights of a jaw that follows the loudness of the shown frame and nothing else."""
    frames = len(audio) // CHUNK_SAMPLES
    chunks = audio[: frames * CHUNK_SAMPLES].reshape(frames, CHUNK_SAMPLES).astype(np.float64)
    decibels = 20 * np.log10(np.sqrt((chunks**2).mean(1)) + 1e-6)
    faces = np.zeros((frames, len(ARKIT)))
    names = [parameter.name for parameter in ARKIT]
    faces[:, names.index("jawOpen")] = 0.5 * np.clip((decibels + 50) / 30, 0, 1)
    return faces


def lip_gap(faces: Floats) -> Floats:
    """Distance of the lips float64[n], in units of jawOpen's, of weights float64[n, 52]."""
    names = [parameter.name for parameter in ARKIT]
    gap: Floats = np.zeros(len(faces))
    for name, weight in GAP_WEIGHTS.items():
        gap += weight * faces[:, names.index(name)]
    return np.asarray(np.maximum(gap, 0.0))


def frame_times(count: int) -> Floats:
    """Centres of `count` frames, seconds."""
    return (np.arange(count) + 0.5) / FRAME_RATE


def wanted_gap(phonemes: Phonemes, times: Floats) -> Floats:
    """Coarticulated lip gap of the aligned phonemes at `times`."""
    fine = np.arange(0.0, times[-1] + 0.5, 1 / 240)
    shapes, _ = curves(segments(phonemes, "arpabet"), fine)
    return np.asarray(np.interp(times, fine, shapes[0]))


def silences(phonemes: Phonemes) -> list[tuple[float, float]]:
    """Silences of 0.3 s or more, each without its first and last tenth of a second."""
    return [
        (start + 0.1, end - 0.1)
        for name, start, end in segments(phonemes, "arpabet")
        if name == "silence" and end - start >= 0.3
    ]


def judge(clips: Iterable[Clip], faces_of: Callable[[Audio], Floats]) -> dict[str, float | None]:
    """Judge the mouth that `faces_of` shows for `clips`; the keys are the names of TARGETS and counts.

    A share of nothing, such as of closures where no p, b or m is spoken, is None.
    """
    clips = list(clips)
    faces = [faces_of(clip.audio) for clip in clips]
    gaps = [lip_gap(face) for face in faces]
    times = [frame_times(len(gap)) for gap in gaps]

    def frames_of(index: int, start: float, end: float) -> Floats:
        margin = 0.5 / FRAME_RATE  # a phoneme shorter than a frame still has the frame that it falls into
        inside = (times[index] >= start - margin) & (times[index] <= end + margin)
        return gaps[index][inside]

    vowels, bilabials = [], []
    for index, clip in enumerate(clips):
        for phoneme, start, end in clip.phonemes:
            shown = frames_of(index, start, end)
            if not len(shown):
                continue
            kinds = classes_of(phoneme, "arpabet")
            if OPEN_VOWELS.intersection(kinds) and end - start >= 0.06:
                vowels.append(float(shown.max()))
            elif kinds == ("bilabial",):
                bilabials.append(float(shown.min()))
    closed = CLOSED_SHARE * float(np.median(vowels))

    spoken = [(t >= clip.phonemes[0][1]) & (t <= clip.phonemes[-1][2]) for clip, t in zip(clips, times, strict=True)]
    wanted = [wanted_gap(clip.phonemes, t) for clip, t in zip(clips, times, strict=True)]
    r = np.corrcoef(
        np.concatenate([gap[s] for gap, s in zip(gaps, spoken, strict=True)]),
        np.concatenate([want[s] for want, s in zip(wanted, spoken, strict=True)]),
    )[0, 1]

    shifts = np.arange(-40, 41) * 0.005
    fits = []
    for shift in shifts:
        moved = [np.interp(t + shift, t, gap)[s] for t, gap, s in zip(times, gaps, spoken, strict=True)]
        fits.append(
            np.corrcoef(np.concatenate(moved), np.concatenate([w[s] for w, s in zip(wanted, spoken, strict=True)]))[
                0, 1
            ]
        )

    lag = round(1000 * float(shifts[int(np.argmax(fits))]), 1)
    still, moving = [], []
    for clip, t, face in zip(clips, times, faces, strict=True):
        change = np.abs(np.diff(face, axis=0)).sum(1)
        quiet = np.zeros(len(change), bool)
        for start, end in silences(clip.phonemes):
            quiet |= (t[1:] > start) & (t[1:] < end)
        still.append(change[quiet])
        moving.append(change[~quiet])
    rng = np.random.default_rng(0)
    for decibels in (-200.0, -70.0, -60.0, -50.0):  # digital silence, then rooms
        noise = (
            np.cumsum(rng.standard_normal(4 * SAMPLE_RATE)) if decibels > -55 else rng.standard_normal(4 * SAMPLE_RATE)
        )
        noise = noise - soxr.resample(soxr.resample(noise, SAMPLE_RATE, 100), 100, SAMPLE_RATE)[: len(noise)]
        noise *= 10 ** (decibels / 20) / np.sqrt((noise**2).mean())
        still.append(np.abs(np.diff(faces_of(noise.astype(np.float32)), axis=0)).sum(1))
    return {
        "lip_gap_r": float(r),
        "pbm_closed": float(np.mean(np.asarray(bilabials) <= closed)) if bilabials else None,
        "open_vowels_closed": float(np.mean(np.asarray(vowels) <= closed)),
        "abs_lag_ms": abs(lag),
        "lag_ms": lag,
        "silence_motion_percent": 100 * float(np.concatenate(still).mean() / np.concatenate(moving).mean()),
        "vowel_gap": float(np.median(vowels)),
        "bilabials": float(len(bilabials)),
        "open_vowels": float(len(vowels)),
        "seconds": float(sum(len(clip.audio) for clip in clips) / SAMPLE_RATE),
    }


def with_gain(decibels: float) -> Callable[[Clip], Clip]:
    """Return what makes a clip louder or quieter."""
    return lambda clip: clip._replace(audio=(clip.audio * 10 ** (decibels / 20)).astype(np.float32))


def with_noise(below: float) -> Callable[[Clip], Clip]:
    """Return what adds white noise `below` decibels under the clip's level."""

    def add(clip: Clip) -> Clip:
        noise = np.random.default_rng(1).standard_normal(len(clip.audio))
        level = float(np.sqrt((clip.audio**2).mean())) * 10 ** (-below / 20)
        return clip._replace(audio=(clip.audio + level * noise).astype(np.float32))

    return add


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def main(arguments: list[str] | None = None) -> int:
    """Judge, print one row for each set and condition, write the results; return 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, help="folder of recordings with their words; default: fetch some")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--work", type=Path, default=Path("build/perf"), help="folder for fetched recordings")
    parser.add_argument("--results", type=Path, default=Path("perf/results"), metavar="DIR")
    options = parser.parse_args(arguments)

    aligner = Aligner()
    sets: dict[str, list[Clip]] = {}
    listed = {"clips": folder_set(options.clips)} if options.clips else default_sets(options.work)
    for name, entries in listed.items():
        sets[name] = []
        for path, text in entries:
            audio = read_audio(path)
            try:
                sets[name].append(Clip(path.stem, audio, aligner.align(audio, text)))
            except ValueError as error:
                print(f"{path.name}: left out: {error}", file=sys.stderr)
    sets = {name: clips for name, clips in sets.items() if clips}
    networks = SpeechNetworks(options.repository)
    first = next(iter(sets))
    every = [clip for clips in sets.values() for clip in clips]
    cases: list[tuple[str, list[Clip], Callable[[Audio], Floats]]] = [
        (name, clips, networks.faces) for name, clips in sets.items()
    ]
    cases += [
        ("all together", every, networks.faces),
        (f"{first}, -18 dB", [with_gain(-18)(clip) for clip in sets[first]], networks.faces),
        (f"{first}, +12 dB", [with_gain(12)(clip) for clip in sets[first]], networks.faces),
        (f"{first}, white noise 15 dB below", [with_noise(15)(clip) for clip in sets[first]], networks.faces),
        (f"{first}, loudness-driven jaw", sets[first], loudness_faces),
    ]
    rows: list[dict[str, Any]] = []
    for name, clips, faces_of in cases:
        rows.append({"case": name, **judge(clips, faces_of)})
        row = rows[-1]
        print(
            f"{name:36s} r {row['lip_gap_r']:.3f}  "
            f"p/b/m closed {_share(row['pbm_closed'])} of {row['bilabials']:.0f}  "
            f"vowels closed {row['open_vowels_closed']:.2f} of {row['open_vowels']:.0f}  lag {row['lag_ms']:+.0f} ms  "
            f"silence {row['silence_motion_percent']:.2f} %  vowel gap {row['vowel_gap']:.2f}",
            flush=True,
        )
    targets = [
        {
            "name": target.name,
            "value": _rounded(rows[0][target.name]),
            "target": target.limit,
            "met": target.met(rows[0][target.name]),
        }
        for target in TARGETS
    ]
    cost = 1000 * float(np.median(networks.seconds))
    print(f"both networks, one thread of ONNX Runtime: median {cost:.2f} ms a frame")
    out = options.results / machine.slug() / "sync.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    rounded = [{key: _rounded(value) for key, value in row.items()} for row in rows]
    out.write_text(
        json.dumps(
            {
                "machine": machine.describe(),
                "date": datetime.date.today().isoformat(),
                "judged_on": first,
                "targets": targets,
                "networks_ms_per_frame": round(cost, 3),
                "rows": rounded,
            },
            indent=2,
        )
        + "\n"
    )
    print(f"written to {out}")
    missed = [str(entry["name"]) for entry in targets if not entry["met"]]
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
