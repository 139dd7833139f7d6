"""The measures: shown lips held against the phonemes that were spoken, with what chance alone could make of them.

Every figure can be given with its 95 % interval: the clips are drawn again and again with replacement (bootstrap; Efron
1979), since sentences of one corpus differ more than frames of one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from facestream.contract import FRAME_RATE, SAMPLE_RATE

from export.speech.aligner import Phonemes
from export.speech.phonemes import OPEN_VOWELS, classes_of
from export.speech.targets import curves, segments
from perf.lip_sync.alignment import Clip
from perf.lip_sync.lips import Lips, frame_times, lips_of
from perf.lip_sync.recordings import Audio

Floats = npt.NDArray[np.float64]

CLOSED_SHARE: Final = 0.15
"""A gap below this part of a usual open vowel's peak counts as closed."""
NEAR_SHARE: Final = 0.5
"""A lower lip can only be at the teeth below this part."""
CONTACT: Final = 0.12
"""Least contact (perf.lip_sync.lips) that counts: a fifth of what the articulation gives a full f."""
OPEN_VOWEL_SECONDS: Final = 0.06
"""Shorter vowels are reduced ones: nobody opens for them."""
SHIFTS: Final = np.arange(-40, 41) * 0.005
"""Seconds: where the best lag is looked for."""
DRAWS: Final = 500

CLOSE_VOWELS: Final = frozenset({"IY", "IH", "UW", "UH"})
ROUNDED: Final = frozenset({("UW",), ("UH",), ("AO", "UW"), ("w",)})
"""u, o (in ARPAbet a diphthong) and w, as what `classes_of` makes of them."""
SPREAD: Final = frozenset({"IY", "IH", "EY", "EH"})
PARTED: Final = frozenset({"alveolar", "nasal", "lateral", "velar"})
"""Consonants that the tongue makes behind open lips: t, d, n, l, k, g, ng."""

SHARES: Final = ("pbm_closed", "open_vowels_closed", "tongue_closed", "fv_contact", "other_contact")
"""Counted per phoneme: (hits, of how many)."""


def wanted(phonemes: Phonemes, times: Floats) -> tuple[Floats, Floats]:
    """Coarticulated lip gap and width of the aligned phonemes at `times`, of any shape."""
    fine = np.arange(0.0, times.max() + 0.5, 1 / 240)
    shapes, _ = curves(segments(phonemes, "arpabet"), fine)
    return np.interp(times, fine, shapes[0]), np.interp(times, fine, shapes[1])


def wanted_gap(phonemes: Phonemes, times: Floats) -> Floats:
    """Coarticulated lip gap of the aligned phonemes at `times`."""
    return wanted(phonemes, times)[0]


def silences(phonemes: Phonemes) -> list[tuple[float, float]]:
    """Silences of 0.3 s or more, each without its first and last tenth of a second."""
    return [
        (start + 0.1, end - 0.1)
        for name, start, end in segments(phonemes, "arpabet")
        if name == "silence" and end - start >= 0.3
    ]


def ranking(high: Sequence[float], low: Sequence[float]) -> float | None:
    """How often one of `high` exceeds one of `low`: area under the ROC curve, 0.5 is chance; None of nothing."""
    if not len(high) or not len(low):
        return None
    a, b = np.asarray(high)[:, None], np.asarray(low)[None, :]
    return float((a > b).mean() + 0.5 * (a == b).mean())


class _Tally:
    """What one clip adds to every figure: sums for the correlations, lists for what is counted by phoneme."""

    def __init__(self, clip: Clip, lips: Lips) -> None:
        times = frame_times(len(lips.gap))
        spoken = (times >= clip.phonemes[0][1]) & (times <= clip.phonemes[-1][2])
        want, want_width = wanted(clip.phonemes, times)
        # The wanted curve is moved, which is known at any time. Frames put between the shown ones would be their means,
        # which tremble less and so fit better: a mouth in time would be told late or early by up to half a frame.
        moved = wanted(clip.phonemes, times[None] - SHIFTS[:, None])[0]
        self.gap = np.array([_sums(lips.gap[spoken], shifted[spoken]) for shifted in moved])
        self.width = _sums(lips.width[spoken], want_width[spoken])
        self.shake = np.array([_bend(lips.gap), _bend(want)])  # [shown or wanted, frames, sum, squares, bends, squares]
        quiet = np.zeros(len(lips.motion), bool)
        for start, end in silences(clip.phonemes):
            quiet |= (times[1:] > start) & (times[1:] < end)
        self.still = np.array([lips.motion[quiet].sum(), quiet.sum()])
        self.moving = np.array([lips.motion[~quiet].sum(), (~quiet).sum()])

        margin = 0.5 / FRAME_RATE  # a phoneme shorter than a frame still has the frame that it falls into
        self.open_vowels: list[float] = []
        self.close_vowels: list[float] = []
        self.bilabials: list[float] = []
        self.parted: list[float] = []
        self.labiodentals: list[tuple[float, float]] = []
        self.others: list[tuple[float, float]] = []
        self.rounded: list[float] = []
        self.spread: list[float] = []
        kinds_of = [classes_of(name, "arpabet") for name, _, _ in clip.phonemes]
        for index, (_, start, end) in enumerate(clip.phonemes):
            inside = (times >= start - margin) & (times <= end + margin)
            if not inside.any():
                continue
            kinds = kinds_of[index]
            beside = {kind for near in kinds_of[max(index - 1, 0) : index + 2] for kind in near}
            gap, contact = lips.gap[inside], lips.contact[inside]
            if end - start >= OPEN_VOWEL_SECONDS and OPEN_VOWELS.intersection(kinds):
                self.open_vowels.append(float(gap.max()))
            elif end - start >= OPEN_VOWEL_SECONDS and CLOSE_VOWELS.issuperset(kinds):
                self.close_vowels.append(float(gap.max()))
            elif kinds == ("bilabial",):
                self.bilabials.append(float(gap.min()))
            elif PARTED.issuperset(kinds) and not beside & {"bilabial", "silence", "labiodental"}:
                self.parted.append(float(gap.min()))
            if np.isnan(contact).any():
                pass  # this way of looking does not see it
            elif kinds == ("labiodental",):
                best = int(np.argmax(contact))
                self.labiodentals.append((float(contact[best]), float(gap[best])))
            elif not beside & {"labiodental", "bilabial", "silence"}:
                best = int(np.argmax(contact))
                self.others.append((float(contact[best]), float(gap[best])))
            middle = (times >= start) & (times < end)
            if middle.any() and kinds in ROUNDED:
                self.rounded.append(float(lips.width[middle].min()))
            elif middle.any() and SPREAD.issuperset(kinds):
                self.spread.append(float(lips.width[middle].max()))

    def shares(self, vowel_gap: float) -> Floats:
        """Hits and counts float64[len(SHARES), 2]."""
        closed = CLOSED_SHARE * vowel_gap

        def touching(pairs: list[tuple[float, float]]) -> tuple[int, int]:
            return sum(contact >= CONTACT and gap <= NEAR_SHARE * vowel_gap for contact, gap in pairs), len(pairs)

        def below(gaps: list[float]) -> tuple[int, int]:
            return sum(gap <= closed for gap in gaps), len(gaps)

        return np.array(
            [
                below(self.bilabials),
                below(self.open_vowels),
                below(self.parted),
                touching(self.labiodentals),
                touching(self.others),
            ],
            np.float64,
        )


def _sums(a: Floats, b: Floats) -> Floats:
    return np.array([len(a), a.sum(), b.sum(), (a * a).sum(), (b * b).sum(), (a * b).sum()])


def _r(sums: Floats) -> Floats:
    """Correlation from what `_sums` gives, over the last axis."""
    n, a, b, aa, bb, ab = np.moveaxis(sums, -1, 0)
    spread = np.maximum(n * aa - a * a, 0.0) * np.maximum(n * bb - b * b, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread > 1e-18, (n * ab - a * b) / np.sqrt(spread), 0.0))


def _bend(gap: Floats) -> Floats:
    bend = np.diff(gap, n=2)
    return np.array([len(gap), gap.sum(), (gap**2).sum(), len(bend), (bend**2).sum()])


def _figures(
    gap: Floats, width: Floats, shares: Floats, shake: Floats, still: Floats, moving: Floats
) -> dict[str, Floats]:
    """Return figures from summed tallies; a leading axis of draws is kept."""
    by_shift = _r(gap)
    best = np.argmax(by_shift, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = shares[..., 0] / shares[..., 1]
        silence = 100 * (still[..., 0] / still[..., 1]) / (moving[..., 0] / moving[..., 1])
        n, total, squares, bends, bend_squares = np.moveaxis(shake, -1, 0)
        spread = np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0))
        jitter = np.sqrt(bend_squares / bends) / spread  # [..., shown or wanted]
    figures = {name: share[..., index] for index, name in enumerate(SHARES)}
    lag = 1000 * SHIFTS[best]
    return {
        "lip_gap_r": by_shift[..., len(SHIFTS) // 2],
        "best_lag_r": by_shift.max(-1),
        **figures,
        "lag_ms": lag,
        "abs_lag_ms": np.abs(lag),
        "width_r": _r(width),
        "pause_motion_percent": silence,
        "jitter": jitter[..., 0],
        "wanted_jitter": jitter[..., 1],
    }


def _plain(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None


def measure(
    clips: Sequence[Clip], lips: Sequence[Lips], still_motion: Floats | None = None, intervals: bool = False
) -> dict[str, Any]:
    """Hold the `lips` shown for each of `clips` against their phonemes.

    A share of nothing, such as of closures where no p, b or m is spoken, is None.

    Args:
        clips: at least one.
        lips: one for each, as many frames as fit into the clip.
        still_motion: mouth motion of each frame of sounds that nobody speaks: with the clips' own pauses it makes
            silence_motion_percent, which is None without; pause_motion_percent is of the pauses alone.
        intervals: add "intervals": {figure: [low, high]}, 95 % by bootstrap over the clips.
    """
    tallies = [_Tally(clip, shown) for clip, shown in zip(clips, lips, strict=True)]
    vowels = [gap for tally in tallies for gap in tally.open_vowels]
    vowel_gap = float(np.median(vowels)) if vowels else 0.0
    shares = np.array([tally.shares(vowel_gap) for tally in tallies])
    stacks = [
        np.array([tally.gap for tally in tallies]),
        np.array([tally.width for tally in tallies]),
        shares,
        np.array([tally.shake for tally in tallies]),
        np.array([tally.still for tally in tallies]),
        np.array([tally.moving for tally in tallies]),
    ]
    sums = [stack.sum(0) for stack in stacks]
    found: dict[str, Any] = {name: _plain(value) for name, value in _figures(*sums).items()}

    moving = sums[5][0] / max(sums[5][1], 1)
    found["silence_motion_percent"] = None
    if still_motion is not None and moving:
        quiet, frames = sums[4] + (still_motion.sum(), len(still_motion))
        found["silence_motion_percent"] = _plain(100 * quiet / frames / moving)
    found["motion_per_frame"] = float(moving)

    def listed(name: str) -> list[Any]:
        return [item for tally in tallies for item in getattr(tally, name)]

    close = listed("close_vowels")
    found |= {
        "vowel_gap": vowel_gap,
        "close_vowel_share": float(np.median(close)) / vowel_gap if close and vowel_gap else None,
        "open_vowels_auc": ranking(vowels, close),
        "closure_auc": ranking(listed("parted"), listed("bilabials")),
        "contact_auc": ranking([c for c, _ in listed("labiodentals")], [c for c, _ in listed("others")]),
        "rounding_auc": ranking(listed("spread"), listed("rounded")),
        "bilabials": float(shares[:, 0, 1].sum()),
        "open_vowels": float(shares[:, 1, 1].sum()),
        "labiodentals": float(shares[:, 3, 1].sum()),
        "clips": float(len(clips)),
        "seconds": float(sum(len(clip.audio) for clip in clips) / SAMPLE_RATE),
    }
    if intervals and len(clips) > 1:
        drawn = np.random.default_rng(0).multinomial(len(clips), np.full(len(clips), 1 / len(clips)), DRAWS)
        again = _figures(*(np.tensordot(drawn.astype(np.float64), stack, 1) for stack in stacks))
        found["intervals"] = {
            name: [float(edge) for edge in np.nanpercentile(values, (2.5, 97.5))]
            for name, values in again.items()
            if np.isfinite(values).any()
        }
    return found


def judge(clips: Iterable[Clip], faces_of: Callable[[Audio], npt.ArrayLike]) -> dict[str, Any]:
    """Judge the faces [n, 52] (or parameters [n, 73]) that `faces_of` shows for `clips`, silence and rooms included."""
    from perf.lip_sync.still import rooms

    clips = list(clips)
    still = np.concatenate([lips_of(faces_of(room)).motion for room in rooms()])
    return measure(clips, [lips_of(faces_of(clip.audio)) for clip in clips], still)
