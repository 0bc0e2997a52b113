"""Which published release a folder is, recognised by its counts."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Counts", "recognise", "totals"]

Counts = Mapping[str, tuple[int, ...]]


def recognise(title: str, found: Counts, known: Mapping[str, Counts], of: str = "counts") -> tuple[str, list[str]]:
    """Compare counts with those of all published releases.

    Args:
        title: the data set in words.
        found: counts per split: one number, or one per group.
        known: the same of each release, by its name.
        of: what is counted, for the note.

    Returns:
        The name of the release and no note, or ``custom`` and the note that every output has to carry.
    """
    found = dict(found)
    for name, counts in known.items():
        if dict(counts) == found:
            return name, []
    split = "train" if "train" in found else next(iter(found))
    return "custom", [
        f"variant custom: the {of} ({split} {_slashed(found[split])}) differ from every known release of {title}"
        f"{_nearly(found, known)}; not comparable with published numbers"
    ]


def totals(counts: Mapping[str, int], **parts: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Add splits up, e.g. ``totals(counts, train=("train", "val"), test=("test",))`` of a held-out validation set."""
    return {name: (sum(counts.get(split, 0) for split in splits),) for name, splits in parts.items()}


def _nearly(found: Counts, known: Mapping[str, Counts]) -> str:
    """Return in which split the release with the same training set is not met, if there is one."""
    for name, counts in known.items():
        if "train" in found and counts.get("train") == found["train"]:
            split = next(split for split in counts if counts[split] != found.get(split))
            instead = f"{_slashed(found.get(split, (0,)))} instead of {_slashed(counts[split])}"
            return f" (train is {name}, but {split} has {instead})"
    return ""


def _slashed(counts: tuple[int, ...]) -> str:
    """Return counts as ``3498/184/56/1057``."""
    return "/".join(map(str, counts))
