from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Sequence

import pytest

from maskexp import __version__
from maskexp.cli.main import VERBS, main
from tests.cli.conftest import Command

PROBE = """
import sys
from maskexp.cli.main import main
code = main(sys.argv[1:])
heavy = sorted({"torch", "lightning", "torchvision", "timm", "jsonargparse"} & set(sys.modules))
sys.exit(f"imported {heavy}") if heavy else sys.exit(code)
"""


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--help"], 0),
        ([], 0),
        (["--version"], 0),
        (["tset"], 2),
        (["data", "list"], 0),
        (["data", "--help"], 0),
        (["data", "make", "--help"], 0),
        (["data", "prepare", "--help"], 0),
        (["data", "lst"], 2),
    ],
)
def test_light_commands_answer_at_once_and_without_torch(args: Sequence[str], code: int) -> None:
    start = processor_seconds()
    done = subprocess.run([sys.executable, "-c", PROBE, *args], capture_output=True, text=True, check=False)
    seconds = processor_seconds() - start
    assert done.returncode == code, done.stderr
    assert "imported" not in done.stderr
    assert seconds < 1.0, "0.2 s on an idle machine; the rest is allowance for a busy one"


def processor_seconds() -> float:
    """What all child processes have taken: a busy machine makes them wait, not work."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_help_names_every_verb(maskexp: Command) -> None:
    assert all(verb in maskexp("--help").out for verb in VERBS)


def test_version(maskexp: Command) -> None:
    assert maskexp("--version").out == f"maskexp {__version__}\n"


def test_misspelt_verb(maskexp: Command) -> None:
    outcome = maskexp("tset")
    assert outcome.code == 2
    assert outcome.complaint == "maskexp has no verb 'tset'; did you mean 'test'?"
    assert "Traceback" not in outcome.err


def test_debug_shows_the_traceback(maskexp: Command) -> None:
    outcome = maskexp("tset", "--debug")
    assert outcome.code == 2
    assert "Traceback" in outcome.err
    assert outcome.complaint.startswith("maskexp has no verb")


def test_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "maskexp", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"maskexp {__version__}"


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (ValueError("tau is 2"), 1, "tau is 2"),
        (
            KeyError("gone"),
            1,
            "maskexp did not foresee this: 'gone'; run again with --debug for the traceback, and report it",
        ),
        (KeyboardInterrupt(), 130, "stopped by the keyboard"),
        (SystemExit(3), 3, ""),
        (SystemExit(None), 0, ""),
        (SystemExit("no"), 1, ""),
    ],
)
def test_exit_codes(
    error: BaseException,
    code: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(args: list[str]) -> int:
        raise error

    monkeypatch.setattr("maskexp.cli.main._dispatch", fail)
    assert main(["fit"]) == code
    assert capsys.readouterr().err.strip().removeprefix("maskexp: ") == sentence
