"""Run the judge: see perf.face."""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from facestream.audio import read_sound
from facestream.avatar.bundle import load_bundle
from facestream.avatar.preview import FacePreview
from facestream.contract import SAMPLE_RATE
from numpy.typing import NDArray

import perf.face
from perf import machine
from perf.drawn_frames import AVATARS, REPOSITORY, SpokenFace
from perf.face import portraits, report, seams
from perf.face.ablation import Ablation
from perf.face.against_truth import AgainstTruth
from perf.face.closures import SpokenClosures, closures, lowest
from perf.face.drift import MINUTES, drift
from perf.face.people import PEOPLE, NoPeople, held_back
from perf.face.response import response
from perf.face.targets import verdicts

SPEECH: Final = Path("tests/data/speech.wav")
DRIFT_SECONDS: Final = 8.0
QUICK_FRAMES: Final = 12
SHEET_CELLS: Final = 24
"""Of a sheet that is kept: the worst. All are written to --work."""
Avatar = Mapping[str, NDArray[Any]]


class Judge:
    """Collects the parts of the report."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.ablation = Ablation(options.repository, options.threads)
        self.found: dict[str, Any] = {"left_out": [], "pictures": {}}
        self.headlines: dict[str, float | None] = {}
        self.sheets: dict[str, list[seams.Look]] = {}
        self._began = time.monotonic()
        learned = [tier for tier, something in self.ablation.learned.items() if something]
        self.found["learned"] = learned
        for tier in ("fast", "standard", "high"):
            if tier not in learned:
                self.leave_out(f"tier {tier}: its network corrects nothing yet (python -m export.face.refine)")

    def leave_out(self, words: str) -> None:
        """Say what the report lacks, and why."""
        self.found["left_out"].append(words)
        print(f"left out: {words}", file=sys.stderr)

    def tell(self, words: str) -> None:
        """Print a line with the time that has gone."""
        print(f"{time.monotonic() - self._began:5.0f} s  {words}", flush=True)

    # ---- parts

    def truth(self) -> None:
        """Held-back people: the table."""
        options = self.options
        rows = self.ablation.rows()
        judged = AgainstTruth(self.ablation, rows)
        names, frames = [], 0
        try:
            for person in held_back(options.people, 1 if options.quick else None):
                if options.quick:
                    person = person.shortened(QUICK_FRAMES)
                judged.add(person, read_back=not options.quick)
                names.append(person.name)
                frames += sum(len(film.frames) for film in person.films)
                self.tell(f"{person.name}: {len(person.films)} films and sets of stills")
        except NoPeople as error:
            self.leave_out(f"held-back people: {error}")
            return
        table = judged.table()
        by_row = {row["row"]: row for row in table}
        self.found |= {
            "judged_on": f"{len(names)} held-back synthetic people ({', '.join(names)}), {frames} frames",
            "rows": table,
            "people": judged.by_person(),
            "made_worse": judged.made_worse("network" if "network" in rows else "fast", "geometry"),
            "read_back": judged.read_back(),
        }
        for row in table:
            print(report.line(row), flush=True)
        if "network" in rows:
            self.headlines["mouth_gain_db"] = by_row["fast"]["psnr_mouth"] - by_row["geometry"]["psnr_mouth"]
            laid_over = judged.network_flicker()
            if laid_over:
                before, after = laid_over
                self.headlines["network_flicker_removed_percent"] = 100.0 * (1.0 - after / before)
        for what in ("mouth", "eyes"):
            examples = [one for one in judged.examples if ("lids" in one[0]) == (what == "eyes")]
            if examples:
                worst = report.worst_first(examples, what)
                self._picture(f"face_{what}.jpg", report.strips(worst, what), f"held-back {what}, worst first")
        if not options.quick:
            try:
                report.draw_rows(self._folder() / "face_rows.png", table)
                self.found["pictures"]["face_rows.png"] = "rows"
            except ImportError as error:
                self.leave_out(f"plot: {error}")

    def stabiliser(self) -> None:
        """Flicker that the stabiliser takes away, and lag that it adds."""
        from perf import stabilizer

        bundle = load_bundle(AVATARS / f"{self.options.avatars[0]}.avatar")
        preview = FacePreview(self.options.repository, bundle)
        film = stabilizer.Film.of(np.asarray(bundle.tensors["AVATAR_PHOTO"]))
        seconds = 2.0 if self.options.quick else 5.0
        speech = read_sound(SPEECH).speech[: round(seconds * SAMPLE_RATE)]
        frames = stabilizer.render(preview, SpokenFace(self.options.repository)(speech))
        found: dict[str, float] = {}
        for name, make in stabilizer.FLICKER.items():
            shaky = stabilizer.laid_over(frames, make(frames, np.random.default_rng(1)))
            before, after = stabilizer.flicker(film, frames, shaky)
            found[f"flicker of {name}, removed %"] = 100.0 * (1.0 - after / before)
        self.headlines["flicker_removed_percent"] = min(found.values())
        lags = []
        for what, names, course in (
            ("blink", ("eyeBlinkLeft", "eyeBlinkRight"), stabilizer.BLINK),
            ("jaw", ("jawOpen",), stabilizer.JAW),
        ):
            lag = stabilizer.lag(preview, film, names, course)
            found[f"{what}: lag ms"] = lag.milliseconds
            found[f"{what}: depth reached %"] = 100.0 * lag.depth
            found[f"{what}: missing in the worst frame %"] = 100.0 * lag.missing
            lags.append(abs(lag.milliseconds))
        self.headlines["lip_lag_ms"] = max(lags)
        self.found["stabiliser"] = found
        self.tell("; ".join(f"{name} {value:.2f}" for name, value in found.items()))

    def faces(self) -> None:
        """Ready avatars and portraits: do they answer their parameters, is there a seam?"""
        options = self.options
        try:
            spoken = None if options.quick else SpokenClosures(options.recordings, options.repository)
        except (ImportError, OSError, ValueError) as error:
            self.leave_out(f"p, b, m: {error}")
            spoken = None
        rows: dict[str, list[dict[str, Any]]] = {"avatars": [], "portraits": []}
        for name in options.avatars[: 1 if options.quick else None]:
            avatar = dict(load_bundle(AVATARS / f"{name}.avatar").tensors)
            rows["avatars"].append(self._face(name, avatar, spoken, keep=True))
        pictures = list(portraits.found_in_packages(options.recordings))
        if options.portraits:
            pictures += portraits.in_folder(options.portraits)
        for name, photo in pictures[: 1 if options.quick else None]:
            made = portraits.portrait(name, photo)
            if made.avatar is None:
                rows["portraits"].append({"name": name, "said": list(made.said)})
                self.tell(f"{name}: refused: {made.said[0]}")
            else:
                row = self._face(name, made.avatar, spoken, keep=False)
                rows["portraits"].append({**row, "said": list(made.said)})
        self.found |= rows
        judged = [row for row in (*rows["avatars"], *rows["portraits"]) if "rest_db" in row]
        real = [row for row in rows["portraits"] if "rest_db" in row]
        if real:
            self.headlines["re_render_rest_db"] = lowest(real, "rest_db")
            self.headlines["re_render_posed_db"] = lowest(real, "posed_db")
        self.headlines["lips_monotone_percent"] = 100.0 * float(np.mean([row["gap_monotone"] for row in judged]))
        self.headlines["lids_monotone_percent"] = 100.0 * float(np.mean([row["eyes_monotone"] for row in judged]))
        self.headlines["seam_levels"] = max(row["seam_levels"] for row in judged)
        if spoken is not None:
            closed = lowest(judged, "closed")
            self.headlines["pbm_closed_percent"] = None if closed is None else 100.0 * closed
            self.found["pbm"] = {"spoken": spoken.spoken, "asked": spoken.asked}

    def _face(self, name: str, avatar: Avatar, spoken: SpokenClosures | None, keep: bool) -> dict[str, Any]:
        found: dict[str, Any] = {"name": name}
        found |= portraits.re_rendered(self.ablation, avatar)
        found |= response(self.ablation, avatar)
        if spoken is not None:
            found |= closures(self.ablation, avatar, spoken)
        looks = seams.looks(self.ablation, name, avatar)
        found["seam_levels"] = max(one.jump for one in looks["border"])
        for crop, shown in looks.items():
            self.sheets.setdefault(crop if keep else f"real_{crop}", []).extend(shown)
        self.tell(
            f"{name}: rest {found['rest_db']:.1f} dB, posed {found['posed_db']:.1f} dB, lips monotone "
            f"{found['gap_monotone']}, lids {found['eyes_monotone']} ({found['eyes_at_highest']:.2f} at 1), closed "
            f"{found.get('closed', float('nan')):.2f}, seam {found['seam_levels']:.2f} levels"
        )
        return found

    def contact_sheets(self) -> None:
        """All places to look at go to --work; of the ready avatars' the worst are kept with the report."""
        for crop, shown in self.sheets.items():
            kind = crop.removeprefix("real_")
            order = sorted(shown, key=lambda one: one.jump, reverse=True)
            for number, start in enumerate(range(0, len(order), SHEET_CELLS)):
                path = self.options.work / "sheets" / f"{crop}_{number}.png"
                report.save(path, seams.sheet(kind, order[start : start + SHEET_CELLS]))
            if not crop.startswith("real_"):
                kept = order[: 8 if kind in ("border", "outline") else 12]
                self._picture(f"face_{kind}.jpg", seams.sheet(kind, kept), f"{kind} at twice the size, worst first")
        self.tell(f"all sheets are in {self.options.work}/sheets")

    def drifts(self) -> None:
        """Half an hour of one avatar."""
        options = self.options
        avatar = dict(load_bundle(AVATARS / f"{options.avatars[0]}.avatar").tensors)
        speech = read_sound(SPEECH).speech[: round(DRIFT_SECONDS * SAMPLE_RATE)]
        parameters = SpokenFace(options.repository)(speech)
        found = drift(self.ablation, avatar, parameters, 1.0 if options.quick else MINUTES, options.long)
        self.found["drift"] = found
        self.headlines["drift_levels"] = found["levels"]
        self.tell(f"drift over {found['frames']:.0f} frames: {found}")

    def cost(self) -> None:
        """What a frame costs, measured by perf.face_cost in a process of its own."""
        import json

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cost.json"
            command = [sys.executable, "-m", "perf.face_cost", "--threads", "2", "--out", str(path)]
            command += ["--repository", str(self.options.repository)]
            if self.options.quick:
                command += ["--frames", "20"]
            finished = subprocess.run(command, capture_output=True, text=True)
            if not path.is_file():
                self.leave_out(f"cost: perf.face_cost failed: {finished.stderr.strip().splitlines()[-1:]}")
                return
            told = json.loads(path.read_text())
        self.found["cost"], self.headlines["fast_frame_ms"] = costs(told)
        self.tell(f"a frame of tier fast: {self.headlines['fast_frame_ms']} ms")

    # ---- output

    def _folder(self) -> Path:
        if self.options.quick:
            return Path(self.options.work)
        return Path(self.options.results) / machine.slug()

    def _picture(self, name: str, picture: NDArray[np.uint8], words: str) -> None:
        report.save(self._folder() / name, picture)
        self.found["pictures"][name] = words

    def finish(self) -> int:
        """Write the report and print the targets; 1 where one is missed."""
        targets = verdicts(self.headlines)
        result = {
            "machine": machine.describe(),
            "date": datetime.date.today().isoformat(),
            "targets": targets,
            **self.found,
        }
        folder = self._folder()
        report.write(folder, result)
        print(f"\nwritten to {folder}/face.json and face.md")
        for entry in targets:
            verdict = "met" if entry["met"] else "MISSED"
            print(f"{entry['name']:26s} {entry['value']!s:>10s}  limit {entry['target']:<6g} {verdict}")
        return int(not all(entry["met"] for entry in targets))


def costs(told: Mapping[str, Any]) -> tuple[list[dict[str, Any]], float | None]:
    """Rows of stages, and milliseconds of the whole chain on two threads of the engine that is quickest there."""
    rows = [{**row, "stage": f"{row['runtime']}: {row['stage']}"} for row in told["face_cost"]]
    sums = [row["median"] for row in told["face_cost"] if row["stage"] == "sum of the chain" and row["threads"] == 2]
    return rows, min(sums, default=None)


def main(arguments: list[str] | None = None) -> int:
    """Judge, print, write the report; return 1 where a target is missed."""
    parser = argparse.ArgumentParser(
        description=perf.face.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="little of everything, for development; written to --work")
    parser.add_argument("--long", action="store_true", help="drift with all stages for all 54,000 frames")
    parser.add_argument("--portraits", type=Path, metavar="DIR", help="pictures of real people, for tests alone")
    parser.add_argument("--people", type=Path, default=PEOPLE, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--avatars", nargs="+", metavar="NAME", help="ready avatars (default: all)")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="parts (default: all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repository", type=Path, default=REPOSITORY)
    parser.add_argument("--recordings", type=Path, default=Path("build/perf"), help="fetched recordings and portraits")
    parser.add_argument("--work", type=Path, default=Path("build/face_judge"), help="for what is not kept")
    parser.add_argument("--results", type=Path, default=Path("perf/results"), metavar="DIR")
    options = parser.parse_args(arguments)
    ready = sorted(path.stem for path in AVATARS.glob("*.avatar"))
    options.avatars = options.avatars or ready
    unknown = [name for name in options.avatars if name not in ready]
    if unknown:
        parser.error(f"avatar is {unknown[0]!r}, expected one of {', '.join(ready)}")
    cv2.setNumThreads(options.threads)
    judge = Judge(options)
    for part in options.only:
        PARTS[part](judge)
    if judge.sheets:
        judge.contact_sheets()
    return judge.finish()


PARTS: Final = {
    "truth": Judge.truth,
    "stabiliser": Judge.stabiliser,
    "faces": Judge.faces,
    "drift": Judge.drifts,
    "cost": Judge.cost,
}

if __name__ == "__main__":
    sys.exit(main())
