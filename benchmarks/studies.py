"""What `maskexp matrix` costs beside the cells: a thousand cells whose command only sleeps for a second.

Usage: python benchmarks/studies.py [cells] [jobs] [seconds]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from maskexp.cli import matrix

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
STAND_IN = 'sleep "$2"; echo "{\\"test/acc\\": 0.9}" > "$1/metrics.json"; echo > "$1/DONE"'
ROWS = ("erm", "aim", "bottom_up", "comet")


def main(cells: int = 1000, jobs: int = 20, seconds: float = 1.0) -> None:
    """Run a study of ``cells`` twice, look at it, and print what it cost."""
    matrix.fit_command = lambda folder: ["sh", "-c", STAND_IN, "cell", str(folder), str(seconds)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = "".join(f"  - {{name: {row}, file: {EXPERIMENTS}/synthetic/{row}.yaml}}\n" for row in ROWS)
        study = folder / "a_study.yaml"
        study.write_text(f"study: many\nseeds: {list(range(cells // len(ROWS)))}\ncolumns: [test/acc]\nrows:\n{rows}")
        arguments = [str(study), "--runs", str(folder / "runs"), "--jobs", str(jobs)]
        for what in ("all cells", "nothing left"):
            start, used = time.perf_counter(), processor_seconds()
            matrix.run("matrix", arguments)
            wall, cpu = time.perf_counter() - start, processor_seconds() - used
            floor = cells * seconds / jobs if what == "all cells" else 0.0
            print(f"{what}: {wall:.1f} s (cells sleep {floor:.1f} s); launcher: {1e3 * cpu / cells:.2f} ms a cell")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"memory of the launcher: {memory:.0f} MiB at most")
        for look in (["matrix", "--status"], ["matrix", "--status", "--json"], ["matrix", "--dry-run"], ["table"]):
            verb, *flags = look
            command = [sys.executable, "-m", "maskexp", verb, str(study), *flags, "--runs", str(folder / "runs")]
            start, used = time.perf_counter(), processor_seconds(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
            wall, cpu = time.perf_counter() - start, processor_seconds(resource.RUSAGE_CHILDREN) - used
            print(f"maskexp {' '.join(look)}: {wall:.2f} s, {cpu:.2f} s of a processor")


def processor_seconds(who: int = resource.RUSAGE_SELF) -> float:
    """What this process, its cells left out, or its children have taken."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main(*(kind(arg) for kind, arg in zip((int, int, float), sys.argv[1:], strict=False)))
