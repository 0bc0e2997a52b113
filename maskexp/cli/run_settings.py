"""What a run can be told beyond its trainer, model and data, and what is refused before any work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

import maskexp.data
import maskexp.evaluation
import maskexp.methods
from maskexp.attribution import DEFAULT_MAPS, validated_maps
from maskexp.callbacks import Gallery, KeepCheckpoints, LeaveWhenAsked, PredictionWriter
from maskexp.cli.config import first_nan, short_name
from maskexp.cli.errors import CommandError
from maskexp.cli.parser_errors import missing_value
from maskexp.cli.terminal import note
from maskexp.data import ImageDataModule
from maskexp.evaluation import Evaluation, StandardMetrics
from maskexp.methods import Method

__all__ = ["add_run_settings", "check_changes", "check_run_settings", "choices"]

FIRST_WEIGHTS = (
    *("model.weights", "model.selector_weights"),
    *("model.detector_checkpoint", "model.classifier_checkpoint", "model.identifier_checkpoint"),
    "model.predictor_checkpoint",
)
"""Keys that a training reads once, before its first step."""

PLANNED = (
    *("trainer.max_epochs", "trainer.max_steps", "trainer.accumulate_grad_batches", "trainer.limit_train_batches"),
    *("data.batch_size", "model.schedule", "model.warmup_epochs", "model.milestones", "model.gamma"),
)
"""Keys that change what a schedule does at a given step."""


def add_run_settings(parser: LightningArgumentParser) -> None:
    """Add the settings to a parser; every verb accepts the same configuration."""
    parser.add_argument("--row", type=str | None, default=None, help="Row of the study that --config names.")
    parser.add_argument(
        "--run_dir", type=str | None, default=None, help="Directory of the run (default: a new one under runs/)."
    )
    parser.add_argument(
        "--test_after_fit",
        type=bool,
        default=True,
        help="Test the selected checkpoint after fit, beside validating it.",
    )
    parser.add_argument(
        "--evaluations",
        type=list[Evaluation],
        default=[],
        help="What a test asks beyond the standard metrics, by name, e.g. [Localization, Fidelity].",
    )
    parser.add_argument(
        "--maps",
        type=list[str],
        default=[],
        help="Attribution maps that a test judges, by name, e.g. [own, grad_cam, rise]: by every evaluation that "
        "names none of its own, or by Localization and Fidelity if no evaluation is named.",
    )
    parser.add_class_arguments(KeepCheckpoints, "selection", skip={"directory"}, instantiate=False)
    parser.add_class_arguments(Gallery, "gallery", skip={"directory"}, instantiate=False)
    parser.add_class_arguments(PredictionWriter, None, skip={"directory"}, instantiate=False)
    parser.add_class_arguments(LeaveWhenAsked, None, skip={"keeper"}, instantiate=False)


def check_run_settings(settings: Namespace) -> None:
    """Refuse settings that cannot be obeyed, and hand the maps of the command to the evaluations.

    Raises:
        CommandError: if there is one.
    """
    _hand_out_maps(settings)
    if (key := first_nan(settings.as_dict())) is not None:
        raise CommandError(f"{key} is NaN, but has to be a number")
    for section in ("model", "data"):
        chosen = settings[section].as_dict()
        if (missing := missing_value(section, chosen["class_path"], chosen.get("init_args") or {})) is not None:
            raise CommandError(missing)
    if (refusal := _refused_setting(settings.trainer.as_dict(), settings.seed_everything)) is not None:
        raise CommandError(refusal)
    strategy = settings.trainer.strategy
    if isinstance(strategy, str) and re.search(r"_(spawn|fork|notebook)\b", strategy):
        raise CommandError(
            f"trainer.strategy {strategy} trains in processes whose weights and numbers do not come back to this "
            "one; choose ddp"
        )


def _hand_out_maps(settings: Namespace) -> None:
    """Give the maps of the command to every evaluation of maps that has its default ones."""
    if not settings.maps:
        return
    validated_maps(settings.maps)
    takers = 0
    for evaluation in settings.evaluations:
        arguments = evaluation.get("init_args") or {}
        takers += "maps" in arguments
        if list(arguments.get("maps") or ()) == list(DEFAULT_MAPS):
            evaluation.init_args.maps = list(settings.maps)
    if settings.evaluations and not takers:
        names = ", ".join(short_name(each.class_path) for each in settings.evaluations)
        raise CommandError(f"--maps says which maps are judged, and {names} judges none; add Localization or Fidelity")


def check_changes(verb: str, checkpoint: Path | None, changed: Mapping[str, tuple[Any, Any]]) -> None:
    """Say what differs from the checkpoint that a command begins with.

    Args:
        verb: ``fit``, ``validate``, ``test`` or ``predict``.
        checkpoint: the file, None if there is none.
        changed: new and old value of each key.

    Raises:
        CommandError: if a training that goes on is given weights to begin with.
    """
    if verb == "fit" and checkpoint is not None:
        for key in sorted(changed.keys() & set(FIRST_WEIGHTS)):
            if changed[key][0] is not None:
                raise CommandError(
                    f"{key} is what a training begins with, and this one goes on from {checkpoint}; omit "
                    f"--{key}, or begin a new run"
                )
    for key, (new, old) in changed.items():
        note(f"{key}: {new!r} instead of {old!r} ({'the interrupted run' if verb == 'fit' else 'checkpoint'})")
    if verb == "fit" and checkpoint is not None and changed.keys() & set(PLANNED):
        note("what is scheduled in epochs or steps is planned anew, as if it had been meant so from the first step")


def _refused_setting(trainer: Mapping[str, Any], seed: Any) -> str | None:
    """Return a sentence about a setting that Lightning takes and a run cannot have, or that Lightning stumbles over."""
    if trainer["use_distributed_sampler"]:
        return (
            "trainer.use_distributed_sampler has to stay false: Lightning's sampler repeats samples in evaluation; the "
            "data's own samplers know the ranks"
        )
    if trainer["barebones"] or trainer["enable_checkpointing"] is False:
        name = "barebones" if trainer["barebones"] else "enable_checkpointing"
        return f"trainer.{name} would leave out the checkpoints that a run is for; omit it"
    devices = str(trainer["devices"])
    if re.fullmatch(r"-?\d+", devices) and int(devices) < 1 and devices != "-1":
        return f"trainer.devices is {devices}; it must be a number from 1 on, a list of devices, -1 for all, or auto"
    if trainer["accumulate_grad_batches"] < 1:
        return f"trainer.accumulate_grad_batches is {trainer['accumulate_grad_batches']}; it must be at least 1"
    if trainer["limit_train_batches"] == 0:
        return "trainer.limit_train_batches is 0, so that there is nothing to train on; give a larger one"
    if seed is False or (seed is not True and not 0 <= seed < 2**32):
        return f"seed_everything is {str(seed).lower()}; it must be a number from 0 to {2**32 - 1}"
    return None


def choices() -> dict[str, list[str]]:
    """Return the names of the classes that ``model``, ``data`` and ``evaluations`` can choose from.

    All are imported on the way, which is how the parser finds them by their short names.
    """
    return {
        "model": _subclasses(maskexp.methods, Method),
        "data": _subclasses(maskexp.data, ImageDataModule),
        "evaluations": [
            name for name in _subclasses(maskexp.evaluation, Evaluation) if name != StandardMetrics.__name__
        ],
    }


def _subclasses(package: Any, base: type) -> list[str]:
    public = {name: getattr(package, name) for name in package.__all__}
    return [name for name, c in public.items() if isinstance(c, type) and issubclass(c, base) and c is not base]
