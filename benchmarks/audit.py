"""The table of docs/audit.md: trained checkpoints beside three planted networks.

Usage, from the root of the repository: python -m benchmarks.audit [IMAGES] NAME=CKPT [NAME=CKPT ...]
"""

from __future__ import annotations

import io
import json
import sys
import time
from contextlib import redirect_stdout
from typing import Any

from maskexp.cli.main import main as maskexp
from maskexp.evaluation.audit import AuditSettings, audit_network
from tests.evaluation.planted import EncodesTheClass, Honest, IgnoresItsMask, planted_images, planted_spec

PLANTED = {
    "planted: honest": Honest,
    "planted: ignores its mask": IgnoresItsMask,
    "planted: encodes the class": EncodesTheClass,
}


def main(arguments: list[str]) -> None:
    """Audit all, and print one Markdown table and the sentences."""
    images = 500
    if arguments and arguments[0].isdigit():
        images, arguments = int(arguments[0]), arguments[1:]
    found: dict[str, list[dict[str, Any]]] = {}
    for argument in arguments:
        name, _, checkpoint = argument.partition("=")
        said, start = io.StringIO(), time.perf_counter()
        with redirect_stdout(said):
            if maskexp(["audit", checkpoint, "--json", "--images", str(images)]) != 0:
                raise SystemExit(f"{checkpoint} cannot be audited")
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        found[name] = json.loads(said.getvalue())["checkpoints"][0]["findings"]
    for name, network in PLANTED.items():
        findings = audit_network(network(), planted_images(images), planted_spec(), AuditSettings())
        found[name] = [finding.to_dict() for finding in findings]
    print(table(found))
    for name, findings in found.items():
        print(f"\n**{name}**\n")
        for finding in findings:
            print(f"* {finding['sentence']}")


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return a row for each network: number, control and verdict of each part."""
    parts = [finding["part"] for finding in next(iter(found.values()))]
    lines = [["", *(part.replace("_", " ") for part in parts)], ["---"] * (len(parts) + 1)]
    lines += [[name, *map(_cell, findings)] for name, findings in found.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(finding: dict[str, Any]) -> str:
    number, control = finding["number"], finding["control"]
    if not number["n"]:
        return finding["verdict"]
    interval = f"{100 * number['low']:.0f}, {100 * number['high']:.0f}"
    return f"{100 * number['value']:.0f} [{interval}] / {100 * control['value']:.0f} **{finding['verdict']}**"


if __name__ == "__main__":
    main(sys.argv[1:])
