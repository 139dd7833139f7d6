"""Lips measured in our own rendered frames: what a viewer sees, not what the parameters ask for.

    python -m perf.lip_sync.rendered                        # the judge's recordings, a part of them, ada and ben
    python -m perf.lip_sync.rendered --clips FOLDER         # your own: NAME.wav beside NAME.txt with its words

Two measures that share nothing but the frame. Landmarks: Attention Mesh (facestream.avatar.landmarks) finds the face
in each frame; lengths are in units of the distance between the outer corners of the eyes (133 px in the ready
avatars), after the head's motion has been taken out by points that no speech moves. Pixels: teeth and dark cavity
between the lips (perf.lip_sync.mouth_pixels), in the same unit. `python -m perf.lip_sync.rendered_calibration` tells
how small an opening each of them sees, and how much they tremble by themselves: landmarks see a narrow opening and
overrate it, pixels see none below 1 to 3 px of the frame and keep the proportions above.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from facestream.avatar import landmark_topology as topology
from facestream.avatar.landmarks import Detection, detect_faces, find_landmarks
from facestream.avatar.preview import Image
from facestream.contract import SAMPLE_RATE
from facestream.parameters import INDEX, PARAMETERS
from numpy.typing import NDArray
from tqdm import tqdm

from perf import machine
from perf.drawn_frames import REPOSITORY, DrawnAvatar, SpokenFace
from perf.lip_sync import folder_set
from perf.lip_sync.alignment import Alignments, Clip
from perf.lip_sync.lips import Lips, lips_of
from perf.lip_sync.measures import measure as measure_lips
from perf.lip_sync.mouth_pixels import HALF_WIDTH, MouthPixels
from perf.lip_sync.recordings import fetch
from perf.lip_sync.report import rounded
from perf.liveliness import statistics

Floats = NDArray[np.float64]

LOOKS: Final = (
    (1.3, -0.02, -0.02, 0.05),
    (1.3, 0.02, 0.02, -0.05),
    (1.5, -0.02, 0.02, -0.05),
    (1.5, 0.02, -0.02, 0.05),
)
"""Crops that each frame's landmarks are averaged over: a sixth of those for a portrait, for a film has many frames."""

EYE_CORNERS: Final = (33, 263)
"""Outer corners of the eyes: their distance is the unit of length."""

RIGID: Final = (33, 133, 362, 263, 168, 6, 197, 195)
"""Corners of the eyes and the bridge of the nose: the points that place the head."""

SKULL: Final = (*RIGID, 10, 109, 338, 127, 356, 234, 454)
"""With forehead and temples: the points that tell how it is turned."""

GAP_PAIRS: Final = ((82, 87), (13, 14), (312, 317))
"""Inner edge of the upper and the lower lip at the middle of the mouth and to both sides."""

MOUTH_CORNERS: Final = (61, 291)

CACHE: Final = Path("build/rendered")
"""Where measures are kept: to draw and measure a minute of speech takes a minute and a half of one core."""

MEASURES: Final = (
    "gap",
    "width",
    "upper_lip",
    "lower_lip",
    "protrusion",
    "teeth",
    "cavity",
    "lower_lip_teeth",
    "eyes",
    "yaw",
    "pitch",
    "roll",
    "presence",
)
"""What `measure` gives for each frame.

gap: distance of the inner edges of the lips at the middle of the mouth, by landmarks, beyond that of the face at rest.
width: distance of the corners of the mouth.
upper_lip, lower_lip: height of the red of each lip over that at rest: small where it is rolled in.
protrusion: how far the lips stand out before the eyes, by the network's own depth: a proxy.
teeth, cavity: heights of visible teeth and of the dark behind and below them, by pixels.
lower_lip_teeth: dark rows between the lowest visible teeth and the lower lip; NaN where no teeth are seen.
eyes: distance of the lids over that at rest, both eyes' mean.
yaw, pitch, roll: of the head, rad, in the sense of facestream.parameters.
presence: certainty of the network that it sees a face.
Lengths are in units of the distance between the outer corners of the eyes at rest.
"""

SEEN_TURN: Final = 0.6
"""The network sees so much of a known yaw or pitch of the ready avatars (0.56 to 0.61): it is divided out."""

CONTACT_SCALE: Final = 2.5
"""Brings the contact of lip and teeth to the units of perf.lip_sync.lips: 0.2 to 0.3 of a full f, 0.12 counts."""

WAYS: Final = ("landmarks", "pixels")


def similarity(points: Floats, onto: Floats) -> Floats:
    """Map [2, 3] that turns, scales and shifts `points` [n, 2] onto `onto` [n, 2] best (Umeyama 1991)."""
    middle, target = points.mean(0), onto.mean(0)
    a, b = points - middle, onto - target
    power = float((a**2).sum())
    if power == 0.0:
        raise ValueError("points is one and the same place throughout, expected at least two places")
    cosine, sine = float((a * b).sum()) / power, float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / power
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.hstack([turn, (target - turn @ middle)[:, None]])


def rotation(points: Floats, onto: Floats) -> Floats:
    """Rotation [3, 3] that turns `points` [n, 3] onto `onto` [n, 3] best, whatever their scales (Kabsch 1976)."""
    u, _, v = np.linalg.svd((points - points.mean(0)).T @ (onto - onto.mean(0)))
    proper = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ v))])
    return np.asarray((u @ proper @ v).T)


class FrameMeasure:
    """Measures frames of one avatar against its face at rest."""

    def __init__(self, rest: Image) -> None:
        """`rest` [512, 512, 3] is the avatar with all parameters 0.

        Raises:
            ValueError: no face is found in it.
        """
        faces = detect_faces(rest)
        if not faces:
            raise ValueError("rest shows no face that the detector finds, expected an avatar's frame")
        self._detection: Detection = faces[0]
        self._rest = find_landmarks(rest, self._detection, LOOKS).landmarks.astype(np.float64)
        corners = self._rest[list(EYE_CORNERS), :2]
        self.unit = float(np.linalg.norm(corners[1] - corners[0]))
        """Distance between the outer corners of the eyes at rest, px."""
        self._pixels = MouthPixels(rest, *self._lip_rows(self._rest[:, :2]))
        self._at_rest = dict.fromkeys(MEASURES, 0.0) | {"upper_lip": 1.0, "lower_lip": 1.0, "eyes": 1.0}
        self._at_rest = self(rest)

    def _lip_rows(self, points: Floats) -> tuple[float, float, float, slice]:
        """Outer edges of both lips, where they meet, and the columns of the mouth's middle, px."""
        upper, lower = float(points[0, 1]), float(points[17, 1])
        seam = float(points[[13, 14], 1].mean())
        middle, half = float(points[[13, 14], 0].mean()), HALF_WIDTH * self.unit
        return upper, lower, seam, slice(round(middle - half), round(middle + half))

    def __call__(self, frame: Image) -> dict[str, float]:
        """The MEASURES of one frame [512, 512, 3]."""
        face = find_landmarks(frame, self._detection, LOOKS)
        seen = face.landmarks.astype(np.float64)
        place = similarity(seen[list(RIGID), :2], self._rest[list(RIGID), :2])
        points = seen[:, :2] @ place[:, :2].T + place[:, 2]
        scale = float(np.hypot(place[0, 0], place[1, 0]))
        depth = seen[:, 2] * scale

        upright = cv2.warpAffine(
            frame, place, frame.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        between = self._pixels.look(upright.astype(np.uint8), *self._lip_rows(points))

        at_rest = self._at_rest
        turn = rotation(self._rest[list(SKULL)], seen[list(SKULL)])
        # x right, y down, z towards the viewer: the nose's direction (0, 0, 1) after the turn.
        nose = turn @ np.array([0.0, 0.0, 1.0])

        def apart(pair: tuple[int, int]) -> float:
            return float(np.linalg.norm(points[pair[1]] - points[pair[0]])) / self.unit

        lids = []
        for upper, lower, ends in (
            (topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER, (33, 133)),
            (topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER, (362, 263)),
        ):
            opened = (points[list(lower[3:6]), 1] - points[list(upper[3:6]), 1]).mean()
            lids.append(opened / np.linalg.norm(points[ends[1]] - points[ends[0]]))
        return {
            "gap": float(np.mean([points[b, 1] - points[a, 1] for a, b in GAP_PAIRS])) / self.unit - at_rest["gap"],
            "width": apart(MOUTH_CORNERS),
            "upper_lip": float(points[13, 1] - points[0, 1]) / self.unit / at_rest["upper_lip"],
            "lower_lip": float(points[17, 1] - points[14, 1]) / self.unit / at_rest["lower_lip"],
            "protrusion": float(depth[[0, 13, 14, 17]].mean() - depth[list(EYE_CORNERS)].mean()) / self.unit,
            "teeth": between.teeth / self.unit,
            "cavity": between.cavity / self.unit,
            "lower_lip_teeth": between.below_teeth / self.unit,
            "eyes": float(np.mean(lids)) / at_rest["eyes"],
            "yaw": float(np.arctan2(nose[0], nose[2])) / SEEN_TURN,
            "pitch": float(np.arctan2(nose[1], nose[2])) / SEEN_TURN,
            "roll": float(np.arctan2(turn[1, 0], turn[0, 0])),
            "presence": face.presence,
        }


def measure_frames(frames: Iterable[Image], rest: Image) -> dict[str, Floats]:
    """The MEASURES float64[n] of n frames [512, 512, 3] of the avatar whose face at rest is `rest`."""
    look = FrameMeasure(rest)
    rows = [look(frame) for frame in frames]
    return {name: np.array([row[name] for row in rows]) for name in MEASURES}


class RenderedLips:
    """Draws one avatar and measures what was drawn; keeps the measures of what it has seen on disk."""

    def __init__(self, avatar: str | Path, cache: Path | None = None, repository: Path = REPOSITORY) -> None:
        """`cache` is a folder for measures; None keeps none."""
        self._avatar = DrawnAvatar(avatar, repository)
        self._cache = cache
        stages = [repository / stage / "1" / "model.onnx" for stage in ("face_geometry", "renderer", "compositor")]
        stages += [repository / "stabilizer" / "1" / "canvas_stabilizer.py", self._avatar.path, Path(__file__)]
        stages.append(Path(__file__).with_name("mouth_pixels.py"))
        self._origin = hashlib.sha256(b"".join(path.read_bytes() for path in stages))

    def measure(self, parameters: NDArray[np.float32]) -> dict[str, Floats]:
        """The MEASURES float64[n] of the frames that PARAMETERS [n, 73] of one session make."""
        key = self._origin.copy()
        key.update(np.ascontiguousarray(parameters).tobytes())
        path = self._cache / f"{key.hexdigest()[:24]}.npz" if self._cache else None
        if path and path.exists():
            with np.load(path) as kept:
                return {name: kept[name] for name in MEASURES}
        rest = next(self._avatar.frames([np.zeros(len(PARAMETERS), np.float32)]))
        found = measure_frames(self._avatar.frames(parameters), rest)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".tmp.npz")
            np.savez(unfinished, **found)  # type: ignore[arg-type]
            unfinished.replace(path)
        return found


def measure(audio: NDArray[np.float32], avatar: str | Path, cache: Path | None = CACHE) -> dict[str, Floats]:
    """The MEASURES float64[n] of the n frames that the server would show for `audio` [samples], 24 kHz mono."""
    return RenderedLips(avatar, cache).measure(SpokenFace()(audio))


def lips_of_frames(measures: dict[str, Floats], way: str) -> Lips:
    """What the judge holds against the phonemes, measured in one of two WAYS.

    Raises:
        ValueError: `way` is none of WAYS.
    """
    if way not in WAYS:
        raise ValueError(f"way is {way!r}, expected one of {WAYS}")
    opening = measures["gap"] if way == "landmarks" else measures["teeth"] + measures["cavity"]
    gap = np.maximum(opening, 0.0)
    # A lower lip at the teeth is rolled in while the upper lip is not; no dark is between them.
    contact = CONTACT_SCALE * (measures["upper_lip"] - measures["lower_lip"]) * (measures["cavity"] < 0.015)
    return Lips(gap, measures["width"], contact, np.abs(np.diff(gap)) + np.abs(np.diff(measures["width"])))


def seen_parameters(measures: dict[str, Floats], shown: NDArray[np.float32]) -> Floats:
    """Parameters [n, 73] as far as they can be seen: lids and turn of the head, the voice's activity as shown."""
    seen = np.zeros_like(shown, np.float64)
    closed = np.clip(1.0 - measures["eyes"], 0.0, 1.0)
    for name, values in (
        ("eyeBlinkLeft", closed),
        ("eyeBlinkRight", closed),
        ("headYaw", measures["yaw"]),
        ("headPitch", measures["pitch"]),
        ("headRoll", measures["roll"]),
        ("voiceActivity", shown[:, INDEX["voiceActivity"]]),
    ):
        seen[:, INDEX[name]] = values
    return seen


def judge_frames(
    clips: Sequence[Clip], avatar: str | Path, cache: Path | None = CACHE, repository: Path = REPOSITORY
) -> dict[str, Any]:
    """Judge the frames of one avatar that speaks `clips`.

    Returns:
        "parameters", "landmarks", "pixels": perf.lip_sync.measures.measure of what was asked for and of what was seen;
        "life": blinks and spread of the head's turns as perf.liveliness tells them, "parameters" beside "frames" (not
        the head's speed: the network's trembling and an opening jaw would pass for it); "follows": correlation of each
        seen opening with the lip gap of the parameters; "presence": the least certainty that a face was seen.
    """
    speak, lips = SpokenFace(repository), RenderedLips(avatar, cache, repository)
    shown = [speak(clip.audio) for clip in clips]
    found = [lips.measure(parameters) for parameters in tqdm(shown, desc=f"frames of {avatar}", disable=None)]
    asked = [lips_of(parameters) for parameters in shown]
    judged: dict[str, Any] = {"parameters": measure_lips(clips, asked), "follows": {}}
    for way in WAYS:
        seen = [lips_of_frames(measures, way) for measures in found]
        judged[way] = measure_lips(clips, seen)
        pair = np.concatenate([one.gap for one in seen]), np.concatenate([one.gap for one in asked])
        judged["follows"][way] = float(np.corrcoef(*pair)[0, 1])
    every = {name: np.concatenate([measures[name] for measures in found]) for name in MEASURES}
    parameters = np.concatenate(shown)
    life = {"parameters": statistics(parameters), "frames": statistics(seen_parameters(every, parameters))}
    judged["life"] = {
        source: {
            name: value
            for name, value in figures.items()
            if name.startswith("blink") or name.endswith("_deviation_degrees")
        }
        for source, figures in life.items()
    }
    judged["presence"] = float(every["presence"].min())
    return judged


def some_of(clips: Sequence[Clip], seconds: float) -> list[Clip]:
    """Clips of `seconds` or a little more, evenly out of all, in their order."""
    whole = sum(len(clip.audio) for clip in clips) / SAMPLE_RATE
    taken: list[Clip] = []
    due, heard = 0.0, 0.0
    for clip in clips:
        heard += len(clip.audio) / SAMPLE_RATE
        if heard / whole * seconds > due or whole <= seconds:
            taken.append(clip)
            due += len(clip.audio) / SAMPLE_RATE
    return taken


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def main() -> int:
    """Judge, print one row for each avatar, set and way, and write the findings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatars", nargs="+", default=["ada", "ben"], help="names of ready ones, or NAME.avatar")
    parser.add_argument("--clips", type=Path, help="folder of recordings with their words, in English")
    parser.add_argument("--splits", nargs="+", default=["test", "dev"], help="of the judge's recordings")
    parser.add_argument("--seconds", type=float, default=60.0, help="speech of each split (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=Path("build/perf"), help="folder for fetched recordings")
    parser.add_argument("--results", type=Path, default=Path("perf/results"), metavar="DIR")
    options = parser.parse_args()

    alignments = Alignments(options.work / "alignments.json")
    sets: dict[str, list[Clip]] = {}
    if options.clips:
        try:
            sets["clips"] = alignments.clips(folder_set(options.clips))
        except (ImportError, OSError, ValueError) as error:
            parser.error(str(error))
        if not sets["clips"]:
            parser.error(f"--clips is {options.clips}, of which no recording could be aligned: see above")
    else:
        for speaker in fetch(options.work):
            if speaker.split in options.splits and speaker.language.startswith("en"):
                folder = options.work / "voices" / speaker.split / speaker.name
                sets.setdefault(speaker.split, []).extend(alignments.clips(folder_set(folder), speaker.language))
        sets = {split: some_of(sets[split], options.seconds) for split in options.splits if split in sets}

    rows = []
    for avatar in options.avatars:
        for name, clips in sets.items():
            judged = judge_frames(clips, avatar)
            rows.append({"avatar": avatar, "set": name, **judged})
            for way in ("parameters", *WAYS):
                row = judged[way]
                print(
                    f"{avatar} {name:5s} {way:10s} r {_cell(row['lip_gap_r'], '.3f')}  "
                    f"p/b/m closed {_cell(row['pbm_closed'], '.2f')} of {row['bilabials']:.0f}  "
                    f"vowels closed {_cell(row['open_vowels_closed'], '.2f')} of {row['open_vowels']:.0f}  "
                    f"f/v contact {_cell(row['fv_contact'], '.2f')} (others {_cell(row['other_contact'], '.2f')})  "
                    f"open/close {_cell(row['open_vowels_auc'], '.2f')}  rounding {_cell(row['rounding_auc'], '.2f')}  "
                    f"lag {row['lag_ms']:+.0f} ms  jitter {_cell(row['jitter'], '.2f')}",
                    flush=True,
                )
            told, seen = judged["life"]["parameters"], judged["life"]["frames"]
            for figure in ("blinks_per_minute_speaking", "blink_half_closed_ms", "head_yaw_deviation_degrees"):
                print(f"{avatar} {name:5s} {figure}: {_cell(told[figure], '.1f')}, seen {_cell(seen[figure], '.1f')}")
    out = options.results / machine.slug() / "rendered.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    date = datetime.date.today().isoformat()
    out.write_text(json.dumps({"machine": machine.describe(), "date": date, "rows": rounded(rows)}, indent=1) + "\n")
    print(f"written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
