"""Make the films of a study, serve its form, analyse its answers: see perf.rating."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import perf.rating
from perf.rating.answers import BadAnswer, read_answers
from perf.rating.study import BadStudy, load_study


def serve(options: argparse.Namespace) -> int:
    """Serve the form until Ctrl-C."""
    from perf.rating.server import serve as bound

    study = load_study(options.clips)
    results = options.results or options.clips / "answers.jsonl"
    if options.per_rater < 1:
        raise ValueError(f"--per-rater is {options.per_rater}, expected 1 or more")
    if not 0 <= options.port <= 65535:
        raise ValueError(f"--port is {options.port}, expected 0 (any that is free) to 65535")
    server = bound(options.clips, study, results, options.per_rater, (options.host, options.port))
    print(f"{len(study.tests)} pairs, {len(study.checks)} checks; answers go to {results}")
    print(f"open http://{options.host}:{server.server_address[1]}/ (Ctrl-C ends)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()
    return 0


def analyse(options: argparse.Namespace) -> int:
    """Analyse a file of answers."""
    from perf.rating import analysis, report

    found = analysis.analyse(read_answers(options.answers))
    print(report.markdown(found))
    for path in report.write(options.out or options.answers.parent, found):
        print(f"written to {path}")
    return 0


def clips(options: argparse.Namespace) -> int:
    """Make the films."""
    from perf.rating.clips import make_study
    from perf.rating.contents import contents_of

    for name, value, least in (("seconds", options.seconds, 1), ("speech", options.speech, 1)):
        if not value >= least:
            raise ValueError(f"--{name} is {value}, expected {least} or more")
    contents = contents_of(options.avatars, options.rows, options.seconds, options.speech, options.people, options.work)
    compared = None
    if options.compare:
        compared = [tuple(entry.split(",")) for entry in options.compare]
        wrong = [entry for entry in compared if len(entry) != 2]
        if wrong:
            raise ValueError(f"--compare has {','.join(wrong[0])!r}, expected two conditions, as in fast,standard")
    study = make_study(options.folder, options.title, contents, compared, options.seed)
    print(f"{len(study.clips)} films, {len(study.tests)} pairs, {len(study.checks)} checks in {options.folder}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands; 2 where its input is not as it should be."""
    parser = argparse.ArgumentParser(
        description=perf.rating.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    made = commands.add_parser("clips", help="draw films and their pairs")
    made.add_argument("folder", type=Path, help="a new folder for films and study.json")
    made.add_argument("--title", default="facestream", help="kept with the answers (default: %(default)s)")
    made.add_argument("--avatars", nargs="+", default=["ada", "ben"], help="names of ready ones, or NAME.avatar")
    made.add_argument(
        "--rows",
        nargs="+",
        default=["geometry", "fast", "loudness", "still"],
        help="conditions: rows of python -m perf.face, loudness, still (default: %(default)s)",
    )
    made.add_argument("--compare", nargs="+", metavar="A,B", help="pairs of conditions (default: all)")
    made.add_argument("--speech", type=int, default=3, help="recordings for each avatar (default: %(default)s)")
    made.add_argument("--seconds", type=float, default=6.0, help="of each film (default: %(default)s)")
    made.add_argument("--people", type=Path, help="folder of held-back synthetic people: adds their path-traced truth")
    made.add_argument("--work", type=Path, default=Path("build/perf"), help="folder for fetched recordings")
    made.add_argument("--seed", type=int, default=1)
    made.set_defaults(run=clips)

    served = commands.add_parser("serve", help="serve the form")
    served.add_argument("clips", type=Path, help="folder that `clips` wrote")
    served.add_argument("--results", type=Path, help="file of answers (default: answers.jsonl in the folder)")
    served.add_argument("--per-rater", type=int, default=24, help="pairs for each rater (default: %(default)s)")
    served.add_argument(
        "--host", default="127.0.0.1", help="0.0.0.0 lets others in, without encryption: put a proxy before it"
    )
    served.add_argument("--port", type=int, default=8090)
    served.set_defaults(run=serve)

    analysed = commands.add_parser("analyse", help="turn answers into figures")
    analysed.add_argument("answers", type=Path, help="answers.jsonl")
    analysed.add_argument("--out", type=Path, help="folder for analysis.* (default: beside the answers)")
    analysed.set_defaults(run=analyse)

    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except (BadStudy, BadAnswer, ValueError, OSError) as error:
        print(f"perf.rating: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
