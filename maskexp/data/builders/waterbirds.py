"""WaterBirds: from the official folder to a manifest. Layout and group ids are those of group_DRO and WILDS."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from maskexp.data.builders.prepared import Prepared, cache_folder, cached_table, in_parallel
from maskexp.data.builders.waterbirds_release import waterbirds_card
from maskexp.data.builders.waterbirds_sources import WaterBirdsSources
from maskexp.data.errors import DataError
from maskexp.data.image_files import stored_size
from maskexp.data.manifest import Box, ManifestTable, Row

__all__ = ["build_waterbirds", "prepare_waterbirds"]

SPLITS = {"0": "train", "1": "val", "2": "test"}
COLUMNS = ("img_id", "img_filename", "y", "split", "place")
MISTAKEN = ("eastern_towhee", "western_meadowlark", "western_wood_pewee")
"""Land birds that the official labels call water birds, because their names contain the word *tern*."""


def prepare_waterbirds(sources: WaterBirdsSources, cache_dir: str | Path | None = None) -> Prepared:
    """Return the manifest of a WaterBirds folder, from the cache where it was built before.

    Raises:
        DataError: if metadata, boxes, pictures or masks are not as the layout demands.
    """
    table = cached_table(
        cache_folder(cache_dir), "waterbirds", sources.fingerprint(), lambda: build_waterbirds(sources)
    )
    return Prepared(table, sources.root, sources.segmentations)


def build_waterbirds(sources: WaterBirdsSources, verify: bool = True) -> ManifestTable:
    """Read ``metadata.csv`` and the header of every picture and mask.

    Args:
        sources: where the parts lie.
        verify: False leaves pictures and masks alone (their size stays unknown), for those who look at them anyway.

    Raises:
        DataError: if a column is missing, a value is out of range, a picture is missing or a mask has another size.
    """
    metadata = sources.root / "metadata.csv"
    lines = _read_metadata(metadata)
    boxes = {} if sources.bounding_boxes is None else _read_boxes(sources.bounding_boxes)
    masks = {} if sources.segmentations is None else _find_masks(sources.segmentations, lines)
    sizes = in_parallel(lambda line: _size(sources, line, masks), lines) if verify else [(0, 0)] * len(lines)
    rows = [
        Row(
            id=line["img_id"],
            split=SPLITS[line["split"]],
            label=int(line["y"]),
            image=line["img_filename"],
            attr=int(line["place"]),
            mask=masks.get(line["img_filename"], ""),
            box=boxes.get(line["img_id"]),
            width=size[0],
            height=size[1],
            source=line.get("place_filename") or "",
            pair_id=line["img_id"],
            flags="mislabeled" if _is_mistaken(line) else "",
        )
        for line, size in zip(lines, sizes, strict=True)
    ]
    return ManifestTable(waterbirds_card(rows, bool(masks), sources.bounding_boxes is not None), rows)


def _read_metadata(path: Path) -> list[dict[str, str]]:
    """Read metadata.csv and check columns and values."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames or ()
        for name in COLUMNS:
            if name not in names:
                raise DataError(f"{path} lacks the column {name!r}; it has {', '.join(names) or 'none'}")
        lines = list(reader)
    allowed: dict[str, Mapping[str, str]] = {
        "y": {"0": "land bird", "1": "water bird"},
        "place": {"0": "land", "1": "water"},
        "split": SPLITS,
    }
    for number, line in enumerate(lines, start=2):
        for name, values in allowed.items():
            if line[name] not in values:
                meanings = ", ".join(f"{value} ({meaning})" for value, meaning in values.items())
                raise DataError(f"{path}, line {number}: {name} is {line[name]!r}, out of range; it must be {meanings}")
    return lines


def _read_boxes(path: Path) -> dict[str, Box]:
    """Read CUB's boxes ``id x y width height`` as half-open corners."""
    boxes: dict[str, Box] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            identity, x, y, width, height = line.split()
            boxes[identity] = (float(x), float(y), float(x) + float(width), float(y) + float(height))
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {line!r} is not 'id x y width height'") from error
    return boxes


def _find_masks(folder: Path, lines: list[dict[str, str]]) -> dict[str, str]:
    """Return the path of the mask, relative to ``folder``, of each picture that has one."""
    there = {path.relative_to(folder).as_posix() for path in folder.glob("*/*.png")}
    wanted = {line["img_filename"]: Path(line["img_filename"]).with_suffix(".png").as_posix() for line in lines}
    return {image: mask for image, mask in wanted.items() if mask in there}


def _size(sources: WaterBirdsSources, line: dict[str, str], masks: dict[str, str]) -> tuple[int, int]:
    """Return (width, height) of a picture, and make sure that its mask has the same."""
    name = line["img_filename"]
    try:
        size = stored_size(sources.root / name)
    except FileNotFoundError as error:
        raise DataError(
            f"{sources.root / name} is missing although metadata.csv lists it; extract the archive again"
        ) from error
    if name in masks and sources.segmentations is not None:
        mask = sources.segmentations / masks[name]
        of_mask = stored_size(mask)
        if of_mask != size:
            raise DataError(
                f"the mask {mask} has {of_mask[0]}x{of_mask[1]} pixels but its image {sources.root / name} has "
                f"{size[0]}x{size[1]}; they must have the same size"
            )
    return size


def _is_mistaken(line: dict[str, str]) -> bool:
    """Return whether this land bird is labelled as a water bird."""
    species = line["img_filename"].split("/")[0].lower()
    return line["y"] == "1" and any(name in species for name in MISTAKEN)
