"""`facestream parameters`: the table of the face parameters, for whoever draws a face of their own."""

from __future__ import annotations

import argparse
import json

from facestream.parameters import PARAMETERS, table


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("parameters", help="list the face parameters with range, unit and meaning")
    parser.add_argument("--json", action="store_true", help="as JSON instead of a Markdown table")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Prints the table; returns the exit status."""
    print(json.dumps([parameter._asdict() for parameter in PARAMETERS], indent=2) if options.json else table())
    return 0
