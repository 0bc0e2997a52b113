"""BAM (Yang & Kim, 2019): objects of COCO pasted on scenes of MiniPlaces, from the released folders to a manifest."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskexp.data.datasets.shared.files import converted_masks, image_files
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.info import DatasetInfo
from maskexp.data.loading.image_files import stored_size
from maskexp.data.manifest.hold_out import HeldOutLayout, hold_out
from maskexp.data.manifest.prepared import in_parallel
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Box, Row
from maskexp.data.text_files import text_of

__all__ = ["OBJECTS", "SCENES", "BAMLayout", "BAMSet", "Shown", "pasted_masks", "read_cutouts"]

OBJECTS = ("backpack", "bird", "dog", "elephant", "kite", "pizza", "stop_sign", "toilet", "truck", "zebra")
SCENES = (
    *("bamboo_forest", "bedroom", "bowling_alley", "bus_interior", "cockpit", "corn_field", "laundromat", "runway"),
    *("ski_slope", "track"),
)
NAME = re.compile(r"([a-z_]+)-([a-z_]+)-(\d{4})\.jpg")


@dataclass(frozen=True, slots=True)
class Shown:
    """What an image shows.

    Attributes:
        object: name of the object that is pasted.
        scene: name of the scene.
        number: four digits.
    """

    object: str
    scene: str
    number: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read the name of an image.

        Raises:
            DataError: if it is no ``<object>-<scene>-<number>.jpg``.
        """
        found = NAME.fullmatch(path.name)
        if found is None or found[1] not in OBJECTS or found[2] not in SCENES:
            raise DataError(f"{path} is not called <object>-<scene>-<number>.jpg, so that nobody knows what it shows")
        return cls(*found.groups())

    def label(self, label_set: str) -> str:
        """Return the name of the class in one of the three sets."""
        return self.object if label_set == "obj" else self.scene

    def attribute(self, label_set: str) -> str:
        """Return the name of the spurious factor in ``obj`` or ``scene``."""
        return self.scene if label_set == "obj" else self.object


HARMLESS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
}
"""All that a pickle of arrays needs; a file from the web may name anything else."""


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a harmless class or function, refuse any other."""
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}")
        return super().find_class(module, name)


def pasted_masks(place: Path, boxes: Mapping[str, Box], cache_dir: str | Path | None) -> Path:
    """Return the folder of masks ``<image>.png`` as large as their images, made on first use.

    ``val_mask`` holds the cut-out of each (object, number), objects in their order, whatever the scene; a mask is the
    cut-out resized to the image's box, bilinearly like the object itself.

    Args:
        place: folder of the set, with ``val``, ``val_loc.txt`` and ``val_mask``.
        boxes: box of each image of ``val`` by its file name.
        cache_dir: see :func:`~maskexp.data.manifest.prepared.cache_folder`.

    Raises:
        DataError: if there is another number of cut-outs than of objects times numbers, or the file is damaged.
    """

    def convert(folder: Path) -> None:
        cutouts = read_cutouts(place / "val_mask")
        numbers = sorted({name.rpartition("-")[2] for name in boxes})
        if len(cutouts) != len(OBJECTS) * len(numbers):
            raise DataError(
                f"{place / 'val_mask'} holds {len(cutouts)} masks, but {place / 'val_loc.txt'} names {len(OBJECTS)} "
                f"objects times {len(numbers)} numbers; make the set again"
            )

        def write(name: str) -> None:
            index = OBJECTS.index(name.partition("-")[0]) * len(numbers) + numbers.index(name.rpartition("-")[2])
            mask = _pasted(cutouts[index], boxes[name], stored_size(place / "val" / name))
            mask.save(folder / f"{Path(name).stem}.png")

        in_parallel(write, sorted(boxes))

    digests = [hashlib.sha256((place / name).read_bytes()).hexdigest() for name in ("val_mask", "val_loc.txt")]
    return converted_masks(cache_dir, "bam", {"place": str(place.resolve()), "digests": digests}, convert)


def read_cutouts(path: Path) -> list[NDArray[np.uint8]]:
    """Read ``val_mask``: an array of masks of different sizes, which NumPy can only store as a pickle.

    Raises:
        DataError: if it is no such array, or would run code.
    """
    try:
        with path.open("rb") as file:
            values = _read_array(file)
        cutouts = [np.asarray(value).astype(np.uint8) for value in values]
    except (pickle.UnpicklingError, ValueError, EOFError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no array of masks ({error}); make the set again") from error
    if any(cutout.ndim != 2 or not cutout.size for cutout in cutouts):
        raise DataError(f"{path} holds something else than masks of two dimensions; make the set again")
    return cutouts


def _read_array(file: BinaryIO) -> Any:
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"version {version} of NumPy's format is not known")
    _, _, dtype = read_header[version](file)
    if dtype.hasobject:
        return ArrayUnpickler(file).load()
    file.seek(0)
    return np.load(file, allow_pickle=False)


def _pasted(cutout: NDArray[np.uint8], box: Box, size: tuple[int, int]) -> Image.Image:
    left, top, right, bottom = (round(corner) for corner in box)
    whole = Image.new("L", size)
    inside = Image.fromarray(np.where(cutout > 0, 255, 0).astype(np.uint8))
    whole.paste(inside.resize((right - left, bottom - top), Image.Resampling.BILINEAR), (left, top))
    return whole


BAMSet = Literal["obj", "scene", "scene_only"]
SETS = ("obj", "scene", "scene_only")
ARBITRARY = "stop_sign"
"""COCO calls it *stop sign*: the released script found no such category and took the largest object of any image."""
PER_PAIR = {"train": 900, "test": 100}
"""Images of each object on each scene."""


@dataclass(frozen=True, slots=True)
class BAMLayout(HeldOutLayout):
    """Ten objects pasted on ten scenes, uncorrelated: the same images with the labels of objects or of scenes.

    Protocol (model contrast): train on ``obj`` and on ``scene``; attribution inside the object should be high for the
    first network and low for the second. Groups are object × scene. ``scene_only`` has the scenes without objects.
    Masks and boxes belong to the test images alone, which are the official validation images.

    Images called ``stop_sign`` show arbitrary objects, a slip of the released script; they carry the flag
    ``arbitrary``, and ``drop`` leaves them out.

    Attributes:
        root: folder ``data`` with ``obj``, ``scene`` and ``scene_only``.
        masks: folder of the masks of the official validation images, made of ``val_mask``; None where there are none.
        label_set: which of the three sets.
        drop: objects and scenes that are left out.
    """

    masks: Path | None
    label_set: BAMSet
    drop: tuple[str, ...]

    name: ClassVar[str] = "bam"
    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="BAM",
        title="BAM",
        summary="ten objects pasted on ten scenes, with the labels of the ones or of the others",
        paper="Yang & Kim, 2019",
        images="90000, a share held out / 10000",
        size="that of COCO train2017 and MiniPlaces",
        automatic="manual",
        command="maskexp data check BAM data/bam",
        foreground="masks and boxes of the test images",
        get=(
            "https://github.com/google-research-datasets/bam: its scripts make data/obj, data/scene, "
            "data/scene_only; then --data.root"
        ),
        licence="Apache-2.0 (images: COCO, MiniPlaces)",
    )
    needed: ClassVar[str] = "obj"
    folders: ClassVar[tuple[str, ...]] = ("data",)
    listing: ClassVar[str] = "its set"

    @classmethod
    def find(
        cls,
        root: str | Path,
        label_set: BAMSet = "obj",
        drop: list[str] | None = None,
        val_fraction: float = 0.1,
        val_seed: int = 0,
        cache_dir: str | Path | None = None,
    ) -> Self:
        """Look the parts up.

        Args:
            root: folder ``data`` with ``obj``, ``scene`` and ``scene_only``, or the folder in which it lies.
            label_set: ``obj``, ``scene`` or ``scene_only``.
            drop: objects and scenes to leave out.
            val_fraction: share of the training images that is held out for validation, by their number (default: ours).
            val_seed: of that draw.
            cache_dir: folder of converted masks; see :func:`~maskexp.data.manifest.prepared.cache_folder`.

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
                f"BAM's set {label_set}", str(place / "val.txt"), cls.info.way, "--data.root"
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

    def source_paths(self) -> list[Path]:
        """Return the folders of the images, and the tables."""
        place = self.root / self.label_set
        return [place / name for name in ("train", "val", "val.txt", "val_loc.txt", "val_mask")]

    def rows(self) -> list[Row]:
        """List the images by their names ``<object>-<scene>-<number>``.

        Raises:
            DataError: if a name has another form, if ``val.txt`` says another label, or if boxes are damaged.
        """
        place = self.root / self.label_set
        labels = OBJECTS if self.label_set == "obj" else SCENES
        trained = [path for name in labels for path in image_files(place / "train" / name)]
        if not trained:
            raise DataError(f"{place / 'train'} has no images; make the set again")
        stated = _table(place / "val.txt")
        for name, label in stated.items():
            own = labels.index(Shown.of(place / "val" / name).label(self.label_set))
            if label != str(own):
                raise DataError(f"{place / 'val.txt'} gives {name} the label {label} instead of {own}; make it again")
        rows = [*self._rows("train", trained), *self._rows("test", [place / "val" / name for name in stated])]
        return self.held_out(rows)

    def held_out(self, rows: Sequence[Row]) -> list[Row]:
        """Hold training images out by their number, as the official split does.

        Images of one number show the same cut-out on all scenes, and the same scene under all objects.
        """
        if not 0 < self.val_fraction < 1:
            return hold_out(rows, self.val_fraction, self.val_seed)
        numbers = sorted({_number(row) for row in rows if row.split == "train"})
        count = round(self.val_fraction * len(numbers))
        if not 0 < count < len(numbers):
            raise DataError(f"val_fraction {self.val_fraction} holds out {count} of {len(numbers)} numbers of images")
        held = set(np.random.default_rng(self.val_seed).permutation(numbers)[:count].tolist())
        return [replace(row, split="val") if row.split == "train" and _number(row) in held else row for row in rows]

    def foreground_of(self, rows: Sequence[Row]) -> tuple[str, str]:
        """Return that test images have masks, or at least boxes."""
        if any(row.mask for row in rows):
            return "soft", "val_mask"
        return "none", "val_loc" if any(row.box for row in rows) else ""

    def published_counts(self) -> Mapping[str, Counts]:
        """Return the sizes of the set without what is left out."""
        pairs = len(self._kept(OBJECTS)) * len(self._kept(SCENES))
        return {self.label_set: {split: (pairs * each,) for split, each in PER_PAIR.items()}}

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Warn of the class that is none."""
        notes = [f"without {', '.join(self.drop)}"] if self.drop else []
        arbitrary = sum("arbitrary" in row.flags for row in rows)
        if arbitrary:
            notes.append(
                f"{arbitrary} images named {ARBITRARY} show arbitrary objects (a slip of the released script) and "
                f"carry the flag 'arbitrary'; drop: [{ARBITRARY}] leaves them out"
            )
        return (*notes, *HeldOutLayout.notes(self, rows))

    def _kept(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name not in self.drop)

    def _rows(self, split: str, paths: Sequence[Path]) -> Iterator[Row]:
        """Yield one row per image that is not left out."""
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
                    attribute=self.attributes.index(shown.attribute(self.label_set)) if with_objects else -1,
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
    for number, line in enumerate(text_of(path).splitlines(), start=1):
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
