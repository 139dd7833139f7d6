"""The command `facestream` and its subcommands."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status: 0, 1 for what went wrong at work, 2 for a wrong command line."""
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:  # also while a command is imported, which takes a moment
        return 130


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
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads has read enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except FacestreamError as error:
        print(f"facestream {wanted}: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:  # imported only as the command ran
        print(_lacks(str(wanted), error), file=sys.stderr)
        return 1


def _lacks(name: str, error: ModuleNotFoundError) -> str:
    extra = _COMMANDS[name].extra
    package = f"'.[{extra}]'" if extra else "."
    return f"facestream {name} needs the package '{error.name}'. In facestream's clone: pip install -e {package}"


if __name__ == "__main__":
    sys.exit(main())
