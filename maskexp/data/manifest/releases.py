"""Which published release a folder is, recognised by its counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Counts", "Difference", "differences", "match_release", "totals"]

Counts = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Difference:
    """A split that has other counts than it was published with.

    Attributes:
        message: one sentence.
        inferred: whether the count it is compared with was computed by us, not read in a publication.
    """

    message: str
    inferred: bool


def match_release(title: str, found: Counts, known: Mapping[str, Counts], of: str = "counts") -> tuple[str, list[str]]:
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


def differences(
    found: Counts, known: Mapping[str, Counts], inferred: Mapping[str, tuple[str, ...]], claimed: str | None = None
) -> list[Difference]:
    """Compare counts with those of the release that the data claims to be.

    Args:
        found: counts per split.
        known: the same of each release, by its name.
        inferred: splits of a release whose counts nobody published, by its name.
        claimed: name of the release; if not given, the only one that is known, or the one with the same training set.

    Returns:
        One difference per split. None where the data is a release, and where it claims to be none of several.
    """
    found = dict(found)
    if claimed is None:
        alike = [name for name, counts in known.items() if counts.get("train", ()) == found.get("train")]
        claimed = next(iter(alike if len(known) > 1 else known), None)
    if claimed is None or found in map(dict, known.values()):
        return []
    return [
        Difference(
            f"{split} has {_slashed(found.get(split, (0,)))} images, but {claimed} has {_slashed(counts)}",
            split in inferred.get(claimed, ()),
        )
        for split, counts in known[claimed].items()
        if found.get(split) != counts
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
