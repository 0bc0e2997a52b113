"""``maskexp data make``: WaterBirds and TravelingBirds at any correlation, without torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from maskexp.cli.errors import CommandError
from maskexp.data.generate.composites.places_tar import STDIN, keep_scenes
from maskexp.data.generate.composites.scenes import LAND_AND_WATER, Scene, find_places, land_and_water, named_scenes
from maskexp.data.generate.composites.travelingbirds import TravelingBirdsRecipe, make_travelingbirds
from maskexp.data.generate.composites.waterbirds import WaterBirdsRecipe, make_waterbirds
from maskexp.data.manifest.table import ManifestTable
from maskexp.suggestions import did_you_mean

__all__ = ["make"]

COMPAT_QUALITY = 75
"""Pillow's default, with which the published releases were saved."""


def make(args: Sequence[str]) -> int:
    """Generate a data set; 0 if it is complete."""
    if not args or args[0] in ("-h", "--help"):
        sys.stdout.write("".join(parser().format_help() + "\n" for parser in PARSERS.values()))
        return 0
    name, rest = args[0], args[1:]
    if name not in PARSERS:
        raise CommandError(f"maskexp data make cannot make {name!r}; {did_you_mean(name, PARSERS)}")
    options = PARSERS[name]().parse_args(rest)
    if options.workers < 1:
        raise CommandError(f"--workers is {options.workers}; it must be at least 1")
    table = MAKERS[name](options)
    sys.stdout.write(_summary(options.out, table))
    sys.stdout.write(f"next: maskexp data check {NEXT[name]}\n".format(**vars(options)))
    return 0


def _waterbirds_parser() -> argparse.ArgumentParser:
    parser = _parser("waterbirds", "Put birds on land and water, in WaterBirds' official layout, with masks.")
    parser.add_argument(
        "--places",
        metavar="X",
        help="Places365: a folder in its layout, its tar (streamed, never unpacked), or - for a tar from a pipe",
    )
    parser.add_argument("--scenes", metavar="DIR", help="where scenes from the tar are kept (default: OUT-scenes)")
    parser.add_argument("--land", metavar="DIR", nargs="+", help="folders of land scenes, instead of --places")
    parser.add_argument("--water", metavar="DIR", nargs="+", help="folders of water scenes, instead of --places")
    parser.add_argument("--label_rule", choices=("group_dro", "fixed"), default=WaterBirdsRecipe.label_rule)
    parser.add_argument("--val_fraction", metavar="X", type=float, default=WaterBirdsRecipe.val_fraction)
    parser.add_argument("--compat", action="store_true", help="JPEG quality 75, as the published releases have")
    parser.add_argument("--test_fg", action="store_true", help="add a split of test birds on grey")
    parser.add_argument("--test_bg", action="store_true", help="add a split of test scenes without birds")
    parser.set_defaults(correlation=WaterBirdsRecipe.correlation, seed=WaterBirdsRecipe.seed)
    return parser


def _waterbirds(options: argparse.Namespace) -> ManifestTable:
    recipe = WaterBirdsRecipe(
        correlation=options.correlation,
        seed=options.seed,
        label_rule=options.label_rule,
        val_fraction=options.val_fraction,
        test_fg=options.test_fg,
        test_bg=options.test_bg,
    )
    return make_waterbirds(
        options.out,
        options.cub_root,
        _scenes(options),
        recipe,
        segmentations=options.segmentations,
        quality=COMPAT_QUALITY if options.compat else options.quality,
        workers=options.workers,
    )


def _travelingbirds_parser() -> argparse.ArgumentParser:
    parser = _parser("travelingbirds", "Put each species on a place, exchanged in the test split, with masks.")
    parser.add_argument(
        "--places",
        metavar="DIR",
        required=True,
        help="a folder for each kind of place, or what maskexp data prepare Places365Val made",
    )
    parser.add_argument("--compat", choices=("cbm",), help="the released script's order of draws and JPEG quality 75")
    parser.set_defaults(correlation=TravelingBirdsRecipe.correlation)
    return parser


def _travelingbirds(options: argparse.Namespace) -> ManifestTable:
    return make_travelingbirds(
        options.out,
        options.cub_root,
        find_places(options.places),
        TravelingBirdsRecipe(options.correlation, options.seed, options.compat),
        segmentations=options.segmentations,
        quality=COMPAT_QUALITY if options.compat else options.quality,
        workers=options.workers,
    )


def _scenes(options: argparse.Namespace) -> Mapping[str, Sequence[Scene]]:
    """Return the scenes that were asked for."""
    folders = {"land": options.land, "water": options.water}
    if options.places and not any(folders.values()):
        if options.places != STDIN and not Path(options.places).is_file():
            return land_and_water(options.places)
        kept = Path(options.scenes or f"{options.out}-scenes")
        return land_and_water(keep_scenes(options.places, kept, sum(LAND_AND_WATER.values(), ())))
    if options.places or not all(folders.values()):
        raise CommandError("say where the scenes are: --places X, or --land DIR... and --water DIR...")
    return named_scenes(folders)


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    """Return a parser of what both data sets take."""
    parser = argparse.ArgumentParser(prog=f"maskexp data make {name}", description=description)
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to write: new, empty, or of an interrupted run")
    parser.add_argument(
        "--cub_root", metavar="DIR", required=True, help="CUB-200-2011, with segmentations in it or beside it"
    )
    parser.add_argument("--segmentations", metavar="DIR", help="folder of the segmentations, if elsewhere")
    parser.add_argument("--correlation", metavar="X", type=float, help="share of training birds on their own place")
    parser.add_argument("--seed", metavar="N", type=int, help="of all draws; the same seed gives identical files")
    parser.add_argument("--quality", metavar="N", type=int, default=95, help="of the JPEGs (default: 95)")
    parser.add_argument("--workers", metavar="N", type=int, default=4, help="threads (default: 4)")
    return parser


def _summary(out: Path, table: ManifestTable) -> str:
    """Return how many images each split has, and what has to be known of them."""
    names = table.card.group_names
    lines = [f"{out}: {len(table.rows)} images"]
    for split in table.splits:
        counts = table.counts(split)
        groups = ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=True)) if names else ""
        lines.append(f"  {split:<7} {sum(counts):>6}  {groups}".rstrip())
    lines += [f"  note: {note}" for note in table.card.notes]
    return "\n".join(lines) + "\n"


PARSERS = {"waterbirds": _waterbirds_parser, "travelingbirds": _travelingbirds_parser}
MAKERS = {"waterbirds": _waterbirds, "travelingbirds": _travelingbirds}
NEXT = {"waterbirds": "WaterBirds {out}", "travelingbirds": "TravelingBirds {out} --cub_root {cub_root}"}
