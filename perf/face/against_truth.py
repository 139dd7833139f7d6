"""Rows of the table: what each way to draw makes of the held-back people's PARAMETERS, beside their truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from facestream.parameters import ARKIT, INDEX
from numpy.typing import NDArray

from perf.face.ablation import Ablation, Drawn
from perf.face.people import CANVAS_IN_FRAME, WINDOW, Film, Person
from perf.face.picture_measures import PictureMeasures, decibels
from perf.face.temporal_measures import TruthMotion, change_variance, flicker
from perf.lip_sync.lips import lip_gap
from perf.lip_sync.rendered import FrameMeasure

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

STILL: Final = "still"
TRUTH: Final = "truth"
READ_BACK: Final = (TRUTH, "geometry", "fast")
"""Rows whose landmarks are read: that takes as long as drawing them."""
FEWEST_FRAMES: Final = 6
"""A film of fewer tells nothing about time."""
STEP: Final = 1e-6


class AgainstTruth:
    """Collects the figures of all people and films."""

    def __init__(self, ablation: Ablation, rows: Sequence[str]) -> None:
        """`rows` are drawn; `still` and `truth` come by themselves."""
        self._ablation = ablation
        self._rows = list(rows)
        self._people: dict[str, dict[str, PictureMeasures]] = {}
        self._time: dict[str, list[dict[str, float]]] = {row: [] for row in (STILL, *rows, TRUTH)}
        self._network_flicker: list[tuple[float, float, int]] = []
        self._seen: dict[str, list[dict[str, Floats]]] = {row: [] for row in READ_BACK}
        self._asked: list[NDArray[np.float32]] = []
        self.examples: list[tuple[str, dict[str, Image]]] = []
        """Frames to look at: caption, and the part of the picture at WINDOW of each row and the truth."""

    @property
    def shown_rows(self) -> list[str]:
        return [STILL, *self._rows]

    def add(self, person: Person, read_back: bool = True) -> None:
        """Judge all films of a person; `read_back` looks for landmarks, too."""
        measures = {row: PictureMeasures(person.regions) for row in self.shown_rows}
        self._people[person.name] = measures
        look = FrameMeasure(person.photo) if read_back else None
        for film in person.films:
            drawn = self._draw(person, film)
            parts = {row: [one[row].frame[WINDOW] for one in drawn] for row in self._rows}
            parts[STILL] = [person.photo[WINDOW]] * len(film.frames)
            for row, frames in parts.items():
                for shown, truth in zip(frames, film.frames, strict=True):
                    measures[row].add(shown, truth)
            if film.name and len(film.frames) >= FEWEST_FRAMES:
                self._over_time(person, film, parts, drawn)
            if look is not None:
                self._asked.append(film.parameters)
                for row in READ_BACK:
                    frames = film.frames if row == TRUTH else parts.get(row, [])
                    rows = [look(person.whole(frame)) for frame in frames]
                    self._seen[row].append(
                        {key: np.array([one[key] for one in rows]) for key in rows[0]} if rows else {}
                    )
            self._keep_examples(person, film, parts)

    def _draw(self, person: Person, film: Film) -> list[dict[str, Drawn]]:
        if film.name:
            return list(self._ablation.draw(person.avatar, film.parameters, self._rows))
        # Stills are no film: each is a session of its own, so that the stabiliser mixes none with another.
        return [next(self._ablation.draw(person.avatar, [vector], self._rows)) for vector in film.parameters]

    def _over_time(
        self, person: Person, film: Film, parts: Mapping[str, list[Image]], drawn: list[dict[str, Drawn]]
    ) -> None:
        if {"geometry", "steadied", "network", "fast"} <= set(self._rows):
            self._network_flicker.append((*self._laid_over(person, drawn), len(drawn)))
        motion = TruthMotion(film.frames)
        flows = [one[self._rows[0]].flow for one in drawn]
        mouth = person.regions["mouth"][CANVAS_IN_FRAME]
        for row, frames in ({**parts, TRUTH: film.frames}).items():
            off = [
                frame[CANVAS_IN_FRAME].astype(np.float64) - truth[CANVAS_IN_FRAME]
                for frame, truth in zip(frames, film.frames, strict=True)
            ]
            self._time[row].append(
                {
                    "warping": motion.warping_error(frames),
                    "tof": motion.flow_distance(frames),
                    "flicker": flicker([frame[CANVAS_IN_FRAME] for frame in frames], flows, mouth),
                    "flicker_off_truth": flicker(off, flows, mouth),
                    "change_variance": change_variance(frames),
                    "frames": float(len(frames)),
                }
            )

    def _laid_over(self, person: Person, drawn: list[dict[str, Drawn]]) -> tuple[float, float]:
        """Flicker of what the network lays over the geometry where that is still, without and with the stabiliser.

        Of the canvas before it is rounded to levels.
        """
        from perf import stabilizer

        film = stabilizer.Film.of(np.asarray(person.avatar["AVATAR_PHOTO"]))
        flows = np.array([one["geometry"].flow for one in drawn])
        shown = {
            row: film.pictures(stabilizer.Canvas(np.array([one[row].texture for one in drawn]), flows))
            for row in ("geometry", "steadied", "network", "fast")
        }
        layers = (shown["network"] - shown["geometry"], shown["fast"] - shown["steadied"])
        mouth = person.regions["mouth"][CANVAS_IN_FRAME]
        before, after = film.flicker_of(layers, shown["geometry"], flows, mouth, stabilizer.STILL)
        return before, after

    def _keep_examples(self, person: Person, film: Film, parts: Mapping[str, list[Image]]) -> None:
        """Of each film the frames where most is asked of the mouth, and where the lids are lowest."""
        gaps = lip_gap(film.parameters[:, : len(ARKIT)].astype(np.float64))
        lids = film.parameters[:, INDEX["eyeBlinkLeft"]]
        chosen = {"widest": int(np.argmax(gaps)), "middle": int(np.argsort(gaps)[len(gaps) // 2])}
        if lids.max() > 0.4:
            chosen["lids"] = int(np.argmax(lids))
        for what, number in chosen.items():
            row_parts = {row: parts[row][number] for row in self.shown_rows} | {TRUTH: film.frames[number]}
            self.examples.append((f"{person.name} {film.name or 'still'} {number} {what}", row_parts))

    # ---- figures

    def table(self) -> list[dict[str, Any]]:
        """One row of figures for each way to draw, and the truth's own over time."""
        found = []
        for row in (*self.shown_rows, TRUTH):
            figures: dict[str, Any] = {"row": row}
            if row != TRUTH:
                figures |= self._pictures(row)
            figures |= self._temporal(row)
            found.append(figures)
        return found

    def _pictures(self, row: str) -> dict[str, float]:
        """Means over people, who count alike; PSNR of the mean of their errors."""
        each = [measures[row].figures() for measures in self._people.values()]
        found = {key: float(np.mean([figures[key] for figures in each])) for key in each[0]}
        for key in each[0]:
            if key.startswith("psnr_"):
                found[key] = decibels(float(np.mean([255.0**2 / 10.0 ** (figures[key] / 10.0) for figures in each])))
        return found

    def _temporal(self, row: str) -> dict[str, float]:
        films = self._time[row]
        if not films:
            return {}
        weights = [film["frames"] for film in films]
        return {
            key: float(np.average([film[key] for film in films], weights=weights))
            for key in films[0]
            if key != "frames"
        }

    def network_flicker(self) -> tuple[float, float] | None:
        """What the network flickers over the mouth, without and with the stabiliser, levels; None without a film."""
        if not self._network_flicker:
            return None
        before, after, frames = zip(*self._network_flicker, strict=True)
        return float(np.average(before, weights=frames)), float(np.average(after, weights=frames))

    def by_person(self) -> list[dict[str, Any]]:
        """PSNR of mouth and eyes by person and row."""
        return [
            {
                "person": name,
                **{
                    f"{region}_{row}": measures[row].figures()[f"psnr_{region}"]
                    for region in ("mouth", "eyes")
                    for row in self.shown_rows
                },
            }
            for name, measures in self._people.items()
        ]

    def made_worse(self, row: str, than: str, region: str = "mouth") -> dict[str, float]:
        """Share of frames whose error grew, and the greatest loss, dB."""
        pairs = [
            (after, before)
            for measures in self._people.values()
            for after, before in zip(measures[row].errors(region), measures[than].errors(region), strict=True)
        ]
        losses = [decibels(before) - decibels(after) for after, before in pairs]
        return {
            "share": float(np.mean([after > before + STEP for after, before in pairs])),
            "greatest_loss_db": max(0.0, max(losses)),
            "frames": float(len(pairs)),
        }

    def read_back(self) -> dict[str, Any]:
        """Lips and lids as seen in the frames, held against the truth's and against what was asked for.

        r_asked: correlation with the lip gap (eyeBlink) of the parameters. r_truth, slope_truth, off_truth:
        correlation, slope and mean distance from the same read in the truth's frames, in units of the distance of the
        eyes' corners (lids: of their opening at rest).
        """
        if not self._asked or not self._seen[TRUTH]:
            return {}
        parameters = np.concatenate(self._asked)
        asked = {
            "lips": lip_gap(parameters[:, : len(ARKIT)].astype(np.float64)),
            "lids": parameters[:, [INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]].mean(1).astype(np.float64),
        }
        found: dict[str, Any] = {"frames": len(parameters)}
        for what, key, sign in (("lips", "gap", 1.0), ("lids", "eyes", -1.0)):
            truth = sign * np.concatenate([seen[key] for seen in self._seen[TRUTH]])
            for row in READ_BACK:
                if not all(self._seen[row]):
                    continue
                seen = sign * np.concatenate([one[key] for one in self._seen[row]])
                figures = {"r_asked": correlation(seen, asked[what])}
                if row != TRUTH:
                    figures["r_truth"] = correlation(seen, truth)
                    figures["slope_truth"] = float(np.polyfit(truth, seen, 1)[0]) if np.ptp(truth) else float("nan")
                    figures["off_truth"] = float(np.abs(seen - truth).mean())
                found[f"{what}_{row}"] = figures
        return found


def correlation(one: Floats, other: Floats) -> float:
    """Pearson's r; NaN where either does not vary."""
    if len(one) < 3 or np.ptp(one) == 0.0 or np.ptp(other) == 0.0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])
