"""Whether the drawn lips meet where a recorded speaker says p, b or m and the parameters ask for closed lips.

What the speech network misses is not the face's fault: it has its own judge (perf.lip_sync).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from facestream.contract import FRAME_RATE, SAMPLE_RATE
from facestream.parameters import ARKIT
from numpy.typing import NDArray

from perf.drawn_frames import REPOSITORY, SpokenFace
from perf.face.ablation import Ablation
from perf.lip_sync.lips import lip_gap
from perf.lip_sync.rendered import FrameMeasure

ASKED_CLOSED: Final = 0.03
"""Lip gap of the parameters, in units of jawOpen's, below which the lips are asked to meet."""
SEEN_CLOSED_PX: Final = 1.5
"""More teeth and dark than this between the lips is a gap; perf.lip_sync.rendered_calibration: less is not seen."""


class SpokenClosures:
    """The p, b and m of recorded speech, and the PARAMETERS that it makes."""

    def __init__(
        self, work: Path, repository: Path = REPOSITORY, speaker: str = "librivox", seconds: float = 12.0
    ) -> None:
        """Read about `seconds` of a speaker's recordings, heard by the stages of a model repository.

        Raises:
            ImportError: pocketsphinx, which tells when a sound is spoken, is not installed.
            FileNotFoundError: the recordings are not there.
        """
        from perf.lip_sync import folder_set
        from perf.lip_sync.alignment import Alignments
        from perf.lip_sync.recordings import fetch

        (found,) = [one for one in fetch(work) if one.name == speaker]
        folder = work / "voices" / found.split / speaker
        speak = SpokenFace(repository)
        self.parameters: list[NDArray[np.float32]] = []
        self.spans: list[list[tuple[int, int]]] = []
        """Frames from and to, of each p, b, m whose parameters close the lips."""
        self.spoken = 0
        heard = 0.0
        for clip in Alignments(work / "alignments.json").clips(folder_set(folder), found.language):
            if heard >= seconds:
                break
            heard += len(clip.audio) / SAMPLE_RATE
            shown = speak(clip.audio)
            gap = lip_gap(shown[:, : len(ARKIT)].astype(np.float64))
            spans = []
            for name, start, end in clip.phonemes:
                if name in ("P", "B", "M"):
                    first, last = round(start * FRAME_RATE) - 1, round(end * FRAME_RATE) + 1
                    first, last = max(first, 0), min(last, len(gap) - 1)
                    self.spoken += 1
                    if last > first and gap[first : last + 1].min() <= ASKED_CLOSED:
                        spans.append((first, last))
            self.parameters.append(shown)
            self.spans.append(spans)

    @property
    def asked(self) -> int:
        return sum(map(len, self.spans))


def closures(
    ablation: Ablation, avatar: Mapping[str, NDArray[Any]], spoken: SpokenClosures, row: str = "fast"
) -> dict[str, float]:
    """Share of the asked closures that are seen in an avatar's frames, and the widest of their narrowest gaps, px."""
    rest = next(ablation.draw(avatar, [np.zeros(spoken.parameters[0].shape[1], np.float32)], [row]))[row].frame
    look = FrameMeasure(rest)
    narrowest: list[float] = []
    for parameters, spans in zip(spoken.parameters, spoken.spans, strict=True):
        wanted = {frame for first, last in spans for frame in range(first, last + 1)}
        if not wanted:
            continue
        seen: dict[int, float] = {}
        for number, one in enumerate(ablation.draw(avatar, parameters[: max(wanted) + 1], [row])):
            if number in wanted:
                measured = look(one[row].frame)
                seen[number] = (measured["teeth"] + measured["cavity"]) * look.unit
        narrowest += [min(seen[frame] for frame in range(first, last + 1)) for first, last in spans]
    return {
        "asked": float(len(narrowest)),
        "closed": float(np.mean([gap <= SEEN_CLOSED_PX for gap in narrowest])) if narrowest else float("nan"),
        "widest_px": max(narrowest, default=float("nan")),
    }


def lowest(rows: Sequence[Mapping[str, float]], key: str) -> float | None:
    """The least value of a figure over rows; None where there is none."""
    values = [row[key] for row in rows if row[key] == row[key]]
    return min(values) if values else None
