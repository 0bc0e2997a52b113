"""``python -m tests.fuzz``: many mutated inputs and command lines, and what was wrong with the answers."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import huggingface_hub
import torch

from tests.fuzz.oracles import judged
from tests.fuzz.subjects import SUBJECTS, Seeds, arguments

MEMORY = 16 << 30
"""Bytes of address space; a case that asks for more fails instead of filling the machine."""


def run(inputs: int, vectors: int, seed: int, folder: Path, only: str = "", show: bool = True) -> list[str]:
    """Try everything; return a line for each fault.

    Args:
        inputs: number of mutated inputs, shared out over all subjects.
        vectors: number of command lines.
        seed: of all draws; case *k* of a subject is the same whatever the numbers are.
        folder: to work in; nothing may be written elsewhere.
        only: try one subject alone.
        show: print a line for each subject.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    seeds = Seeds(folder / "seeds")
    work = folder / "work"
    total = sum(share for _, share in SUBJECTS.values())
    plan = {name: (subject, round(inputs * share / total)) for name, (subject, share) in SUBJECTS.items()}
    plan["arguments"] = (arguments, vectors)
    faults: list[str] = []
    for name, (subject, count) in plan.items():
        if only not in ("", name):
            continue
        begin, refused = time.monotonic(), 0
        kinds: Counter[str] = Counter()
        for number in range(count):
            key = f"{seed}:{name}:{number}"
            shutil.rmtree(work, ignore_errors=True)
            target = work / f"case{number}"
            target.mkdir(parents=True)
            os.chdir(target)
            case, mentions = subject(seeds, random.Random(key), target)  # noqa: S311
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                outcome = judged(case, target, mentions)
            refused += bool(outcome.sentence)
            for fault in outcome.faults:
                kinds[fault] += 1
                faults.append(f"{key}: {fault} | {outcome.sentence[:600]}")
                if show:
                    sys.stdout.write(f"{faults[-1]}\n")
        if show:
            seconds = time.monotonic() - begin
            sys.stdout.write(
                f"{name:<14} {count:>6} tried, {refused:>6} refused, {sum(kinds.values()):>4} faults, {seconds:.0f} s\n"
            )
            sys.stdout.flush()
    os.chdir(folder)
    return faults


def main() -> int:
    """Run the suite; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--arguments", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help=f"one of {', '.join([*SUBJECTS, 'arguments'])}")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as folder:
        at_home(Path(folder))
        faults = run(options.inputs, options.arguments, options.seed, Path(folder), options.only)
    sys.stdout.write(f"{len(faults)} faults\n")
    return int(bool(faults))


def at_home(folder: Path) -> None:
    """Let everything that has a place of its own lie in a folder, and forbid downloads."""
    for name, place in (("HOME", "home"), ("MASKEXP_CACHE", "work/cache"), ("XDG_CACHE_HOME", "work/xdg")):
        os.environ[name] = str(folder / place)
    os.environ |= {"MASKEXP_OFFLINE": "1", "WANDB_MODE": "offline"}
    huggingface_hub.constants.HF_HUB_OFFLINE = True  # it has read its environment variable already


if __name__ == "__main__":
    sys.exit(main())
