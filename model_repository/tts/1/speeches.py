"""Which texts are being answered, and the end of an answer: by its worker, or before that because a client says STOP.

A client that leaves in mid-text says STOP and reads on to the end, because a gRPC call that is cancelled while Triton
writes a decoupled model's responses can crash Triton itself (2.51: a second write on a stream that has one under way).
So STOP is answered at once, whatever the voice is doing at the time.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from concurrent.futures import Future
from typing import Any


class Answer:
    """The responses to one text. Nothing is sent behind its end, whoever brings that about."""

    def __init__(self, sender: Any) -> None:
        """`sender` is the request's own, of Triton's Python backend."""
        self._sender = sender
        self._lock = threading.Lock()
        self._ended = False

    def send(self, response: Any) -> bool:
        """Send a response; False where the answer has ended and the voice is to be quiet."""
        with self._lock:
            if not self._ended:
                self._sender.send(response)
            return not self._ended

    def abandoned(self) -> bool:
        """Whether nobody waits for more: the answer has ended, or its client has gone. Takes as long as `send`."""
        with self._lock:
            return self._ended or bool(self._sender.is_cancelled())

    def end(self, response: Any = None) -> None:
        """Send the final response, by itself or with an error; does nothing where there was one."""
        import triton_python_backend_utils as pb_utils  # exists inside of Triton's Python stub only

        with self._lock:
            if self._ended:
                return
            self._ended = True
            final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
            if response is None:
                self._sender.send(flags=final)
            else:
                self._sender.send(response, flags=final)


class Speeches:
    """The texts of each speech that are spoken or wait, by SPEECH_ID. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: defaultdict[int, dict[Answer, Future[None]]] = defaultdict(dict)

    def add(self, speech_id: int, answer: Answer, job: Future[None]) -> None:
        """A text of this speech is to be spoken by a worker's job; it is forgotten when that is done."""
        with self._lock:
            self._live[speech_id][answer] = job
        job.add_done_callback(lambda _: self._forget(speech_id, answer))

    def stop(self, speech_id: int) -> None:
        """End all texts of this speech; none being there is no error, for they may have come to their own end."""
        with self._lock:
            found = dict(self._live.get(speech_id, {}))
        for answer, job in found.items():
            answer.end()
            job.cancel()  # where no worker has taken it up; one that has looks at its answer with each chunk

    def _forget(self, speech_id: int, answer: Answer) -> None:
        with self._lock:
            self._live[speech_id].pop(answer, None)
            if not self._live[speech_id]:
                del self._live[speech_id]
