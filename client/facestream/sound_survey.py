"""What is wrong with a sound: samples that are none, and what a user should know before a mouth is made of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facestream.contract import PEAK_LIMIT
from facestream.errors import BadInput

_FULL_SCALE = 32767 / 32768  # the highest that a 16-bit sample can say
_CLIPPED_SHARE = 1e-3
_SILENT_DBFS = -66.0  # of the loudest sample: speech at a usual level has its room noise there
_OFFSET = 0.02
_TELEPHONE_RATE = 11_025
_CANCELLED_DB = 12.0  # below the louder channel


def check_samples(samples: NDArray[np.floating], what: str, rate: int, first: int = 0) -> None:
    """Hold samples [n, channels] against what float PCM can be.

    Args:
        samples: In the unit of full scale.
        what: Names them in the message.
        rate: Hz, to tell the time.
        first: Place of the first of them in the whole sound.

    Raises:
        BadInput: One is NaN, infinite or beyond `PEAK_LIMIT`. The message tells the first, its place and its time.
    """
    if not samples.size or max(float(samples.max()), -float(samples.min())) <= PEAK_LIMIT:  # false where one is NaN
        return
    sample, channel = (int(index[0]) for index in np.nonzero(~(np.abs(samples) <= PEAK_LIMIT)))
    value = samples[sample, channel]
    place = f"sample {first + sample} ({(first + sample) / rate:.3f} s"
    place += f", channel {channel + 1})" if samples.shape[1] > 1 else ")"
    hint = " (divide 16-bit integers by 32768)" if np.isfinite(value) else ""
    raise BadInput(f"{what}: {place} is {value:g}, expected finite numbers in [-1, 1]{hint}")


class Survey:
    """Hears a sound once, block by block, and tells what is remarkable."""

    def __init__(self, name: str, rate: int, channels: int) -> None:
        self.samples = 0
        """Heard so far, of each channel."""
        self._name = name
        self._rate = rate
        self._peak = 0.0
        self._clipped = 0
        self._first_clipped: int | None = None
        self._sum = np.zeros(channels)
        self._power = np.zeros(channels)
        self._mixed_power = 0.0
        self._alike = True

    def add(self, block: NDArray[np.float32]) -> None:
        """Hear the next block, float32 [n, channels]. Raises `BadInput` as `check_samples` does."""
        check_samples(block, self._name, self._rate, self.samples)
        rows = np.ascontiguousarray(block.T)  # NumPy adds up along rows several times as fast as along pairs
        loudness = np.abs(rows).max(axis=0)
        peak = float(loudness.max())
        if peak >= _FULL_SCALE:
            clipped = np.flatnonzero(loudness >= _FULL_SCALE)
            self._clipped += len(clipped)
            if self._first_clipped is None:
                self._first_clipped = self.samples + int(clipped[0])
        self._peak = max(self._peak, peak)
        self._sum += rows.sum(axis=1)
        self._power += [float(row @ row) for row in rows]
        if len(rows) > 1:
            mixed = rows.mean(axis=0)
            self._mixed_power += float(mixed @ mixed)
            self._alike = self._alike and bool((rows == rows[0]).all())
        self.samples += len(block)

    def only_channel(self) -> int | None:
        """The channel to take alone (from 0) where the channels cancel each other out, else None: mix them all."""
        if len(self._power) == 1 or self._mixed_power >= self._power.max() * 10 ** (-_CANCELLED_DB / 10):
            return None
        return int(self._power.argmax())

    def remarks(self) -> tuple[str, ...]:
        """What a user should know, one sentence for each."""
        return tuple(f"{self._name} {remark}" for remark in self._remarks())

    def _remarks(self) -> list[str]:
        found = []
        only, channels = self.only_channel(), len(self._power)
        if only is not None:
            found.append(
                f"has {channels} channels that cancel each other out: channel {only + 1}, the loudest, is taken"
            )
        elif channels > 1 and not self._alike:
            found.append(f"has {channels} channels: the mouth follows the mean of them")
        if self._peak < 10 ** (_SILENT_DBFS / 20):
            level = f"its loudest sample is at {20 * np.log10(self._peak):.0f} dBFS" if self._peak else "all zeros"
            found.append(f"is silent ({level}): the mouth will rest")
        if self._clipped > _CLIPPED_SHARE * self.samples and self._first_clipped is not None:
            found.append(
                f"is clipped: {self._clipped / self.samples:.1%} of it is at full scale, from "
                f"{self._first_clipped / self._rate:.2f} s on; a recording at a lower level gives a better mouth"
            )
        offset = self._sum / max(self.samples, 1)
        worst = float(offset[np.abs(offset).argmax()])
        if abs(worst) > _OFFSET:
            found.append(f"has an offset of {worst:+.2f} of full scale; the mouth does not follow it")
        if self._rate <= _TELEPHONE_RATE:
            found.append(f"holds nothing above {self._rate // 2} Hz, as on a telephone: hissing sounds look less exact")
        return found
