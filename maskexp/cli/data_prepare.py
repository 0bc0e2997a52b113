"""``maskexp data prepare``: downloads and unpacks what is published, and says how to get all other data."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence

from maskexp.cli.errors import CommandError
from maskexp.data.downloads.prepare import PREPARABLE, prepare_data
from maskexp.files import expanded
from maskexp.suggestions import did_you_mean

__all__ = ["prepare"]

DRAWN = {
    "SyntheticBirds": "drawn in memory from a seed: maskexp fit --model AIM --data SyntheticBirds",
    "Manifest": "your own: maskexp fit --model AIM --data Manifest --data.root FOLDER",
}
"""Data sets that need no preparation."""


def prepare(args: Sequence[str]) -> int:
    """Prepare a data set; 0 if its files are in place."""
    parser = argparse.ArgumentParser(
        prog="maskexp data prepare",
        description="Download and unpack a data set where address and checksum are published; else say how to get it. "
        "MASKEXP_OFFLINE=1 forbids downloads.",
    )
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(PREPARABLE)}")
    parser.add_argument(
        "root", metavar="ROOT", nargs="?", help="folder to unpack into (default: $MASKEXP_DATA/NAME in small letters)"
    )
    parser.add_argument("--raw", metavar="FILE", nargs="+", default=[], help="archives that are at hand")
    parser.add_argument(
        "--max_unpacked",
        metavar="GB",
        type=float,
        help="what an archive may hold unpacked (default: twice its own size and 0.2 GB)",
    )
    options = parser.parse_args(args)
    name = options.name
    if name in DRAWN:
        sys.stdout.write(f"{name} needs no preparation: {DRAWN[name]}\n")
        return 0
    if name not in PREPARABLE:
        raise CommandError(f"{name!r} cannot be prepared; {did_you_mean(name, PREPARABLE)}")
    above = os.environ.get("MASKEXP_DATA")
    if options.root is None and not above:
        raise CommandError(f"say where the data goes: maskexp data prepare {name} ROOT, or set MASKEXP_DATA")
    root = expanded(options.root or f"{above}/{name.lower()}")
    if options.max_unpacked is not None and not 0 < options.max_unpacked < math.inf:
        raise CommandError(f"--max_unpacked is {options.max_unpacked:g}; it must be a number of gigabytes above 0")
    most = None if options.max_unpacked is None else round(options.max_unpacked * 1e9)
    for sentence in prepare_data(name, root, [expanded(path) for path in options.raw], most):
        sys.stdout.write(f"{sentence}\n")
    return 0
