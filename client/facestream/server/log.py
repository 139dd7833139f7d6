"""Where a server's log goes: into a file, or on to standard output, as a container's engine collects it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from pathlib import Path
from typing import IO

STANDARD_OUTPUT = "-"
"""The name that stands for standard output."""

KEPT_LINES = 2000
"""Lines of a log on standard output that are kept, to say why a start failed."""


class Log:
    """The log of one server process.

    file: written anew, unless it is to `go_on` behind what an earlier process of the same server wrote. "-": standard
    output, of which the last lines are kept in memory.
    """

    def __init__(self, file: Path | str, go_on: bool = False) -> None:
        self._path = None if str(file) == STANDARD_OUTPUT else Path(file).resolve()
        self._lines: deque[bytes] = deque(maxlen=KEPT_LINES)
        self._reader: threading.Thread | None = None
        self._source: IO[bytes] | None = None
        self._begin = 0  # of this process's own part of the file
        self.sink: IO[bytes]
        """What the process writes into."""
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self.sink = self._path.open("ab" if go_on else "wb")
            self._begin = self.sink.tell()
        else:
            source, sink = os.pipe()
            self._source, self.sink = os.fdopen(source, "rb"), os.fdopen(sink, "wb")

    def begin(self) -> None:
        """To be called once the process has inherited the sink: from now on its lines are passed on."""
        self.sink.close()
        if self._source is not None:
            self._reader = threading.Thread(target=self._pass_on, args=(self._source,), daemon=True)
            self._reader.start()

    def text(self) -> str:
        """What this process has logged so far, or the last lines of it."""
        if self._path is None:
            return b"".join(list(self._lines)).decode(errors="replace")
        if not self._path.is_file():
            return ""
        with self._path.open("rb") as file:
            file.seek(self._begin)
            return file.read().decode(errors="replace")

    def close(self) -> None:
        """End passing lines on; the process must have ended."""
        self.sink.close()
        if self._reader is not None:
            self._reader.join(timeout=2.0)

    def _pass_on(self, source: IO[bytes]) -> None:
        with source:
            for line in source:
                self._lines.append(line)
                with contextlib.suppress(OSError):  # whoever read them is gone: the last ones are still to be kept
                    sys.stdout.buffer.write(line)
                    sys.stdout.buffer.flush()
