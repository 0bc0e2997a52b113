"""Is the data as it has to be? The report behind ``maskexp data check``. Needs no torch."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from maskexp.data.builders.layout import prepare_unverified
from maskexp.data.builders.own import prepare_own
from maskexp.data.builders.prepared import Prepared, in_parallel
from maskexp.data.builders.registry import LAYOUTS
from maskexp.data.errors import CorruptImageError, DataError, DatasetNotFoundError
from maskexp.data.image_files import decode_array, decode_mask, stored_size
from maskexp.data.manifest import Box, Row

__all__ = ["CHECKABLE", "PLACES", "Finding", "Report", "check", "check_data"]

Severity = Literal["error", "warning", "note"]
OWN_PLACES = {"csv": "CSV file with the columns image, label …", "masks": "folder of the masks"}
PLACES = {name: layout.places for name, layout in LAYOUTS.items()} | {"Manifest": OWN_PLACES}
"""Where the parts of each data set may lie besides its root, and which part of it is meant."""
CHECKABLE = tuple(PLACES)
"""Datamodules whose files can be checked."""
KINDS: dict[str, tuple[Severity, str]] = {
    "missing": ("error", "files are missing"),
    "corrupt": ("error", "files cannot be decoded"),
    "image_size": ("error", "images have another size than the manifest says"),
    "mask_size": ("error", "masks have another size than their image"),
    "box_empty": ("error", "boxes are empty"),
    "leak": ("error", "images are in the training split and in another one"),
    "box_outside": ("warning", "boxes reach more than a pixel beyond their image"),
    "mask_empty": ("warning", "masks are empty"),
    "mask_full": ("warning", "masks cover the whole image"),
    "mask_none": ("note", "images have no mask although others have one"),
}
"""Severity and words of everything that can be found in a single file or row."""


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
        counts: images per split and group (or class).
        findings: errors first.
    """

    name: str
    variant: str
    group_names: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain types for JSON."""
        return {"ok": self.ok, **asdict(self)}


def check_data(name: str, *, decode: bool = False, workers: int = 8, **arguments: Any) -> Report:
    """Check the files of a datamodule.

    Args:
        name: one of :data:`CHECKABLE`.
        decode: whether to decode every image, which finds truncated files and equal files in two splits.
        workers: threads.
        **arguments: where the data lies: ``root`` and the other places that the datamodule takes.

    Returns:
        The report. Data that cannot be read at all makes a report with one error.

    Raises:
        DataError: if the name is none of :data:`CHECKABLE`.
    """
    if name not in CHECKABLE:
        raise DataError(f"there are no files of {name!r} to check; choose one of {', '.join(CHECKABLE)}")
    try:
        known = LAYOUTS.get(name)
        prepared = prepare_own(**arguments) if known is None else prepare_unverified(known.find(**arguments))
    except DatasetNotFoundError as error:
        return _failed(name, "not_found", error)
    except DataError as error:
        return _failed(name, "schema", error)
    return check(prepared, decode, workers)


def check(prepared: Prepared, decode: bool = False, workers: int = 8) -> Report:
    """Check every row of a manifest against its files; arguments and result as :func:`check_data`."""
    table = prepared.table
    found: dict[str, list[str]] = defaultdict(list)
    for problems in in_parallel(lambda row: list(_examine(row, prepared, decode)), table.rows, workers):
        for kind, item in problems:
            found[kind].append(item)
    found["leak"] += _leaks(prepared, decode, workers)
    findings = [
        Finding(kind, severity, f"{len(found[kind])} {words}", tuple(found[kind]))
        for kind, (severity, words) in KINDS.items()
        if found[kind]
    ]
    findings += [Finding("about", "note", note) for note in table.card.notes]
    findings.sort(key=lambda finding: ("error", "warning", "note").index(finding.severity))
    counts = {split: table.counts(split) for split in table.splits}
    names = table.card.group_names or table.card.classes
    return Report(table.card.name, table.card.variant, names, counts, tuple(findings))


def _failed(name: str, kind: str, error: Exception) -> Report:
    """Return the report on data that could not be read."""
    return Report(name, "unknown", (), {}, (Finding(kind, "error", str(error)),))


def _examine(row: Row, prepared: Prepared, decode: bool) -> Iterator[tuple[str, str]]:
    """Yield (kind, item) of what is wrong with one row."""
    path = prepared.image_root(row.split) / row.image
    try:
        size = stored_size(path)
        if decode:
            decode_array(path, "RGB")
    except FileNotFoundError:
        yield "missing", str(path)
        return
    except CorruptImageError as error:
        yield "corrupt", str(error)
        return
    if row.width and (row.width, row.height) != size:
        yield "image_size", f"{path}: {size[0]}x{size[1]}, manifest {row.width}x{row.height}"
    if row.mask:
        yield from _examine_mask((prepared.mask_root or prepared.root) / row.mask, size)
    elif prepared.table.card.mask_kind != "none":
        yield "mask_none", str(path)
    for box in row.boxes:
        yield from _examine_box(row, box, size)


def _examine_mask(path: Path, size: tuple[int, int]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a mask."""
    try:
        inside = decode_mask(path) >= 128
    except FileNotFoundError:
        yield "missing", str(path)
    except CorruptImageError as error:
        yield "corrupt", str(error)
    else:
        height, width = inside.shape
        if (width, height) != size:
            yield "mask_size", f"{path}: {width}x{height}, image {size[0]}x{size[1]}"
        if not inside.any():
            yield "mask_empty", str(path)
        if inside.all():
            yield "mask_full", str(path)


def _examine_box(row: Row, box: Box, size: tuple[int, int]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a box."""
    x0, y0, x1, y1 = box
    item = f"{row.split} {row.id}: {x0:g} {y0:g} {x1:g} {y1:g} in {size[0]}x{size[1]}"
    if x1 <= x0 or y1 <= y0:
        yield "box_empty", item
    if min(x0, y0) < -1 or x1 > size[0] + 1 or y1 > size[1] + 1:
        yield "box_outside", item


def _leaks(prepared: Prepared, decode: bool, workers: int) -> list[str]:
    """Return rows of evaluation splits whose image, pair or (if decoded) content is in the training split too."""
    table = prepared.table
    contents = in_parallel(partial(_content, prepared), table.rows, workers) if decode else [""] * len(table.rows)
    trained: dict[str, str] = {}
    rows = list(zip(table.rows, contents, strict=True))
    for row, content in rows:
        if row.split == "train":
            trained.update(dict.fromkeys(_identities(row, content), row.id))
    return [
        f"{row.split} {row.id} is train {next(trained[key] for key in _identities(row, content) if key in trained)}"
        for row, content in rows
        if row.split != "train" and any(key in trained for key in _identities(row, content))
    ]


def _identities(row: Row, content: str) -> list[str]:
    """Return what makes two rows show the same picture."""
    keys = {"image": row.image, "pair": row.pair_id, "content": content}
    return [f"{kind}:{value}" for kind, value in keys.items() if value]


def _content(prepared: Prepared, row: Row) -> str:
    """Return the hash of an image file, empty where it is missing."""
    path = prepared.image_root(row.split) / row.image
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
