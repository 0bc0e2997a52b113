"""``maskexp report PATH...``: a run, several runs or a study as one page that opens from disk, in any browser."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from maskexp.cli.arguments import data_flags, target_file
from maskexp.cli.errors import CommandError
from maskexp.cli.matrix import default_runs, open_study
from maskexp.files import atomic_write, readable
from maskexp.reports import Gallery, RecordError, Report, RunRecord, StudyTable, find_runs, read_run, render
from maskexp.studies import Runs, Study, tabulate_study
from maskexp.studies.rendering import cells_of, pairs_of, remarks_on
from maskexp.studies.slurm import submitted

__all__ = ["run"]

MOST_SHOWN = 6
"""Runs that one page shows with curves and images; more would not be told apart."""


def run(verb: str, args: Sequence[str]) -> int:
    """Write the page."""
    about_data, others = data_flags(args)
    options = _parser(verb).parse_args(others)
    if options.images < 0:
        raise CommandError(f"--images is {options.images}; give 0 for a page without images, or more")
    paths = [Path(path) for path in options.paths]
    studies = [path for path in paths if path.suffix in (".yaml", ".yml")]
    if studies and len(paths) > 1:
        raise CommandError(f"{studies[0]} is a study, which has a page of its own; give it alone")
    if options.runs is not None and not studies:
        raise CommandError("--runs says where the runs of a study are; of runs, give the folders themselves")
    try:
        report, home = _of_study(studies[0], options) if studies else _of_runs(paths, options)
    except RecordError as error:
        raise CommandError(str(error)) from error
    out = target_file(options.out or home / "report.html")
    notes = list(report.notes)
    if options.images:
        # torch is imported here, where images are wanted, and nowhere else
        images = importlib.import_module("maskexp.cli.report_images")
        gallery: Gallery = images.gallery_of(report.runs, options.images, options.seed, about_data, options.device)
        if not gallery.models:
            notes += gallery.notes
        report = Report(report.title, report.runs, report.table, gallery, notes, report.created)
    elif about_data:
        raise CommandError(f"{about_data[0]} changes the images, of which there are none with --images 0; leave it out")
    page = render(report)
    with atomic_write(out) as partial:
        partial.write_text(page, encoding="utf-8")
    sys.stderr.write(f"maskexp: wrote {out} ({readable(len(page.encode()))})\n")
    return 0


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"maskexp {verb}",
        description="Write one HTML file that holds everything it shows: what was run, numbers with intervals and "
        "controls, the table of a study, curves, groups, the audit (where maskexp audit has been run), and a gallery "
        "of test images with masks, foregrounds and filters, the worst cases first.",
        epilog="Images are predicted anew by each shown run's selected checkpoint, on its own data; flags as in test "
        "change them, e.g. --data.root DIR.",
    )
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="a run, several runs, a folder of runs, or a study (YAML)"
    )
    parser.add_argument("--runs", metavar="DIR", help="where the runs of a study are (default: runs/NAME)")
    parser.add_argument("--out", metavar="FILE", help="(default: report.html in the folder of the run or the runs)")
    parser.add_argument("--title", help="of the page (default: the study's, or the runs')")
    parser.add_argument(
        "--images",
        type=int,
        default=500,
        help="test images at most, 0 for a page without, which needs no torch (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choice of images (default: %(default)s)")
    parser.add_argument("--device", help="such as cpu or cuda:1 (default: the first GPU, if there is one)")
    return parser


def _of_study(file: Path, options: argparse.Namespace) -> tuple[Report, Path]:
    """Return the page of a study, each row of which is shown by the first seed that is done."""
    study = open_study(str(file))
    runs = Runs(options.runs or default_runs(study))
    states = runs.states(study.cells, submitted(runs))
    table = tabulate_study(study, runs, states)
    header, rows = cells_of(table)
    done = _first_done(study, runs, {folder for folder, state in states.items() if state.name == "done"})
    shown = done[:MOST_SHOWN]
    notes = [] if shown else [f"No run of the study is done in {runs.path}; run it by: maskexp matrix {file}"]
    if any(len(row.cells) > 1 for row in study.rows) and shown:
        notes.append("Curves, groups, images and audits are those of the first seed of each row that is done.")
    if len(done) > len(shown):
        notes.append(f"The first {len(shown)} of {len(done)} rows are shown in detail.")
    counts = Counter(states[cell.folder].name for cell in study.cells)
    by_state = {str(name): count for name, count in counts.items()}
    content = StudyTable(study.title, header, rows, remarks_on(table), by_state, *pairs_of(table))
    return Report(options.title or study.title, shown, content, notes=notes, created=_now()), runs.path


def _first_done(study: Study, runs: Runs, done: set[str]) -> list[RunRecord]:
    titles = Counter(row.title for row in study.rows)
    records = []
    for row in study.rows:
        # Runs are told apart by the names that the page gives them.
        name = row.title if titles[row.title] == 1 else f"{row.title} ({row.name})"
        cell = next((cell for cell in row.cells if cell.folder in done), None)
        records += [] if cell is None else [read_run(runs.folder(cell), name)]
    return records


def _of_runs(paths: Sequence[Path], options: argparse.Namespace) -> tuple[Report, Path]:
    """Return the page of one or more runs."""
    for path in paths:
        if not path.is_dir():
            raise CommandError(f"there is no folder or study {str(path)!r}; give a run, a folder of runs, or a study")
    folders = list(dict.fromkeys(folder for path in paths for folder in find_runs(path)))
    shown = folders[:MOST_SHOWN]
    records = [read_run(folder, name) for folder, name in zip(shown, _names(shown), strict=True)]
    notes = []
    if len(folders) > len(shown):
        notes.append(f"The first {len(shown)} of {len(folders)} runs are shown; name those that you want to see.")
    title = options.title or (
        f"{records[0].method} on {records[0].data}" if len(records) == 1 else f"{len(records)} runs"
    )
    return Report(title, records, notes=notes, created=_now()), paths[0]


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the shortest endings of paths that tell the folders apart."""
    resolved = [folder.resolve() for folder in folders]
    longest = max(len(folder.parts) for folder in resolved)
    for length in range(1, longest + 1):
        names = ["/".join(folder.parts[-length:]) for folder in resolved]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in resolved]


def _now() -> str:
    return f"{datetime.now().astimezone():%Y-%m-%d %H:%M}"
