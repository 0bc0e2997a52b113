"""MetaShift's cats and dogs (Liang & Zou, ICLR 2022), as SubpopBench packs them: from the folder to a manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from maskexp.data.datasets.shared.files import image_files
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.info import DatasetInfo
from maskexp.data.manifest.layout import Layout
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Box, Row
from maskexp.data.text_files import text_of
from maskexp.files import expanded

__all__ = ["MetaShiftLayout", "read_object_boxes", "scene_graph_files"]

FILES = ("train_sceneGraphs.json", "val_sceneGraphs.json")
Wanted = tuple[str, str]
GET_IT = "https://nlp.stanford.edu/data/gqa/sceneGraphs.zip"


def scene_graph_files(place: Path) -> list[Path]:
    """Return the files of scene graphs: one that was named, or those of a folder.

    Raises:
        DatasetNotFoundError: if there is none.
    """
    files = [place] if place.is_file() else [place / name for name in FILES if (place / name).is_file()]
    if not files:
        raise DatasetNotFoundError.explained(
            "GQA's scene graphs", f"{place / FILES[0]} and {FILES[1]}", GET_IT, "--data.scene_graphs"
        )
    return files


def read_object_boxes(files: Sequence[Path], wanted: Iterable[Wanted]) -> dict[Wanted, list[Box]]:
    """Read the boxes of all objects of a name in an image, for several images and names.

    The form of the files, ``{image: {"objects": {id: {"name", "x", "y", "w", "h"}}}}``, is inferred: it was not
    compared with a download.

    Args:
        files: scene graphs.
        wanted: number of the image and name of the object.

    Returns:
        Half-open corners by what was wanted; images without such an object are left out.

    Raises:
        DataError: if a file has another form.
    """
    boxes: dict[Wanted, list[Box]] = {}
    names = sorted(set(wanted))
    for path in files:
        try:
            graphs = json.loads(text_of(path))
            if not isinstance(graphs, dict):
                raise TypeError("it holds no images")
            for image, name in names:
                if image in graphs:
                    boxes.setdefault((image, name), []).extend(_boxes(graphs[image], name))
        except (json.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is no file of GQA's scene graphs ({error!r}); get {GET_IT} again") from error
    return {key: found for key, found in boxes.items() if found}


def _boxes(graph: Mapping[str, Any], name: str) -> Iterator[Box]:
    for _, found in sorted(graph["objects"].items()):
        if found["name"] == name:
            x, y, width, height = (float(found[key]) for key in ("x", "y", "w", "h"))
            if width >= 1 and height >= 1:  # GQA has objects without an area, which show nothing
                yield x, y, x + width, y + height


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
    """Cats and dogs, indoors and outdoors, as SubpopBench packs them; groups are animal × place.

    The sizes of the random split (65 / 10 / 25 %) are SubpopBench's; its own draw depends on the order of a directory
    listing, so that ours is another one, the same on every machine. The foreground is the box of each animal of the
    image's kind where GQA's scene graphs are given, else there is none.

    Attributes:
        root: folder ``MetaShift-Cat-Dog-indoor-outdoor``.
        split_seed: of the random split.
        scene_graphs: files of GQA's scene graphs, which hold the boxes of the animals; none where they are not wanted.
    """

    split_seed: int
    scene_graphs: tuple[Path, ...]

    name: ClassVar[str] = "metashift"
    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="MetaShift",
        title="MetaShift",
        summary="cats and dogs, indoors and outdoors, as SubpopBench packs them",
        paper="Liang & Zou, ICLR 2022",
        images="2276 / 349 / 874",
        size="–",
        automatic="manual",
        command="maskexp data prepare MetaShift data/metashift --raw metashift.tar.gz",
        foreground="GQA's boxes (scene_graphs)",
        get=(
            "https://www.dropbox.com/s/a7k65rlj4ownyr2/metashift.tar.gz?dl=1; boxes: "
            "https://nlp.stanford.edu/data/gqa/sceneGraphs.zip; then --data.root"
        ),
        licence="Visual Genome (CC BY 4.0)",
    )
    needed: ClassVar[str] = "train/cat/cat(indoor)"
    folders: ClassVar[tuple[str, ...]] = ("MetaShift-Cat-Dog-indoor-outdoor",)

    @classmethod
    def find(cls, root: str | Path, split_seed: int = 42, scene_graphs: str | Path | None = None) -> Self:
        """Look the parts up.

        Args:
            root: folder ``MetaShift-Cat-Dog-indoor-outdoor``, or the folder in which it lies.
            split_seed: of the random split.
            scene_graphs: GQA's ``{train,val}_sceneGraphs.json``: their folder, or one of them.

        Raises:
            DatasetNotFoundError: if the root, or the scene graphs that were asked for, are missing.
        """
        files = [] if scene_graphs is None else scene_graph_files(expanded(scene_graphs))
        return cls(cls.locate(root), split_seed, tuple(files))

    def source_paths(self) -> list[Path]:
        """Return the four folders and the scene graphs."""
        return [*(self.root / folder for folder in FOLDERS), *self.scene_graphs]

    def rows(self) -> list[Row]:
        """List the images and split them at random.

        Raises:
            DataError: if a folder has no images, or scene graphs are damaged.
        """
        rows = []
        for folder, (label, attribute) in FOLDERS.items():
            listed = image_files(self.root / folder)
            if not listed:
                raise DataError(f"{self.root / folder} has no images; extract the archive again")
            images = [path.relative_to(self.root).as_posix() for path in listed]
            rows += [Row(image, "train", label, image, attribute) for image in images]
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

    def published_counts(self) -> Mapping[str, Counts]:
        """Return SubpopBench's sizes."""
        return KNOWN_COUNTS

    def foreground_of(self, rows: Sequence[Row]) -> tuple[str, str]:
        """Return that there are boxes, if there are."""
        return "none", "gqa_scene_graphs" if any(row.box for row in rows) else ""

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Say that the split is ours, and how many images have boxes."""
        boxed = f"{sum(bool(row.box) for row in rows)} of {len(rows)} images have boxes of their animal"
        return (SPLIT_ANEW, boxed) if self.scene_graphs else (SPLIT_ANEW,)

    def _boxed(self, rows: Sequence[Row]) -> list[Row]:
        """Join the boxes of all animals of the image's kind, by the number of the image."""
        wanted = [(Path(row.image).stem, self.classes[row.label]) for row in rows]
        boxes = read_object_boxes(self.scene_graphs, wanted)
        found = [boxes.get(key, []) for key in wanted]
        return [
            replace(row, box=some[0], more_boxes=tuple(some[1:])) if some else row
            for row, some in zip(rows, found, strict=True)
        ]


def _split(rows: Sequence[Row], seed: int) -> list[Row]:
    """Draw ``int(0.25 * n)`` test and ``int(0.1 * n)`` validation images from the rows in their order."""
    order = np.random.default_rng(seed).permutation(len(rows))
    tested, held = int(TEST_SHARE * len(rows)), int(VAL_SHARE * len(rows))
    splits = dict.fromkeys(order[:tested].tolist(), "test") | dict.fromkeys(
        order[tested : tested + held].tolist(), "val"
    )
    return [replace(row, split=splits.get(index, "train")) for index, row in enumerate(rows)]
