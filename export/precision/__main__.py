"""Make the typed variants of the networks: `python -m export.precision`.

Each committed ONNX file is folded and linted, and written in every precision that export/networks.py names, with the
precision in the file's own types:

    build/typed/STAGE/PRECISION.onnx
    build/typed/STAGE/PRECISION.json     which ONNX file it was made of, and what is in half precision

Names, shapes and types of inputs and outputs are those of the stage's config.pbtxt in all variants, so that one takes
the place of another. What a precision costs is told by `python -m export.precision.parity`.

Needs the extra `precision`: `pip install -e '.[precision]'`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from export.ensembles import REPOSITORY
from export.network_files import TYPED, TypedError
from export.networks import NETWORKS, network
from export.precision.variants import make_variants


def main(arguments: list[str] | None = None) -> int:
    """Make the variants, and tell of each how large it is and what the linter says."""
    parser = argparse.ArgumentParser(
        prog="python -m export.precision", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [network.stage for network in NETWORKS]
    parser.add_argument("--stages", nargs="+", choices=names, default=names, metavar="STAGE", help="default: all")
    parser.add_argument("--out", type=Path, default=TYPED, help="folder to write (default: %(default)s)")
    parser.add_argument("--repository", type=Path, default=REPOSITORY, help="model repository")
    parser.add_argument("--no-lint", action="store_true", help="leave out the linter, which takes most of the time")
    options = parser.parse_args(arguments)
    try:
        for stage in options.stages:
            made = make_variants(network(stage), options.out, options.repository, not options.no_lint)
            for path in made.values():
                record = json.loads(path.with_suffix(".json").read_text())
                half = sum(record.get("nodes_in_half_precision", {}).values())
                print(
                    f"{path}: {path.stat().st_size / 1e6:.2f} MB, {record['nodes']} nodes "
                    f"({record['nodes_exported']} exported), {half} in half precision",
                    *(f"  lint: {warning}" for warning in record.get("lint", [])),
                    sep="\n",
                    flush=True,
                )
    except ImportError as error:
        parser.error(f"{error.name} is not installed: pip install -e '.[precision]'")
    except TypedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
