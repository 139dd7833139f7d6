"""espeak-ng: small, fast, more than a hundred languages; sounds like a machine.

The library is one engine that must not be used by two at a time, and that a text can crash. So it runs in a process of
its own (`espeak_process.py`), and one thread here owns that process and has it speak one sentence after the other,
whoever asks: two users' texts cannot mix, and none waits for more than the sentences before its own. It is some 400
times faster than speech. A sentence that crashes it or takes too long is refused, and the next one gets a new process.

It says the same text a little differently each time, by some milliseconds: its phases go on from text to text, and
neither its seed nor a new start of it puts them back.
"""

from __future__ import annotations

import json
import os
import queue
import select
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from facestream.errors import BadInput
from facestream.tts.sentences import CLOSING, ENDS
from numpy.typing import NDArray
from synthesizer import EngineMissing

REMEDY = "pip install -e '.[tts]' in facestream's clone"

SECONDS_FOR_SENTENCE = 10.0
"""The longest sentences take a second."""

_PROGRAM = Path(__file__).with_name("espeak_process.py")
_WORDS_PER_MINUTE = 175  # espeak's own rate


class _Hello(NamedTuple):
    """What a process says of itself."""

    sample_rate: int
    languages: frozenset[str]
    variants: frozenset[str]


class _Job(NamedTuple):
    request: dict[str, Any]
    answers: queue.SimpleQueue[bytes | str | Exception | None]
    """Sound, phonemes, what went wrong; None at the end."""
    stopped: threading.Event


class EspeakProcess:
    """The library's process, started when it is needed, and the one thread that talks to it."""

    def __init__(self, program: Path = _PROGRAM, seconds: float = SECONDS_FOR_SENTENCE) -> None:
        """`seconds` is the time that the process has for one answer."""
        self._program = program
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._hello: _Hello | None = None
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="espeak-ng", daemon=True).start()

    def hello(self) -> _Hello:
        """Its sample rate and voices; raises EngineMissing where the library is not installed."""
        if self._hello is None:
            list(self._ask({}))
        assert self._hello is not None
        return self._hello

    def speak(self, text: str, voice: str, words_per_minute: int) -> Iterator[NDArray[np.float32]]:
        """Sound of a sentence as it comes, float32 [n]."""
        pause = text.rstrip(CLOSING + " ").endswith(tuple(ENDS))
        for pcm in self._ask({"text": text, "voice": voice, "rate": words_per_minute, "pause": pause}):
            assert isinstance(pcm, bytes)
            yield np.frombuffer(pcm, np.int16).astype(np.float32) / np.float32(32768)

    def phonemes(self, text: str, voice: str) -> str:
        """The text in the International Phonetic Alphabet as espeak-ng says it, clauses joined by spaces."""
        return "".join(str(part) for part in self._ask({"text": text, "voice": voice}))

    def _ask(self, request: dict[str, Any]) -> Iterator[bytes | str]:
        """The answers to a request; to close the iterator drops those that are still to come."""
        job = _Job(request, queue.SimpleQueue(), threading.Event())
        self._jobs.put(job)
        try:
            while (answer := job.answers.get()) is not None:
                if isinstance(answer, Exception):
                    raise answer
                yield answer
        finally:
            job.stopped.set()

    # --- in the one thread --------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                if not job.stopped.is_set():
                    self._answer(job)
            except Exception as error:  # belongs to whoever asked; the thread goes on for the others
                job.answers.put(error)
            job.answers.put(None)

    def _answer(self, job: _Job) -> None:
        process = self._started()
        if not job.request:  # who only wants to know what there is
            return
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(job.request).encode() + b"\n")
            process.stdin.flush()
            deadline = time.monotonic() + self._seconds
            while (frame := self._read(process, deadline))[0] != b"E":
                kind, data = frame
                if kind == b"X":
                    job.answers.put(RuntimeError(data.decode(errors="replace")))
                elif not job.stopped.is_set():
                    job.answers.put(data if kind == b"S" else data.decode())
        except (OSError, EOFError, TimeoutError) as error:
            how = "did not come to its end" if isinstance(error, TimeoutError) else "crashed"
            self._end()
            raise BadInput(
                f"espeak-ng {how} at {job.request['text'][:40]!r}: leave this part of the text out"
            ) from None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        # Triton's stub is no Python that could be started; it runs on the first python3 of PATH, so we do too.
        python = sys.executable if Path(sys.executable).name.startswith("python") else shutil.which("python3")
        process = subprocess.Popen(
            [python or "python3", str(self._program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._process = process
        try:
            kind, data = self._read(process, time.monotonic() + self._seconds)
        except (OSError, EOFError, TimeoutError):
            self._end()
            raise EngineMissing(f"espeak-ng does not start: {REMEDY}") from None
        if kind == b"M":
            self._end()
            raise EngineMissing(f"{data.decode(errors='replace')}: {REMEDY}")
        said = json.loads(data)
        self._hello = _Hello(said["sample_rate"], frozenset(said["languages"]), frozenset(said["variants"]))
        return process

    def _read(self, process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
        """The next frame, kind and bytes; raises EOFError, or TimeoutError at the deadline."""
        kind, length = struct.unpack("<cI", _read_exactly(process, 5, deadline))
        return kind, _read_exactly(process, length, deadline)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()  # closes its pipes


def _read_exactly(process: subprocess.Popen[bytes], count: int, deadline: float) -> bytes:
    assert process.stdout is not None
    data = b""
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    while len(data) < count:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1e3):
            raise TimeoutError
        part = os.read(process.stdout.fileno(), count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


@cache
def espeak() -> EspeakProcess:
    """The stage's one process of espeak-ng."""
    return EspeakProcess()


class EspeakVoice:
    """A language, with or without a variant."""

    def __init__(self, process: EspeakProcess, name: str) -> None:
        self._process = process
        self._name = name
        self.sample_rate = process.hello().sample_rate

    def synthesize(self, text: str, speed: float) -> Iterator[NDArray[np.float32]]:
        """See `synthesizer.Synthesizer`."""
        return self._process.speak(text, self._name, round(_WORDS_PER_MINUTE * speed))


class EspeakEngine:
    """Voices by espeak-ng's names: a language such as 'en-us', and a variant such as '+f3' if wanted."""

    def voice(self, name: str) -> EspeakVoice | None:
        """See `synthesizer.Engine`."""
        there = espeak().hello()
        language, plus, variant = name.partition("+")
        if language not in there.languages or (plus and variant not in there.variants):
            return None
        return EspeakVoice(espeak(), name)

    def names(self) -> Sequence[str]:
        """Its languages, sorted."""
        return sorted(espeak().hello().languages)
