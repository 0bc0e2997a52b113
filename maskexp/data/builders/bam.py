"""BAM (Yang & Kim, 2019): objects of COCO pasted on scenes of MiniPlaces, from the released folders to a manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from maskexp.data.builders.bam_masks import pasted_masks
from maskexp.data.builders.bam_names import OBJECTS, SCENES, Shown
from maskexp.data.builders.folders import pictures
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.manifest.hold_out import HeldOutLayout, hold_out
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Box, Row

__all__ = ["BAMLayout", "BAMSet"]

BAMSet = Literal["obj", "scene", "scene_only"]
SETS = ("obj", "scene", "scene_only")
ARBITRARY = "stop_sign"
"""COCO calls it *stop sign*: the released script found no such category and took the largest object of any picture."""
PER_PAIR = {"train": 900, "test": 100}
"""Pictures of each object on each scene."""


@dataclass(frozen=True, slots=True)
class BAMLayout(HeldOutLayout):
    """Where BAM lies, and which labels are wanted.

    Attributes:
        root: folder ``data`` with ``obj``, ``scene`` and ``scene_only``.
        masks: folder of the masks of the official validation pictures, made of ``val_mask``; None where there are none.
        label_set: which of the three sets.
        drop: objects and scenes that are left out.
    """

    masks: Path | None
    label_set: BAMSet
    drop: tuple[str, ...]

    name: ClassVar[str] = "bam"
    title: ClassVar[str] = "BAM"
    get_it: ClassVar[str] = (
        "https://github.com/google-research-datasets/bam: its scripts make data/obj, data/scene and data/scene_only of "
        "COCO train2017 and MiniPlaces (Apache-2.0)"
    )
    needed: ClassVar[str] = "obj"
    folders: ClassVar[tuple[str, ...]] = ("data",)
    listing: ClassVar[str] = "its set"
    licence: ClassVar[str] = "Apache-2.0 (pictures: COCO, MiniPlaces)"
    places: ClassVar[dict[str, str]] = {
        "label_set": ", ".join(SETS),
        "drop": "objects and scenes to leave out, e.g. stop_sign",
    }

    @classmethod
    def find(
        cls,
        root: str | Path,
        label_set: BAMSet = "obj",
        drop: Sequence[str] | None = None,
        val_fraction: float = 0.1,
        val_seed: int = 0,
        cache_dir: str | Path | None = None,
    ) -> Self:
        """Look the parts up; the arguments are those of :class:`~maskexp.data.BAM`.

        Raises:
            DatasetNotFoundError: if the set is missing.
            DataError: if there is no such set, object or scene, or if boxes or masks are damaged.
        """
        if label_set not in SETS:
            raise DataError(f"label_set is {label_set!r}; it must be one of {', '.join(SETS)}")
        for name in drop or ():
            if name not in (*OBJECTS, *SCENES):
                raise DataError(f"drop names {name!r}, which is no object and no scene: {', '.join(OBJECTS + SCENES)}")
        found = cls.locate(root)
        place = found / label_set
        if not (place / "val.txt").is_file():
            raise DatasetNotFoundError.explained(
                f"BAM's set {label_set}", str(place / "val.txt"), cls.get_it, "--data.root"
            )
        masks = None
        if label_set != "scene_only" and (place / "val_mask").is_file():
            masks = pasted_masks(place, _boxes(place / "val_loc.txt"), cache_dir)
        return cls(found, val_fraction, val_seed, masks, label_set, tuple(sorted(drop or ())))

    @property
    def mask_root(self) -> Path | None:
        """Folder of the masks."""
        return self.masks

    @property
    def classes(self) -> tuple[str, ...]:
        """The objects or the scenes."""
        return self._kept(OBJECTS if self.label_set == "obj" else SCENES)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The others of the two; none of scenes without objects."""
        return {"obj": self._kept(SCENES), "scene": self._kept(OBJECTS), "scene_only": ()}[self.label_set]

    @property
    def recipe(self) -> dict[str, Any]:
        """The set."""
        return {"label_set": self.label_set}

    def watched(self) -> list[Path]:
        """Return the folders of the pictures, and the tables."""
        place = self.root / self.label_set
        return [place / name for name in ("train", "val", "val.txt", "val_loc.txt", "val_mask")]

    def rows(self) -> list[Row]:
        """List the pictures by their names ``<object>-<scene>-<number>``.

        Raises:
            DataError: if a name has another form, if ``val.txt`` says another label, or if boxes are damaged.
        """
        place = self.root / self.label_set
        labels = OBJECTS if self.label_set == "obj" else SCENES
        trained = [path for name in labels for path in pictures(place / "train" / name)]
        if not trained:
            raise DataError(f"{place / 'train'} has no pictures; make the set again")
        stated = _table(place / "val.txt")
        for name, label in stated.items():
            own = labels.index(Shown.of(place / "val" / name).label(self.label_set))
            if label != str(own):
                raise DataError(f"{place / 'val.txt'} gives {name} the label {label} instead of {own}; make it again")
        rows = [*self._rows("train", trained), *self._rows("test", [place / "val" / name for name in stated])]
        return self.held_out(rows)

    def held_out(self, rows: Sequence[Row]) -> list[Row]:
        """Hold training pictures out by their number, as the official split does.

        Pictures of one number show the same cut-out on all scenes, and the same scene under all objects.
        """
        if not 0 < self.val_fraction < 1:
            return hold_out(rows, self.val_fraction, self.val_seed)
        numbers = sorted({_number(row) for row in rows if row.split == "train"})
        count = round(self.val_fraction * len(numbers))
        if not 0 < count < len(numbers):
            raise DataError(f"val_fraction {self.val_fraction} holds out {count} of {len(numbers)} numbers of pictures")
        held = set(np.random.default_rng(self.val_seed).permutation(numbers)[:count].tolist())
        return [replace(row, split="val") if row.split == "train" and _number(row) in held else row for row in rows]

    def foreground_of(self, rows: Sequence[Row]) -> tuple[str, str]:
        """Return that test pictures have masks, or at least boxes."""
        if any(row.mask for row in rows):
            return "soft", "val_mask"
        return "none", "val_loc" if any(row.box for row in rows) else ""

    def known(self) -> Mapping[str, Counts]:
        """Return the sizes of the set without what is left out."""
        pairs = len(self._kept(OBJECTS)) * len(self._kept(SCENES))
        return {self.label_set: {split: (pairs * each,) for split, each in PER_PAIR.items()}}

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Warn of the class that is none."""
        notes = [f"without {', '.join(self.drop)}"] if self.drop else []
        arbitrary = sum("arbitrary" in row.flags for row in rows)
        if arbitrary:
            notes.append(
                f"{arbitrary} pictures named {ARBITRARY} show arbitrary objects (a slip of the released script) and "
                f"carry the flag 'arbitrary'; drop: [{ARBITRARY}] leaves them out"
            )
        return (*notes, *HeldOutLayout.notes(self, rows))

    def _kept(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name not in self.drop)

    def _rows(self, split: str, paths: Sequence[Path]) -> Iterator[Row]:
        """Yield one row per picture that is not left out."""
        with_objects = self.label_set != "scene_only"
        boxes = _boxes(self.root / self.label_set / "val_loc.txt") if with_objects and split == "test" else {}
        masks = {path.name for path in self.masks.iterdir()} if self.masks is not None and split == "test" else set()
        for path in paths:
            shown, mask = Shown.of(path), f"{path.stem}.png"
            if {shown.object, shown.scene}.isdisjoint(self.drop):
                yield Row(
                    id=path.stem,
                    split=split,
                    label=self.classes.index(shown.label(self.label_set)),
                    image=path.relative_to(self.root).as_posix(),
                    attr=self.attributes.index(shown.attribute(self.label_set)) if with_objects else -1,
                    mask=mask if mask in masks else "",
                    box=boxes.get(path.name),
                    source=f"{shown.scene}-{shown.number}",
                    pair_id=f"{shown.object if with_objects else shown.scene}-{shown.number}",
                    flags="arbitrary" if with_objects and shown.object == ARBITRARY else "",
                )


def _number(row: Row) -> str:
    return row.id.rpartition("-")[2]


def _table(path: Path) -> dict[str, str]:
    """Read lines ``file value``.

    Raises:
        DataError: if the file is missing or a line is otherwise.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing; make the set again")
    table = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if len(words) != 2:
            raise DataError(f"{path}, line {number}: {line!r} is not 'file value'")
        table[words[0]] = words[1]
    return table


def _boxes(path: Path) -> dict[str, Box]:
    """Read lines ``file top,left,bottom,right`` as half-open corners (left, top, right, bottom)."""
    boxes = {}
    for name, corners in _table(path).items():
        try:
            top, left, bottom, right = (float(corner) for corner in corners.split(","))
        except ValueError as error:
            raise DataError(f"{path}: {corners!r} of {name} is not 'top,left,bottom,right'") from error
        boxes[name] = (left, top, right, bottom)
    return boxes
