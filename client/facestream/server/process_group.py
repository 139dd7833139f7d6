"""The processes of a server: Triton and its Python stages share one process group, and Linux lists them in /proc."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")


def of_each(group: int | None, read: Callable[[Path, list[str]], Found]) -> Iterator[Found]:
    """What `read` finds of each living process of the group, or of the machine where that is None.

    Left out are processes that end meanwhile, and those that `read` may not look at.

    `read` gets the process's folder in /proc and the words of its `stat` file from the third on, as proc(5) counts
    them: [0] is its state, [1] its parent, [2] its group, [11] and [12] are clock ticks in user and kernel mode.
    """
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The second word is the command in brackets, which may itself hold blanks and brackets.
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            if group not in (None, int(words[2])) or words[0] == "Z":
                continue
            found = read(folder, words)
        except (OSError, ValueError):
            continue  # it ended while we looked
        yield found
