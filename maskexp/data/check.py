"""Is the data as it has to be? The report behind ``maskexp data check``. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from maskexp.data.builders.layout import Argument, Layout, arguments_of, prepare_unverified
from maskexp.data.builders.own import prepare_own
from maskexp.data.builders.prepared import Prepared, in_parallel
from maskexp.data.builders.registry import LAYOUTS
from maskexp.data.builders.releases import differences
from maskexp.data.errors import CorruptImageError, DataError, DatasetNotFoundError
from maskexp.data.image_files import decode_array, decode_mask, stored_size
from maskexp.data.manifest import Box, Row

__all__ = ["ARGUMENTS", "CHECKABLE", "Finding", "Report", "check", "check_data"]

Severity = Literal["error", "warning", "note"]
OWN_PLACES = {
    "csv": "CSV file with the columns image, label …",
    "masks": "folder of the masks",
    "columns": "columns that are called otherwise, as role=column,role=column",
    "classes": "names of the labels in order, as a,b,c",
    "attributes": "names of the attribute's values in order, as a,b,c",
}
ARGUMENTS: dict[str, dict[str, Argument]] = {
    **{name: arguments_of(layout.find, layout.places) for name, layout in LAYOUTS.items()},
    "Manifest": arguments_of(prepare_own, OWN_PLACES),
}
"""What can be said about each data set besides its root: the arguments of its datamodule."""
CHECKABLE = tuple(ARGUMENTS)
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
    "mask_mode": ("note", "masks are not stored as grey levels (they are read as such)"),
    "image_mode": ("note", "images are not stored as RGB (they are converted)"),
    "image_format": ("note", "files have another format than their name says (they are read by their content)"),
}
"""Severity and words of everything that can be found in a single file or row."""
GREY_MODES = ("1", "L", "I;16")


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
        sha256: over id, split, label, attribute and the content of every image and mask; empty if not asked for.
    """

    name: str
    variant: str
    group_names: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
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
        **arguments: where the data lies and which part of it is meant: ``root`` and :data:`ARGUMENTS`.

    Returns:
        The report. Data that cannot be read at all makes a report with one error.

    Raises:
        DataError: if the name is none of :data:`CHECKABLE`.
    """
    if name not in CHECKABLE:
        raise DataError(f"there are no files of {name!r} to check; choose one of {', '.join(CHECKABLE)}")
    try:
        known = LAYOUTS.get(name)
        if known is None:
            return check(prepare_own(**arguments), decode, workers, sha256)
        layout = known.find(**arguments)
        prepared = prepare_unverified(layout)
    except DatasetNotFoundError as error:
        return _failed(name, "not_found", error)
    except DataError as error:
        return _failed(name, "schema", error)
    return check(prepared, decode, workers, sha256, () if custom else _uncounted(layout, prepared.table.rows))


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
    for problems in in_parallel(lambda row: list(_examine(row, prepared, decode)), table.rows, workers):
        for kind, item in problems:
            found[kind].append(item)
    found["leak"] += _leaks(table.rows, contents)
    digest = "" if sha256 is None else _digest(prepared, contents, workers)
    findings = [*further, *_digested(digest, sha256)]
    findings += [
        Finding(kind, severity, f"{len(found[kind])} {words}", tuple(found[kind]))
        for kind, (severity, words) in KINDS.items()
        if found[kind]
    ]
    findings += [Finding("about", "note", note) for note in table.card.notes]
    findings.sort(key=lambda finding: ("error", "warning", "note").index(finding.severity))
    counts = {split: table.counts(split) for split in table.splits}
    names = table.card.group_names or table.card.classes
    return Report(table.card.name, table.card.variant, names, counts, tuple(findings), digest)


def _failed(name: str, kind: str, error: Exception) -> Report:
    """Return the report on data that could not be read."""
    return Report(name, "unknown", (), {}, (Finding(kind, "error", str(error)),))


def _examine(row: Row, prepared: Prepared, decode: bool) -> Iterator[tuple[str, str]]:
    """Yield (kind, item) of what is wrong with one row."""
    path = prepared.image_root(row.split) / row.image
    try:
        size = stored_size(path)
        yield from _examine_storage(path, decode)
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


def _examine_storage(path: Path, decode: bool) -> Iterator[tuple[str, str]]:
    """Yield in which way an image file is stored unusually, and decode it."""
    with Image.open(path) as image:
        if image.mode != "RGB":
            yield "image_mode", f"{path}: {image.mode}"
        if image.format != Image.registered_extensions().get(path.suffix.lower()):
            yield "image_format", f"{path}: {image.format}"
    if decode:
        decode_array(path, "RGB")


def _examine_mask(path: Path, size: tuple[int, int]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a mask."""
    try:
        inside = decode_mask(path) >= 128
        if path.suffix != ".npy" and (mode := _mode(path)) not in GREY_MODES:
            yield "mask_mode", f"{path}: {mode}"
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


def _mode(path: Path) -> str:
    with Image.open(path) as image:
        return image.mode


def _leaks(table: Sequence[Row], contents: Sequence[str]) -> list[str]:
    """Return rows of evaluation splits whose image, pair or (if known) content is in the training split too."""
    trained: dict[str, str] = {}
    rows = list(zip(table, contents, strict=True))
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
    return _hash(prepared.image_root(row.split) / row.image)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _digest(prepared: Prepared, contents: Sequence[str], workers: int) -> str:
    """Return the sha256 over what the rows say and over the content of their files, wherever these lie."""
    root = prepared.mask_root or prepared.root
    masks = in_parallel(lambda row: _hash(root / row.mask) if row.mask else "", prepared.table.rows, workers)
    lines = [
        json.dumps([row.id, row.split, row.label, row.attr, content, mask])
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
    known = layout.known() or {}
    return [
        Finding(
            "counts",
            "warning" if difference.inferred else "error",
            f"{difference.message}{' (inferred, not published)' if difference.inferred else ''}; extract the archive "
            "again, or say that the data is your own or a part (--custom)",
        )
        for difference in differences(layout.counted(rows), known, layout.inferred, layout.claimed())
    ]
