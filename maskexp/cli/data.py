"""``maskexp data``: list, check, make and prepare, without torch."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import get_args, get_origin

from maskexp.cli.arguments import take_values
from maskexp.cli.data_make import make
from maskexp.cli.data_prepare import prepare
from maskexp.cli.errors import CommandError
from maskexp.data.datasets.shared.csv_table import ROLES
from maskexp.data.manifest.check import CHECKABLE, Report, check_data
from maskexp.data.registry import COLUMNS, DATASETS, SOURCES, Argument, arguments_of
from maskexp.suggestions import did_you_mean

__all__ = ["run"]

USAGES = (
    *("list", "check NAME ROOT [options]", "prepare NAME [ROOT] [options]"),
    "make waterbirds|travelingbirds OUT [options]",
)
SHOWN, MOST_GROUPS = 5, 12
"""Items of a finding, and groups of a split, that the terminal shows; the JSON report has all."""


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
    for info in DATASETS.values():
        facts = {title.partition(" (")[0]: getattr(info, name) for name, title in COLUMNS.items()}
        sys.stdout.write(f"{info.name}: {info.summary} ({info.paper})\n")
        sys.stdout.writelines(f"  {name:<11} {fact}\n" for name, fact in {**facts, "get": info.get}.items())
    return 0


def _check(args: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="maskexp data check", description="Check the files of a data set.")
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(CHECKABLE)}")
    parser.add_argument("root", metavar="ROOT", nargs="?", help="folder of the data")
    for argument, (kind, texts) in _arguments().items():
        parser.add_argument(f"--{argument}", metavar="X", type=READERS[kind], help="; ".join(texts))
    parser.add_argument("--decode", action="store_true", help="decode every image: finds truncated and repeated files")
    parser.add_argument(
        "--custom", action="store_true", help="the data is your own, or a part: compare no counts with published ones"
    )
    parser.add_argument("--sha", metavar="HEX", nargs="?", const="", help="hash all files; with HEX, demand that hash")
    parser.add_argument("--workers", metavar="N", type=int, default=8, help="threads (default: 8)")
    parser.add_argument("--json", action="store_true", help="print the whole report as JSON")
    options = parser.parse_args(_as_options(args))
    if options.name not in CHECKABLE:
        raise CommandError(f"{options.name!r} cannot be checked; {did_you_mean(options.name, CHECKABLE)}")
    settings = ("name", "decode", "custom", "sha", "workers", "json")
    given = {key: value for key, value in vars(options).items() if value is not None and key not in settings}
    taken = [argument for argument in arguments_of(SOURCES[options.name]) if argument != "root"]
    if foreign := sorted(given.keys() - {"root", *taken}):
        known = ", ".join(f"--{argument}" for argument in taken) or "its folder"
        raise CommandError(f"{options.name} does not take --{foreign[0]}, only {known}")
    if "root" not in given and options.name != "Manifest":
        raise CommandError(f"say where the data lies: maskexp data check {options.name} ROOT")
    if options.workers < 1:
        raise CommandError(f"--workers is {options.workers}; it must be at least 1")
    report = check_data(
        options.name,
        decode=options.decode,
        workers=options.workers,
        custom=options.custom,
        sha256=options.sha,
        **given,
    )
    sys.stdout.write(json.dumps(report.to_dict(), indent=2) + "\n" if options.json else _text(report))
    return 0 if report.ok else 1


def _as_options(args: Sequence[str]) -> list[str]:
    """Return arguments with what ``fit`` calls ``--data.csv`` and ``--data.columns.image NAME`` as our options."""
    plain = [f"--{arg.removeprefix('--data.')}" if arg.startswith("--data.") else arg for arg in args]
    pairs: list[str] = []
    for role in ROLES:
        names, plain = take_values(plain, f"--columns.{role}")
        pairs += [f"{role}={name}" for name in names[-1:]]
    given, plain = take_values(plain, "--columns") if pairs else ([], plain)
    return [*plain, f"--columns={','.join([*given, *pairs])}"] if pairs else plain


def _arguments() -> dict[str, tuple[type, list[str]]]:
    """Return the type of each option, and what it means to each data set that takes it."""
    kinds: dict[str, type] = {}
    meanings: dict[str, dict[str, list[str]]] = {}
    for name, source in SOURCES.items():
        for argument, declared in arguments_of(source).items():
            if argument != "root":
                kinds.setdefault(argument, _kind(declared))
                meanings.setdefault(argument, {}).setdefault(declared.help, []).append(name)
    return {
        argument: (kind, [f"{', '.join(names)}: {help_}" for help_, names in meanings[argument].items()])
        for argument, kind in kinds.items()
    }


def _kind(argument: Argument) -> type:
    """Return how the command line reads an argument."""
    if argument.default is not None:
        return type(argument.default)
    parts = [get_origin(part) or part for part in (get_args(argument.kind) or (argument.kind,))]
    return next(kind for kind in READERS if kind in parts)


def _pairs(text: str) -> dict[str, str]:
    """Read ``role=column,role=column``."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(key and equals and value for key, equals, value in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not role=column,role=column")
    return {key: value for key, _, value in pairs}


def _text(report: Report) -> str:
    lines = [f"{report.name} ({report.variant}): {'valid' if report.ok else 'INVALID'}"]
    for split, counts in report.counts.items():
        groups = ", ".join(f"{name} {count}" for name, count in zip(report.group_names, counts, strict=True))
        many = f"{len(counts)} groups or classes, {min(counts, default=0)} to {max(counts, default=0)} each"
        total = report.totals[split]
        rest = f", without attribute {total - sum(counts)}" if total > sum(counts) else ""
        lines.append(f"  {split:<6} {total:>6}  {groups if len(counts) <= MOST_GROUPS else many}{rest}")
    if report.sha256:
        lines.append(f"  sha256 {report.sha256}")
    for finding in report.findings:
        lines.append(f"  {finding.severity}: {finding.message}")
        lines += [f"    {item}" for item in finding.items[:SHOWN]]
        if len(finding.items) > SHOWN:
            lines.append(f"    … and {len(finding.items) - SHOWN} more (--json shows all)")
    return "\n".join(lines) + "\n"


READERS: dict[type, Callable[[str], object]] = {
    str: str,
    int: int,
    float: float,
    list: lambda text: text.split(","),
    dict: _pairs,
}
"""How the value of an option is read."""
ACTIONS = {"list": _list, "check": _check, "prepare": prepare, "make": make}
