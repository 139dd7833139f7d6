"""TEXT, VOICE and SPEED as the model `tts` takes them, and what is refused. Shared by client and server."""

from __future__ import annotations

import math
import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facestream.contract import FASTEST_SPEECH, SLOWEST_SPEECH, TEXT_BYTES, VOICE_BYTES
from facestream.errors import BadInput
from facestream.tts.marks import check_text, decode_text

_VOICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+#-]*")


def encode_text(text: str) -> NDArray[np.uint8]:
    """TEXT, uint8 [TEXT_BYTES]; `BadInput` where the text is longer."""
    data = text.encode()
    if len(data) > TEXT_BYTES:
        raise BadInput(f"the text is {len(data)} bytes of UTF-8; expected at most {TEXT_BYTES} in one request")
    return np.frombuffer(data.ljust(TEXT_BYTES, b"\0"), np.uint8)


def read_text(tensor: NDArray[np.uint8]) -> str:
    """The text in a TEXT tensor; `BadInput`, which says where, unless it is one that can be spoken."""
    text = decode_text(tensor.tobytes().rstrip(b"\0"))
    check_text(text)
    return text


def encode_voice(voice: str) -> NDArray[np.uint8]:
    """VOICE, uint8 [VOICE_BYTES]; `BadInput` where the name could be that of no voice."""
    return np.frombuffer(check_voice(voice).encode().ljust(VOICE_BYTES, b"\0"), np.uint8)


def read_voice(tensor: NDArray[np.uint8]) -> str:
    """The name in a VOICE tensor; `BadInput` where it could be that of no voice."""
    return check_voice(tensor.tobytes().rstrip(b"\0").decode("utf-8", "replace"))


def check_voice(voice: str) -> str:
    """The name itself, '' being the server's own choice; `BadInput` where it could be that of no voice."""
    if voice and (len(voice) > VOICE_BYTES or not _VOICE.fullmatch(voice)):
        raise BadInput(
            f"voice {voice[:VOICE_BYTES]!r} is no name; expected letters, digits and '_.+#-', at most {VOICE_BYTES}"
        )
    return voice


def check_speed(speed: float) -> float:
    """The speed itself; `BadInput` where no voice speaks so slowly or fast."""
    if not (math.isfinite(speed) and SLOWEST_SPEECH <= speed <= FASTEST_SPEECH):
        raise BadInput(f"speed is {speed:g}; expected {SLOWEST_SPEECH:g} to {FASTEST_SPEECH:g}")
    return speed
