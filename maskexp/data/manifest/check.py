"""Validate a data set: the report behind ``maskexp data check``. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.manifest.examine import KINDS, MEANINGLESS, Severity, examine
from maskexp.data.manifest.layout import Layout
from maskexp.data.manifest.prepared import Prepared, in_parallel
from maskexp.data.manifest.releases import differences
from maskexp.data.manifest.table import Row
from maskexp.data.registry import SOURCES

__all__ = ["CHECKABLE", "Finding", "Report", "check", "check_data"]

CHECKABLE = tuple(SOURCES)
"""Datamodules whose files can be checked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found.

    Attributes:
        kind: one word, e.g. ``mask_size``.
        severity: ``error`` (results would be wrong, or training stops), ``warning`` (look at it) or ``note``.
        message: one sentence.
        items: the files or rows concerned, all of them.
    """

    kind: str
    severity: Severity
    message: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a check.

    Attributes:
        name: data set.
        variant: release, or ``custom``.
        group_names: names of the groups (of the classes, where there are no groups).
        counts: images per split and group (or class); an image without an attribute is in no group.
        totals: images per split.
        findings: errors first.
        sha256: over id, split, label, attribute and the content of every image and mask; empty if not asked for.
    """

    name: str
    variant: str
    group_names: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    totals: dict[str, int]
    findings: tuple[Finding, ...]
    sha256: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain types for JSON."""
        return {"ok": self.ok, **asdict(self)}


def check_data(
    name: str,
    *,
    decode: bool = False,
    workers: int = 8,
    custom: bool = False,
    sha256: str | None = None,
    **arguments: Any,
) -> Report:
    """Check the files of a datamodule.

    Args:
        name: one of :data:`CHECKABLE`.
        decode: whether to decode every image, which finds truncated files and equal files in two splits.
        workers: threads.
        custom: whether the data is one's own or a part: its counts are not compared with the published ones.
        sha256: if not None, :attr:`Report.sha256` is computed; if not empty, another one is an error.
        **arguments: where the data lies and which part of it is meant: see :func:`~maskexp.data.registry.arguments_of`.

    Returns:
        The report. Data that cannot be read at all makes a report with one error.

    Raises:
        DataError: if the name is none of :data:`CHECKABLE`.
    """
    if name not in CHECKABLE:
        raise DataError(f"there are no files of {name!r} to check; choose one of {', '.join(CHECKABLE)}")
    try:
        source = SOURCES[name].find(**arguments)
        prepared = source.prepare_unverified()
    except DatasetNotFoundError as error:
        return _failed(name, "not_found", error)
    except DataError as error:
        return _failed(name, "schema", error)
    return check(
        prepared,
        decode,
        workers,
        sha256,
        _uncounted(source, prepared.table.rows) if isinstance(source, Layout) and not custom else (),
    )


def check(
    prepared: Prepared,
    decode: bool = False,
    workers: int = 8,
    sha256: str | None = None,
    further: Sequence[Finding] = (),
) -> Report:
    """Check every row of a manifest against its files.

    Args:
        prepared: manifest and folders.
        decode: see :func:`check_data`.
        workers: threads.
        sha256: see :func:`check_data`.
        further: findings that are known already.
    """
    table = prepared.table
    read = decode or sha256 is not None
    contents = in_parallel(partial(_content, prepared), table.rows, workers) if read else [""] * len(table.rows)
    found: dict[str, list[str]] = defaultdict(list)
    examined = in_parallel(lambda row: tuple(examine(row, prepared, decode)), table.rows, workers)
    for kind, item in (problem for problems in examined for problem in problems):
        found[kind].append(item)
    found["leak"] += _shared(table.rows, contents, "train", [split for split in table.splits if split != "train"])
    found["shared"] += _shared(table.rows, contents, "val", ["test"])
    found["two_labels"] += _two_labels(table.rows, contents)
    if table.card.attributes:
        found["no_attribute"] += [f"{row.split} {row.id}" for row in table.rows if row.attribute < 0]
    digest = "" if sha256 is None else _digest(prepared, contents, workers)
    findings = [*further, *_digested(digest, sha256), *_without_meaning(table.rows, examined)]
    findings += [
        Finding(kind, severity, f"{len(found[kind])} {words}", tuple(found[kind]))
        for kind, (severity, words) in KINDS.items()
        if found[kind]
    ]
    findings += [Finding("about", "note", note) for note in table.card.notes]
    findings.sort(key=lambda finding: ("error", "warning", "note").index(finding.severity))
    counts = {split: table.counts(split) for split in table.splits}
    names = table.card.group_names or table.card.classes
    totals = dict(sorted(Counter(row.split for row in table.rows).items()))
    return Report(table.card.name, table.card.variant, names, counts, totals, tuple(findings), digest)


def _without_meaning(rows: Sequence[Row], examined: Sequence[Sequence[tuple[str, str]]]) -> list[Finding]:
    """Return an error for each split whose foregrounds are all empty, or all full: they have been misread."""
    findings = []
    for kind, of_rows in MEANINGLESS.items():
        count: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for row, problems in zip(rows, examined, strict=True):
            if row.mask if kind.startswith("mask") else row.boxes:
                count[row.split][0] += 1
                count[row.split][1] += any(kind == found for found, _ in problems)
        findings += [
            Finding(
                f"all_{kind}",
                "error",
                f"in split {split!r}, all {total} {of_rows}; they mean something else than is read",
            )
            for split, (total, affected) in sorted(count.items())
            if affected == total
        ]
    return findings


def _failed(name: str, kind: str, error: Exception) -> Report:
    """Return the report on data that could not be read."""
    return Report(name, "unknown", (), {}, {}, (Finding(kind, "error", str(error)),))


def _shared(rows: Sequence[Row], contents: Sequence[str], split: str, others: Sequence[str]) -> list[str]:
    """Return rows of other splits whose image, pair or (if known) content is in a split too."""
    inside: tuple[dict[str, str], ...] = {}, {}, {}
    for row, content in zip(rows, contents, strict=True):
        if row.split == split:
            for known, value in zip(inside, (row.image, row.pair_id, content), strict=True):
                if value:
                    known[value] = row.id
    found = []
    for row, content in zip(rows, contents, strict=True):
        if row.split in others:
            same = zip(inside, (row.image, row.pair_id, content), strict=True)
            if (before := next((known[value] for known, value in same if value in known), None)) is not None:
                found.append(f"{row.split} {row.id} is {split} {before}")
    return found


def _two_labels(rows: Sequence[Row], contents: Sequence[str]) -> list[str]:
    """Return rows whose image, by its path or (if known) its content, stands under another label before."""
    first: tuple[dict[str, Row], dict[str, Row]] = {}, {}
    found = []
    for row, content in zip(rows, contents, strict=True):
        for known, key in zip(first, (row.image, content), strict=True):
            before = known.setdefault(key, row) if key else row
            if before.label != row.label:
                found.append(f"{row.split} {row.id} and {before.split} {before.id}: labels {row.label}, {before.label}")
                break
    return found


def _content(prepared: Prepared, row: Row) -> str:
    """Return the hash of an image file, empty where it is missing."""
    return _hash(prepared.image_root(row.split) / row.image)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _digest(prepared: Prepared, contents: Sequence[str], workers: int) -> str:
    """Return the sha256 over what the rows say and over the content of their files, wherever these lie."""
    root = prepared.mask_root or prepared.root
    masks = in_parallel(lambda row: _hash(root / row.mask) if row.mask else "", prepared.table.rows, workers)
    lines = [
        json.dumps([row.id, row.split, row.label, row.attribute, content, mask])
        for row, content, mask in zip(prepared.table.rows, contents, masks, strict=True)
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _digested(found: str, wanted: str | None) -> list[Finding]:
    """Return an error if the data was pinned to another digest."""
    if not wanted or found == wanted:
        return []
    return [Finding("sha256", "error", f"the data has sha256 {found} instead of {wanted}; it is not the same data")]


def _uncounted(layout: Layout, rows: Sequence[Row]) -> list[Finding]:
    """Return where the counts are not the published ones: an error, but a warning where they are inferred."""
    known = layout.published_counts() or {}
    return [
        Finding(
            "counts",
            "warning" if difference.inferred else "error",
            f"{difference.message}{' (inferred, not published)' if difference.inferred else ''}; extract the archive "
            "again, or say that the data is your own or a part (--custom)",
        )
        for difference in differences(layout.split_counts(rows), known, layout.inferred, layout.release_from_name())
    ]
