"""``maskexp data``: list, check, make and prepare, without torch."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from maskexp.cli.data_make import make
from maskexp.cli.data_prepare import prepare
from maskexp.cli.errors import CommandError, did_you_mean
from maskexp.data.catalog import CATALOG
from maskexp.data.check import CHECKABLE, PLACES, Report, check_data

__all__ = ["run"]

USAGES = (
    *("list", "check NAME ROOT [options]", "prepare NAME [ROOT] [options]"),
    "make waterbirds|travelingbirds OUT [options]",
)
SHOWN = 5
"""Items of a finding that the terminal shows."""


def run(verb: str, args: Sequence[str]) -> int:
    """Do what ``data`` was asked for; the exit code of a check is 1 if it found an error."""
    if not args or args[0] in ("-h", "--help"):
        usages = "\n       ".join(f"maskexp {verb} {usage}" for usage in USAGES)
        sys.stdout.write(f"usage: {usages}\n\n  maskexp {verb} ACTION --help  what an action takes\n")
        return 0
    action, rest = args[0], args[1:]
    if action not in ACTIONS:
        raise CommandError(f"maskexp {verb} has no action {action!r}; {did_you_mean(action, ACTIONS)}")
    return ACTIONS[action](rest)


def _list(args: Sequence[str]) -> int:
    if args:
        raise CommandError(f"maskexp data list takes no arguments, but got {' '.join(args)}")
    for entry in CATALOG:
        facts = {"images": entry.images, "foreground": entry.foreground, "get": entry.get, "licence": entry.licence}
        sys.stdout.write(f"{entry.name}: {entry.summary}\n")
        sys.stdout.writelines(f"  {name:<11} {fact}\n" for name, fact in facts.items())
    return 0


def _check(args: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="maskexp data check", description="Check the files of a data set.")
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(CHECKABLE)}")
    parser.add_argument("root", metavar="ROOT", nargs="?", help="folder of the data")
    for place, texts in _places().items():
        parser.add_argument(f"--{place}", metavar="X", help="; ".join(texts))
    parser.add_argument("--decode", action="store_true", help="decode every image: finds truncated and repeated files")
    parser.add_argument("--json", action="store_true", help="print the whole report as JSON")
    options = parser.parse_args(args)
    if options.name not in CHECKABLE:
        raise CommandError(f"{options.name!r} cannot be checked; {did_you_mean(options.name, CHECKABLE)}")
    settings = ("name", "decode", "json")
    given = {key: value for key, value in vars(options).items() if value is not None and key not in settings}
    if foreign := sorted(given.keys() - {"root", *PLACES[options.name]}):
        known = ", ".join(f"--{place}" for place in PLACES[options.name]) or "its folder"
        raise CommandError(f"{options.name} does not take --{foreign[0]}, only {known}")
    if "root" not in given and options.name != "Manifest":
        raise CommandError(f"say where the data lies: maskexp data check {options.name} ROOT")
    report = check_data(options.name, decode=options.decode, **given)
    sys.stdout.write(json.dumps(report.to_dict(), indent=2) + "\n" if options.json else _text(report))
    return 0 if report.ok else 1


def _places() -> dict[str, list[str]]:
    """Return what each option means to each data set that takes it."""
    meanings: dict[str, list[str]] = {}
    for name, places in PLACES.items():
        for place, text in places.items():
            meanings.setdefault(place, []).append(f"{name}: {text}")
    return meanings


def _text(report: Report) -> str:
    lines = [f"{report.name} ({report.variant}): {'as it has to be' if report.ok else 'NOT as it has to be'}"]
    for split, counts in report.counts.items():
        groups = ", ".join(f"{name} {count}" for name, count in zip(report.group_names, counts, strict=True))
        lines.append(f"  {split:<6} {sum(counts):>6}  {groups}")
    for finding in report.findings:
        lines.append(f"  {finding.severity}: {finding.message}")
        lines += [f"    {item}" for item in finding.items[:SHOWN]]
        if len(finding.items) > SHOWN:
            lines.append(f"    … and {len(finding.items) - SHOWN} more (--json shows all)")
    return "\n".join(lines) + "\n"


ACTIONS = {"list": _list, "check": _check, "prepare": prepare, "make": make}
