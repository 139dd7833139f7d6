"""The command `facestream` and its subcommands."""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final, NamedTuple

import facestream
from facestream.errors import FacestreamError


class _Command(NamedTuple):
    module: str
    help: str
    extra: str
    """The optional dependencies of the package that it needs beyond the light client."""


_COMMANDS: Final = {
    "render": _Command("facestream.cli.render", "make an MP4 of a sound file with an avatar", ""),
    "say": _Command("facestream.cli.say", "make an MP4 of an avatar that says a text", ""),
    "serve": _Command("facestream.cli.serve", "run the server on this machine, without a container", "server"),
    "avatar": _Command("facestream.cli.avatar", "make an avatar from a photo, or look into one", "server"),
    "parameters": _Command("facestream.cli.parameters", "list the face parameters with range, unit and meaning", ""),
    "doctor": _Command("facestream.cli.doctor", "check this machine and say what mends it", "server"),
}


_CANNOT_BE_WRITTEN: Final = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO)
"""By an open file. Films and tables tell such errors with their name, so what is left is standard output."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status.

    0; 1 for what went wrong at work; 2 for a wrong command line; 128 and the number of a signal that ended it: 130 for
    Ctrl-C.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # a file may have a name that this locale cannot write
    ending = _Ending()
    try:
        with ending:
            return _run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:  # also while a command is imported, which takes a moment
        return 128 + ending.number


class _Ending:
    """SIGTERM, and the SIGHUP of a terminal that is closed, as what Ctrl-C is: a `KeyboardInterrupt`.

    Left alone they end Python on the spot: a film of hours without its index, which no player opens, and a server's
    stages that wait for ever for a server that is gone.
    """

    def __init__(self) -> None:
        self.number: int = signal.SIGINT
        """Of the signal that came."""
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():  # Python lets no other one handle signals
            return
        for name in ("SIGTERM", "SIGHUP"):  # the second is unknown to Windows
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup has it ignored
                self._previous[number] = signal.signal(number, self._note)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        for each in self._previous:  # one is enough: a shell that ends repeats the terminal's
            signal.signal(each, signal.SIG_IGN)
        self.number = number
        raise KeyboardInterrupt


def _run(words: list[str]) -> int:
    wanted = next((word for word in words if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(prog="facestream", description=facestream.__doc__)
    parser.add_argument("--version", action="version", version=f"facestream {facestream.__version__}")
    subparsers = parser.add_subparsers(metavar="command", required=True)
    for name, command in _COMMANDS.items():
        if name != wanted:  # not imported: the light install lacks what some of them need
            subparsers.add_parser(name, help=command.help)
            continue
        try:
            module = importlib.import_module(command.module)
        except ModuleNotFoundError as error:
            print(_lacks(name, error), file=sys.stderr)
            return 1
        module.add_parser(subparsers)
    options = parser.parse_args(words)
    try:
        status = int(options.func(options))
        if sys.stdout is not None:  # closed, as by `>&-`
            sys.stdout.flush()
        return status
    except FacestreamError as error:
        print(f"facestream {wanted}: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:  # imported only as the command ran
        print(_lacks(str(wanted), error), file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever reads has read enough, as `| head` does
        _drop_output()
        return 141
    except OSError as error:
        if error.errno not in _CANNOT_BE_WRITTEN or error.filename is not None:
            raise
        _drop_output()
        print(f"facestream {wanted}: standard output cannot be written: {error.strerror}", file=sys.stderr)
        return 1


def _drop_output() -> None:
    """Send what is still to be printed nowhere: Python tries again as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _lacks(name: str, error: ModuleNotFoundError) -> str:
    extra = _COMMANDS[name].extra
    package = f"'.[{extra}]'" if extra else "."
    return f"facestream {name} needs the package '{error.name}'. In facestream's clone: pip install -e {package}"


if __name__ == "__main__":
    sys.exit(main())
