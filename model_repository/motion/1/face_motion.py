"""All the movement of one session's face: speech, emotion, blinks, gaze, head and brows, as 73 smoothed parameters."""

from __future__ import annotations

import numpy as np
import personality
from blink import Blink
from brows import WHERE as BROWS_AT
from brows import Brows
from cues import CueReader
from emotion import Emotion
from facestream.contract import FRAME_RATE, LOOKAHEAD_FRAMES
from facestream.parameters import ARKIT, EMOTIONS, GAZE, GROUPS, HEAD, INDEX, PARAMETERS
from facestream.prosody import Prosody
from facestream.sequence import FrameOrder, SessionLost
from gaze import Gaze
from head import Head
from limits import within_limits
from mouth import Yielding, felt_speech
from noise_gate import NoiseGate
from numpy.typing import NDArray
from one_euro import OneEuroFilter
from prosody_events import load_network
from rounding import Rounding

_HEAD = slice(len(ARKIT), len(ARKIT) + len(HEAD))
_GAZE = slice(_HEAD.stop, _HEAD.stop + len(GAZE))
_EMOTION = slice(_GAZE.stop, _GAZE.stop + len(EMOTIONS))
_BLINK = [INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]
_WIDE = [INDEX["eyeWideLeft"], INDEX["eyeWideRight"]]
_LOOK_DOWN = [INDEX["eyeLookDownLeft"], INDEX["eyeLookDownRight"]]
_LOOK_UP = [INDEX["eyeLookUpLeft"], INDEX["eyeLookUpRight"]]
_LOOK_LEFT = [INDEX["eyeLookOutLeft"], INDEX["eyeLookInRight"]]  # towards the person's left
_LOOK_RIGHT = [INDEX["eyeLookInLeft"], INDEX["eyeLookOutRight"]]
_LOOK_PER_RAD = 1.0 / 0.6  # ARKit's eyeLook weights are 1 at about 35 degrees
_FILTER = {
    constant: np.array([getattr(GROUPS[parameter.group], constant) for parameter in PARAMETERS])
    for constant in ("min_cutoff_hz", "beta", "noise_speed")
}


class FaceMotion:
    """State of one session. The same seed and inputs give the same movement, bit for bit."""

    def __init__(self, seed: int) -> None:
        """`seed`: any whole number; sessions of different seeds are different people."""
        random = np.random.default_rng(seed)
        person = personality.draw(random.spawn(1)[0])
        self._order = FrameOrder(-LOOKAHEAD_FRAMES)
        self._cues = CueReader(load_network())
        self._gate = NoiseGate()
        self._sides = person.sides
        self._blink = Blink(random.spawn(1)[0], person)
        self._gaze = Gaze(random.spawn(1)[0])
        self._head = Head(random.spawn(1)[0], person)
        self._brows = Brows(random.spawn(1)[0], person)
        self._emotion = Emotion()
        self._rounding = Rounding()
        self._yielding = Yielding()
        rest = np.zeros(len(PARAMETERS))
        rest[INDEX["loudness"]] = PARAMETERS[INDEX["loudness"]].low
        self._smooth = OneEuroFilter(rest, rate_hz=FRAME_RATE, **_FILTER)

    def step(
        self,
        speech_face: NDArray[np.float32],
        prosody: NDArray[np.float32],
        emotion: NDArray[np.float32],
        frame_index: int,
    ) -> NDArray[np.float32]:
        """The parameters (73,) of the next frame, each within its range in facestream.parameters.

        Args:
            speech_face: (52,) ARKit weights that the speech asks for.
            prosody: (5,) of the newest sound, LOOKAHEAD_FRAMES ahead of the shown frame; see facestream.prosody.
            emotion: (8,) wanted intensities in [0, 1], in the order of facestream.parameters.EMOTIONS; audio_frontend
                has checked them.
            frame_index: of the shown frame.

        Raises:
            SessionLost: `frame_index` is not the next one, or the speech network gave a number that is none.
        """
        self._order.check(frame_index)
        if not np.isfinite(speech_face).all():
            raise SessionLost("SPEECH_FACE holds a value that is not finite; begin anew with START")
        self._order.advance()

        heard = Prosody(*prosody.tolist())
        open_wide = self._gate(heard)
        cues = self._cues(heard._replace(voice=open_wide * heard.voice))
        speech = self._rounding(open_wide * speech_face.astype(np.float64))
        mood = self._emotion(emotion)
        look = self._gaze(cues, mood.aversion, mood.averted)
        pose, breath = self._head(cues, mood.carriage, mood.liveliness, self._gaze.target)
        closure = self._blink(cues.speaks, mood.blinks, cues.ends, self._gaze.leaps)
        # The eyes hold what they look at while the head turns under them.
        yaw, pitch = (look - pose[:2]).tolist()

        parameters = np.zeros(len(PARAMETERS))
        felt = mood.shapes * self._sides
        parameters[: len(ARKIT)] = felt_speech(speech, felt, mood.opening, self._yielding(speech))
        parameters[BROWS_AT] += self._brows(cues, mood.liveliness, felt[BROWS_AT])
        parameters[_LOOK_DOWN if pitch > 0.0 else _LOOK_UP] += _LOOK_PER_RAD * abs(pitch)
        parameters[_LOOK_LEFT if yaw > 0.0 else _LOOK_RIGHT] += _LOOK_PER_RAD * abs(yaw)
        parameters[_BLINK] = closure + (1.0 - closure) * parameters[_BLINK]
        parameters[_WIDE] *= 1.0 - closure
        parameters[_HEAD] = pose
        parameters[_GAZE] = [yaw, pitch, yaw, pitch]
        parameters[_EMOTION] = mood.intensities
        parameters[INDEX["voiceActivity"]] = cues.speaks
        parameters[INDEX["loudness"]] = cues.loudness_dbfs
        parameters[INDEX["breath"]] = breath
        return within_limits(self._smooth(parameters))
