"""MetaShift's cats and dogs (Liang & Zou, ICLR 2022), as SubpopBench packs them: from the folder to a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from maskexp.data.builders.folders import pictures
from maskexp.data.builders.gqa import read_object_boxes, scene_graph_files
from maskexp.data.errors import DataError
from maskexp.data.manifest.layout import Layout
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Row

__all__ = ["MetaShiftLayout"]

FOLDERS = {
    "train/cat/cat(indoor)": (1, 1),
    "train/dog/dog(outdoor)": (0, 0),
    "test/cat/cat(outdoor)": (1, 0),
    "test/dog/dog(indoor)": (0, 1),
}
"""Label and attribute of each folder. The splits in their names are not those that are used."""
SPLIT_ANEW = "sizes of SubpopBench's split, drawn anew: its own draw depends on the order of a directory listing"
TEST_SHARE, VAL_SHARE = 0.25, 0.1
KNOWN_COUNTS = {"official": {"train": (2276,), "val": (349,), "test": (874,)}}


@dataclass(frozen=True, slots=True)
class MetaShiftLayout(Layout):
    """Where MetaShift's cats and dogs lie.

    Attributes:
        root: folder ``MetaShift-Cat-Dog-indoor-outdoor``.
        split_seed: of the random split.
        scene_graphs: files of GQA's scene graphs, which hold the boxes of the animals; none where they are not wanted.
    """

    split_seed: int
    scene_graphs: tuple[Path, ...]

    name: ClassVar[str] = "metashift"
    title: ClassVar[str] = "MetaShift"
    get_it: ClassVar[str] = (
        "https://www.dropbox.com/s/a7k65rlj4ownyr2/metashift.tar.gz?dl=1 (linked by SubpopBench; pictures of "
        "Visual Genome)"
    )
    needed: ClassVar[str] = "train/cat/cat(indoor)"
    licence: ClassVar[str] = "Visual Genome (CC BY 4.0)"
    places: ClassVar[dict[str, str]] = {
        "scene_graphs": "GQA's scene graphs, for boxes: folder of {train,val}_sceneGraphs.json, or one of them"
    }
    folders: ClassVar[tuple[str, ...]] = ("MetaShift-Cat-Dog-indoor-outdoor",)

    @classmethod
    def find(cls, root: str | Path, split_seed: int = 42, scene_graphs: str | Path | None = None) -> Self:
        """Look the parts up; the arguments are those of :class:`~maskexp.data.MetaShift`.

        Raises:
            DatasetNotFoundError: if the root, or the scene graphs that were asked for, are missing.
        """
        files = [] if scene_graphs is None else scene_graph_files(Path(scene_graphs).expanduser())
        return cls(cls.locate(root), split_seed, tuple(files))

    def watched(self) -> list[Path]:
        """Return the four folders and the scene graphs."""
        return [*(self.root / folder for folder in FOLDERS), *self.scene_graphs]

    def rows(self) -> list[Row]:
        """List the pictures and split them at random.

        Raises:
            DataError: if a folder has no pictures, or scene graphs are damaged.
        """
        rows = []
        for folder, (label, attr) in FOLDERS.items():
            listed = pictures(self.root / folder)
            if not listed:
                raise DataError(f"{self.root / folder} has no pictures; extract the archive again")
            images = [path.relative_to(self.root).as_posix() for path in listed]
            rows += [Row(image, "train", label, image, attr) for image in images]
        return _split(self._boxed(rows) if self.scene_graphs else rows, self.split_seed)

    @property
    def classes(self) -> tuple[str, ...]:
        """The animals."""
        return ("dog", "cat")

    @property
    def attributes(self) -> tuple[str, ...]:
        """The places."""
        return ("outdoor", "indoor")

    @property
    def recipe(self) -> dict[str, Any]:
        """The seed of the split."""
        return {"split_seed": self.split_seed}

    def known(self) -> Mapping[str, Counts]:
        """Return SubpopBench's sizes."""
        return KNOWN_COUNTS

    def foreground_of(self, rows: Sequence[Row]) -> tuple[str, str]:
        """Return that there are boxes, if there are."""
        return "none", "gqa_scene_graphs" if any(row.box for row in rows) else ""

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Say that the split is ours, and how many pictures have boxes."""
        boxed = f"{sum(bool(row.box) for row in rows)} of {len(rows)} pictures have boxes of their animal"
        return (SPLIT_ANEW, boxed) if self.scene_graphs else (SPLIT_ANEW,)

    def _boxed(self, rows: Sequence[Row]) -> list[Row]:
        """Join the boxes of all animals of the picture's kind, by the number of the picture."""
        wanted = [(Path(row.image).stem, self.classes[row.label]) for row in rows]
        boxes = read_object_boxes(self.scene_graphs, wanted)
        found = [boxes.get(key, []) for key in wanted]
        return [
            replace(row, box=some[0], more_boxes=tuple(some[1:])) if some else row
            for row, some in zip(rows, found, strict=True)
        ]


def _split(rows: Sequence[Row], seed: int) -> list[Row]:
    """Draw ``int(0.25 * n)`` test and ``int(0.1 * n)`` validation pictures from the rows in their order."""
    order = np.random.default_rng(seed).permutation(len(rows))
    tested, held = int(TEST_SHARE * len(rows)), int(VAL_SHARE * len(rows))
    splits = dict.fromkeys(order[:tested].tolist(), "test") | dict.fromkeys(
        order[tested : tested + held].tolist(), "val"
    )
    return [replace(row, split=splits.get(index, "train")) for index, row in enumerate(rows)]
