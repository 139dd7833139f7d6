"""Run the judge: see perf.lip_sync."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from facestream.contract import SAMPLE_RATE

import perf.lip_sync
from perf import machine
from perf.drawn_frames import SpokenFace
from perf.lip_sync import report
from perf.lip_sync.alignment import Alignments, Clip
from perf.lip_sync.baselines import exchanged, jittered, loudness_faces, phoneme_faces
from perf.lip_sync.conditions import (
    Condition,
    telephone,
    through_codec,
    with_babble,
    with_gain,
    with_noise,
    with_reverberation,
)
from perf.lip_sync.lips import Lips, lips_of
from perf.lip_sync.measures import measure
from perf.lip_sync.recordings import Audio, fetch
from perf.lip_sync.shown import SpeechNetworks, cost
from perf.lip_sync.still import music, noises, rooms
from perf.lip_sync.targets import verdicts

GAINS: Final = (-18, -9, 6, 12)
"""Decibels; the target speaks of the range from the first to the last."""
NOISY: Final = "white noise 10 dB below"
SERVED_BY: Final = "openvino"
"""The runtime that our own server takes by default: its cost is the target's."""
Voices = dict[str, list[Clip]]


class Judge:
    """Collects the rows of the report; what the same sound shows is computed once."""

    def __init__(self, repository: Path) -> None:
        self.shown = SpokenFace(repository)
        self.rows: list[dict[str, Any]] = []
        self._kept: dict[int, tuple[Clip, npt.NDArray[np.float32]]] = {}
        still = [self.shown(room) for room in rooms()]
        self.still = np.concatenate([lips_of(faces).motion for faces in still])

    def faces(self, clip: Clip) -> npt.NDArray[np.float32]:
        """The 73 parameters of each frame of a clip; a clip that is asked for again is not run again."""
        if id(clip) not in self._kept:
            self._kept[id(clip)] = (clip, self.shown(clip.audio))  # the clip is kept too, so that its id stays its own
        return self._kept[id(clip)][1]

    def add(
        self,
        group: str,
        case: str,
        clips: Sequence[Clip],
        lips: Sequence[Lips],
        sure: bool = False,
        still: npt.NDArray[np.float64] | None = None,
    ) -> None:
        """Measure, print and keep a row: `sure` asks for its intervals, `still` is the same mouth's motion in rooms."""
        if not any(row["group"] == group for row in self.rows):
            print(f"\n{group}")
        row = {"group": group, "case": case, **measure(clips, lips, still, sure)}
        self.rows.append(row)
        print(report.line(row), flush=True)

    def voices(self, group: str, case: str, clips: Sequence[Clip], sure: bool = False) -> None:
        """Add the row of clips as they are."""
        self.add(group, case, clips, [lips_of(self.faces(clip)) for clip in clips], sure, self.still)

    def heard(self, group: str, case: str, clips: Sequence[Clip], condition: Condition, sure: bool = False) -> None:
        """Add the row of clips under a condition."""
        lips = [lips_of(self.shown(condition(clip).audio)) for clip in clips]
        self.add(group, case, clips, lips, sure, self.still)

    def row(self, group: str, case: str) -> dict[str, Any]:
        """A row that was added."""
        return next(row for row in self.rows if (row["group"], row["case"]) == (group, case))


def flat(voices: Voices) -> list[Clip]:
    """All clips of all speakers."""
    return [clip for clips in voices.values() for clip in clips]


def by_speaker(judge: Judge, group: str, voices: Voices, sexes: dict[str, str]) -> None:
    """Add the rows of all voices together, of the women, of the men and of each; then the same in noise."""
    judge.voices(group, "clean", flat(voices), sure=True)
    for sex, name in (("f", "women"), ("m", "men")):
        clips = [clip for speaker, listed in voices.items() for clip in listed if sexes.get(speaker) == sex]
        if clips:
            judge.voices(group, name, clips, sure=True)
    if len(voices) > 1:
        for speaker, clips in voices.items():
            judge.voices(group, speaker, clips)
    noisy = [lips_of(judge.shown(with_noise(10)(clip).audio)) for clip in flat(voices)]
    judge.add(group, NOISY, flat(voices), noisy, sure=True, still=judge.still)
    owners = [speaker for speaker, clips in voices.items() for _ in clips]
    for sex, name in (("f", "women"), ("m", "men")):
        some = [index for index, owner in enumerate(owners) if sexes.get(owner) == sex]
        if some:
            clips, lips = [flat(voices)[index] for index in some], [noisy[index] for index in some]
            judge.add(group, f"{name}, {NOISY}", clips, lips, still=judge.still)


def conditions(judge: Judge, clips: Sequence[Clip]) -> None:
    """Add the rows of all that may happen to the sound; every second clip stands for all.

    Other talkers are the other clips: a single one has none.
    """
    group = "Conditions, on every second clip"
    half = clips[::2]
    judge.voices(group, "clean, the same clips", half, sure=True)
    cases: list[tuple[str, Condition]] = [
        ("white noise 15 dB below", with_noise(15)),
        ("pink noise 10 dB below", with_noise(10, 0.5)),
        *((f"six talkers {below} dB below", with_babble(below, clips)) for below in (15, 10) if len(clips) > 1),
        ("telephone, 8 kHz mu-law", telephone),
        ("small room, 0.3 s", with_reverberation(0.3)),
        ("large room, 0.6 s", with_reverberation(0.6)),
        ("MP3, 24 kbit/s at 16 kHz", through_codec("libmp3lame", "mp3", 24000, 16000)),
        ("Opus, 12 kbit/s", through_codec("libopus", "ogg", 12000, 48000)),
        *((f"{gain:+d} dB", with_gain(gain)) for gain in GAINS),
    ]
    for name, condition in cases:
        judge.heard(group, name, half, condition)


def gain_spread(judge: Judge) -> dict[str, float]:
    """Return how far r and the closures leave their clean values between the lowest and the highest gain, percent."""
    group = "Conditions, on every second clip"
    clean = judge.row(group, "clean, the same clips")
    apart = {
        key: max(abs(judge.row(group, f"{gain:+d} dB")[key] / clean[key] - 1) for gain in GAINS)
        for key in ("lip_gap_r", "pbm_closed", "vowel_gap")
        if clean[key]
    }
    found = {f"{key}_percent": 100 * value for key, value in apart.items()}
    return found | {"spread_percent": max(found.values())}


def baselines(judge: Judge, repository: Path, clips: Sequence[Clip]) -> None:
    """Add the rows to compare with."""
    group = "Baselines"
    for name, faces_of in (
        ("before motion: SPEECH_FACE", SpeechNetworks(repository).faces),
        ("loudness-driven jaw", loudness_faces),
    ):
        still = np.concatenate([lips_of(faces_of(room)).motion for room in rooms()])
        judge.add(group, name, clips, [lips_of(faces_of(clip.audio)) for clip in clips], still=still)
    if len(clips) > 1:
        others = exchanged([*map(judge.faces, clips)])
        judge.add(group, "another clip's mouth", clips, [lips_of(face) for face in others])
    resting = np.zeros_like(judge.still)  # who is told the phonemes is told that nobody speaks in the rooms
    try:
        told = [lips_of(phoneme_faces(clip)) for clip in clips]
        judge.add(group, "told the phonemes", clips, told, still=resting)
        told = [lips_of(phoneme_faces(jittered(clip, 0.010))) for clip in clips]
        judge.add(group, "told them 10 ms wrong", clips, told, still=resting)
        told = [lips_of(phoneme_faces(jittered(clip, 0.020))) for clip in clips]
        judge.add(group, "told them 20 ms wrong", clips, told, still=resting)
    except ImportError as error:
        print(f"the mouth that is told the phonemes: left out: {error}", file=sys.stderr)


def still_sounds(judge: Judge, work: Path, spoken: float) -> dict[str, float]:
    """Return the mouth's motion in sounds that nobody speaks, percent of `spoken`."""

    def percent(sounds: Sequence[Audio]) -> float:
        return float(100 * np.concatenate([lips_of(judge.shown(sound)).motion for sound in sounds]).mean() / spoken)

    found = {"rooms": float(100 * judge.still.mean() / spoken), "noise": percent(noises())}
    pieces = music(work / "sources")
    if pieces:
        found["music"] = percent(pieces)
    return found


def rendered(judge: Judge, avatar: str, clips: Sequence[Clip], seconds: float) -> None:
    """Add the rows of the lips that are found in drawn frames of an avatar, of about `seconds` of speech."""
    from perf.lip_sync.drawn_lips import drawn_lips

    share = max(round(sum(len(clip.audio) for clip in clips) / SAMPLE_RATE / seconds), 1)
    some = clips[::share]
    by_landmarks, by_pixels = zip(*(drawn_lips(judge.faces(clip), avatar) for clip in some), strict=True)
    group = f"In drawn frames of {avatar}"
    judge.voices(group, "the parameters of the same clips", some)
    judge.add(group, "landmarks found in the frames", some, by_landmarks)
    judge.add(group, "pixels between the lips", some, by_pixels)


def aligned(options: argparse.Namespace) -> tuple[dict[str, Voices], dict[str, str]]:
    """Return the clips by split and speaker, and each speaker's sex."""
    alignments = Alignments(options.work / "alignments.json")
    if options.clips:
        clips = alignments.clips(perf.lip_sync.folder_set(options.clips), options.language)
        return {"clips": {"clips": clips}}, {}
    splits: dict[str, Voices] = {}
    sexes = {}
    for speaker in fetch(options.work):
        entries = perf.lip_sync.folder_set(options.work / "voices" / speaker.split / speaker.name)
        clips = alignments.clips(entries, speaker.language)
        if clips:
            splits.setdefault(speaker.split, {})[speaker.name] = clips
            sexes[speaker.name] = speaker.sex
    return splits, sexes


def main(arguments: list[str] | None = None) -> int:
    """Judge, print the rows, write the report; return 1 where a target is missed."""
    parser = argparse.ArgumentParser(
        description=perf.lip_sync.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, help="folder of recordings with their words; default: fetch some")
    parser.add_argument("--language", default="en-us", help="of --clips, as espeak-ng names it (default: %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="the voices for choices alone, clean and at 10 dB; no report"
    )
    parser.add_argument("--rendered", default="ada", metavar="AVATAR", help="judge drawn frames too; '' for none")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--work", type=Path, default=perf.lip_sync.WORK, help="folder for fetched recordings")
    parser.add_argument("--results", type=Path, default=Path("perf/results"), metavar="DIR")
    options = parser.parse_args(arguments)

    try:
        splits, sexes = aligned(options)
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    judged = "clips" if options.clips else "dev" if options.quick else "test"
    if not any(splits.get(judged, {}).values()):
        parser.error(f"no recording of {judged!r} could be fetched and aligned: see above")
    voices = splits[judged]
    clips = flat(voices)
    judge = Judge(options.repository)
    titles = {"test": "Blind voices", "dev": "Voices that choices were made by", "clips": "Clips"}
    by_speaker(judge, titles[judged], voices, sexes)
    if options.quick:
        return 0
    if "dev" in splits:
        by_speaker(judge, titles["dev"], splits["dev"], sexes)
    conditions(judge, clips)
    baselines(judge, options.repository, clips)
    for speaker, listed in splits.get("languages", {}).items():
        judge.voices("Other languages", speaker, listed, sure=True)
    if options.rendered:
        rendered(judge, options.rendered, clips, seconds=40)

    spoken = judge.row(titles[judged], "clean")["motion_per_frame"]
    still = still_sounds(judge, options.work, spoken)
    spread = gain_spread(judge)
    taken = cost(options.repository, max(clips, key=lambda clip: len(clip.audio)).audio)
    known = {row["case"]: row for row in judge.rows if row["group"] == titles[judged]}
    targets = verdicts({**known, "still": still, "gain": spread, "cost": taken[SERVED_BY]})
    folder = options.results / machine.slug()
    folder.mkdir(parents=True, exist_ok=True)
    result = {
        "machine": machine.describe(),
        "date": datetime.date.today().isoformat(),
        "own": options.clips is not None,
        "judged_on": f"{titles[judged].lower()} ({', '.join(voices)})",
        "targets": targets,
        "still": still,
        "gain": spread,
        "cost": taken,
        "rows": judge.rows,
        "liveliness": liveliness(judge, clips),
        "pictures": draw(folder, judge, clips, titles[judged]),
    }
    report.write(folder, result)
    print(f"\nwritten to {folder}/sync.json and sync.md")
    for entry in targets:
        verdict = "met" if entry["met"] else "MISSED"
        print(f"{entry['name']:26s} {entry['value']!s:>8s}  limit {entry['target']:<6g} {verdict}")
    return int(not all(entry["met"] for entry in targets))


def liveliness(judge: Judge, clips: Sequence[Clip], seconds: float = 120.0) -> dict[str, Any]:
    """Statistics of head, eyes and blinks over one session of about `seconds` of the clips, a pause after each."""
    from perf.liveliness import statistics

    pause = np.zeros(int(0.7 * SAMPLE_RATE), np.float32)
    heard: list[Audio] = []
    for clip in clips:
        if sum(map(len, heard)) < seconds * SAMPLE_RATE:
            heard += [clip.audio, pause]
    return statistics(np.asarray(judge.shown(np.concatenate(heard)), np.float64))


def draw(folder: Path, judge: Judge, clips: Sequence[Clip], group: str) -> list[str]:
    """Draw the pictures; none where matplotlib is not installed."""
    try:
        longest = max(clips[:12], key=lambda clip: len(clip.phonemes))
        report.draw_curve(folder / "sync_curve.png", longest, lips_of(judge.faces(longest)))
        kept = (group, "Conditions, on every second clip", "Baselines", "Other languages")
        report.draw_conditions(folder / "sync_conditions.png", [row for row in judge.rows if row["group"] in kept])
    except ImportError as error:
        print(f"pictures: left out: {error}", file=sys.stderr)
        return []
    return ["sync_curve.png", "sync_conditions.png"]


if __name__ == "__main__":
    sys.exit(main())
