"""The data that a checkpoint is asked about: its own, changed by flags as in ``test``."""

from __future__ import annotations

import json
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch

import maskexp.data
from maskexp.cli.arguments import in_the_parsers_words, nested_nulls, require_plain_values, take_values
from maskexp.cli.checkpoint import checkpoint_layer
from maskexp.cli.config import read_configuration
from maskexp.cli.errors import CommandError
from maskexp.cli.layers import classes_first, stack
from maskexp.cli.lightning_adapter import Parser
from maskexp.cli.parser_errors import explain_parser_error
from maskexp.cli.spellings import completed_classes, plain_spellings, with_whole_numbers
from maskexp.cli.trust import trusted
from maskexp.data import ImageDataModule
from maskexp.process import keep_freed_memory

__all__ = ["data_of_checkpoint", "device_called"]


def data_of_checkpoint(checkpoint: Path, flags: Sequence[str]) -> ImageDataModule:
    """Return the datamodule that a checkpoint was trained on, with what flags and configurations change.

    Args:
        checkpoint: of a trained model.
        flags: as :func:`~maskexp.cli.arguments.data_flags` returns them; of a configuration only the data counts.

    Raises:
        CommandError: if the checkpoint names no data that may be opened, or a flag is wrong.
    """
    require_plain_values(flags)
    paths, flags = take_values(in_the_parsers_words(flags), "--config", "-c")
    configuration = read_configuration(paths)
    for section in set(configuration.values) - {"data"}:
        configuration.drop(section)
    flags = classes_first(nested_nulls(plain_spellings(flags)))
    below = {key: value for key, value in checkpoint_layer("test", checkpoint).items() if key == "data"}
    configuration = stack(trusted(below, configuration, flags, checkpoint), configuration, flags, str(checkpoint))
    completed_classes(configuration, flags)
    if "data" not in configuration.values and not any(flag.startswith("--data=") for flag in flags):
        raise CommandError(f"{checkpoint} does not say what data it was trained on; give --data NAME")
    parser = Parser(prog="maskexp", exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config")
    parser.add_lightning_class_args(ImageDataModule, "data", subclass_mode=True)
    names = [
        name
        for name in maskexp.data.__all__
        if isinstance(each := getattr(maskexp.data, name), type)
        and issubclass(each, ImageDataModule)
        and each is not ImageDataModule
    ]
    try:
        try:
            parsed = parser.parse_args([f"--config={json.dumps(configuration.values)}", *flags])
        except ArgumentError as error:
            again = with_whole_numbers(flags, str(error))
            if again is None:
                raise
            parsed = parser.parse_args([f"--config={json.dumps(configuration.values)}", *again])
    except ArgumentError as error:
        keys = [action.dest for action in parser._actions]
        raise CommandError(explain_parser_error(str(error), keys, {"data": names}, configuration)) from error
    data = cast(ImageDataModule, parser.instantiate_classes(parsed)["data"])
    data.prepare_data()
    data.setup("test")
    return data


def device_called(name: str | None) -> torch.device:
    """Return a device by its name, the first GPU or else the CPU if None.

    Raises:
        CommandError: if there is no such device here.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise CommandError(f"--device {name} cannot be used here; give cpu, or leave it out") from error
    if device.type == "cpu":
        keep_freed_memory()
    return device
