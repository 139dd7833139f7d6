"""The sound of the recent past, near the level that the speech encoder wants, and the prosody of the newest of it."""

from __future__ import annotations

import numpy as np
import pitch
from facestream.contract import CHUNK_SAMPLES, FRAME_RATE, LOOKAHEAD_FRAMES, PEAK_LIMIT, WINDOW_SAMPLES
from facestream.prosody import Prosody
from facestream.sequence import BadInput
from numpy.typing import NDArray
from speech_level import level_gain

SILENCE_DBFS = -90.0
"""Level given to digital silence, and the lowest that is ever told."""

_FLOOR_FRAMES = 5 * FRAME_RATE
_SPEECH_ABOVE_FLOOR_DB = 9.0
_QUIETEST_SPEECH_DBFS = -52.0
_SLOPE_DB = 3.0
_HOLD_FRAMES = 7  # a quarter of a second: stops and short pauses between words are still speech


def level_dbfs(samples: NDArray[np.float32]) -> float:
    """Root mean square level about the mean, dBFS, of samples (n,), not below SILENCE_DBFS: an offset is no sound."""
    power = float(np.var(samples, dtype=np.float64))
    return max(10.0 * np.log10(power), SILENCE_DBFS) if power > 0.0 else SILENCE_DBFS


class AnalysisWindow:
    """Ring of the last WINDOW_SAMPLES samples of one session; zeros before its start."""

    def __init__(self) -> None:
        self._window = np.zeros(WINDOW_SAMPLES, np.float32)
        self._pitch = pitch.PitchTracker()
        # A session begins in silence, however short: its first sound stands out.
        self._levels = np.full(LOOKAHEAD_FRAMES, SILENCE_DBFS)
        self._frame_index = -LOOKAHEAD_FRAMES

    def push(self, audio: NDArray[np.float32]) -> tuple[NDArray[np.float32], Prosody, int]:
        """Takes the sound of one frame.

        Args:
            audio: (CHUNK_SAMPLES,) float PCM.

        Returns:
            The window (WINDOW_SAMPLES,), which ends with this sound, nearer to the level that speech was learnt at; the
            prosody of this sound, as loud as it came; the index of the shown frame, LOOKAHEAD_FRAMES behind the sound.

        Raises:
            BadInput: the sound is no float PCM. The window is as it was.
        """
        if not np.isfinite(audio).all():
            first = int(np.flatnonzero(~np.isfinite(audio))[0])
            raise BadInput(f"AUDIO[{first}] is {audio[first]}, expected finite samples in [-1, 1]")
        peak = float(np.abs(audio).max())
        if peak > PEAK_LIMIT:
            raise BadInput(f"AUDIO peaks at {peak:g}, expected samples in [-1, 1] (divide 16-bit integers by 32768)")

        self._window = np.concatenate((self._window[CHUNK_SAMPLES:], audio))
        level = level_dbfs(audio)
        self._levels = np.append(self._levels, level)[-_FLOOR_FRAMES:]
        prosody = Prosody(level, self._voice(), *self._pitch(self._window[-pitch.WINDOW_SAMPLES :]))
        frame_index = self._frame_index
        self._frame_index += 1
        return self._window * level_gain(self._window), prosody, frame_index

    def _voice(self) -> float:
        # The floor is the quietest tenth of the last seconds: steady noise raises it, pauses between words lower it.
        quietest = len(self._levels) // 10
        floor = float(np.partition(self._levels, quietest)[quietest])
        threshold = max(min(floor, -30.0) + _SPEECH_ABOVE_FLOOR_DB, _QUIETEST_SPEECH_DBFS)
        held = float(self._levels[-1 - _HOLD_FRAMES :].max())
        return float(1.0 / (1.0 + np.exp(-np.clip((held - threshold) / _SLOPE_DB, -30.0, 30.0))))
