"""Text to sound, by the server's model `tts`: sentence by sentence, each asked for while the one before it is heard.

    for chunk in TextToSpeech("localhost:8001").speak("Hello. [happy] How nice to see you!"):
        play(chunk.sound)

Synthesis is faster than speech. At most two sentences are on their way: the one that the caller reads and the next. So
the memory, here and on the server, does not grow with the text, and a text may come while it is spoken, say from a
language model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from facestream.connection import check_deadline
from facestream.protocol import emotion_vector
from facestream.tts.exchange import SpeechExchange, check_whole_text
from facestream.tts.speech import Speech
from facestream.tts.tensors import check_speed, check_voice


class TextToSpeech:
    """A server's `tts`. Each text has a connection of its own.

    Args:
        url: host:port of the server's gRPC endpoint.
        deadline: Seconds that the server may take for the next chunk before `FrameTimeout`.
    """

    def __init__(self, url: str = "localhost:8001", deadline: float = 20.0) -> None:
        self._url = url
        self._deadline = check_deadline(deadline)

    def speak(
        self,
        text: str | Iterable[str],
        voice: str = "",
        speed: float = 1.0,
        emotion: Mapping[str, float] | None = None,
    ) -> Speech:
        """Speak a text; gives its sound in chunks of 1/30 s as they come. To close it ends the speech.

        Args:
            text: With marks (`facestream.tts.marks`): whole, or in pieces of any lengths as they come. An iterable is
                read in a thread of its own and may wait for its source.
            voice: As the server knows it: a language of espeak-ng such as "en-us" or "de", or the name of a Piper
                voice; "": the server's own choice.
            speed: 0.5 to 2; 1 is the voice's own.
            emotion: In force until the text's first mark of an emotion.

        Raises:
            BadInput: At once, where a whole text is empty, too long or wrongly marked; at its place, for one that comes
                in pieces, and for a voice that the server does not know.
            ServerUnavailable: Nobody answers, or the server there has no model `tts`.
            SessionRefused: The server has no room, or lacks the engine; its message says which.
            SessionLost: The server went away in mid-text.
            FrameTimeout: The server did not answer in time.
        """
        exchange = SpeechExchange(check_voice(voice), check_speed(speed), emotion_vector(emotion))
        if isinstance(text, str):
            check_whole_text(text)
        return Speech(self._url, self._deadline, text, exchange)
