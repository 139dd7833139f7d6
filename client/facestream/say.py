"""Text in, a talking face out: what `facestream.tts.text_to_speech` speaks, through a session with an avatar.

    with Client(url) as client, client.session(avatar="ada") as session:
        for spoken in say(session, TextToSpeech(url).speak("Hello. [happy] How nice to see you!")):
            show(spoken.frame.picture, spoken.sound)

`say_async` is the same for a session of `facestream.aio`.

The emotion changes with the chunk of sound that carries it. Speech that comes in time is passed on without a gap. Where
it does not (a language model thinks, a voice is slow), a session at the speed of speech goes on with silence: the face
blinks, breathes and keeps its place on the server.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from facestream import aio
from facestream.contract import CHUNK_SAMPLES, FRAME_RATE, SAMPLE_RATE
from facestream.errors import BadInput
from facestream.parameters import EMOTIONS
from facestream.protocol import Frame
from facestream.session import Session
from facestream.tts.protocol import SpokenChunk
from facestream.tts.speech import Speech

_AHEAD = 2 * FRAME_RATE  # chunks of sound read before they are needed


@dataclass(frozen=True)
class SpokenFrame:
    """A frame, and what is heard while it is shown."""

    frame: Frame
    sound: NDArray[np.float32]
    """float32 [800], 24 kHz mono."""
    sentence: str
    """What is being said, marks included; '' in silence that fills a gap."""


def say(session: Session, speech: Iterable[SpokenChunk], realtime: bool = False) -> Iterator[SpokenFrame]:
    """Speak through a session that was not used yet; gives its frames with their sound, in order.

    Args:
        session: Its emotion is that of `speech` from the first chunk on.
        speech: Of `facestream.tts.text_to_speech.TextToSpeech.speak`, or from a synthesiser of the caller's own. It is
            read in a thread of its own, up to 2 s ahead.
        realtime: At the speed of speech instead of as fast as the server takes it.

    Raises what `speech` and `session.stream` raise; `BadInput` where there was nothing to speak.
    """
    spoken = _Spoken(session.set_emotion, fill=realtime)
    arrived = threading.Event()
    reader = _Reader(speech, arrived.set)

    def sounds() -> Iterator[NDArray[np.float32]]:
        while True:
            while (item := spoken.take(reader)) is None:
                arrived.wait()
                arrived.clear()
            if item is _END:
                return
            yield item

    frames = session.stream(sounds(), realtime)
    try:
        for frame in frames:
            yield spoken.with_sound(frame)
        spoken.check_spoke()
    finally:
        try:
            reader.stop()
        finally:
            session.close()


async def say_async(
    session: aio.Session, speech: Iterable[SpokenChunk], realtime: bool = False
) -> AsyncIterator[SpokenFrame]:
    """The twin of `say` for asyncio; `speech` may block, it is read in a thread."""
    spoken = _Spoken(session.set_emotion, fill=realtime)
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()

    def tell() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(arrived.set)

    reader = _Reader(speech, tell)

    async def sounds() -> AsyncIterator[NDArray[np.float32]]:
        while True:
            while (item := spoken.take(reader)) is None:
                await arrived.wait()
                arrived.clear()
            if item is _END:
                return
            yield item

    try:
        frames = cast("AsyncGenerator[Frame, None]", session.stream(sounds(), realtime))
        async with aclosing(frames):
            async for frame in frames:
                yield spoken.with_sound(frame)
        spoken.check_spoke()
    finally:
        try:
            await asyncio.to_thread(reader.stop)
        finally:
            await session.close()


class SpokenSound:
    """The sound of a film that is being spoken: a `facestream.video.Soundtrack` that grows."""

    rate = SAMPLE_RATE
    channels = 1

    def __init__(self) -> None:
        self._blocks: deque[NDArray[np.float32]] = deque()

    def push(self, sound: NDArray[np.float32]) -> None:
        """Append float32 [n]."""
        self._blocks.append(sound)

    def read(self, samples: int) -> NDArray[np.float32]:
        """See `facestream.video.Soundtrack`."""
        if not self._blocks:
            return np.zeros((0, 1), np.float32)
        block = self._blocks.popleft()
        if len(block) > samples:
            self._blocks.appendleft(block[samples:])
        return block[:samples, np.newaxis]


_END = np.zeros(0, np.float32)
_SILENCE = np.zeros(CHUNK_SAMPLES, np.float32)


class _Reader:
    """Reads speech in a thread of its own, at most _AHEAD chunks ahead."""

    def __init__(self, speech: Iterable[SpokenChunk], tell: Callable[[], None]) -> None:
        """`tell` is called, in that thread, whenever there is something new."""
        self.arrived: deque[SpokenChunk | BaseException | None] = deque()
        """Chunks; at the end None, or what went wrong."""
        self._speech = speech
        self._tell = tell
        self._places = threading.Semaphore(_AHEAD)
        self._stopped = threading.Event()
        threading.Thread(target=self._read, name="facestream-spoken", daemon=True).start()

    def taken(self) -> None:
        """A chunk was taken: there is room for another one."""
        self._places.release()

    def stop(self) -> None:
        """Nobody takes any more. Waits for a `Speech` to end: a program that ends here would cut it off.

        Speech of another kind is closed by the thread that reads it, once that has its next chunk.
        """
        self._stopped.set()
        self._places.release()
        self.arrived.append(None)
        self._tell()  # whoever waits for a chunk
        if isinstance(self._speech, Speech):
            self._speech.close()

    def _read(self) -> None:
        try:
            for chunk in self._speech:
                self._places.acquire()
                if self._stopped.is_set():
                    break
                self.arrived.append(chunk)
                self._tell()
            self.arrived.append(None)
        except BaseException as error:  # belongs to whoever reads the frames
            self.arrived.append(error)
        finally:
            self._tell()
            close = getattr(self._speech, "close", None)  # a generator that was left early: it ends its connection
            if close is not None:
                close()


class _Spoken:
    """What goes into a session, and which sound belongs to which frame."""

    def __init__(self, set_emotion: Callable[[dict[str, float]], None], fill: bool) -> None:
        self._set_emotion = set_emotion
        self._fill = fill
        self._begun = False
        self._emotion: bytes | None = None
        self._heard: deque[tuple[NDArray[np.float32], str]] = deque()  # of the frames to come

    def take(self, reader: _Reader) -> NDArray[np.float32] | None:
        """The next chunk of sound, float32 [800]; _END at the end; None: nothing has come yet."""
        if not reader.arrived:
            if not (self._fill and self._begun):
                return None
            self._heard.append((_SILENCE, ""))
            return _SILENCE
        item = reader.arrived.popleft()
        if item is None:
            return _END
        if isinstance(item, BaseException):
            raise item
        reader.taken()
        if item.sound.shape != (CHUNK_SAMPLES,):
            raise BadInput(f"a chunk of speech has the shape {list(item.sound.shape)}; expected [{CHUNK_SAMPLES}]")
        self._begun = True
        if item.emotion.tobytes() != self._emotion:
            self._emotion = item.emotion.tobytes()
            self._set_emotion({name: float(value) for name, value in zip(EMOTIONS, item.emotion, strict=True)})
        self._heard.append((item.sound, item.sentence))
        return item.sound

    def with_sound(self, frame: Frame) -> SpokenFrame:
        sound, sentence = self._heard.popleft()
        return SpokenFrame(frame, sound, sentence)

    def check_spoke(self) -> None:
        if not self._begun:
            raise BadInput("the text holds nothing that the voice can speak")
