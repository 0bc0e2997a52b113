"""The dispatcher: finds the verb and imports what it needs, and nothing more.

Importing torch takes seconds. ``--help``, ``--version``, a misspelt verb and ``data list`` answer without it, so the
module of a verb is imported only when that verb runs.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

from maskexp._version import __version__
from maskexp.cli.arguments import at_home
from maskexp.cli.errors import CommandError, one_sentence
from maskexp.process import Interruption, first_process, listen
from maskexp.suggestions import did_you_mean

__all__ = ["main"]


class Verb(NamedTuple):
    """Where a verb lives: ``module.run(verb, args)``, the line that the help shows, whether it leaves on request.

    A resumable verb notes requests to stop from its first moment on and leaves where nothing is lost.
    """

    module: str
    help: str
    resumable: bool = False


VERBS = {
    "fit": Verb("maskexp.cli.training", "train a model, then validate and test the selected checkpoint", True),
    "validate": Verb("maskexp.cli.training", "measure a checkpoint on the validation split", True),
    "test": Verb("maskexp.cli.training", "measure a checkpoint on the test split", True),
    "predict": Verb("maskexp.cli.training", "write predictions.csv and, if asked for, each image's attribution", True),
    "explain": Verb("maskexp.cli.explain", "explain MODEL IMAGE...: prediction, mask and overlay of any image"),
    "audit": Verb("maskexp.cli.audit", "audit CKPT...: is the mask the reason, or does it carry the answer itself?"),
    "export": Verb("maskexp.cli.export", "export CKPT model.onnx: a trained model that runs without torch"),
    "report": Verb("maskexp.cli.report", "report PATH...: a run, several runs or a study as one page for the browser"),
    "matrix": Verb("maskexp.cli.matrix", "matrix STUDY: run what is missing of a study, here or on SLURM"),
    "table": Verb("maskexp.cli.table", "table STUDY: mean and spread over seeds, beside published numbers"),
    "sweep": Verb("maskexp.cli.sweep", "sweep FILE: a wandb sweep file without wandb's server, through Optuna", True),
    "data": Verb("maskexp.cli.data", "list the data sets, or check a folder: data list, data check NAME ROOT"),
}

DEBUG = "--debug"


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``maskexp`` and return the exit code: 0, 1 for a failure, 2 for a mistake in the command.

    Args:
        argv: arguments behind the program's name; those of the process if None.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    debug = DEBUG in args
    if debug:
        args.remove(DEBUG)
    try:
        return _dispatch(args)
    except Interruption as stop:
        if first_process():
            _complain(stop.sentence)
        return int(stop.code or 0)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:
        _complain("stopped by the keyboard")
        return 130
    except BrokenPipeError:
        # The reader went away (`maskexp data list | head -1`); nothing is left to say, not even while shutting down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # the last place that can turn it into a sentence
        if debug:
            traceback.print_exc()
        _complain(one_sentence(error, debug))
        return 2 if isinstance(error, CommandError) else 1


def _dispatch(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help", "help"):
        sys.stdout.write(_help())
        return 0
    verb, rest = args[0], args[1:]
    if verb in ("-V", "--version", "version"):
        sys.stdout.write(f"maskexp {__version__}\n")
        return 0
    if verb not in VERBS:
        raise CommandError(f"maskexp has no verb {verb!r}; {did_you_mean(verb, VERBS)}")
    with listen() if VERBS[verb].resumable else nullcontext():
        code: int = importlib.import_module(VERBS[verb].module).run(verb, [at_home(arg) for arg in rest])
    return code


def _help() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {verb.help}" for name, verb in VERBS.items())
    return (
        "usage: maskexp VERB [options]\n\n"
        "Masking-based, inherently interpretable image classifiers: train, measure, compare.\n\n"
        f"verbs:\n{verbs}\n\n"
        "options:\n"
        "  maskexp VERB --help  what a verb takes\n"
        "  --version            print the version\n"
        f"  {DEBUG}              show the traceback of an error\n\n"
        "first run: maskexp fit --model AIM --model.backbone small_convnet --model.weights null\n"
    )


def _complain(sentence: str) -> None:
    sys.stderr.write(f"maskexp: {sentence}\n")
