"""All the movement of one session's face: speech, emotion, blinks, gaze, head, smoothed into the 73 parameters."""

from __future__ import annotations

from collections import deque

import numpy as np
from blink import Blink
from emotion import Emotion
from facestream.contract import FRAME_RATE, LOOKAHEAD_FRAMES
from facestream.parameters import ARKIT, EMOTIONS, GAZE, HEAD, INDEX, PARAMETERS
from facestream.prosody import Prosody
from facestream.sequence import FrameOrder, SessionLost
from gaze import Gaze
from head import Head
from numpy.typing import NDArray
from one_euro import OneEuroFilter

_LOW = np.array([parameter.low for parameter in PARAMETERS])
_HIGH = np.array([parameter.high for parameter in PARAMETERS])
_HEAD = slice(len(ARKIT), len(ARKIT) + len(HEAD))
_GAZE = slice(_HEAD.stop, _HEAD.stop + len(GAZE))
_EMOTION = slice(_GAZE.stop, _GAZE.stop + len(EMOTIONS))
_BLINK = [INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]
_LOOK_DOWN = [INDEX["eyeLookDownLeft"], INDEX["eyeLookDownRight"]]
_LOOK_UP = [INDEX["eyeLookUpLeft"], INDEX["eyeLookUpRight"]]
_BROWS_UP = [INDEX["browInnerUp"], INDEX["browOuterUpLeft"], INDEX["browOuterUpRight"]]

# One-Euro constants. At rest the mouth is held by 3 Hz; a closure of 0.3 in two frames (4.5 per second) lifts the
# cutoff to 75 Hz, which at 30 FPS passes 94 % of the step in the first frame: stops still close.
_SPEECH_CUTOFF_HZ = 3.0
_SPEECH_BETA = 16.0
_VOICED_LIMIT = 0.5
_ACCENT_SECONDS = 0.18  # brows follow the stress, slower than lips
_ACCENT = np.array([0.22, 0.10, 0.10])


class FaceMotion:
    """State of one session. The same correlation id and inputs give the same movement, bit for bit."""

    def __init__(self, seed: int) -> None:
        """`seed`: any whole number; sessions of different seeds blink and sway apart."""
        random = np.random.default_rng(seed)
        self._order = FrameOrder(-LOOKAHEAD_FRAMES)
        self._blink = Blink(random.spawn(1)[0])
        self._gaze = Gaze(random.spawn(1)[0])
        self._head = Head(random.spawn(1)[0])
        self._emotion = Emotion()
        silence = Prosody(-90.0, 0.0, 0.0, 0.0, -90.0)
        self._heard = deque([silence] * LOOKAHEAD_FRAMES, maxlen=LOOKAHEAD_FRAMES + 1)
        self._accent = 0.0
        self._smooth = OneEuroFilter(
            np.zeros(len(ARKIT)), min_cutoff_hz=_SPEECH_CUTOFF_HZ, beta=_SPEECH_BETA, rate_hz=FRAME_RATE
        )

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

        self._heard.append(Prosody(*prosody.tolist()))
        loudness, voice = self._heard[0][:2]
        speech = self._smooth(speech_face.astype(np.float64))
        shown_emotion, emotional = self._emotion(emotion)
        pose, stress, breath = self._head(loudness, voice)
        yaw, pitch = self._gaze()
        lids = self._blink(voice > _VOICED_LIMIT)
        self._accent += (stress - self._accent) / (_ACCENT_SECONDS * FRAME_RATE)

        parameters = np.zeros(len(PARAMETERS))
        parameters[: len(ARKIT)] = speech + emotional
        parameters[_BROWS_UP] += self._accent * _ACCENT
        parameters[_LOOK_DOWN] += max(pitch, 0.0)
        parameters[_LOOK_UP] += max(-pitch, 0.0)
        parameters[_BLINK] = lids + (1.0 - lids) * parameters[_BLINK]
        parameters[_HEAD] = pose
        # The eyes hold the viewer while the head turns under them.
        parameters[_GAZE] = [yaw - pose[0], pitch - pose[1]] * 2
        parameters[_EMOTION] = shown_emotion
        parameters[INDEX["voiceActivity"]] = voice
        parameters[INDEX["loudness"]] = loudness
        parameters[INDEX["breath"]] = breath
        return np.clip(parameters, _LOW, _HIGH).astype(np.float32)
