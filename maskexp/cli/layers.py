"""What lies on what: flags over configuration files over what a checkpoint says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maskexp.cli.arguments import last_value, take_values
from maskexp.cli.config import Configuration, short_name
from maskexp.cli.errors import CommandError
from maskexp.cli.terminal import note
from maskexp.methods.loading import reads_checkpoint

__all__ = ["chosen_class", "classes_first", "stack"]


def stack(
    below: Mapping[str, Any], configuration: Configuration, flags: Sequence[str], checkpoint: str
) -> Configuration:
    """Lay the configuration on what the checkpoint says; a class that a flag chooses replaces the section below it.

    Raises:
        CommandError: if the model's class differs from the checkpoint's and cannot read it either.
    """
    kept = dict(below)
    for section in ("model", "data"):
        flag, configured = chosen_class(flags, section), _class_in(configuration.values, section)
        if flag and configured and flag != configured:
            note(f"{section}: {flag} replaces {configured} of {configuration.origin(section)} with all its arguments")
            configuration.drop(section)
            configured = None
        chosen, trained = flag or configured, _class_in(below, section)
        if chosen and trained and chosen != trained:
            if section == "model":
                if not reads_checkpoint(chosen, trained):
                    raise CommandError(f"{checkpoint} holds the model {trained}, not {chosen}")
                kept[section] = {**kept[section], "class_path": chosen}
            else:
                note(f"{section}: {chosen} instead of {trained} (checkpoint)")
                kept.pop(section)
    return configuration.laid_on(kept, checkpoint)


def classes_first(flags: Sequence[str]) -> list[str]:
    """Move ``--model`` and ``--data`` to the front, so that the parser knows whose arguments the others are."""
    ordered: list[str] = []
    for section in ("--model", "--data"):
        values, flags = take_values(flags, section)
        ordered += [f"{section}={values[-1].strip()}"] if values else []
    return [*ordered, *flags]


def chosen_class(flags: Sequence[str], section: str) -> str | None:
    """Return the short name of the class that flags choose for a section, or None."""
    chosen = last_value(flags, f"--{section}", f"--{section}.class_path")
    return None if chosen is None or chosen.endswith((".yaml", ".yml", ".json")) else short_name(chosen)


def _class_in(values: Mapping[str, Any], section: str) -> str | None:
    content = values.get(section)
    found = content.get("class_path") if isinstance(content, Mapping) else None
    return None if found is None else short_name(found)
