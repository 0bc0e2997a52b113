"""``maskexp audit CKPT...``: is the mask the reason for the decision, or does the mask itself carry the answer?"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from maskexp.attribution import attribution_names
from maskexp.cli.arguments import data_flags
from maskexp.cli.checkpoint import is_selected
from maskexp.cli.data_of_checkpoint import data_of_checkpoint, device_called
from maskexp.cli.errors import CommandError
from maskexp.cli.terminal import note, silence
from maskexp.data import ImageDataModule
from maskexp.evaluation.audit import (
    VERDICTS,
    AuditSettings,
    Finding,
    Questioning,
    audit_network,
    between_networks,
    chosen_rows,
)
from maskexp.evaluation.audit.audit import EVERY_HIDING
from maskexp.files import write_json
from maskexp.methods import Method, load_method
from maskexp.methods.checkpoint import check_classes
from maskexp.results import RunDirectory
from maskexp.suggestions import did_you_mean
from maskexp.tables import print_table
from maskexp.types import OWN, Batch, DataSpec

__all__ = ["run"]

FAILED = 3
"""Exit code where a verdict of ``--fail-on`` was reached; 1 and 2 are failures of the command itself."""
SHOWN_ROWS = 8
"""Images that are right for the wrong reason and are named in the terminal; JSON names all."""


def run(verb: str, args: Sequence[str]) -> int:
    """Audit checkpoints one after the other, and compare them."""
    silence()
    about_data, others = data_flags(args)
    options = _parser(verb).parse_args(others)
    fail_on = _verdicts(options.fail_on)
    settings = AuditSettings(
        options.map, options.threshold, _hiding(options.hiding), options.tolerance, options.resamples, options.seed
    )
    if options.images < 1:
        raise CommandError(f"--images is {options.images}; an audit needs at least 1")
    checkpoints = _files(options.checkpoints)
    device = device_called(options.device)
    methods = [load_method(checkpoint) for checkpoint in checkpoints]
    data = data_of_checkpoint(checkpoints[0], about_data)
    for method in methods:
        check_classes(_spec(method), data.spec)
        method.check_data(data.spec)
    sample = _sample(data, options.split, options.images, options.seed, device)
    asked: list[Questioning] = []
    answers: list[dict[str, Any]] = []
    found: list[Finding] = []
    ids = [str(identity) for identity in data.dataset(options.split).ids]
    for checkpoint, method in zip(checkpoints, methods, strict=True):
        network = method.to(device).eval().network
        with torch.inference_mode(False), torch.no_grad():
            asked.append(settings.question(network, sample))
        findings = audit_network(network, sample, data.spec, settings, asked[-1])
        found += findings
        answer = {
            "checkpoint": str(checkpoint),
            "method": type(method).__name__,
            "data": {"name": data.spec.name, "variant": data.spec.variant, "digest": data.digest, "notes": data.notes},
            "split": options.split,
            "images": len(sample["label"]),
            "of": len(ids),
            "mask": asked[-1].map_in_words,
            "settings": {"seed": options.seed, "tolerance": options.tolerance, "resamples": options.resamples},
            "findings": [_with_ids(finding, ids) for finding in findings],
        }
        answers.append(answer)
        if not options.json:
            _print(answer, findings, ids)
        if not about_data and options.split == "test":
            _keep(answer, checkpoint)
    between = None
    if len(asked) > 1:
        with torch.inference_mode(False), torch.no_grad():
            between = between_networks(asked, settings.interval, options.seed)
        found.append(between)
        if not options.json:
            _print_findings(f"between the {len(asked)} checkpoints", [between])
    if options.json:
        content = {"checkpoints": answers, "between": None if between is None else between.to_dict()}
        sys.stdout.write(json.dumps(content, indent=2, allow_nan=False) + "\n")
    reached = sorted({finding.verdict for finding in found} & fail_on)
    if reached:
        note(f"the audit found {', '.join(reached)}, which --fail-on names")
    return FAILED if reached else 0


def _files(names: Sequence[str]) -> list[Path]:
    files = [Path(name) for name in names]
    if missing := [str(file) for file in files if not file.is_file()]:
        raise CommandError(f"there is no checkpoint {missing[0]!r}; give files, such as RUN/checkpoints/best.ckpt")
    return files


def _keep(answer: dict[str, Any], checkpoint: Path) -> None:
    """Write an audit of a run's selected checkpoint, on the run's own test images, beside its other evaluations."""
    home = RunDirectory.of_checkpoint(checkpoint) if is_selected(checkpoint) else None
    if home is not None:
        write_json(home.evaluations / "audit.json", answer)
        note(f"wrote {home.evaluations / 'audit.json'}")


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"maskexp {verb}",
        description="Is the mask the reason for the decision? Puts five questions to each checkpoint, on images of "
        "its test split: whether pixels that the mask hides decide, whether the mask itself carries the class, whether "
        "what it shows is sufficient and complete, whether it is stable (also between the checkpoints), and whether "
        "decisions are right for the right reasons. Each ends in a number with a bootstrap interval, a control and a "
        "verdict. Of a classifier without masks, a map of the predicted class, cut at a threshold, stands in.",
        epilog="The data are those of the first checkpoint; flags as in test change them, e.g. --data.root DIR, "
        f"--data WaterBirds, --config FILE. Verdicts: {', '.join(VERDICTS)}. The exit code is 0 whatever the verdict, "
        f"{FAILED} for one that --fail-on names.",
    )
    parser.add_argument("checkpoints", metavar="CKPT", nargs="+", help="checkpoints of trained models")
    parser.add_argument("--images", type=int, default=500, help="images of the split at most (default: %(default)s)")
    parser.add_argument("--split", default="test", help="split of the data (default: %(default)s)")
    parser.add_argument(
        "--map",
        default=OWN,
        help="what counts as the mask: own is that of a model with masks, its own map or Grad-CAM of any other; or "
        f"{', '.join(attribution_names())}, with settings as in rise:masks=500 (default: %(default)s)",
    )
    parser.add_argument(
        "--threshold", type=float, default=0.5, help="above it, the map counts as shown (default: %(default)s)"
    )
    parser.add_argument(
        "--hiding",
        default=",".join(EVERY_HIDING),
        help="ways of hiding for sufficiency and completeness, the most trusted first (default: %(default)s)",
    )
    parser.add_argument(
        "--tolerance", type=float, default=0.1, help="share that is not held against a model (default: %(default)s)"
    )
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all draws (default: %(default)s)")
    parser.add_argument("--device", help="such as cpu or cuda:1 (default: the first GPU, if there is one)")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    parser.add_argument(
        "--fail-on", action="append", default=[], metavar="VERDICT", help="leave with exit code 3 if it is reached"
    )
    return parser


def _verdicts(given: Iterable[str]) -> set[str]:
    """Return the verdicts that are named, separated by commas or each by a flag of its own."""
    names = [name.strip().replace("_", " ").replace("-", " ") for text in given for name in text.split(",")]
    for name in names:
        if name not in VERDICTS:
            raise CommandError(f"--fail-on: there is no verdict {name!r}; {did_you_mean(name, VERDICTS)}")
    return set(names)


def _hiding(given: str) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in given.split(",")) if name)


def _spec(method: Method) -> DataSpec:
    if method.spec is None:
        raise ValueError("the method was loaded without the specification of its data")
    return method.spec


def _sample(data: ImageDataModule, split: str, images: int, seed: int, device: torch.device) -> Batch:
    """Return the images that are audited: those that ``maskexp test --evaluations '[Audit]'`` audits, too."""
    rows = chosen_rows(range(len(data.dataset(split))), images, seed)
    batch = data.fetch(split, rows)
    batch["image"] = (batch["image"] * 255).round().to(torch.uint8)
    moved: dict[str, Tensor] = {name: value.to(device) for name, value in batch.items()}  # type: ignore[attr-defined]
    return moved  # type: ignore[return-value]


def _with_ids(finding: Finding, ids: Sequence[str]) -> dict[str, Any]:
    return finding.to_dict() | {"ids": [ids[row] for row in finding.rows]}


def _print(answer: dict[str, Any], findings: Sequence[Finding], ids: Sequence[str]) -> None:
    data = answer["data"]
    console = Console(soft_wrap=True)
    console.print(f"[bold]{escape(answer['checkpoint'])}[/bold]  {escape(answer['method'])}, {escape(data['name'])}")
    console.print(
        f"{answer['images']} of {answer['of']} images of {escape(answer['split'])}; what counts as shown is "
        f"{escape(answer['mask'])}"
    )
    _print_findings(None, findings)
    reasons = findings[-1]
    if reasons.groups:
        table = Table(box=box.SIMPLE_HEAD)
        for heading in ("group", "right, on", "right, off", "wrong, on", "wrong, off"):
            table.add_column(heading, justify="left" if heading == "group" else "right")
        for name, counts in reasons.groups.items():
            table.add_row(escape(name), *map(str, counts.values()))
        print_table(table, console)
    if reasons.rows:
        named = ", ".join(ids[row] for row in reasons.rows[:SHOWN_ROWS])
        more = f" and {len(reasons.rows) - SHOWN_ROWS} more" if len(reasons.rows) > SHOWN_ROWS else ""
        console.print(f"right for the wrong reason: {escape(named)}{more}")
    for text in data["notes"]:
        console.print(f"note        {escape(text)}")
    console.print()


def _print_findings(title: str | None, findings: Sequence[Finding]) -> None:
    console = Console(soft_wrap=True)
    if title is not None:
        console.print(f"[bold]{escape(title)}[/bold]")
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("part", no_wrap=True)
    for heading in ("number [95 %]", "control [95 %]"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for finding in findings:
        number = str(finding.number) if finding.number.n else "–"
        control = str(finding.control) if finding.control.n else "–"
        table.add_row(finding.part.replace("_", " "), escape(number), escape(control), finding.verdict)
    print_table(table, console)
    for finding in findings:
        console.print(f"* {escape(finding.sentence)}")
    console.print()
