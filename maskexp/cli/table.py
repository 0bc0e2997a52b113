"""``maskexp table``: a study's results beside what was published, without torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from maskexp.cli.arguments import target_file
from maskexp.cli.matrix import default_runs, open_study
from maskexp.files import atomic_write
from maskexp.studies import RENDERERS, Runs, tabulate_study
from maskexp.studies.slurm import submitted

__all__ = ["run"]


def run(verb: str, args: Sequence[str]) -> int:
    """Print, or write, the table of a study; what was not run yet is shown as such."""
    parser = argparse.ArgumentParser(
        prog=f"maskexp {verb}", description="Mean ± standard deviation over seeds, beside published numbers."
    )
    parser.add_argument("file", metavar="FILE", help="a study, e.g. experiments/quickstart_study.yaml")
    parser.add_argument("--runs", metavar="DIR", help="where its runs are (default: runs/NAME)")
    parser.add_argument("--format", choices=sorted(RENDERERS), default="terminal", help="(default: terminal)")
    parser.add_argument("--output", metavar="OUT", type=Path, help="write the table to a file instead of printing it")
    options = parser.parse_args(args)
    if options.output is not None:
        target_file(options.output)
    study = open_study(options.file)
    runs = Runs(options.runs or default_runs(study))
    text = RENDERERS[options.format](tabulate_study(study, runs, runs.states(study.cells, submitted(runs))))
    if options.output is None:
        sys.stdout.write(text)
    else:
        with atomic_write(options.output) as partial:
            partial.write_text(text, encoding="utf-8")
    return 0
